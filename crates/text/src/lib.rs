//! Text analysis in ten languages: language, sentences, words, parts of speech, sentiment, themes, topics; besides,
//! rules that tell texts apart, and the main text of pages of the web.
//!
//! Everything is a pure function over a text and the models that are built in. Offsets always tell where
//! something stands in the text as it was given.
//!
//! ```
//! use strongroom_text::analysis::{Analysis, Scratch};
//! use strongroom_text::{Language, Upos, models};
//!
//! let (mut scratch, mut analysis) = (Scratch::default(), Analysis::default());
//! let text = "Dr. Lee can't come. He's ill.";
//! models::engine(Language::En).analyse(text, &mut scratch, &mut analysis);
//! assert_eq!(analysis.sentences().len(), 2);
//! let token = &analysis.tokens()[2];
//! assert_eq!(&text[token.bytes.clone()], "can't");
//! let words = &analysis.words()[token.words.clone()];
//! assert_eq!((analysis.form(&words[1], text), words[1].upos), ("n't", Upos::Part));
//! ```
//!
//! # What it refuses
//! It reads no files, asks no network and keeps nothing between two texts. It never alters a text that it
//! was given: what is normalised is a copy whose offsets lead back.
//!
//! # Speed
//! A text of ninety characters asks for some eight hundred rows of weights in tables of megabytes, so what binds is how long memory
//! takes to answer. Tables hold rows side by side behind small buckets, one cache line and one comparison
//! each (`table`); buckets are fetched while the next features are still hashed (`fetch`); and what was worked
//! out of frequent words is at hand (`memory`), which changes no answer. No text is ever known from before.
//!
//! # Failure
//! Analysis does not fail: whatever text comes in, there is an answer, in time linear in its length. What
//! can fail is the reading of models and of CoNLL-U, with an error that says where.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod analysis;
pub mod answer;
mod binary;
pub mod conllu;
pub mod entities;
mod fetch;
pub mod filter;
mod hash;
pub mod html;
pub mod item;
pub mod language;
mod language_code;
mod memory;
pub mod model;
pub mod models;
pub mod parallel;
pub mod places;
pub mod score;
pub mod segment;
pub mod sentiment;
mod table;
pub mod tag;
pub mod themes;
pub mod topics;
mod upos;
mod word;

pub use language_code::Language;
pub use upos::Upos;
