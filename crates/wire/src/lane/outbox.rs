//! The sending half of a lane.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use super::{Connection, MESSAGES_AHEAD_MAX, MESSAGES_WAITING_MAX, TURNS_MAX, Violation, cost};
use crate::frame::{Head, SEQUENCES_MAX};

/// Messages that were given to a lane and not yet handed on by the peer. With each its owner's note stays, which
/// comes back when the message is done.
pub struct Outbox<N> {
    /// The number of the next message that is begun.
    next: u64,
    /// Those that were begun, by number from `first` on; `None` where one was handed on.
    begun_messages: VecDeque<Option<Outgoing<N>>>,
    /// Not begun, in the order in which they came; `None` where one was withdrawn.
    waiting: VecDeque<Option<Waiting<N>>>,
    /// The ticket of the first of `waiting`.
    first_ticket: u64,
    /// Those whose connection is gone, and which were not asked for yet.
    unasked: BTreeSet<u64>,
    /// The number of the last question.
    question: u64,
    /// On each connection those that are being sent, in turn.
    turns: BTreeMap<Connection, VecDeque<u64>>,
    /// Bytes that the peer lets us begin, and those that we began, since the lane's beginning.
    limit: u64,
    begun: u64,
    /// Of what counts as begun, what was given back; and whether the peer may not have heard that.
    unused: u64,
    unused_untold: bool,
    /// The last `least` that was said to be wanted.
    wanted: u64,
    /// What counted as begun when it was last looked; and whether what was left was given back since.
    begun_before: u64,
    rested: bool,
    /// What messages count that were not begun.
    waiting_bytes: u64,
    /// What all messages count, and how many of them there are.
    bytes: u64,
    messages: usize,
    bytes_max: u64,
    /// Bytes of one message at most.
    message_max: u64,
    chunk_bytes: u32,
    closed: bool,
}

struct Waiting<N> {
    parts: [Bytes; 2],
    total: u64,
    note: N,
}

struct Outgoing<N> {
    parts: [Bytes; 2],
    total: u64,
    note: N,
    /// From where to go on.
    offset: u64,
    /// How far it was ever sent.
    sent: u64,
    stage: Stage,
}

/// A message that waits, by which it can be withdrawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
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
    /// So much credit is wanted.
    Want {
        /// For the next message.
        least: u64,
        /// For all that wait.
        most: u64,
    },
    /// So much credit was given back, since the lane's beginning.
    Back(u64),
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
    /// For good.
    #[error("this node is closed")]
    Closed,
}

impl<N> Outbox<N> {
    /// An empty one, which holds messages that count up to `bytes_max` bytes, of up to `message_max` each: half the
    /// window of the peer's inbox. It sends `chunk_bytes` of one before another takes its turn:
    /// [`CHUNK_BYTES`](super::CHUNK_BYTES), but for tests.
    pub fn new(bytes_max: u64, message_max: u64, chunk_bytes: u32) -> Outbox<N> {
        Outbox {
            next: 0,
            begun_messages: VecDeque::new(),
            waiting: VecDeque::new(),
            first_ticket: 0,
            unasked: BTreeSet::new(),
            question: 0,
            turns: BTreeMap::new(),
            limit: 0,
            begun: 0,
            unused: 0,
            unused_untold: false,
            wanted: 0,
            begun_before: 0,
            rested: false,
            waiting_bytes: 0,
            bytes: 0,
            messages: 0,
            bytes_max,
            message_max,
            chunk_bytes,
            closed: false,
        }
    }

    /// Takes a message in: two pieces that follow one another, not both empty.
    ///
    /// # Errors
    /// [`Refused`], where nothing was taken in; the note comes back with it.
    pub fn push(&mut self, parts: [Bytes; 2], note: N) -> Result<Ticket, (Refused, N)> {
        let total = total(&parts);
        if self.closed {
            return Err((Refused::Closed, note));
        }
        if total == 0 {
            return Err((Refused::Empty, note));
        }
        // The peer would take it for an attack, and nothing behind it would ever arrive.
        if total > self.message_max {
            return Err((Refused::TooLarge { bytes: total, max: self.message_max }, note));
        }
        let full = self.bytes > 0 && self.bytes + cost(total) > self.bytes_max;
        if full || self.waiting.len() >= MESSAGES_WAITING_MAX {
            return Err((Refused::Full { bytes: self.bytes, max: self.bytes_max }, note));
        }
        self.bytes += cost(total);
        self.waiting_bytes += cost(total);
        self.messages += 1;
        self.waiting.push_back(Some(Waiting { parts, total, note }));
        Ok(Ticket(self.first_ticket + self.waiting.len() as u64 - 1))
    }

    /// Takes a message back that was not begun. `None` where it was.
    pub fn withdraw(&mut self, ticket: Ticket) -> Option<N> {
        let at = usize::try_from(ticket.0.checked_sub(self.first_ticket)?).ok()?;
        let waiting = self.waiting.get_mut(at)?.take()?;
        self.waiting_bytes -= cost(waiting.total);
        self.left(waiting.total);
        self.trim_waiting();
        Some(waiting.note)
    }

