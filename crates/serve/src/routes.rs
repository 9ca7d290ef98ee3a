//! The routes: one table, from which the router is made, and the document that describes it.

use crate::app::{App, internal};
use crate::call::{Call, EventsOf, PAGE_ROWS_MAX, PREFIX};
use crate::texts::{self, About};
use crate::who::Who;
use crate::{Error, answer, content, deposits, metrics, openapi, progress, restorations, uri};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Extension, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::IntoResponse as _;
use axum::routing::{MethodFilter, on};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use strongroom_intake::Code;

/// Bytes of a JSON body.
pub const JSON_BYTES_MAX: usize = 64 << 10;
/// Time in which a JSON body must be there whole.
pub const JSON_SECONDS_MAX: u64 = 30;

/// Time in which the body of a request that is refused is taken, in seconds.
const REFUSED_SECONDS_MAX: u64 = 1;

/// From where a request comes.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub IpAddr);

/// A request, its parts read.
pub(crate) struct Asked {
    pub(crate) who: Who,
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    path: HashMap<&'static str, Vec<u8>>,
    query: HashMap<String, String>,
    json: Value,
    /// Who sends texts, on routes that take them.
    pub(crate) client: Option<Arc<texts::Client>>,
    pub(crate) body: Body,
}

pub(crate) type Answering =
    Pin<Box<dyn Future<Output = Result<Response<Body>, Error>> + Send + 'static>>;

/// How a route is answered.
#[derive(Clone, Copy)]
pub(crate) enum Does {
    /// With what a call gives.
    Asks(fn(&Asked) -> Result<Call, Error>),
    /// In its own way.
    Runs(fn(App, Asked) -> Answering),
}

/// A route, with what the document says of it.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    pub(crate) summary: &'static str,
    /// Whether it is answered without a token.
    pub(crate) open: bool,
    /// Names of query parameters; `!` after one that must be there.
    pub(crate) query: &'static [&'static str],
    /// Schema of the JSON that is posted, where JSON is.
    pub(crate) takes: Option<&'static str>,
    pub(crate) status: u16,
    /// Schema of the answer, or its media type.
    pub(crate) gives: &'static str,
    /// Whether texts are sent there: it takes turns by token, and asks no registry for each call.
    pub(crate) texts: bool,
    pub(crate) does: Does,
}

macro_rules! asks {
    ($method:literal $path:literal, $summary:literal, $query:expr, $takes:expr, $gives:literal, $call:expr) => {
        Route {
            method: $method,
            path: $path,
            summary: $summary,
            open: false,
            query: $query,
            takes: $takes,
            status: 200,
            gives: $gives,
            texts: false,
            does: Does::Asks($call),
        }
    };
}

macro_rules! texts {
    ($path:literal, $summary:literal, $about:ident) => {
        Route {
            method: "POST",
            path: $path,
            summary: $summary,
            open: false,
            query: &[],
            takes: Some("Texts"),
            status: 200,
            gives: "TextAnswer",
            texts: true,
            does: Does::Runs(|app, asked| Box::pin(texts::look(app, asked, About::$about))),
        }
    };
}

macro_rules! runs {
    ($open:literal $method:literal $path:literal, $summary:literal, $query:expr, $status:literal, $gives:literal, $run:expr) => {
        Route {
            method: $method,
            path: $path,
            summary: $summary,
            open: $open,
            query: $query,
            takes: None,
            status: $status,
            gives: $gives,
            texts: false,
            does: Does::Runs(|app, asked| Box::pin($run(app, asked))),
        }
    };
}

const PAGED: &[&str] = &["after", "limit"];

