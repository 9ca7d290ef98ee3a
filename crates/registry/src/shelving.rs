//! What shelves hold, what of it waits to be reclaimed, and what institutions may hold.
//!
//! Bytes are counted by triggers, in the transactions that change what is counted; so whoever reads them
//! needs no pass over all placements, and whoever writes placements cannot forget them.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{
    CodingNumber, EventDraft, InstitutionId, LogId, ObjectId, Placement, SegmentId, ShelfId, Time,
    WorkKind,
};

use crate::row::{Fields, int, limited};
use crate::types::{Segment, Shelf, ShelfState};
use crate::{Error, Registry, events, segments};

/// What is counted of a shelf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShelfUsage {
    /// Which.
    pub shelf: ShelfId,
    /// Shards that are wanted there, and as far as known are there.
    pub live_shards: u64,
    /// Their bytes, header and trailer included.
    pub live_bytes: u64,
    /// Shards that wait to be reclaimed.
    pub pending_shards: u64,
    /// Their bytes.
    pub pending_bytes: u64,
    /// Logs that hold segments that this registry does not know, when they were last looked at.
    pub unknown_logs: u64,
    /// Bytes of those segments' shards.
    pub unknown_bytes: u64,
    /// When that was.
    pub looked: Option<Time>,
}

/// A shard, or what was one, that stands on a shelf and is wanted there no longer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Leftover {
    /// Its number among those that were replaced; `None` for the shard of a released coding or segment.
    pub number: Option<i64>,
    /// The segment.
    pub segment: SegmentId,
    /// Which coding of it.
    pub coding: CodingNumber,
    /// Which shard.
    pub index: u8,
    /// Where.
    pub shelf: ShelfId,
    /// Where its frames lie, in the vault's form.
    pub frames: Vec<u8>,
    /// Its bytes.
    pub bytes: u64,
}

/// A shard that was copied.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Move {
    /// As it stood when it was copied.
    pub from: Placement,
    /// As it stands now.
    pub to: Placement,
}

/// What the registry knows of a segment that was met on a shelf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fate {
    /// The segment.
    pub segment: Segment,
    /// All its shards, those of released codings too.
    pub placements: Vec<Placement>,
    /// What is left of it elsewhere.
    pub leftovers: Vec<Leftover>,
}

/// What an institution has, and may have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// Bytes of plaintext of its published versions and drafts.
    pub used: u64,
    /// Most that it may have, where bounded.
    pub max: Option<u64>,
}

impl Registry {
    /// What is counted of each shelf, by its name.
    pub async fn shelf_usage(&self) -> Result<Vec<ShelfUsage>, Error> {
        let rows = sqlx::query(
            "SELECT shelf_usage.* FROM shelves JOIN shelf_usage ON shelf_usage.shelf = shelves.id
             ORDER BY shelves.name",
        )
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(usage).collect()
    }

