//! What can go wrong, with where.

use std::io;
use std::path::{Path, PathBuf};

use crate::format::LogId;

/// What can go wrong, with where. Paths are those of logs, or of the spool's folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("could not {doing} {}: {source}", .path.display())]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A newer program wrote this.
    #[error(
        "{} is of format version {version}, and this program knows versions up to {known}: \
         use a newer one",
        .path.display()
    )]
    NewerVersion {
        /// The log.
        path: PathBuf,
        /// The version that it has.
        version: u32,
        /// The newest that is known.
        known: u32,
    },
    /// The folder has no such log (any more).
    #[error("there is no log {log} in {}", .dir.display())]
    NoSuchLog {
        /// The log.
        log: LogId,
        /// The spool's folder.
        dir: PathBuf,
    },
    /// A live writer has the log, so it is not removed.
    #[error("{} is being written by a live process", .path.display())]
    InUse {
        /// The log.
        path: PathBuf,
    },
    /// A frame that was asked for is not whole.
    #[error("the frame at byte {offset} of {} is damaged: {why}", .path.display())]
    Damaged {
        /// The log.
        path: PathBuf,
        /// Where the frame begins in it, in bytes.
        offset: u64,
        /// What is wrong with it.
        why: crate::Why,
    },
    /// There is a whole frame at that place, but not the one that was asked for.
    #[error("the frame at byte {offset} of {} is another one: its {what} differs", .path.display())]
    OtherFrame {
        /// The log.
        path: PathBuf,
        /// Where the frame begins in it, in bytes.
        offset: u64,
        /// What differs.
        what: &'static str,
    },
    /// The range that was asked for goes past the payload.
    #[error("bytes {skip} to {end} were asked for, of a payload of {len} bytes")]
    OutOfRange {
        /// The first byte that was asked for.
        skip: u64,
        /// The first byte after them.
        end: u64,
        /// Bytes of the payload.
        len: u32,
    },
    /// A payload, or the option that bounds payloads, is larger than permitted.
    #[error("a frame of {bytes} bytes is larger than the {bytes_max} that are permitted")]
    TooLarge {
        /// Bytes of the payload.
        bytes: u64,
        /// Bytes at most.
        bytes_max: u32,
    },
    /// The caller's source of log ids gave one that a log of this folder already has.
    #[error("the new log id {log} was drawn twice: the random source is broken")]
    IdDrawnTwice {
        /// The id.
        log: LogId,
    },
    /// An earlier write or sync failed, so this writer takes and promises nothing any more.
    #[error("the writer in {} has stopped after an earlier failure: {why}", .dir.display())]
    Poisoned {
        /// The spool's folder.
        dir: PathBuf,
        /// The first failure, in words.
        why: String,
    },
}

impl Error {
    /// For `map_err`: says what was tried with which path.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        let path = path.to_path_buf();
        move |source| Error::Io { doing, path, source }
    }
}
