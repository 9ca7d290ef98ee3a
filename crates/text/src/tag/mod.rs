//! Parts of speech: a greedy tagger over hashed features, whose weights are averaged perceptrons', summed over seeds.
//!
//! The method is that of Collins (2002) with averaged weights, decoded greedily as by Honnibal (2013); several seeds are trained
//! and their weights summed, which costs nothing when tagging. In training some features are left out at random each time, so
//! that none is relied on alone.

mod features;
mod lemma;
mod lexicon;
pub mod train;

use crate::memory::Memory;
use crate::model::{self, Error, Reader};
use crate::table::{Asked, Table};
use crate::word::{Spelling, Variants};
use crate::{Upos, hash};
use features::{Light, NEAR};
use lemma::Lemmas;
pub use lemma::Scratch as LemmaScratch;
use lexicon::Lexicon;
use std::borrow::Cow;

/// The version of the body that is written and read.
const VERSION: u16 = 3;

/// Longer sentences are tagged in pieces of this many words.
pub const SENTENCE_WORDS_MAX: usize = 1024;

/// Places of the memory for words that were seen before: a power of two.
const MEMORY_PLACES: usize = 16384;

/// A tag that leads by so much before pairs of words and the tags before are looked at is taken: these would change next to
/// nothing, as development data show.
const CLEAR: i16 = 650;

/// Stands for the tags before the first word.
const START: u8 = Upos::COUNT as u8;

type Scores = [i16; Upos::COUNT];

/// Scores of the words around, side by side.
const ALL_NEAR: usize = NEAR * Upos::COUNT;

/// A tagger of one language.
#[derive(Clone, Debug)]
pub struct Tagger {
    variants: Variants,
    lexicon: Lexicon,
    weights: Weights,
    lemmas: Lemmas,
    edge: Looks,
    /// Of its language.
    salt: u64,
}

/// What features say of tags.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Weights {
    /// Of the word that has them, and of words together.
    own: Table<{ Upos::COUNT }>,
    /// Of each of the words around.
    near: Table<ALL_NEAR>,
}

/// What a word adds to its own scores and to those of the words around it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Looks {
    /// The tag, where there is nothing to decide.
    sure: Option<Upos>,
    light: Light,
    own: Scores,
    near: [i16; ALL_NEAR],
}

impl Looks {
    /// What it adds to the scores of a word from which it is at one of the [`NEAR`] places.
    fn from(&self, place: usize) -> &[i16] {
        &self.near[place * Upos::COUNT..][..Upos::COUNT]
    }
}

/// Memory that is reused from text to text, in whatever language. What it holds changes no answer.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    spelling: Spelling,
    /// Words seen before, where the hash of their bytes and language says.
    memory: Memory<Looks, MEMORY_PLACES>,
    words: Vec<Looks>,
    tags: Vec<Upos>,
    /// Features that are looked up together: of words themselves, and of those around others.
    asked: Asked,
    asked_near: Asked,
}

impl Tagger {
    /// The tagger of a model's body.
    ///
    /// # Errors
    /// Where it is none, or of another version.
    pub fn read(model: &model::Model) -> Result<Tagger, Error> {
        let mut reader = Reader::new(&model.body);
        reader.version("the tagger", VERSION)?;
        let variants = Variants::read(&mut reader)?;
        let lexicon = Lexicon::read(&mut reader)?;
        let weights = Weights { own: Table::read(&mut reader)?, near: Table::read(&mut reader)? };
        let tagger = Tagger::new(variants, lexicon, weights, Lemmas::read(&mut reader)?);
        Ok(Tagger { salt: hash::salt(model.language), ..tagger })
    }

    fn new(variants: Variants, lexicon: Lexicon, weights: Weights, lemmas: Lemmas) -> Tagger {
        let (own, near) = ([0; Upos::COUNT], [0; ALL_NEAR]);
        let mut edge = Looks { sure: None, light: Light::EDGE, own, near };
        weights.near.add_one(features::EDGE, &mut edge.near);
        Tagger { variants, lexicon, weights, lemmas, edge, salt: hash::salt(None) }
    }

