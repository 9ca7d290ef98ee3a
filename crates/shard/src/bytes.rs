//! Reading fixed-order fields from bytes that nobody vouches for, and writing them.

use crate::Error;

/// A cursor that never passes the end, and names what it was reading when it would have.
pub(crate) struct Reader<'a> {
    what: &'static str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Reader { what, bytes, at: 0 }
    }

    /// Checks magic and version, with which every stored thing begins.
    pub(crate) fn begin(&mut self, magic: &[u8; 8], known: u16) -> Result<(), Error> {
        if self.take(8)? != magic {
            return Err(Error::Magic { what: self.what });
        }
        let version = self.u16()?;
        if version > known {
            return Err(Error::Newer { what: self.what, version, known });
        }
        if version == 0 {
            return Err(self.malformed("there is no version 0"));
        }
        Ok(())
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8], Error> {
        let rest = &self.bytes[self.at..];
        if rest.len() < len {
            let needed = (self.at as u64).saturating_add(len as u64);
            return Err(Error::Truncated {
                what: self.what,
                needed,
                have: self.bytes.len() as u64,
            });
        }
        self.at += len;
        Ok(&rest[..len])
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// Hashes, 32 bytes each.
    pub(crate) fn hashes(&mut self, count: usize) -> Result<Vec<[u8; 32]>, Error> {
        let bytes = self.take(count.saturating_mul(32))?;
        Ok(bytes.as_chunks::<32>().0.to_vec())
    }

    /// A part that says its own length in a u32.
    pub(crate) fn part(&mut self, part: &'static str, max: usize) -> Result<&'a [u8], Error> {
        let len = self.u32()? as usize;
        if len > max {
            return Err(Error::TooLarge { what: part, bytes: len as u64, max: max as u64 });
        }
        self.take(len)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Nothing may follow the last field.
    pub(crate) fn end(&self) -> Result<(), Error> {
        if self.is_empty() {
            return Ok(());
        }
        Err(self.malformed("bytes follow its last field"))
    }

    pub(crate) fn malformed(&self, why: &'static str) -> Error {
        Error::Malformed { what: self.what, why }
    }
}

/// Appends `part` behind its length in a u32.
pub(crate) fn put_part(out: &mut Vec<u8>, part: &[u8]) {
    let len = u32::try_from(part.len()).expect("parts are bounded far below 4 GiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(part);
}
