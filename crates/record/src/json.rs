//! JSON as it is stored: canonical (RFC 8785), identifiers in hex, bytes that are not UTF-8 in
//! base64, integers that can pass 2^53 as decimal strings.

use crate::Error;
use serde_json::Value;

/// Writes bytes as text.
pub mod bytes {
    /// Lower-case hexadecimal.
    pub fn hex(bytes: &[u8]) -> String {
        crate::id::hex(bytes)
    }

    /// From hexadecimal of either case.
    pub fn unhex(text: &str) -> Option<Vec<u8>> {
        crate::id::unhex(text)
    }

    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    /// Base64 with padding (RFC 4648, section 4).
    pub fn base64(bytes: &[u8]) -> String {
        let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
        for group in bytes.chunks(3) {
            let word = (0..3).fold(0u32, |w, i| w << 8 | u32::from(*group.get(i).unwrap_or(&0)));
            for i in 0..4 {
                match i <= group.len() {
                    true => text.push(ALPHABET[(word >> (18 - 6 * i)) as usize & 63] as char),
                    false => text.push('='),
                }
            }
        }
        text
    }

    /// From base64 with padding; `None` where it is not that.
    pub fn unbase64(text: &str) -> Option<Vec<u8>> {
        let text = text.as_bytes();
        if !text.len().is_multiple_of(4) {
            return None;
        }
        let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
        for (i, group) in text.chunks_exact(4).enumerate() {
            let last = (i + 1) * 4 == text.len();
            let pads = group.iter().rev().take_while(|c| **c == b'=').count();
            if pads > 2 || (pads > 0 && !last) {
                return None;
            }
            let mut word = 0u32;
            for &c in &group[..4 - pads] {
                word = word << 6 | ALPHABET.iter().position(|a| *a == c)? as u32;
            }
            word <<= 6 * pads;
            bytes.extend_from_slice(&word.to_be_bytes()[1..4 - pads]);
        }
        Some(bytes)
    }
}

/// Puts `value` under `name` where it is UTF-8, else base64 under `name_base64`.
pub fn put_bytes(object: &mut serde_json::Map<String, Value>, name: &str, value: &[u8]) {
    match std::str::from_utf8(value) {
        Ok(text) => object.insert(name.into(), text.into()),
        Err(_) => object.insert(format!("{name}_base64"), bytes::base64(value).into()),
    };
}

/// What [`put_bytes`] wrote.
pub fn get_bytes(object: &serde_json::Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    if let Some(text) = object.get(name) {
        return Some(text.as_str()?.as_bytes().to_vec());
    }
    bytes::unbase64(object.get(&format!("{name}_base64"))?.as_str()?)
}

/// A JSON object that is read back, field by field; what is wrong names what it is of.
#[derive(Clone, Copy)]
pub struct Reading<'a> {
    what: &'static str,
    value: &'a Value,
}

