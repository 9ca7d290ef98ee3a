//! Clusters of members under every fault, simulated: loss, delay, messages that overtake others, crashes, restarts, clocks
//! that were set back, goodbyes, and broken networks, in both directions or in one, that heal.
//!
//! ```text
//! cargo test --release -p strongroom-wire --test members -- [--seeds N] [--from N] [--plant BUG]
//! ```
//!
//! The gate tries 200 seeds, that the load of a member does not grow with their number, and that each planted bug is found.
#![allow(clippy::unwrap_used)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::process::ExitCode;
use std::time::Duration;

use strongroom_testkit::Random;
use strongroom_testkit::seeds::Campaign;
use strongroom_wire::NodeId;
use strongroom_wire::membership::{
    Action, Addresses, Body, CONFIRMATIONS, Event, MESSAGE_BYTES_MAX, Membership, Message, Record,
    SUSPICION_PATIENCE, SUSPICION_PERIODS, SUSPICION_PERIODS_MIN, Settings, State,
};

const MEMBERS_MAX: u64 = 40;
const SECOND: Duration = Duration::from_secs(1);
const UNIX_MS: u64 = 1_790_000_000_000;
/// All have begun, and know each other.
const JOINED: Duration = Duration::from_secs(25);
/// From then on there are no more faults.
const CALM: Duration = Duration::from_secs(70);
/// A message takes at most so long, unless it is slow; to and back is less than an answer is waited for.
const DELAY_MS_MAX: u64 = 70;
/// A slow one takes up to so much more: then it overtakes nothing, and is no answer in time.
const SLOW_MS_MAX: u64 = 900;
/// Messages of 1,000 that are lost where loss is moderate.
const LOSS_MODERATE: u64 = 100;

/// Bugs that are made on purpose, in what drives the members here, as a real driver or another node could make them.
const PLANTS: [&str; 8] = [
    "no-denials",
    "no-helpers",
    "no-rumours",
    "no-word-to-the-dead",
    "answers-for-the-crashed",
    "hasty-accusers",
    "drowsy-driver",
    "messages-of-an-earlier-life",
];

fn main() -> ExitCode {
    let campaign =
        Campaign { name: "members", plants: &PLANTS, seeds: 200, seeds_for_a_plant: 500 };
    campaign.main(run, |counts, seeds| tell(counts, seeds).and_then(|()| load()))
}

fn tell(counts: Counts, seeds: u64) -> Result<(), String> {
    println!(
        "members: {} members, {} messages, {} lost, {} crashes, {} restarts, {} broken networks, {} suspicions denied",
        counts.members,
        counts.messages,
        counts.lost,
        counts.crashes,
        counts.restarts,
        counts.breaks,
        counts.denied,
    );
    for (members, Times { mut known, suspected }) in counts.times {
        known.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mean = |times: &[f64]| times.iter().sum::<f64>() / times.len() as f64;
        let (half, last) = (known[known.len() / 2].0, known[known.len() - 1]);
        println!(
            "members: of up to {members}: a crash is suspected after {:.1} s in the mean, and everywhere known for a \
             death after {half:.1} s in half of {} cases, {:.1} s in the worst, where {:.1} are allowed",
            mean(&suspected),
            known.len(),
            last.0,
            last.1,
        );
    }
    let tried =
        counts.crashes > seeds / 2 && counts.restarts > seeds / 4 && counts.breaks > seeds / 4;
    match tried && counts.denied > seeds {
        true => Ok(()),
        false => Err("too little happened".into()),
    }
}

#[derive(Default)]
struct Times {
    /// In seconds, and how many were allowed.
    known: Vec<(f64, f64)>,
    suspected: Vec<f64>,
}

#[derive(Default)]
struct Counts {
    members: u64,
    messages: u64,
    lost: u64,
    crashes: u64,
    restarts: u64,
    breaks: u64,
    denied: u64,
    /// By the number of members, rounded up to 2, 5, 10, 20, 40.
    times: BTreeMap<u64, Times>,
}

