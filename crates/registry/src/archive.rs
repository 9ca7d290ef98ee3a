//! The archive itself, its settings, institutions, accounts, shelves and policies.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{
    ArchiveId, Coding, CodingNumber, EpochId, Event, EventDraft, InstitutionId, ObjectId, ShelfId,
    Time, check_institution,
};

use crate::row::{Fields, int};
use crate::types::{Account, Archive, Institution, Scope, Shelf, ShelfState};
use crate::{Error, Registry, SETTING_CODING, events};

impl Registry {
    /// Makes the archive with its first shelves, in its first epoch; `false` where there is one already.
    pub async fn create_archive(
        &self,
        archive: ArchiveId,
        epoch: EpochId,
        shelves: &[Shelf],
        now: Time,
    ) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let made = sqlx::query(
            "INSERT INTO archive (id, only_one, epoch_number, epoch, created)
             VALUES ($1, 1, 1, $2, $3) ON CONFLICT DO NOTHING",
        )
        .bind(&archive.0[..])
        .bind(&epoch.0[..])
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        if made.rows_affected() == 0 {
            return Ok(false);
        }
        sqlx::query("INSERT INTO epochs (number, epoch, began) VALUES (1, $1, $2)")
            .bind(&epoch.0[..])
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        sqlx::query(
            "INSERT INTO counters (name, epoch, number) VALUES ('coding', 1, 0), ('revision', 1, 0),
               ('journal', 1, 0)",
        )
        .execute(&mut *tx)
        .await?;
        for shelf in shelves {
            add_shelf(&mut tx, shelf).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// The archive, where it was made.
    pub async fn archive(&self) -> Result<Option<Archive>, Error> {
        let mut read = self.read().await?;
        let row = sqlx::query("SELECT * FROM archive").fetch_optional(&mut *read).await?;
        let Some(row) = row else { return Ok(None) };
        let fields = Fields::new(&row, "archive");
        Ok(Some(Archive {
            id: fields.id("id")?,
            epoch_number: fields.number("epoch_number")?,
            epoch: fields.id("epoch")?,
            created: fields.time("created")?,
        }))
    }

    /// Draws the number of a coding; no number is drawn twice.
    pub async fn next_coding_number(&self) -> Result<CodingNumber, Error> {
        let (epoch, number) = self.draw("coding").await?;
        let number = u32::try_from(number).map_err(|_| Error::TooLarge {
            what: "the number of codings in this epoch",
            found: number,
            max: u32::MAX.into(),
        })?;
        Ok(CodingNumber { epoch, number })
    }

    /// Draws the revision of a version's record, as (epoch, number); none is drawn twice.
    pub async fn next_revision(&self) -> Result<(u32, u64), Error> {
        self.draw("revision").await
    }

    pub(crate) async fn draw(&self, counter: &'static str) -> Result<(u32, u64), Error> {
        let mut tx = self.write().await?;
        let row = sqlx::query(
            "UPDATE counters SET number = number + 1 WHERE name = $1 RETURNING epoch, number",
        )
        .bind(counter)
        .fetch_optional(&mut *tx)
        .await?;
        let row = row.ok_or_else(|| Error::not_found("archive", "in this registry"))?;
        let fields = Fields::new(&row, "counters");
        let drawn = (fields.number("epoch")?, fields.number("number")?);
        tx.commit().await?;
        Ok(drawn)
    }

    /// The value of a setting.
    pub async fn setting(&self, name: &str) -> Result<Option<String>, Error> {
        setting(&mut *self.read().await?, name).await
    }

    /// Sets it.
    pub async fn set_setting(&self, name: &str, value: &str) -> Result<(), Error> {
        let mut tx = self.write().await?;
        set_setting(&mut tx, name, value).await?;
        Ok(tx.commit().await?)
    }

    /// Makes an institution, at `now`, with the first events of its chain; `false`, and nothing is
    /// changed, where its name or id is there already.
    pub async fn create_institution(
        &self,
        institution: &Institution,
        events: Vec<EventDraft>,
        now: Time,
    ) -> Result<bool, Error> {
        check_institution(&institution.name)?;
        let mut tx = self.write().await?;
        let made =
            insert_institution(&mut tx, &Institution { created: now, ..institution.clone() })
                .await?;
        if made {
            events::append(&mut tx, institution.id, events, now).await?;
        }
        tx.commit().await?;
        Ok(made)
    }

    /// The institution of this id.
    pub async fn institution(&self, id: InstitutionId) -> Result<Option<Institution>, Error> {
        let row = sqlx::query("SELECT * FROM institutions WHERE id = $1")
            .bind(&id.0[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(institution).transpose()
    }

    /// The institution of this name.
    pub async fn institution_by_name(&self, name: &str) -> Result<Option<Institution>, Error> {
        let row = sqlx::query("SELECT * FROM institutions WHERE name = $1")
            .bind(name)
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(institution).transpose()
    }

    /// All institutions, by name; the archive's own is none.
    pub async fn institutions(&self) -> Result<Vec<Institution>, Error> {
        let rows = sqlx::query("SELECT * FROM institutions WHERE name <> $1 ORDER BY name")
            .bind(crate::ARCHIVE_NAME)
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(institution).collect()
    }

    /// Makes an account; `false` where its institution has one of that name, or its id is there.
    pub async fn create_account(&self, account: &Account) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let made = sqlx::query(
            "INSERT INTO accounts (id, institution, name, role, state, created)
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        )
        .bind(&account.id[..])
        .bind(&account.institution.0[..])
        .bind(&account.name)
        .bind(&account.role)
        .bind(&account.state)
        .bind(account.created.0)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(made.rows_affected() == 1)
    }

    /// The accounts of an institution, by name.
    pub async fn accounts(&self, institution: InstitutionId) -> Result<Vec<Account>, Error> {
        let rows = sqlx::query("SELECT * FROM accounts WHERE institution = $1 ORDER BY name")
            .bind(&institution.0[..])
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(account).collect()
    }

    /// Adds a shelf; [`Error::Conflict`] where its name or id is there already.
    pub async fn add_shelf(&self, shelf: &Shelf) -> Result<(), Error> {
        let mut tx = self.write().await?;
        add_shelf(&mut tx, shelf).await?;
        Ok(tx.commit().await?)
    }

    /// All shelves, by name.
    pub async fn shelves(&self) -> Result<Vec<Shelf>, Error> {
        let rows = sqlx::query("SELECT * FROM shelves ORDER BY name")
            .fetch_all(&mut *self.read().await?)
            .await?;
        rows.iter().map(shelf).collect()
    }

    /// Bytes of shards on each shelf, those that wait to be reclaimed included, missing ones not.
    pub async fn shelf_bytes(&self) -> Result<Vec<(ShelfId, u64)>, Error> {
        let usage = self.shelf_usage().await?;
        Ok(usage.into_iter().map(|u| (u.shelf, u.live_bytes + u.pending_bytes)).collect())
    }

    /// The policy that applies: the object's, else the institution's, else the archive's, else two
    /// copies.
    pub async fn coding_for(
        &self,
        object: Option<ObjectId>,
        institution: InstitutionId,
    ) -> Result<Coding, Error> {
        let mut read = self.read().await?;
        let of_object = match object {
            None => None,
            Some(id) => {
                let row = sqlx::query("SELECT coding FROM objects WHERE id = $1")
                    .bind(&id.0[..])
                    .fetch_optional(&mut *read)
                    .await?;
                let row = row.ok_or_else(|| Error::not_found("object", id))?;
                Fields::new(&row, "objects").coding_or_none("coding")?
            }
        };
        if let Some(coding) = of_object {
            return Ok(coding);
        }
        let row = sqlx::query("SELECT coding FROM institutions WHERE id = $1")
            .bind(&institution.0[..])
            .fetch_optional(&mut *read)
            .await?;
        let row = row.ok_or_else(|| Error::not_found("institution", institution))?;
        if let Some(coding) = Fields::new(&row, "institutions").coding_or_none("coding")? {
            return Ok(coding);
        }
        match setting(&mut read, SETTING_CODING).await? {
            None => Ok(Coding::TWO_COPIES),
            Some(text) => text.parse().map_err(|why: strongroom_record::Error| Error::Corrupt {
                table: "settings",
                what: format!("{SETTING_CODING}: {why}"),
            }),
        }
    }

    /// The policy by which what concerns all of an institution is kept (journals, keyrings): of those
    /// that hold in it, the one that survives most losses; for the archive's own, of all.
    pub async fn coding_for_all(&self, institution: InstitutionId) -> Result<Coding, Error> {
        let own = self.coding_for(None, institution).await?;
        let rows = sqlx::query(
            "SELECT DISTINCT objects.coding AS coding FROM objects
             WHERE objects.coding IS NOT NULL AND (objects.institution = $1
               OR EXISTS (SELECT 1 FROM institutions WHERE id = $1 AND name = $2))
             UNION SELECT coding FROM institutions WHERE coding IS NOT NULL
               AND EXISTS (SELECT 1 FROM institutions AS own WHERE own.id = $1 AND own.name = $2)",
        )
        .bind(&institution.0[..])
        .bind(crate::ARCHIVE_NAME)
        .fetch_all(&mut *self.read().await?)
        .await?;
        let survives = |coding: &Coding| (coding.n() - coding.k(), *coding == own);
        let mut all = vec![own];
        for row in &rows {
            all.push(Fields::new(row, "objects").coding("coding")?);
        }
        Ok(all.into_iter().max_by_key(survives).unwrap_or(own))
    }

    /// Sets a policy and tells of it in the chain of the institution that it concerns; the archive's
    /// policy concerns all.
    pub async fn set_policy(
        &self,
        scope: Scope,
        coding: Coding,
        event: EventDraft,
        now: Time,
    ) -> Result<Vec<Event>, Error> {
        let mut tx = self.write().await?;
        let concerned = match scope {
            Scope::Archive => {
                set_setting(&mut tx, SETTING_CODING, &coding.to_string()).await?;
                sqlx::query("SELECT id FROM institutions ORDER BY name").fetch_all(&mut *tx).await?
            }
            Scope::Institution(id) => {
                sqlx::query("UPDATE institutions SET coding = $1 WHERE id = $2 RETURNING id")
                    .bind(coding.to_string())
                    .bind(&id.0[..])
                    .fetch_all(&mut *tx)
                    .await?
            }
            Scope::Object(id) => {
                sqlx::query(
                    "UPDATE objects SET coding = $1 WHERE id = $2 RETURNING institution AS id",
                )
                .bind(coding.to_string())
                .bind(&id.0[..])
                .fetch_all(&mut *tx)
                .await?
            }
        };
        match (scope, concerned.is_empty()) {
            (Scope::Institution(id), true) => return Err(Error::not_found("institution", id)),
            (Scope::Object(id), true) => return Err(Error::not_found("object", id)),
            _ => {}
        }
        let mut told = Vec::new();
        for row in &concerned {
            let institution = Fields::new(row, "institutions").id("id")?;
            told.extend(events::append(&mut tx, institution, vec![event.clone()], now).await?);
        }
        tx.commit().await?;
        Ok(told)
    }
}

async fn add_shelf(connection: &mut SqliteConnection, shelf: &Shelf) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO shelves (id, name, location, domain, capacity_bytes, state, added)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(&shelf.id.0[..])
    .bind(&shelf.name)
    .bind(&shelf.location)
    .bind(&shelf.domain)
    .bind(shelf.capacity_bytes.map(int).transpose()?)
    .bind(shelf.state.word())
    .bind(shelf.added.0)
    .execute(connection)
    .await?;
    Ok(())
}

/// Inserts an institution with an empty chain of events; `false` where its name or id is there.
pub(crate) async fn insert_institution(
    connection: &mut SqliteConnection,
    institution: &Institution,
) -> Result<bool, Error> {
    let made = sqlx::query(
        "INSERT INTO institutions (id, name, generation, keys, coding, created)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    )
    .bind(&institution.id.0[..])
    .bind(&institution.name)
    .bind(i64::from(institution.generation))
    .bind(&institution.keys)
    .bind(institution.coding.map(|c| c.to_string()))
    .bind(institution.created.0)
    .execute(&mut *connection)
    .await?;
    if made.rows_affected() == 0 {
        return Ok(false);
    }
    events::begin_chain(connection, institution.id).await?;
    Ok(true)
}

async fn setting(connection: &mut SqliteConnection, name: &str) -> Result<Option<String>, Error> {
    let row = sqlx::query("SELECT value FROM settings WHERE name = $1")
        .bind(name)
        .fetch_optional(connection)
        .await?;
    row.map(|row| Fields::new(&row, "settings").text("value")).transpose()
}

async fn set_setting(
    connection: &mut SqliteConnection,
    name: &str,
    value: &str,
) -> Result<(), Error> {
    sqlx::query(
        "INSERT INTO settings (name, value) VALUES ($1, $2)
         ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(connection)
    .await?;
    Ok(())
}

fn institution(row: &SqliteRow) -> Result<Institution, Error> {
    let fields = Fields::new(row, "institutions");
    Ok(Institution {
        id: fields.id("id")?,
        name: fields.text("name")?,
        generation: fields.number("generation")?,
        keys: fields.bytes("keys")?.to_vec(),
        coding: fields.coding_or_none("coding")?,
        created: fields.time("created")?,
    })
}

pub(crate) fn account(row: &SqliteRow) -> Result<Account, Error> {
    let fields = Fields::new(row, "accounts");
    Ok(Account {
        id: fields.array("id")?,
        institution: fields.id("institution")?,
        name: fields.text("name")?,
        role: fields.text("role")?,
        state: fields.text("state")?,
        created: fields.time("created")?,
    })
}

fn shelf(row: &SqliteRow) -> Result<Shelf, Error> {
    let fields = Fields::new(row, "shelves");
    Ok(Shelf {
        id: fields.id("id")?,
        name: fields.text("name")?,
        location: fields.text("location")?,
        domain: fields.text("domain")?,
        capacity_bytes: fields.number_or_none("capacity_bytes")?,
        state: fields.word("state", ShelfState::parse)?,
        added: fields.time("added")?,
    })
}
