//! Versions, from their records.

use super::read::{Journals, Named, pair, parts};
use super::{Rebuild, Rebuilt};
use crate::Error;
use crate::archive::random_id;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use strongroom_record::json::Reading;
use strongroom_record::{
    Event, FileRecord, InstitutionId, Merkle, MerkleRoot, ObjectId, SegmentId, SegmentKind, Sha256,
    Time, VersionId, WorkId, extents_from_json,
};
use strongroom_registry::{FoundVersion, ROWS_MAX, Version, VersionState};

/// To what a segment belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owner {
    pub(super) object: ObjectId,
    pub(super) version: VersionId,
}

/// The versions that came back.
#[derive(Default)]
pub(super) struct Versions {
    /// The segments that they need, records too.
    pub(super) segments: HashMap<SegmentId, Owner>,
}

/// A record's head, read.
pub(super) struct Head {
    pub(super) institution: InstitutionId,
    pub(super) object: ObjectId,
    object_name: String,
    pub(super) version: VersionId,
    number: u32,
    revision: (u32, u64),
    bag: bool,
    root: MerkleRoot,
    parts: Vec<(SegmentId, Sha256)>,
    pub(super) segment: SegmentId,
    sha256: Sha256,
    serial: [u8; 16],
    until: u64,
}

impl Rebuild<'_> {
    /// Takes each version in that was not deleted, from the best of its records.
    pub(super) fn records(
        &mut self,
        journals: &Journals,
        versions: &mut Versions,
    ) -> Result<(), Error> {
        let mut of_version: BTreeMap<(InstitutionId, ObjectId, u32, VersionId), Vec<Head>> =
            BTreeMap::new();
        for head in self.record_heads()? {
            if !self.is_dead(&head, journals)? {
                let key = (head.institution, head.object, head.number, head.version);
                of_version.entry(key).or_default().push(head);
            }
        }
        let mut later: BTreeMap<InstitutionId, BTreeMap<u64, Event>> = BTreeMap::new();
        for ((.., id), mut heads) in of_version {
            let named = journals.named.get(&id).map(Vec::as_slice).unwrap_or_default();
            let name_of = |head: &Head| {
                let is = |n: &&Named| {
                    (n.head, n.sha256, n.revision) == (head.segment, head.sha256, head.revision)
                };
                named.iter().find(is).copied()
            };
            // What an event names comes first, then the highest revision.
            heads.sort_by_key(|head| std::cmp::Reverse((name_of(head).is_some(), head.revision)));
            let mut taken = false;
            for head in &heads {
                let event = name_of(head);
                let revoked = journals.revoked.contains_key(&head.serial) && event.is_none();
                if taken || revoked {
                    self.report.remark(format!(
                        "record {} of {} version {}, revision {:?}, is passed over{}",
                        head.segment,
                        head.object_name,
                        head.number,
                        head.revision,
                        if revoked { ": its writer was revoked" } else { "" }
                    ));
                    continue;
                }
                match self.take_version_in(head, event, journals, versions, &mut later) {
                    Ok(()) => taken = true,
                    Err(Error::Interrupted) => return Err(Error::Interrupted),
                    Err(Error::Registry(error)) if !conflicts(&error) => return Err(error.into()),
                    Err(why) => self.report.remark(format!(
                        "record {} of {} version {}: {why}",
                        head.segment, head.object_name, head.number
                    )),
                }
            }
        }
        // What happened after the last journal stands in the records too, so far as it led to one.
        for (institution, events) in later {
            let events: Vec<Event> = events.into_values().take(ROWS_MAX).collect();
            self.runtime.block_on(self.registry.take_in_events(institution, &events))?;
        }
        for (object, version, number) in self.runtime.block_on(self.registry.unrecorded())? {
            let object = self.runtime.block_on(self.registry.object(object))?;
            let name = object.map_or_else(|| version.to_string(), |o| o.name.to_string());
            self.report.remark(format!(
                "version {number} of {name} is known, and its record is not on these shelves"
            ));
        }
        Ok(())
    }

    fn record_heads(&mut self) -> Result<Vec<Head>, Error> {
        let mut heads = Vec::new();
        let mut remarks = Vec::new();
        for (id, found) in &self.found {
            if found.kind != Some(SegmentKind::Record) {
                continue;
            }
            let Some((_, coding)) = found.readable() else {
                remarks.push(format!("segment {id}, of a record, has too few good shards"));
                continue;
            };
            let (serial, until) = (coding.serial, coding.until);
            match self.first_line(*id, found, crate::record::HEAD) {
                Ok(None) => {}
                Ok(Some((line, sha256))) => match head(&line, found.institution) {
                    Ok(head) => heads.push(Head { segment: *id, sha256, serial, until, ..head }),
                    Err(why) => remarks.push(format!("segment {id}: {why}")),
                },
                Err(Error::Interrupted) => return Err(Error::Interrupted),
                Err(why) => remarks.push(format!("segment {id}: {why}")),
            }
        }
        remarks.into_iter().for_each(|remark| self.report.remark(remark));
        Ok(heads)
    }

    fn take_version_in(
        &mut self,
        head: &Head,
        named: Option<Named>,
        journals: &Journals,
        versions: &mut Versions,
        later: &mut BTreeMap<InstitutionId, BTreeMap<u64, Event>>,
    ) -> Result<(), Error> {
        let owner = Owner { object: head.object, version: head.version };
        let mut segments: Vec<SegmentId> = head.parts.iter().map(|(id, _)| *id).collect();
        segments.push(head.segment);
        let known = self.runtime.block_on(self.registry.version(head.version))?;
        let found = FoundVersion {
            version: version(head, named, known),
            institution: head.institution,
            object_name: head.object_name.clone(),
            named: named.is_some(),
        };
        let begun = self.runtime.block_on(self.registry.take_in_version(&found))?;
        let end = self.runtime.block_on(self.registry.event_head(head.institution))?;
        let (mut merkle, mut bytes) = (Merkle::default(), 0u64);
        let mut files: Vec<FileRecord> = Vec::new();
        let mut last = Time(0);
        let mut count = 0;
        let mut erased: Vec<(u64, Sha256)> = Vec::new();
        let mut skipped = false;
        let dead = journals.dead(head.institution);
        let (runtime, registry) = (&self.runtime, &self.registry);
        self.each_line(head.institution, &head.parts, &mut |line| {
            match line["line"].as_str() {
                Some("file") => {
                    let file = FileRecord::from_json(line)?;
                    merkle.push(&file.leaf());
                    // It died after this record was stored.
                    skipped = dead.is_some_and(|d| d.files.contains(&(file.id, head.version)));
                    if skipped {
                        erased.push((file.number, file.leaf()));
                        return Ok(());
                    }
                    bytes = bytes.saturating_add(file.size);
                    segments.extend(file.extents.iter().map(|extent| extent.segment));
                    files.push(file);
                }
                Some("extents") if skipped => {}
                Some("extents") => {
                    let extents = extents_from_json(&Reading::new("further extents", line))?;
                    segments.extend(extents.iter().map(|extent| extent.segment));
                    if let Some(file) = files.last_mut() {
                        file.extents.extend(extents);
                    }
                }
                Some("deleted") => {
                    let line = Reading::new("a deleted file's line", line);
                    let leaf = line.parsed("leaf")?;
                    merkle.push(&leaf);
                    erased.push((line.parsed("number")?, leaf));
                }
                Some("event") => {
                    let hash = Reading::new("an event's line", line).parsed("sha256")?;
                    let event = Event::from_json(&line["event"], hash)?;
                    last = last.max(event.time);
                    if event.sequence > end.sequence {
                        let of = later.entry(head.institution).or_default();
                        of.insert(event.sequence, event);
                    }
                }
                _ => {}
            }
            segments.dedup();
            if files.len() >= ROWS_MAX {
                // The last one may have further extents.
                let keep = files.split_off(files.len() - 1);
                let ready = std::mem::replace(&mut files, keep);
                count += ready.len() as u64;
                if begun {
                    runtime.block_on(registry.take_in_files(head.version, &ready))?;
                }
            }
            Ok(())
        })?;
        count += files.len() as u64;
        if begun {
            runtime.block_on(registry.take_in_files(head.version, &files))?;
            for erased in erased.chunks(ROWS_MAX) {
                runtime.block_on(registry.take_in_deleted(head.version, erased))?;
            }
        }
        if merkle.root() != head.root {
            return Err(Error::Internal("its files are not those of which its head tells".into()));
        }
        if u64::try_from(last.0).is_ok_and(|last| last >= head.until) {
            return Err(Error::Internal(
                "it tells of a time at which its writer was no longer certified".into(),
            ));
        }
        if begun {
            let whole = runtime.block_on(registry.take_in_published(head.version, count, bytes));
            whole?;
            count_in(&mut self.report, count);
            self.progress.done(count, bytes);
        }
        versions.segments.extend(segments.into_iter().map(|id| (id, owner)));
        Ok(())
    }
}

