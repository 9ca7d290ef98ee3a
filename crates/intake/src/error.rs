//! What can go wrong with work, each with a code that docs/errors.md explains.

use std::path::PathBuf;
use strongroom_bag::Problem;
use strongroom_vault::keys::ShareError;
use strongroom_vault::{Error as VaultError, ShardError};

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $remedy:literal;)*) => {
        /// A stable word for a kind of failure: cause and remedy stand under it in docs/errors.md.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Code { $($(#[$doc])* $name),* }
        impl Code {
            /// All codes.
            pub const ALL: &[Code] = &[$(Code::$name),*];
            /// The word.
            pub fn word(self) -> &'static str {
                match self { $(Code::$name => $word),* }
            }
            /// What a person can do, in a sentence.
            pub fn remedy(self) -> &'static str {
                match self { $(Code::$name => $remedy),* }
            }
        }
    };
}

codes! {
    /// The source's bytes, names or manifests are refused.
    SourceRefused = "source-refused", "Mend the source, then run the deposit again; `strongroom bag validate --all-errors` lists every problem of a bag.";
    /// The source cannot be read.
    SourceUnreadable = "source-unreadable", "Make the file readable to this user, or leave it out, then requeue the work item.";
    /// The source changed while it was read.
    SourceChanged = "source-changed", "Let nobody write to the source, cancel the work item, and deposit it again.";
    /// The object's last version came from another source.
    SourceDiffers = "source-differs", "Name the object with --object institution/name.";
    /// A target of a restoration exists already.
    TargetExists = "target-exists", "Restore to a path that does not exist yet.";
    /// A target cannot be written.
    TargetUnwritable = "target-unwritable", "Choose a target that this user can write and that has room, then run it again.";
    /// Too few shelves are there.
    ShelvesMissing = "shelves-missing", "Mount the missing shelf or add one, then requeue; or deposit with --accept-degraded.";
    /// No room.
    NoRoom = "no-room", "Make room on the shelf or add another, then requeue the work item.";
    /// A quota would be passed.
    Quota = "quota-exceeded", "Delete what is no longer needed, or have the quota raised: `strongroom policy quota`; then requeue the work item.";
    /// Work of that kind is paused.
    Paused = "paused", "Let it go on with `strongroom work resume`; the work item stays queued.";
    /// A shelf cannot be read or written.
    ShelfFailed = "shelf-failed", "Look at the disk under the shelf; then requeue the work item.";
    /// A folder that should become a shelf is one.
    ShelfTaken = "shelf-taken", "Name a folder that holds no shelf; `strongroom rebuild --from` brings back what one holds of another archive.";
    /// Too few good shards.
    SegmentLost = "segment-lost", "Bring back the missing shelves named in the message; then run repair.";
    /// The key is absent, damaged or another's.
    Key = "key", "Put the archive's key file back where `strongroom status` says it belongs.";
    /// The seed that is needed to read is not at hand.
    KeyMissing = "key-missing", "Run it where the whole key file is, put that back from its copy, or bring it back from trustees' shares with `strongroom key combine`.";
    /// The key file is of another archive, or its seeds are another institution's.
    KeyWrong = "key-wrong", "Put the right key file where `strongroom status` says it belongs; `strongroom key show` tells which archive it is of.";
    /// The key file is of an older generation than the archive.
    KeyOld = "key-old", "Put the newest key file in its place, or export a new one for this worker with `strongroom key export --public`.";
    /// The key file is locked under a passphrase.
    KeyLocked = "key-locked", "Unlock it into a file of its own with `strongroom key export --key FILE TO`.";
    /// The passphrase is another, or the file is damaged.
    PassphraseWrong = "passphrase-wrong", "Try the passphrase again, with the right keyboard layout; then try another copy of the file.";
    /// A share was misread, or is not what was dealt.
    ShareDamaged = "share-damaged", "Compare the share with its printed page, or scan its QR code; then try it without that share.";
    /// Fewer shares than are needed.
    SharesTooFew = "shares-too-few", "Ask further trustees of the same set for their shares.";
    /// Shares that were not dealt together.
    SharesMixed = "shares-mixed", "Use shares of one set only: each page names its set.";
    /// Something was written by a newer program.
    Newer = "newer-format", "Use the program that wrote it, or a newer one.";
    /// Nothing has that name or id.
    NotFound = "not-found", "List what there is with `strongroom object list` or `strongroom work list`.";
    /// An abbreviated id fits several things.
    Ambiguous = "ambiguous", "Give more of the identifier.";
    /// The request makes no sense.
    Usage = "usage", "See --help.";
    /// What was approved is not what is there.
    Outdated = "deletion-outdated", "Cancel the work item, look at what is there now, and ask anew.";
    /// The state of things does not allow it.
    Conflict = "conflict", "Look at what the message names; then ask for what its state allows.";
    /// Nobody is known by the token that was shown.
    Unauthorized = "unauthorized", "Show a token that counts: STRONGROOM_TOKEN, or `strongroom token create`.";
    /// The account, or the token's scope, may not do it.
    Forbidden = "forbidden", "Ask an administrator of the institution to do it, or for a role or scope that may.";
    /// Too much was asked in too short a time.
    TooManyRequests = "too-many-requests", "Wait as long as Retry-After says, then ask again.";
    /// More than a bound allows.
    TooLarge = "too-large", "Ask for less at once; the message names the bound.";
    /// The server has as much to do as it takes on.
    Busy = "busy", "Wait a little, then ask again.";
    /// Another worker has the item now.
    LeaseLost = "lease-lost", "Nothing: another worker goes on with it.";
    /// A person interrupted the work.
    Interrupted = "interrupted", "Run the same command again: it goes on where it was.";
    /// The registry could not be read or written.
    Registry = "registry", "Look at the disk under the data folder; nothing was half recorded.";
    /// The registry is older than what the shelves tell of it.
    RegistryBehind = "registry-behind", "Run `strongroom rebuild`: it takes what is newer from the shelves; until then nothing is written.";
    /// Something that should not be.
    Internal = "internal", "Report it, with the message.";
}

