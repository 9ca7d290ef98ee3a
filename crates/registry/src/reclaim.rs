//! When reclaiming is queued by itself: in the transaction that ends what left bytes that nobody wants, one
//! item a shelf. What was deleted is always reclaimed; of all else, where there is enough of it.

use sqlx::sqlite::SqliteConnection;
use strongroom_record::{InstitutionId, Sha256, ShelfId, Stage, Time, WorkId, WorkItem, WorkKind};
use strongroom_record::{WorkStatus, json::bytes::hex};

use crate::row::Fields;
use crate::types::NewWork;
use crate::work::next_token;
use crate::{Error, Registry, work};

/// Reclaiming is queued where so much of what stands on a shelf waits for it, in percent, beyond what the
/// last one kept.
pub const RECLAIM_PERCENT: u64 = 5;
/// And at least so many bytes: for less no log is worth a look.
pub const RECLAIM_BYTES_MIN: u64 = 1 << 20;
/// The institution whose chain tells of shelves, where there is one; else any, the archive's own first.
const HOUSE: &str = "local";

/// Why reclaiming is queued, which decides what it goes for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// Something is deleted: each log in which anything waits is rewritten.
    Deleted,
    /// Much waits: logs of which little is wanted are rewritten.
    Much,
}

/// Shelves on which bytes of what is deleted wait.
macro_rules! deleted_on {
    () => {
        "(EXISTS (SELECT 1 FROM placements INDEXED BY placements_released
            WHERE placements.shelf = shelves.id AND placements.state = 'released'
              AND placements.segment IN (SELECT segment FROM deleted_segments))
          OR EXISTS (SELECT 1 FROM leftovers WHERE leftovers.shelf = shelves.id
              AND leftovers.segment IN (SELECT segment FROM deleted_segments)))"
    };
}

impl Registry {
    /// Queues reclaiming for those of these shelves on which bytes of what is deleted still wait, such as
    /// of one that was missing, or whose log was in use. `draw` is a random id, of which the items' are made.
    pub async fn queue_reclaims(
        &self,
        shelves: &[ShelfId],
        draw: WorkId,
        now: Time,
    ) -> Result<(), Error> {
        let due = deleted(&mut *self.read().await?).await?;
        let due: Vec<_> = due.into_iter().filter(|shelf| shelves.contains(shelf)).collect();
        if due.is_empty() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        for shelf in due {
            queue(&mut tx, shelf, Why::Deleted, draw, now).await?;
        }
        Ok(tx.commit().await?)
    }
}

impl Registry {
    /// Queues reclaiming again that went to the trouble queue: mostly nobody asked for it, so nobody looks
    /// after it, and trying it harms nothing.
    pub async fn retry_reclaims(&self, now: Time) -> Result<(), Error> {
        let trouble = "SELECT id FROM work WHERE kind = 'reclaim' AND status = 'trouble' LIMIT 1";
        if sqlx::query(trouble).fetch_optional(&mut *self.read().await?).await?.is_none() {
            return Ok(());
        }
        let mut tx = self.write().await?;
        sqlx::query(concat!(
            "UPDATE work SET status = 'queued', attempts = 0, worker = NULL, lease_until = NULL,
               updated = $1, token = ",
            next_token!(),
            " WHERE kind = 'reclaim' AND status = 'trouble'"
        ))
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }
}

/// Queues what an item that ends leaves to be reclaimed; one that reclaimed notes what it kept.
pub(crate) async fn ended(
    connection: &mut SqliteConnection,
    item: &WorkItem,
    now: Time,
) -> Result<(), Error> {
    let all = match item.kind {
        WorkKind::Reclaim => return kept(connection, item).await,
        WorkKind::Delete => deleted(connection).await?,
        WorkKind::Ingest
        | WorkKind::Repair
        | WorkKind::Recode
        | WorkKind::Drain
        | WorkKind::Rebalance => Vec::new(),
        WorkKind::Restore | WorkKind::Fixity | WorkKind::Keys | WorkKind::Journal => return Ok(()),
    };
    for shelf in &all {
        queue(connection, *shelf, Why::Deleted, item.id, now).await?;
    }
    for shelf in much(connection).await? {
        if !all.contains(&shelf) {
            queue(connection, shelf, Why::Much, item.id, now).await?;
        }
    }
    Ok(())
}