/// Every route. What is not here is not there.
#[rustfmt::skip]
pub(crate) const ROUTES: &[Route] = &[
    runs!(true "GET" "/health/live", "Whether the process answers", &[], 200, "text/plain", live),
    runs!(true "GET" "/health/ready", "Whether the registry answers and shelves are there to write to", &[], 200, "Ready", ready),
    runs!(false "GET" "/metrics", "Counts for a monitor, in Prometheus' text form", &[], 200, "text/plain", measured),
    runs!(true "GET" "/api/v1/openapi.json", "This document", &[], 200, "Document", document),
    asks!("GET" "/api/v1/me", "Who the token's account is", &[], None, "Me", |_| Ok(Call::Me)),
    asks!("GET" "/api/v1/objects", "List objects", &["institution", "after", "limit"], None, "Objects",
        |a| Ok(Call::Objects { institution: a.text("institution"), after: a.text("after"), limit: a.limit()? })),
    asks!("GET" "/api/v1/objects/{object}", "Show an object with its versions", &[], None, "Object",
        |a| Ok(Call::Object(a.named("object")?))),
    asks!("GET" "/api/v1/objects/{object}/versions", "List an object's versions", &[], None, "Versions",
        |a| Ok(Call::Versions(a.named("object")?))),
    asks!("GET" "/api/v1/objects/{object}/files", "List a version's files", PAGED, None, "Files",
        |a| Ok(Call::Files { object: a.named("object")?, after: a.text("after"), limit: a.limit()? })),
    asks!("GET" "/api/v1/objects/{object}/segments", "Say where segments of an object stand", &["ids!"], None, "Segments",
        |a| Ok(Call::Segments { object: a.named("object")?, ids: a.list("ids")? })),
    runs!(false "GET" "/api/v1/objects/{object}/bytes/{*path}", "Read a file, or a range of it", &[], 200, "application/octet-stream", content::file),
    asks!("GET" "/api/v1/events", "List events of an object, or of an institution", &["object", "institution", "after", "limit"], None, "Events",
        |a| Ok(Call::Events { of: a.events_of()?, after: a.text("after"), limit: a.limit()? })),
    asks!("GET" "/api/v1/events/verify", "Compute a chain of events anew", &["object", "institution"], None, "Chain",
        |a| Ok(Call::Verify(a.events_of()?))),
    asks!("GET" "/api/v1/work", "List work items", &["institution", "status", "kind", "after", "limit"], None, "Works",
        |a| Ok(Call::Work { institution: a.text("institution"), status: a.word("status")?, kind: a.word("kind")?, after: a.text("after"), limit: a.limit()? })),
    asks!("GET" "/api/v1/work/{id}", "Show a work item", &[], None, "Work", |a| Ok(Call::WorkItem(a.named("id")?))),
    asks!("POST" "/api/v1/work/{id}/requeue", "Put a work item back into the queue", &[], Some("Requeue"), "Work",
        |a| Ok(Call::Requeue { id: a.named("id")?, stage: a.field("stage")? })),
    asks!("POST" "/api/v1/work/{id}/cancel", "Give a work item up", &[], Some("Nothing"), "Work", |a| Ok(Call::Cancel(a.named("id")?))),
    runs!(false "GET" "/api/v1/work/{id}/progress", "Watch a work item, as server-sent events", &[], 200, "text/event-stream", progress::watch),
    runs!(false "POST" "/api/v1/deposits", "Deposit a tar, plain or compressed, which is the body", &["object!", "policy", "accept_degraded", "origin"], 202, "Deposit", deposits::receive),
    asks!("POST" "/api/v1/restorations", "Bring a version back, to be fetched here", &[], Some("Restore"), "Work",
        |a| Ok(Call::Restore { object: a.needed("object")?, form: a.needed("as")? })),
    runs!(false "GET" "/api/v1/restorations/{id}", "Show a restoration, and whether it can be fetched", &[], 200, "Restoration", restorations::show),
    runs!(false "GET" "/api/v1/restorations/{id}/content", "Fetch what was brought back: a tar, or a folder as a tar", &[], 200, "application/x-tar", restorations::fetch),
    asks!("GET" "/api/v1/status", "Show the state of the archive", &[], None, "Status", |_| Ok(Call::Status)),
    asks!("GET" "/api/v1/shelves", "List shelves, with their room", &[], None, "Shelves", |_| Ok(Call::Shelves)),
    asks!("GET" "/api/v1/institutions", "List institutions", &[], None, "Institutions", |_| Ok(Call::Institutions)),
    asks!("POST" "/api/v1/institutions", "Make an institution and its key", &[], Some("AddInstitution"), "Institution",
        |a| Ok(Call::AddInstitution(a.needed("name")?))),
    asks!("GET" "/api/v1/accounts", "List accounts", &["institution"], None, "Accounts", |a| Ok(Call::Accounts(a.text("institution")))),
    asks!("POST" "/api/v1/accounts", "Make an account", &[], Some("AddAccount"), "Account",
        |a| Ok(Call::AddAccount { account: a.needed("account")?, role: a.needed("role")? })),
    asks!("POST" "/api/v1/accounts/{account}", "Let an account act, or not", &[], Some("SetAccount"), "Account",
        |a| Ok(Call::SetAccount { account: a.named("account")?, state: a.needed("state")? })),
    asks!("GET" "/api/v1/tokens", "List an account's tokens", &["account"], None, "Tokens", |a| Ok(Call::Tokens(a.text("account")))),
    asks!("POST" "/api/v1/tokens", "Make a token, which is told this once", &[], Some("CreateToken"), "NewToken",
        |a| Ok(Call::CreateToken { account: a.field("account")?, name: a.needed("name")?, scopes: a.field("scopes")?, days: a.field("days")?.unwrap_or(DAYS) })),
    asks!("DELETE" "/api/v1/tokens/{id}", "Revoke a token", &[], None, "Token", |a| Ok(Call::RevokeToken(a.named("id")?))),
    texts!("/api/v1/text/analyze", "Say all there is to say of a text, or of several: language, sentences, words, sentiment", All),
    texts!("/api/v1/text/language", "Say what language texts are in", Language),
    texts!("/api/v1/text/tag", "Find sentences and words, with parts of speech and lemmas", Tags),
    texts!("/api/v1/text/sentiment", "Say how texts speak of their subject", Sentiment),
    texts!("/api/v1/text/entities", "Find names of persons, organisations and places in texts", Entities),
    texts!("/api/v1/text/chunks", "Find the phrases of texts that speak for or against", Chunks),
    texts!("/api/v1/text/themes", "Find phrases that tell what texts are about", Themes),
    texts!("/api/v1/text/topics", "Say how texts speak of things that are asked about", Topics),
    texts!("/api/v1/text/filter", "Say which rules match texts, and where", Filter),
    Route { texts: true, ..runs!(false "POST" "/api/v1/text/html", "Take the main text out of a page, which is the body", &["keep"], 200, "Page", texts::clean) },
    asks!("GET" "/api/v1/text/rules", "List the account's own rules for sentiment, and the changes that wait", &[], None, "TextRules", |_| Ok(Call::TextRules)),
    asks!("POST" "/api/v1/text/rules", "Add a rule, which holds from the next commit on", &[], Some("TextRule"), "TextRuleId", |a| Ok(Call::AddTextRule(a.whole()?))),
    asks!("DELETE" "/api/v1/text/rules/{id}", "Take a rule out, with the next commit", &[], None, "TextRuleId", |a| Ok(Call::DeleteTextRule(a.number("id")?))),
    asks!("POST" "/api/v1/text/rules/commit", "Let what was added and deleted take effect, all at once", &[], Some("Nothing"), "TextRevision", |_| Ok(Call::CommitTextRules)),
    runs!(false "GET" "/api/v1/text/rules/book", "Fetch the rules as one file", &[], 200, "TextBook", texts::book),
    Route { takes: Some("TextBook"), ..runs!(false "POST" "/api/v1/text/rules/book", "Bring the rules as one file, from here or another server: the newer ones hold", &[], 200, "TextRevision", texts::replace_book) },
    asks!("GET" "/api/v1/text/usage", "Say how many texts an account had analysed, by days of UTC", &["account", "days"], None, "TextUsage",
        |a| Ok(Call::TextUsage { account: a.text("account"), days: a.parsed("days")?.unwrap_or(USAGE_DAYS) })),
    asks!("POST" "/api/v1/text/quota", "Set how many texts an account may have analysed in a day of UTC", &[], Some("SetTextQuota"), "TextQuota",
        |a| Ok(Call::SetTextQuota { account: a.needed("account")?, texts_per_day: a.field("texts_per_day")?, bytes_per_day: a.field("bytes_per_day")? })),
    asks!("POST" "/api/v1/tokens/exchange", "Exchange the one-time token that is shown for a lasting one", &[], Some("Nothing"), "NewToken", |_| Ok(Call::ExchangeToken)),
];

