//! Bringing a version back: as a bag, as a tar of the bag, or as the files that were deposited.

mod queue;
mod reader;
mod target;

pub(crate) use reader::Reader;
pub use reader::read_file;

use crate::ingest::{bag_path, each_file};
use crate::runner::Job;
use crate::{Error, Form, RestoreRequest};
use queue::{Piece, QUEUE_RUNS, Run, Sender};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::{EventDraft, EventKind, FileKind, FileRecord, WorkStatus};
use strongroom_registry::{Batch, Finish, Version};
use strongroom_vault::keys::SecretKeys;
use target::{FolderTarget, TarTarget, Target};

/// A restoration notes how far it is, durably, after so many bytes and after so many files.
const CHECKPOINT_BYTES: u64 = 256 << 20;
const CHECKPOINT_FILES: u64 = 20_000;
/// The state of a large file's digest is noted so often, for such a note to stand on.
const MARK_BYTES: u64 = 32 << 20;
/// Files read from the registry at once.
const PAGE: u32 = 1000;

/// How far a restoration is: what its work item's checkpoint holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Checkpoint {
    /// Number of the first file that is not known to be durable in the target.
    next: u64,
    /// Files before it that the form holds.
    files: u64,
    /// Bytes of the tar before it, or before what is yet to come of it.
    tar: u64,
    /// What is durable of that file itself, where it is large.
    within: Option<Within>,
    /// Of a target that is whole and durable, and is only to be given its name: what tells it from
    /// any other.
    whole: Option<String>,
}

/// A file of which the target has a beginning.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Within {
    /// Its number.
    number: u64,
    /// So many bytes.
    done: u64,
    /// The state of its SHA-256 after them, hex.
    sha256: String,
}

impl Checkpoint {
    fn at_start(&self) -> bool {
        self.next == 0 && self.within.is_none()
    }

    fn of(job: &Job<'_>) -> Result<Checkpoint, Error> {
        match &job.item.checkpoint {
            Value::Null => Ok(Checkpoint::default()),
            value => serde_json::from_value(value.clone())
                .map_err(|e| Error::Internal(format!("the checkpoint is damaged: {e}"))),
        }
    }

    fn commit(&self, job: &Job<'_>) -> Result<(), Error> {
        let checkpoint = serde_json::to_value(self)
            .map_err(|e| Error::Internal(format!("no checkpoint: {e}")))?;
        job.commit(Batch { checkpoint: Some(checkpoint), ..Batch::default() })?;
        Ok(())
    }
}

/// Does a restoration. It is made under another name beside its target, and given its name when
/// everything is there and synced: a target that exists is whole.
pub(crate) fn run(job: &Job<'_>) -> Result<(), Error> {
    let request: RestoreRequest = job.request()?;
    let registry = job.archive.registry();
    let id = request.version.parse()?;
    let missing = || Error::NotFound { what: "version", name: request.version.clone() };
    let version = job.archive.block_on(registry.version(id))?.ok_or_else(missing)?;
    job.progress.stage(job.item.kind, &request.to.display().to_string(), job.item.stage);
    job.progress.total(version.files, version.bytes);
    let (to, partial) = (&request.to, partial(&request.to, job)?);
    let mut at = Checkpoint::of(job)?;
    let unwritable = |source| Error::Unwritable { path: to.clone(), source };
    let mut faults = 0;
    let is_whole = |path: &Path| at.whole.is_some() && at.whole == identity(path);
    // What an earlier run made or named, and did not live to tell of, is not made again.
    if !is_whole(to) {
        if to.symlink_metadata().is_ok() {
            return Err(Error::TargetExists(to.clone()));
        }
        if !is_whole(&partial) {
            if at.whole.is_some() || !stands(job, &version, &request, &partial, &at)? {
                at = Checkpoint::default();
            }
            (at, faults) = make(job, &version, &request, &partial, at)?;
        }
        rename(&partial, to)?;
    }
    fail::fail_point!("restore.renamed");
    let folder = to.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(unwritable)?;
    let files = at.files;
    let report = json!({
        "files": files, "bytes": version.bytes, "to": to.display().to_string(), "faults": faults,
    });
    let event = EventDraft {
        object: job.item.object,
        version: Some(version.id),
        work: Some(job.item.id),
        detail: json!({"files": files, "form": request.form, "faults": faults}),
        ..EventDraft::new(EventKind::Dissemination)
    };
    job.commit(Batch {
        events: vec![event],
        note: Some(format!("{files} files to {}", to.display())),
        finish: Some(Finish { status: WorkStatus::Succeeded, report }),
        ..Batch::default()
    })?;
    Ok(())
}

