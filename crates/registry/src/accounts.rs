//! Accounts and the tokens by which they act.
//!
//! A token's secret never comes here: what is kept, and looked up, is its SHA-256. What a token may
//! do (its scopes) and what a role may do is decided by the caller; here stand only the words.

use sqlx::sqlite::SqliteRow;
use strongroom_record::{InstitutionId, Sha256, Time};

use crate::archive::account;
use crate::row::Fields;
use crate::types::{Account, words};
use crate::{Error, Registry};

/// Most bytes of the name of an account or a token.
pub const NAME_BYTES_MAX: usize = 200;
/// The time of a token's last use is kept to so many seconds, so that not every request writes.
pub const TOUCH_SECONDS: i64 = 3600;
/// Tokens and accounts that a list gives at most.
const LIST_MAX: i64 = 10_000;

words! {
    /// What an account is for.
    Role, "role",
    /// Takes records in and brings them back.
    Depositor = "depositor",
    /// Watches over work and accounts.
    Administrator = "administrator",
    /// Proves what happened; reads no contents.
    Auditor = "auditor",
    /// Sees how things stand.
    Observer = "observer",
    /// Lends disk to the vault; sees shelves only.
    NodeKeeper = "node-keeper",
}

impl Role {
    /// All roles.
    pub const ALL: [Role; 5] =
        [Role::Depositor, Role::Administrator, Role::Auditor, Role::Observer, Role::NodeKeeper];
}

words! {
    /// Whether an account may act.
    AccountState, "state of an account",
    /// It may.
    Active = "active",
    /// Nothing is done for it; its tokens are kept, and count again when it is active.
    Disabled = "disabled",
}

/// What proves to be an account, and how far it goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Its id, which is no secret.
    pub id: [u8; 16],
    /// Whose it is.
    pub account: [u8; 16],
    /// What people call it.
    pub name: String,
    /// SHA-256 of the token as it is presented.
    pub sha256: Sha256,
    /// What it may be used for: the caller's words, parted by spaces.
    pub scopes: String,
    /// Good for nothing but to be exchanged, once, for a lasting one.
    pub once: bool,
    /// When it was made.
    pub created: Time,
    /// From when on it counts no longer.
    pub expires: Option<Time>,
    /// When it was last used, to [`TOUCH_SECONDS`].
    pub last_used: Option<Time>,
    /// When it was revoked (or exchanged).
    pub revoked: Option<Time>,
}

impl Token {
    /// Whether it counts at this moment.
    pub fn counts(&self, now: Time) -> bool {
        self.revoked.is_none() && self.expires.is_none_or(|expires| now < expires)
    }
}

/// Who stands behind a token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bearer {
    /// The token.
    pub token: Token,
    /// Its account.
    pub account: Account,
    /// The name of the account's institution.
    pub institution_name: String,
}

