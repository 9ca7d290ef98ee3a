//! Objects, files, events, work: in pages, in ranges, in and out again.

use crate::world::{Served, World, bytes, unbounded};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use strongroom_record::Sha256;
use strongroom_record::json::bytes::base64;

/// A tar of one file.
pub(crate) fn small_tar() -> Vec<u8> {
    tar(&[("note.txt", b"a note\n")])
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = strongroom_bag::tar::Writer::new(Vec::new());
    for (path, bytes) in files {
        let size = bytes.len() as u64;
        let mut file = writer.append_file(path.as_bytes(), 0o644, 0, size).unwrap();
        file.write_all(bytes).unwrap();
    }
    writer.finish().unwrap()
}

fn deposit(served: &Served, account: &str, query: &str, body: &[u8], digest: &str) -> Value {
    let headers: &[_] = match digest {
        "" => &[],
        digest => &[("repr-digest", digest)],
    };
    let (token, target) = (Some(served.token(account)), format!("/api/v1/deposits?{query}"));
    let answer = served.ask(token, "POST", &target, headers, Some(body.to_vec()));
    assert_eq!(answer.status, 202, "{}", answer.json());
    let value = answer.json();
    let id = value["work"]["id"].as_str().unwrap();
    assert_eq!(answer.header("location"), format!("/api/v1/work/{id}"));
    assert_eq!(value["sha256"], Sha256::of(body).to_string());
    value
}

/// Watches a work item to its end, as a client does.
fn watch(served: &Served, account: &str, id: &str) -> (Vec<Value>, Value) {
    let mut stream = TcpStream::connect(served.address).unwrap();
    let token = served.token(account);
    write!(
        stream,
        "GET /api/v1/work/{id}/progress HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\n\r\n"
    )
    .unwrap();
    let (mut seen, mut kind) = (Vec::new(), String::new());
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(name) = line.strip_prefix("event: ") {
            kind = name.into();
        }
        if let Some(data) = line.strip_prefix("data: ") {
            let data: Value = serde_json::from_str(data).unwrap();
            match kind.as_str() {
                "progress" => seen.push(data),
                "ended" => return (seen, data),
                other => panic!("{other}"),
            }
        }
    }
    panic!("the stream ended before the work: {seen:?}");
}

