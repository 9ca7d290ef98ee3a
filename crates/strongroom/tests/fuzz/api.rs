//! The API: requests to the true router over a small archive, in this process.
//!
//! ```text
//! METHOD TARGET
//! header: value
//!
//! body
//! ```
//!
//! An input is a request in this form, without the version that HTTP adds. `{work}` and `{segment}` in the target
//! stand for ids that are there, and a token is shown where the input shows none, so that what lies behind both is reached.
//! Whatever comes, the answer is never the server's failure, and a refusal is a problem whose code docs/errors.md explains.

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, Response, Uri, header};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use strongroom_intake::{Archive, Code, Deposit, Form, Options, Runner, Stop};
use strongroom_record::WorkItem;
use strongroom_serve::{Call, Limits, Peer, Rate, Service, Who, answer};
use tower::ServiceExt as _;

/// What docs/errors.md says, whose sections are the codes that clients can know.
const ERRORS: &str = include_str!("../../../../docs/errors.md");

/// An archive behind its router.
struct World {
    runtime: tokio::runtime::Runtime,
    router: Router,
    token: String,
    work: String,
    segment: String,
    /// Paths that JSON is posted to.
    posts: Vec<String>,
    _place: tempfile::TempDir,
}

/// Made for the first input, and removed by [`end`].
static WORLD: Mutex<Option<World>> = Mutex::new(None);

fn world() -> MutexGuard<'static, Option<World>> {
    // A find is a panic, and the next input is tried all the same.
    let mut held = WORLD.lock().unwrap_or_else(PoisonError::into_inner);
    held.get_or_insert_with(World::new);
    held
}

/// A whole request.
pub(crate) fn request(input: &[u8]) -> String {
    world().as_ref().unwrap().ask(input)
}

/// A body, posted to everything that takes JSON.
pub(crate) fn body(input: &[u8]) -> String {
    let held = world();
    let world = held.as_ref().unwrap();
    let mut said = String::new();
    for path in &world.posts {
        let head = format!("POST {path}\ncontent-type: application/json\n\n");
        said.push_str(&brief(&world.ask(&[head.as_bytes(), input].concat())));
    }
    said
}

/// What is said in six letters, so that there is room for what each route says; without what is quoted and numbers.
fn brief(said: &str) -> String {
    let words = said.split(['\'', '`', '"']).step_by(2).flat_map(str::chars);
    let mut hasher = DefaultHasher::new();
    words.filter(|c| !c.is_ascii_digit()).for_each(|c| c.hash(&mut hasher));
    let hash = hasher.finish().to_be_bytes();
    hash.iter().take(6).map(|byte| char::from(b'a' + byte % 26)).collect()
}

