//! The durable steps of ingest, restoration, deletion, fixity, repair, recoding and the rotation of keys; of
//! reclaiming, emptying and rebalancing shelves.
//!
//! [`Archive`] joins a registry, a vault and keys. [`Archive::deposit`] and its sisters only queue
//! work; [`Runner`] leases what is queued and does it, step by step, each step's outcome committed
//! with its events in one transaction under the lease's fencing token. A process that dies leaves an
//! item whose lease lapses; whoever takes it next goes on from the last durable point.
//!
//! # One deposit
//!
//! ```text
//! inspect   walk the headers, read tag files, refuse what is hostile, choose digests, reserve room
//! store     reader ─► digests on two threads ─► packer (seal, code, write) ─► finisher (sync, commit)
//! validate  compare with manifests; make the tag files of what was no bag, and store them alike
//! record    store the version's record: JSON Lines in segments of their own, the head last
//! publish   one transaction: version, events, end of the work item
//! ```
//!
//! What is read and not yet committed is at most [`UNCOMMITTED_BYTES_MAX`]. The checkpoint stands at
//! a boundary of batches, with the digest states of a file that is not ended.
//!
//! A compressed tar cannot be walked at little cost: it is read in one pass, with MD5, SHA-256 and
//! SHA-512 of everything; only then is it known whether it is a bag. Its files stand in the draft without a
//! place until that pass has ended, and are then given it, batch by batch, with what digests are missing
//! (computed from what is stored, which wants the key). After a crash it is decoded again from its start;
//! what is durable is compared, and nothing of it is stored again.
//!
//! # One restoration
//!
//! ```text
//! reader (shards, open) ─► check (SHA-256 of each file) ─► writer (folder or tar, under another name)
//! ```
//!
//! Every so often what is written is synced and the checkpoint says so. When all is there it is synced,
//! noted as whole, and given its name: a target that exists is whole.
//!
//! # Shelves
//!
//! Reclaiming removes logs whole, after what is wanted in them stands elsewhere, verified and committed; never
//! one that holds a segment which the registry does not know. Draining and rebalancing copy, verify and commit
//! each shard before it is wanted no longer where it stood. [`scan_shelf`] compares what is on a shelf with what
//! is counted. All this, fixity, repair and recoding wait between two bounded steps for whoever deposits or
//! restores, in any process, and can be paused and bounded ([`Archive::pause`], [`Archive::set_background_rate`]).
//! # One deletion
//!
//! ```text
//! asked ─► approved by another administrator (or forced, where there is none) ─► dead: one transaction with
//! tombstones ─► told in a journal ─► released ─► living bytes of mixed segments moved, records stored
//! anew ─► told ─► released
//! ```
//!
//! What goes is pinned when it is asked for, and is refused where it is not that anymore. From the
//! transaction on nothing lists, reads or shares it, and it cannot be cancelled, only ended.
//!
//! # Failure modes
//!
//! | what fails | what happens |
//! |---|---|
//! | the source is bad, or changes while it is read | trouble queue, with every problem found; nothing is published |
//! | a shelf is missing or full | trouble queue before anything is read; requeue it when mended |
//! | this process dies | the lease lapses (or is seen to be dead on this machine), work goes on from the checkpoint |
//! | a late worker commits | its token is refused, nothing of its batch counts |
//! | a shard is wrong when read | others are used; fixity and repair tell of it in events |
//! | a folder is changed before an interrupted deposit goes on | trouble queue: what was read of it is compared first |
//! | a shard is moved while it is read | where it stands now is asked for, and reading goes on |
//! | this process dies while it reclaims | what was copied and not committed is rubbish of its log; the next goes on |
//! | a shelf is missing while others are reclaimed | what waits on it waits until it returns |
//! | a deletion wants to rewrite, and this worker has no key | the item waits for one that has it |
//! | an object changed between asking for its deletion and doing it | trouble queue; nothing was deleted |
//! | this process dies between naming a restored target and saying so | the next run knows the target by its identity |
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accounts;
mod archive;
mod custody;
mod delete;
mod error;
mod fixity;
mod ingest;
mod journal;
mod keeper;
mod keyring;
mod keys;
mod lines;
mod locks;
mod moving;
mod pace;
mod progress;
mod rebuild;
mod reclaim;
mod record;
mod request;
mod restore;
mod rotation;
mod runner;
mod segment;
mod shelves;
mod source;

pub use accounts::{ShelfScan, scan_shelf};
pub use archive::{Archive, Opened, Options};
pub use custody::{Dealt, Recovered, recover_keys};
pub use delete::{
    DELETED_VERSIONS_MAX, Deleted, DeletedFile, DeletedVersion, Deletion, DeletionTarget,
    REASON_BYTES_MAX,
};
pub use error::{Code, Error};
pub use keys::{KeyFile, KeySummary, Recovery};
pub use progress::Progress;
pub use rebuild::{RebuildRequest, Rebuilt, look_at_lines, rebuild};
pub use request::{
    Deposit, DrainRequest, FixityRequest, Form, RebalanceRequest, ReclaimRequest, RecodeRequest,
    RepairRequest, RestoreRequest,
};
pub use restore::{read_file, read_range};
pub use rotation::KEY_FAIL_POINTS;
pub use runner::{Ended, Runner, Stop};
pub use shelves::ShelfChange;

/// Most bytes that are read from a source and not yet committed, over all segments in flight.
pub const UNCOMMITTED_BYTES_MAX: u64 = 128 << 20;

/// Plaintext of a segment as ingest fills it: one being written, one being finished and the queue
/// between reader and packer stay within [`UNCOMMITTED_BYTES_MAX`] together.
pub(crate) const SEGMENT_BYTES: u64 = 52 << 20;

/// The moments of work at which a process is made to die (feature `failpoints` of the program), in the
/// order in which work passes them; each begins with the word of its work.
pub const FAIL_POINTS: &[&str] = &[
    "deposit.planned",
    "deposit.begun",
    "deposit.segment-filled",
    "deposit.segment-synced",
    "deposit.segment-committed",
    "deposit.stored",
    "deposit.placed",
    "deposit.validated",
    "deposit.record-part-synced",
    "deposit.recorded",
    "deposit.published",
    "repair.made",
    "repair.done",
    "recode.coded",
    "recode.done",
    "reclaim.copied",
    "reclaim.moved",
    "reclaim.deleted",
    "reclaim.confirmed",
    "rebuild.searched",
    "rebuild.journals",
    "rebuild.records",
    "rebuild.segments",
    "rebuild.shelves-told",
    "rebuild.whole",
    "rebuild.named",
    "restore.begun",
    "restore.synced",
    "restore.written",
    "restore.whole",
    "restore.renamed",
    "delete.planned",
    "delete.dead",
    "delete.erased",
    "delete.journalled",
    "delete.copied",
    "delete.recorded",
    "delete.moved",
    "delete.rewritten",
    // Passed by the deletion of an object before it rewrites anything, too.
    "delete.released",
    "delete.done",
    "journal.stored",
    "journal.kept",
];

/// A lease lasts so long without renewal, in seconds.
pub const LEASE_SECONDS: i64 = 60;
