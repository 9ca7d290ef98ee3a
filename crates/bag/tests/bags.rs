//! Whole bags: the conformance suite of the Library of Congress, and bags made here that cover the same
//! rules anywhere.
#![allow(clippy::unwrap_used)]

#[path = "bags/conformance.rs"]
mod conformance;
