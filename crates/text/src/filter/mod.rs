//! Filter rules: which texts are meant, by the words in them.
//!
//! ```
//! use strongroom_text::filter::{Filter, Filters};
//!
//! let rules = [r#"(refund OR "money back") NEAR/5 (late OR never)"#, "deliver* AND NOT exact:DHL"];
//! let rules = rules.into_iter().map(Filter::parse).collect::<Result<Vec<_>, _>>()?;
//! let filters = Filters::new(rules)?;
//! let text = "My money back? It never came. Delivery by DHL.";
//! let found = filters.find(text, &[]);
//! assert_eq!([found[0].matched, found[1].matched], [true, false]);
//! let told: Vec<&str> = found[0].ranges.iter().map(|range| &text[range.bytes.clone()]).collect();
//! assert_eq!(told, ["money back? It never"]);
//! # Ok::<(), strongroom_text::filter::Error>(())
//! ```
//!
//! # The language
//! ```text
//! rule    = or ;
//! or      = and , { "OR" , and } ;
//! and     = near , { "AND" , near } ;
//! near    = not , { "NEAR/" , digits , not } ;     (* at most so many words stand between, in either order *)
//! not     = [ "NOT" ] , primary ;
//! primary = "(" , or , ")" | term ;
//! term    = word                                   (* refund: this word, in capitals or not *)
//!         | prefix                                 (* refund*: words that begin so *)
//!         | '"' , text , '"'                       (* "money back": these words, one after the other *)
//!         | "lemma:" , word                        (* lemma:pay: pay, pays, paid *)
//!         | "exact:" , ( word | '"' , text , '"' ) (* exact:Apple, exact:"The Sun": as it is written *) ;
//! ```
//! Operators are in capitals; `and` is a word. NOT binds more than NEAR, NEAR more than AND, AND more than OR, so that
//! `a OR b AND NOT c NEAR/3 d` is refused: NOT has no place, and so cannot stand in NEAR, and neither can AND. Two terms
//! side by side are refused, as it means one thing in some tools and another one in others.
//!
//! Words are runs of letters, digits and marks; all else stands between words and counts for nothing, but emoji, which are
//! words. So `don't` is the words `don` and `t` in texts and rules alike, and `été` is found in `l'été`. Case does not count;
//! accents do; Arabic is compared without vowel signs and with one form of alif. Chinese has no spaces: each of its
//! characters is a word, so that a term of several is found wherever they stand one after the other, and NEAR counts characters.
//! NEAR joins each place with the nearest one of the other side; of `a NEAR/3 b NEAR/3 c` the shortest stretches with `a` and
//! `b` are looked at for `c`.
//!
//! # Failure
//! A rule is refused with what is wrong, at which character, and what to write instead. Matching does not fail; it takes time
//! linear in the text, and in the hits of each rule. Without lemmas `lemma:pay` finds `pay` alone.

mod find;
mod parse;
mod words;

pub use find::{Filters, Found};

/// Bytes of a rule at most.
pub const RULE_BYTES_MAX: usize = 4096;
/// Terms of a rule at most, each word of a phrase counted.
pub const TERMS_MAX: usize = 256;
/// Parentheses and NOT within each other at most.
pub const DEPTH_MAX: usize = 32;
/// The most words that NEAR may allow between.
pub const NEAR_MAX: usize = 100;
/// NEAR in a rule at most.
pub const NEARS_MAX: usize = 16;
/// Characters of a prefix at least, where it is no part of a phrase.
pub const PREFIX_CHARS_MIN: usize = 2;
/// Rules that are looked for together at most.
pub const RULES_MAX: usize = 1000;
/// Ranges that are told of each rule at most, the first.
pub const RANGES_MAX: usize = 100;

/// A rule.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Filter {
    root: Node<Word>,
}

impl Filter {
    /// Reads a rule.
    ///
    /// # Errors
    /// Where it is none, or out of bounds.
    pub fn parse(rule: &str) -> Result<Filter, Error> {
        parse::parse(rule).map(|root| Filter { root })
    }

    /// Whether it asks for lemmas of the text's words.
    pub fn needs_lemmas(&self) -> bool {
        let mut needs = false;
        self.root.each_word(&mut |word| needs |= word.form == Form::Lemma);
        needs
    }
}

/// A part of a rule, of which `W` stands for a word.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Node<W> {
    /// Words one after the other; never none.
    Term(Vec<W>),
    Not(Box<Node<W>>),
    And(Vec<Node<W>>),
    Or(Vec<Node<W>>),
    /// Two with at most so many words between; neither has NOT or AND in it.
    Near(Box<Node<W>>, usize, Box<Node<W>>),
}

/// A word of a rule.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Word {
    form: Form,
    /// In this form.
    chars: Vec<char>,
}

/// In which of its forms a word is compared.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Form {
    /// Whatever its case.
    Any,
    /// As it is written.
    Exact,
    Lemma,
    /// Words that begin so.
    Prefix,
}

impl<W> Node<W> {
    fn each_word(&self, each: &mut impl FnMut(&W)) {
        match self {
            Node::Term(words) => words.iter().for_each(each),
            Node::Not(node) => node.each_word(each),
            Node::And(nodes) | Node::Or(nodes) => nodes.iter().for_each(|n| n.each_word(each)),
            Node::Near(a, _, b) => {
                a.each_word(each);
                b.each_word(each);
            }
        }
    }

    /// The same with other words.
    fn map<V>(&self, with: &mut impl FnMut(&W) -> V) -> Node<V> {
        let all = |nodes: &[Node<W>], with: &mut _| {
            let mut mapped = Vec::with_capacity(nodes.len());
            for node in nodes {
                mapped.push(Node::map(node, with));
            }
            mapped
        };
        match self {
            Node::Term(words) => Node::Term(words.iter().map(with).collect()),
            Node::Not(node) => Node::Not(Box::new(node.map(with))),
            Node::And(nodes) => Node::And(all(nodes, with)),
            Node::Or(nodes) => Node::Or(all(nodes, with)),
            Node::Near(a, most, b) => {
                Node::Near(Box::new(a.map(with)), *most, Box::new(b.map(with)))
            }
        }
    }
}

/// Why a rule is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be read.
    #[error("at character {column}: {what}; {hint}")]
    Syntax {
        /// The character, the first of which is 1.
        column: usize,
        /// What is wrong.
        what: String,
        /// What to do.
        hint: &'static str,
    },
    /// It is too long.
    #[error("the rule has {bytes} bytes; at most {RULE_BYTES_MAX} are allowed")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// There are too many words in it.
    #[error("the rule has more than {TERMS_MAX} words; make it two rules")]
    Terms,
    /// There are too many NEAR in it.
    #[error("the rule has more than {NEARS_MAX} NEAR; make it two rules")]
    Nears,
    /// There are too many rules.
    #[error("these are {count} rules; at most {RULES_MAX} are looked for together")]
    Rules {
        /// How many.
        count: usize,
    },
}

#[cfg(test)]
mod tests;
