//! What is under way on one lane, in one direction: an [`Outbox`] where messages are sent, an [`Inbox`] where they
//! arrive. No I/O and no clock, so that a simulator can try every fault; a driver moves frames between them and
//! the lane's connections.
//!
//! # The protocol
//!
//! A lane joins two nodes by one or more connections, each a pipe that keeps order and may break at any byte. Messages are
//! numbered on the lane, and each is sent on one connection at a time, in chunks, which take turns with those of others.
//!
//! - **Credit.** The receiver says how many bytes of messages may be *begun*; a message counts whole when its first
//!   byte is sent, and never less than [`MESSAGE_COST_MIN`], so whatever was begun can be finished, and no two half messages
//!   wait for each other's room. All lanes of a node promise credit out of one [`Budget`]: where that is scarce, a sender says
//!   what it *wants*; and one that has nothing to say for a while gives *back* what it has.
//! - **Acknowledged** is what was handed on, on the connection that brought it.
//! - **A connection breaks.** The sender does not know what of its messages arrived. On any other connection it asks
//!   *where* they are; with that the receiver takes nothing more of them from the old one, whose last bytes may still
//!   be on their way, and answers from which byte to go on, or that the message was handed on.
//! - So each message is handed on once: it is begun once, its bytes are taken in order and from one connection alone,
//!   and what was handed on is known by number until the sender knows it too.
//!
//! | what fails | what follows |
//! |---|---|
//! | a connection breaks | its messages go on elsewhere, from the byte that is there; acknowledgements that were lost are asked for |
//! | the receiver stops taking messages | credit ends; the outbox fills up to its bound, and says so |
//! | the peer's process is started anew | both sides begin from the lane's beginning; of what was begun its sender is told that nobody knows, the rest goes to the new process |
//! | a peer breaks the protocol | [`Violation`]: the connection is to be closed; what is under way stays |

mod budget;
mod inbox;
mod outbox;

pub use budget::{Account, Budget, Wake};
pub use inbox::{Inbox, Place, Slot, Small, Whole};
pub use outbox::{Outbox, Refused, Sending, Ticket};

/// Bytes of a message that are sent before another takes its turn.
pub const CHUNK_BYTES: u32 = 256 * 1024;
/// Messages that take turns on a connection.
pub const TURNS_MAX: usize = 4;
/// Messages that may be under way beyond the first that was not handed on.
pub const MESSAGES_AHEAD_MAX: u64 = 1 << 16;

/// Messages that wait to be begun, however small they are.
pub const MESSAGES_WAITING_MAX: usize = 1 << 16;
/// What the smallest message counts, in every bound that is said in bytes: about what is kept beside its bytes, and its handler.
pub const MESSAGE_COST_MIN: u64 = 1024;

/// What a message of `total` bytes counts.
pub const fn cost(total: u64) -> u64 {
    if total < MESSAGE_COST_MIN { MESSAGE_COST_MIN } else { total }
}

/// A connection of a lane, as its node numbers them: no number comes twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Connection(pub u64);

/// The peer broke the protocol of lanes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the peer broke the protocol: {0}")]
pub struct Violation(pub &'static str);
