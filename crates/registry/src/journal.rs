//! What journals carry from the registry to the shelves, and back.
//!
//! A journal tells of an institution by the rows of the tables in [`TABLES`], as they stand, and by
//! its events. A row is a JSON object of the table's columns: text as it is, integers as decimal
//! strings, bytes in hex; NULL is left out. A column that a reader does not know is passed over, one
//! that is missing takes its default, so rows of older and newer tables can be read.

use std::collections::{HashMap, VecDeque};

use serde_json::{Map, Value};
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, Row as _, TypeInfo as _, ValueRef as _};
use strongroom_record::json::bytes::{hex, unhex};
use strongroom_record::{EventDraft, InstitutionId, Lease, SegmentId, Sha256, Time};

use crate::row::{Fields, int, limited};
use crate::types::Institution;
use crate::{Error, Registry};

/// The name under which the archive's own key and chain of events stand among institutions'.
pub const ARCHIVE_NAME: &str = "(archive)";

/// Bytes of JSON in one text of a row that is taken in.
const TEXT_BYTES_MAX: usize = crate::JSON_BYTES_MAX;

/// A journal that is stored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Journal {
    /// Its id.
    pub id: [u8; 16],
    /// Of which institution; the archive's own for accounts and shelves.
    pub institution: InstitutionId,
    /// Its number, as (epoch, number).
    pub number: (u32, u64),
    /// Whether it tells of everything, or of what came after the one before.
    pub whole: bool,
    /// Its first event; one more than the last where it has none.
    pub first_event: u64,
    /// Its last event.
    pub last_event: u64,
    /// The one before.
    pub before: Option<[u8; 16]>,
    /// Its head segment.
    pub head: SegmentId,
    /// SHA-256 of the head's plaintext.
    pub head_sha256: Sha256,
    /// When it was written.
    pub created: Time,
}

/// Rows that a journal tells of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RowsOf {
    /// Of which institution.
    pub institution: InstitutionId,
    /// All, or only what the events of `first_event` to `last_event` touched.
    pub whole: bool,
    /// The first of these events.
    pub first_event: u64,
    /// The last of them.
    pub last_event: u64,
}

/// A table whose rows journals carry.
#[derive(Debug)]
pub struct Table {
    /// Its name.
    pub name: &'static str,
    /// Columns that name a row.
    key: &'static str,
    /// The column by which pages follow each other; an institution's where there is one page.
    cursor: &'static str,
    /// Whether it stands in the archive's own journal, not in institutions'.
    pub of_archive: bool,
    /// Its rows after an id `$5`, at most `$6`, of the institution `$1`, where `$2` is 1 or the events
    /// `$3` to `$4` touched them.
    rows: &'static str,
}

/// The rows of a table with which an institution's events had to do.
macro_rules! touched {
    ($column:literal, $of:literal) => {
        concat!(
            "($2 = 1 OR ",
            $column,
            " IN (SELECT ",
            $of,
            " FROM events WHERE institution = $1 AND sequence BETWEEN $3 AND $4))"
        )
    };
}

/// A deletion of what is dead and that is not ended: it is rebuilt, to be gone on with.
macro_rules! ending {
    () => {
        "(work.kind = 'delete' AND work.checkpoint <> 'null'
          AND work.status NOT IN ('succeeded', 'cancelled'))"
    };
}

