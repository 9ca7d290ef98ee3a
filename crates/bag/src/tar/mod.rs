//! Tar as a stream: a bounded reader of what is met in the wild, and a writer that others can read.
//!
//! The reader knows v7, ustar, GNU (long names and links, sparse files of type `S`, base-256 numbers)
//! and PAX (local and global headers, sparse files 0.0, 0.1 and 1.0, names that are not UTF-8). Sparse
//! files are expanded. Every length that a header claims is checked against a named bound before memory
//! is spent on it, and every error says at which byte of the stream it was met.
//!
//! Owners, devices' numbers and extended attributes are passed over.

mod header;
mod input;
mod pax;
mod read;
mod sparse;
#[cfg(test)]
mod tests;
mod write;

use std::io;

pub use header::is_header;
pub use read::{Reader, State};
pub use sparse::{SPARSE_BYTES_MAX, SPARSE_PIECES_MAX};
pub use write::{FileWriter, Writer};

pub use crate::path::PATH_BYTES_MAX;

/// Tar is made of blocks of so many bytes.
pub const BLOCK_BYTES: usize = 512;

/// One PAX header, and all global ones together, may hold so many bytes.
pub const PAX_BYTES_MAX: u64 = 1024 * 1024;

/// So many extension headers may stand before one entry.
pub const EXTENSIONS_MAX: usize = 64;

/// One thing in a tar.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Its path, without leading `./` and trailing `/` ([`path::clean`](crate::path::clean)); the root
    /// itself is `.`. Not checked for safety: [`path::check_entry`](crate::path::check_entry) does that.
    pub path: Vec<u8>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits (`07777`).
    pub mode: u32,
    /// Time of the last change, in nanoseconds since 1970.
    pub mtime_ns: i128,
    /// Bytes of the file, holes included.
    pub size: u64,
    /// Bytes that it takes in the tar, without padding, with the map of a sparse file.
    pub stored: u64,
    /// Where its first header begins, extension headers included.
    pub header_offset: u64,
    /// Where its stored bytes begin.
    pub data_offset: u64,
    /// Whether it has holes: then its bytes are not those at `data_offset`.
    pub sparse: bool,
}

/// What an [`Entry`] is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link, and what it points to.
    Symlink(Vec<u8>),
    /// Another name of the file at this path, which comes earlier.
    HardLink(Vec<u8>),
    /// A character or block device.
    Device,
    /// A named pipe.
    Fifo,
    /// A type that this reader does not know.
    Other(u8),
}

/// Why a tar cannot be read on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The reader below failed.
    #[error("cannot read at byte {offset}")]
    Io {
        /// Where.
        offset: u64,
        /// What it said.
        source: io::Error,
    },
    /// The stream ends too early.
    #[error("the tar ends at byte {offset}, inside {inside}: {missing} more bytes were expected")]
    Truncated {
        /// Where it ends.
        offset: u64,
        /// What is cut.
        inside: &'static str,
        /// How many bytes are missing at least.
        missing: u64,
    },
    /// A header's checksum is wrong: the header is damaged, or the stream is no tar.
    #[error("header at byte {offset}: the checksum is {found}, expected {expected}")]
    Checksum {
        /// Where the header begins.
        offset: u64,
        /// What its bytes add up to.
        expected: u64,
        /// What it says, "unreadable" if that is no number.
        found: String,
    },
    /// A field of a header makes no sense.
    #[error("header at byte {offset}: {field}: {reason}")]
    Field {
        /// Where the header begins.
        offset: u64,
        /// Which field.
        field: &'static str,
        /// What was expected, and found.
        reason: String,
    },
    /// An extension header (PAX or GNU) is broken.
    #[error("extension header at byte {offset}: {reason}")]
    Extension {
        /// Where the header begins.
        offset: u64,
        /// What was expected, and found.
        reason: String,
    },
    /// Something is larger than this reader allows.
    #[error("header at byte {offset}: {what} of {bytes} bytes, at most {max} are allowed")]
    TooLarge {
        /// Where the header begins.
        offset: u64,
        /// What is too large.
        what: &'static str,
        /// How large it claims to be.
        bytes: u64,
        /// The bound.
        max: u64,
    },
    /// The map of a sparse file is broken.
    #[error("sparse file at byte {offset}: {reason}")]
    Sparse {
        /// Where its header begins.
        offset: u64,
        /// What was expected, and found.
        reason: String,
    },
}

impl Error {
    /// A stable name in kebab-case.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Io { .. } => "tar-unreadable",
            Error::Truncated { .. } => "tar-truncated",
            Error::Checksum { .. } => "tar-checksum",
            Error::Field { .. } => "tar-field",
            Error::Extension { .. } => "tar-extension",
            Error::TooLarge { .. } => "tar-too-large",
            Error::Sparse { .. } => "tar-sparse",
        }
    }

    /// Whether the stream itself is to blame (and not the machine that reads it).
    pub fn is_damage(&self) -> bool {
        match self {
            Error::Io { source, .. } => crate::source::is_damage(source),
            _ => true,
        }
    }
}

/// The error that a [`Reader`] gave as a [`Read`](io::Read), as its own again.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        error.downcast().unwrap_or_else(|source| Error::Io { offset: 0, source })
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        let kind = match &error {
            Error::Io { source, .. } => source.kind(),
            Error::Truncated { .. } => io::ErrorKind::UnexpectedEof,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}
