//! Tags and text of a page, in the order in which they stand there.
//!
//! This follows the tokenizer of the HTML standard (<https://html.spec.whatwg.org/multipage/parsing.html#tokenization>)
//! where it bears on text: quotes around values, comments that do not end, what in a script looks like its end. It never
//! goes back, so that any page takes time linear in its length.

use std::ops::Range;

/// What stands in a page. Comments, declarations and processing instructions are passed over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Token<'a> {
    /// Text, in which character references are not yet read.
    Text(Range<usize>),
    /// The text of `<title>` and `<textarea>`: references are read, tags are not.
    Title(Range<usize>),
    /// A tag that begins an element.
    Start(Tag<'a>),
    /// A tag that ends one.
    End(Tag<'a>),
}

/// A tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Tag<'a> {
    /// Its name as it is written.
    pub(super) name: &'a str,
    /// What stands between the name and `>`.
    pub(super) attributes: &'a str,
    /// Where it begins in the page.
    pub(super) start: usize,
    /// Where it ends.
    pub(super) end: usize,
}

/// Goes through a page.
#[derive(Clone, Debug)]
pub(super) struct Tokens<'a> {
    html: &'a str,
    at: usize,
    /// The element whose text runs up to its end tag, whatever stands between.
    raw: Option<&'a str>,
}

/// Elements whose text is no HTML.
const RAW: [&str; 7] = ["script", "style", "xmp", "iframe", "noembed", "noframes", "plaintext"];
/// Those in whose text references are read.
const TITLES: [&str; 2] = ["title", "textarea"];

impl<'a> Tokens<'a> {
    pub(super) fn new(html: &'a str) -> Tokens<'a> {
        Tokens { html, at: 0, raw: None }
    }

    /// What stands in the element that was just begun, if that is no HTML: up to its end tag.
    fn raw(&mut self, name: &'a str) -> Option<Token<'a>> {
        let from = self.at;
        let length = match name {
            name if name.eq_ignore_ascii_case("plaintext") => self.html.len() - from,
            name if name.eq_ignore_ascii_case("script") => script(&self.html[from..]),
            name => up_to_end_tag(&self.html[from..], name),
        };
        self.at += length;
        let title = is_one_of(name, &TITLES) && length > 0;
        title.then_some(Token::Title(from..self.at))
    }

    /// A tag at `self.at`, whose name begins after `skip` bytes. `None` where the page ends within it.
    fn tag(&mut self, skip: usize) -> Option<Tag<'a>> {
        let start = self.at;
        let rest = &self.html[start + skip..];
        let name = rest.find(|c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>'));
        let (name, rest) = rest.split_at(name?);
        let length = attributes_length(rest)?;
        let end = start + skip + name.len() + length + 1;
        self.at = end;
        Some(Tag { name, attributes: &rest[..length], start, end })
    }

    /// Passes over what begins with `<!` or `<?`, and over end tags without names.
    fn pass(&mut self) {
        let rest = &self.html[self.at..];
        let length = match rest.strip_prefix("<!--") {
            // An empty comment may end at once.
            Some(inside) if inside.starts_with('>') => Some(5),
            Some(inside) if inside.starts_with("->") => Some(6),
            Some(inside) => comment_length(inside).map(|length| length + 4),
            None => rest.find('>').map(|at| at + 1),
        };
        self.at += length.unwrap_or(rest.len());
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if let Some(name) = self.raw.take()
            && let Some(title) = self.raw(name)
        {
            return Some(title);
        }
        let html = self.html;
        while self.at < html.len() {
            let rest = &html.as_bytes()[self.at..];
            match rest {
                [b'<', first, ..] if first.is_ascii_alphabetic() => {
                    let Some(tag) = self.tag(1) else { break };
                    if is_one_of(tag.name, &RAW) || is_one_of(tag.name, &TITLES) {
                        self.raw = Some(tag.name);
                    }
                    return Some(Token::Start(tag));
                }
                [b'<', b'/', first, ..] if first.is_ascii_alphabetic() => {
                    let Some(tag) = self.tag(2) else { break };
                    return Some(Token::End(tag));
                }
                [b'<', b'!' | b'?', ..] | [b'<', b'/', _, ..] => self.pass(),
                _ => {
                    let from = self.at;
                    let begins = |at: &usize| {
                        matches!(
                            rest.get(at + 1),
                            Some(b'/' | b'!' | b'?' | b'a'..=b'z' | b'A'..=b'Z')
                        )
                    };
                    let mut signs = rest.iter().enumerate().skip(1).filter(|(_, b)| **b == b'<');
                    let end = signs.find(|(at, _)| begins(at)).map_or(rest.len(), |(at, _)| at);
                    self.at += end;
                    return Some(Token::Text(from..self.at));
                }
            }
        }
        self.at = html.len();
        None
    }
}

impl<'a> Tag<'a> {
    /// Names and values of its attributes, as they are written, without quotes.
    pub(super) fn attributes(&self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let mut rest = self.attributes;
        std::iter::from_fn(move || {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace() || c == '/');
            let first = rest.chars().next()?;
            let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | '=');
            let end = rest[first.len_utf8()..].find(ends);
            let (name, after) = rest.split_at(end.map_or(rest.len(), |at| at + first.len_utf8()));
            let trimmed = after.trim_start_matches(|c: char| c.is_ascii_whitespace());
            let Some(value) = trimmed.strip_prefix('=') else {
                rest = after;
                return Some((name, ""));
            };
            let value = value.trim_start_matches(|c: char| c.is_ascii_whitespace());
            let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (value, after) = match quote {
                Some(quote) => {
                    let inside = &value[1..];
                    let end = inside.find(quote).unwrap_or(inside.len());
                    (&inside[..end], inside.get(end + 1..).unwrap_or_default())
                }
                None => {
                    let end = value.find(|c: char| c.is_ascii_whitespace());
                    value.split_at(end.unwrap_or(value.len()))
                }
            };
            rest = after;
            Some((name, value))
        })
    }

