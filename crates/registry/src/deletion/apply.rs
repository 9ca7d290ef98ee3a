//! What a commit does about deletion: what dies, where bytes move, which tombstones are set, what is
//! released.

use sqlx::sqlite::SqliteConnection;
use strongroom_record::{
    Event, FileId, Lease, ObjectId, SegmentId, Time, VersionId, WorkItem, WorkKind,
};

use super::{
    Delete, Erased, MovedBytes, Relocate, Tombstone, TombstoneKind, forbidden, ids, outdated,
};
use crate::Error;
use crate::row::{self, Fields, int};
use crate::types::Batch;
use crate::work::{self, next_token};

/// What a commit says of deletion; `told` is the first of its events.
pub(crate) async fn apply(
    connection: &mut SqliteConnection,
    lease: &Lease,
    item: &WorkItem,
    batch: &Batch,
    told: Option<&Event>,
    now: Time,
) -> Result<(), Error> {
    if let Some(delete) = &batch.delete {
        if batch.checkpoint.is_none() {
            // By it a person is told that the item can no longer be cancelled.
            return Err(Error::conflict("what is dead has a checkpoint, from which it is ended"));
        }
        self::delete(connection, item, delete, now).await?;
    }
    erase(connection, &batch.erase).await?;
    keep_moves(connection, lease, &batch.moved_bytes).await?;
    if let Some(relocate) = &batch.relocate {
        self::relocate(connection, lease, relocate).await?;
    }
    if let Some(first) = batch.tombstones.first() {
        let told = told.ok_or_else(|| {
            Error::conflict(format!("no event tells of the tombstone of {}", first.kind.word()))
        })?;
        for tombstone in &batch.tombstones {
            bury(connection, item, tombstone, told.sequence, now).await?;
        }
    }
    for segment in &batch.release_deleted {
        release(connection, lease, *segment).await?;
    }
    if item.kind == WorkKind::Delete && batch.finish.is_some() {
        // Every file stands where they say by now; before the end they are what is gone on from.
        sqlx::query(
            "DELETE FROM moves WHERE work = $1 AND NOT EXISTS (SELECT 1 FROM deleted_segments
               JOIN segments ON segments.id = deleted_segments.segment
               WHERE deleted_segments.work = $1 AND segments.state = 'durable')",
        )
        .bind(&item.id.0[..])
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// Marks what is dead, where it is still what was approved.
async fn delete(
    connection: &mut SqliteConnection,
    item: &WorkItem,
    delete: &Delete,
    now: Time,
) -> Result<(), Error> {
    let approved = sqlx::query(
        "UPDATE deletions SET work = work WHERE work = $1 AND decision IN ('approved', 'forced')",
    )
    .bind(&item.id.0[..])
    .execute(&mut *connection)
    .await?;
    if approved.rows_affected() != 1 {
        return Err(forbidden("nobody approved the deletion"));
    }
    let object = item.object.ok_or_else(|| Error::conflict("a deletion from no object"))?;
    // Locks the object, so that no version of it is published meanwhile.
    let locked =
        sqlx::query("UPDATE objects SET versions = versions WHERE id = $1 AND deleted IS NULL")
            .bind(&object.0[..])
            .execute(&mut *connection)
            .await?;
    if locked.rows_affected() != 1 {
        return Err(outdated("the object is deleted already"));
    }
    for version in &delete.versions {
        let dead = sqlx::query(
            "UPDATE versions SET state = 'deleted', source = '', detail = '{}'
             WHERE id = $1 AND object = $2 AND state = 'published'",
        )
        .bind(&version.0[..])
        .bind(&object.0[..])
        .execute(&mut *connection)
        .await?;
        if dead.rows_affected() != 1 {
            return Err(outdated("a version is deleted already"));
        }
    }
    for (id, erased) in &delete.files {
        take_file(connection, object, *id, erased).await?;
    }
    if delete.object == Some(object) {
        no_more_of(connection, object).await?;
        // The name is free for a new object, and not kept.
        sqlx::query(
            "UPDATE objects SET deleted = $2, name = 'deleted/' || lower(hex(id)), source = NULL
             WHERE id = $1",
        )
        .bind(&object.0[..])
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    } else if !delete.versions.is_empty() {
        sqlx::query(
            "UPDATE objects SET source = (SELECT NULLIF(versions.source, '') FROM versions
               WHERE versions.object = objects.id AND versions.state = 'published'
               ORDER BY versions.number DESC LIMIT 1) WHERE id = $1",
        )
        .bind(&object.0[..])
        .execute(&mut *connection)
        .await?;
    }
    let statements = row::inserts(
        "INSERT OR IGNORE INTO deleted_segments (work, segment) VALUES",
        2,
        &delete.rewrite,
        |query, segment| Ok(query.bind(item.id.0.to_vec()).bind(segment.0.to_vec())),
    )?;
    row::execute(connection, statements).await
}

