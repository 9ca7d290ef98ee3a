//! Who is a member, and who of them answers: SWIM (Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style
//! Process Group Membership Protocol", 2002) with suspicion and incarnations, and of Lifeguard (Dadgar, Phillips, Currey:
//! "Lifeguard: Local Health Awareness for More Accurate Failure Detection", 2018) what pays. No I/O, no thread and no
//! clock: a driver passes in what came and what time it is, and does the [`Action`]s.
//!
//! ```
//! # use std::time::Duration;
//! # use strongroom_wire::{NodeId, membership::*};
//! let me = NodeId([1; 32]);
//! let addresses = Addresses::new(["archive.example:7700"])?;
//! let mut now = Duration::ZERO; // since the process began, say
//! let unix_ms = 1_790_000_000_000;
//! let mut members = Membership::new(me, addresses, unix_ms, now, Settings::default(), 42);
//! members.join(NodeId([2; 32]), now);
//! while let Some(due) = members.next_due().filter(|due| *due < Duration::from_secs(60)) {
//!     now = due.max(now);
//!     for action in members.tick(now) {
//!         match action {
//!             Action::Send { to, bytes } => println!("{} bytes for {to}", bytes.len()),
//!             Action::Event(what, node) => println!("{node}: {what:?}"),
//!         }
//!     }
//! }
//! # Ok::<(), NoAddresses>(())
//! ```
//!
//! # The protocol
//!
//! - **A probe.** Once a period each member pings one other: all in turn, in an order that is drawn anew for every round. When
//!   no answer comes in time, it asks three others to ping that one too, who pass the answer on. So one broken path,
//!   in one direction or both, is not taken for a dead member.
//! - **Suspicion.** Who did not answer by the end of the period is suspected, and that is told. A suspect has time to deny it.
//!   The time shrinks with every further member that did not reach it either (Lifeguard).
//! - **Incarnations.** Of a member the greater incarnation is believed, and in the same one the worse state: alive, suspect,
//!   dead, left. So records merge to the same whatever the order in which they come. Only a member itself raises its
//!   incarnation: when it hears that it is suspected, or dead.
//! - **Rumours.** News travel beside pings and answers; there are no messages of their own for them. Each member tells a piece
//!   of news to as many others as a constant times the logarithm of their number. What a message tells first is what
//!   is known of its receiver, if that is not good (Lifeguard's buddy system): it can deny it in its answer.
//! - **Everything.** Two that hear from each other for the first time, or again after death, exchange all that they know,
//!   and so does a random pair now and then. A dead member that was told of so is only suspected by who
//!   believes it alive: two halves of a network that meet again do not bury each other.
//! - **The dead** are pinged now and then, for they may be behind a broken network that heals. What the dead tell of others
//!   is not believed: a member that can send and not hear would accuse everyone. Nor does one that hears of its own death
//!   tell on what it made of the silence before.
//! - **Health.** Who gets no answer, not even from those whom it asks for help, doubts itself, and probes more slowly and with
//!   more patience (Lifeguard's local health; here counted per probe, not per message that is missing). Who
//!   was stopped, and comes late to its own deadlines, takes nothing from that time for anyone's failure.
//!
//! # What a hostile member can do
//!
//! Who sends is known by its key; what it tells of others is not proven. A member of the network that is hostile can accuse
//! others, give them wrong addresses, or invent members; all of it ends when those concerned deny it or do not answer, and
//! begins again when it goes on. It cannot:
//!
//! - make this node hold more than [`MEMBERS_MAX`] members, [`RELAYS_MAX`] pings for others, and a rumour of each member. A
//!   member that speaks for itself takes the place of one that was never heard itself, or is gone, so that
//!   invented ones do not keep real ones out;
//! - put a member's incarnation where it cannot deny anything any more. An incarnation is a unix time in ms
//!   at which it began, or a little more; what others tell is not believed when it is more than
//!   [`INCARNATION_AHEAD_MS_MAX`] in the future, also by the member concerned. So what it must say to deny the worst accusation
//!   lies one beyond that limit, and as clocks differ, a member's own word is believed up to twice the limit;
//! - make it send many bytes for few: all that is known is sent to each at most once in [`EVERYTHING_GAP`].

