//! The key file of an archive: every seed, in one file that must be kept elsewhere too; or only what a
//! worker needs that seals and never reads.

use crate::{Code, Error};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strongroom_record::json::bytes::{hex, unhex};
use strongroom_record::{ArchiveId, InstitutionId, Sha256, Time};
use strongroom_vault::keys::{
    Certificate, Grant, Institution, Kind, LOCKED_MAGIC, SealingPublic, SecretKeys, Seed,
    SigningChain, Writer, WriterKey, lock, unlock,
};
use strongroom_vault::{Disk, OsDisk, ShardError};

const MAGIC: &str = "strongroom keys";
const FORMAT: u32 = 1;
/// A key file is never longer, in bytes.
const BYTES_MAX: u64 = 16 << 20;
/// A writer's certificate lasts so long, in seconds: ten years. Where the seed is at hand it is made anew
/// with each start, so only an archive that stands still for so long ever sees its end.
pub(crate) const CERTIFICATE_SECONDS: i64 = 10 * 366 * 86_400;
const NOTE: &str = "Whoever has this file can read every record of this archive; without it nobody \
                    can. Keep copies of it elsewhere, apart from the shelves.";
const NOTE_PUBLIC: &str = "With this file a worker can take records in, check and repair them. It \
                           cannot read any. It signs what it writes: keep it from others.";

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    magic: String,
    format: u32,
    /// What a person who finds this file should know.
    note: String,
    archive: ArchiveId,
    /// The archive's own key, of the same kind as an institution's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    archive_key: Option<StoredKey>,
    /// Seed of the writer's Ed25519 key, hex.
    writer: String,
    institutions: Vec<StoredKey>,
}

/// A key as the key file and keyrings hold it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredKey {
    pub(crate) name: String,
    pub(crate) id: InstitutionId,
    /// The chain of signing keys, hex (docs/format/shard.md).
    chain: String,
    #[serde(default)]
    pub(crate) seeds: Vec<StoredSeed>,
    /// The seed that rotation has drawn and not yet brought into use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<StoredSeed>,
    /// The present public sealing key, hex, where the seeds are not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sealing: Option<String>,
    /// The writer's certificate, hex, where the seeds are not here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificate: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) recovery: Option<Recovery>,
}

#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoredSeed {
    pub(crate) generation: u32,
    /// 32 bytes, hex.
    seed: String,
}

/// The public half of a recovery key, and how its seed was split.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recovery {
    /// The public sealing key, hex.
    pub sealing: String,
    /// The set of shares, hex.
    pub set: String,
    /// Shares that are needed.
    pub threshold: u8,
    /// Shares that were dealt.
    pub shares: u8,
}

impl Recovery {
    /// The public key to which keyrings are sealed.
    pub(crate) fn seal_to(&self) -> Option<SealingPublic> {
        SealingPublic::from_bytes(0, &unhex(&self.sealing)?).ok()
    }
}

impl StoredKey {
    fn new(name: &str, random: fn(&mut [u8])) -> StoredKey {
        let seed = Seed::random(&mut { random });
        let institution = Institution::new(&seed);
        StoredKey {
            name: name.into(),
            id: InstitutionId(institution.id()),
            chain: hex(&institution.chain().encode()),
            seeds: vec![StoredSeed::new(institution.generation(), &seed)],
            next: None,
            sealing: None,
            certificate: None,
            recovery: None,
        }
    }

    /// The institution of its chain, which must lead to its id; or what is wrong.
    pub(crate) fn institution(&self) -> Result<Institution, String> {
        let chain = unhex(&self.chain).ok_or("a chain of signing keys is not hex")?;
        let institution = SigningChain::parse(&chain)
            .and_then(Institution::from_chain)
            .map_err(|e| e.to_string())?;
        match institution.id() == self.id.0 {
            true => Ok(institution),
            false => Err(format!("the signing keys of `{}` are not of {}", self.name, self.id)),
        }
    }