/// The tables that journals carry, in the order in which their rows refer to each other.
pub const TABLES: &[Table] = &[
    Table {
        name: "settings",
        key: "name",
        cursor: "name",
        of_archive: true,
        rows: "SELECT * FROM settings WHERE $1 = $1 AND $2 + $3 + $4 >= 0 AND CAST(name AS BLOB) > $5
               ORDER BY name LIMIT $6",
    },
    Table {
        name: "shelves",
        key: "id",
        cursor: "id",
        of_archive: true,
        rows: "SELECT * FROM shelves WHERE $1 = $1 AND $2 + $3 + $4 >= 0 AND id > $5
               ORDER BY id LIMIT $6",
    },
    Table {
        name: "accounts",
        key: "id",
        cursor: "id",
        of_archive: true,
        rows: "SELECT * FROM accounts WHERE $1 = $1 AND $2 + $3 + $4 >= 0 AND id > $5
               ORDER BY id LIMIT $6",
    },
    Table {
        name: "text_accounts",
        key: "account",
        cursor: "account",
        of_archive: true,
        rows: "SELECT * FROM text_accounts WHERE $1 = $1 AND $2 + $3 + $4 >= 0 AND account > $5
               ORDER BY account LIMIT $6",
    },
    Table {
        name: "institutions",
        key: "id",
        cursor: "id",
        of_archive: false,
        rows: "SELECT * FROM institutions WHERE id = $1 AND $2 + $3 + $4 >= 0 AND id > $5 LIMIT $6",
    },
    Table {
        name: "key_generations",
        key: "institution, generation",
        cursor: "institution",
        of_archive: false,
        rows: "SELECT * FROM key_generations WHERE institution = $1 AND $2 + $3 + $4 >= 0
               AND institution > $5 ORDER BY generation LIMIT $6",
    },
    Table {
        name: "certificates",
        key: "institution, serial",
        cursor: "serial",
        of_archive: false,
        rows: "SELECT * FROM certificates WHERE institution = $1 AND $2 + $3 + $4 >= 0
               AND serial > $5 ORDER BY serial LIMIT $6",
    },
    Table {
        name: "revocations",
        key: "institution, serial",
        cursor: "serial",
        of_archive: false,
        rows: "SELECT * FROM revocations WHERE institution = $1 AND $2 + $3 + $4 >= 0
               AND serial > $5 ORDER BY serial LIMIT $6",
    },
    Table {
        name: "objects",
        key: "id",
        cursor: "id",
        of_archive: false,
        rows: concat!(
            "SELECT * FROM objects WHERE institution = $1 AND ",
            touched!("id", "object"),
            " AND id > $5 ORDER BY id LIMIT $6"
        ),
    },
    Table {
        name: "work",
        key: "id",
        cursor: "id",
        of_archive: false,
        // Unfinished work is not rebuilt, but for what ends a deletion, from where it is dead on; and what
        // only a running worker needs is left out.
        rows: concat!(
            "SELECT id, kind, institution, object, key, request,
               CASE WHEN ",
            ending!(),
            " THEN 'run' ELSE stage END AS stage,
               CASE WHEN ",
            ending!(),
            " THEN 'queued' ELSE status END AS status, attempts, 0 AS token,
               CASE WHEN ",
            ending!(),
            " THEN '{\"phase\":\"dead\"}' ELSE '{}' END AS checkpoint, note, report, created, updated
             FROM work WHERE institution = $1 AND kind <> 'journal'
               AND (status IN ('succeeded', 'cancelled', 'trouble') OR ",
            ending!(),
            ") AND ",
            touched!("id", "work"),
            " AND id > $5 ORDER BY id LIMIT $6"
        ),
    },
    Table {
        name: "deletions",
        key: "work",
        cursor: "work",
        of_archive: false,
        rows: concat!(
            "SELECT deletions.* FROM deletions JOIN work ON work.id = deletions.work
             WHERE work.institution = $1
               AND (work.status IN ('succeeded', 'cancelled', 'trouble') OR ",
            ending!(),
            ") AND ",
            touched!("deletions.work", "work"),
            " AND deletions.work > $5 ORDER BY deletions.work LIMIT $6"
        ),
    },
    Table {
        // Those that are still to be rewritten; of the others tombstones tell.
        name: "deleted_segments",
        key: "work, segment",
        cursor: "place",
        of_archive: false,
        rows: concat!(
            "SELECT work, segment, place FROM (SELECT deleted_segments.work, segment,
               CAST(lower(hex(deleted_segments.work)) || lower(hex(segment)) AS BLOB) AS place
             FROM deleted_segments JOIN work ON work.id = deleted_segments.work
             WHERE work.institution = $1 AND deleted_segments.tombstone IS NULL AND ",
            ending!(),
            " AND ",
            touched!("deleted_segments.work", "work"),
            ") WHERE place > $5 ORDER BY place LIMIT $6"
        ),
    },
    Table {
        name: "versions",
        key: "id",
        cursor: "id",
        of_archive: false,
        rows: concat!(
            "SELECT versions.* FROM versions JOIN objects ON objects.id = versions.object
             WHERE objects.institution = $1 AND versions.state <> 'draft' AND ",
            touched!("versions.object", "object"),
            " AND versions.id > $5 ORDER BY versions.id LIMIT $6"
        ),
    },
    Table {
        name: "tombstones",
        key: "kind, id",
        cursor: "id",
        of_archive: false,
        rows: "SELECT kind, id, institution, object, event, detail, time FROM tombstones
               WHERE institution = $1 AND ($2 = 1 OR event BETWEEN $3 AND $4) AND id > $5
               ORDER BY id LIMIT $6",
    },
];

impl Registry {
    /// Makes the archive's own institution, under [`ARCHIVE_NAME`], with the first events of its chain;
    /// `false`, and nothing is changed, where it is there.
    pub async fn create_archive_institution(
        &self,
        id: InstitutionId,
        keys: &[u8],
        events: Vec<EventDraft>,
        now: Time,
    ) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let row = Institution {
            id,
            name: ARCHIVE_NAME.into(),
            generation: 1,
            keys: keys.to_vec(),
            coding: None,
            created: now,
        };
        let made = crate::archive::insert_institution(&mut tx, &row).await?;
        if made {
            crate::events::append(&mut tx, id, events, now).await?;
        }
        tx.commit().await?;
        Ok(made)
    }

    /// Draws the number of a journal, as (epoch, number); none is drawn twice.
    pub async fn next_journal(&self) -> Result<(u32, u64), Error> {
        self.draw("journal").await
    }

    /// The last journal of an institution.
    pub async fn last_journal(&self, of: InstitutionId) -> Result<Option<Journal>, Error> {
        let row = sqlx::query(
            "SELECT * FROM journals WHERE institution = $1 ORDER BY epoch DESC, number DESC LIMIT 1",
        )
        .bind(&of.0[..])
        .fetch_optional(&mut *self.read().await?)
        .await?;
        row.as_ref().map(journal).transpose()
    }

    /// The last journal of an institution that was whole.
    pub async fn last_whole_journal(&self, of: InstitutionId) -> Result<Option<Journal>, Error> {
        let row = sqlx::query(
            "SELECT * FROM journals WHERE institution = $1 AND whole = 1
             ORDER BY epoch DESC, number DESC LIMIT 1",
        )
        .bind(&of.0[..])
        .fetch_optional(&mut *self.read().await?)
        .await?;
        row.as_ref().map(journal).transpose()
    }

    /// Rows of a table for a journal, after the id of the last one of the page before (nothing for the
    /// first).
    pub async fn journal_rows(
        &self,
        table: &Table,
        of: RowsOf,
        after: &[u8],
        limit: u32,
    ) -> Result<Vec<(Vec<u8>, Map<String, Value>)>, Error> {
        let rows = sqlx::query(table.rows)
            .bind(&of.institution.0[..])
            .bind(i64::from(of.whole))
            .bind(int(of.first_event)?)
            .bind(int(of.last_event)?)
            .bind(after)
            .bind(limited(limit))
            .fetch_all(&mut *self.read().await?)
            .await?;
        let one = |row| Ok((bytes_of(row, table.name, table.cursor)?, to_json(row, table.name)?));
        rows.iter().map(one).collect()
    }
}

macro_rules! insert_journal {
    () => {
        "INSERT INTO journals (id, institution, epoch, number, whole, first_event, last_event,
           before, head, head_sha256, created) "
    };
}

