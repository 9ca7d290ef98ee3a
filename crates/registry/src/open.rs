//! Opening the database: files, connections, migrations, transactions.

use std::path::Path;
use std::time::Duration;

use sqlx::Connection as _;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Sqlite, Transaction};

use crate::Error;

/// How to open a registry.
#[derive(Clone, Debug)]
pub struct Options {
    /// Change nothing; the file must be there.
    pub read_only: bool,
    /// Name of a registered SQLite VFS to use instead of the default, such as a faulty one.
    pub vfs: Option<String>,
    /// How long to wait for other processes before [`Error::Busy`].
    pub busy_seconds_max: u32,
    /// The log is copied into the database when it has this many pages of 4 KiB.
    pub wal_pages_max: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { read_only: false, vfs: None, busy_seconds_max: 30, wal_pages_max: WAL_PAGES_MAX }
    }
}

/// A handle on the registry; clones share its connections.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Connections that only read. In WAL mode they never wait for the writer.
    reads: SqlitePool,
    /// The one connection that writes: within a process writers queue here, in order, instead of
    /// polling for SQLite's lock. `None` when opened read-only.
    writes: Option<SqlitePool>,
}

/// A transaction that writes. Dropped without `commit`, it leaves nothing.
pub(crate) type Writing = Transaction<'static, Sqlite>;

/// Version of the tables that this program writes.
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;

/// Migration i leads from version i to i + 1. Written ones never change.
const MIGRATIONS: &[&str] = &[
    include_str!("migrations/0001.sql"),
    include_str!("migrations/0002.sql"),
    include_str!("migrations/0003.sql"),
    include_str!("migrations/0004.sql"),
    include_str!("migrations/0005.sql"),
    include_str!("migrations/0006.sql"),
    include_str!("migrations/0007.sql"),
    include_str!("migrations/0008.sql"),
];

const READ_CONNECTIONS_MAX: u32 = 4;
/// Page cache of the connection that writes.
const WRITE_CACHE_KIB: u32 = 16 * 1024;
/// Page cache of each connection that reads.
const READ_CACHE_KIB: u32 = 2 * 1024;
/// Rows that a connection's thread reads ahead of who asked, as many as a page mostly has: handing rows
/// over one by one costs more than reading them.
const ROWS_AHEAD: usize = 1000;
/// The log is copied into the database when it has this many pages (16 MiB), where not told otherwise ...
const WAL_PAGES_MAX: u32 = 4_000;
/// ... and cut back to this after it grew larger.
const WAL_BYTES_KEPT_MAX: u32 = 64 << 20;
/// Marks the file as a registry (`file` and others show it): "SRrg".
const APPLICATION_ID: u32 = 0x5352_7267;
/// Pause before trying again where SQLite says "busy" at once, without waiting.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
const RETRIES_MAX: u32 = 100;

impl Registry {
    /// Opens the registry at `path`; makes file and tables where there are none, and brings older
    /// tables up to date. Refuses tables of a newer version before anything is changed.
    pub async fn open(path: &Path, options: Options) -> Result<Registry, Error> {
        let busy = Duration::from_secs(options.busy_seconds_max.into());
        let mut connect = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(busy)
            .foreign_keys(true)
            .row_buffer_size(ROWS_AHEAD)
            .synchronous(SqliteSynchronous::Full);
        if let Some(vfs) = options.vfs.clone() {
            connect = connect.vfs(vfs);
        }
        let pool = |connections: u32| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                // Waiting for the one connection that writes comes before waiting for the lock.
                .acquire_timeout(busy.max(Duration::from_secs(1)))
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writes = if options.read_only {
            None
        } else {
            let connect = (connect.clone())
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .pragma("cache_size", format!("-{WRITE_CACHE_KIB}"))
                .pragma("wal_autocheckpoint", options.wal_pages_max.to_string())
                .pragma("journal_size_limit", WAL_BYTES_KEPT_MAX.to_string());
            let writes = patiently(|| writer(pool(1)).connect_with(connect.clone())).await?;
            migrate(&writes).await?;
            Some(writes)
        };
        let connect = (connect.create_if_missing(false).read_only(options.read_only))
            .pragma("query_only", "ON")
            .pragma("cache_size", format!("-{READ_CACHE_KIB}"));
        let reads = patiently(|| pool(READ_CONNECTIONS_MAX).connect_with(connect.clone())).await?;
        if writes.is_none() {
            known(schema_version(&mut *reads.acquire().await?).await?)?;
        }
        Ok(Registry { reads, writes })
    }

