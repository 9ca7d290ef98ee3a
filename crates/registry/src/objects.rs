//! Objects and their versions.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{InstitutionId, Lease, ObjectId, ObjectName, SegmentId, Time, VersionId};

use crate::row::{Fields, int, limited};
use crate::types::{NewDraft, Object, ObjectSummary, Publish, Version, VersionState};
use crate::{Error, Registry};

/// An object with its institution's name, where `$condition` holds.
macro_rules! object_where {
    ($condition:literal) => {
        concat!(
            "SELECT objects.*, institutions.name AS institution_name FROM objects
             JOIN institutions ON institutions.id = objects.institution WHERE ",
            $condition
        )
    };
}

impl Registry {
    /// The object of this name.
    pub async fn object_by_name(&self, name: &ObjectName) -> Result<Option<Object>, Error> {
        by_name(&mut *self.read().await?, name).await
    }

    /// The object of this id.
    pub async fn object(&self, id: ObjectId) -> Result<Option<Object>, Error> {
        let row = sqlx::query(object_where!("objects.id = $1 AND objects.deleted IS NULL"))
            .bind(&id.0[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(object).transpose()
    }

    /// Objects after this name, by name, of one institution or of all.
    pub async fn objects(
        &self,
        institution: Option<InstitutionId>,
        after_name: Option<&ObjectName>,
        limit: u32,
    ) -> Result<Vec<ObjectSummary>, Error> {
        let rows = sqlx::query(
            "SELECT objects.*, institutions.name AS institution_name, latest.id AS latest,
               latest.number, latest.files, latest.bytes, latest.published,
               (SELECT COUNT(*) FROM versions
                WHERE versions.object = objects.id AND state = 'published') AS published_count
             FROM objects JOIN institutions ON institutions.id = objects.institution
             LEFT JOIN versions AS latest
               ON latest.object = objects.id AND latest.state = 'published'
               AND latest.number = (SELECT MAX(number) FROM versions
                 WHERE versions.object = objects.id AND state = 'published')
             WHERE objects.deleted IS NULL AND ($1 IS NULL OR objects.institution = $1)
               AND ($2 IS NULL OR (institutions.name, objects.name) > ($2, $3))
             ORDER BY institutions.name, objects.name LIMIT $4",
        )
        .bind(institution.as_ref().map(|id| &id.0[..]))
        .bind(after_name.map(ObjectName::institution))
        .bind(after_name.map(ObjectName::name))
        .bind(limited(limit))
        .fetch_all(&mut *self.read().await?)
        .await?;
        let one = |row: &SqliteRow| {
            let fields = Fields::new(row, "versions");
            let latest = fields.id_or_none("latest")?;
            Ok(ObjectSummary {
                object: object(row)?,
                versions: fields.number("published_count")?,
                latest: match latest {
                    Some(id) => Some((id, fields.number("number")?)),
                    None => None,
                },
                files: fields.number_or_none("files")?.unwrap_or(0),
                bytes: fields.number_or_none("bytes")?.unwrap_or(0),
                published: fields.time_or_none("published")?,
            })
        };
        rows.iter().map(one).collect()
    }

    /// The object of this name, made with `new_id` where there is none.
    pub async fn ensure_object(
        &self,
        name: &ObjectName,
        new_id: ObjectId,
        now: Time,
    ) -> Result<Object, Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO objects (id, institution, name, created)
             SELECT $1, id, $2, $3 FROM institutions WHERE name = $4
             ON CONFLICT (institution, name) DO NOTHING",
        )
        .bind(&new_id.0[..])
        .bind(name.name())
        .bind(now.0)
        .bind(name.institution())
        .execute(&mut *tx)
        .await?;
        let object = by_name(&mut tx, name).await?;
        let object = object.ok_or_else(|| Error::not_found("institution", name.institution()))?;
        tx.commit().await?;
        Ok(object)
    }

    /// All versions of an object, drafts and abandoned ones too, in the order they were begun.
    pub async fn versions(&self, object: ObjectId) -> Result<Vec<Version>, Error> {
        let rows = sqlx::query("SELECT * FROM versions WHERE object = $1 ORDER BY created, number")
            .bind(&object.0[..])
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(version).collect()
    }

    /// The version of this id.
    pub async fn version(&self, id: VersionId) -> Result<Option<Version>, Error> {
        self.one_version("SELECT * FROM versions WHERE id = $1", &id.0).await
    }

