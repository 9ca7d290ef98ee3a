//! Messages and blobs between nodes that never disturb each other.
//!
//! A [`Node`] is a key ([`NodeId`]); what two nodes say is under TLS 1.3, each known to the other by its key
//! ([`tls`]). Between two nodes there are *lanes* ([`Lane`]): what is under way on one, and where it goes on when a
//! connection breaks, is kept by a pair of state machines without I/O ([`lane`]); a driver moves their frames ([`frame`]) over
//! any stream. Nothing in this room dials but by the [`Dial`](path::Dial) that it was given. docs/wire.md says every byte.
//!
//! ```text
//!   call, send, cast                                                         handler, by name
//!        │ envelope                                                              ▲
//!        ▼                                                                       │
//!      Outbox ─► frames ─► Sealer ─► stream ─► Opener ─► frames ─► Inbox ────────┘
//!        ▲  credit, acknowledgements, what is there of a message      │
//!        └────────────────────────────────────────────────────────────┘
//! ```
//!
//! To each peer there are three kinds of connections, each at a [`Place`](hello::Place) of its own:
//!
//! - *control*: heartbeats, cancellations, who watches which name, who is a member ([`membership`]). One connection; all peers' are driven by one thread that does
//!   nothing else. A heartbeat that is not answered shows that the path is dead, and ends the peer's other connections too.
//! - *calls*: messages up to 64 KiB. Two lanes of one connection each, chosen by the name that is called.
//! - *bulk*: larger messages. One lane of several connections, which are dialled when the first large message waits, once
//!   however many wait; threads of their own, of lower priority.
//!
//! The first frame says which place a connection is for, and the *epoch*, a number of the life in which its sender knows
//! the peer, greater than that of any life before ([`hello`]). A peer that comes with a greater one than before has been started
//! anew: what was under way to its old life fails, what was not begun goes to the new one, and the old is not listened to again.
//!
//! | what fails | what follows |
//! |---|---|
//! | a connection | it is dialled again, with pauses of full jitter; what was under way goes on elsewhere, or then |
//! | both sides dial at once | the one dialled by the lesser key stays |
//! | a handler, or it panics | its caller is told |
//! | nobody waits for a reply any more | the request is taken back if it was not begun; else its handler is dropped where it waits |
//! | a peer takes nothing | what waits for it is bounded; then sending waits, or says that the peer is busy |
//!
//! Blobs of any size are offered by a call, and their taker asks for the pieces ([`blob`]).
//!
//! Messages that must outlive processes are kept on disk ([`spooled`]), and brought by calls too.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod blob;
mod buffers;
mod carry;
mod connect;
mod control;
mod envelope;
pub mod frame;
mod gossip;
pub mod hello;
mod identity;
pub mod lane;
pub mod membership;
pub mod metrics;
mod node;
pub mod path;
mod peer;
pub mod phi;
mod pool;
#[cfg(all(test, feature = "shuttle"))]
mod schedules;
mod service;
pub mod spooled;
mod sync;
#[doc(hidden)]
pub mod testing;
pub mod threads;
pub mod tls;

pub use carry::{Bounds, Deliver, Ended, Fate, Lane, LaneState, Message, shake};
pub use envelope::{NAME_BYTES_MAX, Trace};
pub use identity::{NodeId, NodeKey, NotANode};
pub use node::{Node, NotStarted, PeerState, SendError, Settings};
pub use peer::{Gone, Receipt};
pub use service::{CallError, Context, Failure, NotAName, Payload, Registration};
