//! How a segment is spread: k shards of data, n in all.

use crate::Error;

/// A coding: any `k` of `n` shards restore a segment; `k = 1` are equal copies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub struct Coding {
    k: u8,
    n: u8,
}

/// Most shards of data.
pub const K_MAX: u8 = 64;
/// Most shards of parity, and (less one) most copies.
pub const PARITY_MAX: u8 = 64;
/// Most equal copies.
pub const COPIES_MAX: u8 = 16;

impl Coding {
    /// `k` of `n`, within the named bounds.
    pub fn new(k: u8, n: u8) -> Result<Coding, Error> {
        let bad = || Error::Coding(format!("{k} of {n}"));
        let fits = match k {
            0 => false,
            1 => (1..=COPIES_MAX).contains(&n),
            _ => k <= K_MAX && n > k && n - k <= PARITY_MAX,
        };
        if fits { Ok(Coding { k, n }) } else { Err(bad()) }
    }
    /// Shards that restore a segment.
    pub fn k(self) -> u8 {
        self.k
    }
    /// Shards in all.
    pub fn n(self) -> u8 {
        self.n
    }
    /// The coding of a segment too small for stripes: as many losses survived, by copies.
    pub fn small(self) -> Coding {
        Coding { k: 1, n: self.n - self.k + 1 }
    }
    /// Two equal copies: the default.
    pub const TWO_COPIES: Coding = Coding { k: 1, n: 2 };
}

impl std::fmt::Display for Coding {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.k {
            1 => write!(f, "copies={}", self.n),
            k => write!(f, "{k}+{}", self.n - k),
        }
    }
}

impl std::str::FromStr for Coding {
    type Err = Error;
    fn from_str(text: &str) -> Result<Coding, Error> {
        let bad = || Error::Coding(text.chars().take(80).collect());
        let number = |t: &str| t.parse::<u8>().map_err(|_| bad());
        let (k, n) = if let Some(copies) = text.strip_prefix("copies=") {
            (1, number(copies)?)
        } else {
            let (k, m) = text.split_once('+').ok_or_else(bad)?;
            let (k, m) = (number(k)?, number(m)?);
            if k < 2 {
                return Err(bad());
            }
            (k, k.checked_add(m).ok_or_else(bad)?)
        };
        Coding::new(k, n).map_err(|_| bad())
    }
}

impl serde::Serialize for Coding {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Coding {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Coding, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Which coding of a segment: raised each time the same ciphertext is coded anew. Compared as
/// (epoch, number), so that a registry restored from a backup never draws one twice.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize,
)]
pub struct CodingNumber {
    /// The archive's epoch in which it was drawn.
    pub epoch: u32,
    /// The number within the epoch, from 1.
    pub number: u32,
}

impl std::fmt::Display for CodingNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codings_are_read_and_written() {
        for good in ["copies=1", "copies=2", "copies=16", "4+2", "10+4", "20+20", "64+64"] {
            assert_eq!(good.parse::<Coding>().unwrap().to_string(), good);
        }
        for bad in
            ["", "copies=0", "copies=17", "1+1", "0+2", "4+0", "65+1", "4+65", "4+-1", "200+100"]
        {
            assert!(bad.parse::<Coding>().is_err(), "{bad}");
        }
        assert_eq!("10+4".parse::<Coding>().unwrap().small(), Coding::new(1, 5).unwrap());
    }
}
