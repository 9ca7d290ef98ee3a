//! Reading lines of journals and records from segments, and taking journals in.

use super::{Found, Rebuild};
use crate::Error;
use crate::archive::random_id;
use crate::lines::LINE_BYTES_MAX;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::json::Reading;
use strongroom_record::json::bytes::unhex;
use strongroom_record::{
    Event, InstitutionId, SegmentId, SegmentKind, Sha256, Time, VersionId, WorkId,
};
use strongroom_registry::{Dead, Existing, Journal, ROWS_MAX, Row};

/// A record that an event names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) revision: (u32, u64),
    pub(super) head: SegmentId,
    pub(super) sha256: Sha256,
    pub(super) work: Option<WorkId>,
    pub(super) time: Time,
}

/// What the journals told.
#[derive(Default)]
pub(super) struct Journals {
    /// The segments in which believed journals stand.
    pub(super) segments: HashSet<SegmentId>,
    /// The records of each version that events name.
    pub(super) named: HashMap<VersionId, Vec<Named>>,
    /// Serials that are revoked, with the last journal that is believed.
    pub(super) revoked: HashMap<[u8; 16], (u32, u64)>,
    /// What was deleted.
    dead: HashMap<InstitutionId, Dead>,
    /// Whether any of them is newer than what the registry knew.
    pub(super) newer: bool,
    /// The highest epoch that was seen.
    pub(super) epoch: u32,
    /// The last event of which any journal's head tells, by institution.
    pub(super) beyond: HashMap<InstitutionId, u64>,
}

impl Journals {
    pub(super) fn dead(&self, institution: InstitutionId) -> Option<&Dead> {
        self.dead.get(&institution)
    }

    /// Remembers the record that an event names, if it does.
    pub(super) fn note(&mut self, event: &Event) {
        let detail = &event.draft.detail;
        let one = std::iter::once((event.draft.version, detail));
        let many = detail["records"].as_array().map(Vec::as_slice).unwrap_or_default();
        let many = many.iter().map(|d| {
            (d["version"].as_str().and_then(|text| text.parse().ok()).or(event.draft.version), d)
        });
        for (version, detail) in one.chain(many) {
            let text = |field: &str| detail[field].as_str();
            let revision = |i: usize| {
                let part = &detail["revision"][i];
                part.as_u64().or_else(|| part.as_str()?.parse().ok())
            };
            let named = || {
                Some(Named {
                    revision: (u32::try_from(revision(0)?).ok()?, revision(1)?),
                    head: text("record")?.parse().ok()?,
                    sha256: text("record_sha256")?.parse().ok()?,
                    work: event.draft.work,
                    time: event.time,
                })
            };
            if let (Some(version), Some(named)) = (version, named()) {
                self.named.entry(version).or_default().push(named);
            }
        }
    }
}

/// A bug that a campaign must find: what tells of the dead is passed over.
fn planted(_table: &str) -> bool {
    fail::fail_point!("planted.raise-dead", |_| {
        matches!(_table, "tombstones" | "objects" | "versions" | "deleted_files")
    });
    false
}

/// A journal's head, read.
struct Head {
    journal: Journal,
    parts: Vec<(SegmentId, Sha256)>,
    serial: [u8; 16],
    until: u64,
}

