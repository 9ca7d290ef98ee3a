//! The header of a shard: what it is a piece of, and how the segment's key is found.

use crate::bytes::Reader;
use crate::{BLOCK, CHUNK, Error};

const MAGIC: &[u8; 8] = b"SR-SHARD";
const WHAT: &str = "the header of a shard";
pub(crate) const VERSION: u16 = 1;
/// The first bytes of every header, of this and all later versions, that a keeper understands.
pub const OUTER_HEAD_BYTES: usize = 64;
/// Where the shard's index stands: the only byte of a header that differs between shards.
pub(crate) const INDEX_AT: usize = 60;
/// The longest header, in bytes.
pub const HEADER_BYTES_MAX: usize = 8192;
/// X-Wing, HKDF-SHA256, AES-256-GCM in a STREAM, SHA-256, BLAKE3, Reed–Solomon, Ed25519, no
/// compression.
pub(crate) const SUITE: u16 = 1;

/// What a segment holds. It is signed, and a writer is certified for some kinds only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Bytes of files.
    Data,
    /// A version's record.
    Record,
    /// A part of a journal.
    Journal,
    /// Seeds of earlier generations.
    Keyring,
    /// A kind that this program does not know; it is kept and audited all the same.
    Other(u8),
}

impl Kind {
    /// The number that stands for it in headers and certificates.
    pub fn number(self) -> u8 {
        match self {
            Kind::Data => 1,
            Kind::Record => 2,
            Kind::Journal => 3,
            Kind::Keyring => 4,
            Kind::Other(number) => number,
        }
    }

    /// The kind that a number stands for.
    pub fn from_number(number: u8) -> Kind {
        match number {
            1 => Kind::Data,
            2 => Kind::Record,
            3 => Kind::Journal,
            4 => Kind::Keyring,
            other => Kind::Other(other),
        }
    }
}

/// Which coding of a segment: raised each time that the same ciphertext is coded anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodingNumber {
    /// The archive's epoch; decides before the number.
    pub epoch: u32,
    /// The number within the epoch.
    pub number: u32,
}

/// A field that a later version may add and this one passes on unread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// What it is.
    pub tag: u16,
    /// Its value.
    pub value: Vec<u8>,
}

/// The header of a shard; equal in all n shards of a coding but for `index`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The algorithms; 1 is the only one so far.
    pub suite: u16,
    /// What the segment holds.
    pub kind: Kind,
    /// Whose it is.
    pub institution: [u8; 16],
    /// The generation of the institution's key that it is sealed to.
    pub generation: u32,
    /// The segment's id.
    pub segment: [u8; 16],
    /// Which coding of the segment.
    pub coding: CodingNumber,
    /// Shards needed.
    pub k: u8,
    /// Shards made.
    pub n: u8,
    /// Which of the n this is.
    pub index: u8,
    /// Bytes in a block.
    pub block: u32,
    /// Plaintext bytes in a chunk.
    pub chunk: u32,
    /// The HPKE encapsulation and the sealed segment key.
    pub wrapped: Vec<u8>,
    /// Further fields, signed like the rest.
    pub fields: Vec<Field>,
}

