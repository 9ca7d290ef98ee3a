//! Deletion: asked for by one account, approved by another, told of by tombstones, and only then
//! released.
//!
//! What is dead is marked in the transaction that names it (`Batch::delete`). A segment of it is released
//! only after a journal carried the tombstone that names the segment, and only where no living
//! version or draft refers to it; this is checked here, whatever a worker believes.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{
    Event, EventDraft, FileId, FileRecord, InstitutionId, Lease, ObjectId, SegmentId, Sha256, Time,
    VersionId, WorkId, WorkItem, WorkKind,
};

use crate::row::{self, Fields, int, limited};
use crate::types::{Batch, Enqueued, NewWork};
use crate::work::next_token;
use crate::{Error, Registry, events, work};

/// Asks for a deletion.
#[derive(Clone, PartialEq, Debug)]
pub struct NewDeletion {
    /// The work item; it waits until it is approved.
    pub work: NewWork,
    /// The account that asks; none only where the institution has no administrator.
    pub asked_by: Option<[u8; 16]>,
    /// Whether it needs no approval: only where nobody else could give it.
    pub forced: bool,
    /// Tells of it in the institution's chain.
    pub events: Vec<EventDraft>,
}

/// What a person decides about a deletion that was asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision {
    /// Another administrator wants it too.
    Approved,
    /// Another administrator does not.
    Refused,
    /// Who asked for it does not want it anymore.
    Withdrawn,
}

impl Decision {
    fn word(self) -> &'static str {
        match self {
            Decision::Approved => "approved",
            Decision::Refused => "refused",
            Decision::Withdrawn => "withdrawn",
        }
    }
}

/// Who asked for a deletion, and what was decided.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Deletion {
    /// Its work item.
    pub work: WorkId,
    /// The account that asked.
    pub asked_by: Option<[u8; 16]>,
    /// `approved`, `forced`, `refused`, `withdrawn`; `cancelled` where it ends a draft that was given
    /// up; none while it waits.
    pub decision: Option<String>,
    /// The account that decided.
    pub decided_by: Option<[u8; 16]>,
    /// When.
    pub decided: Option<Time>,
    /// Bytes of shards that are to go and of which no shelf has said yet that they are gone.
    pub pending_bytes: u64,
}

/// What is deleted: an object with these versions and no other, else these versions, else these files.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Delete {
    /// The whole object.
    pub object: Option<ObjectId>,
    /// Its published versions, or those of them that go.
    pub versions: Vec<VersionId>,
    /// Files of published versions that stay.
    pub files: Vec<(FileId, Erased)>,
    /// Segments that hold bytes of it, and living ones too.
    pub rewrite: Vec<SegmentId>,
}

/// A file of which only its leaf hash is left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Erased {
    /// In which version.
    pub version: VersionId,
    /// Its number there.
    pub number: u64,
    /// Its leaf hash.
    pub leaf: Sha256,
}

/// Of what a tombstone tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TombstoneKind {
    /// An object.
    Object,
    /// A version.
    Version,
    /// A file, in the versions that the detail names.
    File,
    /// A draft whose record was stored, and which was given up.
    Draft,
    /// Segments whose living bytes were moved elsewhere.
    Segment,
}

impl TombstoneKind {
    /// The word in tables and journals.
    pub fn word(self) -> &'static str {
        match self {
            TombstoneKind::Object => "object",
            TombstoneKind::Version => "version",
            TombstoneKind::File => "file",
            TombstoneKind::Draft => "draft",
            TombstoneKind::Segment => "segment",
        }
    }
}

/// Says what is dead, by ids, so that a rebuild does not raise it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tombstone {
    /// Of what kind it is.
    pub kind: TombstoneKind,
    /// Its id; of segments the first one's.
    pub id: [u8; 16],
    /// Of a file: the versions that it was taken from.
    pub versions: Vec<VersionId>,
    /// Segments that go with it.
    pub segments: Vec<SegmentId>,
}

/// Where bytes of a segment stand anew: those of the extents that begin at `start`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MovedBytes {
    /// The segment that is rewritten.
    pub segment: SegmentId,
    /// First byte in its plaintext.
    pub start: u64,
    /// The segment that now holds them; it counts once it is durable.
    pub to_segment: SegmentId,
    /// First byte in that one's plaintext.
    pub to_start: u64,
}

/// Lets the extents of a version stand where the moves of the work item say.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Relocate {
    /// Which version.
    pub version: VersionId,
    /// Its record that says so: head, SHA-256 of the head, revision. None for a draft, which has none
    /// yet; a worker that was about to store one is fenced.
    pub record: Option<(SegmentId, Sha256, (u32, u64))>,
}

/// One extent of a living version or a draft.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ExtentUse {
    /// First byte in the segment's plaintext.
    pub start: u64,
    /// Of which version.
    pub version: VersionId,
    /// Of which file.
    pub number: u64,
    /// Which extent of that file.
    pub seq: u64,
    /// Bytes.
    pub length: u64,
}

