//! The work on keys: rotation, and sealing an institution's keys to its recovery key.
//!
//! ```text
//! rotation    draw the next seed into the key file, beside the present one
//!             store the keyring, sealed to the next generation, and to the recovery key where there is one
//!             replace the key file: the next generation is the present one
//!             one transaction: the registry names it, with its keyring and the event
//! ```
//!
//! Whoever is killed between any two of these goes on with the same seed. Until the key file is replaced
//! everything is sealed to the old generation; from then on to the new one, whose keyring is stored.

use crate::archive::{DEFAULT_INSTITUTION, now, random, random_id};
use crate::keyring::Keyring;
use crate::keys::Next;
use crate::runner::Job;
use crate::{Code, Error, Recovery};
use serde::{Deserialize, Serialize};
use serde_json::json;
use strongroom_record::{
    EventDraft, EventKind, InstitutionId, SegmentId, SegmentKind, Sha256, WorkStatus,
};
use strongroom_registry::{Batch, DurableSegment, Finish, KeyGeneration, NewSegment};
use strongroom_vault::keys::{SealingPublic, Writer};
use strongroom_vault::{PutSpec, Stored};

/// The moments of work on keys at which a process is made to die by tests.
pub const KEY_FAIL_POINTS: &[&str] = &[
    "key.drawn",
    "key.keyring-synced",
    "key.keyring-committed",
    "key.file-replaced",
    "key.rotated",
    "key.recovery-noted",
    "key.shared",
];

/// What is asked for.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct KeysRequest {
    /// Seal the keys to this recovery key; without one, rotate.
    pub(crate) recovery: Option<Recovery>,
}

/// Keyrings that are stored, by institution and the fingerprint of the key that each is sealed to: another key than was
/// drawn before (the key file was put back from a copy) needs another keyring.
#[derive(Default, Serialize, Deserialize)]
struct Made {
    keyrings: Vec<(InstitutionId, Sha256, SegmentId)>,
}

pub(crate) fn run(job: &Job<'_>) -> Result<(), Error> {
    let request: KeysRequest = job.request()?;
    job.archive.block_on(job.archive.registry().give_up_stale_segments(&job.lease()))?;
    let mut made: Made = match job.item.checkpoint.is_object() {
        true => serde_json::from_value(job.item.checkpoint.clone())
            .map_err(|e| Error::Internal(format!("the checkpoint is damaged: {e}")))?,
        false => Made::default(),
    };
    match request.recovery {
        None => rotate(job, &mut made),
        Some(recovery) => share(job, &mut made, recovery),
    }
}

fn rotate(job: &Job<'_>, made: &mut Made) -> Result<(), Error> {
    let (archive, id) = (job.archive, job.item.institution);
    let registry = archive.registry();
    let missing = || Error::NotFound { what: "institution", name: id.to_string() };
    let known = archive.block_on(registry.institution(id))?.ok_or_else(missing)?;
    let generation = known.generation + 1;
    let (present, seed) = archive.with_keys(|keys| keys.present(id))?;
    let replaced = present.generation() == generation;
    let next = if replaced {
        // Only the registry does not know yet.
        Next { institution: present, seed }
    } else if present.generation() == known.generation {
        archive.change_keys(|keys| keys.draw_next(id, random))?
    } else {
        return Err(archive.key_is_old(&known, present.generation()));
    };
    fail::fail_point!("key.drawn");
    let sealing = next.seed.sealing_public(generation);
    let recovery = archive.with_keys(|keys| keys.recovery(id))?;
    let recovery = recovery.and_then(|recovery| recovery.seal_to());
    let keyring = ring(job, &next)?;
    let writer = next_writer(job, &next)?;
    let mut keys = Vec::new();
    for seal_to in std::iter::once(&sealing).chain(&recovery) {
        keys.push(store(job, made, id, seal_to, &keyring, &writer)?);
    }
    if !replaced {
        archive.change_keys(|keys| keys.promote(id, &next))?;
        fail::fail_point!("key.file-replaced");
    }
    let detail = json!({
        "generation": generation,
        "fingerprint": Sha256(sealing.fingerprint()),
        "keyrings": keys.iter().map(|key| key.keyring).collect::<Vec<_>>(),
    });
    let note = format!("generation {generation} is the present one");
    end(job, EventKind::KeyRotation, detail, note, keys)?;
    fail::fail_point!("key.rotated");
    Ok(())
}

fn share(job: &Job<'_>, made: &mut Made, recovery: Recovery) -> Result<(), Error> {
    let archive = job.archive;
    let bad = || Error::Internal("the recovery key in the request is none".into());
    let seal_to = recovery.seal_to().ok_or_else(bad)?;
    let mut keys = Vec::new();
    for id in shared_with(job)? {
        let (institution, _) = archive.with_keys(|keys| keys.present(id))?;
        let secrets = archive.secrets(id)?;
        let key = archive.with_keys(|keys| keys.whole_key(id, &institution, &secrets))?;
        let text = Keyring::new(archive.id(), key).encode()?;
        let writer = archive.writer(id)?;
        keys.push(store(job, made, id, &seal_to, &text, &writer)?);
    }
    let of = keys.iter().map(|key| key.institution).collect::<Vec<_>>();
    archive.change_keys(|keys| keys.note_recovery(&of, &recovery))?;
    fail::fail_point!("key.recovery-noted");
    let detail = json!({
        "fingerprint": Sha256(seal_to.fingerprint()),
        "set": recovery.set,
        "threshold": recovery.threshold,
        "shares": recovery.shares,
        "keyrings": keys.iter().map(|key| key.keyring).collect::<Vec<_>>(),
    });
    let note = format!("any {} of {} shares open everything", recovery.threshold, recovery.shares);
    end(job, EventKind::KeySharing, detail, note, keys)?;
    fail::fail_point!("key.shared");
    Ok(())
}

