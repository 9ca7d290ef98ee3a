//! Counts for a person, and abbreviated ids.

use sqlx::sqlite::SqliteConnection;
use strongroom_record::{PlacementState, SegmentState, WorkStatus};

use crate::row::{Fields, prefix_range};
use crate::types::{IdKind, Status};
use crate::work::PREFIX_MATCHES_MAX;
use crate::{Error, Registry};

impl Registry {
    /// Counts of what there is.
    pub async fn status(&self) -> Result<Status, Error> {
        let mut read = self.read().await?;
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM objects WHERE deleted IS NULL) AS objects, COUNT(*) AS versions,
               CAST(COALESCE(SUM(files), 0) AS BIGINT) AS files,
               CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes
             FROM versions WHERE state = 'published'",
        )
        .fetch_one(&mut *read)
        .await?;
        let fields = Fields::new(&row, "versions");
        Ok(Status {
            objects: fields.number("objects")?,
            versions: fields.number("versions")?,
            files: fields.number("files")?,
            bytes: fields.number("bytes")?,
            segments: counts(
                &mut read,
                "SELECT state AS word, COUNT(*) AS rows FROM segments GROUP BY state ORDER BY state",
                SegmentState::parse,
            )
            .await?,
            placements: counts(
                &mut read,
                "SELECT state AS word, COUNT(*) AS rows FROM placements GROUP BY state ORDER BY state",
                PlacementState::parse,
            )
            .await?,
            work: counts(
                &mut read,
                "SELECT status AS word, COUNT(*) AS rows FROM work GROUP BY status ORDER BY status",
                WorkStatus::parse,
            )
            .await?,
        })
    }

    /// The ids of a kind that begin with these hexadecimal digits, at most ten; none where `prefix`
    /// is not hexadecimal.
    pub async fn find_by_prefix(&self, kind: IdKind, prefix: &str) -> Result<Vec<[u8; 16]>, Error> {
        let Some((low, high)) = prefix_range(prefix) else { return Ok(Vec::new()) };
        let sql = match kind {
            IdKind::Object => {
                "SELECT id FROM objects WHERE id BETWEEN $1 AND $2 AND deleted IS NULL
                 ORDER BY id LIMIT $3"
            }
            IdKind::Version => {
                "SELECT id FROM versions WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3"
            }
            IdKind::Work => "SELECT id FROM work WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3",
            IdKind::Segment => {
                "SELECT id FROM segments WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3"
            }
            IdKind::Shelf => {
                "SELECT id FROM shelves WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT $3"
            }
        };
        let rows = sqlx::query(sql)
            .bind(&low[..])
            .bind(&high[..])
            .bind(PREFIX_MATCHES_MAX)
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(|row| Fields::new(row, "ids").array("id")).collect()
    }
}

async fn counts<T>(
    connection: &mut SqliteConnection,
    sql: &'static str,
    parse: fn(&str) -> Result<T, strongroom_record::Error>,
) -> Result<Vec<(T, u64)>, Error> {
    let rows = sqlx::query(sql).fetch_all(connection).await?;
    let one = |row| {
        let fields = Fields::new(row, "state");
        Ok((fields.word("word", parse)?, fields.number("rows")?))
    };
    rows.iter().map(one).collect()
}