/// Why work did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source is refused, with every problem that was found (at least one).
    #[error("{}", describe(.0))]
    Refused(Vec<Problem>),
    /// A file of the source cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of the source changed while it was read, or since the work was begun.
    #[error("{} changed while it was read: {what}", path.display())]
    Changed {
        /// Which.
        path: PathBuf,
        /// What is different.
        what: String,
    },
    /// The object's last version came from another source.
    #[error("{object} was deposited from {before}; this is {now}")]
    SourceDiffers {
        /// The object.
        object: String,
        /// Its last source.
        before: String,
        /// The source now.
        now: String,
    },
    /// A restoration's target exists.
    #[error("{} exists already", .0.display())]
    TargetExists(PathBuf),
    /// A target cannot be written.
    #[error("{} cannot be written: {source}", path.display())]
    Unwritable {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Storage failed.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The registry failed.
    #[error(transparent)]
    Registry(#[from] strongroom_registry::Error),
    /// A bag or tar could not be read.
    #[error(transparent)]
    Bag(strongroom_bag::Error),
    /// Names and codings that are none.
    #[error(transparent)]
    Word(#[from] strongroom_record::Error),
    /// The key file is not what is needed.
    #[error("key file {}: {what}", path.display())]
    Key {
        /// What kind of failure it is.
        code: Code,
        /// Where it should be.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Shares of a recovery key give no seed.
    #[error("{which}: {source}")]
    Share {
        /// Where the share stands that is meant, or all of them.
        which: String,
        /// What is wrong.
        source: ShareError,
    },
    /// A file was written by a newer program.
    #[error("{}: its format is {found}, newer than {known}", path.display())]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The newest that is known.
        known: u32,
    },
    /// Nothing has that name or id.
    #[error("no {what} is `{name}`")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// As it was given.
        name: String,
    },
    /// An abbreviation that fits several.
    #[error("`{name}` begins the identifier of several {what}s")]
    Ambiguous {
        /// The kind of thing.
        what: &'static str,
        /// As it was given.
        name: String,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A restored file is not what was recorded.
    #[error("{path}: its bytes have SHA-256 {found}, recorded is {expected}")]
    Mismatch {
        /// Path in the version.
        path: String,
        /// As recorded.
        expected: String,
        /// As read.
        found: String,
    },
    /// An institution would have more than its quota.
    #[error("the institution has {used} bytes; {needed} more would pass its quota of {max}")]
    Quota {
        /// Bytes of its published versions and drafts.
        used: u64,
        /// Bytes that are to come.
        needed: u64,
        /// Its quota.
        max: u64,
    },
    /// Work of this kind is paused.
    #[error("work of kind {0} is paused")]
    Paused(strongroom_record::WorkKind),
    /// Too few shelves would be left.
    #[error("without shelf `{shelf}` {remain} can be written to, and {needed} are needed")]
    TooFewRemain {
        /// The shelf that is to go.
        shelf: String,
        /// Shelves that the widest coding needs.
        needed: usize,
        /// Shelves that can be written to without it.
        remain: usize,
    },
    /// Work in the background gives way: it is committed so far, and goes back to the queue.
    #[error("yielded to other work")]
    Yielded,
    /// A person interrupted the work.
    #[error("interrupted")]
    Interrupted,
    /// Something that should not be.
    #[error("{0}")]
    Internal(String),
}

impl From<strongroom_bag::Error> for Error {
    /// What the system did not let be read says nothing of a source's worth.
    fn from(error: strongroom_bag::Error) -> Error {
        match error {
            strongroom_bag::Error::Io { path, source, .. } => Error::Unreadable { path, source },
            other => Error::Bag(other),
        }
    }
}

impl Error {
    /// The code under which docs/errors.md explains it.
    pub fn code(&self) -> Code {
        match self {
            Error::Refused(_) | Error::Bag(_) => Code::SourceRefused,
            Error::Unreadable { .. } => Code::SourceUnreadable,
            Error::Changed { .. } => Code::SourceChanged,
            Error::SourceDiffers { .. } => Code::SourceDiffers,
            Error::TargetExists(_) => Code::TargetExists,
            Error::Unwritable { .. } => Code::TargetUnwritable,
            Error::Vault(VaultError::TooFewShelves { .. } | VaultError::ShelfGone { .. }) => {
                Code::ShelvesMissing
            }
            Error::Vault(VaultError::NoRoom { .. }) => Code::NoRoom,
            Error::Vault(VaultError::ShelfTaken { .. }) => Code::ShelfTaken,
            Error::Vault(VaultError::Lost { .. }) | Error::Mismatch { .. } => Code::SegmentLost,
            Error::Vault(VaultError::Shard { source, .. }) => match source {
                ShardError::NoKey { .. } => Code::KeyMissing,
                ShardError::WrongKey { .. }
                | ShardError::SealingKey { .. }
                | ShardError::WriterKey
                | ShardError::Institution { .. } => Code::KeyWrong,
                ShardError::KindNotCertified { .. } => Code::KeyMissing,
                ShardError::Newer { .. } | ShardError::Suite { .. } => Code::Newer,
                ShardError::Crypto { .. } => Code::Internal,
                _ => Code::SegmentLost,
            },
            Error::Vault(_) => Code::ShelfFailed,
            Error::Registry(strongroom_registry::Error::Newer { .. }) => Code::Newer,
            Error::Registry(strongroom_registry::Error::LeaseLost { .. }) => Code::LeaseLost,
            Error::Registry(strongroom_registry::Error::NotFound { .. }) => Code::NotFound,
            Error::Registry(strongroom_registry::Error::OverQuota { .. }) => Code::Quota,
            Error::Registry(strongroom_registry::Error::Forbidden { .. }) => Code::Forbidden,
            Error::Registry(strongroom_registry::Error::Outdated { .. }) => Code::Outdated,
            Error::Registry(strongroom_registry::Error::Conflict { .. }) => Code::Conflict,
            Error::Registry(strongroom_registry::Error::ReadOnly) => Code::RegistryBehind,
            Error::Registry(_) => Code::Registry,
            Error::Key { code, .. } => *code,
            Error::Share { source, .. } => match source {
                ShareError::TooFew { .. } => Code::SharesTooFew,
                ShareError::Mixed(_) => Code::SharesMixed,
                ShareError::Split { .. } => Code::Usage,
                _ => Code::ShareDamaged,
            },
            Error::Newer { .. } => Code::Newer,
            Error::NotFound { .. } => Code::NotFound,
            Error::Ambiguous { .. } => Code::Ambiguous,
            Error::Usage(_) | Error::Word(_) => Code::Usage,
            Error::Interrupted | Error::Yielded => Code::Interrupted,
            Error::Quota { .. } => Code::Quota,
            Error::Paused(_) => Code::Paused,
            Error::TooFewRemain { .. } => Code::ShelvesMissing,
            Error::Internal(_) => Code::Internal,
        }
    }

    /// Of what the stages of a pipeline say when it fails, what tells most: one whose neighbour went
    /// away knows only that, and says [`Error::Interrupted`].
    pub(crate) fn of_stages(errors: impl IntoIterator<Item = Error>) -> Error {
        let mut errors = errors.into_iter();
        errors.find(|e| !matches!(e, Error::Interrupted)).unwrap_or(Error::Interrupted)
    }

    /// Whether the answer is no (invalid, damaged, not found), rather than that it could not be told.
    pub fn is_no(&self) -> bool {
        matches!(
            self.code(),
            Code::SourceRefused | Code::SegmentLost | Code::NotFound | Code::Forbidden
        )
    }
}

/// Problems named in one message; a report holds all of them.
const DESCRIBED_MAX: usize = 3;

fn describe(problems: &[Problem]) -> String {
    let mut text: Vec<_> = problems.iter().take(DESCRIBED_MAX).map(|p| p.to_string()).collect();
    if problems.len() > DESCRIBED_MAX {
        text.push(format!("and {} more", problems.len() - DESCRIBED_MAX));
    }
    text.join("; ")
}