/// Takes one file out of a published version.
pub(crate) async fn take_file(
    connection: &mut SqliteConnection,
    object: ObjectId,
    id: FileId,
    erased: &Erased,
) -> Result<(), Error> {
    let taken = sqlx::query(
        "UPDATE versions SET files = files - 1, bytes = bytes - (SELECT size FROM files
           WHERE files.version = versions.id AND files.number = $3)
         WHERE id = $1 AND object = $2 AND state = 'published'
           AND EXISTS (SELECT 1 FROM files
             WHERE files.version = versions.id AND files.number = $3 AND files.id = $4)",
    )
    .bind(&erased.version.0[..])
    .bind(&object.0[..])
    .bind(int(erased.number)?)
    .bind(&id.0[..])
    .execute(&mut *connection)
    .await?;
    if taken.rows_affected() != 1 {
        return Err(outdated("a file, or its version, is deleted already"));
    }
    erase(connection, std::slice::from_ref(erased)).await
}

/// An object that goes has no version but those that went with it, and no unfinished deposit.
async fn no_more_of(connection: &mut SqliteConnection, object: ObjectId) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM versions
             WHERE object = $1 AND state IN ('published', 'draft')) AS versions,
           (SELECT COUNT(*) FROM work WHERE object = $1 AND kind = 'ingest'
             AND status IN ('queued', 'running', 'trouble')) AS deposits",
    )
    .bind(&object.0[..])
    .fetch_one(connection)
    .await?;
    let fields = Fields::new(&row, "versions");
    match (fields.number::<u64>("versions")?, fields.number::<u64>("deposits")?) {
        (0, 0) => Ok(()),
        (_, 0) => Err(outdated("the object has another version by now")),
        _ => Err(outdated("the object has an unfinished deposit: let it end, or cancel it")),
    }
}