mod message;
mod records;
mod rumours;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use message::Draft;
pub use message::{
    ADDRESS_BYTES_MAX, ADDRESSES_BYTES_MAX, ADDRESSES_MAX, Addresses, Body, MESSAGE_BYTES_MAX,
    Message, NoAddresses, NoGossip, RECORDS_MAX,
};
use records::Suspicion;
use rumours::Rumours;

use crate::NodeId;

/// Members that are known at most, the gone ones too.
pub const MEMBERS_MAX: usize = 4096;
/// Nodes that [`Membership::join`] keeps trying to reach at most.
pub const SEEDS_MAX: usize = 64;
/// Pings for others that are under way at most; what is asked beyond that is left undone.
pub const RELAYS_MAX: usize = 1024;
/// Pings for one other that are under way at most: an honest member waits for one probe at a time, and has given up the
/// one before it.
pub const RELAYS_PER_MEMBER_MAX: usize = 4;
/// How far in the future an incarnation may lie, in ms: a day, more than clocks differ that anyone looks after.
pub const INCARNATION_AHEAD_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// A member is sent all that is known at most once in this time.
pub const EVERYTHING_GAP: Duration = Duration::from_secs(1);
/// News are told this often, times the logarithm to base 2 of the number of members: SWIM's λ, which it finds good
/// enough at 3.
pub const TELLINGS: u32 = 3;
/// A suspect has at least this many periods to deny it, times the logarithm to base 2 of the number of members.
/// The news of it and the denial both spread in about that logarithm of periods with base 3.
pub const SUSPICION_PERIODS: u32 = 2;
/// However few members there are, it has this many: among two there is nobody else who could tell it.
pub const SUSPICION_PERIODS_MIN: u32 = 5;
/// A suspect of whom one other alone says so has so many times as long (Lifeguard's β; the paper tries 2 to 6).
pub const SUSPICION_PATIENCE: u32 = 4;
/// Further members that say so until the time is down to the least (Lifeguard's K).
pub const CONFIRMATIONS: usize = 3;
/// How bad a node's health can become: its periods are then this many times longer, and one (Lifeguard's S).
pub const HEALTH_MAX: u32 = 8;
/// No period is shorter, and none is longer: what is outside is taken for a mistake, and moved to the bound.
const PERIODS: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(3600));

/// How often and how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A member is probed in each. From 10 ms to an hour.
    pub period: Duration,
    /// An answer is waited for that long, before others are asked; they wait that long too. At most a third of the
    /// period, so that what they say comes in time.
    pub answer_within: Duration,
    /// How many others are asked.
    pub helpers: usize,
    /// All that is known is exchanged with some member so often, about.
    pub everything_every: Duration,
    /// A dead member is pinged so often, about.
    pub retry_every: Duration,
    /// A member that is dead or left is forgotten after this time.
    pub forget_after: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            period: Duration::from_secs(1),
            answer_within: Duration::from_millis(300),
            helpers: 3,
            everything_every: Duration::from_secs(30),
            retry_every: Duration::from_secs(10),
            forget_after: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// How a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It answers, as far as is known. It is probed, and may be asked to probe others.
    Alive,
    /// It did not answer. It is probed, and still to be counted on; it will be dead unless it denies it.
    Suspect {
        /// Who says so; the last of them that was heard of. The member itself where nobody is known to have probed it, and it
        /// was only said to be dead with everything else.
        by: NodeId,
    },
    /// It did not deny it in time. It is pinged now and then.
    Dead,
    /// It said itself that it goes. It is not tried.
    Left,
}

impl State {
    /// Whether it is dead or left.
    pub fn is_gone(self) -> bool {
        matches!(self, State::Dead | State::Left)
    }

