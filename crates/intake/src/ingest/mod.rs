//! A deposit, from its source to a published version: the stages, and what stands between them.

mod bagging;
mod format;
mod known;
mod pack;
mod plan;
mod read;

use crate::archive::random_id;
use crate::record::Subject;
use crate::restore::Reader;
use crate::runner::Job;
use crate::source::{Kind, Position, Source, Stream};
use crate::{Deposit, Error};
use known::Before;
use pack::{Checkpoint, Pack, Phase};
use plan::{Plan, Unseen, Way};
use serde_json::json;
use std::os::unix::ffi::OsStrExt as _;
use strongroom_bag::{Problem, rules};
use strongroom_digest::{Algorithm, Digest, MultiHasher};
use strongroom_record::{
    EventDraft, EventKind, FileKind, FileRecord, MerkleRoot, ObjectId, ObjectName, Outcome, Stage,
    VersionId, WorkStatus,
};
use strongroom_registry::{Batch, Finish, NewDraft, Publish, Registry, Version};

/// Files that are read from the registry at once.
pub(crate) const PAGE: u32 = 1000;

/// Warnings that a report names; the count is always told.
const WARNINGS_MAX: usize = 100;

/// Does what is left of a deposit.
pub(crate) fn run(job: &Job<'_>) -> Result<(), Error> {
    let request: Deposit = job.request()?;
    let object = job.item.object.ok_or_else(|| Error::Internal("a deposit of no object".into()))?;
    let name: ObjectName = request.object.parse()?;
    tell(job, &name, Stage::Inspect);
    let source = Source::open(&request.source)?;
    let registry = job.archive.registry();
    let draft = job.archive.block_on(registry.draft(object))?;
    let draft = draft.filter(|draft| draft.work == job.item.id);
    let mut checkpoint = match &draft {
        Some(_) => Checkpoint::read(&job.item.checkpoint)?,
        None => Checkpoint::default(),
    };
    // Of one that is read in one pass, the plan follows from that pass.
    let mut plan = match source.in_one_pass() && checkpoint.phase == Phase::Payload {
        true => None,
        false => Some(Plan::of(&source, job)?),
    };
    fail::fail_point!("deposit.planned");
    let version = match draft {
        Some(draft) => draft.id,
        None => begin(job, &request, object, &source, plan.as_ref(), &mut checkpoint)?,
    };
    fail::fail_point!("deposit.begun");
    if checkpoint.pin != source.pin()? {
        let what = "it is another file than when the work was begun".into();
        return Err(Error::Changed { path: source.path().to_owned(), what });
    }
    if let (Source::Folder(_), Some(plan)) = (&source, &plan)
        && checkpoint.next_number > 0
    {
        unmoved(job, version, &source, plan, &checkpoint)?;
    }
    let latest = job.archive.block_on(registry.latest(object))?;
    if checkpoint.phase == Phase::Payload {
        tell(job, &name, Stage::Store);
        let pack = Pack::new(job, version, object, &request, latest.as_ref(), &checkpoint)?;
        let next = match &plan {
            Some(plan) => {
                job.progress.total(plan.files, plan.bytes);
                let mut from = checkpoint.position.clone();
                from.entries += planted(&from);
                let stream = source.stream(&from)?;
                checkpoint = pack.run(stream, Way::Planned(plan), plan.algorithms())?.0;
                Phase::Made
            }
            None => {
                let stream = source.stream(&Position::default())?;
                let algorithms = Unseen::ALGORITHMS.to_vec();
                (checkpoint, plan) = pack.run(stream, Way::OnePass(&source), algorithms)?;
                Phase::Place
            }
        };
        fail::fail_point!("deposit.stored");
        checkpoint.begin(next);
    }
    let plan = plan.ok_or_else(|| Error::Internal("a source without a plan".into()))?;
    if checkpoint.phase == Phase::Place {
        place(job, version, &plan, latest.as_ref(), &mut checkpoint)?;
        checkpoint.begin(Phase::Made);
    }
    if checkpoint.position == Position::default() {
        if same_as_before(job, &checkpoint, latest.as_ref())? {
            return unchanged(job, object, latest.as_ref());
        }
        let stage = Some(Stage::Validate);
        let (checkpoint, bag) = (Some(checkpoint.write()?), Some(plan.bag));
        job.commit(Batch { stage, checkpoint, bag, ..Batch::default() })?;
    }
    tell(job, &name, Stage::Validate);
    let mut warnings = plan.warnings.clone();
    if plan.bag {
        warnings.extend(validate(job, version, &plan)?);
    } else {
        let made = bagging::tag_files(job, version, &checkpoint)?;
        let stream = Stream::made(made, checkpoint.position.entries);
        let pack = Pack::new(job, version, object, &request, None, &checkpoint)?;
        checkpoint = pack.run(stream, Way::Made, vec![Algorithm::Sha256])?.0;
    }
    fail::fail_point!("deposit.validated");
    tell(job, &name, Stage::Record);
    publish(job, &name, version, &plan, checkpoint, &warnings)
}

