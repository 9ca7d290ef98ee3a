//! The service as clients have it: over HTTP, with the answers checked against docs/openapi.json.
#![allow(clippy::unwrap_used)]

mod bad;
mod records;
mod schema;
mod table;
mod texts;
mod world;
