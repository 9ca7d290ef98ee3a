//! From a rule as it is written to its parts.

use super::words::{each_word, exact};
use super::{
    DEPTH_MAX, Error, Form, NEAR_MAX, NEARS_MAX, Node, PREFIX_CHARS_MIN, RULE_BYTES_MAX, TERMS_MAX,
    Word,
};
use crate::sentiment::is_han;

/// What stands in a rule.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Sign {
    Open,
    Close,
    Not,
    And,
    Or,
    Near(usize),
    Term(Vec<Word>),
}

/// Reads a rule.
pub(super) fn parse(rule: &str) -> Result<Node<Word>, Error> {
    if rule.len() > RULE_BYTES_MAX {
        return Err(Error::Length { bytes: rule.len() });
    }
    let chars: Vec<char> = rule.chars().collect();
    let mut parser = Parser { signs: signs(&chars)?, at: 0, end: chars.len() + 1 };
    let root = parser.or(0)?;
    match parser.peek() {
        None => Ok(root),
        Some(Sign::Close) => {
            parser.fail("nothing was opened that this closes", "take it out, or put ( before")
        }
        Some(_) => parser.fail(
            "two terms stand side by side",
            "put AND, OR or NEAR/5, in capitals, between them, or \"quotes\" around a phrase",
        ),
    }
}

fn fail<T>(at: usize, what: impl Into<String>, hint: &'static str) -> Result<T, Error> {
    Err(Error::Syntax { column: at + 1, what: what.into(), hint })
}

/// The signs of a rule, each with the character at which it begins.
fn signs(chars: &[char]) -> Result<Vec<(usize, Sign)>, Error> {
    let (mut signs, mut words, mut nears, mut at) = (Vec::new(), 0, 0, 0);
    while let Some(c) = chars.get(at).copied() {
        let (sign, end) = match c {
            c if c.is_whitespace() => {
                at += 1;
                continue;
            }
            '(' => (Sign::Open, at + 1),
            ')' => (Sign::Close, at + 1),
            c if is_quote(c) => {
                let (text, end) = quoted(chars, at)?;
                (Sign::Term(phrase(&text, Form::Any, at)?), end)
            }
            _ => bare(chars, at)?,
        };
        if let Sign::Term(term) = &sign {
            words += term.len();
        }
        nears += usize::from(matches!(sign, Sign::Near(_)));
        if words > TERMS_MAX {
            return Err(Error::Terms);
        }
        if nears > NEARS_MAX {
            return Err(Error::Nears);
        }
        signs.push((at, sign));
        at = end;
    }
    Ok(signs)
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '“' | '”' | '„')
}

/// What stands between quotes, the first of which is at `at`, and where that ends.
fn quoted(chars: &[char], at: usize) -> Result<(String, usize), Error> {
    let inside = &chars[at + 1..];
    match inside.iter().position(|c| is_quote(*c)) {
        Some(length) => Ok((inside[..length].iter().collect(), at + length + 2)),
        None => fail(at, "this quote is not closed", "put \" at the end of the phrase"),
    }
}

/// An operator or a term without quotes around all of it, and where it ends.
fn bare(chars: &[char], at: usize) -> Result<(Sign, usize), Error> {
    let ends = |c: &char| c.is_whitespace() || is_quote(*c) || matches!(c, '(' | ')');
    let length = chars[at..].iter().position(ends).unwrap_or(chars.len() - at);
    let (text, end) = (chars[at..at + length].iter().collect::<String>(), at + length);
    let sign = match text.as_str() {
        "AND" => Sign::And,
        "OR" => Sign::Or,
        "NOT" => Sign::Not,
        text if text == "NEAR" || text.starts_with("NEAR/") => near(text, at)?,
        text => {
            let forms = [("exact:", Form::Exact), ("lemma:", Form::Lemma)];
            let form = forms.into_iter().find(|(name, _)| text.starts_with(name));
            let (text, form, end) = match form {
                Some((name, form))
                    if text == name && chars.get(end).is_some_and(|c| is_quote(*c)) =>
                {
                    let (text, end) = quoted(chars, end)?;
                    (text, form, end)
                }
                Some((name, form)) => (text[name.len()..].to_owned(), form, end),
                None => (text.to_owned(), Form::Any, end),
            };
            let prefix = text.strip_suffix('*').filter(|_| form == Form::Any);
            let words = match prefix {
                Some(prefix) => phrase(prefix, Form::Prefix, at)?,
                None => phrase(&text, form, at)?,
            };
            return Ok((Sign::Term(words), end));
        }
    };
    Ok((sign, end))
}

fn near(text: &str, at: usize) -> Result<Sign, Error> {
    let number = text.strip_prefix("NEAR/").and_then(|number| number.parse::<usize>().ok());
    match number {
        Some(number) if number <= NEAR_MAX => Ok(Sign::Near(number)),
        _ => fail(
            at,
            format!("{text} has no number from 0 to {NEAR_MAX}"),
            "write NEAR/5 for at most five words between",
        ),
    }
}

