//! The main text of a page of the web: what its author wrote, without menus, advertisements, comments and code.
//!
//! ```
//! use strongroom_text::html::{self, Keep};
//!
//! let page = "<html lang=en><title>A walk</title><nav><a href=/>Home</a></nav>
//!     <p>We went up the hill &amp; looked at the sea, which lay there as still as a plate.
//!     <p>Then it began to rain, and we went home by the shorter way along the river.<footer>Imprint</footer>";
//! let found = html::clean(page, Keep::Main)?;
//! assert_eq!((found.title.as_deref(), found.language.as_deref()), (Some("A walk"), Some("en")));
//! assert!(found.text.starts_with("We went up the hill & looked at the sea"));
//! assert!(found.text.ends_with("along the river."));
//! let first = &found.blocks[0];
//! assert!(page[first.html.clone()].starts_with("We went up the hill &amp;"));
//! # Ok::<(), html::Error>(())
//! ```
//!
//! # How
//! A tokenizer after the HTML standard reads tags and text. No tree is built and nothing is nested in itself, so that a page
//! with a million open elements is as any other. Tags that begin a new line cut the text into blocks. What is never main text
//! is left out: code, what is hidden, menus, sidebars, the page's head and foot, forms, and what classes and ids call
//! comments or the like. If `<main>` or `<article>` hold a good part of the rest, only that is looked at. Of these blocks the
//! decision tree of Kohlschütter, Fankhauser and Nejdl (Boilerplate Detection using Shallow Text Features, WSDM 2010, algorithm 2)
//! keeps those that are text, by the numbers of words and the share of links in a block and its neighbours; then headings before
//! what is kept, and items of lists, rows and lines of code after it.
//!
//! # Failure
//! Any text is a page, however broken its tags are; what fails is what is too long, or in a charset that cannot be told. Where
//! a comment, a value in quotes or an element that is left out does not end, text after it is lost, as it is in most browsers.
//! A list of links, as the front page of a newspaper, has no main text: then all that is no link is kept. Text that scripts
//! put there is not in the page. Where a page is in another charset than UTF-8, [`decode`] makes it so, and places are
//! those in what it made.

mod blocks;
mod entities;
mod tokens;

use blocks::{Block, Page};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// Bytes of a page at most.
pub const HTML_BYTES_MAX: usize = 10 << 20;
/// Blocks that are read of a page at most; what comes after them is left out, and [`Clean::cut`] says so.
pub const BLOCKS_MAX: usize = 100_000;
/// How many times longer a page may be in UTF-8 than in its charset: a byte becomes three at most.
const DECODED_TIMES: usize = 3;
/// Bytes in which a charset is looked for, as in the HTML standard.
const CHARSET_BYTES: usize = 1024;
/// `<main>` and `<article>` are heeded where they hold this share of the words outside of menus and the like.
const MARKED_SHARE: f64 = 0.25;
/// Forms are left out unless they hold more than this share of those words: some pages are one form.
const FORM_SHARE: f64 = 0.5;

/// What is to be kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Keep {
    /// The main text.
    #[default]
    Main,
    /// All that a reader would see.
    All,
}

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Of no other kind.
    Paragraph,
    /// A heading.
    Heading,
    /// An item of a list.
    Item,
    /// A row of a table; a tab stands between its cells.
    Row,
    /// A line of preformatted text.
    Preformatted,
}

/// The text of a page.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Clean {
    /// What the page says its title is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What the page says its language is, as it is written there: `en-GB`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The text that was kept, a block a line.
    pub text: String,
    /// The blocks that were kept, in order.
    pub blocks: Vec<Kept>,
    /// Whether the page had more than [`BLOCKS_MAX`] blocks.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cut: bool,
}

/// A block that was kept.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kept {
    /// Where it stands in [`Clean::text`], in bytes.
    pub bytes: Range<usize>,
    /// Where it stands in the page, in bytes, from the first of its characters to the last, with the tags between.
    pub html: Range<usize>,
    /// What it is.
    pub kind: Kind,
}

/// Why a page is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It is too long.
    #[error("the page has {bytes} bytes; at most {HTML_BYTES_MAX} are read")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// It says nothing of its charset, and is not in UTF-8.
    #[error(
        "the page is not UTF-8 from byte {at} on, and names no other charset; convert it to UTF-8, or name its charset"
    )]
    Charset {
        /// Where UTF-8 ends.
        at: usize,
    },
    /// The charset is none that is known.
    #[error("the charset {name:?} is not known; convert the page to UTF-8")]
    Unknown {
        /// What it was called.
        name: String,
    },
}

/// A page as text: as it is where it is in UTF-8, else from the charset that `charset` (of a `Content-Type`), a byte order
/// mark, or a `<meta>` in its first 1024 bytes names; the mark comes first, then `charset`. What is wrong in another
/// charset becomes U+FFFD.
///
/// # Errors
/// Where the page is too long, or its charset is not told or not known.
pub fn decode<'a>(bytes: &'a [u8], charset: Option<&str>) -> Result<Cow<'a, str>, Error> {
    if bytes.len() > HTML_BYTES_MAX {
        return Err(Error::Length { bytes: bytes.len() });
    }
    let named = || charset.map(str::to_owned).or_else(|| meta_charset(bytes));
    let encoding = match encoding_rs::Encoding::for_bom(bytes) {
        Some((encoding, _)) => encoding,
        None if charset.is_none() && std::str::from_utf8(bytes).is_ok() => encoding_rs::UTF_8,
        None => match named() {
            Some(name) => {
                let known = encoding_rs::Encoding::for_label(name.trim().as_bytes());
                known.ok_or(Error::Unknown { name })?
            }
            None => encoding_rs::UTF_8,
        },
    };
    if encoding == encoding_rs::UTF_8 {
        // With its mark, so that places stay what they are.
        let text = std::str::from_utf8(bytes);
        return text.map(Cow::Borrowed).map_err(|e| Error::Charset { at: e.valid_up_to() });
    }
    Ok(encoding.decode(bytes).0)
}

