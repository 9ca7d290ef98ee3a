//! Some nodes, what they send each other, and what happens to them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use strongroom_spool::testing::{Cut, MemDisk};
use strongroom_testkit::Random;
use strongroom_wire::lane::Refused;
use strongroom_wire::spooled::SpoolError;
use strongroom_wire::testing::{self, Network, Weather, start_in_one_runtime};
use strongroom_wire::{
    Bounds, CallError, Context, Failure, Fate, Node, NodeId, NodeKey, Registration, Settings,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use crate::ledger::{How, Ledger, Told};

/// What handlers say that panic.
pub(crate) const ON_PURPOSE: &str = "on purpose";
/// Names that every node has.
const NAMES: [&str; 3] = ["one", "two", "three"];
/// With which a message begins: its number, what its handler is to do, for how long, and the bytes of the reply.
const HEAD_BYTES: usize = 15;
/// After the faults everything comes to its end within so long.
const CALM: Duration = Duration::from_secs(400);

/// What happened in all seeds.
#[derive(Default)]
pub(crate) struct Counts {
    nodes: u64,
    sent: BTreeMap<&'static str, u64>,
    told: BTreeMap<&'static str, u64>,
    faults: BTreeMap<&'static str, u64>,
    bytes: u64,
    seconds: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |all: &BTreeMap<&str, u64>| {
            all.iter().map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
        };
        writeln!(f, "nodes: {} nodes for {} s: {} MB", self.nodes, self.seconds, self.bytes >> 20)?;
        writeln!(f, "nodes: sent: {}", line(&self.sent))?;
        writeln!(f, "nodes: told: {}", line(&self.told))?;
        write!(f, "nodes: faults: {}", line(&self.faults))
    }
}

impl Counts {
    /// Whether enough happened in so many seeds; if not, of what too little.
    pub(crate) fn enough(&self, seeds: u64) -> Result<(), String> {
        let wanted = [
            (&self.sent, "sends", 20 * seeds),
            (&self.sent, "in order", 10 * seeds),
            (&self.sent, "calls", 10 * seeds),
            (&self.sent, "casts", 5 * seeds),
            (&self.sent, "large", seeds),
            (&self.sent, "spooled", seeds),
            (&self.told, "handled again", seeds / 200),
            (&self.told, "delivered", 20 * seeds),
            (&self.told, "uncertain", seeds / 4),
            (&self.told, "replies", 3 * seeds),
            (&self.told, "deadlines", seeds / 4),
            (&self.told, "cancelled", seeds / 4),
            (&self.told, "restarted", seeds / 20),
            (&self.faults, "breaks", seeds),
            (&self.faults, "half-noticed", seeds / 4),
            (&self.faults, "silences", seeds / 2),
            (&self.faults, "timed out", seeds / 20),
            (&self.faults, "dials lost", seeds),
            (&self.faults, "ends", seeds / 4),
            (&self.faults, "machines gone", seeds / 10),
            (&self.faults, "closes", seeds / 4),
            (&self.faults, "partitions", seeds / 2),
            (&self.faults, "one-way partitions", seeds / 4),
        ];
        let little = |(all, what, least): &(&BTreeMap<&str, u64>, &'static str, u64)| {
            all.get(what).copied().unwrap_or(0) < *least
        };
        match wanted.iter().find(|wanted| little(wanted)) {
            Some((_, what, least)) => Err(format!("{what}, of which there should be {least}")),
            None => Ok(()),
        }
    }
}

/// A node, in one life after another.
struct Host {
    name: String,
    life: u64,
    node: Option<Node>,
    names: Vec<Registration>,
    /// Whose addresses it knows.
    knows: Vec<bool>,
    /// What is to be sent in order, by receiver and key.
    orders: BTreeMap<(usize, u8), mpsc::UnboundedSender<Bytes>>,
    disk: MemDisk,
}

