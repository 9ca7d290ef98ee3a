//! The writer: ustar where it suffices, PAX where it does not.

use std::io::{self, Write};

use super::header::{self, Block};
use super::{BLOCK_BYTES, pax};

/// Writes a tar. Files that ustar cannot describe (long names, names that are not UTF-8, times finer than
/// seconds, 8 GiB and more) get a PAX header, which GNU tar and Python's tarfile understand.
pub struct Writer<W> {
    out: W,
    /// Bytes that the current file still owes, and its padding.
    owed: u64,
    padding: usize,
}

/// What one octal field of twelve bytes can say.
const OCTAL_MAX: u64 = 0o77_777_777_777;

impl<W: Write> Writer<W> {
    /// Writes to `out`, in small pieces: a buffer below is worth having.
    pub fn new(out: W) -> Self {
        Writer { out, owed: 0, padding: 0 }
    }

    /// Begins a file of `size` bytes; they are then written to what this returns.
    ///
    /// # Errors
    /// What the writer below says; `InvalidInput` if the file before is not complete.
    pub fn append_file(
        &mut self,
        path: &[u8],
        mode: u32,
        mtime_ns: i128,
        size: u64,
    ) -> io::Result<FileWriter<'_, W>> {
        self.header(b'0', path, b"", mode, mtime_ns, size)?;
        self.owed = size;
        self.padding = (size.wrapping_neg() % BLOCK_BYTES as u64) as usize;
        Ok(FileWriter { writer: self })
    }

    /// Goes on with the file that was begun last.
    pub fn data(&mut self) -> FileWriter<'_, W> {
        FileWriter { writer: self }
    }

    /// Goes on with a file of `size` bytes of which another writer wrote the first `done`, and nothing
    /// after them.
    pub fn resume_file(&mut self, size: u64, done: u64) {
        self.owed = size.saturating_sub(done);
        self.padding = (size.wrapping_neg() % BLOCK_BYTES as u64) as usize;
    }

    /// The writer below, in the middle of a file.
    pub fn within(&mut self) -> &mut W {
        &mut self.out
    }

    /// Adds a folder.
    ///
    /// # Errors
    /// As for [`append_file`](Writer::append_file).
    pub fn folder(&mut self, path: &[u8], mode: u32, mtime_ns: i128) -> io::Result<()> {
        let mut path = path.to_vec();
        if !path.ends_with(b"/") {
            path.push(b'/');
        }
        self.header(b'5', &path, b"", mode, mtime_ns, 0)
    }

    /// Adds a symbolic link.
    ///
    /// # Errors
    /// As for [`append_file`](Writer::append_file).
    pub fn symlink(
        &mut self,
        path: &[u8],
        target: &[u8],
        mode: u32,
        mtime_ns: i128,
    ) -> io::Result<()> {
        self.header(b'2', path, target, mode, mtime_ns, 0)
    }

    /// Fills the last block of the file before, so that a writer over what is then written below goes
    /// on there. Returns that.
    ///
    /// # Errors
    /// What the writer below says; `InvalidInput` if the last file is not complete.
    pub fn settle(&mut self) -> io::Result<&mut W> {
        self.end_file()?;
        Ok(&mut self.out)
    }

    /// Marks the end of the archive, and gives back the writer below, flushed.
    ///
    /// # Errors
    /// What the writer below says; `InvalidInput` if the last file is not complete.
    pub fn finish(mut self) -> io::Result<W> {
        self.end_file()?;
        self.out.write_all(&[0; 2 * BLOCK_BYTES])?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_file(&mut self) -> io::Result<()> {
        if self.owed > 0 {
            let what = format!("the file before lacks {} bytes", self.owed);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let padding = std::mem::take(&mut self.padding);
        self.out.write_all(&[0; BLOCK_BYTES][..padding])
    }

    fn header(
        &mut self,
        kind: u8,
        path: &[u8],
        link: &[u8],
        mode: u32,
        mtime_ns: i128,
        size: u64,
    ) -> io::Result<()> {
        self.end_file()?;
        if path.is_empty() || path.contains(&0) || link.contains(&0) {
            let what = "a path is empty, or holds a NUL byte";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let mut records = Vec::new();
        let not_utf8 = |text: &[u8]| std::str::from_utf8(text).is_err();
        // Names in ASCII mean the same to everybody; others only with a PAX header.
        let mut plain = Plain { kind, prefix: b"", name: path, link, mode, size, seconds: 0 };
        let split = split(path).filter(|_| path.is_ascii());
        if not_utf8(path) && split.is_none() || not_utf8(link) {
            pax::write(&mut records, "hdrcharset", b"BINARY");
        }
        match split {
            Some((prefix, name)) => (plain.prefix, plain.name) = (prefix, name),
            None => {
                pax::write(&mut records, "path", path);
                plain.name = &path[..path.len().min(100)];
            }
        }
        if link.len() > 100 || !link.is_ascii() {
            pax::write(&mut records, "linkpath", link);
            plain.link = &link[..link.len().min(100)];
        }
        let seconds = mtime_ns.div_euclid(1_000_000_000);
        plain.seconds = u64::try_from(seconds).unwrap_or(0).min(OCTAL_MAX);
        if i128::from(plain.seconds) * 1_000_000_000 != mtime_ns {
            pax::write(&mut records, "mtime", pax::write_time(mtime_ns).as_bytes());
        }
        if size > OCTAL_MAX {
            pax::write(&mut records, "size", size.to_string().as_bytes());
            plain.size = 0;
        }
        if !records.is_empty() {
            let bytes = records.len() as u64;
            let name = b"PaxHeaders/entry";
            let extension = Plain {
                kind: b'x',
                prefix: b"",
                name,
                link: b"",
                mode: 0o644,
                size: bytes,
                seconds: 0,
            };
            self.out.write_all(&extension.block())?;
            records.resize(records.len().next_multiple_of(BLOCK_BYTES), 0);
            self.out.write_all(&records)?;
        }
        self.out.write_all(&plain.block())
    }
}

/// The bytes of one file of a [`Writer`]. More than were announced are refused; fewer, at the next entry.
pub struct FileWriter<'a, W> {
    writer: &'a mut Writer<W>,
}

impl<W: Write> Write for FileWriter<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.writer.owed {
            let what =
                format!("{} bytes more than announced", bytes.len() as u64 - self.writer.owed);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
        }
        let n = self.writer.out.write(bytes)?;
        self.writer.owed -= n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.out.flush()
    }
}

