//! Texts that accounts have analysed: what each may have, its own rules, and what it used.
//!
//! What is in a book of rules, and what a quota means, is the caller's to know; here stand only values.

use sqlx::sqlite::SqliteRow;

use crate::row::{Fields, int};
use crate::{Error, Registry};

/// Bytes of an account's book of rules.
pub const TEXT_BOOK_BYTES_MAX: usize = 2 << 20;
/// Days of which an account's use is kept.
pub const TEXT_USAGE_DAYS: u32 = 400;

/// What an account may have analysed in a day of UTC; `None` is as much as it likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TextQuota {
    /// Texts.
    pub texts_per_day: Option<u64>,
    /// Bytes of texts.
    pub bytes_per_day: Option<u64>,
}

/// What an account had analysed in a day of UTC.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TextUsage {
    /// The day, counted from 1970-01-01.
    pub day: u32,
    /// Calls.
    pub calls: u64,
    /// Texts.
    pub texts: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// An account's own rules.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TextRules {
    /// How often they were written.
    pub revision: u64,
    /// The book, as JSON; `None` where it never had one.
    pub book: Option<String>,
}

impl Registry {
    /// What an account may have; nobody's is bound where nothing was set.
    pub async fn text_quota(&self, account: [u8; 16]) -> Result<TextQuota, Error> {
        let row = sqlx::query("SELECT * FROM text_accounts WHERE account = $1")
            .bind(&account[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        let Some(row) = row else { return Ok(TextQuota::default()) };
        let fields = Fields::new(&row, "text_accounts");
        Ok(TextQuota {
            texts_per_day: fields.number_or_none("texts_per_day")?,
            bytes_per_day: fields.number_or_none("bytes_per_day")?,
        })
    }

    /// Sets what an account may have.
    pub async fn set_text_quota(&self, account: [u8; 16], quota: TextQuota) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "INSERT INTO text_accounts (account, texts_per_day, bytes_per_day) VALUES ($1, $2, $3)
             ON CONFLICT (account) DO UPDATE
             SET texts_per_day = excluded.texts_per_day, bytes_per_day = excluded.bytes_per_day",
        )
        .bind(&account[..])
        .bind(quota.texts_per_day.map(int).transpose()?)
        .bind(quota.bytes_per_day.map(int).transpose()?)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// An account's rules, where they are no longer those of the revision that is `known`.
    pub async fn text_rules(
        &self,
        account: [u8; 16],
        known: Option<u64>,
    ) -> Result<Option<TextRules>, Error> {
        let row = sqlx::query(
            "SELECT revision, CASE WHEN revision IS NOT $2 THEN book END AS book
             FROM text_accounts WHERE account = $1",
        )
        .bind(&account[..])
        .bind(known.map(int).transpose()?)
        .fetch_optional(&mut *self.read().await?)
        .await?;
        let rules = row.as_ref().map(rules).transpose()?.unwrap_or_default();
        Ok((known != Some(rules.revision)).then_some(rules))
    }

    /// Writes an account's rules, if they are still those of the revision `before` (0 where there were none), and
    /// gives the new revision; `None`, and nothing is written, where they are not.
    pub async fn set_text_rules(
        &self,
        account: [u8; 16],
        before: u64,
        book: &str,
    ) -> Result<Option<u64>, Error> {
        if book.len() > TEXT_BOOK_BYTES_MAX {
            let (found, max) = (book.len() as u64, TEXT_BOOK_BYTES_MAX as u64);
            return Err(Error::TooLarge { what: "bytes of a book of rules", found, max });
        }
        let mut tx = self.write().await?;
        let row = sqlx::query(
            "INSERT INTO text_accounts (account, revision, book) SELECT $1, 1, $3
             WHERE $2 = 0 OR EXISTS (SELECT 1 FROM text_accounts WHERE account = $1)
             ON CONFLICT (account) DO UPDATE SET revision = revision + 1, book = excluded.book
             WHERE revision = $2 RETURNING revision, NULL AS book",
        )
        .bind(&account[..])
        .bind(int(before)?)
        .bind(book)
        .fetch_optional(&mut *tx)
        .await?;
        let Some(written) = row.as_ref().map(rules).transpose()? else { return Ok(None) };
        tx.commit().await?;
        Ok(Some(written.revision))
    }

    /// Adds what accounts used, and forgets what is older than [`TEXT_USAGE_DAYS`].
    pub async fn add_text_usage(&self, used: &[([u8; 16], TextUsage)]) -> Result<(), Error> {
        let mut tx = self.write().await?;
        for (account, usage) in used {
            sqlx::query(
                "INSERT INTO text_usage (account, day, calls, texts, bytes) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (account, day) DO UPDATE SET calls = calls + excluded.calls,
                 texts = texts + excluded.texts, bytes = bytes + excluded.bytes",
            )
            .bind(&account[..])
            .bind(usage.day)
            .bind(int(usage.calls)?)
            .bind(int(usage.texts)?)
            .bind(int(usage.bytes)?)
            .execute(&mut *tx)
            .await?;
            sqlx::query("DELETE FROM text_usage WHERE account = $1 AND day <= $2")
                .bind(&account[..])
                .bind(i64::from(usage.day) - i64::from(TEXT_USAGE_DAYS))
                .execute(&mut *tx)
                .await?;
        }
        Ok(tx.commit().await?)
    }

    /// What an account used from a day on, oldest first.
    pub async fn text_usage(&self, account: [u8; 16], from: u32) -> Result<Vec<TextUsage>, Error> {
        let rows = sqlx::query(
            "SELECT * FROM text_usage WHERE account = $1 AND day >= $2 ORDER BY day LIMIT $3",
        )
        .bind(&account[..])
        .bind(from)
        .bind(TEXT_USAGE_DAYS)
        .fetch_all(&mut *self.read().await?)
        .await?;
        rows.iter().map(usage).collect()
    }
}

fn rules(row: &SqliteRow) -> Result<TextRules, Error> {
    let fields = Fields::new(row, "text_accounts");
    Ok(TextRules { revision: fields.number("revision")?, book: fields.get("book")? })
}

fn usage(row: &SqliteRow) -> Result<TextUsage, Error> {
    let fields = Fields::new(row, "text_usage");
    Ok(TextUsage {
        day: fields.number("day")?,
        calls: fields.number("calls")?,
        texts: fields.number("texts")?,
        bytes: fields.number("bytes")?,
    })
}