/// Published versions and drafts are what segments are kept for.
macro_rules! living {
    ($column:literal) => {
        concat!(
            "EXISTS (SELECT 1 FROM versions WHERE versions.id = ",
            $column,
            " AND versions.state IN ('published', 'draft'))"
        )
    };
}

impl Registry {
    /// Asks for a deletion, or finds the one that was asked for already. The account must be a
    /// depositor or administrator of the institution. Unless it is forced it waits for another
    /// administrator, of whom there must be one; it is forced only where there is none.
    pub async fn ask_deletion(&self, new: NewDeletion, now: Time) -> Result<Enqueued, Error> {
        let institution = new.work.institution;
        let mut tx = self.write().await?;
        match &new.asked_by {
            Some(id) => may(&mut tx, institution, id, &["depositor", "administrator"]).await?,
            None if another_administrator(&mut tx, institution, None).await? => {
                return Err(forbidden("the institution has accounts: say who asks"));
            }
            None => {}
        }
        match (another_administrator(&mut tx, institution, new.asked_by).await?, new.forced) {
            (true, true) => {
                return Err(forbidden("another administrator can approve it: it is not forced"));
            }
            (false, false) => {
                return Err(forbidden(
                    "no other administrator could approve it: it must be forced",
                ));
            }
            (true, false) | (false, true) => {}
        }
        let mut enqueued = work::enqueue(&mut tx, &new.work, now).await?;
        if enqueued.existing {
            return Ok(enqueued);
        }
        let decision = new.forced.then_some("forced");
        sqlx::query(
            "INSERT INTO deletions (work, asked_by, decision, decided_by, decided)
             VALUES ($1, $2, $3, CASE WHEN $3 IS NULL THEN NULL ELSE $2 END, $4)",
        )
        .bind(&new.work.id.0[..])
        .bind(new.asked_by.as_ref().map(|id| &id[..]))
        .bind(decision)
        .bind(decision.map(|_| now.0))
        .execute(&mut *tx)
        .await?;
        if !new.forced {
            let row = sqlx::query(
                "UPDATE work SET status = 'waiting', note = 'waits for approval' WHERE id = $1
                 RETURNING *",
            )
            .bind(&new.work.id.0[..])
            .fetch_one(&mut *tx)
            .await?;
            enqueued.item = work::item(&row)?;
        }
        events::append(&mut tx, institution, new.events, now).await?;
        tx.commit().await?;
        Ok(enqueued)
    }

    /// Decides about a deletion that waits: approved or refused by another administrator of its
    /// institution, or withdrawn by the account that asked. Approved, it is queued.
    pub async fn decide_deletion(
        &self,
        id: WorkId,
        by: [u8; 16],
        decision: Decision,
        event: EventDraft,
        now: Time,
    ) -> Result<WorkItem, Error> {
        let mut tx = self.write().await?;
        let found = work::by_id(&mut tx, id).await?;
        let found = found.ok_or_else(|| Error::not_found("work item", id))?;
        let row = sqlx::query(
            "UPDATE deletions SET work = work WHERE work = $1 AND decision IS NULL
             RETURNING asked_by",
        )
        .bind(&id.0[..])
        .fetch_optional(&mut *tx)
        .await?;
        let row = row.ok_or_else(|| not_waiting(&found))?;
        let asked_by: Option<Vec<u8>> = Fields::new(&row, "deletions").get("asked_by")?;
        let same = asked_by.as_deref() == Some(&by[..]);
        if decision == Decision::Withdrawn {
            may(&mut tx, found.institution, &by, &["depositor", "administrator"]).await?;
            if !same {
                return Err(forbidden("only who asked for a deletion withdraws it"));
            }
        } else {
            may(&mut tx, found.institution, &by, &["administrator"]).await?;
            if same {
                return Err(forbidden("who asked for a deletion cannot decide about it"));
            }
        }
        let (status, note) = match decision {
            Decision::Approved => ("queued", "approved"),
            Decision::Refused => ("cancelled", "refused"),
            Decision::Withdrawn => ("cancelled", "withdrawn"),
        };
        let row = sqlx::query(
            "UPDATE work SET status = $2, note = $3, updated = $4
             WHERE id = $1 AND status = 'waiting' RETURNING *",
        )
        .bind(&id.0[..])
        .bind(status)
        .bind(note)
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?;
        let row = row.ok_or_else(|| not_waiting(&found))?;
        sqlx::query(
            "UPDATE deletions SET decision = $2, decided_by = $3, decided = $4 WHERE work = $1",
        )
        .bind(&id.0[..])
        .bind(decision.word())
        .bind(&by[..])
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        events::append(&mut tx, found.institution, vec![event], now).await?;
        let item = work::item(&row)?;
        tx.commit().await?;
        Ok(item)
    }

