//! The reader.

use std::io::{self, Read, Seek};

use serde::{Deserialize, Serialize};

use super::header::{self, Block, Header};
use super::input::Input;
use super::pax::{self, Record};
use super::sparse::{self, Map};
use super::{BLOCK_BYTES, EXTENSIONS_MAX, Entry, Error, Kind, PATH_BYTES_MAX, PAX_BYTES_MAX};
use crate::path;

/// Reads a tar entry by entry. Between two calls of [`next`](Reader::next) it is a [`Read`] of the
/// current entry's bytes, holes included.
///
/// ```
/// use std::io::Read;
/// use strongroom_bag::tar;
///
/// let mut writer = tar::Writer::new(Vec::new());
/// std::io::Write::write_all(&mut writer.append_file(b"a", 0o644, 0, 5)?, b"hello")?;
/// let bytes = writer.finish()?;
///
/// let mut reader = tar::Reader::new(&bytes[..]);
/// let entry = reader.next()?.expect("one entry");
/// let mut text = String::new();
/// reader.read_to_string(&mut text)?;
/// assert_eq!((entry.path.as_slice(), text.as_str()), (&b"a"[..], "hello"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Reader<R> {
    input: Input<R>,
    globals: Vec<Record>,
    body: Body,
    warnings: Vec<String>,
    ended: bool,
}

/// Where a reader stands between two entries; with it another one goes on.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct State {
    /// The byte at which the next entry's first header begins.
    pub offset: u64,
    globals: Vec<Record>,
}

/// What is left of the current entry.
#[derive(Default)]
struct Body {
    /// Bytes of the file, holes included.
    left: u64,
    /// Stored bytes, without padding.
    stored_left: u64,
    padding: u64,
    holes: Option<Holes>,
}

struct Holes {
    map: Map,
    next: usize,
    at: u64,
}

/// What extension headers say of the entry that follows.
#[derive(Default)]
struct Extensions {
    count: usize,
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: Vec<Record>,
}

impl<R: Read> Reader<R> {
    /// Reads from the start of a tar.
    pub fn new(input: R) -> Self {
        Reader::resume(input, State::default())
    }

    /// Goes on where another reader stood; `input` must stand at [`State::offset`] already.
    pub fn resume(input: R, state: State) -> Self {
        Reader::with_input(Input::new(input, state.offset), state.globals)
    }

    fn with_input(input: Input<R>, globals: Vec<Record>) -> Self {
        Reader { input, globals, body: Body::default(), warnings: Vec::new(), ended: false }
    }

    /// Where the next entry begins, and what global headers said so far.
    pub fn state(&self) -> State {
        let offset = self.input.offset() + self.body.stored_left + self.body.padding;
        State { offset, globals: self.globals.clone() }
    }

    /// What is worth a look: a missing end, or bytes after it. Complete once `next` has said `None`.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The reader below.
    pub fn into_inner(self) -> R {
        self.input.into_inner()
    }

    /// The next entry, `None` at the end. What was not read of the entry before is passed over.
    ///
    /// # Errors
    /// See [`Error`]; after one, the reader is at its end.
    // A method with this name on a streaming reader is what callers look for; it cannot be an Iterator.
    #[allow(clippy::should_implement_trait)]
    pub fn next(&mut self) -> Result<Option<Entry>, Error> {
        if self.ended {
            return Ok(None);
        }
        let entry = self.next_entry();
        if !matches!(entry, Ok(Some(_))) {
            self.ended = true;
            self.body = Body::default();
        }
        entry
    }

    /// Passes over `n` bytes of the current entry; by seeking where the input can.
    ///
    /// # Errors
    /// If the tar ends within them.
    pub fn advance(&mut self, n: u64) -> Result<(), Error> {
        let mut n = n.min(self.body.left);
        if self.body.holes.is_none() {
            self.skip(n, "a file")?;
            self.body.left -= n;
            self.body.stored_left -= n;
            return Ok(());
        }
        let mut scratch = vec![0; 64 * 1024];
        while n > 0 {
            let want = n.min(scratch.len() as u64) as usize;
            n -= self.read_body(&mut scratch[..want])? as u64;
        }
        Ok(())
    }