    /// Its seeds, each of which must sign with the key that the chain has of its generation; or what
    /// is wrong.
    pub(crate) fn secrets(&self) -> Result<SecretKeys, String> {
        let institution = self.institution()?;
        let mut secrets = SecretKeys::new(self.id.0);
        for stored in &self.seeds {
            let (generation, seed) = (stored.generation, stored.seed()?);
            // The recovery key signs nothing.
            let signs = institution.chain().key(generation);
            if generation > 0 && signs != Some(seed.signing_public()) {
                return Err(format!(
                    "the seed of generation {generation} is not that of `{}`",
                    self.name
                ));
            }
            secrets.insert(generation, seed);
        }
        Ok(secrets)
    }
}

impl StoredSeed {
    pub(crate) fn new(generation: u32, seed: &Seed) -> StoredSeed {
        StoredSeed { generation, seed: hex(seed.expose()) }
    }

    fn seed(&self) -> Result<Seed, String> {
        bytes32(&self.seed).map(Seed::new)
    }
}

fn bytes32(text: &str) -> Result<[u8; 32], String> {
    (unhex(text).and_then(|b| b.try_into().ok())).ok_or("a seed is not 32 bytes in hex".into())
}

/// The key file of an archive, read.
#[derive(Clone)]
pub struct KeyFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    stored: Stored,
}

/// The public half of an institution's key, as the registry keeps it.
pub(crate) struct PublicKey {
    pub(crate) id: InstitutionId,
    pub(crate) generation: u32,
    pub(crate) seal_to: SealingPublic,
}

/// An institution's generation that is drawn, and not yet in use.
pub(crate) struct Next {
    /// The institution with the next generation.
    pub(crate) institution: Institution,
    /// Its seed.
    pub(crate) seed: Seed,
}

/// What a key file holds of an institution, for a person.
#[derive(Clone, Debug)]
pub struct KeySummary {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: InstitutionId,
    /// The newest generation that the file knows.
    pub generation: u32,
    /// The SHA-256 of that generation's public sealing key.
    pub fingerprint: Sha256,
    /// Generations whose seeds are in the file; 0 is the recovery key.
    pub seeds: Vec<u32>,
    /// Rotation was begun, and has not ended.
    pub rotating: bool,
    /// The recovery key, where one was made.
    pub recovery: Option<Recovery>,
}

impl KeyFile {
    /// Makes the file of a new archive; durable when it returns. An existing one is never replaced.
    pub fn create(
        disk: Arc<dyn Disk>,
        path: &Path,
        archive: ArchiveId,
        random: fn(&mut [u8]),
    ) -> Result<KeyFile, Error> {
        let archive_key = Some(StoredKey::new("archive", random));
        let file = KeyFile::with(disk, path, archive, archive_key, vec![], random);
        file.write_new(None)?;
        Ok(file)
    }

    /// A key file of these keys, with a writer of its own; nothing is written yet.
    pub(crate) fn with(
        disk: Arc<dyn Disk>,
        path: &Path,
        archive: ArchiveId,
        archive_key: Option<StoredKey>,
        institutions: Vec<StoredKey>,
        random: fn(&mut [u8]),
    ) -> KeyFile {
        let mut writer = [0; 32];
        random(&mut writer);
        let (magic, note, writer) = (MAGIC.into(), NOTE.into(), hex(&writer));
        let stored =
            Stored { magic, format: FORMAT, note, archive, archive_key, writer, institutions };
        KeyFile { disk, path: path.to_owned(), stored }
    }