#[test]
fn what_is_uploaded_comes_back_as_it_went() {
    let served = World::new().serve(unbounded(1));
    let big = bytes(5_000_000);
    let upload = tar(&[("a/big.bin", &big), ("note.txt", b"a note\n")]);
    let digest = format!("sha-256=:{}:", base64(&Sha256::of(&upload).0));
    let made =
        deposit(&served, "north/depositor", "object=north/sent&origin=mail", &upload, &digest);
    let id = made["work"]["id"].as_str().unwrap().to_string();
    let (_, ended) = watch(&served, "north/depositor", &id);
    assert_eq!((&ended["status"], &ended["report"]["version"]), (&json!("succeeded"), &json!(1)));
    assert_eq!(ended["asked_by"], "depositor");
    let shown = served.get("north/depositor", "/api/v1/objects/north%2Fsent").json();
    assert_eq!((&shown["source"], &shown["shown"]), (&json!("mail"), &json!(1)));

    // The same again changes nothing, from wherever it is said to come.
    let again = deposit(&served, "north/depositor", "object=sent", &upload, "");
    let (_, ended) = watch(&served, "north/depositor", again["work"]["id"].as_str().unwrap());
    assert_eq!(ended["report"]["outcome"], "unchanged");
    // Uploads that were taken in are gone.
    let uploads = served.world.archive.data().join("uploads");
    let left = || std::fs::read_dir(&uploads).unwrap().count();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while left() > 0 && std::time::Instant::now() < until {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(left(), 0);

    for (form, place) in [("tar", "data/a/big.bin"), ("files", "a/big.bin")] {
        let restore = json!({ "object": "north/sent@1", "as": form });
        let made = served.post("north/depositor", "/api/v1/restorations", &restore).json();
        let id = made["id"].as_str().unwrap();
        watch(&served, "north/depositor", id);
        let path = format!("/api/v1/restorations/{id}");
        assert_eq!(served.get("north/depositor", &path).json()["ready"], true);
        let fetched = served.get("north/depositor", &format!("{path}/content"));
        assert_eq!(fetched.status, 200);
        let mut reader = strongroom_bag::tar::Reader::new(&fetched.body[..]);
        let mut found = false;
        while let Some(entry) = reader.next().unwrap() {
            if entry.path.ends_with(place.as_bytes()) {
                let mut bytes = Vec::new();
                let mut buffer = [0; 4096];
                loop {
                    match reader.read(&mut buffer).unwrap() {
                        0 => break,
                        read => bytes.extend_from_slice(&buffer[..read]),
                    }
                }
                assert!(bytes == big, "{form}");
                found = true;
            }
        }
        assert!(found, "{form}");
        if form == "tar" {
            let token = Some(served.token("north/depositor"));
            let range = [("range", "bytes=512-1023")];
            let part = served.ask(token, "GET", &format!("{path}/content"), &range, None);
            assert_eq!((part.status, &part.body[..]), (206, &fetched.body[512..1024]));
        }
    }
    // Each event of all this names who asked, and work that nobody asked for over HTTP names nobody.
    let me = served.get("north/depositor", "/api/v1/me").json();
    let events = "/api/v1/events?object=north/sent";
    let events = served.get("north/depositor", events).json()["items"].clone();
    let mut kinds = std::collections::BTreeSet::new();
    for event in events.as_array().unwrap() {
        assert_eq!(event["detail"]["account"], "depositor", "{event}");
        assert_eq!(event["detail"]["account_id"], me["id"], "{event}");
        kinds.insert(event["type"].as_str().unwrap().to_string());
    }
    let told =
        ["ingestion start", "ingestion end", "information package comparison", "dissemination"];
    assert!(told.iter().all(|kind| kinds.contains(*kind)), "{kinds:?}");
    let events = "/api/v1/events?object=north/letters";
    let events = served.get("north/depositor", events).json()["items"].clone();
    assert!(events.as_array().unwrap().iter().all(|e| e["detail"].get("account").is_none()));
    let chain = served.get("north/auditor", "/api/v1/events/verify").json();
    assert_eq!(chain["holds"], true);
    // What a person brings back on the server itself is not to be fetched here.
    let version = shown["versions"][0]["id"].as_str().unwrap().to_string();
    let request = strongroom_intake::RestoreRequest {
        version,
        to: served.world.place.path().join("elsewhere"),
        form: strongroom_intake::Form::Bag,
    };
    let item = served.world.archive.restore(&request).unwrap();
    let shown = served.get("north/depositor", &format!("/api/v1/work/{}", item.id)).json();
    assert_eq!(shown["asked_by"], Value::Null);
    let path = format!("/api/v1/restorations/{}/content", item.id);
    assert_eq!(served.get("north/depositor", &path).status, 404);
}

#[test]
fn a_cancellation_names_who_cancelled() {
    let served = World::new().serve(unbounded(0));
    let made = deposit(&served, "local/depositor", "object=given-up", &small_tar(), "");
    let id = made["work"]["id"].as_str().unwrap();
    let cancel = format!("/api/v1/work/{id}/cancel");
    let cancelled = served.post("local/administrator", &cancel, &json!({})).json();
    assert_eq!(cancelled["status"], "cancelled", "{cancelled}");
    let events = served.get("local/administrator", "/api/v1/events?limit=1000").json();
    let event = (events["items"].as_array().unwrap().iter().rev())
        .find(|event| event["work"] == id && event["detail"]["account"] == "administrator")
        .unwrap_or_else(|| panic!("{events}"));
    let me = served.get("local/administrator", "/api/v1/me").json();
    assert_eq!(event["detail"]["account_id"], me["id"], "{event}");
}

#[test]
fn an_upload_stays_until_its_version_is_published() {
    let served = World::new().serve(unbounded(0));
    let made = deposit(&served, "local/depositor", "object=kept", &small_tar(), "");
    let id = made["work"]["id"].as_str().unwrap();
    let upload = served.world.archive.data().join("uploads").join(id).join("upload.tar");
    let world = served.end();
    assert_eq!(std::fs::read(&upload).unwrap(), small_tar(), "the next service works on it");
    let served = world.serve(unbounded(1));
    let (_, ended) = watch(&served, "local/depositor", id);
    assert_eq!(ended["status"], "succeeded");
    let note = served.get("local/depositor", "/api/v1/objects/kept/bytes/note.txt");
    assert_eq!(note.body, b"a note\n");
}

#[test]
fn files_are_read_whole_and_in_ranges() {
    let served = World::new().serve(unbounded(0));
    let token = Some(served.token("local/depositor"));
    let path = "/api/v1/objects/local%2Fletters/bytes/data/big.bin";
    let big = bytes(3_000_000);
    let whole = served.ask(token, "GET", path, &[], None);
    assert!((whole.status, &whole.body) == (200, &big));
    let etag = whole.header("etag").to_string();
    assert_eq!(etag, format!("\"{}\"", Sha256::of(&big)));
    assert_eq!(whole.header("content-length"), "3000000");
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    let digest = format!("sha-256=:{}:", base64(&Sha256::of(&big).0));
    assert_eq!(whole.header("repr-digest"), digest);

    let head = served.ask(token, "HEAD", path, &[], None);
    assert_eq!((head.status, head.header("content-length")), (200, "3000000"));
    assert!(head.body.is_empty());

    let range = |value: &str, extra: &[(&str, &str)]| {
        let headers: Vec<_> = [("range", value)].into_iter().chain(extra.iter().copied()).collect();
        served.ask(token, "GET", path, &headers, None)
    };
    for (asked, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=1000000-2000000", 1_000_000, 2_000_001),
        ("bytes=2999999-", 2_999_999, 3_000_000),
        ("bytes=-5", 2_999_995, 3_000_000),
        ("bytes=2999990-9999999", 2_999_990, 3_000_000),
    ] {
        let part = range(asked, &[]);
        assert_eq!(part.status, 206, "{asked}");
        assert!(part.body == big[from..to], "{asked}");
        let told = format!("bytes {from}-{}/3000000", to - 1);
        assert_eq!(part.header("content-range"), told);
    }
    let beyond = range("bytes=3000000-", &[]);
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */3000000"));
    assert_eq!(range("bytes=0-1,5-6", &[]).status, 200, "several ranges are passed over");
    assert_eq!(range("bytes=0-1", &[("if-range", "\"other\"")]).status, 200);
    assert_eq!(range("bytes=0-1", &[("if-range", &etag)]).status, 206);
    let unchanged = served.ask(token, "GET", path, &[("if-none-match", &etag)], None);
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));

    let others = "/api/v1/objects/letters/bytes";
    let empty = served.ask(token, "GET", &format!("{others}/empty"), &[], None);
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    let link = served.ask(token, "GET", &format!("{others}/link"), &[], None);
    assert_eq!((link.status, link.json()["code"].clone()), (409, json!("conflict")));
}

