//! Deletion, as people ask for it and decide about it; `run` does what was approved.
//!
//! What is to go is pinned when it is asked for: versions and files by their ids, with their count and
//! Merkle root. That, and nothing that came later, is what is approved and done.

mod rewrite;
mod run;

pub(crate) use run::run;

use crate::archive::{now, random_id};
use crate::{Archive, Error};
use serde::{Deserialize, Serialize};
use serde_json::json;
use strongroom_bag::path::show as show_path;
use strongroom_record::{
    EventDraft, EventKind, FileId, FileRecord, Merkle, MerkleRoot, ObjectId, Stage, VersionId,
    WorkId, WorkItem, WorkKind,
};
use strongroom_registry::{Account, Decision, NewDeletion, NewWork, Object, Version, VersionState};

/// Most versions that one deletion takes, or takes a file from: they die in one transaction.
pub const DELETED_VERSIONS_MAX: usize = 900;
/// Most bytes of a reason.
pub const REASON_BYTES_MAX: usize = 4_000;
/// Files that are asked of the registry at once.
const PAGE: u32 = 1000;

/// What is to be deleted, as a person names it.
#[derive(Clone, Debug)]
pub struct DeletionTarget {
    /// `OBJECT`, `OBJECT@VERSION`.
    pub object: String,
    /// One file, by its path in the version (the latest, where none is named).
    pub file: Option<Vec<u8>>,
    /// The file at this path in every version.
    pub all_versions: bool,
}

/// What kind of thing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deleted {
    /// An object with all its versions.
    Object,
    /// A version.
    Version,
    /// A file, in one version or several.
    File,
    /// What is left of a draft that was given up after its record was stored.
    Draft,
}

/// A version of which something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedVersion {
    /// Its id.
    pub id: VersionId,
    /// Its number.
    pub number: u32,
}

/// A file that goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletedFile {
    /// In which version.
    pub version: VersionId,
    /// Its number there.
    pub number: u64,
    /// Its id.
    pub id: FileId,
}

/// A deletion: what a work item of kind `delete` keeps as its request.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deletion {
    /// What kind of thing goes.
    pub what: Deleted,
    /// What goes, as it was named: `institution/name`, with `@NUMBER`, with the file's path.
    pub name: String,
    /// The object's name, which is typed to confirm.
    #[serde(default)]
    pub object: String,
    /// The versions that go, or from which a file goes.
    #[serde(default)]
    pub versions: Vec<DeletedVersion>,
    /// Of a file: where it stands.
    #[serde(default)]
    pub files: Vec<DeletedFile>,
    /// How many files go, with the Merkle root of their leaves.
    #[serde(default)]
    pub root: Option<MerkleRoot>,
    /// Bytes of these files.
    #[serde(default)]
    pub bytes: u64,
    /// Of a file: other files of the object with the same content, which keep the bytes.
    #[serde(default)]
    pub kept_by: u64,
    /// Why.
    #[serde(default)]
    pub reason: String,
    /// The name of the account that asked.
    #[serde(default)]
    pub asked_by: Option<String>,
    /// Whether it was forced, as nobody could approve it.
    #[serde(default)]
    pub forced: bool,
}

impl Archive {
    /// What would go, with its counts: a preview, and what [`Archive::ask_deletion`] asks for.
    pub fn plan_deletion(&self, target: &DeletionTarget) -> Result<Deletion, Error> {
        let numbered = target.object.rsplit_once('@').is_some();
        if target.all_versions && (numbered || target.file.is_none()) {
            let what = "a file of all versions is named by OBJECT and --file, without a version";
            return Err(Error::Usage(what.into()));
        }
        let (object, versions) = match numbered || (target.file.is_some() && !target.all_versions) {
            true => self.find_version(&target.object).map(|(object, v)| (object, vec![v]))?,
            false => {
                let object = self.find_object(&target.object)?;
                let mut versions = self.block_on(self.registry().versions(object.id))?;
                versions.retain(|v| v.state == VersionState::Published);
                (object, versions)
            }
        };
        if versions.len() > DELETED_VERSIONS_MAX {
            return Err(Error::Usage(format!(
                "{} versions are too many for one deletion ({DELETED_VERSIONS_MAX}): name them one by one",
                versions.len()
            )));
        }
        match &target.file {
            Some(path) => self.plan_file(&object, &versions, path),
            None => self.plan_versions(&object, &versions, numbered),
        }
    }