    /// Reads the file, and checks that it is `archive`'s.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, archive: ArchiveId) -> Result<KeyFile, Error> {
        let file = KeyFile::read_on(disk, path, None)?;
        let found = file.archive();
        match found == archive {
            true => Ok(file),
            false => Err(file.error(
                Code::KeyWrong,
                format!("it belongs to archive {found}, this one is {archive}"),
            )),
        }
    }

    /// Reads a file of any archive, with the passphrase under which it is locked, where it is.
    pub fn read(path: &Path, passphrase: Option<&str>) -> Result<KeyFile, Error> {
        KeyFile::read_on(Arc::new(OsDisk), path, passphrase)
    }

    fn read_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        passphrase: Option<&str>,
    ) -> Result<KeyFile, Error> {
        let error = |code, what: String| Error::Key { code, path: path.to_owned(), what };
        let bad = |what: String| error(Code::Key, what);
        let text = strongroom_vault::read_file(disk.as_ref(), path, BYTES_MAX);
        let mut text = text.map_err(|e| bad(e.to_string()))?;
        if text.starts_with(LOCKED_MAGIC) {
            let Some(passphrase) = passphrase else {
                return Err(error(Code::KeyLocked, "it is locked under a passphrase".into()));
            };
            let opened = unlock(&text, passphrase).map_err(|e| match e {
                ShardError::Passphrase => error(Code::PassphraseWrong, e.to_string()),
                other => bad(other.to_string()),
            })?;
            text = opened.to_vec();
        }
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|e| bad(format!("it is damaged: {e}")))?;
        if stored.magic != MAGIC {
            return Err(bad("it is no key file".into()));
        }
        if stored.format > FORMAT {
            let (path, found, known) = (path.to_owned(), stored.format, FORMAT);
            return Err(Error::Newer { path, found, known });
        }
        Ok(KeyFile { disk, path: path.to_owned(), stored })
    }

    /// Whether the file is locked under a passphrase.
    pub fn is_locked(path: &Path) -> bool {
        use std::io::Read as _;
        let mut magic = [0; 8];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic));
        read.is_ok() && magic == *LOCKED_MAGIC
    }

    /// What tells whether the file was replaced since; nothing does on a disk that is simulated.
    pub(crate) fn identity(path: &Path) -> Option<(u64, i64, i64)> {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.ino(), meta.mtime(), meta.mtime_nsec()))
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is.
    pub fn archive(&self) -> ArchiveId {
        self.stored.archive
    }

    /// The same keys at another place; nothing is written yet.
    pub fn at(&self, path: &Path) -> KeyFile {
        KeyFile { path: path.to_owned(), ..self.clone() }
    }

    /// What it holds, for a person; the archive's own key last.
    pub fn summaries(&self) -> Result<Vec<KeySummary>, Error> {
        let of = |key: &StoredKey| {
            let public = self.public(key)?;
            Ok(KeySummary {
                name: key.name.clone(),
                id: key.id,
                generation: public.generation,
                fingerprint: Sha256(public.seal_to.fingerprint()),
                seeds: key.seeds.iter().map(|seed| seed.generation).collect(),
                rotating: key.next.is_some(),
                recovery: key.recovery.clone(),
            })
        };
        self.stored.institutions.iter().chain(&self.stored.archive_key).map(of).collect()
    }

    /// The public half of the writer's key.
    pub fn writer_public(&self) -> Result<[u8; 32], Error> {
        let seed = bytes32(&self.stored.writer).map_err(|e| self.bad(&e))?;
        Ok(WriterKey::new(&seed).public())
    }

    /// The name and public half of each institution's key.
    pub(crate) fn institutions(&self) -> Result<Vec<(String, PublicKey)>, Error> {
        let one = |key: &StoredKey| Ok((key.name.clone(), self.public(key)?));
        self.stored.institutions.iter().map(one).collect()
    }

    /// The seeds of all institutions that are in the file, the archive's own among them.
    pub(crate) fn all_secrets(&self) -> Result<HashMap<InstitutionId, SecretKeys>, Error> {
        let keys = self.stored.institutions.iter().chain(&self.stored.archive_key);
        keys.map(|key| Ok((key.id, self.secrets(key.id)?))).collect()
    }

    /// Whether it has a key of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.stored.institutions.iter().any(|k| k.name == name)
    }

    /// The public half of the archive's own key.
    pub(crate) fn archive_public(&self) -> Result<PublicKey, Error> {
        let what = "it lacks the archive's own key";
        let key = self.stored.archive_key.as_ref();
        self.public(key.ok_or_else(|| self.error(Code::KeyMissing, what.into()))?)
    }

    /// The archive's own key, where its seed is here.
    pub(crate) fn archive_key(&self) -> Option<InstitutionId> {
        self.stored.archive_key.as_ref().filter(|key| !key.seeds.is_empty()).map(|key| key.id)
    }

    /// Draws a new institution's key, and stores it durably before it is returned.
    pub(crate) fn add_institution(
        &mut self,
        name: &str,
        random: fn(&mut [u8]),
    ) -> Result<PublicKey, Error> {
        if !self.has(name) {
            // What lacks the archive's key is a worker's, or came from trustees: not the place for
            // the only copy of a new institution's key.
            if self.archive_key().is_none() {
                let what = "it lacks the archive's own key, and so makes no institution".into();
                return Err(self.error(Code::KeyMissing, what));
            }
            self.stored.institutions.push(StoredKey::new(name, random));
            self.write()?;
        }
        let key = self.stored.institutions.iter().find(|k| k.name == name);
        self.public(key.expect("it is there, or was just added"))
    }

    /// The public half of an institution's present key.
    pub(crate) fn public_of(&self, id: InstitutionId) -> Result<PublicKey, Error> {
        self.public(self.key(id)?)
    }

    /// The seeds of an institution that are in the file, by generation; at least one.
    pub(crate) fn secrets(&self, id: InstitutionId) -> Result<SecretKeys, Error> {
        let key = self.key(id)?;
        if key.seeds.is_empty() {
            let public = self.public(key)?;
            let fingerprint = Sha256(public.seal_to.fingerprint());
            let what = format!(
                "it holds only public keys: the seed of institution `{}`, generation {}, \
                 fingerprint {fingerprint}, is needed to read",
                key.name, public.generation
            );
            return Err(self.error(Code::KeyMissing, what));
        }
        key.secrets().map_err(|e| self.error(Code::KeyWrong, e))
    }

    /// This archive's writer, certified by the institution: by its seed from `now` on, else by the
    /// certificate that is in the file.
    pub(crate) fn writer(
        &self,
        id: InstitutionId,
        now: Time,
        random: fn(&mut [u8]),
    ) -> Result<Writer, Error> {
        let key = self.key(id)?;
        let writer = WriterKey::new(&bytes32(&self.stored.writer).map_err(|e| self.bad(&e))?);
        let certificate = match &key.certificate {
            Some(text) => {
                let bytes = unhex(text).ok_or_else(|| self.bad("a certificate is not hex"))?;
                let certificate =
                    Certificate::parse(&bytes).map_err(|e| self.bad(&e.to_string()))?;
                if !certificate.valid_at(micros(now)) {
                    let until = Time(certificate.grant().until_micros as i64);
                    let what = format!(
                        "the writer's certificate for `{}` is valid until {until}, not now",
                        key.name
                    );
                    return Err(self.error(Code::KeyOld, what));
                }
                certificate
            }
            None => {
                let (institution, seed) = self.open_key(key)?;
                let kinds = vec![Kind::Data, Kind::Record, Kind::Journal, Kind::Keyring];
                certify(&institution, &seed, writer.public(), kinds, now, None, random)
                    .map_err(|e| self.bad(&e.to_string()))?
            }
        };
        Writer::new(writer, certificate).map_err(|e| self.bad(&e.to_string()))
    }

    /// The institution with its chain, and the seed of its present generation.
    pub(crate) fn present(&self, id: InstitutionId) -> Result<(Institution, Seed), Error> {
        self.open_key(self.key(id)?)
    }

    /// The key of an institution, as keyrings hold it, with these seeds.
    pub(crate) fn whole_key(
        &self,
        id: InstitutionId,
        institution: &Institution,
        secrets: &SecretKeys,
    ) -> Result<StoredKey, Error> {
        let seeds = secrets.generations().filter(|generation| *generation > 0);
        let seeds = seeds.filter_map(|g| Some(StoredSeed::new(g, secrets.seed(g)?))).collect();
        let chain = hex(&institution.chain().encode());
        Ok(StoredKey { chain, seeds, next: None, ..self.key(id)?.clone() })
    }

    /// The generation that follows the institution's present one: drawn and stored durably, where it
    /// was not before.
    pub(crate) fn draw_next(
        &mut self,
        id: InstitutionId,
        random: fn(&mut [u8]),
    ) -> Result<Next, Error> {
        let (institution, present) = self.present(id)?;
        let generation = institution.generation() + 1;
        let drawn = self.key(id)?.next.as_ref().filter(|next| next.generation == generation);
        let seed = match drawn {
            Some(next) => next.seed().map_err(|e| self.bad(&e))?,
            None => {
                let seed = Seed::random(&mut { random });
                self.key_mut(id)?.next = Some(StoredSeed::new(generation, &seed));
                self.write()?;
                seed
            }
        };
        let institution =
            institution.rotate(&present, &seed).map_err(|e| self.bad(&e.to_string()))?;
        Ok(Next { institution, seed })
    }

    /// Makes the drawn generation the present one; durable when it returns.
    pub(crate) fn promote(&mut self, id: InstitutionId, next: &Next) -> Result<(), Error> {
        self.adopt(id, next)?;
        self.write()
    }

    /// Makes the drawn generation the present one in memory, where it is not so already.
    pub(crate) fn adopt(&mut self, id: InstitutionId, next: &Next) -> Result<(), Error> {
        let generation = next.institution.generation();
        let key = self.key_mut(id)?;
        key.chain = hex(&next.institution.chain().encode());
        key.seeds.retain(|seed| seed.generation != generation);
        key.seeds.push(StoredSeed::new(generation, &next.seed));
        key.next = None;
        Ok(())
    }

    /// Notes the recovery key of these; durable when it returns.
    pub(crate) fn note_recovery(
        &mut self,
        of: &[InstitutionId],
        recovery: &Recovery,
    ) -> Result<(), Error> {
        for id in of {
            self.key_mut(*id)?.recovery = Some(recovery.clone());
        }
        self.write()
    }

    /// The recovery key of an institution, where it has one.
    pub(crate) fn recovery(&self, id: InstitutionId) -> Result<Option<Recovery>, Error> {
        Ok(self.key(id)?.recovery.clone())
    }

    /// What a worker needs that seals and never reads, with a certificate for each institution, and
    /// those certificates.
    pub(crate) fn public_only(
        &self,
        path: &Path,
        now: Time,
        seconds: Option<i64>,
        random: fn(&mut [u8]),
    ) -> Result<(KeyFile, Vec<(InstitutionId, Certificate)>), Error> {
        let mut file = KeyFile::with(self.disk.clone(), path, self.archive(), None, vec![], random);
        file.stored.note = NOTE_PUBLIC.into();
        let writer = file.writer_public()?;
        let mut certificates = Vec::new();
        for key in self.stored.institutions.iter().chain(&self.stored.archive_key) {
            let (institution, seed) = self.open_key(key)?;
            let kinds = vec![Kind::Data, Kind::Record, Kind::Journal, Kind::Keyring];
            let certificate = certify(&institution, &seed, writer, kinds, now, seconds, random)
                .map_err(|e| self.bad(&e.to_string()))?;
            let public = StoredKey {
                seeds: vec![],
                next: None,
                sealing: Some(hex(&self.public(key)?.seal_to.to_bytes())),
                certificate: Some(hex(&certificate.encode())),
                ..key.clone()
            };
            match self.stored.archive_key.as_ref().is_some_and(|own| own.id == key.id) {
                true => file.stored.archive_key = Some(public),
                false => file.stored.institutions.push(public),
            }
            certificates.push((key.id, certificate));
        }
        Ok((file, certificates))
    }

    fn key(&self, id: InstitutionId) -> Result<&StoredKey, Error> {
        let mut keys = self.stored.institutions.iter().chain(&self.stored.archive_key);
        keys.find(|k| k.id == id).ok_or_else(|| {
            self.error(Code::KeyMissing, format!("it has no key of institution {id}"))
        })
    }

    fn key_mut(&mut self, id: InstitutionId) -> Result<&mut StoredKey, Error> {
        self.key(id)?;
        let mut keys = self.stored.institutions.iter_mut().chain(&mut self.stored.archive_key);
        let found = keys.find(|k| k.id == id);
        Ok(found.expect("it was found just before"))
    }

    fn public(&self, key: &StoredKey) -> Result<PublicKey, Error> {
        let institution = key.institution().map_err(|e| self.bad(&e))?;
        let generation = institution.generation();
        let seal_to = match &key.sealing {
            Some(text) => {
                let bytes = unhex(text).ok_or_else(|| self.bad("a sealing key is not hex"))?;
                SealingPublic::from_bytes(generation, &bytes)
            }
            None => institution.sealing(&self.open_key(key)?.1),
        };
        let seal_to = seal_to.map_err(|e| self.bad(&e.to_string()))?;
        Ok(PublicKey { id: key.id, generation, seal_to })
    }

    fn open_key(&self, key: &StoredKey) -> Result<(Institution, Seed), Error> {
        let institution = key.institution().map_err(|e| self.bad(&e))?;
        let generation = institution.generation();
        let present = key.seeds.iter().find(|s| s.generation == generation).ok_or_else(|| {
            let name = &key.name;
            let what = format!("the seed of `{name}`, generation {generation}, is not in it");
            self.error(Code::KeyMissing, what)
        })?;
        Ok((institution, present.seed().map_err(|e| self.bad(&e))?))
    }

    /// Writes the file where none is yet, locked under a passphrase where one is given; durable when
    /// it returns.
    pub fn write_new(&self, passphrase: Option<&str>) -> Result<(), Error> {
        match self.disk.open(&self.path) {
            Err(e) if e.kind() == ErrorKind::NotFound => {}
            Ok(_) => return Err(Error::TargetExists(self.path.clone())),
            Err(e) => return Err(self.bad(&e.to_string())),
        }
        match passphrase {
            None => self.write(),
            Some(passphrase) => {
                let mut random = crate::archive::random;
                let locked = lock(&self.text(), passphrase, &mut random);
                self.replace(&locked.map_err(|e| Error::Internal(e.to_string()))?)
            }
        }
    }

    fn write(&self) -> Result<(), Error> {
        self.replace(&self.text())
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec_pretty(&self.stored).expect("keys are plain JSON")
    }

    fn replace(&self, text: &[u8]) -> Result<(), Error> {
        let folder = match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let temporary = self.path.with_extension("new");
        let put = || -> std::io::Result<()> {
            let file = match self.disk.create_private(&temporary) {
                // What a crash left is of no use, and not to be left lying about.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    self.disk.remove(&temporary)?;
                    self.disk.create_private(&temporary)?
                }
                other => other?,
            };
            file.write_at(0, &[text])?;
            file.sync()?;
            self.disk.rename(&temporary, &self.path)?;
            self.disk.sync_dir(folder)
        };
        put().map_err(|e| self.bad(&format!("it cannot be written: {e}")))
    }

    fn bad(&self, what: &str) -> Error {
        self.error(Code::Key, what.into())
    }

    pub(crate) fn error(&self, code: Code, what: String) -> Error {
        Error::Key { code, path: self.path.clone(), what }
    }
}

/// A certificate for a writer's public key, from `now` on.
pub(crate) fn certify(
    institution: &Institution,
    seed: &Seed,
    writer: [u8; 32],
    kinds: Vec<Kind>,
    now: Time,
    seconds: Option<i64>,
    random: fn(&mut [u8]),
) -> Result<Certificate, ShardError> {
    let mut serial = [0; 16];
    random(&mut serial);
    let until = now.plus_seconds(seconds.unwrap_or(CERTIFICATE_SECONDS));
    let (from_micros, until_micros) = (micros(now), micros(until));
    institution.certify(seed, Grant { serial, writer, kinds, from_micros, until_micros })
}

fn micros(time: Time) -> u64 {
    time.0.max(0) as u64
}
