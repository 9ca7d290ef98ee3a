//! What can go wrong: only reading what somebody else wrote.

use crate::Algorithm;

/// Why a digest or a saved state could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A digest in hex has the wrong number of digits.
    #[error("a {algorithm} digest has {expected} hex digits, not {found}")]
    HexLength {
        /// The digest's algorithm.
        algorithm: Algorithm,
        /// Hex digits expected.
        expected: usize,
        /// Bytes of text found.
        found: usize,
    },
    /// A digest in hex holds something that is no hex digit.
    #[error("a {algorithm} digest has a byte that is no hex digit at offset {offset}")]
    NotHex {
        /// The digest's algorithm.
        algorithm: Algorithm,
        /// Where, in bytes from the start of the text.
        offset: usize,
    },
    /// A digest in binary has the wrong size.
    #[error("a {algorithm} digest has {expected} bytes, not {found}")]
    Size {
        /// The digest's algorithm.
        algorithm: Algorithm,
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The bytes do not begin as a saved state does.
    #[error("these bytes are no saved hashing state")]
    NotAState,
    /// The state was saved by a later version of this program.
    #[error("the hashing state is of format version {found}; this version reads up to {supported}")]
    NewerState {
        /// The version that the state names.
        found: u8,
        /// The newest version that is read.
        supported: u8,
    },
    /// The state names an algorithm that is not known.
    #[error("the hashing state names an unknown algorithm, number {code}")]
    UnknownAlgorithm {
        /// The number found.
        code: u8,
    },
    /// The state's length is not what its fields ask for.
    #[error("the hashing state has {found} bytes where its fields ask for {expected}")]
    StateLength {
        /// Bytes expected.
        expected: usize,
        /// Bytes found.
        found: usize,
    },
    /// The state claims more bytes than any stream can have had.
    #[error("the hashing state claims {bytes} bytes hashed, over the limit of {limit}")]
    StateCount {
        /// Bytes that it claims.
        bytes: u64,
        /// The limit, in bytes.
        limit: u64,
    },
    /// The states of several algorithms over one stream are out of order or of different places.
    #[error("the hashing states of one stream do not fit together: {what}")]
    StatesDisagree {
        /// What does not fit.
        what: &'static str,
    },
}
