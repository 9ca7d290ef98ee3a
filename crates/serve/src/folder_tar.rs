//! A folder as a tar, on its way to somewhere, and back.

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use strongroom_bag::path::{check_entry, link_stays_inside, show};
use strongroom_bag::{tar, tree};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
const SECOND_NS: i128 = 1_000_000_000;
/// Folders and links that are held until all files are there.
const LAST_MAX: usize = 1_000_000;

/// Writes `root` to `out` as a tar: of a folder what lies in it, with mode and time, links and empty
/// folders, under paths that begin below it; of a file that alone. A file that is cut short while it is
/// read breaks it off; bytes that are added to one meanwhile are left out.
pub fn pack(root: &Path, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = tar::Writer::new(out);
    let meta = std::fs::metadata(root)?;
    if meta.is_file() {
        let name = root.file_name().unwrap_or(root.as_os_str()).as_bytes();
        let time = i128::from(meta.mtime()) * SECOND_NS + i128::from(meta.mtime_nsec());
        pack_file(&mut writer, root, name, meta.mode() & 0o7777, time, meta.len())?;
        writer.finish()?;
        return Ok(());
    }
    for entry in tree::Walk::new(root)? {
        let entry = entry.map_err(io::Error::other)?;
        let (path, mode, time) = (&entry.path, entry.mode, entry.mtime_ns);
        match &entry.kind {
            tree::Kind::Folder | tree::Kind::EmptyFolder => writer.folder(path, mode, time)?,
            tree::Kind::Symlink { target } => writer.symlink(path, target, mode, time)?,
            tree::Kind::File => {
                let full = root.join(std::ffi::OsStr::from_bytes(path));
                pack_file(&mut writer, &full, path, mode, time, entry.size)?;
            }
            tree::Kind::Other => {
                let why = "is a device, a socket or a pipe, which cannot be kept";
                return Err(refused(path, why));
            }
        }
    }
    writer.finish()?;
    Ok(())
}

fn pack_file<W: Write>(
    writer: &mut tar::Writer<W>,
    from: &Path,
    path: &[u8],
    mode: u32,
    mtime_ns: i128,
    size: u64,
) -> io::Result<()> {
    let told =
        |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", from.display()));
    let mut rest = File::open(from).map_err(told)?.take(size);
    let mut into = writer.append_file(path, mode, mtime_ns, size)?;
    let mut buffer = vec![0; READ_BYTES];
    loop {
        let read = rest.read(&mut buffer).map_err(told)?;
        match read {
            0 if rest.limit() > 0 => {
                return Err(told(io::Error::other("it was cut while it was read")));
            }
            0 => return Ok(()),
            read => into.write_all(&buffer[..read])?,
        }
    }
}

/// Makes what [`pack`] packed again, in `root`, which is made, and syncs it. A path that leads out is
/// refused, and so is a link; links are made last, so none is followed.
pub fn unpack(from: &mut dyn Read, root: &Path) -> io::Result<()> {
    std::fs::create_dir(root)?;
    let mut reader = tar::Reader::new(from);
    let mut buffer = vec![0; READ_BYTES];
    let (mut folders, mut links) = (Vec::new(), Vec::new());
    while let Some(entry) = reader.next().map_err(io::Error::other)? {
        check_entry(&entry.path)
            .map_err(|why| refused(&entry.path, &format!("cannot be made: {why}")))?;
        let path = root.join(std::ffi::OsStr::from_bytes(&entry.path));
        if folders.len() + links.len() >= LAST_MAX {
            return Err(refused(&entry.path, "is one folder or link too many"));
        }
        match entry.kind {
            tar::Kind::Folder => {
                std::fs::create_dir_all(&path)?;
                folders.push((path, entry.mode, entry.mtime_ns));
            }
            tar::Kind::Symlink(target) => {
                if !link_stays_inside(&entry.path, &target) {
                    return Err(refused(&entry.path, "is a link that leads out"));
                }
                links.push((path, target, entry.mtime_ns));
            }
            tar::Kind::File => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                let mut file = File::create_new(&path)?;
                loop {
                    match reader.read(&mut buffer)? {
                        0 => break,
                        read => file.write_all(&buffer[..read])?,
                    }
                }
                file.set_permissions(Permissions::from_mode(entry.mode & 0o7777))?;
                set_time(&path, entry.mtime_ns)?;
            }
            _ => return Err(refused(&entry.path, "is no file, folder or symbolic link")),
        }
    }
    for (path, target, time) in links {
        std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(&target), &path)?;
        set_time(&path, time)?;
    }
    // Innermost last in the tar, and so first here: making something in a folder changes its time.
    for (path, mode, time) in folders.into_iter().rev() {
        std::fs::set_permissions(&path, Permissions::from_mode(mode & 0o7777))?;
        set_time(&path, time)?;
    }
    Ok(rustix::fs::syncfs(File::open(root)?)?)
}

fn refused(path: &[u8], why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{} {why}", show(path)))
}

fn set_time(path: &PathBuf, mtime_ns: i128) -> io::Result<()> {
    let time = Timespec {
        tv_sec: i64::try_from(mtime_ns.div_euclid(SECOND_NS)).unwrap_or(0),
        tv_nsec: i64::try_from(mtime_ns.rem_euclid(SECOND_NS)).unwrap_or(0),
    };
    let times = Timestamps { last_access: time, last_modification: time };
    Ok(utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_comes_back_as_it_went() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        std::fs::create_dir_all(from.join("a/empty")).unwrap();
        std::fs::write(from.join("a/one"), vec![7; 600_000]).unwrap();
        std::os::unix::fs::symlink("a/one", from.join("link")).unwrap();
        let name = std::ffi::OsStr::from_bytes(b"caf\xe9");
        std::fs::write(from.join(name), "Latin-1").unwrap();
        std::fs::set_permissions(from.join(name), Permissions::from_mode(0o600)).unwrap();
        let mut packed = Vec::new();
        pack(&from, &mut packed).unwrap();
        unpack(&mut &packed[..], &to).unwrap();
        let list = |root| {
            let one = |entry: Result<tree::Entry, _>| {
                let tree::Entry { path, kind, mode, mtime_ns, size, .. } = entry.unwrap();
                (path, kind, mode, mtime_ns, size)
            };
            tree::Walk::new(root).unwrap().map(one).collect::<Vec<_>>()
        };
        assert_eq!(list(&to), list(&from));
        assert_eq!(std::fs::read(to.join("a/one")).unwrap(), vec![7; 600_000]);
        assert!(unpack(&mut &packed[..], &to).is_err(), "nothing is written into what is there");
        let cut = &packed[..packed.len() / 2];
        assert!(unpack(&mut &cut[..], &place.path().join("cut")).is_err());
    }

    #[test]
    fn what_leads_out_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let check = |make: &dyn Fn(&mut tar::Writer<Vec<u8>>) -> io::Result<()>, name: &str| {
            let mut writer = tar::Writer::new(Vec::new());
            make(&mut writer).unwrap();
            let packed = writer.finish().unwrap();
            let made = unpack(&mut &packed[..], &place.path().join("root").join(name));
            assert_eq!(made.unwrap_err().kind(), io::ErrorKind::InvalidData, "{name}");
        };
        std::fs::create_dir(place.path().join("root")).unwrap();
        check(&|w| w.append_file(b"../out", 0o644, 0, 0).map(drop), "up");
        check(&|w| w.append_file(b"/out", 0o644, 0, 0).map(drop), "absolute");
        check(&|w| w.symlink(b"link", b"../../out", 0o777, 0), "link");
        assert!(!place.path().join("out").exists());
    }
}
