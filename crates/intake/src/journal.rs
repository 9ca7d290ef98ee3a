//! Journals: what the registry knows, told to the shelves, so that it can be rebuilt from them.
//!
//! Each institution has its own, sealed to its key; the archive's own tells of accounts, shelves and
//! settings. A journal is *whole*, or tells what came *since* the one before: the events, and the rows
//! that they touched as they stand now. The whole one is written anew when as many events again have come.

use crate::archive::{now, random_id};
use crate::lines::Lines;
use crate::runner::Job;
use crate::{Archive, Error};
use serde_json::{Map, Value, json};
use strongroom_record::json::bytes::hex;
use strongroom_record::{InstitutionId, SegmentKind, WorkItem, WorkKind, WorkStatus};
use strongroom_registry::{ARCHIVE_NAME, Batch, EventsOf, Finish, Journal, RowsOf, TABLES, Table};
use strongroom_vault::Head;

/// What a part says first of itself.
pub(crate) const PART: &str = "journal";
/// What a head says.
pub(crate) const HEAD: &str = "journal head";
/// Rows and events that are asked of the registry at once.
const PAGE: u32 = 1000;
/// A journal is whole where the last whole one lies further back than this, and than its own events.
const EVENTS_SINCE_MIN: u64 = 1000;
/// Times that a journal is written anew because another was kept meanwhile.
const ATTEMPTS: u32 = 5;
/// Bytes of a text that stand in its row's line; longer ones go on in lines of their own, in pieces of
/// this size, so that no line passes its bound however it is escaped.
const TEXT_BYTES: usize = 128 << 10;

impl Archive {
    /// Queues a journal of each institution of which something was not told to the shelves yet, and of
    /// the archive where `shelves_changed` or it has events of its own.
    pub fn journals_due(&self) -> Result<Vec<WorkItem>, Error> {
        let registry = self.registry();
        let mut due = Vec::new();
        let mut institutions: Vec<_> =
            self.block_on(registry.institutions())?.into_iter().map(|i| i.id).collect();
        if let Some(archive) = self.block_on(registry.institution_by_name(ARCHIVE_NAME))? {
            institutions.push(archive.id);
        }
        for institution in institutions {
            let last = self.block_on(registry.last_journal(institution))?;
            let head = self.block_on(registry.event_head(institution))?;
            let epoch = self.epoch();
            let told = last.is_some_and(|l| l.last_event >= head.sequence && l.number.0 == epoch);
            let told = told && self.whole_survives(institution)?;
            if !told && head.sequence > 0 {
                let key = Some(institution.to_string());
                let request = json!({});
                due.push(self.queue(WorkKind::Journal, institution, None, key, &request)?);
            }
        }
        Ok(due)
    }
}

impl Archive {
    /// Whether the last whole journal survives as many losses as what is stored now does.
    fn whole_survives(&self, institution: InstitutionId) -> Result<bool, Error> {
        let registry = self.registry();
        let Some(whole) = self.block_on(registry.last_whole_journal(institution))? else {
            return Ok(false);
        };
        let kept = self.block_on(registry.segment(whole.head))?.map(|segment| segment.coding);
        let wanted = self.coding_of(None, institution)?;
        Ok(kept.is_some_and(|kept| kept.n() - kept.k() >= wanted.n() - wanted.k()))
    }
}

/// The work of an item of kind `journal`.
pub(crate) fn run(job: &Job<'_>) -> Result<(), Error> {
    let registry = job.archive.registry();
    job.archive.block_on(registry.give_up_stale_segments(&job.lease()))?;
    let journal = keep(job)?;
    let note = format!("journal {} up to event {}", journal.number.1, journal.last_event);
    let report = json!({
        "outcome": "kept",
        "number": [journal.number.0.to_string(), journal.number.1.to_string()],
        "whole": journal.whole,
        "last_event": journal.last_event.to_string(),
    });
    job.commit(Batch {
        note: Some(note),
        finish: Some(Finish { status: WorkStatus::Succeeded, report }),
        ..Batch::default()
    })?;
    Ok(())
}

/// Stores a journal of the institution of `job`, and commits it: from then on the tombstones that it
/// tells of may be acted upon.
pub(crate) fn keep(job: &Job<'_>) -> Result<Journal, Error> {
    let mut attempt = 1;
    let journal = loop {
        match write(job) {
            Err(Error::Registry(strongroom_registry::Error::JournalSuperseded { .. }))
                if attempt < ATTEMPTS =>
            {
                attempt += 1;
            }
            other => break other?,
        }
    };
    tell_shelves(job, &journal)?;
    Ok(journal)
}

