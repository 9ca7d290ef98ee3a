//! Taking in what was found on shelves: rows and events of journals, versions of records, segments of
//! headers. It serves a new registry, and one that is behind its shelves: whatever is known already
//! stays, unless a newer journal says otherwise, so it can be said twice.

use std::collections::{HashMap, HashSet};

use sqlx::sqlite::SqliteConnection;
use strongroom_record::{
    EpochId, Event, EventHead, FileId, FileRecord, Id as _, InstitutionId, ObjectId, Placement,
    PlacementState, SegmentId, SegmentState, Sha256, Time, VersionId, WorkId,
};

use crate::deletion::{self, Erased, TombstoneKind};
use crate::journal::{self, Existing, Row};
use crate::row::{Fields, int};
use crate::types::{Institution, Segment, Version, VersionState};
use crate::{Error, ROWS_MAX, Registry, events, files};

/// A segment that was found on shelves, with its shards.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FoundSegment {
    /// What its header says, and what it is for.
    pub segment: Segment,
    /// Its shards, of all codings; those that are not wanted are `released`.
    pub placements: Vec<Placement>,
}

/// A version that a record told of.
#[derive(Clone, PartialEq, Debug)]
pub struct FoundVersion {
    /// The version, as it was published.
    pub version: Version,
    /// Its object's institution.
    pub institution: InstitutionId,
    /// Its object's name.
    pub object_name: String,
    /// An event says that it was published: what the registry has as a draft of it is older.
    pub named: bool,
}

/// What was deleted, by id.
#[derive(Clone, Default, Debug)]
pub struct Dead {
    /// Versions, drafts and segments.
    pub ids: HashSet<[u8; 16]>,
    /// Objects, and when each died: what is deposited into one that came back lives.
    pub objects: HashMap<ObjectId, Time>,
    /// Files, by the versions in which they are dead; elsewhere they live.
    pub files: HashSet<(FileId, VersionId)>,
}

impl Dead {
    /// Whether this was deleted.
    pub fn has(&self, id: [u8; 16]) -> bool {
        self.ids.contains(&id)
    }
}

