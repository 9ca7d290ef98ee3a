//! A lane under every fault, simulated: connections that break at any byte, on each side at its own time, with bytes
//! on their way.
//!
//! ```text
//! cargo test --release -p strongroom-wire --test lanes -- [--seeds N] [--from N] [--plant BUG]
//! ```
//!
//! The gate tries 2,000 seeds, and that each planted bug is found.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::ExitCode;

use bytes::Bytes;
use strongroom_testkit::Random;
use strongroom_testkit::seeds::Campaign;
use strongroom_wire::frame::Frame;
use strongroom_wire::lane::{
    Account, Budget, Connection, Inbox, Outbox, Place, Sending, Slot, Small, Ticket, cost,
};

const WINDOW: u64 = 16_384;
const CHUNK_BYTES: u32 = 300;
const CONNECTIONS_MAX: usize = 3;
/// With which a message here begins.
const PLACE_BYTES: u64 = 8;
/// Bytes that a connection takes before its sender has to wait.
const PIPE_BYTES: usize = 2000;

/// Bugs that are made on purpose, in what drives the lane here, as a real driver could make them.
const PLANTS: [&str; 7] = [
    "drop-wants",
    "restart-without-failing",
    "no-fence",
    "unnumbered-questions",
    "resume-without-asking",
    "acknowledge-early",
    "drop-acknowledgements",
];

fn main() -> ExitCode {
    let campaign =
        Campaign { name: "lanes", plants: &PLANTS, seeds: 2000, seeds_for_a_plant: 60_000 };
    campaign.main(run, |counts: Counts, seeds| {
        let Counts { messages, bytes, breaks, resumed, late, .. } = counts;
        let Counts { withdrawn, restarts, uncertain, wants, backs, .. } = counts;
        println!(
            "lanes: {messages} messages, {bytes} bytes, {breaks} breaks, {resumed} messages gone on with in the \
             middle, {late} pieces that came late, {withdrawn} withdrawn, {restarts} restarts that left {uncertain} \
             uncertain; {wants} times credit was asked for, {backs} times given back"
        );
        let enough = breaks > seeds && resumed > seeds / 4 && late > seeds / 20;
        let asked = wants > 5 * seeds && backs > seeds / 10;
        match enough && asked && withdrawn > seeds / 20 && uncertain > seeds / 20 {
            true => Ok(()),
            false => Err("too little happened".into()),
        }
    })
}

#[derive(Default)]
struct Counts {
    messages: u64,
    bytes: u64,
    breaks: u64,
    resumed: u64,
    late: u64,
    withdrawn: u64,
    restarts: u64,
    uncertain: u64,
    wants: u64,
    backs: u64,
}

fn one_in(chance: &mut Random, n: u64) -> bool {
    chance.below(n) == 0
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    bytes: VecDeque<u8>,
}

/// What the receiving side knows of a stream: what came and is not understood yet, and the frame it is in.
#[derive(Default)]
struct Reading {
    there: Vec<u8>,
    within: Option<(u64, Option<std::sync::Arc<Slot>>, u32)>,
}

struct Link {
    /// Data, and what is said of them.
    there: Pipe,
    back: Pipe,
    reading: Reading,
    answers: Vec<u8>,
    /// What is under way takes long to arrive.
    slow: bool,
    broken: bool,
    sender_knows: bool,
    receiver_knows: bool,
}

struct Sim<'a> {
    chance: Random,
    plant: &'a str,
    counts: &'a mut Counts,
    outbox: Outbox<u64>,
    inbox: Inbox,
    links: BTreeMap<u64, Link>,
    next_link: u64,
    /// Each message begins with its place here.
    sent: Vec<Vec<u8>>,
    /// Those that wait, and may be withdrawn; and of those that were sent, what became of them.
    tickets: BTreeMap<u64, Ticket>,
    withdrawn: BTreeSet<u64>,
    done: BTreeSet<u64>,
    /// Nobody knows whether they were handed on.
    uncertain: BTreeSet<u64>,
    /// Out to be handed on: number on the lane, and bytes.
    out: Vec<(u64, Vec<u8>)>,
    /// What those count that were handed on and are still held.
    held: Vec<u64>,
    handed: BTreeSet<u64>,
    /// Out of which credit comes, and another lane that takes of it what it can get.
    budget: std::sync::Arc<Budget>,
    own: u64,
    other: Account,
    /// How far each message was sent on which connection: for a planted bug.
    resumed: BTreeMap<u64, u64>,
}

