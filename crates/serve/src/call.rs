//! What can be asked of an archive, in one type: by HTTP, and by the command line, whether the archive
//! is on this machine or behind a server.

use crate::uri::{escape, query};
use serde_json::{Value, json};
use strongroom_intake::Form;
use strongroom_record::{SegmentId, Stage, WorkKind, WorkStatus};
use strongroom_text::sentiment::rules::Rule;

/// Rows of a page, where no fewer are asked for, and the most there are.
pub const PAGE_ROWS_MAX: u32 = 1000;
/// Segments that one call can name.
pub const SEGMENTS_MAX: usize = 100;
/// Where the API begins.
pub const PREFIX: &str = "/api/v1";

/// Whose events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum EventsOf {
    /// An object's.
    Object(String),
    /// An institution's whole chain.
    Institution(String),
}

/// A call that is answered with one JSON value.
///
/// An object is `institution/name` or the beginning of an id, with `@NUMBER` for a version; an account
/// `institution/name`. A list's answer is `{"items": [...], "next": CURSOR}`; `next` is null at its end,
/// else what the next page's `after` is.
#[derive(Clone, PartialEq, Debug)]
pub enum Call {
    /// Who the caller is.
    Me,
    /// Objects, of one institution or of all that the caller may see.
    Objects {
        /// Its name.
        institution: Option<String>,
        /// The cursor.
        after: Option<String>,
        /// Rows of the page.
        limit: u32,
    },
    /// An object with its versions.
    Object(String),
    /// Its published versions alone.
    Versions(String),
    /// Files of a version.
    Files {
        /// The object, or a version of it.
        object: String,
        /// The cursor.
        after: Option<String>,
        /// Rows of the page.
        limit: u32,
    },
    /// Where segments of an object stand.
    Segments {
        /// The object.
        object: String,
        /// At most [`SEGMENTS_MAX`].
        ids: Vec<SegmentId>,
    },
    /// Events.
    Events {
        /// Whose.
        of: EventsOf,
        /// The cursor.
        after: Option<String>,
        /// Rows of the page.
        limit: u32,
    },
    /// Whether a chain of events holds.
    Verify(EventsOf),
    /// Work items.
    Work {
        /// Only of this institution.
        institution: Option<String>,
        /// Only with this status.
        status: Option<WorkStatus>,
        /// Only of this kind.
        kind: Option<WorkKind>,
        /// The cursor.
        after: Option<String>,
        /// Rows of the page.
        limit: u32,
    },
    /// A work item, by an abbreviated id.
    WorkItem(String),
    /// Puts an item back into the queue.
    Requeue {
        /// Its abbreviated id.
        id: String,
        /// At this stage.
        stage: Option<Stage>,
    },
    /// Gives an item up.
    Cancel(String),
    /// Brings a version back, to be fetched from the server.
    Restore {
        /// The object, or a version of it.
        object: String,
        /// In which form.
        form: Form,
    },
    /// The state of the archive.
    Status,
    /// Shelves with their room.
    Shelves,
    /// Institutions.
    Institutions,
    /// Makes an institution and its key.
    AddInstitution(String),
    /// Accounts, of one institution or of all that the caller may see.
    Accounts(Option<String>),
    /// Makes an account.
    AddAccount {
        /// `institution/name`.
        account: String,
        /// Its role.
        role: String,
    },
    /// Lets an account act, or not.
    SetAccount {
        /// `institution/name`.
        account: String,
        /// `active` or `disabled`.
        state: String,
    },
    /// Tokens of an account, else the caller's own.
    Tokens(Option<String>),
    /// Makes a token, which is told this once.
    CreateToken {
        /// For whom, if not for the caller.
        account: Option<String>,
        /// What people call it.
        name: String,
        /// What it may be used for, words parted by spaces; else all that the caller's may.
        scopes: Option<String>,
        /// How many days it counts.
        days: u32,
    },
    /// Revokes a token, by its id.
    RevokeToken(String),
    /// The caller's rules for texts.
    TextRules,
    /// Adds one, from the next commit on.
    AddTextRule(Rule),
    /// Takes one out, with the next commit.
    DeleteTextRule(u64),
    /// Lets what waits take effect.
    CommitTextRules,
    /// What an account used of texts.
    TextUsage {
        /// Whose, if not the caller's.
        account: Option<String>,
        /// Of how many days, today included.
        days: u32,
    },
    /// Sets what an account may have analysed in a day.
    SetTextQuota {
        /// `institution/name`.
        account: String,
        /// Texts; as many as it likes where nothing is said.
        texts_per_day: Option<u64>,
        /// Bytes, likewise.
        bytes_per_day: Option<u64>,
    },
    /// Exchanges the one-time token that is shown for a lasting one.
    ExchangeToken,
}

