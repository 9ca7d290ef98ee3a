//! What was sent, what became of it, and whether that is as docs/wire.md says.

use std::collections::BTreeMap;
use std::time::Duration;

use strongroom_wire::{CallError, Fate};
use tokio::time::Instant;

/// The end of a process explains what becomes of messages for so long after it: until whoever sends hears of it.
const EXPLAINS: Duration = Duration::from_secs(150);

/// How a message was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    Send,
    /// With this key, and this number among its sender's.
    InOrder(u8, u64),
    Call,
    Cast,
    /// Kept on disk.
    Spooled,
}

/// What its sender was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Fate(Fate),
    Reply(Result<(), CallError>),
    /// It was not taken in.
    Refused(CallError),
    /// The sender went before it could hear.
    Nothing,
    /// Nobody wanted to hear.
    Cancelled,
}

/// A message, and what became of it.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) how: How,
    pub(crate) from: (usize, u64),
    pub(crate) to: usize,
    pub(crate) bytes: usize,
    pub(crate) at: Instant,
    pub(crate) deadline: Option<Duration>,
    pub(crate) told: Option<(Instant, Told)>,
    /// In which lives of the receiver, and whether the handler was told that it may not be the first.
    pub(crate) handled: Vec<(u64, bool)>,
}

/// A strand of messages: from whom, to whom, with which key.
type Strand = ((usize, u64), (usize, u64), u8);

#[derive(Default)]
pub(crate) struct Ledger {
    pub(crate) sent: Vec<Sent>,
    /// When each life of each node ended.
    pub(crate) ends: Vec<Vec<Instant>>,
    last: BTreeMap<Strand, u64>,
    /// What was seen to be wrong at once.
    pub(crate) wrong: Option<String>,
}

impl Ledger {
    /// A message is about to be sent. Returns its number.
    pub(crate) fn begin(
        &mut self,
        how: How,
        from: (usize, u64),
        to: usize,
        bytes: usize,
        deadline: Option<Duration>,
    ) -> u64 {
        let at = Instant::now();
        let sent = Sent { how, from, to, bytes, at, deadline, told: None, handled: Vec::new() };
        self.sent.push(sent);
        self.sent.len() as u64 - 1
    }

    pub(crate) fn told(&mut self, number: u64, told: Told) {
        if let Some(sent) = self.sent.get_mut(number as usize)
            && let Some(before) = sent.told.replace((Instant::now(), told))
        {
            self.complain(format!("message {number} was told of twice, first {before:?}"));
        }
    }

    /// A handler begins with a message.
    pub(crate) fn handled(
        &mut self,
        number: u64,
        from: usize,
        to: (usize, u64),
        redelivered: bool,
    ) {
        let Some(sent) = self.sent.get_mut(number as usize) else {
            return self.complain(format!("message {number} came, and was never sent"));
        };
        if (sent.from.0, sent.to) != (from, to.0) {
            let why = format!("message {number} came from {from} to {}: {sent:?}", to.0);
            return self.complain(why);
        }
        sent.handled.push((to.1, redelivered));
        if let How::InOrder(key, place) = sent.how {
            let strand = (sent.from, to, key);
            let last = self.last.insert(strand, place);
            if last.is_some_and(|last| place != last + 1) {
                self.complain(format!("of {strand:?} {place} was handled after {last:?}"));
            }
        }
    }

    pub(crate) fn complain(&mut self, why: String) {
        self.wrong.get_or_insert(why);
    }

    /// Whether a life of this node ended while something was under way that began at one time and ended at another.
    fn ended(&self, node: usize, from: Instant, to: Instant) -> bool {
        self.ends[node].iter().any(|end| *end + EXPLAINS >= from && *end <= to)
    }