    /// Closes all connections, also those of clones, once they are at rest.
    pub async fn close(self) {
        self.reads.close().await;
        if let Some(writes) = self.writes {
            writes.close().await;
        }
    }

    /// A connection that only reads.
    pub(crate) async fn read(&self) -> Result<PoolConnection<Sqlite>, Error> {
        Ok(self.reads.acquire().await?)
    }

    /// A transaction that writes; it holds the writer's lock from the start, so that it never fails
    /// in its middle because another process wrote.
    pub(crate) async fn write(&self) -> Result<Writing, Error> {
        let writes = self.writes.as_ref().ok_or(Error::ReadOnly)?;
        begin(writes).await
    }
}

/// A commit that the disk refuses ends the transaction within SQLite, and its connection never learns of
/// that: it would refuse all work for as long as the process lives. So such a one is given up.
fn writer(pool: SqlitePoolOptions) -> SqlitePoolOptions {
    pool.before_acquire(|connection, _| {
        Box::pin(async move {
            if connection.is_in_transaction() {
                // Also what was merely dropped may be rolling back still.
                connection.ping().await?;
            }
            Ok(!connection.is_in_transaction())
        })
    })
}

async fn begin(writes: &SqlitePool) -> Result<Writing, Error> {
    patiently(|| writes.begin_with("BEGIN IMMEDIATE")).await
}

/// SQLite waits for most locks itself (busy_timeout), but not while a log is recovered or the
/// journal mode changes: then it says "busy" at once, and is asked again for a while.
async fn patiently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let began = tokio::time::Instant::now();
    for _ in 0..RETRIES_MAX {
        match attempt().await.map_err(Error::from) {
            // What took longer than a pause has waited already.
            Err(Error::Busy) if began.elapsed() < RETRY_PAUSE * RETRIES_MAX => {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            outcome => return outcome,
        }
    }
    Err(Error::Busy)
}

async fn migrate(writes: &SqlitePool) -> Result<(), Error> {
    let found = schema_version(&mut *writes.acquire().await?).await?;
    known(found)?;
    if found == SCHEMA_VERSION {
        return Ok(());
    }
    let mut tx = begin(writes).await?;
    // Another process may have been faster.
    let found = schema_version(&mut tx).await?;
    known(found)?;
    for version in found..SCHEMA_VERSION {
        let step = usize::try_from(version).ok().and_then(|i| MIGRATIONS.get(i));
        let step = step.ok_or(Error::Newer { found, known: SCHEMA_VERSION })?;
        sqlx::raw_sql(*step).execute(&mut *tx).await?;
    }
    // Written into the file's header, so that a reader knows the version before any table.
    let header =
        format!("PRAGMA user_version = {SCHEMA_VERSION}; PRAGMA application_id = {APPLICATION_ID}");
    sqlx::raw_sql(sqlx::AssertSqlSafe(header)).execute(&mut *tx).await?;
    tx.commit().await?;
    tracing::debug!(from = found, to = SCHEMA_VERSION, "registry migrated");
    Ok(())
}

async fn schema_version(connection: &mut sqlx::SqliteConnection) -> Result<i64, Error> {
    Ok(sqlx::query_scalar("PRAGMA user_version").fetch_one(connection).await?)
}

fn known(found: i64) -> Result<(), Error> {
    match found {
        0..=SCHEMA_VERSION => Ok(()),
        _ => Err(Error::Newer { found, known: SCHEMA_VERSION }),
    }
}