fn run(seed: u64, plant: &str, counts: &mut Counts) -> Result<(), String> {
    let mut chance = Random(seed);
    let messages = 5 + chance.below(60);
    // Faults end, so that everything must come to its end.
    let calm = chance.below(8000);
    // From just enough for the largest message to plenty.
    let budget = Budget::new(WINDOW / 2 + chance.below(4 * WINDOW));
    let own = [0, 2000, WINDOW / 2][chance.below(3) as usize];
    let account = |budget: &std::sync::Arc<Budget>| budget.account(std::sync::Arc::new(|| {}));
    let mut sim = Sim {
        plant,
        counts,
        outbox: Outbox::new(80_000, WINDOW / 2, CHUNK_BYTES),
        inbox: Inbox::new(WINDOW, own, account(&budget)),
        other: account(&budget),
        budget,
        own,
        links: BTreeMap::new(),
        next_link: 0,
        sent: Vec::new(),
        tickets: BTreeMap::new(),
        withdrawn: BTreeSet::new(),
        done: BTreeSet::new(),
        uncertain: BTreeSet::new(),
        out: Vec::new(),
        held: Vec::new(),
        handed: BTreeSet::new(),
        resumed: BTreeMap::new(),
        chance,
    };
    for step in 0..400_000u64 {
        sim.step(messages, step < calm)?;
        let all = sim.sent.len() as u64 == messages && sim.outbox.is_empty();
        if all && sim.out.is_empty() {
            return sim.check(messages);
        }
    }
    Err(format!(
        "stuck: {} of {messages} messages given, {} not acknowledged, {} handed on",
        sim.sent.len(),
        sim.outbox.len(),
        sim.handed.len()
    ))
}