async fn deleted(connection: &mut SqliteConnection) -> Result<Vec<ShelfId>, Error> {
    let rows = sqlx::query(concat!(
        "SELECT shelves.id FROM shelves JOIN shelf_usage ON shelf_usage.shelf = shelves.id
         WHERE shelf_usage.pending_bytes > 0 AND shelves.state <> 'read-only' AND ",
        deleted_on!(),
        " ORDER BY shelves.name"
    ))
    .fetch_all(connection)
    .await?;
    rows.iter().map(|row| Fields::new(row, "shelves").id("id")).collect()
}

async fn much(connection: &mut SqliteConnection) -> Result<Vec<ShelfId>, Error> {
    let rows = sqlx::query(
        "SELECT shelves.id, live_bytes, pending_bytes, kept_bytes
         FROM shelves JOIN shelf_usage ON shelf_usage.shelf = shelves.id
         WHERE pending_bytes > kept_bytes AND shelves.state <> 'read-only' ORDER BY shelves.name",
    )
    .fetch_all(connection)
    .await?;
    let mut due = Vec::new();
    for row in &rows {
        let fields = Fields::new(row, "shelf_usage");
        let pending: u64 = fields.number("pending_bytes")?;
        let stored = pending.saturating_add(fields.number("live_bytes")?);
        let new = pending.saturating_sub(fields.number("kept_bytes")?);
        if new >= RECLAIM_BYTES_MIN && new >= stored / 100 * RECLAIM_PERCENT {
            due.push(fields.id("id")?);
        }
    }
    Ok(due)
}

/// Queues an item for a shelf, unless one waits. Behind one that runs another is queued, for it may have
/// passed what is to go now.
async fn queue(
    connection: &mut SqliteConnection,
    shelf: ShelfId,
    why: Why,
    draw: WorkId,
    now: Time,
) -> Result<(), Error> {
    let row = sqlx::query("SELECT id FROM institutions ORDER BY name = $1 DESC, name LIMIT 1")
        .bind(HOUSE)
        .fetch_one(&mut *connection)
        .await?;
    let institution: InstitutionId = Fields::new(&row, "institutions").id("id")?;
    for again in ["", " again"] {
        let key = match why {
            Why::Deleted => format!("{shelf} deleted{again}"),
            // As a person asks for it.
            Why::Much => format!("{shelf}{again}"),
        };
        let hash = Sha256::of(format!("{} {key}", hex(&draw.0)).as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash.0[..16]);
        let new = NewWork {
            id: WorkId(id),
            kind: WorkKind::Reclaim,
            institution,
            object: None,
            key: Some(key),
            request: serde_json::json!({
                "shelf": shelf.to_string(), "everything": false, "listed": why == Why::Deleted,
            }),
            stage: Stage::Run,
        };
        let queued = work::enqueue(connection, &new, now).await?;
        if !(queued.existing && queued.item.status == WorkStatus::Running) {
            break;
        }
    }
    Ok(())
}

/// What a reclaiming leaves is not what the next is queued for.
async fn kept(connection: &mut SqliteConnection, item: &WorkItem) -> Result<(), Error> {
    let only = item.request["shelf"].as_str().and_then(|id| id.parse::<ShelfId>().ok());
    sqlx::query("UPDATE shelf_usage SET kept_bytes = pending_bytes WHERE $1 IS NULL OR shelf = $1")
        .bind(only.as_ref().map(|id| &id.0[..]))
        .execute(connection)
        .await?;
    Ok(())
}