/// Of how many days it is told what was used, where nothing is said.
pub const USAGE_DAYS: u32 = 31;

/// How many days a token counts where nothing is said.
pub const DAYS: u32 = 90;

/// The router of all routes, and of those that other rooms gave.
pub(crate) fn router(app: &App, mounted: Vec<(&'static str, Router)>) -> Router {
    let mut router = Router::new();
    let mut known = Router::new();
    for route in ROUTES {
        let handler =
            move |State(app): State<App>, who: Option<Extension<Who>>, request: Request| {
                let who = who.map(|Extension(who)| who);
                async move { respond(app, route, who, request).await }
            };
        let routed = on(filter(route.method), handler);
        match route.open {
            true => router = router.route(route.path, routed),
            false => known = known.route(route.path, routed),
        }
    }
    for (path, other) in mounted {
        known = known.nest_service(path, other);
    }
    known = known.layer(from_fn_with_state(app.clone(), known_only));
    let nothing = || async { Error::not_found("there is nothing at this address") };
    let otherwise = || async {
        let why = "this method is not known here";
        crate::error::problem(StatusCode::METHOD_NOT_ALLOWED, Code::Usage, why)
    };
    (router.merge(known).fallback(nothing))
        .method_not_allowed_fallback(otherwise)
        .layer(from_fn_with_state(app.clone(), count))
        .with_state(app.clone())
}

fn filter(method: &str) -> MethodFilter {
    match method {
        "POST" => MethodFilter::POST,
        "DELETE" => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    }
}

/// Bounds what comes from one address, and counts what is answered.
async fn count(State(app): State<App>, mut request: Request, next: Next) -> Response<Body> {
    let began = Instant::now();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        _ => "other",
    };
    let route = request.extensions().get::<MatchedPath>().map(|path| path.as_str().to_string());
    let mut response = match admit(&app, route.as_deref(), &mut request) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    // What is served is data, whatever it looks like.
    let nosniff = HeaderValue::from_static("nosniff");
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, nosniff);
    let route = route.as_deref().unwrap_or("none");
    app.metrics.request(method, route, response.status().as_u16(), began.elapsed());
    response
}

