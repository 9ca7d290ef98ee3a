//! An account's own rules, its quota, and what it used.

use crate::Error;
use crate::answer::Desk;
use crate::app::{App, internal};
use crate::permit::Action;
use crate::routes::{Asked, JSON_SECONDS_MAX, expect_json, json_response, read_whole};
use crate::texts::day;
use crate::who::Who;
use axum::body::Body;
use axum::http::Response;
use serde_json::{Value, json};
use strongroom_intake::{Archive, Code};
use strongroom_registry::{
    Account, TEXT_BOOK_BYTES_MAX, TEXT_USAGE_DAYS, TextQuota, TextRules, TextUsage,
};
use strongroom_text::Language;
use strongroom_text::sentiment::rules::{Book, Error as Wrong, Rule};

/// Of so many tries to write rules one comes between those of others.
const TRIES_MAX: usize = 10;

/// The book of rules that stands in JSON.
pub(super) fn book_of(json: &str) -> Result<Book, Error> {
    Book::from_json(json.as_bytes()).map_err(wrong)
}

fn wrong(error: Wrong) -> Error {
    match error {
        Wrong::Unknown { .. } => Error::not_found(error.to_string()),
        Wrong::Full | Wrong::BookLength { .. } => Error::refused(Code::TooLarge, error.to_string()),
        Wrong::Json(why) => Error::usage(format!("the book of rules cannot be read: {why}")),
        _ => Error::usage(error.to_string()),
    }
}

fn rule_json(id: u64, rule: &Rule) -> Value {
    let code = rule.language.map(Language::code);
    json!({ "id": id, "kind": rule.kind, "text": rule.text, "score": rule.score, "language": code })
}

impl Desk<'_> {
    /// The account whose rules are meant: who asks.
    fn analyst(&self) -> Result<&Account, Error> {
        self.who.may_to_itself(Action::Analyse)?;
        let account = self.who.account();
        account.ok_or_else(|| Error::usage("rules without a server are a file: `text rules FILE`"))
    }

    fn text_book(&self, account: [u8; 16]) -> Result<(u64, Book), Error> {
        let registry = self.archive.registry();
        let rules = self.archive.block_on(registry.text_rules(account, None))?;
        let TextRules { revision, book } = rules.unwrap_or_default();
        Ok((revision, book.as_deref().map(book_of).transpose()?.unwrap_or_default()))
    }

    /// Changes the rules of who asks. Between reading and writing another may write: then it is done again.
    fn change_rules<T>(
        &self,
        mut change: impl FnMut(&mut Book) -> Result<T, Wrong>,
    ) -> Result<T, Error> {
        let account = self.analyst()?.id;
        for _ in 0..TRIES_MAX {
            let (revision, mut book) = self.text_book(account)?;
            let done = change(&mut book).map_err(wrong)?;
            let json = book.to_json().map_err(wrong)?;
            if json.len() > TEXT_BOOK_BYTES_MAX {
                let why = format!("the rules would have more than {TEXT_BOOK_BYTES_MAX} bytes");
                return Err(Error::refused(Code::TooLarge, why));
            }
            let registry = self.archive.registry();
            let written = registry.set_text_rules(account, revision, &json);
            if self.archive.block_on(written)?.is_some() {
                return Ok(done);
            }
        }
        Err(Error::busy("others change these rules all the time"))
    }

    pub(crate) fn text_rules(&self) -> Result<Value, Error> {
        let (_, book) = self.text_book(self.analyst()?.id)?;
        let items: Vec<_> = book.list().map(|(id, rule)| rule_json(id, rule)).collect();
        Ok(json!({
            "revision": book.revision(), "items": items, "waiting": book.waiting(), "next": null,
        }))
    }

    pub(crate) fn add_text_rule(&self, rule: &Rule) -> Result<Value, Error> {
        let id = self.change_rules(|book| book.add(rule.clone()))?;
        Ok(json!({ "id": id }))
    }

    pub(crate) fn delete_text_rule(&self, id: u64) -> Result<Value, Error> {
        self.change_rules(|book| book.delete(id))?;
        Ok(json!({ "id": id }))
    }

    pub(crate) fn commit_text_rules(&self) -> Result<Value, Error> {
        let revision = self.change_rules(|book| Ok(book.commit()))?;
        Ok(json!({ "revision": revision }))
    }

    /// Of whom `account` tells, or of who asks.
    fn text_account(&self, account: Option<&str>) -> Result<(String, Account), Error> {
        match (account, self.who) {
            (Some(name), _) => {
                let (institution, account) = self.text_account_named(name)?;
                Ok((format!("{institution}/{}", account.name), account))
            }
            (None, Who::Account(caller)) => {
                self.who.may_to_itself(Action::Analyse)?;
                let name = format!("{}/{}", caller.institution_name, caller.account.name);
                Ok((name, caller.account.clone()))
            }
            (None, Who::Local | Who::Nobody) => {
                Err(Error::usage("name an account: institution/name"))
            }
        }
    }

    fn text_account_named(&self, name: &str) -> Result<(String, Account), Error> {
        let (institution, account) = self.account(Action::Accounts, name)?;
        Ok((institution.name, account))
    }

    pub(crate) fn text_usage(&self, account: Option<&str>, days: u32) -> Result<Value, Error> {
        if !(1..=TEXT_USAGE_DAYS).contains(&days) {
            return Err(Error::usage(format!("`days` is from 1 to {TEXT_USAGE_DAYS}")));
        }
        let (name, account) = self.text_account(account)?;
        let (registry, today) = (self.archive.registry(), day(self.archive.now()));
        let used = registry.text_usage(account.id, (today + 1).saturating_sub(days));
        let used = self.archive.block_on(used)?;
        let quota = self.archive.block_on(registry.text_quota(account.id))?;
        Ok(json!({
            "account": name,
            "quota": quota_json(quota),
            "items": used.iter().map(usage_json).collect::<Vec<_>>(),
            "next": null,
        }))
    }

    pub(crate) fn set_text_quota(&self, account: &str, quota: TextQuota) -> Result<Value, Error> {
        let (institution, account) = self.account(Action::ManageAccounts, account)?;
        let set = self.archive.registry().set_text_quota(account.id, quota);
        self.archive.block_on(set)?;
        let name = format!("{}/{}", institution.name, account.name);
        let told = json!({ "account": name, "quota": quota_json(quota) });
        self.archive.note(told.clone())?;
        Ok(told)
    }
}

