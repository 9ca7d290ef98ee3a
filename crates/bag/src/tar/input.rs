//! A buffered reader that counts bytes, and seeks over those nobody wants where it can.

use std::io::{self, Read, Seek, SeekFrom};

use strongroom_digest::Pages;

use super::Error;

/// What one read of a stream asks for, in bytes.
const BUFFER_BYTES: usize = 64 * 1024;

/// The same where headers are walked and data is skipped: little is read for nothing.
const SEEKING_BUFFER_BYTES: usize = 4096;

pub(super) struct Input<R> {
    inner: R,
    buffer: Pages,
    from: usize,
    to: usize,
    /// The offset in the stream of the next byte that is handed out.
    offset: u64,
    seeking: Option<Seeking<R>>,
}

struct Seeking<R> {
    seek_by: fn(&mut R, i64) -> io::Result<()>,
    length: u64,
}

impl<R: Read> Input<R> {
    pub(super) fn new(inner: R, offset: u64) -> Self {
        let buffer = Pages::new(BUFFER_BYTES);
        Input { inner, buffer, from: 0, to: 0, offset, seeking: None }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    pub(super) fn into_inner(self) -> R {
        self.inner
    }

    fn fail(&self, source: io::Error) -> Error {
        Error::Io { offset: self.offset, source }
    }

    /// Fills `out` as far as the stream goes; less only at its end.
    pub(super) fn fill(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        let mut done = 0;
        while done < out.len() {
            match self.read(&mut out[done..])? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    /// Reads some bytes; none only at the end, or into nothing.
    pub(super) fn read(&mut self, out: &mut [u8]) -> Result<usize, Error> {
        if self.from == self.to {
            // A large read goes past the buffer.
            if out.len() >= self.buffer.len() {
                let n = retry(|| self.inner.read(out)).map_err(|e| self.fail(e))?;
                self.offset += n as u64;
                return Ok(n);
            }
            self.from = 0;
            self.to = 0;
            self.to = retry(|| self.inner.read(&mut self.buffer)).map_err(|e| self.fail(e))?;
        }
        let n = out.len().min(self.to - self.from);
        out[..n].copy_from_slice(&self.buffer[self.from..self.from + n]);
        self.from += n;
        self.offset += n as u64;
        Ok(n)
    }

    /// Passes over `n` bytes; says how many of them the stream does not have.
    pub(super) fn skip(&mut self, mut n: u64) -> Result<u64, Error> {
        let buffered = n.min((self.to - self.from) as u64);
        self.from += buffered as usize;
        self.offset += buffered;
        n -= buffered;
        if n == 0 {
            return Ok(0);
        }
        if let Some(seeking) = &self.seeking {
            let there = n.min(seeking.length.saturating_sub(self.offset));
            let by = i64::try_from(there).unwrap_or(i64::MAX);
            (seeking.seek_by)(&mut self.inner, by).map_err(|e| self.fail(e))?;
            self.offset += there;
            return Ok(n - there);
        }
        while n > 0 {
            self.from = 0;
            self.to = 0;
            self.to = retry(|| self.inner.read(&mut self.buffer)).map_err(|e| self.fail(e))?;
            if self.to == 0 {
                return Ok(n);
            }
            self.from = n.min(self.to as u64) as usize;
            self.offset += self.from as u64;
            n -= self.from as u64;
        }
        Ok(0)
    }
}

impl<R: Read + Seek> Input<R> {
    /// Goes to `offset` and reads from there.
    pub(super) fn seeking(mut inner: R, offset: u64) -> io::Result<Self> {
        let length = inner.seek(SeekFrom::End(0))?;
        inner.seek(SeekFrom::Start(offset))?;
        let seeking = Seeking {
            seek_by: |inner: &mut R, by| inner.seek(SeekFrom::Current(by)).map(|_| ()),
            length,
        };
        let buffer = Pages::new(SEEKING_BUFFER_BYTES);
        Ok(Input { inner, buffer, from: 0, to: 0, offset, seeking: Some(seeking) })
    }
}

fn retry(mut read: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}
