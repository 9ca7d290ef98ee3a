//! Themes: the phrases that tell what a text is about.
//!
//! ```
//! use strongroom_text::answer::{Desk, Wants, answer};
//!
//! let text = "The battery life is great. I never had such a long battery life, and the new screen is sharp.";
//! let wants = Wants { themes: true, ..Wants::default() };
//! let themes = answer(text, &wants, &mut Desk::default()).themes.unwrap_or_default();
//! assert_eq!((themes[0].lemma.as_str(), themes[0].count), ("battery life", 2));
//! assert_eq!(themes[0].sentiment.label, "positive");
//! assert_eq!(&text[themes[0].occurrences[0].bytes.clone()], "battery life");
//! ```
//!
//! # How
//! Candidates are phrases around a noun, told by parts of speech (after Hulth, Improved Automatic Keyword Extraction Given More
//! Linguistic Knowledge, EMNLP 2003), with a pattern for each family of languages. Words are compared by their lemmas. Candidates
//! are scored as YAKE scores them (Campos, Mangaravite, Pasquali, Jorge, Nunes and Jatowt, YAKE! Keyword extraction from single
//! documents using multiple local features, Information Sciences 509, 2020): by how often a word occurs, in how many sentences,
//! how early, as a name or not, and in how varied company. That needs one text alone, no corpus, and works for a few words as for
//! many; RAKE has no say in short texts, where all words occur once, and TextRank needs a graph that a short text does not fill.
//! Where the original looks at capitals, this looks at parts of speech, as German writes all nouns with capitals and Chinese and
//! Arabic have none; words such as "of" within a phrase are left out of its score. Each place in the text belongs to one theme
//! at most, the best.
//!
//! # Failure
//! Nothing fails; a text without nouns has no themes. Of a text of more than [`WORDS_MAX`] words the first are looked at.
//! Scores order the themes of one text; those of different texts are hardly to be compared. Arabic has no lemmas here: forms of a
//! word but for its article are different words.

use crate::Language;
use crate::answer::{Sentence, Sentiment, Token};
use crate::places::{Place, Places};
use crate::sentiment::rules::Ruling;
use crate::sentiment::{self, analyser, is_han};
use crate::word::lower;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Themes of a text at most.
pub const THEMES_MAX: usize = 20;
/// Words of a theme at most.
pub const PHRASE_WORDS_MAX: usize = 5;
/// Words of a text that are looked at, the first.
pub const WORDS_MAX: usize = 100_000;
/// Places that are told of a theme at most, the first; more are counted.
pub const OCCURRENCES_MAX: usize = 100;
/// Of a longer word nothing is a theme, in bytes: it is none.
const WORD_BYTES_MAX: usize = 96;

/// What a text is about.
#[derive(Debug, Serialize)]
pub struct Theme {
    /// As it stands in the text most often.
    pub text: String,
    /// The lemmas of its words, in small letters.
    pub lemma: String,
    /// How much it says of what the text is about, from 0 to 1.
    pub score: f32,
    /// How often it stands in the text outside of better themes.
    pub count: usize,
    /// Where, in order: at most [`OCCURRENCES_MAX`].
    pub occurrences: Vec<Place>,
    /// What is said of it: the mean of what is said near those places.
    pub sentiment: Sentiment,
}

/// What a word may be in a phrase.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Adjective,
    Noun,
    Name,
    /// "de" and the like.
    Of,
    Article,
    /// A verb or an adverb: it says something, but is in no phrase.
    Other,
    /// All else that is a word.
    Small,
    /// What stands between phrases.
    Sign,
}

/// A word of the text.
struct Word {
    /// The number of its term.
    term: usize,
    role: Role,
    bytes: Range<usize>,
    sentence: usize,
}

/// Phrases by their terms, each as ranges of words in order.
type Phrases = BTreeMap<Vec<usize>, Vec<Range<usize>>>;