    fn next_entry(&mut self) -> Result<Option<Entry>, Error> {
        self.skip(self.body.stored_left + self.body.padding, "a file")?;
        self.body = Body::default();
        let header_offset = self.input.offset();
        let mut extensions = Extensions::default();
        loop {
            let offset = self.input.offset();
            let Some(block) = self.header_block(offset, header_offset)? else {
                return Ok(None);
            };
            let header = Header::new(&block, offset)?;
            match header.kind() {
                b'x' | b'X' | b'g' | b'L' | b'K' => {
                    self.extension(&header, offset, &mut extensions)?;
                }
                _ => return self.entry(&header, offset, header_offset, extensions).map(Some),
            }
        }
    }

    /// The next block that is a header; `None` at the end of the archive.
    fn header_block(&mut self, offset: u64, first: u64) -> Result<Option<Block>, Error> {
        let mut block: Block = [0; BLOCK_BYTES];
        let read = self.input.fill(&mut block)?;
        let truncated = |missing| Error::Truncated {
            offset: offset + read as u64,
            inside: "a header",
            missing,
        };
        if read == 0 && offset == first && offset > 0 {
            self.warnings.push(format!("the end of the archive is not marked (byte {offset})"));
            return Ok(None);
        }
        if read < BLOCK_BYTES {
            return Err(truncated((BLOCK_BYTES - read) as u64));
        }
        if block.iter().any(|&b| b != 0) {
            return Ok(Some(block));
        }
        if offset != first {
            let reason = "an extension header is followed by no entry".into();
            return Err(Error::Extension { offset: first, reason });
        }
        match self.input.fill(&mut block)? {
            0 => self.warnings.push(format!("one zero block marks the end, two do (byte {offset})")),
            n if n < BLOCK_BYTES => return Err(truncated((BLOCK_BYTES - n) as u64)),
            _ if block.iter().any(|&b| b != 0) => {
                let at = offset + BLOCK_BYTES as u64;
                let reason = "one zero block, then more; the end is two zero blocks".into();
                return Err(Error::Field { offset: at, field: "end", reason });
            }
            _ => self.drain()?,
        }
        Ok(None)
    }

    /// Reads on to the end of the stream: a compressed one checks its own sum only there.
    fn drain(&mut self) -> Result<(), Error> {
        let mut rest = vec![0; 64 * 1024];
        let mut said = false;
        loop {
            let at = self.input.offset();
            let n = self.input.fill(&mut rest)?;
            if n == 0 {
                return Ok(());
            }
            if !said && rest[..n].iter().any(|&b| b != 0) {
                self.warnings.push(format!("bytes follow the end of the archive (after byte {at})"));
                said = true;
            }
        }
    }

    fn extension(
        &mut self,
        header: &Header<'_>,
        offset: u64,
        extensions: &mut Extensions,
    ) -> Result<(), Error> {
        let wrong = |reason: String| Error::Extension { offset, reason };
        extensions.count += 1;
        if extensions.count > EXTENSIONS_MAX {
            return Err(wrong(format!("more than {EXTENSIONS_MAX} stand before one entry")));
        }
        let bytes = header.size()?;
        let (what, max) = match header.kind() {
            b'L' | b'K' => ("a long name", PATH_BYTES_MAX as u64 + 1),
            _ => ("a PAX header", PAX_BYTES_MAX),
        };
        if bytes > max {
            return Err(Error::TooLarge { offset, what, bytes, max });
        }
        let mut data = vec![0; bytes as usize];
        let read = self.input.fill(&mut data)?;
        if read < data.len() {
            let missing = (data.len() - read) as u64;
            let offset = self.input.offset();
            return Err(Error::Truncated { offset, inside: "an extension header", missing });
        }
        self.skip(padding(bytes), "an extension header")?;
        match header.kind() {
            b'L' => extensions.path = Some(header::text(&data).to_vec()),
            b'K' => extensions.link = Some(header::text(&data).to_vec()),
            b'g' => {
                for record in pax::parse(&data).map_err(wrong)? {
                    self.globals.retain(|known| known.key != record.key);
                    self.globals.push(record);
                }
                let bytes = self.globals.iter().map(|r| r.key.len() + r.value.len()).sum::<usize>();
                if bytes as u64 > PAX_BYTES_MAX {
                    let what = "global PAX headers";
                    let (bytes, max) = (bytes as u64, PAX_BYTES_MAX);
                    return Err(Error::TooLarge { offset, what, bytes, max });
                }
            }
            _ => extensions.records.extend(pax::parse(&data).map_err(wrong)?),
        }
        Ok(())
    }