    /// The greater is believed in one incarnation.
    fn rank(self) -> u8 {
        match self {
            State::Alive => 0,
            State::Suspect { .. } => 1,
            State::Dead => 2,
            State::Left => 3,
        }
    }
}

/// What is said of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Of whom.
    pub node: NodeId,
    /// Its last incarnation: the unix time in ms at which it began, or more.
    pub incarnation: u64,
    /// How it is.
    pub state: State,
    /// Where it can be reached, as it said in that incarnation.
    pub addresses: Addresses,
}

/// A member, as it is known here.
#[derive(Debug, Clone)]
pub struct Member {
    /// What is believed of it.
    pub record: Record,
    /// Since when it is in that state, for this node.
    pub since: Duration,
    /// The incarnation that it last said itself; `None` where it was not heard yet.
    said: Option<u64>,
    /// When it was last sent all that is known.
    everything_at: Option<Duration>,
}

/// What became of a member. Between [`Event::Joined`] and [`Event::Dead`] or [`Event::Left`] it is counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It is a member now, or again.
    Joined,
    /// It does not answer.
    Suspected,
    /// It denied the suspicion.
    Alive,
    /// It does not answer, and did not deny it.
    Dead,
    /// It said that it goes.
    Left,
}

/// What the driver is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a message, of at most [`MESSAGE_BYTES_MAX`] bytes. It may be lost, and nothing is to be said then but
    /// [`Membership::unreachable`].
    Send {
        /// To whom: a member, or a node that was joined.
        to: NodeId,
        /// The message.
        bytes: Vec<u8>,
    },
    /// Tell who wants to know.
    Event(Event, NodeId),
}

/// What one node knows of the members, itself among them.
pub struct Membership {
    settings: Settings,
    own: Record,
    /// The time at the beginning, on the caller's clock and as unix time in ms.
    began: (Duration, u64),
    /// All others.
    members: BTreeMap<NodeId, Member>,
    /// How many of them are dead or left.
    gone: usize,
    /// A deadline for each suspect.
    suspicions: BTreeMap<NodeId, Suspicion>,
    /// News of others. Those of oneself stand in every message.
    rumours: Rumours,
    /// All that are alive or suspect, in the order in which they are probed, and the place of the next one.
    order: Vec<NodeId>,
    next: usize,
    probe: Option<Probe>,
    /// When this period ends, when everything is exchanged, when a dead member is pinged.
    period_at: Duration,
    everything_at: Duration,
    retry_at: Duration,
    /// Pings for others, by their numbers.
    relays: BTreeMap<u64, Relay>,
    /// Those that were joined.
    seeds: BTreeSet<NodeId>,
    /// 0 is well, [`HEALTH_MAX`] is as bad as can be.
    health: u32,
    /// Of the last ping.
    number: u64,
    chance: Chance,
}

/// The probe of this period.
struct Probe {
    target: NodeId,
    number: u64,
    /// When others are asked; `None` where they were.
    ask_at: Option<Duration>,
    asked: Vec<NodeId>,
    /// Whether one of them said at least that it got no answer.
    excused: bool,
    answered: bool,
}

/// A ping in another one's place.
struct Relay {
    target: NodeId,
    /// Who asked for it, and under which number.
    origin: NodeId,
    number: u64,
    /// When it is told that no answer came.
    until: Duration,
}