/// What is known of a word in all its places.
#[derive(Clone, Default)]
struct Term {
    lemma: String,
    /// Whether it says something of itself.
    says: bool,
    /// How often it occurs.
    count: usize,
    /// How often as a name, or in capitals alone.
    named: usize,
    /// The sentences in which it stands, in order.
    sentences: Vec<usize>,
    /// Words before and after it: how many different ones of how many.
    before: (usize, usize),
    after: (usize, usize),
    /// YAKE's score: the lower, the better.
    score: f64,
}

/// The themes of a text, the best first. `sentences` are those of the text; `rules` an account's, which bear on what is said.
pub fn themes(
    text: &str,
    language: Language,
    sentences: &[Sentence<'_>],
    rules: Option<&Ruling<'_>>,
    scratch: &mut sentiment::Scratch,
) -> Vec<Theme> {
    let (words, mut terms) = read(text, language, sentences);
    let said = |word: &&Word| says(word.role);
    let last = words.last().map_or(0, |word| word.sentence + 1);
    neighbours(&words, &mut terms);
    score(&mut terms, last);
    let mut candidates: Vec<(f64, Vec<Range<usize>>)> = Vec::new();
    for phrases in whole(phrases(&words, language)) {
        let Some(first) = phrases.first() else { continue };
        let scores = words[first.clone()].iter().filter(said).map(|word| terms[word.term].score);
        let (product, sum) = scores.fold((1.0, 0.0), |(product, sum), s| (product * s, sum + s));
        candidates.push((product / (phrases.len() as f64 * (1.0 + sum)), phrases));
    }
    candidates.sort_by(|(a, p), (b, q)| a.total_cmp(b).then(p[0].start.cmp(&q[0].start)));
    let chosen = choose(candidates, words.len());
    if chosen.is_empty() {
        return Vec::new();
    }
    let spans = sentences[..last].iter().map(|sentence| sentence.bytes.clone());
    let opinions =
        analyser(language).opinions(&text[..end(sentences, last)], spans, rules, scratch);
    let places = Places::new(text);
    let theme = |(score, phrases): (f64, Vec<Range<usize>>)| {
        let bytes = |words_of: &Range<usize>| bytes_of(&words[words_of.clone()]);
        let ranges: Vec<Range<usize>> = phrases.iter().filter_map(bytes).collect();
        let lemmas: Vec<&str> =
            words[phrases[0].clone()].iter().map(|word| terms[word.term].lemma.as_str()).collect();
        Theme {
            text: most_frequent(ranges.iter().map(|range| &text[range.clone()])).to_owned(),
            lemma: lemmas.join(if language == Language::Zh { "" } else { " " }),
            score: (1.0 / (1.0 + score)) as f32,
            count: phrases.len(),
            sentiment: opinions.mean(&ranges).into(),
            occurrences: ranges
                .into_iter()
                .take(OCCURRENCES_MAX)
                .map(|r| places.place(r))
                .collect(),
        }
    };
    chosen.into_iter().map(theme).collect()
}

/// Where the first sentences end, in bytes.
fn end(sentences: &[Sentence<'_>], count: usize) -> usize {
    sentences[..count].last().map_or(0, |sentence| sentence.bytes.end)
}

fn bytes_of(words: &[Word]) -> Option<Range<usize>> {
    Some(words.first()?.bytes.start..words.last()?.bytes.end)
}

/// The text that comes most often; of several the first.
fn most_frequent<'a>(texts: impl Iterator<Item = &'a str>) -> &'a str {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (number, text) in texts.enumerate() {
        counts.entry(text).or_insert((0, usize::MAX - number)).0 += 1;
    }
    counts.into_iter().max_by_key(|(_, rank)| *rank).map_or("", |(text, _)| text)
}

