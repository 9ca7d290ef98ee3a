//! Percent-encoding (RFC 3986): paths and queries, to and from bytes.

use std::collections::HashMap;

/// `bytes` so that they can stand in one segment of a path, or in a query.
pub fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                text.push(char::from(byte));
            }
            _ => text.push_str(&format!("%{byte:02X}")),
        }
    }
    text
}

/// The bytes that an encoded text stands for; `None` where it is no encoding.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let digit =
        |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => (digit(rest.next())? << 4) | digit(rest.next())?,
            byte => byte,
        });
    }
    Some(bytes)
}

/// `?name=value&...` of those that have a value.
pub(crate) fn query(pairs: &[(&str, Option<String>)]) -> String {
    let given = pairs.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
    let all: Vec<_> =
        given.map(|(name, value)| format!("{name}={}", escape(value.as_bytes()))).collect();
    if all.is_empty() { String::new() } else { format!("?{}", all.join("&")) }
}

/// The pairs of a query, each name once; `None` where it is not text.
pub(crate) fn pairs(query: &str) -> Option<HashMap<String, String>> {
    let mut all = HashMap::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let text = |part: &str| String::from_utf8(unescape(&part.replace('+', " "))?).ok();
        if all.insert(text(name)?, text(value)?).is_some() {
            return None;
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_reads_back() {
        for bytes in [&b"local/letters"[..], b"caf\xe9 %2F..", b"", "ä&=?#+".as_bytes()] {
            let text = escape(bytes);
            assert!(text.is_ascii() && !text.contains('/'), "{text}");
            assert_eq!(unescape(&text).unwrap(), bytes);
        }
        for bad in ["%", "%4", "%zz", "a%é"] {
            assert_eq!(unescape(bad), None, "{bad}");
        }
    }

    #[test]
    fn queries_read_back_and_say_each_thing_once() {
        let given = [("a", Some("x&y=z ä".to_string())), ("b", None), ("c", Some(String::new()))];
        let text = query(&given);
        let read = pairs(text.strip_prefix('?').unwrap()).unwrap();
        assert_eq!(read.len(), 2);
        assert_eq!((read["a"].as_str(), read["c"].as_str()), ("x&y=z ä", ""));
        assert_eq!(query(&[("a", None)]), "");
        assert_eq!(pairs("a=1&a=2"), None);
        assert_eq!(pairs("a=%FF"), None);
        assert_eq!(pairs("a=b+c").unwrap()["a"], "b c");
    }
}
