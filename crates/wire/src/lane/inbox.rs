//! The receiving half of a lane.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Account, Connection, MESSAGES_AHEAD_MAX, Violation, cost};
use crate::frame::{Frame, Head, SEQUENCES_MAX};

/// Messages of a lane that arrive.
pub struct Inbox {
    /// All below were handed on.
    below: u64,
    /// Those above that were handed on, too.
    handed: BTreeSet<u64>,
    messages: BTreeMap<u64, Incoming>,
    /// What is to be acknowledged on each connection.
    acks: BTreeMap<Connection, Acks>,
    /// Bytes that were granted, and those that were begun, since the lane's beginning.
    limit: u64,
    begun: u64,
    /// Whether the peer may not have heard of `limit`.
    untold: bool,
    /// Bytes of messages that were begun and are not released, and how many there may be.
    held: u64,
    window: u64,
    /// Of the window, what is the lane's own.
    own: u64,
    /// From which the rest comes.
    account: Account,
    /// Credit that the peer wants: for its next message, and for all that wait with it.
    wanted: (u64, u64),
    /// What the peer gave back.
    unused: u64,
    /// It gave back all that it had, and began nothing since: it does not need much.
    modest: bool,
    duplicates: u64,
}

/// What is to be acknowledged on a connection.
#[derive(Default)]
struct Acks {
    /// Anything at all.
    due: bool,
    /// What `below` does not say.
    also: Vec<u64>,
}

struct Incoming {
    /// From where its bytes are taken, and on which its acknowledgement goes.
    from: Connection,
    /// The last question about it.
    question: u64,
    stage: Stage,
}

enum Stage {
    /// Asked for, and nothing of it is there.
    Nothing,
    Arriving(Arc<Slot>),
    /// Given out to be handed on; of so many bytes.
    Out(u64),
}

/// A message that is whole.
#[derive(Debug)]
pub struct Whole {
    /// Its number.
    pub sequence: u64,
    /// Its bytes, and behind them what else the memory holds.
    pub buffer: Vec<u8>,
    /// How many bytes are its own.
    pub length: usize,
}

/// Where the bytes of a message gather. Whoever receives on a connection writes to it without the inbox.
pub struct Slot {
    total: u64,
    state: Mutex<SlotState>,
}

struct SlotState {
    from: Connection,
    have: u64,
    buffer: Vec<u8>,
}

impl Slot {
    /// Lets `write` put the message's next bytes at the beginning of a slice, and say how many they are, which
    /// is returned; what else it writes there is of no matter. `None` where the message goes on elsewhere since: the bytes are to be
    /// dropped.
    pub fn write<E>(
        &self,
        connection: Connection,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Option<Result<usize, E>> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.from != connection {
            return None;
        }
        let have = usize::try_from(state.have).unwrap_or(usize::MAX);
        let room = state.buffer.get_mut(have..).unwrap_or_default();
        let written = write(room);
        if let Ok(written) = &written {
            state.have += *written as u64;
            debug_assert!(state.have <= self.total, "frames end with their message");
        }
        Some(written)
    }

    fn have(&self) -> u64 {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).have
    }

    /// Takes nothing more from any other connection. Returns how much is there.
    fn move_to(&self, connection: Connection) -> u64 {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.from = connection;
        state.have
    }

    fn take(&self, sequence: u64) -> Whole {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let buffer = std::mem::take(&mut state.buffer);
        let length = usize::try_from(self.total).unwrap_or(usize::MAX).min(buffer.len());
        Whole { sequence, buffer, length }
    }
}

/// Where the bytes of a frame go.
pub enum Place {
    /// Into this slot; then [`Inbox::arrived`] wants to know.
    Into(Arc<Slot>),
    /// Nowhere: they are there already, or come from where nothing is taken any more.
    Skip,
}

/// What is to be done with a message that came whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Small {
    /// It is handed on at once: it counts as that, and is acknowledged from now on.
    HandOn,
    /// It was handed on before.
    Skip,
    /// Something is known of it: it goes the way of those that come in pieces ([`Inbox::data`]).
    Known,
}