impl Rebuild<'_> {
    /// Takes in all journals that are whole and believed, in the order of their numbers.
    pub(super) fn journals(&mut self) -> Result<Journals, Error> {
        let mut journals = Journals::default();
        for found in self.found.values() {
            let epoch = found.codings.keys().map(|number| number.epoch).max().unwrap_or(0);
            journals.epoch = journals.epoch.max(epoch);
        }
        let mut heads = self.heads()?;
        heads.sort_by_key(|head| (head.journal.institution, head.journal.number));
        for head in &heads {
            journals.epoch = journals.epoch.max(head.journal.number.0);
            let beyond = journals.beyond.entry(head.journal.institution).or_default();
            *beyond = (*beyond).max(head.journal.last_event);
        }
        self.revocations(&heads, &mut journals)?;
        // Those before a whole one are released: some may be reclaimed, and none is missed.
        let wholes = heads.iter().filter(|head| head.journal.whole);
        let wholes: HashMap<_, _> =
            wholes.map(|head| (head.journal.institution, head.journal.number)).collect();
        let mut before: Option<(InstitutionId, [u8; 16])> = None;
        for head in &heads {
            self.stop.check()?;
            let journal = &head.journal;
            if !believed(&journals, head.serial, journal.number) {
                self.report.remark(format!(
                    "journal {:?} of {} is signed by a writer who was revoked before",
                    journal.number, journal.institution
                ));
                continue;
            }
            let known = self.runtime.block_on(self.registry.last_journal(journal.institution))?;
            let newer = known.is_none_or(|known| known.number < journal.number);
            let follows = wholes.get(&journal.institution) >= Some(&journal.number)
                || before == journal.before.map(|id| (journal.institution, id))
                || !newer;
            if !follows {
                self.report.remark(format!(
                    "the journal before {:?} of {} is not on these shelves",
                    journal.number, journal.institution
                ));
            }
            before = Some((journal.institution, journal.id));
            journals.newer |= newer;
            self.take_in(head, newer, &mut journals)?;
        }
        let institutions: Vec<_> = self.secrets.keys().copied().collect();
        for institution in institutions {
            let dead = self.runtime.block_on(self.registry.dead(institution))?;
            journals.dead.insert(institution, dead);
        }
        Ok(journals)
    }

    /// The heads of journals, of all institutions.
    fn heads(&mut self) -> Result<Vec<Head>, Error> {
        let mut heads = Vec::new();
        let mut remarks = Vec::new();
        for (id, found) in &self.found {
            if found.kind != Some(SegmentKind::Journal) {
                continue;
            }
            let Some((_, coding)) = found.readable() else { continue };
            let (serial, until) = (coding.serial, coding.until);
            match self.first_line(*id, found, crate::journal::HEAD) {
                Ok(None) => {}
                Ok(Some((line, sha256))) => match head(&line, *id, sha256, found.institution) {
                    Ok((journal, parts)) => heads.push(Head { journal, parts, serial, until }),
                    Err(why) => remarks.push(format!("segment {id}: {why}")),
                },
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(why) => remarks.push(format!("segment {id}: {why}")),
            }
        }
        remarks.into_iter().for_each(|remark| self.report.remark(remark));
        Ok(heads)
    }

    /// Reads what is revoked before anything is believed.
    fn revocations(&mut self, heads: &[Head], journals: &mut Journals) -> Result<(), Error> {
        // In order: whoever is revoked by an earlier journal revokes nobody in a later one.
        for head in heads {
            if !believed(journals, head.serial, head.journal.number) {
                continue;
            }
            let mut revoked = Vec::new();
            let read = self.each_line(head.journal.institution, &head.parts, &mut |line| {
                if line["line"] == "row" && line["table"] == "revocations" {
                    let row = &line["row"];
                    let number = |field: &str| row[field].as_str()?.parse::<u64>().ok();
                    let serial = row["serial"].as_str().and_then(unhex);
                    if let (Some(serial), Some(epoch), Some(last)) = (
                        serial.and_then(|s| <[u8; 16]>::try_from(s).ok()),
                        number("last_epoch").and_then(|n| u32::try_from(n).ok()),
                        number("last_journal"),
                    ) {
                        revoked.push((serial, (epoch, last)));
                    }
                }
                Ok(())
            });
            match read {
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                // A journal that is not whole is passed over, and told of, when it is taken in.
                Err(_) => {}
                Ok(()) => journals.revoked.extend(revoked),
            }
        }
        Ok(())
    }

    /// Takes one journal in, if it is whole.
    fn take_in(&mut self, head: &Head, newer: bool, journals: &mut Journals) -> Result<(), Error> {
        let Head { journal, parts, until, .. } = head;
        let institution = journal.institution;
        // Read once to see that it is whole, for nothing of half a journal is believed.
        let mut last = Time(0);
        let whole = self.each_line(institution, parts, &mut |line| {
            if line["line"] == "event"
                && let Ok(time) = Reading::new("an event", &line["event"]).parsed("time")
            {
                last = last.max(time);
            }
            Ok(())
        });
        let late = u64::try_from(last.0).is_ok_and(|last| last >= *until);
        match whole {
            Err(Error::Interrupted) => return Err(Error::Interrupted),
            Err(why) => {
                self.report.remark(format!("journal {:?} of {institution}: {why}", journal.number));
                return Ok(());
            }
            Ok(()) if late => {
                self.report.remark(format!(
                    "journal {:?} of {institution} tells of a time at which its writer was no longer certified",
                    journal.number
                ));
                return Ok(());
            }
            Ok(()) => {}
        }
        let existing = if newer { Existing::Replaced } else { Existing::Kept };
        let (mut rows, mut events) = (Vec::<Row>::new(), Vec::<Event>::new());
        let mut passed_over = 0;
        let (runtime, registry) = (&self.runtime, &self.registry);
        let mut flush = |rows: &mut Vec<Row>, events: &mut Vec<Event>, all: bool| {
            // The last row may go on in further lines.
            let keep = if all { 0 } else { 1 };
            let ready: Vec<_> = rows.drain(..rows.len().saturating_sub(keep)).collect();
            let left = runtime.block_on(registry.take_in_rows(ready, existing))?;
            passed_over += left.len();
            runtime.block_on(registry.take_in_events(institution, events))?;
            events.clear();
            Ok::<_, Error>(())
        };
        self.each_line(institution, parts, &mut |line| {
            match line["line"].as_str() {
                Some("row") => {
                    if let (Some(table), Some(columns)) =
                        (line["table"].as_str(), line["row"].as_object())
                        && !planted(table)
                    {
                        rows.push(Row { table: table.into(), columns: columns.clone() });
                    }
                }
                Some("more") => more(rows.last_mut(), line),
                Some("event") => {
                    let hash = Reading::new("an event's line", line).parsed("sha256")?;
                    let event = Event::from_json(&line["event"], hash)?;
                    journals.note(&event);
                    events.push(event);
                }
                _ => {}
            }
            match rows.len() >= ROWS_MAX || events.len() >= ROWS_MAX {
                true => flush(&mut rows, &mut events, false),
                false => Ok(()),
            }
        })?;
        flush(&mut rows, &mut events, true)?;
        if passed_over > 0 {
            let number = journal.number;
            self.report.remark(format!(
                "journal {number:?} of {institution}: {passed_over} rows cannot stand beside what is known"
            ));
        }
        self.runtime.block_on(self.registry.take_in_journal(journal))?;
        journals.segments.insert(journal.head);
        journals.segments.extend(parts.iter().map(|(id, _)| *id));
        Ok(())
    }

    /// The first line of a segment where it says that it is `what`, with the SHA-256 of the whole
    /// plaintext, which for a head is that line.
    pub(super) fn first_line(
        &self,
        id: SegmentId,
        found: &Found,
        what: &str,
    ) -> Result<Option<(Value, Sha256)>, Error> {
        self.stop.check()?;
        let mut text = Vec::new();
        self.plaintext(id, found, LINE_BYTES_MAX as u64, &mut |piece| {
            text.extend_from_slice(piece);
            Ok(())
        })?;
        let end = text.iter().position(|byte| *byte == b'\n');
        let wrong = || Error::Internal("it does not begin with a line of JSON".into());
        let line: Value =
            serde_json::from_slice(&text[..end.ok_or_else(wrong)?]).map_err(|_| wrong())?;
        match line["strongroom"] == what {
            true => Ok(Some((line, Sha256::of(&text)))),
            false => Ok(None),
        }
    }

    /// Each line of the parts but their first, which says what they are. An error also where a part is
    /// missing or is another than its head names; lines may have been given by then.
    pub(super) fn each_line(
        &self,
        institution: InstitutionId,
        parts: &[(SegmentId, Sha256)],
        sink: &mut dyn FnMut(&Value) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for (id, expected) in parts {
            self.stop.check()?;
            let wrong = |why: &str| Error::Internal(format!("its part {id} {why}"));
            let found = self.found.get(id).filter(|found| found.institution == institution);
            let found = found.ok_or_else(|| wrong("is not on these shelves"))?;
            let mut hasher = Hasher::new(Algorithm::Sha256);
            let mut rest: Vec<u8> = Vec::new();
            let mut first = true;
            self.plaintext(*id, found, u64::MAX, &mut |mut piece| {
                hasher.update(piece);
                while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
                    let (line, later) = piece.split_at(end);
                    rest.extend_from_slice(line);
                    piece = &later[1..];
                    if !std::mem::take(&mut first) {
                        let value = serde_json::from_slice(&rest)
                            .map_err(|_| wrong("has a line that is no JSON"))?;
                        sink(&value)?;
                    }
                    rest.clear();
                }
                rest.extend_from_slice(piece);
                match rest.len() <= LINE_BYTES_MAX {
                    true => Ok(()),
                    false => Err(wrong("has a line that is too long")),
                }
            })?;
            if hasher.finish().as_bytes() != expected.0 {
                return Err(wrong("is another than its head names"));
            }
        }
        Ok(())
    }

    /// The first `bytes_max` bytes of a segment.
    fn plaintext(
        &self,
        id: SegmentId,
        found: &Found,
        bytes_max: u64,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let (_, coding) = found
            .readable()
            .ok_or_else(|| Error::Internal("it has too few good shards on these shelves".into()))?;
        let keys = &self.secrets[&found.institution];
        let mut reader = self.vault.reader(id, &coding.placements, keys)?;
        reader.read::<Error>(0..found.bytes.min(bytes_max), sink)
    }
}

