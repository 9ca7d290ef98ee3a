//! Authenticated encryption from one buffer into another, which aws-lc's safe interface has only for
//! opening: the one place of this room that calls C.
#![allow(unsafe_code)]

use std::ptr::NonNull;

use aws_lc_sys::{
    EVP_AEAD, EVP_AEAD_CTX, EVP_AEAD_CTX_free, EVP_AEAD_CTX_new, EVP_AEAD_CTX_open_gather,
    EVP_AEAD_CTX_seal_scatter, EVP_aead_aes_128_gcm, EVP_aead_aes_256_gcm,
    EVP_aead_chacha20_poly1305,
};

/// Bytes of the tag of every suite of TLS 1.3 that is used here.
pub(super) const TAG_BYTES: usize = 16;
/// Bytes of a nonce of theirs.
pub(super) const NONCE_BYTES: usize = 12;

/// The algorithms of the suites (RFC 8446, B.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

/// What was to be opened is not what its sender sealed, or a buffer has the wrong size.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refused;

/// A key, ready for use.
pub(super) struct Key(NonNull<EVP_AEAD_CTX>);

// SAFETY: the context is owned by this value alone, and aws-lc keeps nothing of it by thread.
unsafe impl Send for Key {}
// SAFETY: sealing and opening take the context as constant; aws-lc's aead.h allows them from several
// threads at once.
unsafe impl Sync for Key {}

impl Key {
    /// `None` where the key has not the length that the algorithm wants.
    pub(super) fn new(algorithm: Algorithm, key: &[u8]) -> Option<Key> {
        // SAFETY: these return pointers to constants.
        let aead: *const EVP_AEAD = unsafe {
            match algorithm {
                Algorithm::Aes128Gcm => EVP_aead_aes_128_gcm(),
                Algorithm::Aes256Gcm => EVP_aead_aes_256_gcm(),
                Algorithm::Chacha20Poly1305 => EVP_aead_chacha20_poly1305(),
            }
        };
        // SAFETY: `key` is readable for its length, which the function checks against the algorithm's.
        let context = unsafe { EVP_AEAD_CTX_new(aead, key.as_ptr(), key.len(), TAG_BYTES) };
        NonNull::new(context).map(Key)
    }

    /// Seals `plain` and after it the byte `last` into `out`, whose length is theirs and the tag's.
    pub(super) fn seal(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        plain: &[u8],
        last: u8,
        out: &mut [u8],
    ) -> Result<(), Refused> {
        if out.len() != plain.len() + 1 + TAG_BYTES {
            return Err(Refused);
        }
        let (text, tag) = out.split_at_mut(plain.len());
        let mut written = 0;
        // SAFETY: all pointers are to slices of the lengths given, the outputs to ones that alias no
        // input; `text` has the length of `plain`, and `tag` room for the last byte and the tag.
        let done = unsafe {
            EVP_AEAD_CTX_seal_scatter(
                self.0.as_ptr(),
                text.as_mut_ptr(),
                tag.as_mut_ptr(),
                &mut written,
                tag.len(),
                nonce.as_ptr(),
                nonce.len(),
                plain.as_ptr(),
                plain.len(),
                &last,
                1,
                associated.as_ptr(),
                associated.len(),
            )
        };
        if done == 1 && written == tag.len() { Ok(()) } else { Err(Refused) }
    }

    /// Opens `sealed`, whose last bytes are the tag, into the beginning of `out`. Returns how many bytes
    /// those are. What `out` holds after a refusal is not to be used.
    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated: &[u8],
        sealed: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Refused> {
        let length = sealed.len().checked_sub(TAG_BYTES).ok_or(Refused)?;
        let (text, tag) = sealed.split_at(length);
        let out = out.get_mut(..length).ok_or(Refused)?;
        // SAFETY: all pointers are to slices of the lengths given; `out` has the length of `text`, as the
        // function wants, and aliases no input.
        let done = unsafe {
            EVP_AEAD_CTX_open_gather(
                self.0.as_ptr(),
                out.as_mut_ptr(),
                nonce.as_ptr(),
                nonce.len(),
                text.as_ptr(),
                text.len(),
                tag.as_ptr(),
                tag.len(),
                associated.as_ptr(),
                associated.len(),
            )
        };
        if done == 1 { Ok(length) } else { Err(Refused) }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        // SAFETY: made by `EVP_AEAD_CTX_new`, freed once; the function wipes the key.
        unsafe { EVP_AEAD_CTX_free(self.0.as_ptr()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [(Algorithm, usize); 3] =
        [(Algorithm::Aes128Gcm, 16), (Algorithm::Aes256Gcm, 32), (Algorithm::Chacha20Poly1305, 32)];

    #[test]
    fn what_was_sealed_opens_and_nothing_else() {
        for (algorithm, bytes) in ALL {
            assert!(Key::new(algorithm, &vec![1; bytes - 1]).is_none());
            let key = Key::new(algorithm, &vec![1; bytes]).unwrap();
            for length in [0, 1, 15, 16, 17, 1000, 16_384] {
                let plain: Vec<u8> = (0..length).map(|i| i as u8).collect();
                let mut sealed = vec![0; length + 1 + TAG_BYTES];
                key.seal(&[7; 12], b"header", &plain, 23, &mut sealed).unwrap();
                let mut out = vec![0; length + 1];
                assert_eq!(key.open(&[7; 12], b"header", &sealed, &mut out), Ok(length + 1));
                assert!(out[..length] == plain && out[length] == 23);
                assert_eq!(key.open(&[8; 12], b"header", &sealed, &mut out), Err(Refused));
                assert_eq!(key.open(&[7; 12], b"Header", &sealed, &mut out), Err(Refused));
                assert_eq!(key.open(&[7; 12], b"header", &sealed[1..], &mut out), Err(Refused));
                assert_eq!(key.open(&[7; 12], b"header", &sealed, &mut out[1..]), Err(Refused));
                sealed[length] ^= 1;
                assert_eq!(key.open(&[7; 12], b"header", &sealed, &mut out), Err(Refused));
                assert_eq!(key.seal(&[7; 12], b"", &plain, 23, &mut out), Err(Refused));
            }
            assert_eq!(key.open(&[7; 12], b"", &[0; 15], &mut []), Err(Refused));
        }
    }
}
