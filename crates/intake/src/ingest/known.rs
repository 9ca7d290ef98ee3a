//! What an object holds already: contents, so that none is stored twice, and the files of its last
//! version, so that those that did not change keep their ids.

use super::PAGE;
use crate::Error;
use crate::archive::Archive;
use std::collections::{HashMap, VecDeque};
use strongroom_record::{Extent, FileRecord, Sha256, VersionId};

/// Contents that are remembered, so that memory stays within 13 bytes for each of 2^22 slots. Equal ones
/// beyond it are stored again; nothing else depends on it.
const CONTENTS_MAX: usize = (1 << 22) / 8 * 7;

/// Contents that the object has already: of the last version, and of the draft so far.
pub(super) struct Known<'a> {
    archive: &'a Archive,
    latest: Before<'a>,
    draft: VersionId,
    /// By the first eight bytes of a SHA-256: twice the number of the file, and one if it is one of the
    /// draft. What lies there is compared whole.
    places: HashMap<[u32; 2], u32>,
}

impl<'a> Known<'a> {
    /// Nothing of `draft` is known yet, nor of the version before it.
    pub(super) fn new(
        archive: &'a Archive,
        latest: Option<VersionId>,
        draft: VersionId,
    ) -> Known<'a> {
        Known { archive, latest: Before::new(archive, latest), draft, places: HashMap::new() }
    }

    /// Reads what the registry has of both.
    pub(super) fn load(&mut self) -> Result<(), Error> {
        for version in self.latest.version.into_iter().chain([self.draft]) {
            let mut from = 0;
            loop {
                let page = self.archive.registry().digests_of(version, from, PAGE);
                let page = self.archive.block_on(page)?;
                let Some((_, last)) = page.last() else { break };
                from = last + 1;
                for (sha256, number) in page {
                    self.put(&sha256, number, version == self.draft);
                }
            }
        }
        Ok(())
    }

    /// Remembers that the draft's file of this number has such content.
    pub(super) fn add(&mut self, sha256: &Sha256, number: u64) {
        self.put(sha256, number, true);
    }

    fn put(&mut self, sha256: &Sha256, number: u64, of_draft: bool) {
        if let Ok(number) = u32::try_from(number * 2 + u64::from(of_draft))
            && self.places.len() < CONTENTS_MAX
        {
            self.places.entry(beginning(sha256)).or_insert(number);
        }
    }

    /// Where such content lies. `uncommitted` are files of the draft that the registry may not have yet.
    pub(super) fn extents<'f>(
        &mut self,
        sha256: &Sha256,
        mut uncommitted: impl Iterator<Item = &'f FileRecord>,
    ) -> Result<Option<Vec<Extent>>, Error> {
        let Some(place) = self.places.get(&beginning(sha256)) else { return Ok(None) };
        let (number, of_draft) = (u64::from(place / 2), place % 2 == 1);
        let file = match of_draft {
            true => match uncommitted.find(|file| file.number == number) {
                Some(file) => Some(file.clone()),
                None => numbered(self.archive, self.draft, number)?,
            },
            false => self.latest.numbered(number)?,
        };
        Ok(file.filter(|file| file.sha256 == *sha256).map(|file| file.extents))
    }

    /// The file of the last version that stands at this path.
    pub(super) fn before(&mut self, path: &[u8]) -> Result<Option<FileRecord>, Error> {
        self.latest.at(path)
    }
}

fn beginning(sha256: &Sha256) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h, ..] = sha256.0;
    [u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h])]
}

fn numbered(
    archive: &Archive,
    version: VersionId,
    number: u64,
) -> Result<Option<FileRecord>, Error> {
    let page = archive.block_on(archive.registry().files(version, number, 1))?;
    Ok(page.into_iter().find(|file| file.number == number))
}

/// The files of the version before, if there is one. A source mostly has them in the order in which they
/// were recorded: where two in a row were asked for, a page of those that follow is read at once.
pub(super) struct Before<'a> {
    archive: &'a Archive,
    version: Option<VersionId>,
    /// What follows the file that was asked for last, and that file itself.
    page: VecDeque<FileRecord>,
    /// Its number.
    last: Option<u64>,
}

impl<'a> Before<'a> {
    pub(super) fn new(archive: &'a Archive, version: Option<VersionId>) -> Before<'a> {
        Before { archive, version, page: VecDeque::new(), last: None }
    }

    /// The one that stands at this path.
    pub(super) fn at(&mut self, path: &[u8]) -> Result<Option<FileRecord>, Error> {
        if let Some(file) = self.ahead(|file| file.path == path) {
            return Ok(Some(file));
        }
        let Some(version) = self.version else { return Ok(None) };
        let found = self.archive.registry().file_by_path(version, path);
        let found = self.archive.block_on(found)?;
        self.follow(found.as_ref())?;
        Ok(found)
    }

    /// The one of this number.
    fn numbered(&mut self, number: u64) -> Result<Option<FileRecord>, Error> {
        if let Some(file) = self.ahead(|file| file.number == number) {
            return Ok(Some(file));
        }
        let Some(version) = self.version else { return Ok(None) };
        let found = numbered(self.archive, version, number)?;
        self.follow(found.as_ref())?;
        Ok(found)
    }

    /// Among the next few of the page: more are not looked through, for where the order is another one
    /// that would cost more than it saves.
    fn ahead(&mut self, wanted: impl Fn(&FileRecord) -> bool) -> Option<FileRecord> {
        const NEXT: usize = 8;
        let at = self.page.iter().take(NEXT).position(wanted)?;
        self.page.drain(..at);
        self.last = self.page.front().map(|file| file.number);
        self.page.front().cloned()
    }

    fn follow(&mut self, found: Option<&FileRecord>) -> Result<(), Error> {
        let (Some(version), Some(found)) = (self.version, found) else { return Ok(()) };
        let follows = self.last.replace(found.number).is_some_and(|last| last + 1 == found.number);
        if follows {
            let page = self.archive.registry().files(version, found.number, PAGE);
            self.page = self.archive.block_on(page)?.into();
        }
        Ok(())
    }
}