/// Leaves of files only their leaf hashes.
pub(crate) async fn erase(
    connection: &mut SqliteConnection,
    files: &[Erased],
) -> Result<(), Error> {
    let statements = row::inserts(
        "INSERT OR IGNORE INTO deleted_files (version, number, leaf) VALUES",
        3,
        files,
        |query, file| {
            let (version, leaf) = (file.version.0.to_vec(), file.leaf.0.to_vec());
            Ok(query.bind(version).bind(int(file.number)?).bind(leaf))
        },
    )?;
    row::execute(&mut *connection, statements).await?;
    for files in files.chunk_by(|a, b| a.version == b.version) {
        let (Some(first), Some(last)) =
            (files.iter().map(|f| f.number).min(), files.iter().map(|f| f.number).max())
        else {
            continue;
        };
        for sql in [
            "DELETE FROM extents WHERE version = $1 AND number BETWEEN $2 AND $3
               AND number IN (SELECT number FROM deleted_files
                 WHERE version = $1 AND number BETWEEN $2 AND $3)",
            "DELETE FROM files WHERE version = $1 AND number BETWEEN $2 AND $3
               AND number IN (SELECT number FROM deleted_files
                 WHERE version = $1 AND number BETWEEN $2 AND $3)",
        ] {
            sqlx::query(sql)
                .bind(&files[0].version.0[..])
                .bind(int(first)?)
                .bind(int(last)?)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

async fn keep_moves(
    connection: &mut SqliteConnection,
    lease: &Lease,
    moves: &[MovedBytes],
) -> Result<(), Error> {
    // What an earlier attempt noted, and did not live to make durable, is replaced.
    let statements = row::inserts(
        "INSERT OR REPLACE INTO moves (work, segment, start, to_segment, to_start) VALUES",
        5,
        moves,
        |query, m| {
            Ok(query
                .bind(lease.work.0.to_vec())
                .bind(m.segment.0.to_vec())
                .bind(int(m.start)?)
                .bind(m.to_segment.0.to_vec())
                .bind(int(m.to_start)?))
        },
    )?;
    row::execute(connection, statements).await
}

/// Moves the extents of a version, all of which must have a durable place to go to.
async fn relocate(
    connection: &mut SqliteConnection,
    lease: &Lease,
    relocate: &Relocate,
) -> Result<(), Error> {
    let version = &relocate.version.0[..];
    let changed = match &relocate.record {
        Some((record, sha256, revision)) => {
            sqlx::query(
                "UPDATE versions SET record = $2, record_sha256 = $3, revision_epoch = $4,
                   revision = $5
                 WHERE id = $1 AND state = 'published' AND (revision_epoch, revision) < ($4, $5)
                   AND EXISTS (SELECT 1 FROM segments WHERE segments.id = $2
                     AND segments.version = versions.id AND segments.kind = 'record'
                     AND segments.state = 'durable')",
            )
            .bind(version)
            .bind(&record.0[..])
            .bind(&sha256.0[..])
            .bind(i64::from(revision.0))
            .bind(int(revision.1)?)
            .execute(&mut *connection)
            .await?
        }
        None => {
            let fenced = sqlx::query(concat!(
                "UPDATE work SET worker = NULL, lease_until = NULL,
                   status = CASE status WHEN 'running' THEN 'queued' ELSE status END, token = ",
                next_token!(),
                " WHERE id = (SELECT work FROM versions WHERE id = $1 AND state = 'draft')"
            ))
            .bind(version)
            .execute(&mut *connection)
            .await?;
            // A draft that was given up meanwhile needs nothing.
            if fenced.rows_affected() == 0 {
                return Ok(());
            }
            fenced
        }
    };
    if changed.rows_affected() != 1 {
        return Err(Error::conflict(format!(
            "version {} is not published, or has a record as new",
            relocate.version
        )));
    }
    sqlx::query(
        "UPDATE extents SET segment = moves.to_segment, start = moves.to_start FROM moves
         WHERE extents.version = $1 AND moves.work = $2 AND moves.segment = extents.segment
           AND moves.start = extents.start
           AND EXISTS (SELECT 1 FROM segments WHERE segments.id = moves.to_segment
             AND segments.state = 'durable')",
    )
    .bind(version)
    .bind(&lease.work.0[..])
    .execute(&mut *connection)
    .await?;
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM extents JOIN moves ON moves.segment = extents.segment
           AND moves.start = extents.start AND moves.work = $2 WHERE extents.version = $1) AS left",
    )
    .bind(version)
    .bind(&lease.work.0[..])
    .fetch_one(connection)
    .await?;
    match Fields::new(&row, "extents").flag("left")? {
        false => Ok(()),
        true => Err(Error::conflict("bytes that are moved have no durable place")),
    }
}

/// Sets a tombstone. One that is there (a file, taken from further versions) tells of both from now
/// on, and is untold again.
async fn bury(
    connection: &mut SqliteConnection,
    item: &WorkItem,
    tombstone: &Tombstone,
    event: u64,
    now: Time,
) -> Result<(), Error> {
    let row = sqlx::query(
        "UPDATE tombstones SET journal = NULL WHERE kind = $1 AND id = $2 RETURNING detail",
    )
    .bind(tombstone.kind.word())
    .bind(&tombstone.id[..])
    .fetch_optional(&mut *connection)
    .await?;
    let before = row.map(|row| Fields::new(&row, "tombstones").json("detail")).transpose()?;
    let mut detail = serde_json::Map::new();
    let lists = [
        ("versions", tombstone.versions.iter().map(|id| id.to_string()).collect::<Vec<_>>()),
        ("segments", tombstone.segments.iter().map(|id| id.to_string()).collect()),
    ];
    for (name, mut list) in lists {
        let told = before.as_ref().and_then(|before| before[name].as_array());
        list.extend(told.into_iter().flatten().filter_map(|id| Some(id.as_str()?.to_string())));
        list.sort_unstable();
        list.dedup();
        if name == "segments" || !list.is_empty() {
            detail.insert(name.into(), list.into());
        }
    }
    sqlx::query(
        "INSERT INTO tombstones (kind, id, institution, object, event, detail, time)
         VALUES ($1, $2, $3, $4, $5, $6, $7)
         ON CONFLICT (kind, id) DO UPDATE SET event = excluded.event, detail = excluded.detail,
           time = excluded.time",
    )
    .bind(tombstone.kind.word())
    .bind(&tombstone.id[..])
    .bind(&item.institution.0[..])
    .bind(item.object.as_ref().map(|id| &id.0[..]))
    .bind(int(event)?)
    .bind(serde_json::Value::from(detail).to_string())
    .bind(now.0)
    .execute(&mut *connection)
    .await?;
    let statements = row::inserts(
        "INSERT OR REPLACE INTO deleted_segments (work, segment, kind, tombstone) VALUES",
        4,
        &tombstone.segments,
        |query, segment| {
            Ok(query
                .bind(item.id.0.to_vec())
                .bind(segment.0.to_vec())
                .bind(tombstone.kind.word())
                .bind(tombstone.id.to_vec()))
        },
    )?;
    row::execute(connection, statements).await
}

/// Releases a segment of which a journal told, and to which nothing living refers. One to which
/// something does (a draft may have come to, before it was dead) is rewritten first.
async fn release(
    connection: &mut SqliteConnection,
    lease: &Lease,
    segment: SegmentId,
) -> Result<(), Error> {
    // Locked before it is looked who refers to it: who is about to waits, and then finds it gone.
    let locked =
        sqlx::query("UPDATE segments SET bytes = bytes WHERE id = $1 AND state = 'durable'")
            .bind(&segment.0[..])
            .execute(&mut *connection)
            .await?;
    if locked.rows_affected() == 0 {
        return Ok(());
    }
    let row = sqlx::query(concat!(
        "SELECT EXISTS (SELECT 1 FROM deleted_segments JOIN tombstones
             ON tombstones.kind = deleted_segments.kind
               AND tombstones.id = deleted_segments.tombstone
             WHERE deleted_segments.work = $2 AND deleted_segments.segment = $1
               AND tombstones.journal IS NOT NULL) AS told,
           EXISTS (SELECT 1 FROM extents WHERE extents.segment = $1 AND ",
        living!("extents.version"),
        ") OR EXISTS (SELECT 1 FROM segments JOIN versions ON versions.id = segments.version
             WHERE segments.id = $1 AND versions.record = $1 AND versions.state = 'published')
           AS referred"
    ))
    .bind(&segment.0[..])
    .bind(&lease.work.0[..])
    .fetch_one(&mut *connection)
    .await?;
    let fields = Fields::new(&row, "segments");
    match (fields.flag("told")?, fields.flag("referred")?) {
        (false, _) => Err(Error::conflict(format!(
            "no journal told yet that segment {segment} goes: it is not released"
        ))),
        (true, true) => {
            sqlx::query(
                "UPDATE deleted_segments SET kind = NULL, tombstone = NULL
                 WHERE segment = $1 AND work = $2",
            )
            .bind(&segment.0[..])
            .bind(&lease.work.0[..])
            .execute(connection)
            .await?;
            Ok(())
        }
        (true, false) => {
            for sql in [
                "UPDATE segments SET state = 'released' WHERE id = $1",
                "UPDATE placements SET state = 'released' WHERE segment = $1",
            ] {
                sqlx::query(sql).bind(&segment.0[..]).execute(&mut *connection).await?;
            }
            Ok(())
        }
    }
}

