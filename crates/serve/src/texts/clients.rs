//! Who sends texts: the account behind a token, its rules, its quota, and what it used, kept for a moment so that not every
//! call asks the registry.

use crate::Error;
use crate::app::{App, internal, lock};
use crate::who::{Who, secret_of};
use axum::http::HeaderMap;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use strongroom_intake::{Archive, Code};
use strongroom_record::{Sha256, Time};
use strongroom_registry::{TextQuota, TextUsage};
use strongroom_text::Language;
use strongroom_text::sentiment::rules::{Book, Matcher};

/// How long what the registry says of a token and its account is relied on. A token that another process revoked counts so
/// long; one that was revoked here counts no longer at once.
pub const CLIENT_SECONDS: u64 = 1;
/// Tokens, and accounts, that are known at one time; all are forgotten where there are more.
pub const CLIENTS_MAX: usize = 10_000;
/// Bytes of all accounts' rules that are known at one time, likewise.
pub const RULES_BYTES_MAX: usize = 64 << 20;

const DAY_SECONDS: i64 = 24 * 3600;

/// Whoever was asked for lately.
#[derive(Default)]
pub(crate) struct Clients {
    tokens: Mutex<HashMap<Sha256, Arc<Client>>>,
    accounts: Mutex<HashMap<[u8; 16], Arc<Account>>>,
    /// Held while what was used is written down, so that nothing is written twice.
    writing: Mutex<()>,
}

/// An account by a token, as the registry knew it a moment ago.
pub(crate) struct Client {
    pub(crate) who: Who,
    pub(crate) token: [u8; 16],
    pub(crate) account: Arc<Account>,
    pub(crate) rules: Arc<Rules>,
    seen: Instant,
}

/// An account's rules, made ready.
#[derive(Default)]
pub(crate) struct Rules {
    revision: u64,
    bytes: usize,
    /// By language; none where there are no rules.
    pub(crate) matchers: Option<Vec<Matcher>>,
}

/// What an account may have and used, whichever token it shows.
#[derive(Default)]
pub(crate) struct Account(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    rules: Arc<Rules>,
    quota: TextQuota,
    /// What the registry says of a day: of all servers.
    stored: TextUsage,
    /// What was used here and is not written down, by day.
    new: BTreeMap<u32, TextUsage>,
}

/// The day of UTC, counted from 1970-01-01.
pub(crate) fn day(now: Time) -> u32 {
    u32::try_from(now.seconds_since(Time(0)).div_euclid(DAY_SECONDS)).unwrap_or(0)
}

impl Account {
    /// Counts a call with so many texts and bytes, or refuses it where the day's quota is used up.
    pub(crate) fn take(&self, texts: u64, bytes: u64, now: Time) -> Result<(), Error> {
        let mut kept = lock(&self.0);
        let day = day(now);
        let stored = if kept.stored.day == day { kept.stored } else { TextUsage::default() };
        let new = kept.new.get(&day).copied().unwrap_or_default();
        let over = |max: Option<u64>, stored: u64, new: u64, asked: u64| {
            max.filter(|max| stored.saturating_add(new).saturating_add(asked) > *max)
        };
        let TextQuota { texts_per_day, bytes_per_day } = kept.quota;
        let why = over(texts_per_day, stored.texts, new.texts, texts)
            .map(|max| format!("{max} texts"))
            .or(over(bytes_per_day, stored.bytes, new.bytes, bytes)
                .map(|max| format!("{max} bytes of texts")));
        if let Some(most) = why {
            let left = DAY_SECONDS - now.seconds_since(Time(0)).rem_euclid(DAY_SECONDS);
            return Err(Error::Refused {
                code: Code::TooManyRequests,
                message: format!("the account may have {most} a day (of UTC), and would have more"),
                retry_seconds: Some(left.unsigned_abs()),
            });
        }
        let new = kept.new.entry(day).or_insert(TextUsage { day, ..TextUsage::default() });
        new.calls += 1;
        new.texts += texts;
        new.bytes += bytes;
        Ok(())
    }
}

impl Clients {
    /// Whoever shows a token that was looked up a moment ago.
    pub(crate) fn known(&self, headers: &HeaderMap) -> Option<Arc<Client>> {
        let client = lock(&self.tokens).get(&secret_of(headers).ok()?).cloned()?;
        (client.seen.elapsed() < Duration::from_secs(CLIENT_SECONDS)).then_some(client)
    }

    /// Whoever shows a token, looked up.
    pub(crate) async fn look_up(
        &self,
        app: &App,
        headers: &HeaderMap,
        address: IpAddr,
    ) -> Result<Arc<Client>, Error> {
        let who = app.who(headers, address).await?;
        let Who::Account(caller) = &who else { return Err(internal("not an account")) };
        let (token, id) = (caller.token, caller.account.id);
        let account = lock(&self.accounts).entry(id).or_default().clone();
        let (kept, known) = (account.clone(), lock(&account.0).rules.revision);
        let rules = app.blocking(move |archive| read(archive, id, &kept, known)).await?;
        let client = Arc::new(Client { who, token, account, rules, seen: Instant::now() });
        self.keep(secret_of(headers)?, client.clone());
        Ok(client)
    }

