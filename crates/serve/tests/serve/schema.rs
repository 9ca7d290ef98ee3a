//! Bodies against the document. As much of JSON Schema as the document uses; a word that is not known
//! here fails the test, so that nothing is passed over.

use serde_json::Value;

/// The schema of what a request of this method and path is answered with, if it is JSON.
pub(crate) fn of_answer(document: &Value, method: &str, path: &str, status: u16) -> Option<Value> {
    let fits = |pattern: &str| {
        let (pattern, path): (Vec<_>, Vec<_>) =
            (pattern.split('/').collect(), path.split('/').collect());
        let rest = pattern.last() == Some(&"{path}") && path.len() >= pattern.len();
        (rest || pattern.len() == path.len())
            && pattern.iter().zip(&path).all(|(a, b)| a.starts_with('{') || a == b)
    };
    // Of two that fit, the one with fewer names.
    let paths = document["paths"].as_object().unwrap();
    let (_, found) = (paths.iter().filter(|(pattern, _)| fits(pattern)))
        .min_by_key(|(pattern, _)| pattern.matches('{').count())?;
    let responses = &found[method.to_ascii_lowercase()]["responses"];
    let response = match &responses[status.to_string()] {
        Value::Null => &responses["default"],
        response => response,
    };
    let content = response["content"].as_object()?;
    let json = content.iter().find(|(kind, _)| kind.ends_with("json"))?;
    Some(json.1["schema"].clone())
}

pub(crate) fn check(document: &Value, schema: &Value, value: &Value, at: &str) {
    for (word, rule) in schema.as_object().unwrap() {
        match word.as_str() {
            "$ref" => {
                let pointer = rule.as_str().unwrap().strip_prefix('#').unwrap();
                let schema = document.pointer(pointer);
                check(document, schema.unwrap_or_else(|| panic!("{rule}")), value, at);
            }
            "type" => {
                let kinds = match rule {
                    Value::Array(kinds) => kinds.clone(),
                    kind => vec![kind.clone()],
                };
                let is = |kind: &Value| match kind.as_str().unwrap() {
                    "null" => value.is_null(),
                    "string" => value.is_string(),
                    "boolean" => value.is_boolean(),
                    "number" => value.is_number(),
                    "integer" => value.is_i64() || value.is_u64(),
                    "object" => value.is_object(),
                    "array" => value.is_array(),
                    kind => panic!("{kind}"),
                };
                assert!(kinds.iter().any(is), "{at} is not {rule}: {value}");
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(document, schema, value, &format!("{at}.{name}"));
                    }
                }
                for name in value.as_object().unwrap().keys() {
                    assert!(rule.get(name).is_some(), "{at}.{name} is not documented");
                }
            }
            "required" => {
                for name in rule.as_array().unwrap() {
                    assert!(value.get(name.as_str().unwrap()).is_some(), "{at} lacks {name}");
                }
            }
            "items" => {
                for (i, item) in value.as_array().unwrap().iter().enumerate() {
                    check(document, rule, item, &format!("{at}[{i}]"));
                }
            }
            word => panic!("{word} is not known here"),
        }
    }
}

#[test]
fn the_document_that_is_checked_in_is_that_of_the_routes() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    let made = format!("{:#}\n", strongroom_serve::document());
    if std::env::var_os("STRONGROOM_WRITE_OPENAPI").is_some() {
        std::fs::write(path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap();
    assert!(
        kept == made,
        "docs/openapi.json is not what the routes say: run this test with STRONGROOM_WRITE_OPENAPI=1"
    );
}

#[test]
fn each_schema_that_is_named_is_there() {
    let document = strongroom_serve::document();
    let text = document.to_string();
    let named = text.split("#/components/schemas/").skip(1);
    let named: std::collections::BTreeSet<_> =
        named.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(named.len() > 20, "{named:?}");
    for name in named {
        assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
    }
}
