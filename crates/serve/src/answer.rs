//! The answers to calls: whoever asks is checked, the archive is asked, and one JSON value comes back.
//! It blocks, and is never called on a thread that serves connections.

use crate::call::{Call, EventsOf, SEGMENTS_MAX};
use crate::permit::{Action, Scope};
use crate::who::{Who, new_secret, secret_hash};
use crate::{Error, view};
use serde_json::{Value, json};
use std::path::PathBuf;
use strongroom_intake::{Archive, Code, Form, RestoreRequest};
use strongroom_record::json::bytes::{hex, unhex};
use strongroom_record::{InstitutionId, ObjectName, Sha256, WorkItem};
use strongroom_registry::{
    Account, AccountState, EventsOf as RegistryEventsOf, Institution, Object, Role, TextQuota,
    Token, Version, VersionState, WorkFilter,
};

/// How long a token may count, in days.
pub const TOKEN_DAYS_MAX: u32 = 3650;
/// How long the lasting token counts that a one-time token is exchanged for, in days.
pub const EXCHANGED_DAYS: u32 = 365;
/// How long a one-time token can be exchanged, in seconds.
pub const ONE_TIME_SECONDS: i64 = 24 * 3600;
/// Tokens of one account that count at one moment.
pub const TOKENS_MAX: usize = 100;

const DAY_SECONDS: i64 = 24 * 3600;

/// Answers a call.
pub fn answer(archive: &Archive, who: &Who, call: &Call) -> Result<Value, Error> {
    let desk = Desk { archive, who };
    match call {
        Call::Me => desk.me(),
        Call::Objects { institution, after, limit } => {
            desk.objects(institution.as_deref(), after.as_deref(), *limit)
        }
        Call::Object(name) => desk.show(name),
        Call::Versions(name) => {
            let object = desk.object(Action::Catalogue, name)?;
            Ok(all(desk.published(&object)?.iter().map(view::version)))
        }
        Call::Files { object, after, limit } => {
            desk.files(object, cursor(after)?.unwrap_or(0), *limit)
        }
        Call::Segments { object, ids } => {
            let (object, _) = desk.version(Action::Catalogue, object)?;
            if ids.len() > SEGMENTS_MAX {
                return Err(Error::usage(format!("at most {SEGMENTS_MAX} segments at once")));
            }
            let mut of_object = Vec::new();
            for &id in ids {
                let segment = archive.block_on(archive.registry().segment(id))?;
                if segment.is_some_and(|segment| segment.object == Some(object.id)) {
                    of_object.push(id);
                }
            }
            Ok(all(view::segments(archive, &of_object)?))
        }
        Call::Events { of, after, limit } => {
            let (of, _) = desk.events_of(of)?;
            let after = cursor(after)?.unwrap_or(0);
            let events = archive.block_on(archive.registry().events(of, after, *limit))?;
            let next = events.last().map(|event| event.sequence.to_string());
            Ok(page(events.iter().map(view::event).collect(), *limit, next))
        }
        Call::Verify(of) => desk.verify(of),
        Call::Work { institution, status, kind, after, limit } => {
            let institution = desk.listed(Action::WatchWork, institution.as_deref())?;
            let filter = WorkFilter { status: *status, kind: *kind, object: None };
            let registry = archive.registry();
            let items = archive.block_on(registry.work_list_of(
                institution,
                filter,
                cursor(after)?,
                *limit,
            ))?;
            let next = items.last().map(|item| item.id.to_string());
            Ok(page(items.iter().map(view::work).collect(), *limit, next))
        }
        Call::WorkItem(id) => Ok(view::work(&desk.work(Action::WatchWork, id)?)),
        Call::Requeue { id, stage } => {
            let item = desk.work(Action::SteerWork, id)?;
            Ok(view::work(&archive.requeue(item.id, *stage)?))
        }
        Call::Cancel(id) => {
            let item = desk.work(Action::SteerWork, id)?;
            Ok(view::work(&archive.cancel_as(item.id, who.account())?))
        }
        Call::Restore { object, form } => desk.restore(object, *form),
        Call::Status => {
            who.may_in_archive(Action::Status)?;
            view::status(archive)
        }
        Call::Shelves => {
            who.may_in_archive(Action::Status)?;
            Ok(all(view::shelves(archive)?))
        }
        Call::Institutions => {
            who.may_in_archive(Action::Institutions)?;
            let institutions = archive.block_on(archive.registry().institutions())?;
            Ok(all(institutions.iter().map(view::institution)))
        }
        Call::AddInstitution(name) => {
            who.may_in_archive(Action::AddInstitution)?;
            let id = archive.institution(name)?;
            let made = archive.block_on(archive.registry().institution(id))?;
            let made = made.ok_or_else(|| Error::not_found("the institution is gone"))?;
            Ok(view::institution(&made))
        }
        Call::Accounts(institution) => desk.accounts(institution.as_deref()),
        Call::AddAccount { account, role } => desk.add_account(account, role),
        Call::SetAccount { account, state } => {
            let (institution, account) = desk.account(Action::ManageAccounts, account)?;
            let state = AccountState::parse(state)?;
            let set = archive.block_on(archive.registry().set_account_state(account.id, state))?;
            let set = view::account(&institution.name, &set);
            archive.note(json!({ "account": set, "change": state.word() }))?;
            Ok(set)
        }
        Call::Tokens(account) => {
            let id = desk.token_account(account.as_deref(), Action::Accounts)?;
            let tokens = archive.block_on(archive.registry().tokens(id))?;
            Ok(all(tokens.iter().map(view::token)))
        }
        Call::CreateToken { account, name, scopes, days } => {
            desk.create_token(account.as_deref(), name, scopes.as_deref(), *days)
        }
        Call::RevokeToken(id) => desk.revoke_token(id),
        Call::TextRules => desk.text_rules(),
        Call::AddTextRule(rule) => desk.add_text_rule(rule),
        Call::DeleteTextRule(id) => desk.delete_text_rule(*id),
        Call::CommitTextRules => desk.commit_text_rules(),
        Call::TextUsage { account, days } => desk.text_usage(account.as_deref(), *days),
        Call::SetTextQuota { account, texts_per_day, bytes_per_day } => {
            let (texts_per_day, bytes_per_day) = (*texts_per_day, *bytes_per_day);
            desk.set_text_quota(account, TextQuota { texts_per_day, bytes_per_day })
        }
        Call::ExchangeToken => desk.exchange(),
    }
}