    fn entry(
        &mut self,
        header: &Header<'_>,
        offset: u64,
        header_offset: u64,
        extensions: Extensions,
    ) -> Result<Entry, Error> {
        let wrong = |reason: &str| Error::Extension { offset: header_offset, reason: reason.into() };
        let globals = std::mem::take(&mut self.globals);
        // The last record with a key holds, local ones after global ones; an empty value takes it back.
        let record = |key: &[u8]| {
            let local = extensions.records.iter().rev().find(|r| r.key == key);
            local
                .or_else(|| globals.iter().rev().find(|r| r.key == key))
                .map(|r| r.value.as_slice())
                .filter(|value| !value.is_empty())
        };
        let number = |key: &[u8]| match record(key) {
            Some(value) => pax::unsigned(value).map(Some).ok_or_else(|| wrong("a broken number")),
            None => Ok(None),
        };
        let path = record(b"GNU.sparse.name")
            .or_else(|| record(b"path"))
            .map(<[u8]>::to_vec)
            .or(extensions.path.clone())
            .unwrap_or_else(|| header.path());
        let link = record(b"linkpath")
            .map(<[u8]>::to_vec)
            .or(extensions.link.clone())
            .unwrap_or_else(|| header.link());
        for (what, text) in [("a path", &path), ("a link", &link)] {
            if text.len() > PATH_BYTES_MAX {
                let (bytes, max) = (text.len() as u64, PATH_BYTES_MAX as u64);
                return Err(Error::TooLarge { offset: header_offset, what, bytes, max });
            }
        }
        let mtime_ns = match record(b"mtime") {
            Some(value) => pax::time_ns(value).ok_or_else(|| wrong("mtime is no time"))?,
            None => header.mtime()? * 1_000_000_000,
        };
        let claimed = match number(b"size")? {
            Some(size) => size,
            None => header.size()?,
        };
        let slash = path.last() == Some(&b'/');
        let (kind, has_data) = match header.kind() {
            0 | b'0' | b'7' if slash => (Kind::Folder, false),
            0 | b'0' | b'7' | b'S' => (Kind::File, true),
            b'1' => (Kind::HardLink(path::clean(&link).to_vec()), false),
            b'2' => (Kind::Symlink(link), false),
            b'3' | b'4' => (Kind::Device, false),
            b'5' => (Kind::Folder, false),
            b'6' => (Kind::Fifo, false),
            // GNU's incremental dumps: a folder that carries a list of names.
            b'D' => (Kind::Folder, true),
            other => (Kind::Other(other), true),
        };
        let stored = if has_data { claimed } else { 0 };
        if offset.checked_add(stored).is_none_or(|end| end > i64::MAX as u64) {
            let (what, max) = ("an entry", i64::MAX as u64 - offset.min(i64::MAX as u64));
            return Err(Error::TooLarge { offset: header_offset, what, bytes: stored, max });
        }

        let mut map_bytes = 0;
        let mut map = None;
        if header.kind() == b'S' {
            let next_block = || self.map_block();
            map = Some(sparse::old_gnu(header, header_offset, next_block)?);
        }
        let data_offset = self.input.offset();
        if kind == Kind::File && header.kind() != b'S' {
            if record(b"GNU.sparse.major") == Some(b"1") {
                let size = number(b"GNU.sparse.realsize")?
                    .ok_or_else(|| wrong("GNU.sparse.realsize is missing"))?;
                let mut left = stored;
                let (found, taken) = sparse::pax_1(size, header_offset, || {
                    left = left.checked_sub(BLOCK_BYTES as u64).ok_or_else(|| Error::Sparse {
                        offset: header_offset,
                        reason: "the map is longer than what is stored".into(),
                    })?;
                    self.map_block()
                })?;
                (map, map_bytes) = (Some(found), taken);
            } else {
                map = sparse::pax_0(&extensions.records, header_offset)?;
            }
        }
        let map = map.map(|map| map.check(stored - map_bytes, header_offset)).transpose()?;

        let size = match (&kind, &map) {
            (Kind::File, Some(map)) => map.size,
            (Kind::File, None) => stored,
            _ => 0,
        };
        let sparse = map.is_some();
        self.body = Body {
            left: size,
            stored_left: stored - map_bytes,
            padding: padding(stored),
            holes: map.map(|map| Holes { map, next: 0, at: 0 }),
        };
        let path = path::clean(&path).to_vec();
        let mode = header.mode()?;
        self.globals = globals;
        Ok(Entry { path, kind, mode, mtime_ns, size, stored, header_offset, data_offset, sparse })
    }