/// Takes the row of a journal in that stands on the shelves.
pub(crate) async fn take_in_row(
    connection: &mut SqliteConnection,
    journal: &Journal,
) -> Result<bool, Error> {
    let sql = concat!(
        insert_journal!(),
        "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING"
    );
    insert_journal(connection, journal, sql).await
}

/// Inserts the row by this statement; whether it did.
async fn insert_journal(
    connection: &mut SqliteConnection,
    journal: &Journal,
    sql: &'static str,
) -> Result<bool, Error> {
    let inserted = sqlx::query(sql)
        .bind(&journal.id[..])
        .bind(&journal.institution.0[..])
        .bind(i64::from(journal.number.0))
        .bind(int(journal.number.1)?)
        .bind(i64::from(journal.whole))
        .bind(int(journal.first_event)?)
        .bind(int(journal.last_event)?)
        .bind(journal.before.as_ref().map(|id| &id[..]))
        .bind(&journal.head.0[..])
        .bind(&journal.head_sha256.0[..])
        .bind(journal.created.0)
        .execute(connection)
        .await?;
    Ok(inserted.rows_affected() == 1)
}

/// Keeps a journal under the lease of whoever wrote it. It must follow the last one; the tombstones
/// that it carries are told of from now on. A whole one takes the place of all before it, whose segments
/// are released.
pub(crate) async fn keep(
    connection: &mut SqliteConnection,
    lease: &Lease,
    journal: &Journal,
) -> Result<(), Error> {
    let kept = insert_journal(
        &mut *connection,
        journal,
        concat!(
            insert_journal!(),
            "SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11 FROM segments
             WHERE segments.id = $9 AND segments.kind = 'journal' AND segments.state = 'durable'
               AND NOT EXISTS (SELECT 1 FROM journals WHERE institution = $2
                 AND (epoch, number) > ($3, $4))
               AND (SELECT id FROM journals WHERE institution = $2
                    ORDER BY epoch DESC, number DESC LIMIT 1) IS $8"
        ),
    )
    .await?;
    if !kept {
        return Err(Error::JournalSuperseded { institution: journal.institution });
    }
    if journal.whole {
        for sql in [
            "UPDATE placements SET state = 'released' WHERE segment IN
               (SELECT id FROM segments WHERE institution = $1 AND kind = 'journal'
                AND state = 'durable' AND (work IS NOT $2 OR token <> $3))",
            "UPDATE segments SET state = 'released' WHERE institution = $1 AND kind = 'journal'
               AND state = 'durable' AND (work IS NOT $2 OR token <> $3)",
        ] {
            sqlx::query(sql)
                .bind(&journal.institution.0[..])
                .bind(&lease.work.0[..])
                .bind(int(lease.token)?)
                .execute(&mut *connection)
                .await?;
        }
    }
    sqlx::query(
        "UPDATE tombstones SET journal = $2
         WHERE institution = $1 AND journal IS NULL AND event <= $3",
    )
    .bind(&journal.institution.0[..])
    .bind(&journal.id[..])
    .bind(int(journal.last_event)?)
    .execute(connection)
    .await?;
    Ok(())
}

