//! What the registry takes and gives, where the crate `record` has no word for it.

use serde_json::Value;
use strongroom_record::{
    ArchiveId, Coding, CodingNumber, EpochId, Event, EventDraft, FileRecord, InstitutionId, Lease,
    ObjectId, ObjectName, Placement, PlacementState, SegmentId, SegmentKind, SegmentState, Sha256,
    ShelfId, Stage, Time, VersionId, WorkId, WorkItem, WorkKind, WorkStatus,
};

/// The archive itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Archive {
    /// Its id.
    pub id: ArchiveId,
    /// Which life of the registry this is, from 1.
    pub epoch_number: u32,
    /// The random id of that life.
    pub epoch: EpochId,
    /// When it was made.
    pub created: Time,
}

/// Who owns records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Institution {
    /// First 128 bits of the SHA-256 of its first signing key.
    pub id: InstitutionId,
    /// Its name, unique in the archive.
    pub name: String,
    /// Generation of its keys, from 1.
    pub generation: u32,
    /// Public key material, in the caller's own form.
    pub keys: Vec<u8>,
    /// Its own policy, where it has one.
    pub coding: Option<Coding>,
    /// When it was made.
    pub created: Time,
}

/// Who acts for an institution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Account {
    /// Its id.
    pub id: [u8; 16],
    /// For whom it acts.
    pub institution: InstitutionId,
    /// Its name, unique in the institution.
    pub name: String,
    /// What it may do: depositor, administrator, auditor, observer, node keeper.
    pub role: String,
    /// Whether it may act at all.
    pub state: String,
    /// When it was made.
    pub created: Time,
}

/// Makes an enum of words that stand in tables.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $table:literal, $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }
        impl $name {
            /// The word in tables and in talk.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            /// From that word.
            pub fn parse(word: &str) -> Result<$name, strongroom_record::Error> {
                match word {
                    $($word => Ok($name::$variant),)*
                    _ => Err(strongroom_record::Error::Word {
                        what: $table,
                        word: word.chars().take(40).collect(),
                    }),
                }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
    };
}

words! {
    /// What a shelf is used for.
    ShelfState, "state of a shelf",
    /// Read and written.
    Active = "active",
    /// Read only.
    ReadOnly = "read-only",
    /// Neither; its shards are to be made anew elsewhere.
    Retired = "retired",
}

words! {
    /// How far a version is.
    VersionState, "state of a version",
    /// Being taken in; the only state in which files are added.
    Draft = "draft",
    /// Complete; its rows never change.
    Published = "published",
    /// Given up. Its files stay listed; its segments are released.
    Abandoned = "abandoned",
    /// Known from a journal, its record is being looked for on the shelves, or is being read.
    Rebuilding = "rebuilding",
}

/// One place that keeps shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shelf {
    /// Its id.
    pub id: ShelfId,
    /// Its name, unique in the archive.
    pub name: String,
    /// Where it is, in the vault's own form.
    pub location: String,
    /// Failure domain: what is lost together has one name.
    pub domain: String,
    /// Bytes it may hold, where limited.
    pub capacity_bytes: Option<u64>,
    /// What it is used for.
    pub state: ShelfState,
    /// When it was added.
    pub added: Time,
}

/// To what a policy applies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scope {
    /// All that has no policy of its own.
    Archive,
    /// An institution's objects that have none of their own.
    Institution(InstitutionId),
    /// One object.
    Object(ObjectId),
}

/// An intellectual object.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Its id.
    pub id: ObjectId,
    /// Whose it is.
    pub institution: InstitutionId,
    /// `institution/name`.
    pub name: ObjectName,
    /// Its own policy, where it has one.
    pub coding: Option<Coding>,
    /// Where its last published version came from.
    pub source: Option<String>,
}

/// An object as a list shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObjectSummary {
    /// The object.
    pub object: Object,
    /// Published versions.
    pub versions: u32,
    /// The last published version, with its number.
    pub latest: Option<(VersionId, u32)>,
    /// Files of that version.
    pub files: u64,
    /// Bytes of its files.
    pub bytes: u64,
    /// When it was published.
    pub published: Option<Time>,
}

