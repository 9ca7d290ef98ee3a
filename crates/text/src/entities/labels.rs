//! Labels of words, and the best row of them for a sentence.
//!
//! A word is outside of all names, or it begins, goes on with, ends or alone makes up a name of a kind. Rows of labels that
//! make no names (an end without a beginning) are never found (Viterbi 1967 over those that do).

use std::ops::Range;

use super::Kind;

/// How many labels there are.
pub(super) const LABELS: usize = 1 + 4 * Kind::ALL.len();

/// The label of a word outside of all names.
pub(super) const OUTSIDE: usize = 0;

/// The first word of several, one between, the last, and the only one.
const BEGIN: usize = 0;
const WITHIN: usize = 1;
const END: usize = 2;
const WHOLE: usize = 3;

/// What labels of words that follow each other add to the score: before, after.
pub(super) type Steps = [[i32; LABELS]; LABELS];

/// Below any score of a row of labels that may be.
const NEVER: i32 = i32::MIN / 4;

/// The score of a label that the training data do not have.
pub(super) const UNKNOWN: i32 = -1 << 20;

/// A name: its words and its kind.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Span {
    pub(super) words: Range<usize>,
    pub(super) kind: Kind,
}

/// The labels of the words of a name of so many words.
pub(super) fn of_name(kind: Kind, words: usize) -> impl Iterator<Item = u8> {
    (0..words).map(move |at| {
        let part = match (at == 0, at + 1 == words) {
            (true, true) => WHOLE,
            (true, false) => BEGIN,
            (false, true) => END,
            (false, false) => WITHIN,
        };
        (1 + 4 * kind as usize + part) as u8
    })
}

/// The kind that a label tells of.
pub(super) fn kind(label: u8) -> Option<Kind> {
    usize::from(label).checked_sub(1).map(|label| Kind::ALL[label / 4])
}

/// The names that a row of labels tells of.
pub(super) fn names(labels: &[u8]) -> impl Iterator<Item = Span> {
    let mut start = 0;
    labels.iter().enumerate().filter_map(move |(at, label)| {
        let kind = kind(*label)?;
        match (usize::from(*label) - 1) % 4 {
            BEGIN => start = at,
            WITHIN => {}
            END => return Some(Span { words: start..at + 1, kind }),
            _ => return Some(Span { words: at..at + 1, kind }),
        }
        None
    })
}

/// Whether a name goes on after this label.
const fn open(label: usize) -> bool {
    label != OUTSIDE && matches!((label - 1) % 4, BEGIN | WITHIN)
}

/// The labels that one can follow: as many as the number says.
const BEFORE: [([u8; LABELS], usize); LABELS] = {
    let mut all = [([0; LABELS], 0); LABELS];
    let mut after = 0;
    while after < LABELS {
        let mut before = 0;
        while before < LABELS {
            if follows(before, after) {
                all[after].0[all[after].1] = before as u8;
                all[after].1 += 1;
            }
            before += 1;
        }
        after += 1;
    }
    all
};

const fn follows(before: usize, after: usize) -> bool {
    let goes_on = after != OUTSIDE && matches!((after - 1) % 4, WITHIN | END);
    match open(before) {
        true => goes_on && (after - 1) / 4 == (before - 1) / 4,
        false => !goes_on,
    }
}

/// Memory of the search.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// For each word and label, the score of the best row up to there, and the label before.
    up_to: Vec<[i32; LABELS]>,
    from: Vec<[u8; LABELS]>,
    labels: Vec<u8>,
}

impl Search {
    /// The row of labels with the highest sum of scores and steps; of equal ones always the same.
    pub(super) fn best(&mut self, scores: &[[i32; LABELS]], steps: &Steps) -> &[u8] {
        self.up_to.clear();
        self.from.clear();
        self.labels.clear();
        // Before the first word there is no name.
        let mut last = [NEVER; LABELS];
        last[OUTSIDE] = 0;
        for scores in scores {
            let (mut best, mut from) = ([NEVER; LABELS], [0; LABELS]);
            for (after, (labels, count)) in BEFORE.iter().enumerate() {
                for before in &labels[..*count] {
                    let sum = last[usize::from(*before)] + steps[usize::from(*before)][after];
                    if sum > best[after] {
                        (best[after], from[after]) = (sum, *before);
                    }
                }
                best[after] = (best[after] + scores[after]).max(NEVER);
            }
            self.up_to.push(best);
            self.from.push(from);
            last = best;
        }
        let mut label = (1..LABELS)
            .filter(|label| !open(*label))
            .fold(OUTSIDE, |best, label| if last[label] > last[best] { label } else { best });
        for from in self.from.iter().rev() {
            self.labels.push(label as u8);
            label = usize::from(from[label]);
        }
        self.labels.reverse();
        &self.labels
    }