impl Registry {
    /// Makes an institution with an empty chain of events, where there is none of its id.
    pub async fn take_in_institution(&self, institution: &Institution) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let made = crate::archive::insert_institution(&mut tx, institution).await?;
        tx.commit().await?;
        Ok(made)
    }

    /// Takes rows of a journal in, at most [`ROWS_MAX`]; gives back those that cannot stand beside what
    /// is there.
    pub async fn take_in_rows(
        &self,
        rows: Vec<Row>,
        existing: Existing,
    ) -> Result<Vec<Row>, Error> {
        bounded(rows.len())?;
        let mut tx = self.write().await?;
        let passed_over = journal::take_in(&mut tx, rows, existing).await?;
        tx.commit().await?;
        Ok(passed_over)
    }

    /// Takes those events in that follow the end of the institution's chain; the end after that.
    pub async fn take_in_events(
        &self,
        institution: InstitutionId,
        events: &[Event],
    ) -> Result<EventHead, Error> {
        bounded(events.len())?;
        let mut tx = self.write().await?;
        let head = events::take_in(&mut tx, institution, events).await?;
        tx.commit().await?;
        Ok(head)
    }

    /// Takes a journal in that stands on the shelves.
    pub async fn take_in_journal(&self, journal: &crate::Journal) -> Result<(), Error> {
        let mut tx = self.write().await?;
        journal::take_in_row(&mut tx, journal).await?;
        Ok(tx.commit().await?)
    }

    /// What was deleted in an institution: the ids of objects, versions, files and segments that must
    /// not come back.
    pub async fn dead(&self, institution: InstitutionId) -> Result<Dead, Error> {
        let rows =
            sqlx::query("SELECT kind, id, detail, time FROM tombstones WHERE institution = $1")
                .bind(&institution.0[..])
                .fetch_all(&mut *self.read().await?)
                .await?;
        let mut dead = Dead::default();
        for row in &rows {
            let fields = Fields::new(row, "tombstones");
            let detail = fields.json("detail")?;
            let kind = fields.text("kind")?;
            if kind == TombstoneKind::Object.word() {
                dead.objects.insert(fields.id("id")?, fields.time("time")?);
            } else if kind == TombstoneKind::File.word() {
                let id: FileId = fields.id("id")?;
                let versions = detail["versions"].as_array().map(Vec::as_slice);
                let versions = versions.unwrap_or_default().iter();
                let versions = versions.filter_map(|id| id.as_str()?.parse::<VersionId>().ok());
                dead.files.extend(versions.map(|version| (id, version)));
            } else {
                dead.ids.insert(fields.array("id")?);
            }
            let segments = detail["segments"].as_array().map(Vec::as_slice).unwrap_or_default();
            for id in segments.iter().filter_map(|id| id.as_str()?.parse::<SegmentId>().ok()) {
                dead.ids.insert(id.bytes());
            }
        }
        Ok(dead)
    }

    /// Versions that are listed here, or have files, and that a tombstone names: it was on shelves that
    /// were away when they came back.
    pub async fn raised(&self, institution: InstitutionId) -> Result<Vec<VersionId>, Error> {
        let rows = sqlx::query(
            "SELECT versions.id FROM versions
             JOIN objects ON objects.id = versions.object
             JOIN tombstones ON tombstones.kind = 'version' AND tombstones.id = versions.id
             WHERE objects.institution = $1 AND (versions.state = 'published'
               OR EXISTS (SELECT 1 FROM files WHERE files.version = versions.id))
             ORDER BY versions.id",
        )
        .bind(&institution.0[..])
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(|row| Fields::new(row, "versions").id("id")).collect()
    }

    /// Takes in that a version is dead: it is listed no longer, and of these files, at most
    /// [`ROWS_MAX`], only the leaf hashes are kept.
    pub async fn take_in_death(&self, version: VersionId, files: &[Erased]) -> Result<(), Error> {
        bounded(files.len())?;
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE versions SET state = 'deleted', source = '', detail = '{}'
             WHERE id = $1 AND state IN ('published', 'rebuilding')",
        )
        .bind(&version.0[..])
        .execute(&mut *tx)
        .await?;
        deletion::erase(&mut tx, files).await?;
        Ok(tx.commit().await?)
    }

    /// Takes in that a file of a version is dead; `false` where it is not there any more.
    pub async fn take_in_file_death(&self, id: FileId, version: VersionId) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT files.number, versions.object FROM files
             JOIN versions ON versions.id = files.version
             WHERE files.version = $1 AND files.id = $2 AND versions.state = 'published'",
        )
        .bind(&version.0[..])
        .bind(&id.0[..])
        .fetch_optional(&mut *self.read().await?)
        .await?;
        let Some(row) = row else { return Ok(false) };
        let fields = Fields::new(&row, "files");
        let (number, object): (u64, ObjectId) = (fields.number("number")?, fields.id("object")?);
        let page = self.files(version, number, 1).await?;
        let Some(file) = page.first().filter(|file| file.id == id) else { return Ok(false) };
        let erased = Erased { version, number, leaf: file.leaf() };
        let mut tx = self.write().await?;
        deletion::take_file(&mut tx, object, id, &erased).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Objects of which a tombstone tells and of which no version is left give their name up.
    pub async fn bury_objects(&self, institution: InstitutionId, now: Time) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE objects SET deleted = $2, name = 'deleted/' || lower(hex(id)), source = NULL
             WHERE institution = $1 AND deleted IS NULL
               AND id IN (SELECT id FROM tombstones WHERE kind = 'object')
               AND NOT EXISTS (SELECT 1 FROM versions WHERE versions.object = objects.id
                 AND versions.state IN ('published', 'draft', 'rebuilding'))",
        )
        .bind(&institution.0[..])
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Takes segments in with their shards. Of a segment that is known only shards are added that
    /// were missing or damaged; a shard that stands elsewhere too is the other's copy, and stays.
    pub async fn take_in_segments(&self, found: &[FoundSegment]) -> Result<(), Error> {
        bounded(found.iter().map(|f| 1 + f.placements.len()).sum())?;
        let mut tx = self.write().await?;
        for FoundSegment { segment, placements } in found {
            sqlx::query(
                "INSERT INTO segments (id, version, object, institution, kind, state, generation,
                   bytes, coding, coding_epoch, coding_no, work, token, created)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, NULL, 0, $12)
                 ON CONFLICT DO NOTHING",
            )
            .bind(&segment.id.0[..])
            .bind(segment.version.as_ref().map(|id| &id.0[..]))
            .bind(segment.object.as_ref().map(|id| &id.0[..]))
            .bind(&segment.institution.0[..])
            .bind(segment.kind.word())
            .bind(segment.state.word())
            .bind(i64::from(segment.generation))
            .bind(int(segment.bytes)?)
            .bind(segment.coding.to_string())
            .bind(i64::from(segment.number.epoch))
            .bind(i64::from(segment.number.number))
            .bind(segment.created.0)
            .execute(&mut *tx)
            .await?;
            for placement in placements {
                take_in_placement(&mut tx, placement, segment.state).await?;
            }
            if segment.state == SegmentState::Released {
                // It may have been known as durable before it was told that it goes.
                for sql in [
                    "UPDATE segments SET state = 'released' WHERE id = $1",
                    "UPDATE placements SET state = 'released' WHERE segment = $1",
                ] {
                    sqlx::query(sql).bind(&segment.id.0[..]).execute(&mut *tx).await?;
                }
            }
        }
        Ok(tx.commit().await?)
    }

    /// Begins to take a version in, with none of its files yet; what an earlier try left of it is
    /// cleared. `false` where it is there already, by a record as new.
    pub async fn take_in_version(&self, found: &FoundVersion) -> Result<bool, Error> {
        let version = &found.version;
        let mut tx = self.write().await?;
        let c = &mut *tx;
        let row = sqlx::query("SELECT state, revision_epoch, revision FROM versions WHERE id = $1")
            .bind(&version.id.0[..])
            .fetch_optional(&mut *c)
            .await?;
        if let Some(row) = &row {
            let fields = Fields::new(row, "versions");
            let known: (u32, u64) = (fields.number("revision_epoch")?, fields.number("revision")?);
            match fields.word("state", VersionState::parse)? {
                VersionState::Rebuilding => {}
                VersionState::Draft if found.named => {}
                VersionState::Published if known < version.revision => {}
                _ => return Ok(false),
            }
        }
        sqlx::query(
            "INSERT INTO objects (id, institution, name, source, versions, created)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (id) DO UPDATE SET versions = MAX(versions, excluded.versions)",
        )
        .bind(&version.object.0[..])
        .bind(&found.institution.0[..])
        .bind(&found.object_name)
        .bind((!version.source.is_empty()).then_some(&version.source))
        .bind(i64::from(version.number))
        .bind(version.created.0)
        .execute(&mut *c)
        .await?;
        sqlx::query(
            "INSERT INTO work (id, kind, institution, object, request, stage, status, attempts, token,
               checkpoint, note, report, created, updated)
             VALUES ($1, 'ingest', $2, $3, '{}', 'publish', 'succeeded', 0, 0, '{}', $4, '{}', $5, $5)
             ON CONFLICT DO NOTHING",
        )
        .bind(&version.work.0[..])
        .bind(&found.institution.0[..])
        .bind(&version.object.0[..])
        .bind("known from the version's record only")
        .bind(version.created.0)
        .execute(&mut *c)
        .await?;
        for sql in [
            "DELETE FROM extents WHERE version = $1",
            "DELETE FROM files WHERE version = $1",
            "DELETE FROM versions WHERE id = $1",
        ] {
            sqlx::query(sql).bind(&version.id.0[..]).execute(&mut *c).await?;
        }
        sqlx::query(
            "INSERT INTO versions (id, object, number, state, work, source, bag, files, bytes,
               revision_epoch, revision, record, record_sha256, created, published, detail)
             VALUES ($1, $2, $3, 'rebuilding', $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)",
        )
        .bind(&version.id.0[..])
        .bind(&version.object.0[..])
        .bind(i64::from(version.number))
        .bind(&version.work.0[..])
        .bind(&version.source)
        .bind(i64::from(version.bag))
        .bind(int(version.files)?)
        .bind(int(version.bytes)?)
        .bind(i64::from(version.revision.0))
        .bind(int(version.revision.1)?)
        .bind(version.record.as_ref().map(|id| &id.0[..]))
        .bind(version.record_sha256.as_ref().map(|sha256| &sha256.0[..]))
        .bind(version.created.0)
        .bind(version.published.map(|time| time.0))
        .bind(version.detail.to_string())
        .execute(&mut *c)
        .await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Files of a version that is being taken in, at most [`ROWS_MAX`].
    pub async fn take_in_files(
        &self,
        version: VersionId,
        files: &[FileRecord],
    ) -> Result<(), Error> {
        bounded(files.len())?;
        let mut tx = self.write().await?;
        files::insert(&mut tx, version, files).await?;
        Ok(tx.commit().await?)
    }

    /// Numbers and leaf hashes of deleted files of a version that is being taken in, at most
    /// [`ROWS_MAX`].
    pub async fn take_in_deleted(
        &self,
        version: VersionId,
        deleted: &[(u64, Sha256)],
    ) -> Result<(), Error> {
        bounded(deleted.len())?;
        let mut tx = self.write().await?;
        for (number, leaf) in deleted {
            sqlx::query(
                "INSERT INTO deleted_files (version, number, leaf) VALUES ($1, $2, $3)
                 ON CONFLICT DO NOTHING",
            )
            .bind(&version.0[..])
            .bind(int(*number)?)
            .bind(&leaf.0[..])
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// Publishes a version that was taken in whole, with so many files and bytes;
    /// [`Error::Conflict`] where another one has its number.
    pub async fn take_in_published(
        &self,
        version: VersionId,
        files: u64,
        bytes: u64,
    ) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE versions SET state = 'published', files = $2, bytes = $3
             WHERE id = $1 AND state = 'rebuilding'",
        )
        .bind(&version.0[..])
        .bind(int(files)?)
        .bind(int(bytes)?)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// Makes a shelf's row, or says where the shelf is now; a name that is taken gets its id's first
    /// digits.
    pub async fn take_in_shelf(&self, shelf: &crate::Shelf) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let moved = sqlx::query("UPDATE shelves SET location = $2 WHERE id = $1")
            .bind(&shelf.id.0[..])
            .bind(&shelf.location)
            .execute(&mut *tx)
            .await?;
        if moved.rows_affected() == 0 {
            let id = shelf.id.to_string();
            sqlx::query(
                "INSERT INTO shelves (id, name, location, domain, capacity_bytes, state, added)
                 SELECT $1, CASE WHEN EXISTS (SELECT 1 FROM shelves WHERE name = $2)
                     THEN $2 || '-' || $3 ELSE $2 END, $4, $5, $6, $7, $8",
            )
            .bind(&shelf.id.0[..])
            .bind(&shelf.name)
            .bind(&id[..8])
            .bind(&shelf.location)
            .bind(&shelf.domain)
            .bind(shelf.capacity_bytes.map(int).transpose()?)
            .bind(shelf.state.word())
            .bind(shelf.added.0)
            .execute(&mut *tx)
            .await?;
        }
        Ok(tx.commit().await?)
    }

    /// The versions of which journals tell and whose records were not found. They are not listed; they
    /// come back when a record is.
    pub async fn unrecorded(&self) -> Result<Vec<(ObjectId, VersionId, u32)>, Error> {
        let rows = sqlx::query(
            "SELECT object, id, number FROM versions WHERE state = 'rebuilding'
             ORDER BY object, number",
        )
        .fetch_all(&mut *self.read().await?)
        .await?;
        let one = |row| {
            let fields = Fields::new(row, "versions");
            Ok((fields.id("object")?, fields.id("id")?, fields.number("number")?))
        };
        rows.iter().map(one).collect()
    }

    /// Ends what a lost registry had begun, and gives its drafts up: it can be asked for anew, and not
    /// gone on with.
    pub async fn end_unfinished(&self, now: Time) -> Result<Vec<WorkId>, Error> {
        let mut tx = self.write().await?;
        let rows = sqlx::query(
            "UPDATE work SET status = 'cancelled', token = token + 1, updated = $1
             WHERE status NOT IN ('succeeded', 'cancelled')
               AND (kind <> 'delete' OR checkpoint = 'null') RETURNING id",
        )
        .bind(now.0)
        .fetch_all(&mut *tx)
        .await?;
        let one = |row| Fields::new(row, "work").id("id");
        let ended = rows.iter().map(one).collect::<Result<Vec<WorkId>, Error>>()?;
        for work in &ended {
            crate::objects::abandon(&mut tx, *work, now).await?;
        }
        // What is dead is ended: it is neither given up nor asked for anew.
        sqlx::query(
            "UPDATE work SET status = 'queued', token = token + 1, worker = NULL, lease_until = NULL
             WHERE kind = 'delete' AND status = 'running'",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Raises the epoch: all numbers that are drawn from now on come after those of every life before.
    /// The shelves must have been told first.
    pub async fn raise_epoch(&self, number: u32, epoch: EpochId, now: Time) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let raised =
            sqlx::query("UPDATE archive SET epoch_number = $1, epoch = $2 WHERE epoch_number < $1")
                .bind(i64::from(number))
                .bind(&epoch.0[..])
                .execute(&mut *tx)
                .await?;
        if raised.rows_affected() != 1 {
            return Err(Error::conflict(format!("the epoch is {number} or more already")));
        }
        sqlx::query("UPDATE counters SET epoch = $1, number = 0")
            .bind(i64::from(number))
            .execute(&mut *tx)
            .await?;
        sqlx::query("INSERT INTO epochs (number, epoch, began) VALUES ($1, $2, $3)")
            .bind(i64::from(number))
            .bind(&epoch.0[..])
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        Ok(tx.commit().await?)
    }
}