    /// Whether an active administrator of the institution is another account than `except`.
    pub async fn another_administrator(
        &self,
        institution: InstitutionId,
        except: Option<[u8; 16]>,
    ) -> Result<bool, Error> {
        another_administrator(&mut *self.read().await?, institution, except).await
    }

    /// What is known of a deletion beside its work item.
    pub async fn deletion(&self, work: WorkId) -> Result<Option<Deletion>, Error> {
        let row = sqlx::query(
            "SELECT deletions.*, CAST(COALESCE((SELECT SUM(placements.bytes)
               FROM deleted_segments JOIN placements
                 ON placements.segment = deleted_segments.segment
               WHERE deleted_segments.work = deletions.work), 0) AS BIGINT) AS pending
             FROM deletions WHERE work = $1",
        )
        .bind(&work.0[..])
        .fetch_optional(&mut *self.read().await?)
        .await?;
        row.as_ref().map(deletion).transpose()
    }

    /// Bytes of shards that are to go, of deletions and of all else that is released, and of which no
    /// shelf has said yet that they are gone.
    pub async fn pending_bytes(&self) -> Result<u64, Error> {
        let row = sqlx::query(
            "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS pending FROM placements
             WHERE state = 'released'
               OR segment IN (SELECT segment FROM deleted_segments)",
        )
        .fetch_one(&mut *self.read().await?)
        .await?;
        Fields::new(&row, "placements").number("pending")
    }

    /// Segments after this one in which bytes of the version lie, or of one file of it.
    pub async fn segments_referred(
        &self,
        version: VersionId,
        number: Option<u64>,
        after: Option<SegmentId>,
        limit: u32,
    ) -> Result<Vec<SegmentId>, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT segment AS id FROM extents
             WHERE version = $1 AND ($2 IS NULL OR number = $2) AND ($3 IS NULL OR segment > $3)
             ORDER BY segment LIMIT $4",
        )
        .bind(&version.0[..])
        .bind(number.map(int).transpose()?)
        .bind(after.as_ref().map(|id| &id.0[..]))
        .bind(limited(limit))
        .fetch_all(&mut *self.read().await?)
        .await?;
        ids(&rows)
    }

    /// Extents of published versions and drafts in a segment, after this one, in the order of its
    /// bytes.
    pub async fn extents_in(
        &self,
        segment: SegmentId,
        after: Option<ExtentUse>,
        limit: u32,
    ) -> Result<Vec<ExtentUse>, Error> {
        let at = after.map(|a| Ok::<_, Error>((int(a.start)?, int(a.number)?, int(a.seq)?)));
        let at = at.transpose()?;
        let sql = concat!(
            "SELECT * FROM extents WHERE segment = $1
               AND ($2 IS NULL OR (start >= $2 AND (start, version, number, seq) > ($2, $3, $4, $5)))
               AND ",
            living!("extents.version"),
            " ORDER BY start, version, number, seq LIMIT $6"
        );
        let rows = sqlx::query(sql)
            .bind(&segment.0[..])
            .bind(at.map(|at| at.0))
            .bind(after.as_ref().map(|a| &a.version.0[..]))
            .bind(at.map(|at| at.1))
            .bind(at.map(|at| at.2))
            .bind(limited(limit))
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(extent_use).collect()
    }

    /// The deletion's segments after this one that are not released: those that a tombstone names, or
    /// those that are to be rewritten first.
    pub async fn segments_deleted(
        &self,
        work: WorkId,
        named: bool,
        after: Option<SegmentId>,
        limit: u32,
    ) -> Result<Vec<SegmentId>, Error> {
        let rows = sqlx::query(
            "SELECT segments.id FROM deleted_segments JOIN segments
               ON segments.id = deleted_segments.segment
             WHERE deleted_segments.work = $1 AND segments.state = 'durable'
               AND (deleted_segments.tombstone IS NOT NULL) = $2
               AND ($3 IS NULL OR deleted_segments.segment > $3)
             ORDER BY deleted_segments.segment LIMIT $4",
        )
        .bind(&work.0[..])
        .bind(i64::from(named))
        .bind(after.as_ref().map(|id| &id.0[..]))
        .bind(limited(limit))
        .fetch_all(&mut *self.read().await?)
        .await?;
        ids(&rows)
    }

    /// Whether tombstones of the institution wait for a journal that tells of them.
    pub async fn tombstones_untold(&self, institution: InstitutionId) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM tombstones WHERE institution = $1 AND journal IS NULL)
               AS untold",
        )
        .bind(&institution.0[..])
        .fetch_one(&mut *self.read().await?)
        .await?;
        Fields::new(&row, "tombstones").flag("untold")
    }

    /// Number and leaf hash of the deleted files of a version, from this number on.
    pub async fn deleted_files(
        &self,
        version: VersionId,
        from_number: u64,
        limit: u32,
    ) -> Result<Vec<(u64, Sha256)>, Error> {
        let rows = sqlx::query(
            "SELECT number, leaf FROM deleted_files WHERE version = $1 AND number >= $2
             ORDER BY number LIMIT $3",
        )
        .bind(&version.0[..])
        .bind(int(from_number)?)
        .bind(limited(limit))
        .fetch_all(&mut *self.read().await?)
        .await?;
        let one = |row| {
            let fields = Fields::new(row, "deleted_files");
            Ok((fields.number("number")?, fields.sha256("leaf")?))
        };
        rows.iter().map(one).collect()
    }

    /// Whether bytes that begin here in a segment stand elsewhere already.
    pub async fn is_moved(
        &self,
        work: WorkId,
        segment: SegmentId,
        start: u64,
    ) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT segments.id FROM moves JOIN segments
               ON segments.id = moves.to_segment AND segments.state = 'durable'
             WHERE moves.work = $1 AND moves.segment = $2 AND moves.start = $3",
        )
        .bind(&work.0[..])
        .bind(&segment.0[..])
        .bind(int(start)?)
        .fetch_optional(&mut *self.read().await?)
        .await?;
        Ok(row.is_some())
    }

    /// A version, published or a draft, whose files do not yet stand where the item's moves say.
    pub async fn version_to_relocate(&self, work: WorkId) -> Result<Option<VersionId>, Error> {
        let sql = concat!(
            "SELECT extents.version AS id FROM deleted_segments JOIN extents
               ON extents.segment = deleted_segments.segment
             WHERE deleted_segments.work = $1 AND deleted_segments.tombstone IS NULL AND ",
            living!("extents.version"),
            " LIMIT 1"
        );
        let row =
            sqlx::query(sql).bind(&work.0[..]).fetch_optional(&mut *self.read().await?).await?;
        row.map(|row| Fields::new(&row, "extents").id("id")).transpose()
    }

    /// Files from this number on, in order, with their extents as they will be after the item's moves.
    pub async fn files_after_moves(
        &self,
        work: WorkId,
        version: VersionId,
        from_number: u64,
        limit: u32,
    ) -> Result<Vec<FileRecord>, Error> {
        let mut files = self.files(version, from_number, limit).await?;
        let (Some(first), Some(last)) = (files.first(), files.last()) else { return Ok(files) };
        let rows = sqlx::query(
            "SELECT extents.number, extents.seq, moves.to_segment, moves.to_start
             FROM extents JOIN moves ON moves.work = $4
               AND moves.segment = extents.segment AND moves.start = extents.start
             WHERE extents.version = $1 AND extents.number BETWEEN $2 AND $3
             ORDER BY extents.number",
        )
        .bind(&version.0[..])
        .bind(int(first.number)?)
        .bind(int(last.number)?)
        .bind(&work.0[..])
        .fetch_all(&mut *self.read().await?)
        .await?;
        for row in &rows {
            let fields = Fields::new(row, "moves");
            let (number, seq): (u64, usize) = (fields.number("number")?, fields.number("seq")?);
            let at = files.binary_search_by_key(&number, |file| file.number).ok();
            let extent = at.and_then(|at| files[at].extents.get_mut(seq));
            let extent = extent.ok_or_else(|| fields.corrupt("number", "no extent of the file"))?;
            extent.segment = fields.id("to_segment")?;
            extent.offset = fields.number("to_start")?;
        }
        Ok(files)
    }

    /// Queues a deletion that waits for a worker that has the key: the caller has it. `false` where it
    /// does not wait for that.
    pub async fn wake(&self, id: WorkId, now: Time) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let woken = sqlx::query(
            "UPDATE work SET status = 'queued', updated = $2
             WHERE id = $1 AND kind = 'delete' AND status = 'waiting' AND stage = 'rewrite'",
        )
        .bind(&id.0[..])
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(woken.rows_affected() == 1)
    }
}

