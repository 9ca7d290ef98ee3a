//! Making bags: of a folder in place, or of a folder into a tar.
//!
//! Both can be killed at any moment and run again. In place, everything happens in a marker folder
//! ([`MARKER`]) inside the folder: the payload is moved there, is hashed there, and only when all tag files
//! are durable are they and the payload moved out again, bagit.txt last. Whoever finds the marker knows how
//! far the work was, so the payload is never nested twice. A tar is written under another name, synced,
//! and renamed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use strongroom_digest::{Algorithm, Digest, Set};

use crate::declaration::{self, Declaration, Version};
use crate::info::{self, Info, Oxum};
use crate::manifest::{self, Kind};
use crate::text::Encoding;
use crate::tree::{self, Walk};
use crate::validate::folder::Folder;
use crate::validate::work::{self, Done, Finder, Job, Outcome, Place};
use crate::{Error, Progress, path};

mod archive;
mod place;

pub use archive::to_tar;
pub use place::{MARKER, in_place, in_place_with};

/// How to make a bag.
#[derive(Clone, Debug)]
pub struct Options {
    /// The algorithms of its manifests.
    pub algorithms: Vec<Algorithm>,
    /// Its version: 1.0, or 0.97 for those who cannot read that.
    pub version: Version,
    /// Labels and values of bag-info.txt. Payload-Oxum is added.
    pub info: Info,
    /// Threads that hash; 0 for one for each processor.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            algorithms: vec![Algorithm::Sha256],
            version: Version::V1_0,
            info: Info::new(),
            threads: 0,
        }
    }
}

/// What was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Created {
    /// Payload files and bytes.
    pub payload: Oxum,
    /// What a person should know: links to nothing, empty folders and the like, which no manifest can say.
    pub notes: Vec<String>,
}

impl Options {
    fn check(&self) -> Result<(), Error> {
        if self.algorithms.is_empty() {
            return Err(Error::Asked("a bag needs at least one manifest, so an algorithm".into()));
        }
        if ![Version::V0_97, Version::V1_0].contains(&self.version) {
            let version = self.version;
            return Err(Error::Asked(format!("bags of version {version} are read, not made")));
        }
        Ok(())
    }

    fn algorithms(&self) -> Set {
        self.algorithms.iter().copied().collect()
    }
}

/// A payload file to be listed.
struct Listed {
    size: u64,
    digests: Vec<Digest>,
}

/// The payload: paths with `data/` before them.
struct Payload {
    files: BTreeMap<Vec<u8>, Listed>,
    notes: Vec<String>,
}

impl Payload {
    fn oxum(&self) -> Oxum {
        let bytes = self.files.values().map(|file| file.size).sum();
        Oxum { bytes, files: self.files.len() as u64 }
    }
}

/// Looks whether everything under `root` can stand in a bag of this version.
fn inspect(root: &Path, options: &Options) -> Result<(), Error> {
    let walk = Walk::new(root).map_err(|error| Error::io("read the folder", root, error))?;
    for entry in walk.without(MARKER.as_bytes()) {
        let entry = entry?;
        let unfit = |reason: &str| Error::Unfit {
            path: absolute(root, &entry.path),
            reason: reason.to_owned(),
        };
        if entry.kind == tree::Kind::Other {
            return Err(unfit("is neither file, folder nor link"));
        }
        if path::encode(&entry.path, options.version).is_none() {
            return Err(unfit("has a line break in its name, which BagIt 0.97 cannot say"));
        }
        if let tree::Kind::Symlink { target } = &entry.kind
            && !path::link_stays_inside(&entry.path, target)
        {
            return Err(unfit("is a link that leaves the folder"));
        }
    }
    Ok(())
}