    /// The body of its model.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(VERSION.to_le_bytes());
        self.variants.write(&mut out);
        self.lexicon.write(&mut out);
        self.weights.own.write(&mut out);
        self.weights.near.write(&mut out);
        self.lemmas.write(&mut out);
        out
    }

    /// The dictionary form of a word with its tag: the word itself where nothing is known. `None` for a language without
    /// lemmas (Arabic, whose lemmas carry vowel signs that texts do not tell).
    pub fn lemma<'f>(
        &self,
        form: &'f str,
        tag: Upos,
        scratch: &mut LemmaScratch,
    ) -> Option<Cow<'f, str>> {
        (!self.lemmas.is_empty()).then(|| self.lemmas.of(form, tag, self.salt, scratch))
    }

    /// Begins a sentence.
    pub fn begin(&self, scratch: &mut Scratch) {
        scratch.words.clear();
    }

    /// Adds a word to the sentence.
    pub fn push(&self, word: &str, scratch: &mut Scratch) {
        self.push_hashed(word, hash::bytes(word.as_bytes()), scratch);
    }

    /// Has what is remembered of a word with this hash of its bytes fetched.
    pub(crate) fn fetch(&self, hash: u64, scratch: &Scratch) {
        scratch.memory.fetch(hash ^ self.salt);
    }

    /// Adds a word with the hash of its bytes.
    pub(crate) fn push_hashed(&self, word: &str, hash: u64, scratch: &mut Scratch) {
        let Scratch { spelling, memory, words, asked, asked_near, .. } = scratch;
        words.push(memory.get(hash ^ self.salt, || self.look(word, spelling, asked, asked_near)));
    }

    /// The tags of the sentence's words.
    pub fn finish<'a>(&self, scratch: &'a mut Scratch) -> &'a [Upos] {
        scratch.tags.clear();
        for sentence in scratch.words.chunks(SENTENCE_WORDS_MAX) {
            self.tag(sentence, &mut scratch.tags, &mut scratch.asked);
        }
        &scratch.tags
    }

    fn look(
        &self,
        word: &str,
        spelling: &mut Spelling,
        asked: &mut Asked,
        asked_near: &mut Asked,
    ) -> Looks {
        let seen = spelling.see(word, &self.variants);
        let known = self.lexicon.get(seen.form);
        let light = Light::new(&seen, known);
        let (mut own, mut near) = ([0; Upos::COUNT], [0; ALL_NEAR]);
        let Weights { own: of_own, near: of_near } = &self.weights;
        let find = |form| self.lexicon.get(form);
        // All are asked for before any is waited for.
        features::of_neighbour(&light, known, |feature| of_near.ask(feature, asked_near));
        features::of_word(&seen, known, find, |feature| of_own.ask(feature, asked));
        of_near.add(asked_near, &mut near);
        of_own.add(asked, &mut own);
        Looks { sure: known.sure(), light, own, near }
    }

    fn tag(&self, words: &[Looks], tags: &mut Vec<Upos>, asked: &mut Asked) {
        let (mut last, mut second) = (START, START);
        for at in 0..words.len() {
            if let Some(tag) = words[at].sure {
                tags.push(tag);
                (last, second) = (tag as u8, last);
                continue;
            }
            let word = |away: isize| {
                at.checked_add_signed(away).and_then(|at| words.get(at)).unwrap_or(&self.edge)
            };
            let around = [word(-2), word(-1), word(0), word(1), word(2)];
            let near = around.map(|looks| looks.light);
            let mut scores = around[2].own;
            for (place, looks) in [around[0], around[1], around[3], around[4]].iter().enumerate() {
                for (score, more) in scores.iter_mut().zip(looks.from(place)) {
                    *score = score.wrapping_add(*more);
                }
            }
            if let Some(best) = clear(&scores) {
                tags.push(Upos::ALL[best]);
                (last, second) = (best as u8, last);
                continue;
            }
            let weights = &self.weights.own;
            features::of_words(&near, |feature| weights.ask(feature, asked));
            features::of_history(last, second, &near, |feature| weights.ask(feature, asked));
            weights.add(asked, &mut scores);
            let best = best(&scores);
            tags.push(Upos::ALL[best]);
            (last, second) = (best as u8, last);
        }
    }
}