    fn map_block(&mut self) -> Result<Block, Error> {
        let mut block: Block = [0; BLOCK_BYTES];
        let read = self.input.fill(&mut block)?;
        if read < BLOCK_BYTES {
            let missing = (BLOCK_BYTES - read) as u64;
            let offset = self.input.offset();
            return Err(Error::Truncated { offset, inside: "the map of a sparse file", missing });
        }
        Ok(block)
    }

    fn skip(&mut self, n: u64, inside: &'static str) -> Result<(), Error> {
        match self.input.skip(n)? {
            0 => Ok(()),
            missing => Err(Error::Truncated { offset: self.input.offset(), inside, missing }),
        }
    }

    fn read_body(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let mut want = out.len().min(usize::try_from(self.body.left).unwrap_or(usize::MAX));
        if want == 0 {
            return Ok(0);
        }
        if let Some(holes) = &mut self.body.holes {
            while holes.map.pieces.get(holes.next).is_some_and(|p| p.offset + p.length <= holes.at) {
                holes.next += 1;
            }
            let piece = holes.map.pieces.get(holes.next);
            let hole = piece.map_or(self.body.left, |p| p.offset.saturating_sub(holes.at));
            if hole > 0 {
                want = want.min(usize::try_from(hole).unwrap_or(usize::MAX));
                out[..want].fill(0);
                holes.at += want as u64;
                self.body.left -= want as u64;
                return Ok(want);
            }
            let rest = piece.map_or(0, |p| p.offset + p.length - holes.at);
            want = want.min(usize::try_from(rest).unwrap_or(usize::MAX));
        }
        let n = self.input.read(&mut out[..want])?;
        if n == 0 {
            let (offset, missing) = (self.input.offset(), self.body.stored_left);
            return Err(Error::Truncated { offset, inside: "a file", missing });
        }
        self.body.left -= n as u64;
        self.body.stored_left -= n as u64;
        if let Some(holes) = &mut self.body.holes {
            holes.at += n as u64;
        }
        Ok(n)
    }
}

impl<R: Read + Seek> Reader<R> {
    /// Reads from the start, and seeks over what is not read: for walking headers.
    ///
    /// # Errors
    /// If the input cannot be sought.
    pub fn with_seek(input: R) -> io::Result<Self> {
        Reader::resume_with_seek(input, State::default())
    }

    /// Goes to where another reader stood, and on from there, seeking over what is not read.
    ///
    /// # Errors
    /// If the input cannot be sought.
    pub fn resume_with_seek(input: R, state: State) -> io::Result<Self> {
        Ok(Reader::with_input(Input::seeking(input, state.offset)?, state.globals))
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.read_body(out).map_err(io::Error::from)
    }
}

fn padding(bytes: u64) -> u64 {
    bytes.wrapping_neg() % BLOCK_BYTES as u64
}
