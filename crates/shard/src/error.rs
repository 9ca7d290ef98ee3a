//! What can go wrong, and with what.

use crate::Kind;

/// Why bytes were refused, or could not be sealed, coded or opened.
///
/// Damage and forgery are told apart where the bytes allow it: `Truncated`, `Magic` and
/// `Malformed` are seen before any signature is checked; the variants after them mean that the
/// bytes are well formed and yet not what a certified writer signed.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[non_exhaustive]
pub enum Error {
    /// The bytes end before what they announce.
    #[error("{what} is cut short: {needed} bytes needed, {have} there")]
    Truncated {
        /// What was being read.
        what: &'static str,
        /// Bytes that it needs.
        needed: u64,
        /// Bytes that are there.
        have: u64,
    },
    /// The bytes do not begin with the magic of what they should be.
    #[error("this is no {what}: it does not begin with its magic")]
    Magic {
        /// What was being read.
        what: &'static str,
    },
    /// Written by a later version of the format than this program knows.
    #[error("{what} has format version {version}, newer than {known} that this program reads")]
    Newer {
        /// What was being read.
        what: &'static str,
        /// The version found.
        version: u16,
        /// The newest version known.
        known: u16,
    },
    /// A field has a value that no writer writes.
    #[error("{what} is malformed: {why}")]
    Malformed {
        /// What was being read.
        what: &'static str,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A part is longer than its bound.
    #[error("{what} would be {bytes} bytes, more than its bound of {max} bytes")]
    TooLarge {
        /// Which part.
        what: &'static str,
        /// Its announced length in bytes.
        bytes: u64,
        /// Its bound in bytes.
        max: u64,
    },
    /// The header names algorithms that this program does not have.
    #[error("cryptographic suite {suite} is not known to this program")]
    Suite {
        /// The suite's number.
        suite: u16,
    },
    /// k and n are no coding: `1 <= k <= n <= 255` is asked for.
    #[error("there is no coding of {k} out of {n}")]
    Coding {
        /// Shards needed.
        k: u8,
        /// Shards made.
        n: u8,
    },
    /// Blocks of unequal length, or another number of them than the coding has.
    #[error("blocks do not fit the coding: {why}")]
    Blocks {
        /// What does not fit.
        why: &'static str,
    },
    /// A shard index that the coding does not have, or one given twice.
    #[error("shard index {index} is given twice, or is not in the coding")]
    Index {
        /// The index.
        index: u8,
    },
    /// Another institution than the one expected.
    #[error("{what} belongs to institution {found:02x?}, not to {expected:02x?}")]
    Institution {
        /// What was compared.
        what: &'static str,
        /// The id found.
        found: [u8; 16],
        /// The id expected.
        expected: [u8; 16],
    },
    /// A signing key of the chain is not signed by the one before it.
    #[error("the signing key of generation {generation} is not vouched for by the one before")]
    Chain {
        /// The generation whose key is not vouched for.
        generation: u32,
    },
    /// A certificate was not signed by its institution's last signing key.
    #[error("the writer's certificate is not signed by its institution")]
    Certificate,
    /// The certificate does not allow what was written.
    #[error("the writer is not certified to write {kind:?} segments")]
    KindNotCertified {
        /// The kind that it wrote, or was asked to write.
        kind: Kind,
    },
    /// The writer's key is not the one that its certificate names.
    #[error("the writer's key is not the one that its certificate names")]
    WriterKey,
    /// The signature of a shard is not its writer's.
    #[error("{what} is not what its writer signed")]
    Signature {
        /// The shard itself, or its origin.
        what: &'static str,
    },
    /// The tree of blocks does not lead to the signed root.
    #[error("the tree of shard {index} does not lead to its signed root")]
    Tree {
        /// Which shard of the n.
        index: u8,
    },
    /// The first coding that a shard carries is not of the same segment.
    #[error("the origin is of another segment: its {field} differs")]
    Origin {
        /// The field that differs.
        field: &'static str,
    },
    /// The sealing key given is not the one that was asked for or certified.
    #[error("the sealing key is not the one of generation {generation} that the {by} names")]
    SealingKey {
        /// The generation asked for.
        generation: u32,
        /// Who names another one.
        by: &'static str,
    },
    /// No secret key of the generation is at hand.
    #[error("the key of generation {generation} is not at hand")]
    NoKey {
        /// The generation that sealed the segment (0: the recovery key).
        generation: u32,
    },
    /// The secret key at hand does not open the segment.
    #[error("the key of generation {generation} does not open this segment")]
    WrongKey {
        /// The generation of the key that was tried.
        generation: u32,
    },
    /// A chunk of ciphertext is not authentic.
    #[error("chunk {index} of the ciphertext is damaged or forged")]
    Chunk {
        /// The chunk's number in the segment.
        index: u64,
    },
    /// More plaintext than a segment holds.
    #[error("a segment holds at most {max} bytes of plaintext")]
    Full {
        /// The bound in bytes.
        max: u64,
    },
    /// The ciphertext that was coded anew has not the length that was signed.
    #[error("{found} bytes of ciphertext were given to be coded anew, {expected} are signed")]
    Length {
        /// Bytes given.
        found: u64,
        /// Bytes signed.
        expected: u64,
    },
    /// The passphrase is not the one under which the bytes were locked, or a byte was changed.
    #[error("the passphrase is wrong, or the file is damaged")]
    Passphrase,
    /// The cryptographic library refused; it should not on these inputs.
    #[error("cryptography failed: {what}")]
    Crypto {
        /// The operation.
        what: &'static str,
    },
}