    /// After [`Search::best`] with the same arguments: by how much the best row leads those in which that word has another label, for each
    /// word, added to `leads`.
    pub(super) fn leads(&self, scores: &[[i32; LABELS]], steps: &Steps, leads: &mut Vec<i32>) {
        let start = leads.len();
        let mut rest: [i32; LABELS] =
            std::array::from_fn(|label| if open(label) { NEVER } else { 0 });
        for at in (0..scores.len()).rev() {
            let sum = |label: usize| (self.up_to[at][label] + rest[label]).max(NEVER);
            let label = usize::from(self.labels[at]);
            let other = (0..LABELS).filter(|other| *other != label).map(sum).max();
            leads.push(sum(label).saturating_sub(other.unwrap_or(NEVER)));
            let mut before = [NEVER; LABELS];
            for (after, (labels, count)) in BEFORE.iter().enumerate() {
                for label in labels[..*count].iter().map(|label| usize::from(*label)) {
                    let sum = rest[after] + scores[at][after] + steps[label][after];
                    before[label] = before[label].max(sum);
                }
            }
            rest = before;
        }
        leads[start..].reverse();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn labels_lead_back_to_names() {
        let mut labels: Vec<u8> = of_name(Kind::Place, 1).collect();
        labels.extend(of_name(Kind::Person, 3));
        labels.push(OUTSIDE as u8);
        labels.extend(of_name(Kind::Other, 2));
        let found: Vec<_> = names(&labels).map(|span| (span.words, span.kind)).collect();
        assert_eq!(found, [(0..1, Kind::Place), (1..4, Kind::Person), (5..7, Kind::Other)]);
        for pair in labels.windows(2) {
            assert!(follows(pair[0].into(), pair[1].into()));
        }
        assert!(!follows(1, OUTSIDE) && !follows(OUTSIDE, 2) && !follows(1, 6 + 1));
    }

    /// All rows of labels that make names, with their sums.
    fn all(scores: &[[i32; LABELS]], steps: &Steps) -> Vec<(i32, Vec<u8>)> {
        let mut rows = vec![(0, vec![])];
        for scores in scores {
            let mut longer = Vec::new();
            for (sum, row) in rows {
                let last = row.last().map_or(OUTSIDE, |label| usize::from(*label));
                for label in (0..LABELS).filter(|label| follows(last, *label)) {
                    let row = row.iter().copied().chain([label as u8]).collect();
                    longer.push((sum + scores[label] + steps[last][label], row));
                }
            }
            rows = longer;
        }
        let closed = |row: &[u8]| row.last().is_none_or(|label| !open(usize::from(*label)));
        rows.retain(|(_, row)| closed(row));
        rows
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_best_row_is_the_best_of_all(
            scores in prop::collection::vec(prop::array::uniform17(-1000i32..1000), 0..4),
            step in prop::array::uniform17(-300i32..300),
        ) {
            let steps: Steps = std::array::from_fn(|i| std::array::from_fn(|j| step[(i * 7 + j) % LABELS]));
            let mut search = Search::default();
            let found = search.best(&scores, &steps).to_vec();
            let all = all(&scores, &steps);
            let best = all.iter().map(|(sum, _)| *sum).max().unwrap();
            let sum = all.iter().find(|(_, row)| *row == found).unwrap().0;
            prop_assert_eq!(sum, best);
            let mut leads = Vec::new();
            search.leads(&scores, &steps, &mut leads);
            for (at, lead) in leads.iter().enumerate() {
                let others = all.iter().filter(|(_, row)| row[at] != found[at]);
                prop_assert_eq!(*lead, best - others.map(|(sum, _)| *sum).max().unwrap());
            }
        }
    }
}
