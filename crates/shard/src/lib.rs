//! Sealing and erasure coding: plaintext in, shards out, and back.
//!
//! A *segment* of up to 64 MiB of plaintext is encrypted under a random key of its own, which is
//! wrapped to its institution's public key; the ciphertext is cut into stripes and coded into n
//! *shards*, any k of which restore it. Each shard describes itself: a header, its blocks, and a
//! trailer with the tree of its blocks, the roots of all n shards, and the signature of a writer
//! whom the institution certified. So a keeper can audit and remake shards without any key.
//! `docs/format/shard.md` tells it byte by byte.
//!
//! ```
//! use strongroom_shard::*;
//! # let mut n = 0u8;
//! # let mut random = |bytes: &mut [u8]| bytes.fill_with(|| { n = n.wrapping_mul(5).wrapping_add(3); n });
//! let seed = Seed::random(&mut random);
//! let institution = Institution::new(&seed);
//! let writer_key = WriterKey::random(&mut random);
//! let grant = Grant {
//!     serial: [1; 16], writer: writer_key.public(), kinds: vec![Kind::Data],
//!     from_micros: 0, until_micros: u64::MAX,
//! };
//! let writer = Writer::new(writer_key, institution.certify(&seed, grant)?)?;
//!
//! let spec = Spec {
//!     kind: Kind::Data, institution: institution.id(), generation: institution.generation(),
//!     segment: [7; 16], coding: CodingNumber { epoch: 1, number: 1 }, k: 2, n: 3,
//! };
//! let mut sealer = Sealer::new(spec, &institution.sealing(&seed)?, &mut random)?;
//! let header = sealer.header(2);
//! let mut lanes = vec![Vec::new(); sealer.lanes()];
//! sealer.push(b"a record that must not be lost", &mut lanes)?;
//! let sealed = sealer.finish(&writer, &mut lanes)?;
//!
//! let proof = verify(&header, &sealed.trailers[2])?;
//! assert!(proof.check_block(0, &lanes[2]));
//! let layout = proof.layout();
//! let (_, block_len) = layout.stripe(0);
//! let mut ciphertext = vec![0; 2 * block_len];
//! let (first, second) = ciphertext.split_at_mut(block_len);
//! Code::new(2, 3)?.reconstruct(&[(1, &lanes[1]), (2, &lanes[2])], &[0, 1], &mut [first, second])?;
//! let opener = Opener::new(&proof, &SecretKeys::new(institution.id()).with(1, seed))?;
//! let chunk = opener.cipher_range(0);
//! let plaintext = opener.open_chunk(0, &mut ciphertext[..chunk.end as usize])?;
//! assert_eq!(plaintext, b"a record that must not be lost");
//! # Ok::<(), Error>(())
//! ```
//!
//! # What it refuses
//! I/O, clocks and a random source of its own: whoever calls passes bytes and randomness, and
//! compares a certificate's times and revocations with the time that it believes. It does not
//! compress, deduplicate or pad, so lengths stay visible to whoever keeps a shard.
//!
//! # Failure modes
//! Every parser takes hostile bytes and returns an [`Error`] that says whether they were cut
//! short, malformed, newer than this program, or well formed and not what a certified writer
//! signed. A wrong length of a slice that only the caller can get wrong is an error too. Panics
//! are left to broken promises of the caller that are documented with each function.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod bytes;
mod certificate;
mod code;
mod error;
pub mod gf;
mod header;
pub mod keys;
mod layout;
mod open;
mod passphrase;
mod proof;
mod seal;
mod share;
mod trailer;
mod tree;

pub use certificate::{CERTIFICATE_BYTES_MAX, Certificate, Grant, SigningChain, Writer, WriterKey};
pub use code::{Code, Decoder};
pub use error::Error;
pub use header::{CodingNumber, Field, HEADER_BYTES_MAX, Header, Kind, OUTER_HEAD_BYTES};
pub use keys::{Institution, RECOVERY_GENERATION, SealingPublic, SecretKeys, Seed, SegmentKey};
pub use layout::{Layout, Piece};
pub use open::Opener;
pub use passphrase::{LOCKED_MAGIC, lock, unlock};
pub use proof::{Proof, verify};
pub use seal::{Recoder, Sealed, Sealer, Spec};
pub use share::{
    SHARE_BYTES, SHARE_PREFIX, SHARE_TEXT_BYTES_MAX, SHARE_WORDS, Share, ShareError, combine, split,
};
pub use trailer::{
    Claims, FOOTER_BYTES, Origin, OuterLayout, TRAILER_BYTES_MAX, Trailer, outer_layout,
};
pub use tree::{Tree, root_of};

/// Plaintext bytes in a chunk, the unit of encryption. The last one of a segment may be shorter.
pub const CHUNK: usize = 65536;
/// Bytes that sealing adds to each chunk: the tag of AES-GCM.
pub const TAG: usize = 16;
/// Bytes in a block, the unit of coding and of auditing. The last one of a shard may be shorter.
pub const BLOCK: usize = 16384;
/// The most plaintext that a segment holds, in bytes.
pub const SEGMENT_BYTES_MAX: u64 = 64 << 20;
/// A segment of fewer plaintext bytes is kept as copies; see [`coding_for`].
pub const SMALL_BYTES: u64 = 65536;

/// The coding (k, n) of a segment of `plaintext_bytes` where k of n is asked for: small segments
/// are kept as n-k+1 equal copies, which survive the same number of losses.
pub fn coding_for(plaintext_bytes: u64, k: u8, n: u8) -> (u8, u8) {
    if plaintext_bytes < SMALL_BYTES && k >= 1 && n >= k { (1, n - k + 1) } else { (k, n) }
}

/// A source of random bytes, which must be fit for keys: it fills the whole slice.
pub type Random<'a> = dyn FnMut(&mut [u8]) + 'a;