    /// Messages of which something has still to be heard.
    pub(crate) fn open(&self) -> impl Iterator<Item = (usize, &Sent)> {
        self.sent.iter().enumerate().filter(|(_, sent)| {
            let unheard = sent.told.is_none();
            unheard || (sent.handled.is_empty() && self.must_be_handled(sent))
        })
    }

    /// Whether a message has to be handled in the end.
    fn must_be_handled(&self, sent: &Sent) -> bool {
        let lives = !self.ended(sent.from.0, sent.at, Instant::now())
            && !self.ended(sent.to, sent.at, Instant::now());
        match (sent.how, &sent.told) {
            (How::Cast, Some((_, Told::Nothing))) => lives,
            (How::Spooled, Some((_, told))) => *told != Told::Cancelled,
            (How::Send | How::InOrder(..), Some((_, Told::Fate(Fate::Delivered)))) => lives,
            _ => false,
        }
    }

    /// Whether everything is as it should be, in the end.
    pub(crate) fn check(&self) -> Result<(), String> {
        if let Some(wrong) = &self.wrong {
            return Err(wrong.clone());
        }
        for (number, sent) in self.sent.iter().enumerate() {
            self.check_one(sent).map_err(|why| format!("message {number} {why}: {sent:?}"))?;
        }
        Ok(())
    }

    fn check_one(&self, sent: &Sent) -> Result<(), &'static str> {
        let Some((when, told)) = &sent.told else { return Err("was never told of") };
        let (times, ordered) = (sent.handled.len(), matches!(sent.how, How::InOrder(..)));
        let receiver_ended = self.ended(sent.to, sent.at, *when);
        let ended_since = self.ended(sent.to, sent.at, Instant::now())
            || self.ended(sent.from.0, sent.at, Instant::now());
        let sender_ended = self.ends[sent.from.0].iter().any(|end| (sent.at..=*when).contains(end));
        if sent.how == How::Spooled {
            let told_so = sent.handled.iter().skip(1).all(|(_, redelivered)| *redelivered);
            let lives: std::collections::BTreeSet<u64> =
                sent.handled.iter().map(|(life, _)| *life).collect();
            if !told_so || lives.len() != times {
                return Err("was handled again, and nobody was told");
            }
        } else if times > 1 {
            return Err("was handled twice");
        }
        match told {
            // What waits for its turn ends with the process that has it, or that would have sent what is before it.
            Told::Fate(Fate::Delivered) if times == 0 && !(ordered && ended_since) => {
                Err("was said to be delivered, and was not handled")
            }
            Told::Fate(Fate::Uncertain) if !receiver_ended && !sender_ended => {
                Err("became uncertain, and no process ended")
            }
            Told::Fate(Fate::TooLarge) => Err("was too large"),
            Told::Reply(Ok(())) if times != 1 => Err("was answered, and not handled"),
            Told::Reply(Err(CallError::Failed(_) | CallError::Panicked(_))) if times != 1 => {
                Err("failed, and was not handled")
            }
            Told::Reply(Err(CallError::Restarted)) if !receiver_ended => {
                Err("has lost its handler, and no process ended")
            }
            Told::Reply(Err(CallError::Closed)) | Told::Refused(CallError::Closed)
                if !sender_ended =>
            {
                Err("was refused by a node that is not closed")
            }
            Told::Reply(Err(CallError::Deadline))
                if sent.deadline.is_none_or(|deadline| *when < sent.at + deadline) =>
            {
                Err("was given up before its deadline")
            }
            Told::Reply(_)
                if sent
                    .deadline
                    .is_some_and(|d| *when > sent.at + d + Duration::from_millis(5)) =>
            {
                Err("was waited for after its deadline")
            }
            Told::Reply(Err(CallError::Nonsense(_) | CallError::NoSuchName(_))) => {
                Err("had an answer to something else")
            }
            Told::Refused(_) if times > 0 => Err("was refused, and handled"),
            _ if times == 0 && self.must_be_handled(sent) => Err("was lost"),
            _ => Ok(()),
        }
    }
}
