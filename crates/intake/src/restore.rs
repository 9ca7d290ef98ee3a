//! Bringing a version back: as a bag, as a tar of the bag, or as the files that were deposited.

use crate::ingest::bag_path;
use crate::runner::Job;
use crate::{Archive, Error, Form, RestoreRequest};
use serde_json::json;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use strongroom_bag::tar;
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::{EventDraft, EventKind, FileKind, FileRecord, SegmentId, WorkStatus};
use strongroom_registry::{Batch, Finish, Version};
use strongroom_vault::SegmentReader;
use strongroom_vault::keys::SecretKeys;

/// Segments that stay open while files are read in order.
const OPEN_MAX: usize = 4;
/// Pieces between the reader and the writer at most, each up to 64 KiB.
const QUEUE_PIECES: usize = 64;
/// Files read from the registry at once.
const PAGE: u32 = 1000;

/// Reads one file of a version, checked by its SHA-256 at the end.
pub fn read_file(
    archive: &Archive,
    version: &Version,
    path: &[u8],
    sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let missing = || Error::NotFound { what: "file", name: strongroom_bag::path::show(path) };
    let registry = archive.registry();
    let mut file = archive.block_on(registry.file_by_path(version.id, path))?;
    if file.is_none() && !version.bag {
        // What was no bag is known by the path that it had in its source.
        let inside = [b"data/", path].concat();
        file = archive.block_on(registry.file_by_path(version.id, &inside))?;
    }
    let file = file.ok_or_else(missing)?;
    let object = archive.block_on(registry.object(version.object))?.ok_or_else(missing)?;
    let mut reader = Reader::new(archive, archive.secrets(object.institution)?);
    let mut hasher = Hasher::new(Algorithm::Sha256);
    reader.read(&file, &mut |bytes| {
        hasher.update(bytes);
        sink(bytes)
    })?;
    compare(&file, hasher)
}

fn compare(file: &FileRecord, hasher: Hasher) -> Result<(), Error> {
    let found = hasher.finish();
    match found.as_bytes() == file.sha256.0 {
        true => Ok(()),
        false => Err(Error::Mismatch {
            path: strongroom_bag::path::show(&file.path),
            expected: file.sha256.to_string(),
            found: found.to_string(),
        }),
    }
}

/// Files' bytes by their extents, a few segments open at a time.
struct Reader<'a> {
    archive: &'a Archive,
    keys: SecretKeys,
    open: HashMap<SegmentId, (u64, SegmentReader)>,
    clock: u64,
    faults: usize,
}