#[test]
fn a_file_that_is_damaged_is_never_told_as_whole() {
    let world = World::new();
    let data = world.archive.data().to_owned();
    let served = world.serve(unbounded(0));
    for shelf in ["a", "b"] {
        damage(&data.join("shelves").join(shelf));
    }
    let path = "/api/v1/objects/letters/bytes/big.bin";
    let token = served.token("local/depositor");
    let mut stream = TcpStream::connect(served.address).unwrap();
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut answer);
    assert!(answer.len() < 3_000_000, "{} bytes of a damaged file came", answer.len());
}

/// Overwrites the middle of each large file below.
fn damage(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            damage(&path);
        } else if path.metadata().unwrap().len() > 1_000_000 {
            use std::os::unix::fs::FileExt as _;
            let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
            let length = file.metadata().unwrap().len();
            file.write_all_at(&vec![0xAA; length as usize / 3], length / 3).unwrap();
        }
    }
}

#[test]
fn lists_come_in_pages_that_join_without_seams() {
    let served = World::new().serve(unbounded(0));
    let all = |target: &str, limit: usize| {
        let (mut items, mut after, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let joint = if target.contains('?') { '&' } else { '?' };
            let page = format!("{target}{joint}limit={limit}{after}");
            let answer = served.get("local/administrator", &page);
            assert_eq!(answer.status, 200, "{page}");
            let value = answer.json();
            let rows = value["items"].as_array().unwrap().clone();
            assert!(rows.len() <= limit);
            items.extend(rows);
            pages += 1;
            match value["next"].as_str() {
                Some(next) => {
                    after = format!("&after={}", strongroom_serve::uri::escape(next.as_bytes()));
                }
                None => return (items, pages),
            }
        }
    };
    for (target, least) in [
        ("/api/v1/objects", 2),
        ("/api/v1/objects/local%2Fletters/files", 6),
        ("/api/v1/events?institution=local", 4),
        ("/api/v1/events?object=local%2Fletters", 3),
        ("/api/v1/work", 2),
    ] {
        let (whole, pages) = all(target, 1000);
        assert!(whole.len() >= least && pages == 1, "{target}: {}", whole.len());
        for limit in [1, 2] {
            let (again, pages) = all(target, limit);
            assert_eq!(again, whole, "{target}");
            assert!(pages >= whole.len() / limit, "{target}");
        }
    }
    for bad in ["limit=0", "limit=1001", "limit=x", "after=%00", "beyond=1", "limit=1&limit=2"] {
        let answer = served.get("local/administrator", &format!("/api/v1/objects?{bad}"));
        assert_eq!((answer.status, answer.json()["code"].clone()), (400, json!("usage")), "{bad}");
    }
    let chain = served.get("local/auditor", "/api/v1/events/verify?object=letters").json();
    assert_eq!(chain["holds"], true);
    let files = all("/api/v1/objects/letters/files", 1000).0;
    let id = files.iter().find_map(|file| file["extents"][0][0].as_str()).unwrap().to_string();
    let path = format!("/api/v1/objects/letters/segments?ids={id}");
    let segments = served.get("local/auditor", &path).json();
    assert_eq!(segments["items"][0]["shards"].as_array().unwrap().len(), 2);
    // A segment of another object is not told of.
    let path = format!("/api/v1/objects/north%2Fletters/segments?ids={id}");
    assert_eq!(served.get("north/auditor", &path).json()["items"], json!([]));
}

