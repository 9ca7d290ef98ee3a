//! The OpenAPI document, made of the table of routes and the schemas below. It is checked in as
//! docs/openapi.json; a test compares the two, and the bodies that other tests get with the schemas.

use crate::routes::{ROUTES, Route};
use serde_json::{Map, Value, json};

/// The document, OpenAPI 3.1.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let path = route.path.replace("{*", "{");
        let operations = paths.entry(path).or_insert_with(|| json!({}));
        operations[route.method.to_ascii_lowercase()] = operation(route);
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Strongroom",
            "version": "1",
            "description": DESCRIPTION,
            "license": { "name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "token": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
            "schemas": schemas(),
        },
    })
}

const DESCRIPTION: &str = "Objects are named `institution/name` (percent-encoded where they stand in \
a path), or by the beginning of their id, with `@NUMBER` for a version. A list is given in pages: \
`after` is the `next` of the page before. Fields may be added, none is renamed.";

fn operation(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| part.strip_prefix('{'));
    let in_path = in_path.map(|part| part.trim_start_matches('*').trim_end_matches('}'));
    let text = json!({ "type": "string" });
    let mut parameters: Vec<_> = in_path
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": text }))
        .collect();
    parameters.extend(route.query.iter().map(|name| {
        let schema = match *name {
            "limit" => json!({ "type": "integer", "minimum": 1, "maximum": crate::PAGE_ROWS_MAX }),
            "accept_degraded" => json!({ "type": "boolean" }),
            _ => text.clone(),
        };
        let (name, required) = (name.trim_end_matches('!'), name.ends_with('!'));
        json!({ "name": name, "in": "query", "required": required, "schema": schema })
    }));
    let content = match route.gives.contains('/') {
        true => json!({ route.gives: {} }),
        false => json!({ "application/json": { "schema": reference(route.gives) } }),
    };
    let mut responses = json!({
        route.status.to_string(): { "description": "Done", "content": content },
        "default": {
            "description": "Refused, or failed; `code` is explained in docs/errors.md",
            "content": { "application/problem+json": { "schema": reference("Problem") } },
        },
    });
    if route.gives == "application/octet-stream" || route.path.ends_with("/content") {
        responses["206"] = json!({ "description": "The range that was asked for" });
    }
    if route.gives == "Ready" {
        let content = json!({ "application/json": { "schema": reference("Ready") } });
        responses["503"] = json!({ "description": "Not ready", "content": content });
    }
    let mut operation = json!({
        "summary": route.summary,
        "parameters": parameters,
        "responses": responses,
    });
    if let Some(takes) = route.takes {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": reference(takes) } },
        });
    }
    if route.gives == "Page" {
        operation["requestBody"] = json!({ "required": true, "content": { "text/html": {} } });
    }
    if route.path.ends_with("/deposits") {
        operation["requestBody"] = json!({
            "required": true,
            "description": "`Repr-Digest` or `Content-Digest` (RFC 9530) is compared",
            "content": { "application/x-tar": {}, "application/gzip": {}, "application/zstd": {} },
        });
    }
    if route.open {
        operation["security"] = json!([]);
    }
    operation
}

fn reference(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

/// A schema of an object from `name: type` pairs: a type is a JSON type, `type?` where null is one too,
/// `[Name]` for a list of another schema, or such a schema's name. A name that begins with `-` may be
/// absent.
fn object(fields: &[(&str, &str)]) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for (name, kind) in fields {
        let schema = match kind.strip_suffix('?') {
            Some(kind) => json!({ "type": [kind, "null"] }),
            None if *kind == "any" => json!({}),
            None if kind.starts_with('[') => {
                let inner = kind.trim_matches(['[', ']']);
                json!({ "type": "array", "items": reference(inner) })
            }
            None if kind.starts_with(char::is_uppercase) => reference(kind),
            None => json!({ "type": kind }),
        };
        match name.strip_prefix('-') {
            Some(name) => properties.insert(name.into(), schema),
            None => {
                required.push(*name);
                properties.insert((*name).into(), schema)
            }
        };
    }
    json!({ "type": "object", "properties": properties, "required": required })
}

