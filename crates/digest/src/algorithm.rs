//! The algorithms, and small sets of them.

use std::fmt;

/// A digest algorithm, by the name that BagIt (RFC 8493, section 2.4) gives it. The order is that of
/// strength, and of the names in a saved state; it is fixed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Algorithm {
    /// MD5 (RFC 1321): 16 bytes.
    Md5,
    /// SHA-1 (FIPS 180-4): 20 bytes.
    Sha1,
    /// SHA-224 (FIPS 180-4): 28 bytes.
    Sha224,
    /// SHA-256 (FIPS 180-4): 32 bytes.
    Sha256,
    /// SHA-384 (FIPS 180-4): 48 bytes.
    Sha384,
    /// SHA-512 (FIPS 180-4): 64 bytes.
    Sha512,
}

impl Algorithm {
    /// All algorithms, in order.
    pub const ALL: [Algorithm; 6] = [
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha224,
        Algorithm::Sha256,
        Algorithm::Sha384,
        Algorithm::Sha512,
    ];

    /// The name as it stands in a manifest's file name: `md5`, `sha256`, ...
    pub const fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "md5",
            Algorithm::Sha1 => "sha1",
            Algorithm::Sha224 => "sha224",
            Algorithm::Sha256 => "sha256",
            Algorithm::Sha384 => "sha384",
            Algorithm::Sha512 => "sha512",
        }
    }

    /// The size of a digest, in bytes.
    pub const fn size(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha224 => 28,
            Algorithm::Sha256 => 32,
            Algorithm::Sha384 => 48,
            Algorithm::Sha512 => 64,
        }
    }

    /// Reads a name in any case and with or without hyphens (`SHA-256`, `sha256`), as RFC 8493 asks.
    pub fn parse(name: &str) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| {
            name.bytes()
                .filter(|&b| b != b'-')
                .map(|b| b.to_ascii_lowercase())
                .eq(algorithm.name().bytes())
        })
    }

    /// Bytes per compressed block.
    pub(crate) const fn block_size(self) -> usize {
        match self {
            Algorithm::Sha384 | Algorithm::Sha512 => 128,
            _ => 64,
        }
    }

    /// The size of the chaining words, in bytes.
    pub(crate) const fn chain_size(self) -> usize {
        match self {
            Algorithm::Md5 => 16,
            Algorithm::Sha1 => 20,
            Algorithm::Sha224 | Algorithm::Sha256 => 32,
            Algorithm::Sha384 | Algorithm::Sha512 => 64,
        }
    }

    /// The number that stands for the algorithm in saved states; never reused.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Algorithm::Md5 => 1,
            Algorithm::Sha1 => 2,
            Algorithm::Sha224 => 3,
            Algorithm::Sha256 => 4,
            Algorithm::Sha384 => 5,
            Algorithm::Sha512 => 6,
        }
    }

    pub(crate) fn from_code(code: u8) -> Option<Algorithm> {
        Algorithm::ALL.into_iter().find(|algorithm| algorithm.code() == code)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of algorithms: which digests are wanted, or at hand.
///
/// ```
/// use strongroom_digest::{Algorithm, Set};
///
/// let wanted: Set = [Algorithm::Sha256, Algorithm::Md5].into_iter().collect();
/// assert!(wanted.contains(Algorithm::Md5));
/// assert_eq!(wanted.iter().next(), Some(Algorithm::Md5));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Set(u8);

impl Set {
    /// The set of none.
    pub const EMPTY: Set = Set(0);

    /// Adds an algorithm; true when it was not there before.
    pub const fn insert(&mut self, algorithm: Algorithm) -> bool {
        let new = !self.contains(algorithm);
        self.0 |= 1 << algorithm as u8;
        new
    }

    /// Takes an algorithm out; true when it was there.
    pub const fn remove(&mut self, algorithm: Algorithm) -> bool {
        let there = self.contains(algorithm);
        self.0 &= !(1 << algorithm as u8);
        there
    }

    /// Whether the algorithm is in the set.
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u8) != 0
    }

    /// What is in either set.
    #[must_use]
    pub const fn union(self, other: Set) -> Set {
        Set(self.0 | other.0)
    }

    /// How many algorithms are in the set.
    pub const fn len(self) -> usize {
        self.0.count_ones() as usize
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The algorithms of the set, in their order.
    pub const fn iter(self) -> Algorithms {
        Algorithms(self)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl FromIterator<Algorithm> for Set {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Set {
        let mut set = Set::EMPTY;
        set.extend(algorithms);
        set
    }
}

impl Extend<Algorithm> for Set {
    fn extend<I: IntoIterator<Item = Algorithm>>(&mut self, algorithms: I) {
        for algorithm in algorithms {
            self.insert(algorithm);
        }
    }
}

impl From<Algorithm> for Set {
    fn from(algorithm: Algorithm) -> Set {
        Set(1 << algorithm as u8)
    }
}

impl IntoIterator for Set {
    type Item = Algorithm;
    type IntoIter = Algorithms;

    fn into_iter(self) -> Algorithms {
        self.iter()
    }
}

/// Goes through the algorithms of a [`Set`], in their order.
#[derive(Clone, Debug)]
pub struct Algorithms(Set);

impl Iterator for Algorithms {
    type Item = Algorithm;

    fn next(&mut self) -> Option<Algorithm> {
        let first = Algorithm::ALL.into_iter().find(|&algorithm| self.0.contains(algorithm))?;
        self.0.remove(first);
        Some(first)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl ExactSizeIterator for Algorithms {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_parse_in_any_case_and_with_hyphens() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::parse(algorithm.name()), Some(algorithm));
            assert_eq!(Algorithm::parse(&algorithm.name().to_uppercase()), Some(algorithm));
            assert_eq!(Algorithm::from_code(algorithm.code()), Some(algorithm));
        }
        assert_eq!(Algorithm::parse("SHA-256"), Some(Algorithm::Sha256));
        assert_eq!(Algorithm::parse("Sha-1"), Some(Algorithm::Sha1));
        for unknown in ["", "-", "sha", "sha2566", "sha3256", "sha512/256", "md5 ", "blake3"] {
            assert_eq!(Algorithm::parse(unknown), None, "{unknown:?}");
        }
        assert_eq!(Algorithm::from_code(0), None);
        assert_eq!(Algorithm::from_code(7), None);
    }

    #[test]
    fn a_set_keeps_each_algorithm_once_and_in_order() {
        let mut set: Set =
            [Algorithm::Sha512, Algorithm::Md5, Algorithm::Sha512].into_iter().collect();
        assert_eq!(set.iter().collect::<Vec<_>>(), [Algorithm::Md5, Algorithm::Sha512]);
        assert_eq!((set.len(), set.iter().len()), (2, 2));
        assert!(!set.insert(Algorithm::Md5));
        assert!(set.insert(Algorithm::Sha1));
        assert_eq!(format!("{set:?}"), "{Md5, Sha1, Sha512}");
        assert!(set.remove(Algorithm::Md5) && !set.remove(Algorithm::Md5));
        assert!(!set.contains(Algorithm::Md5));
        assert_eq!(set.union(Algorithm::Md5.into()).len(), 3);
        assert!(Set::EMPTY.is_empty() && Set::default() == Set::EMPTY);
        assert_eq!(Algorithm::ALL.into_iter().collect::<Set>().len(), 6);
    }
}