/// The load of a member while nothing happens: about one ping and one answer per period, however many there are.
fn load() -> Result<(), String> {
    let mut good = true;
    let mut rates = Vec::new();
    for members in [4, 10, 40, 200] {
        let mut counts = Counts::default();
        let mut sim = Sim::new(7, members, Kind::Calm, "", &mut counts);
        sim.run_until(40 * SECOND).unwrap();
        let before: Vec<(u64, u64)> = sim.nodes.iter().map(|node| node.sent).collect();
        let periods = 120u32;
        sim.run_until((40 + periods) * SECOND).unwrap();
        let sent =
            sim.nodes.iter().zip(before).map(|(now, before)| {
                ((now.sent.0 - before.0) as f64, (now.sent.1 - before.1) as f64)
            });
        let sent: Vec<(f64, f64)> = sent.collect();
        let rate = |all: f64| all / f64::from(periods);
        let mean = rate(sent.iter().map(|(messages, _)| messages).sum()) / members as f64;
        let bytes = rate(sent.iter().map(|(_, bytes)| bytes).sum()) / members as f64;
        let most = rate(sent.iter().map(|(messages, _)| *messages).fold(0.0, f64::max));
        println!(
            "members: of {members} that are all well each sends {mean:.2} messages per period, {most:.2} the busiest, \
             and {bytes:.0} bytes"
        );
        rates.push(mean);
        // One ping, one answer, and now and then everything.
        good &= (2.0..2.5).contains(&mean) && most < 3.0;
    }
    match good && rates.iter().all(|rate| (rate - rates[0]).abs() < 0.3) {
        true => Ok(()),
        false => Err("the load of a member grows with their number".into()),
    }
}

fn one_in(chance: &mut Random, n: u64) -> bool {
    chance.below(n) == 0
}

fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// The least time of a suspect, in periods, and the logarithm that it comes from.
fn least(members: usize) -> (f64, f64) {
    let log = (members as f64 + 1.0).log2();
    ((f64::from(SUSPICION_PERIODS) * log).max(SUSPICION_PERIODS_MIN.into()).ceil(), log)
}

/// A crash is known to all within this time, where the network is as a whole well: ten periods until somebody
/// probes it (that nobody does is a matter of 1 in e per period), twice the least time of a suspect, and twice the time
/// that rumours take. Where not enough of the members `stay` to confirm the suspicion, because others crashed too, its most
/// time in place of the least.
fn known_within(members: usize, stay: usize) -> Duration {
    let (least, log) = least(members);
    let patience = if stay > CONFIRMATIONS { 2.0 } else { f64::from(SUSPICION_PATIENCE) };
    Settings::default().period.mul_f64(10.0 + patience * least + 2.0 * log)
}

/// After this time without faults all agree: a round of probes, the time of a suspect whom nobody else accuses, and that of a
/// few attempts to reach the dead.
fn settled_within(members: usize) -> Duration {
    let (least, log) = least(members);
    let patience = f64::from(SUSPICION_PATIENCE);
    Settings::default().period.mul_f64(2.0 * members as f64 + patience * least + 4.0 * log + 30.0)
}

/// What may happen in a run, and what must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// No message is lost or late; members crash. None that stays is ever suspected.
    Calm,
    /// Messages are lost and slow; members crash. None that stays is ever dead.
    Lossy,
    /// Up to two paths are broken in one direction: nobody is ever suspected.
    OneWay,
    /// One hears nobody, and is heard: nobody else believes what it makes of that.
    Deaf,
    /// Two halves do not hear each other for long, and meet again: nobody is dead to its own half.
    Halves,
    /// Everything happens; it only has to end well.
    Broken,
}

impl Kind {
    /// Whether nobody crashes or leaves.
    fn all_stay(self) -> bool {
        matches!(self, Kind::OneWay | Kind::Deaf | Kind::Halves)
    }
}

struct Node {
    id: NodeId,
    /// `None` while it is down.
    members: Option<Membership>,
    /// Counts its lives, so that the ticks of an earlier one do nothing.
    life: u64,
    /// The next tick that is planned.
    due: Option<Duration>,
    /// Never crashes and never leaves.
    stays: bool,
    /// Messages and bytes.
    sent: (u64, u64),
    /// When it crashed for good, and when it was suspected then, and by whom it was known to be gone and when.
    crashed: Option<Duration>,
    suspected: Option<Duration>,
    known: BTreeMap<usize, Duration>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Start(usize),
    Tick(usize, u64),
    Deliver {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    Crash(usize, Option<Duration>),
    Leave(usize),
    /// One path, in one direction.
    Break(usize, usize),
    Split(u64),
    Heal,
}

struct Sim<'a> {
    chance: Random,
    kind: Kind,
    plant: &'a str,
    counts: &'a mut Counts,
    now: Duration,
    queue: BinaryHeap<Reverse<(Duration, u64, What)>>,
    queued: u64,
    nodes: Vec<Node>,
    by_id: BTreeMap<NodeId, usize>,
    /// Of 1,000 messages.
    loss: u64,
    slow: u64,
    /// Paths that carry nothing.
    broken: BTreeSet<(usize, usize)>,
    /// Who is on the one side where the network is broken in two: the deaf one, or a half.
    side: Vec<bool>,
}

