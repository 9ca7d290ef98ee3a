//! Texts in which several languages stand side by side.
//!
//! A text is cut into sentences, lines and runs of one script; the most likely languages of all pieces together are
//! found, where going from one language to another has a price (the algorithm of Viterbi, 1967). So a foreign name does
//! not interrupt a text, and a sentence in another language does.

use super::tables::{COLUMNS, LATIN, Tables};
use super::{Findings, judge, scan};
use crate::Language;
use std::ops::Range;

/// A part of a text that is in one language.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Where it stands, in bytes.
    pub range: Range<usize>,
    /// Its language; none where it is in another one, or in none.
    pub language: Option<Language>,
    /// How likely that is, from 0 to 1.
    pub confidence: f32,
}

/// The languages, and last the unknown one.
const STATES: usize = Language::ALL.len() + 1;
const UNKNOWN: usize = STATES - 1;

/// The price of another language, in natural logarithms of odds.
const CHANGE: f32 = 3.0;
/// What a piece says counts half: its words do not speak independently.
const WEIGHT: f32 = 0.5;
/// No piece speaks more strongly against a language than by this, nor by more than its letters times [`PER_LETTER`].
const AGAINST_MAX: f32 = 12.0;
const PER_LETTER: f32 = 0.5;
/// How strongly a piece that is in none of the languages speaks against each.
const FOREIGN: f32 = 8.0;

/// The languages of a text, in order: the parts cover all of it, and neighbours differ. An empty text has none.
pub fn spans(text: &str) -> Vec<Span> {
    let tables = super::tables();
    let pieces: Vec<(Range<usize>, Findings)> = scan::pieces(text)
        .map(|range| (range.clone(), Findings::of(&text[range], tables)))
        .collect();
    let states = most_likely(pieces.iter().map(|(_, found)| costs(found, tables)));
    let mut spans: Vec<Span> = Vec::new();
    let mut at = 0;
    for run in states.chunk_by(|a, b| a == b) {
        let own = &pieces[at..at + run.len()];
        at += run.len();
        let mut found = Findings::default();
        own.iter().for_each(|(_, piece)| found.add(piece));
        let language = Language::ALL.get(run[0]).copied();
        let judged = judge(&found, tables);
        let confidence = if judged.language == language { judged.confidence } else { 0.5 };
        let (Some(first), Some(last)) = (own.first(), own.last()) else { continue };
        spans.push(Span { range: first.0.start..last.0.end, language, confidence });
    }
    spans
}

/// What it costs to take a piece for each language.
fn costs(found: &Findings, tables: &Tables) -> [f32; STATES] {
    let letters = &found.letters;
    let count = letters.latin + letters.arabic + letters.cyrillic + letters.kana + letters.other;
    let count = count + letters.han * super::HAN_LETTERS;
    let most = AGAINST_MAX.min(count as f32 * PER_LETTER);
    let mut costs = [most; STATES];
    match judge(found, tables).language {
        _ if count == 0 => {}
        None => {
            costs = [most.min(FOREIGN); STATES];
            costs[UNKNOWN] = 0.0;
        }
        Some(language) if LATIN.contains(&language) => {
            let best = found.sums[..COLUMNS].iter().copied().max().unwrap_or(0);
            for (column, language) in LATIN.into_iter().enumerate() {
                let behind = (best - found.sums[column]) as f32 * tables.unit;
                costs[language.index()] = most.min(WEIGHT * behind);
            }
        }
        Some(language) => costs[language.index()] = 0.0,
    }
    costs
}

/// The cheapest states of a row of pieces.
fn most_likely(pieces: impl Iterator<Item = [f32; STATES]>) -> Vec<usize> {
    let mut total = [0.0; STATES];
    let mut from: Vec<[u8; STATES]> = Vec::new();
    for costs in pieces {
        let (cheapest, least) = least(&total);
        let mut back = [0; STATES];
        for state in 0..STATES {
            let (came, cost) = match total[state] <= least + CHANGE {
                true => (state, total[state]),
                false => (cheapest, least + CHANGE),
            };
            back[state] = came as u8;
            total[state] = cost + costs[state];
        }
        // Only differences matter; sums stay small however long the text is.
        let (_, least) = self::least(&total);
        total.iter_mut().for_each(|cost| *cost -= least);
        from.push(back);
    }
    let (mut state, _) = least(&total);
    let mut states = vec![0; from.len()];
    for (at, back) in from.iter().enumerate().rev() {
        states[at] = state;
        state = usize::from(back[state]);
    }
    states
}

fn least(costs: &[f32; STATES]) -> (usize, f32) {
    let mut least = 0;
    for state in 1..STATES {
        if costs[state] < costs[least] {
            least = state;
        }
    }
    (least, costs[least])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[(&str, Option<Language>)]) {
        let found = spans(text);
        let found: Vec<_> = found.iter().map(|s| (&text[s.range.clone()], s.language)).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn sentences_and_scripts_are_told_apart() {
        use Language::{Ar, De, En, Fr, Ru, Zh};
        check("", &[]);
        check(
            "The meeting begins at nine o'clock. Die Sitzung beginnt erst um neun Uhr. La séance est levée.",
            &[
                ("The meeting begins at nine o'clock. ", Some(En)),
                ("Die Sitzung beginnt erst um neun Uhr. ", Some(De)),
                ("La séance est levée.", Some(Fr)),
            ],
        );
        check(
            "他昨天说过这句话 and then he went home again. Потом он ушёл домой.",
            &[
                ("他昨天说过这句话 ", Some(Zh)),
                ("and then he went home again. ", Some(En)),
                ("Потом он ушёл домой.", Some(Ru)),
            ],
        );
        check(
            "قال لي: مرحبا بكم في المكتبة الوطنية.",
            &[("قال لي: مرحبا بكم في المكتبة الوطنية.", Some(Ar))],
        );
    }

    #[test]
    fn a_name_does_not_interrupt_a_text() {
        use Language::{De, Ru, Zh};
        check("我昨天在Starbucks喝了一杯咖啡。", &[("我昨天在Starbucks喝了一杯咖啡。", Some(Zh))]);
        check(
            "Он купил новый iPhone в магазине.",
            &[("Он купил новый iPhone в магазине.", Some(Ru))],
        );
        let text = "Ich habe gestern den Film gesehen. La La Land! Er hat mir sehr gut gefallen.";
        check(text, &[(text, Some(De))]);
    }

    #[test]
    fn what_is_in_no_known_language_is_a_part_of_its_own() {
        check(
            "This is the first part of the text.\nこれは日本語の文章です。\nAnd this is the last one of them.",
            &[
                ("This is the first part of the text.\n", Some(Language::En)),
                ("これは日本語の文章です。\n", None),
                ("And this is the last one of them.", Some(Language::En)),
            ],
        );
    }

    proptest! {
        #[test]
        fn parts_cover_the_text(text in "(\\PC|[ .\\nа-яa-z。]){0,80}") {
            let spans = spans(&text);
            let mut at = 0;
            for span in &spans {
                prop_assert_eq!(span.range.start, at);
                prop_assert!((0.0..=1.0).contains(&span.confidence));
                prop_assert!(text.is_char_boundary(span.range.end) && span.range.end > at);
                at = span.range.end;
            }
            prop_assert_eq!(at, text.len());
            prop_assert!(spans.windows(2).all(|pair| pair[0].language != pair[1].language));
        }
    }
}
