//! Files of versions, and where their bytes lie.

use std::collections::HashSet;

use sqlx::AssertSqlSafe;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{
    Extent, FileKind, FileRecord, Lease, NamedDigest, ObjectId, SegmentId, Sha256, VersionId,
};

use crate::row::{self, Fields, int, limited};
use crate::{Error, Registry};

/// What is read of a file: each column of a row costs memory of its own on its way here.
macro_rules! columns {
    () => {
        "files.number, id, path, kind, mode, mtime, size, sha256, digests, target, made, format"
    };
}

/// Files, each with its first extent: a row costs more than what it says, and few files have more.
macro_rules! file_with_extent {
    () => {
        concat!(
            "SELECT ",
            columns!(),
            ", segment, start, length FROM files
         LEFT JOIN extents ON extents.version = files.version
           AND extents.number = files.number AND extents.seq = 0"
        )
    };
}

impl Registry {
    /// Files from this number on, in order.
    pub async fn files(
        &self,
        version: VersionId,
        from_number: u64,
        limit: u32,
    ) -> Result<Vec<FileRecord>, Error> {
        let mut read = self.read().await?;
        let sql = concat!(
            file_with_extent!(),
            " WHERE files.version = $1 AND files.number >= $2 ORDER BY files.number LIMIT $3"
        );
        let mut files =
            numbered(&mut read, sql, version, from_number, limit, file_and_extent).await?;
        let first = files.iter().find(|file| has_more(file)).map(|file| file.number);
        let last = files.iter().rfind(|file| has_more(file)).map(|file| file.number);
        if let (Some(first), Some(last)) = (first, last) {
            fill_extents(&mut read, version, first, last, 1, &mut files).await?;
        }
        Ok(files)
    }

    /// Files from this number on, in order, without where their bytes lie.
    pub async fn files_without_extents(
        &self,
        version: VersionId,
        from_number: u64,
        limit: u32,
    ) -> Result<Vec<FileRecord>, Error> {
        let sql = concat!(
            "SELECT ",
            columns!(),
            " FROM files WHERE version = $1 AND number >= $2 ORDER BY number LIMIT $3"
        );
        numbered(&mut *self.read().await?, sql, version, from_number, limit, file).await
    }

    /// The file at this path.
    pub async fn file_by_path(
        &self,
        version: VersionId,
        path: &[u8],
    ) -> Result<Option<FileRecord>, Error> {
        let mut read = self.read().await?;
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM files WHERE version = $1 AND path = $2"
        ))
        .bind(&version.0[..])
        .bind(path)
        .fetch_optional(&mut *read)
        .await?;
        with_extents(&mut read, version, row).await
    }

    /// Files after this path, by path in the order of its bytes, of those that begin with `prefix`.
    pub async fn files_by_path(
        &self,
        version: VersionId,
        after_path: Option<&[u8]>,
        prefix: &[u8],
        limit: u32,
    ) -> Result<Vec<FileRecord>, Error> {
        let mut read = self.read().await?;
        let end = after_prefix(prefix);
        // One lower bound: of two, the database would begin at the first that it is told.
        let (from, after) = match after_path.filter(|after| *after >= prefix) {
            Some(after) => (after, true),
            None => (prefix, false),
        };
        let mut sql = String::from(file_with_extent!());
        sql.push_str(match after {
            true => " WHERE files.version = $1 AND files.path > $2",
            false => " WHERE files.version = $1 AND files.path >= $2",
        });
        if end.is_some() {
            sql.push_str(" AND files.path < $4");
        }
        sql.push_str(" ORDER BY files.path LIMIT $3");
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(&version.0[..])
            .bind(from)
            .bind(limited(limit))
            .bind(end)
            .map(|row| file_and_extent(&row))
            .fetch_all(&mut *read)
            .await?;
        let mut files = rows.into_iter().collect::<Result<Vec<_>, _>>()?;
        for file in files.iter_mut().filter(|file| has_more(file)) {
            let number = file.number;
            let one = std::slice::from_mut(file);
            fill_extents(&mut read, version, number, number, 1, one).await?;
        }
        Ok(files)
    }

    /// A file of this content, with where it lies, so that it need not be stored again.
    pub async fn file_by_sha256(
        &self,
        version: VersionId,
        sha256: &Sha256,
        size: u64,
    ) -> Result<Option<FileRecord>, Error> {
        let mut read = self.read().await?;
        // SQLite would rather walk the whole version, whose files stand in one place, than use the index.
        let row = sqlx::query(concat!(
            "SELECT ",
            columns!(),
            " FROM files INDEXED BY files_digest
             WHERE version = $1 AND sha256 = $2 AND size > 0 AND size = $3
               AND kind = 'file' ORDER BY number LIMIT 1"
        ))
        .bind(&version.0[..])
        .bind(&sha256.0[..])
        .bind(int(size)?)
        .fetch_optional(&mut *read)
        .await?;
        with_extents(&mut read, version, row).await
    }

    /// Digest and number of the files that hold bytes, from this number on, in order: enough for a
    /// worker to know what need not be stored again, without asking for each file.
    pub async fn digests_of(
        &self,
        version: VersionId,
        from_number: u64,
        limit: u32,
    ) -> Result<Vec<(Sha256, u64)>, Error> {
        let rows = sqlx::query(
            "SELECT number, sha256 FROM files
             WHERE version = $1 AND number >= $2 AND kind = 'file' AND size > 0
             ORDER BY number LIMIT $3",
        )
        .bind(&version.0[..])
        .bind(int(from_number)?)
        .bind(limited(limit))
        .fetch_all(&mut *self.read().await?)
        .await?;
        let one = |row| {
            let fields = Fields::new(row, "files");
            Ok((fields.sha256("sha256")?, fields.number("number")?))
        };
        rows.iter().map(one).collect()
    }
}