/// A call as it is sent.
#[derive(Clone, PartialEq, Debug)]
pub struct Request {
    /// `GET`, `POST` or `DELETE`.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// What is posted.
    pub body: Option<Value>,
}

/// The path of an object, or of something of it.
pub fn object_path(object: &str, rest: &str) -> String {
    format!("{PREFIX}/objects/{}{rest}", escape(object.as_bytes()))
}

impl Call {
    /// The call as HTTP has it.
    pub fn request(&self) -> Request {
        let get = |target: String| Request { method: "GET", target, body: None };
        let post = |path: String, body| Request { method: "POST", target: path, body: Some(body) };
        let at = |path: &str| format!("{PREFIX}{path}");
        let one = |path: &str, id: &str, rest: &str| {
            format!("{PREFIX}{path}/{}{rest}", escape(id.as_bytes()))
        };
        let text = |value: &Option<String>| value.clone();
        let of = |of: &EventsOf| match of {
            EventsOf::Object(name) => ("object", Some(name.clone())),
            EventsOf::Institution(name) => ("institution", Some(name.clone())),
        };
        match self {
            Call::Me => get(at("/me")),
            Call::Objects { institution, after, limit } => get(at("/objects")
                + &query(&[
                    ("institution", text(institution)),
                    ("after", text(after)),
                    ("limit", Some(limit.to_string())),
                ])),
            Call::Object(object) => get(object_path(object, "")),
            Call::Versions(object) => get(object_path(object, "/versions")),
            Call::Files { object, after, limit } => get(object_path(object, "/files")
                + &query(&[("after", text(after)), ("limit", Some(limit.to_string()))])),
            Call::Segments { object, ids } => {
                let ids: Vec<_> = ids.iter().map(ToString::to_string).collect();
                get(object_path(object, "/segments") + &query(&[("ids", Some(ids.join(",")))]))
            }
            Call::Events { of: whose, after, limit } => get(at("/events")
                + &query(&[of(whose), ("after", text(after)), ("limit", Some(limit.to_string()))])),
            Call::Verify(whose) => get(at("/events/verify") + &query(&[of(whose)])),
            Call::Work { institution, status, kind, after, limit } => get(at("/work")
                + &query(&[
                    ("institution", text(institution)),
                    ("status", status.map(|s| s.to_string())),
                    ("kind", kind.map(|k| k.to_string())),
                    ("after", text(after)),
                    ("limit", Some(limit.to_string())),
                ])),
            Call::WorkItem(id) => get(one("/work", id, "")),
            Call::Requeue { id, stage } => {
                post(one("/work", id, "/requeue"), json!({ "stage": stage }))
            }
            Call::Cancel(id) => post(one("/work", id, "/cancel"), json!({})),
            Call::Restore { object, form } => {
                post(at("/restorations"), json!({ "object": object, "as": form }))
            }
            Call::Status => get(at("/status")),
            Call::Shelves => get(at("/shelves")),
            Call::Institutions => get(at("/institutions")),
            Call::AddInstitution(name) => post(at("/institutions"), json!({ "name": name })),
            Call::Accounts(institution) => {
                get(at("/accounts") + &query(&[("institution", text(institution))]))
            }
            Call::AddAccount { account, role } => {
                post(at("/accounts"), json!({ "account": account, "role": role }))
            }
            Call::SetAccount { account, state } => {
                post(one("/accounts", account, ""), json!({ "state": state }))
            }
            Call::Tokens(account) => get(at("/tokens") + &query(&[("account", text(account))])),
            Call::CreateToken { account, name, scopes, days } => post(
                at("/tokens"),
                json!({ "account": account, "name": name, "scopes": scopes, "days": days }),
            ),
            Call::RevokeToken(id) => {
                Request { method: "DELETE", target: one("/tokens", id, ""), body: None }
            }
            Call::TextRules => get(at("/text/rules")),
            Call::AddTextRule(rule) => post(at("/text/rules"), json!(rule)),
            Call::DeleteTextRule(id) => {
                let target = one("/text/rules", &id.to_string(), "");
                Request { method: "DELETE", target, body: None }
            }
            Call::CommitTextRules => post(at("/text/rules/commit"), json!({})),
            Call::TextUsage { account, days } => get(at("/text/usage")
                + &query(&[("account", text(account)), ("days", Some(days.to_string()))])),
            Call::SetTextQuota { account, texts_per_day, bytes_per_day } => post(
                at("/text/quota"),
                json!({
                    "account": account,
                    "texts_per_day": texts_per_day,
                    "bytes_per_day": bytes_per_day,
                }),
            ),
            Call::ExchangeToken => post(at("/tokens/exchange"), json!({})),
        }
    }
}