async fn take_in_placement(
    connection: &mut SqliteConnection,
    placement: &Placement,
    segment: SegmentState,
) -> Result<(), Error> {
    let state = match segment {
        SegmentState::Released | SegmentState::Gone => PlacementState::Released,
        SegmentState::Writing | SegmentState::Durable => placement.state,
    };
    sqlx::query(
        "INSERT INTO placements (segment, coding_epoch, coding_no, shard, shelf, log, frames,
           bytes, state, checked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (segment, coding_epoch, coding_no, shard) DO UPDATE SET
           shelf = excluded.shelf, log = excluded.log, frames = excluded.frames,
           bytes = excluded.bytes, state = excluded.state, checked = excluded.checked
         WHERE placements.state IN ('missing', 'damaged') AND excluded.state = 'good'",
    )
    .bind(&placement.segment.0[..])
    .bind(i64::from(placement.coding.epoch))
    .bind(i64::from(placement.coding.number))
    .bind(i64::from(placement.index))
    .bind(&placement.shelf.0[..])
    .bind(&placement.log.0[..])
    .bind(&placement.frames[..])
    .bind(int(placement.bytes)?)
    .bind(state.word())
    .bind(placement.checked.0)
    .execute(connection)
    .await?;
    Ok(())
}

fn bounded(rows: usize) -> Result<(), Error> {
    match rows <= ROWS_MAX {
        true => Ok(()),
        false => Err(Error::TooLarge {
            what: "the number of rows that are taken in at once",
            found: rows as u64,
            max: ROWS_MAX as u64,
        }),
    }
}
