//! How well an analysis agrees with a treebank: the measures of the CoNLL 2018 shared task
//! (<https://universaldependencies.org/conll18/evaluation.html>).

use crate::Upos;
use crate::conllu::Sentence;
use std::ops::Range;

/// How many there are in the treebank and in the analysis, and how many agree.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Agreement {
    /// In the treebank.
    pub gold: u64,
    /// In the analysis.
    pub found: u64,
    /// In both.
    pub right: u64,
}

impl Agreement {
    /// The harmonic mean of precision and recall, in percent.
    pub fn f1(&self) -> f64 {
        match self.gold + self.found {
            0 => 100.0,
            all => 200.0 * self.right as f64 / all as f64,
        }
    }

    /// How many of those found are right, in percent.
    pub fn precision(&self) -> f64 {
        percent(self.right, self.found)
    }

    /// How many of those that there are were found, in percent.
    pub fn recall(&self) -> f64 {
        percent(self.right, self.gold)
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Agreement) {
        self.gold += other.gold;
        self.found += other.found;
        self.right += other.right;
    }
}

fn percent(part: u64, all: u64) -> f64 {
    match all {
        0 => 100.0,
        all => 100.0 * part as f64 / all as f64,
    }
}

/// The measures of a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Scores {
    /// Sentences with both ends right.
    pub sentences: Agreement,
    /// Tokens.
    pub tokens: Agreement,
    /// Syntactic words.
    pub words: Agreement,
    /// Words with the right part of speech.
    pub upos: Agreement,
    /// Words with the right lemma.
    pub lemmas: Agreement,
}

impl Scores {
    /// Adds another's counts.
    pub fn add(&mut self, other: &Scores) {
        self.sentences.add(&other.sentences);
        self.tokens.add(&other.tokens);
        self.words.add(&other.words);
        self.upos.add(&other.upos);
        self.lemmas.add(&other.lemmas);
    }
}

/// What cannot be compared.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the texts differ at character {at}, spaces left out")]
pub struct Differ {
    /// Where they begin to differ.
    pub at: usize,
}

/// Compares an analysis with a treebank of the same text.
///
/// # Errors
/// Where the texts differ by more than spaces.
pub fn compare(gold: &[Sentence], found: &[Sentence]) -> Result<Scores, Differ> {
    let (gold, found) = (Side::new(gold), Side::new(found));
    if gold.chars != found.chars {
        let same = gold.chars.iter().zip(&found.chars).take_while(|(a, b)| a == b).count();
        return Err(Differ { at: same });
    }
    let aligned = align(&gold.words, &found.words);
    let count = |right: usize| Agreement {
        gold: gold.words.len() as u64,
        found: found.words.len() as u64,
        right: right as u64,
    };
    let with = |same: &dyn Fn(&Aligned<'_>, &Aligned<'_>) -> bool| {
        count(aligned.iter().filter(|(g, f)| same(&gold.words[*g], &found.words[*f])).count())
    };
    Ok(Scores {
        sentences: spans(&gold.sentences, &found.sentences),
        tokens: spans(&gold.tokens, &found.tokens),
        words: count(aligned.len()),
        upos: with(&|g, f| g.upos == f.upos),
        lemmas: with(&|g, f| g.lemma.is_none() || g.lemma == f.lemma),
    })
}

struct Aligned<'a> {
    span: Range<usize>,
    /// Whether it is one of several words of a token.
    several: bool,
    form: &'a str,
    upos: Upos,
    lemma: Option<&'a str>,
}

struct Side<'a> {
    chars: Vec<char>,
    sentences: Vec<Range<usize>>,
    tokens: Vec<Range<usize>>,
    words: Vec<Aligned<'a>>,
}

impl Side<'_> {
    fn new(sentences: &[Sentence]) -> Side<'_> {
        let mut side = Side {
            chars: Vec::new(),
            sentences: Vec::new(),
            tokens: Vec::new(),
            words: Vec::new(),
        };
        for sentence in sentences {
            let start = side.chars.len();
            for token in &sentence.tokens {
                let from = side.chars.len();
                side.chars.extend(token.form.chars().filter(|c| !c.is_whitespace()));
                let span = from..side.chars.len();
                side.tokens.push(span.clone());
                let several = token.words.len() > 1;
                side.words.extend(token.words.iter().map(|word| Aligned {
                    span: span.clone(),
                    several,
                    form: &word.form,
                    upos: word.upos,
                    lemma: word.lemma.as_deref(),
                }));
            }
            side.sentences.push(start..side.chars.len());
        }
        side
    }
}

