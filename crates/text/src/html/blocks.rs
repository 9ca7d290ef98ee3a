//! The blocks of text of a page: what stands between two tags that begin a new line.

use super::entities;
use super::tokens::{Tag, Token, Tokens};
use super::{BLOCKS_MAX, Kind};
use std::ops::Range;

/// A block of text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Block {
    /// Where it stands in the text of all blocks.
    pub(super) text: Range<usize>,
    /// Where it stands in the page: from its first character to its last.
    pub(super) html: Range<usize>,
    pub(super) kind: Kind,
    /// Where in the page it stands.
    pub(super) place: Place,
    /// How many words it has.
    pub(super) words: usize,
    /// How many of them are in links.
    pub(super) link_words: usize,
}

/// In what elements something stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Place {
    /// In navigation, a sidebar, the page's own head or foot, or what is named as such or as comments.
    pub(super) outside: bool,
    /// In a form.
    pub(super) form: bool,
    /// In `<main>` or `<article>`.
    pub(super) marked: bool,
}

/// All that is read of a page.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    pub(super) text: String,
    pub(super) blocks: Vec<Block>,
    pub(super) title: String,
    pub(super) language: String,
    /// Whether there were more blocks.
    pub(super) cut: bool,
}

/// What an element does to the text in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    /// It is part of a line.
    Inline,
    /// It begins a line, and another one after it.
    Block,
    /// The same; its text is of this kind.
    Of(Kind),
    /// A part of a table's row.
    Cell,
    /// It ends a line and holds nothing.
    Break,
    /// It holds nothing.
    Void,
    /// What it holds is no text to be read.
    Unread,
    /// Text in it stands outside of the main text.
    Outside,
    /// The same, but within `<main>` and `<article>` it belongs to them.
    Head,
    Form,
    /// `<main>`, `<article>`.
    Marked,
}

/// Elements that are told apart: the numbers of those that are open are kept by place in this list.
const ELEMENTS: [(&str, Role); 98] = [
    ("a", Role::Inline),
    ("abbr", Role::Inline),
    ("address", Role::Block),
    ("area", Role::Void),
    ("article", Role::Marked),
    ("aside", Role::Outside),
    ("audio", Role::Unread),
    ("b", Role::Inline),
    ("base", Role::Void),
    ("basefont", Role::Void),
    ("blockquote", Role::Block),
    ("body", Role::Block),
    ("br", Role::Break),
    ("button", Role::Unread),
    ("canvas", Role::Unread),
    ("caption", Role::Block),
    ("center", Role::Block),
    ("code", Role::Inline),
    ("col", Role::Void),
    ("datalist", Role::Unread),
    ("dd", Role::Of(Kind::Item)),
    ("del", Role::Inline),
    ("details", Role::Block),
    ("dialog", Role::Outside),
    ("dir", Role::Block),
    ("div", Role::Block),
    ("dl", Role::Block),
    ("dt", Role::Of(Kind::Item)),
    ("em", Role::Inline),
    ("embed", Role::Void),
    ("fieldset", Role::Block),
    ("figcaption", Role::Block),
    ("figure", Role::Block),
    ("font", Role::Inline),
    ("footer", Role::Outside),
    ("form", Role::Form),
    ("frame", Role::Void),
    ("frameset", Role::Block),
    ("h1", Role::Of(Kind::Heading)),
    ("h2", Role::Of(Kind::Heading)),
    ("h3", Role::Of(Kind::Heading)),
    ("h4", Role::Of(Kind::Heading)),
    ("h5", Role::Of(Kind::Heading)),
    ("h6", Role::Of(Kind::Heading)),
    ("head", Role::Block),
    ("header", Role::Head),
    ("hgroup", Role::Block),
    ("hr", Role::Break),
    ("html", Role::Block),
    ("i", Role::Inline),
    ("iframe", Role::Unread),
    ("img", Role::Void),
    ("input", Role::Void),
    ("label", Role::Inline),
    ("legend", Role::Block),
    ("li", Role::Of(Kind::Item)),
    ("link", Role::Void),
    ("listing", Role::Of(Kind::Preformatted)),
    ("main", Role::Marked),
    ("map", Role::Inline),
    ("math", Role::Unread),
    ("menu", Role::Outside),
    ("meta", Role::Void),
    ("nav", Role::Outside),
    ("noembed", Role::Unread),
    ("noframes", Role::Unread),
    ("noscript", Role::Unread),
    ("object", Role::Unread),
    ("ol", Role::Block),
    ("optgroup", Role::Unread),
    ("option", Role::Unread),
    ("p", Role::Block),
    ("param", Role::Void),
    ("pre", Role::Of(Kind::Preformatted)),
    ("s", Role::Inline),
    ("script", Role::Unread),
    ("section", Role::Block),
    ("select", Role::Unread),
    ("source", Role::Void),
    ("span", Role::Inline),
    ("strong", Role::Inline),
    ("style", Role::Unread),
    ("sub", Role::Inline),
    ("summary", Role::Block),
    ("sup", Role::Inline),
    ("svg", Role::Unread),
    ("table", Role::Block),
    ("td", Role::Cell),
    ("template", Role::Unread),
    ("textarea", Role::Unread),
    ("th", Role::Cell),
    ("title", Role::Unread),
    ("tr", Role::Of(Kind::Row)),
    ("track", Role::Void),
    ("u", Role::Inline),
    ("ul", Role::Block),
    ("video", Role::Unread),
    ("wbr", Role::Void),
];