/// What a commit says of deletion; `told` is the first of its events.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    lease: &Lease,
    item: &WorkItem,
    batch: &Batch,
    told: Option<&Event>,
    now: Time,
) -> Result<(), Error> {
    if let Some(delete) = &batch.delete {
        if batch.checkpoint.is_none() {
            // By it a person is told that the item can no longer be cancelled.
            return Err(Error::conflict("what is dead has a checkpoint, from which it is ended"));
        }
        self::delete(connection, item, delete, now).await?;
    }
    erase(connection, &batch.erase).await?;
    keep_moves(connection, lease, &batch.moved_bytes).await?;
    if let Some(relocate) = &batch.relocate {
        self::relocate(connection, lease, relocate).await?;
    }
    if let Some(first) = batch.tombstones.first() {
        let told = told.ok_or_else(|| {
            Error::conflict(format!("no event tells of the tombstone of {}", first.kind.word()))
        })?;
        for tombstone in &batch.tombstones {
            bury(connection, item, tombstone, told.sequence, now).await?;
        }
    }
    for segment in &batch.release_deleted {
        release(connection, lease, *segment).await?;
    }
    if item.kind == WorkKind::Delete && batch.finish.is_some() {
        // Every file stands where they say by now; before the end they are what is gone on from.
        sqlx::query(
            "DELETE FROM moves WHERE work = $1 AND NOT EXISTS (SELECT 1 FROM deleted_segments
               JOIN segments ON segments.id = deleted_segments.segment
               WHERE deleted_segments.work = $1 AND segments.state = 'durable')",
        )
        .bind(&item.id.0[..])
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Marks what is dead, where it is still what was approved.
async fn delete(
    connection: &mut SqliteConnection,
    item: &WorkItem,
    delete: &Delete,
    now: Time,
) -> Result<(), Error> {
    let approved = sqlx::query(
        "UPDATE deletions SET work = work WHERE work = $1 AND decision IN ('approved', 'forced')",
    )
    .bind(&item.id.0[..])
    .execute(&mut *connection)
    .await?;
    if approved.rows_affected() != 1 {
        return Err(forbidden("nobody approved the deletion"));
    }
    let object = item.object.ok_or_else(|| Error::conflict("a deletion from no object"))?;
    // Locks the object, so that no version of it is published meanwhile.
    let locked =
        sqlx::query("UPDATE objects SET versions = versions WHERE id = $1 AND deleted IS NULL")
            .bind(&object.0[..])
            .execute(&mut *connection)
            .await?;
    if locked.rows_affected() != 1 {
        return Err(outdated("the object is deleted already"));
    }
    for version in &delete.versions {
        let dead = sqlx::query(
            "UPDATE versions SET state = 'deleted', source = '', detail = '{}'
             WHERE id = $1 AND object = $2 AND state = 'published'",
        )
        .bind(&version.0[..])
        .bind(&object.0[..])
        .execute(&mut *connection)
        .await?;
        if dead.rows_affected() != 1 {
            return Err(outdated("a version is deleted already"));
        }
    }
    for (id, erased) in &delete.files {
        take_file(connection, object, *id, erased).await?;
    }
    if delete.object == Some(object) {
        no_more_of(connection, object).await?;
        // The name is free for a new object, and not kept.
        sqlx::query(
            "UPDATE objects SET deleted = $2, name = 'deleted/' || lower(hex(id)), source = NULL
             WHERE id = $1",
        )
        .bind(&object.0[..])
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    } else if !delete.versions.is_empty() {
        sqlx::query(
            "UPDATE objects SET source = (SELECT versions.source FROM versions
               WHERE versions.object = objects.id AND versions.state = 'published'
               ORDER BY versions.number DESC LIMIT 1) WHERE id = $1",
        )
        .bind(&object.0[..])
        .execute(&mut *connection)
        .await?;
    }
    let statements = row::inserts(
        "INSERT OR IGNORE INTO deleted_segments (work, segment) VALUES",
        2,
        &delete.rewrite,
        |query, segment| Ok(query.bind(item.id.0.to_vec()).bind(segment.0.to_vec())),
    )?;
    row::execute(connection, statements).await
}

