//! Who may what, over HTTP: each role, for each action, on its own institution and on another, against
//! a matrix that is written out.

use crate::world::{Answer, PLACES, Served, World, unbounded};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use strongroom_registry::{AccountState, Role};
use strongroom_serve::permit::{Action, Scope};

/// For each action, and each of depositor, administrator, auditor, observer, node keeper: whether a
/// member's account may do it to its own institution, to another, and whether an account of the house
/// may, to its own and to another.
#[rustfmt::skip]
const MATRIX: &[(Action, [&str; 5])] = &[
    (Action::Catalogue,      ["+-+-", "+-++", "+-++", "+-+-", "----"]),
    (Action::Events,         ["+-+-", "+-++", "+-++", "+-+-", "----"]),
    (Action::Contents,       ["+-+-", "+-+-", "----", "----", "----"]),
    (Action::Deposit,        ["+-+-", "+-+-", "----", "----", "----"]),
    (Action::Restore,        ["+-+-", "+-+-", "----", "----", "----"]),
    (Action::WatchWork,      ["+-+-", "+-++", "+-++", "+-+-", "----"]),
    (Action::SteerWork,      ["+-+-", "+-++", "----", "----", "----"]),
    (Action::Accounts,       ["----", "+-++", "+-++", "----", "----"]),
    (Action::ManageAccounts, ["----", "+-++", "----", "----", "----"]),
    // What concerns the archive, or only oneself: the same, whatever institution one thinks of.
    (Action::Status,         ["----", "++++", "++++", "++++", "++++"]),
    (Action::Institutions,   ["++++", "++++", "++++", "++++", "++++"]),
    (Action::AddInstitution, ["----", "--++", "----", "----", "----"]),
    (Action::Analyse,        ["++++", "++++", "++++", "++++", "----"]),
    (Action::OwnTokens,      ["++++", "++++", "++++", "++++", "++++"]),
];

/// What there is of an institution to ask for.
struct Target {
    name: &'static str,
    /// A work item, and a restoration, that wait.
    restoration: String,
    /// A work item that has ended.
    ended: String,
    /// The id of a token of its spare account.
    token: String,
}

/// A request for an action; the path is as in the document.
struct Ask {
    action: Action,
    method: &'static str,
    path: &'static str,
    query: String,
    body: Option<Value>,
    /// What stands in the path.
    named: String,
}