impl Sim<'_> {
    fn step(&mut self, messages: u64, faults: bool) -> Result<(), String> {
        match self.chance.below(14) {
            12 => self.compete(faults),
            13 if one_in(&mut self.chance, 3) => {
                self.outbox.rest();
            }
            0 if (self.sent.len() as u64) < messages => match self.chance.below(12) {
                0 => self.withdraw(),
                _ => self.push(),
            },
            1 | 2 => self.write(),
            3..=5 => self.deliver()?,
            6 | 7 => self.deliver_back()?,
            8 => self.answer(),
            9 => self.hand_on()?,
            10 => self.release(),
            11 if faults && one_in(&mut self.chance, 300) => self.restart()?,
            11 if faults && one_in(&mut self.chance, 6) => self.fault(),
            11 => self.notice_or_open(),
            _ => {}
        }
        if self.inbox.held() > WINDOW {
            return Err(format!("{} bytes are held, of {WINDOW} that may be", self.inbox.held()));
        }
        Ok(())
    }

    fn push(&mut self) {
        let length = match self.chance.below(16) {
            0 => 1 + self.chance.below(WINDOW / 2 - PLACE_BYTES),
            1..4 => 1 + self.chance.below(2048),
            4..8 => 1 + self.chance.below(600),
            _ => 1 + self.chance.below(40),
        };
        let place = self.sent.len() as u64;
        let mut bytes = place.to_le_bytes().to_vec();
        bytes.extend((0..length).map(|_| self.chance.draw() as u8));
        let cut = self.chance.below(length + 1) as usize;
        let (one, other) = bytes.split_at(cut);
        let parts = [Bytes::copy_from_slice(one), Bytes::copy_from_slice(other)];
        if let Ok(ticket) = self.outbox.push(parts, place) {
            self.counts.messages += 1;
            self.counts.bytes += length;
            self.sent.push(bytes);
            self.tickets.insert(place, ticket);
        }
    }

    /// Takes back one of those that were sent last, if it was not begun.
    fn withdraw(&mut self) {
        let back = self.chance.below(8);
        let Some((_, ticket)) = self.tickets.iter().rev().nth(back as usize) else { return };
        let ticket = *ticket;
        if let Some(place) = self.outbox.withdraw(ticket) {
            self.counts.withdrawn += 1;
            self.tickets.remove(&place);
            self.withdrawn.insert(place);
        }
    }

    fn any(&mut self, which: impl Fn(&Link) -> bool) -> Option<u64> {
        let all: Vec<u64> = self.links.iter().filter(|(_, l)| which(l)).map(|(n, _)| *n).collect();
        (!all.is_empty()).then(|| all[self.chance.below(all.len() as u64) as usize])
    }

    /// The sender writes on a connection that it believes in.
    fn write(&mut self) {
        let Some(number) = self.any(|l| !l.sender_knows && l.there.bytes.len() < PIPE_BYTES) else {
            return;
        };
        let Some(sending) = self.outbox.next(Connection(number)) else { return };
        let mut bytes = Vec::new();
        match sending {
            Sending::Where(_, sequences) if self.plant == "resume-without-asking" => {
                for sequence in sequences {
                    let sent = self.resumed.get(&sequence).copied().unwrap_or(0);
                    let _ =
                        self.outbox.at(Connection(number), sequence, Some(sent), &mut |_, _| ());
                }
            }
            Sending::Want { least, most } => {
                self.counts.wants += 1;
                if self.plant != "drop-wants" || one_in(&mut self.chance, 2) {
                    Frame::Want { least, most }.write(&mut bytes);
                }
            }
            Sending::Back(unused) => {
                self.counts.backs += 1;
                Frame::Back { unused }.write(&mut bytes);
            }
            Sending::Where(question, sequences) => {
                let question = if self.plant == "unnumbered-questions" { 0 } else { question };
                Frame::Where { question, sequences }.write(&mut bytes)
            }
            Sending::Data(head, parts) => {
                Frame::Data(head).write(&mut bytes);
                parts.iter().for_each(|part| bytes.extend_from_slice(part));
                self.resumed.insert(head.sequence, head.offset + u64::from(head.length));
            }
        }
        if let Some(link) = self.links.get_mut(&number).filter(|link| !link.broken) {
            link.there.bytes.extend(bytes);
        }
    }

    /// Some of what is under way arrives, also on a connection that broke behind it.
    fn deliver(&mut self) -> Result<(), String> {
        let Some(number) = self.any(|l| !l.receiver_knows && !l.there.bytes.is_empty()) else {
            return Ok(());
        };
        if self.links.get(&number).is_some_and(|link| link.slow) && !one_in(&mut self.chance, 10) {
            return Ok(());
        }
        let count = 1 + self.chance.below(700) as usize;
        let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
        let count = count.min(link.there.bytes.len());
        let mut there = std::mem::take(&mut link.reading.there);
        there.extend(link.there.bytes.drain(..count));
        let mut input = &there[..];
        while let Some(link) = self.links.get_mut(&number) {
            if let Some((sequence, slot, left)) = &mut link.reading.within {
                let take = input.len().min(*left as usize);
                if take == 0 {
                    break;
                }
                let (now, later) = input.split_at(take);
                let sequence = *sequence;
                input = later;
                *left -= take as u32;
                let ended = *left == 0;
                if let Some(slot) = slot {
                    let put = |room: &mut [u8]| {
                        room[..now.len()].copy_from_slice(now);
                        Ok::<_, ()>(now.len())
                    };
                    let mut written = slot.write(Connection(number), put);
                    if written.is_none() {
                        self.counts.late += 1;
                        if self.plant == "no-fence" {
                            written = (0..self.next_link)
                                .find_map(|other| slot.write(Connection(other), put));
                        }
                    }
                    if written.is_some() {
                        let whole = self.inbox.arrived(sequence);
                        if let Some(whole) = whole {
                            if self.plant == "acknowledge-early" {
                                self.inbox.handed_on(whole.sequence);
                            }
                            let bytes = whole.buffer[..whole.length].to_vec();
                            self.out.push((whole.sequence, bytes));
                        }
                    }
                }
                if ended && let Some(link) = self.links.get_mut(&number) {
                    link.reading.within = None;
                }
                continue;
            }
            let parsed = Frame::parse(input).map_err(|e| format!("the receiver: {e}"))?;
            let Some((frame, length)) = parsed else { break };
            match frame {
                Frame::Data(head)
                    if head.total == u64::from(head.length)
                        && input.len() >= length + head.length as usize =>
                {
                    let end = length + head.length as usize;
                    let what = (self.inbox.small(Connection(number), &head))
                        .map_err(|e| format!("the receiver: {e}"))?;
                    let bytes = input[length..end].to_vec();
                    if what != Small::Known {
                        input = &input[end..];
                        match what {
                            Small::HandOn => self.hand(&bytes)?,
                            _ => self.counts.late += 1,
                        }
                        continue;
                    }
                }
                _ => {}
            }
            let Some(link) = self.links.get_mut(&number) else { break };
            input = &input[length..];
            match frame {
                Frame::Data(head) => {
                    let buffer = |total| vec![0xee; total as usize + 17];
                    let place = (self.inbox.data(Connection(number), &head, buffer))
                        .map_err(|e| format!("the receiver: {e}"))?;
                    let slot = match place {
                        Place::Into(slot) => Some(slot),
                        Place::Skip => {
                            self.counts.late += 1;
                            None
                        }
                    };
                    link.reading.within = Some((head.sequence, slot, head.length));
                }
                Frame::Where { question, sequences } => {
                    let answers = (self.inbox.where_is(Connection(number), question, &sequences))
                        .map_err(|e| format!("the receiver: {e}"))?;
                    for answer in answers {
                        if matches!(answer, Frame::At { offset: Some(1..), .. }) {
                            self.counts.resumed += 1;
                        }
                        answer.write(&mut link.answers);
                    }
                }
                Frame::Want { least, most } => self.inbox.want(least, most),
                Frame::Back { unused } => {
                    self.inbox.back(unused).map_err(|e| format!("the receiver: {e}"))?;
                }
                other => return Err(format!("the receiver got {other:?}")),
            }
        }
        let rest = input.to_vec();
        if let Some(link) = self.links.get_mut(&number) {
            link.reading.there = rest;
        }
        Ok(())
    }

    /// The receiver says what it has to, on a connection that it believes in.
    fn answer(&mut self) {
        let Some(number) = self.any(|l| !l.receiver_knows) else { return };
        let Some(link) = self.links.get_mut(&number) else { return };
        let mut bytes = std::mem::take(&mut link.answers);
        let ack = self.inbox.ack(Connection(number));
        let dropped = self.plant == "drop-acknowledgements" && one_in(&mut self.chance, 3);
        if let Some(frame) = ack.filter(|_| !dropped) {
            frame.write(&mut bytes);
        }
        if let Some(frame) = self.inbox.credit() {
            frame.write(&mut bytes);
        }
        if !link.broken {
            link.back.bytes.extend(bytes);
        }
    }

    fn deliver_back(&mut self) -> Result<(), String> {
        let Some(number) = self.any(|l| !l.sender_knows && !l.back.bytes.is_empty()) else {
            return Ok(());
        };
        let bytes: Vec<u8> = {
            let Some(link) = self.links.get_mut(&number) else { return Ok(()) };
            link.back.bytes.iter().copied().collect()
        };
        // A frame at a time; half of one never counts.
        let Some((frame, length)) = Frame::parse(&bytes).map_err(|e| format!("the sender: {e}"))?
        else {
            return Ok(());
        };
        if let Some(link) = self.links.get_mut(&number) {
            link.back.bytes.drain(..length);
        }
        let mut notes = Vec::new();
        let mut note = |place, _| notes.push(place);
        let done = match frame {
            Frame::Ack { below, also } => self.outbox.ack(below, &also, &mut note),
            Frame::Credit { limit } => {
                self.outbox.credit(limit);
                Ok(())
            }
            Frame::At { sequence, offset } => {
                self.outbox.at(Connection(number), sequence, offset, &mut note)
            }
            other => return Err(format!("the sender got {other:?}")),
        };
        for place in notes {
            self.tickets.remove(&place);
            if !self.done.insert(place) {
                return Err(format!("message {place} is done twice"));
            }
        }
        done.map_err(|e| format!("the sender: {e}"))
    }

    fn hand_on(&mut self) -> Result<(), String> {
        if self.out.is_empty() {
            return Ok(());
        }
        let (sequence, bytes) = self.out.remove(0);
        // The process may be slow here; a driver that acknowledged before would lose it.
        if self.plant == "acknowledge-early" && one_in(&mut self.chance, 4) {
            return Ok(());
        }
        self.hand(&bytes)?;
        self.inbox.handed_on(sequence);
        Ok(())
    }

    fn hand(&mut self, bytes: &[u8]) -> Result<(), String> {
        let place = u64::from_le_bytes(*bytes.first_chunk().ok_or("a message that is too short")?);
        if self.sent.get(place as usize).map(Vec::as_slice) != Some(bytes) {
            return Err(format!("message {place} is not what was sent"));
        }
        if self.withdrawn.contains(&place) {
            return Err(format!("message {place} was handed on, and had been withdrawn"));
        }
        if !self.handed.insert(place) {
            return Err(format!("message {place} was handed on twice"));
        }
        self.held.push(cost(bytes.len() as u64));
        Ok(())
    }

    /// The receiving process ends, and another is there: what it had not handed on is gone, and every connection.
    fn restart(&mut self) -> Result<(), String> {
        self.counts.restarts += 1;
        self.links.clear();
        let plant = self.plant == "restart-without-failing";
        let out = std::mem::take(&mut self.out);
        if one_in(&mut self.chance, 2) {
            self.held.clear();
            let account = self.budget.account(std::sync::Arc::new(|| {}));
            self.inbox = Inbox::new(WINDOW, self.own, account);
        } else {
            // Or only its knowledge of us is gone: what is being handed on is, and what it holds it holds.
            self.inbox.restart();
            for (_, bytes) in out {
                self.hand(&bytes)?;
            }
        }
        // Every seventh message is not to outlive the process that it was meant for.
        for place in self.outbox.restart(|place| !place.is_multiple_of(7)) {
            self.tickets.remove(&place);
            match plant {
                true => drop(self.done.insert(place)),
                false => drop(self.uncertain.insert(place)),
            }
            self.counts.uncertain += 1;
        }
        Ok(())
    }

    /// Another lane takes and gives back; in the end all of it.
    fn compete(&mut self, faults: bool) {
        let bytes = self.chance.below(WINDOW);
        match self.chance.below(4) {
            0 if faults => drop(self.other.take_of_plenty(bytes)),
            1 if faults => drop(self.other.take(bytes / 2, bytes)),
            2 if faults => {
                self.other.leave();
                self.other.give_back(bytes);
            }
            _ if !faults => {
                self.other.leave();
                self.other.give_back(u64::MAX);
            }
            _ => {}
        }
    }

    fn release(&mut self) {
        if let Some(bytes) = self.held.pop() {
            self.inbox.release(bytes);
        }
    }

    /// A connection breaks; of what is under way a part still arrives.
    fn fault(&mut self) {
        let Some(number) = self.any(|l| !l.broken) else { return };
        self.counts.breaks += 1;
        let Some(link) = self.links.get_mut(&number) else { return };
        link.broken = true;
        let there = self.chance.below(link.there.bytes.len() as u64 + 1) as usize;
        link.there.bytes.truncate(there);
        let back = self.chance.below(link.back.bytes.len() as u64 + 1) as usize;
        link.back.bytes.truncate(back);
    }

    /// A side notices that a connection broke, or a new one is opened.
    fn notice_or_open(&mut self) {
        let whole = self.links.values().filter(|l| !l.broken).count();
        if whole < CONNECTIONS_MAX && one_in(&mut self.chance, 3) {
            let number = self.next_link;
            self.next_link += 1;
            self.links.insert(
                number,
                Link {
                    there: Pipe::default(),
                    back: Pipe::default(),
                    reading: Reading::default(),
                    answers: Vec::new(),
                    slow: one_in(&mut self.chance, 3),
                    broken: false,
                    sender_knows: false,
                    receiver_knows: false,
                },
            );
            self.outbox.join(Connection(number));
            self.inbox.join(Connection(number));
            return;
        }
        let sender = one_in(&mut self.chance, 2);
        let unknown =
            |l: &Link| l.broken && !(if sender { l.sender_knows } else { l.receiver_knows });
        let Some(number) = self.any(unknown) else { return };
        let Some(link) = self.links.get_mut(&number) else { return };
        if sender {
            link.sender_knows = true;
            self.outbox.lost(Connection(number));
        } else {
            link.receiver_knows = true;
            self.inbox.lost(Connection(number));
        }
        if link.sender_knows && link.receiver_knows {
            self.links.remove(&number);
        }
    }

    fn check(&mut self, messages: u64) -> Result<(), String> {
        for place in 0..messages {
            let came = self.handed.contains(&place);
            let (done, uncertain) = (self.done.contains(&place), self.uncertain.contains(&place));
            let withdrawn = self.withdrawn.contains(&place);
            if usize::from(done) + usize::from(uncertain) + usize::from(withdrawn) != 1 {
                return Err(format!("what became of message {place} was not said, or twice"));
            }
            if done && !came {
                return Err(format!("message {place} is acknowledged, and was never handed on"));
            }
        }
        while !self.held.is_empty() {
            self.release();
        }
        match self.inbox.held() {
            0 => Ok(()),
            held => Err(format!("{held} bytes are held for nothing")),
        }
    }
}