/// Takes one file out of a published version.
async fn take_file(
    connection: &mut SqliteConnection,
    object: ObjectId,
    id: FileId,
    erased: &Erased,
) -> Result<(), Error> {
    let taken = sqlx::query(
        "UPDATE versions SET files = files - 1, bytes = bytes - (SELECT size FROM files
           WHERE files.version = versions.id AND files.number = $3)
         WHERE id = $1 AND object = $2 AND state = 'published'
           AND EXISTS (SELECT 1 FROM files
             WHERE files.version = versions.id AND files.number = $3 AND files.id = $4)",
    )
    .bind(&erased.version.0[..])
    .bind(&object.0[..])
    .bind(int(erased.number)?)
    .bind(&id.0[..])
    .execute(&mut *connection)
    .await?;
    if taken.rows_affected() != 1 {
        return Err(outdated("a file, or its version, is deleted already"));
    }
    erase(connection, std::slice::from_ref(erased)).await
}

/// An object that goes has no version but those that went with it, and no unfinished deposit.
async fn no_more_of(connection: &mut SqliteConnection, object: ObjectId) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM versions
             WHERE object = $1 AND state IN ('published', 'draft')) AS versions,
           (SELECT COUNT(*) FROM work WHERE object = $1 AND kind = 'ingest'
             AND status IN ('queued', 'running', 'trouble')) AS deposits",
    )
    .bind(&object.0[..])
    .fetch_one(connection)
    .await?;
    let fields = Fields::new(&row, "versions");
    match (fields.number::<u64>("versions")?, fields.number::<u64>("deposits")?) {
        (0, 0) => Ok(()),
        (_, 0) => Err(outdated("the object has another version by now")),
        _ => Err(outdated("the object has an unfinished deposit: let it end, or cancel it")),
    }
}