impl Inbox {
    /// An empty one, for messages that count `window` bytes in all, and have half of that each at most. Of that `own` bytes are its
    /// own, the rest is promised out of the account.
    pub fn new(window: u64, own: u64, account: Account) -> Inbox {
        Inbox {
            below: 0,
            handed: BTreeSet::new(),
            messages: BTreeMap::new(),
            acks: BTreeMap::new(),
            limit: 0,
            begun: 0,
            untold: false,
            held: 0,
            window,
            own: own.min(window),
            account,
            wanted: (0, 0),
            unused: 0,
            modest: false,
            duplicates: 0,
        }
    }

    /// A frame of data begins on this connection. `buffer` gives memory for a new message: at least as many bytes
    /// as it is told, whatever they hold.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn data(
        &mut self,
        connection: Connection,
        head: &Head,
        buffer: impl FnOnce(u64) -> Vec<u8>,
    ) -> Result<Place, Violation> {
        let sequence = head.sequence;
        if self.is_handed(sequence) {
            self.duplicates += 1;
            return Ok(Place::Skip);
        }
        self.near(sequence)?;
        match self.messages.get(&sequence) {
            Some(incoming) if incoming.from != connection => return Ok(Place::Skip),
            Some(Incoming { stage: Stage::Arriving(slot), .. }) => {
                if slot.total != head.total || slot.have() != head.offset {
                    return Err(Violation("leaves out bytes of a message"));
                }
                return Ok(Place::Into(slot.clone()));
            }
            Some(Incoming { stage: Stage::Out(_), .. }) => {
                return Err(Violation("sends more of a message than there is"));
            }
            Some(Incoming { stage: Stage::Nothing, .. }) | None => {}
        }
        self.begin(head)?;
        let state = SlotState { from: connection, have: 0, buffer: buffer(head.total) };
        debug_assert!(state.buffer.len() as u64 >= head.total);
        let slot = Arc::new(Slot { total: head.total, state: Mutex::new(state) });
        let stage = Stage::Arriving(slot.clone());
        let question = self.messages.get(&sequence).map_or(0, |incoming| incoming.question);
        self.messages.insert(sequence, Incoming { from: connection, question, stage });
        Ok(Place::Into(slot))
    }

    /// A message that came whole in one frame, and what is to be done with it.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn small(&mut self, connection: Connection, head: &Head) -> Result<Small, Violation> {
        let sequence = head.sequence;
        if self.is_handed(sequence) {
            self.duplicates += 1;
            return Ok(Small::Skip);
        }
        if self.messages.contains_key(&sequence) {
            return Ok(Small::Known);
        }
        self.near(sequence)?;
        self.begin(head)?;
        self.acknowledge(connection, sequence);
        Ok(Small::HandOn)
    }

    /// A message begins: it counts whole from now on.
    fn begin(&mut self, head: &Head) -> Result<(), Violation> {
        if head.offset != 0 {
            return Err(Violation("leaves out the beginning of a message"));
        }
        if head.total > self.window / 2 {
            return Err(Violation("sends a message that is too large"));
        }
        if self.begun.saturating_add(cost(head.total)) > self.limit {
            return Err(Violation("begins more than it has credit for"));
        }
        self.begun += cost(head.total);
        self.held += cost(head.total);
        self.modest = false;
        Ok(())
    }

    /// Bytes were written to a message's slot. Returns the message if it is whole, to be handed on now.
    pub fn arrived(&mut self, sequence: u64) -> Option<Whole> {
        let incoming = self.messages.get_mut(&sequence)?;
        let Stage::Arriving(slot) = &incoming.stage else { return None };
        if slot.have() != slot.total {
            return None;
        }
        let whole = slot.take(sequence);
        incoming.stage = Stage::Out(slot.total);
        Some(whole)
    }

    /// A message was handed on: it is acknowledged, and never handed on again.
    pub fn handed_on(&mut self, sequence: u64) {
        let Some(incoming) = self.messages.remove(&sequence) else { return };
        debug_assert!(matches!(incoming.stage, Stage::Out(_)));
        self.acknowledge(incoming.from, sequence);
    }

    fn acknowledge(&mut self, connection: Connection, sequence: u64) {
        let acks = self.acks.get_mut(&connection);
        if sequence == self.below {
            self.below += 1;
            while !self.handed.is_empty() && self.handed.remove(&self.below) {
                self.below += 1;
            }
        } else {
            self.handed.insert(sequence);
        }
        if let Some(acks) = acks {
            acks.due = true;
            if sequence >= self.below {
                acks.also.push(sequence);
            }
            // A peer that does not listen on this connection shall not have numbers kept for good.
            if acks.also.len() as u64 > MESSAGES_AHEAD_MAX {
                acks.also.retain(|sequence| *sequence >= self.below);
            }
        }
    }

    /// The peer's process was started anew: all begins from the beginning, but what is held stays held.
    pub fn restart(&mut self) {
        self.held -= self.under_way();
        (self.below, self.limit, self.begun, self.unused) = (0, 0, 0, 0);
        (self.untold, self.modest, self.wanted) = (false, false, (0, 0));
        self.handed.clear();
        self.messages.clear();
        self.acks.clear();
        self.account.leave();
        self.settle();
    }

    /// What messages count that are not yet handed on.
    fn under_way(&self) -> u64 {
        let counted = self.messages.values().map(|incoming| match &incoming.stage {
            Stage::Arriving(slot) => cost(slot.total),
            // Whoever hands it on releases it.
            Stage::Nothing | Stage::Out(_) => 0,
        });
        counted.sum()
    }

    /// What was handed on, and counts so much ([`cost`]), is no longer held by anybody.
    pub fn release(&mut self, bytes: u64) {
        self.held = self.held.saturating_sub(bytes);
        self.settle();
    }

    /// The peer wants so much credit.
    pub fn want(&mut self, least: u64, most: u64) {
        self.wanted = (self.wanted.0.max(least), self.wanted.1.max(most));
        self.modest = false;
    }

    /// The peer gave so much credit back, since the lane's beginning.
    ///
    /// # Errors
    /// [`Violation`] where it never had that.
    pub fn back(&mut self, unused: u64) -> Result<(), Violation> {
        let more = unused.saturating_sub(self.unused);
        if more > self.limit - self.begun {
            return Err(Violation("gives back credit that it does not have"));
        }
        if more > 0 {
            self.begun += more;
            self.unused = unused;
            self.modest = true;
            self.settle();
        }
        Ok(())
    }

    /// What is promised with this limit, beside what is the lane's own. A peer that cannot be reached can use no credit.
    fn promised(&self, limit: u64) -> u64 {
        let unused = if self.acks.is_empty() { 0 } else { limit.saturating_sub(self.begun) };
        (unused + self.held).saturating_sub(self.own)
    }

    /// Counts what is promised now.
    fn settle(&mut self) {
        let (promised, taken) = (self.promised(self.limit), self.account.taken());
        match promised.cmp(&taken) {
            Ordering::Less => self.account.give_back(taken - promised),
            Ordering::Equal => {}
            Ordering::Greater => self.account.force(promised - taken),
        }
    }

    /// A connection is there.
    pub fn join(&mut self, connection: Connection) {
        self.acks.entry(connection).or_default();
        self.untold = true;
        self.settle();
    }

    /// A connection is gone. What it brought stays; what it did not bring will be asked for.
    pub fn lost(&mut self, connection: Connection) {
        self.acks.remove(&connection);
        if self.acks.is_empty() {
            self.account.leave();
            self.settle();
        }
        // What it was to tell of credit may be lost.
        self.untold = true;
    }

    /// The peer asks how much of these messages is there; it goes on with them on this connection.
    ///
    /// # Errors
    /// [`Violation`].
    pub fn where_is(
        &mut self,
        connection: Connection,
        question: u64,
        sequences: &[u64],
    ) -> Result<Vec<Frame>, Violation> {
        let mut answers = Vec::with_capacity(sequences.len());
        for &sequence in sequences {
            let offset = if self.is_handed(sequence) {
                None
            } else {
                self.near(sequence)?;
                let nothing = || Incoming { from: connection, question, stage: Stage::Nothing };
                let incoming = self.messages.entry(sequence).or_insert_with(nothing);
                // A question that was overtaken: the connection on which it was asked is gone too.
                if question < incoming.question {
                    continue;
                }
                (incoming.from, incoming.question) = (connection, question);
                Some(match &incoming.stage {
                    Stage::Nothing => 0,
                    Stage::Arriving(slot) => slot.move_to(connection),
                    Stage::Out(bytes) => *bytes,
                })
            };
            answers.push(Frame::At { sequence, offset });
        }
        Ok(answers)
    }

    /// What is to be acknowledged on this connection now.
    pub fn ack(&mut self, connection: Connection) -> Option<Frame> {
        let acks = self.acks.get_mut(&connection).filter(|acks| acks.due)?;
        acks.also.retain(|sequence| *sequence >= self.below);
        acks.also.sort_unstable();
        let later = acks.also.split_off(acks.also.len().min(SEQUENCES_MAX));
        let also = std::mem::replace(&mut acks.also, later);
        acks.due = !acks.also.is_empty();
        Some(Frame::Ack { below: self.below, also })
    }

    /// The credit to be told now, on any connection: the rest of the window while there is plenty, else what the peer wants, or the
    /// lane's own.
    pub fn credit(&mut self) -> Option<Frame> {
        if !self.credit_is_due() {
            return None;
        }
        let (before, ceiling) = (self.limit, self.ceiling());
        let (least, most) = (self.wanted.0, self.wanted.1.max(self.wanted.0).min(ceiling));
        let own = self.begun + self.own.saturating_sub(self.held);
        let more = |limit: u64| self.promised(limit).saturating_sub(self.account.taken());
        let (least_more, most_more, all_more) =
            (more(least.min(ceiling)), more(most), more(ceiling));
        if ceiling > self.limit && !self.modest && self.account.take_of_plenty(all_more) {
            self.limit = ceiling;
        } else if least > self.limit && least > own && least <= ceiling {
            if self.account.take(least_more, most_more) {
                let taken =
                    self.begun + (self.own + self.account.taken()).saturating_sub(self.held);
                self.limit = most.min(taken);
            }
        } else if self.untold || least > self.limit || own >= self.limit + self.own / 2 {
            self.limit = self.limit.max(own);
        }
        self.settle();
        let told = self.untold || self.limit > before;
        self.untold = false;
        told.then_some(Frame::Credit { limit: self.limit })
    }

    /// Whether there may be credit to be told: not for every byte, but what is left is always enough for the largest
    /// message, or can be asked for.
    pub fn credit_is_due(&self) -> bool {
        let grown = self.ceiling() >= self.limit + self.window / 4;
        self.untold || self.modest || grown || self.wanted.0 > self.limit
    }

    /// The limit that the window allows.
    fn ceiling(&self) -> u64 {
        self.begun + self.window.saturating_sub(self.held)
    }

    /// Messages that came again after they had been handed on.
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// Bytes of messages that were begun and are not released.
    pub fn held(&self) -> u64 {
        self.held
    }

    fn is_handed(&self, sequence: u64) -> bool {
        sequence < self.below || self.handed.contains(&sequence)
    }

    /// Nothing is remembered of messages far ahead.
    fn near(&self, sequence: u64) -> Result<(), Violation> {
        match sequence - self.below < MESSAGES_AHEAD_MAX {
            true => Ok(()),
            false => Err(Violation("begins a message too far ahead")),
        }
    }
}