    /// The last published version of an object.
    pub async fn latest(&self, object: ObjectId) -> Result<Option<Version>, Error> {
        self.one_version(
            "SELECT * FROM versions WHERE object = $1 AND state = 'published'
             ORDER BY number DESC LIMIT 1",
            &object.0,
        )
        .await
    }

    /// The draft of an object; it has at most one.
    pub async fn draft(&self, object: ObjectId) -> Result<Option<Version>, Error> {
        let sql = "SELECT * FROM versions WHERE object = $1 AND state = 'draft'";
        self.one_version(sql, &object.0).await
    }

    /// The number under which the object's next version will be published.
    pub async fn next_number(&self, object: ObjectId) -> Result<u32, Error> {
        let row = sqlx::query("SELECT versions FROM objects WHERE id = $1 AND deleted IS NULL")
            .bind(&object.0[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        let row = row.ok_or_else(|| Error::not_found("object", object))?;
        Ok(Fields::new(&row, "objects").number::<u32>("versions")?.saturating_add(1))
    }

    async fn one_version(
        &self,
        sql: &'static str,
        id: &[u8; 16],
    ) -> Result<Option<Version>, Error> {
        let row = sqlx::query(sql).bind(&id[..]).fetch_optional(&mut *self.read().await?).await?;
        row.as_ref().map(version).transpose()
    }
}

/// Begins the draft of a work item. That an object, and an item, has one draft at most is the
/// database's to refuse.
pub(crate) async fn begin_draft(
    connection: &mut SqliteConnection,
    lease: &Lease,
    draft: &NewDraft,
    now: Time,
) -> Result<(), Error> {
    let made = sqlx::query(
        "INSERT INTO versions (id, object, number, state, work, source, bag, files, bytes,
           revision_epoch, revision, created, detail)
         SELECT $1, objects.id, 0, 'draft', work.id, $4, $5, 0, 0, 0, 0, $6, $7
         FROM work JOIN objects ON objects.institution = work.institution
         WHERE work.id = $3 AND objects.id = $2 AND objects.deleted IS NULL",
    )
    .bind(&draft.version.0[..])
    .bind(&draft.object.0[..])
    .bind(&lease.work.0[..])
    .bind(&draft.source)
    .bind(i64::from(draft.bag))
    .bind(now.0)
    .bind(draft.detail.to_string())
    .execute(connection)
    .await?;
    match made.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::not_found("object of the work item's institution:", draft.object)),
    }
}

/// Publishes the draft of a work item under the object's next number.
pub(crate) async fn publish(
    connection: &mut SqliteConnection,
    lease: &Lease,
    publish: &Publish,
    now: Time,
) -> Result<u32, Error> {
    // Locks the object: numbers are given one after the other.
    let row = sqlx::query(
        "UPDATE objects SET versions = versions + 1, source = draft.source
         FROM versions AS draft
         WHERE draft.work = $1 AND draft.state = 'draft' AND objects.id = draft.object
         RETURNING objects.versions AS number",
    )
    .bind(&lease.work.0[..])
    .fetch_optional(&mut *connection)
    .await?;
    let row = row.ok_or_else(|| Error::conflict("the work item has no draft to publish"))?;
    let number: u32 = Fields::new(&row, "objects").number("number")?;
    let published = sqlx::query(
        "UPDATE versions SET state = 'published', number = $2, published = $3, record = $4,
           record_sha256 = $5, revision_epoch = $6, revision = $7
         WHERE work = $1 AND state = 'draft' AND files = $8 AND bytes = $9
           AND EXISTS (SELECT 1 FROM segments WHERE segments.id = $4
             AND segments.version = versions.id AND segments.kind = 'record'
             AND segments.state = 'durable')",
    )
    .bind(&lease.work.0[..])
    .bind(i64::from(number))
    .bind(now.0)
    .bind(&publish.record.0[..])
    .bind(&publish.record_sha256.0[..])
    .bind(i64::from(publish.revision.0))
    .bind(int(publish.revision.1)?)
    .bind(int(publish.files)?)
    .bind(int(publish.bytes)?)
    .execute(connection)
    .await?;
    match published.rows_affected() {
        1 => Ok(number),
        _ => Err(Error::conflict(format!(
            "the draft is not whole: it needs {} files of {} bytes in all, recorded, and the head of its record, {}, durable",
            publish.files, publish.bytes, publish.record
        ))),
    }
}