/// Leaves of files only their leaf hashes.
async fn erase(connection: &mut SqliteConnection, files: &[Erased]) -> Result<(), Error> {
    let statements = row::inserts(
        "INSERT OR IGNORE INTO deleted_files (version, number, leaf) VALUES",
        3,
        files,
        |query, file| {
            let (version, leaf) = (file.version.0.to_vec(), file.leaf.0.to_vec());
            Ok(query.bind(version).bind(int(file.number)?).bind(leaf))
        },
    )?;
    row::execute(&mut *connection, statements).await?;
    for files in files.chunk_by(|a, b| a.version == b.version) {
        let (Some(first), Some(last)) =
            (files.iter().map(|f| f.number).min(), files.iter().map(|f| f.number).max())
        else {
            continue;
        };
        for sql in [
            "DELETE FROM extents WHERE version = $1 AND number BETWEEN $2 AND $3
               AND number IN (SELECT number FROM deleted_files
                 WHERE version = $1 AND number BETWEEN $2 AND $3)",
            "DELETE FROM files WHERE version = $1 AND number BETWEEN $2 AND $3
               AND number IN (SELECT number FROM deleted_files
                 WHERE version = $1 AND number BETWEEN $2 AND $3)",
        ] {
            sqlx::query(sql)
                .bind(&files[0].version.0[..])
                .bind(int(first)?)
                .bind(int(last)?)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

async fn keep_moves(
    connection: &mut SqliteConnection,
    lease: &Lease,
    moves: &[MovedBytes],
) -> Result<(), Error> {
    // What an earlier attempt noted, and did not live to make durable, is replaced.
    let statements = row::inserts(
        "INSERT OR REPLACE INTO moves (work, segment, start, to_segment, to_start) VALUES",
        5,
        moves,
        |query, m| {
            Ok(query
                .bind(lease.work.0.to_vec())
                .bind(m.segment.0.to_vec())
                .bind(int(m.start)?)
                .bind(m.to_segment.0.to_vec())
                .bind(int(m.to_start)?))
        },
    )?;
    row::execute(connection, statements).await
}

/// Moves the extents of a version, all of which must have a durable place to go to.
async fn relocate(
    connection: &mut SqliteConnection,
    lease: &Lease,
    relocate: &Relocate,
) -> Result<(), Error> {
    let version = &relocate.version.0[..];
    let changed = match &relocate.record {
        Some((record, sha256, revision)) => {
            sqlx::query(
                "UPDATE versions SET record = $2, record_sha256 = $3, revision_epoch = $4,
                   revision = $5
                 WHERE id = $1 AND state = 'published' AND (revision_epoch, revision) < ($4, $5)
                   AND EXISTS (SELECT 1 FROM segments WHERE segments.id = $2
                     AND segments.version = versions.id AND segments.kind = 'record'
                     AND segments.state = 'durable')",
            )
            .bind(version)
            .bind(&record.0[..])
            .bind(&sha256.0[..])
            .bind(i64::from(revision.0))
            .bind(int(revision.1)?)
            .execute(&mut *connection)
            .await?
        }
        None => {
            let fenced = sqlx::query(concat!(
                "UPDATE work SET worker = NULL, lease_until = NULL,
                   status = CASE status WHEN 'running' THEN 'queued' ELSE status END, token = ",
                next_token!(),
                " WHERE id = (SELECT work FROM versions WHERE id = $1 AND state = 'draft')"
            ))
            .bind(version)
            .execute(&mut *connection)
            .await?;
            // A draft that was given up meanwhile needs nothing.
            if fenced.rows_affected() == 0 {
                return Ok(());
            }
            fenced
        }
    };
    if changed.rows_affected() != 1 {
        return Err(Error::conflict(format!(
            "version {} is not published, or has a record as new",
            relocate.version
        )));
    }
    sqlx::query(
        "UPDATE extents SET segment = moves.to_segment, start = moves.to_start FROM moves
         WHERE extents.version = $1 AND moves.work = $2 AND moves.segment = extents.segment
           AND moves.start = extents.start
           AND EXISTS (SELECT 1 FROM segments WHERE segments.id = moves.to_segment
             AND segments.state = 'durable')",
    )
    .bind(version)
    .bind(&lease.work.0[..])
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM extents JOIN moves ON moves.segment = extents.segment
           AND moves.start = extents.start AND moves.work = $2 WHERE extents.version = $1) AS left",
    )
    .bind(version)
    .bind(&lease.work.0[..])
    .fetch_one(connection)
    .await?;
    match Fields::new(&row, "extents").flag("left")? {
        false => Ok(()),
        true => Err(Error::conflict("bytes that are moved have no durable place")),
    }
}

/// Sets a tombstone. One that is there (a file, taken from further versions) tells of both from now
/// on, and is untold again.
async fn bury(
    connection: &mut SqliteConnection,
    item: &WorkItem,
    tombstone: &Tombstone,
    event: u64,
    now: Time,
) -> Result<(), Error> {
    let row = sqlx::query(
        "UPDATE tombstones SET journal = NULL WHERE kind = $1 AND id = $2 RETURNING detail",
    )
    .bind(tombstone.kind.word())
    .bind(&tombstone.id[..])
    .fetch_optional(&mut *connection)
    .await?;
    let before = row.map(|row| Fields::new(&row, "tombstones").json("detail")).transpose()?;
    let mut detail = serde_json::Map::new();
    let lists = [
        ("versions", tombstone.versions.iter().map(|id| id.to_string()).collect::<Vec<_>>()),
        ("segments", tombstone.segments.iter().map(|id| id.to_string()).collect()),
    ];
    for (name, mut list) in lists {
        let told = before.as_ref().and_then(|before| before[name].as_array());
        list.extend(told.into_iter().flatten().filter_map(|id| Some(id.as_str()?.to_string())));
        list.sort_unstable();
        list.dedup();
        if name == "segments" || !list.is_empty() {
            detail.insert(name.into(), list.into());
        }
    }
    sqlx::query(
        "INSERT INTO tombstones (kind, id, institution, object, event, detail, time)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (kind, id) DO UPDATE SET event = excluded.event, detail = excluded.detail,
           time = excluded.time",
    )
    .bind(tombstone.kind.word())
    .bind(&tombstone.id[..])
    .bind(&item.institution.0[..])
    .bind(item.object.as_ref().map(|id| &id.0[..]))
    .bind(int(event)?)
    .bind(serde_json::Value::from(detail).to_string())
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    let statements = row::inserts(
        "INSERT OR REPLACE INTO deleted_segments (work, segment, kind, tombstone) VALUES",
        4,
        &tombstone.segments,
        |query, segment| {
            Ok(query
                .bind(item.id.0.to_vec())
                .bind(segment.0.to_vec())
                .bind(tombstone.kind.word())
                .bind(tombstone.id.to_vec()))
        },
    )?;
    row::execute(connection, statements).await
}

/// Releases a segment of which a journal told, and to which nothing living refers. One to which
/// something does (a draft may have come to, before it was dead) is rewritten first.
async fn release(
    connection: &mut SqliteConnection,
    lease: &Lease,
    segment: SegmentId,
) -> Result<(), Error> {
    // Locked before it is looked who refers to it: who is about to waits, and then finds it gone.
    let locked =
        sqlx::query("UPDATE segments SET bytes = bytes WHERE id = $1 AND state = 'durable'")
            .bind(&segment.0[..])
            .execute(&mut *connection)
            .await?;
    if locked.rows_affected() == 0 {
        return Ok(());
    }
    let row = sqlx::query(concat!(
        "SELECT EXISTS (SELECT 1 FROM deleted_segments JOIN tombstones
             ON tombstones.kind = deleted_segments.kind
               AND tombstones.id = deleted_segments.tombstone
             WHERE deleted_segments.work = $2 AND deleted_segments.segment = $1
               AND tombstones.journal IS NOT NULL) AS told,
           EXISTS (SELECT 1 FROM extents WHERE extents.segment = $1 AND ",
        living!("extents.version"),
        ") OR EXISTS (SELECT 1 FROM segments JOIN versions ON versions.id = segments.version
             WHERE segments.id = $1 AND versions.record = $1 AND versions.state = 'published')
           AS referred"
    ))
    .bind(&segment.0[..])
    .bind(&lease.work.0[..])
    .fetch_one(&mut *connection)
    .await?;
    let fields = Fields::new(&row, "segments");
    match (fields.flag("told")?, fields.flag("referred")?) {
        (false, _) => Err(Error::conflict(format!(
            "no journal told yet that segment {segment} goes: it is not released"
        ))),
        (true, true) => {
            sqlx::query(
                "UPDATE deleted_segments SET kind = NULL, tombstone = NULL
                 WHERE segment = $1 AND work = $2",
            )
            .bind(&segment.0[..])
            .bind(&lease.work.0[..])
            .execute(connection)
            .await?;
            Ok(())
        }
        (true, false) => {
            for sql in [
                "UPDATE segments SET state = 'released' WHERE id = $1",
                "UPDATE placements SET state = 'released' WHERE segment = $1",
            ] {
                sqlx::query(sql).bind(&segment.0[..]).execute(&mut *connection).await?;
            }
            Ok(())
        }
    }
}