/// The words of a text, and what is known of each that differs from others.
fn read(text: &str, language: Language, sentences: &[Sentence<'_>]) -> (Vec<Word>, Vec<Term>) {
    let (mut words, mut terms) = (Vec::new(), Vec::new());
    let mut numbers: BTreeMap<String, usize> = BTreeMap::new();
    for (number, sentence) in sentences.iter().enumerate() {
        if words.len() + sentence.tokens.iter().map(|token| token.words.len()).sum::<usize>()
            > WORDS_MAX
        {
            break;
        }
        for token in &sentence.tokens {
            for (word, bytes) in token.words.iter().zip(places_of(token, text)) {
                let role = role(&word.form, word.upos, language);
                let lemma = key(word.lemma.as_ref().unwrap_or(&word.form), language);
                let term = *numbers.entry(lemma).or_insert_with_key(|lemma| {
                    terms.push(Term { lemma: lemma.clone(), ..Term::default() });
                    terms.len() - 1
                });
                let seen: &mut Term = &mut terms[term];
                seen.count += 1;
                seen.says |= says(role);
                seen.named += usize::from(role == Role::Name || is_loud(&word.form));
                if seen.sentences.last() != Some(&number) {
                    seen.sentences.push(number);
                }
                words.push(Word { term, role, bytes, sentence: number });
            }
        }
    }
    (words, terms)
}

/// Where the words of a token stand, as far as they stand in it as they are; else the whole token.
fn places_of<'a>(token: &'a Token<'_>, text: &'a str) -> impl Iterator<Item = Range<usize>> + 'a {
    let mut at = token.bytes.start;
    let mut left: usize = token.words.iter().map(|word| word.form.len()).sum();
    token.words.iter().map(move |word| {
        let form: &str = &word.form;
        let forward = at..at + form.len();
        let backward = token.bytes.end.checked_sub(left).map(|start| start..start + form.len());
        left -= form.len();
        for range in [Some(forward), backward].into_iter().flatten() {
            if range.start >= token.bytes.start
                && range.end <= token.bytes.end
                && text.get(range.clone()) == Some(form)
            {
                at = range.end;
                return range;
            }
        }
        token.bytes.clone()
    })
}

/// What words are compared by.
fn key(word: &str, language: Language) -> String {
    if language != Language::Ar {
        return lower(word);
    }
    let mut chars = Vec::new();
    for c in word.chars() {
        if let Some(c) = sentiment::normal(c, &mut chars, 0) {
            chars.push(c);
        }
    }
    match chars.as_slice() {
        ['ا', 'ل', rest @ ..] if rest.len() > 2 => rest.iter().collect(),
        all => all.iter().collect(),
    }
}

fn is_loud(form: &str) -> bool {
    form.chars().nth(1).is_some() && form.chars().all(char::is_uppercase)
}

fn role(form: &str, upos: &str, language: Language) -> Role {
    let letters = form.chars().filter(|c| c.is_alphabetic()).take(2).count();
    let sounds = letters == 2 || form.chars().any(is_han);
    let address = form.starts_with(['@', '#']) || form.contains("://") || form.starts_with("www.");
    let readable = sounds && !address && form.len() <= WORD_BYTES_MAX;
    match upos {
        "PUNCT" | "SYM" => Role::Sign,
        "NOUN" if readable => Role::Noun,
        "PROPN" if readable => Role::Name,
        "ADJ" if readable => Role::Adjective,
        "VERB" | "ADV" if readable => Role::Other,
        "ADP" if is_of(form, language) => Role::Of,
        "DET" => Role::Article,
        _ => Role::Small,
    }
}

/// Whether a preposition makes one phrase of two nouns.
fn is_of(form: &str, language: Language) -> bool {
    let of: &[&str] = match language {
        Language::Fr => &["de", "d'", "d’"],
        Language::Es | Language::Pt => &["de"],
        Language::It => &["di", "d'", "d’"],
        _ => &[],
    };
    of.contains(&lower(form).as_str()) || of.contains(&form)
}

/// Counts the different words before and after each.
fn neighbours(words: &[Word], terms: &mut [Term]) {
    let beside = |pair: &[Word]| {
        let [a, b] = pair else { return None };
        let apart = a.sentence != b.sentence || a.role == Role::Sign || b.role == Role::Sign;
        (!apart).then_some((a.term, b.term))
    };
    let mut pairs: Vec<(usize, usize)> = words.windows(2).filter_map(beside).collect();
    for (a, b) in &pairs {
        terms[*a].after.1 += 1;
        terms[*b].before.1 += 1;
    }
    pairs.sort_unstable();
    pairs.dedup();
    for (a, b) in pairs {
        terms[a].after.0 += 1;
        terms[b].before.0 += 1;
    }
}