pub(crate) struct World<'a> {
    chance: Random,
    plant: &'static str,
    network: Network,
    settings: Settings,
    hosts: Vec<Host>,
    ids: Arc<Vec<NodeId>>,
    ledger: Arc<Mutex<Ledger>>,
    kept: Arc<Mutex<Vec<Bytes>>>,
    /// Whether messages are kept on disk, too.
    spools: bool,
    counts: &'a mut Counts,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn key(number: usize) -> NodeKey {
    NodeKey::from_seed(&[number as u8 + 1; 32]).expect("any seed is a key")
}

fn one_in(chance: &mut Random, n: u64) -> bool {
    n > 0 && chance.below(n) == 0
}

fn add(counts: &mut BTreeMap<&'static str, u64>, what: &'static str, n: u64) {
    *counts.entry(what).or_default() += n;
}

impl World<'_> {
    pub(crate) async fn run(seed: u64, plant: &str, counts: &mut Counts) -> Result<(), String> {
        let mut chance = Random(seed);
        let plant = crate::PLANTS.into_iter().find(|known| *known == plant).unwrap_or_default();
        let any = |chance: &mut Random, of: [u64; 4]| of[chance.below(4) as usize];
        let weather = Weather {
            breaks: any(&mut chance, [0, 1, 2, 4]),
            break_bytes: any(&mut chance, [10_000, 100_000, 1_000_000, 10_000_000]),
            silences: any(&mut chance, [0, 2, 4, 8]),
            for_ever: any(&mut chance, [0, 1, 2, 4]),
            dials_fail: any(&mut chance, [0, 2, 4, 8]),
            dials_hang: any(&mut chance, [0, 0, 4, 8]),
            delay: Duration::from_millis(any(&mut chance, [1, 20, 200, 1000])),
            patient: plant == "patient-network",
        };
        let bounds = |window, outgoing| Bounds { window, outgoing };
        let calls = any(&mut chance, [160, 160, 512, 4096]) << 10;
        let bulk = any(&mut chance, [600, 1200, 4096, 16_384]) << 10;
        let settings = Settings {
            admit: Arc::new(|_| true),
            calls: bounds(calls, any(&mut chance, [70, 160, 512, 4096]) << 10),
            bulk: bounds(bulk, any(&mut chance, [160, 600, 4096, 16_384]) << 10),
            bulk_connections: 1 + chance.below(4) as u8,
            // From just enough for the largest message to plenty.
            memory: (4 * calls).max(bulk * 4 / 3) << chance.below(6),
            ..Settings::default()
        };
        let nodes = 2 + chance.below(3) as usize;
        let network = Network::new(chance.draw(), weather);
        let hosts = (0..nodes).map(|me| Host {
            name: format!("host {me}"),
            life: 0,
            node: None,
            names: Vec::new(),
            // One of each two can dial the other, and most times both can.
            knows: (0..nodes).map(|other| other < me || !one_in(&mut chance, 4)).collect(),
            orders: BTreeMap::new(),
            disk: MemDisk::default(),
        });
        let hosts: Vec<Host> = hosts.collect();
        let mut ledger = Ledger::default();
        ledger.ends = vec![Vec::new(); nodes];
        counts.nodes += nodes as u64;
        let mut world = World {
            spools: one_in(&mut chance, 3),
            chance,
            plant,
            network,
            settings,
            hosts,
            ids: Arc::new((0..nodes).map(|host| key(host).id()).collect()),
            ledger: Arc::new(Mutex::new(ledger)),
            kept: Arc::default(),
            counts,
        };
        let begun = Instant::now();
        let outcome = world.live().await;
        world.count(begun);
        outcome
    }

    async fn live(&mut self) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            self.start(host);
        }
        for _ in 0..30 + self.chance.below(60) {
            sleep(Duration::from_millis(self.chance.below(600))).await;
            match self.chance.below(8) {
                0 | 1 => self.fault(),
                _ => self.traffic(),
            }
        }
        self.network.calm();
        for host in 0..self.hosts.len() {
            if self.hosts[host].node.is_none() {
                self.start(host);
            }
        }
        let calm = Instant::now();
        while lock(&self.ledger).open().next().is_some() && calm.elapsed() < CALM {
            sleep(Duration::from_secs(1)).await;
        }
        if let Some((number, open)) = lock(&self.ledger).open().next() {
            let lanes = self.lanes(open.from.0, open.to);
            return Err(format!("message {number} is stuck: {open:?}; {lanes}"));
        }
        lock(&self.ledger).check()?;
        loop {
            let rested = self.nothing_is_held();
            if rested.is_ok() || calm.elapsed() > CALM {
                return rested;
            }
            sleep(Duration::from_secs(5)).await;
        }
    }

    fn lanes(&self, from: usize, to: usize) -> String {
        let state = |host: usize, peer: usize| {
            let node = self.hosts[host].node.as_ref()?;
            node.peers().into_iter().find(|state| state.id == self.ids[peer])
        };
        format!("there {:?}; back {:?}", state(from, to), state(to, from))
    }

    fn nothing_is_held(&self) -> Result<(), String> {
        for (me, host) in self.hosts.iter().enumerate() {
            let Some(node) = &host.node else { continue };
            for peer in node.peers() {
                for (name, lane) in &peer.lanes {
                    if lane.held > 0 || lane.queued != (0, 0) {
                        return Err(format!("of node {me} something is left on {name}: {peer:?}"));
                    }
                }
            }
            if self.ids.iter().any(|peer| node.spooled(*peer) != (0, 0)) {
                return Err(format!("node {me} has something in its spool"));
            }
            let [(small, _), (bulk, _)] = node.memory();
            if small + bulk > 0 {
                return Err(format!(
                    "node {me} has promised {small} and {bulk} bytes to nobody who uses them: {:?}",
                    node.peers()
                ));
            }
        }
        Ok(())
    }

    fn start(&mut self, me: usize) {
        let life = self.hosts[me].life + 1;
        // Apart, since calls are numbered from there.
        let epoch = if self.plant == "same-epoch" { 1 } else { life << 32 };
        let host = &mut self.hosts[me];
        let dial = self.network.dial_from(&host.name);
        let seed = self.chance.draw();
        let node = start_in_one_runtime(key(me), dial, self.settings.clone(), seed, epoch);
        let node = node.expect("nothing of the system's is needed");
        host.life = life;
        host.orders.clear();
        let handler = Handler {
            me: (me, life),
            ids: self.ids.clone(),
            ledger: self.ledger.clone(),
            kept: self.kept.clone(),
            plant: self.plant,
        };
        let register = |name| {
            let handler = handler.clone();
            node.register(name, move |context, bytes| handler.clone().handle(context, bytes))
        };
        host.names = NAMES.iter().map(|name| register(name).unwrap()).collect();
        let knows = host.knows.clone();
        self.network.listen(&host.name, &node);
        if self.spools {
            tokio::spawn(open_spool(node.clone(), host.disk.clone()));
        }
        for (peer, knows) in knows.into_iter().enumerate().filter(|(peer, _)| *peer != me) {
            let addresses = if knows { vec![self.hosts[peer].name.clone()] } else { Vec::new() };
            node.add_peer(self.ids[peer], addresses);
            // Who cannot be dialled asks for it on the connection that there is.
            drop(node.monitor(self.ids[peer], None));
        }
        self.hosts[me].node = Some(node);
    }

    /// The life of a node ends: properly, or not.
    fn end(&mut self, me: usize) {
        let host = &mut self.hosts[me];
        let Some(node) = host.node.take() else { return };
        let what = self.chance.below(3);
        if what > 0 {
            self.network.end(&host.name, what == 1);
        }
        node.close();
        if what == 1 {
            let cut = [Cut::Lose, Cut::Tear, Cut::Reorder][self.chance.below(3) as usize];
            host.disk.power_cut(cut, self.chance.draw());
        }
        host.names.clear();
        host.orders.clear();
        lock(&self.ledger).ends[me].push(Instant::now());
        let what = ["closes", "machines gone", "ends"][what as usize];
        add(&mut self.counts.faults, what, 1);
    }

    fn fault(&mut self) {
        let nodes = self.hosts.len() as u64;
        let one = self.chance.below(nodes) as usize;
        let other = (one + 1 + self.chance.below(nodes - 1) as usize) % self.hosts.len();
        let length = Duration::from_millis(100 << self.chance.below(9));
        let [from, to] = [one, other].map(|host| self.hosts[host].name.clone());
        if self.hosts[one].node.is_none() {
            return self.start(one);
        }
        match self.chance.below(4) {
            0 => {
                self.network.darken(&from, &to, length);
                self.network.darken(&to, &from, length);
                add(&mut self.counts.faults, "partitions", 1);
            }
            1 => {
                self.network.darken(&from, &to, length);
                add(&mut self.counts.faults, "one-way partitions", 1);
            }
            2 if one_in(&mut self.chance, 2) => self.end(one),
            2 => {
                self.end(one);
                self.start(one);
            }
            // What was cut off goes on.
            _ => {}
        }
    }

    fn traffic(&mut self) {
        let nodes = self.hosts.len() as u64;
        let from = self.chance.below(nodes) as usize;
        let to = (from + 1 + self.chance.below(nodes - 1) as usize) % self.hosts.len();
        let Some(node) = self.hosts[from].node.clone() else { return };
        let burst = if one_in(&mut self.chance, 6) { 40 } else { 4 };
        for _ in 0..1 + self.chance.below(burst) {
            let name = NAMES[self.chance.below(3) as usize];
            let (bytes, asked) = self.message();
            let sending = Sending {
                node: node.clone(),
                from: (from, self.hosts[from].life),
                to,
                peer: self.ids[to],
                name,
                bytes,
                ledger: self.ledger.clone(),
                plant: self.plant,
            };
            if sending.bytes.len() > 65_536 {
                add(&mut self.counts.sent, "large", 1);
            }
            match self.chance.below(10) {
                0..4 => drop(tokio::spawn(sending.send())),
                4..6 => self.in_order(sending),
                6..9 => {
                    let deadline = match self.chance.below(3) {
                        0 => Duration::from_millis(20 + self.chance.below(3000)),
                        _ => Duration::from_secs(2000),
                    };
                    let patience = one_in(&mut self.chance, 6)
                        .then(|| Duration::from_millis(self.chance.below(2000)));
                    tokio::spawn(sending.call(deadline, patience, asked));
                }
                9 if self.spools && sending.bytes[8] < 3 && one_in(&mut self.chance, 2) => {
                    drop(tokio::spawn(sending.send_spooled()));
                }
                _ => sending.cast(),
            }
        }
    }

    /// A message, but for its number, and the bytes of a reply that it asks for.
    fn message(&mut self) -> (Vec<u8>, usize) {
        let large = self.settings.bulk.window / 2 - 600;
        let mut length = |largest: u64| {
            let most = match self.chance.below(24) {
                0 => largest,
                1 | 2 => largest.min(200_000),
                3..8 => 60_000,
                8..12 => 4000,
                _ => 300,
            };
            self.chance.below(most) as usize
        };
        let (bytes, reply) = (length(large), length(large.min(1 << 20)));
        let wait = if one_in(&mut self.chance, 3) { self.chance.below(1500) as u16 } else { 0 };
        // Replies, echoes, failures, panics.
        let what = [0, 0, 0, 1, 1, 2, 3][self.chance.below(7) as usize];
        let mut message = vec![0; 8];
        message.push(what);
        message.extend(wait.to_le_bytes());
        message.extend((reply as u32).to_le_bytes());
        message.resize(HEAD_BYTES + bytes, what);
        (message, reply)
    }

    fn in_order(&mut self, mut sending: Sending) {
        let (to, order) = (sending.to, self.chance.below(2) as u8);
        let bytes = Bytes::from(std::mem::take(&mut sending.bytes));
        let orders = &mut self.hosts[sending.from.0].orders;
        let queue = orders.entry((to, order)).or_insert_with(|| {
            let (sender, waiting) = mpsc::unbounded_channel();
            tokio::spawn(sending.send_in_order(order, waiting));
            sender
        });
        let _ = queue.send(bytes);
    }

    fn count(&mut self, begun: Instant) {
        let ledger = lock(&self.ledger);
        for sent in &ledger.sent {
            let how = match sent.how {
                How::Send => "sends",
                How::InOrder(..) => "in order",
                How::Call => "calls",
                How::Cast => "casts",
                How::Spooled => "spooled",
            };
            add(&mut self.counts.sent, how, 1);
            self.counts.bytes += sent.bytes as u64;
            let told = match &sent.told {
                None => "not told",
                Some((_, told)) => match told {
                    Told::Fate(Fate::Delivered) => "delivered",
                    Told::Fate(Fate::Uncertain) => "uncertain",
                    Told::Fate(Fate::TooLarge) => "too large",
                    Told::Reply(Ok(())) => "replies",
                    Told::Reply(Err(CallError::Deadline)) => "deadlines",
                    Told::Reply(Err(CallError::Restarted)) => "restarted",
                    Told::Reply(Err(CallError::Failed(_) | CallError::Panicked(_))) => "failed",
                    Told::Reply(Err(_)) => "closed",
                    Told::Refused(_) => "refused",
                    Told::Nothing => "cast",
                    Told::Cancelled => "cancelled",
                },
            };
            add(&mut self.counts.told, told, 1);
            add(
                &mut self.counts.told,
                "handled again",
                sent.handled.len().saturating_sub(1) as u64,
            );
        }
        let testing::Counts { connections, breaks, half_noticed, silences, timed_out, dials_lost } =
            self.network.counts();
        for (what, n) in [
            ("connections", connections),
            ("breaks", breaks),
            ("half-noticed", half_noticed),
            ("silences", silences),
            ("timed out", timed_out),
            ("dials lost", dials_lost),
        ] {
            add(&mut self.counts.faults, what, n);
        }
        self.counts.seconds += begun.elapsed().as_secs();
    }
}

