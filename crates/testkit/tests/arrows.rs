//! The arrows of the house: which room may use which, checked from cargo's own metadata.
//!
//! The table is that of ARCHITECTURE.md. An arrow that is not in it fails here, so that a new
//! dependency between rooms is a decision and never an accident.

use serde_json::Value;
use std::collections::BTreeMap;
use std::process::Command;

/// Each room, and the rooms that it may use.
const MAY_USE: &[(&str, &[&str])] = &[
    ("digest", &[]),
    ("record", &[]),
    ("bag", &["record", "digest"]),
    ("shard", &["digest"]),
    ("text", &[]),
    ("spool", &[]),
    ("registry", &["record"]),
    ("wire", &["spool"]),
    ("vault", &["record", "shard", "spool"]),
    ("intake", &["record", "digest", "bag", "registry", "vault"]),
    ("serve", &["record", "digest", "bag", "text", "registry", "vault", "intake"]),
    (
        "strongroom",
        &[
            "digest", "record", "bag", "shard", "text", "spool", "registry", "wire", "vault",
            "intake", "serve",
        ],
    ),
    (
        "testkit",
        &["digest", "record", "bag", "shard", "spool", "registry", "vault", "intake", "serve"],
    ),
];

/// Rooms that are pure: bytes in, bytes out, with no I/O of their own.
const PURE: &[&str] = &["digest", "record", "shard", "text"];

/// What a pure room must not know: async runtimes, databases, files, random sources, clocks.
const IMPURE: &[&str] = &["tokio", "sqlx", "rustix", "libc", "getrandom", "tempfile", "tracing"];

/// Only binaries' and libraries' own arrows count; what tests use is their own matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Normal,
    Dev,
}

/// Package names, each with what it depends on.
type Graph = BTreeMap<String, Vec<(Kind, String)>>;

/// Every arrow of `graph` that the table does not have, in words.
fn wrong_arrows(graph: &Graph) -> Vec<String> {
    let mut wrong = Vec::new();
    for (package, uses) in graph {
        let room = room(package).unwrap_or(package);
        let Some((_, allowed)) = MAY_USE.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{package} is no room of the table"));
            continue;
        };
        for (kind, used) in uses {
            if *kind == Kind::Dev {
                continue;
            }
            match self::room(used) {
                Some(other) if !allowed.contains(&other) => {
                    wrong.push(format!("{room} must not use {other}"));
                }
                None if PURE.contains(&room) && IMPURE.contains(&used.as_str()) => {
                    wrong.push(format!("{room} is pure and must not use {used}"));
                }
                _ => {}
            }
        }
    }
    wrong
}

/// The room of a package, where it is one of this workspace.
fn room(package: &str) -> Option<&str> {
    match package {
        "strongroom" => Some(package),
        _ => package.strip_prefix("strongroom-"),
    }
}

fn graph_of_workspace() -> Graph {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("metadata is JSON");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    let list = |value: &Value| value.as_array().expect("an array").clone();
    let arrow = |dependency: &Value| {
        let kind = match dependency["kind"].as_str() {
            Some("dev") => Kind::Dev,
            _ => Kind::Normal, // null, or a build script's
        };
        (kind, text(&dependency["name"]))
    };
    list(&metadata["packages"])
        .iter()
        .map(|p| (text(&p["name"]), list(&p["dependencies"]).iter().map(arrow).collect()))
        .collect()
}

#[test]
fn the_arrows_of_the_house_hold() {
    let graph = graph_of_workspace();
    for room in ["strongroom", "strongroom-record", "strongroom-testkit"] {
        assert!(graph.contains_key(room), "{room} is not in cargo's metadata");
    }
    assert_eq!(wrong_arrows(&graph), Vec::<String>::new());
}

#[test]
fn a_wrong_arrow_is_found() {
    let check = |package: &str, kind: Kind, used: &str, expected: &[&str]| {
        let graph = Graph::from([(package.to_owned(), vec![(kind, used.to_owned())])]);
        assert_eq!(wrong_arrows(&graph), expected, "{package} -> {used}");
    };
    check("strongroom-bag", Kind::Normal, "strongroom-digest", &[]);
    check("strongroom-bag", Kind::Normal, "strongroom-vault", &["bag must not use vault"]);
    check("strongroom-record", Kind::Normal, "strongroom-bag", &["record must not use bag"]);
    check("strongroom-vault", Kind::Normal, "strongroom", &["vault must not use strongroom"]);
    check("strongroom-vault", Kind::Normal, "strongroom-testkit", &["vault must not use testkit"]);
    check("strongroom-vault", Kind::Dev, "strongroom-testkit", &[]);
    check("strongroom-shard", Kind::Normal, "tokio", &["shard is pure and must not use tokio"]);
    check("strongroom-shard", Kind::Dev, "tempfile", &[]);
    check(
        "strongroom-cellar",
        Kind::Normal,
        "serde",
        &["strongroom-cellar is no room of the table"],
    );
}

#[test]
fn the_table_has_no_circle() {
    // Rooms stand in the order of the house: an arrow only ever points to one above.
    for (i, (room, uses)) in MAY_USE.iter().enumerate() {
        for used in *uses {
            let above = MAY_USE[..i].iter().any(|(name, _)| name == used);
            assert!(above, "{room} may use {used}, which does not stand above it");
        }
    }
}