fn run(seed: u64, plant: &str, counts: &mut Counts) -> Result<(), String> {
    let mut chance = Random(seed);
    let kind = match chance.below(7) {
        0 => Kind::Calm,
        1 => Kind::Lossy,
        2 => Kind::OneWay,
        3 => Kind::Deaf,
        4 => Kind::Halves,
        _ => Kind::Broken,
    };
    // The deaths of the other half are told to the end before the halves meet; that takes longer among more.
    let most = if one_in(&mut chance, 4) && kind != Kind::Halves { MEMBERS_MAX } else { 12 };
    // Among fewer than six two broken paths could be all there is to one of them.
    let least = if kind.all_stay() { 6 } else { 2 };
    let members = least + chance.below(most + 1 - least);
    let mut sim = Sim::new(chance.draw(), members as usize, kind, plant, counts);
    sim.plan_faults();
    let label = |why| format!("{kind:?}, {members} members: {why}");
    // Long enough for one that hears nobody to take all others for dead.
    let calm = if kind == Kind::Deaf { 3 * CALM } else { CALM };
    sim.run_until(calm).map_err(label)?;
    sim.loss = 0;
    sim.slow = 0;
    sim.broken.clear();
    let settled = calm + settled_within(sim.nodes.len());
    sim.run_until(settled).map_err(label)?;
    sim.check().map_err(label)
}