/// One version of an object.
#[derive(Clone, PartialEq, Debug)]
pub struct Version {
    /// Its id.
    pub id: VersionId,
    /// Of which object.
    pub object: ObjectId,
    /// From 1, given when it is published; 0 before.
    pub number: u32,
    /// How far it is.
    pub state: VersionState,
    /// The work item that took it in.
    pub work: WorkId,
    /// Where it came from.
    pub source: String,
    /// It was deposited as a bag.
    pub bag: bool,
    /// Files so far.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Revision of its record, as (epoch, number).
    pub revision: (u32, u64),
    /// Head segment of its record.
    pub record: Option<SegmentId>,
    /// SHA-256 of the head.
    pub record_sha256: Option<Sha256>,
    /// When it was begun.
    pub created: Time,
    /// When it was published.
    pub published: Option<Time>,
    /// Whatever else intake keeps of it.
    pub detail: Value,
}

/// A unit of storage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Its id.
    pub id: SegmentId,
    /// The version for which it was written.
    pub version: Option<VersionId>,
    /// The object of which it holds bytes.
    pub object: Option<ObjectId>,
    /// To whose key it is sealed.
    pub institution: InstitutionId,
    /// What it holds.
    pub kind: SegmentKind,
    /// How far it is.
    pub state: SegmentState,
    /// Generation of the key to which it is sealed.
    pub generation: u32,
    /// Bytes of plaintext; 0 while it is written.
    pub bytes: u64,
    /// The wanted coding.
    pub coding: Coding,
    /// The number of that coding.
    pub number: CodingNumber,
    /// The work item that wrote it.
    pub work: Option<WorkId>,
    /// The token under which that item wrote it.
    pub token: u64,
    /// When it was begun.
    pub created: Time,
}

/// Which segments to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SegmentsOf {
    /// Those that were written for a version (not those that it shares with earlier ones).
    Version(VersionId),
    /// Those of an object.
    Object(ObjectId),
    /// All.
    All,
}

/// Which events to list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventsOf {
    /// An institution's chain.
    Institution(InstitutionId),
    /// What happened to an object.
    Object(ObjectId),
}

/// Work to be done.
#[derive(Clone, PartialEq, Debug)]
pub struct NewWork {
    /// Its id, drawn by the caller.
    pub id: WorkId,
    /// What is to be done.
    pub kind: WorkKind,
    /// For whom.
    pub institution: InstitutionId,
    /// With what object.
    pub object: Option<ObjectId>,
    /// What it works on; one unfinished item of a kind has a key at a time.
    pub key: Option<String>,
    /// What was asked for.
    pub request: Value,
    /// Where it begins.
    pub stage: Stage,
}

/// What became of a [`NewWork`].
#[derive(Clone, PartialEq, Debug)]
pub struct Enqueued {
    /// The item: the new one, or the unfinished one with the same kind and key.
    pub item: WorkItem,
    /// It was there already.
    pub existing: bool,
}

/// Which work items to list; an empty filter means all.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct WorkFilter {
    /// Only of this status.
    pub status: Option<WorkStatus>,
    /// Only of this kind.
    pub kind: Option<WorkKind>,
    /// Only with this object.
    pub object: Option<ObjectId>,
}

/// Begins the draft of a version.
#[derive(Clone, PartialEq, Debug)]
pub struct NewDraft {
    /// Its id.
    pub version: VersionId,
    /// Of which object.
    pub object: ObjectId,
    /// Where it comes from.
    pub source: String,
    /// It was deposited as a bag.
    pub bag: bool,
    /// Whatever else intake keeps of it.
    pub detail: Value,
}

/// Registers a segment as `writing`, before its first byte is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewSegment {
    /// Its id.
    pub id: SegmentId,
    /// The version for which it is written.
    pub version: Option<VersionId>,
    /// The object of which it holds bytes.
    pub object: Option<ObjectId>,
    /// To whose key it is sealed.
    pub institution: InstitutionId,
    /// What it holds.
    pub kind: SegmentKind,
    /// Generation of that key.
    pub generation: u32,
    /// How it will be coded.
    pub coding: Coding,
    /// The number of that coding.
    pub number: CodingNumber,
}

/// A segment whose shards are stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DurableSegment {
    /// Its id.
    pub id: SegmentId,
    /// Bytes of plaintext.
    pub bytes: u64,
    /// How it was coded (a small one is coded as copies).
    pub coding: Coding,
    /// The number of that coding.
    pub number: CodingNumber,
    /// Its shards.
    pub placements: Vec<Placement>,
}