/// Scores words as YAKE does (section 3.3 of the paper), the lower the better.
fn score(terms: &mut [Term], sentences: usize) {
    let counts = || terms.iter().filter(|term| term.says).map(|term| term.count as f64);
    let count = counts().count().max(1) as f64;
    let mean = counts().sum::<f64>() / count;
    let deviation = libm::sqrt(counts().map(|n| (n - mean) * (n - mean)).sum::<f64>() / count);
    let most = counts().fold(1.0, f64::max);
    let share = |(different, all): (usize, usize)| different as f64 / all.max(1) as f64;
    for term in terms {
        let often = term.count as f64;
        let casing = term.named as f64 / (1.0 + libm::log(often));
        let position = libm::log(libm::log(3.0 + median(&term.sentences)));
        let frequency = often / (mean + deviation);
        let company = 1.0 + (share(term.before) + share(term.after)) * often / most;
        let spread = term.sentences.len() as f64 / sentences.max(1) as f64;
        term.score = company * position / (casing + frequency / company + spread / company);
    }
}

fn median(sorted: &[usize]) -> f64 {
    let middle = sorted.len() / 2;
    match sorted {
        [] => 0.0,
        all if all.len() % 2 == 1 => all[middle] as f64,
        all => (all[middle - 1] + all[middle]) as f64 / 2.0,
    }
}

/// All phrases around nouns, alike ones together.
fn phrases(words: &[Word], language: Language) -> Phrases {
    let mut phrases = Phrases::new();
    for start in 0..words.len() {
        for end in start + 1..=(start + PHRASE_WORDS_MAX).min(words.len()) {
            let phrase = &words[start..end];
            if phrase[phrase.len() - 1].sentence != phrase[0].sentence {
                break;
            }
            let beside = |at: Option<usize>| {
                let word = at.and_then(|at| words.get(at));
                word.filter(|word| word.sentence == phrase[0].sentence).map(|word| word.role)
            };
            let (before, after) = (beside(start.checked_sub(1)), beside(Some(end)));
            let roles: Vec<Role> = phrase.iter().map(|word| word.role).collect();
            if is_phrase(&roles, before, after, language) {
                let terms = phrase.iter().map(|word| word.term).collect();
                phrases.entry(terms).or_default().push(start..end);
            }
        }
    }
    phrases
}

/// The phrases that stand somewhere outside of each longer one: "conditioner" is no theme where all that stands there is
/// "air conditioner". So Frantzi, Ananiadou and Mima (Automatic recognition of multi-word terms: the C-value/NC-value method,
/// International Journal on Digital Libraries 3, 2000) treat what is nested.
fn whole(phrases: Phrases) -> impl Iterator<Item = Vec<Range<usize>>> {
    let mut nested = BTreeSet::new();
    let within = |parts: &[Range<usize>], places: &[Range<usize>]| {
        let mut pairs = parts.iter().zip(places);
        parts.len() == places.len()
            && pairs.all(|(part, place)| place.start <= part.start && part.end <= place.end)
    };
    for (terms, places) in &phrases {
        for length in 1..terms.len() {
            for part in terms.windows(length) {
                if phrases.get(part).is_some_and(|parts| within(parts, places)) {
                    nested.insert(part.to_vec());
                }
            }
        }
    }
    phrases.into_iter().filter(move |(terms, _)| !nested.contains(terms)).map(|(_, places)| places)
}

/// Whether a word of this role says something of itself.
fn says(role: Role) -> bool {
    matches!(role, Role::Adjective | Role::Noun | Role::Name | Role::Other)
}

fn is_noun(role: Role) -> bool {
    matches!(role, Role::Noun | Role::Name)
}