/// Whether what a checkpoint tells of is still there: somebody may have cleared it away, or cut it.
fn stands(
    job: &Job<'_>,
    version: &Version,
    request: &RestoreRequest,
    partial: &Path,
    at: &Checkpoint,
) -> Result<bool, Error> {
    let Ok(meta) = partial.symlink_metadata() else { return Ok(at.at_start()) };
    if at.at_start() || request.form == Form::Tar {
        return Ok(at.at_start() || meta.len() >= at.tar);
    }
    let begun = |file: &FileRecord| at.within.as_ref().filter(|w| w.number == file.number);
    let mut all = target::tells_names_apart(partial);
    each_file(job, version.id, &mut |file| {
        let wanted = request.form != Form::Files || file.path.starts_with(b"data/");
        let within = begun(file);
        let there = file.number < at.next || within.is_some();
        if there && file.kind == FileKind::File && wanted {
            let path = partial.join(std::ffi::OsStr::from_bytes(&place(version, request, file)));
            let stands = |len| within.map_or(len == file.size, |within| len >= within.done);
            all &= path.symlink_metadata().is_ok_and(|meta| stands(meta.len()));
        }
        Ok(())
    })?;
    Ok(all)
}

/// Makes the target under its other name, durably. Returns the last checkpoint, and the shards that
/// were found to be wrong.
fn make(
    job: &Job<'_>,
    version: &Version,
    request: &RestoreRequest,
    partial: &Path,
    at: Checkpoint,
) -> Result<(Checkpoint, usize), Error> {
    let mut target = target(request, partial, &at)?;
    if request.form != Form::Files && at.at_start() {
        // A bag of nothing has a payload folder too.
        let payload = job.archive.registry().files_by_path(version.id, None, b"data/", 1);
        if job.archive.block_on(payload)?.is_empty() {
            target.payload_folder()?;
        }
    }
    fail::fail_point!("restore.begun");
    let secrets = job.archive.secrets(job.item.institution)?;
    let (next, within) = (at.next, at.within.clone());
    let begun = within.as_ref().map(|within| (within.number, within.done));
    let (mut at, faults) = std::thread::scope(|scope| {
        let (out, unchecked) = sync_channel(QUEUE_RUNS);
        let (checked, runs) = sync_channel(QUEUE_RUNS);
        let reader =
            scope.spawn(|| read(job, version, request, (next, begun), secrets, Sender::new(out)));
        let checker = scope.spawn(|| check(unchecked, checked, within));
        let written = write(job, version, request, target, at, runs);
        let read = reader.join().map_err(|_| Error::Internal("the reader panicked".into()))?;
        let checked = checker.join().map_err(|_| Error::Internal("the check panicked".into()))?;
        match (written, read, checked) {
            (Ok(at), Ok(faults), Ok(())) => Ok((at, faults)),
            (written, read, checked) => {
                let errors = [written.err(), checked.err(), read.err()];
                Err(Error::of_stages(errors.into_iter().flatten()))
            }
        }
    })?;
    fail::fail_point!("restore.written");
    at.whole = identity(partial);
    at.commit(job)?;
    fail::fail_point!("restore.whole");
    Ok((at, faults))
}

/// Gives the target its name, unless that is another's by now.
fn rename(partial: &Path, to: &Path) -> Result<(), Error> {
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    match rustix::fs::renameat_with(rustix::fs::CWD, partial, rustix::fs::CWD, to, flags) {
        Ok(()) => Ok(()),
        Err(rustix::io::Errno::EXIST) => Err(Error::TargetExists(to.to_owned())),
        Err(error) => Err(Error::Unwritable { path: to.to_owned(), source: error.into() }),
    }
}

/// What tells a file or folder from any other that this machine has.
fn identity(path: &Path) -> Option<String> {
    let meta = path.symlink_metadata().ok()?;
    Some(format!("{}:{}", meta.dev(), meta.ino()))
}