/// Elements that end where the next of them begins: their end tags may be missing. Those of a row end each other.
const ENDS_ITSELF: [&[&str]; 6] =
    [&["dd", "dt"], &["li"], &["option", "optgroup"], &["p"], &["td", "th"], &["tr"]];
/// After these no item or row goes on.
const LISTS: [&str; 4] = ["dl", "ol", "table", "ul"];

/// Words in the class or id of an element in which the main text does not stand, after those of Readability
/// (<https://github.com/mozilla/readability>, "unlikelyCandidates").
const OUTSIDE: [&str; 33] = [
    "ad",
    "ads",
    "advert",
    "advertisement",
    "banner",
    "breadcrumb",
    "breadcrumbs",
    "comment",
    "comments",
    "consent",
    "cookie",
    "cookies",
    "disqus",
    "footer",
    "masthead",
    "menu",
    "modal",
    "nav",
    "navbar",
    "navigation",
    "newsletter",
    "pager",
    "pagination",
    "popup",
    "promo",
    "related",
    "share",
    "sharing",
    "sidebar",
    "social",
    "sponsor",
    "sponsored",
    "subscribe",
];

/// With one of these, a class or id is the name of something greater: `content has-sidebar`. After the same source.
const INSIDE: [&str; 9] =
    ["and", "article", "body", "column", "content", "has", "main", "no", "with"];

/// An element that is open.
#[derive(Clone, Copy, Debug)]
struct Open {
    element: u8,
    unread: bool,
    outside: bool,
    form: bool,
    marked: bool,
}

/// How many of the open elements are of some sort.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    unread: usize,
    outside: usize,
    form: usize,
    marked: usize,
}

struct Reader<'a> {
    html: &'a str,
    page: Page,
    open: Vec<Open>,
    /// How many are open of each element.
    open_of: [usize; ELEMENTS.len()],
    counts: Counts,
    /// Whether an `<a href>` is open: links do not nest.
    link: bool,
    kind: Kind,
    /// Where the block that is being read begins in the text, and in the page once it has a character.
    start: usize,
    html_range: Option<Range<usize>>,
    words: usize,
    link_words: usize,
    word: Word,
    /// Whether a space, or another cell, comes before the next character.
    space: Option<char>,
}

/// How words are counted: letters and digits between other signs; where words are written together, two
/// characters are one.
#[derive(Clone, Copy, Debug, Default)]
struct Word {
    within: bool,
    halves: usize,
}

/// Reads a page.
pub(super) fn read(html: &str) -> Page {
    let mut reader = Reader {
        html,
        page: Page::default(),
        open: Vec::new(),
        open_of: [0; ELEMENTS.len()],
        counts: Counts::default(),
        link: false,
        kind: Kind::Paragraph,
        start: 0,
        html_range: None,
        words: 0,
        link_words: 0,
        word: Word::default(),
        space: None,
    };
    for token in Tokens::new(html) {
        match token {
            Token::Text(range) if reader.counts.unread == 0 => reader.text(range),
            // Within svg a title is another thing.
            Token::Title(range) if reader.counts.unread == 1 => reader.title(range),
            Token::Text(_) | Token::Title(_) => {}
            Token::Start(tag) => reader.begin(&tag),
            Token::End(tag) => reader.end(&tag),
        }
        if reader.page.cut {
            break;
        }
    }
    reader.end_block();
    reader.page
}