    fn keep(&self, token: Sha256, client: Arc<Client>) {
        let mut tokens = lock(&self.tokens);
        tokens.insert(token, client);
        let mut accounts = lock(&self.accounts);
        let bytes: usize = match tokens.len() % 64 {
            // Not with each: that there is a bound matters, not when it is met.
            0 => accounts.values().map(|account| lock(&account.0).rules.bytes).sum(),
            _ => 0,
        };
        if tokens.len() > CLIENTS_MAX || accounts.len() > CLIENTS_MAX || bytes > RULES_BYTES_MAX {
            tokens.clear();
            // What an account used is not forgotten, nor is one for whom something is being done.
            accounts.retain(|_, account| {
                Arc::strong_count(account) > 1 || !lock(&account.0).new.is_empty()
            });
        }
    }

    /// Forgets what was looked up: something has changed.
    pub(crate) fn forget(&self) {
        lock(&self.tokens).clear();
    }

    /// Writes down what was used since the last time.
    pub(crate) fn write_down(&self, archive: &Archive) -> Result<(), Error> {
        let _one = lock(&self.writing);
        let accounts: Vec<_> =
            lock(&self.accounts).iter().map(|(id, account)| (*id, account.clone())).collect();
        let used: Vec<_> = (accounts.iter())
            .flat_map(|(id, account)| {
                let kept = lock(&account.0);
                kept.new.values().map(|usage| (*id, *usage)).collect::<Vec<_>>()
            })
            .collect();
        if used.is_empty() {
            return Ok(());
        }
        archive.block_on(archive.registry().add_text_usage(&used))?;
        for (id, usage) in used {
            let Some((_, account)) = accounts.iter().find(|(of, _)| *of == id) else { continue };
            lock(&account.0).written(&usage);
        }
        Ok(())
    }
}

impl Kept {
    /// What was new is now among what is stored.
    fn written(&mut self, usage: &TextUsage) {
        if self.stored.day < usage.day {
            self.stored = TextUsage { day: usage.day, ..TextUsage::default() };
        }
        if self.stored.day == usage.day {
            self.stored.calls += usage.calls;
            self.stored.texts += usage.texts;
            self.stored.bytes += usage.bytes;
        }
        if let Some(new) = self.new.get_mut(&usage.day) {
            new.calls -= usage.calls;
            new.texts -= usage.texts;
            new.bytes -= usage.bytes;
            if new.calls == 0 {
                self.new.remove(&usage.day);
            }
        }
    }
}

/// What the registry says of an account.
fn read(
    archive: &Archive,
    id: [u8; 16],
    account: &Account,
    known: u64,
) -> Result<Arc<Rules>, Error> {
    let (registry, today) = (archive.registry(), day(archive.now()));
    let rules = archive.block_on(registry.text_rules(id, Some(known)))?;
    let rules = match rules {
        None => None,
        Some(rules) => Some(Arc::new(ready(rules.revision, rules.book.as_deref())?)),
    };
    let quota = archive.block_on(registry.text_quota(id))?;
    let stored = archive.block_on(registry.text_usage(id, today))?.first().copied();
    let mut kept = lock(&account.0);
    kept.quota = quota;
    kept.stored = stored.unwrap_or(TextUsage { day: today, ..TextUsage::default() });
    if let Some(rules) = rules {
        kept.rules = rules;
    }
    Ok(kept.rules.clone())
}

fn ready(revision: u64, book: Option<&str>) -> Result<Rules, Error> {
    let Some(json) = book else { return Ok(Rules { revision, ..Rules::default() }) };
    let book = super::rules::book_of(json)?;
    let matchers = |book: &Book| Language::ALL.map(|language| Matcher::new(book, language));
    let matchers = book.list().next().is_some().then(|| matchers(&book).into());
    Ok(Rules { revision, bytes: json.len(), matchers })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(0).plus_seconds(seconds)
    }

    #[test]
    fn a_day_has_its_quota() {
        let account = Account::default();
        lock(&account.0).quota = TextQuota { texts_per_day: Some(10), bytes_per_day: Some(100) };
        lock(&account.0).stored = TextUsage { day: 0, calls: 1, texts: 4, bytes: 0 };
        account.take(6, 60, at(5)).unwrap();
        let Err(Error::Refused { retry_seconds, message, .. }) = account.take(1, 1, at(86_390))
        else {
            panic!("an eleventh text");
        };
        assert_eq!(retry_seconds, Some(10));
        assert!(message.contains("10 texts"), "{message}");
        account.take(1, 100, at(86_400)).unwrap();
        let Err(error) = account.take(1, 1, at(86_401)) else { panic!("a byte too many") };
        assert!(error.to_string().contains("100 bytes"), "{error}");
    }

    #[test]
    fn what_is_written_down_is_counted_once() {
        let account = Account::default();
        lock(&account.0).quota.texts_per_day = Some(10);
        account.take(4, 1, at(1)).unwrap();
        let flying = lock(&account.0).new[&0];
        account.take(4, 1, at(2)).unwrap();
        lock(&account.0).written(&flying);
        assert_eq!(lock(&account.0).new[&0].texts, 4);
        assert!(account.take(3, 1, at(3)).is_err());
        account.take(2, 1, at(3)).unwrap();
    }
}
