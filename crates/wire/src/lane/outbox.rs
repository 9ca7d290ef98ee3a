//! The sending half of a lane.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{Connection, MESSAGES_AHEAD_MAX, TURNS_MAX, Violation};
use crate::frame::{Head, SEQUENCES_MAX};

/// Messages that were given to a lane and not yet handed on by the peer.
pub struct Outbox {
    /// The number of the next message.
    next: u64,
    messages: BTreeMap<u64, Outgoing>,
    /// Not begun, in the order in which they came.
    waiting: VecDeque<u64>,
    /// Those whose connection is gone, and which were not asked for yet.
    unasked: BTreeSet<u64>,
    /// The number of the last question.
    question: u64,
    /// On each connection those that are being sent, in turn.
    turns: BTreeMap<Connection, VecDeque<u64>>,
    /// Bytes that the peer lets us begin, and those that we began, since the lane's beginning.
    limit: u64,
    begun: u64,
    /// Bytes of all messages, and how many there may be.
    bytes: u64,
    bytes_max: u64,
    /// Bytes of one message at most.
    message_max: u64,
    chunk_bytes: u32,
}

struct Outgoing {
    parts: [Bytes; 2],
    total: u64,
    /// From where to go on.
    offset: u64,
    /// How far it was ever sent.
    sent: u64,
    stage: Stage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Waiting,
    /// Being sent, or all sent, on this connection.
    On(Connection),
    /// Its connection is gone.
    Lost,
    /// The peer was asked, on this connection, how much of it is there.
    Asked(Connection),
}

/// What is to be written next on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sending {
    /// Bytes of a message, in pieces that follow one another.
    Data(Head, [Bytes; 2]),
    /// How much of these is there? With the number of the question.
    Where(u64, Vec<u64>),
}

/// A message was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// For now: others wait, and there is no room beside them.
    #[error("{bytes} bytes wait for this peer, and no more than {max} may")]
    Full {
        /// Bytes that are there.
        bytes: u64,
        /// Bytes that may be there.
        max: u64,
    },
    /// For good.
    #[error("a message of {bytes} bytes is too large: this lane takes up to {max}")]
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// Bytes that one may have.
        max: u64,
    },
    /// For good.
    #[error("a message of no bytes cannot be sent")]
    Empty,
}

impl Outbox {
    /// An empty one, which holds up to `bytes_max` bytes of messages of up to `message_max` each: half the
    /// window of the peer's inbox. It sends `chunk_bytes` of one before another takes its turn:
    /// [`CHUNK_BYTES`](super::CHUNK_BYTES), but for tests.
    pub fn new(bytes_max: u64, message_max: u64, chunk_bytes: u32) -> Outbox {
        Outbox {
            next: 0,
            messages: BTreeMap::new(),
            waiting: VecDeque::new(),
            unasked: BTreeSet::new(),
            question: 0,
            turns: BTreeMap::new(),
            limit: 0,
            begun: 0,
            bytes: 0,
            bytes_max,
            message_max,
            chunk_bytes,
        }
    }

    /// Takes a message in: two pieces that follow one another, not both empty. Returns its number.
    ///
    /// # Errors
    /// [`Refused`], where nothing was taken in.
    pub fn push(&mut self, parts: [Bytes; 2]) -> Result<u64, Refused> {
        let total = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        if total == 0 {
            return Err(Refused::Empty);
        }
        // The peer would take it for an attack, and nothing behind it would ever arrive.
        if total > self.message_max {
            return Err(Refused::TooLarge { bytes: total, max: self.message_max });
        }
        if self.bytes > 0 && self.bytes + total > self.bytes_max {
            return Err(Refused::Full { bytes: self.bytes, max: self.bytes_max });
        }
        let sequence = self.next;
        self.next += 1;
        self.bytes += total;
        let outgoing = Outgoing { parts, total, offset: 0, sent: 0, stage: Stage::Waiting };
        self.messages.insert(sequence, outgoing);
        self.waiting.push_back(sequence);
        Ok(sequence)
    }

    /// Bytes of messages that are not yet handed on.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Messages that are not yet handed on.
    pub fn len(&self) -> usize {
        self.messages.len()
    }

    /// Whether all was handed on.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The peer grants credit. What was granted before is never taken back.
    pub fn credit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// A connection is there.
    pub fn join(&mut self, connection: Connection) {
        self.turns.entry(connection).or_default();
    }

    /// A connection is gone, and with it the knowledge of what arrived by it.
    pub fn lost(&mut self, connection: Connection) {
        self.turns.remove(&connection);
        for (sequence, message) in &mut self.messages {
            if [Stage::On(connection), Stage::Asked(connection)].contains(&message.stage) {
                message.stage = Stage::Lost;
                self.unasked.insert(*sequence);
            }
        }
    }

