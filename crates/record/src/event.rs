//! PREMIS events, append-only, hash-chained per institution.

use crate::segment::words;
use crate::{Error, InstitutionId, MerkleRoot, ObjectId, Sha256, Time, VersionId, WorkId, json};

words! {
    /// What happened, in the terms of the Library of Congress's PREMIS event type vocabulary where
    /// it has one.
    EventKind, "type of event",
    /// An institution and its key were made.
    Creation = "creation",
    /// A source was taken in.
    Ingestion = "ingestion start",
    /// Files' digests were computed.
    Digest = "message digest calculation",
    /// A bag or its parts were checked against rules and manifests.
    Validation = "validation",
    /// A version was published.
    Accession = "ingestion end",
    /// A deposit changed nothing.
    Unchanged = "information package comparison",
    /// A deposit was refused.
    Rejection = "rejection",
    /// Shards were checked.
    Fixity = "fixity check",
    /// Lost or damaged shards were made anew.
    Repair = "repair",
    /// A segment was coded anew under another policy.
    Recoding = "migration",
    /// A version was brought back.
    Dissemination = "dissemination",
    /// A policy was set.
    Policy = "policy assignment",
    /// A person gave work up.
    Cancellation = "cancellation",
    /// Something was deleted.
    Deletion = "deletion",
    /// Shelves, accounts or settings of the archive changed.
    Administration = "administration",
    /// The registry was rebuilt from the shelves.
    Recovery = "registry recovery",
}

words! {
    /// How it went.
    Outcome, "outcome",
    /// As it should.
    Success = "success",
    /// With something that a person should know.
    Warning = "warning",
    /// It did not.
    Failure = "failure",
}

/// An event before it has a place in its institution's chain.
#[derive(Clone, PartialEq, Debug)]
pub struct EventDraft {
    /// What happened.
    pub kind: EventKind,
    /// How it went.
    pub outcome: Outcome,
    /// To which object.
    pub object: Option<ObjectId>,
    /// To which version.
    pub version: Option<VersionId>,
    /// In which work item.
    pub work: Option<WorkId>,
    /// The files it covers.
    pub files: Option<MerkleRoot>,
    /// Details: a JSON object of the type's own form, integers within 2^53.
    pub detail: serde_json::Value,
}

impl EventDraft {
    /// An event of this type that went well, with no details yet.
    pub fn new(kind: EventKind) -> EventDraft {
        EventDraft {
            kind,
            outcome: Outcome::Success,
            object: None,
            version: None,
            work: None,
            files: None,
            detail: serde_json::json!({}),
        }
    }
}

/// The end of an institution's chain.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EventHead {
    /// Sequence number of the last event; 0 where there is none.
    pub sequence: u64,
    /// Its hash; zeros where there is none.
    pub hash: Sha256,
}

impl EventHead {
    /// The head of an empty chain.
    pub const EMPTY: EventHead = EventHead { sequence: 0, hash: Sha256([0; 32]) };
}

/// An event in its place. Its hash is over its canonical JSON, which holds all else.
#[derive(Clone, PartialEq, Debug)]
pub struct Event {
    /// Whose chain.
    pub institution: InstitutionId,
    /// The archive's epoch in which it was written.
    pub epoch: u32,
    /// Place in the chain, from 1, dense.
    pub sequence: u64,
    /// When.
    pub time: Time,
    /// Hash of the one before.
    pub before: Sha256,
    /// Hash of [`Event::canonical`].
    pub hash: Sha256,
    /// What happened.
    pub draft: EventDraft,
}

impl Event {
    /// Gives `draft` the place after `head`.
    pub fn chain(
        institution: InstitutionId,
        epoch: u32,
        head: EventHead,
        time: Time,
        draft: EventDraft,
    ) -> Result<Event, Error> {
        let mut event = Event {
            institution,
            epoch,
            sequence: head.sequence + 1,
            time,
            before: head.hash,
            hash: Sha256([0; 32]),
            draft,
        };
        event.hash = Sha256::of(&event.canonical()?);
        Ok(event)
    }

