//! A digest value.

use std::fmt;

use crate::{Algorithm, Error};

/// The size of the longest digest, in bytes.
const DIGEST_BYTES_MAX: usize = 64;

/// A digest with its algorithm. Shown as lower-case hex.
///
/// ```
/// use strongroom_digest::{Algorithm, Digest};
///
/// let digest = Digest::from_hex(Algorithm::Md5, "D41D8CD98F00B204E9800998ECF8427E")?;
/// assert_eq!(digest.to_string(), "d41d8cd98f00b204e9800998ecf8427e");
/// # Ok::<(), strongroom_digest::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    /// The digest, then zeros: the derived comparisons rely on them.
    bytes: [u8; DIGEST_BYTES_MAX],
}

impl Digest {
    /// The algorithm that made it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The digest in binary, [`Algorithm::size`] bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.size()]
    }

    /// A digest from its binary form.
    ///
    /// # Errors
    /// [`Error::Size`] when the length is not the algorithm's.
    pub fn from_bytes(algorithm: Algorithm, bytes: &[u8]) -> Result<Digest, Error> {
        let (expected, found) = (algorithm.size(), bytes.len());
        if found != expected {
            return Err(Error::Size { algorithm, expected, found });
        }
        Ok(Digest::padded(algorithm, bytes))
    }

    /// A digest from hex digits of either case.
    ///
    /// # Errors
    /// [`Error::HexLength`] or [`Error::NotHex`].
    pub fn from_hex(algorithm: Algorithm, hex: &str) -> Result<Digest, Error> {
        let (expected, found) = (2 * algorithm.size(), hex.len());
        if found != expected {
            return Err(Error::HexLength { algorithm, expected, found });
        }
        let mut bytes = [0; DIGEST_BYTES_MAX];
        for (offset, digit) in hex.bytes().enumerate() {
            let value = nibble(digit).ok_or(Error::NotHex { algorithm, offset })?;
            bytes[offset / 2] = bytes[offset / 2] << 4 | value;
        }
        Ok(Digest { algorithm, bytes })
    }

    /// `bytes` must have the algorithm's size.
    pub(crate) fn padded(algorithm: Algorithm, bytes: &[u8]) -> Digest {
        let mut padded = [0; DIGEST_BYTES_MAX];
        padded[..algorithm.size()].copy_from_slice(bytes);
        Digest { algorithm, bytes: padded }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0; 2 * DIGEST_BYTES_MAX];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.as_bytes()) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.pad(str::from_utf8(&text[..2 * self.algorithm.size()]).expect("hex digits are ASCII"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{self}", self.algorithm)
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;

    #[test]
    fn hex_and_bytes_give_the_digest_back() {
        for algorithm in Algorithm::ALL {
            let digest = hash(algorithm, b"strongroom");
            let hex = digest.to_string();
            assert_eq!(hex.len(), 2 * algorithm.size());
            assert_eq!(Digest::from_hex(algorithm, &hex), Ok(digest));
            assert_eq!(Digest::from_hex(algorithm, &hex.to_uppercase()), Ok(digest));
            assert_eq!(Digest::from_bytes(algorithm, digest.as_bytes()), Ok(digest));
            assert_eq!(format!("{digest:?}"), format!("{algorithm}:{hex}"));
        }
    }

    #[test]
    fn what_is_no_digest_is_refused_with_the_place() {
        let algorithm = Algorithm::Md5;
        assert_eq!(
            Digest::from_hex(algorithm, "d41d"),
            Err(Error::HexLength { algorithm, expected: 32, found: 4 })
        );
        assert_eq!(
            Digest::from_hex(algorithm, "d41d8cd98f00b204e9800998ecf8427g"),
            Err(Error::NotHex { algorithm, offset: 31 })
        );
        // A character of two bytes must neither panic nor count as two digits.
        assert_eq!(
            Digest::from_hex(algorithm, "d41d8cd98f00b204e9800998ecf842é"),
            Err(Error::NotHex { algorithm, offset: 30 })
        );
        assert_eq!(
            Digest::from_bytes(algorithm, &[0; 20]),
            Err(Error::Size { algorithm, expected: 16, found: 20 })
        );
    }
}