fn count_in(report: &mut Rebuilt, files: u64) {
    report.versions += 1;
    report.files += files;
}

/// The version's row: as a journal told of it, where one did.
fn version(head: &Head, named: Option<Named>, known: Option<Version>) -> Version {
    let fallback = |named: Option<Named>| Version {
        id: head.version,
        object: head.object,
        number: head.number,
        state: VersionState::Rebuilding,
        work: named.and_then(|named| named.work).unwrap_or_else(|| WorkId(random_id())),
        source: String::new(),
        bag: head.bag,
        files: 0,
        bytes: 0,
        revision: head.revision,
        record: None,
        record_sha256: None,
        created: named.map_or(Time(0), |named| named.time),
        published: Some(named.map_or(Time(0), |named| named.time)),
        detail: serde_json::json!({}),
    };
    Version {
        revision: head.revision,
        record: Some(head.segment),
        record_sha256: Some(head.sha256),
        ..known.unwrap_or_else(|| fallback(named))
    }
}

fn conflicts(error: &strongroom_registry::Error) -> bool {
    matches!(error, strongroom_registry::Error::Conflict { .. })
}

pub(super) fn head(line: &Value, institution: InstitutionId) -> Result<Head, Error> {
    let head = Reading::new("a record's head", line);
    if head.number::<u64>("format")? != 1 {
        return Err(head.wrong("format").into());
    }
    if head.parsed::<InstitutionId>("institution")? != institution {
        return Err(head.wrong("institution").into());
    }
    let deleted = match line.get("deleted") {
        Some(_) => head.parsed("deleted")?,
        None => 0,
    };
    let bag = head.field("bag")?.as_bool().ok_or(head.wrong("bag"))?;
    Ok(Head {
        institution,
        object: head.parsed("object")?,
        object_name: head.text("object_name")?.into(),
        version: head.parsed("version")?,
        number: head.number("number")?,
        revision: pair(&head, "revision")?,
        bag,
        root: MerkleRoot {
            count: head.parsed::<u64>("files")?.saturating_add(deleted),
            root: head.parsed("files_root")?,
        },
        parts: parts(&head)?,
        segment: SegmentId([0; 16]),
        sha256: Sha256([0; 32]),
        serial: [0; 16],
        until: 0,
    })
}