    /// Notes what of a shelf this registry does not know.
    pub async fn note_unknown(
        &self,
        shelf: ShelfId,
        logs: u64,
        bytes: u64,
        now: Time,
    ) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE shelf_usage SET unknown_logs = $2, unknown_bytes = $3, looked = $4
             WHERE shelf = $1",
        )
        .bind(&shelf.0[..])
        .bind(int(logs)?)
        .bind(int(bytes)?)
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// What is known of a segment; `None` where the registry never heard of it.
    pub async fn fate(&self, id: SegmentId) -> Result<Option<Fate>, Error> {
        let mut read = self.read().await?;
        let row = sqlx::query("SELECT * FROM segments WHERE id = $1")
            .bind(&id.0[..])
            .fetch_optional(&mut *read)
            .await?;
        let Some(row) = row else { return Ok(None) };
        let placements = sqlx::query("SELECT * FROM placements WHERE segment = $1")
            .bind(&id.0[..])
            .fetch_all(&mut *read)
            .await?;
        let left = sqlx::query("SELECT rowid AS number, * FROM leftovers WHERE segment = $1")
            .bind(&id.0[..])
            .fetch_all(&mut *read)
            .await?;
        Ok(Some(Fate {
            segment: segments::segment(&row)?,
            placements: placements.iter().map(segments::placement).collect::<Result<_, _>>()?,
            leftovers: left.iter().map(leftover).collect::<Result<_, _>>()?,
        }))
    }

    /// What waits on a shelf to be reclaimed, after this one: first what was replaced, then shards of
    /// released codings.
    pub async fn leftovers_on(
        &self,
        shelf: ShelfId,
        after: Option<&Leftover>,
        limit: u32,
    ) -> Result<Vec<Leftover>, Error> {
        let mut read = self.read().await?;
        let mut found = Vec::new();
        if after.is_none_or(|after| after.number.is_some()) {
            let rows = sqlx::query(
                "SELECT rowid AS number, * FROM leftovers WHERE shelf = $1 AND rowid > $2
                 ORDER BY rowid LIMIT $3",
            )
            .bind(&shelf.0[..])
            .bind(after.and_then(|after| after.number).unwrap_or(i64::MIN))
            .bind(limited(limit))
            .fetch_all(&mut *read)
            .await?;
            found = rows.iter().map(leftover).collect::<Result<_, _>>()?;
        }
        if !found.is_empty() {
            return Ok(found);
        }
        let after = after.filter(|after| after.number.is_none());
        let rows = sqlx::query(
            "SELECT NULL AS number, * FROM placements INDEXED BY placements_released
             WHERE shelf = $1 AND state = 'released'
               AND ($2 IS NULL OR (segment, coding_epoch, coding_no, shard) > ($2, $3, $4, $5))
             ORDER BY segment, coding_epoch, coding_no, shard LIMIT $6",
        )
        .bind(&shelf.0[..])
        .bind(after.map(|p| &p.segment.0[..]))
        .bind(after.map(|p| i64::from(p.coding.epoch)))
        .bind(after.map(|p| i64::from(p.coding.number)))
        .bind(after.map(|p| i64::from(p.index)))
        .bind(limited(limit))
        .fetch_all(&mut *read)
        .await?;
        rows.iter().map(leftover).collect()
    }

    /// Bytes of the shards that are wanted on a shelf, by the log in which each begins.
    pub async fn live_by_log(&self, shelf: ShelfId) -> Result<Vec<(LogId, u64)>, Error> {
        let rows = sqlx::query(
            "SELECT log, CAST(SUM(bytes) AS BIGINT) AS bytes FROM placements
             WHERE shelf = $1 AND state <> 'released' GROUP BY log",
        )
        .bind(&shelf.0[..])
        .fetch_all(&mut *self.read().await?)
        .await?;
        let one = |row| {
            let fields = Fields::new(row, "placements");
            Ok((fields.id("log")?, fields.number("bytes")?))
        };
        rows.iter().map(one).collect()
    }

    /// Whether no shard that is wanted, good or not, has a frame in this log of the shelf. Looks at all
    /// the shelf's placements, so ask it of a log that is about to be removed.
    pub async fn is_log_free(&self, shelf: ShelfId, log: LogId) -> Result<bool, Error> {
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM placements WHERE shelf = $1 AND state <> 'released'
               AND (log = $2 OR instr(frames, $2) > 0)) AS there",
        )
        .bind(&shelf.0[..])
        .bind(&log.0[..])
        .fetch_one(&mut *self.read().await?)
        .await?;
        Ok(!Fields::new(&row, "placements").flag("there")?)
    }

    /// Gives up each `writing` segment whose writer can never commit it: its work item is not running, or
    /// runs under a later token. Says how many.
    pub async fn give_up_superseded(&self) -> Result<u64, Error> {
        let mut tx = self.write().await?;
        let given_up = sqlx::query(
            "UPDATE segments SET state = 'released' WHERE state = 'writing' AND NOT EXISTS
               (SELECT 1 FROM work WHERE work.id = segments.work AND work.status = 'running'
                AND work.token = segments.token)",
        )
        .execute(&mut *tx)
        .await?;
        // Of a released segment no shard is wanted, whoever released it.
        sqlx::query(
            "UPDATE placements SET state = 'released' WHERE state <> 'released' AND segment IN
               (SELECT id FROM segments WHERE state = 'released')",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(given_up.rows_affected())
    }

    /// Notes that nothing is known to be left of released segments that have no shard anywhere: of those
    /// that were given up before they were stored, and of those whose last shard a shelf has confirmed.
    pub async fn note_gone(&self) -> Result<u64, Error> {
        let mut tx = self.write().await?;
        let gone = sqlx::query(
            "UPDATE segments SET state = 'gone' WHERE state = 'released'
               AND NOT EXISTS (SELECT 1 FROM placements WHERE placements.segment = segments.id)
               AND NOT EXISTS (SELECT 1 FROM leftovers WHERE leftovers.segment = segments.id)",
        )
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }

    /// Shelves that one segment or policy needs at most: n of the widest coding.
    pub async fn widest_coding(&self) -> Result<u8, Error> {
        let rows = sqlx::query(
            "SELECT DISTINCT coding FROM segments WHERE state = 'durable'
             UNION SELECT coding FROM objects WHERE coding IS NOT NULL
             UNION SELECT coding FROM institutions WHERE coding IS NOT NULL
             UNION SELECT value FROM settings WHERE name = $1",
        )
        .bind(crate::SETTING_CODING)
        .fetch_all(&mut *self.read().await?)
        .await?;
        let mut widest = 2;
        for row in &rows {
            widest = widest.max(Fields::new(row, "segments").coding("coding")?.n());
        }
        Ok(widest)
    }

    /// Sets what a shelf is used for, its capacity and its domain, and tells of it in an institution's
    /// chain. [`Error::Conflict`] where its state is no longer `before`.
    pub async fn set_shelf(
        &self,
        shelf: &Shelf,
        before: ShelfState,
        institution: InstitutionId,
        event: EventDraft,
        now: Time,
    ) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let set = sqlx::query(
            "UPDATE shelves SET state = $2, capacity_bytes = $3, domain = $4
             WHERE id = $1 AND state = $5",
        )
        .bind(&shelf.id.0[..])
        .bind(shelf.state.word())
        .bind(shelf.capacity_bytes.map(int).transpose()?)
        .bind(&shelf.domain)
        .bind(before.word())
        .execute(&mut *tx)
        .await?;
        if set.rows_affected() != 1 {
            return Err(Error::conflict(format!(
                "shelf `{}` was set otherwise just now",
                shelf.name
            )));
        }
        events::append(&mut tx, institution, vec![event], now).await?;
        Ok(tx.commit().await?)
    }

    /// When the shard that was checked longest ago was.
    pub async fn oldest_check(&self) -> Result<Option<Time>, Error> {
        let oldest = self.least_recently_checked(1, None).await?;
        Ok(oldest.first().map(|placement| placement.checked))
    }

    /// What an institution has, and may have.
    pub async fn quota(&self, institution: InstitutionId) -> Result<Quota, Error> {
        let row = sqlx::query("SELECT * FROM institution_usage WHERE institution = $1")
            .bind(&institution.0[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        let row = row.ok_or_else(|| Error::not_found("institution", institution))?;
        let fields = Fields::new(&row, "institution_usage");
        Ok(Quota { used: fields.number("bytes")?, max: fields.number_or_none("bytes_max")? })
    }

    /// Sets what an institution may have at most (`None`: as much as there is room for), and tells of it
    /// in its chain. What it has already stays.
    pub async fn set_quota(
        &self,
        institution: InstitutionId,
        max: Option<u64>,
        event: EventDraft,
        now: Time,
    ) -> Result<(), Error> {
        let mut tx = self.write().await?;
        let set = sqlx::query("UPDATE institution_usage SET bytes_max = $2 WHERE institution = $1")
            .bind(&institution.0[..])
            .bind(max.map(int).transpose()?)
            .execute(&mut *tx)
            .await?;
        if set.rows_affected() != 1 {
            return Err(Error::not_found("institution", institution));
        }
        events::append(&mut tx, institution, vec![event], now).await?;
        Ok(tx.commit().await?)
    }

    /// Whether somebody waits for work: an item in the foreground runs at `now`, or, with `queued`, could
    /// be leased.
    pub async fn somebody_waits(&self, queued: bool, now: Time) -> Result<bool, Error> {
        let kinds = [WorkKind::Ingest, WorkKind::Restore];
        if queued && !self.candidates(&kinds, None, now).await?.is_empty() {
            return Ok(true);
        }
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM work WHERE status = 'running' AND lease_until > $1
               AND kind IN ('ingest', 'restore')) AS there",
        )
        .bind(now.0)
        .fetch_one(&mut *self.read().await?)
        .await?;
        Fields::new(&row, "work").flag("there")
    }
}