impl Reader<'_> {
    fn begin(&mut self, tag: &Tag<'_>) {
        let Some((element, name, role)) = find(tag.name) else { return };
        let begins_line = !matches!(role, Role::Inline | Role::Void | Role::Unread | Role::Cell);
        if begins_line {
            self.end_block();
        }
        if role == Role::Cell {
            self.space = Some('\t');
        }
        if let Some(open) = self.open.last()
            && (ends(open.element, name) || begins_line && is(open.element, "p"))
        {
            self.close();
        }
        if let Role::Of(kind) = role {
            self.kind = kind;
        }
        if name == "html" && self.page.language.is_empty() {
            let language = tag.attribute("lang").or_else(|| tag.attribute("xml:lang"));
            self.page.language = language.unwrap_or_default().trim().chars().take(35).collect();
        }
        if name == "a" {
            self.link = tag.attribute("href").is_some();
        }
        if !matches!(role, Role::Break | Role::Void) {
            self.push(element, name, role, tag);
        }
    }

    fn push(&mut self, element: u8, name: &str, role: Role, tag: &Tag<'_>) {
        // The whole page is never outside of itself, whatever its class says.
        let whole = matches!(name, "html" | "body" | "main");
        let open = Open {
            element,
            unread: role == Role::Unread || !whole && is_hidden(tag),
            outside: role == Role::Outside
                || role == Role::Head && self.counts.marked == 0
                || !whole && is_outside(tag),
            form: role == Role::Form,
            marked: role == Role::Marked || tag.attribute("role") == Some("main"),
        };
        self.open.push(open);
        self.open_of[usize::from(element)] += 1;
        self.counts.unread += usize::from(open.unread);
        self.counts.outside += usize::from(open.outside);
        self.counts.form += usize::from(open.form);
        self.counts.marked += usize::from(open.marked);
    }

    /// Closes the element that was opened last.
    fn close(&mut self) -> Option<u8> {
        let open = self.open.pop()?;
        self.open_of[usize::from(open.element)] -= 1;
        self.counts.unread -= usize::from(open.unread);
        self.counts.outside -= usize::from(open.outside);
        self.counts.form -= usize::from(open.form);
        self.counts.marked -= usize::from(open.marked);
        Some(open.element)
    }

    fn end(&mut self, tag: &Tag<'_>) {
        let Some((element, name, role)) = find(tag.name) else { return };
        match role {
            Role::Inline | Role::Void | Role::Unread => {}
            Role::Cell => self.space = Some('\t'),
            _ => self.end_block(),
        }
        if name == "a" {
            self.link = false;
        }
        // An end tag without its beginning ends nothing.
        if self.open_of[usize::from(element)] > 0 {
            while self.close().is_some_and(|closed| closed != element) {}
        }
        if matches!(role, Role::Of(_)) || LISTS.contains(&name) {
            self.kind = Kind::Paragraph;
        }
    }

    fn title(&mut self, range: Range<usize>) {
        if self.page.title.is_empty()
            && self.open.last().is_some_and(|open| is(open.element, "title"))
        {
            let mut title = String::new();
            each_char(self.html, range, |c, _| title.push(c));
            self.page.title = title.split_whitespace().collect::<Vec<_>>().join(" ");
        }
    }

    fn text(&mut self, range: Range<usize>) {
        let lines = self.kind == Kind::Preformatted;
        each_char(self.html, range, |c, at| match c {
            '\n' if lines => self.end_line(),
            c if c.is_whitespace() => self.space = self.space.or(Some(' ')),
            // Of no width, or no characters of a text at all.
            '\u{ad}' | '\u{200b}' | '\u{feff}' | '\0'..='\u{1f}' => {}
            c => self.push_char(c, at),
        });
    }

    fn push_char(&mut self, c: char, at: Range<usize>) {
        if let Some(space) = self.space.take() {
            self.word.within = false;
            if self.html_range.is_some() {
                self.page.text.push(space);
            }
        }
        self.html_range.get_or_insert(at.clone()).end = at.end;
        self.page.text.push(c);
        if self.word.push(c) {
            self.words += 1;
            self.link_words += usize::from(self.link);
        }
    }

    /// Ends a line of preformatted text, which keeps its kind.
    fn end_line(&mut self) {
        let kind = self.kind;
        self.end_block();
        self.kind = kind;
    }

    fn end_block(&mut self) {
        self.space = None;
        self.word = Word::default();
        let words = (std::mem::take(&mut self.words), std::mem::take(&mut self.link_words));
        let Some(html) = self.html_range.take().filter(|_| !self.page.cut) else { return };
        let text = self.start..self.page.text.len();
        self.page.text.push('\n');
        self.start = self.page.text.len();
        let place = Place {
            outside: self.counts.outside > 0,
            form: self.counts.form > 0,
            marked: self.counts.marked > 0,
        };
        let (words, link_words) = words;
        let block = Block { text, html, kind: self.kind, place, words, link_words };
        self.page.blocks.push(block);
        self.page.cut = self.page.blocks.len() >= BLOCKS_MAX;
    }
}

impl Word {
    /// Whether a word begins with `c`.
    fn push(&mut self, c: char) -> bool {
        if is_written_together(c) {
            self.within = false;
            self.halves += 1;
            return self.halves % 2 == 1;
        }
        let within = c.is_alphanumeric() || self.within && matches!(c, '\'' | '’' | '-' | '_');
        let begins = within && !self.within;
        self.within = within;
        begins
    }
}

/// Whether words with this character are written without spaces: Chinese, Japanese, Thai.
fn is_written_together(c: char) -> bool {
    matches!(c, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}') || crate::sentiment::is_han(c)
}

