//! Names of persons, organisations, places and other things.
//!
//! A linear model over hashed features labels the words of a sentence, and the best row of labels is taken as a whole. Its
//! weights are averaged structured perceptrons' (Collins 2002), trained with a margin, of several seeds summed. It sees the words
//! and their shapes, the parts of speech that the tagger gives, and in what names words stood in the training data.

mod features;
mod labels;
mod names;
mod repeats;
pub mod train;

use std::ops::Range;

use serde::Serialize;

use crate::analysis::{Analysis, Word};
use crate::memory::Memory;
use crate::model::{Error, Model, Reader};
use crate::table::{Asked, Table};
use crate::word::{Spelling, Variants};
use crate::{Upos, hash};
use features::{Light, Look, Place, ROLES};
use labels::{LABELS, Search, Span, Steps};
use names::Names;

/// The version of the body that is written and read.
const VERSION: u16 = 2;

/// Names that are told of one text at most, the first.
pub const ENTITIES_MAX: usize = 10_000;

/// Longer sentences are looked at in pieces of this many words.
pub const SENTENCE_WORDS_MAX: usize = 1024;

/// Places of the memory for words that were seen before: a power of two.
const MEMORY_PLACES: usize = 2048;

/// Steps of confidence.
const STEPS: usize = 32;

/// What is named.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Kind {
    /// A person, or several: a family.
    Person,
    /// A company, an authority, a party, a team.
    Organisation,
    /// A country, a town, a river, a building.
    Place,
    /// A product, a work, an event. Only German, Polish and Russian models know it.
    Other,
}

impl Kind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [Kind; 4] = [Kind::Person, Kind::Organisation, Kind::Place, Kind::Other];

    /// As it is written: `person`.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Person => "person",
            Kind::Organisation => "organisation",
            Kind::Place => "place",
            Kind::Other => "other",
        }
    }
}

/// A name in a text.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Entity {
    /// What is named.
    pub kind: Kind,
    /// The name, as it stands there.
    pub text: String,
    /// Where it stands, in bytes.
    pub bytes: Range<usize>,
    /// The same in characters.
    pub chars: Range<usize>,
    /// How likely bounds and kind are right, from 0 to 1: the share that was, of names as clear as this one in texts that were held out.
    pub confidence: f32,
}

/// Finds names in texts of one language.
#[derive(Clone, Debug)]
pub struct Finder {
    names: Names,
    weights: Table<LABELS>,
    steps: Box<Steps>,
    /// Labels that the training data have.
    known: [bool; LABELS],
    confidence: Confidence,
    edge: [Sums; ROLES],
    /// Of its language.
    salt: u64,
}

type Sums = [i16; LABELS];

/// How likely a name is right, in 255ths, by how far it leads.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Confidence {
    /// Points of a step.
    unit: u16,
    right: [u8; STEPS],
}

/// What a word adds to the scores of the words around it and to its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Looks {
    light: Light,
    roles: [Sums; ROLES],
}

/// Memory that is reused from text to text, in whatever language. What it holds changes no answer.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    spelling: Spelling,
    /// Words seen before, where the hash of their bytes says.
    memory: Memory<Looks, MEMORY_PLACES>,
    words: Vec<Looks>,
    places: Vec<Place>,
    scores: Vec<[i32; LABELS]>,
    search: Search,
    leads: Vec<i32>,
    /// Features that are looked up together.
    asked: Asked,
    found: Vec<Found>,
}

/// A name among all words of a text.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Found {
    span: Span,
    /// By how much its labels lead.
    lead: i32,
}

impl Finder {
    /// The finder of a model's body.
    ///
    /// # Errors
    /// Where it is none, or of another version.
    pub fn read(model: &Model) -> Result<Finder, Error> {
        let mut reader = Reader::new(&model.body);
        reader.version("the finder of names", VERSION)?;
        let known = reader.array::<LABELS>("labels")?.map(|known| known != 0);
        let steps = reader.i16s(LABELS * LABELS, "steps")?;
        let step = |from: usize, to: usize| i32::from(steps[from * LABELS + to]);
        let steps = std::array::from_fn(|from| std::array::from_fn(|to| step(from, to)));
        let unit = reader.u16("unit of confidence")?.max(1);
        let confidence = Confidence { unit, right: reader.array("confidence")? };
        let names = Names::read(&mut reader)?;
        let weights = Table::read(&mut reader)?;
        let finder = Finder::new(names, weights, steps, known, confidence);
        Ok(Finder { salt: hash::salt(model.language), ..finder })
    }

