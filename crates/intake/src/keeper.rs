//! An archive's keys at work: the key file as it is now, what opens segments, what seals and signs new ones.

use crate::archive::{now, random};
use crate::keys::PublicKey;
use crate::{Archive, Error, KeyFile, locks};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use strongroom_record::{ArchiveId, InstitutionId};
use strongroom_vault::keys::{SealingPublic, SecretKeys, Writer};

/// The key file of an archive, which other processes may replace at any moment.
pub(crate) struct Keeper {
    path: PathBuf,
    archive: ArchiveId,
    /// The file as it was read last, and what tells that it was replaced since.
    read: Mutex<Option<(KeyFile, Identity)>>,
    writers: Mutex<HashMap<(InstitutionId, u32), Arc<Writer>>>,
}

type Identity = Option<(u64, i64, i64)>;

/// What new segments of an institution are sealed to, and who signs them.
#[derive(Clone)]
pub(crate) struct Sealing {
    pub(crate) generation: u32,
    pub(crate) seal_to: SealingPublic,
    pub(crate) writer: Arc<Writer>,
}

impl Keeper {
    pub(crate) fn new(path: PathBuf, archive: ArchiveId) -> Keeper {
        Keeper { path, archive, read: Mutex::default(), writers: Mutex::default() }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Archive {
    /// Asks the key file, as it is now.
    pub(crate) fn with_keys<T>(
        &self,
        work: impl FnOnce(&KeyFile) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let keeper = self.keeper();
        let mut slot = keeper.read.lock().unwrap_or_else(PoisonError::into_inner);
        let identity = KeyFile::identity(&keeper.path);
        let known = slot.take().filter(|(_, known)| identity.is_some() && *known == identity);
        let known = match known {
            Some(known) => known,
            None => (KeyFile::open(self.disk().clone(), &keeper.path, keeper.archive)?, identity),
        };
        work(&slot.insert(known).0)
    }

    /// Changes the key file. Two processes that do so at once would each rewrite it: one at a time.
    pub(crate) fn change_keys<T>(
        &self,
        change: impl FnOnce(&mut KeyFile) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let keeper = self.keeper();
        let _turn = locks::making(self.disk().as_ref(), self.data())?;
        change(&mut KeyFile::open(self.disk().clone(), &keeper.path, keeper.archive)?)
    }

    /// The seeds of an institution: those of the key file, and those that keyrings give with them.
    pub(crate) fn secrets(&self, id: InstitutionId) -> Result<SecretKeys, Error> {
        let mut secrets = self.with_keys(|keys| keys.secrets(id))?;
        let known = self.block_on(self.registry().institution(id))?;
        let present = known.map_or(0, |known| known.generation);
        if (1..=present).any(|generation| !secrets.has(generation)) {
            crate::keyring::complete(self, id, &mut secrets)?;
        }
        Ok(secrets)
    }

    /// What new segments of an institution are sealed to, and who signs them. Refused where the key file
    /// is of an older generation than the registry names.
    pub(crate) fn sealing(&self, id: InstitutionId) -> Result<Sealing, Error> {
        // Asked for before the file is read, for the file is replaced before the registry names it.
        let missing = || Error::NotFound { what: "institution", name: id.to_string() };
        let known = self.block_on(self.registry().institution(id))?.ok_or_else(missing)?;
        self.with_keys(|keys| {
            let PublicKey { generation, seal_to, .. } = keys.public_of(id)?;
            if generation < known.generation {
                return Err(self.key_is_old(&known, generation));
            }
            let writers = &self.keeper().writers;
            let mut writers = writers.lock().unwrap_or_else(PoisonError::into_inner);
            let writer = match writers.get(&(id, generation)) {
                Some(writer) => writer.clone(),
                None => {
                    let writer = Arc::new(keys.writer(id, now(), random)?);
                    writers.insert((id, generation), writer.clone());
                    writer
                }
            };
            Ok(Sealing { generation, seal_to, writer })
        })
    }

    pub(crate) fn writer(&self, id: InstitutionId) -> Result<Arc<Writer>, Error> {
        self.sealing(id).map(|sealing| sealing.writer)
    }
}