impl<'a> Reader<'a> {
    fn new(archive: &'a Archive, keys: SecretKeys) -> Reader<'a> {
        Reader { archive, keys, open: HashMap::new(), clock: 0, faults: 0 }
    }

    fn read(
        &mut self,
        file: &FileRecord,
        sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for extent in &file.extents {
            let reader = self.segment(extent.segment)?;
            reader.read(extent.offset..extent.offset + extent.length, sink)?;
        }
        Ok(())
    }

    fn segment(&mut self, id: SegmentId) -> Result<&mut SegmentReader, Error> {
        self.clock += 1;
        if !self.open.contains_key(&id) {
            let registry = self.archive.registry();
            let missing = || Error::NotFound { what: "segment", name: id.to_string() };
            let segment = self.archive.block_on(registry.segment(id))?.ok_or_else(missing)?;
            let placements = self.archive.block_on(registry.placements(id))?;
            // The coding that is wanted first; any other that is whole will do.
            let mut codings: Vec<_> = placements.iter().map(|p| p.coding).collect();
            codings.sort_by_key(|c| (*c != segment.number, *c));
            codings.dedup();
            let mut last = None;
            let mut found = None;
            for coding in codings {
                let of: Vec<_> =
                    placements.iter().filter(|p| p.coding == coding).cloned().collect();
                match self.archive.vault().reader(id, &of, &self.keys) {
                    Ok(reader) => {
                        found = Some(reader);
                        break;
                    }
                    Err(error) => last = Some(error),
                }
            }
            let reader = match (found, last) {
                (Some(reader), _) => reader,
                (None, Some(error)) => return Err(error.into()),
                (None, None) => return Err(missing()),
            };
            if self.open.len() >= OPEN_MAX
                && let Some(oldest) =
                    self.open.iter().min_by_key(|(_, (at, _))| *at).map(|(id, _)| *id)
                && let Some((_, closed)) = self.open.remove(&oldest)
            {
                self.faults += closed.faults().len();
            }
            self.open.insert(id, (0, reader));
        }
        let (at, reader) =
            self.open.get_mut(&id).ok_or_else(|| Error::Internal("a segment".into()))?;
        *at = self.clock;
        Ok(reader)
    }

    fn faults(&self) -> usize {
        self.faults + self.open.values().map(|(_, reader)| reader.faults().len()).sum::<usize>()
    }
}

/// What goes from the reader to the writer.
enum Piece {
    Begin(Box<FileRecord>),
    Bytes(Vec<u8>),
    End,
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
    let partial = partial(&request.to, job)?;
    let secrets = job.archive.secrets(job.item.institution)?;
    let (out, pieces) = sync_channel(QUEUE_PIECES);
    let (files, faults) = std::thread::scope(|scope| {
        let reader = scope.spawn(|| read(job, &version, &request, secrets, out));
        let written = write(job, &version, &request, &partial, pieces);
        let read = reader.join().map_err(|_| Error::Internal("the reader panicked".into()))?;
        // Where the writer failed, the reader only knows that nobody listens.
        match (written, read) {
            (Err(error), _) if !matches!(error, Error::Interrupted) => Err(error),
            (_, Err(error)) => Err(error),
            (Err(error), Ok(_)) => Err(error),
            (Ok(files), Ok(faults)) => Ok((files, faults)),
        }
    })?;
    let unwritable = |source| Error::Unwritable { path: request.to.clone(), source };
    let folder = request.to.parent().unwrap_or(Path::new("/"));
    let opened = File::open(folder).map_err(unwritable)?;
    // One sync of the file system for everything: a restoration has no other order to keep.
    rustix::fs::syncfs(&opened).map_err(|e| unwritable(e.into()))?;
    let (from, to) = (&partial, &request.to);
    let moved = rustix::fs::renameat_with(
        rustix::fs::CWD,
        from,
        rustix::fs::CWD,
        to,
        rustix::fs::RenameFlags::NOREPLACE,
    );
    match moved {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => return Err(Error::TargetExists(to.clone())),
        Err(error) => return Err(unwritable(error.into())),
    }
    opened.sync_all().map_err(unwritable)?;
    let report = json!({
        "files": files, "bytes": version.bytes, "to": request.to.display().to_string(),
        "faults": faults,
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
        note: Some(format!("{files} files to {}", request.to.display())),
        finish: Some(Finish { status: WorkStatus::Succeeded, report }),
        ..Batch::default()
    })?;
    Ok(())
}

/// The place beside the target where it is made; what a dead run left there is removed.
fn partial(to: &Path, job: &Job<'_>) -> Result<PathBuf, Error> {
    if to.symlink_metadata().is_ok() {
        return Err(Error::TargetExists(to.to_owned()));
    }
    let name =
        to.file_name().ok_or_else(|| Error::Usage(format!("{} names nothing", to.display())))?;
    let mut partial = std::ffi::OsString::from(".");
    partial.push(name);
    partial.push(format!(".partial-{}", job.item.id));
    let path = to.with_file_name(partial);
    let unwritable = |source| Error::Unwritable { path: path.clone(), source };
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(unwritable)?;
    }
    match path.symlink_metadata() {
        Ok(meta) if meta.is_dir() => std::fs::remove_dir_all(&path).map_err(unwritable)?,
        Ok(_) => std::fs::remove_file(&path).map_err(unwritable)?,
        Err(_) => {}
    }
    Ok(path)
}

fn read(
    job: &Job<'_>,
    version: &Version,
    request: &RestoreRequest,
    keys: SecretKeys,
    out: SyncSender<Piece>,
) -> Result<usize, Error> {
    let mut reader = Reader::new(job.archive, keys);
    let send = |piece| out.send(piece).map_err(|_| Error::Interrupted);
    let mut next = 0;
    loop {
        let page = job.archive.block_on(job.archive.registry().files(version.id, next, PAGE))?;
        let Some(last) = page.last() else { return Ok(reader.faults()) };
        next = last.number + 1;
        for file in page {
            job.stop.check()?;
            if request.form == Form::Files && !file.path.starts_with(b"data/") {
                continue;
            }
            send(Piece::Begin(Box::new(file.clone())))?;
            if file.kind == FileKind::File {
                // Small files travel as one piece.
                let mut held = Vec::with_capacity(file.size.min(1 << 18) as usize);
                reader.read(&file, &mut |bytes| {
                    held.extend_from_slice(bytes);
                    match held.len() >= 1 << 18 {
                        true => send(Piece::Bytes(std::mem::take(&mut held))),
                        false => Ok(()),
                    }
                })?;
                if !held.is_empty() {
                    send(Piece::Bytes(held))?;
                }
            }
            send(Piece::End)?;
        }
    }
}

