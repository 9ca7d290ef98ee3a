//! What was no bag becomes one: the tag files that say of the payload what a bag can say, and one of
//! ours (`strongroom-files.jsonl`) for what it cannot.

use super::pack::Checkpoint;
use super::{PAGE, each_file};
use crate::Error;
use crate::runner::Job;
use crate::source::Made;
use serde_json::json;
use std::collections::HashSet;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use strongroom_bag::declaration::Version as BagVersion;
use strongroom_bag::{manifest, path};
use strongroom_digest::{Algorithm, Digest, Hasher};
use strongroom_record::json::{canonical, put_bytes};
use strongroom_record::{FileKind, FileRecord, Sha256, VersionId};

/// The tag file that keeps modes, times, empty folders, links, and names that a bag cannot hold.
pub(crate) const ATTRIBUTES: &str = "strongroom-files.jsonl";

/// What ends a name that stands for another one.
const STANDS_FOR: &str = ".not-utf8";

/// A file system takes names of so many bytes.
const NAME_BYTES_MAX: usize = 255;

/// How a path stands in the bag form: as it is, save each name on it that is not UTF-8 (or that ends as
/// one that stands for such a name). There each byte that is not, and each `=`, becomes `=XX` (no `%`,
/// which bag tools take for an escape), and an ending of its own follows; where that is too long for a
/// file system, its beginning, `=sha256-` and the name's digest. So no two paths ever stand as the same
/// one. A link's target stands likewise.
pub(crate) fn bag_path(path: &[u8]) -> Vec<u8> {
    path.split(|b| *b == b'/').map(bag_name).collect::<Vec<_>>().join(&b'/')
}

fn bag_name(name: &[u8]) -> Vec<u8> {
    if std::str::from_utf8(name).is_ok() && !name.ends_with(STANDS_FOR.as_bytes()) {
        return name.to_vec();
    }
    let mut stands = String::with_capacity(name.len() + 16);
    for chunk in name.utf8_chunks() {
        stands.push_str(&chunk.valid().replace('=', "=3D"));
        chunk.invalid().iter().for_each(|byte| stands.push_str(&format!("={byte:02X}")));
    }
    if stands.len() + STANDS_FOR.len() > NAME_BYTES_MAX {
        let digest = format!("=sha256-{}", Sha256::of(name));
        stands
            .truncate(stands.floor_char_boundary(NAME_BYTES_MAX - STANDS_FOR.len() - digest.len()));
        stands.push_str(&digest);
    }
    (stands + STANDS_FOR).into_bytes()
}

/// The tag files of the draft, in the order in which they are stored. The same draft gives the same
/// bytes each time, so a run that died while storing them goes on.
pub(crate) fn tag_files(
    job: &Job<'_>,
    version: VersionId,
    checkpoint: &Checkpoint,
) -> Result<Vec<Made>, Error> {
    let mtime_ns = job.item.created.0.saturating_mul(1000);
    let mut manifest = scratch(job)?;
    let mut attributes = scratch(job)?;
    let (mut bytes, mut files) = (0u64, 0u64);
    let mut links = Vec::new();
    let failed =
        |e: std::io::Error| Error::Unwritable { path: job.archive.scratch().into(), source: e };
    each_file(job, version, &mut |file| {
        if file.made {
            return Ok(());
        }
        attributes.write_all(&line(file)?).map_err(failed)?;
        match file.kind {
            FileKind::File => {
                let digest = digest_of(file)?;
                let path = bag_path(&file.path);
                manifest::write(&mut manifest, &path, &digest, BagVersion::V1_0).map_err(failed)?;
                bytes += file.size;
                files += 1;
            }
            FileKind::Symlink => links.push(file.path.clone()),
            FileKind::EmptyFolder => {}
        }
        Ok(())
    })?;
    for link in links {
        if let Some(target) = resolve(job, version, &link)? {
            let (path, digest) = (bag_path(&link), digest_of(&target)?);
            manifest::write(&mut manifest, &path, &digest, BagVersion::V1_0).map_err(failed)?;
            bytes += target.size;
            files += 1;
        }
    }
    let date = job.item.created.to_string();
    let info = format!(
        "Bag-Software-Agent: Strongroom {}\nBagging-Date: {}\nPayload-Oxum: {bytes}.{files}\n",
        env!("CARGO_PKG_VERSION"),
        &date[..10],
    );
    let declaration = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n";
    let mut made = Vec::new();
    for (name, text) in [("bagit.txt", declaration.to_string()), ("bag-info.txt", info)] {
        let mut file = scratch(job)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        made.push((name, file));
    }
    made.push(("manifest-sha256.txt", manifest));
    made.push((ATTRIBUTES, attributes));
    let mut tags = scratch(job)?;
    let mut all = Vec::new();
    for (name, file) in made {
        let mut file = file.into_inner().map_err(|e| failed(e.into_error()))?;
        let digest = hash(&mut file).map_err(failed)?;
        manifest::write(&mut tags, name.as_bytes(), &digest, BagVersion::V1_0).map_err(failed)?;
        all.push(Made { path: name.into(), mtime_ns, file });
    }
    let tags = tags.into_inner().map_err(|e| failed(e.into_error()))?;
    all.push(Made { path: "tagmanifest-sha256.txt".into(), mtime_ns, file: tags });
    debug_assert!(checkpoint.position.entries <= all.len() as u64);
    Ok(all)
}