/// Sets the tombstone of a draft that was given up after its record was stored, and queues the work
/// that ends it; `false` where it has no record. That work has the draft's own id: one draft, one item.
pub(crate) async fn bury_draft(
    connection: &mut SqliteConnection,
    draft: VersionId,
    now: Time,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "INSERT INTO work (id, kind, institution, object, key, request, stage, status, attempts,
           token, checkpoint, note, report, created, updated)
         SELECT versions.id, 'delete', objects.institution, objects.id,
           'draft ' || lower(hex(versions.id)),
           '{\"what\":\"draft\",\"name\":\"a draft that was given up\"}', 'run', 'queued', 0,
           COALESCE((SELECT epoch_number FROM archive), 1) * 4294967296, '{}', '', 'null', $2, $2
         FROM versions JOIN objects ON objects.id = versions.object
         WHERE versions.id = $1 AND EXISTS (SELECT 1 FROM segments
           WHERE segments.version = $1 AND segments.kind = 'record' AND segments.state = 'durable')
         RETURNING *",
    )
    .bind(&draft.0[..])
    .bind(now.0)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(false) };
    let item = work::item(&row)?;
    sqlx::query("INSERT INTO deletions (work, decision, decided) VALUES ($1, 'cancelled', $2)")
        .bind(&draft.0[..])
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    let rows =
        sqlx::query("SELECT id FROM segments WHERE version = $1 AND state = 'durable' ORDER BY id")
            .bind(&draft.0[..])
            .fetch_all(&mut *connection)
            .await?;
    let tombstone = Tombstone {
        kind: TombstoneKind::Draft,
        id: draft.0,
        versions: Vec::new(),
        segments: ids(&rows)?,
    };
    // The event that tells of the giving up was appended just now.
    let row = sqlx::query("SELECT sequence FROM event_heads WHERE institution = $1")
        .bind(&item.institution.0[..])
        .fetch_one(&mut *connection)
        .await?;
    let event = Fields::new(&row, "event_heads").number("sequence")?;
    bury(connection, &item, &tombstone, event, now).await?;
    Ok(true)
}