impl<'a> Sim<'a> {
    fn new(
        seed: u64,
        members: usize,
        kind: Kind,
        plant: &'a str,
        counts: &'a mut Counts,
    ) -> Sim<'a> {
        let mut chance = Random(seed);
        let id = |n: usize| {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&Random(n as u64 + 1).draw().to_le_bytes());
            NodeId(id)
        };
        let node = |n: usize| Node {
            id: id(n),
            members: None,
            life: 0,
            due: None,
            // The one by which all join.
            stays: n == 0,
            sent: (0, 0),
            crashed: None,
            suspected: None,
            known: BTreeMap::new(),
        };
        counts.members += members as u64;
        let (loss, slow) = match kind {
            Kind::Calm | Kind::OneWay | Kind::Deaf | Kind::Halves => (0, 0),
            Kind::Lossy => (chance.below(LOSS_MODERATE + 1), chance.below(20)),
            Kind::Broken => (chance.below(200), chance.below(50)),
        };
        let mut sim = Sim {
            kind,
            plant,
            counts,
            now: Duration::ZERO,
            queue: BinaryHeap::new(),
            queued: 0,
            nodes: (0..members).map(node).collect(),
            by_id: (0..members).map(|n| (id(n), n)).collect(),
            loss,
            slow,
            broken: BTreeSet::new(),
            side: vec![false; members],
            chance,
        };
        for n in 0..members {
            let at = millis(sim.chance.below(5000));
            sim.plan(at, What::Start(n));
        }
        sim
    }

    fn plan(&mut self, at: Duration, what: What) {
        self.queued += 1;
        self.queue.push(Reverse((at, self.queued, what)));
    }

    /// A time while there are faults.
    fn sometime(&mut self) -> Duration {
        JOINED + millis(self.chance.below((CALM - JOINED).as_millis() as u64))
    }

    fn plan_faults(&mut self) {
        let members = self.nodes.len();
        for n in 1..members {
            let stays = self.kind.all_stay() || !one_in(&mut self.chance, 4);
            self.nodes[n].stays = stays;
            if stays {
                continue;
            }
            let at = self.sometime();
            match self.chance.below(5) {
                0 => self.plan(at, What::Leave(n)),
                1 | 2 => self.plan(at, What::Crash(n, None)),
                _ => {
                    let down = millis(self.chance.below(40_000));
                    self.plan(at, What::Crash(n, Some(down)));
                }
            }
        }
        match self.kind {
            Kind::Calm | Kind::Lossy => {}
            Kind::OneWay => {
                for _ in 0..1 + self.chance.below(2) {
                    let from = self.chance.below(members as u64) as usize;
                    let to = (from + 1 + self.chance.below(members as u64 - 1) as usize) % members;
                    // Not while they join, when there may be nobody yet who could help.
                    self.plan(JOINED, What::Break(from, to));
                }
            }
            Kind::Deaf | Kind::Halves => {
                let first = self.chance.below(members as u64) as usize;
                // At least three on each side.
                let count = match self.kind {
                    Kind::Deaf => 1,
                    _ => 3 + self.chance.below(members as u64 - 5) as usize,
                };
                (0..count).for_each(|n| self.side[(first + n) % members] = true);
                for (from, to) in (0..members).flat_map(|n| (0..members).map(move |m| (n, m))) {
                    let hears = match self.kind {
                        Kind::Deaf => !self.side[to],
                        _ => self.side[from] == self.side[to],
                    };
                    if !hears {
                        self.plan(JOINED, What::Break(from, to));
                    }
                }
            }
            Kind::Broken => {
                for _ in 0..1 + self.chance.below(3) {
                    let (at, seed) = (self.sometime(), self.chance.draw());
                    self.plan(at, What::Split(seed));
                    if one_in(&mut self.chance, 3) {
                        let heal = self.sometime();
                        self.plan(heal, What::Heal);
                    }
                }
            }
        }
    }

    fn run_until(&mut self, end: Duration) -> Result<(), String> {
        while let Some(Reverse((at, ..))) = self.queue.peek()
            && *at <= end
            && let Some(Reverse((at, _, what))) = self.queue.pop()
        {
            self.now = at;
            self.happen(what).map_err(|why| format!("at {:.3} s: {why}", at.as_secs_f64()))?;
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, what: What) -> Result<(), String> {
        match what {
            What::Start(n) => self.start(n),
            What::Tick(n, life) if self.nodes[n].life == life => {
                self.nodes[n].due = None;
                let Some(members) = &mut self.nodes[n].members else { return Ok(()) };
                let actions = members.tick(self.now);
                self.act(n, actions)?;
            }
            What::Tick(..) => {}
            What::Deliver { from, to, bytes } => self.deliver(from, to, &bytes)?,
            What::Crash(n, down) => {
                if self.nodes[n].members.take().is_none() {
                    return Ok(());
                }
                self.counts.crashes += 1;
                self.nodes[n].life += 1;
                self.nodes[n].due = None;
                match down {
                    Some(down) => self.plan(self.now + down, What::Start(n)),
                    None => self.nodes[n].crashed = Some(self.now),
                }
            }
            What::Leave(n) => {
                let Some(members) = &mut self.nodes[n].members else { return Ok(()) };
                let actions = members.leave();
                self.act(n, actions)?;
                // It goes on to answer for a moment, or not.
                let down = self.now + millis(self.chance.below(2000));
                self.plan(down, What::Crash(n, None));
            }
            What::Break(from, to) => {
                self.counts.breaks += 1;
                self.broken.insert((from, to));
            }
            What::Split(seed) => self.split(&mut Random(seed)),
            What::Heal => self.broken.clear(),
        }
        Ok(())
    }

    fn start(&mut self, n: usize) {
        let seed = self.chance.draw();
        let mut unix_ms = UNIX_MS + self.now.as_millis() as u64;
        let life = self.nodes[n].life;
        if life > 0 {
            self.counts.restarts += 1;
            // A clock that was set back: the others must tell it.
            if one_in(&mut self.chance, 4) {
                unix_ms -= self.chance.below(100_000);
            }
        }
        let addresses = Addresses::new([format!("node-{n}:{life}")]).unwrap();
        let (id, seed_of_all) = (self.nodes[n].id, self.nodes[0].id);
        let settings = Settings::default();
        let mut members = Membership::new(id, addresses, unix_ms, self.now, settings, seed);
        members.join(seed_of_all, self.now);
        self.nodes[n].members = Some(members);
        self.await_tick(n);
    }

    /// Some kinds of broken networks.
    fn split(&mut self, chance: &mut Random) {
        self.counts.breaks += 1;
        let members = self.nodes.len();
        let apart =
            |chance: &mut Random| (0..members).map(|_| one_in(chance, 2)).collect::<Vec<_>>();
        let pairs = (0..members).flat_map(|from| (0..members).map(move |to| (from, to)));
        match chance.below(5) {
            // Two halves that do not hear each other.
            0 => {
                let side = apart(chance);
                self.broken.extend(pairs.filter(|(from, to)| side[*from] != side[*to]));
            }
            // One half does not hear the other, and is heard.
            1 => {
                let side = apart(chance);
                self.broken.extend(pairs.filter(|(from, to)| side[*from] && !side[*to]));
            }
            // One hears nobody, one is heard by nobody, or both.
            2 => {
                let one = chance.below(members as u64) as usize;
                self.broken.extend(pairs.filter(|(_, to)| *to == one));
            }
            3 => {
                let one = chance.below(members as u64) as usize;
                self.broken.extend(pairs.filter(|(from, _)| *from == one));
            }
            _ => {
                let pairs: Vec<_> = pairs.filter(|_| one_in(chance, 3)).collect();
                self.broken.extend(pairs);
            }
        }
    }

    /// The driver sleeps until then.
    fn await_tick(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        let Some(due) = node.members.as_ref().and_then(Membership::next_due) else { return };
        let mut due = due.max(self.now);
        if self.plant == "drowsy-driver" {
            due += 3 * SECOND / 2;
        }
        if node.due.is_none_or(|planned| due < planned) {
            node.due = Some(due);
            let life = node.life;
            self.plan(due, What::Tick(n, life));
        }
    }

    fn act(&mut self, n: usize, actions: Vec<Action>) -> Result<(), String> {
        for action in actions {
            match action {
                Action::Send { to, bytes } => {
                    let Some(to) = self.by_id.get(&to).copied().filter(|to| *to != n) else {
                        return Err(format!("{n} sends to itself or to nobody"));
                    };
                    self.send(n, to, bytes)?;
                }
                Action::Event(event, node) => self.told(n, event, self.by_id[&node])?,
            }
        }
        self.await_tick(n);
        Ok(())
    }

    fn send(&mut self, from: usize, to: usize, bytes: Vec<u8>) -> Result<(), String> {
        if bytes.len() > MESSAGE_BYTES_MAX {
            return Err(format!("{from} sends {} bytes", bytes.len()));
        }
        self.counts.messages += 1;
        self.nodes[from].sent.0 += 1;
        self.nodes[from].sent.1 += bytes.len() as u64;
        if self.broken.contains(&(from, to)) || self.chance.below(1000) < self.loss {
            self.counts.lost += 1;
            return Ok(());
        }
        let mut delay = millis(1 + self.chance.below(DELAY_MS_MAX));
        if self.chance.below(1000) < self.slow {
            delay += millis(self.chance.below(SLOW_MS_MAX));
        }
        let Some(bytes) = self.harmed(from, to, bytes) else { return Ok(()) };
        self.plan(self.now + delay, What::Deliver { from, to, bytes });
        Ok(())
    }

    /// What a planted bug makes of a message.
    fn harmed(&mut self, from: usize, to: usize, bytes: Vec<u8>) -> Option<Vec<u8>> {
        let mut message = Message::parse(&bytes).unwrap();
        let receiver = self.nodes[to].id;
        let sync = matches!(message.body, Body::Sync { .. });
        match self.plant {
            "no-denials" => message.records.retain(|record| record.node != receiver),
            "no-rumours" if !sync => message.records.clear(),
            "no-helpers" if matches!(message.body, Body::PingRequest { .. }) => return None,
            "no-word-to-the-dead" => {
                let members = self.nodes[from].members.as_ref()?;
                let known = members.member(&receiver);
                if known.is_some_and(|member| member.record.state == State::Dead) {
                    return None;
                }
            }
            "hasty-accusers" => {
                for record in message.records.iter_mut().filter(|r| r.node != receiver) {
                    if matches!(record.state, State::Suspect { .. }) {
                        record.state = State::Dead;
                    }
                }
            }
            "messages-of-an-earlier-life" => message.incarnation = UNIX_MS,
            _ => return Some(bytes),
        }
        Some(message.write())
    }

    fn deliver(&mut self, from: usize, to: usize, bytes: &[u8]) -> Result<(), String> {
        let id = self.nodes[from].id;
        let Some(members) = &mut self.nodes[to].members else {
            if self.plant == "answers-for-the-crashed" {
                return self.answer_for_the_crashed(from, to, bytes);
            }
            return Ok(());
        };
        let actions = members.received(id, bytes, self.now).map_err(|why| why.to_string())?;
        self.act(to, actions)
    }

    fn answer_for_the_crashed(
        &mut self,
        from: usize,
        to: usize,
        bytes: &[u8],
    ) -> Result<(), String> {
        let Ok(Message { body: Body::Ping { number }, .. }) = Message::parse(bytes) else {
            return Ok(());
        };
        let Some(members) = &self.nodes[from].members else { return Ok(()) };
        let Some(known) = members.member(&self.nodes[to].id) else { return Ok(()) };
        let Record { incarnation, addresses, .. } = known.record.clone();
        let body = Body::Ack { number };
        let answer = Message { incarnation, left: false, addresses, body, records: vec![] };
        self.deliver(to, from, &answer.write())
    }

    /// A member tells something of another.
    fn told(&mut self, by: usize, event: Event, of: usize) -> Result<(), String> {
        self.counts.denied += u64::from(event == Event::Alive);
        let same_side = self.side[by] == self.side[of];
        let node = &mut self.nodes[of];
        if node.stays {
            match (self.kind, event) {
                (Kind::Deaf, _) if self.side[by] || self.side[of] => {}
                (Kind::Deaf, Event::Suspected) => {}
                (Kind::Halves, _) if !same_side => {}
                (Kind::Calm | Kind::OneWay, Event::Suspected) => {
                    return Err(format!("{by} suspects {of}, which answers"));
                }
                (Kind::Broken, _) => {}
                (_, Event::Dead | Event::Left) => {
                    return Err(format!("{by} takes {of} for {event:?}, which is there"));
                }
                _ => {}
            }
        }
        if node.crashed.is_some() {
            match event {
                Event::Suspected => drop(node.suspected.get_or_insert(self.now)),
                Event::Dead | Event::Left => drop(node.known.insert(by, self.now)),
                Event::Joined | Event::Alive => drop(node.known.remove(&by)),
            }
        }
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        for (n, node) in self.nodes.iter().enumerate() {
            let Some(members) = &node.members else { continue };
            for (m, other) in self.nodes.iter().enumerate().filter(|(m, _)| *m != n) {
                let known = members.member(&other.id).map(|member| &member.record);
                match &other.members {
                    Some(there) if known != Some(there.me()) => {
                        return Err(format!(
                            "{n} knows {m} as {known:?}, which is {:?}",
                            there.me()
                        ));
                    }
                    None if known.is_some_and(|known| !known.state.is_gone()) => {
                        return Err(format!("{n} knows {m} as {known:?}, which is down"));
                    }
                    _ => {}
                }
            }
        }
        self.check_crashes()
    }

    /// Members that crashed were known for dead in time by all that stayed.
    fn check_crashes(&mut self) -> Result<(), String> {
        if !matches!(self.kind, Kind::Calm | Kind::Lossy) {
            return Ok(());
        }
        let stay = self.nodes.iter().filter(|node| node.stays).count();
        let within = known_within(self.nodes.len(), stay);
        let class = [2, 5, 10, 20, 40].into_iter().find(|most| self.nodes.len() as u64 <= *most);
        for (n, node) in self.nodes.iter().enumerate() {
            let Some(crashed) = node.crashed else { continue };
            let stay = (0..self.nodes.len()).filter(|m| self.nodes[*m].stays);
            let mut known = Duration::ZERO;
            for m in stay {
                // One that left was known to be gone before it went.
                let Some(at) = node.known.get(&m) else { continue };
                known = known.max(*at - crashed);
            }
            if known > within {
                return Err(format!("{n} crashed, and was known for dead after {known:?}"));
            }
            let times = self.counts.times.entry(class.unwrap_or(MEMBERS_MAX)).or_default();
            let Some(suspected) = node.suspected else { continue };
            times.suspected.push((suspected - crashed).as_secs_f64());
            times.known.push((known.as_secs_f64(), within.as_secs_f64()));
            let first = node.known.values().min();
            if self.kind == Kind::Calm && first.is_some_and(|first| *first < suspected) {
                return Err(format!("{n} was dead before it was suspected"));
            }
        }
        Ok(())
    }
}
