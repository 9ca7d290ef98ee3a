//! Why a text is judged as it is: the parts that speak for or against, and the phrases that carry them.
//!
//! What a part says is what changes when it is taken out: the model is asked again without it. So an explanation
//! holds for the model as it is, and not for a simpler one.

use super::rules::Ruling;
use super::scan::{Kind, Scanned, Token};
use super::{Analyser, Scratch, Sentiment, passages, sentiment};
use crate::Language;
use std::ops::Range;

/// Passages of a text that are explained at most; the rest is judged without.
pub const PASSAGES_MAX: usize = 64;
/// Parts of a passage that are tried at most.
const PARTS_MAX: usize = 96;
/// What changes the score by less than this is no reason.
const EFFECT_MIN: f32 = 0.02;
/// A word speaks for or against where the lists say at least so much.
const POLARITY_MIN: f32 = 0.15;
/// Words back to where "not" or "very" may stand.
const BACK: usize = 4;

/// A part of a text that speaks for or against.
#[derive(Clone, PartialEq, Debug)]
pub struct Reason {
    /// Where it stands, in bytes: a word with what turns or strengthens it, as "not very good".
    pub range: Range<usize>,
    /// By how much the score is higher with it than without.
    pub effect: f32,
}

/// A phrase with what it says.
#[derive(Clone, PartialEq, Debug)]
pub struct Chunk {
    /// Where it stands, in bytes: a part of a sentence between signs and words like "but".
    pub range: Range<usize>,
    /// How it is judged alone.
    pub sentiment: Sentiment,
    /// What in it speaks for or against, in the order of the text.
    pub reasons: Vec<Reason>,
}

impl Analyser {
    /// Why a text is judged as it is: the parts with an effect, the strongest first. In a text of several passages effects
    /// are those within the passage; passages after [`PASSAGES_MAX`] are not looked at.
    pub fn explain(
        &self,
        text: &str,
        rules: Option<&Ruling>,
        scratch: &mut Scratch,
    ) -> Vec<Reason> {
        let mut reasons = Vec::new();
        for passage in passages(text).take(PASSAGES_MAX) {
            let scanned = self.scan(text, &passage, scratch);
            self.reasons(rules, scanned, &mut reasons);
        }
        reasons.sort_by(|a, b| {
            b.effect.abs().total_cmp(&a.effect.abs()).then(a.range.start.cmp(&b.range.start))
        });
        reasons
    }

    /// The phrases of a text that speak for or against, in order: parts of sentences between signs and words like "but",
    /// with what in them does so. Passages after [`PASSAGES_MAX`] are not looked at.
    pub fn chunks(&self, text: &str, rules: Option<&Ruling>, scratch: &mut Scratch) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        let mut clause = Scanned::default();
        for passage in passages(text).take(PASSAGES_MAX) {
            let scanned = self.scan(text, &passage, scratch);
            for tokens in clauses(scanned, self.language) {
                scanned.part(tokens, &mut clause);
                let mut reasons = Vec::new();
                self.reasons(rules, &mut clause, &mut reasons);
                let Some(range) = range_of(&clause.tokens) else { continue };
                if !reasons.is_empty() {
                    reasons.sort_by_key(|reason| reason.range.start);
                    let sentiment = sentiment(self.shares(rules, &mut clause));
                    chunks.push(Chunk { range, sentiment, reasons });
                }
            }
        }
        chunks
    }

    /// Takes parts out of a passage, one after the other, and tells what that does.
    fn reasons(&self, rules: Option<&Ruling>, scanned: &mut Scanned, reasons: &mut Vec<Reason>) {
        let whole = sentiment(self.shares(rules, &mut scanned.clone())).score;
        for tokens in parts(rules, scanned).into_iter().take(PARTS_MAX) {
            let mut without = scanned.clone();
            without.tokens.drain(tokens.clone());
            let effect = whole - sentiment(self.shares(rules, &mut without)).score;
            if effect.abs() >= EFFECT_MIN {
                let Some(range) = range_of(&scanned.tokens[tokens]) else { continue };
                reasons.push(Reason { range, effect });
            }
        }
    }
}

/// Where tokens stand in the text, from the first to the last.
pub(super) fn range_of(tokens: &[Token]) -> Option<Range<usize>> {
    Some(tokens.first()?.bytes.start..tokens.last()?.bytes.end)
}

/// Tokens between signs that end a clause, or before a word that begins one against what was said.
pub(super) fn clauses(scanned: &Scanned, language: Language) -> Vec<Range<usize>> {
    let mut clauses = Vec::new();
    let mut start = 0;
    for at in 0..=scanned.tokens.len() {
        let ends = at == scanned.tokens.len() || scanned.ends_clause(at);
        if ends || start < at && turns(scanned, at, language) {
            if start < at {
                clauses.push(start..at);
            }
            start = if ends { at + 1 } else { at };
        }
    }
    clauses
}