/// The one-time token of a new archive's administrator, who is made where there is none; `None` where
/// one has a lasting token, or nothing may be written. One that was made earlier and not used counts no longer.
pub fn first_administrator(archive: &Archive) -> Result<Option<String>, Error> {
    if archive.behind().is_some() {
        return Ok(None);
    }
    let registry = archive.registry();
    let house = archive.institution(crate::permit::HOUSE)?;
    if archive.block_on(registry.has_administrator(house, archive.now()))? {
        return Ok(None);
    }
    let accounts = archive.block_on(registry.accounts(house))?;
    let is_one = |a: &&Account| {
        a.role == Role::Administrator.word() && a.state == AccountState::Active.word()
    };
    let account = match accounts.iter().find(is_one) {
        Some(account) => account.clone(),
        None => {
            let name = (0..)
                .map(|n| if n == 0 { "admin".to_string() } else { format!("admin-{n}") })
                .find(|name| !accounts.iter().any(|a| a.name == *name))
                .unwrap_or_default();
            let account = new_account(archive, house, &name, Role::Administrator);
            archive.block_on(registry.create_account(&account))?;
            let shown = view::account(crate::permit::HOUSE, &account);
            archive.note(json!({ "account": shown, "change": "added" }))?;
            account
        }
    };
    for before in archive.block_on(registry.tokens(account.id))? {
        if before.once && before.counts(archive.now()) {
            archive.block_on(registry.revoke_token(before.id, archive.now()))?;
        }
    }
    let (shown, mut token) = new_token(archive, account.id, "first", Scope::ALL, ONE_TIME_SECONDS)?;
    token.once = true;
    archive.block_on(registry.create_token(&token))?;
    Ok(Some(shown))
}

/// Of a restoration over HTTP: the folder in which everything stands that was brought back.
pub(crate) fn restored_folder(archive: &Archive) -> PathBuf {
    archive.data().join("restored")
}

/// What is asked, of which archive, by whom.
pub(crate) struct Desk<'a> {
    pub(crate) archive: &'a Archive,
    pub(crate) who: &'a Who,
}

