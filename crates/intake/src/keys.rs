//! The key file of an archive: every seed, in one file that must be kept elsewhere too.

use crate::Error;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use strongroom_record::json::bytes::{hex, unhex};
use strongroom_record::{ArchiveId, InstitutionId, Time};
use strongroom_vault::Disk;
use strongroom_vault::keys::{
    Grant, Institution, Kind, SealingPublic, SecretKeys, Seed, SigningChain, Writer, WriterKey,
};

const MAGIC: &str = "strongroom keys";
const FORMAT: u32 = 1;
/// A key file is never longer, in bytes.
const BYTES_MAX: u64 = 16 << 20;
/// A writer's certificate lasts so long, in seconds: ten years. It is made anew with each start, so
/// only an archive that stands still for so long ever sees its end.
const CERTIFICATE_SECONDS: i64 = 10 * 366 * 86_400;

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    magic: String,
    format: u32,
    /// What a person who finds this file should know.
    note: String,
    archive: ArchiveId,
    /// The archive's own key, of the same kind as an institution's.
    archive_key: StoredKey,
    /// Seed of the writer's Ed25519 key, hex.
    writer: String,
    institutions: Vec<StoredKey>,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredKey {
    name: String,
    id: InstitutionId,
    /// The chain of signing keys, hex (docs/format/shard.md).
    chain: String,
    seeds: Vec<StoredSeed>,
}

#[derive(Clone, Serialize, Deserialize)]
struct StoredSeed {
    generation: u32,
    /// 32 bytes, hex.
    seed: String,
}

/// The key file of an archive, read.
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

impl KeyFile {
    /// Makes the file of a new archive; durable when it returns. An existing one is never replaced.
    pub fn create(
        disk: Arc<dyn Disk>,
        path: &Path,
        archive: ArchiveId,
        random: fn(&mut [u8]),
    ) -> Result<KeyFile, Error> {
        let mut writer = [0; 32];
        random(&mut writer);
        let stored = Stored {
            magic: MAGIC.into(),
            format: FORMAT,
            note: "Whoever has this file can read every record of this archive; without it nobody \
                   can. Keep copies of it elsewhere, apart from the shelves."
                .into(),
            archive,
            archive_key: new_key("archive", random),
            writer: hex(&writer),
            institutions: vec![],
        };
        let file = KeyFile { disk, path: path.to_owned(), stored };
        match file.disk.open(path) {
            Err(e) if e.kind() == ErrorKind::NotFound => file.write()?,
            Ok(_) => return Err(file.bad("it exists already")),
            Err(e) => return Err(file.bad(&e.to_string())),
        }
        Ok(file)
    }

    /// Reads the file, and checks that it is `archive`'s.
    pub fn open(disk: Arc<dyn Disk>, path: &Path, archive: ArchiveId) -> Result<KeyFile, Error> {
        let bad = |what: String| Error::Key { path: path.to_owned(), what };
        let text = strongroom_vault::read_file(disk.as_ref(), path, BYTES_MAX);
        let text = text.map_err(|e| bad(e.to_string()))?;
        let stored: Stored =
            serde_json::from_slice(&text).map_err(|e| bad(format!("it is damaged: {e}")))?;
        if stored.magic != MAGIC {
            return Err(bad("it is no key file".into()));
        }
        if stored.format > FORMAT {
            let (path, found, known) = (path.to_owned(), stored.format, FORMAT);
            return Err(Error::Newer { path, found, known });
        }
        if stored.archive != archive {
            let found = stored.archive;
            return Err(bad(format!("it belongs to archive {found}, this one is {archive}")));
        }
        Ok(KeyFile { disk, path: path.to_owned(), stored })
    }

    /// Writes the same keys to another place, durably.
    pub(crate) fn copy_to(&self, path: &Path) -> Result<(), Error> {
        let (disk, stored) = (self.disk.clone(), self.stored.clone());
        KeyFile { disk, path: path.to_owned(), stored }.write()
    }

    /// The name and public half of each institution's key.
    pub(crate) fn institutions(&self) -> Result<Vec<(String, PublicKey)>, Error> {
        let one = |key: &StoredKey| Ok((key.name.clone(), self.public(key)?));
        self.stored.institutions.iter().map(one).collect()
    }

    /// All seeds of all institutions, the archive's own among them.
    pub(crate) fn all_secrets(&self) -> Result<HashMap<InstitutionId, SecretKeys>, Error> {
        let keys = self.stored.institutions.iter().chain([&self.stored.archive_key]);
        keys.map(|key| Ok((key.id, self.secrets(key.id)?))).collect()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it has a key of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.stored.institutions.iter().any(|k| k.name == name)
    }

