//! A network in memory, whose time is the runtime's: where that stands still (`tokio::time::pause`), hours take moments.
//!
//! Its connections are like TCP's. They keep order, and hold a bounded number of bytes; what is not acknowledged for ten seconds ends
//! them on the side that waits; a side whose other side is gone hears so when it sends. They break in the middle, with bytes on their
//! way, and one side may know much later than the other, or not before it says something. Some fall silent: all that is sent is lost
//! until that ends, if it does. Each has a delay of its own, so that what is sent on one overtakes what is sent on another.
//!
//! What happens to a connection is drawn from the network's seed, the two hosts, and how many they had before, so that a
//! change somewhere does not change everything everywhere.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use strongroom_spool::testing::Random;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use crate::path::{BoxFuture, Dial, Kind, Path, Stream, USER_TIMEOUT};
use crate::{Node, NodeId};

/// Bytes that a connection may hold in one direction.
const CAPACITY: [usize; 4] = [4 << 10, 64 << 10, 256 << 10, 1 << 20];
/// The same at least of one with a long delay: as much as a slow one has under way in that time.
const CAPACITY_FAR: usize = 256 << 10;
/// Bytes that go over it in a second.
const BYTES_PER_SECOND: [u64; 4] = [400_000, 4_000_000, 40_000_000, 1 << 40];
/// Bytes that go together at most.
const SEGMENT_BYTES_MAX: usize = 64 << 10;
/// A dial to where nobody can be reached is tried so often.
const DIAL_AGAIN: Duration = Duration::from_secs(1);

/// How bad the network is, beside what it is told to do at once. One in so many, or never for 0.
#[derive(Debug, Clone, Copy, Default)]
pub struct Weather {
    /// Connections that break after some bytes.
    pub breaks: u64,
    /// After so many at most.
    pub break_bytes: u64,
    /// Connections that fall silent for a while, in one direction or both.
    pub silences: u64,
    /// Those of them that stay so.
    pub for_ever: u64,
    /// Dials that fail at once.
    pub dials_fail: u64,
    /// Dials of which nothing is ever heard.
    pub dials_hang: u64,
    /// The delay of a connection at most.
    pub delay: Duration,
    /// What does not end connections whose bytes nobody acknowledges: a bug, to be found.
    pub patient: bool,
}

/// What happened.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Connections that were there.
    pub connections: u64,
    /// Connections that broke, and those of them of which one side heard later.
    pub breaks: u64,
    /// See `breaks`.
    pub half_noticed: u64,
    /// Connections that fell silent.
    pub silences: u64,
    /// Connections that ended because nobody acknowledged what was sent.
    pub timed_out: u64,
    /// Dials that failed or hung.
    pub dials_lost: u64,
}

/// A network. A clone is the same.
#[derive(Clone)]
pub struct Network(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// There is an earlier event than before.
    sooner: Notify,
}

struct State {
    seed: u64,
    weather: Weather,
    counts: Counts,
    /// Who takes connections at a host.
    listening: HashMap<String, mpsc::UnboundedSender<Path>>,
    /// Hosts from which nothing comes.
    off: BTreeSet<String>,
    /// From one to the other nothing comes until then.
    dark: HashMap<(String, String), Instant>,
    /// Dials from one to the other so far.
    dials: HashMap<(String, String), u64>,
    connections: BTreeMap<u64, Connection>,
    events: BTreeMap<(Instant, u64), Event>,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
enum Event {
    /// Something reaches the end of a pipe.
    Arrive(u64, usize),
    /// A side hears that the connection is no more.
    Reset(u64, usize),
    /// Perhaps a side has waited long enough.
    GiveUp(u64, usize),
    /// Where it was dark there is light.
    Light,
}

struct Connection {
    hosts: [String; 2],
    /// By each side.
    pipes: [Pipe; 2],
    ends: [End; 2],
    chance: Random,
    /// Neither side's bytes go anywhere any more.
    cut: bool,
    /// Bytes after which it breaks, or falls silent.
    breaks_after: Option<u64>,
    silent_after: Option<u64>,
    sent: u64,
}

/// A side of a connection.
#[derive(Default)]
struct End {
    error: Option<ErrorKind>,
    /// Nobody has it any more.
    gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

/// A direction of a connection, from the side of its number to the other.
struct Pipe {
    /// On their way, and when they arrive; nothing at the end is the end of the stream.
    flying: VecDeque<(Instant, Vec<u8>)>,
    /// There, to be read.
    there: VecDeque<u8>,
    ended: bool,
    bytes: usize,
    capacity: usize,
    bytes_per_second: u64,
    delay: Duration,
    /// The last of it was sent then, and arrives then.
    free_at: Instant,
    arrives_at: Instant,
    /// Nothing comes until then.
    dark: Option<Instant>,
    /// Nothing was acknowledged since.
    waits_since: Option<Instant>,
    giving_up: bool,
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(1 << 30)
}

impl Network {
    /// A network without hosts, in the runtime in which this is called; it is there as long as that.
    pub fn new(seed: u64, weather: Weather) -> Network {
        let state = State {
            seed,
            weather,
            counts: Counts::default(),
            listening: HashMap::new(),
            off: BTreeSet::new(),
            dark: HashMap::new(),
            dials: HashMap::new(),
            connections: BTreeMap::new(),
            events: BTreeMap::new(),
            next: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), sooner: Notify::new() });
        tokio::spawn(drive(shared.clone()));
        Network(shared)
    }

