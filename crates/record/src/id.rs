//! Random 128-bit identifiers, one type for each thing that has one.

use crate::Error;

pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)] as char, DIGITS[usize::from(b & 15)] as char])
        .collect()
}

pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |c: u8| (c as char).to_digit(16).map(|d| d as u8);
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(2) {
        return None;
    }
    bytes.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

/// What all identifiers have in common: 16 bytes, written as 32 hexadecimal digits.
pub trait Id: Copy + Eq + std::hash::Hash + std::fmt::Display {
    /// The identifier with these bytes.
    fn from_bytes(bytes: [u8; 16]) -> Self;
    /// Its bytes.
    fn bytes(&self) -> [u8; 16];
    /// From a slice of exactly 16 bytes.
    fn from_slice(bytes: &[u8]) -> Result<Self, Error> {
        bytes.try_into().map(Self::from_bytes).map_err(|_| Error::Length {
            what: "identifier",
            expected: 16,
            found: bytes.len(),
        })
    }
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(pub [u8; 16]);

        impl Id for $name {
            fn from_bytes(bytes: [u8; 16]) -> Self { $name(bytes) }
            fn bytes(&self) -> [u8; 16] { self.0 }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(&hex(&self.0))
            }
        }
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self)
            }
        }
        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self, Error> {
                let bytes = unhex(text).ok_or_else(|| Error::Hex(text.chars().take(80).collect()))?;
                Self::from_slice(&bytes)
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}

ids! {
    /// An archive: one registry and its shelves.
    ArchiveId
    /// One life of a registry; drawn anew when it is rebuilt or restored.
    EpochId
    /// An institution: the first 128 bits of the SHA-256 of its first signing key.
    InstitutionId
    /// An intellectual object.
    ObjectId
    /// One version of an object.
    VersionId
    /// A file of a version; an unchanged file keeps its id in later versions.
    FileId
    /// A segment of the vault.
    SegmentId
    /// A shelf.
    ShelfId
    /// A log on a shelf.
    LogId
    /// A work item.
    WorkId
    /// A process that does work.
    WorkerId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_back_as_written() {
        let id = ObjectId(*b"0123456789abcdef");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"30313233343536373839616263646566\"");
        assert!("3031".parse::<ObjectId>().is_err());
        assert!("zz".parse::<ObjectId>().is_err());
        assert!("é".parse::<ObjectId>().is_err());
    }
}