impl<'a> Reading<'a> {
    /// Of `value`, which should be a `what`.
    pub fn new(what: &'static str, value: &'a Value) -> Reading<'a> {
        Reading { what, value }
    }
    /// That this field is wrong.
    pub fn wrong(&self, field: &'static str) -> Error {
        Error::Field { what: self.what, field }
    }
    /// A field that must be there.
    pub fn field(&self, field: &'static str) -> Result<&'a Value, Error> {
        self.value.get(field).ok_or(self.wrong(field))
    }
    /// Text.
    pub fn text(&self, field: &'static str) -> Result<&'a str, Error> {
        self.field(field)?.as_str().ok_or(self.wrong(field))
    }
    /// What is written as text: an id, a digest, a word, a decimal string.
    pub fn parsed<T: std::str::FromStr>(&self, field: &'static str) -> Result<T, Error> {
        self.text(field)?.parse().map_err(|_| self.wrong(field))
    }
    /// The same, where it is there.
    pub fn parsed_or_none<T: std::str::FromStr>(
        &self,
        field: &'static str,
    ) -> Result<Option<T>, Error> {
        match self.value.get(field) {
            None | Some(Value::Null) => Ok(None),
            Some(_) => self.parsed(field).map(Some),
        }
    }
    /// A word of a fixed list.
    pub fn word<T>(
        &self,
        field: &'static str,
        parse: impl Fn(&str) -> Result<T, Error>,
    ) -> Result<T, Error> {
        parse(self.text(field)?)
    }
    /// A number below 2^53, written as such.
    pub fn number<T: TryFrom<u64>>(&self, field: &'static str) -> Result<T, Error> {
        let number = self.field(field)?.as_u64().and_then(|n| T::try_from(n).ok());
        number.ok_or(self.wrong(field))
    }
    /// An array.
    pub fn array(&self, field: &'static str) -> Result<&'a [Value], Error> {
        self.field(field)?.as_array().map(Vec::as_slice).ok_or(self.wrong(field))
    }
    /// Bytes as [`put_bytes`] wrote them.
    pub fn bytes(&self, field: &'static str) -> Result<Vec<u8>, Error> {
        let object = self.value.as_object().ok_or(self.wrong(field))?;
        get_bytes(object, field).ok_or(self.wrong(field))
    }
}

/// The canonical form of RFC 8785. Numbers must be integers within ±2^53, as all that we write are.
pub fn canonical(value: &Value) -> Result<Vec<u8>, Error> {
    let mut out = Vec::with_capacity(256);
    write(value, &mut out, 0)?;
    Ok(out)
}

/// Deepest nesting of canonical JSON.
pub const DEPTH_MAX: usize = 64;

fn write(value: &Value, out: &mut Vec<u8>, depth: usize) -> Result<(), Error> {
    if depth > DEPTH_MAX {
        return Err(Error::Canonical("nested too deeply"));
    }
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(n) => match n.as_i64() {
            Some(i) if i.unsigned_abs() < 1 << 53 => {
                out.extend_from_slice(i.to_string().as_bytes())
            }
            _ => return Err(Error::Canonical("a number that is no integer within 2^53")),
        },
        Value::String(text) => string(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (i, item) in items.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                write(item, out, depth + 1)?;
            }
            out.push(b']');
        }
        Value::Object(fields) => {
            // RFC 8785 orders names by UTF-16 code units, not by code points.
            let mut names: Vec<_> = fields.iter().collect();
            names.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
            out.push(b'{');
            for (i, (name, field)) in names.into_iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                string(name, out);
                out.push(b':');
                write(field, out, depth + 1)?;
            }
            out.push(b'}');
        }
    }
    Ok(())
}

fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for c in text.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\r' => out.extend_from_slice(b"\\r"),
            c if c < ' ' => out.extend_from_slice(format!("\\u{:04x}", c as u32).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn canonical_json_is_that_of_rfc_8785() {
        let check = |value: Value, expected: &str| {
            assert_eq!(String::from_utf8(canonical(&value).unwrap()).unwrap(), expected);
        };
        // Section 3.2.3 of the RFC: order by UTF-16 code units puts the surrogates before U+FB33.
        let names =
            r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#;
        let value = serde_json::from_str(names).unwrap();
        check(value, "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"ö\":7,\"€\":1,\"😀\":5,\"\u{fb33}\":3}");
        check(serde_json::json!("\u{f}\n\"\\/é"), "\"\\u000f\\n\\\"\\\\/é\"");
        check(serde_json::json!([null, true, -3]), "[null,true,-3]");
        assert!(canonical(&serde_json::json!(1.5)).is_err());
        assert!(canonical(&serde_json::json!(1u64 << 53)).is_err());
    }

    proptest! {
        #[test]
        fn base64_reads_back(bytes: Vec<u8>) {
            prop_assert_eq!(bytes::unbase64(&bytes::base64(&bytes)), Some(bytes));
        }
        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = bytes::unbase64(&text);
            let _ = bytes::unhex(&text);
        }
    }

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (plain, text) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")]
        {
            assert_eq!(bytes::base64(plain.as_bytes()), text);
        }
    }
}
