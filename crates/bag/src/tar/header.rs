//! One header block, and the ways in which it writes numbers.

use super::{BLOCK_BYTES, Error};

pub(super) type Block = [u8; BLOCK_BYTES];

/// The dialects that differ in what stands after the magic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Dialect {
    V7,
    Ustar,
    Gnu,
    /// Schily's star: a shorter prefix.
    Star,
}

/// A header block whose checksum holds.
pub(super) struct Header<'a> {
    block: &'a Block,
    offset: u64,
    dialect: Dialect,
}

impl<'a> Header<'a> {
    pub(super) fn new(block: &'a Block, offset: u64) -> Result<Self, Error> {
        let (unsigned, signed) = sums(block);
        let found = number(&block[148..156]);
        if found != Ok(i128::from(unsigned)) && found != Ok(i128::from(signed)) {
            let found = found.map_or_else(|_| "unreadable".into(), |n| n.to_string());
            return Err(Error::Checksum { offset, expected: unsigned, found });
        }
        let dialect = match &block[257..265] {
            b"ustar  \0" => Dialect::Gnu,
            magic if magic.starts_with(b"ustar") && &block[508..512] == b"tar\0" => Dialect::Star,
            magic if magic.starts_with(b"ustar") => Dialect::Ustar,
            _ => Dialect::V7,
        };
        Ok(Header { block, offset, dialect })
    }

    pub(super) fn kind(&self) -> u8 {
        self.block[156]
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let prefix = match self.dialect {
            Dialect::Ustar => text(&self.block[345..500]),
            Dialect::Star => text(&self.block[345..476]),
            Dialect::V7 | Dialect::Gnu => b"",
        };
        let mut path = prefix.to_vec();
        if !prefix.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(text(&self.block[..100]));
        path
    }

    pub(super) fn link(&self) -> Vec<u8> {
        text(&self.block[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32, Error> {
        // Upper bits repeat the type in some tars.
        Ok((self.number(100..108, "mode")? & 0o7777) as u32)
    }

    pub(super) fn size(&self) -> Result<u64, Error> {
        self.unsigned(124..136, "size")
    }

    /// Seconds since 1970.
    pub(super) fn mtime(&self) -> Result<i128, Error> {
        let seconds = self.number(136..148, "mtime")?;
        if i64::try_from(seconds).is_err() {
            return Err(self.wrong("mtime", format!("{seconds} seconds is out of range")));
        }
        Ok(seconds)
    }

    /// A number that may not be negative.
    pub(super) fn unsigned(
        &self,
        range: std::ops::Range<usize>,
        field: &'static str,
    ) -> Result<u64, Error> {
        let number = self.number(range, field)?;
        // i64::MAX is the most that any file can have.
        u64::try_from(number)
            .ok()
            .filter(|n| *n <= i64::MAX as u64)
            .ok_or_else(|| self.wrong(field, format!("{number} is out of range")))
    }

    pub(super) fn byte(&self, at: usize) -> u8 {
        self.block[at]
    }

    fn number(&self, range: std::ops::Range<usize>, field: &'static str) -> Result<i128, Error> {
        number(&self.block[range]).map_err(|reason| self.wrong(field, reason))
    }

    fn wrong(&self, field: &'static str, reason: String) -> Error {
        Error::Field { offset: self.offset, field, reason }
    }
}

/// Whether a block looks like a tar header: its checksum holds.
pub fn is_header(block: &[u8]) -> bool {
    let Some(block) = block.first_chunk::<BLOCK_BYTES>() else { return false };
    block.iter().any(|&b| b != 0) && Header::new(block, 0).is_ok()
}

/// The bytes of a block, its checksum taken for spaces, added up as unsigned and as signed numbers: some
/// old tars did the latter.
pub(super) fn sums(block: &Block) -> (u64, i64) {
    let mut unsigned = 0;
    let mut signed = 0;
    for (at, &byte) in block.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { byte };
        unsigned += u64::from(byte);
        signed += i64::from(byte as i8);
    }
    (unsigned, signed)
}

/// The bytes up to the first NUL.
pub(super) fn text(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&b| b == 0).unwrap_or(field.len());
    &field[..end]
}

/// A number in octal digits, or in base 256 where the first bit is set. An empty field is zero.
pub(super) fn number(field: &[u8]) -> Result<i128, String> {
    match field.first() {
        Some(first) if first & 0x80 != 0 => {
            let negative = first & 0x40 != 0;
            if field.len() > 12 {
                return Err("is too wide".into());
            }
            // The first byte keeps its sign bit and six bits of the number.
            let mut value = i128::from(first & 0x3f) - if negative { 0x40 } else { 0 };
            for &byte in &field[1..] {
                value = value << 8 | i128::from(byte);
            }
            Ok(value)
        }
        _ => {
            let digits = field.trim_ascii_start();
            let end = digits.iter().position(|b| !(b'0'..=b'7').contains(b));
            let (digits, rest) = digits.split_at(end.unwrap_or(digits.len()));
            if !matches!(rest.first(), None | Some(b' ' | 0)) {
                let shown = crate::path::show(field);
                return Err(format!("expected an octal number, found '{shown}'"));
            }
            Ok(digits.iter().fold(0, |value, digit| value << 3 | i128::from(digit - b'0')))
        }
    }
}