impl Registry {
    /// The account of this id.
    pub async fn account(&self, id: [u8; 16]) -> Result<Option<Account>, Error> {
        let row = sqlx::query("SELECT * FROM accounts WHERE id = $1")
            .bind(&id[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(account).transpose()
    }

    /// The account of this name in an institution.
    pub async fn account_by_name(
        &self,
        institution: InstitutionId,
        name: &str,
    ) -> Result<Option<Account>, Error> {
        let row = sqlx::query("SELECT * FROM accounts WHERE institution = $1 AND name = $2")
            .bind(&institution.0[..])
            .bind(name)
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(account).transpose()
    }

    /// Lets an account act, or not.
    pub async fn set_account_state(
        &self,
        id: [u8; 16],
        state: AccountState,
    ) -> Result<Account, Error> {
        let mut tx = self.write().await?;
        let row = sqlx::query("UPDATE accounts SET state = $2 WHERE id = $1 RETURNING *")
            .bind(&id[..])
            .bind(state.word())
            .fetch_optional(&mut *tx)
            .await?;
        let row = row.ok_or_else(|| Error::not_found("account", hex(&id)))?;
        let account = account(&row)?;
        tx.commit().await?;
        Ok(account)
    }

    /// Keeps a new token; [`Error::NotFound`] where its account is not there.
    pub async fn create_token(&self, token: &Token) -> Result<(), Error> {
        let mut tx = self.write().await?;
        insert(&mut tx, token).await?;
        Ok(tx.commit().await?)
    }

    /// Who stands behind the token with this SHA-256, whether or not it still counts.
    pub async fn bearer(&self, sha256: &Sha256) -> Result<Option<Bearer>, Error> {
        let mut read = self.read().await?;
        let row = sqlx::query("SELECT * FROM tokens WHERE sha256 = $1")
            .bind(&sha256.0[..])
            .fetch_optional(&mut *read)
            .await?;
        let Some(token) = row.as_ref().map(token).transpose()? else { return Ok(None) };
        let row = sqlx::query(
            "SELECT accounts.*, institutions.name AS institution_name
             FROM accounts JOIN institutions ON institutions.id = accounts.institution
             WHERE accounts.id = $1",
        )
        .bind(&token.account[..])
        .fetch_optional(&mut *read)
        .await?;
        let Some(row) = row else { return Ok(None) };
        let institution_name = Fields::new(&row, "institutions").text("institution_name")?;
        Ok(Some(Bearer { token, account: account(&row)?, institution_name }))
    }

    /// Notes that a token was used, where that was not noted lately.
    pub async fn touch_token(&self, id: [u8; 16], now: Time) -> Result<(), Error> {
        let mut tx = self.write().await?;
        sqlx::query(
            "UPDATE tokens SET last_used = $2
             WHERE id = $1 AND (last_used IS NULL OR last_used <= $3)",
        )
        .bind(&id[..])
        .bind(now.0)
        .bind(now.plus_seconds(-TOUCH_SECONDS).0)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    /// The token of this id.
    pub async fn token(&self, id: [u8; 16]) -> Result<Option<Token>, Error> {
        let row = sqlx::query("SELECT * FROM tokens WHERE id = $1")
            .bind(&id[..])
            .fetch_optional(&mut *self.read().await?)
            .await?;
        row.as_ref().map(token).transpose()
    }

    /// An account's tokens, those that count no longer too, oldest first.
    pub async fn tokens(&self, account: [u8; 16]) -> Result<Vec<Token>, Error> {
        let rows =
            sqlx::query("SELECT * FROM tokens WHERE account = $1 ORDER BY created, id LIMIT $2")
                .bind(&account[..])
                .bind(LIST_MAX)
                .fetch_all(&mut *self.read().await?)
                .await?;
        rows.iter().map(token).collect()
    }

    /// Revokes a token for good; `false` where it was already.
    pub async fn revoke_token(&self, id: [u8; 16], now: Time) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let done = sqlx::query("UPDATE tokens SET revoked = $2 WHERE id = $1 AND revoked IS NULL")
            .bind(&id[..])
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives `lasting` for the one-time token `once`, which counts no longer; `false`, and nothing
    /// is changed, where it did not count any more: of two who try, one is given a token.
    pub async fn exchange_token(
        &self,
        once: [u8; 16],
        lasting: &Token,
        now: Time,
    ) -> Result<bool, Error> {
        let mut tx = self.write().await?;
        let used = sqlx::query(
            "UPDATE tokens SET revoked = $2, last_used = $2 WHERE id = $1 AND once = 1
               AND revoked IS NULL AND (expires IS NULL OR expires > $2) AND account = $3",
        )
        .bind(&once[..])
        .bind(now.0)
        .bind(&lasting.account[..])
        .execute(&mut *tx)
        .await?;
        if used.rows_affected() == 0 {
            return Ok(false);
        }
        insert(&mut tx, lasting).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Whether an active administrator of this institution has a lasting token that counts.
    pub async fn has_administrator(
        &self,
        institution: InstitutionId,
        now: Time,
    ) -> Result<bool, Error> {
        let found: Option<i64> = sqlx::query_scalar(
            "SELECT 1 FROM tokens JOIN accounts ON accounts.id = tokens.account
             WHERE accounts.institution = $1 AND accounts.role = $2 AND accounts.state = $3
               AND tokens.once = 0 AND tokens.revoked IS NULL
               AND (tokens.expires IS NULL OR tokens.expires > $4) LIMIT 1",
        )
        .bind(&institution.0[..])
        .bind(Role::Administrator.word())
        .bind(AccountState::Active.word())
        .bind(now.0)
        .fetch_optional(&mut *self.read().await?)
        .await?;
        Ok(found.is_some())
    }
}

async fn insert(
    connection: &mut sqlx::sqlite::SqliteConnection,
    token: &Token,
) -> Result<(), Error> {
    if token.name.len() > NAME_BYTES_MAX {
        let (found, max) = (token.name.len() as u64, NAME_BYTES_MAX as u64);
        return Err(Error::TooLarge { what: "a token's name, in bytes", found, max });
    }
    let made = sqlx::query(
        "INSERT INTO tokens (id, account, name, sha256, scopes, once, created, expires)
         SELECT $1, id, $3, $4, $5, $6, $7, $8 FROM accounts WHERE id = $2",
    )
    .bind(token.id.to_vec())
    .bind(token.account.to_vec())
    .bind(token.name.clone())
    .bind(token.sha256.0.to_vec())
    .bind(token.scopes.clone())
    .bind(i64::from(token.once))
    .bind(token.created.0)
    .bind(token.expires.map(|time| time.0))
    .execute(connection)
    .await?;
    match made.rows_affected() {
        1 => Ok(()),
        _ => Err(Error::not_found("account", hex(&token.account))),
    }
}

fn token(row: &SqliteRow) -> Result<Token, Error> {
    let fields = Fields::new(row, "tokens");
    Ok(Token {
        id: fields.array("id")?,
        account: fields.array("account")?,
        name: fields.text("name")?,
        sha256: fields.sha256("sha256")?,
        scopes: fields.text("scopes")?,
        once: fields.flag("once")?,
        created: fields.time("created")?,
        expires: fields.time_or_none("expires")?,
        last_used: fields.time_or_none("last_used")?,
        revoked: fields.time_or_none("revoked")?,
    })
}

fn hex(id: &[u8; 16]) -> String {
    strongroom_record::json::bytes::hex(id)
}
