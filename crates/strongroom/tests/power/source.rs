//! What is deposited.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use strongroom_bag::tar;
use strongroom_intake::DeletionTarget;
use strongroom_record::ObjectId;
use strongroom_spool::testing::Random;

/// The bytes of each file of a deposit, by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// An object as it must be.
pub(crate) struct Object {
    pub(crate) name: String,
    /// Known once a version was acknowledged.
    pub(crate) id: Option<ObjectId>,
    /// A folder, a tar, or one that is compressed.
    pub(crate) source: PathBuf,
    /// What the source holds.
    current: Files,
    /// What each version holds, from number 1 on; none where it was deleted. `acknowledged` of them are
    /// known to be published.
    pub(crate) versions: Vec<Option<Files>>,
    pub(crate) acknowledged: usize,
}

/// A deletion that was asked for and is not acknowledged: what it is to do may be done or not.
pub(crate) struct Deleting {
    pub(crate) object: usize,
    /// Versions of it when it was asked for.
    pub(crate) before: usize,
    pub(crate) target: DeletionTarget,
    /// The versions afterwards; none where the object goes.
    pub(crate) after: Option<Vec<Option<Files>>>,
}

impl Deleting {
    /// Whether a version of its object stays, by its index.
    pub(crate) fn spares(&self, version: usize) -> bool {
        let after = self.after.as_ref().and_then(|after| after.get(version));
        version >= self.before || after.is_some_and(Option::is_some)
    }
}

impl Object {
    pub(crate) fn new(name: String, number: u64, place: &Path, draw: &mut Random) -> Object {
        let form = ["", "", ".tar", ".tar.zst"][draw.below(4) as usize];
        Object {
            name,
            id: None,
            source: place.join(format!("source-{number}{form}")),
            current: Files::new(),
            versions: Vec::new(),
            acknowledged: 0,
        }
    }

    /// Indices of the versions that were not deleted.
    pub(crate) fn living(&self) -> Vec<usize> {
        (0..self.versions.len()).filter(|i| self.versions[*i].is_some()).collect()
    }

    /// The source is deposited once more: that makes a version where the latest one is another.
    pub(crate) fn again(&mut self) {
        let latest = self.versions.iter().flatten().next_back();
        if latest != Some(&self.current) {
            self.versions.push(Some(self.current.clone()));
        }
    }

    /// Gives the source further files, or others in the place of some: the next version.
    pub(crate) fn change(&mut self, draw: &mut Random) {
        let mut files = self.current.clone();
        let number = self.versions.len();
        // Most are a few small files; some a file of several segments, or many tiny ones.
        let sizes: Vec<u64> = match draw.below(8) {
            0 => vec![1 << 20 | draw.below(2 << 20)],
            1 => vec![20; 300],
            2 => vec![70_000 + draw.below(200_000), 3],
            _ => (0..1 + draw.below(6)).map(|_| draw.below(30_000)).collect(),
        };
        for (i, size) in sizes.into_iter().enumerate() {
            let mut bytes = vec![0; size as usize];
            bytes.chunks_mut(8).for_each(|part| {
                part.copy_from_slice(&draw.draw().to_le_bytes()[..part.len()]);
            });
            files.insert(format!("{}/{}-{i}", draw.below(3), number % 3), bytes);
        }
        self.write(&files);
        self.versions.push(Some(files.clone()));
        self.current = files;
    }

    /// Draws what of it is to go: all, a version, or a file in one version or in every one.
    pub(crate) fn delete(&self, index: usize, draw: &mut Random) -> Deleting {
        let mut after = self.versions.clone();
        let (living, before) = (self.living(), self.versions.len());
        let whole = DeletionTarget { object: self.name.clone(), file: None, all_versions: false };
        let kind = draw.below(5);
        if living.is_empty() || kind == 0 {
            return Deleting { object: index, before, target: whole, after: None };
        }
        let version = living[draw.below(living.len() as u64) as usize];
        let numbered = format!("{}@{}", self.name, version + 1);
        let files = after[version].as_ref().expect("it lives");
        let all = draw.below(2) == 0;
        let path = match files.len() as u64 {
            0 => None,
            count => files.keys().nth(draw.below(count) as usize).cloned(),
        };
        let target = match path.filter(|_| kind > 2) {
            None => {
                after[version] = None;
                DeletionTarget { object: numbered, ..whole }
            }
            Some(path) => {
                for (i, files) in after.iter_mut().enumerate() {
                    if let Some(files) = files.as_mut().filter(|_| all || i == version) {
                        files.remove(&path);
                    }
                }
                let object = if all { self.name.clone() } else { numbered };
                DeletionTarget { object, file: Some(path.into_bytes()), all_versions: all }
            }
        };
        Deleting { object: index, before, target, after: Some(after) }
    }

    fn write(&self, files: &Files) {
        let source = self.source.to_str().unwrap();
        if !source.contains(".tar") {
            for (path, bytes) in files {
                let path = self.source.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                // What did not change keeps its time, and so its identity.
                if fs::read(&path).ok().as_ref() != Some(bytes) {
                    fs::write(path, bytes).unwrap();
                }
            }
            return;
        }
        let mut writer = tar::Writer::new(Vec::new());
        for (path, bytes) in files {
            use std::io::Write as _;
            let mtime_ns = 1_700_000_000_000_000_000 + bytes.len() as i128;
            writer.append_file(path.as_bytes(), 0o644, mtime_ns, bytes.len() as u64).unwrap();
            writer.data().write_all(bytes).unwrap();
        }
        let tar = writer.finish().unwrap();
        match source.ends_with(".zst") {
            true => fs::write(source, zstd::stream::encode_all(&tar[..], 1).unwrap()).unwrap(),
            false => fs::write(source, tar).unwrap(),
        }
    }
}

/// What stands in a folder, two deep.
pub(crate) fn files_in(folder: &Path) -> Files {
    let mut files = Files::new();
    if !folder.is_dir() {
        return files; // nothing was left of the version
    }
    for inner in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        for file in fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()) {
            let path = file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            files.insert(path, fs::read(file).unwrap());
        }
    }
    files
}
