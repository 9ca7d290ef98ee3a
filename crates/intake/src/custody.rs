//! Who keeps which key: rotating, dealing shares to trustees and combining them, files for other places,
//! certificates for writers and their revocation.

use crate::archive::{now, random, random_id};
use crate::keyring::Keyring;
use crate::keys::certify;
use crate::rotation::{KeysRequest, work_key};
use crate::{Archive, Code, Error, KeyFile, Recovery};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strongroom_record::json::bytes::{hex, unhex};
use strongroom_record::{
    EventDraft, EventKind, InstitutionId, Sha256, Time, WorkItem, WorkKind, WorkStatus,
};
use strongroom_registry::{Institution, Revocation, WriterCertificate};
use strongroom_vault::keys::{
    Certificate, Kind, RECOVERY_GENERATION, SecretKeys, Seed, Share, ShareError, combine, split,
};
use strongroom_vault::{Disk, Identity, OsDisk, ShelfSpec, Vault};

/// Shares of a new recovery key, and what the archive is to know of it. They open nothing until
/// [`Archive::register_recovery`] has ended well.
pub struct Dealt {
    /// One for each trustee.
    pub shares: Vec<Share>,
    /// The public half.
    pub recovery: Recovery,
}

/// What shares gave back.
pub struct Recovered {
    /// The key file; not written yet.
    pub keys: KeyFile,
    /// The institution whose shares they were.
    pub institution: String,
    /// Generations whose seeds were recovered.
    pub generations: Vec<u32>,
    /// Whether the archive's own key came with them.
    pub archive_key: bool,
    /// Keyrings of this institution that are sealed to another recovery key.
    pub unopened: usize,
}

impl Archive {
    /// Queues the rotation of an institution's key, or finds the one that is not ended.
    pub fn rotate_key(&self, institution: &str) -> Result<WorkItem, Error> {
        self.queue_keys(institution, KeysRequest { recovery: None })
    }

    /// Deals shares of a new recovery seed, of which nothing is kept, and proves that they combine.
    pub fn deal_shares(&self, institution: &str, threshold: u8, count: u8) -> Result<Dealt, Error> {
        let id = self.known(institution)?.id;
        // What is sealed to the recovery key must be at hand: say so before shares are printed.
        self.secrets(id)?;
        let seed = Seed::random(&mut { random });
        let shares = split(&seed, id.0, threshold, count, &mut { random }).map_err(of_set)?;
        let last = &shares[usize::from(count - threshold)..];
        let proven = combine(last).is_ok_and(|found| found.expose() == seed.expose());
        let Some(first) = shares.first().filter(|_| proven) else {
            return Err(Error::Internal("the shares do not combine".into()));
        };
        let sealing = hex(&seed.sealing_public(RECOVERY_GENERATION).to_bytes());
        let recovery = Recovery { sealing, set: first.set(), threshold, shares: count };
        Ok(Dealt { shares, recovery })
    }

    /// Whether shares give the seed of this recovery key.
    pub fn shares_give(shares: &[Share], recovery: &Recovery) -> Result<bool, Error> {
        let seed = combine(shares).map_err(of_set)?;
        let public = seed.sealing_public(RECOVERY_GENERATION);
        Ok(hex(&public.to_bytes()) == recovery.sealing)
    }

    /// Queues sealing an institution's keys to a recovery key.
    pub fn register_recovery(
        &self,
        institution: &str,
        recovery: &Recovery,
    ) -> Result<WorkItem, Error> {
        self.queue_keys(institution, KeysRequest { recovery: Some(recovery.clone()) })
    }

    /// The key file, read anew.
    pub fn key_file(&self) -> Result<KeyFile, Error> {
        KeyFile::open(self.disk().clone(), self.key_path(), self.id())
    }

    /// Writes a key file for a worker that seals and never reads, with a writer of its own that each
    /// institution certifies for `seconds`.
    pub fn export_public(&self, to: &Path, seconds: Option<i64>) -> Result<KeyFile, Error> {
        if to.exists() {
            return Err(Error::TargetExists(to.to_owned()));
        }
        let (file, certificates) = self.key_file()?.public_only(to, now(), seconds, random)?;
        // Listed before the file is there: a certificate that nobody lists could not be revoked.
        for (institution, certificate) in &certificates {
            self.list_certificate(*institution, certificate)?;
        }
        file.write_new(None)?;
        Ok(file)
    }