/// What is done with a row that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Existing {
    /// It is replaced: the journal is newer than what the registry knows.
    Replaced,
    /// It stays.
    Kept,
}

/// A row of a journal.
#[derive(Clone, PartialEq, Debug)]
pub struct Row {
    /// Its table, one of [`TABLES`].
    pub table: String,
    /// Its columns.
    pub columns: Map<String, Value>,
}

/// The columns of a table, by name: its declared type.
type Columns = HashMap<String, String>;

/// Takes rows of journals in; one that cannot stand beside what is there (a name that is taken) is
/// passed over and given back.
pub(crate) async fn take_in(
    connection: &mut SqliteConnection,
    rows: Vec<Row>,
    existing: Existing,
) -> Result<Vec<Row>, Error> {
    let mut known: HashMap<&'static str, Columns> = HashMap::new();
    let mut passed_over = Vec::new();
    // A name that one row gives up another takes, and they come in the order of their ids.
    let one = |row: Row| match published(&row) {
        false => (row, existing, true),
        // It is published when its record is found.
        true => (rebuilding(row), Existing::Kept, true),
    };
    let mut rows: VecDeque<(Row, Existing, bool)> = rows.into_iter().map(one).collect();
    while let Some((row, existing, again)) = rows.pop_front() {
        let Some(table) = TABLES.iter().find(|table| table.name == row.table) else {
            passed_over.push(row); // of a newer version
            continue;
        };
        if !known.contains_key(table.name) {
            known.insert(table.name, columns_of(connection, table.name).await?);
        }
        if !insert(connection, table, &known[table.name], &row, existing).await? {
            match again {
                true => rows.push_back((row, existing, false)),
                false => passed_over.push(row),
            }
        }
    }
    Ok(passed_over)
}

fn published(row: &Row) -> bool {
    row.table == "versions" && row.columns.get("state").is_some_and(|state| state == "published")
}

fn rebuilding(mut row: Row) -> Row {
    row.columns.insert("state".into(), "rebuilding".into());
    row
}