/// Says whether the draft of a work item is a bag.
pub(crate) async fn set_bag(
    connection: &mut SqliteConnection,
    lease: &Lease,
    bag: bool,
) -> Result<(), Error> {
    let set = sqlx::query("UPDATE versions SET bag = $2 WHERE work = $1 AND state = 'draft'")
        .bind(&lease.work.0[..])
        .bind(i64::from(bag))
        .execute(connection)
        .await?;
    match set.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::conflict("the work item has no draft")),
    }
}

/// Releases the segments of data of a work item's draft that none of its files refers to: no version
/// can, as it was never published.
pub(crate) async fn release_unused(
    connection: &mut SqliteConnection,
    lease: &Lease,
) -> Result<(), Error> {
    let rows = sqlx::query(
        "UPDATE segments SET state = 'released'
         WHERE work = $1 AND state = 'durable' AND kind = 'data'
           AND version = (SELECT id FROM versions WHERE work = $1 AND state = 'draft')
           AND id NOT IN (SELECT segment FROM extents WHERE version =
             (SELECT id FROM versions WHERE work = $1 AND state = 'draft'))
         RETURNING id",
    )
    .bind(&lease.work.0[..])
    .fetch_all(&mut *connection)
    .await?;
    for row in rows {
        sqlx::query("UPDATE placements SET state = 'released' WHERE segment = $1")
            .bind(&Fields::new(&row, "segments").id::<SegmentId>("id")?.0[..])
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// Gives the draft of a work item up, where it has one, and releases its segments: nothing else can
/// refer to them, as it was never published. Where its record is stored already, a rebuild would take
/// it for a version, so a tombstone tells of it first.
pub(crate) async fn abandon(
    connection: &mut SqliteConnection,
    work: strongroom_record::WorkId,
    now: Time,
) -> Result<bool, Error> {
    let row = sqlx::query(
        "UPDATE versions SET state = 'abandoned' WHERE work = $1 AND state = 'draft' RETURNING id",
    )
    .bind(&work.0[..])
    .fetch_optional(&mut *connection)
    .await?;
    let Some(row) = row else { return Ok(false) };
    let draft: VersionId = Fields::new(&row, "versions").id("id")?;
    if crate::deletion::bury_draft(connection, draft, now).await? {
        return Ok(true);
    }
    for sql in [
        "UPDATE placements SET state = 'released' WHERE segment IN
           (SELECT id FROM segments WHERE version = $1)",
        "UPDATE segments SET state = 'released' WHERE version = $1",
    ] {
        sqlx::query(sql).bind(&draft.0[..]).execute(&mut *connection).await?;
    }
    Ok(true)
}

async fn by_name(
    connection: &mut SqliteConnection,
    name: &ObjectName,
) -> Result<Option<Object>, Error> {
    let row = sqlx::query(object_where!("institutions.name = $1 AND objects.name = $2"))
        .bind(name.institution())
        .bind(name.name())
        .fetch_optional(connection)
        .await?;
    row.as_ref().map(object).transpose()
}

fn object(row: &SqliteRow) -> Result<Object, Error> {
    let fields = Fields::new(row, "objects");
    let name = ObjectName::new(&fields.text("institution_name")?, &fields.text("name")?);
    Ok(Object {
        id: fields.id("id")?,
        institution: fields.id("institution")?,
        name: name.map_err(|why| fields.corrupt("name", why))?,
        coding: fields.coding_or_none("coding")?,
        source: fields.get("source")?,
    })
}

fn version(row: &SqliteRow) -> Result<Version, Error> {
    let fields = Fields::new(row, "versions");
    let sha256: Option<&[u8]> = fields.get("record_sha256")?;
    let sha256 = sha256.map(strongroom_record::Sha256::from_slice).transpose();
    Ok(Version {
        id: fields.id("id")?,
        object: fields.id("object")?,
        number: fields.number("number")?,
        state: fields.word("state", VersionState::parse)?,
        work: fields.id("work")?,
        source: fields.text("source")?,
        bag: fields.flag("bag")?,
        files: fields.number("files")?,
        bytes: fields.number("bytes")?,
        revision: (fields.number("revision_epoch")?, fields.number("revision")?),
        record: fields.id_or_none("record")?,
        record_sha256: sha256.map_err(|why| fields.corrupt("record_sha256", why))?,
        created: fields.time("created")?,
        published: fields.time_or_none("published")?,
        detail: fields.json("detail")?,
    })
}
