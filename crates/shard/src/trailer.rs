//! The trailer of a shard: the tree of its blocks, what its writer claims, and the signature.

use crate::bytes::{Reader, put_part};
use crate::certificate::{CERTIFICATE_BYTES_MAX, Certificate, Writer, is_signed};
use crate::header::{HEADER_BYTES_MAX, Header, INDEX_AT, OuterHead, VERSION};
use crate::{BLOCK, CodingNumber, Error, Kind};

const MAGIC: &[u8; 8] = b"SR-TRAIL";
const WHAT: &str = "the trailer of a shard";
const SHARD_LABEL: &[u8] = b"strongroom shard 1";
/// The last bytes of every shard, in this and all later versions.
pub const FOOTER_BYTES: usize = 48;
/// The longest trailer, in bytes: the tree of a whole segment in one shard, 255 roots, two
/// certificates and an origin's header.
pub const TRAILER_BYTES_MAX: usize = 256 << 10;
const ORIGIN_BYTES_MAX: usize = HEADER_BYTES_MAX + CERTIFICATE_BYTES_MAX + 255 * 32 + 1024;

/// What a writer says of all n shards; the signature covers it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// Bytes of plaintext in the segment.
    pub plaintext_bytes: u64,
    /// Bytes of ciphertext in the segment.
    pub ciphertext_bytes: u64,
    /// Bytes of blocks in each shard.
    pub blocks_bytes: u64,
    /// The BLAKE3 of each shard's blocks; one for all where k = 1.
    pub roots: Vec<[u8; 32]>,
    /// Who signs.
    pub certificate: Certificate,
}

impl Claims {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.plaintext_bytes.to_le_bytes());
        out.extend_from_slice(&self.ciphertext_bytes.to_le_bytes());
        out.extend_from_slice(&self.blocks_bytes.to_le_bytes());
        let count = u16::try_from(self.roots.len()).expect("there are at most 255 shards");
        out.extend_from_slice(&count.to_le_bytes());
        self.roots.iter().for_each(|root| out.extend_from_slice(root));
        put_part(out, &self.certificate.encode());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Claims, Error> {
        let (plaintext_bytes, ciphertext_bytes) = (reader.u64()?, reader.u64()?);
        let blocks_bytes = reader.u64()?;
        let count = reader.u16()?;
        if count == 0 || count > 255 {
            return Err(reader.malformed("there are 1 to 255 roots"));
        }
        let roots = reader.hashes(usize::from(count))?;
        let certificate = reader.part("a writer's certificate", CERTIFICATE_BYTES_MAX)?;
        let certificate = Certificate::parse(certificate)?;
        Ok(Claims { plaintext_bytes, ciphertext_bytes, blocks_bytes, roots, certificate })
    }

    /// The root of a shard's blocks.
    pub(crate) fn root(&self, index: u8) -> Option<[u8; 32]> {
        match self.roots.as_slice() {
            [all] => Some(*all),
            roots => roots.get(usize::from(index)).copied(),
        }
    }
}

/// The first coding of a segment that was coded anew: what its writer signed then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// The header of its shards, with index 0.
    pub header: Header,
    /// What its writer claimed.
    pub claims: Claims,
    /// The signature over both.
    pub signature: [u8; 64],
}

impl Origin {
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_part(&mut out, &self.header.common());
        self.claims.encode(&mut out);
        out.extend_from_slice(&self.signature);
        out
    }

    fn parse(bytes: &[u8]) -> Result<Origin, Error> {
        let mut reader = Reader::new("the origin of a shard", bytes);
        let header = reader.part("the header of an origin", HEADER_BYTES_MAX)?;
        let (header, len) = match Header::parse(header)? {
            (parsed, len) if len == header.len() => (parsed, len),
            _ => return Err(reader.malformed("bytes follow its header")),
        };
        debug_assert!(len <= HEADER_BYTES_MAX);
        if header.index != 0 {
            return Err(reader.malformed("its header has an index"));
        }
        let claims = Claims::read(&mut reader)?;
        let signature = reader.array()?;
        reader.end()?;
        Ok(Origin { header, claims, signature })
    }
}

/// What follows the blocks of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailer {
    /// The leaves of this shard's tree: all that differs between the n trailers.
    pub tree: Vec<[u8; 32]>,
    /// What the writer says of all n shards.
    pub claims: Claims,
    /// The first coding, where this is a later one.
    pub origin: Option<Origin>,
    /// The writer's signature over header, claims and origin.
    pub signature: [u8; 64],
}

