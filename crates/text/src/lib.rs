//! Text analysis in ten languages: language, sentences, words, parts of speech, sentiment.
//!
//! Everything is a pure function over a text and the models that are built in. Offsets always tell where
//! something stands in the text as it was given.
//!
//! # What it refuses
//! It reads no files, asks no network and keeps nothing between two texts. It never alters a text that it
//! was given: what is normalised is a copy whose offsets lead back.
//!
//! # Failure
//! Analysis does not fail: whatever text comes in, there is an answer, in time linear in its length. What
//! can fail is the reading of models and of CoNLL-U, with an error that says where.

#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod analysis;
mod binary;
pub mod conllu;
mod hash;
mod language_code;
pub mod model;
pub mod models;
pub mod score;
pub mod segment;
mod table;
pub mod tag;
mod upos;
mod word;

pub use language_code::Language;
pub use upos::Upos;