/// Files from this number on, as `sql` asks for them.
async fn numbered(
    connection: &mut SqliteConnection,
    sql: &'static str,
    version: VersionId,
    from_number: u64,
    limit: u32,
    decode: fn(&SqliteRow) -> Result<FileRecord, Error>,
) -> Result<Vec<FileRecord>, Error> {
    let rows = sqlx::query(sql)
        .bind(&version.0[..])
        .bind(int(from_number)?)
        .bind(limited(limit))
        // Each is decoded while the database's thread reads the next.
        .map(|row| decode(&row))
        .fetch_all(connection)
        .await?;
    rows.into_iter().collect()
}

/// Adds files to the draft of a work item.
pub(crate) async fn add(
    connection: &mut SqliteConnection,
    lease: &Lease,
    files: &[FileRecord],
) -> Result<(), Error> {
    if files.is_empty() {
        return Ok(());
    }
    let bytes = files.iter().try_fold(0u64, |sum, file| sum.checked_add(file.size));
    let count = files.len() as u64;
    // Locks the draft, so that numbers stay dense.
    let row = sqlx::query(
        "UPDATE versions SET files = files + $2, bytes = bytes + $3
         WHERE work = $1 AND state = 'draft' RETURNING id, object, files",
    )
    .bind(&lease.work.0[..])
    .bind(int(count)?)
    .bind(int(bytes.unwrap_or(u64::MAX))?)
    .fetch_optional(&mut *connection)
    .await?;
    let row = row.ok_or_else(|| Error::conflict("the work item has no draft to add files to"))?;
    let fields = Fields::new(&row, "versions");
    let (version, object): (VersionId, ObjectId) = (fields.id("id")?, fields.id("object")?);
    let first = fields.number::<u64>("files")?.saturating_sub(count);
    for (expected, file) in (first..).zip(files) {
        check(file, expected)?;
    }
    crate::shelving::within_quota(connection, object).await?;
    lock_segments(connection, object, files).await?;
    insert(connection, version, files).await
}

/// The rows of files and of their extents.
pub(crate) async fn insert(
    connection: &mut SqliteConnection,
    version: VersionId,
    files: &[FileRecord],
) -> Result<(), Error> {
    let statements = row::inserts(
        "INSERT INTO files (version, number, id, path, kind, mode, mtime, size, sha256, digests,
         target, made, format) VALUES",
        13,
        files,
        |query, file| {
            Ok(query
                .bind(&version.0[..])
                .bind(int(file.number)?)
                .bind(&file.id.0[..])
                .bind(&file.path[..])
                .bind(file.kind.word())
                .bind(i64::from(file.mode))
                .bind(file.mtime_ns)
                .bind(int(file.size)?)
                .bind(&file.sha256.0[..])
                .bind(digests_to_bytes(&file.digests)?)
                .bind(file.target.as_deref())
                .bind(i64::from(file.made))
                .bind(file.format.as_deref()))
        },
    )?;
    row::execute(&mut *connection, statements).await?;
    let extents: Vec<(u64, u64, &Extent)> = (files.iter())
        .flat_map(|file| (0u64..).zip(&file.extents).map(|(seq, e)| (file.number, seq, e)))
        .collect();
    let statements = row::inserts(
        "INSERT INTO extents (version, number, seq, segment, start, length) VALUES",
        6,
        &extents,
        |query, (number, seq, extent)| {
            Ok(query
                .bind(&version.0[..])
                .bind(int(*number)?)
                .bind(int(*seq)?)
                .bind(&extent.segment.0[..])
                .bind(int(extent.offset)?)
                .bind(int(extent.length)?))
        },
    )?;
    row::execute(connection, statements).await
}

