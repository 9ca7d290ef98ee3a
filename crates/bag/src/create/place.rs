//! A bag in place. Each state says by itself what is left to do:
//!
//! | found | meaning | next |
//! |---|---|---|
//! | no marker folder | nothing was done, or all | begin, or refuse what is a bag |
//! | marker, no `ready` in it | all names beside the marker are payload | move them into `MARKER/data` |
//! | marker with `ready` | `MARKER` holds finished tag files | move what is left out, bagit.txt last |
//! | marker, no `ready`, bagit.txt beside it | only the empty marker is left | remove it |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Created, Options, hash_payload, inspect, sync_folder, tag_files, write_durably};
use crate::declaration;
use crate::info::{self, Oxum};
use crate::text::Encoding;
use crate::{Error, Progress};

/// The folder inside the folder in which a bag is made.
pub const MARKER: &str = ".strongroom-bagging";

/// The file in it that says that the tag files are complete.
const READY: &str = "ready";

/// Turns a folder into a bag, where it is. A run that was killed is finished by another.
///
/// # Errors
/// If the folder is a bag already, holds what cannot stand in a bag, or cannot be read or written. What
/// cannot be read is put back as it was.
pub fn in_place(root: &Path, options: &Options) -> Result<Created, Error> {
    in_place_with(root, options, &())
}

/// The same, telling how far it is.
///
/// # Errors
/// As for [`in_place`].
pub fn in_place_with(
    root: &Path,
    options: &Options,
    progress: &dyn Progress,
) -> Result<Created, Error> {
    Bagging { root, marker: root.join(MARKER), steps: Steps::default() }.run(options, progress)
}

pub(super) struct Bagging<'a> {
    pub(super) root: &'a Path,
    pub(super) marker: PathBuf,
    pub(super) steps: Steps,
}

/// Counts changes of the disk. Tests stop at one, as a kill would.
#[derive(Default)]
pub(super) struct Steps {
    pub(super) done: u64,
    pub(super) stop_before: Option<u64>,
}

impl Steps {
    fn step(&mut self, path: &Path) -> Result<(), Error> {
        if self.stop_before == Some(self.done) {
            return Err(Error::io("go on with", path, io::ErrorKind::Interrupted.into()));
        }
        self.done += 1;
        Ok(())
    }
}