/// Whether texts are sent to an address.
fn takes_texts(path: &str) -> bool {
    static PATHS: LazyLock<HashSet<&str>> = LazyLock::new(|| {
        ROUTES.iter().filter(|route| route.texts).map(|route| route.path).collect()
    });
    PATHS.contains(path)
}

/// Whether there is a turn for a request: of whoever sends texts, where that is known, else of its address.
fn admit(app: &App, route: Option<&str>, request: &mut Request) -> Result<(), Error> {
    if route.is_some_and(takes_texts)
        && let Some(client) = texts::known(app, request.headers())?
    {
        request.extensions_mut().insert(client);
        return Ok(());
    }
    match request.extensions().get::<Peer>() {
        Some(Peer(address)) => app.admit(*address),
        None => Err(internal("a request from nowhere")),
    }
}

/// Whoever shows a token: an account, or one that sends texts, which is then kept for [`texts::look`].
async fn asker(app: &App, request: &mut Request, address: IpAddr) -> Result<Who, Error> {
    if let Some(client) = request.extensions().get::<Arc<texts::Client>>() {
        return Ok(client.who.clone());
    }
    let route = request.extensions().get::<MatchedPath>();
    if !route.is_some_and(|path| takes_texts(path.as_str())) {
        return app.who(request.headers(), address).await;
    }
    let client = texts::look_up(app, request.headers(), address).await?;
    let who = client.who.clone();
    request.extensions_mut().insert(client);
    Ok(who)
}

/// Lets those pass who show a token.
async fn known_only(State(app): State<App>, mut request: Request, next: Next) -> Response<Body> {
    let Some(Peer(address)) = request.extensions().get::<Peer>().copied() else {
        return internal("a request from nowhere").into_response();
    };
    match asker(&app, &mut request, address).await {
        Ok(who) => {
            request.extensions_mut().insert(who);
            next.run(request).await
        }
        Err(error) => {
            taken(request).await;
            error.into_response()
        }
    }
}

/// Takes what is small of a body that nobody wants: a connection that is closed on bytes not yet taken
/// may lose the answer to them.
async fn taken(request: Request) {
    let headers = request.headers();
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let small = length
        .and_then(|text| text.parse::<usize>().ok())
        .is_some_and(|length| length <= JSON_BYTES_MAX);
    // Who asks first whether to send a body does not send it.
    if small && !headers.contains_key(header::EXPECT) {
        let rest = Limited::new(request.into_body(), JSON_BYTES_MAX).collect();
        let _ = tokio::time::timeout(Duration::from_secs(REFUSED_SECONDS_MAX), rest).await;
    }
}

