//! The commit: a step's outcome in one transaction, under the lease's fencing token.

use strongroom_record::{Lease, Time, WorkStatus};

use crate::batch::JSON_BYTES_MAX;
use crate::row::Fields;
use crate::types::{Batch, Committed};
use crate::{
    Error, Registry, deletion, events, files, keys, objects, reclaim, segments, shelving, work,
};

impl Registry {
    /// Keeps all of `batch`, renews the lease, and tells of it in the institution's chain; or keeps
    /// nothing, and says why. [`Error::LeaseLost`] means that the work is another's now: stop.
    pub async fn commit(
        &self,
        lease: &Lease,
        now: Time,
        lease_seconds: u32,
        mut batch: Batch,
    ) -> Result<Committed, Error> {
        batch.check_size()?;
        let mut tx = self.write().await?;
        let c = &mut *tx;
        let item = work::hold(c, lease).await?;
        batch.check_against(&item)?;

        if let Some(draft) = &batch.begin_draft {
            objects::begin_draft(c, lease, draft, now).await?;
        }
        segments::begin(c, lease, &batch.begin_segments, now).await?;
        for segment in &batch.durable {
            segments::make_durable(c, lease, segment).await?;
        }
        for segment in &batch.give_up {
            segments::give_up(c, lease, *segment).await?;
        }
        files::add(c, lease, &batch.files).await?;
        files::amend(c, lease, &batch.amend).await?;
        if let Some(bag) = batch.bag {
            objects::set_bag(c, lease, bag).await?;
        }
        if batch.release_unused {
            objects::release_unused(c, lease).await?;
        }
        for recoded in &batch.replace_codings {
            segments::recode(c, recoded).await?;
        }
        for placement in &batch.placements {
            segments::replace(c, placement).await?;
        }
        for moved in &batch.moves {
            shelving::take_place(c, moved).await?;
        }
        for checked in &batch.checked {
            segments::check(c, checked).await?;
        }
        keys::add(c, &batch.keys, now).await?;
        if let Some(journal) = &batch.journal {
            crate::journal::keep(c, lease, journal).await?;
        }
        let events =
            events::append(c, item.institution, std::mem::take(&mut batch.events), now).await?;
        deletion::apply(c, lease, &item, &batch, events.first(), now).await?;
        if batch.abandon_draft {
            objects::abandon(c, item.id, now).await?;
        }
        let published = match &batch.publish {
            Some(publish) => Some(objects::publish(c, lease, publish, now).await?),
            None => None,
        };
        for gone in &batch.confirmed {
            shelving::confirm(c, gone).await?;
        }
        for (shelf, state) in &batch.shelf_states {
            shelving::set_state(c, *shelf, *state).await?;
        }
        let mut enqueued = Vec::with_capacity(batch.enqueue.len());
        for new in &batch.enqueue {
            enqueued.push(work::enqueue(c, new, now).await?);
        }

        let status = batch.finish.as_ref().map_or(WorkStatus::Running, |finish| finish.status);
        match status {
            WorkStatus::Cancelled => work::abandon(c, item.id, now).await?,
            WorkStatus::Succeeded => nothing_left(c, lease).await?,
            WorkStatus::Waiting
            | WorkStatus::Trouble
            | WorkStatus::Queued
            | WorkStatus::Running => {}
        }
        if matches!(status, WorkStatus::Succeeded | WorkStatus::Cancelled) {
            reclaim::ended(c, &item, now).await?;
        }
        let until = now.plus_seconds(lease_seconds.into());
        let held = (status == WorkStatus::Running).then_some(until.0);
        sqlx::query(
            "UPDATE work SET status = $2, lease_until = $3, updated = $4,
               worker = CASE WHEN $2 = 'running' THEN worker END,
               stage = COALESCE($5, stage), checkpoint = COALESCE($6, checkpoint),
               note = COALESCE($7, note), report = COALESCE($8, report)
             WHERE id = $1",
        )
        .bind(&lease.work.0[..])
        .bind(status.word())
        .bind(held)
        .bind(now.0)
        .bind(batch.stage.map(|stage| stage.word()))
        .bind(batch.checkpoint.as_ref().map(json).transpose()?)
        .bind(batch.note)
        .bind(batch.finish.as_ref().map(|finish| json(&finish.report)).transpose()?)
        .execute(&mut *c)
        .await?;
        tx.commit().await?;
        Ok(Committed { lease: Lease { until, ..*lease }, events, published, enqueued })
    }
}

/// Work that succeeded leaves neither a draft nor a segment half written.
async fn nothing_left(connection: &mut sqlx::SqliteConnection, lease: &Lease) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM versions WHERE work = $1 AND state = 'draft') +
           (SELECT COUNT(*) FROM segments WHERE work = $1 AND state = 'writing') AS remaining",
    )
    .bind(&lease.work.0[..])
    .fetch_one(connection)
    .await?;
    match Fields::new(&row, "segments").number::<u64>("remaining")? {
        0 => Ok(()),
        _ => Err(Error::conflict(
            "the work item has a draft or a segment being written: publish, or give up, first",
        )),
    }
}

fn json(value: &serde_json::Value) -> Result<String, Error> {
    let text = value.to_string();
    match text.len() <= JSON_BYTES_MAX {
        true => Ok(text),
        false => Err(Error::TooLarge {
            what: "bytes of a JSON value",
            found: text.len() as u64,
            max: JSON_BYTES_MAX as u64,
        }),
    }
}
