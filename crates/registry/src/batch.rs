//! The bounds of a batch, so that no transaction holds the writer's lock for long.

use crate::types::Batch;
use crate::{Error, work};
use strongroom_record::{Stage, WorkItem, WorkStatus};

/// Most rows of a batch: files, segments, placements, checks, events and work items together.
pub const ROWS_MAX: usize = 2_000;
/// Most extents of a batch's files together. One file must fit: this is one of 16 TiB.
pub const EXTENTS_MAX: usize = 262_144;
/// Most segments of which the tombstones of a batch tell: an object of some 20 TiB.
pub const DELETED_SEGMENTS_MAX: usize = 400_000;
/// Most bytes of each JSON value (checkpoint, detail, request, report) and of a note.
pub const JSON_BYTES_MAX: usize = 16 << 20;

impl Batch {
    /// Rows of the batch as [`ROWS_MAX`] counts them, extents apart.
    pub fn rows(&self) -> usize {
        self.begin_segments.len()
            + self.durable.iter().map(|s| 1 + s.placements.len()).sum::<usize>()
            + self.give_up.len()
            + self.files.len()
            + self.amend.len()
            + self.replace_codings.iter().map(|s| 1 + s.placements.len()).sum::<usize>()
            + self.placements.len()
            + self.moves.len()
            + self.checked.len()
            + self.confirmed.len()
            + self.shelf_states.len()
            + self.keys.len()
            + self.events.len()
            + self.delete.as_ref().map_or(0, |d| d.versions.len() + d.files.len())
            + self.erase.len()
            + self.moved_bytes.len()
            + self.tombstones.len()
            + self.release_deleted.len()
            + self.enqueue.len()
    }

    pub(crate) fn check_size(&self) -> Result<(), Error> {
        let bound = |what, found: usize, max: usize| match found <= max {
            true => Ok(()),
            false => Err(Error::TooLarge { what, found: found as u64, max: max as u64 }),
        };
        bound("the number of rows of a batch", self.rows(), ROWS_MAX)?;
        let extents = self.files.iter().map(|file| file.extents.len()).sum();
        bound("the number of extents of a batch", extents, EXTENTS_MAX)?;
        let told = self.tombstones.iter().map(|t| t.segments.len());
        let told = told.chain(self.delete.as_ref().map(|d| d.rewrite.len())).sum();
        bound("the number of segments that a batch deletes", told, DELETED_SEGMENTS_MAX)?;
        let note = self.note.as_ref().map_or(0, String::len);
        bound("bytes of a note", note, JSON_BYTES_MAX)
    }

    /// Whether the batch can be applied to this item at all.
    pub(crate) fn check_against(&self, item: &WorkItem) -> Result<(), Error> {
        if let Some(stage) = self.stage {
            work::check_stage(item.kind, stage)?;
        }
        if self.publish.is_some() && self.abandon_draft {
            return Err(Error::conflict("a draft is published or abandoned, not both"));
        }
        match self.finish.as_ref().map(|finish| finish.status) {
            Some(status @ (WorkStatus::Queued | WorkStatus::Running)) => {
                Err(Error::conflict(format!("no work item is finished as {status}")))
            }
            Some(WorkStatus::Waiting) if self.stage != Some(Stage::Rewrite) => {
                Err(Error::conflict("only at stage `rewrite` work waits for a key"))
            }
            _ => Ok(()),
        }
    }
}