/// Schemas of what concerns texts.
#[rustfmt::skip]
fn texts() -> Value {
    let place: &[(&str, &str)] = &[("bytes", "Place"), ("chars", "Place")];
    let said: &[(&str, &str)] = &[("label", "string"), ("score", "number"), ("confidence", "number")];
    let found: &[(&str, &str)] = &[
        ("-id", "any"), ("-language", "string?"), ("-confidence", "number"), ("-sentences", "[Sentence]"), ("-sentiment", "Sentiment"),
        ("-entities", "[Entity]"), ("-chunks", "[Chunk]"), ("-themes", "[Theme]"), ("-topics", "[Toward]"), ("-matches", "[Match]"),
    ];
    json!({
        "Texts": object(&[
            ("-text", "string"), ("-id", "any"), ("-language", "string?"), ("-texts", "array"), ("-because", "boolean"), ("-each", "boolean"), ("-entities", "boolean"), ("-chunks", "boolean"),
            ("-themes", "boolean"), ("-topics", "[Topic]"), ("-filters", "array"),
        ]),
        "Topic": object(&[("name", "string"), ("words", "[TopicWord]")]),
        "TopicWord": object(&[("kind", "string"), ("text", "string")]),
        "TextAnswer": object(&[found, &[("-items", "[TextItem]")]].concat()),
        "TextItem": object(&[found, &[("-error", "string")]].concat()),
        "Entity": object(&[place, &[("kind", "string"), ("text", "string"), ("confidence", "number")]].concat()),
        "Chunk": object(&[place, said, &[("text", "string")]].concat()),
        "Theme": object(&[("text", "string"), ("lemma", "string"), ("score", "number"), ("count", "integer"), ("occurrences", "[Places]"), ("sentiment", "Sentiment")]),
        "Toward": object(&[said, &[("topic", "string"), ("count", "integer"), ("occurrences", "[Occurrence]")]].concat()),
        "Occurrence": object(&[place, said].concat()),
        "Match": object(&[("matched", "boolean"), ("ranges", "[Places]"), ("count", "integer")]),
        "Page": object(&[("-title", "string"), ("-language", "string"), ("text", "string"), ("blocks", "[Block]"), ("-cut", "boolean")]),
        "Block": object(&[("bytes", "Place"), ("html", "Place"), ("kind", "string")]),
        "Places": object(place),
        "Place": object(&[("start", "integer"), ("end", "integer")]),
        "Sentence": object(&[("bytes", "Place"), ("chars", "Place"), ("tokens", "[WordToken]"), ("-sentiment", "Sentiment")]),
        "WordToken": object(&[("bytes", "Place"), ("chars", "Place"), ("words", "[Word]")]),
        "Word": object(&[("form", "string"), ("-lemma", "string"), ("upos", "string")]),
        "Sentiment": object(&[said, &[("-because", "[Reason]")]].concat()),
        "Reason": object(&[("text", "string"), ("bytes", "Place"), ("effect", "number")]),
        "TextRule": object(&[("kind", "string"), ("text", "string"), ("score", "number"), ("-language", "string?")]),
        "KeptTextRule": object(&[("id", "integer"), ("kind", "string"), ("text", "string"), ("score", "number"), ("language", "string?")]),
        "TextRules": object(&[("revision", "integer"), ("items", "[KeptTextRule]"), ("waiting", "array"), ("next", "string?")]),
        "TextRuleId": object(&[("id", "integer")]),
        "TextRevision": object(&[("revision", "integer"), ("-taken", "boolean")]),
        "TextBook": object(&[("version", "integer"), ("revision", "integer"), ("next", "integer"), ("rules", "object"), ("-waiting", "array")]),
        "TextDay": object(&[("day", "string"), ("calls", "integer"), ("texts", "integer"), ("bytes", "integer")]),
        "DayQuota": object(&[("texts_per_day", "integer?"), ("bytes_per_day", "integer?")]),
        "TextUsage": object(&[("account", "string"), ("quota", "DayQuota"), ("items", "[TextDay]"), ("next", "string?")]),
        "SetTextQuota": object(&[("account", "string"), ("-texts_per_day", "integer?"), ("-bytes_per_day", "integer?")]),
        "TextQuota": object(&[("account", "string"), ("quota", "DayQuota")]),
    })
}