fn write(
    job: &Job<'_>,
    version: &Version,
    request: &RestoreRequest,
    partial: &Path,
    pieces: Receiver<Piece>,
) -> Result<u64, Error> {
    let unwritable = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Unwritable { path, source }
    };
    let mut target: Box<dyn Target> = match request.form {
        Form::Tar => {
            let file = File::create_new(partial).map_err(unwritable(partial))?;
            let name = request.to.file_stem().unwrap_or_default().as_bytes().to_vec();
            let out = BufWriter::with_capacity(1 << 20, file);
            Box::new(TarTarget { name, writer: tar::Writer::new(out) })
        }
        Form::Bag | Form::Files => {
            std::fs::create_dir(partial).map_err(unwritable(partial))?;
            if request.form == Form::Bag {
                // A bag of nothing has a payload folder too.
                let data = partial.join("data");
                std::fs::create_dir(&data).map_err(unwritable(&data))?;
            }
            Box::new(FolderTarget::new(partial))
        }
    };
    let mut files = 0;
    while let Ok(piece) = pieces.recv() {
        let Piece::Begin(file) = piece else {
            return Err(Error::Internal("a piece of no file".into()));
        };
        let place = match request.form {
            Form::Files => file.path.strip_prefix(b"data/").unwrap_or(&file.path).to_vec(),
            Form::Bag | Form::Tar if version.bag => file.path.clone(),
            Form::Bag | Form::Tar => bag_path(&file.path),
        };
        let keeps = match file.kind {
            // A bag cannot hold a link to nothing: bag tools take it for a missing file. It stands
            // in the tag file of attributes.
            FileKind::Symlink if request.form != Form::Files && !version.bag => {
                crate::ingest::leads_somewhere(job, version.id, &file.path)?
            }
            _ => true,
        };
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut written = 0u64;
        {
            let mut sink = match keeps {
                true => Some(target.begin(&place, &file)?),
                false => None,
            };
            loop {
                match pieces.recv() {
                    Ok(Piece::Bytes(bytes)) => {
                        hasher.update(&bytes);
                        written += bytes.len() as u64;
                        if let Some(sink) = &mut sink {
                            sink.write_all(&bytes).map_err(unwritable(&request.to))?;
                        }
                        job.progress.done(0, bytes.len() as u64);
                    }
                    Ok(Piece::End) => break,
                    Ok(Piece::Begin(_)) => {
                        return Err(Error::Internal("a file within a file".into()));
                    }
                    Err(_) => return Err(Error::Interrupted),
                }
            }
        }
        if file.kind == FileKind::File {
            if written != file.size {
                let what = format!("{written} bytes of {}", file.size);
                return Err(Error::Internal(what));
            }
            compare(&file, hasher)?;
        }
        if keeps {
            target.end(&place, &file)?;
            files += 1;
        }
        job.progress.done(1, 0);
    }
    target.finish()?;
    Ok(files)
}

trait Target {
    /// Begins a file; its bytes go to what this returns.
    fn begin<'a>(
        &'a mut self,
        place: &[u8],
        file: &FileRecord,
    ) -> Result<Box<dyn Write + 'a>, Error>;
    /// Its bytes are all there.
    fn end(&mut self, place: &[u8], file: &FileRecord) -> Result<(), Error>;
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

struct FolderTarget {
    root: PathBuf,
    /// The folder that was last made sure of, so that files side by side ask once.
    folder: PathBuf,
    file: Option<File>,
    /// Links come last: no file is ever written through one.
    links: Vec<(PathBuf, Vec<u8>, i64)>,
    /// Modes and times of empty folders are set at the end.
    folders: Vec<(PathBuf, u32, i64)>,
}

impl FolderTarget {
    fn new(root: &Path) -> FolderTarget {
        FolderTarget {
            root: root.to_owned(),
            folder: root.to_owned(),
            file: None,
            links: Vec::new(),
            folders: Vec::new(),
        }
    }

    fn path(&self, place: &[u8]) -> Result<PathBuf, Error> {
        // What was recorded was checked when it came in; what is written is checked again.
        strongroom_bag::path::check_entry(place).map_err(|why| {
            Error::Internal(format!("{}: {why}", strongroom_bag::path::show(place)))
        })?;
        Ok(self.root.join(std::ffi::OsStr::from_bytes(place)))
    }
}