/// Tells `each` the characters of a text in which references are read, with their places in the page.
fn each_char(html: &str, range: Range<usize>, mut each: impl FnMut(char, Range<usize>)) {
    let mut at = range.start;
    while let Some(c) = html[at..range.end].chars().next() {
        let reference = if c == '&' { entities::read(&html[at..range.end]) } else { None };
        let ([first, second], length) = reference.unwrap_or(([c, '\0'], c.len_utf8()));
        each(first, at..at + length);
        if second != '\0' {
            each(second, at..at + length);
        }
        at += length;
    }
}

/// The place of an element in [`ELEMENTS`], its name in small letters, and what it does; none for an unknown one.
fn find(name: &str) -> Option<(u8, &'static str, Role)> {
    let small =
        |known: &&str| known.bytes().cmp(name.bytes().map(|byte| byte.to_ascii_lowercase()));
    let at = ELEMENTS.binary_search_by(|(known, _)| small(known)).ok()?;
    Some((at as u8, ELEMENTS[at].0, ELEMENTS[at].1))
}

fn is(element: u8, name: &str) -> bool {
    ELEMENTS[usize::from(element)].0 == name
}

/// Whether an open element ends where one of this name begins.
fn ends(element: u8, name: &str) -> bool {
    let open = ELEMENTS[usize::from(element)].0;
    ENDS_ITSELF.iter().any(|alike| alike.contains(&open) && alike.contains(&name))
}

fn is_hidden(tag: &Tag<'_>) -> bool {
    tag.attributes().any(|(name, value)| match name {
        name if name.eq_ignore_ascii_case("hidden") => true,
        name if name.eq_ignore_ascii_case("aria-hidden") => value.eq_ignore_ascii_case("true"),
        name if name.eq_ignore_ascii_case("style") => {
            let mut parts = value.split(';').filter_map(|part| part.split_once(':'));
            parts.any(|(what, how)| {
                what.trim().eq_ignore_ascii_case("display")
                    && how.trim().eq_ignore_ascii_case("none")
            })
        }
        _ => false,
    })
}

fn is_outside(tag: &Tag<'_>) -> bool {
    const ROLES: [&str; 8] = [
        "alertdialog",
        "banner",
        "complementary",
        "contentinfo",
        "dialog",
        "menu",
        "navigation",
        "search",
    ];
    tag.attributes().any(|(name, value)| match name {
        name if name.eq_ignore_ascii_case("role") => ROLES.contains(&value),
        name if name.eq_ignore_ascii_case("class") || name.eq_ignore_ascii_case("id") => {
            value.split_ascii_whitespace().any(|name| has(name, &OUTSIDE) && !has(name, &INSIDE))
        }
        _ => false,
    })
}

/// Whether one of the words of a class is one of `known`.
fn has(class: &str, known: &[&str]) -> bool {
    let mut words = class.split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| known.iter().any(|known| known.eq_ignore_ascii_case(word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(html: &str) -> Vec<String> {
        let page = read(html);
        page.blocks.iter().map(|block| page.text[block.text.clone()].to_owned()).collect()
    }

    #[test]
    fn elements_are_in_order() {
        assert!(ELEMENTS.is_sorted_by_key(|(name, _)| *name));
        assert_eq!(find("H1").map(|found| found.1), Some("h1"));
        assert_eq!(find("x-y"), None);
    }

    #[test]
    fn blocks_end_where_lines_do() {
        let check = |html: &str, expected: &[&str]| assert_eq!(told(html), expected, "{html}");
        check("<p>a <b>b</b>c<p>d<br>e", &["a bc", "d", "e"]);
        check("a\n  b<div>c</div>d", &["a b", "c", "d"]);
        check("<pre>a\n b\n</pre>c\nd", &["a", "b", "c d"]);
        check("<table><tr><td>a<td>b</td><tr><th> c </th></table>", &["a\tb", "c"]);
        check("a<script>b</script>c<svg><title>t</title><text>d</text></svg>", &["ac"]);
        check("x&nbsp;y &lt;b&gt; &NotEqualTilde;", &["x y <b> ≂\u{338}"]);
        check("<p hidden>a<p>b<div style='color:red; display : none'>c</div>d", &["b", "d"]);
        check("<select><option>a<option>b</select>c<textarea><p>d</textarea>e", &["ce"]);
        check("", &[]);
    }

    #[test]
    fn words_are_counted_in_any_script() {
        let words = |html: &str| read(html).blocks.iter().map(|block| block.words).sum::<usize>();
        assert_eq!(words("one two, don't <b>f</b>our 4.5 !"), 6);
        assert_eq!(words("我们喜欢北京"), 3);
        assert_eq!(words("وعقيلته إلى باريس"), 3);
    }
}
