//! The queue of work: enqueue, lease, renew, release, requeue, cancel.
//!
//! An item is `queued` (a deletion first `waiting`, for a person's word) until a worker leases it, `running` under a lease, and ends as `succeeded`,
//! `cancelled`, or in `trouble`, from which a person requeues it. A lease that lapsed is taken by
//! another worker; the token, raised with each lease, is what makes the first one's commits fail,
//! so clocks decide only when work is taken over, never whose work counts.

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{
    EventDraft, InstitutionId, Lease, Stage, Time, WorkId, WorkItem, WorkKind, WorkStatus, WorkerId,
};

use crate::row::{Fields, int, limited, prefix_range};
use crate::types::{Enqueued, NewWork, WorkFilter};
use crate::{Error, Registry, events, objects, reclaim};

/// Items that one call tries to lease before it says that there is none.
const CANDIDATES_MAX: i64 = 16;
/// Items that an abbreviated id may stand for before more digits are asked for.
pub(crate) const PREFIX_MATCHES_MAX: i64 = 10;

/// The token after the item's, and after all those of earlier epochs: the epoch stands in its high
/// 32 bits.
macro_rules! next_token {
    () => {
        "CASE WHEN token < (SELECT epoch_number FROM archive) * 4294967296
              THEN (SELECT epoch_number FROM archive) * 4294967296 + 1
              ELSE token + 1 END"
    };
}
pub(crate) use next_token;

/// What must hold of an item so that it can be leased at the time `$1`: nobody has it; while an object
/// is deleted from, nothing else is done with it; and no other ingest of its object runs or has left a
/// draft.
macro_rules! leasable {
    () => {
        "(item.status = 'queued' OR (item.status = 'running' AND item.lease_until <= $1))
         AND (item.object IS NULL OR NOT EXISTS (SELECT 1 FROM work AS other
           WHERE other.object = item.object AND other.id <> item.id
             AND (item.kind = 'delete' OR other.kind = 'delete')
             AND other.status = 'running' AND other.lease_until > $1))
         AND (item.kind <> 'ingest' OR item.object IS NULL OR (
           NOT EXISTS (SELECT 1 FROM work AS other
             WHERE other.object = item.object AND other.id <> item.id AND other.kind = 'ingest'
               AND other.status = 'running' AND other.lease_until > $1)
           AND NOT EXISTS (SELECT 1 FROM versions AS draft
             WHERE draft.object = item.object AND draft.state = 'draft' AND draft.work <> item.id)))"
    };
}

impl Registry {
    /// Adds work to the queue, or finds the unfinished item of the same kind and key.
    pub async fn enqueue(&self, work: NewWork, now: Time) -> Result<Enqueued, Error> {
        let mut tx = self.write().await?;
        let enqueued = enqueue(&mut tx, &work, now).await?;
        tx.commit().await?;
        Ok(enqueued)
    }

    /// Leases the oldest item that is to be had, in the foreground first, of these kinds (none named: of any), or `which`.
    pub async fn lease(
        &self,
        worker: WorkerId,
        kinds: &[WorkKind],
        which: Option<WorkId>,
        now: Time,
        seconds: u32,
    ) -> Result<Option<(WorkItem, Lease)>, Error> {
        // Looking needs no lock, so idle workers hold nobody up. Taking decides, in one statement.
        for (id, object) in self.candidates(kinds, which, now).await? {
            let mut tx = self.write().await?;
            // Where rows can change between two statements, two items of one object must not be
            // taken at once: whoever has locked the object sees the other's lease.
            if let Some(object) = object {
                sqlx::query("UPDATE objects SET versions = versions WHERE id = $1")
                    .bind(object)
                    .execute(&mut *tx)
                    .await?;
            }
            let row = sqlx::query(concat!(
                "UPDATE work AS item SET status = 'running', attempts = attempts + 1, token = ",
                next_token!(),
                ", worker = $2, lease_until = $3, updated = $1 WHERE item.id = $4 AND ",
                leasable!(),
                " RETURNING *"
            ))
            .bind(now.0)
            .bind(&worker.0[..])
            .bind(now.plus_seconds(seconds.into()).0)
            .bind(&id[..])
            .fetch_optional(&mut *tx)
            .await?;
            let Some(row) = row else { continue };
            let item = item(&row)?;
            tx.commit().await?;
            let until = now.plus_seconds(seconds.into());
            let lease = Lease { work: item.id, token: item.token, until };
            return Ok(Some((item, lease)));
        }
        Ok(None)
    }