/// Opens the spool of a node, once the process before lets go of it.
async fn open_spool(node: Node, disk: MemDisk) {
    use strongroom_spool::Disk as _;
    let dir = Path::new("spool");
    let _ = disk.create_dir(dir);
    while let Err(SpoolError::InUse(_)) = node.open_spool(Arc::new(disk.clone()), dir, 64 << 20) {
        sleep(Duration::from_millis(5)).await;
    }
}

/// What takes messages.
#[derive(Clone)]
struct Handler {
    me: (usize, u64),
    ids: Arc<Vec<NodeId>>,
    ledger: Arc<Mutex<Ledger>>,
    kept: Arc<Mutex<Vec<Bytes>>>,
    plant: &'static str,
}

impl Handler {
    /// Notes at once that a message came; then does what that says.
    fn handle(
        self,
        context: Context,
        bytes: Bytes,
    ) -> impl Future<Output = Result<Bytes, Failure>> + Send + 'static {
        let number = u64::from_le_bytes(*bytes.first_chunk().unwrap());
        let from = self.ids.iter().position(|id| *id == context.from).unwrap_or(usize::MAX);
        let mut ledger = lock(&self.ledger);
        ledger.handled(number, from, self.me, context.redelivered);
        let whole = ledger.sent.get(number as usize).is_some_and(|sent| sent.bytes == bytes.len());
        if !whole || bytes[HEAD_BYTES..].iter().any(|byte| *byte != bytes[8]) {
            ledger.complain(format!("message {number} is not what was sent"));
        }
        drop(ledger);
        let wait = u64::from(u16::from_le_bytes([bytes[9], bytes[10]]));
        let reply = u32::from_le_bytes(*bytes[11..].first_chunk().unwrap()) as usize;
        async move {
            if wait > 0 {
                sleep(Duration::from_millis(wait)).await;
            }
            if self.plant == "keep-payloads" && wait > 1490 {
                lock(&self.kept).push(bytes.clone());
            }
            if self.plant == "no-answer" && wait > 1490 {
                std::future::pending::<()>().await;
            }
            match bytes[8] {
                0 => Ok(Bytes::from(vec![number as u8; reply + 1])),
                1 => Ok(bytes.slice(8..)),
                2 => Err(Failure::new(ON_PURPOSE)),
                _ => panic!("{ON_PURPOSE}"),
            }
        }
    }
}

