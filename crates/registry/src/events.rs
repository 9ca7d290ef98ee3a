//! The chains of events: appended in the transaction that they tell of, read, and verified.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{
    Event, EventDraft, EventHead, EventKind, InstitutionId, MerkleRoot, Outcome, Time,
};

use crate::row::{Fields, int, limited};
use crate::types::{ChainReport, EventsOf};
use crate::{Error, Registry, row};

/// Events that are verified at a time.
const VERIFIED_AT_ONCE: u32 = 1_000;

impl Registry {
    /// Appends events to an institution's chain, for what a person did without a work item.
    pub async fn record_events(
        &self,
        institution: InstitutionId,
        drafts: Vec<EventDraft>,
        now: Time,
    ) -> Result<Vec<Event>, Error> {
        let mut tx = self.write().await?;
        let events = append(&mut tx, institution, drafts, now).await?;
        tx.commit().await?;
        Ok(events)
    }

    /// Events after this sequence number, in order.
    pub async fn events(
        &self,
        of: EventsOf,
        after_sequence: u64,
        limit: u32,
    ) -> Result<Vec<Event>, Error> {
        let (sql, id) = match &of {
            EventsOf::Institution(id) => (
                "SELECT * FROM events WHERE institution = $1 AND sequence > $2
                 ORDER BY sequence LIMIT $3",
                &id.0,
            ),
            // An object has one institution, so its events' numbers are in order.
            EventsOf::Object(id) => (
                "SELECT * FROM events WHERE object = $1 AND sequence > $2
                 ORDER BY sequence LIMIT $3",
                &id.0,
            ),
        };
        let rows = sqlx::query(sql)
            .bind(&id[..])
            .bind(int(after_sequence)?)
            .bind(limited(limit))
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(event).collect()
    }