/// Removes the archive.
pub(crate) fn end() {
    drop(WORLD.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl World {
    fn new() -> World {
        let place = tempfile::tempdir().unwrap();
        let archive =
            Archive::open_or_create(&Options::new(place.path().join("archive"))).unwrap().archive;
        let letters = place.path().join("letters");
        std::fs::create_dir(&letters).unwrap();
        std::fs::write(letters.join("june.txt"), "Dear archive\n".repeat(100)).unwrap();
        let deposit = Deposit {
            source: letters,
            object: "local/letters".into(),
            policy: None,
            accept_degraded: false,
            origin: None,
        };
        let item = archive.deposit(&deposit).unwrap();
        work_off(&archive, &item);
        let ask = |call: Call| answer(&archive, &Who::Local, &call).unwrap();
        ask(Call::AddInstitution("north".into()));
        ask(Call::AddAccount { account: "local/spare".into(), role: "observer".into() });
        // No input can disable the account that asks, for none knows its name.
        let mut name = [0; 16];
        getrandom::fill(&mut name).unwrap();
        let account = format!("local/desk-{:032x}", u128::from_le_bytes(name));
        ask(Call::AddAccount { account: account.clone(), role: "administrator".into() });
        let made = ask(Call::CreateToken {
            account: Some(account),
            name: "fuzz".into(),
            scopes: None,
            days: 1,
        });
        let restore = Call::Restore { object: "letters".into(), form: Form::Tar };
        let work = ask(restore)["id"].as_str().unwrap().to_string();
        work_off(&archive, &archive.find_work(&work).unwrap());
        let files = ask(Call::Files { object: "local/letters".into(), after: None, limit: 1 });
        let segment = files["items"][0]["extents"][0][0].as_str().unwrap().to_string();

        let all = Rate { per_second: 1e9, burst: 1e9 };
        let limits =
            Limits { token: all, address: all, stranger: all, texts: all, ..Limits::default() };
        let options = strongroom_serve::Options { workers: 0, limits };
        World {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            router: Service::new(&archive, options).router(&Stop::default()),
            token: format!("Bearer {}", made["token"].as_str().unwrap()),
            work,
            segment,
            posts: posts(),
            _place: place,
        }
    }

    /// What the answer to an input says; it panics where it is not as it must be.
    fn ask(&self, input: &[u8]) -> String {
        let request = match self.request(input) {
            Ok(request) => request,
            // The HTTP library refuses it before the router is asked.
            Err(why) => return format!("{:<12}{why}", "no-request"),
        };
        let head = request.method() == Method::HEAD;
        self.runtime.block_on(async {
            let answer = self.router.clone().oneshot(request).await.unwrap();
            let (parts, body) = Response::into_parts(answer);
            let status = parts.status.as_u16();
            let kind = parts.headers.get(header::CONTENT_TYPE);
            let kind = kind.map_or("", |kind| kind.to_str().unwrap()).to_string();
            if kind == "text/event-stream" {
                return format!("{:<12}{kind}", "fine"); // it may go on for an hour
            }
            let body = body.collect().await.expect("an answer comes whole").to_bytes();
            assert!(status < 500, "{status}: {}", String::from_utf8_lossy(&body));
            let told = || -> Value { serde_json::from_slice(&body).expect("JSON that is told of") };
            if status < 400 {
                if kind == "application/json" && !head {
                    assert!(told().is_object());
                }
                return format!("{:<12}{kind}", "fine");
            }
            assert_eq!(kind, "application/problem+json", "{status}");
            if head {
                return format!("{:<12}{}", "refused", letters(status));
            }
            let problem = told();
            let code = problem["code"].as_str().expect("a code");
            assert!(Code::ALL.iter().any(|known| known.word() == code), "{code} is no code");
            assert!(ERRORS.contains(&format!("\n## {code}\n")), "{code} is not explained");
            assert_eq!(problem["status"], status);
            format!("{code:<12}{}", problem["detail"].as_str().expect("what is wrong"))
        })
    }

    fn request(&self, input: &[u8]) -> Result<Request<Body>, String> {
        let why = |error: &dyn std::fmt::Display| error.to_string();
        let mut rest = input;
        let mut line = || {
            let end = rest.iter().position(|byte| *byte == b'\n').unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            line
        };
        let first = line();
        let space = first.iter().position(|byte| *byte == b' ').unwrap_or(first.len());
        let method = Method::from_bytes(&first[..space]).map_err(|e| why(&e))?;
        let target = first.get(space + 1..).unwrap_or_default();
        let target = named(&named(target, "{work}", &self.work), "{segment}", &self.segment);
        let target = Uri::try_from(target).map_err(|e| why(&e))?;
        let mut request = Request::builder().method(method).uri(target);
        let headers = request.headers_mut().ok_or("a head")?;
        let token = HeaderValue::from_str(&self.token).map_err(|e| why(&e))?;
        let mut shows_none = true;
        loop {
            let line = line();
            if line.is_empty() {
                break;
            }
            let colon = line.iter().position(|byte| *byte == b':').ok_or("no colon")?;
            let name = HeaderName::from_bytes(&line[..colon]).map_err(|e| why(&e))?;
            let value =
                HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|e| why(&e))?;
            shows_none &= name != header::AUTHORIZATION;
            headers.try_append(name, value).map_err(|e| why(&e))?;
        }
        if shows_none {
            headers.insert(header::AUTHORIZATION, token);
        }
        let mut request = request.body(Body::from(rest.to_vec())).map_err(|e| why(&e))?;
        request.extensions_mut().insert(Peer(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        Ok(request)
    }
}

fn work_off(archive: &Archive, item: &WorkItem) {
    let ended = Runner::new(archive, Stop::default(), Arc::new(())).run_one(item.id).unwrap();
    assert!(ended.error.is_none(), "{ended:?}");
}

/// `text` with the id in place of its name.
fn named(text: &[u8], name: &str, id: &str) -> Vec<u8> {
    match text.windows(name.len()).position(|window| window == name.as_bytes()) {
        Some(at) => [&text[..at], id.as_bytes(), &text[at + name.len()..]].concat(),
        None => text.to_vec(),
    }
}

/// A number as the fuzzer can tell it apart from others.
fn letters(number: u16) -> String {
    number.to_string().bytes().map(|digit| char::from(digit - b'0' + b'a')).collect()
}

/// What stands in a path at a name of the document.
fn path_of(pattern: &str) -> String {
    let names = [
        ("{object}", "local%2Fletters"),
        ("{id}", "{work}"),
        ("{account}", "local%2Fspare"),
        ("{path}", "june.txt"),
    ];
    names.iter().fold(pattern.to_string(), |path, (name, text)| path.replace(name, text))
}

/// Each method and path of the API's document, with what it says of them.
fn operations() -> Vec<(String, String, Value)> {
    let document = strongroom_serve::document();
    let mut all = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            all.push((method.to_ascii_uppercase(), path.clone(), operation.clone()));
        }
    }
    all
}

fn takes_json(operation: &Value) -> bool {
    operation["requestBody"]["content"].get("application/json").is_some()
}

fn posts() -> Vec<String> {
    let posts = operations().into_iter().filter(|(_, _, operation)| takes_json(operation));
    posts.map(|(_, path, _)| path_of(&path).replace("{work}", "0")).collect()
}

/// Bodies that are taken by one route or another.
fn bodies() -> Vec<Value> {
    vec![
        json!({ "object": "letters@1", "as": "tar" }),
        json!({ "stage": "store" }),
        json!({ "name": "south" }),
        json!({ "account": "local/someone", "role": "observer" }),
        json!({ "state": "active" }),
        json!({ "account": "local/spare", "name": "more", "days": 1, "scopes": "read work" }),
        json!({ "text": "The mill isn't good.", "id": 1, "language": "en", "because": true }),
        json!({ "kind": "phrase", "text": "old mill", "score": 0.5, "language": "en" }),
        json!({ "version": 1, "revision": 1, "next": 2, "rules": { "1": { "kind": "prefix", "text": "mil", "score": -1 } } }),
        json!({ "account": "local/spare", "texts_per_day": 1, "bytes_per_day": null }),
    ]
}

/// The first inputs of both targets: a request for each route that there is, with all that it can be asked, and some more.
pub(crate) fn first() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut all = Vec::new();
    for (number, (method, path, operation)) in operations().into_iter().enumerate() {
        let values = [
            ("institution", "local"),
            ("object", "local/letters"),
            ("account", "local/spare"),
            ("ids", "{segment}"),
            ("after", "1"),
            ("limit", "10"),
            ("status", "succeeded"),
            ("kind", "ingest"),
            ("policy", "copies%3D2"),
            ("accept_degraded", "true"),
            ("origin", "a%20box"),
            ("days", "3"),
        ];
        let asked = operation["parameters"].as_array().unwrap().iter();
        let asked = asked.filter(|parameter| parameter["in"] == "query").filter_map(|parameter| {
            let name = parameter["name"].as_str()?;
            // Events are an object's or an institution's.
            let either = name == "institution" && path.contains("/events");
            let value = values.iter().find(|(known, _)| *known == name && !either)?.1;
            Some(format!("{name}={value}"))
        });
        let asked: Vec<_> = asked.collect();
        let mut input = format!("{method} {}?{}\n", path_of(&path), asked.join("&")).into_bytes();
        if takes_json(&operation) {
            input.extend_from_slice(b"content-type: application/json\n\n");
            let schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
                .to_string();
            let body = match schema.rsplit('/').next().unwrap().trim_matches('"') {
                "Restore" => 0,
                "Requeue" => 1,
                "AddInstitution" => 2,
                "AddAccount" => 3,
                "SetAccount" => 4,
                "CreateToken" => 5,
                "Texts" => 6,
                "TextRule" => 7,
                "TextBook" => 8,
                "SetTextQuota" => 9,
                _ => 2,
            };
            input.extend_from_slice(bodies()[body].to_string().as_bytes());
        } else if operation.get("requestBody").is_some() {
            let mut tar = strongroom_bag::tar::Writer::new(Vec::new());
            tar.append_file(b"a.txt", 0o644, 0, 1).unwrap();
            std::io::Write::write_all(&mut tar.data(), b"a").unwrap();
            input.extend_from_slice(b"\n");
            input.extend_from_slice(&tar.finish().unwrap());
        }
        all.push(("api", format!("route-{number:02}"), input));
    }
    let content = "GET /api/v1/restorations/{work}/content";
    let file = "GET /api/v1/objects/letters@1/bytes/data/june.txt";
    for (name, input) in [
        ("range", format!("{file}\nrange: bytes=10-19\n\n")),
        ("range-last", format!("{content}\nrange: bytes=-512\nif-range: \"x\"\n\n")),
        ("range-beyond", format!("{content}\nrange: bytes=99999999-\n\n")),
        ("unchanged", format!("{file}\nif-none-match: \"x\", *\n\n")),
        ("head", file.replace("GET", "HEAD") + "\n\n"),
        ("stranger", format!("{file}\nauthorization: Bearer srt_00\n\n")),
        (
            "digest",
            "POST /api/v1/deposits?object=x\nrepr-digest: sha-256=:AAAA:, md5=:x:\n\ny".into(),
        ),
        ("chain", "GET /api/v1/events/verify?institution=local\n\n".into()),
        ("elsewhere", "GET http://example.org/api/v1/objects/%6cetters/versions\n\n".into()),
        ("method", "PUT /api/v1/objects\n\n".into()),
    ] {
        all.push(("api", name.to_string(), input.into_bytes()));
    }
    // No route minds another's fields, so each of these is for all of them.
    let mut whole = serde_json::Map::new();
    bodies().into_iter().for_each(|body| whole.extend(body.as_object().unwrap().clone()));
    let long = Value::from("x".repeat(1000));
    for (name, value) in [
        ("empty", json!("")),
        ("null", Value::Null),
        ("number", json!(-1.5e300)),
        ("nested", json!([{ "a": [] }])),
        ("control", json!("local/a\u{0}\u{202e}\n")),
        ("upwards", json!("../../local")),
        ("long", long),
    ] {
        let body: Value = whole.keys().map(|key| (key.clone(), value.clone())).collect();
        all.push(("api-body", name.into(), body.to_string().into_bytes()));
    }
    all.push(("api-body", "whole".into(), Value::from(whole).to_string().into_bytes()));
    for (number, body) in bodies().into_iter().enumerate().skip(6) {
        all.push(("api-body", format!("text-{number}"), body.to_string().into_bytes()));
    }
    // More than is answered in one go.
    let many =
        vec![json!("A mill. Eine Mühle."), json!({ "id": 2, "text": "x".repeat(1000) }), json!(3)];
    let many: Vec<_> = many.into_iter().cycle().take(60).collect();
    all.push(("api-body", "texts".into(), json!({ "texts": many }).to_string().into_bytes()));
    let large = "The mill is old. ".repeat(4500);
    all.push(("api-body", "large-text".into(), json!({ "text": large }).to_string().into_bytes()));
    all.push(("api-body", "deep".into(), "[".repeat(200).into_bytes()));
    all
}