/// Every route that wants a token, with the action that it is.
fn asks(target: &Target) -> Vec<Ask> {
    let object = format!("{}/letters", target.name);
    let of = format!("?institution={}", target.name);
    let spare = format!("{}/spare", target.name);
    let ask = |action, method, path, query: &str, body: Option<Value>, named: &str| Ask {
        action,
        method,
        path,
        query: query.into(),
        body,
        named: named.into(),
    };
    let get = |action, path, query: &str, named: &str| ask(action, "GET", path, query, None, named);
    let work = |path| get(Action::WatchWork, path, "", &target.ended);
    let steer = |path| ask(Action::SteerWork, "POST", path, "", Some(json!({})), &target.ended);
    let restoration = |path| get(Action::Restore, path, "", &target.restoration);
    let deposit = format!("?object={}/new", target.name);
    let account = json!({ "account": format!("{}/someone", target.name), "role": "observer" });
    let token = json!({ "account": spare, "name": "more", "days": 1, "scopes": "read" });
    let post = |action, path, body: Value| ask(action, "POST", path, "", Some(body), "");
    let text = |path| post(Action::Analyse, path, json!({ "text": "The garden is open." }));
    let rule = json!({ "kind": "phrase", "text": "old mill", "score": 0.5 });
    let book = json!({ "version": 1, "revision": 0, "next": 1, "rules": {} });
    vec![
        get(Action::Catalogue, "/api/v1/objects", &of, ""),
        get(Action::Catalogue, "/api/v1/objects/{object}", "", &object),
        get(Action::Catalogue, "/api/v1/objects/{object}/versions", "", &object),
        get(Action::Catalogue, "/api/v1/objects/{object}/files", "", &object),
        get(Action::Catalogue, "/api/v1/objects/{object}/segments", "?ids=", &object),
        get(Action::Contents, "/api/v1/objects/{object}/bytes/{path}", "", &object),
        get(Action::Events, "/api/v1/events", &of, ""),
        get(Action::Events, "/api/v1/events", &format!("?object={object}"), ""),
        get(Action::Events, "/api/v1/events/verify", &of, ""),
        get(Action::WatchWork, "/api/v1/work", &of, ""),
        work("/api/v1/work/{id}"),
        work("/api/v1/work/{id}/progress"),
        steer("/api/v1/work/{id}/requeue"),
        steer("/api/v1/work/{id}/cancel"),
        ask(Action::Deposit, "POST", "/api/v1/deposits", &deposit, None, ""),
        ask(
            Action::Restore,
            "POST",
            "/api/v1/restorations",
            "",
            Some(json!({ "object": object, "as": "tar" })),
            "",
        ),
        restoration("/api/v1/restorations/{id}"),
        restoration("/api/v1/restorations/{id}/content"),
        get(Action::Status, "/api/v1/status", "", ""),
        get(Action::Status, "/api/v1/shelves", "", ""),
        get(Action::Status, "/metrics", "", ""),
        get(Action::Institutions, "/api/v1/institutions", "", ""),
        ask(
            Action::AddInstitution,
            "POST",
            "/api/v1/institutions",
            "",
            Some(json!({ "name": "south" })),
            "",
        ),
        get(Action::Accounts, "/api/v1/accounts", &of, ""),
        get(Action::Accounts, "/api/v1/tokens", &format!("?account={}/auditor", target.name), ""),
        ask(Action::ManageAccounts, "POST", "/api/v1/accounts", "", Some(account), ""),
        ask(
            Action::ManageAccounts,
            "POST",
            "/api/v1/accounts/{account}",
            "",
            Some(json!({ "state": "active" })),
            &spare,
        ),
        ask(Action::ManageAccounts, "POST", "/api/v1/tokens", "", Some(token), ""),
        ask(Action::ManageAccounts, "DELETE", "/api/v1/tokens/{id}", "", None, &target.token),
        get(Action::OwnTokens, "/api/v1/tokens", "", ""),
        ask(
            Action::OwnTokens,
            "POST",
            "/api/v1/tokens",
            "",
            Some(json!({ "name": "mine", "days": 1 })),
            "",
        ),
        text("/api/v1/text/analyze"),
        text("/api/v1/text/language"),
        text("/api/v1/text/tag"),
        text("/api/v1/text/sentiment"),
        text("/api/v1/text/entities"),
        text("/api/v1/text/chunks"),
        text("/api/v1/text/themes"),
        post(Action::Analyse, "/api/v1/text/topics", json!({ "text": "The mill.", "topics": [] })),
        post(
            Action::Analyse,
            "/api/v1/text/filter",
            json!({ "text": "The mill.", "filters": ["mill"] }),
        ),
        ask(Action::Analyse, "POST", "/api/v1/text/html", "", Some(json!("<p>The mill.")), ""),
        get(Action::Analyse, "/api/v1/text/rules", "", ""),
        get(Action::Analyse, "/api/v1/text/rules/book", "", ""),
        get(Action::Analyse, "/api/v1/text/usage", "", ""),
        post(Action::Analyse, "/api/v1/text/rules", rule),
        post(Action::Analyse, "/api/v1/text/rules/commit", json!({})),
        post(Action::Analyse, "/api/v1/text/rules/book", book),
        ask(Action::Analyse, "DELETE", "/api/v1/text/rules/{id}", "", None, "0"),
        get(Action::Accounts, "/api/v1/text/usage", &format!("?account={}/spare", target.name), ""),
        post(Action::ManageAccounts, "/api/v1/text/quota", json!({ "account": spare })),
    ]
}

/// Whether what was asked may be done: that work has ended, that an account is there, or that a rule is not, is for
/// those to know who may.
fn may(ask: &Ask, answer: &Answer) -> bool {
    let no_rule = ask.path == "/api/v1/text/rules/{id}" && answer.status == 404;
    matches!(answer.status, 200..=299 | 409) || no_rule
}

/// Routes that want a token and no right: who one is, and what only a one-time token may.
const OF_NO_ACTION: [(&str, &str); 2] =
    [("get", "/api/v1/me"), ("post", "/api/v1/tokens/exchange")];

fn send(served: &Served, token: Option<&str>, ask: &Ask) -> Answer {
    let named = strongroom_serve::uri::escape(ask.named.as_bytes());
    let path = ["{object}", "{id}", "{account}"]
        .iter()
        .fold(ask.path.to_string(), |path, name| path.replace(name, &named))
        .replace("{path}", "1914/june.txt");
    let target = format!("{path}{}", ask.query);
    match (&ask.body, ask.path) {
        (Some(page), "/api/v1/text/html") => {
            let html = [("content-type", "text/html")];
            let page = page.as_str().map(|page| page.as_bytes().to_vec());
            served.ask(token, ask.method, &target, &html, page)
        }
        (Some(body), _) => {
            let json = [("content-type", "application/json")];
            served.ask(token, ask.method, &target, &json, Some(body.to_string().into_bytes()))
        }
        (None, "/api/v1/deposits") => {
            served.ask(token, ask.method, &target, &[], Some(crate::records::small_tar()))
        }
        (None, _) => served.ask(token, ask.method, &target, &[], None),
    }
}

