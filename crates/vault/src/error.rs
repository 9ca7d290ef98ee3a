//! What can go wrong with storage.

use std::path::PathBuf;
use strongroom_record::{Coding, SegmentId};

/// Why the vault did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A shelf's directory could not be read or written.
    #[error("shelf at {path}: {source}")]
    Shelf {
        /// Its directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A shelf is not there.
    #[error("shelf `{shelf}` is missing: {why}")]
    ShelfGone {
        /// Its name.
        shelf: String,
        /// What was found in its place.
        why: String,
    },
    /// A shelf stands there already.
    #[error("{path} already holds a shelf")]
    ShelfTaken {
        /// The directory.
        path: PathBuf,
    },
    /// A shelf's logs failed.
    #[error("shelf `{shelf}`: {source}")]
    Spool {
        /// Its name.
        shelf: String,
        /// What its logs said.
        source: strongroom_spool::Error,
    },
    /// Sealing, coding or verifying failed.
    #[error("segment {segment}: {source}")]
    Shard {
        /// Which segment.
        segment: SegmentId,
        /// What was wrong.
        source: strongroom_shard::Error,
    },
    /// A coding needs more shelves than there are.
    #[error(
        "{coding} needs {needed} shelves, each for one shard; {present} can be written to{missing}"
    )]
    TooFewShelves {
        /// The coding.
        coding: Coding,
        /// Shelves that it needs.
        needed: usize,
        /// Shelves that can be written to.
        present: usize,
        /// Which are missing and why, for a person.
        missing: String,
    },
    /// A shelf, or its file system, has too little room.
    #[error("shelf `{shelf}` has room for {free} bytes; {needed} are needed")]
    NoRoom {
        /// Its name.
        shelf: String,
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// What a shelf took is not what was sent.
    #[error("shelf `{shelf}` answered with another hash than was sent, segment {segment}")]
    Mismatch {
        /// Its name.
        shelf: String,
        /// Which segment.
        segment: SegmentId,
    },
    /// A stripe decoded from parity is not what was coded: the machine computes wrongly.
    #[error(
        "segment {segment}: a stripe decoded from parity is not what was coded; this machine's memory or processor is faulty"
    )]
    Coding {
        /// Which segment.
        segment: SegmentId,
    },
    /// Fewer good shards than restore the segment.
    #[error("segment {segment} has {good} good shards and needs {needed}: {faults}")]
    Lost {
        /// Which segment.
        segment: SegmentId,
        /// Good shards found.
        good: usize,
        /// Shards needed.
        needed: usize,
        /// What is wrong with the others.
        faults: String,
    },
}
