//! Work items: one ingest, restoration, fixity check, repair or recoding, and how far it is.

use crate::segment::words;
use crate::{Error, InstitutionId, ObjectId, Time, WorkId, WorkerId};

words! {
    /// What is to be done.
    WorkKind, "kind of work",
    /// Take a deposit in.
    Ingest = "ingest",
    /// Bring an object back to a folder or tar.
    Restore = "restore",
    /// Check every shard.
    Fixity = "fixity",
    /// Make lost or damaged shards anew.
    Repair = "repair",
    /// Code what is stored already under another policy.
    Recode = "recode",
    /// Delete what was approved.
    Delete = "delete",
    /// Tell the shelves what the registry knows.
    Journal = "journal",
}

words! {
    /// The stage of a work item; a person can requeue an item at any stage of its kind.
    Stage, "stage",
    /// Look at the source, choose digests, refuse what is hostile, reserve room.
    Inspect = "inspect",
    /// Read the source once: hash, seal, store.
    Store = "store",
    /// Compare with manifests, make tag files.
    Validate = "validate",
    /// Store the version's record.
    Record = "record",
    /// Publish the version.
    Publish = "publish",
    /// The work of an item that has one stage.
    Run = "run",
}

words! {
    /// What is happening to a work item.
    WorkStatus, "status",
    /// Waits for a worker.
    Queued = "queued",
    /// A worker has, or had, its lease.
    Running = "running",
    /// In the trouble queue: a person must look.
    Trouble = "trouble",
    /// Done.
    Succeeded = "succeeded",
    /// Given up by a person.
    Cancelled = "cancelled",
}

/// A unit of work with its whole state.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkItem {
    /// Its id.
    pub id: WorkId,
    /// What is to be done.
    pub kind: WorkKind,
    /// For whom.
    pub institution: InstitutionId,
    /// With what object, where with one.
    pub object: Option<ObjectId>,
    /// What it works on, such as a source's path; one unfinished item has a key at a time.
    pub key: Option<String>,
    /// What was asked for, as JSON of the kind's own form.
    pub request: serde_json::Value,
    /// How far it is.
    pub stage: Stage,
    /// What is happening to it.
    pub status: WorkStatus,
    /// Times that a worker began it.
    pub attempts: u32,
    /// Lowest token that may commit; raised with each lease.
    pub token: u64,
    /// Who holds the lease.
    pub worker: Option<WorkerId>,
    /// Until when.
    pub lease_until: Option<Time>,
    /// Where to go on, as JSON of the kind's own form.
    pub checkpoint: serde_json::Value,
    /// What a person should know: the last failure with its code, or the outcome.
    pub note: String,
    /// The report of a rejected or finished item, as JSON.
    pub report: serde_json::Value,
    /// When it was asked for.
    pub created: Time,
    /// When it last changed.
    pub updated: Time,
}

/// The time-limited right to a work item.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The item.
    pub work: WorkId,
    /// Its fencing token: a commit under a lower one than the item's is refused.
    pub token: u64,
    /// Until when.
    pub until: Time,
}
