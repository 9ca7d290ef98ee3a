//! A folder as a tar, on its way to somewhere.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use strongroom_bag::{tar, tree};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;

/// Writes `root` to `out` as a tar whose paths begin below it: files with mode and time, links, empty
/// folders. A file that is cut short while it is read breaks it off; bytes that are added to one
/// meanwhile are left out.
pub fn pack(root: &Path, out: &mut dyn Write) -> io::Result<()> {
    let mut writer = tar::Writer::new(out);
    let mut buffer = vec![0; READ_BYTES];
    for entry in tree::Walk::new(root)? {
        let entry = entry.map_err(io::Error::other)?;
        let (path, mode, time) = (&entry.path, entry.mode, entry.mtime_ns);
        match &entry.kind {
            tree::Kind::Folder | tree::Kind::EmptyFolder => writer.folder(path, mode, time)?,
            tree::Kind::Symlink { target } => writer.symlink(path, target, mode, time)?,
            tree::Kind::File => {
                let full = root.join(std::ffi::OsStr::from_bytes(path));
                let told = |error: io::Error| {
                    io::Error::new(error.kind(), format!("{}: {error}", full.display()))
                };
                let file = File::open(&full).map_err(told)?;
                let mut rest = file.take(entry.size);
                let mut into = writer.append_file(path, mode, time, entry.size)?;
                loop {
                    let read = rest.read(&mut buffer).map_err(told)?;
                    match read {
                        0 if rest.limit() > 0 => {
                            return Err(told(io::Error::other("it was cut while it was read")));
                        }
                        0 => break,
                        read => into.write_all(&buffer[..read])?,
                    }
                }
            }
            tree::Kind::Other => {
                let path = strongroom_bag::path::show(path);
                let why = format!("{path} is a device, a socket or a pipe, which cannot be kept");
                return Err(io::Error::new(io::ErrorKind::InvalidInput, why));
            }
        }
    }
    writer.finish()?;
    Ok(())
}