    pub(crate) async fn candidates(
        &self,
        kinds: &[WorkKind],
        which: Option<WorkId>,
        now: Time,
    ) -> Result<Vec<(Vec<u8>, Option<Vec<u8>>)>, Error> {
        let mut sql = String::from(concat!(
            "SELECT id, object FROM work AS item WHERE item.status IN ('queued', 'running')
             AND ($2 IS NULL OR id = $2) AND ",
            leasable!()
        ));
        if !kinds.is_empty() {
            // Words of a fixed list, nothing from outside.
            let words: Vec<_> = kinds.iter().map(|kind| format!("'{kind}'")).collect();
            sql.push_str(&format!(" AND kind IN ({})", words.join(", ")));
        }
        sql.push_str(
            " ORDER BY item.kind NOT IN ('ingest', 'restore', 'delete'), created, id LIMIT $3",
        );
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(now.0)
            .bind(which.as_ref().map(|id| &id.0[..]))
            .bind(CANDIDATES_MAX)
            .fetch_all(&mut *self.read().await?)
            .await?;
        let one = |row| {
            let fields = Fields::new(row, "work");
            Ok((fields.bytes("id")?.to_vec(), fields.get("object")?))
        };
        rows.iter().map(one).collect()
    }

    /// Prolongs a lease.
    pub async fn renew(&self, lease: &Lease, now: Time, seconds: u32) -> Result<Lease, Error> {
        let mut tx = self.write().await?;
        hold(&mut tx, lease).await?;
        let until = now.plus_seconds(seconds.into());
        sqlx::query("UPDATE work SET lease_until = $2, updated = $3 WHERE id = $1")
            .bind(&lease.work.0[..])
            .bind(until.0)
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(Lease { until, ..*lease })
    }

    /// Gives an item back unfinished, such as on Ctrl-C; this attempt does not count.
    pub async fn release(&self, lease: &Lease, now: Time) -> Result<(), Error> {
        let mut tx = self.write().await?;
        hold(&mut tx, lease).await?;
        sqlx::query(
            "UPDATE work SET status = 'queued', worker = NULL, lease_until = NULL, updated = $2,
               attempts = CASE WHEN attempts > 0 THEN attempts - 1 ELSE 0 END WHERE id = $1",
        )
        .bind(&lease.work.0[..])
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// The work item of this id.
    pub async fn work(&self, id: WorkId) -> Result<Option<WorkItem>, Error> {
        by_id(&mut *self.read().await?, id).await
    }

    /// Work items after this one, in the order they were asked for.
    pub async fn work_list(
        &self,
        filter: WorkFilter,
        after: Option<WorkId>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, Error> {
        self.work_list_of(None, filter, after, limit).await
    }

    /// As [`Registry::work_list`], of one institution or of all.
    pub async fn work_list_of(
        &self,
        institution: Option<InstitutionId>,
        filter: WorkFilter,
        after: Option<WorkId>,
        limit: u32,
    ) -> Result<Vec<WorkItem>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM work WHERE ($1 IS NULL OR status = $1) AND ($2 IS NULL OR kind = $2)
               AND ($3 IS NULL OR object = $3) AND ($6 IS NULL OR institution = $6)
               AND ($4 IS NULL OR (created, id) > (SELECT created, id FROM work WHERE id = $4))
             ORDER BY created, id LIMIT $5",
        )
        .bind(filter.status.map(WorkStatus::word))
        .bind(filter.kind.map(WorkKind::word))
        .bind(filter.object.as_ref().map(|id| &id.0[..]))
        .bind(after.as_ref().map(|id| &id.0[..]))
        .bind(limited(limit))
        .bind(institution.as_ref().map(|id| &id.0[..]))
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(item).collect()
    }

    /// The items whose id begins so, at most ten; none where `prefix` is not hexadecimal.
    pub async fn find_work_by_prefix(&self, prefix: &str) -> Result<Vec<WorkItem>, Error> {
        let Some((low, high)) = prefix_range(prefix) else { return Ok(Vec::new()) };
        let rows =
            sqlx::query("SELECT * FROM work WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3")
                .bind(&low[..])
                .bind(&high[..])
                .bind(PREFIX_MATCHES_MAX)
                .fetch_all(&mut *self.read().await?)
                .await?;
        rows.iter().map(item).collect()
    }

