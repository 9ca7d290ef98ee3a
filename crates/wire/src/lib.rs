//! Messages and blobs between nodes that never disturb each other.
//!
//! A node is a key ([`NodeId`]); what two nodes say is under TLS 1.3, each known to the other by its key
//! ([`tls`]). Between two nodes there are *lanes* ([`Lane`]): what is under way on one, and where it goes on when a
//! connection breaks, is kept by a pair of state machines without I/O ([`lane`]); a driver moves their frames ([`frame`]) over
//! any stream. Nothing in this room opens a socket that it was not given a way to open. docs/wire.md says
//! every byte.
//!
//! ```text
//!   send ─► Outbox ─► frames ─► Sealer ─► stream ─► Opener ─► frames ─► Inbox ─► handler
//!              ▲  credit, acknowledgements, what is there of a message  │
//!              └────────────────────────────────────────────────────────┘
//! ```
//!
//! What stands: identities, the handshake and the records ([`tls`]); lanes, tried by a simulator that breaks their connections
//! at any byte (`tests/lanes.rs`); lanes over streams, with resets in the middle (`tests/wire/carry.rs`), and their cost beside
//! tokio-rustls (`benches/point_to_point.rs`).
//!
//! What is to come, in this shape:
//!
//! - A `Node` holds a key, a way to dial (`Dial`: a peer's key and addresses to streams, each of a kind), and the peers that it
//!   knows. It says first, on each connection: protocol version and features, the lane, and the *epoch*, a random number of
//!   the process's life. A peer that comes with another epoch has been restarted: what was under way to its old life and not
//!   acknowledged fails, what was not begun goes to the new one, and the old epoch is never taken again.
//! - Three kinds of lanes to a peer: *control*, one connection, all peers' on a thread of their own; *calls*, two ordered
//!   lanes of one connection each, chosen by the hash of a key; *bulk*, one lane of two to six connections that are dialled
//!   when the first large message waits, once however many wait.
//! - A message begins with an envelope (name, call, deadline, trace); handlers are async functions by name. A call
//!   that is cancelled, whose deadline passed, or whose handler panics, ends with an error on both sides.
//! - Heartbeats on control decide that a path is dead, and a connection's death is a lane's ordinary business.
#![cfg_attr(test, allow(clippy::unwrap_used))]

mod carry;
pub mod frame;
mod identity;
pub mod lane;
pub mod membership;
pub mod phi;
pub mod tls;

pub use carry::{Bounds, Deliver, Ended, Lane, Message, shake};
pub use identity::{NodeId, NodeKey, NotANode};
