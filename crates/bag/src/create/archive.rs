//! A bag in a tar.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use strongroom_digest::{MultiHasher, Pages, hash_many};

use super::{
    Created, Listed, Options, Payload, absolute, hash_payload, inspect, sync_folder, tag_files,
};
use crate::declaration;
use crate::tar::Writer;
use crate::tree::{Entry, Kind, Walk};
use crate::validate::folder::Folder;
use crate::{Error, Progress};

/// Files smaller than this are held, and hashed many at a time. In bytes.
const SMALL_BYTES: u64 = 256 * 1024;
/// So many bytes of them are held at once,
const HELD_BYTES_MAX: usize = 1024 * 1024;
/// and so many files.
const HELD_FILES_MAX: usize = 256;

/// Makes a bag of the folder `from` in a new tar `to`; the bag's folder in it is called `name`. Tag files
/// come first, so that who reads it as a stream knows what to expect. The folder is left as it is.
///
/// # Errors
/// If `from` is a bag already, holds what cannot stand in a bag, changes meanwhile, or cannot be read; if
/// `to` is there already, or cannot be written.
pub fn to_tar(
    from: &Path,
    to: &Path,
    name: &str,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Created, Error> {
    options.check()?;
    if crate::path::check(name.as_bytes()).is_err() || name.contains('/') {
        return Err(Error::Asked(format!("'{name}' cannot be the name of a folder in a tar")));
    }
    if from.join(declaration::NAME).symlink_metadata().is_ok() {
        return Err(Error::AlreadyABag(from.to_owned()));
    }
    if to.symlink_metadata().is_ok() {
        let exists = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(Error::io("write", to, exists));
    }
    inspect(from, options)?;
    let payload = hash_payload(from, options, progress)?;
    let tags = tag_files(&payload, options)?;

    // What a killed run left under this name is written anew.
    let folder = match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let file_name = to.file_name().unwrap_or_default();
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(file_name);
    hidden.push(".strongroom-bagging");
    let part = folder.join(hidden);
    let written = write_tar(from, &part, name, tags, &payload, options);
    if let Err(error) = written {
        // The error that matters is the first; what is left is written over by the next run.
        let _ = std::fs::remove_file(&part);
        return Err(error);
    }
    let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::NOREPLACE);
    rustix::fs::renameat_with(cwd, &part, cwd, to, flags)
        .map_err(|errno| Error::io("rename to", to, errno.into()))?;
    sync_folder(folder)?;
    Ok(Created { payload: payload.oxum(), notes: payload.notes })
}

fn write_tar(
    from: &Path,
    part: &Path,
    name: &str,
    tags: Vec<(String, Vec<u8>)>,
    payload: &Payload,
    options: &Options,
) -> Result<(), Error> {
    let fail = |error| Error::io("write", part, error);
    let file = File::create(part).map_err(fail)?;
    let mut writer = Writer::new(BufWriter::with_capacity(1024 * 1024, file));
    let inside = |path: &[u8]| [name.as_bytes(), b"/", path].concat();
    // A tag file has no time of its own; it gets the folder's.
    let mtime = modified_ns(from)?;
    writer.folder(name.as_bytes(), 0o755, mtime).map_err(fail)?;
    for (tag, bytes) in tags.iter().rev() {
        let path = inside(tag.as_bytes());
        let size = bytes.len() as u64;
        let mut out = writer.append_file(&path, 0o644, mtime, size).map_err(fail)?;
        out.write_all(bytes).map_err(fail)?;
    }
    writer.folder(&inside(b"data"), 0o755, mtime).map_err(fail)?;
    let source = Folder::open(from).map_err(|error| Error::io("open", from, error))?;
    let walk = Walk::new(from).map_err(|error| Error::io("read the folder", from, error))?;
    let mut held = Held::default();
    for entry in walk {
        let entry = entry?;
        let listed = match entry.kind {
            Kind::File => payload.files.get(&[b"data/", &entry.path[..]].concat()),
            _ => None,
        };
        if let Some(listed) = listed.filter(|l| l.size == entry.size && l.size < SMALL_BYTES) {
            if !held.has_room(entry.size) {
                held.write(from, options, &inside, &mut writer, part)?;
            }
            held.take(from, &source, entry, listed)?;
            continue;
        }
        // In the order of the folder.
        held.write(from, options, &inside, &mut writer, part)?;
        let path = inside(&[b"data/", &entry.path[..]].concat());
        match &entry.kind {
            Kind::Folder | Kind::EmptyFolder => {
                writer.folder(&path, entry.mode, entry.mtime_ns).map_err(fail)?;
            }
            Kind::Symlink { target } => {
                writer.symlink(&path, target, entry.mode, entry.mtime_ns).map_err(fail)?;
            }
            Kind::File => {
                let listed = listed.filter(|listed| listed.size == entry.size);
                let out = writer
                    .append_file(&path, entry.mode, entry.mtime_ns, entry.size)
                    .map_err(fail)?;
                let same = match listed {
                    Some(listed) => copy(&source, &entry, listed, options, out)?,
                    None => false,
                };
                if !same {
                    return Err(changed(from, &entry));
                }
            }
            Kind::Other => return Err(changed(from, &entry)),
        }
    }
    held.write(from, options, &inside, &mut writer, part)?;
    let file =
        writer.finish().map_err(fail)?.into_inner().map_err(|error| fail(error.into_error()))?;
    file.sync_all().map_err(fail)
}

