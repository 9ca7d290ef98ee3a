//! The words of the house as types: identifiers, digests, files, segments, events, work items.
//!
//! Every room speaks in these types; this room depends on no other and does no I/O. It knows no
//! clock and no random source: times and identifiers are made by whoever holds one, and passed in.
//!
//! ```
//! use strongroom_record::{ObjectName, Coding};
//! let name: ObjectName = "local/letters-1914".parse()?;
//! assert_eq!(name.institution(), "local");
//! let coding: Coding = "10+4".parse()?;
//! assert_eq!((coding.k(), coding.n()), (10, 14));
//! # Ok::<(), strongroom_record::Error>(())
//! ```
//!
//! What it refuses: a name that could not be a folder, numbers that JSON would round, an event that
//! cannot be written canonically. What is stored by others (bytes on shelves, tables) is not
//! specified here but in docs/format.md; these types are only what such bytes mean.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod coding;
mod event;
mod file;
mod id;
pub mod json;
mod merkle;
mod name;
mod segment;
mod time;
mod work;

pub use coding::{COPIES_MAX, Coding, CodingNumber, K_MAX, PARITY_MAX};
pub use event::{Event, EventDraft, EventHead, EventKind, Outcome};
pub use file::{Extent, FileKind, FileRecord, NamedDigest, extents_from_json};
pub use id::{
    ArchiveId, EpochId, FileId, Id, InstitutionId, LogId, ObjectId, SegmentId, ShelfId, VersionId,
    WorkId, WorkerId,
};
pub use merkle::{Merkle, MerkleRoot};
pub use name::{NAME_BYTES_MAX, ObjectName, check_institution};
pub use segment::{Placement, PlacementState, SegmentKind, SegmentState};
pub use time::Time;
pub use work::{Lease, Stage, WorkItem, WorkKind, WorkStatus};

/// A SHA-256 value.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256(pub [u8; 32]);

impl Sha256 {
    /// SHA-256 (FIPS 180-4) of a short text, such as an event. Bulk data is hashed by `digest`.
    pub fn of(bytes: &[u8]) -> Sha256 {
        use sha2::Digest as _;
        Sha256(sha2::Sha256::digest(bytes).into())
    }

    /// From a slice of exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Sha256, Error> {
        bytes.try_into().map(Sha256).map_err(|_| Error::Length {
            what: "SHA-256",
            expected: 32,
            found: bytes.len(),
        })
    }
}

impl std::fmt::Display for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&id::hex(&self.0))
    }
}

impl std::fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl std::str::FromStr for Sha256 {
    type Err = Error;
    fn from_str(text: &str) -> Result<Sha256, Error> {
        Sha256::from_slice(
            &id::unhex(text).ok_or_else(|| Error::Hex(text.chars().take(80).collect()))?,
        )
    }
}

impl serde::Serialize for Sha256 {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Sha256 {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Sha256, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Why a word could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    /// Not hexadecimal.
    #[error("`{0}` is not hexadecimal")]
    Hex(String),
    /// A value of fixed size has another size.
    #[error("{what} must be {expected} bytes, not {found}")]
    Length {
        /// What was read.
        what: &'static str,
        /// Bytes it must have.
        expected: usize,
        /// Bytes it has.
        found: usize,
    },
    /// A coding that is not of the form `copies=N` or `K+M`.
    #[error(
        "`{0}` is no policy: write copies=N (1 to 16) or K+M (K 2 to 64 shards of data, M 1 to 64 of parity)"
    )]
    Coding(String),
    /// A name that cannot be an institution's or object's.
    #[error("`{name}` cannot be a name: {why}")]
    Name {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A word that is not one of a fixed list.
    #[error("`{word}` is no {what}")]
    Word {
        /// The list.
        what: &'static str,
        /// The word as given.
        word: String,
    },
    /// A JSON object that is read back is not what was written.
    #[error("`{field}` of {what} is missing, or is not what it should be")]
    Field {
        /// What was read.
        what: &'static str,
        /// Its field.
        field: &'static str,
    },
    /// A JSON value that has no canonical form here.
    #[error("no canonical JSON: {0}")]
    Canonical(&'static str),
}
