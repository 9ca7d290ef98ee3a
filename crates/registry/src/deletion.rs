//! Deletion: asked for by one account, approved by another, told of by tombstones, and only then
//! released.
//!
//! What is dead is marked in the transaction that names it (`Batch::delete`). A segment of it is released
//! only after a journal carried the tombstone that names the segment, and only where no living
//! version or draft refers to it; this is checked here, whatever a worker believes.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{
    EventDraft, FileId, FileRecord, InstitutionId, ObjectId, SegmentId, Sha256, Time, VersionId,
    WorkId, WorkItem,
};

use crate::row::{Fields, int, limited};
use crate::types::{Enqueued, NewWork};
use crate::{Error, Registry, events, work};

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

mod apply;
pub(crate) use apply::{apply, bury_draft, erase, take_file};

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
