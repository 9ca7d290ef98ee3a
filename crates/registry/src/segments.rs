//! Segments, and where their shards stand.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{
    Coding, CodingNumber, Lease, ObjectId, Placement, PlacementState, SegmentId, SegmentKind,
    SegmentState, ShelfId, Time, WorkId,
};

use crate::row::{self, Fields, int, limited};
use crate::types::{Checked, DurableSegment, NewSegment, Recoded, Segment, SegmentsOf};
use crate::{Error, Registry};

impl Registry {
    /// The segment of this id.
    pub async fn segment(&self, id: SegmentId) -> Result<Option<Segment>, Error> {
        let row = sqlx::query("SELECT * FROM segments WHERE id = $1")
            .bind(&id.0[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(segment).transpose()
    }

    /// Segments after this one, by id, in whatever state.
    pub async fn segments_of(
        &self,
        of: SegmentsOf,
        after: Option<SegmentId>,
        limit: u32,
    ) -> Result<Vec<Segment>, Error> {
        let (sql, id) = match &of {
            SegmentsOf::Version(id) => (
                "SELECT * FROM segments WHERE version = $3 AND ($1 IS NULL OR id > $1)
                 ORDER BY id LIMIT $2",
                Some(&id.0),
            ),
            SegmentsOf::Object(id) => (
                "SELECT * FROM segments WHERE object = $3 AND ($1 IS NULL OR id > $1)
                 ORDER BY id LIMIT $2",
                Some(&id.0),
            ),
            SegmentsOf::All => {
                ("SELECT * FROM segments WHERE $1 IS NULL OR id > $1 ORDER BY id LIMIT $2", None)
            }
        };
        let rows = sqlx::query(sql)
            .bind(after.as_ref().map(|id| &id.0[..]))
            .bind(limited(limit))
            .bind(id.map(|id| &id[..]))
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(segment).collect()
    }

    /// The segments that a work item was writing. Who takes an item gives up those of earlier tokens
    /// (`Batch::give_up`) before it goes on.
    pub async fn writing_segments(&self, work: WorkId) -> Result<Vec<Segment>, Error> {
        let rows =
            sqlx::query("SELECT * FROM segments WHERE work = $1 AND state = 'writing' ORDER BY id")
                .bind(&work.0[..])
                .fetch_all(&mut *self.read().await?)
                .await?;
        rows.iter().map(segment).collect()
    }

    /// Gives up the item's `writing` segments of earlier tokens, and says which: what a worker does
    /// first when it takes an item.
    pub async fn give_up_stale_segments(&self, lease: &Lease) -> Result<Vec<SegmentId>, Error> {
        let mut tx = self.write().await?;
        crate::work::hold(&mut tx, lease).await?;
        let rows = sqlx::query(
            "UPDATE segments SET state = 'released'
             WHERE work = $1 AND state = 'writing' AND token < $2 RETURNING id",
        )
        .bind(&lease.work.0[..])
        .bind(int(lease.token)?)
        .fetch_all(&mut *tx)
        .await?;
        tx.commit().await?;
        rows.iter().map(|row| Fields::new(row, "segments").id("id")).collect()
    }

    /// A segment's shards, of all codings that are not released.
    pub async fn placements(&self, segment: SegmentId) -> Result<Vec<Placement>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM placements WHERE segment = $1 AND state <> 'released'
             ORDER BY coding_epoch, coding_no, shard",
        )
        .bind(&segment.0[..])
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(placement).collect()
    }

