//! Texts: one and many, small and large, with the rules and quotas of accounts.

use crate::bad::raw;
use crate::world::{Answer, Served, World, unbounded};
use serde_json::{Value, json};
use std::io::Write as _;
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use strongroom_serve::{
    CALL_BYTES_MAX, FILTERS_MAX, HELD_BYTES_MAX, Limits, Options, QUICK_BYTES_MAX, Rate, TEXTS_MAX,
    WORDS_BYTES_MAX,
};

const ANN: &str = "north/observer";

fn served() -> Served {
    World::new().serve(unbounded(0))
}

fn look(served: &Served, about: &str, body: &Value) -> Answer {
    served.post(ANN, &format!("/api/v1/text/{about}"), body)
}

fn answer(served: &Served, about: &str, body: &Value) -> Value {
    let answer = look(served, about, body);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    answer.json()
}

/// Forms of all words, from the places that are told of them.
fn forms<'a>(text: &'a str, answer: &Value) -> Vec<&'a str> {
    let sentences = answer["sentences"].as_array().unwrap();
    let tokens = sentences.iter().flat_map(|sentence| sentence["tokens"].as_array().unwrap());
    let place = |token: &Value, name: &str| {
        let at = |end: &str| usize::try_from(token[name][end].as_u64().unwrap()).unwrap();
        (at("start"), at("end"))
    };
    let form = |token| {
        let ((start, end), (first, last)) = (place(token, "bytes"), place(token, "chars"));
        let form = &text[start..end];
        assert_eq!(form.chars().count(), last - first, "{form}");
        assert!(text.len() > 10_000 || text[..start].chars().count() == first, "{form}");
        form
    };
    tokens.map(form).collect()
}

#[test]
fn each_call_says_what_it_is_for() {
    let served = served();
    let text = "The garden is not good. Der Garten ist schön!";
    let ask = json!({ "text": text, "id": { "n": 1 }, "language": "en", "because": true });
    let all = answer(&served, "analyze", &ask);
    assert_eq!((&all["id"], &all["language"]), (&json!({ "n": 1 }), &json!("en")));
    let words = ["The", "garden", "is", "not", "good", ".", "Der", "Garten", "ist", "schön", "!"];
    assert_eq!(forms(text, &all), words);
    assert_eq!(all["sentences"][0]["tokens"][1]["words"][0]["upos"], "NOUN");
    let because = all["sentiment"]["because"].as_array().unwrap();
    assert!(because.iter().any(|reason| reason["text"] == "not good"), "{because:?}");

    let language = answer(&served, "language", &json!({ "text": "Der Garten ist sehr schön." }));
    assert_eq!(language["language"], "de");
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&language), ["confidence", "language"]);
    let tagged = answer(&served, "tag", &json!({ "text": "The garden is open." }));
    assert_eq!(keys(&tagged), ["confidence", "language", "sentences"]);
    let judged = answer(&served, "sentiment", &json!({ "text": "I love this garden." }));
    assert_eq!(keys(&judged), ["confidence", "language", "sentiment"]);
    assert_eq!(judged["sentiment"]["label"], "positive");
}