/// The words of a term in this form, or, with [`Form::Prefix`], the last of them in it.
fn phrase(text: &str, form: Form, at: usize) -> Result<Vec<Word>, Error> {
    if text.contains('*') {
        return fail(
            at,
            "a * stands elsewhere than at the end of a word without quotes",
            "write refund* for words that begin so",
        );
    }
    let mut words = Vec::new();
    let each = if form == Form::Prefix { Form::Any } else { form };
    each_word(text, |place, chars| {
        let chars = match form {
            Form::Exact => exact(&text[place]).chars().collect(),
            _ => chars.to_vec(),
        };
        words.push(Word { form: each, chars });
    });
    let count = words.len();
    let Some(last) = words.last_mut() else {
        return fail(at, "here is no word that could be found", "write letters or digits");
    };
    if form == Form::Lemma && count > 1 {
        return fail(at, "lemma: has several words", "write lemma: before each word");
    }
    // A Chinese character is a word.
    if form == Form::Prefix && !last.chars.iter().any(|c| is_han(*c)) {
        if count == 1 && last.chars.len() < PREFIX_CHARS_MIN {
            return fail(at, "this beginning of a word is too short", "write two letters at least");
        }
        last.form = Form::Prefix;
    }
    Ok(words)
}

struct Parser {
    signs: Vec<(usize, Sign)>,
    at: usize,
    /// The character after the rule.
    end: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Sign> {
        self.signs.get(self.at).map(|(_, sign)| sign)
    }

    /// Goes on if the next sign is this one.
    fn take(&mut self, sign: &Sign) -> bool {
        let found = self.peek() == Some(sign);
        self.at += usize::from(found);
        found
    }

    fn fail<T>(&self, what: &str, hint: &'static str) -> Result<T, Error> {
        fail(self.signs.get(self.at).map_or(self.end - 1, |(at, _)| *at), what, hint)
    }

    fn or(&mut self, depth: usize) -> Result<Node<Word>, Error> {
        let mut nodes = vec![self.and(depth)?];
        while self.take(&Sign::Or) {
            nodes.push(self.and(depth)?);
        }
        Ok(one_or(nodes, Node::Or))
    }

    fn and(&mut self, depth: usize) -> Result<Node<Word>, Error> {
        let mut nodes = vec![self.near(depth)?];
        while self.take(&Sign::And) {
            nodes.push(self.near(depth)?);
        }
        Ok(one_or(nodes, Node::And))
    }

    fn near(&mut self, depth: usize) -> Result<Node<Word>, Error> {
        let mut node = self.not(depth)?;
        while let Some(Sign::Near(most)) = self.peek() {
            let (most, operator) = (*most, self.at);
            self.at += 1;
            let other = self.not(depth)?;
            if !node.has_places() || !other.has_places() {
                self.at = operator;
                return self.fail(
                    "NOT and AND have no place that NEAR could measure from",
                    "put parentheses around what belongs together, as in NOT (a NEAR/5 b)",
                );
            }
            node = Node::Near(Box::new(node), most, Box::new(other));
        }
        Ok(node)
    }

    fn not(&mut self, depth: usize) -> Result<Node<Word>, Error> {
        if depth > DEPTH_MAX {
            return self.fail("this is nested too deeply", "make it several rules");
        }
        match self.peek() {
            Some(Sign::Not) => {
                self.at += 1;
                Ok(Node::Not(Box::new(self.not(depth + 1)?)))
            }
            Some(Sign::Open) => {
                let opened = self.at;
                self.at += 1;
                let node = self.or(depth + 1)?;
                if self.take(&Sign::Close) {
                    return Ok(node);
                }
                if self.peek().is_none() {
                    self.at = opened;
                    return self.fail("this parenthesis is not closed", "put ) where it ends");
                }
                self.fail(
                    "two terms stand side by side",
                    "put AND, OR or NEAR/5, in capitals, between them, or \"quotes\" around a phrase",
                )
            }
            Some(Sign::Term(words)) => {
                let node = Node::Term(words.clone());
                self.at += 1;
                Ok(node)
            }
            Some(Sign::Close) => {
                self.fail("there is nothing before this", "put a term before it, or take it out")
            }
            Some(_) => self.fail(
                "this operator has no term before it",
                "put a term before it, or take it out",
            ),
            None => self.fail("a term is missing", "put a word or a \"phrase\" here"),
        }
    }
}

impl<W> Node<W> {
    /// Whether it is found somewhere, rather than in the text as a whole.
    fn has_places(&self) -> bool {
        match self {
            Node::Term(_) | Node::Near(..) => true,
            Node::Or(nodes) => nodes.iter().all(Node::has_places),
            Node::Not(_) | Node::And(_) => false,
        }
    }
}

fn one_or(mut nodes: Vec<Node<Word>>, make: impl Fn(Vec<Node<Word>>) -> Node<Word>) -> Node<Word> {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => make(nodes),
    }
}