impl Trailer {
    /// The bytes of the trailer, footer included, of a shard with a header of so many bytes.
    pub fn encode(&self, header_len: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + 32 * (self.tree.len() + self.claims.roots.len()));
        self.tree.iter().for_each(|leaf| out.extend_from_slice(leaf));
        out.extend_from_slice(&self.common());
        let trailer_len = out.len() + FOOTER_BYTES;
        let footer = Footer {
            version: VERSION,
            block: BLOCK as u32,
            header_len: header_len as u32,
            trailer_len: trailer_len as u32,
            tree_len: self.tree.len() as u32 * 32,
            blocks_len: self.claims.blocks_bytes,
            tree_offset: header_len as u64 + self.claims.blocks_bytes,
        };
        out.extend_from_slice(&footer.encode());
        out
    }

    /// Reads a whole trailer, footer included. Nothing is verified yet: see [`crate::verify`].
    pub fn parse(bytes: &[u8]) -> Result<Trailer, Error> {
        let footer = Footer::parse(bytes)?;
        if footer.version > VERSION {
            let (version, known) = (footer.version, VERSION);
            return Err(Error::Newer { what: WHAT, version, known });
        }
        if footer.trailer_len as usize != bytes.len() {
            let (needed, have) = (u64::from(footer.trailer_len), bytes.len() as u64);
            return Err(Error::Truncated { what: WHAT, needed, have });
        }
        let mut reader = Reader::new(WHAT, &bytes[..bytes.len() - FOOTER_BYTES]);
        let tree = reader.hashes(footer.tree_len as usize / 32)?;
        let claims = Claims::read(&mut reader)?;
        let origin = match reader.part("the origin of a shard", ORIGIN_BYTES_MAX)? {
            [] => None,
            bytes => Some(Origin::parse(bytes)?),
        };
        let signature = reader.array()?;
        reader.end()?;
        if footer.blocks_len != claims.blocks_bytes {
            return Err(reader.malformed("its footer has another length than what is signed"));
        }
        Ok(Trailer { tree, claims, origin, signature })
    }

    /// The trailer of a shard with this header, signed.
    pub(crate) fn sign(
        header: &Header,
        tree: Vec<[u8; 32]>,
        claims: Claims,
        origin: Option<Origin>,
        writer: &Writer,
    ) -> Trailer {
        let signature = writer.sign(&message(header, &claims, origin.as_ref()));
        Trailer { tree, claims, origin, signature }
    }

    /// Whether the certified writer signed this trailer for this header.
    pub(crate) fn is_signed(&self, header: &Header) -> bool {
        let message = message(header, &self.claims, self.origin.as_ref());
        is_signed(&self.claims.certificate.writer(), &message, &self.signature)
    }

    /// What is equal in the trailers of all n shards: all but tree and footer.
    pub(crate) fn common(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.claims.encode(&mut out);
        put_part(&mut out, &self.origin.as_ref().map(Origin::encode).unwrap_or_default());
        out.extend_from_slice(&self.signature);
        out
    }
}

impl Origin {
    /// Whether the certified writer signed this, at the time without an origin of its own.
    pub(crate) fn is_signed(&self) -> bool {
        let message = message(&self.header, &self.claims, None);
        is_signed(&self.claims.certificate.writer(), &message, &self.signature)
    }
}

fn message(header: &Header, claims: &Claims, origin: Option<&Origin>) -> Vec<u8> {
    let mut out = SHARD_LABEL.to_vec();
    out.extend_from_slice(&header.common());
    claims.encode(&mut out);
    put_part(&mut out, &origin.map(Origin::encode).unwrap_or_default());
    out
}

/// What a keeper knows of a shard of any version, without understanding the rest: enough to find
/// it, list it, and audit each of its blocks against its tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OuterLayout {
    /// The format version of the shard.
    pub version: u16,
    /// Whose it is.
    pub institution: [u8; 16],
    /// The segment's id.
    pub segment: [u8; 16],
    /// Which coding of the segment.
    pub coding: CodingNumber,
    /// Which shard of the coding.
    pub index: u8,
    /// What the segment holds.
    pub kind: Kind,
    /// Bytes in a block, and below a leaf of the tree.
    pub block: u32,
    /// Bytes of the header.
    pub header_len: usize,
    /// Bytes of the blocks.
    pub blocks_len: u64,
    /// Where the tree begins, in bytes from the start of the shard.
    pub tree_offset: u64,
    /// Bytes of the tree, 32 for each block.
    pub tree_len: usize,
    /// Bytes of the trailer, footer included.
    pub trailer_len: usize,
}

impl OuterLayout {
    /// Bytes of the whole shard.
    pub fn shard_bytes(&self) -> u64 {
        self.header_len as u64 + self.blocks_len + self.trailer_len as u64
    }
}