    /// The end of an institution's chain.
    pub async fn event_head(&self, institution: InstitutionId) -> Result<EventHead, Error> {
        let row = sqlx::query("SELECT sequence, hash FROM event_heads WHERE institution = $1")
            .bind(&institution.0[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        head(row.as_ref(), institution)
    }

    /// Computes an institution's chain anew, up to the head as it was at the start. A change, a gap
    /// and a missing end are found; what is not found is a whole chain, with its head, written anew:
    /// against that stand the heads kept elsewhere.
    pub async fn verify_chain(&self, institution: InstitutionId) -> Result<ChainReport, Error> {
        let end = self.event_head(institution).await?;
        let mut at = EventHead::EMPTY;
        while at.sequence < end.sequence {
            let of = EventsOf::Institution(institution);
            let events = match self.events(of, at.sequence, VERIFIED_AT_ONCE).await {
                Ok(events) => events,
                // Some row among these cannot be read: go on one by one to say which.
                Err(Error::Corrupt { .. }) => match self.events(of, at.sequence, 1).await {
                    Ok(events) => events,
                    Err(Error::Corrupt { .. }) => Vec::new(),
                    Err(error) => return Err(error),
                },
                Err(error) => return Err(error),
            };
            let before = at;
            for event in events.iter().take_while(|event| event.sequence <= end.sequence) {
                if !event.follows(at)? {
                    break;
                }
                at = event.head();
            }
            let whole = events.last().is_some_and(|event| event.sequence <= at.sequence);
            let reached = at.sequence == end.sequence;
            if at == before || (!whole && !reached) {
                return Ok(ChainReport { events: at.sequence, broken_at: Some(at.sequence + 1) });
            }
        }
        let broken_at = (at != end).then_some(at.sequence);
        Ok(ChainReport { events: at.sequence, broken_at })
    }
}

/// The empty chain of a new institution.
pub(crate) async fn begin_chain(
    connection: &mut SqliteConnection,
    institution: InstitutionId,
) -> Result<(), Error> {
    sqlx::query("INSERT INTO event_heads (institution, sequence, hash) VALUES ($1, 0, $2)")
        .bind(&institution.0[..])
        .bind(&EventHead::EMPTY.hash.0[..])
        .execute(connection)
        .await?;
    Ok(())
}

/// Appends to the chain inside a transaction. The head's row is locked by a write before it is read.
pub(crate) async fn append(
    connection: &mut SqliteConnection,
    institution: InstitutionId,
    drafts: Vec<EventDraft>,
    now: Time,
) -> Result<Vec<Event>, Error> {
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    let row = sqlx::query(
        "UPDATE event_heads SET sequence = sequence WHERE institution = $1
         RETURNING sequence, hash, (SELECT epoch_number FROM archive) AS epoch",
    )
    .bind(&institution.0[..])
    .fetch_optional(&mut *connection)
    .await?;
    let mut at = head(row.as_ref(), institution)?;
    // A registry without an archive row is one in the making: its first epoch.
    let epoch = match &row {
        Some(row) => Fields::new(row, "archive").number_or_none("epoch")?.unwrap_or(1),
        None => 1,
    };
    let epoch = u32::try_from(epoch).map_err(|_| Error::Corrupt {
        table: "archive",
        what: "epoch_number: out of range".into(),
    })?;
    let mut events = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let event = Event::chain(institution, epoch, at, now, draft)?;
        at = event.head();
        events.push(event);
    }
    insert(connection, institution, &events, at).await?;
    Ok(events)
}

/// Takes events in that a journal brought back: those that follow the chain's end, in order, as far as
/// they do; the end after that.
pub(crate) async fn take_in(
    connection: &mut SqliteConnection,
    institution: InstitutionId,
    events: &[Event],
) -> Result<EventHead, Error> {
    let row = sqlx::query(
        "UPDATE event_heads SET sequence = sequence WHERE institution = $1
         RETURNING sequence, hash",
    )
    .bind(&institution.0[..])
    .fetch_optional(&mut *connection)
    .await?;
    let mut at = head(row.as_ref(), institution)?;
    let mut following = Vec::new();
    for event in events.iter().filter(|event| event.institution == institution) {
        if event.follows(at)? {
            at = event.head();
            following.push(event.clone());
        }
    }
    if !following.is_empty() {
        insert(connection, institution, &following, at).await?;
    }
    Ok(at)
}

async fn insert(
    connection: &mut SqliteConnection,
    institution: InstitutionId,
    events: &[Event],
    at: EventHead,
) -> Result<(), Error> {
    let statements = row::inserts(
        "INSERT INTO events (institution, sequence, epoch, time, before, hash, kind, outcome,
         object, version, work, files_count, files_root, detail) VALUES",
        14,
        events,
        |query, event| {
            let files = event.draft.files;
            let detail = strongroom_record::json::canonical(&event.draft.detail)?;
            Ok(query
                .bind(&event.institution.0[..])
                .bind(int(event.sequence)?)
                .bind(i64::from(event.epoch))
                .bind(event.time.0)
                .bind(&event.before.0[..])
                .bind(&event.hash.0[..])
                .bind(event.draft.kind.word())
                .bind(event.draft.outcome.word())
                .bind(event.draft.object.as_ref().map(|id| &id.0[..]))
                .bind(event.draft.version.as_ref().map(|id| &id.0[..]))
                .bind(event.draft.work.as_ref().map(|id| &id.0[..]))
                .bind(files.map(|files| int(files.count)).transpose()?)
                .bind(files.as_ref().map(|files| &files.root.0[..]))
                .bind(String::from_utf8_lossy(&detail).into_owned()))
        },
    )?;
    row::execute(&mut *connection, statements).await?;
    sqlx::query("UPDATE event_heads SET sequence = $1, hash = $2 WHERE institution = $3")
        .bind(int(at.sequence)?)
        .bind(&at.hash.0[..])
        .bind(&institution.0[..])
        .execute(connection)
        .await?;
    Ok(())
}

pub(crate) fn head(
    row: Option<&SqliteRow>,
    institution: InstitutionId,
) -> Result<EventHead, Error> {
    let row = row.ok_or_else(|| Error::not_found("institution", institution))?;
    let fields = Fields::new(row, "event_heads");
    Ok(EventHead { sequence: fields.number("sequence")?, hash: fields.sha256("hash")? })
}

fn event(row: &SqliteRow) -> Result<Event, Error> {
    let fields = Fields::new(row, "events");
    let files = match fields.number_or_none("files_count")? {
        None => None,
        Some(count) => Some(MerkleRoot { count, root: fields.sha256("files_root")? }),
    };
    Ok(Event {
        institution: fields.id("institution")?,
        epoch: fields.number("epoch")?,
        sequence: fields.number("sequence")?,
        time: fields.time("time")?,
        before: fields.sha256("before")?,
        hash: fields.sha256("hash")?,
        draft: EventDraft {
            kind: fields.word("kind", EventKind::parse)?,
            outcome: fields.word("outcome", Outcome::parse)?,
            object: fields.id_or_none("object")?,
            version: fields.id_or_none("version")?,
            work: fields.id_or_none("work")?,
            files,
            detail: fields.json("detail")?,
        },
    })
}