async fn insert(
    connection: &mut SqliteConnection,
    table: &Table,
    columns: &Columns,
    row: &Row,
    existing: Existing,
) -> Result<bool, Error> {
    let wrong = |column: &str| Error::Corrupt {
        table: table.name,
        what: format!("a journal's row: {column} is not what it should be"),
    };
    let mut names = Vec::new();
    let mut values = Vec::new();
    for (name, value) in &row.columns {
        let Some(declared) = columns.get(name.as_str()) else { continue };
        let text = value.as_str().ok_or_else(|| wrong(name))?;
        if text.len() > TEXT_BYTES_MAX {
            return Err(wrong(name));
        }
        names.push(name.as_str());
        values.push((declared.as_str(), text, name));
    }
    if names.is_empty() {
        return Ok(false);
    }
    let places = vec!["?"; names.len()].join(", ");
    let list = names.join(", ");
    let then = match existing {
        Existing::Kept => "DO NOTHING".to_string(),
        Existing::Replaced => {
            let set: Vec<_> = names.iter().map(|n| format!("{n} = excluded.{n}")).collect();
            // An older life of the registry may tell of what this one ended since.
            let unless = match table.name {
                "work" => " WHERE work.status <> 'succeeded'",
                _ => "",
            };
            format!("({}) DO UPDATE SET {}{unless}", table.key, set.join(", "))
        }
    };
    let table_name = table.name;
    // Names of columns come from the database's own list, never from the journal.
    let sql = format!("INSERT INTO {table_name} ({list}) VALUES ({places}) ON CONFLICT {then}");
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (declared, text, name) in values {
        query = match declared {
            "INTEGER" => query.bind(text.parse::<i64>().map_err(|_| wrong(name))?),
            "BLOB" => query.bind(unhex(text).ok_or_else(|| wrong(name))?),
            _ => query.bind(text.to_string()),
        };
    }
    match query.execute(connection).await {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(e))
            if e.is_unique_violation() || e.is_foreign_key_violation() =>
        {
            Ok(false)
        }
        Err(e) => Err(e.into()),
    }
}

async fn columns_of(
    connection: &mut SqliteConnection,
    table: &'static str,
) -> Result<Columns, Error> {
    let rows = sqlx::query("SELECT name, type FROM pragma_table_info($1)")
        .bind(table)
        .fetch_all(connection)
        .await?;
    rows.iter()
        .map(|row| {
            let fields = Fields::new(row, table);
            Ok((fields.text("name")?, fields.text("type")?))
        })
        .collect()
}

fn to_json(row: &SqliteRow, table: &'static str) -> Result<Map<String, Value>, Error> {
    let fields = Fields::new(row, table);
    let mut columns = Map::new();
    for column in row.columns() {
        let name = column.name();
        let raw = row.try_get_raw(name)?;
        let text = match (raw.is_null(), raw.type_info().name()) {
            (true, _) => continue,
            (_, "INTEGER") => fields.get::<i64>(name)?.to_string(),
            (_, "BLOB") => hex(fields.bytes(name)?),
            _ => fields.text(name)?,
        };
        columns.insert(name.into(), text.into());
    }
    Ok(columns)
}

fn bytes_of(row: &SqliteRow, table: &'static str, column: &str) -> Result<Vec<u8>, Error> {
    let fields = Fields::new(row, table);
    match row.try_get_raw(column)?.type_info().name() {
        "BLOB" => Ok(fields.bytes(column)?.to_vec()),
        _ => Ok(fields.text(column)?.into_bytes()),
    }
}

fn journal(row: &SqliteRow) -> Result<Journal, Error> {
    let fields = Fields::new(row, "journals");
    let before: Option<&[u8]> = fields.get("before")?;
    let before = before.map(<[u8; 16]>::try_from).transpose();
    Ok(Journal {
        id: fields.array("id")?,
        institution: fields.id("institution")?,
        number: (fields.number("epoch")?, fields.number("number")?),
        whole: fields.flag("whole")?,
        first_event: fields.number("first_event")?,
        last_event: fields.number("last_event")?,
        before: before.map_err(|_| fields.corrupt("before", "not 16 bytes"))?,
        head: fields.id("head")?,
        head_sha256: fields.sha256("head_sha256")?,
        created: fields.time("created")?,
    })
}