/// A message that is to be sent, and by whom to whom.
struct Sending {
    node: Node,
    from: (usize, u64),
    to: usize,
    peer: NodeId,
    name: &'static str,
    bytes: Vec<u8>,
    ledger: Arc<Mutex<Ledger>>,
    plant: &'static str,
}

impl Sending {
    /// The message with its number, and that.
    fn begin(&mut self, how: How, deadline: Option<Duration>) -> (u64, Bytes) {
        let mut ledger = lock(&self.ledger);
        let number = ledger.begin(how, self.from, self.to, self.bytes.len(), deadline);
        self.bytes[..8].copy_from_slice(&number.to_le_bytes());
        (number, Bytes::from(std::mem::take(&mut self.bytes)))
    }

    fn told(&self, number: u64, told: Told) {
        lock(&self.ledger).told(number, told);
    }

    async fn send(mut self) {
        let (number, bytes) = self.begin(How::Send, None);
        let told = loop {
            let receipt = self.node.send(self.peer, self.name, bytes.clone()).await;
            match receipt {
                Ok(_) if self.plant == "delivered-when-sent" => break Told::Fate(Fate::Delivered),
                Ok(receipt) => match receipt.fate().await {
                    Fate::Uncertain if self.plant == "send-anew" => {}
                    fate => break Told::Fate(fate),
                },
                Err(error) => break Told::Refused(error),
            }
        };
        self.told(number, told);
    }