    /// Draws a new institution's key, and stores it durably before it is returned.
    pub(crate) fn add_institution(
        &mut self,
        name: &str,
        random: fn(&mut [u8]),
    ) -> Result<PublicKey, Error> {
        if !self.has(name) {
            self.stored.institutions.push(new_key(name, random));
            self.write()?;
        }
        let key = self.stored.institutions.iter().find(|k| k.name == name);
        self.public(key.expect("it is there, or was just added"))
    }

    /// The public half of an institution's present key.
    pub(crate) fn public_of(&self, id: InstitutionId) -> Result<PublicKey, Error> {
        self.public(self.key(id)?)
    }

    /// The public half of the archive's own key.
    pub(crate) fn archive_public(&self) -> Result<PublicKey, Error> {
        self.public(&self.stored.archive_key)
    }

    /// All seeds of an institution, by generation.
    pub(crate) fn secrets(&self, id: InstitutionId) -> Result<SecretKeys, Error> {
        let key = self.key(id)?;
        let mut secrets = SecretKeys::new(key.id.0);
        for seed in &key.seeds {
            secrets.insert(seed.generation, self.seed(&seed.seed)?);
        }
        Ok(secrets)
    }

    /// This archive's writer, certified by the institution from `now` on.
    pub(crate) fn writer(
        &self,
        id: InstitutionId,
        now: Time,
        random: fn(&mut [u8]),
    ) -> Result<Writer, Error> {
        let (institution, seed) = self.open_key(self.key(id)?)?;
        let key = WriterKey::new(&self.bytes32(&self.stored.writer)?);
        let mut serial = [0; 16];
        random(&mut serial);
        let grant = Grant {
            serial,
            writer: key.public(),
            kinds: vec![Kind::Data, Kind::Record, Kind::Journal, Kind::Keyring],
            from_micros: now.0.max(0) as u64,
            until_micros: now.plus_seconds(CERTIFICATE_SECONDS).0.max(0) as u64,
        };
        (institution.certify(&seed, grant))
            .and_then(|certificate| Writer::new(key, certificate))
            .map_err(|e| self.bad(&e.to_string()))
    }

    fn key(&self, id: InstitutionId) -> Result<&StoredKey, Error> {
        let mut keys = self.stored.institutions.iter().chain([&self.stored.archive_key]);
        keys.find(|k| k.id == id)
            .ok_or_else(|| self.bad(&format!("it has no key of institution {id}")))
    }

    fn public(&self, key: &StoredKey) -> Result<PublicKey, Error> {
        let (institution, seed) = self.open_key(key)?;
        let seal_to = institution.sealing(&seed).map_err(|e| self.bad(&e.to_string()))?;
        let id = InstitutionId(institution.id());
        Ok(PublicKey { id, generation: institution.generation(), seal_to })
    }

    fn open_key(&self, key: &StoredKey) -> Result<(Institution, Seed), Error> {
        let chain = unhex(&key.chain).ok_or_else(|| self.bad("a chain of keys is not hex"))?;
        let institution = SigningChain::parse(&chain)
            .and_then(Institution::from_chain)
            .map_err(|e| self.bad(&e.to_string()))?;
        let present = (key.seeds.iter().find(|s| s.generation == institution.generation()))
            .ok_or_else(|| self.bad("the present generation's seed is missing"))?;
        Ok((institution, self.seed(&present.seed)?))
    }

    fn seed(&self, text: &str) -> Result<Seed, Error> {
        self.bytes32(text).map(Seed::new)
    }

    fn bytes32(&self, text: &str) -> Result<[u8; 32], Error> {
        (unhex(text).and_then(|b| b.try_into().ok()))
            .ok_or_else(|| self.bad("a seed is not 32 bytes in hex"))
    }

    fn write(&self) -> Result<(), Error> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let temporary = self.path.with_extension("new");
        let text = serde_json::to_vec_pretty(&self.stored).expect("keys are plain JSON");
        let put = || -> std::io::Result<()> {
            let file = match self.disk.create_private(&temporary) {
                // What a crash left is of no use, and not to be left lying about.
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {
                    self.disk.remove(&temporary)?;
                    self.disk.create_private(&temporary)?
                }
                other => other?,
            };
            file.write_at(0, &[&text])?;
            file.sync()?;
            self.disk.rename(&temporary, &self.path)?;
            self.disk.sync_dir(folder)
        };
        put().map_err(|e| self.bad(&format!("it cannot be written: {e}")))
    }

    fn bad(&self, what: &str) -> Error {
        Error::Key { path: self.path.clone(), what: what.into() }
    }
}

fn new_key(name: &str, random: fn(&mut [u8])) -> StoredKey {
    let seed = Seed::random(&mut { random });
    let institution = Institution::new(&seed);
    StoredKey {
        name: name.into(),
        id: InstitutionId(institution.id()),
        chain: hex(&institution.chain().encode()),
        seeds: vec![StoredSeed { generation: institution.generation(), seed: hex(seed.expose()) }],
    }
}