    fn plan_versions(
        &self,
        object: &Object,
        versions: &[Version],
        numbered: bool,
    ) -> Result<Deletion, Error> {
        let name = object.name.to_string();
        let (what, named) = match versions {
            [one] if numbered => (Deleted::Version, format!("{name}@{}", one.number)),
            _ => (Deleted::Object, name.clone()),
        };
        if what == Deleted::Object && self.block_on(self.registry().draft(object.id))?.is_some() {
            let what = format!("{name} has an unfinished deposit: let it end, or cancel it, first");
            return Err(Error::Usage(what));
        }
        let mut merkle = Merkle::default();
        let mut bytes = 0;
        for version in versions {
            self.each_file(version.id, &mut |file| {
                merkle.push(&file.leaf());
                bytes += file.size;
                Ok(())
            })?;
        }
        let versions = versions.iter().map(pinned).collect();
        let root = Some(merkle.root());
        Ok(Deletion { what, name: named, object: name, versions, root, bytes, ..Deletion::EMPTY })
    }

    fn plan_file(
        &self,
        object: &Object,
        versions: &[Version],
        path: &[u8],
    ) -> Result<Deletion, Error> {
        let missing = || Error::NotFound { what: "file", name: show_path(path) };
        let name = object.name.to_string();
        let mut merkle = Merkle::default();
        let (mut holding, mut files, mut bytes, mut contents) = (vec![], vec![], 0, vec![]);
        for version in versions {
            let Some(file) = crate::restore::find_file(self, version, path)? else { continue };
            if file.made {
                return Err(Error::Usage(format!(
                    "{} was made by Strongroom to describe the version; it goes with it",
                    show_path(&file.path)
                )));
            }
            merkle.push(&file.leaf());
            bytes += file.size;
            files.push(DeletedFile { version: version.id, number: file.number, id: file.id });
            contents.push((file.sha256, file.size));
            holding.push(pinned(version));
        }
        if files.is_empty() {
            return Err(missing());
        }
        let mut kept_by = 0;
        contents.sort_unstable_by_key(|(sha256, _)| sha256.0);
        contents.dedup();
        let all = self.block_on(self.registry().versions(object.id))?;
        for version in all.iter().filter(|v| v.state == VersionState::Published) {
            for (sha256, size) in &contents {
                let found = self.registry().file_by_sha256(version.id, sha256, *size);
                let found = self.block_on(found)?;
                let goes = |f: &FileRecord| {
                    files.iter().any(|g| g.version == version.id && g.number == f.number)
                };
                kept_by += u64::from(found.is_some_and(|f| !goes(&f)));
            }
        }
        let named = match holding.as_slice() {
            [one] => format!("{name}@{}: {}", one.number, show_path(path)),
            _ => format!("{name}: {}", show_path(path)),
        };
        Ok(Deletion {
            what: Deleted::File,
            name: named,
            object: name,
            versions: holding,
            files,
            root: Some(merkle.root()),
            bytes,
            kept_by,
            ..Deletion::EMPTY
        })
    }

    /// Asks for a deletion; it waits until another administrator approves it, or, where there is none
    /// and it is forced, is queued. `by` is who asks. The same again finds the one that waits.
    pub fn ask_deletion(
        &self,
        deletion: Deletion,
        reason: &str,
        by: Option<&Account>,
        forced: bool,
    ) -> Result<WorkItem, Error> {
        let reason = checked_reason(reason)?;
        let asked_by = by.map(|account| account.name.clone());
        let deletion = Deletion { reason, asked_by, forced, ..deletion };
        let object = self.find_object(&deletion.object)?;
        let id = WorkId(random_id());
        let ask = deletion.event(EventKind::DeletionRequest, id, object.id, by, json!({}));
        let mut events = vec![ask];
        if forced {
            let detail = json!({"forced": true});
            events.push(deletion.event(EventKind::DeletionApproval, id, object.id, by, detail));
        }
        let work = NewWork {
            id,
            kind: WorkKind::Delete,
            institution: object.institution,
            object: Some(object.id),
            key: Some(deletion.name.clone()),
            request: serde_json::to_value(&deletion).expect("a request is plain JSON"),
            stage: Stage::Run,
        };
        let new = NewDeletion { work, asked_by: by.map(|account| account.id), forced, events };
        Ok(self.block_on(self.registry().ask_deletion(new, now()))?.item)
    }

