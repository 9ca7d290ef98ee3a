//! What can go wrong, for a person and for the code that decides what to do next.

use strongroom_record as record;

/// Why the registry could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The tables were written by a newer Strongroom. Nothing was touched.
    #[error(
        "the registry has schema version {found}, and this program knows up to {known}: use a newer Strongroom"
    )]
    Newer {
        /// Version in the file.
        found: i64,
        /// Newest version that this program knows.
        known: i64,
    },
    /// The work item was taken by another worker, released, cancelled or finished. Nothing of the
    /// refused call was kept.
    #[error("the lease on the work item was lost: held token {held}, the item's is {current}")]
    LeaseLost {
        /// The token under which the call was made.
        held: u64,
        /// The item's token now; equal to `held` where the item is just no longer running.
        current: u64,
    },
    /// There is no such thing.
    #[error("no {what} {id}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// By which id or name.
        id: String,
    },
    /// What is there does not allow it. Nothing was changed.
    #[error("refused: {what}")]
    Conflict {
        /// What stands against it.
        what: String,
    },
    /// Another journal was kept meanwhile: write it anew, after that one.
    #[error("another journal of institution {institution} was kept meanwhile")]
    JournalSuperseded {
        /// Of which institution.
        institution: record::InstitutionId,
    },
    /// Other processes held the database for longer than `Options::busy_seconds_max`.
    #[error("the registry is busy: other processes hold it; try again")]
    Busy,
    /// The disk, or the quota on it, is full. Nothing of the refused call was kept.
    #[error("no space is left for the registry")]
    NoSpace,
    /// It was opened read-only.
    #[error("the registry was opened read-only")]
    ReadOnly,
    /// A row does not mean what it must. A person must look.
    #[error("the registry is damaged: {table}: {what}")]
    Corrupt {
        /// The table, or `file`.
        table: &'static str,
        /// What is wrong.
        what: String,
    },
    /// More than a named bound allows.
    #[error("{what} is {found}, more than {max}")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// How large it is.
        found: u64,
        /// How large it may be.
        max: u64,
    },
    /// A value given cannot be kept, such as an event that has no canonical form.
    #[error("cannot be kept: {0}")]
    Invalid(#[from] record::Error),
    /// Any other failure of the database.
    #[error("the registry's database failed: {0}")]
    Sql(#[source] sqlx::Error),
}

impl Error {
    /// A [`Error::Conflict`] from its words.
    pub(crate) fn conflict(what: impl Into<String>) -> Error {
        Error::Conflict { what: what.into() }
    }
    /// A [`Error::NotFound`] from what was looked for.
    pub(crate) fn not_found(what: &'static str, id: impl std::fmt::Display) -> Error {
        Error::NotFound { what, id: id.to_string() }
    }
}

// Primary result codes of SQLite (sqlite.org/rescode.html).
const SQLITE_BUSY: u32 = 5;
const SQLITE_LOCKED: u32 = 6;
const SQLITE_READONLY: u32 = 8;
const SQLITE_CORRUPT: u32 = 11;
const SQLITE_FULL: u32 = 13;
const SQLITE_NOTADB: u32 = 26;

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Error {
        let sqlx::Error::Database(failure) = &error else {
            return match error {
                sqlx::Error::PoolTimedOut => Error::Busy,
                sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => {
                    Error::Corrupt { table: "row", what: error.to_string() }
                }
                error => Error::Sql(error),
            };
        };
        if failure.is_unique_violation()
            || failure.is_foreign_key_violation()
            || failure.is_check_violation()
        {
            return Error::conflict(failure.message());
        }
        let code = failure.code().and_then(|code| code.parse::<u32>().ok());
        match code.map(|code| code & 0xff) {
            Some(SQLITE_BUSY | SQLITE_LOCKED) => Error::Busy,
            Some(SQLITE_FULL) => Error::NoSpace,
            Some(SQLITE_READONLY) => Error::ReadOnly,
            Some(SQLITE_CORRUPT | SQLITE_NOTADB) => {
                Error::Corrupt { table: "file", what: failure.message().to_string() }
            }
            _ => Error::Sql(error),
        }
    }
}