/// Whether a token is a "but": what follows it speaks of another thing, or the other way.
fn turns(scanned: &Scanned, at: usize, language: Language) -> bool {
    let words: &[&str] = match language {
        Language::En => &["but", "however", "although", "though", "whereas"],
        Language::Ar => &["لكن", "ولكن", "لاكن"],
        Language::Zh => &["但", "却"],
        Language::De => &["aber", "sondern", "jedoch", "obwohl", "doch"],
        Language::Fr => &["mais", "cependant", "pourtant"],
        Language::Es => &["pero", "aunque", "sino"],
        Language::It => &["ma", "però", "invece"],
        Language::Ru => &["но", "однако", "зато", "хотя"],
        Language::Pl => &["ale", "lecz", "jednak", "choć"],
        Language::Pt => &["mas", "porém", "embora"],
    };
    let word = &scanned.chars[scanned.tokens[at].chars.clone()];
    words.iter().any(|known| known.chars().eq(word.iter().copied()))
}

/// The parts of a passage that may speak for or against: what rules match, what the lists have, emoji.
pub(super) fn parts(rules: Option<&Ruling>, scanned: &Scanned) -> Vec<Range<usize>> {
    let ruled = rules.map_or_else(Vec::new, |rules| rules.find(scanned));
    let mut ruled = ruled.into_iter().map(|found| found.tokens).peekable();
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at < scanned.tokens.len() {
        let token = &scanned.tokens[at];
        let part = match ruled.next_if(|tokens| tokens.start == at) {
            Some(tokens) => Some(tokens),
            None => {
                let said = token.entry.is_some_and(|entry| entry.polarity().abs() >= POLARITY_MIN);
                (said || token.kind == Kind::Emoji).then_some(at..at + 1)
            }
        };
        let Some(part) = part else {
            at += 1;
            continue;
        };
        let free = parts.last().map_or(0, |part| part.end);
        let start = match token.turned || token.degree != 1.0 {
            true => beginning(scanned, at, free),
            false => at,
        };
        at = part.end;
        parts.push(start..at);
    }
    parts
}

/// Where "not" or "very" stands before a word, not before token `free`.
fn beginning(scanned: &Scanned, at: usize, free: usize) -> usize {
    let from = at.saturating_sub(BACK).max(free);
    let acts = |at: &usize| {
        let entry = scanned.tokens[*at].entry;
        entry.is_some_and(|entry| entry.role() != super::lexicon::Role::None)
    };
    (from..at).find(acts).unwrap_or(at)
}

#[cfg(test)]
mod tests {
    use super::super::{Label, analyser};
    use super::*;

    fn reasons(text: &str) -> Vec<(&str, f32)> {
        let reasons = analyser(Language::En).explain(text, None, &mut Scratch::default());
        reasons.into_iter().map(|reason| (&text[reason.range], reason.effect)).collect()
    }

    #[test]
    fn what_turns_and_strengthens_a_word_belongs_to_its_reason() {
        let found = reasons("The room was not very good, but we loved the breakfast.");
        let effect =
            |part: &str| found.iter().find(|(text, _)| *text == part).map(|(_, effect)| *effect);
        assert!(effect("not very good").unwrap() < -0.1, "{found:?}");
        assert!(effect("loved").unwrap() > 0.1, "{found:?}");
        assert!(found.windows(2).all(|pair| pair[0].1.abs() >= pair[1].1.abs()));
    }

    #[test]
    fn nothing_is_made_up() {
        assert_eq!(reasons("The train leaves at nine."), []);
        assert_eq!(reasons(""), []);
    }

    #[test]
    fn phrases_are_judged_one_by_one() {
        let text = "The staff were wonderful, the bathroom was disgusting. We left on Monday.";
        let chunks = analyser(Language::En).chunks(text, None, &mut Scratch::default());
        let found: Vec<_> =
            chunks.iter().map(|c| (&text[c.range.clone()], c.sentiment.label)).collect();
        assert_eq!(
            found,
            [
                ("The staff were wonderful", Label::Positive),
                ("the bathroom was disgusting", Label::Negative)
            ]
        );
    }

    #[test]
    fn a_but_begins_a_phrase() {
        let text = "Lovely food but terrible service though";
        let chunks = analyser(Language::En).chunks(text, None, &mut Scratch::default());
        let found: Vec<_> = chunks.iter().map(|chunk| &text[chunk.range.clone()]).collect();
        assert_eq!(found, ["Lovely food", "but terrible service"]);
    }

    #[test]
    fn offsets_hold_in_later_passages() {
        let text =
            "Nothing is said here of anything at all. ".repeat(30) + "It was a wonderful day.";
        let found = analyser(Language::En).explain(&text, None, &mut Scratch::default());
        assert!(found.iter().any(|reason| &text[reason.range.clone()] == "wonderful"), "{found:?}");
    }
}
