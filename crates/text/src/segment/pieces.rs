//! Cutting a text that is too large to be looked at at once.

/// Where a piece of `text` ends that has `most` bytes at most (and more than three): behind the last line of it, else behind
/// the last space, else behind its last whole character. So no word is cut in a text with lines or spaces, and what stands in
/// one piece is never in another's sentence.
pub fn piece_end(text: &[u8], most: usize) -> usize {
    if text.len() <= most {
        return text.len();
    }
    let piece = &text[..most];
    let behind = |byte: u8| piece.iter().rposition(|b| *b == byte).map(|at| at + 1);
    let whole = || {
        // A byte that goes on a character is 10xxxxxx; there are three at most.
        let goes_on = (most.saturating_sub(3)..=most).rev();
        goes_on.into_iter().find(|at| text[*at] & 0xc0 != 0x80).filter(|at| *at > 0)
    };
    behind(b'\n').or_else(|| behind(b' ')).or_else(whole).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_where_it_harms_least() {
        for (text, most, end) in [
            ("short", 10, 5),
            ("a b\nc d e", 6, 4),
            ("aa bb cc", 7, 6),
            ("aaaaaaaa", 5, 5),
            ("日本語日本語", 7, 6),
            ("日本語", 5, 3),
            ("x😀😀", 8, 5),
        ] {
            assert_eq!(piece_end(text.as_bytes(), most), end, "{text}");
        }
        let not_text = [0x80; 20];
        assert_eq!(piece_end(&not_text, 10), 10, "bytes that are no text are cut, too");
    }
}
