//! From raw text to sentences, tokens and words with their parts of speech.

use crate::segment::{self, Segmenter};
use crate::tag::{self, LemmaScratch, Tagger};
use crate::{Upos, conllu};
use std::borrow::Cow;
use std::ops::Range;

/// All that is needed to analyse texts of one language.
#[derive(Clone, Debug)]
pub struct Engine {
    segmenter: Segmenter,
    tagger: Tagger,
}

/// Memory that is reused from text to text of one language. What it holds changes no answer.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    segment: segment::Scratch,
    tag: tag::Scratch,
}

/// What was found in a text, in flat lists that keep their memory when cleared.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Analysis {
    sentences: Vec<SentenceSpan>,
    tokens: Vec<Token>,
    words: Vec<Word>,
    /// Forms of words that do not stand in the text as they are.
    forms: String,
}

/// A sentence: its tokens, as a range of all tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SentenceSpan {
    /// Its tokens; never empty.
    pub tokens: Range<usize>,
    /// Whether a line began with it.
    pub line: bool,
}

/// What stands in the text: a word, or several that are written as one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Its bytes in the text.
    pub bytes: Range<usize>,
    /// Its characters in the text (Unicode scalar values).
    pub chars: Range<usize>,
    /// Its words, as a range of all words.
    pub words: Range<usize>,
}

/// A syntactic word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Word {
    form: Form,
    /// Its part of speech.
    pub upos: Upos,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Form {
    /// As these bytes of the text.
    Text(Range<usize>),
    /// As these bytes of the forms.
    Other(Range<usize>),
}

impl Analysis {
    /// The sentences, in order.
    pub fn sentences(&self) -> &[SentenceSpan] {
        &self.sentences
    }

    /// The tokens, in order.
    pub fn tokens(&self) -> &[Token] {
        &self.tokens
    }

    /// The words, in order.
    pub fn words(&self) -> &[Word] {
        &self.words
    }

    /// The form of a word of `text`, which is the text that was analysed.
    pub fn form<'a>(&'a self, word: &Word, text: &'a str) -> &'a str {
        match &word.form {
            Form::Text(range) => &text[range.clone()],
            Form::Other(range) => &self.forms[range.clone()],
        }
    }

    /// Where a word stands in the text; `None` where it does not stand there as it is.
    pub fn bytes(&self, word: &Word) -> Option<Range<usize>> {
        match &word.form {
            Form::Text(range) => Some(range.clone()),
            Form::Other(_) => None,
        }
    }

    /// Forgets all, and keeps the memory.
    pub fn clear(&mut self) {
        self.sentences.clear();
        self.tokens.clear();
        self.words.clear();
        self.forms.clear();
    }

    /// A sentence as CoNLL-U has it, with lemmas. `engine` is the one that analysed `text`.
    pub fn conllu(
        &self,
        engine: &Engine,
        sentence: &SentenceSpan,
        text: &str,
        lemmas: &mut LemmaScratch,
    ) -> conllu::Sentence {
        let tokens = &self.tokens[sentence.tokens.clone()];
        let start = tokens.first().map_or(0, |token| token.bytes.start);
        let end = tokens.last().map_or(0, |token| token.bytes.end);
        let mut token = |token: &Token| conllu::Token {
            form: text[token.bytes.clone()].to_owned(),
            space_after: text[token.bytes.end..].chars().next().is_none_or(char::is_whitespace),
            words: self.words[token.words.clone()]
                .iter()
                .map(|word| self.word(engine, word, text, lemmas))
                .collect(),
        };
        conllu::Sentence {
            new_document: false,
            new_paragraph: sentence.line,
            id: None,
            text: Some(text[start..end].to_owned()),
            tokens: tokens.iter().map(&mut token).collect(),
        }
    }

    fn word(
        &self,
        engine: &Engine,
        word: &Word,
        text: &str,
        lemmas: &mut LemmaScratch,
    ) -> conllu::Word {
        let form = self.form(word, text);
        let lemma = engine.tagger.lemma(form, word.upos, lemmas).map(Cow::into_owned);
        conllu::Word { form: form.to_owned(), lemma, upos: word.upos, feats: String::new() }
    }
}

impl Engine {
    /// From its parts.
    pub fn new(segmenter: Segmenter, tagger: Tagger) -> Engine {
        Engine { segmenter, tagger }
    }

    /// The tagger alone, for words that are given.
    pub fn tagger(&self) -> &Tagger {
        &self.tagger
    }

    /// Goes through a text sentence by sentence, in bounded memory.
    pub fn read<'a>(&'a self, text: &'a str, scratch: &'a mut Scratch) -> Reading<'a> {
        let Scratch { segment, tag } = scratch;
        let place = Place { ascii: text.is_ascii(), bytes: 0, chars: 0 };
        Reading { engine: self, text, walk: self.segmenter.walk(text, segment), tag, place }
    }

    /// Analyses a whole text.
    pub fn analyse(&self, text: &str, scratch: &mut Scratch, analysis: &mut Analysis) {
        analysis.clear();
        let mut reading = self.read(text, scratch);
        while reading.next_sentence(analysis) {}
    }
}