/// Whether words of these roles are a phrase, between the words before and after.
fn is_phrase(
    roles: &[Role],
    before: Option<Role>,
    after: Option<Role>,
    language: Language,
) -> bool {
    let (Some(first), Some(last)) = (roles.first(), roles.last()) else { return false };
    let name = |role: Option<Role>| role == Some(Role::Name);
    // What is called by several words is not cut.
    if *first == Role::Name && name(before) || *last == Role::Name && name(after) {
        return false;
    }
    let (noun_before, noun_after) = (before.is_some_and(is_noun), after.is_some_and(is_noun));
    let plain = roles.iter().all(|role| is_noun(*role) || *role == Role::Adjective);
    match language {
        Language::En | Language::De | Language::Zh => plain && is_noun(*last) && !noun_after,
        Language::Ru => plain && is_noun(*last),
        // An adjective that tells a kind stands after its noun.
        Language::Pl => {
            plain && (is_noun(*last) || !noun_after && roles.iter().any(|role| is_noun(*role)))
        }
        Language::Ar => plain && is_noun(*first) && !noun_before,
        Language::Fr | Language::Es | Language::It | Language::Pt => {
            !(noun_before && (is_noun(*first) || *first == Role::Adjective)) && is_romance(roles)
        }
    }
}

/// An adjective or none, nouns, adjectives; and that again after "de", with an article or without.
fn is_romance(roles: &[Role]) -> bool {
    let mut rest = roles;
    loop {
        rest = rest.strip_prefix(&[Role::Adjective]).unwrap_or(rest);
        let nouns = rest.iter().take_while(|role| is_noun(**role)).count();
        if nouns == 0 {
            return false;
        }
        rest = &rest[nouns..];
        let adjectives = rest.iter().take_while(|role| **role == Role::Adjective).count();
        rest = match &rest[adjectives..] {
            [] => return true,
            [Role::Of, Role::Article, rest @ ..] | [Role::Of, rest @ ..] => rest,
            _ => return false,
        };
    }
}