/// The file that a symbolic link of the version leads to, where it leads to one.
pub(crate) fn resolve(
    job: &Job<'_>,
    version: VersionId,
    link: &[u8],
) -> Result<Option<FileRecord>, Error> {
    Ok(follow(job, version, link)?.and_then(|(_, file)| file.filter(|f| f.kind == FileKind::File)))
}

/// Whether a symbolic link leads to something that the bag form holds: a file, or a folder in which
/// something lies, other than links to nothing.
pub(crate) fn leads_somewhere(
    job: &Job<'_>,
    version: VersionId,
    link: &[u8],
) -> Result<bool, Error> {
    leads(job, version, link, &mut HashSet::new())
}

fn leads(
    job: &Job<'_>,
    version: VersionId,
    link: &[u8],
    seen: &mut HashSet<Vec<u8>>,
) -> Result<bool, Error> {
    // What is asked already answers for itself.
    if !seen.insert(link.to_vec()) {
        return Ok(false);
    }
    let folder = match follow(job, version, link)? {
        None => return Ok(false),
        Some((_, Some(_))) => return Ok(true),
        Some((path, None)) => [&path[..], b"/"].concat(),
    };
    let mut after: Option<Vec<u8>> = None;
    loop {
        let registry = job.archive.registry();
        let page = registry.files_by_path(version, after.as_deref(), &folder, PAGE);
        let page = job.archive.block_on(page)?;
        let Some(last) = page.last() else { return Ok(false) };
        after = Some(last.path.clone());
        for file in &page {
            if file.kind != FileKind::Symlink || leads(job, version, &file.path, seen)? {
                return Ok(true);
            }
        }
    }
}

/// The path at which a link ends, and what is recorded there.
type End = (Vec<u8>, Option<FileRecord>);

/// Where a link ends, and the file or empty folder there, if any; `None` where it leads out or round.
fn follow(job: &Job<'_>, version: VersionId, link: &[u8]) -> Result<Option<End>, Error> {
    let at = |path: &[u8]| {
        let found = job.archive.registry().file_by_path(version, path);
        job.archive.block_on(found).map_err(Error::from)
    };
    let led = path::follow(link, |path| Ok::<_, Error>(at(path)?.and_then(|file| file.target)))?;
    let Some(path) = led.to() else { return Ok(None) };
    let file = at(&path)?;
    Ok(Some((path, file)))
}

/// A line of the attributes file: what the bag form cannot say of a file.
fn line(file: &FileRecord) -> Result<Vec<u8>, Error> {
    let mut object = serde_json::Map::new();
    put_bytes(&mut object, "path", &file.path);
    object.insert("kind".into(), file.kind.word().into());
    object.insert("mode".into(), format!("{:04o}", file.mode).into());
    object.insert("mtime_ns".into(), file.mtime_ns.to_string().into());
    if let Some(target) = &file.target {
        put_bytes(&mut object, "target", target);
    }
    let stands = bag_path(&file.path);
    if stands != file.path {
        object.insert("stands_as".into(), String::from_utf8_lossy(&stands).into());
    }
    let mut line = canonical(&json!(object))?;
    line.push(b'\n');
    Ok(line)
}

fn digest_of(file: &FileRecord) -> Result<Digest, Error> {
    Digest::from_bytes(Algorithm::Sha256, &file.sha256.0)
        .map_err(|_| Error::Internal(format!("the digest of file {} is damaged", file.id)))
}

fn scratch(job: &Job<'_>) -> Result<BufWriter<File>, Error> {
    let path = job.archive.scratch();
    (tempfile::tempfile_in(path).map(BufWriter::new))
        .map_err(|source| Error::Unwritable { path: path.into(), source })
}

fn hash(file: &mut File) -> std::io::Result<Digest> {
    file.seek(SeekFrom::Start(0))?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buf = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buf)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&buf[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn no_two_paths_stand_as_one() {
        let stands = |path: &[u8]| String::from_utf8(bag_path(path)).unwrap();
        assert_eq!(stands(b"data/a=b/c"), "data/a=b/c");
        assert_eq!(stands(b"data/a\xff/b"), "data/a=FF.not-utf8/b");
        let long = [b'\xe9'; 255];
        let (one, other) = (bag_path(&long), bag_path(&long[1..]));
        assert!(one.len() <= NAME_BYTES_MAX && one != other, "{}", one.escape_ascii());
        let pieces: [&[u8]; 6] = [b"\xff", b"=", b"FF", b"a", b".not-utf8", b"\xfe"];
        let mut seen = HashMap::new();
        for number in 0..pieces.len().pow(4) {
            let pick = |i: u32| pieces[number / pieces.len().pow(i) % pieces.len()];
            let path = [pick(0), pick(1), pick(2), pick(3)].concat();
            if let Some(other) = seen.insert(bag_path(&path), path.clone()) {
                assert_eq!(other, path);
            }
        }
    }
}