/// Another bug that the kill campaign may ask for: going on one entry too late.
fn planted(from: &Position) -> u64 {
    fail::fail_point!("planted.position", |_| u64::from(from.entries > 0));
    let _ = from;
    0
}

/// Compares what an earlier run read of a folder with what stands there now: a position is a count of
/// entries, so one more or less before it would move all that follow.
fn unmoved(
    job: &Job<'_>,
    version: VersionId,
    source: &Source,
    plan: &Plan,
    checkpoint: &Checkpoint,
) -> Result<(), Error> {
    let changed = |place: &[u8]| {
        let path = place.strip_prefix(b"data/").filter(|_| !plan.bag).unwrap_or(place);
        let path = source.path().join(std::ffi::OsStr::from_bytes(path));
        let what = "it is not what it was when the work was begun".into();
        Error::Changed { path, what }
    };
    let entries = match checkpoint.phase {
        Phase::Payload => checkpoint.position.entries,
        _ => u64::MAX,
    };
    let mut stream = source.stream(&Position::default())?;
    let mut next = || {
        while stream.position().entries < entries
            && let Some(entry) = stream.next()?
        {
            if let Some(place) = plan.place(&entry) {
                return Ok(Some((entry, place)));
            }
        }
        Ok::<_, Error>(None)
    };
    each_file(job, version, &mut |file| {
        if file.made {
            return Ok(());
        }
        let (entry, place) = next()?.ok_or_else(|| changed(&file.path))?;
        let target = match &entry.kind {
            Kind::Symlink(target) => Some(target),
            _ => None,
        };
        let same = (&place, entry.size, entry.mtime_ns, entry.mode, target)
            == (&file.path, file.size, file.mtime_ns, file.mode, file.target.as_ref())
            && (entry.kind == Kind::EmptyFolder) == (file.kind == FileKind::EmptyFolder);
        // Of two paths that should be one, the lesser is there no longer, or was not there.
        if same { Ok(()) } else { Err(changed((&place).min(&file.path))) }
    })?;
    match next()? {
        Some((_, place)) => Err(changed(&place)),
        None => Ok(()),
    }
}

/// Gives the files of a source that was read in one pass their places, the digests that its manifests
/// want and that were not computed, and, where nothing of them changed, the ids that they had.
fn place(
    job: &Job<'_>,
    version: VersionId,
    plan: &Plan,
    latest: Option<&Version>,
    checkpoint: &mut Checkpoint,
) -> Result<(), Error> {
    let registry = job.archive.registry();
    let wanted: Vec<_> =
        plan.algorithms().into_iter().filter(|a| *a != Algorithm::Sha256).collect();
    let mut before = Before::new(job.archive, latest.map(|v| v.id));
    let mut reader = None;
    loop {
        job.stop.check()?;
        let mut page = job.archive.block_on(registry.files(version, checkpoint.placed, PAGE))?;
        let Some(last) = page.last() else { return Ok(()) };
        checkpoint.placed = last.number + 1;
        for file in &mut page {
            if let Some(raw) = plan::unplaced(&file.path) {
                file.path = plan.place_path(raw);
            }
            if file.kind == FileKind::File {
                let known = |a: &Algorithm| file.digests.iter().any(|d| d.algorithm == a.name());
                let missing: Vec<_> = wanted.iter().copied().filter(|a| !known(a)).collect();
                file.digests.retain(|d| wanted.iter().any(|a| a.name() == d.algorithm));
                if !missing.is_empty() {
                    let reader = match &mut reader {
                        Some(reader) => reader,
                        none => {
                            let secrets = job.archive.secrets(job.item.institution)?;
                            none.insert(Reader::new(job.archive, secrets))
                        }
                    };
                    let mut hasher = MultiHasher::new(&missing);
                    reader.read(file, &mut |bytes| {
                        hasher.update(bytes);
                        Ok(())
                    })?;
                    file.digests.extend(hasher.finish().iter().map(pack::named));
                }
            }
            if let Some(before) = before.at(&file.path)?
                && before.same_as(file)
            {
                file.id = before.id;
                checkpoint.unchanged += 1;
            }
        }
        let checkpoint = Some(checkpoint.write()?);
        job.commit(Batch { amend: page, checkpoint, ..Batch::default() })?;
        fail::fail_point!("deposit.placed");
    }
}

