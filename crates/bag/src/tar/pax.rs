//! The records of PAX headers: `<length> <key>=<value>\n`.

use serde::{Deserialize, Serialize};

/// A record.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) key: Vec<u8>,
    pub(super) value: Vec<u8>,
}

/// Reads all records of a header's data.
pub(super) fn parse(mut data: &[u8]) -> Result<Vec<Record>, String> {
    let mut records = Vec::new();
    while !data.is_empty() {
        // Some writers pad with NULs.
        if data.iter().all(|&b| b == 0) {
            break;
        }
        let digits = data.iter().take(20).take_while(|b| b.is_ascii_digit()).count();
        let length = unsigned(&data[..digits]).ok_or("a record does not begin with its length")?;
        let record = usize::try_from(length)
            .ok()
            .filter(|length| *length > digits + 1)
            .and_then(|length| data.get(..length))
            .ok_or_else(|| format!("a record claims {length} bytes, {} are there", data.len()))?;
        data = &data[record.len()..];
        let body = record[digits..]
            .strip_prefix(b" ")
            .and_then(|body| body.strip_suffix(b"\n"))
            .ok_or("a record is not '<length> <key>=<value>' and a line feed")?;
        let equals = body.iter().position(|&b| b == b'=').ok_or("a record has no '='")?;
        if equals == 0 {
            return Err("a record has no key".into());
        }
        records.push(Record { key: body[..equals].to_vec(), value: body[equals + 1..].to_vec() });
    }
    Ok(records)
}

/// One record as it is written.
pub(super) fn write(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    // The length counts its own digits.
    while rest + length.to_string().len() != length {
        length = rest + length.to_string().len();
    }
    out.extend_from_slice(format!("{length} {key}=").as_bytes());
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A decimal number of ASCII digits.
pub(super) fn unsigned(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok().filter(|n| *n <= i64::MAX as u64)
}

/// A time like `-12.25`, in nanoseconds; what is finer is cut off.
pub(super) fn time_ns(value: &[u8]) -> Option<i128> {
    let (negative, value) = match value.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, value),
    };
    let dot = value.iter().position(|&b| b == b'.');
    let (seconds, fraction) = match dot {
        Some(dot) => (&value[..dot], &value[dot + 1..]),
        None => (value, &b""[..]),
    };
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let nanos = (0..9).fold(0, |n, at| {
        n * 10 + fraction.get(at).map_or(0, |digit| i128::from(digit - b'0'))
    });
    let total = i128::from(unsigned(seconds)?) * 1_000_000_000 + nanos;
    Some(if negative { -total } else { total })
}

/// A time in the same form.
pub(super) fn write_time(ns: i128) -> String {
    let sign = if ns < 0 { "-" } else { "" };
    let (seconds, nanos) = (ns.unsigned_abs() / 1_000_000_000, ns.unsigned_abs() % 1_000_000_000);
    match nanos {
        0 => format!("{sign}{seconds}"),
        _ => format!("{sign}{seconds}.{nanos:09}"),
    }
}
