//! All storage of record: segments, as shards on shelves.
//!
//! A *segment* goes in as plaintext and is sealed, coded and spread by [`Vault::put`]; it is *stored*
//! once [`Put::finish`] has returned, which is after every shelf has synced and has answered with
//! the hash that it computed itself (shelves of this process that are handed the very same memory
//! share one). [`Vault::reader`] gives ranges of it back; [`Vault::check`]
//! proves that a shard is what was signed; [`Vault::repair`] makes lost shards anew without any key;
//! [`Vault::recode`] gives the same ciphertext another coding; [`Vault::copy`] gives a shard a second
//! place. [`Vault::logs`], [`Vault::contents`] and [`Clearing`] say what is on a shelf, and remove whole logs.
//!
//! The vault keeps no table: where shards stand is told to it as placements, by whoever has the
//! registry. What is on the shelves can be found without one too (`Spool::scan`).
//!
//! # Shape
//!
//! ```text
//! Vault ── Shelf (identity file, spool of logs) ── one Writer each, begun when first needed
//!   put ──► Put: shard::Sealer ──► lanes ──► a thread for each shelf: frames, group sync ──► placements
//!   reader ──► SegmentReader: k lanes ──► stripes ──► chunks ──► plaintext
//! ```
//!
//! # Failure modes
//!
//! | what fails | what happens |
//! |---|---|
//! | a shelf is not there, or its folder has no identity | it is *missing*, never empty; writing asks for another, or for `accept_degraded` |
//! | a write or sync fails | the put fails, and nothing more is written to that log; the next put begins a new one |
//! | a block is wrong or gone when read | it is made from others, and reported as [`Fault`] |
//! | fewer than k good shards | [`Error::Lost`], naming each shard and what is wrong with it |
//!
//! It refuses to put two shards of a segment on one shelf, to overwrite anything, and to read a shard
//! whose signature does not lead to its institution.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod check;
mod error;
mod find;
mod keyrings;
mod logs;
mod place;
mod put;
mod read;
mod recode;
mod shelf;
mod spread;
mod store;
mod vault;

pub use check::{Checked, Repaired, Verdict};
pub use error::Error;
pub use find::{Described, FoundShard, Searched};
pub use keyrings::FoundKeyring;
pub use logs::{Clearing, Contents, Copied, Log, Part, bytes_outside, logs_of};
pub use put::{Put, PutSpec, Stored};
pub use read::{Fault, SegmentReader};
pub use shelf::{Head, Identity, MissingShelf, Shelf, ShelfSpec};
pub use store::SHARD_KEY_PARTS;
pub use strongroom_shard::{Error as ShardError, SMALL_BYTES};
pub use strongroom_spool::{Disk, DiskFile, OsDisk, create_folders, read_file, settle};
pub use vault::{Options, Vault};

/// Keys, certificates and writers, for rooms above that hold them.
pub mod keys {
    pub use strongroom_shard::{
        Certificate, Grant, Institution, Kind, LOCKED_MAGIC, RECOVERY_GENERATION,
        SHARE_TEXT_BYTES_MAX, SealingPublic, SecretKeys, Seed, Share, ShareError, SigningChain,
        Writer, WriterKey, combine, lock, split, unlock,
    };
}
