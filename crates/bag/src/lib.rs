//! BagIt bags: read, written and validated, in a folder or in a tar that is never unpacked.
//!
//! This room knows the rules of RFC 8493 (BagIt 1.0) and of the drafts 0.93 to 0.97 before it, BagIt
//! profiles, and the two shapes in which a bag travels: a folder ([`tree`]) and a tar stream
//! ([`tar`], plain or compressed: [`source`]). [`rules`] is the pure core: it is fed tag files and then
//! the digests of the files that somebody read, and says what is wrong. [`validate`](mod@validate) and
//! an ingest both stand on it, so they cannot disagree. [`create`](mod@create) makes bags.
//!
//! ```ignore
//! use strongroom_bag::{create, validate};
//!
//! let place = tempfile::tempdir()?;
//! std::fs::write(place.path().join("letter.txt"), "Dear archive")?;
//! create::in_place(place.path(), &create::Options::default())?;
//!
//! let report = validate::validate(place.path(), &validate::Options::default(), &())?;
//! assert!(report.valid);
//! assert_eq!(report.files, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What it refuses
//! Paths that leave the bag, what is neither file nor folder, tars that lie about sizes, extension
//! records that are broken, decompression without bound, `fetch.txt` (it is checked, never fetched).
//! Nothing here opens a network connection, and nothing follows a link.
//!
//! # Failure modes
//! What is wrong with a *bag* is a [`Problem`] with a stable code. What keeps us from *telling* is an
//! [`Error`]: a disk that cannot be read, a folder that vanished. No bytes from outside make it panic.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod create;
pub mod declaration;
pub mod fetch;
pub mod info;
pub mod manifest;
pub mod path;
pub mod profile;
pub mod rules;
pub mod source;
pub mod tar;
pub mod text;
pub mod tree;
pub mod validate;

mod error;
mod problem;

pub use error::Error;
pub use problem::{PROBLEMS_MAX, Problem, Problems, Severity};

/// Hears how far a long piece of work is. Called from several threads, rarely enough to be cheap.
pub trait Progress: Sync {
    /// `n` more files are done.
    fn files(&self, n: u64);
    /// `n` more bytes are done.
    fn bytes(&self, n: u64);
    /// What there is to do, once it is known; it may grow.
    fn total(&self, files: u64, bytes: u64);
}

impl Progress for () {
    fn files(&self, _: u64) {}
    fn bytes(&self, _: u64) {}
    fn total(&self, _: u64, _: u64) {}
}