/// Sets the tombstone of a draft that was given up after its record was stored, and queues the work
/// that ends it; `false` where it has no record. That work has the draft's own id: one draft, one item.
pub(crate) async fn bury_draft(
    connection: &mut SqliteConnection,
    draft: VersionId,
    now: Time,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "INSERT INTO work (id, kind, institution, object, key, request, stage, status, attempts,
           token, checkpoint, note, report, created, updated)
         SELECT versions.id, 'delete', objects.institution, objects.id,
           'draft ' || lower(hex(versions.id)),
           '{\"what\":\"draft\",\"name\":\"a draft that was given up\"}', 'run', 'queued', 0,
           COALESCE((SELECT epoch_number FROM archive), 1) * 4294967296, '{}', '', 'null', $2, $2
         FROM versions JOIN objects ON objects.id = versions.object
         WHERE versions.id = $1 AND EXISTS (SELECT 1 FROM segments
           WHERE segments.version = $1 AND segments.kind = 'record' AND segments.state = 'durable')
         RETURNING *",
    )
    .bind(&draft.0[..])
    .bind(now.0)
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(false) };
    let item = work::item(&row)?;
    sqlx::query("INSERT INTO deletions (work, decision, decided) VALUES ($1, 'cancelled', $2)")
        .bind(&draft.0[..])
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    let rows =
        sqlx::query("SELECT id FROM segments WHERE version = $1 AND state = 'durable' ORDER BY id")
            .bind(&draft.0[..])
            .fetch_all(&mut *connection)
            .await?;
    let tombstone = Tombstone {
        kind: TombstoneKind::Draft,
        id: draft.0,
        versions: Vec::new(),
        segments: ids(&rows)?,
    };
    // The event that tells of the giving up was appended just now.
    let row = sqlx::query("SELECT sequence FROM event_heads WHERE institution = $1")
        .bind(&item.institution.0[..])
        .fetch_one(&mut *connection)
        .await?;
    let event = Fields::new(&row, "event_heads").number("sequence")?;
    bury(connection, &item, &tombstone, event, now).await?;
    Ok(true)
}