/// Lets a copy take a shard's place, where that stands as it stood when it was copied. The segment is
/// locked first, as whoever places or releases its shards does.
pub(crate) async fn take_place(
    connection: &mut SqliteConnection,
    moved: &Move,
) -> Result<(), Error> {
    let Move { from, to } = moved;
    let same = (from.segment, from.coding, from.index) == (to.segment, to.coding, to.index);
    if !same || from.bytes != to.bytes {
        return Err(Error::conflict(format!(
            "a copy of segment {} is another shard",
            from.segment
        )));
    }
    sqlx::query("UPDATE segments SET bytes = bytes WHERE id = $1")
        .bind(&from.segment.0[..])
        .execute(&mut *connection)
        .await?;
    still_used(connection, to.shelf).await?;
    sqlx::query(
        "UPDATE placements SET shelf = $5, log = $6, frames = $7, state = 'good', checked = $8
         WHERE segment = $1 AND coding_epoch = $2 AND coding_no = $3 AND shard = $4
           AND state <> 'released' AND shelf = $9 AND frames = $10",
    )
    .bind(&from.segment.0[..])
    .bind(i64::from(from.coding.epoch))
    .bind(i64::from(from.coding.number))
    .bind(i64::from(from.index))
    .bind(&to.shelf.0[..])
    .bind(&to.log.0[..])
    .bind(&to.frames[..])
    .bind(to.checked.0)
    .bind(&from.shelf.0[..])
    .bind(&from.frames[..])
    .execute(&mut *connection)
    .await?;
    // Where it was made anew or released meanwhile, the copy is wanted by nobody.
    Ok(())
}