impl Bagging<'_> {
    pub(super) fn run(
        &mut self,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Created, Error> {
        options.check()?;
        let declared = self.root.join(declaration::NAME);
        let begun = is_there(&self.marker)?;
        if !begun {
            if is_there(&declared)? {
                return Err(Error::AlreadyABag(self.root.to_owned()));
            }
            inspect(self.root, options)?;
            self.make_folder(&self.marker.clone())?;
        }
        let ready = is_there(&self.marker.join(READY))?;
        // Beside a marker that is not ready, bagit.txt is either ours, moved last, or payload to be.
        let finished = begun && !ready && is_there(&declared)? && is_empty(&self.marker)?;
        let mut notes = Vec::new();
        if !ready && !finished {
            notes = match self.prepare(options, progress) {
                Err(error @ Error::Unfit { .. }) => {
                    self.put_back()?;
                    return Err(error);
                }
                other => other?,
            };
        }
        if !finished {
            self.install()?;
        }
        self.remove(&self.marker.clone(), true)?;
        sync_folder(self.root)?;
        Ok(Created { payload: self.read_oxum()?, notes })
    }

    /// Moves the payload aside, hashes it, and writes the tag files.
    fn prepare(
        &mut self,
        options: &Options,
        progress: &dyn Progress,
    ) -> Result<Vec<String>, Error> {
        let data = self.marker.join("data");
        if !is_there(&data)? {
            self.make_folder(&data)?;
        }
        for name in names(self.root)? {
            if name != MARKER {
                self.move_new(&self.root.join(&name), &data.join(&name))?;
            }
        }
        sync_folder(&data)?;
        sync_folder(self.root)?;
        let payload = hash_payload(&data, options, progress)?;
        for (name, bytes) in tag_files(&payload, options)? {
            self.write(&self.marker.join(name), &bytes)?;
        }
        sync_folder(&self.marker)?;
        self.write(&self.marker.join(READY), b"")?;
        sync_folder(&self.marker)?;
        Ok(payload.notes)
    }

    /// Moves what is finished out of the marker folder, and bagit.txt last: from then on it is a bag.
    fn install(&mut self) -> Result<(), Error> {
        let mut left = names(&self.marker)?;
        left.retain(|name| name != READY && name != declaration::NAME);
        for name in left {
            self.move_new(&self.marker.join(&name), &self.root.join(&name))?;
        }
        sync_folder(self.root)?;
        let declared = self.marker.join(declaration::NAME);
        if is_there(&declared)? {
            self.move_new(&declared, &self.root.join(declaration::NAME))?;
        }
        sync_folder(self.root)?;
        self.remove(&self.marker.join(READY), false)
    }

    /// Gives the folder back as it was.
    fn put_back(&mut self) -> Result<(), Error> {
        let data = self.marker.join("data");
        for name in names(&data)? {
            self.move_new(&data.join(&name), &self.root.join(&name))?;
        }
        self.remove(&data, true)?;
        for name in names(&self.marker)? {
            self.remove(&self.marker.join(name), false)?;
        }
        self.remove(&self.marker.clone(), true)?;
        sync_folder(self.root)
    }

    /// Renames, and never over what is there: something may have appeared since the last run.
    fn move_new(&mut self, from: &Path, to: &Path) -> Result<(), Error> {
        self.steps.step(from)?;
        let (cwd, flags) = (rustix::fs::CWD, rustix::fs::RenameFlags::NOREPLACE);
        match rustix::fs::renameat_with(cwd, from, cwd, to, flags) {
            Ok(()) => Ok(()),
            Err(rustix::io::Errno::EXIST) => Err(Error::Asked(format!(
                "{} and {} are both there: the folder changed while it was made a bag; move one away",
                from.display(),
                to.display()
            ))),
            Err(errno) => Err(Error::io("move", from, errno.into())),
        }
    }

    fn make_folder(&mut self, path: &Path) -> Result<(), Error> {
        self.steps.step(path)?;
        fs::create_dir(path).map_err(|error| Error::io("make the folder", path, error))
    }

    fn write(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        self.steps.step(path)?;
        write_durably(path, bytes)
    }

    fn remove(&mut self, path: &Path, folder: bool) -> Result<(), Error> {
        self.steps.step(path)?;
        let removed = if folder { fs::remove_dir(path) } else { fs::remove_file(path) };
        removed.map_err(|error| Error::io("remove", path, error))
    }

    /// What bag-info.txt says of the payload: a run that only finishes has not hashed it.
    fn read_oxum(&self) -> Result<Oxum, Error> {
        let path = self.root.join(info::NAMES[0]);
        let fail = |error| Error::io("read", &path, error);
        let file = fs::File::open(&path).map_err(fail)?;
        let mut problems = Vec::new();
        let name = info::NAMES[0].as_bytes();
        let read = info::parse(file, Encoding::Utf8, name, &mut problems).map_err(fail)?;
        Ok(info::values(&read, info::OXUM).find_map(Oxum::parse).unwrap_or_default())
    }
}

fn is_there(path: &Path) -> Result<bool, Error> {
    match path.symlink_metadata() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io("examine", path, error)),
    }
}

fn is_empty(folder: &Path) -> Result<bool, Error> {
    Ok(names(folder)?.is_empty())
}

fn names(folder: &Path) -> Result<Vec<std::ffi::OsString>, Error> {
    let fail = |error| Error::io("read the folder", folder, error);
    let entries = fs::read_dir(folder).map_err(fail)?;
    entries.map(|entry| entry.map(|entry| entry.file_name()).map_err(fail)).collect()
}
