//! What format a file is of, by its first bytes.

/// Bytes of a file's beginning that are looked at.
pub(super) const LOOKED_AT_BYTES: usize = 8192;

/// The media type (IANA) of a file that begins so: by the magic numbers that the crate `infer` knows,
/// else `text/plain` where all of it is text. `None` where it cannot be told: nothing is guessed from a
/// name.
pub(super) fn identify(begin: &[u8], whole: bool) -> Option<&'static str> {
    let begin = &begin[..begin.len().min(LOOKED_AT_BYTES)];
    match infer::get(begin) {
        Some(found) => Some(found.mime_type()),
        None => is_text(begin, whole).then_some("text/plain"),
    }
}

/// UTF-8 without control characters but white space; a character that is cut at the end counts.
fn is_text(begin: &[u8], whole: bool) -> bool {
    let text = match std::str::from_utf8(begin) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() && !whole => {
            std::str::from_utf8(&begin[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    let plain = |c: char| !c.is_control() || matches!(c, '\t' | '\n' | '\r' | '\x0c');
    !text.is_empty() && text.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn formats_are_told_by_content() {
        let cases: [(&[u8], Option<&str>); 7] = [
            (b"%PDF-1.7\n%", Some("application/pdf")),
            (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", Some("image/png")),
            (b"Dear archive,\n\tgr\xc3\xbc\xc3\x9fe\r\n", Some("text/plain")),
            (b"cut in a charact\xc3", Some("text/plain")),
            (b"not \xff text", None),
            (b"nor \0 this", None),
            (b"", None),
        ];
        for (bytes, format) in cases {
            assert_eq!(identify(bytes, false), format, "{bytes:?}");
        }
        assert_eq!(identify(b"ends in a charact\xc3", true), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at(
            magic in prop::sample::select(vec![
                &b"PK\x03\x04"[..], b"RIFF", b"\x1a\x45\xdf\xa3", b"\0\0\0\x18ftyp", b"\x7fELF", b"MZ", b"II*\0",
                b"OggS", b"\xd0\xcf\x11\xe0", b"<?xml", b"{", b"#!", b"\xff\xfb", b"wOFF", b"",
            ]),
            rest: Vec<u8>,
        ) {
            let _ = identify(&[magic, &rest].concat(), true);
        }
    }
}