fn write(job: &Job<'_>) -> Result<Journal, Error> {
    let (archive, institution) = (job.archive, job.item.institution);
    let registry = archive.registry();
    let missing = || Error::NotFound { what: "institution", name: institution.to_string() };
    let row = archive.block_on(registry.institution(institution))?.ok_or_else(missing)?;
    let last = archive.block_on(registry.last_journal(institution))?;
    let whole_before = archive.block_on(registry.last_whole_journal(institution))?;
    // What is read after this may be newer: then the next journal says it again.
    let head = archive.block_on(registry.event_head(institution))?;
    let number = archive.block_on(registry.next_journal())?;
    let since = whole_before.filter(|w| w.number.0 == number.0).map(|w| w.last_event);
    let far = |w: u64| head.sequence - w.min(head.sequence) > w.max(EVENTS_SINCE_MIN);
    let whole = since.is_none_or(far) || !archive.whole_survives(institution)?;
    let first_event = match (&last, whole) {
        (Some(last), false) => last.last_event + 1,
        _ => 1,
    };
    let id = random_id();
    let about = json!({
        "format": 1,
        "institution": institution,
        "institution_name": row.name,
        "journal": hex(&id),
        "number": [number.0.to_string(), number.1.to_string()],
        "kind": if whole { "whole" } else { "since" },
        "first_event": first_event.to_string(),
        "last_event": head.sequence.to_string(),
        "before": last.as_ref().map(|last| hex(&last.id)),
        "before_sha256": last.as_ref().map(|last| last.head_sha256),
    });
    let mut lines = Lines::new(job, SegmentKind::Journal, None, PART, about)?;
    let of = RowsOf { institution, whole, first_event, last_event: head.sequence };
    for table in TABLES.iter().filter(|table| !table.of_archive || row.name == ARCHIVE_NAME) {
        job.stop.check()?;
        rows(archive, &mut lines, table, of)?;
    }
    let mut after = first_event - 1;
    while after < head.sequence {
        job.stop.check()?;
        let page = registry.events(EventsOf::Institution(institution), after, PAGE);
        let page = archive.block_on(page)?;
        let Some(end) = page.last() else { break };
        after = end.sequence;
        for event in page.iter().filter(|event| event.sequence <= head.sequence) {
            let (hash, event) = (event.hash, event.to_json());
            lines.line(&json!({"line": "event", "event": event, "sha256": hash}))?;
        }
    }
    let (segment, sha256) = lines.finish(HEAD, |line| {
        line["event_hash"] = head.hash.to_string().into();
    })?;
    fail::fail_point!("journal.stored");
    let journal = Journal {
        id,
        institution,
        number,
        whole,
        first_event,
        last_event: head.sequence,
        before: last.map(|last| last.id),
        head: segment,
        head_sha256: sha256,
        created: now(),
    };
    job.commit(Batch { journal: Some(journal.clone()), ..Batch::default() })?;
    fail::fail_point!("journal.kept");
    Ok(journal)
}

/// The rows of a table, each a line, its long texts in further ones.
fn rows(archive: &Archive, lines: &mut Lines<'_>, table: &Table, of: RowsOf) -> Result<(), Error> {
    let mut after = Vec::new();
    loop {
        let page = archive.registry().journal_rows(table, of, &after, PAGE);
        let page = archive.block_on(page)?;
        let Some((last, _)) = page.last() else { return Ok(()) };
        after = last.clone();
        for (_, mut columns) in page {
            let long = take_long(&mut columns);
            lines.line(&json!({"line": "row", "table": table.name, "row": columns}))?;
            for (column, text) in long {
                for piece in pieces(&text) {
                    lines.line(&json!({"line": "more", "column": column, "text": piece}))?;
                }
            }
        }
    }
}

fn take_long(columns: &mut Map<String, Value>) -> Vec<(String, String)> {
    let is_long = |value: &Value| value.as_str().is_some_and(|text| text.len() > TEXT_BYTES);
    let names: Vec<String> =
        columns.iter().filter(|(_, v)| is_long(v)).map(|(name, _)| name.clone()).collect();
    let take = |name: String| match columns.insert(name.clone(), "".into()) {
        Some(Value::String(text)) => Some((name, text)),
        _ => None,
    };
    names.into_iter().filter_map(take).collect()
}

fn pieces(mut text: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let end = text.floor_char_boundary(TEXT_BYTES);
        let (piece, rest) = text.split_at(end);
        text = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Notes on each shelf how far the journals have come. It is only a hint, by which an older registry is
/// known at once, so a shelf that cannot be told is passed over.
fn tell_shelves(job: &Job<'_>, journal: &Journal) -> Result<(), Error> {
    let registry = job.archive.registry();
    let events = registry.events(
        EventsOf::Institution(journal.institution),
        journal.last_event.saturating_sub(1),
        1,
    );
    let events = job.archive.block_on(events)?;
    let Some(last) = events.first() else { return Ok(()) };
    let head = Head {
        institution: journal.institution,
        epoch: journal.number.0,
        number: journal.number.1,
        event: journal.last_event,
        hash: last.hash,
    };
    for shelf in job.archive.vault().shelves().iter().filter(|shelf| !shelf.spec().read_only) {
        if let Err(error) = shelf.set_head(&head) {
            tracing::warn!(shelf = shelf.spec().name, %error, "shelf not told of the journal");
        }
    }
    Ok(())
}

/// Why a registry is older than what a shelf tells of it; `None` where it is not.
pub(crate) fn behind(
    heads: &[(String, Head)],
    known: impl Fn(InstitutionId) -> Result<Option<Journal>, Error>,
) -> Result<Option<String>, Error> {
    for (shelf, head) in heads {
        let last = known(head.institution)?.map_or((0, 0), |last| last.number);
        if last < (head.epoch, head.number) {
            return Ok(Some(format!(
                "shelf `{shelf}` was told of journal {} of epoch {} (up to event {}), and this registry \
                 knows of {} of epoch {}",
                head.number, head.epoch, head.event, last.1, last.0
            )));
        }
    }
    Ok(None)
}
