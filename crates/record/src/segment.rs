//! Segments and where their shards stand.

use crate::{CodingNumber, Error, LogId, SegmentId, ShelfId, Time};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident, $what:literal, $($(#[$vdoc:meta])* $variant:ident = $word:literal),* $(,)?) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),* }
        impl $name {
            /// The word in records, events and tables.
            pub fn word(self) -> &'static str {
                match self { $($name::$variant => $word),* }
            }
            /// From that word.
            pub fn parse(word: &str) -> Result<$name, Error> {
                match word {
                    $($word => Ok($name::$variant),)*
                    _ => Err(Error::Word { what: $what, word: word.chars().take(40).collect() }),
                }
            }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(self.word())
            }
        }
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let word = std::borrow::Cow::<str>::deserialize(d)?;
                $name::parse(&word).map_err(serde::de::Error::custom)
            }
        }
    };
}
pub(crate) use words;

words! {
    /// What a segment holds.
    SegmentKind, "kind of segment",
    /// Bytes of files.
    Data = "data",
    /// A part or head of a version's record.
    Record = "record",
    /// A part or head of a journal.
    Journal = "journal",
    /// Earlier keys, sealed to a later one.
    Keyring = "keyring",
}

words! {
    /// How far a segment is.
    SegmentState, "state of a segment",
    /// Registered; its bytes are being written. After a crash it is given up, never read.
    Writing = "writing",
    /// All its shards are stored; it may be referred to.
    Durable = "durable",
    /// Nothing refers to it; its shards may be reclaimed.
    Released = "released",
    /// Released, and no shelf is known to have any of it still. The row stays, so that what turns up
    /// on a shelf later is known for what it is.
    Gone = "gone",
}

words! {
    /// What is known of a shard on a shelf.
    PlacementState, "state of a placement",
    /// Stored and, as far as known, good.
    Good = "good",
    /// Read, and wrong.
    Damaged = "damaged",
    /// Not there, or its shelf is not.
    Missing = "missing",
    /// Of a coding that is no longer wanted.
    Released = "released",
}

/// A shard on a shelf.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The segment.
    pub segment: SegmentId,
    /// Which coding of it.
    pub coding: CodingNumber,
    /// Which of the n shards.
    pub index: u8,
    /// Where it stands.
    pub shelf: ShelfId,
    /// In which log of the shelf.
    pub log: LogId,
    /// Where its frames lie in the log, in the vault's own form.
    pub frames: Vec<u8>,
    /// Bytes of the shard, header and trailer included.
    pub bytes: u64,
    /// What is known of it.
    pub state: PlacementState,
    /// When every byte of it was last checked (or written, with its hash verified).
    pub checked: Time,
}