    /// What a node at this host dials by. Addresses are hosts.
    pub fn dial_from(&self, host: &str) -> impl Dial {
        Host { network: self.clone(), name: host.to_owned() }
    }

    /// Lets a node take the connections that are dialled to a host, until it ends or another does.
    pub fn listen(&self, host: &str, node: &Node) {
        let (sender, mut accepted) = mpsc::unbounded_channel();
        {
            let mut state = self.0.lock();
            state.off.remove(host);
            state.listening.insert(host.to_owned(), sender);
        }
        let node = Arc::downgrade(node.inner());
        tokio::spawn(async move {
            while let Some(path) = accepted.recv().await {
                let Some(node) = node.upgrade().map(Node::of) else { return };
                tokio::spawn(async move { node.accept(path).await });
            }
        });
    }

    /// From one host to another nothing comes for so long.
    pub fn darken(&self, from: &str, to: &str, length: Duration) {
        let mut state = self.0.lock();
        let until = Instant::now() + length;
        state.dark.insert((from.into(), to.into()), until);
        state.at(until, Event::Light);
        drop(state);
        self.0.sooner.notify_one();
    }

    /// The process at a host ends, or with `machine` all of the host: then nobody hears of it from there.
    pub fn end(&self, host: &str, machine: bool) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        state.listening.remove(host);
        if machine {
            state.off.insert(host.to_owned());
        }
        let now = Instant::now();
        let mut resets = Vec::new();
        for (number, connection) in &mut state.connections {
            for side in 0..2 {
                if connection.hosts[side] != host {
                    continue;
                }
                connection.fail(side, ErrorKind::ConnectionAborted);
                connection.ends[side].gone = true;
                connection.pipes[side].lose(&mut connection.chance);
                if !machine {
                    let delay = connection.pipes[side].delay;
                    resets.push((now + delay, Event::Reset(*number, 1 - side)));
                }
            }
        }
        resets.into_iter().for_each(|(when, event)| state.at(when, event));
        drop(guard);
        self.0.sooner.notify_one();
    }

    /// The weather is good from now on, and every way is open; connections that are silent for ever stay so.
    pub fn calm(&self) {
        let mut state = self.0.lock();
        let Weather { delay, patient, .. } = state.weather;
        state.weather = Weather { delay, patient, ..Weather::default() };
        state.dark.clear();
        let now = Instant::now();
        for connection in state.connections.values_mut() {
            (connection.breaks_after, connection.silent_after) = (None, None);
            for pipe in &mut connection.pipes {
                pipe.dark = pipe.dark.filter(|until| *until > now + Duration::from_secs(1 << 20));
            }
        }
        state.at(now, Event::Light);
        drop(state);
        self.0.sooner.notify_one();
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.0.lock().counts
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets happen what is to happen, when it is.
async fn drive(shared: Arc<Shared>) {
    loop {
        let next = {
            let mut state = shared.lock();
            let now = Instant::now();
            while let Some(first) = state.events.first_entry()
                && first.key().0 <= now
            {
                let event = first.remove();
                state.happen(event, now);
            }
            state.events.first_key_value().map(|((when, _), _)| *when)
        };
        let pause = tokio::time::sleep_until(next.unwrap_or_else(far));
        tokio::select! {
            () = pause => {}
            () = shared.sooner.notified() => {}
        }
    }
}

impl State {
    fn at(&mut self, when: Instant, event: Event) {
        self.next += 1;
        self.events.insert((when, self.next), event);
    }

    /// Whether nothing comes from one to the other.
    fn is_dark(&self, from: &str, to: &str) -> bool {
        let dark = self.dark.get(&(from.to_owned(), to.to_owned()));
        dark.is_some_and(|until| *until > Instant::now())
            || self.off.contains(from)
            || self.off.contains(to)
    }

    /// Whether nothing comes from this side of a connection to the other.
    fn is_silent(&self, connection: &Connection, side: usize) -> bool {
        connection.pipes[side].dark.is_some_and(|until| until > Instant::now())
            || self.is_dark(&connection.hosts[side], &connection.hosts[1 - side])
    }

    fn happen(&mut self, event: Event, now: Instant) {
        let number = match event {
            Event::Light => {
                let numbers: Vec<u64> = self.connections.keys().copied().collect();
                for number in numbers {
                    self.happen(Event::Arrive(number, 0), now);
                    self.happen(Event::Arrive(number, 1), now);
                }
                return;
            }
            Event::Arrive(number, _) | Event::Reset(number, _) | Event::GiveUp(number, _) => number,
        };
        let Some(mut connection) = self.connections.remove(&number) else { return };
        match event {
            Event::Arrive(_, side) => self.arrive(number, &mut connection, side, now),
            Event::Reset(_, side) if !self.is_silent(&connection, 1 - side) => {
                connection.fail(side, ErrorKind::ConnectionReset);
            }
            Event::GiveUp(_, side) if !self.weather.patient => {
                let pipe = &mut connection.pipes[side];
                pipe.giving_up = false;
                match pipe.waits_since {
                    Some(since) if now >= since + USER_TIMEOUT => {
                        self.counts.timed_out += 1;
                        connection.fail(side, ErrorKind::TimedOut);
                    }
                    Some(since) => {
                        pipe.giving_up = true;
                        self.at(since + USER_TIMEOUT, event);
                    }
                    None => {}
                }
            }
            _ => {}
        }
        if !connection.ends.iter().all(|end| end.gone) {
            self.connections.insert(number, connection);
        }
    }

    /// What is due arrives at the end of a pipe, unless it is lost; and what arrived is acknowledged, unless that is.
    fn arrive(&mut self, number: u64, connection: &mut Connection, side: usize, now: Instant) {
        if self.is_silent(connection, side) {
            return;
        }
        let (silent_back, other) = (self.is_silent(connection, 1 - side), 1 - side);
        let delay = connection.pipes[other].delay;
        let pipe = &mut connection.pipes[side];
        let mut came = false;
        while let Some((when, _)) = pipe.flying.front()
            && *when <= now
            && let Some((_, bytes)) = pipe.flying.pop_front()
        {
            came = true;
            pipe.ended |= bytes.is_empty();
            pipe.there.extend(bytes);
        }
        let end = &mut connection.ends[other];
        let known = !connection.cut && !end.gone && end.error.is_none();
        if known && !silent_back {
            let waits = pipe.flying.iter().any(|(_, bytes)| !bytes.is_empty());
            pipe.waits_since =
                waits.then_some(if came { now } else { pipe.waits_since.unwrap_or(now) });
        }
        if came
            && known
            && let Some(reader) = end.reader.take()
        {
            reader.wake();
        } else if came && !known {
            // Nobody there knows of this connection.
            self.at(now + delay, Event::Reset(number, side));
        }
    }

    /// A connection between two hosts.
    fn connect(&mut self, from: &str, to: &str, mut chance: Random) -> u64 {
        let Weather { breaks, break_bytes, silences, delay, .. } = self.weather;
        let one_in = |chance: &mut Random, n: u64| n > 0 && chance.below(n) == 0;
        let now = Instant::now();
        let mut capacity = CAPACITY[chance.below(4) as usize];
        let bytes_per_second = BYTES_PER_SECOND[chance.below(4) as usize];
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        // Most are quick.
        let micros = micros >> chance.below(8);
        if micros > 20_000 {
            capacity = capacity.max(CAPACITY_FAR);
        }
        let breaks_after =
            one_in(&mut chance, breaks).then(|| chance.below(break_bytes) >> chance.below(12));
        let silent_after =
            one_in(&mut chance, silences).then(|| chance.below(break_bytes) >> chance.below(12));
        let mut pipe = || Pipe {
            flying: VecDeque::new(),
            there: VecDeque::new(),
            ended: false,
            bytes: 0,
            capacity,
            bytes_per_second,
            delay: Duration::from_micros(500 + chance.below(micros + 1)),
            free_at: now,
            arrives_at: now,
            dark: None,
            waits_since: None,
            giving_up: false,
        };
        let pipes = [pipe(), pipe()];
        self.counts.connections += 1;
        self.next += 1;
        let connection = Connection {
            hosts: [from.to_owned(), to.to_owned()],
            pipes,
            ends: Default::default(),
            chance,
            cut: false,
            breaks_after,
            silent_after,
            sent: 0,
        };
        self.connections.insert(self.next, connection);
        self.next
    }

    /// A side sends. Returns how much is taken.
    fn send(&mut self, number: u64, side: usize, bytes: &[u8]) -> usize {
        let now = Instant::now();
        let (weather, mut events) = (self.weather, Vec::new());
        let Some(connection) = self.connections.get_mut(&number) else { return 0 };
        let pipe = &mut connection.pipes[side];
        let length = bytes.len().min(pipe.capacity - pipe.bytes).min(SEGMENT_BYTES_MAX);
        if connection.cut {
            // Whoever cut it answers.
            events.push((now + 2 * pipe.delay, Event::Reset(number, side)));
        } else {
            let nanos = (length as u64).saturating_mul(1_000_000_000) / pipe.bytes_per_second;
            pipe.free_at = pipe.free_at.max(now) + Duration::from_nanos(nanos);
            let jitter = pipe.delay.mul_f64(connection.chance.below(1000) as f64 / 4000.0);
            pipe.arrives_at = pipe.arrives_at.max(pipe.free_at + pipe.delay + jitter);
            pipe.bytes += length;
            pipe.flying.push_back((pipe.arrives_at, bytes[..length].to_vec()));
            events.push((pipe.arrives_at, Event::Arrive(number, side)));
        }
        pipe.waits_since.get_or_insert(now);
        if !std::mem::replace(&mut pipe.giving_up, true) {
            events.push((now + USER_TIMEOUT, Event::GiveUp(number, side)));
        }
        connection.sent += length as u64;
        let sent = connection.sent;
        if connection.breaks_after.take_if(|after| *after <= sent).is_some() {
            self.counts.breaks += 1;
            events.extend(connection.breaks(number, now, &mut self.counts));
        }
        if connection.silent_after.take_if(|after| *after <= sent).is_some() {
            self.counts.silences += 1;
            let chance = &mut connection.chance;
            let for_ever = weather.for_ever > 0 && chance.below(weather.for_ever) == 0;
            let until = match for_ever {
                true => far(),
                false => now + Duration::from_millis(chance.below(20_000)),
            };
            let which = chance.below(3);
            for (side, pipe) in connection.pipes.iter_mut().enumerate() {
                if which != side as u64 {
                    pipe.dark = Some(until);
                }
            }
            events.push((until, Event::Light));
        }
        events.into_iter().for_each(|(when, event)| self.at(when, event));
        length
    }

    /// A side lets go of its end.
    fn leave(&mut self, number: u64, side: usize) {
        let Some(connection) = self.connections.get_mut(&number) else { return };
        connection.ends[side].gone = true;
        if connection.ends[1 - side].gone {
            self.connections.remove(&number);
            return;
        }
        if connection.cut || connection.ends[side].error.is_some() {
            return;
        }
        let pipe = &mut connection.pipes[side];
        let when = pipe.arrives_at.max(Instant::now() + pipe.delay);
        pipe.arrives_at = when;
        pipe.flying.push_back((when, Vec::new()));
        self.at(when, Event::Arrive(number, side));
    }
}

impl Connection {
    fn fail(&mut self, side: usize, kind: ErrorKind) {
        let end = &mut self.ends[side];
        end.error.get_or_insert(kind);
        [end.reader.take(), end.writer.take()].into_iter().flatten().for_each(Waker::wake);
    }

    /// It breaks somewhere between its ends. Says who hears of it later.
    fn breaks(&mut self, number: u64, now: Instant, counts: &mut Counts) -> Vec<(Instant, Event)> {
        let first = self.chance.below(2) as usize;
        self.cut = true;
        self.fail(first, ErrorKind::ConnectionReset);
        self.pipes[1 - first].flying.clear();
        self.pipes[first].lose(&mut self.chance);
        let later = match self.chance.below(3) {
            0 => self.pipes[first].delay,
            1 => Duration::from_millis(self.chance.below(8000)),
            // When it says something.
            _ => {
                counts.half_noticed += 1;
                return Vec::new();
            }
        };
        vec![(now + later, Event::Reset(number, 1 - first))]
    }
}

impl Pipe {
    /// Of what is on its way some of the end is lost.
    fn lose(&mut self, chance: &mut Random) {
        let kept = chance.below(self.flying.len() as u64 + 1);
        self.flying.truncate(usize::try_from(kept).unwrap_or(0));
        if let Some((_, last)) = self.flying.back_mut()
            && last.len() > 1
        {
            let kept = 1 + chance.below(last.len() as u64 - 1);
            last.truncate(usize::try_from(kept).unwrap_or(1));
        }
    }
}

struct Host {
    network: Network,
    name: String,
}

impl Dial for Host {
    fn dial<'a>(&'a self, _: &'a NodeId, address: &'a str) -> BoxFuture<'a, io::Result<Path>> {
        Box::pin(async move {
            let shared = &self.network.0;
            let (mut chance, weather) = {
                let mut state = shared.lock();
                let count = state.dials.entry((self.name.clone(), address.to_owned())).or_default();
                *count += 1;
                let names = [self.name.as_bytes(), b">", address.as_bytes()].concat();
                let begin = state.seed ^ u64::from_le_bytes(first_bytes(&blake3::hash(&names)));
                let count = state.dials[&(self.name.clone(), address.to_owned())];
                (Random(begin.wrapping_add(count << 32)), state.weather)
            };
            chance.draw();
            let one_in = |chance: &mut Random, n: u64| n > 0 && chance.below(n) == 0;
            if one_in(&mut chance, weather.dials_hang) {
                shared.lock().counts.dials_lost += 1;
                return std::future::pending().await;
            }
            let fails = one_in(&mut chance, weather.dials_fail);
            let dark = || {
                let state = shared.lock();
                state.is_dark(&self.name, address) || state.is_dark(address, &self.name)
            };
            tokio::time::sleep(weather.delay.mul_f64(chance.below(1000) as f64 / 8000.0)).await;
            while dark() {
                tokio::time::sleep(DIAL_AGAIN).await;
            }
            let ours = {
                let mut state = shared.lock();
                let listening = state.listening.get(address).cloned().filter(|_| !fails);
                let Some(listening) = listening else {
                    state.counts.dials_lost += 1;
                    return Err(ErrorKind::ConnectionRefused.into());
                };
                let number = state.connect(&self.name, address, chance);
                drop(state);
                let [ours, theirs] =
                    [0, 1].map(|side| Side { network: self.network.clone(), number, side });
                let path = Path { stream: Box::new(theirs), kind: Kind::Direct };
                listening.send(path).map_err(|_| ErrorKind::ConnectionRefused)?;
                ours
            };
            Ok(Path { stream: Box::new(ours), kind: Kind::Direct })
        })
    }
}