    fn new(
        names: Names,
        weights: Table<LABELS>,
        steps: Steps,
        known: [bool; LABELS],
        confidence: Confidence,
    ) -> Finder {
        let mut edge = [[0; LABELS]; ROLES];
        for (role, scores) in edge.iter_mut().enumerate() {
            features::of_edge(role, |feature| weights.add_one(feature, scores));
        }
        Finder {
            names,
            weights,
            steps: Box::new(steps),
            known,
            confidence,
            edge,
            salt: hash::salt(None),
        }
    }

    /// The body of its model.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(VERSION.to_le_bytes());
        out.extend(self.known.map(u8::from));
        let steps = self.steps.iter().flatten();
        steps.for_each(|step| out.extend((*step as i16).to_le_bytes()));
        out.extend(self.confidence.unit.to_le_bytes());
        out.extend(self.confidence.right);
        self.names.write(&mut out);
        self.weights.write(&mut out);
        out
    }

    /// The names in `text`, in order, at most [`ENTITIES_MAX`]. `analysis` is that of the text by the engine of the
    /// same language.
    pub fn find(&self, text: &str, analysis: &Analysis, scratch: &mut Scratch) -> Vec<Entity> {
        scratch.found.clear();
        for sentence in analysis.sentences() {
            let tokens = &analysis.tokens()[sentence.tokens.clone()];
            let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else { continue };
            let words = &analysis.words()[first.words.start..last.words.end];
            for (number, piece) in words.chunks(SENTENCE_WORDS_MAX).enumerate() {
                let start = first.words.start + number * SENTENCE_WORDS_MAX;
                self.sentence(
                    piece.iter().map(|w| (analysis.form(w, text), w.upos)),
                    start,
                    scratch,
                );
            }
            if scratch.found.len() >= ENTITIES_MAX {
                break;
            }
        }
        scratch.found.truncate(ENTITIES_MAX);
        repeats::agree(text, analysis, &mut scratch.found);
        let mut entities: Vec<Entity> = Vec::with_capacity(scratch.found.len());
        for found in &scratch.found {
            let entity = self.entity(found, text, analysis);
            // Two that are written as one word are one place in the text, and the first is told.
            if entities.last().is_none_or(|last| last.bytes.end <= entity.bytes.start) {
                entities.push(entity);
            }
        }
        entities
    }

    fn entity(&self, found: &Found, text: &str, analysis: &Analysis) -> Entity {
        let Found { span: Span { words, kind }, lead } = found;
        let (first, last) = (words.start, words.end - 1);
        let bytes = place(first, text, analysis).start..place(last, text, analysis).end;
        let token = &analysis.tokens()[token_of(first, analysis)];
        let chars = |bytes: Range<usize>| text[bytes].chars().count();
        let start = token.chars.start + chars(token.bytes.start..bytes.start);
        let chars = start..start + chars(bytes.clone());
        let confidence = self.confidence.of(*lead);
        Entity { kind: *kind, text: text[bytes.clone()].to_owned(), bytes, chars, confidence }
    }

    /// Adds the names in the words of a sentence, the first of which has number `start`.
    fn sentence<'w>(
        &self,
        words: impl Iterator<Item = (&'w str, Upos)>,
        start: usize,
        scratch: &mut Scratch,
    ) {
        self.score(words, scratch);
        self.label(start, scratch);
    }

    /// Adds the names that the scores tell of.
    fn label(&self, start: usize, scratch: &mut Scratch) {
        let Scratch { scores, search, leads, found, .. } = scratch;
        let labels = search.best(scores, &self.steps);
        if labels.iter().all(|label| usize::from(*label) == labels::OUTSIDE) {
            return;
        }
        let spans: Vec<Span> = labels::names(labels).collect();
        leads.clear();
        search.leads(scores, &self.steps, leads);
        for mut span in spans {
            let lead = leads[span.words.clone()].iter().copied().min().unwrap_or(0);
            span.words = span.words.start + start..span.words.end + start;
            found.push(Found { span, lead });
        }
    }

    /// Fills `scratch.scores` with the scores of the labels of each word.
    fn score<'w>(&self, words: impl Iterator<Item = (&'w str, Upos)>, scratch: &mut Scratch) {
        scratch.words.clear();
        scratch.places.clear();
        scratch.scores.clear();
        for (form, upos) in words {
            let looks = self.looks(form, scratch);
            scratch.places.push(Place { light: looks.light, upos: upos as u64 });
            scratch.words.push(looks);
        }
        let Scratch { words, places, scores, asked, .. } = scratch;
        let style = features::style(places);
        for at in 0..words.len() {
            let mut sums = words[at].roles[0];
            for (role, away) in [(1, -2), (2, -1), (3, 1), (4, 2)] {
                let word = at.checked_add_signed(away).and_then(|at| words.get(at));
                let more = word.map_or(&self.edge[role], |looks| &looks.roles[role]);
                for (sum, more) in sums.iter_mut().zip(more) {
                    *sum = sum.wrapping_add(*more);
                }
            }
            features::of_words(&near(places, at), style, |feature| {
                self.weights.ask(feature, asked)
            });
            self.weights.add(asked, &mut sums);
            let score = |label: usize| match self.known[label] {
                true => i32::from(sums[label]),
                false => labels::UNKNOWN,
            };
            scores.push(std::array::from_fn(score));
        }
    }

    fn looks(&self, form: &str, scratch: &mut Scratch) -> Looks {
        let Scratch { spelling, memory, asked, .. } = scratch;
        let key = hash::bytes(form.as_bytes()) ^ self.salt;
        memory.get(key, || self.look(form, spelling, asked))
    }

    fn look(&self, form: &str, spelling: &mut Spelling, asked: &mut Asked) -> Looks {
        let seen = spelling.see(form, &Variants::default());
        let look = Look { seen, stems: spelling.stems(), known: self.names.get(seen.form) };
        let mut roles = [[0; LABELS]; ROLES];
        for (role, scores) in roles.iter_mut().enumerate() {
            features::of_word(role, &look, |feature| self.weights.ask(feature, asked));
            self.weights.add(asked, scores);
        }
        Looks { light: Light::new(&look), roles }
    }
}