/// A segment coded anew.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recoded {
    /// Its id.
    pub segment: SegmentId,
    /// The coding that is now wanted.
    pub coding: Coding,
    /// Its number, higher than that of any before.
    pub number: CodingNumber,
    /// Its shards.
    pub placements: Vec<Placement>,
}

/// The outcome of checking one shard.
pub type Checked = (SegmentId, CodingNumber, u8, PlacementState, Time);

/// Publishes the item's draft.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publish {
    /// Head segment of the version's record; it must be durable.
    pub record: SegmentId,
    /// SHA-256 of the head.
    pub record_sha256: Sha256,
    /// The record's revision, from `Registry::next_revision`.
    pub revision: (u32, u64),
    /// Files of the version: must be as many as were recorded.
    pub files: u64,
    /// The sum of all those files' sizes: must be what was recorded.
    pub bytes: u64,
}

/// Ends a work item.
#[derive(Clone, PartialEq, Debug)]
pub struct Finish {
    /// Succeeded, Trouble or Cancelled.
    pub status: WorkStatus,
    /// What a person should be able to read for good.
    pub report: Value,
}

/// A step's outcome: all of it is kept, or nothing. Applied in the order of the fields.
#[derive(Clone, Default, Debug)]
pub struct Batch {
    /// Begin a draft, owned by the item.
    pub begin_draft: Option<NewDraft>,
    /// Register segments as `writing`, owned by the item.
    pub begin_segments: Vec<NewSegment>,
    /// The item's `writing` segments that are now stored.
    pub durable: Vec<DurableSegment>,
    /// The item's `writing` segments that are given up.
    pub give_up: Vec<SegmentId>,
    /// Files of the item's draft, in dense numbers.
    pub files: Vec<FileRecord>,
    /// Files of the item's draft that have another id, path or digests than was known when they were
    /// added; by number.
    pub amend: Vec<FileRecord>,
    /// Whether the item's draft is a bag, where that was not known when it was begun.
    pub bag: Option<bool>,
    /// Release the draft's durable segments of data that none of its files refers to.
    pub release_unused: bool,
    /// Segments coded anew; their old placements are released.
    pub replace_codings: Vec<Recoded>,
    /// Shards that stand elsewhere, or are in another state, than was known. Those of a coding
    /// that is no longer wanted are passed over: the coding was replaced meanwhile.
    pub placements: Vec<Placement>,
    /// Shards that were checked. A verdict older than what is known of the shard is passed over.
    pub checked: Vec<Checked>,
    /// The stage that the item is at now.
    pub stage: Option<Stage>,
    /// Where to go on.
    pub checkpoint: Option<Value>,
    /// What a person should know.
    pub note: Option<String>,
    /// A journal that is stored; the tombstones of which it tells are told of from now on.
    pub journal: Option<crate::Journal>,
    /// What happened, chained to the item's institution.
    pub events: Vec<EventDraft>,
    /// Give the item's draft up, and release its segments.
    pub abandon_draft: bool,
    /// Publish the item's draft.
    pub publish: Option<Publish>,
    /// Further work.
    pub enqueue: Vec<NewWork>,
    /// End the item.
    pub finish: Option<Finish>,
}

/// What a commit did.
#[derive(Clone, PartialEq, Debug)]
pub struct Committed {
    /// The lease, renewed (of no use where the item was finished).
    pub lease: Lease,
    /// The events in their places.
    pub events: Vec<Event>,
    /// The number of the version that was published.
    pub published: Option<u32>,
    /// What became of the further work.
    pub enqueued: Vec<Enqueued>,
}

/// The outcome of verifying an institution's chain of events.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ChainReport {
    /// Events that verified, from the first on.
    pub events: u64,
    /// Sequence number of the first event that is missing or is not what was hashed.
    pub broken_at: Option<u64>,
}

/// Counts, for a person.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Status {
    /// Objects.
    pub objects: u64,
    /// Published versions.
    pub versions: u64,
    /// Files of published versions.
    pub files: u64,
    /// Bytes of those files.
    pub bytes: u64,
    /// Segments by state; states of which there is none are left out.
    pub segments: Vec<(SegmentState, u64)>,
    /// Placements by state.
    pub placements: Vec<(PlacementState, u64)>,
    /// Work items by status.
    pub work: Vec<(WorkStatus, u64)>,
}

/// What an abbreviated id may name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IdKind {
    /// An object.
    Object,
    /// A version.
    Version,
    /// A work item.
    Work,
    /// A segment.
    Segment,
    /// A shelf.
    Shelf,
}