fn spans(gold: &[Range<usize>], found: &[Range<usize>]) -> Agreement {
    let (mut g, mut f, mut right) = (0, 0, 0);
    while g < gold.len() && f < found.len() {
        let order = (gold[g].start, gold[g].end).cmp(&(found[f].start, found[f].end));
        right += u64::from(order.is_eq());
        g += usize::from(order.is_le());
        f += usize::from(order.is_ge());
    }
    Agreement { gold: gold.len() as u64, found: found.len() as u64, right }
}

/// Pairs of words that are the same: by their place, and within tokens of several words by the longest common
/// sequence of forms.
fn align(gold: &[Aligned<'_>], found: &[Aligned<'_>]) -> Vec<(usize, usize)> {
    let mut pairs = Vec::new();
    let (mut g, mut f) = (0, 0);
    while g < gold.len() && f < found.len() {
        if gold[g].several || found[f].several {
            let (from_g, from_f);
            (from_g, from_f, g, f) = several_span(gold, found, g, f);
            let forms = |words: &[Aligned<'_>]| {
                words.iter().map(|word| word.form.to_lowercase()).collect::<Vec<_>>()
            };
            let common = common(&forms(&gold[from_g..g]), &forms(&found[from_f..f]));
            pairs.extend(common.into_iter().map(|(a, b)| (from_g + a, from_f + b)));
        } else if gold[g].span == found[f].span {
            pairs.push((g, f));
            g += 1;
            f += 1;
        } else if gold[g].span.start <= found[f].span.start {
            g += 1;
        } else {
            f += 1;
        }
    }
    pairs
}

/// The words of both sides that tokens of several words bind together, from `g` and `f` on.
fn several_span(
    gold: &[Aligned<'_>],
    found: &[Aligned<'_>],
    mut g: usize,
    mut f: usize,
) -> (usize, usize, usize, usize) {
    let mut end = match gold[g].several {
        true => {
            f += usize::from(!found[f].several && found[f].span.start < gold[g].span.start);
            gold[g].span.end
        }
        false => {
            g += usize::from(!gold[g].several && gold[g].span.start < found[f].span.start);
            found[f].span.end
        }
    };
    let beyond = |words: &[Aligned<'_>], at: usize, end: usize| match words.get(at) {
        None => true,
        Some(word) if word.several => word.span.start >= end,
        Some(word) => word.span.end > end,
    };
    let (from_g, from_f) = (g, f);
    while !beyond(gold, g, end) || !beyond(found, f, end) {
        let gold_first = match (gold.get(g), found.get(f)) {
            (Some(a), Some(b)) => a.span.start <= b.span.start,
            (a, _) => a.is_some(),
        };
        let word = if gold_first { &gold[g] } else { &found[f] };
        if word.several {
            end = end.max(word.span.end);
        }
        g += usize::from(gold_first);
        f += usize::from(!gold_first);
    }
    (from_g, from_f, g, f)
}

/// The longest common sequence of two lists, as pairs of places.
fn common(a: &[String], b: &[String]) -> Vec<(usize, usize)> {
    let mut longest = vec![vec![0u32; b.len() + 1]; a.len() + 1];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            longest[i][j] = match a[i] == b[j] {
                true => longest[i + 1][j + 1] + 1,
                false => longest[i + 1][j].max(longest[i][j + 1]),
            };
        }
    }
    let (mut i, mut j, mut pairs) = (0, 0, Vec::new());
    while i < a.len() && j < b.len() {
        if a[i] == b[j] {
            pairs.push((i, j));
            i += 1;
            j += 1;
        } else if longest[i + 1][j] >= longest[i][j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conllu;

    /// How many sentences, tokens, words and tags of `found` are right.
    fn check(gold: &str, found: &str, expected: [u64; 4]) {
        let scores = compare(&conllu::read(gold).unwrap(), &conllu::read(found).unwrap()).unwrap();
        let right = [scores.sentences, scores.tokens, scores.words, scores.upos].map(|a| a.right);
        assert_eq!(right, expected);
    }

    #[test]
    fn words_are_compared_by_place_and_form() {
        let split = "1-2\tdu\t_\t_\n1\tde\t_\tADP\n2\tle\t_\tDET\n3\tpain\t_\tNOUN\n";
        let whole = "1\tdu\t_\tDET\n2\tpain\t_\tNOUN\n";
        let other = "1-2\tdu\t_\t_\n1\tde\t_\tADP\n2\tles\t_\tDET\n\n1\tpain\t_\tVERB\n";
        check(split, split, [1, 2, 3, 3]);
        check(split, whole, [1, 2, 1, 1]);
        check(whole, split, [1, 2, 1, 1]);
        check(split, other, [0, 2, 2, 1]);
        check("1\ta\t_\tX\n2\tb\t_\tX\n", "1\tab\t_\tX\n", [1, 0, 0, 0]);
        let error = compare(&conllu::read(whole).unwrap(), &[]).unwrap_err();
        assert_eq!(error, Differ { at: 0 });
    }
}