fn first_bytes(hash: &blake3::Hash) -> [u8; 8] {
    std::array::from_fn(|at| hash.as_bytes()[at])
}

/// A side of a connection, as whoever has it sees it.
struct Side {
    network: Network,
    number: u64,
    side: usize,
}

impl Stream for Side {
    fn rehome(self: Box<Self>) -> io::Result<Box<dyn Stream>> {
        Ok(self)
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        self.network.0.lock().leave(self.number, self.side);
        self.network.0.sooner.notify_one();
    }
}

impl AsyncRead for Side {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.network.0.lock();
        let Some(connection) = state.connections.get_mut(&self.number) else {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        };
        if let Some(kind) = connection.ends[self.side].error {
            return Poll::Ready(Err(kind.into()));
        }
        let other = 1 - self.side;
        let pipe = &mut connection.pipes[other];
        let (front, _) = pipe.there.as_slices();
        let n = front.len().min(buffer.remaining());
        if n > 0 {
            buffer.put_slice(&front[..n]);
            pipe.there.drain(..n);
            pipe.bytes -= n.min(pipe.bytes);
            if let Some(writer) = connection.ends[other].writer.take() {
                writer.wake();
            }
            return Poll::Ready(Ok(()));
        }
        if pipe.ended || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        connection.ends[self.side].reader = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl AsyncWrite for Side {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut state = self.network.0.lock();
        let Some(connection) = state.connections.get_mut(&self.number) else {
            return Poll::Ready(Err(ErrorKind::ConnectionReset.into()));
        };
        if let Some(kind) = connection.ends[self.side].error {
            return Poll::Ready(Err(kind.into()));
        }
        let pipe = &connection.pipes[self.side];
        if pipe.bytes >= pipe.capacity && !bytes.is_empty() {
            connection.ends[self.side].writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let taken = state.send(self.number, self.side, bytes);
        drop(state);
        self.network.0.sooner.notify_one();
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
