//! What keeps this room from telling.

use std::io;
use std::path::{Path, PathBuf};

use crate::tar;

/// Why something could not be read, decided or made. What is wrong with a bag is a
/// [`Problem`](crate::Problem) instead.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The system refused.
    #[error("cannot {doing} {path}")]
    Io {
        /// What was being done, as a verb: "read", "open", "rename".
        doing: &'static str,
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The tar is broken, or refused.
    #[error("tar")]
    Tar(#[from] tar::Error),
    /// A folder lies deeper than [`tree::DEPTH_MAX`](crate::tree::DEPTH_MAX).
    #[error("{path} lies more than {max} folders deep")]
    TooDeep {
        /// The folder.
        path: PathBuf,
        /// The bound.
        max: usize,
    },
    /// A folder holds more than [`tree::FOLDER_ENTRIES_MAX`](crate::tree::FOLDER_ENTRIES_MAX) names.
    #[error("{path} holds more than {max} names")]
    TooManyNames {
        /// The folder.
        path: PathBuf,
        /// The bound.
        max: usize,
    },
    /// The path is neither a folder nor a tar (plain, gzip or zstd).
    #[error("{0} is neither a folder nor a tar")]
    NotABag(PathBuf),
    /// What should become a bag is one already.
    #[error("{0} is a bag already")]
    AlreadyABag(PathBuf),
    /// Something in the folder cannot stand in a bag.
    #[error("{path}: {reason}")]
    Unfit {
        /// The file.
        path: PathBuf,
        /// Why, and what was expected.
        reason: String,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Asked(String),
    /// A profile could not be understood.
    #[error("the profile cannot be used: {0}")]
    Profile(String),
}

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Error {
        Error::Io { doing, path: path.to_owned(), source }
    }
}