impl Made {
    fn of(&self, institution: InstitutionId, seal_to: &SealingPublic) -> Option<SegmentId> {
        let of = (institution, Sha256(seal_to.fingerprint()));
        self.keyrings.iter().find(|(id, key, _)| (*id, *key) == of).map(|(_, _, id)| *id)
    }
}

/// The text of the keyring with the next generation's seed and all before it.
fn ring(job: &Job<'_>, next: &Next) -> Result<Vec<u8>, Error> {
    let (archive, id) = (job.archive, job.item.institution);
    let mut secrets = archive.secrets(id)?;
    let present = next.institution.generation() - 1;
    if let Some(missing) = (1..=present).find(|g| !secrets.has(*g)) {
        let what = format!(
            "the seed of generation {missing} is not in it, and no keyring on the shelves gives it"
        );
        return Err(Error::Key { code: Code::KeyMissing, path: archive.key_path().into(), what });
    }
    secrets.insert(present + 1, next.seed.clone());
    let key = archive.with_keys(|keys| keys.whole_key(id, &next.institution, &secrets))?;
    Keyring::new(archive.id(), key).encode()
}

/// The institution whose recovery key it is; with that which an archive begins with, the archive's own key
/// too, for whoever recovers a single-user archive is to recover all of it.
fn shared_with(job: &Job<'_>) -> Result<Vec<InstitutionId>, Error> {
    let id = job.item.institution;
    let known = job.archive.block_on(job.archive.registry().institution(id))?;
    let first = known.is_some_and(|known| known.name == DEFAULT_INSTITUTION);
    let own = job.archive.with_keys(|keys| Ok(keys.archive_key()))?;
    Ok(std::iter::once(id).chain(own.filter(|_| first)).collect())
}

fn next_writer(job: &Job<'_>, next: &Next) -> Result<Writer, Error> {
    job.archive.with_keys(|keys| {
        let mut keys = keys.clone();
        keys.adopt(job.item.institution, next)?;
        keys.writer(job.item.institution, now(), random)
    })
}

/// Stores a keyring sealed to a key, unless that was done before; gives what the registry is to note.
fn store(
    job: &Job<'_>,
    made: &mut Made,
    institution: InstitutionId,
    seal_to: &SealingPublic,
    text: &[u8],
    writer: &Writer,
) -> Result<KeyGeneration, Error> {
    let archive = job.archive;
    let generation = seal_to.generation();
    let of = |segment| KeyGeneration {
        institution,
        generation,
        keys: seal_to.to_bytes(),
        keyring: Some(segment),
        created: now(),
    };
    if let Some(segment) = made.of(institution, seal_to) {
        return Ok(of(segment));
    }
    let registry = archive.registry();
    let coding = archive.coding_of(None, institution)?;
    let number = archive.block_on(registry.next_coding_number())?;
    let (segment, kind) = (SegmentId(random_id()), SegmentKind::Keyring);
    let begin = NewSegment {
        id: segment,
        version: None,
        object: None,
        institution,
        kind,
        generation,
        coding,
        number,
    };
    job.commit(Batch { begin_segments: vec![begin], ..Batch::default() })?;
    let mut put = archive.vault().put(PutSpec {
        segment,
        kind,
        institution,
        generation,
        seal_to: seal_to.clone(),
        coding,
        number,
        accept_degraded: false,
    });
    put.push(text)?;
    let Stored { bytes, coding, number, placements, .. } = put.finish(writer, now())?;
    fail::fail_point!("key.keyring-synced");
    made.keyrings.push((institution, Sha256(seal_to.fingerprint()), segment));
    let checkpoint =
        serde_json::to_value(&*made).map_err(|e| Error::Internal(format!("no checkpoint: {e}")))?;
    let durable = DurableSegment { id: segment, bytes, coding, number, placements };
    job.commit(Batch { durable: vec![durable], checkpoint: Some(checkpoint), ..Batch::default() })?;
    fail::fail_point!("key.keyring-committed");
    Ok(of(segment))
}

fn end(
    job: &Job<'_>,
    kind: EventKind,
    detail: serde_json::Value,
    note: String,
    keys: Vec<KeyGeneration>,
) -> Result<(), Error> {
    let report = detail.clone();
    let event = EventDraft { work: Some(job.item.id), detail, ..EventDraft::new(kind) };
    job.commit(Batch {
        keys,
        events: vec![event],
        note: Some(note),
        finish: Some(Finish { status: WorkStatus::Succeeded, report }),
        ..Batch::default()
    })?;
    Ok(())
}

/// Who works on an institution's keys: one unfinished item at a time.
pub(crate) fn work_key(id: InstitutionId) -> String {
    format!("keys {id}")
}