impl Membership {
    /// Of a node alone. `unix_ms` is the unix time in ms, which becomes its incarnation, and `now` the same moment on
    /// the clock of all further calls. Of a node that was restarted it should be greater than before, and where
    /// it is not, the others tell it a greater one. `seed` draws who is probed when, and should differ between nodes.
    pub fn new(
        me: NodeId,
        addresses: Addresses,
        unix_ms: u64,
        now: Duration,
        mut settings: Settings,
        seed: u64,
    ) -> Membership {
        settings.period = settings.period.clamp(PERIODS.0, PERIODS.1);
        settings.answer_within = settings.answer_within.min(settings.period / 3);
        let mut chance = Chance(seed);
        Membership {
            own: Record { node: me, incarnation: unix_ms, state: State::Alive, addresses },
            settings,
            began: (now, unix_ms),
            members: BTreeMap::new(),
            gone: 0,
            suspicions: BTreeMap::new(),
            rumours: Rumours::default(),
            order: Vec::new(),
            next: 0,
            probe: None,
            period_at: now,
            everything_at: now,
            retry_at: now,
            relays: BTreeMap::new(),
            seeds: BTreeSet::new(),
            health: 0,
            // An answer to a ping of an earlier life shall not be taken for one of this.
            number: chance.draw(),
            chance,
        }
    }

    /// Another node that should be a member: it is pinged until it is one, and again whenever it is dead or forgotten. `false`
    /// where there are [`SEEDS_MAX`] others, or it is this node.
    pub fn join(&mut self, node: NodeId, now: Duration) -> bool {
        if node == self.own.node || self.seeds.len() >= SEEDS_MAX {
            return self.seeds.contains(&node);
        }
        self.seeds.insert(node);
        self.retry_at = now;
        true
    }

    /// What this node says of itself.
    pub fn me(&self) -> &Record {
        &self.own
    }

