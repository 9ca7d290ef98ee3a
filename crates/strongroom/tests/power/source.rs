//! What is deposited.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use strongroom_bag::tar;
use strongroom_spool::testing::Random;

/// The bytes of each file of a deposit, by path.
pub(crate) type Files = BTreeMap<String, Vec<u8>>;

/// An object as it must be.
pub(crate) struct Object {
    pub(crate) name: String,
    /// A folder, a tar, or one that is compressed.
    pub(crate) source: PathBuf,
    /// What each version holds; `acknowledged` of them are known to be published.
    pub(crate) versions: Vec<Files>,
    pub(crate) acknowledged: usize,
}

impl Object {
    pub(crate) fn new(number: usize, place: &Path, draw: &mut Random) -> Object {
        let form = ["", "", ".tar", ".tar.zst"][draw.below(4) as usize];
        Object {
            name: format!("local/o{number}"),
            source: place.join(format!("source-{number}{form}")),
            versions: Vec::new(),
            acknowledged: 0,
        }
    }

    /// Gives the source further files, or others in the place of some: the next version.
    pub(crate) fn change(&mut self, draw: &mut Random) {
        let mut files = self.versions.last().cloned().unwrap_or_default();
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
        self.versions.push(files);
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
    for inner in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        for file in fs::read_dir(inner).unwrap().map(|entry| entry.unwrap().path()) {
            let path = file.strip_prefix(folder).unwrap().to_str().unwrap().to_owned();
            files.insert(path, fs::read(file).unwrap());
        }
    }
    files
}