#[rustfmt::skip]
fn schemas() -> Value {
    let account: &[(&str, &str)] = &[("id", "string"), ("account", "string"), ("role", "string"), ("state", "string"), ("created", "string")];
    let token: &[(&str, &str)] = &[
        ("id", "string"), ("name", "string"), ("scopes", "string"), ("once", "boolean"), ("created", "string"),
        ("expires", "string?"), ("last_used", "string?"), ("revoked", "string?"),
    ];
    let mut all = json!({
        "Problem": object(&[("type", "string"), ("title", "string"), ("status", "integer"), ("detail", "string"), ("code", "string"), ("remedy", "string")]),
        "Ready": object(&[("ready", "boolean"), ("registry", "boolean"), ("read_only", "boolean"), ("writable_shelves", "integer"), ("missing_shelves", "integer"), ("stopping", "boolean")]),
        "Document": object(&[
            ("openapi", "string"), ("info", "object"), ("servers", "array"), ("security", "array"), ("paths", "object"), ("components", "object"),
        ]),
        "Nothing": { "type": "object" },
        "Me": object(&[account, &[("scopes", "string"), ("once", "boolean")]].concat()),
        "ObjectRow": object(&[
            ("id", "string"), ("name", "string"), ("versions", "integer"), ("latest", "integer?"), ("files", "integer"),
            ("bytes", "integer"), ("published", "string?"), ("source", "string?"),
        ]),
        "Object": object(&[
            ("id", "string"), ("name", "string"), ("institution", "string"), ("policy", "string"), ("source", "string?"),
            ("versions", "[Version]"), ("shown", "integer"),
        ]),
        "Version": object(&[
            ("id", "string"), ("number", "integer"), ("published", "string?"), ("files", "integer"), ("bytes", "integer"),
            ("bag", "boolean"), ("source", "string"), ("record", "string?"), ("record_sha256", "string?"),
        ]),
        "File": object(&[
            ("id", "string"), ("number", "string"), ("-path", "string"), ("-path_base64", "string"), ("kind", "string"), ("mode", "integer"),
            ("mtime_ns", "string"), ("size", "string"), ("sha256", "string"), ("-digests", "object"), ("-target", "string"),
            ("-target_base64", "string"), ("-made", "boolean"), ("-format", "string"), ("extents", "array"),
        ]),
        "Segment": object(&[("id", "string"), ("kind", "string"), ("bytes", "integer"), ("coding", "string"), ("number", "string"), ("shards", "[Shard]")]),
        "Shard": object(&[("index", "integer"), ("shelf", "string"), ("log", "string"), ("bytes", "integer"), ("state", "string"), ("checked", "string")]),
        "Event": object(&[
            ("hash", "string"), ("institution", "string"), ("epoch", "integer"), ("sequence", "string"), ("time", "string"), ("before", "string"),
            ("type", "string"), ("outcome", "string"), ("detail", "object"), ("-object", "string"), ("-version", "string"), ("-work", "string"),
            ("-files", "string"), ("-files_root", "string"), ("event_hash", "string"),
        ]),
        "Chain": object(&[("institution", "string"), ("events", "integer"), ("holds", "boolean"), ("broken_at", "integer?"), ("head", "string")]),
        "Work": object(&[
            ("id", "string"), ("kind", "string"), ("institution", "string"), ("object", "string?"), ("key", "string?"), ("stage", "string"),
            ("status", "string"), ("attempts", "integer"), ("asked_by", "string?"), ("worker", "string?"), ("lease_until", "string?"), ("request", "object"),
            ("note", "string"), ("report", "object?"), ("created", "string"), ("updated", "string"),
        ]),
        "Requeue": object(&[("-stage", "string?")]),
        "Deposit": object(&[("work", "Work"), ("bytes", "integer"), ("sha256", "string")]),
        "Restore": object(&[("object", "string"), ("as", "string")]),
        "Restoration": object(&[("work", "Work"), ("ready", "boolean")]),
        "Status": object(&[
            ("data", "string"), ("key", "object"), ("objects", "integer"), ("versions", "integer"), ("files", "integer"), ("bytes", "integer"),
            ("segments", "object"), ("shards", "object"), ("work", "object"), ("shelves", "[Shelf]"), ("shelves_on_one_disk", "boolean"),
            ("pending_bytes", "integer"), ("paused", "array"), ("fixity", "object"), ("free_bytes", "integer"), ("disks", "integer"),
        ]),
        "Shelf": object(&[
            ("id", "string"), ("name", "string"), ("location", "string"), ("domain", "string"), ("state", "string"), ("stored_bytes", "integer"),
            ("live_bytes", "integer?"), ("live_shards", "integer?"), ("pending_bytes", "integer?"), ("pending_shards", "integer?"),
            ("unknown_bytes", "integer?"), ("unknown_logs", "integer?"), ("mounted_read_only", "boolean?"),
            ("free_bytes", "integer?"), ("capacity_bytes", "integer?"), ("device", "string?"), ("missing", "string?"),
        ]),
        "Institution": object(&[("id", "string"), ("name", "string"), ("policy", "string?"), ("created", "string")]),
        "AddInstitution": object(&[("name", "string")]),
        "Account": object(account),
        "AddAccount": object(&[("account", "string"), ("role", "string")]),
        "SetAccount": object(&[("state", "string")]),
        "Token": object(token),
        "CreateToken": object(&[("-account", "string?"), ("name", "string"), ("-scopes", "string?"), ("-days", "integer")]),
        "NewToken": object(&[token, &[("token", "string")]].concat()),
    });
    if let (Some(all), Value::Object(texts)) = (all.as_object_mut(), texts()) {
        all.extend(texts);
    }
    for (list, item) in [
        ("Objects", "ObjectRow"), ("Versions", "Version"), ("Files", "File"), ("Segments", "Segment"), ("Events", "Event"), ("Works", "Work"),
        ("Shelves", "Shelf"), ("Institutions", "Institution"), ("Accounts", "Account"), ("Tokens", "Token"),
    ] {
        let items = format!("[{item}]");
        all[list] = object(&[("items", items.as_str()), ("next", "string?")]);
    }
    all
}