    /// All others that are known, by their names.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.members.values()
    }

    /// One of the others.
    pub fn member(&self, node: &NodeId) -> Option<&Member> {
        self.members.get(node)
    }

    /// From 0, well, to [`HEALTH_MAX`]: how far this node has reason to doubt itself. For those who watch it.
    pub fn health(&self) -> u32 {
        self.health
    }

    /// This node can be reached elsewhere now.
    pub fn moved(&mut self, addresses: Addresses) {
        if self.own.addresses != addresses {
            self.own.addresses = addresses;
            self.own.incarnation = self.own.incarnation.saturating_add(1);
        }
    }

    /// When [`Membership::tick`] is wanted next, as long as nothing else is called; it may be past. `None` where there is nobody
    /// to care for.
    pub fn next_due(&self) -> Option<Duration> {
        if self.own.state == State::Left {
            return None;
        }
        let period = [self.period_at, self.everything_at].into_iter();
        let period = period.filter(|_| !self.order.is_empty());
        let ask = self.probe.iter().filter(|probe| !probe.answered).filter_map(|p| p.ask_at);
        let relays = self.relays.values().map(|relay| relay.until);
        let suspicions = self.suspicions.values().map(Suspicion::deadline);
        let retry = self.has_lost().then_some(self.retry_at);
        period.chain(ask).chain(relays).chain(suspicions).chain(retry).min()
    }

    /// Does what is due. A driver that always comes later than a period after that never accuses anybody.
    pub fn tick(&mut self, now: Duration) -> Vec<Action> {
        let mut out = Vec::new();
        if self.own.state == State::Left {
            return out;
        }
        self.forgive_if_late(now);
        self.give_up_relays(now, &mut out);
        self.ask_others(now, &mut out);
        self.bury(now, &mut out);
        if !self.order.is_empty() && now >= self.period_at {
            self.conclude(now, &mut out);
            self.probe_next(now, &mut out);
        }
        if !self.order.is_empty() && now >= self.everything_at {
            self.everything_at = now.saturating_add(self.about(self.settings.everything_every));
            for to in self.some(1, |member| member.record.state == State::Alive) {
                self.send_everything(to, true, now, &mut out);
            }
        }
        if self.has_lost() && now >= self.retry_at {
            self.retry_at = now.saturating_add(self.about(self.settings.retry_every));
            self.forget_old(now);
            self.retry(&mut out);
        }
        out
    }

    /// Takes a message that came from `from`, which the transport knows it to be.
    ///
    /// # Errors
    /// [`NoGossip`] where it is none, and nothing was taken from it. Also where the sender's clock is more than two days ahead
    /// of this node's.
    pub fn received(
        &mut self,
        from: NodeId,
        bytes: &[u8],
        now: Duration,
    ) -> Result<Vec<Action>, NoGossip> {
        if from == self.own.node {
            return Err(NoGossip("it comes from this node itself"));
        }
        let Message { incarnation, left, addresses, body, records } = Message::parse(bytes)?;
        if incarnation > self.incarnation_max(now, true) {
            return Err(NoGossip("the sender's incarnation is a time too far in the future"));
        }
        let mut out = Vec::new();
        let was_live = self.is_live(&from);
        let state = if left { State::Left } else { State::Alive };
        let in_sync = matches!(body, Body::Sync { .. });
        self.learn(
            Record { node: from, incarnation, state, addresses },
            from,
            in_sync,
            now,
            &mut out,
        );
        let Some(member) = self.members.get_mut(&from) else { return Ok(out) };
        member.said = Some(incarnation);
        // What it says of us we may deny to it; what it says of others is not believed once it is gone.
        let gone = member.record.state.is_gone();
        let me = self.own.node;
        for record in records.into_iter().filter(|record| !gone || record.node == me) {
            self.learn(record, from, in_sync, now, &mut out);
        }
        self.answer(from, body, now, &mut out);
        if !was_live && self.is_live(&from) {
            self.send_everything(from, !in_sync, now, &mut out);
        }
        Ok(out)
    }

    /// The transport heard from a node, whatever it was: if it is being probed, that is an answer.
    pub fn heard(&mut self, node: NodeId) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.target == node) {
            probe.answered = true;
        }
    }

    /// The transport lost a node, or could not reach it. That is no proof; but others are asked at once if it is being probed,
    /// and it is the next to be probed if its turn in this round is still to come.
    pub fn unreachable(&mut self, node: NodeId, now: Duration) {
        if let Some(probe) = self.probe.as_mut().filter(|probe| probe.target == node) {
            probe.ask_at = probe.ask_at.map(|at| at.min(now));
            return;
        }
        // Not twice in a round: a path that breaks all the time would keep the others from being probed.
        let ahead = self.order.iter().skip(self.next).position(|other| *other == node);
        if let Some(ahead) = ahead {
            self.order.swap(self.next, self.next + ahead);
        }
    }

    /// This node goes. It tells some others, who tell the rest; after that it only answers, and says so.
    pub fn leave(&mut self) -> Vec<Action> {
        let mut out = Vec::new();
        if self.own.state != State::Left {
            self.own.state = State::Left;
            let tellings = usize::try_from(self.tellings()).unwrap_or(usize::MAX);
            for to in self.some(tellings, |member| !member.record.state.is_gone()) {
                let bytes = self.draft(Body::Sync { wanted: false }).finish();
                out.push(Action::Send { to, bytes });
            }
        }
        out
    }

    // ---- a period ----

    /// Ends the period's probe.
    fn conclude(&mut self, now: Duration, out: &mut Vec<Action>) {
        let Some(probe) = self.probe.take() else { return };
        if probe.answered {
            self.health = self.health.saturating_sub(1);
            return;
        }
        // Where others were asked and none of them said anything, the fault may be on this side.
        if !probe.asked.is_empty() && !probe.excused {
            self.worse();
        }
        self.accuse(probe.target, now, out);
    }

    fn worse(&mut self) {
        self.health = (self.health + 1).min(HEALTH_MAX);
    }

    fn probe_next(&mut self, now: Duration, out: &mut Vec<Action>) {
        let patience = self.health + 1;
        self.period_at = now.saturating_add(self.settings.period.saturating_mul(patience));
        if self.next >= self.order.len() {
            self.next = 0;
            for end in (1..self.order.len()).rev() {
                let other = self.chance.index(end + 1);
                self.order.swap(end, other);
            }
        }
        let Some(&target) = self.order.get(self.next) else { return };
        self.next += 1;
        let number = self.number();
        let ask_at = now.saturating_add(self.settings.answer_within.saturating_mul(patience));
        self.probe = Some(Probe {
            target,
            number,
            ask_at: Some(ask_at),
            asked: Vec::new(),
            excused: false,
            answered: false,
        });
        self.send(target, Body::Ping { number }, out);
    }

    /// The probe got no answer in time: asks others.
    fn ask_others(&mut self, now: Duration, out: &mut Vec<Action>) {
        let Some(probe) = &mut self.probe else { return };
        if probe.answered || probe.ask_at.is_none_or(|at| now < at) {
            return;
        }
        probe.ask_at = None;
        let (number, target) = (probe.number, probe.target);
        let asked = self.some(self.settings.helpers, |member| {
            member.record.state == State::Alive && member.record.node != target
        });
        for helper in &asked {
            self.send(*helper, Body::PingRequest { number, target }, out);
        }
        if let Some(probe) = &mut self.probe {
            probe.asked = asked;
        }
    }

    fn give_up_relays(&mut self, now: Duration, out: &mut Vec<Action>) {
        for relay in self.relays.extract_if(.., |_, relay| relay.until <= now).collect::<Vec<_>>() {
            let (_, Relay { origin, number, .. }) = relay;
            self.send(origin, Body::Nack { number }, out);
        }
    }

    /// What a message wants.
    fn answer(&mut self, from: NodeId, body: Body, now: Duration, out: &mut Vec<Action>) {
        match body {
            Body::Ping { number } => self.send(from, Body::Ack { number }, out),
            Body::PingRequest { number, target } if target == self.own.node => {
                self.send(from, Body::Ack { number }, out);
            }
            Body::PingRequest { number, target } => {
                let of_origin = self.relays.values().filter(|relay| relay.origin == from).count();
                if self.relays.len() >= RELAYS_MAX || of_origin >= RELAYS_PER_MEMBER_MAX {
                    return;
                }
                if !self.members.contains_key(&target) {
                    return self.send(from, Body::Nack { number }, out);
                }
                let until = now.saturating_add(self.settings.answer_within);
                let own = self.number();
                self.relays.insert(own, Relay { target, origin: from, number, until });
                self.send(target, Body::Ping { number: own }, out);
            }
            Body::Ack { number } => {
                if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
                    probe.answered |= probe.target == from || probe.asked.contains(&from);
                } else if self.relays.get(&number).is_some_and(|relay| relay.target == from)
                    && let Some(Relay { origin, number, .. }) = self.relays.remove(&number)
                {
                    self.send(origin, Body::Ack { number }, out);
                }
            }
            Body::Nack { number } => {
                if let Some(probe) = self.probe.as_mut().filter(|probe| probe.number == number) {
                    probe.excused |= probe.asked.contains(&from);
                }
            }
            Body::Sync { wanted: true } => self.send_everything(from, false, now, out),
            Body::Sync { wanted: false } => {}
        }
    }

    // ---- the lost ----

    /// Whether somebody is to be tried again, or forgotten.
    fn has_lost(&self) -> bool {
        self.gone > 0 || self.seeds.iter().any(|seed| !self.members.contains_key(seed))
    }

    fn retry(&mut self, out: &mut Vec<Action>) {
        let dead = self.members.values().filter(|m| m.record.state == State::Dead);
        let dead: Vec<NodeId> = dead.map(|member| member.record.node).collect();
        let one = (!dead.is_empty()).then(|| dead[self.chance.index(dead.len())]);
        let mut tried: BTreeSet<NodeId> = one.into_iter().collect();
        for seed in &self.seeds {
            if self.members.get(seed).is_none_or(|member| member.record.state == State::Dead) {
                tried.insert(*seed);
            }
        }
        for to in tried {
            let number = self.number();
            self.send(to, Body::Ping { number }, out);
        }
    }

    /// A node that was stopped (a laptop that slept, a machine that had no time for it) does not take what it missed for
    /// failures of others.
    fn forgive_if_late(&mut self, now: Duration) {
        let late = self.next_due().map_or(Duration::ZERO, |due| now.saturating_sub(due));
        if late <= self.settings.period {
            return;
        }
        self.worse();
        self.probe = None;
        self.period_at = now;
        self.relays.clear();
        for suspicion in self.suspicions.values_mut() {
            suspicion.began = suspicion.began.saturating_add(late);
        }
    }

    // ---- what is sent ----

    /// How often news are told.
    fn tellings(&self) -> u32 {
        TELLINGS * self.log_members().ceil() as u32
    }

    /// The logarithm to base 2 of the number of members that are not gone, this node among them, and one more, so that
    /// it is never 0.
    fn log_members(&self) -> f64 {
        (self.order.len() as f64 + 2.0).log2()
    }

    fn draft(&self, body: Body) -> Draft {
        let left = self.own.state == State::Left;
        Draft::new(self.own.incarnation, left, &self.own.addresses, body)
    }

    /// Sends a message, and tells news beside it.
    fn send(&mut self, to: NodeId, body: Body, out: &mut Vec<Action>) {
        let mut draft = self.draft(body);
        // First what it should deny: also an incarnation of an earlier life that is greater than the one it says.
        let deniable = |member: &&Member| {
            member.record.state != State::Alive || member.said < Some(member.record.incarnation)
        };
        if let Some(member) = self.members.get(&to).filter(deniable) {
            draft.add(&member.record);
        }
        let (limit, members) = (self.tellings(), &self.members);
        self.rumours.take(limit, |node| match members.get(&node) {
            _ if node == to => Some(false),
            None => Some(false),
            // By the bounds of records the first always fits, so that none waits for ever.
            Some(member) => draft.add(&member.record).then_some(true),
        });
        out.push(Action::Send { to, bytes: draft.finish() });
    }

    /// Sends all that is known, in as many messages as it takes.
    fn send_everything(&mut self, to: NodeId, wanted: bool, now: Duration, out: &mut Vec<Action>) {
        let Some(member) = self.members.get_mut(&to) else { return };
        if member.everything_at.is_some_and(|at| now < at.saturating_add(EVERYTHING_GAP)) {
            return;
        }
        member.everything_at = Some(now);
        let mut draft = self.draft(Body::Sync { wanted });
        for member in self.members.values() {
            if !draft.add(&member.record) {
                let full = std::mem::replace(&mut draft, self.draft(Body::Sync { wanted: false }));
                out.push(Action::Send { to, bytes: full.finish() });
                draft.add(&member.record);
            }
        }
        out.push(Action::Send { to, bytes: draft.finish() });
    }

    // ---- chance ----

    fn number(&mut self) -> u64 {
        self.number = self.number.wrapping_add(1);
        self.number
    }

    /// Up to `count` of the members that are not gone and of this kind, at random.
    fn some(&mut self, count: usize, which: impl Fn(&Member) -> bool) -> Vec<NodeId> {
        let fits = |node: &&NodeId| self.members.get(node).is_some_and(&which);
        let mut all: Vec<NodeId> = self.order.iter().filter(fits).copied().collect();
        let count = count.min(all.len());
        for place in 0..count {
            let other = place + self.chance.index(all.len() - place);
            all.swap(place, other);
        }
        all.truncate(count);
        all
    }

    /// Between half of a time and one and a half of it.
    fn about(&mut self, time: Duration) -> Duration {
        (time / 2).saturating_add(self.chance.below(time))
    }
}

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", 2014). Nothing here has to be
/// secret, only spread.
struct Chance(u64);

impl Chance {
    fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `end`; 0 where that is 0.
    fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.draw() % (end.max(1) as u64)).unwrap_or(0)
    }

    /// Shorter than `time`; zero where that is.
    fn below(&mut self, time: Duration) -> Duration {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).max(1);
        Duration::from_nanos(self.draw() % nanos)
    }
}

#[cfg(test)]
mod tests;