async fn respond(
    app: App,
    route: &'static Route,
    who: Option<Who>,
    request: Request,
) -> Result<Response<Body>, Error> {
    let (mut parts, body) = request.into_parts();
    let who = match who {
        Some(who) => who,
        None if route.open => Who::Nobody,
        None => return Err(internal("a route without its guard")),
    };
    let query = uri::pairs(parts.uri.query().unwrap_or_default())
        .ok_or_else(|| Error::usage("the query is not text, or says one thing twice"))?;
    let named = |name: &&String| !route.query.iter().any(|q| q.trim_end_matches('!') == *name);
    if let Some(unknown) = query.keys().find(named) {
        return Err(Error::usage(format!("`{unknown}` is no parameter of this")));
    }
    let path = matched(route.path, parts.uri.path())
        .ok_or_else(|| Error::usage("the path is not rightly encoded"))?;
    let (json, body) = match (route.takes, route.does) {
        (Some(_), Does::Asks(_)) => (read_json(&app, &parts.headers, body).await?, Body::empty()),
        _ => (Value::Null, body),
    };
    let client = parts.extensions.remove::<Arc<texts::Client>>();
    let (method, headers) = (parts.method, parts.headers);
    let asked = Asked { who, method, headers, path, query, json, client, body };
    match route.does {
        Does::Runs(run) => run(app, asked).await,
        Does::Asks(call) => {
            let call = call(&asked)?;
            let who = asked.who;
            let (used, changes) = (matches!(call, Call::TextUsage { .. }), route.method != "GET");
            let texts = app.clone();
            let value = app.blocking(move |archive| {
                if used {
                    texts::write_down(&texts, archive);
                }
                answer(archive, &who, &call)
            });
            let value = value.await?;
            if changes {
                // What is known of who sends texts may hold no longer.
                app.texts.clients.forget();
            }
            Ok(json_response(route.status, &value))
        }
    }
}

/// What stands in a path at the names of its pattern, as bytes.
fn matched(pattern: &'static str, path: &str) -> Option<HashMap<&'static str, Vec<u8>>> {
    let (mut named, mut rest) = (HashMap::new(), Some(path));
    for part in pattern.split('/') {
        if let Some(name) = part.strip_prefix("{*") {
            named.insert(name.strip_suffix('}')?, uri::unescape(rest?)?);
            return Some(named);
        }
        let (now, later) = match rest?.split_once('/') {
            Some((now, later)) => (now, Some(later)),
            None => (rest?, None),
        };
        if let Some(name) = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            named.insert(name, uri::unescape(now)?);
        }
        rest = later;
    }
    Some(named)
}

/// Refuses a body that is not said to be JSON.
pub(crate) fn expect_json(headers: &HeaderMap) -> Result<(), Error> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.split(';').next().is_some_and(|k| k.trim() == "application/json"));
    match is_json {
        true => Ok(()),
        false => Err(Error::usage("the body must be JSON: Content-Type: application/json")),
    }
}

/// A body of so many bytes at most, which must be there in this time.
pub(crate) async fn read_whole(
    app: &App,
    body: Body,
    bytes_max: usize,
    seconds_max: u64,
) -> Result<Bytes, Error> {
    let read = Limited::new(body, bytes_max).collect();
    let read = tokio::time::timeout(Duration::from_secs(seconds_max), read).await;
    let read =
        read.map_err(|_| app.bound("body-time", Error::usage("the body did not come in time")))?;
    match read {
        Ok(read) => Ok(read.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            let why = format!("the body has at most {bytes_max} bytes");
            Err(app.bound("body-bytes", Error::refused(Code::TooLarge, why)))
        }
        Err(_) => Err(Error::usage("the body ends early")),
    }
}

async fn read_json(app: &App, headers: &HeaderMap, body: Body) -> Result<Value, Error> {
    expect_json(headers)?;
    let bytes = read_whole(app, body, JSON_BYTES_MAX, JSON_SECONDS_MAX).await?;
    let value: Value = serde_json::from_slice(&bytes)
        .map_err(|error| Error::usage(format!("the body is no JSON: {error}")))?;
    match value.is_object() {
        true => Ok(value),
        false => Err(Error::usage("the body must be a JSON object")),
    }
}

