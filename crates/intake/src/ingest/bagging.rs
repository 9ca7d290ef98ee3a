//! What was no bag becomes one: the tag files that say of the payload what a bag can say, and one of
//! ours (`strongroom-files.jsonl`) for what it cannot.

use super::each_file;
use super::pack::Checkpoint;
use crate::Error;
use crate::runner::Job;
use crate::source::Made;
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use strongroom_bag::declaration::Version as BagVersion;
use strongroom_bag::manifest;
use strongroom_digest::{Algorithm, Digest, Hasher};
use strongroom_record::json::{canonical, put_bytes};
use strongroom_record::{FileKind, FileRecord, VersionId};

/// The tag file that keeps modes, times, empty folders, links, and names that a bag cannot hold.
pub(crate) const ATTRIBUTES: &str = "strongroom-files.jsonl";
/// A chain of symbolic links is followed so far.
const LINKS_MAX: usize = 40;

/// What ends a name that stands for another one.
const STANDS_FOR: &str = ".not-utf8";

/// How a path stands in the bag form: as it is, save each name on it that is not UTF-8 (or that ends as
/// one that stands for such a name). There each byte that is not, and each `=`, becomes `=XX` (no `%`,
/// which bag tools take for an escape), and an ending of its own follows; so no two paths ever stand as
/// the same one.
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
        |e: std::io::Error| Error::Unwritable { path: job.archive.data().into(), source: e };
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

/// Whether a symbolic link leads to something of the version: a file, or a folder in which files lie.
pub(crate) fn leads_somewhere(
    job: &Job<'_>,
    version: VersionId,
    link: &[u8],
) -> Result<bool, Error> {
    match follow(job, version, link)? {
        None => Ok(false),
        Some((_, Some(_))) => Ok(true),
        Some((path, None)) => {
            let inside = [&path[..], b"/"].concat();
            let found = job.archive.registry().files_by_path(version, None, &inside, 1);
            Ok(!job.archive.block_on(found)?.is_empty())
        }
    }
}

/// The path at which a link ends, and what is recorded there.
type End = (Vec<u8>, Option<FileRecord>);

/// Where a link ends, and the file or empty folder there, if any; `None` where it leads out or round.
fn follow(job: &Job<'_>, version: VersionId, link: &[u8]) -> Result<Option<End>, Error> {
    let registry = job.archive.registry();
    let mut path = link.to_vec();
    for _ in 0..LINKS_MAX {
        // The first component that is a link is replaced by what it says, then all over again.
        let mut next = None;
        let ends = (0..path.len()).filter(|i| path[*i] == b'/').chain([path.len()]);
        for end in ends.collect::<Vec<_>>() {
            let found = registry.file_by_path(version, &path[..end]);
            match job.archive.block_on(found)? {
                Some(file) if file.kind == FileKind::Symlink => {
                    let target = file.target.unwrap_or_default();
                    next = join(&path[..end], &target, &path[end..]);
                    if next.is_none() {
                        return Ok(None);
                    }
                    break;
                }
                Some(file) if end == path.len() => return Ok(Some((path, Some(file)))),
                _ => {}
            }
        }
        match next {
            Some(target) => path = target,
            None => return Ok(Some((path, None))),
        }
    }
    Ok(None)
}

/// `link`'s folder, then `target`, then `rest`, with `.` and `..` taken away; `None` if it leads out.
fn join(link: &[u8], target: &[u8], rest: &[u8]) -> Option<Vec<u8>> {
    let folder = link.iter().rposition(|b| *b == b'/').map_or(&[][..], |at| &link[..at]);
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in [folder, target, rest].into_iter().flat_map(|p| p.split(|b| *b == b'/')) {
        match part {
            b"" | b"." => {}
            b".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join(&b'/'))
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
    let path = job.archive.data();
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
