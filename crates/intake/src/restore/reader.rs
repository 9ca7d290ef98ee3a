//! Files' bytes, from the segments in which they lie.

use crate::{Archive, Error};
use std::collections::HashMap;
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::{FileRecord, SegmentId};
use strongroom_registry::Version;
use strongroom_vault::SegmentReader;
use strongroom_vault::keys::SecretKeys;

/// Segments that stay open while files are read in order.
const OPEN_MAX: usize = 4;

/// Reads one file of a version, checked by its SHA-256 at the end.
pub fn read_file(
    archive: &Archive,
    version: &Version,
    path: &[u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let missing = || Error::NotFound { what: "file", name: strongroom_bag::path::show(path) };
    let registry = archive.registry();
    let mut file = archive.block_on(registry.file_by_path(version.id, path))?;
    if file.is_none() && !version.bag {
        // What was no bag is known by the path that it had in its source.
        let inside = [b"data/", path].concat();
        file = archive.block_on(registry.file_by_path(version.id, &inside))?;
    }
    let file = file.ok_or_else(missing)?;
    let object = archive.block_on(registry.object(version.object))?.ok_or_else(missing)?;
    let mut reader = Reader::new(archive, archive.secrets(object.institution)?);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    reader.read(&file, &mut |bytes| {
        hasher.update(bytes);
        sink(bytes)
    })?;
    compare(&file, hasher)
}

/// Whether what was hashed is what was recorded.
pub(super) fn compare(file: &FileRecord, hasher: Hasher) -> Result<(), Error> {
    let found = hasher.finish();
    match found.as_bytes() == file.sha256.0 {
        true => Ok(()),
        false => Err(Error::Mismatch {
            path: strongroom_bag::path::show(&file.path),
            expected: file.sha256.to_string(),
            found: found.to_string(),
        }),
    }
}

/// Files' bytes by their extents, a few segments open at a time.
pub(crate) struct Reader<'a> {
    archive: &'a Archive,
    keys: SecretKeys,
    open: HashMap<SegmentId, (u64, SegmentReader)>,
    clock: u64,
    faults: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(archive: &'a Archive, keys: SecretKeys) -> Reader<'a> {
        Reader { archive, keys, open: HashMap::new(), clock: 0, faults: 0 }
    }

    pub(crate) fn read(
        &mut self,
        file: &FileRecord,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.read_from(file, 0, sink)
    }

    /// The bytes of a file from byte `from` on.
    pub(crate) fn read_from(
        &mut self,
        file: &FileRecord,
        from: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut before = 0;
        for extent in &file.extents {
            let skip = from.saturating_sub(before).min(extent.length);
            before += extent.length;
            if skip < extent.length {
                let reader = self.segment(extent.segment)?;
                let range = extent.offset + skip..extent.offset + extent.length;
                reader.read(range, sink)?;
            }
        }
        Ok(())
    }

    fn segment(&mut self, id: SegmentId) -> Result<&mut SegmentReader, Error> {
        self.clock += 1;
        if !self.open.contains_key(&id) {
            let registry = self.archive.registry();
            let missing = || Error::NotFound { what: "segment", name: id.to_string() };
            let segment = self.archive.block_on(registry.segment(id))?.ok_or_else(missing)?;
            let placements = self.archive.block_on(registry.placements(id))?;
            // The coding that is wanted first; any other that is whole will do.
            let mut codings: Vec<_> = placements.iter().map(|p| p.coding).collect();
            codings.sort_by_key(|c| (*c != segment.number, *c));
            codings.dedup();
            let mut last = None;
            let mut found = None;
            for coding in codings {
                let of: Vec<_> =
                    placements.iter().filter(|p| p.coding == coding).cloned().collect();
                match self.archive.vault().reader(id, &of, &self.keys) {
                    Ok(reader) => {
                        found = Some(reader);
                        break;
                    }
                    Err(error) => last = Some(error),
                }
            }
            let reader = match (found, last) {
                (Some(reader), _) => reader,
                (None, Some(error)) => return Err(error.into()),
                (None, None) => return Err(missing()),
            };
            if self.open.len() >= OPEN_MAX
                && let Some(oldest) =
                    self.open.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| *id)
                && let Some((_, closed)) = self.open.remove(&oldest)
            {
                self.faults += closed.faults().len();
            }
            self.open.insert(id, (0, reader));
        }
        let (at, reader) =
            self.open.get_mut(&id).ok_or_else(|| Error::Internal("a segment".into()))?;
        *at = self.clock;
        Ok(reader)
    }

    pub(super) fn faults(&self) -> usize {
        self.faults + self.open.values().map(|(_, reader)| reader.faults().len()).sum::<usize>()
    }
}
