//! Keyrings: segments that hold an institution's seeds so far, sealed to a later key or to the recovery
//! key, so that whoever has that one key and the shelves opens everything before it too.

use crate::keys::StoredKey;
use crate::restore::open_segment;
use crate::{Archive, Error};
use serde::{Deserialize, Serialize};
use strongroom_record::json::canonical;
use strongroom_record::{ArchiveId, InstitutionId};
use strongroom_vault::SegmentReader;
use strongroom_vault::keys::SecretKeys;

const MAGIC: &str = "keyring";
const FORMAT: u32 = 1;
/// Plaintext of a keyring at most: 128 generations take about 40 KiB.
const BYTES_MAX: u64 = 1 << 20;

/// The plaintext of a keyring (docs/format/shard.md, "Keyrings").
#[derive(Serialize, Deserialize)]
pub(crate) struct Keyring {
    strongroom: String,
    format: u32,
    pub(crate) archive: ArchiveId,
    pub(crate) key: StoredKey,
}

impl Keyring {
    pub(crate) fn new(archive: ArchiveId, key: StoredKey) -> Keyring {
        Keyring { strongroom: MAGIC.into(), format: FORMAT, archive, key }
    }

    /// One line of canonical JSON.
    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let value = serde_json::to_value(self)
            .map_err(|e| Error::Internal(format!("a keyring is no JSON: {e}")))?;
        let mut text = canonical(&value)?;
        text.push(b'\n');
        Ok(text)
    }

    /// Reads the keyring of an institution. Its seeds must be those that its signing keys name, so a
    /// writer who is certified to write keyrings cannot slip in others.
    pub(crate) fn read(
        mut reader: SegmentReader,
        institution: InstitutionId,
    ) -> Result<Keyring, Error> {
        let mut text = Vec::new();
        reader.read(0..BYTES_MAX, &mut |bytes| -> Result<(), Error> {
            text.extend_from_slice(bytes);
            Ok(())
        })?;
        let bad = |what: String| Error::Internal(format!("a keyring of {institution}: {what}"));
        let keyring: Keyring = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
        if keyring.strongroom != MAGIC || keyring.key.id != institution {
            return Err(bad("it is another's, or none".into()));
        }
        if keyring.format > FORMAT {
            return Err(bad(format!("its format {} is newer than {FORMAT}", keyring.format)));
        }
        keyring.key.secrets().map_err(bad)?;
        Ok(keyring)
    }

    /// Adds its seeds to those at hand.
    pub(crate) fn add_to(&self, secrets: &mut SecretKeys) -> Result<(), Error> {
        let found = self.key.secrets().map_err(Error::Internal)?;
        for generation in found.generations() {
            if let Some(seed) = found.seed(generation) {
                secrets.insert(generation, seed.clone());
            }
        }
        Ok(())
    }
}

/// Adds the seeds that are missing to those at hand, from the newest keyring that these open: of those that
/// the registry names, else of those that the shelves show, for a rotation that was broken off has stored
/// one that the registry does not name yet. What no keyring gives stays missing.
pub(crate) fn complete(
    archive: &Archive,
    institution: InstitutionId,
    secrets: &mut SecretKeys,
) -> Result<(), Error> {
    let generations = archive.block_on(archive.registry().key_generations(institution))?;
    // The recovery key's keyring is as new as the newest.
    let newest_first = generations.iter().rev().filter(|g| secrets.has(g.generation));
    let segments: Vec<_> = newest_first.filter_map(|g| g.keyring).collect();
    for segment in segments {
        match open_segment(archive, segment, secrets).and_then(|r| Keyring::read(r, institution)) {
            Ok(keyring) => return keyring.add_to(secrets),
            Err(error) => tracing::warn!(%segment, %error, "a keyring cannot be read"),
        }
    }
    // A first generation, and one after which all are missing, opens no keyring: nothing is searched.
    let newest = secrets.generations().max().unwrap_or(1);
    if newest == 1 || (1..newest).all(|generation| secrets.has(generation)) {
        return Ok(());
    }
    for found in archive.vault().find_keyrings()? {
        if found.institution == institution
            && let Ok(reader) = archive.vault().reader(found.segment, &found.placements, secrets)
        {
            return Keyring::read(reader, institution)?.add_to(secrets);
        }
    }
    Ok(())
}