/// Gives files of the draft of a work item another id, path and digests.
pub(crate) async fn amend(
    connection: &mut SqliteConnection,
    lease: &Lease,
    files: &[FileRecord],
) -> Result<(), Error> {
    for file in files {
        let amended = sqlx::query(
            "UPDATE files SET id = $3, path = $4, digests = $5
             WHERE number = $2
               AND version = (SELECT id FROM versions WHERE work = $1 AND state = 'draft')",
        )
        .bind(&lease.work.0[..])
        .bind(int(file.number)?)
        .bind(&file.id.0[..])
        .bind(&file.path[..])
        .bind(digests_to_bytes(&file.digests)?)
        .execute(&mut *connection)
        .await?;
        if amended.rows_affected() != 1 {
            let number = file.number;
            return Err(Error::conflict(format!("the work item's draft has no file {number}")));
        }
    }
    Ok(())
}

fn check(file: &FileRecord, expected: u64) -> Result<(), Error> {
    let path = || String::from_utf8_lossy(&file.path);
    if file.number != expected {
        return Err(Error::conflict(format!(
            "file {} is number {}, and the draft's next is {expected}",
            path(),
            file.number
        )));
    }
    let covered = file.extents.iter().try_fold(0u64, |sum, e| sum.checked_add(e.length));
    if covered != Some(file.size) {
        return Err(Error::conflict(format!(
            "the extents of file {} do not add up to its {} bytes",
            path(),
            file.size
        )));
    }
    Ok(())
}

/// Locks what the files refer to, which must be durable segments of the same object.
async fn lock_segments(
    connection: &mut SqliteConnection,
    object: ObjectId,
    files: &[FileRecord],
) -> Result<(), Error> {
    let segments: HashSet<SegmentId> =
        files.iter().flat_map(|file| &file.extents).map(|extent| extent.segment).collect();
    for segment in segments {
        let locked = sqlx::query(
            "UPDATE segments SET bytes = bytes
             WHERE id = $1 AND object = $2 AND state = 'durable' AND kind = 'data'",
        )
        .bind(&segment.0[..])
        .bind(&object.0[..])
        .execute(&mut *connection)
        .await?;
        if locked.rows_affected() != 1 {
            return Err(Error::conflict(format!(
                "a file refers to segment {segment}, which is no durable one of the same object"
            )));
        }
    }
    Ok(())
}

async fn with_extents(
    connection: &mut SqliteConnection,
    version: VersionId,
    row: Option<SqliteRow>,
) -> Result<Option<FileRecord>, Error> {
    let Some(row) = row else { return Ok(None) };
    let mut file = file(&row)?;
    let number = file.number;
    let one = std::slice::from_mut(&mut file);
    fill_extents(connection, version, number, number, 0, one).await?;
    Ok(Some(file))
}

/// A row of [`file_with_extent`].
fn file_and_extent(row: &SqliteRow) -> Result<FileRecord, Error> {
    let mut file = file(row)?;
    let fields = Fields::new(row, "extents");
    if let Some(segment) = fields.id_or_none("segment")? {
        let (offset, length) = (fields.number("start")?, fields.number("length")?);
        file.extents.push(Extent { segment, offset, length });
    }
    Ok(file)
}

/// Whether a file has further extents than its first.
fn has_more(file: &FileRecord) -> bool {
    file.extents.first().is_some_and(|extent| extent.length < file.size)
}