/// Small files that are read and not yet written.
#[derive(Default)]
struct Held<'a> {
    files: Vec<(Entry, &'a Listed)>,
    /// Their bytes, one file after the other.
    bytes: Vec<u8>,
}

impl<'a> Held<'a> {
    fn has_room(&self, bytes: u64) -> bool {
        self.files.len() < HELD_FILES_MAX
            && self.bytes.len() as u64 + bytes <= HELD_BYTES_MAX as u64
    }

    /// Reads a file, which must have the size that it was listed with.
    fn take(
        &mut self,
        from: &Path,
        source: &Folder,
        entry: Entry,
        listed: &'a Listed,
    ) -> Result<(), Error> {
        let fail = |error| Error::io("copy", &absolute(from, &entry.path), error);
        let mut input = source.file(&entry.path, false).map_err(fail)?;
        let start = self.bytes.len();
        // A byte more than there should be tells of a file that has grown.
        let room = start + entry.size as usize;
        self.bytes.resize(room + 1, 0);
        let mut end = start;
        while end <= room {
            match crate::source::fill_once(&mut input, &mut self.bytes[end..]).map_err(fail)? {
                0 => break,
                n => end += n,
            }
        }
        if end != room {
            return Err(changed(from, &entry));
        }
        self.bytes.truncate(room);
        self.files.push((entry, listed));
        Ok(())
    }

    /// Writes them, if they are what was hashed before.
    fn write<W: Write>(
        &mut self,
        from: &Path,
        options: &Options,
        inside: &dyn Fn(&[u8]) -> Vec<u8>,
        writer: &mut Writer<W>,
        part: &Path,
    ) -> Result<(), Error> {
        if self.files.is_empty() {
            return Ok(());
        }
        let mut rest = self.bytes.as_slice();
        let mut split = |(entry, _): &(Entry, &Listed)| {
            let (file, later) = rest.split_at(entry.size as usize);
            rest = later;
            file
        };
        let inputs: Vec<&[u8]> = self.files.iter().map(&mut split).collect();
        let mut found = Vec::with_capacity(inputs.len());
        for (at, algorithm) in options.algorithms().iter().enumerate() {
            found.clear();
            hash_many(algorithm, &inputs, &mut found);
            for ((entry, listed), digest) in self.files.iter().zip(&found) {
                if listed.digests[at] != *digest {
                    return Err(changed(from, entry));
                }
            }
        }
        let fail = |error| Error::io("write", part, error);
        for ((entry, _), bytes) in self.files.iter().zip(inputs) {
            let path = inside(&[b"data/", &entry.path[..]].concat());
            let mut out =
                writer.append_file(&path, entry.mode, entry.mtime_ns, entry.size).map_err(fail)?;
            out.write_all(bytes).map_err(fail)?;
        }
        self.files.clear();
        self.bytes.clear();
        Ok(())
    }
}

fn changed(from: &Path, entry: &Entry) -> Error {
    let path = absolute(from, &entry.path);
    Error::Unfit { path, reason: "changed while the bag was made".into() }
}

/// Copies a file's bytes; says whether they are those that were hashed before.
fn copy(
    source: &Folder,
    entry: &Entry,
    listed: &Listed,
    options: &Options,
    mut out: impl Write,
) -> Result<bool, Error> {
    let path = std::ffi::OsStr::from_bytes(&entry.path);
    let fail = |error| Error::io("copy", Path::new(path), error);
    let mut input = source.file(&entry.path, false).map_err(fail)?.take(entry.size);
    let mut hasher: MultiHasher = options.algorithms().iter().collect();
    let mut buffer = Pages::new(256 * 1024);
    let mut size = 0;
    loop {
        let n = crate::source::fill_once(&mut input, &mut buffer).map_err(fail)?;
        if n == 0 {
            return Ok(size == entry.size && hasher.finish() == listed.digests);
        }
        hasher.update(&buffer[..n]);
        out.write_all(&buffer[..n]).map_err(fail)?;
        size += n as u64;
    }
}

fn modified_ns(path: &Path) -> Result<i128, Error> {
    use std::os::unix::fs::MetadataExt;
    let meta = std::fs::metadata(path).map_err(|error| Error::io("examine", path, error))?;
    Ok(i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec()))
}
