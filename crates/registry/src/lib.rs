//! What the archive knows, and the queue of work, in one transactional database.
//!
//! The registry says what should be where; shelves say what is; nothing else is a place of record.
//! A step's outcome, the next job and the events that tell of it are kept in one transaction,
//! [`Registry::commit`], under the fencing token of the worker's lease. Today the database is SQLite
//! (WAL, full sync); several processes may use one file at once. The tables are described in
//! docs/format/registry.md.
//!
//! ```
//! # tokio::runtime::Runtime::new().unwrap().block_on(async {
//! use strongroom_record::{ArchiveId, EpochId, Time};
//! use strongroom_registry::{Options, Registry};
//! let folder = tempfile::tempdir().unwrap();
//! let registry = Registry::open(&folder.path().join("registry.db"), Options::default()).await?;
//! let made = registry.create_archive(ArchiveId([1; 16]), EpochId([2; 16]), &[], Time(0)).await?;
//! assert!(made);
//! assert_eq!(registry.archive().await?.unwrap().epoch_number, 1);
//! registry.close().await;
//! # Ok::<(), strongroom_registry::Error>(()) }).unwrap();
//! ```
//!
//! It holds no clock and no random source: every time and id is the caller's. What it refuses: tables
//! of a newer version ([`Error::Newer`]); a commit under a superseded token ([`Error::LeaseLost`]); a
//! file that refers to a segment that is not durable; a second draft of an object; files out of
//! number or twice under one path; a deletion that nobody else approved, and the release of a segment of
//! which no journal told; more than [`ROWS_MAX`] rows at once; a stage that is not of the
//! item's kind. Whatever is refused leaves nothing behind.
//!
//! How it fails: while another process writes it waits, up to `Options::busy_seconds_max`, then says
//! [`Error::Busy`]; a full disk is [`Error::NoSpace`]; a row that cannot be understood is
//! [`Error::Corrupt`] and names its table. A failed transaction is rolled back whole and may be tried
//! again. SQLite's writer's lock is polled, not queued for: a process that writes without pause can
//! hold others up, which batches of [`ROWS_MAX`] rows keep short.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod archive;
mod batch;
mod commit;
mod deletion;
mod error;
mod events;
mod files;
mod journal;
mod keys;
mod objects;
mod open;
mod rebuild;
mod reclaim;
mod row;
mod segments;
mod shelving;
mod status;
mod texts;
mod types;
mod work;

pub use accounts::{AccountState, Bearer, NAME_BYTES_MAX, Role, TOUCH_SECONDS, Token};
pub use batch::{DELETED_SEGMENTS_MAX, EXTENTS_MAX, JSON_BYTES_MAX, ROWS_MAX};
pub use deletion::{
    Decision, Delete, Deletion, Erased, ExtentUse, MovedBytes, NewDeletion, Relocate, Tombstone,
    TombstoneKind,
};
pub use error::Error;
pub use journal::{ARCHIVE_NAME, Existing, Journal, Row, RowsOf, TABLES, Table};
pub use keys::{KeyGeneration, Revocation, WriterCertificate};
pub use open::{Options, Registry, SCHEMA_VERSION};
pub use rebuild::{Dead, FoundSegment, FoundVersion};
pub use reclaim::{RECLAIM_BYTES_MIN, RECLAIM_PERCENT};
pub use shelving::{Fate, Leftover, Move, Quota, ShelfUsage};
pub use texts::{TEXT_BOOK_BYTES_MAX, TEXT_USAGE_DAYS, TextQuota, TextRules, TextUsage};
pub use types::{
    Account, Archive, Batch, ChainReport, Checked, Committed, DurableSegment, Enqueued, EventsOf,
    Finish, IdKind, Institution, NewDraft, NewSegment, NewWork, Object, ObjectSummary, Publish,
    Recoded, Scope, Segment, SegmentsOf, Shelf, ShelfState, Status, Version, VersionState,
    WorkFilter,
};

/// Most rows that a list gives at once; a larger limit is lowered to it.
pub const LIST_ROWS_MAX: u32 = 10_000;

/// The setting that holds the archive's policy.
pub const SETTING_CODING: &str = "coding";