#[test]
fn a_monitor_sees_how_things_stand() {
    let served = World::new().serve(unbounded(0));
    served.get("local/depositor", "/api/v1/objects");
    served.get("local/depositor", "/api/v1/status");
    let page = served.get("local/observer", "/metrics");
    let text = String::from_utf8(page.body).unwrap();
    for line in [
        "strongroom_http_requests_total{method=\"GET\",route=\"/api/v1/objects\",status=\"200\"} 1",
        "strongroom_http_requests_total{method=\"GET\",route=\"/api/v1/status\",status=\"403\"} 1",
        "strongroom_http_request_seconds_count{route=\"/api/v1/objects\"} 1",
        "strongroom_work_items{status=\"succeeded\"} 2",
        "strongroom_calls{state=\"waiting\"} 0",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.contains("strongroom_shelf_stored_bytes{shelf=\"a\"} "), "{text}");
    let ready = served.ask(None, "GET", "/health/ready", &[], None).json();
    assert_eq!(ready["ready"], true);
    let me = served.get("north/auditor", "/api/v1/me").json();
    assert_eq!((&me["account"], &me["role"]), (&json!("north/auditor"), &json!("auditor")));
}

#[test]
fn it_is_not_ready_where_a_shelf_is_missing() {
    let world = World::new();
    let data = world.archive.data().to_owned();
    let World { place, tokens: _, archive, .. } = world;
    drop(archive);
    std::fs::rename(data.join("shelves/b"), data.join("shelves/gone")).unwrap();
    let archive = strongroom_intake::Archive::open(&strongroom_intake::Options::new(data)).unwrap();
    let served = World::over(archive, place).serve(unbounded(0));
    let ready = served.ask(None, "GET", "/health/ready", &[], None);
    assert_eq!((ready.status, ready.json()["missing_shelves"].clone()), (503, json!(1)));
    assert_eq!(served.ask(None, "GET", "/health/live", &[], None).status, 200);
}