    /// The value of an attribute; of several of that name the first.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a str> {
        self.attributes().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }
}

fn is_one_of(name: &str, names: &[&str]) -> bool {
    names.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// How long attributes are: up to the `>` that is in no quotes. Quotes count after `=` alone.
fn attributes_length(text: &str) -> Option<usize> {
    let (mut quote, mut before) = (None, b' ');
    for (at, byte) in text.bytes().enumerate() {
        match (quote, byte) {
            (Some(open), byte) if byte == open => (quote, before) = (None, b' '),
            (Some(_), _) => {}
            (None, b'>') => return Some(at),
            (None, b'"' | b'\'') if before == b'=' => quote = Some(byte),
            (None, byte) if byte.is_ascii_whitespace() => {}
            (None, byte) => before = byte,
        }
    }
    None
}

/// How long a comment is after `<!--`, with its end.
fn comment_length(text: &str) -> Option<usize> {
    let ends = |at: usize| {
        let rest = &text[at + 2..];
        match rest.as_bytes() {
            [b'>', ..] => Some(at + 3),
            [b'!', b'>', ..] => Some(at + 4),
            _ => None,
        }
    };
    let bytes = text.as_bytes();
    (0..bytes.len().saturating_sub(2)).filter(|at| bytes[*at..].starts_with(b"--")).find_map(ends)
}

/// How many bytes stand before the end tag of `name`; all where there is none.
fn up_to_end_tag(text: &str, name: &str) -> usize {
    let mut signs = text.bytes().enumerate().filter(|(_, byte)| *byte == b'<');
    signs
        .find(|(at, _)| is_tag(&text.as_bytes()[*at..], b"</", name))
        .map_or(text.len(), |(at, _)| at)
}

/// Whether a tag of `name` stands at the beginning of `text`, after `opening`.
fn is_tag(text: &[u8], opening: &[u8], name: &str) -> bool {
    let Some(rest) = text.strip_prefix(opening) else { return false };
    let named = rest.get(..name.len()).is_some_and(|n| n.eq_ignore_ascii_case(name.as_bytes()));
    let after = rest.get(name.len());
    named && after.is_some_and(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b'>'))
}

/// How many bytes a script has. After `<!--` another script may begin and end in it, up to `-->`: the states
/// "script data escaped" and "double escaped" of the standard.
fn script(text: &str) -> usize {
    let bytes = text.as_bytes();
    let (mut escaped, mut twice) = (false, false);
    for (at, byte) in bytes.iter().enumerate() {
        let rest = &bytes[at..];
        match byte {
            b'<' if is_tag(rest, b"</", "script") => match twice {
                true => twice = false,
                false => return at,
            },
            b'<' if rest.starts_with(b"<!--") => escaped = true,
            b'<' if escaped && is_tag(rest, b"<", "script") => twice = true,
            b'-' if rest.starts_with(b"-->") => (escaped, twice) = (false, false),
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(html: &str) -> String {
        let token = |token: Token| match token {
            Token::Text(range) => format!("[{}]", &html[range]),
            Token::Title(range) => format!("[[{}]]", &html[range]),
            Token::Start(tag) => {
                let attributes: String =
                    tag.attributes().map(|(name, value)| format!(" {name}={value}")).collect();
                assert_eq!(html[tag.start..tag.end].chars().next(), Some('<'));
                format!("<{}{attributes}>", tag.name)
            }
            Token::End(tag) => format!("</{}>", tag.name),
        };
        Tokens::new(html).map(token).collect()
    }

    #[test]
    fn tags_text_and_what_is_neither() {
        let check = |html: &str, expected: &str| assert_eq!(told(html), expected, "{html}");
        check("a<b>c</b>d", "[a]<b>[c]</b>[d]");
        check("1 < 2 <3 a<", "[1 < 2 <3 a<]");
        check("<!doctype html><?x y?>a<!-- <p> -- > --->b<!-->c<!--->d", "[a][b][c][d]");
        check("a<!-- no end <p>b", "[a]");
        check("a<!--x--!>b</ y>c</>d", "[a][b][c][d]");
        check("<a href='x>y' b=\"'\" c = d e>f</a >", "<a href=x>y b=' c=d e=>[f]</a>");
        check("<br/><img src=a/b />", "<br><img src=a/b>");
        check("<a href=\"no end>f</a>", "");
        check("<a\"b'>c", "<a\"b'>[c]");
        check("<p", "");
    }

    #[test]
    fn what_is_in_a_script_is_no_text() {
        let check = |html: &str, expected: &str| assert_eq!(told(html), expected, "{html}");
        check("<script>if (a</b/) '</scripty>'</SCRIPT >x", "<script></SCRIPT>[x]");
        check("<script><!-- <script> </script> --></script>x", "<script></script>[x]");
        check("<script><!-- </script>x", "<script></script>[x]");
        check("<script>x", "<script>");
        check(
            "<style><p></style>y<title>a<b>&amp;</title>",
            "<style></style>[y]<title>[[a<b>&amp;]]</title>",
        );
        check("<title></title>z<plaintext></plaintext>", "<title></title>[z]<plaintext>");
        check("<iframe><p>a</iframe><xmp><p></xmp>", "<iframe></iframe><xmp></xmp>");
    }
}