/// The place beside the target where it is made.
fn partial(to: &Path, job: &Job<'_>) -> Result<PathBuf, Error> {
    let name =
        to.file_name().ok_or_else(|| Error::Usage(format!("{} names nothing", to.display())))?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".partial-{}", job.item.id));
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder)
            .map_err(|source| Error::Unwritable { path: folder.to_owned(), source })?;
    }
    Ok(to.with_file_name(partial))
}

/// Opens what is made: anew, or, where an earlier run noted how far it was, as it stands.
fn target(
    request: &RestoreRequest,
    partial: &Path,
    at: &Checkpoint,
) -> Result<Box<dyn Target>, Error> {
    let unwritable = |source| Error::Unwritable { path: partial.to_owned(), source };
    if at.at_start() {
        match partial.symlink_metadata() {
            Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(partial).map_err(unwritable)?,
            Ok(_) => std::fs::remove_file(partial).map_err(unwritable)?,
            Err(_) => {}
        }
    }
    if request.form == Form::Tar {
        let name = request.to.file_stem().unwrap_or_default().as_bytes();
        return Ok(Box::new(TarTarget::new(partial, name, at.tar)?));
    }
    std::fs::create_dir_all(partial).map_err(unwritable)?;
    Ok(Box::new(FolderTarget::new(partial, !at.at_start())))
}

/// Reads the files from number `from` on, the one that is `begun` from its byte on. Of those before, which the target has, a folder target still
/// wants what it makes last: links and empty folders.
fn read(
    job: &Job<'_>,
    version: &Version,
    request: &RestoreRequest,
    (from, begun): (u64, Option<(u64, u64)>),
    keys: SecretKeys,
    mut sender: Sender,
) -> Result<usize, Error> {
    let mut reader = Reader::new(job.archive, keys);
    let mut next = if request.form == Form::Tar { from } else { 0 };
    loop {
        let page = job.archive.block_on(job.archive.registry().files(version.id, next, PAGE))?;
        let Some(last) = page.last() else {
            sender.flush()?;
            return Ok(reader.faults());
        };
        next = last.number + 1;
        for file in page {
            job.stop.check()?;
            if request.form == Form::Files && !file.path.starts_with(b"data/") {
                continue;
            }
            if file.number < from && file.kind == FileKind::File {
                job.progress.done(1, file.size);
                continue;
            }
            let done =
                begun.filter(|(number, _)| *number == file.number).map_or(0, |(_, done)| done);
            job.progress.done(0, done);
            sender.piece(Piece::Begin(Box::new(file.clone()), done))?;
            if file.kind == FileKind::File {
                reader.read_from(&file, done, &mut |bytes| sender.bytes(bytes))?;
            }
            sender.piece(Piece::End)?;
        }
    }
}

/// Compares each file's SHA-256 with what is recorded, before its end is told to the writer; marks in
/// large ones where they can be gone on with.
fn check(
    runs: Receiver<Run>,
    out: SyncSender<Run>,
    mut within: Option<Within>,
) -> Result<(), Error> {
    let mut open: Option<(FileRecord, Hasher)> = None;
    let mut unmarked = 0;
    for Run { bytes, pieces } in runs {
        let mut rest = &bytes[..];
        let mut told = Vec::with_capacity(pieces.len() + 1);
        for piece in pieces {
            match &piece {
                Piece::Begin(file, done) if file.kind == FileKind::File => {
                    let hasher = match within.take().filter(|_| *done > 0) {
                        None => Hasher::new(Algorithm::Sha256),
                        Some(within) => resumed(&within.sha256)?,
                    };
                    (open, unmarked) = (Some(((**file).clone(), hasher)), 0);
                }
                Piece::Begin(..) | Piece::Mark(_) => {}
                Piece::Bytes(len) => {
                    let (now, later) = rest.split_at(*len);
                    rest = later;
                    if let Some((_, hasher)) = &mut open {
                        hasher.update(now);
                        unmarked += *len as u64;
                    }
                }
                Piece::End => {
                    if let Some((file, hasher)) = open.take() {
                        reader::compare(&file, hasher)?;
                    }
                }
            }
            told.push(piece);
            if let Some((_, hasher)) = &open
                && unmarked >= MARK_BYTES
            {
                told.push(Piece::Mark(hasher.save()));
                unmarked = 0;
            }
        }
        out.send(Run { bytes, pieces: told }).map_err(|_| Error::Interrupted)?;
    }
    Ok(())
}