/// A header that fits ustar.
struct Plain<'a> {
    kind: u8,
    prefix: &'a [u8],
    name: &'a [u8],
    link: &'a [u8],
    mode: u32,
    size: u64,
    seconds: u64,
}

impl Plain<'_> {
    fn block(&self) -> Block {
        let mut block: Block = [0; BLOCK_BYTES];
        let mut put = |at: usize, bytes: &[u8]| {
            block[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(0, self.name);
        put(100, format!("{:07o}", self.mode & 0o7777).as_bytes());
        put(108, b"0000000");
        put(116, b"0000000");
        put(124, format!("{:011o}", self.size).as_bytes());
        put(136, format!("{:011o}", self.seconds).as_bytes());
        put(156, &[self.kind]);
        put(157, self.link);
        put(257, b"ustar\x0000");
        put(329, b"0000000");
        put(337, b"0000000");
        put(345, self.prefix);
        let (sum, _) = header::sums(&block);
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        block
    }
}

/// A path cut at a slash into ustar's prefix and name; `None` if it does not fit.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 {
        return Some((b"", path));
    }
    let slash = (1..path.len() - 1).find(|&at| path[at] == b'/' && path.len() - at - 1 <= 100)?;
    (slash <= 155).then_some((&path[..slash], &path[slash + 1..]))
}