/// Hashes everything under `root`; it will stand under `data/`.
fn hash_payload(root: &Path, options: &Options, progress: &dyn Progress) -> Result<Payload, Error> {
    let fail = |error| Error::io("read the folder", root, error);
    let folder = Folder::open(root).map_err(fail)?;
    let walk = Walk::new(root).map_err(fail)?;
    let wanted = options.algorithms();
    let mut notes = Vec::new();
    let mut links = Vec::new();
    let find = |finder: &mut Finder<'_>| {
        for entry in walk {
            let entry = entry?;
            let shown = path::show(&entry.path);
            let (size, link) = match &entry.kind {
                tree::Kind::File => (entry.size, false),
                tree::Kind::Symlink { .. } => match folder.file(&entry.path, true) {
                    Ok(file) => (file.metadata().map_or(0, |meta| meta.len()), true),
                    Err(_) => {
                        notes.push(format!("{shown} is a link to no file: no manifest lists it"));
                        continue;
                    }
                },
                tree::Kind::EmptyFolder => {
                    notes.push(format!("{shown} is an empty folder: no manifest lists it"));
                    continue;
                }
                tree::Kind::Folder => continue,
                tree::Kind::Other => {
                    let reason = "is neither file, folder nor link".to_owned();
                    return Err(Error::Unfit { path: absolute(root, &entry.path), reason });
                }
            };
            if link {
                links.push(entry.path.clone());
            }
            let place = Place::Open { link };
            if !finder.push(Job { path: entry.path, place, size, wanted }) {
                break;
            }
        }
        Ok(())
    };
    let mut files = BTreeMap::new();
    let mut wrong = None;
    let threads = work::threads(options.threads);
    let each = |done: Done| match done.outcome {
        Outcome::Hashed(digests) => {
            let listed = Listed { size: done.size, digests };
            files.insert([b"data/", &done.path[..]].concat(), listed);
            true
        }
        Outcome::Wrong(problem, _) | Outcome::Noted(problem, _) => {
            wrong = Some(Error::Unfit { path: absolute(root, &done.path), reason: problem.detail });
            false
        }
    };
    work::run(&folder, threads, progress, find, each)?;
    match wrong {
        Some(error) => Err(error),
        None => Ok(Payload { files, notes }),
    }
}

/// The tag files of a bag with this payload: names and bytes, bagit.txt last.
fn tag_files(payload: &Payload, options: &Options) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let version = options.version;
    let mut files = Vec::new();
    let write = |out: &mut Vec<u8>, path: &[u8], digest: &Digest| {
        manifest::write(out, path, digest, version).map_err(|error| Error::Unfit {
            path: PathBuf::from(std::ffi::OsStr::from_bytes(path)),
            reason: error.to_string(),
        })
    };
    for (at, algorithm) in options.algorithms().iter().enumerate() {
        let mut out = Vec::new();
        for (path, file) in &payload.files {
            write(&mut out, path, &file.digests[at])?;
        }
        files.push((manifest::name(Kind::Payload, algorithm), out));
    }
    let mut info: Info =
        options.info.iter().filter(|(l, _)| !l.eq_ignore_ascii_case(info::OXUM)).cloned().collect();
    info.push((info::OXUM.to_owned(), payload.oxum().to_string()));
    files.push((info::NAMES[0].to_owned(), info::write(&info).into_bytes()));
    let declaration = Declaration { version, encoding: Encoding::Utf8 };
    files.push((declaration::NAME.to_owned(), declaration.write().into_bytes()));
    let mut tag_manifests = Vec::new();
    for algorithm in options.algorithms().iter() {
        let mut out = Vec::new();
        for (name, bytes) in &files {
            write(&mut out, name.as_bytes(), &strongroom_digest::hash(algorithm, bytes))?;
        }
        tag_manifests.push((manifest::name(Kind::Tag, algorithm), out));
    }
    let declared = files.pop();
    files.extend(tag_manifests);
    files.extend(declared);
    Ok(files)
}

fn absolute(root: &Path, path: &[u8]) -> PathBuf {
    root.join(std::ffi::OsStr::from_bytes(path))
}

/// Writes a file and syncs it.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let fail = |error| Error::io("write", path, error);
    let mut file = File::create(path).map_err(fail)?;
    file.write_all(bytes).map_err(fail)?;
    file.sync_all().map_err(fail)
}

/// Makes the names in a folder durable.
fn sync_folder(path: &Path) -> Result<(), Error> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    synced.map_err(|error| Error::io("sync", path, error))
}

#[cfg(test)]
mod tests;