/// The best phrases, none over another: those of a worse one that stand over a better one are left out.
fn choose(
    candidates: Vec<(f64, Vec<Range<usize>>)>,
    words: usize,
) -> Vec<(f64, Vec<Range<usize>>)> {
    let mut taken = vec![false; words];
    let mut chosen = Vec::new();
    for (score, mut phrases) in candidates {
        phrases.retain(|phrase| {
            let free = !taken[phrase.clone()].contains(&true);
            if free {
                taken[phrase.clone()].fill(true);
            }
            free
        });
        if !phrases.is_empty() {
            chosen.push((score, phrases));
        }
        if chosen.len() >= THEMES_MAX {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::{Desk, Wants, answer};
    use proptest::prelude::*;

    fn found(text: &str, language: Language) -> Vec<Theme> {
        let wants = Wants { language: Some(language), themes: true, ..Wants::default() };
        let themes = answer(text, &wants, &mut Desk::default()).themes.unwrap();
        assert!(themes.len() <= THEMES_MAX && themes.is_sorted_by(|a, b| a.score >= b.score));
        let mut taken: Vec<Range<usize>> = Vec::new();
        for theme in &themes {
            assert!((0.0..=1.0).contains(&theme.score) && !theme.text.is_empty(), "{theme:?}");
            assert_eq!(theme.occurrences.len(), theme.count.min(OCCURRENCES_MAX));
            for Place { bytes, chars } in &theme.occurrences {
                assert_eq!(text[..bytes.start].chars().count(), chars.start);
                assert_eq!(text[bytes.clone()].chars().count(), chars.len());
                taken.push(bytes.clone());
            }
        }
        taken.sort_by_key(|range| range.start);
        themes
    }

    fn lemmas(text: &str, language: Language) -> Vec<String> {
        let mut lemmas: Vec<_> =
            found(text, language).into_iter().map(|theme| theme.lemma).collect();
        lemmas.sort();
        lemmas
    }

    #[test]
    fn phrases_are_found_in_each_language() {
        use Language::*;
        let rows: [(Language, &str, &[&str]); 9] = [
            (
                En,
                "The hotel staff ignored an old air conditioner.",
                &["hotel staff", "old air conditioner"],
            ),
            (
                De,
                "Die neue Kamera hat einen großen Bildschirm.",
                &["groß bildschirm", "neu kamera"],
            ),
            (Fr, "La durée de vie est courte.", &["durée de vie"]),
            (Es, "El servicio de habitaciones fue lento.", &["servicio de habitación"]),
            (It, "La carta di credito è scaduta.", &["carta di credito"]),
            (Pt, "O cartão de crédito não funciona.", &["cartão de crédito"]),
            (Ru, "Министр иностранных дел приехал.", &["министр иностранный дело"]),
            (Pl, "Minister spraw zagranicznych przyjechał.", &["minister sprawa zagraniczny"]),
            (Zh, "我们喜欢北京。", &["北京"]),
        ];
        for (language, text, expected) in rows {
            assert_eq!(lemmas(text, language), expected, "{text}");
        }
        let arabic = found("وصل وزير الخارجية إلى باريس", Ar);
        assert!(arabic.iter().any(|theme| theme.text == "وزير الخارجية"), "{arabic:?}");
    }

    #[test]
    fn forms_of_a_word_are_one_theme() {
        let text = "Ticket prices rose again. The ticket price was low once. Nobody likes a high ticket price.";
        let themes = found(text, Language::En);
        assert_eq!((themes[0].lemma.as_str(), themes[0].count), ("ticket price", 3));
        assert_eq!(themes[0].text, "ticket price");
        assert_eq!(&text[themes[0].occurrences[0].bytes.clone()], "Ticket prices");
    }

    #[test]
    fn what_stands_alone_elsewhere_is_a_theme() {
        let text = "The battery life is great. The old battery life span is short.";
        let themes = lemmas(text, Language::En);
        assert_eq!(themes, ["battery life", "old battery life span"]);
    }

    #[test]
    fn names_of_several_words_are_not_cut() {
        let themes = lemmas("She reads the New York Times in New Orleans.", Language::En);
        assert!(themes.contains(&"new york times".to_owned()), "{themes:?}");
        assert!(
            !themes.iter().any(|theme| theme == "york times" || theme == "times"),
            "{themes:?}"
        );
    }

    #[test]
    fn each_theme_has_its_own_sentiment() {
        let text = "The front desk was wonderful. The hot water was disgusting.";
        let label = |lemma: &str| {
            let themes = found(text, Language::En);
            themes.iter().find(|theme| theme.lemma == lemma).map(|theme| theme.sentiment.label)
        };
        assert_eq!(label("front desk"), Some("positive"));
        assert_eq!(label("hot water"), Some("negative"));
    }

    #[test]
    fn words_are_scored_as_the_paper_says() {
        // Two words that occur once each, in one sentence, each with a neighbour on one side.
        let once =
            Term { count: 1, sentences: vec![0], before: (1, 1), says: true, ..Term::default() };
        let mut terms = [once.clone(), once];
        score(&mut terms, 1);
        let expected = 2.0 * libm::log(libm::log(3.0)) / (0.5 + 0.5);
        assert!((terms[0].score - expected).abs() < 1e-9);
        assert_eq!([median(&[]), median(&[4]), median(&[1, 2])], [0.0, 4.0, 1.5]);
    }

    #[test]
    fn a_long_text_is_read_at_its_beginning() {
        let themes = found(&"The old harbour has a new ferry. ".repeat(20_000), Language::En);
        assert!(themes[0].count > OCCURRENCES_MAX && themes[0].count < 20_000);
        assert!(found("", Language::En).is_empty() && found("Go!", Language::En).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_has_an_answer(text in "(Haus |del |New |old |的|好|وال|\\PC|[ .,'e\u{301}]){0,60}", at in 0usize..10) {
            found(&text, Language::ALL[at]);
        }
    }
}
