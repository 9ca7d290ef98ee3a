//! Decrypting a segment, chunk by chunk in any order.

use crate::keys::SecretKeys;
use crate::layout::chunks;
use crate::{CHUNK, Error, Proof, TAG};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use std::ops::Range;

/// Opens the chunks of one segment.
pub struct Opener {
    key: LessSafeKey,
    plaintext_bytes: u64,
}

impl std::fmt::Debug for Opener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opener").field("plaintext_bytes", &self.plaintext_bytes).finish()
    }
}

impl Opener {
    /// Unwraps the segment's key with the institution's.
    pub fn new(proof: &Proof, keys: &SecretKeys) -> Result<Opener, Error> {
        let key = keys.unwrap_segment_key(proof.header())?;
        let key = UnboundKey::new(&AES_256_GCM, &key.0)
            .map_err(|_| Error::Crypto { what: "preparing the segment's key" })?;
        Ok(Opener { key: LessSafeKey::new(key), plaintext_bytes: proof.plaintext_bytes() })
    }

    /// The number of chunks; an empty segment has an empty one.
    pub fn chunks(&self) -> u64 {
        chunks(self.plaintext_bytes)
    }

    /// The chunks that hold a range of plaintext; none for an empty range.
    pub fn chunk_range(&self, plain: Range<u64>) -> Range<u64> {
        let end = plain.end.min(self.plaintext_bytes);
        if plain.start >= end {
            return 0..0;
        }
        plain.start / CHUNK as u64..end.div_ceil(CHUNK as u64)
    }

    /// The plaintext that a chunk holds; empty past the end.
    pub fn plain_range(&self, chunk: u64) -> Range<u64> {
        let at = |chunk: u64| chunk.saturating_mul(CHUNK as u64).min(self.plaintext_bytes);
        at(chunk)..at(chunk.saturating_add(1))
    }

    /// Where a chunk lies in the ciphertext; empty past the end.
    pub fn cipher_range(&self, chunk: u64) -> Range<u64> {
        if chunk >= self.chunks() {
            let end = self.plaintext_bytes + self.chunks() * TAG as u64;
            return end..end;
        }
        let plain = self.plain_range(chunk);
        let tag = TAG as u64;
        plain.start + chunk * tag..plain.end + (chunk + 1) * tag
    }

    /// Decrypts a chunk in place. What is returned is authentic: it is this chunk of this segment,
    /// whole, and the last one only if it was sealed as such.
    pub fn open_chunk<'a>(&self, index: u64, ciphertext: &'a mut [u8]) -> Result<&'a [u8], Error> {
        let range = self.cipher_range(index);
        let len = range.end - range.start;
        if index >= self.chunks() || ciphertext.len() as u64 != len {
            return Err(Error::Chunk { index });
        }
        let last = index + 1 == self.chunks();
        match self.key.open_in_place(nonce(index, last), Aad::empty(), ciphertext) {
            Ok(plaintext) => Ok(plaintext),
            Err(_) => Err(Error::Chunk { index }),
        }
    }
}

/// The nonce of a chunk, as in STREAM (Hoang, Reyhanitabar, Rogaway, Vizár, 2015) with the layout
/// of 7 bytes prefix, 32-bit big-endian counter, last flag. The prefix is zero, for a key seals
/// one segment and nothing else.
pub(crate) fn nonce(chunk: u64, last: bool) -> Nonce {
    let counter = u32::try_from(chunk).expect("a segment has at most 1,025 chunks");
    let mut nonce = [0; 12];
    nonce[7..11].copy_from_slice(&counter.to_be_bytes());
    nonce[11] = u8::from(last);
    Nonce::assume_unique_for_key(nonce)
}
