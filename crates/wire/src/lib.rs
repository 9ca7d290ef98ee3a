//! Messages and blobs between nodes that never disturb each other.
//!
//! A node is a key ([`NodeId`]); what two nodes say is under TLS 1.3, each known to the other by its key
//! ([`tls`]). Nothing in this room opens a socket that it was not given a way to open.
//!
//! So far the room has identities, the handshake and the records.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod carry;
pub mod frame;
mod identity;
pub mod lane;
pub mod tls;

pub use carry::{Bounds, Deliver, Ended, Lane, Message, shake};
pub use identity::{NodeId, NodeKey, NotANode};