/// Reads what all versions have in common from a shard's first [`OUTER_HEAD_BYTES`] and last
/// [`FOOTER_BYTES`] (longer slices do no harm).
///
/// [`OUTER_HEAD_BYTES`]: crate::OUTER_HEAD_BYTES
pub fn outer_layout(head: &[u8], tail: &[u8]) -> Result<OuterLayout, Error> {
    let head = OuterHead::parse(head)?;
    let footer = Footer::parse(tail)?;
    let agree = head.version == footer.version
        && head.block == footer.block
        && head.header_len == footer.header_len as usize;
    if !agree {
        return Err(Error::Malformed { what: "a shard", why: "header and footer do not agree" });
    }
    Ok(OuterLayout {
        version: head.version,
        institution: head.institution,
        segment: head.segment,
        coding: head.coding,
        index: head.index,
        kind: head.kind,
        block: head.block,
        header_len: head.header_len,
        blocks_len: footer.blocks_len,
        tree_offset: footer.tree_offset,
        tree_len: footer.tree_len as usize,
        trailer_len: footer.trailer_len as usize,
    })
}

struct Footer {
    version: u16,
    block: u32,
    header_len: u32,
    trailer_len: u32,
    tree_len: u32,
    blocks_len: u64,
    tree_offset: u64,
}

impl Footer {
    fn encode(&self) -> [u8; FOOTER_BYTES] {
        let mut out = [0; FOOTER_BYTES];
        out[..8].copy_from_slice(MAGIC);
        out[8..10].copy_from_slice(&self.version.to_le_bytes());
        out[12..16].copy_from_slice(&self.block.to_le_bytes());
        out[16..20].copy_from_slice(&self.header_len.to_le_bytes());
        out[20..24].copy_from_slice(&self.trailer_len.to_le_bytes());
        out[24..28].copy_from_slice(&self.tree_len.to_le_bytes());
        out[28..36].copy_from_slice(&self.blocks_len.to_le_bytes());
        out[36..44].copy_from_slice(&self.tree_offset.to_le_bytes());
        let check = check(&out);
        out[44..].copy_from_slice(&check);
        out
    }

    /// Reads the footer at the end of `tail`, and checks that its lengths fit each other.
    fn parse(tail: &[u8]) -> Result<Footer, Error> {
        let Some(bytes) = tail.last_chunk::<FOOTER_BYTES>() else {
            let (needed, have) = (FOOTER_BYTES as u64, tail.len() as u64);
            return Err(Error::Truncated { what: WHAT, needed, have });
        };
        let mut reader = Reader::new("the footer of a shard", bytes);
        reader.begin(MAGIC, u16::MAX)?;
        if bytes[44..] != check(bytes) || reader.u16()? != 0 {
            return Err(reader.malformed("its check bytes do not fit"));
        }
        let footer = Footer {
            version: u16::from_le_bytes([bytes[8], bytes[9]]),
            block: reader.u32()?,
            header_len: reader.u32()?,
            trailer_len: reader.u32()?,
            tree_len: reader.u32()?,
            blocks_len: reader.u64()?,
            tree_offset: reader.u64()?,
        };
        if footer.trailer_len as usize > TRAILER_BYTES_MAX {
            let (bytes, max) = (u64::from(footer.trailer_len), TRAILER_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: WHAT, bytes, max });
        }
        let leaves = match footer.block {
            0 => return Err(reader.malformed("its blocks have no length")),
            block => footer.blocks_len.div_ceil(u64::from(block)),
        };
        let tree_end = u64::from(footer.tree_len) + FOOTER_BYTES as u64;
        let after_blocks = u64::from(footer.header_len).checked_add(footer.blocks_len);
        let fits = leaves.checked_mul(32) == Some(u64::from(footer.tree_len))
            && tree_end <= u64::from(footer.trailer_len)
            && after_blocks.is_some_and(|end| footer.tree_offset >= end)
            && footer.tree_offset.checked_add(tree_end).is_some();
        if !fits {
            return Err(reader.malformed("its lengths do not fit each other"));
        }
        Ok(footer)
    }
}

/// The first 4 bytes of the BLAKE3 of the footer's other bytes: a keeper of a version that it
/// cannot verify still tells a damaged footer from a good one.
fn check(footer: &[u8; FOOTER_BYTES]) -> [u8; 4] {
    let hash = blake3::hash(&footer[..44]);
    let [a, b, c, d, ..] = *hash.as_bytes();
    [a, b, c, d]
}

/// The header of another shard of the same coding: the same bytes with another index.
pub(crate) fn with_index(mut header: Vec<u8>, index: u8) -> Vec<u8> {
    header[INDEX_AT] = index;
    header
}
