//! Public keys by generation, the keyrings that hold the secrets before them, and who may write.

use sqlx::sqlite::{SqliteConnection, SqliteRow};
use strongroom_record::{Event, EventDraft, InstitutionId, SegmentId, SegmentState, Time};

use crate::row::{Fields, int};
use crate::{Error, Registry, events};

/// A generation of an institution's keys. Generation 0 is its recovery key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyGeneration {
    /// Whose.
    pub institution: InstitutionId,
    /// From 1; 0 for the recovery key.
    pub generation: u32,
    /// The public sealing key.
    pub keys: Vec<u8>,
    /// The segment that holds the seeds so far, sealed to this key; none for the first generation.
    pub keyring: Option<SegmentId>,
    /// When it was made.
    pub created: Time,
}

/// A certificate that was given to a writer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct WriterCertificate {
    /// Who gave it.
    pub institution: InstitutionId,
    /// Its serial.
    pub serial: [u8; 16],
    /// The writer's public key.
    pub writer: [u8; 32],
    /// The signed bytes.
    pub certificate: Vec<u8>,
    /// From when it is valid.
    pub from: Time,
    /// Until when.
    pub until: Time,
    /// When it was given.
    pub created: Time,
}

/// A certificate that is no longer believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Revocation {
    /// Who gave it.
    pub institution: InstitutionId,
    /// Its serial.
    pub serial: [u8; 16],
    /// The last journal of its writer that is believed, as (epoch, number).
    pub last_journal: (u32, u64),
    /// When it was revoked.
    pub time: Time,
}

impl Registry {
    /// The generations of an institution that are known, in order; the recovery key first.
    pub async fn key_generations(
        &self,
        institution: InstitutionId,
    ) -> Result<Vec<KeyGeneration>, Error> {
        let rows =
            sqlx::query("SELECT * FROM key_generations WHERE institution = $1 ORDER BY generation")
                .bind(&institution.0[..])
                .fetch_all(&mut *self.read().await?)
                .await?;
        rows.iter().map(generation).collect()
    }

    /// Lists a certificate, and tells of it. One that is listed already is left as it is.
    pub async fn add_certificate(
        &self,
        certificate: &WriterCertificate,
        event: EventDraft,
    ) -> Result<Vec<Event>, Error> {
        let mut tx = self.write().await?;
        let added = sqlx::query(
            "INSERT INTO certificates (institution, serial, writer, certificate, valid_from,
               valid_until, created) VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        )
        .bind(&certificate.institution.0[..])
        .bind(&certificate.serial[..])
        .bind(&certificate.writer[..])
        .bind(&certificate.certificate)
        .bind(certificate.from.0)
        .bind(certificate.until.0)
        .bind(certificate.created.0)
        .execute(&mut *tx)
        .await?;
        if added.rows_affected() == 0 {
            return Ok(Vec::new());
        }
        let (of, now) = (certificate.institution, certificate.created);
        let told = events::append(&mut tx, of, vec![event], now).await?;
        tx.commit().await?;
        Ok(told)
    }

    /// The certificates that an institution gave, the oldest first.
    pub async fn certificates(
        &self,
        institution: InstitutionId,
    ) -> Result<Vec<WriterCertificate>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM certificates WHERE institution = $1 ORDER BY created, serial",
        )
        .bind(&institution.0[..])
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(certificate).collect()
    }

    /// Revokes a certificate, listed or not, and tells of it. What was revoked stays so:
    /// [`Error::Conflict`] where its serial is revoked already.
    pub async fn revoke(
        &self,
        revocation: &Revocation,
        event: EventDraft,
    ) -> Result<Vec<Event>, Error> {
        let mut tx = self.write().await?;
        let noted = sqlx::query(
            "INSERT INTO revocations (institution, serial, last_epoch, last_journal, time)
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING",
        )
        .bind(&revocation.institution.0[..])
        .bind(&revocation.serial[..])
        .bind(i64::from(revocation.last_journal.0))
        .bind(int(revocation.last_journal.1)?)
        .bind(revocation.time.0)
        .execute(&mut *tx)
        .await?;
        if noted.rows_affected() == 0 {
            return Err(Error::conflict("this certificate is revoked already"));
        }
        let (of, now) = (revocation.institution, revocation.time);
        let told = events::append(&mut tx, of, vec![event], now).await?;
        tx.commit().await?;
        Ok(told)
    }

    /// What an institution revoked, the oldest first.
    pub async fn revocations(&self, institution: InstitutionId) -> Result<Vec<Revocation>, Error> {
        let rows =
            sqlx::query("SELECT * FROM revocations WHERE institution = $1 ORDER BY time, serial")
                .bind(&institution.0[..])
                .fetch_all(&mut *self.read().await?)
                .await?;
        rows.iter().map(revocation).collect()
    }
}