    /// Approves, refuses or withdraws a deletion that waits. Whom the rules allow to, the registry says.
    pub fn decide_deletion(
        &self,
        item: &WorkItem,
        by: &Account,
        decision: Decision,
        reason: &str,
    ) -> Result<WorkItem, Error> {
        let deletion = Deletion::of(item)?;
        let object =
            item.object.ok_or_else(|| Error::Internal("a deletion from nothing".into()))?;
        let (kind, word) = match decision {
            Decision::Approved => (EventKind::DeletionApproval, "approved"),
            Decision::Refused => (EventKind::DeletionRefusal, "refused"),
            Decision::Withdrawn => (EventKind::DeletionRefusal, "withdrawn"),
        };
        let mut detail = json!({"decision": word, "asked_by": deletion.asked_by});
        if !reason.is_empty() {
            detail["because"] = checked_reason(reason)?.into();
        }
        let event = deletion.event(kind, item.id, object, Some(by), detail);
        let decided = self.registry().decide_deletion(item.id, by.id, decision, event, now());
        Ok(self.block_on(decided)?)
    }

    /// The account of this name in the institution of this name.
    pub fn find_account(&self, institution: &str, name: &str) -> Result<Account, Error> {
        let known = self.block_on(self.registry().institution_by_name(institution))?;
        let missing = || Error::NotFound { what: "account", name: format!("{institution}/{name}") };
        let accounts = self.registry().accounts(known.ok_or_else(missing)?.id);
        let accounts = self.block_on(accounts)?;
        accounts.into_iter().find(|account| account.name == name).ok_or_else(missing)
    }

    fn each_file(
        &self,
        version: VersionId,
        visit: &mut dyn FnMut(&FileRecord) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut next = 0;
        loop {
            let page = self.block_on(self.registry().files(version, next, PAGE))?;
            let Some(last) = page.last() else { return Ok(()) };
            next = last.number + 1;
            page.iter().try_for_each(&mut *visit)?;
        }
    }
}

impl Deletion {
    const EMPTY: Deletion = Deletion {
        what: Deleted::Object,
        name: String::new(),
        object: String::new(),
        versions: Vec::new(),
        files: Vec::new(),
        root: None,
        bytes: 0,
        kept_by: 0,
        reason: String::new(),
        asked_by: None,
        forced: false,
    };

    /// What a work item of kind `delete` is to delete.
    pub fn of(item: &WorkItem) -> Result<Deletion, Error> {
        if item.kind != WorkKind::Delete {
            return Err(Error::Usage(format!("{} is no deletion, but {}", item.id, item.kind)));
        }
        serde_json::from_value(item.request.clone())
            .map_err(|e| Error::Internal(format!("the request of {} is damaged: {e}", item.id)))
    }

    /// An event that tells of it. Who acts is named by id and name; nobody is the operator of the
    /// machine, where the institution has no administrator.
    fn event(
        &self,
        kind: EventKind,
        work: WorkId,
        object: ObjectId,
        by: Option<&Account>,
        mut detail: serde_json::Value,
    ) -> EventDraft {
        let numbers: Vec<u32> = self.versions.iter().map(|v| v.number).collect();
        detail["what"] = json!(self.what);
        detail["name"] = json!(self.name);
        detail["versions"] = json!(numbers);
        detail["bytes"] = json!(self.bytes.to_string());
        detail["reason"] = json!(self.reason);
        if let Some(by) = by {
            detail["account"] = json!(by.name);
            detail["account_id"] = json!(strongroom_record::json::bytes::hex(&by.id));
        }
        let version = match self.versions.as_slice() {
            [one] => Some(one.id),
            _ => None,
        };
        EventDraft {
            object: Some(object),
            version,
            work: Some(work),
            files: self.root,
            detail,
            ..EventDraft::new(kind)
        }
    }
}

fn pinned(version: &Version) -> DeletedVersion {
    DeletedVersion { id: version.id, number: version.number }
}

fn checked_reason(reason: &str) -> Result<String, Error> {
    match reason.trim() {
        "" => Err(Error::Usage("a deletion wants a reason".into())),
        text if text.len() > REASON_BYTES_MAX => {
            Err(Error::Usage(format!("a reason has at most {REASON_BYTES_MAX} bytes")))
        }
        text => Ok(text.into()),
    }
}