fn quota_json(quota: TextQuota) -> Value {
    json!({ "texts_per_day": quota.texts_per_day, "bytes_per_day": quota.bytes_per_day })
}

fn usage_json(usage: &TextUsage) -> Value {
    json!({
        "day": date(usage.day), "calls": usage.calls, "texts": usage.texts, "bytes": usage.bytes,
    })
}

/// A day, counted from 1970-01-01, as `YYYY-MM-DD`.
fn date(day: u32) -> String {
    let time = strongroom_record::Time(0).plus_seconds(i64::from(day) * 24 * 3600).to_string();
    time.chars().take("YYYY-MM-DD".len()).collect()
}

/// `GET` of the account's book of rules, as a file that `text rules` takes.
pub(crate) async fn book(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    let who = asked.who;
    let book = app.blocking(move |archive| {
        let desk = Desk { archive, who: &who };
        let (_, book) = desk.text_book(desk.analyst()?.id)?;
        serde_json::to_value(book).map_err(|error| internal(&error.to_string()))
    });
    Ok(json_response(200, &book.await?))
}

/// `POST` of a book of rules: of it and the account's, the newer one holds.
pub(crate) async fn replace_book(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    expect_json(&asked.headers)?;
    let body = read_whole(&app, asked.body, TEXT_BOOK_BYTES_MAX, JSON_SECONDS_MAX).await?;
    let who = asked.who;
    let told = app.blocking(move |archive| replace(archive, &who, &body)).await?;
    app.texts.clients.forget();
    Ok(json_response(200, &told))
}

fn replace(archive: &Archive, who: &Who, body: &[u8]) -> Result<Value, Error> {
    let given = Book::from_json(body).map_err(wrong)?;
    let revision = Desk { archive, who }.change_rules(|book| {
        *book = std::mem::take(book).newer(given.clone());
        Ok(book.revision())
    })?;
    Ok(json!({ "revision": revision, "taken": revision == given.revision() }))
}