/// Notes generations, and makes each but the recovery key its institution's present one: the next
/// after the present one, and never without a durable keyring. A recovery key replaces the one
/// before, and its keyring alone may be replaced too.
pub(crate) async fn add(
    connection: &mut SqliteConnection,
    generations: &[KeyGeneration],
    now: Time,
) -> Result<(), Error> {
    for next in generations {
        let number = next.generation;
        if next.generation > 0 {
            // The institution's row is locked by this, and the row of its present generation kept.
            let before = sqlx::query(
                "UPDATE institutions SET generation = generation WHERE id = $1 AND generation = $2
                 RETURNING generation, keys, created",
            )
            .bind(&next.institution.0[..])
            .bind(i64::from(number) - 1)
            .fetch_optional(&mut *connection)
            .await?;
            let before = before.ok_or_else(|| {
                Error::conflict(format!("generation {number} is not the next of its institution"))
            })?;
            let before = Fields::new(&before, "institutions");
            sqlx::query(
                "INSERT INTO key_generations (institution, generation, keys, keyring, created)
                 VALUES ($1, $2, $3, NULL, $4) ON CONFLICT DO NOTHING",
            )
            .bind(&next.institution.0[..])
            .bind(before.get::<i64>("generation")?)
            .bind(before.bytes("keys")?.to_vec())
            .bind(before.time("created")?.0)
            .execute(&mut *connection)
            .await?;
            sqlx::query("UPDATE institutions SET generation = $2, keys = $3 WHERE id = $1")
                .bind(&next.institution.0[..])
                .bind(i64::from(number))
                .bind(&next.keys)
                .execute(&mut *connection)
                .await?;
        }
        durable_keyring(connection, next).await?;
        sqlx::query(
            "INSERT INTO key_generations (institution, generation, keys, keyring, created)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (institution, generation) DO UPDATE SET keys = excluded.keys,
               keyring = excluded.keyring, created = CASE WHEN key_generations.keys = excluded.keys
                 THEN key_generations.created ELSE excluded.created END
             WHERE excluded.generation = 0",
        )
        .bind(&next.institution.0[..])
        .bind(i64::from(number))
        .bind(&next.keys)
        .bind(next.keyring.as_ref().map(|id| &id.0[..]))
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

async fn durable_keyring(
    connection: &mut SqliteConnection,
    next: &KeyGeneration,
) -> Result<(), Error> {
    let row = sqlx::query(
        "SELECT id FROM segments WHERE id = $1 AND institution = $2 AND kind = 'keyring'
           AND state = $3",
    )
    .bind(next.keyring.as_ref().map(|id| &id.0[..]))
    .bind(&next.institution.0[..])
    .bind(SegmentState::Durable.word())
    .fetch_optional(connection)
    .await?;
    match row {
        Some(_) => Ok(()),
        None => Err(Error::conflict(format!(
            "generation {} has no durable keyring: what it seals could not be passed on",
            next.generation
        ))),
    }
}

fn generation(row: &SqliteRow) -> Result<KeyGeneration, Error> {
    let fields = Fields::new(row, "key_generations");
    Ok(KeyGeneration {
        institution: fields.id("institution")?,
        generation: fields.number("generation")?,
        keys: fields.bytes("keys")?.to_vec(),
        keyring: fields.id_or_none("keyring")?,
        created: fields.time("created")?,
    })
}

fn certificate(row: &SqliteRow) -> Result<WriterCertificate, Error> {
    let fields = Fields::new(row, "certificates");
    Ok(WriterCertificate {
        institution: fields.id("institution")?,
        serial: fields.array("serial")?,
        writer: fields.array("writer")?,
        certificate: fields.bytes("certificate")?.to_vec(),
        from: fields.time("valid_from")?,
        until: fields.time("valid_until")?,
        created: fields.time("created")?,
    })
}

fn revocation(row: &SqliteRow) -> Result<Revocation, Error> {
    let fields = Fields::new(row, "revocations");
    Ok(Revocation {
        institution: fields.id("institution")?,
        serial: fields.array("serial")?,
        last_journal: (fields.number("last_epoch")?, fields.number("last_journal")?),
        time: fields.time("time")?,
    })
}