    /// Sends what comes, one after the other.
    async fn send_in_order(mut self, order: u8, mut waiting: mpsc::UnboundedReceiver<Bytes>) {
        let mut place = 0;
        while let Some(bytes) = waiting.recv().await {
            self.bytes = bytes.into();
            let (number, bytes) = self.begin(How::InOrder(order, place), None);
            let sent = match self.plant {
                "no-order" => self.node.send(self.peer, self.name, bytes).await,
                _ => self.node.send_in_order(self.peer, self.name, &[order], bytes).await,
            };
            match sent {
                Ok(receipt) => {
                    place += 1;
                    let ledger = self.ledger.clone();
                    tokio::spawn(async move {
                        let fate = receipt.fate().await;
                        lock(&ledger).told(number, Told::Fate(fate));
                    });
                }
                Err(error) => self.told(number, Told::Refused(error)),
            }
        }
    }

    async fn call(mut self, deadline: Duration, patience: Option<Duration>, asked: usize) {
        let what = self.bytes[8];
        let length = self.bytes.len();
        let (number, bytes) = self.begin(How::Call, Some(deadline));
        let call = || self.node.call::<Bytes>(self.peer, self.name, bytes.clone(), deadline);
        let call = async {
            match call().await {
                Err(CallError::Deadline) if self.plant == "send-anew" => call().await,
                done => done,
            }
        };
        let done = tokio::select! {
            done = call => done,
            () = sleep(patience.unwrap_or(Duration::from_secs(1 << 30))) => {
                self.told(number, Told::Cancelled);
                return;
            }
        };
        let good = |reply: &Bytes| match what {
            0 => reply.len() == asked + 1 && reply.iter().all(|byte| *byte == number as u8),
            _ => reply.len() == length - 8,
        };
        if done.as_ref().is_ok_and(|reply| !good(reply)) {
            lock(&self.ledger).complain(format!("call {number} was answered by something else"));
        }
        self.told(number, Told::Reply(done.map(drop)));
    }

    async fn send_spooled(mut self) {
        let (number, bytes) = self.begin(How::Spooled, None);
        let told = match self.node.send_spooled(self.peer, self.name, bytes).await {
            Ok(receipt) => match receipt.handled().await {
                Ok(()) | Err(CallError::Failed(_)) => Told::Fate(Fate::Delivered),
                // The next process goes on with it.
                Err(_) => Told::Nothing,
            },
            // The disk may have it nevertheless.
            Err(_) => Told::Cancelled,
        };
        self.told(number, told);
    }

    fn cast(mut self) {
        let (number, bytes) = self.begin(How::Cast, None);
        let told = match self.node.cast(self.peer, self.name, bytes) {
            Ok(()) => Told::Nothing,
            Err(CallError::Refused(Refused::Full { .. })) if self.plant == "ignore-busy" => {
                Told::Nothing
            }
            Err(error) => Told::Refused(error),
        };
        self.told(number, told);
    }
}