impl Header {
    /// The bytes of the header.
    ///
    /// # Panics
    /// If `wrapped` or a field is longer than 65,535 bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(OUTER_HEAD_BYTES + 10 + self.wrapped.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.suite.to_le_bytes());
        out.extend_from_slice(&[0; 4]); // The length, known at the end.
        out.extend_from_slice(&self.institution);
        out.extend_from_slice(&self.segment);
        out.extend_from_slice(&self.coding.epoch.to_le_bytes());
        out.extend_from_slice(&self.coding.number.to_le_bytes());
        out.extend_from_slice(&self.block.to_le_bytes());
        out.extend_from_slice(&[self.index, self.kind.number(), self.k, self.n]);
        debug_assert_eq!(out.len(), OUTER_HEAD_BYTES);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.extend_from_slice(&self.chunk.to_le_bytes());
        put_short(&mut out, &self.wrapped);
        for field in &self.fields {
            out.extend_from_slice(&field.tag.to_le_bytes());
            put_short(&mut out, &field.value);
        }
        let len = u32::try_from(out.len()).expect("a header is far below 4 GiB");
        out[12..16].copy_from_slice(&len.to_le_bytes());
        out
    }

    /// Reads a header from the start of a shard; gives its length in bytes too.
    pub fn parse(shard: &[u8]) -> Result<(Header, usize), Error> {
        let mut reader = Reader::new(WHAT, shard);
        reader.begin(MAGIC, VERSION)?;
        let suite = reader.u16()?;
        let len = header_len(reader.u32()?)?;
        let Some(bytes) = shard.get(..len) else {
            let (needed, have) = (len as u64, shard.len() as u64);
            return Err(Error::Truncated { what: WHAT, needed, have });
        };
        let mut reader = Reader::new(WHAT, bytes);
        reader.take(16)?;
        let institution = reader.array()?;
        let segment = reader.array()?;
        let coding = CodingNumber { epoch: reader.u32()?, number: reader.u32()? };
        let block = reader.u32()?;
        let [index, kind, k, n] = reader.array()?;
        let generation = reader.u32()?;
        let chunk = reader.u32()?;
        let wrapped = take_short(&mut reader)?;
        let mut fields = Vec::new();
        while !reader.is_empty() {
            fields.push(Field { tag: reader.u16()?, value: take_short(&mut reader)? });
        }
        if k == 0 || k > n {
            return Err(Error::Coding { k, n });
        }
        if index >= n {
            return Err(Error::Index { index });
        }
        if block as usize != BLOCK || chunk as usize != CHUNK {
            return Err(reader.malformed("version 1 has blocks of 16 KiB and chunks of 64 KiB"));
        }
        let kind = Kind::from_number(kind);
        let header = Header {
            suite,
            kind,
            institution,
            generation,
            segment,
            coding,
            k,
            n,
            index,
            block,
            chunk,
            wrapped,
            fields,
        };
        Ok((header, len))
    }

    /// The bytes that are equal in all n shards: the header with 0 for its index.
    pub(crate) fn common(&self) -> Vec<u8> {
        let mut bytes = self.encode();
        bytes[INDEX_AT] = 0;
        bytes
    }
}

/// What a keeper reads of a header of any version.
pub(crate) struct OuterHead {
    pub(crate) version: u16,
    pub(crate) header_len: usize,
    pub(crate) institution: [u8; 16],
    pub(crate) segment: [u8; 16],
    pub(crate) coding: CodingNumber,
    pub(crate) block: u32,
    pub(crate) index: u8,
    pub(crate) kind: Kind,
}

impl OuterHead {
    pub(crate) fn parse(shard: &[u8]) -> Result<OuterHead, Error> {
        let mut reader = Reader::new(WHAT, shard);
        reader.begin(MAGIC, u16::MAX)?;
        let version = u16::from_le_bytes([shard[8], shard[9]]);
        reader.take(2)?;
        Ok(OuterHead {
            version,
            header_len: header_len(reader.u32()?)?,
            institution: reader.array()?,
            segment: reader.array()?,
            coding: CodingNumber { epoch: reader.u32()?, number: reader.u32()? },
            block: reader.u32()?,
            index: reader.u8()?,
            kind: Kind::from_number(reader.u8()?),
        })
    }
}

fn header_len(len: u32) -> Result<usize, Error> {
    let len = len as usize;
    if len > HEADER_BYTES_MAX {
        let (bytes, max) = (len as u64, HEADER_BYTES_MAX as u64);
        return Err(Error::TooLarge { what: WHAT, bytes, max });
    }
    if len < OUTER_HEAD_BYTES {
        return Err(Error::Malformed { what: WHAT, why: "it is shorter than its fixed fields" });
    }
    Ok(len)
}

fn put_short(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = u16::try_from(bytes.len()).expect("a field of a header is below 64 KiB");
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(bytes);
}

fn take_short(reader: &mut Reader<'_>) -> Result<Vec<u8>, Error> {
    let len = reader.u16()?;
    Ok(reader.take(usize::from(len))?.to_vec())
}