    /// Puts an item back into the queue, at `stage` or where it is: one in trouble, or one that is
    /// queued or whose lease lapsed. Its attempts are counted anew, and a worker that still holds
    /// it is fenced.
    pub async fn requeue(
        &self,
        id: WorkId,
        stage: Option<Stage>,
        now: Time,
    ) -> Result<WorkItem, Error> {
        let mut tx = self.write().await?;
        let row = sqlx::query(concat!(
            "UPDATE work SET status = 'queued', attempts = 0, worker = NULL, lease_until = NULL,
               updated = $2, stage = COALESCE($3, stage), token = ",
            next_token!(),
            " WHERE id = $1 AND (status IN ('trouble', 'queued')
               OR (status = 'running' AND lease_until <= $2)) RETURNING *"
        ))
        .bind(&id.0[..])
        .bind(now.0)
        .bind(stage.map(Stage::word))
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            let found =
                by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("work item", id))?;
            return Err(Error::conflict(match found.status {
                WorkStatus::Running => format!("work item {id} is running: a worker has its lease"),
                WorkStatus::Waiting => format!("work item {id} is waiting: {}", found.note),
                status => format!("work item {id} has {status}: it cannot be requeued"),
            }));
        };
        let item = item(&row)?;
        // The stage was given, or was right before; what is wrong is rolled back.
        check_stage(item.kind, item.stage)?;
        tx.commit().await?;
        Ok(item)
    }

    /// Gives an unfinished item up for a person: its draft is abandoned, its segments released, a
    /// worker that has it is fenced, and `event` tells of it.
    pub async fn cancel(
        &self,
        id: WorkId,
        now: Time,
        event: EventDraft,
    ) -> Result<WorkItem, Error> {
        let mut tx = self.write().await?;
        let row = sqlx::query(concat!(
            "UPDATE work SET status = 'cancelled', worker = NULL, lease_until = NULL, updated = $2,
               token = ",
            next_token!(),
            " WHERE id = $1 AND status IN ('queued', 'running', 'trouble', 'waiting')
               AND (kind <> 'delete' OR checkpoint = 'null') RETURNING *"
        ))
        .bind(&id.0[..])
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(row) = row else {
            let found =
                by_id(&mut tx, id).await?.ok_or_else(|| Error::not_found("work item", id))?;
            return Err(Error::conflict(match found.status {
                WorkStatus::Succeeded | WorkStatus::Cancelled => {
                    format!("work item {id} has {}: it cannot be cancelled", found.status)
                }
                _ => format!("what work item {id} deletes is dead already: it can only be ended"),
            }));
        };
        let item = item(&row)?;
        events::append(&mut tx, item.institution, vec![event], now).await?;
        abandon(&mut tx, id, now).await?;
        reclaim::ended(&mut tx, &item, now).await?;
        tx.commit().await?;
        Ok(item)
    }
}

/// The stages of a kind of work, in order.
pub(crate) fn stages(kind: WorkKind) -> &'static [Stage] {
    match kind {
        WorkKind::Ingest => {
            &[Stage::Inspect, Stage::Store, Stage::Validate, Stage::Record, Stage::Publish]
        }
        WorkKind::Restore
        | WorkKind::Fixity
        | WorkKind::Repair
        | WorkKind::Recode
        | WorkKind::Keys
        | WorkKind::Journal
        | WorkKind::Reclaim
        | WorkKind::Drain
        | WorkKind::Rebalance => &[Stage::Run],
        WorkKind::Delete => &[Stage::Run, Stage::Rewrite],
    }
}

pub(crate) fn check_stage(kind: WorkKind, stage: Stage) -> Result<(), Error> {
    match stages(kind).contains(&stage) {
        true => Ok(()),
        false => Err(Error::conflict(format!("`{stage}` is no stage of work of kind {kind}"))),
    }
}

