//! Character references, as "named" and "numeric character reference state" of the HTML standard read them
//! (<https://html.spec.whatwg.org/multipage/parsing.html#character-reference-state>).

use std::sync::OnceLock;

/// The named references of the standard: `name code` or `name code code` a line, codes in hexadecimal, in the order
/// of bytes; those that may stand without a semicolon have a line without, too.
const NAMED: &str = include_str!("entities.txt");
/// The longest name, with its semicolon.
const NAME_BYTES_MAX: usize = 32;
/// The longest name that needs no semicolon.
const BARE_BYTES_MAX: usize = 6;
/// What 0x80 to 0x9f stand for, as if they were of windows-1252; 0 where they stand for themselves.
const WINDOWS: [u32; 32] = [
    0x20ac, 0, 0x201a, 0x192, 0x201e, 0x2026, 0x2020, 0x2021, 0x2c6, 0x2030, 0x160, 0x2039, 0x152,
    0, 0x17d, 0, 0, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x2dc, 0x2122, 0x161,
    0x203a, 0x153, 0, 0x17e, 0x178,
];

/// The characters that a reference stands for; the second is NUL where there is one alone.
pub(super) type Meant = [char; 2];

/// Reads the reference at the beginning of `text`, which is `&`: what it stands for, and its bytes.
/// `None` where it is none, and the sign stands for itself.
pub(super) fn read(text: &str) -> Option<(Meant, usize)> {
    match text.as_bytes() {
        [b'&', b'#', b'x' | b'X', ..] => number(text, 3, 16),
        [b'&', b'#', ..] => number(text, 2, 10),
        [b'&', ..] => named(&text[1..]).map(|(meant, length)| (meant, length + 1)),
        _ => None,
    }
}

fn number(text: &str, from: usize, base: u32) -> Option<(Meant, usize)> {
    let digits = text[from..].bytes().take_while(|byte| char::from(*byte).is_digit(base)).count();
    if digits == 0 {
        return None;
    }
    let code = text[from..from + digits].chars().fold(0u32, |code, digit| {
        code.saturating_mul(base).saturating_add(digit.to_digit(base).unwrap_or(0))
    });
    let code = match code {
        0x80..=0x9f if WINDOWS[code as usize - 0x80] != 0 => WINDOWS[code as usize - 0x80],
        0 => 0xfffd,
        code => code,
    };
    let semicolon = usize::from(text.as_bytes().get(from + digits) == Some(&b';'));
    Some(([char::from_u32(code).unwrap_or('\u{fffd}'), '\0'], from + digits + semicolon))
}

fn named(text: &str) -> Option<(Meant, usize)> {
    let within = |byte: &u8| byte.is_ascii_alphanumeric();
    let letters = text.bytes().take(NAME_BYTES_MAX).take_while(within).count();
    let whole = (text.as_bytes().get(letters) == Some(&b';')).then_some(letters + 1);
    let bare = (1..=letters.min(BARE_BYTES_MAX)).rev();
    whole.into_iter().chain(bare).find_map(|length| Some((look_up(&text[..length])?, length)))
}

fn look_up(name: &str) -> Option<Meant> {
    static LINES: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    let lines =
        LINES.get_or_init(|| NAMED.lines().filter_map(|line| line.split_once(' ')).collect());
    let at = lines.binary_search_by(|(known, _)| known.cmp(&name)).ok()?;
    let mut codes = lines[at].1.split(' ').map(|code| u32::from_str_radix(code, 16));
    let mut next = || codes.next().and_then(Result::ok).and_then(char::from_u32);
    Some([next()?, next().unwrap_or('\0')])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_the_standard_says() {
        let check = |text: &str, expected: Option<(&str, usize)>| {
            let told = |(meant, length): (Meant, usize)| {
                (meant.iter().filter(|c| **c != '\0').collect::<String>(), length)
            };
            let expected = expected.map(|(meant, length)| (meant.to_owned(), length));
            assert_eq!(read(text).map(told), expected, "{text}");
        };
        check("&amp;b", Some(("&", 5)));
        check("&ampb", Some(("&", 4)));
        check("&notin;", Some(("∉", 7)));
        check("&notit;", Some(("¬", 4)));
        check("&NotEqualTilde;", Some(("≂\u{338}", 15)));
        check("&CounterClockwiseContourIntegral; x", Some(("∳", 33)));
        check("&eacute", Some(("é", 7)));
        check("&hellip", None);
        check("& b", None);
        check("&", None);
        check("&unknown;", None);
        check("&#8364;", Some(("€", 7)));
        check("&#x20AC ", Some(("€", 7)));
        check("&#128;&#150", Some(("€", 6)));
        check("&#0;", Some(("\u{fffd}", 4)));
        check("&#xD800;", Some(("\u{fffd}", 8)));
        check("&#99999999999999999999;", Some(("\u{fffd}", 23)));
        check("&#;", None);
        check("&#x;", None);
        check("&é", None);
    }

    #[test]
    fn the_table_is_whole_and_in_order() {
        let lines: Vec<&str> = NAMED.lines().map(|line| line.split_once(' ').unwrap().0).collect();
        assert_eq!(lines.len(), 2231);
        assert!(lines.is_sorted());
        for name in lines {
            assert!(look_up(name).is_some() && name.len() <= NAME_BYTES_MAX, "{name}");
            assert!(name.ends_with(';') || name.len() <= BARE_BYTES_MAX, "{name}");
        }
    }
}
