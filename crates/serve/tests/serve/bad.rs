//! What clients do that they should not, and what the service bounds.

use crate::world::{World, unbounded};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use strongroom_serve::{HEAD_BYTES_MAX, HEADERS_MAX, JSON_BYTES_MAX, Limits, Options, Rate};

/// Sends these bytes, and reads what comes until the connection is closed.
pub(crate) fn raw(address: SocketAddr, request: &[u8]) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    // It may be refused, and closed, before all of it was sent.
    let _ = stream.write_all(request);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or(0), text)
}

#[test]
fn bad_requests_are_refused_with_a_problem_each() {
    let served = World::new().serve(unbounded(0));
    let token = Some(served.token("local/administrator"));
    let json_type = ("content-type", "application/json");
    let check = |method: &str,
                 target: &str,
                 headers: &[(&str, &str)],
                 body: Option<&[u8]>,
                 status: u16,
                 code: &str| {
        let answer = served.ask(token, method, target, headers, body.map(<[u8]>::to_vec));
        assert_eq!(answer.status, status, "{method} {target}");
        assert_eq!(answer.header("content-type"), "application/problem+json");
        let problem = answer.json();
        assert_eq!(problem["code"], code, "{problem}");
        assert_eq!(problem["status"], status);
    };
    let restorations = "/api/v1/restorations";
    for body in [
        "",
        "{",
        "[]",
        "nonsense",
        "{\"object\":7,\"as\":\"tar\"}",
        "{\"object\":\"letters\"}",
        "{\"object\":\"letters\",\"as\":\"zip\"}",
    ] {
        check("POST", restorations, &[json_type], Some(body.as_bytes()), 400, "usage");
    }
    let deep = "[".repeat(10_000);
    check("POST", restorations, &[json_type], Some(deep.as_bytes()), 400, "usage");
    check("POST", restorations, &[("content-type", "text/plain")], Some(b"{}"), 400, "usage");
    let large = format!("{{\"object\":\"{}\"}}", "x".repeat(JSON_BYTES_MAX));
    check("POST", restorations, &[json_type], Some(large.as_bytes()), 413, "too-large");
    check(
        "POST",
        restorations,
        &[json_type],
        Some(br#"{"object":"nobody","as":"tar"}"#),
        404,
        "not-found",
    );

    check("GET", "/api/v1/nothing", &[], None, 404, "not-found");
    check("DELETE", "/api/v1/objects", &[], None, 405, "usage");
    check("GET", "/api/v1/objects/%FF", &[], None, 400, "usage");
    check("GET", "/api/v1/objects/letters@x", &[], None, 400, "usage");
    check("GET", "/api/v1/objects/letters@9", &[], None, 404, "not-found");
    check("GET", "/api/v1/work/zz", &[], None, 404, "not-found");
    check("GET", "/api/v1/work?status=asleep", &[], None, 400, "usage");
    check("GET", "/api/v1/events?object=letters&institution=local", &[], None, 400, "usage");
    check("POST", "/api/v1/institutions", &[json_type], Some(br#"{"name":"../up"}"#), 400, "usage");
    check(
        "POST",
        "/api/v1/accounts",
        &[json_type],
        Some(br#"{"account":"local/x","role":"king"}"#),
        400,
        "usage",
    );
    check("POST", "/api/v1/tokens", &[json_type], Some(br#"{"name":"x","days":0}"#), 400, "usage");
    check(
        "POST",
        "/api/v1/tokens",
        &[json_type],
        Some(br#"{"name":"x","scopes":"all"}"#),
        400,
        "usage",
    );

    // Paths are looked up, never opened.
    for path in [
        "../../strongroom.key",
        "..%2F..%2Fstrongroom.key",
        "%2Fetc%2Fpasswd",
        "data/../x",
        "%00",
        "caf%E9",
    ] {
        check("GET", &format!("/api/v1/objects/letters/bytes/{path}"), &[], None, 404, "not-found");
    }

    let deposits = "/api/v1/deposits";
    let tar = crate::records::small_tar();
    check("POST", deposits, &[], Some(&tar), 400, "usage");
    check("POST", &format!("{deposits}?object=local/a/b"), &[], Some(&tar), 400, "usage");
    check("POST", &format!("{deposits}?object=.."), &[], Some(&tar), 400, "usage");
    check("POST", &format!("{deposits}?object=new&policy=0%2B9"), &[], Some(&tar), 400, "usage");
    check(
        "POST",
        &format!("{deposits}?object=new"),
        &[],
        Some(b"no tar at all"),
        422,
        "source-refused",
    );
    check("POST", &format!("{deposits}?object=new"), &[], Some(b""), 422, "source-refused");
    let wrong = "sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    for name in ["repr-digest", "content-digest"] {
        check(
            "POST",
            &format!("{deposits}?object=new"),
            &[(name, wrong)],
            Some(&tar),
            422,
            "source-refused",
        );
        check(
            "POST",
            &format!("{deposits}?object=new"),
            &[(name, "sha-256=x")],
            Some(&tar),
            400,
            "usage",
        );
    }
    // Nothing of all that is left.
    let uploads = served.world.archive.data().join("uploads");
    assert_eq!(std::fs::read_dir(uploads).unwrap().count(), 0);
    let listed = served.get("local/administrator", "/api/v1/objects?institution=local").json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
}

#[test]
fn what_is_no_http_or_too_much_of_it_ends_the_connection_alone() {
    let served = World::new().serve(unbounded(0));
    let address = served.address;
    let line = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    assert_eq!(raw(address, format!("{line}\r\n").as_bytes()).0, 200);
    let huge = format!("{line}X: {}\r\n\r\n", "y".repeat(2 * HEAD_BYTES_MAX));
    assert_eq!(raw(address, huge.as_bytes()).0, 431);
    let many = format!("{line}{}\r\n", "X: y\r\n".repeat(2 * HEADERS_MAX));
    assert_eq!(raw(address, many.as_bytes()).0, 431);
    for nonsense in [&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"[..], b"nonsense\r\n\r\n"] {
        assert_eq!(raw(address, nonsense).0, 400);
    }
    // An upload whose sender goes away leaves nothing.
    let token = served.token("local/depositor");
    let head = format!(
        "POST /api/v1/deposits?object=half HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Length: 100000\r\n\r\n"
    );
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&[7; 5000]).unwrap();
    let uploads = served.world.archive.data().join("uploads");
    let count = || std::fs::read_dir(&uploads).map_or(0, Iterator::count);
    let until = |wanted: usize| {
        for _ in 0..1000 {
            if count() == wanted {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        panic!("{} uploads, not {wanted}", count());
    };
    until(1);
    drop(stream);
    until(0);
    assert_eq!(raw(address, format!("{line}\r\n").as_bytes()).0, 200);
}

#[test]
fn who_asks_too_much_is_told_when_to_come_again() {
    let few = |burst| Rate { per_second: 0.001, burst };
    let many = Rate { per_second: 1e6, burst: 1e6 };
    let check = |limits: Limits, tokens: [Option<&str>; 2], statuses: &[u16], bound: &str| {
        let served = World::new().serve(Options { workers: 0, limits });
        let ask = |account: Option<&str>| {
            served.ask(account.map(|a| served.token(a)), "GET", "/api/v1/objects", &[], None)
        };
        let mut last = None;
        for status in statuses {
            let answer = ask(tokens[0]);
            assert_eq!(answer.status, *status, "{bound}");
            last = Some(answer);
        }
        let last = last.unwrap();
        assert_eq!(last.json()["code"], "too-many-requests");
        assert!(last.header("retry-after").parse::<u64>().unwrap() > 0);
        ask(tokens[1]).status
    };
    let limits = Limits { token: few(3.0), address: many, stranger: many, ..Limits::default() };
    let two = [Some("local/depositor"), Some("north/depositor")];
    assert_eq!(check(limits, two, &[200, 200, 200, 429], "token"), 200, "another token may");
    let limits = Limits { token: many, address: few(3.0), stranger: many, ..Limits::default() };
    assert_eq!(check(limits, two, &[200, 200, 200, 429], "address"), 429, "it is one address");
    let limits = Limits { token: many, address: many, stranger: few(2.0), ..Limits::default() };
    let strange = [None, Some("north/depositor")];
    assert_eq!(check(limits, strange, &[401, 401, 429], "strangers"), 200, "who is known may");
}

#[test]
fn connections_and_uploads_are_bounded() {
    let limits = Limits { connections_max: 4, upload_bytes_max: 10_000, ..unbounded(0).limits };
    let served = World::new().serve(Options { workers: 0, limits });
    let token = served.token("local/depositor");
    let target = "/api/v1/deposits?object=large";
    let body = Some(vec![0; 10_001]);
    let answer = served.ask(Some(token), "POST", target, &[], body);
    assert_eq!((answer.status, answer.json()["code"].clone()), (413, json!("too-large")));
    // One that does not tell its length is stopped where it grows too long.
    let mut chunked = format!(
        "POST {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\
         Transfer-Encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..3 {
        chunked.extend_from_slice(b"1000\r\n");
        chunked.extend_from_slice(&[0; 0x1000]);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    let (status, text) = raw(served.address, &chunked);
    let problem: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((status, &problem["code"]), (413, &json!("too-large")));

    let line = b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    // As many as it takes: connections from before are let go of at any time, and leave their places.
    let mut idle = Vec::new();
    let bounded = (0..100).any(|_| {
        idle.push(TcpStream::connect(served.address).unwrap());
        raw(served.address, line).0 == 0 && raw(served.address, line).0 == 0
    });
    assert!(bounded && idle.len() >= 2, "one more than may be is closed at once");
    drop(idle);
    for _ in 0..1000 {
        if raw(served.address, line).0 == 200 {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("places are not given back");
}