    /// The head after this event.
    pub fn head(&self) -> EventHead {
        EventHead { sequence: self.sequence, hash: self.hash }
    }

    /// The event as JSON, its own hash left out.
    pub fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::json!({
            "hash": "sha256",
            "institution": self.institution,
            "epoch": self.epoch,
            "sequence": self.sequence.to_string(),
            "time": self.time.to_string(),
            "before": self.before,
            "type": self.draft.kind,
            "outcome": self.draft.outcome,
            "detail": self.draft.detail,
        });
        let fields = object.as_object_mut().expect("a JSON object was just made");
        let mut put = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                fields.insert(name.into(), value.into());
            }
        };
        put("object", self.draft.object.map(|id| id.to_string()));
        put("version", self.draft.version.map(|id| id.to_string()));
        put("work", self.draft.work.map(|id| id.to_string()));
        put("files", self.draft.files.map(|f| f.count.to_string()));
        put("files_root", self.draft.files.map(|f| f.root.to_string()));
        object
    }

    /// From [`Event::to_json`] and the hash that stood beside it; [`Event::follows`] says whether they
    /// belong together.
    pub fn from_json(value: &serde_json::Value, hash: Sha256) -> Result<Event, Error> {
        let event = json::Reading::new("an event", value);
        if event.text("hash")? != "sha256" {
            return Err(event.wrong("hash"));
        }
        let files = match event.parsed_or_none("files")? {
            None => None,
            Some(count) => Some(MerkleRoot { count, root: event.parsed("files_root")? }),
        };
        Ok(Event {
            institution: event.parsed("institution")?,
            epoch: event.number("epoch")?,
            sequence: event.parsed("sequence")?,
            time: event.parsed("time")?,
            before: event.parsed("before")?,
            hash,
            draft: EventDraft {
                kind: event.word("type", EventKind::parse)?,
                outcome: event.word("outcome", Outcome::parse)?,
                object: event.parsed_or_none("object")?,
                version: event.parsed_or_none("version")?,
                work: event.parsed_or_none("work")?,
                files,
                detail: event.field("detail")?.clone(),
            },
        })
    }

    /// What is hashed: [`Event::to_json`] in the form of RFC 8785.
    pub fn canonical(&self) -> Result<Vec<u8>, Error> {
        json::canonical(&self.to_json())
    }

    /// Whether this event stands rightly after `head` and is what was hashed.
    pub fn follows(&self, head: EventHead) -> Result<bool, Error> {
        Ok(self.sequence == head.sequence + 1
            && self.before == head.hash
            && self.hash == Sha256::of(&self.canonical()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_shows_any_change() {
        let institution = InstitutionId([7; 16]);
        let draft = EventDraft::new(EventKind::Creation);
        let one = Event::chain(institution, 1, EventHead::EMPTY, Time(5), draft.clone()).unwrap();
        let two = Event::chain(institution, 1, one.head(), Time(6), draft).unwrap();
        assert!(one.follows(EventHead::EMPTY).unwrap());
        assert!(two.follows(one.head()).unwrap());
        assert!(!two.follows(EventHead::EMPTY).unwrap());
        let mut forged = two.clone();
        forged.draft.detail = serde_json::json!({"x": 1});
        assert!(!forged.follows(one.head()).unwrap());
        let mut moved = two;
        moved.time = Time(7);
        assert!(!moved.follows(one.head()).unwrap());
    }

    #[test]
    fn an_event_reads_back_from_its_json() {
        let mut draft = EventDraft::new(EventKind::Accession);
        draft.object = Some(ObjectId([1; 16]));
        draft.files = Some(MerkleRoot { count: 1 << 60, root: Sha256([4; 32]) });
        draft.detail = serde_json::json!({"a": [1, "b"]});
        let time = Time(-1_234_567_890_123);
        let event = Event::chain(InstitutionId([7; 16]), 3, EventHead::EMPTY, time, draft).unwrap();
        assert_eq!(Event::from_json(&event.to_json(), event.hash).unwrap(), event);
        assert!(Event::from_json(&serde_json::json!({}), event.hash).is_err());
    }
}