/// The tag that leads by so much that pairs of words and tags before would not change it.
fn clear(scores: &Scores) -> Option<usize> {
    let best = best(scores);
    let lead = scores[best].saturating_sub(CLEAR);
    scores.iter().enumerate().all(|(tag, score)| tag == best || *score < lead).then_some(best)
}

/// The first of the highest scores.
fn best(scores: &Scores) -> usize {
    let mut best = 0;
    for (tag, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = tag;
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Language;
    use crate::model::{Card, Kind, Model};
    use crate::segment::train::tests::treebanks;

    fn tagger() -> Tagger {
        let options = train::Options { perceptrons: 2, ..train::Options::default() };
        train::train(Language::En, &treebanks(), &[], &options)
    }

    fn tags(tagger: &Tagger, words: &str, scratch: &mut Scratch) -> Vec<Upos> {
        tagger.begin(scratch);
        words.split(' ').for_each(|word| tagger.push(word, scratch));
        tagger.finish(scratch).to_vec()
    }

    #[test]
    fn words_are_tagged_and_memory_changes_no_answer() {
        use Upos::{Aux, Det, Noun, Part, Propn, Punct, Verb};
        let (tagger, mut scratch) = (tagger(), Scratch::default());
        for _ in 0..2 {
            let found = tags(&tagger, "Mr. Kim does n't know the bat .", &mut scratch);
            assert_eq!(found, [Noun, Propn, Aux, Part, Verb, Det, Noun, Punct]);
        }
        assert_eq!(tags(&tagger, "Zoe knows", &mut scratch), [Propn, Verb]);
        tagger.begin(&mut scratch);
        assert_eq!(tagger.finish(&mut scratch), []);
    }

    #[test]
    fn training_gives_the_same_bytes_each_time() {
        let (first, second) = (tagger().write(), tagger().write());
        assert_eq!(first, second);
        let options = train::Options { seed: 2, ..train::Options::default() };
        let other = train::train(Language::En, &treebanks(), &[], &options).write();
        assert_ne!(first, other, "another seed gives another model");
    }

    #[test]
    fn rules_of_other_treebanks_are_learned_apart() {
        let mut treebanks = treebanks();
        let mut other = treebanks[0].clone();
        other.rules = 1;
        let tokens = other.sentences.iter_mut().flat_map(|sentence| &mut sentence.tokens);
        for word in tokens.flat_map(|token| &mut token.words).filter(|word| word.form == "the") {
            word.upos = Upos::Pron;
        }
        other.sentences.extend(other.sentences.clone());
        treebanks.push(other);
        let options = train::Options { perceptrons: 1, ..train::Options::default() };
        let tagger = train::train(Language::En, &treebanks, &[], &options);
        let found = tags(&tagger, "Ann sees the dog .", &mut Scratch::default());
        assert_eq!(found[2], Upos::Det);
    }

    #[test]
    fn a_damaged_model_is_refused() {
        let body = tagger().write();
        let model = |body: &[u8]| Model {
            kind: Kind::Tag,
            language: Some(Language::En),
            card: Card::default(),
            body: body.to_vec(),
        };
        assert!(Tagger::read(&model(&body)).is_ok());
        for at in (0..body.len()).step_by(body.len() / 200 + 1) {
            assert!(Tagger::read(&model(&body[..at])).is_err(), "cut at {at}");
        }
    }
}