/// Reads the extents of `files`, which are in the order of their numbers, of `first` to `last`; of each
/// those from `from_seq` on.
async fn fill_extents(
    connection: &mut SqliteConnection,
    version: VersionId,
    first: u64,
    last: u64,
    from_seq: u32,
    files: &mut [FileRecord],
) -> Result<(), Error> {
    let rows = sqlx::query(
        "SELECT number, segment, start, length FROM extents
         WHERE version = $1 AND number BETWEEN $2 AND $3 AND seq >= $4 ORDER BY number, seq",
    )
    .bind(&version.0[..])
    .bind(int(first)?)
    .bind(int(last)?)
    .bind(i64::from(from_seq))
    .fetch_all(connection)
    .await?;
    let mut files = files.iter_mut().peekable();
    for row in &rows {
        let fields = Fields::new(row, "extents");
        let number: u64 = fields.number("number")?;
        while files.next_if(|file| file.number < number).is_some() {}
        let Some(file) = files.peek_mut().filter(|file| file.number == number) else {
            return Err(fields.corrupt("number", format!("{number} is no file of the version")));
        };
        file.extents.push(Extent {
            segment: fields.id("segment")?,
            offset: fields.number("start")?,
            length: fields.number("length")?,
        });
    }
    Ok(())
}

fn file(row: &SqliteRow) -> Result<FileRecord, Error> {
    let fields = Fields::new(row, "files");
    let digests: Option<&[u8]> = fields.get("digests")?;
    let digests = digests_from_bytes(digests.unwrap_or_default());
    Ok(FileRecord {
        id: fields.id("id")?,
        number: fields.number("number")?,
        path: fields.bytes("path")?.to_vec(),
        kind: fields.word("kind", FileKind::parse)?,
        mode: fields.number("mode")?,
        mtime_ns: fields.get("mtime")?,
        size: fields.number("size")?,
        sha256: fields.sha256("sha256")?,
        digests: digests.ok_or_else(|| fields.corrupt("digests", "not what was written"))?,
        target: fields.get("target")?,
        made: fields.flag("made")?,
        format: fields.get("format")?,
        extents: Vec::new(),
    })
}

/// Digests as they stand in `files.digests`: for each, a byte with the length of its name, the name,
/// a byte with the length of its value, the value. `None` where there are none.
fn digests_to_bytes(digests: &[NamedDigest]) -> Result<Option<Vec<u8>>, Error> {
    if digests.is_empty() {
        return Ok(None);
    }
    let mut bytes = Vec::with_capacity(128);
    for digest in digests {
        for part in [digest.algorithm.as_bytes(), &digest.bytes] {
            bytes.push(u8::try_from(part.len()).map_err(|_| Error::TooLarge {
                what: "bytes of a digest or its name",
                found: part.len() as u64,
                max: u8::MAX.into(),
            })?);
            bytes.extend_from_slice(part);
        }
    }
    Ok(Some(bytes))
}

fn digests_from_bytes(mut bytes: &[u8]) -> Option<Vec<NamedDigest>> {
    let mut part = || -> Option<Option<&[u8]>> {
        let Some((length, rest)) = bytes.split_first() else { return Some(None) };
        let (part, rest) = rest.split_at_checked(usize::from(*length))?;
        bytes = rest;
        Some(Some(part))
    };
    let mut digests = Vec::new();
    while let Some(name) = part()? {
        let algorithm = String::from_utf8(name.to_vec()).ok()?;
        digests.push(NamedDigest { algorithm, bytes: part()??.to_vec() });
    }
    Some(digests)
}

/// The least byte string after all that begin with `prefix`; `None` where there is none.
fn after_prefix(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_read_back_as_written() {
        let digests = vec![
            NamedDigest { algorithm: "md5".into(), bytes: vec![1; 16] },
            NamedDigest { algorithm: "sha512".into(), bytes: vec![2; 64] },
        ];
        let bytes = digests_to_bytes(&digests).unwrap().unwrap();
        assert_eq!(digests_from_bytes(&bytes), Some(digests));
        assert_eq!(digests_to_bytes(&[]).unwrap(), None);
        assert_eq!(digests_from_bytes(&[]), Some(vec![]));
        for cut in 1..bytes.len() {
            let whole = cut == 21;
            assert_eq!(digests_from_bytes(&bytes[..cut]).is_some(), whole, "cut at {cut}");
        }
    }

    #[test]
    fn a_prefix_ends_before_its_successor() {
        assert_eq!(after_prefix(b"ab"), Some(b"ac".to_vec()));
        assert_eq!(after_prefix(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(after_prefix(b"\xff"), None);
        assert_eq!(after_prefix(b""), None);
    }
}