fn tell(job: &Job<'_>, name: &ObjectName, stage: Stage) {
    job.progress.stage(job.item.kind, &name.to_string(), stage);
}

/// Reserves room and registers the draft.
fn begin(
    job: &Job<'_>,
    request: &Deposit,
    object: ObjectId,
    source: &Source,
    plan: Option<&Plan>,
    checkpoint: &mut Checkpoint,
) -> Result<VersionId, Error> {
    let registry = job.archive.registry();
    let coding = job.archive.block_on(registry.coding_for(Some(object), job.item.institution))?;
    let used = job.archive.block_on(registry.shelf_bytes())?;
    let used = |id| used.iter().find(|(shelf, _)| *shelf == id).map_or(0, |(_, bytes)| *bytes);
    // Of a compressed source at least what it has now.
    let bytes = plan.map_or_else(|| source.bytes(), |plan| Ok(plan.bytes))?;
    job.archive.reserve_quota(job.item.institution, bytes)?;
    job.archive.vault().reserve(coding, bytes, used)?;
    checkpoint.pin = source.pin()?;
    let version = VersionId(random_id());
    let event = EventDraft {
        object: Some(object),
        version: Some(version),
        work: Some(job.item.id),
        detail: json!({
            "source": request.source_text(),
            "files": plan.map(|plan| plan.files.to_string()),
            "bytes": plan.map(|plan| plan.bytes.to_string()),
            "bag": plan.map(|plan| plan.bag),
        }),
        ..EventDraft::new(EventKind::Ingestion)
    };
    job.commit(Batch {
        begin_draft: Some(NewDraft {
            version,
            object,
            source: request.source_text(),
            bag: plan.is_some_and(|plan| plan.bag),
            detail: json!({}),
        }),
        stage: Some(Stage::Store),
        checkpoint: Some(checkpoint.write()?),
        events: vec![event],
        ..Batch::default()
    })?;
    Ok(version)
}

/// Whether each file of the source is in the last version, and no other.
fn same_as_before(
    job: &Job<'_>,
    checkpoint: &Checkpoint,
    latest: Option<&Version>,
) -> Result<bool, Error> {
    let Some(latest) = latest else { return Ok(false) };
    if checkpoint.unchanged != checkpoint.next_number {
        return Ok(false);
    }
    let mut deposited = 0;
    each_file(job, latest.id, &mut |file| {
        deposited += u64::from(!file.made);
        Ok(())
    })?;
    Ok(deposited == checkpoint.unchanged)
}

fn unchanged(job: &Job<'_>, object: ObjectId, latest: Option<&Version>) -> Result<(), Error> {
    let number = latest.map_or(0, |v| v.number);
    let event = EventDraft {
        object: Some(object),
        version: latest.map(|v| v.id),
        work: Some(job.item.id),
        detail: json!({"version": number}),
        ..EventDraft::new(EventKind::Unchanged)
    };
    let writing = job.archive.block_on(job.archive.registry().writing_segments(job.item.id))?;
    job.commit(Batch {
        abandon_draft: true,
        give_up: writing.iter().map(|s| s.id).collect(),
        events: vec![event],
        note: Some(format!("nothing changed since version {number}")),
        finish: Some(Finish {
            status: WorkStatus::Succeeded,
            report: json!({"outcome": "unchanged", "version": number}),
        }),
        ..Batch::default()
    })?;
    Ok(())
}

/// Compares every file of the draft with what the bag's tag files say.
fn validate(job: &Job<'_>, version: VersionId, plan: &Plan) -> Result<Vec<Problem>, Error> {
    let facts = plan.facts.as_ref().ok_or_else(|| Error::Internal("a bag of no facts".into()))?;
    let mut checker = rules::Checker::new(facts);
    if plan.payload_folder {
        checker.folder(b"data");
    }
    let mut links = Vec::new();
    each_file(job, version, &mut |file| {
        match file.kind {
            FileKind::File => checker.feed(&file.path, file.size, &digests(file)?),
            FileKind::EmptyFolder => checker.folder(&file.path),
            FileKind::Symlink => links.push(file.path.clone()),
        }
        Ok(())
    })?;
    for link in links {
        if let Some(target) = bagging::resolve(job, version, &link)? {
            checker.feed(&link, target.size, &digests(&target)?);
        }
    }
    let (errors, warnings): (Vec<_>, Vec<_>) =
        checker.finish().into_iter().partition(|p| p.is_error());
    if errors.is_empty() { Ok(warnings) } else { Err(Error::Refused(errors)) }
}