pub(crate) fn json_response(status: u16, value: &Value) -> Response<Body> {
    let mut response = Response::new(Body::from(value.to_string()));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::OK);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl Asked {
    /// What stands in the path under this name, as bytes.
    pub(crate) fn bytes(&self, name: &str) -> &[u8] {
        self.path.get(name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn named(&self, name: &str) -> Result<String, Error> {
        String::from_utf8(self.bytes(name).to_vec())
            .map_err(|_| Error::usage(format!("`{name}` is not text")))
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.query.get(name).cloned()
    }

    pub(crate) fn parsed<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Error> {
        let bad = |text: &String| Error::usage(format!("`{name}` cannot be `{text}`"));
        self.query.get(name).map(|text| text.parse().map_err(|_| bad(text))).transpose()
    }

    fn word<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let bad = |text: &String| Error::usage(format!("`{name}` cannot be `{text}`"));
        let word = |text: &String| serde_json::from_value(Value::String(text.clone()));
        self.query.get(name).map(|text| word(text).map_err(|_| bad(text))).transpose()
    }

    /// The number that stands in the path.
    fn number(&self, name: &str) -> Result<u64, Error> {
        let text = self.named(name)?;
        text.parse().map_err(|_| Error::usage(format!("`{name}` is a number, not `{text}`")))
    }

    /// All that was posted.
    fn whole<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        T::deserialize(&self.json).map_err(|error| Error::usage(format!("the body: {error}")))
    }

    fn limit(&self) -> Result<u32, Error> {
        let limit = self.parsed("limit")?.unwrap_or(PAGE_ROWS_MAX);
        match (1..=PAGE_ROWS_MAX).contains(&limit) {
            true => Ok(limit),
            false => Err(Error::usage(format!("a page has 1 to {PAGE_ROWS_MAX} rows"))),
        }
    }

    fn list<T: std::str::FromStr>(&self, name: &str) -> Result<Vec<T>, Error> {
        let bad = |text: &str| Error::usage(format!("`{name}` cannot hold `{text}`"));
        let text = self.query.get(name).map_or("", String::as_str);
        let items = text.split(',').filter(|item| !item.is_empty());
        items.map(|item| item.parse().map_err(|_| bad(item))).collect()
    }

    fn events_of(&self) -> Result<EventsOf, Error> {
        match (self.text("object"), self.text("institution")) {
            (Some(object), None) => Ok(EventsOf::Object(object)),
            (None, Some(institution)) => Ok(EventsOf::Institution(institution)),
            (None, None) => Ok(EventsOf::Institution(self.who.institution_name().into())),
            (Some(_), Some(_)) => Err(Error::usage("name an object or an institution, not both")),
        }
    }

    /// A field of what was posted.
    fn field<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let value = self.json.get(name).cloned().unwrap_or(Value::Null);
        serde_json::from_value(value)
            .map_err(|error| Error::usage(format!("`{name}` of the body: {error}")))
    }

    fn needed<T: serde::de::DeserializeOwned>(&self, name: &str) -> Result<T, Error> {
        self.field(name)?.ok_or_else(|| Error::usage(format!("the body lacks `{name}`")))
    }
}

async fn live(_: App, _: Asked) -> Result<Response<Body>, Error> {
    Ok(Response::new(Body::from("live\n")))
}

/// Ready is who can take something in: the registry answers and may be written, and the shelves are there.
async fn ready(app: App, _: Asked) -> Result<Response<Body>, Error> {
    let stopping = app.stop.stopped();
    let state = app.blocking(|archive| {
        archive.block_on(archive.registry().archive())?;
        let missing: Vec<_> =
            archive.vault().missing().iter().map(|m| m.spec.name.clone()).collect();
        let writable = archive.vault().shelves().iter().filter(|s| !s.spec().read_only).count();
        Ok((missing, writable, archive.behind().is_some()))
    });
    let (registry, (missing, writable, read_only)) = match state.await {
        Ok(state) => (true, state),
        Err(_) => (false, (Vec::new(), 0, false)),
    };
    let is_ready = registry && !read_only && writable > 0 && missing.is_empty() && !stopping;
    let value = serde_json::json!({
        "ready": is_ready,
        "registry": registry,
        "read_only": read_only,
        "writable_shelves": writable,
        "missing_shelves": missing.len(),
        "stopping": stopping,
    });
    Ok(json_response(if is_ready { 200 } else { 503 }, &value))
}

async fn measured(app: App, asked: Asked) -> Result<Response<Body>, Error> {
    let gauges = app
        .blocking(move |archive| {
            asked.who.may_in_archive(crate::permit::Action::Status)?;
            metrics::Gauges::of(archive)
        })
        .await?;
    let mut response = Response::new(Body::from(metrics::text(&app, &gauges)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    Ok(response)
}

async fn document(_: App, _: Asked) -> Result<Response<Body>, Error> {
    Ok(json_response(200, &openapi::document()))
}

/// Where a thing of the API is, for a `Location`.
pub(crate) fn location(path: &str) -> Result<HeaderValue, Error> {
    HeaderValue::from_str(&format!("{PREFIX}{path}")).map_err(|_| internal("an address"))
}
