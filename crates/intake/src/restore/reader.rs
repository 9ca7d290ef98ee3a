//! Files' bytes, from the segments in which they lie.

use crate::{Archive, Code, Error};
use std::collections::HashMap;
use std::ops::Range;
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::{Extent, FileRecord, InstitutionId, Placement, SegmentId};
use strongroom_registry::Version;
use strongroom_vault::keys::SecretKeys;
use strongroom_vault::{Error as VaultError, SegmentReader};

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
    let file = find_file(archive, version, path)?.ok_or_else(missing)?;
    let object = archive.block_on(registry.object(version.object))?.ok_or_else(missing)?;
    let mut reader = Reader::new(archive, archive.secrets(object.institution)?);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    reader.read(&file, &mut |bytes| {
        hasher.update(bytes);
        sink(bytes)
    })?;
    compare(&file, hasher)
}

/// The file of this path: in the version, or, of what was no bag, in its source.
pub(crate) fn find_file(
    archive: &Archive,
    version: &Version,
    path: &[u8],
) -> Result<Option<FileRecord>, Error> {
    let registry = archive.registry();
    let file = archive.block_on(registry.file_by_path(version.id, path))?;
    if file.is_some() || version.bag {
        return Ok(file);
    }
    let inside = [b"data/", path].concat();
    Ok(archive.block_on(registry.file_by_path(version.id, &inside))?)
}

/// Reads a range of a file's bytes. Each segment's seal is checked; the file's SHA-256 can be compared
/// only where the range is the whole of it, and then is.
pub fn read_range(
    archive: &Archive,
    institution: InstitutionId,
    file: &FileRecord,
    range: Range<u64>,
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = Reader::new(archive, archive.secrets(institution)?);
    if range == (0..file.size) {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        reader.read(file, &mut |bytes| {
            hasher.update(bytes);
            sink(bytes)
        })?;
        return compare(file, hasher);
    }
    let mut at = 0;
    for extent in &file.extents {
        let (from, to) = (range.start.max(at), range.end.min(at + extent.length));
        if from < to {
            let (offset, length) = (extent.offset + (from - at), to - from);
            reader.extent(&Extent { offset, length, ..*extent }, sink)?;
        }
        at += extent.length;
    }
    Ok(())
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

/// Opens a segment: the coding that is wanted first; any other that is whole will do.
pub(crate) fn open_segment(
    archive: &Archive,
    id: SegmentId,
    keys: &SecretKeys,
) -> Result<SegmentReader, Error> {
    open_placed(archive, id, keys).map(|(_, reader)| reader)
}

/// The same, with where its shards stood. Shards that are moved while it is opened are asked for again.
fn open_placed(
    archive: &Archive,
    id: SegmentId,
    keys: &SecretKeys,
) -> Result<(Vec<Placement>, SegmentReader), Error> {
    let registry = archive.registry();
    let missing = || Error::NotFound { what: "segment", name: id.to_string() };
    let mut tried: Option<(Vec<Placement>, Error)> = None;
    loop {
        let segment = archive.block_on(registry.segment(id))?.ok_or_else(missing)?;
        let placements = archive.block_on(registry.placements(id))?;
        // Where they do not stand elsewhere than the last time, that is how it is.
        if let Some((before, error)) = tried
            && before == placements
        {
            return Err(error);
        }
        let mut codings: Vec<_> = placements.iter().map(|p| p.coding).collect();
        codings.sort_by_key(|c| (*c != segment.number, *c));
        codings.dedup();
        let mut failed = missing();
        for coding in codings {
            let of: Vec<_> = placements.iter().filter(|p| p.coding == coding).cloned().collect();
            match archive.vault().reader(id, &of, keys) {
                Ok(reader) => return Ok((placements, reader)),
                Err(error) => failed = error.into(),
            }
        }
        if failed.code() == Code::KeyMissing {
            return Err(archive.seed_is_missing(segment.institution, segment.generation)?);
        }
        tried = Some((placements, failed));
    }
}

/// Files' bytes by their extents, a few segments open at a time.
pub(crate) struct Reader<'a> {
    archive: &'a Archive,
    keys: SecretKeys,
    open: HashMap<SegmentId, Open>,
    clock: u64,
    faults: usize,
}

struct Open {
    /// When it was last used, by the reader's clock.
    at: u64,
    placements: Vec<Placement>,
    reader: SegmentReader,
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
                let (offset, length) = (extent.offset + skip, extent.length - skip);
                self.extent(&Extent { offset, length, ..*extent }, sink)?;
            }
        }
        Ok(())
    }

    /// The bytes of an extent.
    pub(crate) fn extent(
        &mut self,
        extent: &Extent,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let range = extent.offset..extent.offset + extent.length;
        let mut read = range.start;
        let mut counted = |bytes: &[u8]| {
            sink(bytes)?;
            read += bytes.len() as u64;
            Ok(())
        };
        let reader = self.segment(extent.segment)?;
        match reader.read(range.clone(), &mut counted) {
            // Shards that were moved since they were asked for are read where they stand now.
            Err(Error::Vault(VaultError::Lost { .. })) if self.was_moved(extent.segment)? => {
                let rest = read..range.end;
                self.close(extent.segment)?;
                self.segment(extent.segment)?.read(rest, sink)
            }
            read => read,
        }
    }

    /// Whether the shards of an open segment stand elsewhere now than where it was opened.
    fn was_moved(&self, id: SegmentId) -> Result<bool, Error> {
        let now = self.archive.block_on(self.archive.registry().placements(id))?;
        let open = self.open.get(&id).map(|open| &open.placements);
        Ok(open.is_some_and(|open| open.iter().any(|p| !stands(&now, p))))
    }

    /// Closes a segment, and counts the shards that were wrong: not those that were moved meanwhile.
    fn close(&mut self, id: SegmentId) -> Result<(), Error> {
        let Some(open) = self.open.remove(&id) else { return Ok(()) };
        if !open.reader.faults().is_empty() {
            let now = self.archive.block_on(self.archive.registry().placements(id))?;
            let faults = open.reader.faults().iter();
            self.faults += faults.filter(|fault| stands(&now, &fault.placement)).count();
        }
        Ok(())
    }

    fn segment(&mut self, id: SegmentId) -> Result<&mut SegmentReader, Error> {
        self.clock += 1;
        if !self.open.contains_key(&id) {
            let (placements, reader) = open_placed(self.archive, id, &self.keys)?;
            if self.open.len() >= OPEN_MAX
                && let Some(oldest) = self.open.iter().min_by_key(|(_, open)| open.at)
            {
                self.close(*oldest.0)?;
            }
            self.open.insert(id, Open { at: 0, placements, reader });
        }
        let open = self.open.get_mut(&id).ok_or_else(|| Error::Internal("a segment".into()))?;
        open.at = self.clock;
        Ok(&mut open.reader)
    }

    pub(super) fn faults(&mut self) -> Result<usize, Error> {
        let open: Vec<_> = self.open.keys().copied().collect();
        open.into_iter().try_for_each(|id| self.close(id))?;
        Ok(self.faults)
    }
}

/// Whether a shard stands as it stood.
fn stands(now: &[Placement], placement: &Placement) -> bool {
    let place = |p: &Placement| (p.coding, p.index, p.shelf);
    now.iter().any(|p| place(p) == place(placement) && p.frames == placement.frames)
}