fn target(served: &Served, name: &'static str) -> Target {
    let depositor = format!("{name}/depositor");
    let restore = json!({ "object": format!("{name}/letters"), "as": "tar" });
    let made = served.post(&depositor, "/api/v1/restorations", &restore);
    assert_eq!(made.status, 200);
    let work = served.get(&depositor, &format!("/api/v1/work?institution={name}&kind=ingest"));
    // A token that is revoked can be revoked again, so one does for all who try.
    served.world.token(&format!("{name}/spare"), Some("read"));
    let tokens = format!("/api/v1/tokens?account={name}/spare");
    let tokens = served.get(&format!("{name}/administrator"), &tokens).json();
    Target {
        name,
        restoration: made.json()["id"].as_str().unwrap().into(),
        ended: work.json()["items"][0]["id"].as_str().unwrap().into(),
        token: tokens["items"][0]["id"].as_str().unwrap().into(),
    }
}

#[test]
fn each_role_may_what_the_table_says_and_nothing_else() {
    // No worker: what is queued stays queued, so that nothing depends on when.
    let served = World::new().serve(unbounded(0));
    let targets = PLACES.map(|name| target(&served, name));
    let mut asked = BTreeSet::new();
    let mut wrong = Vec::new();
    for (action, rows) in MATRIX {
        for (role, row) in Role::ALL.into_iter().zip(rows) {
            let cells: Vec<_> = row.chars().collect();
            for (cell, (house, other)) in
                [(false, false), (false, true), (true, false), (true, true)].into_iter().enumerate()
            {
                let (own, others) = if house { (0, 1) } else { (1, 0) };
                let target = &targets[if other { others } else { own }];
                let account = format!("{}/{role}", PLACES[own]);
                for ask in asks(target).iter().filter(|ask| ask.action == *action) {
                    let answer = send(&served, Some(served.token(&account)), ask);
                    let may = may(ask, &answer);
                    let refused = answer.status == 403 && answer.json()["code"] == "forbidden";
                    if may == refused || may != (cells[cell] == '+') {
                        wrong.push(format!(
                            "{account}: {} {} of {}: {}",
                            ask.method, ask.path, target.name, answer.status
                        ));
                    }
                    asked.insert((ask.method.to_ascii_lowercase(), ask.path.to_string()));
                }
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(MATRIX.len(), Action::ALL.len());

    // Nothing was left out: each route that wants a token was asked.
    let document = strongroom_serve::document();
    let mut documented = BTreeSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            if operation.get("security").is_none() {
                documented.insert((method.clone(), path.clone()));
            }
        }
    }
    asked.extend(OF_NO_ACTION.map(|(method, path)| (method.into(), path.into())));
    assert_eq!(asked, documented);
}

#[test]
fn who_does_not_count_is_refused_everything() {
    let served = World::new().serve(unbounded(0));
    let targets = PLACES.map(|name| target(&served, name));
    let world = &served.world;
    let good = served.token("local/administrator").to_string();
    let now = world.archive.now();
    world.disable("north/depositor", AccountState::Disabled);
    let revoked = world.like(&good, |token| token.name = "revoked".into());
    let listed = served.get("local/administrator", "/api/v1/tokens").json();
    let of_name = |name: &str| {
        let items = listed["items"].as_array().unwrap().clone();
        items.into_iter().find(|t| t["name"] == name).unwrap()["id"].as_str().unwrap().to_string()
    };
    let path = format!("/api/v1/tokens/{}", of_name("revoked"));
    assert_eq!(served.ask(Some(&revoked), "DELETE", &path, &[], None).status, 200);
    let expired = world.like(&good, |token| {
        token.name = "expired".into();
        token.expires = Some(now.plus_seconds(-1));
    });
    let disabled = served.token("north/depositor").to_string();
    let strangers = [
        ("no token", None),
        ("revoked", Some(revoked.as_str())),
        ("expired", Some(&expired)),
        ("disabled account", Some(&disabled)),
        (
            "guessed",
            Some(concat!(
                "srt_",
                "0000000000000000000000000000000000000000000000000000000000000000"
            )),
        ),
        ("no token at all", Some("ada")),
    ];
    for (why, token) in strangers {
        for ask in asks(&targets[1]) {
            let answer = send(&served, token, &ask);
            assert_eq!(answer.status, 401, "{why}: {} {}", ask.method, ask.path);
            assert_eq!(answer.json()["code"], "unauthorized");
            assert_eq!(answer.header("www-authenticate"), "Bearer");
        }
    }
    world.disable("north/depositor", AccountState::Active);
    assert_eq!(served.get("north/depositor", "/api/v1/me").status, 200, "it counts again");
    for open in ["/health/live", "/health/ready", "/api/v1/openapi.json"] {
        assert_eq!(served.ask(None, "GET", open, &[], None).status, 200, "{open}");
    }
}

#[test]
fn a_token_is_good_for_its_scopes_alone() {
    let served = World::new().serve(unbounded(0));
    let targets = PLACES.map(|name| target(&served, name));
    for scope in Scope::ALL {
        // In the house and of it, an administrator may do everything to its own.
        let token = served.world.token("local/administrator", Some(scope.word()));
        for ask in asks(&targets[0]) {
            let answer = send(&served, Some(&token), &ask);
            let needed = match ask.action {
                // To see one's own tokens is part of managing them.
                Action::OwnTokens => Scope::Admin,
                action => action.scope(),
            };
            // What it makes has no more scopes than it has.
            let widens = ask.path == "/api/v1/tokens"
                && ask.body.as_ref().is_some_and(|body| body["scopes"] == "read");
            let expected = *scope == needed && !widens;
            assert_eq!(
                (may(&ask, &answer), answer.status == 403),
                (expected, !expected),
                "{}: {} {}: {}",
                scope.word(),
                ask.method,
                ask.path,
                answer.status
            );
        }
    }
}

#[test]
fn lists_that_name_no_institution_tell_of_what_one_may_see() {
    let served = World::new().serve(unbounded(0));
    let names = |account: &str, target: &str, field: &str| {
        let answer = served.get(account, target);
        assert_eq!(answer.status, 200, "{account} {target}");
        let items = answer.json()["items"].as_array().unwrap().clone();
        items.iter().map(|item| item[field].as_str().unwrap().to_string()).collect::<Vec<_>>()
    };
    let both = ["local/letters", "north/letters"];
    for (account, objects, works) in [
        ("north/depositor", &both[1..], 1),
        ("local/depositor", &both[..1], 1),
        ("north/administrator", &both[1..], 1),
        ("local/administrator", &both[..], 2),
        ("local/auditor", &both[..], 2),
        ("north/observer", &both[1..], 1),
    ] {
        assert_eq!(names(account, "/api/v1/objects", "name"), objects, "{account}");
        assert_eq!(names(account, "/api/v1/work", "id").len(), works, "{account}");
    }
    assert_eq!(names("north/administrator", "/api/v1/accounts", "account").len(), 6);
    assert_eq!(names("local/administrator", "/api/v1/accounts", "account").len(), 12);
    // A bare name is one of the caller's own institution.
    let shown = served.get("north/depositor", "/api/v1/objects/letters").json();
    assert_eq!(shown["name"], "north/letters");
    // Whether there is such an object elsewhere is not told.
    for name in ["local%2Fletters", "local%2Fnothing", "nowhere%2Fnothing"] {
        let answer = served.get("north/depositor", &format!("/api/v1/objects/{name}"));
        assert_eq!(answer.status, 403, "{name}");
    }
}

#[test]
fn a_one_time_token_is_exchanged_once_and_good_for_nothing_else() {
    let world = World::new();
    let registry = world.archive.registry();
    assert_eq!(
        strongroom_serve::first_administrator(&world.archive).unwrap(),
        None,
        "there is an administrator with a token"
    );
    world.disable("local/administrator", AccountState::Disabled);
    let first = strongroom_serve::first_administrator(&world.archive).unwrap().unwrap();
    let once = strongroom_serve::first_administrator(&world.archive).unwrap().unwrap();
    let house = world.archive.block_on(registry.institution_by_name("local")).unwrap().unwrap();
    let admin = world.archive.block_on(registry.account_by_name(house.id, "admin")).unwrap();
    assert_eq!(admin.unwrap().role, "administrator");
    let served = world.serve(unbounded(0));
    let json = [("content-type", "application/json")];
    let exchange = |token: &str| {
        let body = Some(b"{}".to_vec());
        served.ask(Some(token), "POST", "/api/v1/tokens/exchange", &json, body)
    };
    let asked = |token: &str| served.ask(Some(token), "GET", "/api/v1/objects", &[], None).status;
    assert_eq!(exchange(&first).status, 401, "the second start made the first one useless");
    assert_eq!(asked(&once), 403);
    let given = exchange(&once);
    assert_eq!(given.status, 200);
    let lasting = given.json()["token"].as_str().unwrap().to_string();
    assert_eq!(asked(&lasting), 200);
    assert_eq!(exchange(&once).status, 401);
    assert_eq!(exchange(&lasting).status, 403, "it is no one-time token");
    assert_eq!(strongroom_serve::first_administrator(&served.world.archive).unwrap(), None);
    // What is kept is the hash alone.
    let data = served.world.archive.data().join("strongroom.db");
    for file in [data.clone(), data.with_extension("db-wal")] {
        let bytes = std::fs::read(file).unwrap_or_default();
        for secret in [&once, &lasting] {
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "a token stands in the registry");
        }
    }
}