fn resumed(state: &str) -> Result<Hasher, Error> {
    let bytes = strongroom_record::json::bytes::unhex(state);
    let hasher = bytes.and_then(|bytes| Hasher::restore(&bytes).ok());
    hasher.ok_or_else(|| Error::Internal("the checkpoint's digest is damaged".into()))
}

fn write(
    job: &Job<'_>,
    version: &Version,
    request: &RestoreRequest,
    mut target: Box<dyn Target>,
    mut at: Checkpoint,
    runs: Receiver<Run>,
) -> Result<Checkpoint, Error> {
    let unwritable = |source| Error::Unwritable { path: request.to.clone(), source };
    // Written since the last checkpoint.
    let (mut files, mut bytes) = (0, 0);
    // The file that is being written, where it stands, and whether the form can hold it; how much of it
    // is written.
    let mut open: Option<(Box<FileRecord>, Vec<u8>, bool)> = None;
    let mut written = 0;
    for run in runs {
        let mut rest = &run.bytes[..];
        for piece in run.pieces {
            match (piece, &open) {
                (Piece::Begin(mut file, done), None) => {
                    if request.form != Form::Files && !version.bag {
                        file.target = file.target.map(|target| bag_path(&target));
                    }
                    let place = place(version, request, &file);
                    let keeps = keeps(job, version, request, &file)?;
                    if keeps {
                        target.begin(&place, &file, done)?;
                    }
                    written = done;
                    open = Some((file, place, keeps));
                }
                (Piece::Bytes(len), Some((_, _, keeps))) => {
                    let (now, later) = rest.split_at(len);
                    rest = later;
                    if *keeps {
                        target.write(now).map_err(unwritable)?;
                    }
                    bytes += len as u64;
                    written += len as u64;
                    job.progress.done(0, len as u64);
                }
                (Piece::Mark(state), Some((file, _, true))) if bytes >= CHECKPOINT_BYTES => {
                    at.tar = target.sync_within()?;
                    let sha256 = strongroom_record::json::bytes::hex(&state);
                    at.within = Some(Within { number: file.number, done: written, sha256 });
                    fail::fail_point!("restore.synced");
                    at.commit(job)?;
                    (files, bytes) = (0, 0);
                }
                (Piece::Mark(_), Some(_)) => {}
                (Piece::End, Some((file, place, keeps))) => {
                    if *keeps {
                        target.end(place, file)?;
                    }
                    // What is made last in each run was counted by the first.
                    if file.number >= at.next {
                        at.files += u64::from(*keeps);
                        at.next = file.number + 1;
                        at.within = None;
                        files += 1;
                    }
                    open = None;
                    job.progress.done(1, 0);
                    if bytes >= CHECKPOINT_BYTES || files >= CHECKPOINT_FILES {
                        at.tar = target.sync()?;
                        fail::fail_point!("restore.synced");
                        at.commit(job)?;
                        (files, bytes) = (0, 0);
                    }
                }
                _ => return Err(Error::Internal("a file within a file".into())),
            }
        }
    }
    if open.is_some() {
        return Err(Error::Interrupted);
    }
    target.finish()?;
    Ok(at)
}

/// Where a file stands in the form that was asked for.
fn place(version: &Version, request: &RestoreRequest, file: &FileRecord) -> Vec<u8> {
    match request.form {
        Form::Files => file.path.strip_prefix(b"data/").unwrap_or(&file.path).to_vec(),
        Form::Bag | Form::Tar if version.bag => file.path.clone(),
        Form::Bag | Form::Tar => bag_path(&file.path),
    }
}

/// A bag cannot hold a link to nothing: bag tools take it for a missing file. It stands in the tag
/// file of attributes.
fn keeps(
    job: &Job<'_>,
    version: &Version,
    request: &RestoreRequest,
    file: &FileRecord,
) -> Result<bool, Error> {
    match file.kind {
        FileKind::Symlink if request.form != Form::Files && !version.bag => {
            crate::ingest::leads_somewhere(job, version.id, &file.path)
        }
        _ => Ok(true),
    }
}