/// Whether a writer is believed in a journal of this number.
fn believed(journals: &Journals, serial: [u8; 16], number: (u32, u64)) -> bool {
    journals.revoked.get(&serial).is_none_or(|last| number <= *last)
}

/// A further piece of the text of the row before.
fn more(row: Option<&mut Row>, line: &Value) {
    let (Some(row), Some(column), Some(piece)) =
        (row, line["column"].as_str(), line["text"].as_str())
    else {
        return;
    };
    if let Some(Value::String(text)) = row.columns.get_mut(column)
        && text.len() + piece.len() <= strongroom_registry::JSON_BYTES_MAX
    {
        text.push_str(piece);
    }
}

/// A journal, as its head tells of it.
pub(super) fn head(
    line: &Value,
    segment: SegmentId,
    sha256: Sha256,
    institution: InstitutionId,
) -> Result<(Journal, Vec<(SegmentId, Sha256)>), Error> {
    let head = Reading::new("a journal's head", line);
    if head.number::<u64>("format")? != 1 {
        return Err(head.wrong("format").into());
    }
    if head.parsed::<InstitutionId>("institution")? != institution {
        return Err(head.wrong("institution").into());
    }
    let id = |field| -> Result<Option<[u8; 16]>, Error> {
        match line.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => {
                let bytes = unhex(head.text(field)?).and_then(|bytes| bytes.try_into().ok());
                Ok(Some(bytes.ok_or(head.wrong(field))?))
            }
        }
    };
    let journal = Journal {
        id: id("journal")?.unwrap_or_else(random_id),
        institution,
        number: pair(&head, "number")?,
        whole: head.text("kind")? == "whole",
        first_event: head.parsed("first_event")?,
        last_event: head.parsed("last_event")?,
        before: id("before")?,
        head: segment,
        head_sha256: sha256,
        created: Time(0),
    };
    Ok((journal, parts(&head)?))
}

/// An `[epoch, number]` of decimal strings.
pub(super) fn pair(line: &Reading<'_>, field: &'static str) -> Result<(u32, u64), Error> {
    let pair = line.array(field)?;
    let part = |i: usize| pair.get(i).and_then(Value::as_str);
    let read = || Some((part(0)?.parse().ok()?, part(1)?.parse().ok()?));
    Ok(read().ok_or(line.wrong(field))?)
}

/// The parts that a head lists.
pub(super) fn parts(head: &Reading<'_>) -> Result<Vec<(SegmentId, Sha256)>, Error> {
    let one = |part: &Value| {
        let text = |i: usize| part.get(i).and_then(Value::as_str);
        Some((text(0)?.parse().ok()?, text(1)?.parse().ok()?))
    };
    let wrong = || Error::from(head.wrong("parts"));
    head.array("parts")?.iter().map(|part| one(part).ok_or_else(wrong)).collect()
}
