//! What can be asked for, as a work item keeps it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::PathBuf;
use strongroom_record::json::bytes::hex;
use strongroom_record::{Coding, WorkItem};
use strongroom_registry::Account;

/// Take a source in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deposit {
    /// Absolute path of the folder, file or tar.
    #[serde(with = "path_text")]
    pub source: PathBuf,
    /// `institution/name` of the object.
    pub object: String,
    /// Policy of the object, where one was named.
    pub policy: Option<Coding>,
    /// Whether fewer shelves than the policy asks for will do for now.
    pub accept_degraded: bool,
    /// What the object is told to come from, where that is not the path: such as an upload, whose
    /// path means nothing once it is taken in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origin: Option<String>,
}

impl Deposit {
    /// The source, as the object remembers it.
    pub(crate) fn source_text(&self) -> String {
        self.origin.clone().unwrap_or_else(|| crate::archive::source_text(&self.source))
    }
}

/// In which form an object is brought back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// A bag in a folder.
    Bag,
    /// A bag in a tar.
    Tar,
    /// The payload alone, as it was deposited.
    Files,
}

/// Bring a version back.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestoreRequest {
    /// The version's id, hex.
    pub version: String,
    /// Where it goes: the folder or tar itself, which must not exist yet.
    #[serde(with = "path_text")]
    pub to: PathBuf,
    /// How.
    pub form: Form,
}

/// Check every shard.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct FixityRequest {
    /// Of this object only, its id in hex.
    pub object: Option<String>,
}

/// Make anew what is missing or damaged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RepairRequest {
    /// Of this object only, its id in hex.
    pub object: Option<String>,
}

/// Code what is stored under the policy that now holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RecodeRequest {
    /// Of this object only, its id in hex.
    pub object: Option<String>,
}

/// Remove from the shelves what is released.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ReclaimRequest {
    /// Of this shelf only, its id in hex.
    pub shelf: Option<String>,
    /// Every byte that is not wanted, not only where that is much of a log.
    pub everything: bool,
    /// Every byte that the registry lists as waiting, and no log but those that hold such: what a
    /// deletion queues.
    #[serde(default)]
    pub listed: bool,
}

/// Empty a shelf, and retire it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct DrainRequest {
    /// The shelf's id in hex.
    pub shelf: String,
}

/// Move shards to where they would be placed now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct RebalanceRequest {}

/// The account that asked, kept beside the request; nobody is whoever can open the archive's folder.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asker {
    /// Its name in the work item's institution.
    account: String,
    /// Its id, hex.
    account_id: String,
}

impl Asker {
    const FIELD: &str = "asked_by";

    /// The account that asks.
    pub(crate) fn is(by: &Account) -> Asker {
        Asker { account: by.name.clone(), account_id: hex(&by.id) }
    }

    /// Notes who asked for this.
    pub(crate) fn note(by: &Account, request: &mut Value) {
        let asker = serde_json::to_value(Asker::is(by)).expect("an asker is plain JSON");
        request[Asker::FIELD] = asker;
    }

    /// Who asked for an item, where that was noted so; of a deletion the registry knows more.
    pub(crate) fn of(item: &WorkItem) -> Option<Asker> {
        Asker::deserialize(item.request.get(Asker::FIELD)?).ok()
    }

    /// Tells of it in an event, as those of deletions do.
    pub(crate) fn tell(&self, detail: &mut Value) {
        detail["account"] = self.account.as_str().into();
        detail["account_id"] = self.account_id.as_str().into();
    }
}

/// Paths need not be UTF-8: as text where they are, else base64 after `base64:`.
mod path_text {
    use serde::{Deserialize as _, Deserializer, Serializer};
    use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
    use std::path::{Path, PathBuf};
    use strongroom_record::json::bytes;

    const MARK: &str = "base64:";

    pub(super) fn serialize<S: Serializer>(path: &Path, s: S) -> Result<S::Ok, S::Error> {
        match path.to_str() {
            Some(text) if !text.starts_with(MARK) => s.serialize_str(text),
            _ => {
                s.collect_str(&format_args!("{MARK}{}", bytes::base64(path.as_os_str().as_bytes())))
            }
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<PathBuf, D::Error> {
        let text = String::deserialize(d)?;
        match text.strip_prefix(MARK) {
            None => Ok(text.into()),
            Some(coded) => bytes::unbase64(coded)
                .map(|b| std::ffi::OsString::from_vec(b).into())
                .ok_or_else(|| serde::de::Error::custom("a path is not base64")),
        }
    }
}