    /// The shards on a shelf that are not released, after this one (the last of the page before).
    pub async fn placements_on(
        &self,
        shelf: ShelfId,
        after: Option<&Placement>,
        limit: u32,
    ) -> Result<Vec<Placement>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM placements WHERE shelf = $1 AND state <> 'released'
               AND ($2 IS NULL OR (segment, coding_epoch, coding_no, shard) > ($2, $3, $4, $5))
             ORDER BY segment, coding_epoch, coding_no, shard LIMIT $6",
        )
        .bind(&shelf.0[..])
        .bind(after.map(|p| &p.segment.0[..]))
        .bind(after.map(|p| i64::from(p.coding.epoch)))
        .bind(after.map(|p| i64::from(p.coding.number)))
        .bind(after.map(|p| i64::from(p.index)))
        .bind(limited(limit))
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(placement).collect()
    }

    /// Shards by when they were last checked, most overdue first, however long that is.
    pub async fn least_recently_checked(
        &self,
        limit: u32,
        object: Option<ObjectId>,
    ) -> Result<Vec<Placement>, Error> {
        let sql = match object {
            None => {
                "SELECT * FROM placements WHERE state <> 'released'
                 ORDER BY checked LIMIT $1"
            }
            Some(_) => {
                "SELECT placements.* FROM segments JOIN placements
                   ON placements.segment = segments.id
                 WHERE segments.object = $2 AND placements.state <> 'released'
                 ORDER BY placements.checked LIMIT $1"
            }
        };
        let rows = sqlx::query(sql)
            .bind(limited(limit))
            .bind(object.as_ref().map(|id| &id.0[..]))
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(placement).collect()
    }
}

/// Registers segments as `writing`, of the work item and under its token.
pub(crate) async fn begin(
    connection: &mut SqliteConnection,
    lease: &Lease,
    segments: &[NewSegment],
    now: Time,
) -> Result<(), Error> {
    let statements = row::inserts(
        "INSERT INTO segments (id, version, object, institution, kind, state, generation, bytes,
         coding, coding_epoch, coding_no, work, token, created) VALUES",
        14,
        segments,
        |query, segment| {
            Ok(query
                .bind(&segment.id.0[..])
                .bind(segment.version.as_ref().map(|id| &id.0[..]))
                .bind(segment.object.as_ref().map(|id| &id.0[..]))
                .bind(&segment.institution.0[..])
                .bind(segment.kind.word())
                .bind(SegmentState::Writing.word())
                .bind(i64::from(segment.generation))
                .bind(0i64)
                .bind(segment.coding.to_string())
                .bind(i64::from(segment.number.epoch))
                .bind(i64::from(segment.number.number))
                .bind(&lease.work.0[..])
                .bind(int(lease.token)?)
                .bind(now.0))
        },
    )?;
    row::execute(connection, statements).await
}

/// Makes a `writing` segment of this very lease durable.
pub(crate) async fn make_durable(
    connection: &mut SqliteConnection,
    lease: &Lease,
    segment: &DurableSegment,
) -> Result<(), Error> {
    check_shards(segment.id, segment.coding, segment.number, &segment.placements)?;
    let made = sqlx::query(
        "UPDATE segments SET state = 'durable', bytes = $4, coding = $5, coding_epoch = $6,
           coding_no = $7
         WHERE id = $1 AND work = $2 AND token = $3 AND state = 'writing'",
    )
    .bind(&segment.id.0[..])
    .bind(&lease.work.0[..])
    .bind(int(lease.token)?)
    .bind(int(segment.bytes)?)
    .bind(segment.coding.to_string())
    .bind(i64::from(segment.number.epoch))
    .bind(i64::from(segment.number.number))
    .execute(&mut *connection)
    .await?;
    if made.rows_affected() != 1 {
        return Err(Error::conflict(format!(
            "segment {} is not being written under this lease",
            segment.id
        )));
    }
    place(connection, &segment.placements).await
}

/// Gives up a `writing` segment of the work item, of whichever token. One that is given up already
/// is left so: giving up may be said twice.
pub(crate) async fn give_up(
    connection: &mut SqliteConnection,
    lease: &Lease,
    segment: SegmentId,
) -> Result<(), Error> {
    let given_up = sqlx::query(
        "UPDATE segments SET state = 'released'
         WHERE id = $1 AND work = $2 AND state IN ('writing', 'released')",
    )
    .bind(&segment.0[..])
    .bind(&lease.work.0[..])
    .execute(connection)
    .await?;
    match given_up.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::conflict(format!(
            "segment {segment} is not being written by this work item"
        ))),
    }
}