/// The charset that a `<meta>` at the beginning of a page names.
fn meta_charset(bytes: &[u8]) -> Option<String> {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(CHARSET_BYTES)]);
    tokens::Tokens::new(&head).find_map(|token| {
        let tokens::Token::Start(tag) = token else { return None };
        if !tag.name.eq_ignore_ascii_case("meta") {
            return None;
        }
        let of_type = || {
            let content = tag.attribute("content")?.to_ascii_lowercase();
            let (_, name) = content.split_once("charset=")?;
            let name = name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '"' | '\''));
            Some(name.split(';').next().unwrap_or_default().to_owned())
        };
        let name = tag.attribute("charset").map(str::to_owned).or_else(of_type)?;
        // A page that says so in ASCII cannot be in UTF-16, as the standard has it.
        Some(if name.to_ascii_lowercase().starts_with("utf-16") { "utf-8".into() } else { name })
    })
}

/// The text of a page.
///
/// # Errors
/// Where the page is longer than one of [`HTML_BYTES_MAX`] can be once it is decoded: three times that.
pub fn clean(html: &str, keep: Keep) -> Result<Clean, Error> {
    if html.len() > DECODED_TIMES * HTML_BYTES_MAX {
        return Err(Error::Length { bytes: html.len() });
    }
    let page = blocks::read(html);
    let kept = match keep {
        Keep::Main => main_text(&page.blocks),
        Keep::All => (0..page.blocks.len()).collect(),
    };
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let mut clean = Clean {
        title: said(&page.title),
        language: said(&page.language),
        text: String::new(),
        blocks: Vec::with_capacity(kept.len()),
        cut: page.cut,
    };
    for at in kept {
        push(&mut clean, &page, &page.blocks[at]);
    }
    Ok(clean)
}

fn push(clean: &mut Clean, page: &Page, block: &Block) {
    if !clean.text.is_empty() {
        clean.text.push('\n');
    }
    let start = clean.text.len();
    clean.text.push_str(&page.text[block.text.clone()]);
    let bytes = start..clean.text.len();
    clean.blocks.push(Kept { bytes, html: block.html.clone(), kind: block.kind });
}

/// The numbers of the blocks of the main text.
fn main_text(blocks: &[Block]) -> Vec<usize> {
    let words = |at: &[usize]| at.iter().map(|at| blocks[*at].words).sum::<usize>() as f64;
    let mut left: Vec<usize> = (0..blocks.len()).filter(|at| !blocks[*at].place.outside).collect();
    if words(&left) == 0.0 {
        left = (0..blocks.len()).collect();
    }
    let without = |left: &[usize]| {
        left.iter().copied().filter(|at| !blocks[*at].place.form).collect::<Vec<_>>()
    };
    let free = without(&left);
    if words(&free) >= words(&left) * (1.0 - FORM_SHARE) {
        left = free;
    }
    let marked: Vec<usize> = left.iter().copied().filter(|at| blocks[*at].place.marked).collect();
    if !marked.is_empty() && words(&marked) >= words(&left) * MARKED_SHARE {
        left = marked;
    }
    let sizes: Vec<Size> = left.iter().map(|at| Size::of(&blocks[*at])).collect();
    let kept = kept(&left.iter().map(|at| &blocks[*at]).collect::<Vec<_>>(), &sizes);
    // A short page is all that it has.
    let few = |at: &usize| sizes[*at].links <= LINKS_MAX;
    let kept: Vec<usize> = match kept.iter().any(|kept| *kept) {
        true => (0..left.len()).filter(|at| kept[*at]).collect(),
        false => (0..left.len()).filter(few).collect(),
    };
    kept.into_iter().map(|at| left[at]).collect()
}

/// How many words a block has, and which share of them is in links.
#[derive(Clone, Copy, Default)]
struct Size {
    words: usize,
    links: f64,
}

impl Size {
    fn of(block: &Block) -> Size {
        Size { words: block.words, links: block.link_words as f64 / block.words.max(1) as f64 }
    }
}

/// A block with a greater share of links is no text (see [`is_text`]).
const LINKS_MAX: f64 = 0.333_333;

/// Which blocks are text, with headings before them and what is in short lines after them.
fn kept(blocks: &[&Block], sizes: &[Size]) -> Vec<bool> {
    let size = |at: Option<usize>| at.and_then(|at| sizes.get(at).copied()).unwrap_or_default();
    let mut kept: Vec<bool> = (0..sizes.len())
        .map(|at| is_text(size(at.checked_sub(1)), sizes[at], size(Some(at + 1))))
        .collect();
    for at in 1..kept.len() {
        let short = matches!(blocks[at].kind, Kind::Item | Kind::Row | Kind::Preformatted);
        kept[at] |= short && kept[at - 1] && sizes[at].links <= LINKS_MAX;
    }
    for at in (1..kept.len()).rev() {
        kept[at - 1] |= kept[at] && blocks[at - 1].kind == Kind::Heading;
    }
    kept
}

/// Algorithm 2 of Kohlschütter et al. 2010, with its constants, which were learned from pages of news in English.
fn is_text(before: Size, block: Size, after: Size) -> bool {
    if block.links > LINKS_MAX {
        return false;
    }
    if before.links <= 0.555_556 {
        block.words > 16 || after.words > 15 || before.words > 4
    } else {
        block.words > 40 || after.words > 17
    }
}

#[cfg(test)]
mod tests;