    /// What is to be written on this connection now; `None` where there is nothing, or no credit.
    pub fn next(&mut self, connection: Connection) -> Option<Sending> {
        if !self.turns.contains_key(&connection) {
            return None;
        }
        if !self.unasked.is_empty() {
            let mut sequences = Vec::new();
            while sequences.len() < SEQUENCES_MAX
                && let Some(sequence) = self.unasked.pop_first()
            {
                if let Some(message) = self.messages.get_mut(&sequence) {
                    message.stage = Stage::Asked(connection);
                    sequences.push(sequence);
                }
            }
            if !sequences.is_empty() {
                self.question += 1;
                return Some(Sending::Where(self.question, sequences));
            }
        }
        self.begin(connection);
        let turns = self.turns.get_mut(&connection)?;
        loop {
            let sequence = turns.pop_front()?;
            // It may have been handed on meanwhile, and its place given away.
            let Some(message) = self.messages.get_mut(&sequence) else { continue };
            if message.stage != Stage::On(connection) {
                continue;
            }
            let length = (message.total - message.offset).min(self.chunk_bytes.into());
            let (offset, total) = (message.offset, message.total);
            let pieces = pieces(&message.parts, offset, length);
            message.offset += length;
            message.sent = message.sent.max(message.offset);
            if message.offset < total {
                turns.push_back(sequence);
            }
            let length = u32::try_from(length).unwrap_or(self.chunk_bytes);
            return Some(Sending::Data(Head { sequence, offset, total, length }, pieces));
        }
    }

    /// Gives a connection its part of what waits, as far as credit allows.
    fn begin(&mut self, connection: Connection) {
        let Some(turns) = self.turns.get_mut(&connection) else { return };
        let first = self.messages.first_key_value().map_or(self.next, |(first, _)| *first);
        while turns.len() < TURNS_MAX
            && let Some(sequence) = self.waiting.front().copied()
        {
            let Some(message) = self.messages.get_mut(&sequence) else {
                self.waiting.pop_front();
                continue;
            };
            let ahead = sequence - first >= MESSAGES_AHEAD_MAX;
            if ahead || self.begun.saturating_add(message.total) > self.limit {
                return;
            }
            self.begun += message.total;
            message.stage = Stage::On(connection);
            turns.push_back(sequence);
            self.waiting.pop_front();
        }
    }

    /// The peer handed messages on: all below `below`, and those of `also`. Returns how many were not known to be.
    ///
    /// # Errors
    /// [`Violation`] where one of them was never sent whole.
    pub fn ack(&mut self, below: u64, also: &[u64]) -> Result<usize, Violation> {
        if below > self.next {
            return Err(Violation("acknowledges messages that do not exist"));
        }
        let before = self.messages.len();
        while let Some((first, _)) = self.messages.first_key_value().filter(|(n, _)| **n < below) {
            let first = *first;
            self.done(first)?;
        }
        also.iter().try_for_each(|sequence| self.done(*sequence))?;
        Ok(before - self.messages.len())
    }

    /// The peer's answer to [`Sending::Where`], on the connection on which it was asked.
    ///
    /// # Errors
    /// [`Violation`] where it was not asked there, or has more than was ever sent.
    pub fn at(
        &mut self,
        connection: Connection,
        sequence: u64,
        offset: Option<u64>,
    ) -> Result<(), Violation> {
        let Some(message) = self.messages.get_mut(&sequence) else {
            // Acknowledged since; an answer is then of no use.
            return match sequence < self.next {
                true => Ok(()),
                false => Err(Violation("answers for a message that does not exist")),
            };
        };
        if message.stage != Stage::Asked(connection) {
            return Err(Violation("answers what was not asked"));
        }
        match offset {
            None => self.done(sequence),
            Some(offset) if offset > message.sent => {
                Err(Violation("has more of a message than was sent"))
            }
            Some(offset) => {
                message.offset = offset;
                message.stage = Stage::On(connection);
                if offset < message.total {
                    self.turns.entry(connection).or_default().push_back(sequence);
                }
                Ok(())
            }
        }
    }

    fn done(&mut self, sequence: u64) -> Result<(), Violation> {
        let Some(message) = self.messages.get(&sequence) else { return Ok(()) };
        if message.sent < message.total {
            return Err(Violation("acknowledges a message that was not sent"));
        }
        self.bytes -= message.total;
        self.messages.remove(&sequence);
        self.unasked.remove(&sequence);
        Ok(())
    }
}

/// `length` bytes from `offset` on of pieces that follow one another.
fn pieces(parts: &[Bytes; 2], offset: u64, length: u64) -> [Bytes; 2] {
    let mut from = usize::try_from(offset).unwrap_or(usize::MAX);
    let mut left = usize::try_from(length).unwrap_or(usize::MAX);
    parts.each_ref().map(|part| {
        let begin = from.min(part.len());
        let end = (begin + left).min(part.len());
        from -= begin;
        left -= end - begin;
        part.slice(begin..end)
    })
}