fn digests(file: &FileRecord) -> Result<Vec<Digest>, Error> {
    let bad = |_| Error::Internal(format!("digests of file {} are damaged", file.id));
    let mut all = vec![Digest::from_bytes(Algorithm::Sha256, &file.sha256.0).map_err(bad)?];
    for digest in &file.digests {
        if let Some(algorithm) = Algorithm::parse(&digest.algorithm) {
            all.push(Digest::from_bytes(algorithm, &digest.bytes).map_err(bad)?);
        }
    }
    Ok(all)
}

/// Every file of a version, in record order, without where its bytes lie.
pub(crate) fn each_file(
    job: &Job<'_>,
    version: VersionId,
    visit: &mut dyn FnMut(&FileRecord) -> Result<(), Error>,
) -> Result<(), Error> {
    let read = |registry: Registry, from| async move {
        registry.files_without_extents(version, from, PAGE).await
    };
    each_page(job, read, &mut |files| files.iter().try_for_each(&mut *visit))
}

/// Files in record order, page by page: the next is read while one is visited.
pub(crate) fn each_page<R>(
    job: &Job<'_>,
    read: impl Fn(Registry, u64) -> R,
    visit: &mut dyn FnMut(&[FileRecord]) -> Result<(), Error>,
) -> Result<(), Error>
where
    R: Future<Output = Result<Vec<FileRecord>, strongroom_registry::Error>> + Send + 'static,
{
    let page = |from| job.archive.spawn(read(job.archive.registry().clone(), from));
    let mut coming = page(0);
    loop {
        job.stop.check()?;
        let files = job.archive.block_on(coming).map_err(|e| Error::Internal(e.to_string()))??;
        let Some(last) = files.last() else { return Ok(()) };
        coming = page(last.number + 1);
        visit(&files)?;
    }
}

fn publish(
    job: &Job<'_>,
    name: &ObjectName,
    version: VersionId,
    plan: &Plan,
    checkpoint: Checkpoint,
    warnings: &[Problem],
) -> Result<(), Error> {
    let object = job.item.object.ok_or_else(|| Error::Internal("a deposit of no object".into()))?;
    let number = job.archive.block_on(job.archive.registry().next_number(object))?;
    let subject = Subject { name, version, number, bag: plan.bag, moved: false };
    let record = crate::record::store(job, &subject)?;
    let (root, files, bytes) = (record.root, record.files, record.bytes);
    fail::fail_point!("deposit.recorded");
    tell(job, name, Stage::Publish);
    let outcome = if warnings.is_empty() { Outcome::Success } else { Outcome::Warning };
    let event = |kind, outcome, files: Option<MerkleRoot>, detail| EventDraft {
        kind,
        outcome,
        object: job.item.object,
        version: Some(version),
        work: Some(job.item.id),
        files,
        detail,
    };
    let shown: Vec<String> = warnings.iter().take(WARNINGS_MAX).map(|w| w.to_string()).collect();
    let algorithms: Vec<_> = plan.algorithms().iter().map(|a| a.name()).collect();
    let events = vec![
        event(EventKind::Digest, Outcome::Success, Some(root), json!({"algorithms": algorithms})),
        event(
            EventKind::Validation,
            outcome,
            Some(root),
            json!({
                "bag": plan.bag, "warnings": warnings.len(), "first": shown.first(),
            }),
        ),
        event(
            EventKind::Accession,
            Outcome::Success,
            Some(root),
            json!({
                "version": number,
                "record": record.head.to_string(),
                "record_sha256": record.sha256.to_string(),
                "revision": [record.revision.0, record.revision.1],
            }),
        ),
    ];
    let report = json!({
        "outcome": "published",
        "version": number,
        "files": files,
        "bytes": bytes,
        "stored_bytes": checkpoint.stored - checkpoint.given_up,
        "warnings": shown,
    });
    let writing = job.archive.block_on(job.archive.registry().writing_segments(job.item.id))?;
    job.commit(Batch {
        give_up: writing.iter().map(|s| s.id).collect(),
        release_unused: checkpoint.given_up > 0,
        stage: Some(Stage::Publish),
        publish: Some(Publish {
            record: record.head,
            record_sha256: record.sha256,
            revision: record.revision,
            files,
            bytes,
        }),
        events,
        note: Some(format!("version {number}: {files} files, {bytes} bytes")),
        finish: Some(Finish { status: WorkStatus::Succeeded, report }),
        ..Batch::default()
    })?;
    fail::fail_point!("deposit.published");
    Ok(())
}

pub(crate) use bagging::bag_path;

/// Whether a symbolic link leads to something of the version: a file, or a folder in which files lie.
pub(crate) fn leads_somewhere(
    job: &Job<'_>,
    version: VersionId,
    link: &[u8],
) -> Result<bool, Error> {
    bagging::leads_somewhere(job, version, link)
}