/// A shelf has nothing of this any more.
pub(crate) async fn confirm(
    connection: &mut SqliteConnection,
    gone: &Leftover,
) -> Result<(), Error> {
    match gone.number {
        Some(number) => {
            sqlx::query("DELETE FROM leftovers WHERE rowid = $1 AND segment = $2")
                .bind(number)
                .bind(&gone.segment.0[..])
                .execute(&mut *connection)
                .await?
        }
        None => {
            sqlx::query(
                "DELETE FROM placements WHERE segment = $1 AND coding_epoch = $2
                   AND coding_no = $3 AND shard = $4 AND shelf = $5 AND state = 'released'",
            )
            .bind(&gone.segment.0[..])
            .bind(i64::from(gone.coding.epoch))
            .bind(i64::from(gone.coding.number))
            .bind(i64::from(gone.index))
            .bind(&gone.shelf.0[..])
            .execute(&mut *connection)
            .await?
        }
    };
    Ok(())
}

/// Sets a shelf's state; it is retired only where no wanted shard stands on it.
pub(crate) async fn set_state(
    connection: &mut SqliteConnection,
    shelf: ShelfId,
    state: ShelfState,
) -> Result<(), Error> {
    let set = sqlx::query(
        "UPDATE shelves SET state = $2 WHERE id = $1 AND ($2 <> 'retired' OR NOT EXISTS
           (SELECT 1 FROM placements WHERE shelf = $1 AND state <> 'released'))",
    )
    .bind(&shelf.0[..])
    .bind(state.word())
    .execute(connection)
    .await?;
    match set.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::conflict(format!("shelf {shelf} is not there, or shards stand on it"))),
    }
}

/// Nothing is placed on a shelf that is retired. Its row is locked, so that it is not retired between
/// this and the commit.
pub(crate) async fn still_used(
    connection: &mut SqliteConnection,
    shelf: ShelfId,
) -> Result<(), Error> {
    let used = sqlx::query("UPDATE shelves SET state = state WHERE id = $1 AND state <> 'retired'")
        .bind(&shelf.0[..])
        .execute(connection)
        .await?;
    match used.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::conflict(format!("shelf {shelf} is retired, or not there"))),
    }
}

/// Refuses what brought an object's institution over its quota.
pub(crate) async fn within_quota(
    connection: &mut SqliteConnection,
    object: ObjectId,
) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT bytes, bytes_max FROM institution_usage
         WHERE institution = (SELECT institution FROM objects WHERE id = $1)
           AND bytes > bytes_max",
    )
    .bind(&object.0[..])
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else { return Ok(()) };
    let fields = Fields::new(&row, "institution_usage");
    Err(Error::OverQuota { used: fields.number("bytes")?, max: fields.number("bytes_max")? })
}

fn usage(row: &SqliteRow) -> Result<ShelfUsage, Error> {
    let fields = Fields::new(row, "shelf_usage");
    Ok(ShelfUsage {
        shelf: fields.id("shelf")?,
        live_shards: fields.number("live_shards")?,
        live_bytes: fields.number("live_bytes")?,
        pending_shards: fields.number("pending_shards")?,
        pending_bytes: fields.number("pending_bytes")?,
        unknown_logs: fields.number("unknown_logs")?,
        unknown_bytes: fields.number("unknown_bytes")?,
        looked: fields.time_or_none("looked")?,
    })
}

fn leftover(row: &SqliteRow) -> Result<Leftover, Error> {
    let fields = Fields::new(row, "leftovers");
    Ok(Leftover {
        number: fields.get("number")?,
        segment: fields.id("segment")?,
        coding: fields.coding_number()?,
        index: fields.number("shard")?,
        shelf: fields.id("shelf")?,
        frames: fields.bytes("frames")?.to_vec(),
        bytes: fields.number("bytes")?,
    })
}