/// A text that is being read.
#[derive(Debug)]
pub struct Reading<'a> {
    engine: &'a Engine,
    text: &'a str,
    walk: segment::Walk<'a>,
    tag: &'a mut tag::Scratch,
    place: Place,
}

/// Up to where characters were counted.
#[derive(Debug)]
struct Place {
    ascii: bool,
    bytes: usize,
    chars: usize,
}

impl Place {
    /// How many characters stand before byte `at`, which is not before the last one that was asked.
    fn chars_before(&mut self, text: &str, at: usize) -> usize {
        if self.ascii {
            return at;
        }
        let between = &text.as_bytes()[self.bytes..at];
        // All bytes but those that go on with a character.
        self.chars += between.iter().filter(|byte| (**byte as i8) >= -0x40).count();
        self.bytes = at;
        self.chars
    }
}

impl Reading<'_> {
    /// Adds the next sentence to `analysis`; false at the end of the text. Offsets are those in the whole text, also where
    /// `analysis` was cleared between two sentences.
    pub fn next_sentence(&mut self, analysis: &mut Analysis) -> bool {
        let (text, tagger) = (self.text, &self.engine.tagger);
        let Some(sentence) = self.walk.next_sentence() else { return false };
        let first = (analysis.tokens.len(), analysis.words.len());
        tagger.begin(self.tag);
        sentence.pieces.iter().for_each(|piece| tagger.fetch(piece.hash, self.tag));
        for (at, piece) in sentence.pieces.iter().enumerate() {
            let from = analysis.words.len();
            let (forms, words) = (&mut analysis.forms, &mut analysis.words);
            let several = self.engine.segmenter.words(&sentence, at, |form| {
                tagger.push(form, self.tag);
                let start = forms.len();
                forms.push_str(form);
                words.push(Word { form: Form::Other(start..forms.len()), upos: Upos::X });
            });
            if !several {
                tagger.push_hashed(&text[piece.bytes.clone()], piece.hash, self.tag);
                words.push(Word { form: Form::Text(piece.bytes.clone()), upos: Upos::X });
            }
            let words = from..words.len();
            match analysis.tokens.last_mut() {
                Some(token) if piece.joined && at > 0 => {
                    token.bytes.end = piece.bytes.end;
                    token.chars.end = self.place.chars_before(text, piece.bytes.end);
                    token.words.end = words.end;
                }
                _ => {
                    let start = self.place.chars_before(text, piece.bytes.start);
                    let end = self.place.chars_before(text, piece.bytes.end);
                    analysis.tokens.push(Token {
                        bytes: piece.bytes.clone(),
                        chars: start..end,
                        words,
                    });
                }
            }
        }
        let line = sentence.pieces.first().is_some_and(|piece| piece.line);
        for (word, tag) in analysis.words[first.1..].iter_mut().zip(tagger.finish(self.tag)) {
            word.upos = *tag;
        }
        analysis.sentences.push(SentenceSpan { tokens: first.0..analysis.tokens.len(), line });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Language, models};
    use proptest::prelude::*;

    fn analyse(language: Language, text: &str) -> Analysis {
        let mut analysis = Analysis::default();
        models::engine(language).analyse(text, &mut Scratch::default(), &mut analysis);
        analysis
    }

    /// `text` as `form/TAG` for each word.
    fn told(language: Language, text: &str) -> String {
        let analysis = analyse(language, text);
        let told = |word: &Word| format!("{}/{}", analysis.form(word, text), word.upos);
        analysis.words().iter().map(told).collect::<Vec<_>>().join(" ")
    }

    /// What holds of the analysis of any text.
    fn check_places(language: Language, text: &str) {
        let analysis = analyse(language, text);
        let (mut bytes, mut words, mut tokens) = (0, 0, 0);
        for sentence in analysis.sentences() {
            assert_eq!(sentence.tokens.start, tokens);
            assert!(!sentence.tokens.is_empty());
            tokens = sentence.tokens.end;
        }
        for token in analysis.tokens() {
            let between = &text[bytes..token.bytes.start];
            let nothing = |c: char| c.is_whitespace() || c.is_control();
            assert!(between.chars().all(nothing), "{between:?} is lost from {text:?}");
            assert!(!token.bytes.is_empty());
            assert_eq!(token.chars.start, text[..token.bytes.start].chars().count());
            assert_eq!(token.chars.end, text[..token.bytes.end].chars().count());
            assert_eq!(token.words.start, words);
            assert!(!token.words.is_empty());
            (bytes, words) = (token.bytes.end, token.words.end);
        }
        assert_eq!((tokens, words), (analysis.tokens().len(), analysis.words().len()));
        for word in analysis.words() {
            assert!(!analysis.form(word, text).is_empty());
        }
    }

    #[test]
    fn sentences_of_all_languages_are_tagged() {
        let check = |language: Language, text: &str, expected: &str| {
            assert_eq!(told(language, text), expected);
        };
        check(
            Language::En,
            "Mr. Smith doesn't know.",
            "Mr./PROPN Smith/PROPN does/AUX n't/PART know/VERB ./PUNCT",
        );
        check(
            Language::De,
            "Er geht heute zum Bahnhof.",
            "Er/PRON geht/VERB heute/ADV zu/ADP dem/DET Bahnhof/NOUN ./PUNCT",
        );
        check(
            Language::Fr,
            "Il parle du chat.",
            "Il/PRON parle/VERB de/ADP le/DET chat/NOUN ./PUNCT",
        );
        check(
            Language::Es,
            "Ella vive cerca del mar.",
            "Ella/PRON vive/VERB cerca/ADV de/ADP el/DET mar/NOUN ./PUNCT",
        );
        check(
            Language::It,
            "La casa della signora è grande.",
            "La/DET casa/NOUN di/ADP la/DET signora/NOUN è/AUX grande/ADJ ./PUNCT",
        );
        check(
            Language::Pt,
            "O menino foi ao mercado.",
            "O/DET menino/NOUN foi/VERB a/ADP o/DET mercado/NOUN ./PUNCT",
        );
        check(Language::Ru, "Мальчик читает книгу.", "Мальчик/NOUN читает/VERB книгу/NOUN ./PUNCT");
        check(Language::Pl, "To jest duży dom.", "To/AUX jest/AUX duży/ADJ dom/NOUN ./PUNCT");
        check(Language::Zh, "我们喜欢北京。", "我们/PRON 喜欢/VERB 北京/PROPN 。/PUNCT");
        let arabic = analyse(Language::Ar, "ذهب الرئيس وعقيلته إلى باريس.");
        assert!(arabic.tokens()[2].words.len() >= 2, "a conjunction is written with its word");
    }

    #[test]
    fn hostile_texts_keep_their_places() {
        let long = "a".repeat(100_000);
        let texts = [
            "",
            "\0",
            "\u{feff}x\u{200b}y \u{202e}abc\u{202c}",
            "e\u{301}\u{301}\u{301} \u{301}",
            "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467} \u{1f1e9}\u{1f1ea}\u{1f1e9} :) #tag @me a@b.org",
            "http://[::1]/\u{4f60}?q=%20) www. @ # ##a @@b a@b@c.d",
            "İstanbul ß \u{1e9e} \u{fb03} ẞẞ'S",
            "你好世界。Hello 1,000.5 مرحبا بالعالم",
            "...!!!???---\"\"''(([[{{<<>>",
            "a\r\nb\u{2028}c\u{85}d",
            &long,
            &"!".repeat(10_000),
            &"\u{1f600}".repeat(10_000),
            &"a\u{300}".repeat(10_000),
            &"你".repeat(10_000),
            &"\u{648}".repeat(10_000),
            &"du ".repeat(5_000),
        ];
        for language in Language::ALL {
            texts.iter().for_each(|text| check_places(language, text));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_text_keeps_its_places(text in ".{0,120}", number in 0usize..10) {
            check_places(Language::ALL[number], &text);
        }

        #[test]
        fn any_words_keep_their_places(
            words in prop::collection::vec("[a-zA-Zé你的،وال'’.,!?@#/:0-9\\-]{1,8}", 0..30),
            number in 0usize..10,
        ) {
            check_places(Language::ALL[number], &words.join(" "));
        }
    }

    #[test]
    fn a_text_is_read_in_pieces_as_in_one() {
        let text = "Ann lives in Rome. She doesn't mind.\nBob, too.";
        let engine = models::engine(Language::En);
        let whole = analyse(Language::En, text);
        let (mut scratch, mut analysis) = (Scratch::default(), Analysis::default());
        let (mut reading, mut tokens) = (engine.read(text, &mut scratch), Vec::new());
        while reading.next_sentence(&mut analysis) {
            tokens.extend(analysis.tokens().iter().map(|token| token.bytes.clone()));
            analysis.clear();
        }
        let expected: Vec<_> = whole.tokens().iter().map(|token| token.bytes.clone()).collect();
        assert_eq!(tokens, expected);
        assert_eq!(whole.sentences().len(), 3);
    }

    #[test]
    fn an_analysis_is_conllu() {
        let text = "Kim can't see the mice.";
        let analysis = analyse(Language::En, text);
        let engine = models::engine(Language::En);
        let mut lemmas = LemmaScratch::default();
        let sentence = analysis.conllu(engine, &analysis.sentences()[0], text, &mut lemmas);
        assert_eq!(sentence.text.as_deref(), Some(text));
        let lemmas: Vec<_> = sentence.words().filter_map(|word| word.lemma.as_deref()).collect();
        assert_eq!(lemmas, ["Kim", "can", "not", "see", "the", "mouse", "."]);
        let mut written = String::new();
        conllu::write(&sentence, &mut written);
        assert_eq!(conllu::read(&written).unwrap(), [sentence]);
    }
}