impl Desk<'_> {
    fn me(&self) -> Result<Value, Error> {
        match self.who {
            Who::Local | Who::Nobody => Err(Error::usage("there is no account without a server")),
            Who::Account(caller) => {
                let mut json = view::account(&caller.institution_name, &caller.account);
                json["scopes"] = Scope::words(&caller.scopes).into();
                json["once"] = caller.once.into();
                Ok(json)
            }
        }
    }

    fn objects(
        &self,
        institution: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Value, Error> {
        let of = self.listed(Action::Catalogue, institution)?;
        let after = after.map(str::parse::<ObjectName>).transpose()?;
        let registry = self.archive.registry();
        let objects = self.archive.block_on(registry.objects(of, after.as_ref(), limit))?;
        let next = objects.last().map(|last| last.object.name.to_string());
        Ok(page(objects.iter().map(view::object_summary).collect(), limit, next))
    }

    fn show(&self, text: &str) -> Result<Value, Error> {
        let (object, chosen) = self.version(Action::Catalogue, text)?;
        let policy = self.archive.registry().coding_for(Some(object.id), object.institution);
        Ok(json!({
            "id": object.id,
            "name": object.name.to_string(),
            "institution": object.institution,
            "policy": self.archive.block_on(policy)?,
            "source": object.source,
            "versions": self.published(&object)?.iter().map(view::version).collect::<Vec<_>>(),
            "shown": chosen.number,
        }))
    }

    /// Drafts and what came of a deposit that changed nothing are work, not versions.
    fn published(&self, object: &Object) -> Result<Vec<Version>, Error> {
        let mut versions = self.archive.block_on(self.archive.registry().versions(object.id))?;
        versions.retain(|version| version.state == VersionState::Published);
        Ok(versions)
    }

    fn files(&self, text: &str, after: u64, limit: u32) -> Result<Value, Error> {
        let (_, version) = self.version(Action::Catalogue, text)?;
        let files = self.archive.registry().files(version.id, after, limit);
        let files = self.archive.block_on(files)?;
        let next = files.last().map(|file| (file.number + 1).to_string());
        Ok(page(files.iter().map(|file| file.to_json()).collect(), limit, next))
    }

    fn events_of(&self, of: &EventsOf) -> Result<(RegistryEventsOf, InstitutionId), Error> {
        Ok(match of {
            EventsOf::Object(name) => {
                let object = self.object(Action::Events, name)?;
                (RegistryEventsOf::Object(object.id), object.institution)
            }
            EventsOf::Institution(name) => {
                let id = self.institution(Action::Events, name)?.id;
                (RegistryEventsOf::Institution(id), id)
            }
        })
    }

    fn verify(&self, of: &EventsOf) -> Result<Value, Error> {
        let (_, institution) = self.events_of(of)?;
        let registry = self.archive.registry();
        let report = self.archive.block_on(registry.verify_chain(institution))?;
        let head = self.archive.block_on(registry.event_head(institution))?;
        Ok(json!({
            "institution": institution,
            "events": report.events,
            "holds": report.broken_at.is_none(),
            "broken_at": report.broken_at,
            "head": head.hash,
        }))
    }

    fn restore(&self, text: &str, form: Form) -> Result<Value, Error> {
        let (object, version) = self.version(Action::Restore, text)?;
        let mut folder = [0; 16];
        getrandom::fill(&mut folder).expect("the system's random source works");
        let name = match form {
            Form::Tar => format!("{}.tar", object.name.name()),
            Form::Bag | Form::Files => object.name.name().to_string(),
        };
        let to = restored_folder(self.archive).join(hex(&folder)).join(name);
        let request = RestoreRequest { version: version.id.to_string(), to, form };
        Ok(view::work(&self.archive.restore_as(&request, self.who.account())?))
    }

    fn accounts(&self, institution: Option<&str>) -> Result<Value, Error> {
        let of = self.listed(Action::Accounts, institution)?;
        let registry = self.archive.registry();
        let mut rows = Vec::new();
        for institution in self.archive.block_on(registry.institutions())? {
            if of.is_none_or(|of| of == institution.id) {
                let accounts = self.archive.block_on(registry.accounts(institution.id))?;
                rows.extend(accounts.iter().map(|a| view::account(&institution.name, a)));
            }
        }
        Ok(all(rows))
    }

    fn add_account(&self, account: &str, role: &str) -> Result<Value, Error> {
        let name: ObjectName = account.parse()?;
        let institution = self.institution(Action::ManageAccounts, name.institution())?;
        let role = Role::parse(role)?;
        let account = new_account(self.archive, institution.id, name.name(), role);
        match self.archive.block_on(self.archive.registry().create_account(&account))? {
            true => {
                let account = view::account(&institution.name, &account);
                self.archive.note(json!({ "account": account, "change": "added" }))?;
                Ok(account)
            }
            false => Err(Error::refused(Code::Conflict, format!("there is an account {name}"))),
        }
    }

    /// Whose tokens are meant: the named account's, or the caller's own.
    fn token_account(&self, account: Option<&str>, others: Action) -> Result<[u8; 16], Error> {
        match (account, self.who) {
            (None, Who::Local | Who::Nobody) => {
                Err(Error::usage("name an account: institution/name"))
            }
            (None, Who::Account(caller)) => {
                self.who.may(Action::OwnTokens, caller.account.institution)?;
                Ok(caller.account.id)
            }
            (Some(name), who) => {
                let own = match who {
                    Who::Account(caller) => {
                        *name == format!("{}/{}", caller.institution_name, caller.account.name)
                    }
                    Who::Local | Who::Nobody => false,
                };
                if own {
                    return self.token_account(None, others);
                }
                Ok(self.account(others, name)?.1.id)
            }
        }
    }

    fn create_token(
        &self,
        account: Option<&str>,
        name: &str,
        scopes: Option<&str>,
        days: u32,
    ) -> Result<Value, Error> {
        let account = self.token_account(account, Action::ManageAccounts)?;
        if !(1..=TOKEN_DAYS_MAX).contains(&days) {
            return Err(Error::usage(format!("a token counts for 1 to {TOKEN_DAYS_MAX} days")));
        }
        // A token gives no more than it has.
        let most = match self.who {
            Who::Local => Scope::ALL,
            Who::Nobody => &[],
            Who::Account(caller) => &caller.scopes[..],
        };
        let bad = |word| Error::usage(format!("`{word}` is no scope"));
        let scopes = match scopes {
            None => most.to_vec(),
            Some(words) => Scope::parse(words).map_err(bad)?,
        };
        if let Some(more) = scopes.iter().find(|scope| !most.contains(scope)) {
            let why = format!("the token that is shown lacks the scope `{}` itself", more.word());
            return Err(Error::refused(Code::Forbidden, why));
        }
        let registry = self.archive.registry();
        let now = self.archive.now();
        let before = self.archive.block_on(registry.tokens(account))?;
        if before.iter().filter(|token| token.counts(now)).count() >= TOKENS_MAX {
            let why = format!("the account has {TOKENS_MAX} tokens: revoke some");
            return Err(Error::refused(Code::TooLarge, why));
        }
        let seconds = i64::from(days) * DAY_SECONDS;
        let (shown, token) = new_token(self.archive, account, name, &scopes, seconds)?;
        self.archive.block_on(registry.create_token(&token))?;
        Ok(shown_once(&shown, &token))
    }

    fn revoke_token(&self, id: &str) -> Result<Value, Error> {
        let missing = || Error::not_found(format!("no token is `{id}`"));
        let bytes: [u8; 16] = unhex(id).and_then(|b| b.try_into().ok()).ok_or_else(missing)?;
        let registry = self.archive.registry();
        let token = self.archive.block_on(registry.token(bytes))?.ok_or_else(missing)?;
        match self.who {
            Who::Account(caller) if caller.account.id == token.account => {
                self.who.may(Action::OwnTokens, caller.account.institution)?;
            }
            _ => {
                let account = self.archive.block_on(registry.account(token.account))?;
                let account = account.ok_or_else(missing)?;
                self.who.may(Action::ManageAccounts, account.institution)?;
            }
        }
        self.archive.block_on(registry.revoke_token(bytes, self.archive.now()))?;
        let token = self.archive.block_on(registry.token(bytes))?.ok_or_else(missing)?;
        Ok(view::token(&token))
    }

    fn exchange(&self) -> Result<Value, Error> {
        let Who::Account(caller) = self.who else {
            return Err(Error::usage("a one-time token is exchanged at its server"));
        };
        let refused = || Error::refused(Code::Forbidden, "this is no one-time token");
        if !caller.once {
            return Err(refused());
        }
        let seconds = i64::from(EXCHANGED_DAYS) * DAY_SECONDS;
        let account = caller.account.id;
        let (shown, token) =
            new_token(self.archive, account, "administrator", &caller.scopes, seconds)?;
        let registry = self.archive.registry();
        let exchange = registry.exchange_token(caller.token, &token, self.archive.now());
        match self.archive.block_on(exchange)? {
            true => Ok(shown_once(&shown, &token)),
            false => Err(refused()),
        }
    }

    /// Of which institution a list tells.
    fn listed(&self, action: Action, name: Option<&str>) -> Result<Option<InstitutionId>, Error> {
        match name {
            None => self.who.all_or_own(action),
            Some(name) => Ok(Some(self.institution(action, name)?.id)),
        }
    }

    pub(crate) fn institution(&self, action: Action, name: &str) -> Result<Institution, Error> {
        self.who.may_by_name(action, name)?;
        let found = self.archive.block_on(self.archive.registry().institution_by_name(name))?;
        found.ok_or_else(|| Error::not_found(format!("no institution is `{name}`")))
    }

    pub(crate) fn account(
        &self,
        action: Action,
        text: &str,
    ) -> Result<(Institution, Account), Error> {
        let name: ObjectName = text.parse()?;
        let institution = self.institution(action, name.institution())?;
        let registry = self.archive.registry();
        let account =
            self.archive.block_on(registry.account_by_name(institution.id, name.name()))?;
        let missing = || Error::not_found(format!("no account is `{name}`"));
        Ok((institution, account.ok_or_else(missing)?))
    }

    /// An object by its name or the beginning of its id. Of another's name it is not said whether there
    /// is such an object to who may not know.
    pub(crate) fn object(&self, action: Action, text: &str) -> Result<Object, Error> {
        let name = match text.split_once('/') {
            Some(_) => text.to_string(),
            None => format!("{}/{text}", self.who.institution_name()),
        };
        if let Ok(name) = name.parse::<ObjectName>() {
            let found = self.archive.block_on(self.archive.registry().object_by_name(&name))?;
            if text.contains('/') || found.is_some() {
                self.who.may_by_name(action, name.institution())?;
            }
            if let Some(object) = found {
                return Ok(object);
            }
        }
        let object = self.archive.find_object(text)?;
        self.who.may(action, object.institution)?;
        Ok(object)
    }

    /// The version of `OBJECT@NUMBER`, or the latest of `OBJECT`.
    pub(crate) fn version(&self, action: Action, text: &str) -> Result<(Object, Version), Error> {
        let (name, number) = match text.rsplit_once('@') {
            None => (text, None),
            Some((name, number)) => (name, Some(number)),
        };
        let object = self.object(action, name)?;
        let exact = match number {
            None => object.id.to_string(),
            Some(number) => format!("{}@{number}", object.id),
        };
        match self.archive.find_version(&exact) {
            Ok(found) => Ok(found),
            Err(strongroom_intake::Error::NotFound { what, .. }) => {
                Err(strongroom_intake::Error::NotFound { what, name: text.into() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn work(&self, action: Action, id: &str) -> Result<WorkItem, Error> {
        let item = self.archive.find_work(id)?;
        self.who.may(action, item.institution)?;
        Ok(item)
    }
}

fn new_account(archive: &Archive, institution: InstitutionId, name: &str, role: Role) -> Account {
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the system's random source works");
    Account {
        id,
        institution,
        name: name.into(),
        role: role.word().into(),
        state: AccountState::Active.word().into(),
        created: archive.now(),
    }
}

/// A token as it is shown, and as it is kept.
fn new_token(
    archive: &Archive,
    account: [u8; 16],
    name: &str,
    scopes: &[Scope],
    seconds: i64,
) -> Result<(String, Token), Error> {
    if name.is_empty()
        || name.len() > strongroom_registry::NAME_BYTES_MAX
        || name.chars().any(char::is_control)
    {
        return Err(Error::usage("a token's name is 1 to 200 bytes of text"));
    }
    let shown = new_secret();
    let mut id = [0; 16];
    getrandom::fill(&mut id).expect("the system's random source works");
    let sha256: Sha256 = secret_hash(&shown).expect("a token that was just made is one");
    let created = archive.now();
    let token = Token {
        id,
        account,
        name: name.into(),
        sha256,
        scopes: Scope::words(scopes),
        once: false,
        created,
        expires: Some(created.plus_seconds(seconds)),
        last_used: None,
        revoked: None,
    };
    Ok((shown, token))
}

/// The one time that a token is told.
fn shown_once(shown: &str, token: &Token) -> Value {
    let mut json = view::token(token);
    json["token"] = shown.into();
    json
}

/// The cursor of a page, as it was given by the page before.
fn cursor<T: std::str::FromStr>(after: &Option<String>) -> Result<Option<T>, Error> {
    let bad = |text: &String| Error::usage(format!("no page begins after `{text}`"));
    after.as_ref().map(|text| text.parse().map_err(|_| bad(text))).transpose()
}

/// A list that is whole.
fn all(items: impl IntoIterator<Item = Value>) -> Value {
    json!({ "items": items.into_iter().collect::<Vec<_>>(), "next": null })
}

/// A page; where it is full there may be another, from `next` on.
fn page(items: Vec<Value>, limit: u32, next: Option<String>) -> Value {
    let next = next.filter(|_| items.len() >= limit as usize);
    json!({ "items": items, "next": next })
}