impl Target for FolderTarget {
    fn begin<'a>(
        &'a mut self,
        place: &[u8],
        file: &FileRecord,
    ) -> Result<Box<dyn Write + 'a>, Error> {
        let path = self.path(place)?;
        let unwritable = |source| Error::Unwritable { path: path.clone(), source };
        if let Some(folder) = path.parent()
            && folder != self.folder
        {
            std::fs::create_dir_all(folder).map_err(unwritable)?;
            self.folder = folder.to_owned();
        }
        match file.kind {
            FileKind::File => {
                let opened = self.file.insert(File::create_new(&path).map_err(unwritable)?);
                Ok(Box::new(opened))
            }
            FileKind::EmptyFolder => {
                std::fs::create_dir_all(&path).map_err(unwritable)?;
                self.folders.push((path, file.mode, file.mtime_ns));
                Ok(Box::new(std::io::sink()))
            }
            FileKind::Symlink => {
                let target = file.target.clone().unwrap_or_default();
                self.links.push((path, target, file.mtime_ns));
                Ok(Box::new(std::io::sink()))
            }
        }
    }

    fn end(&mut self, place: &[u8], file: &FileRecord) -> Result<(), Error> {
        let Some(opened) = self.file.take() else { return Ok(()) };
        let unwritable = |source| Error::Unwritable {
            path: self.root.join(std::ffi::OsStr::from_bytes(place)),
            source,
        };
        opened.set_permissions(PermissionsExt::from_mode(file.mode)).map_err(unwritable)?;
        let times = timestamps(file.mtime_ns);
        rustix::fs::futimens(&opened, &times).map_err(|e| unwritable(e.into()))
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        for (path, target, mtime_ns) in &self.links {
            let unwritable = |source| Error::Unwritable { path: path.clone(), source };
            std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), path)
                .map_err(unwritable)?;
            set_times(path, *mtime_ns)?;
        }
        for (path, mode, mtime_ns) in self.folders.iter().rev() {
            let unwritable = |source| Error::Unwritable { path: path.clone(), source };
            std::fs::set_permissions(path, PermissionsExt::from_mode(*mode)).map_err(unwritable)?;
            set_times(path, *mtime_ns)?;
        }
        Ok(())
    }
}

fn set_times(path: &Path, mtime_ns: i64) -> Result<(), Error> {
    let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
    rustix::fs::utimensat(rustix::fs::CWD, path, &timestamps(mtime_ns), flags)
        .map_err(|e| Error::Unwritable { path: path.to_owned(), source: e.into() })
}

fn timestamps(mtime_ns: i64) -> rustix::fs::Timestamps {
    let at = rustix::fs::Timespec {
        tv_sec: mtime_ns.div_euclid(1_000_000_000),
        tv_nsec: mtime_ns.rem_euclid(1_000_000_000),
    };
    rustix::fs::Timestamps { last_access: at, last_modification: at }
}

struct TarTarget {
    /// The folder in which a bag stands in its tar.
    name: Vec<u8>,
    writer: tar::Writer<BufWriter<File>>,
}

impl Target for TarTarget {
    fn begin<'a>(
        &'a mut self,
        place: &[u8],
        file: &FileRecord,
    ) -> Result<Box<dyn Write + 'a>, Error> {
        let path = [&self.name[..], b"/", place].concat();
        let mtime = i128::from(file.mtime_ns);
        let unwritable = |source| Error::Unwritable { path: "the tar".into(), source };
        match file.kind {
            FileKind::File => {
                let writer = self.writer.append_file(&path, file.mode, mtime, file.size);
                Ok(Box::new(writer.map_err(unwritable)?))
            }
            FileKind::EmptyFolder => {
                self.writer.folder(&path, file.mode, mtime).map_err(unwritable)?;
                Ok(Box::new(std::io::sink()))
            }
            FileKind::Symlink => {
                let target = file.target.as_deref().unwrap_or_default();
                self.writer.symlink(&path, target, file.mode, mtime).map_err(unwritable)?;
                Ok(Box::new(std::io::sink()))
            }
        }
    }

    fn end(&mut self, _: &[u8], _: &FileRecord) -> Result<(), Error> {
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let unwritable = |source| Error::Unwritable { path: "the tar".into(), source };
        self.writer.finish().map_err(unwritable)?.flush().map_err(unwritable)
    }
}