/// Makes a new coding the wanted one, and releases the shards of those before it.
pub(crate) async fn recode(
    connection: &mut SqliteConnection,
    recoded: &Recoded,
) -> Result<(), Error> {
    check_shards(recoded.segment, recoded.coding, recoded.number, &recoded.placements)?;
    let changed = sqlx::query(
        "UPDATE segments SET coding = $2, coding_epoch = $3, coding_no = $4
         WHERE id = $1 AND state = 'durable' AND (coding_epoch, coding_no) < ($3, $4)",
    )
    .bind(&recoded.segment.0[..])
    .bind(recoded.coding.to_string())
    .bind(i64::from(recoded.number.epoch))
    .bind(i64::from(recoded.number.number))
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() != 1 && is_released(connection, recoded.segment).await? {
        return place_released(connection, &recoded.placements).await;
    }
    if changed.rows_affected() != 1 {
        return Err(Error::conflict(format!(
            "segment {} is not durable, or has a coding as new as {}",
            recoded.segment, recoded.number
        )));
    }
    sqlx::query("UPDATE placements SET state = 'released' WHERE segment = $1")
        .bind(&recoded.segment.0[..])
        .execute(&mut *connection)
        .await?;
    place(connection, &recoded.placements).await
}

/// Says where a shard stands now. The segment is locked first: a shard of a coding that is no longer
/// wanted must not come back to life.
pub(crate) async fn replace(
    connection: &mut SqliteConnection,
    placement: &Placement,
) -> Result<(), Error> {
    let row = sqlx::query(
        "UPDATE segments SET bytes = bytes WHERE id = $1 AND state = 'durable'
         RETURNING coding, coding_epoch, coding_no",
    )
    .bind(&placement.segment.0[..])
    .fetch_optional(&mut *connection)
    .await?;
    // Released meanwhile: there is nothing to keep anymore, only something more to reclaim.
    let Some(row) = row else {
        return place_released(connection, std::slice::from_ref(placement)).await;
    };
    let fields = Fields::new(&row, "segments");
    let (coding, wanted) = (fields.coding("coding")?, fields.coding_number()?);
    if placement.coding < wanted {
        return Ok(());
    }
    if placement.coding > wanted || placement.index >= coding.n() {
        return Err(Error::conflict(format!(
            "segment {} has no shard {} of coding {}",
            placement.segment, placement.index, placement.coding
        )));
    }
    crate::shelving::still_used(connection, placement.shelf).await?;
    sqlx::query(
        "INSERT INTO placements (segment, coding_epoch, coding_no, shard, shelf, log, frames,
           bytes, state, checked) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
         ON CONFLICT (segment, coding_epoch, coding_no, shard) DO UPDATE SET
           shelf = excluded.shelf, log = excluded.log, frames = excluded.frames,
           bytes = excluded.bytes, state = excluded.state, checked = excluded.checked",
    )
    .bind(&placement.segment.0[..])
    .bind(i64::from(placement.coding.epoch))
    .bind(i64::from(placement.coding.number))
    .bind(i64::from(placement.index))
    .bind(&placement.shelf.0[..])
    .bind(&placement.log.0[..])
    .bind(&placement.frames[..])
    .bind(int(placement.bytes)?)
    .bind(placement.state.word())
    .bind(placement.checked.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps the outcome of a check, unless something newer is known of the shard (it was made anew, or
/// moved, between being read and this), or it is no longer wanted.
pub(crate) async fn check(
    connection: &mut SqliteConnection,
    (segment, coding, index, log, state, time): &Checked,
) -> Result<(), Error> {
    sqlx::query(
        "UPDATE placements SET state = $5, checked = $6
         WHERE segment = $1 AND coding_epoch = $2 AND coding_no = $3 AND shard = $4
           AND state <> 'released' AND checked <= $6 AND log = $7",
    )
    .bind(&segment.0[..])
    .bind(i64::from(coding.epoch))
    .bind(i64::from(coding.number))
    .bind(i64::from(*index))
    .bind(state.word())
    .bind(time.0)
    .bind(&log.0[..])
    .execute(connection)
    .await?;
    Ok(())
}

/// A segment may be called durable only with its shards: of this coding, each at most once, and
/// enough good ones to restore it.
fn check_shards(
    segment: SegmentId,
    coding: Coding,
    number: CodingNumber,
    placements: &[Placement],
) -> Result<(), Error> {
    let mut seen = [false; 256];
    let mut good = 0u8;
    for placement in placements {
        let there = &mut seen[usize::from(placement.index)];
        let fits = placement.segment == segment
            && placement.coding == number
            && placement.index < coding.n()
            && !std::mem::replace(there, true);
        if !fits {
            return Err(Error::conflict(format!(
                "shard {} is none of coding {number} ({coding}) of segment {segment}, or is there twice",
                placement.index
            )));
        }
        good += u8::from(placement.state == PlacementState::Good);
    }
    match good >= coding.k() {
        true => Ok(()),
        false => Err(Error::conflict(format!(
            "segment {segment} has {good} good shards, and {coding} needs {}",
            coding.k()
        ))),
    }
}

async fn is_released(connection: &mut SqliteConnection, segment: SegmentId) -> Result<bool, Error> {
    let row = sqlx::query("SELECT id FROM segments WHERE id = $1 AND state = 'released'")
        .bind(&segment.0[..])
        .fetch_optional(connection)
        .await?;
    Ok(row.is_some())
}

/// Notes shards that were made of a segment while it was released, so that they are reclaimed too.
async fn place_released(
    connection: &mut SqliteConnection,
    placements: &[Placement],
) -> Result<(), Error> {
    for placement in placements {
        sqlx::query(
            "INSERT INTO placements (segment, coding_epoch, coding_no, shard, shelf, log, frames,
               bytes, state, checked)
             SELECT id, $2, $3, $4, $5, $6, $7, $8, 'released', $9 FROM segments
             WHERE id = $1 AND state = 'released' ON CONFLICT DO NOTHING",
        )
        .bind(&placement.segment.0[..])
        .bind(i64::from(placement.coding.epoch))
        .bind(i64::from(placement.coding.number))
        .bind(i64::from(placement.index))
        .bind(&placement.shelf.0[..])
        .bind(&placement.log.0[..])
        .bind(&placement.frames[..])
        .bind(int(placement.bytes)?)
        .bind(placement.checked.0)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn place(connection: &mut SqliteConnection, placements: &[Placement]) -> Result<(), Error> {
    let shelves: std::collections::BTreeSet<ShelfId> = placements.iter().map(|p| p.shelf).collect();
    for shelf in shelves {
        crate::shelving::still_used(connection, shelf).await?;
    }
    let statements = row::inserts(
        "INSERT INTO placements (segment, coding_epoch, coding_no, shard, shelf, log, frames, bytes,
         state, checked) VALUES",
        10,
        placements,
        |query, placement| {
            Ok(query
                .bind(&placement.segment.0[..])
                .bind(i64::from(placement.coding.epoch))
                .bind(i64::from(placement.coding.number))
                .bind(i64::from(placement.index))
                .bind(&placement.shelf.0[..])
                .bind(&placement.log.0[..])
                .bind(&placement.frames[..])
                .bind(int(placement.bytes)?)
                .bind(placement.state.word())
                .bind(placement.checked.0))
        },
    )
    ?;
    row::execute(connection, statements).await
}

pub(crate) fn segment(row: &SqliteRow) -> Result<Segment, Error> {
    let fields = Fields::new(row, "segments");
    Ok(Segment {
        id: fields.id("id")?,
        version: fields.id_or_none("version")?,
        object: fields.id_or_none("object")?,
        institution: fields.id("institution")?,
        kind: fields.word("kind", SegmentKind::parse)?,
        state: fields.word("state", SegmentState::parse)?,
        generation: fields.number("generation")?,
        bytes: fields.number("bytes")?,
        coding: fields.coding("coding")?,
        number: fields.coding_number()?,
        work: fields.id_or_none("work")?,
        token: fields.number("token")?,
        created: fields.time("created")?,
    })
}

pub(crate) fn placement(row: &SqliteRow) -> Result<Placement, Error> {
    let fields = Fields::new(row, "placements");
    Ok(Placement {
        segment: fields.id("segment")?,
        coding: fields.coding_number()?,
        index: fields.number("shard")?,
        shelf: fields.id("shelf")?,
        log: fields.id("log")?,
        frames: fields.bytes("frames")?.to_vec(),
        bytes: fields.number("bytes")?,
        state: fields.word("state", PlacementState::parse)?,
        checked: fields.time("checked")?,
    })
}
