//! Digests of record: MD5 and the SHA family, one stream or many at a time, with states that can be
//! saved and taken up again later, by another process or on another machine.
//!
//! ```
//! use strongroom_digest::{Algorithm, Hasher, MultiHasher, hash};
//!
//! // One stream, interrupted and gone on with.
//! let mut hasher = Hasher::new(Algorithm::Sha256);
//! hasher.update(b"ab");
//! let saved = hasher.save();
//! let mut hasher = Hasher::restore(&saved)?;
//! hasher.update(b"c");
//! assert_eq!(hasher.finish(), hash(Algorithm::Sha256, b"abc"));
//!
//! // Two algorithms over one stream.
//! let mut both = MultiHasher::new(&[Algorithm::Sha256, Algorithm::Md5]);
//! both.update(b"abc");
//! assert_eq!(both.finish()[0].to_string(), "900150983cd24fb0d6963f7d28e17f72");
//! # Ok::<(), strongroom_digest::Error>(())
//! ```
//!
//! The streams are computed by aws-lc, the fastest implementation at hand; many short inputs at once
//! ([`hash_many`]) by kernels of this crate that keep an input in each lane of a vector register.
//!
//! # What it refuses
//! It does no I/O and knows no clock. It computes no keyed hashes, and says nothing of whether an
//! algorithm is still safe to trust: MD5 and SHA-1 are here because bags carry them. It compares
//! digests in variable time, for none of them is a secret.
//!
//! # Failure
//! Computing a digest cannot fail. Reading one (from hex, from bytes) or taking up a saved state can,
//! with an [`Error`] that says what was expected. No bytes from outside make it panic; a saved state
//! that is well formed but was altered gives a wrong digest, so keep states where they are checked.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod algorithm;
mod digest;
mod error;
mod ffi;
mod hasher;
pub mod limits;
mod many;
mod multi;
mod pages;

pub use algorithm::{Algorithm, Algorithms, Set};
pub use digest::Digest;
pub use error::Error;
pub use hasher::{Hasher, hash};
pub use many::hash_many;
pub use multi::MultiHasher;
pub use pages::{PAGE_BYTES, Pages};