    /// What messages count that are not yet handed on.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Messages that are not yet handed on.
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Whether all was handed on.
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The peer grants credit. What was granted before is never taken back.
    pub fn credit(&mut self, limit: u64) {
        self.limit = self.limit.max(limit);
    }

    /// Bytes that one message may have, as the peer says now. What waits and has more is given to `instead`, with its bytes, and
    /// goes; or what that returns waits in its place.
    pub fn set_message_max(
        &mut self,
        message_max: u64,
        mut instead: impl FnMut(N, u64) -> Option<([Bytes; 2], N)>,
    ) {
        self.message_max = message_max;
        for place in &mut self.waiting {
            let Some(large) = place.take_if(|waiting| waiting.total > message_max) else {
                continue;
            };
            self.bytes -= cost(large.total);
            self.waiting_bytes -= cost(large.total);
            self.messages -= 1;
            if let Some((parts, note)) = instead(large.note, large.total) {
                let total = total(&parts);
                self.bytes += cost(total);
                self.waiting_bytes += cost(total);
                self.messages += 1;
                *place = Some(Waiting { parts, total, note });
            }
        }
        self.trim_waiting();
    }

    /// Takes nothing in any more. What was under way is given up: returns its notes.
    pub fn close(&mut self) -> Vec<N> {
        self.closed = true;
        self.restart(|_| false)
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Bytes that may be begun now.
    pub fn credit_left(&self) -> u64 {
        self.limit - self.begun
    }

    /// A connection is there.
    pub fn join(&mut self, connection: Connection) {
        self.turns.entry(connection).or_default();
        self.tell_again();
    }

    /// What was said of credit may be lost.
    fn tell_again(&mut self) {
        self.wanted = 0;
        self.unused_untold = self.unused > 0;
    }

    /// To be called now and then. If nothing was begun since the last time, and nothing is under way, credit that is not used is given
    /// back. Returns whether there is that to be told.
    pub fn rest(&mut self) -> bool {
        let quiet = self.messages == 0 && self.begun == self.begun_before;
        let idle = quiet && !self.rested && self.limit > self.begun;
        if idle {
            self.rested = true;
            self.unused += self.limit - self.begun;
            self.begun = self.limit;
            self.unused_untold = true;
        }
        self.begun_before = self.begun;
        idle
    }

    /// A connection is gone, and with it the knowledge of what arrived by it.
    pub fn lost(&mut self, connection: Connection) {
        self.turns.remove(&connection);
        self.tell_again();
        let first = self.first();
        for (sequence, message) in (first..).zip(&mut self.begun_messages) {
            let Some(message) = message else { continue };
            if [Stage::On(connection), Stage::Asked(connection)].contains(&message.stage) {
                message.stage = Stage::Lost;
                self.unasked.insert(sequence);
            }
        }
    }

    /// The peer's process was started anew, and knows nothing of what was: the lane begins from its beginning. Of what
    /// was begun nobody can say whether it was handed on; returns its notes, and those of what waits and is not to be kept. The
    /// rest waits on.
    pub fn restart(&mut self, keep: impl Fn(&N) -> bool) -> Vec<N> {
        let mut notes = Vec::new();
        for message in std::mem::take(&mut self.begun_messages).into_iter().flatten() {
            self.left(message.total);
            notes.push(message.note);
        }
        let mut given_up = Vec::new();
        for waiting in &mut self.waiting {
            given_up.extend(waiting.take_if(|waiting| !keep(&waiting.note)));
        }
        for waiting in given_up {
            self.waiting_bytes -= cost(waiting.total);
            self.left(waiting.total);
            notes.push(waiting.note);
        }
        self.trim_waiting();
        self.unasked.clear();
        self.turns.clear();
        (self.next, self.question, self.limit, self.begun) = (0, 0, 0, 0);
        (self.unused, self.unused_untold) = (0, false);
        (self.wanted, self.begun_before, self.rested) = (0, 0, false);
        notes
    }

    /// The notes of what waits and was not begun.
    pub fn waiting(&self) -> impl Iterator<Item = &N> {
        self.waiting.iter().flatten().map(|waiting| &waiting.note)
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
                if let Some(message) = self.message(sequence) {
                    message.stage = Stage::Asked(connection);
                    sequences.push(sequence);
                }
            }
            if !sequences.is_empty() {
                self.question += 1;
                return Some(Sending::Where(self.question, sequences));
            }
        }
        if std::mem::take(&mut self.unused_untold) {
            return Some(Sending::Back(self.unused));
        }
        if let Some(want) = self.begin(connection) {
            return Some(want);
        }
        let chunk_bytes = self.chunk_bytes;
        loop {
            let sequence = self.turns.get_mut(&connection)?.pop_front()?;
            // It may have been handed on meanwhile, and its place given away.
            let Some(message) = self.message(sequence) else { continue };
            if message.stage != Stage::On(connection) {
                continue;
            }
            let length = (message.total - message.offset).min(chunk_bytes.into());
            let (offset, total) = (message.offset, message.total);
            let pieces = pieces(&message.parts, offset, length);
            message.offset += length;
            message.sent = message.sent.max(message.offset);
            if message.offset < total {
                self.turns.get_mut(&connection)?.push_back(sequence);
            }
            let length = u32::try_from(length).unwrap_or(chunk_bytes);
            return Some(Sending::Data(Head { sequence, offset, total, length }, pieces));
        }
    }

    /// Gives a connection its part of what waits, as far as credit allows. Only here a message has its number, so that
    /// one that is withdrawn leaves no gap. Returns what is to be said if there is too little.
    fn begin(&mut self, connection: Connection) -> Option<Sending> {
        let turns = self.turns.get_mut(&connection)?;
        while turns.len() < TURNS_MAX
            && let Some(Some(waiting)) = self.waiting.front()
        {
            if self.begun_messages.len() as u64 >= MESSAGES_AHEAD_MAX {
                return None;
            }
            let least = self.begun.saturating_add(cost(waiting.total));
            if least > self.limit {
                let more = least > self.wanted;
                self.wanted = self.wanted.max(least);
                let most = self.begun.saturating_add(self.waiting_bytes);
                return more.then_some(Sending::Want { least, most });
            }
            let Waiting { parts, total, note } = self.waiting.pop_front()??;
            self.first_ticket += 1;
            self.waiting_bytes -= cost(total);
            self.rested = false;
            self.begun += cost(total);
            let stage = Stage::On(connection);
            let message = Outgoing { parts, total, note, offset: 0, sent: 0, stage };
            self.begun_messages.push_back(Some(message));
            turns.push_back(self.next);
            self.next += 1;
            // Those behind it that were withdrawn.
            while let Some(None) = self.waiting.front() {
                self.waiting.pop_front();
                self.first_ticket += 1;
            }
        }
        None
    }

    /// The peer handed messages on: all below `below`, and those of `also`. Gives `done` the notes of those that
    /// were not known to be, and their bytes, which may take time to let go of.
    ///
    /// # Errors
    /// [`Violation`] where one of them was never sent whole.
    pub fn ack(
        &mut self,
        below: u64,
        also: &[u64],
        done: &mut impl FnMut(N, [Bytes; 2]),
    ) -> Result<(), Violation> {
        if below > self.next {
            return Err(Violation("acknowledges messages that do not exist"));
        }
        for sequence in self.first()..below {
            self.done(sequence, done)?;
        }
        also.iter().try_for_each(|sequence| self.done(*sequence, done))
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
        done: &mut impl FnMut(N, [Bytes; 2]),
    ) -> Result<(), Violation> {
        let exists = sequence < self.next;
        let Some(message) = self.message(sequence) else {
            // Acknowledged since; an answer is then of no use.
            return match exists {
                true => Ok(()),
                false => Err(Violation("answers for a message that does not exist")),
            };
        };
        if message.stage != Stage::Asked(connection) {
            return Err(Violation("answers what was not asked"));
        }
        match offset {
            None => self.done(sequence, done),
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

    fn done(
        &mut self,
        sequence: u64,
        done: &mut impl FnMut(N, [Bytes; 2]),
    ) -> Result<(), Violation> {
        let first = self.first();
        let Some(at) = sequence.checked_sub(first).and_then(|at| usize::try_from(at).ok()) else {
            return Ok(());
        };
        let Some(place) = self.begun_messages.get_mut(at) else { return Ok(()) };
        let Some(message) = place.take_if(|message| message.sent == message.total) else {
            return match place {
                None => Ok(()),
                Some(_) => Err(Violation("acknowledges a message that was not sent")),
            };
        };
        while matches!(self.begun_messages.front(), Some(None)) {
            self.begun_messages.pop_front();
        }
        self.left(message.total);
        self.unasked.remove(&sequence);
        done(message.note, message.parts);
        Ok(())
    }

    /// The number of the first message that is begun and not handed on.
    fn first(&self) -> u64 {
        self.next - self.begun_messages.len() as u64
    }

    fn message(&mut self, sequence: u64) -> Option<&mut Outgoing<N>> {
        let at = usize::try_from(sequence.checked_sub(self.first())?).ok()?;
        self.begun_messages.get_mut(at)?.as_mut()
    }

    fn left(&mut self, total: u64) {
        self.bytes -= cost(total);
        self.messages -= 1;
    }

    fn trim_waiting(&mut self) {
        while matches!(self.waiting.front(), Some(None)) {
            self.waiting.pop_front();
            self.first_ticket += 1;
        }
    }
}

fn total(parts: &[Bytes; 2]) -> u64 {
    parts.iter().map(|part| part.len() as u64).sum()
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
