//! What tombstones say: the dead do not come back, and those that did while nothing told of their death die
//! when a shelf that tells of it returns.

use super::Rebuild;
use super::read::Journals;
use super::records::Head;
use crate::Error;
use crate::archive::now;
use strongroom_record::Id as _;
use strongroom_registry::Erased;

/// Files that are asked of the registry at once.
const PAGE: u32 = 1000;

impl Rebuild<'_> {
    /// Whether the record is of something that was deleted. What was deposited into an object that had come
    /// back, after it had died elsewhere, is not.
    pub(super) fn is_dead(&self, head: &Head, journals: &Journals) -> Result<bool, Error> {
        let Some(dead) = journals.dead(head.institution) else { return Ok(false) };
        if dead.has(head.version.bytes()) || dead.has(head.segment.bytes()) {
            return Ok(true);
        }
        let Some(died) = dead.objects.get(&head.object) else { return Ok(false) };
        let known = self.runtime.block_on(self.registry.version(head.version))?;
        let named = journals.named.get(&head.version).and_then(|named| named.first());
        let born = known.map(|version| version.created).or(named.map(|named| named.time));
        Ok(born.is_none_or(|born| born <= *died))
    }

    /// Lists no longer what a tombstone names.
    pub(super) fn bury(&mut self, journals: &Journals) -> Result<(), Error> {
        let (runtime, registry) = (self.runtime, self.registry.clone());
        let (mut versions, mut files) = (0, 0);
        let institutions: Vec<_> = self.secrets.keys().copied().collect();
        for institution in institutions {
            for version in runtime.block_on(registry.raised(institution))? {
                versions += 1;
                loop {
                    self.stop.check()?;
                    let page = runtime.block_on(registry.files(version, 0, PAGE))?;
                    let erased = |file: &strongroom_record::FileRecord| Erased {
                        version,
                        number: file.number,
                        leaf: file.leaf(),
                    };
                    let erased: Vec<_> = page.iter().map(erased).collect();
                    runtime.block_on(registry.take_in_death(version, &erased))?;
                    if page.is_empty() {
                        break;
                    }
                }
            }
            for (file, version) in journals.dead(institution).iter().flat_map(|dead| &dead.files) {
                let dies = registry.take_in_file_death(*file, *version);
                files += u64::from(runtime.block_on(dies)?);
            }
            runtime.block_on(registry.bury_objects(institution, now()))?;
        }
        if versions + files > 0 {
            self.report.remark(format!(
                "{versions} versions and {files} files had come back, and were deleted: these shelves tell of it"
            ));
        }
        Ok(())
    }
}