#[test]
fn phrases_themes_topics_and_filters_are_told() {
    let served = served();
    let text = "The breakfast was wonderful, but our rooms were dirty and loud.";
    let told = answer(&served, "chunks", &json!({ "text": text }));
    let labels: Vec<_> =
        told["chunks"].as_array().unwrap().iter().map(|chunk| chunk["label"].clone()).collect();
    assert_eq!(labels, ["positive", "negative"]);
    let themes = answer(&served, "themes", &json!({ "text": text }));
    let lemmas: Vec<_> =
        themes["themes"].as_array().unwrap().iter().map(|theme| theme["lemma"].clone()).collect();
    assert!(lemmas.contains(&json!("breakfast")) && lemmas.contains(&json!("room")), "{lemmas:?}");
    let topics = json!([{ "name": "room", "words": [{ "kind": "lemma", "text": "room" }] }]);
    let topics = answer(&served, "topics", &json!({ "text": text, "topics": topics }));
    assert_eq!(topics["topics"][0]["topic"], "room");
    assert_eq!(topics["topics"][0]["label"], "negative");
    let filters = json!(["room*", "lemma:room AND NOT breakfast", "dirt* NEAR/2 loud"]);
    let ask = json!({ "texts": [text, "Nothing."], "filters": filters });
    let items = answer(&served, "filter", &ask)["items"].clone();
    let matched = |item: &Value| {
        let all = item["matches"].as_array().unwrap().iter();
        all.map(|found| found["matched"].as_bool().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(matched(&items[0]), [true, false, true]);
    assert_eq!(matched(&items[1]), [false; 3]);
    for (about, body, why) in [
        ("topics", json!({ "text": "a" }), "`topics`"),
        ("filter", json!({ "text": "a" }), "`filters`"),
        ("filter", json!({ "text": "a", "filters": ["a", "(b"] }), "filter 2"),
        ("topics", json!({ "text": "a", "topics": [{ "name": "", "words": [] }] }), "topic"),
    ] {
        let refused = look(&served, about, &body);
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(refused.status == 400 && detail.contains(why), "{detail}");
    }
    let many = json!({ "text": "a", "filters": vec!["a"; FILTERS_MAX + 1] });
    assert_eq!(look(&served, "filter", &many).status, 413);
    let large = json!({ "text": "a ".repeat(WORDS_BYTES_MAX), "language": "en" });
    assert_eq!(look(&served, "themes", &large).status, 413);
}

#[test]
fn the_text_of_a_page_is_told() {
    let served = served();
    let page = b"<html lang=de><meta charset=latin1><title>Gr\xfc\xdfe</title><nav><a href=/>Start</a></nav><p>Wir gingen den H\xfcgel \
        hinauf und sahen auf das Meer, das so still dalag wie ein Teller aus Glas.<p>Dann begann es zu regnen, und wir gingen am Fluss entlang nach Hause.";
    let ask = |kind: &str, target: &str| {
        let target = format!("/api/v1/text/html{target}");
        served.ask(
            Some(served.token(ANN)),
            "POST",
            &target,
            &[("content-type", kind)],
            Some(page.to_vec()),
        )
    };
    let told = ask("text/html", "").json();
    assert_eq!((&told["title"], &told["language"]), (&json!("Gr\u{fc}\u{df}e"), &json!("de")));
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with("Wir gingen den H\u{fc}gel") && !text.contains("Start"), "{text}");
    let all = ask("text/html; charset=latin1", "?keep=all").json();
    assert!(all["text"].as_str().unwrap().contains("Start"));
    for (kind, target) in
        [("text/html", "?keep=some"), ("text/plain", ""), ("text/html; charset=klingon", "")]
    {
        assert_eq!(ask(kind, target).status, 400, "{kind} {target}");
    }
}

#[test]
fn one_of_many_that_is_wrong_spoils_no_other() {
    let served = served();
    let body = r#"{"language": "en", "texts": ["A garden.", {"id": "b", "text": "Ein Garten.", "language": "de"},
        {"id": 3, "text": "lone \ud800"}, {"id": 4}, {"id": 5, "text": "x", "language": "xx"}, 6, {"id": 7, "text": ""}]}"#;
    let json = [("content-type", "application/json")];
    let ask = |body: Vec<u8>| {
        served.ask(Some(served.token(ANN)), "POST", "/api/v1/text/tag", &json, Some(body))
    };
    let told = ask(body.into()).json();
    let items = told["items"].as_array().unwrap();
    let say = |item: &Value| {
        let told =
            if item["error"].is_string() { "error" } else { item["language"].as_str().unwrap() };
        format!("{} {told}", item["id"])
    };
    let told: Vec<_> = items.iter().map(say).collect();
    assert_eq!(
        told,
        ["null en", "\"b\" de", "3 error", "4 error", "5 error", "null error", "7 en"],
        "{items:?}"
    );
    for (body, status, why) in [
        (b"{\"text\":\"a\xff\"}".to_vec(), 400, "byte 10"),
        (br#"{"text":"a","texts":[]}"#.to_vec(), 400, "needs a `text`"),
        (b"{}".to_vec(), 400, "needs a `text`"),
        (br#"{"text":"a","because":"yes"}"#.to_vec(), 400, "column"),
        (br#"{"text":"a","txet":"b"}"#.to_vec(), 400, "txet"),
        (br#"{"text":"a","language":"xx"}"#.to_vec(), 400, "en ar zh"),
        (br#"{"id":1,"texts":["a"]}"#.to_vec(), 400, "each has its own"),
        (b"[".repeat(10_000), 400, "not what is asked"),
        (json!({ "texts": vec!["a"; TEXTS_MAX + 1] }).to_string().into(), 413, "1001"),
    ] {
        let answer = ask(body);
        assert_eq!(answer.status, status);
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains(why), "{detail}");
    }
    let none = answer(&served, "analyze", &json!({ "texts": [] }));
    assert_eq!(none["items"], json!([]));
    let head = format!(
        "POST /api/v1/text/tag HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\
         content-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
        served.token(ANN),
        CALL_BYTES_MAX + 1
    );
    assert_eq!(raw(served.address, head.as_bytes()).0, 413, "it is not waited for");
}

#[test]
fn many_texts_come_back_in_order() {
    let served = served();
    let long = "A rather long sentence about the garden and the mill. ".repeat(20);
    let texts: Vec<_> =
        (0..TEXTS_MAX).map(|n| json!({ "id": n, "text": format!("{n}. {long}") })).collect();
    let told = answer(&served, "analyze", &json!({ "texts": texts }));
    let items = told["items"].as_array().unwrap();
    assert_eq!(items.len(), TEXTS_MAX);
    for (n, item) in items.iter().enumerate() {
        assert_eq!(item["id"], n);
        let first = &item["sentences"][0]["tokens"][0]["words"][0]["form"];
        assert!(first.as_str().unwrap().starts_with(&n.to_string()), "{first}");
    }
}

#[test]
fn a_large_text_has_the_places_of_all_its_words() {
    let served = served();
    let line = "The gärtner doesn't come. Was it good? It was very good!\n";
    let text = line.repeat(5_000);
    let told = answer(&served, "analyze", &json!({ "text": text, "language": "en", "id": 9 }));
    assert_eq!((&told["id"], &told["sentiment"]["label"]), (&json!(9), &json!("positive")));
    let small = answer(&served, "tag", &json!({ "text": line, "language": "en" }));
    let expected = forms(line, &small).repeat(5_000);
    assert_eq!(forms(&text, &told), expected);
    let last = told["sentences"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["chars"]["end"], text.chars().count() - 1);
    assert_eq!(last["bytes"]["end"], text.len() - 1);

    for (text, language) in [
        ("x".repeat(300_000), Value::Null),
        (" ".repeat(300_000), Value::Null),
        ("日本".repeat(50_000), json!("zh")),
        ("\u{202e}\u{200d}e\u{301}\0".repeat(30_000), json!("en")),
    ] {
        let told = answer(&served, "analyze", &json!({ "text": text, "language": language }));
        assert!(language.is_null() || told["sentences"].is_array());
    }
}

#[test]
fn rules_take_effect_all_at_once_and_travel_as_one_file() {
    let served = served();
    let judge = |account: &str| {
        let body = json!({ "text": "It is a killer feature.", "language": "en" });
        let told = served.post(account, "/api/v1/text/sentiment", &body).json();
        told["sentiment"]["score"].as_f64().unwrap()
    };
    let plain = judge(ANN);
    let post = |path: &str, body: &Value| {
        let answer = served.post(ANN, &format!("/api/v1/text/rules{path}"), body);
        (answer.status, answer.json())
    };
    let rule = json!({ "kind": "phrase", "text": "killer feature", "score": 0.9 });
    assert_eq!(post("", &rule), (200, json!({ "id": 1 })));
    assert_eq!(judge(ANN), plain, "it waits");
    assert_eq!(post("/commit", &json!({})), (200, json!({ "revision": 1 })));
    let ruled = judge(ANN);
    assert!(ruled > plain + 0.3, "{plain} {ruled}");
    assert_eq!(judge("north/depositor"), plain, "others have their own");
    let listed = served.get(ANN, "/api/v1/text/rules").json();
    assert_eq!(listed["items"][0]["text"], "killer feature");

    let book = served.get(ANN, "/api/v1/text/rules/book").json();
    let to = "/api/v1/text/rules/book";
    let brought = served.post("north/depositor", to, &book).json();
    assert_eq!(brought, json!({ "revision": 1, "taken": true }));
    assert_eq!(judge("north/depositor"), ruled);
    let older = json!({ "version": 1, "revision": 0, "next": 1, "rules": {} });
    let brought = served.post("north/depositor", to, &older).json();
    assert_eq!(brought, json!({ "revision": 1, "taken": false }), "the newer one holds");

    let token = Some(served.token(ANN));
    let delete = |id: &str| {
        served.ask(token, "DELETE", &format!("/api/v1/text/rules/{id}"), &[], None).status
    };
    assert_eq!((delete("1"), delete("2"), delete("x")), (200, 404, 400));
    assert_eq!(post("/commit", &json!({})).1, json!({ "revision": 2 }));
    assert_eq!(judge(ANN), plain);
    for bad in [
        json!({ "kind": "phrase", "text": "", "score": 0.9 }),
        json!({ "kind": "phrase", "text": "good", "score": 2 }),
        json!({ "kind": "riddle", "text": "good", "score": 1 }),
    ] {
        assert_eq!(post("", &bad).0, 400, "{bad}");
    }
}

#[test]
fn a_quota_bounds_a_day_and_use_is_told() {
    let served = served();
    let quota = json!({ "account": ANN, "texts_per_day": 5 });
    let set = served.post("north/administrator", "/api/v1/text/quota", &quota);
    assert_eq!(set.json()["quota"]["texts_per_day"], 5);
    let three = json!({ "texts": ["a", "b", "c"] });
    assert_eq!(look(&served, "language", &three).status, 200);
    let refused = look(&served, "language", &three);
    assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("too-many-requests")));
    assert!(refused.header("retry-after").parse::<u64>().unwrap() <= 86_400);
    assert_eq!(look(&served, "language", &json!({ "texts": ["a", "b"] })).status, 200);

    let told = served.get(ANN, "/api/v1/text/usage").json();
    let day = &told["items"][0];
    assert_eq!((&day["calls"], &day["texts"]), (&json!(2), &json!(5)));
    assert_eq!(told["quota"], json!({ "texts_per_day": 5, "bytes_per_day": null }));
    let of = format!("/api/v1/text/usage?account={ANN}&days=1");
    assert_eq!(served.get("north/administrator", &of).json(), told);
    let metrics = served.get("local/administrator", "/metrics").body;
    assert!(String::from_utf8(metrics).unwrap().contains("strongroom_texts_total 5"));

    // Another server of the same archive counts on.
    let world = served.end();
    let token = world.tokens[ANN].clone();
    let served = world.serve(unbounded(0));
    let json = [("content-type", "application/json")];
    let body = Some(br#"{"text":"a"}"#.to_vec());
    let answer = served.ask(Some(&token), "POST", "/api/v1/text/language", &json, body);
    assert_eq!(answer.status, 429);
}

#[test]
fn a_token_that_is_revoked_counts_no_longer_at_once() {
    let served = served();
    let token = served.world.token(ANN, None);
    let json = [("content-type", "application/json")];
    let ask = || {
        let body = Some(br#"{"text":"a"}"#.to_vec());
        served.ask(Some(&token), "POST", "/api/v1/text/language", &json, body).status
    };
    assert_eq!((ask(), ask()), (200, 200));
    let mine = served.ask(Some(&token), "GET", "/api/v1/tokens", &[], None).json();
    let rows = mine["items"].as_array().unwrap();
    let id = rows.last().unwrap()["id"].as_str().unwrap();
    let path = format!("/api/v1/tokens/{id}");
    assert_eq!(served.ask(Some(&token), "DELETE", &path, &[], None).status, 200);
    assert_eq!(ask(), 401);
}

#[test]
fn who_sends_too_fast_waits_and_nobody_else_does() {
    let few = Rate { per_second: 0.001, burst: 3.0 };
    let options = unbounded(0);
    let limits = Limits { texts: few, ..options.limits };
    let served = World::new().serve(Options { limits, ..options });
    let ask = |account: &str| {
        served.post(account, "/api/v1/text/language", &json!({ "text": "a" })).status
    };
    assert_eq!([ask(ANN), ask(ANN), ask(ANN), ask(ANN)], [200, 200, 200, 429]);
    assert_eq!(ask("north/depositor"), 200);
    assert_eq!(served.get(ANN, "/api/v1/me").status, 200, "other calls have their own bounds");
}

#[test]
fn a_short_text_is_answered_while_large_ones_are_looked_at() {
    if std::thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        // On one core there is one thread, and who is there has it.
        return;
    }
    let served = served();
    let large = json!({ "text": "It was a good garden, and a bad mill. ".repeat(250_000) });
    let short = json!({ "text": "The garden is open." });
    std::thread::scope(|scope| {
        let (done, ended) = mpsc::channel();
        for _ in 0..3 {
            let (served, large, done) = (&served, &large, done.clone());
            scope.spawn(move || {
                assert_eq!(look(served, "sentiment", large).status, 200);
                let _ = done.send(());
            });
        }
        let mut answered = 0;
        // All three take seconds on whatever machine; a short text between them waits for none.
        while ended.recv_timeout(Duration::from_millis(1)).is_err() {
            assert_eq!(look(&served, "analyze", &short).status, 200);
            answered += 1;
        }
        assert!(answered > 10, "{answered}");
    });
}

#[test]
fn large_calls_that_never_come_leave_room_for_small_ones() {
    let served = served();
    let begin = |bytes: usize| {
        let mut stream = TcpStream::connect(served.address).unwrap();
        let token = served.token(ANN);
        let head = format!(
            "POST /api/v1/text/language HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {bytes}\r\n\r\n{{"
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream
    };
    let mut left = HELD_BYTES_MAX;
    let mut slow = Vec::new();
    while left > 0 {
        let bytes = left.min(CALL_BYTES_MAX);
        slow.push(begin(bytes));
        left -= bytes;
    }
    let ask = |bytes: usize| look(&served, "language", &json!({ "text": "a ".repeat(bytes / 2) }));
    let held = || {
        let page = served.get("local/administrator", "/metrics").body;
        let page = String::from_utf8(page).unwrap();
        let row = page.lines().find_map(|line| line.strip_prefix("strongroom_texts_held_bytes "));
        row.unwrap().parse::<f64>().unwrap()
    };
    let began = Instant::now();
    let wait_for = |bytes: usize| {
        while held() != bytes as f64 {
            assert!(began.elapsed() < Duration::from_secs(20), "{} are held", held());
        }
    };
    wait_for(HELD_BYTES_MAX);
    assert_eq!(ask(QUICK_BYTES_MAX).status, 503);
    assert_eq!(ask(QUICK_BYTES_MAX / 2).status, 200);
    drop(slow);
    wait_for(0);
    assert_eq!(ask(QUICK_BYTES_MAX).status, 200);
}