impl Confidence {
    fn of(&self, lead: i32) -> f32 {
        f32::from(self.right[self.step(lead)]) / 255.0
    }

    fn step(&self, lead: i32) -> usize {
        (lead.max(0) as usize / usize::from(self.unit)).min(STEPS - 1)
    }
}

/// The words from two before to two after.
fn near(places: &[Place], at: usize) -> [Place; 5] {
    std::array::from_fn(|i| (at + i).checked_sub(2).and_then(|at| places.get(at)).copied())
        .map(|place| place.unwrap_or(Place::EDGE))
}

/// The token that a word is of.
fn token_of(word: usize, analysis: &Analysis) -> usize {
    analysis.tokens().partition_point(|token| token.words.end <= word)
}

/// Where a word stands in the text; one that does not stand there as it is has the place of its token, or the end of
/// it where that is how the word is written (as in Arabic after what is written together with it).
fn place(word: usize, text: &str, analysis: &Analysis) -> Range<usize> {
    let this: &Word = &analysis.words()[word];
    if let Some(bytes) = analysis.bytes(this) {
        return bytes;
    }
    let token = &analysis.tokens()[token_of(word, analysis)];
    let form = analysis.form(this, text);
    match text[token.bytes.clone()].ends_with(form) && word + 1 == token.words.end {
        true => token.bytes.end - form.len()..token.bytes.end,
        false => token.bytes.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{self, Card};
    use crate::{Language, analysis, models};
    use proptest::prelude::*;

    fn find(language: Language, text: &str) -> Vec<Entity> {
        let (mut scratch, mut analysis) = (analysis::Scratch::default(), Analysis::default());
        models::engine(language).analyse(text, &mut scratch, &mut analysis);
        let finder = models::finder(language);
        finder.map_or(Vec::new(), |f| f.find(text, &analysis, &mut Scratch::default()))
    }

    /// Names of two kinds in sentences of one pattern, many times.
    fn lesson() -> Vec<train::Sentence> {
        let word = |form: &str, upos: Upos| (form.to_owned(), upos);
        let sentence = |(person, place): (&str, &str)| {
            let mut words: Vec<_> = person.split(' ').map(|form| word(form, Upos::Propn)).collect();
            let end = words.len();
            words.extend([word("lives", Upos::Verb), word("in", Upos::Adp)]);
            words.extend([word(place, Upos::Propn), word(".", Upos::Punct)]);
            let names = vec![(0..end, Kind::Person), (end + 2..end + 3, Kind::Place)];
            train::Sentence { words, names }
        };
        let pairs = [("Ann Lee", "Rome"), ("Bob Ray", "Oslo"), ("Eva", "Bonn"), ("Kim", "Lima")];
        pairs.iter().cycle().take(200).copied().map(sentence).collect()
    }

    fn finder(seed: u64) -> Finder {
        let options = train::Options { seed, ..train::Options::default() };
        train::train(&lesson(), &[], &lesson()[..20], &options)
    }

    #[test]
    fn names_are_learned_and_kinds_that_were_never_seen_are_not_found() {
        let finder = finder(1);
        let (text, mut scratch, mut analysis) =
            ("Zoe Fox lives in Bonn.", analysis::Scratch::default(), Analysis::default());
        models::engine(Language::En).analyse(text, &mut scratch, &mut analysis);
        let mut scratch = Scratch::default();
        for _ in 0..2 {
            let found = finder.find(text, &analysis, &mut scratch);
            let told: Vec<_> = found.iter().map(|e| (e.text.as_str(), e.kind)).collect();
            assert_eq!(told, [("Zoe Fox", Kind::Person), ("Bonn", Kind::Place)]);
        }
    }

    #[test]
    fn training_gives_the_same_bytes_each_time() {
        let first = finder(1).write();
        assert_eq!(first, finder(1).write());
        assert_ne!(first, finder(7).write(), "another seed gives another model");
    }

    #[test]
    fn what_is_written_is_read_and_what_is_damaged_refused() {
        let body = finder(1).write();
        let model = |body: &[u8]| Model {
            kind: model::Kind::Entities,
            language: Some(Language::En),
            card: Card::default(),
            body: body.to_vec(),
        };
        assert_eq!(Finder::read(&model(&body)).unwrap().write(), body);
        for at in (0..body.len()).step_by(body.len() / 200 + 1) {
            assert!(Finder::read(&model(&body[..at])).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn confidence_never_falls_with_the_lead() {
        for finder in Language::ALL.into_iter().filter_map(models::finder) {
            assert!(finder.confidence.right.is_sorted());
        }
    }

    /// What holds of the names in any text.
    fn check_places(language: Language, text: &str) {
        let mut end = 0;
        for entity in find(language, text) {
            assert_eq!(entity.text, text[entity.bytes.clone()]);
            assert!(!entity.bytes.is_empty());
            assert_eq!(entity.chars.start, text[..entity.bytes.start].chars().count());
            assert_eq!(entity.chars.end, text[..entity.bytes.end].chars().count());
            assert!((0.0..=1.0).contains(&entity.confidence));
            assert!(entity.bytes.start >= end, "names do not overlap in {text:?}");
            end = entity.bytes.end;
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn names_in_any_text_have_their_places(text in ".{0,120}", number in 0usize..10) {
            check_places(Language::ALL[number], &text);
        }

        #[test]
        fn names_in_any_words_have_their_places(
            words in prop::collection::vec("[A-Z]?[a-zéл你ال'’.,@0-9]{1,8}|London|del|dell'|باريس|وباريس|Путин", 0..30),
            number in 0usize..10,
        ) {
            check_places(Language::ALL[number], &words.join(" "));
        }
    }

    #[test]
    fn no_more_names_are_told_than_the_bound() {
        let text = "Paris London ".repeat(ENTITIES_MAX);
        for language in [Language::En, Language::Pt] {
            assert!(find(language, &text).len() <= ENTITIES_MAX);
        }
    }
}