/// Whether the account is one of the institution that may act, in one of these roles.
async fn may(
    connection: &mut SqliteConnection,
    institution: InstitutionId,
    account: &[u8; 16],
    roles: &[&str],
) -> Result<(), Error> {
    // Locked: what it may do does not change while it is decided by.
    let row = sqlx::query(
        "UPDATE accounts SET state = state WHERE id = $1 RETURNING institution, name, role, state",
    )
    .bind(&account[..])
    .fetch_optional(connection)
    .await?;
    let row = row.ok_or_else(|| forbidden("there is no such account"))?;
    let fields = Fields::new(&row, "accounts");
    let (name, role) = (fields.text("name")?, fields.text("role")?);
    let why = match () {
        () if fields.id::<InstitutionId>("institution")? != institution => {
            "is another institution's".into()
        }
        () if fields.text("state")? != "active" => "is not active".into(),
        () if !roles.contains(&role.as_str()) => format!("is {role}, not {}", roles.join(" or ")),
        () => return Ok(()),
    };
    Err(Error::Forbidden { what: format!("the account `{name}` {why}") })
}

async fn another_administrator(
    connection: &mut SqliteConnection,
    institution: InstitutionId,
    except: Option<[u8; 16]>,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "SELECT id FROM accounts WHERE institution = $1 AND role = 'administrator'
           AND state = 'active' AND ($2 IS NULL OR id <> $2) LIMIT 1",
    )
    .bind(&institution.0[..])
    .bind(except.as_ref().map(|id| &id[..]))
    .fetch_optional(connection)
    .await?;
    Ok(row.is_some())
}

fn forbidden(what: &str) -> Error {
    Error::Forbidden { what: what.into() }
}

fn outdated(what: &str) -> Error {
    Error::Outdated { what: what.into() }
}

fn not_waiting(item: &WorkItem) -> Error {
    Error::conflict(format!(
        "{} {} does not wait for approval: {}",
        item.kind, item.id, item.status
    ))
}

fn ids(rows: &[SqliteRow]) -> Result<Vec<SegmentId>, Error> {
    rows.iter().map(|row| Fields::new(row, "segments").id("id")).collect()
}

fn extent_use(row: &SqliteRow) -> Result<ExtentUse, Error> {
    let fields = Fields::new(row, "extents");
    Ok(ExtentUse {
        start: fields.number("start")?,
        version: fields.id("version")?,
        number: fields.number("number")?,
        seq: fields.number("seq")?,
        length: fields.number("length")?,
    })
}

fn deletion(row: &SqliteRow) -> Result<Deletion, Error> {
    let fields = Fields::new(row, "deletions");
    let account = |column| {
        let bytes: Option<&[u8]> = fields.get(column)?;
        let id = bytes.map(<[u8; 16]>::try_from).transpose();
        id.map_err(|_| fields.corrupt(column, "not 16 bytes"))
    };
    Ok(Deletion {
        work: fields.id("work")?,
        asked_by: account("asked_by")?,
        decision: fields.get("decision")?,
        decided_by: account("decided_by")?,
        decided: fields.time_or_none("decided")?,
        pending_bytes: fields.number("pending")?,
    })
}