/// Locks the item's row and makes sure that `lease` is the one that may commit. A lease whose time
/// is over but which nobody took still counts: the token decides, not the clock.
pub(crate) async fn hold(
    connection: &mut SqliteConnection,
    lease: &Lease,
) -> Result<WorkItem, Error> {
    let row = sqlx::query(
        "UPDATE work SET token = token WHERE id = $1 AND token = $2 AND status = 'running'
         RETURNING *",
    )
    .bind(&lease.work.0[..])
    .bind(int(lease.token)?)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = row {
        return item(&row);
    }
    let found = by_id(connection, lease.work).await?;
    let current = found.ok_or_else(|| Error::not_found("work item", lease.work))?.token;
    Err(Error::LeaseLost { held: lease.token, current })
}

/// Gives up what an item has begun and not published.
pub(crate) async fn abandon(
    connection: &mut SqliteConnection,
    id: WorkId,
    now: Time,
) -> Result<(), Error> {
    objects::abandon(connection, id, now).await?;
    for sql in [
        // Parts of a journal that was not kept.
        "UPDATE placements SET state = 'released' WHERE segment IN
           (SELECT id FROM segments WHERE work = $1 AND kind = 'journal' AND state = 'durable')
           AND NOT EXISTS (SELECT 1 FROM journals JOIN segments AS head ON head.id = journals.head
             WHERE head.work = $1)",
        "UPDATE segments SET state = 'released'
         WHERE work = $1 AND kind = 'journal' AND state = 'durable'
           AND NOT EXISTS (SELECT 1 FROM journals JOIN segments AS head ON head.id = journals.head
             WHERE head.work = $1)",
        "UPDATE segments SET state = 'released' WHERE work = $1 AND state = 'writing'",
    ] {
        sqlx::query(sql).bind(&id.0[..]).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Inserts the item, unless an unfinished one of its kind and key is there.
pub(crate) async fn enqueue(
    connection: &mut SqliteConnection,
    work: &NewWork,
    now: Time,
) -> Result<Enqueued, Error> {
    check_stage(work.kind, work.stage)?;
    let row = sqlx::query(
        "INSERT INTO work (id, kind, institution, object, key, request, stage, status, attempts,
           token, checkpoint, note, report, created, updated)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 'queued', 0,
           COALESCE((SELECT epoch_number FROM archive), 1) * 4294967296,
           'null', '', 'null', $8, $8)
         ON CONFLICT DO NOTHING RETURNING *",
    )
    .bind(&work.id.0[..])
    .bind(work.kind.word())
    .bind(&work.institution.0[..])
    .bind(work.object.as_ref().map(|id| &id.0[..]))
    .bind(work.key.as_deref())
    .bind(work.request.to_string())
    .bind(work.stage.word())
    .bind(now.0)
    .fetch_optional(&mut *connection)
    .await?;
    if let Some(row) = row {
        return Ok(Enqueued { item: item(&row)?, existing: false });
    }
    let row = sqlx::query(
        "SELECT * FROM work WHERE kind = $1 AND key = $2
           AND status IN ('queued', 'running', 'trouble', 'waiting')",
    )
    .bind(work.kind.word())
    .bind(work.key.as_deref())
    .fetch_optional(connection)
    .await?;
    let row = row.ok_or_else(|| Error::conflict(format!("work item {} is there", work.id)))?;
    Ok(Enqueued { item: item(&row)?, existing: true })
}

pub(crate) async fn by_id(
    connection: &mut SqliteConnection,
    id: WorkId,
) -> Result<Option<WorkItem>, Error> {
    let row = sqlx::query("SELECT * FROM work WHERE id = $1")
        .bind(&id.0[..])
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(item).transpose()
}

pub(crate) fn item(row: &SqliteRow) -> Result<WorkItem, Error> {
    let fields = Fields::new(row, "work");
    Ok(WorkItem {
        id: fields.id("id")?,
        kind: fields.word("kind", WorkKind::parse)?,
        institution: fields.id("institution")?,
        object: fields.id_or_none("object")?,
        key: fields.get("key")?,
        request: fields.json("request")?,
        stage: fields.word("stage", Stage::parse)?,
        status: fields.word("status", WorkStatus::parse)?,
        attempts: fields.number("attempts")?,
        token: fields.number("token")?,
        worker: fields.id_or_none("worker")?,
        lease_until: fields.time_or_none("lease_until")?,
        checkpoint: fields.json("checkpoint")?,
        note: fields.text("note")?,
        report: fields.json("report")?,
        created: fields.time("created")?,
        updated: fields.time("updated")?,
    })
}