    /// Certifies a writer for an institution.
    pub fn certify_writer(
        &self,
        institution: &str,
        writer: [u8; 32],
        kinds: Vec<Kind>,
        seconds: i64,
    ) -> Result<Certificate, Error> {
        let id = self.known(institution)?.id;
        let (institution, seed) = self.with_keys(|keys| keys.present(id))?;
        let certificate = certify(&institution, &seed, writer, kinds, now(), Some(seconds), random)
            .map_err(|e| Error::Internal(e.to_string()))?;
        self.list_certificate(id, &certificate)?;
        Ok(certificate)
    }

    /// Revokes a certificate, of which the serial's first digits are given: all where it was never
    /// listed. `last_journal` is the last one of its writer that is believed.
    pub fn revoke_writer(
        &self,
        institution: &str,
        serial: &str,
        last_journal: (u32, u64),
    ) -> Result<Revocation, Error> {
        let id = self.known(institution)?.id;
        let listed = self.block_on(self.registry().certificates(id))?;
        let mut fits = listed.iter().filter(|c| hex(&c.serial).starts_with(serial));
        let whole = unhex(serial).and_then(|bytes| bytes.try_into().ok());
        let serial = match (fits.next(), fits.next(), whole) {
            (Some(_), Some(_), _) => {
                return Err(Error::Ambiguous { what: "certificate", name: serial.into() });
            }
            (Some(one), None, _) if !serial.is_empty() => one.serial,
            (_, _, Some(whole)) => whole,
            _ => return Err(Error::NotFound { what: "certificate", name: serial.into() }),
        };
        let revocation = Revocation { institution: id, serial, last_journal, time: now() };
        let detail = serde_json::json!({
            "serial": hex(&serial),
            "last_journal": [last_journal.0.to_string(), last_journal.1.to_string()],
        });
        let event = EventDraft { detail, ..EventDraft::new(EventKind::Revocation) };
        match self.block_on(self.registry().revoke(&revocation, event)) {
            Ok(_) => Ok(revocation),
            Err(strongroom_registry::Error::Conflict { .. }) => {
                Err(Error::Usage(format!("certificate {} is revoked already", hex(&serial))))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn list_certificate(
        &self,
        institution: InstitutionId,
        certificate: &Certificate,
    ) -> Result<(), Error> {
        let grant = certificate.grant();
        let time = |micros: u64| Time(i64::try_from(micros).unwrap_or(i64::MAX));
        let kinds: Vec<u8> = grant.kinds.iter().map(|kind| kind.number()).collect();
        let (from, until) = (time(grant.from_micros), time(grant.until_micros));
        let detail = serde_json::json!({
            "serial": hex(&grant.serial),
            "writer": hex(&grant.writer),
            "kinds": kinds,
            "from": from.to_string(),
            "until": until.to_string(),
        });
        let row = WriterCertificate {
            institution,
            serial: grant.serial,
            writer: grant.writer,
            certificate: certificate.encode(),
            from,
            until,
            created: now(),
        };
        let event = EventDraft { detail, ..EventDraft::new(EventKind::Certification) };
        self.block_on(self.registry().add_certificate(&row, event))?;
        Ok(())
    }

    fn queue_keys(&self, institution: &str, request: KeysRequest) -> Result<WorkItem, Error> {
        let id = self.known(institution)?.id;
        let new = self.new_work(WorkKind::Keys, id, None, Some(work_key(id)), &request);
        let mut queued = self.block_on(self.registry().enqueue(new.clone(), now()))?;
        if queued.item.request != new.request {
            if queued.item.request["recovery"].is_null() {
                return Err(Error::Usage(format!(
                    "the key of `{institution}` is being rotated; end that first: strongroom work run"
                )));
            }
            // The shares of a split that was broken off were handed to nobody.
            self.cancel(queued.item.id)?;
            queued = self.block_on(self.registry().enqueue(new, now()))?;
        }
        match queued.item.status {
            WorkStatus::Trouble => self.requeue(queued.item.id, None),
            _ => Ok(queued.item),
        }
    }

    fn known(&self, institution: &str) -> Result<Institution, Error> {
        let known = self.block_on(self.registry().institution_by_name(institution))?;
        known.ok_or_else(|| Error::NotFound { what: "institution", name: institution.into() })
    }

    /// Says which seed is missing; the registry knows its fingerprint.
    pub(crate) fn seed_is_missing(
        &self,
        institution: InstitutionId,
        generation: u32,
    ) -> Result<Error, Error> {
        let known = self.block_on(self.registry().institution(institution))?;
        let name = known.as_ref().map_or(institution.to_string(), |known| known.name.clone());
        let rows = self.block_on(self.registry().key_generations(institution))?;
        let of = rows.into_iter().find(|g| g.generation == generation).map(|g| g.keys);
        let of = of.or_else(|| known.filter(|k| k.generation == generation).map(|k| k.keys));
        let fingerprint = of.map_or("unknown".into(), |keys| Sha256::of(&keys).to_string());
        let what = format!(
            "the seed of institution `{name}`, generation {generation}, fingerprint {fingerprint}, \
             is not in it, and no keyring that it opens has it"
        );
        Ok(Error::Key { code: Code::KeyMissing, path: self.key_path().to_owned(), what })
    }

    pub(crate) fn key_is_old(&self, known: &Institution, generation: u32) -> Error {
        let what = format!(
            "it is of generation {generation} of `{}`, whose key was rotated: the present \
             generation is {}, fingerprint {}",
            known.name,
            known.generation,
            Sha256::of(&known.keys)
        );
        Error::Key { code: Code::KeyOld, path: self.key_path().to_owned(), what }
    }
}

/// Combines shares, and brings back with them, from keyrings on the shelves, every seed of their
/// institution. Needs no registry and writes nothing. `path` is where the key file is to lie.
pub fn recover_keys(
    shares: &[Share],
    shelves: &[PathBuf],
    path: &Path,
) -> Result<Recovered, Error> {
    let seed = combine(shares).map_err(of_set)?;
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let mut specs: Vec<ShelfSpec> = Vec::new();
    let mut archive = None;
    for dir in shelves {
        let identity = Identity::read(disk.as_ref(), dir).map_err(Error::Usage)?;
        if *archive.get_or_insert(identity.archive) != identity.archive {
            let what = format!("{} is another archive's shelf", dir.display());
            return Err(Error::Usage(what));
        }
        specs.push(ShelfSpec {
            id: identity.shelf,
            name: dir.display().to_string(),
            path: dir.clone(),
            domain: String::new(),
            capacity_bytes: None,
            read_only: true,
        });
    }
    let archive = archive.ok_or_else(|| Error::Usage("name a shelf at least".into()))?;
    let options = strongroom_vault::Options { archive, epoch: 0, token: random_id(), random };
    let vault = Vault::open(disk, &specs, options);
    // Of each institution the keyring with most seeds: trustees of a single-user archive's institution
    // recover the archive's own key with it.
    let theirs = |id: &InstitutionId| shares.iter().all(|share| share.is_of(id.0));
    let (mut best, mut unopened): (HashMap<_, Keyring>, _) = (HashMap::new(), 0);
    for found in vault.find_keyrings()? {
        if found.generation != RECOVERY_GENERATION {
            continue;
        }
        let secrets = SecretKeys::new(found.institution.0).with(RECOVERY_GENERATION, seed.clone());
        let read = vault.reader(found.segment, &found.placements, &secrets);
        match read.map_err(Error::from).and_then(|r| Keyring::read(r, found.institution)) {
            Ok(keyring) if keyring.archive == archive => {
                let newer = |best: &Keyring| best.key.seeds.len() < keyring.key.seeds.len();
                if best.get(&found.institution).is_none_or(newer) {
                    best.insert(found.institution, keyring);
                }
            }
            Ok(_) => tracing::warn!(segment = %found.segment, "a keyring of another archive"),
            Err(error) => {
                unopened +=
                    usize::from(theirs(&found.institution) && error.code() == Code::KeyWrong);
                tracing::debug!(segment = %found.segment, %error, "a keyring does not open");
            }
        }
    }
    let found = best.keys().copied().find(theirs);
    let Some(keyring) = found.and_then(|id| best.remove(&id)) else {
        let of = shares.first().map(Share::institution).unwrap_or_default();
        let what = format!(
            "no keyring on these shelves opens with these shares (institution {of}...; {unopened} are \
             sealed to another recovery key)"
        );
        return Err(Error::Key { code: Code::KeyMissing, path: path.to_owned(), what });
    };
    let institution = keyring.key.name.clone();
    let generations = keyring.key.seeds.iter().map(|seed| seed.generation).collect();
    let own = best.into_values().next().map(|keyring| keyring.key);
    let archive_key = own.is_some();
    let keys = KeyFile::with(Arc::new(OsDisk), path, archive, own, vec![keyring.key], random);
    Ok(Recovered { keys, institution, generations, archive_key, unopened })
}

fn of_set(source: ShareError) -> Error {
    Error::Share { which: "shares".into(), source }
}
