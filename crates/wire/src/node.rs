//! A node: a key, the peers that it knows, and the connections to them.

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::ServerConfig;
use strongroom_spool::testing::Random;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{Semaphore, broadcast, oneshot, watch};

use crate::blob::Blobs;
use crate::carry::{LAST_WORDS, Note};
use crate::connect::{Dialled, PAUSE_MIN, timely};
use crate::envelope::{Envelope, Kind, NAME_BYTES_MAX, Trace};
use crate::gossip::Gossip;
use crate::hello::{EPOCH_MAX, Place, Refusal};
use crate::lane::Budget;
use crate::membership::{self, Addresses, NoAddresses};
use crate::path::{Dial, Path, Tcp};
use crate::peer::{Gone, Peer, Receipt};
use crate::pool::Once;
use crate::service::{CallError, Context, Failure, Names, NotAName, Payload, Registration};
use crate::spooled::Spooled;
use crate::threads::{be_patient, be_quick};
use crate::tls::{self, Admit, Records, server_config};
use crate::{Bounds, Ended, LaneState, NodeId, NodeKey, path, shake};

/// Handshakes of peers who dial us that are under way at most.
const HANDSHAKES_MAX: usize = 256;
/// A lane that was not used for so long gives back the credit that it has.
const REST_EVERY: Duration = Duration::from_secs(10);

/// How a node is set up. The default is for servers with some memory to spare.
#[derive(Clone)]
pub struct Settings {
    /// Who may connect. Peers that were added always may.
    pub admit: Arc<Admit>,
    /// Bounds of each lane for small messages, of which a peer has two.
    pub calls: Bounds,
    /// Bounds of a peer's lane for large ones.
    pub bulk: Bounds,
    /// Connections for large messages, 1 to 6.
    pub bulk_connections: u8,
    /// Threads that move bulk data.
    pub bulk_threads: usize,
    /// By whom TLS's records are sealed and opened.
    pub records: Records,
    /// Memory for messages that come, of all peers: bytes that may be under way to this node, or be held by it. A quarter is
    /// for small messages. Beside it each peer may have 64 KiB; and, where its last connection went and it comes again after
    /// others were promised its part, for a while what it could have under way then.
    pub memory: u64,
    /// Peers that are known at most. One more takes the place of one that was not added, and is gone.
    pub peers_max: usize,
}

impl Default for Settings {
    fn default() -> Settings {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Settings {
            admit: Arc::new(|_| false),
            calls: Bounds { window: 4 << 20, outgoing: 4 << 20 },
            bulk: Bounds { window: 64 << 20, outgoing: 32 << 20 },
            // More than there are cores cost more than they bring.
            bulk_connections: if cores < 4 { 2 } else { 4 },
            bulk_threads: cores.min(4),
            records: Records::Own,
            memory: 1 << 30,
            peers_max: 4096,
        }
    }
}

/// A node could not be started.
#[derive(Debug, thiserror::Error)]
pub enum NotStarted {
    /// TLS.
    #[error(transparent)]
    Tls(#[from] tls::Error),
    /// Its thread for control connections.
    #[error("the node's thread cannot be started: {0}")]
    Thread(#[from] std::io::Error),
}

/// A message could not be sent.
pub type SendError = CallError;

/// A node. A clone is the same; when the last is dropped, its connections end.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

type Peers = RwLock<HashMap<NodeId, Arc<Peer>>>;

pub(crate) struct Inner {
    pub(crate) key: NodeKey,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) dial: Box<dyn Dial>,
    pub(crate) settings: Settings,
    pub(crate) names: Names,
    peers: Arc<Peers>,
    /// Where handlers and connections for small messages run: the runtime in which the node was started.
    pub(crate) main: Handle,
    pub(crate) control: Handle,
    /// Started when the first connection for bulk data stands.
    bulk: Once<Runtime>,
    handshakes: Semaphore,
    pub(crate) gossip: Arc<Gossip>,
    blobs: Blobs,
    /// The names by which blobs are read.
    reading: OnceLock<[Registration; 2]>,
    /// Out of which credit is promised to peers.
    pub(crate) small_budget: Arc<Budget>,
    pub(crate) bulk_budget: Arc<Budget>,
    pub(crate) closing: watch::Sender<bool>,
    /// Messages on disk, and the name by which they come.
    pub(crate) spooled: OnceLock<(Arc<Spooled>, Registration)>,
    /// Of a node in a simulator.
    fixed: Option<Fixed>,
}

/// What a simulator says, and others have from the system.
pub(crate) struct Fixed {
    /// The epoch of this life, with all peers.
    pub(crate) epoch: u64,
    /// What chance comes from.
    pub(crate) chance: Mutex<Random>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
        if let Some(bulk) = self.bulk.take() {
            // Its connections say that they end; this thread, which may be one of a runtime, waits for nothing.
            let ended = std::thread::Builder::new()
                .name("wire-end".into())
                .spawn(move || bulk.shutdown_timeout(2 * LAST_WORDS));
            drop(ended);
        }
    }
}

/// A peer as it is now, to be shown.
#[derive(Debug, Clone)]
pub struct PeerState {
    /// Who it is.
    pub id: NodeId,
    /// Where it may be dialled.
    pub addresses: Vec<String>,
    /// Connections that stand: for what, of what kind, whether dialled by us, and since when.
    pub connections: Vec<(Place, path::Kind, bool, Duration)>,
    /// The round trip of heartbeats, smoothed.
    pub round_trip: Option<Duration>,
    /// How suspicious its silence is ([`crate::phi`]); of one that was never heard, 0.
    pub phi: f64,
    /// Its lanes, by name.
    pub lanes: Vec<(String, LaneState)>,
}

impl Node {
    /// Starts a node that opens connections by `dial`. Handlers run in the runtime in which this is called.
    ///
    /// # Errors
    /// [`NotStarted`].
    pub fn start(key: NodeKey, dial: impl Dial, settings: Settings) -> Result<Node, NotStarted> {
        Node::start_as(key, dial, settings, None)
    }

    /// The same; one that a simulator starts has no threads: all of it runs in the runtime in which this is called.
    pub(crate) fn start_as(
        key: NodeKey,
        dial: impl Dial,
        settings: Settings,
        fixed: Option<Fixed>,
    ) -> Result<Node, NotStarted> {
        let (closing, ending) = watch::channel(false);
        let control = match fixed {
            Some(_) => Handle::current(),
            None => control_thread(ending)?,
        };
        let peers = Arc::<Peers>::default();
        let (known, admit) = (peers.clone(), settings.admit.clone());
        let admit = move |id: &NodeId| {
            known.read().unwrap_or_else(PoisonError::into_inner).contains_key(id) || admit(id)
        };
        // Whatever is said: the largest message finds room.
        let small_budget = Budget::new((settings.memory / 4).max(settings.calls.window));
        let bulk_budget = Budget::new((settings.memory / 4 * 3).max(settings.bulk.window));
        let inner = Inner {
            small_budget,
            bulk_budget,
            server: server_config(&key, Arc::new(admit))?,
            key,
            dial: Box::new(dial),
            settings,
            names: Names::default(),
            peers,
            main: Handle::current(),
            control,
            bulk: Once::default(),
            handshakes: Semaphore::new(HANDSHAKES_MAX),
            gossip: Arc::new(Gossip::new()),
            blobs: Blobs::default(),
            reading: OnceLock::new(),
            closing,
            spooled: OnceLock::new(),
            fixed,
        };
        let node = Node(Arc::new(inner));
        let (weak, mut closing) = (Arc::downgrade(&node.0), node.0.closing.subscribe());
        node.0.main.spawn(async move {
            tokio::select! {
                () = rest(weak) => {}
                () = closed(&mut closing) => {}
            }
        });
        if let Ok(reading) = node.serve_blobs() {
            let _ = node.0.reading.set(reading);
        }
        Ok(node)
    }

    pub(crate) fn inner(&self) -> &Arc<Inner> {
        &self.0
    }

    pub(crate) fn of(inner: Arc<Inner>) -> Node {
        Node(inner)
    }

    /// Who this is.
    pub fn id(&self) -> NodeId {
        self.0.key.id()
    }

    /// Makes a peer known, with the addresses at which it may be dialled; they replace those from before. Nothing is dialled
    /// until there is something to say.
    pub fn add_peer(&self, peer: NodeId, addresses: Vec<String>) {
        if let Some(peer) = self.0.peer(peer) {
            peer.add_addresses(addresses);
        }
    }

    /// Takes TCP connections at an address, in the background, until the node ends. Returns where: a port of 0 is chosen by
    /// the system.
    ///
    /// # Errors
    /// The system's.
    pub async fn listen(&self, address: &str) -> std::io::Result<SocketAddr> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (weak, mut closing) = (Arc::downgrade(&self.0), self.0.closing.subscribe());
        self.0.main.spawn(async move {
            loop {
                let stream = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = closed(&mut closing) => return,
                };
                let Some(inner) = weak.upgrade() else { return };
                match stream {
                    Ok((stream, from)) => {
                        inner.main.clone().spawn(async move {
                            let accepted = match Tcp::path(stream) {
                                Ok(path) => Node(inner).accept(path).await,
                                Err(error) => Err(error.into()),
                            };
                            if let Err(ended) = accepted {
                                tracing::debug!(%from, "a connection came to nothing: {ended}");
                            }
                        });
                    }
                    // Too many files are open, most often: it passes.
                    Err(error) => {
                        tracing::warn!("no connection can be accepted: {error}");
                        drop(inner);
                        tokio::time::sleep(PAUSE_MIN).await;
                    }
                }
            }
        });
        Ok(address)
    }

    /// Takes a stream that a peer opened to us, until it has its place; then it is driven in the background.
    ///
    /// # Errors
    /// [`Ended`], where it came to nothing.
    pub async fn accept(&self, path: Path) -> Result<(), Ended> {
        let node = &self.0;
        // Waiting for a turn counts: whoever fills them all keeps others waiting no longer than a handshake may take.
        timely(async {
            let _permit = node.handshakes.acquire().await.map_err(|_| Ended::Closed)?;
            let handshake = node.server_handshake()?;
            node.answer(path, handshake, None).await
        })
        .await
    }

    /// Takes a stream that has no side which dialled (hole punching, relays), with the peer that it leads to, for a place on
    /// which both agree: of the two nodes the lesser is TLS's client.
    ///
    /// # Errors
    /// [`Ended`], where it came to nothing.
    pub async fn attach(&self, path: Path, peer: NodeId, place: Place) -> Result<(), Ended> {
        let node = &self.0;
        if self.id() > peer {
            let handshake = node.server_handshake()?;
            return timely(node.answer(path, handshake, Some((peer, place)))).await;
        }
        let peer = node.peer(peer).ok_or(Ended::Refused(Refusal::Closing))?;
        let handshake = node.client_handshake(peer.id)?;
        let asked = async {
            let Path { mut stream, kind } = path;
            let (session, early) = shake(&mut stream, handshake).await?;
            node.ask(&peer, place, Dialled { stream, kind, session, early }).await
        };
        timely(asked).await
    }

    /// Lets `handler` have a name, until what is returned is dropped. Handlers are started in the order in which their messages
    /// come, and run at the same time.
    ///
    /// # Errors
    /// [`NotAName`].
    pub fn register<Q, A, F>(
        &self,
        name: &str,
        handler: impl Fn(Context, Q) -> F + Send + Sync + 'static,
    ) -> Result<Registration, NotAName>
    where
        Q: Payload,
        A: Payload,
        F: Future<Output = Result<A, Failure>> + Send + 'static,
    {
        let weak = Arc::downgrade(&self.0);
        let gone = move |name: &str| {
            if let Some(inner) = weak.upgrade() {
                inner.peers().iter().for_each(|peer| peer.name_gone(name));
            }
        };
        self.0.names.register(name, handler, Box::new(gone))
    }

    /// Sends a message to a name at a peer; waits while too much is under way to it. What becomes of it, the receipt
    /// tells, to whoever wants to know.
    ///
    /// # Errors
    /// [`SendError`], where it was not taken in.
    pub async fn send(
        &self,
        to: NodeId,
        name: &str,
        message: impl Payload,
    ) -> Result<Receipt, SendError> {
        let (peer, envelope, slot) = self.prepare(to, name, Kind::Send)?;
        let (sender, receipt) = oneshot::channel();
        let parts = [envelope.to_bytes(), message.into_bytes()];
        peer.post(slot, parts, Note::Receipt(sender)).await?;
        Ok(Receipt(receipt))
    }

    /// The same, in order: it is handed to its handler after all that were sent to this peer with the same key before, whatever
    /// their names and sizes. When the peer's process is started anew, all of them that were not handed on are
    /// [`Fate::Uncertain`](crate::Fate::Uncertain), also those that were never begun: what was to come before them may be lost.
    ///
    /// # Errors
    /// [`SendError`], where it was not taken in.
    pub async fn send_in_order(
        &self,
        to: NodeId,
        name: &str,
        key: &[u8],
        message: impl Payload,
    ) -> Result<Receipt, SendError> {
        let (peer, envelope, _) = self.prepare(to, name, Kind::Send)?;
        let (sender, receipt) = oneshot::channel();
        peer.post_in_order(key, envelope, message.into_bytes(), sender).await?;
        Ok(Receipt(receipt))
    }

    /// Sends a message at once or not at all, and asks for nothing.
    ///
    /// # Errors
    /// [`SendError`], where it was not taken in: [`Refused::Full`](crate::lane::Refused::Full) says that the peer is busy.
    pub fn cast(&self, to: NodeId, name: &str, message: impl Payload) -> Result<(), SendError> {
        let (peer, envelope, slot) = self.prepare(to, name, Kind::Send)?;
        let parts = [envelope.to_bytes(), message.into_bytes()];
        match peer.try_post(slot, parts, Note::None) {
            Ok(_) => Ok(()),
            Err((refused, _)) => Err(refused.into()),
        }
    }

    /// Casts to every peer that is known. Returns to whom it was not sent, and why.
    pub fn broadcast(
        &self,
        name: &str,
        message: &(impl Payload + Clone),
    ) -> Vec<(NodeId, SendError)> {
        let message = message.clone().into_bytes();
        let cast = |peer: Arc<Peer>| {
            let failed = self.cast(peer.id, name, message.clone()).err()?;
            Some((peer.id, failed))
        };
        self.0.peers().into_iter().filter_map(cast).collect()
    }

    /// Asks a name at a peer, and waits for the reply, up to `deadline`. A call whose future is dropped is cancelled.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<A: Payload>(
        &self,
        to: NodeId,
        name: &str,
        message: impl Payload,
        deadline: Duration,
    ) -> Result<A, CallError> {
        self.traced_call(to, name, message, deadline, None).await
    }

    /// The same, as a step of what `trace` belongs to.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn traced_call<A: Payload>(
        &self,
        to: NodeId,
        name: &str,
        message: impl Payload,
        deadline: Duration,
        trace: Option<Trace>,
    ) -> Result<A, CallError> {
        let (peer, mut envelope, slot) = self.prepare(to, name, Kind::Call(0))?;
        (envelope.deadline, envelope.trace) = (Some(deadline), trace);
        let call = peer.call(slot, envelope, message.into_bytes());
        let reply =
            tokio::time::timeout(deadline, call).await.map_err(|_| CallError::Deadline)??;
        A::from_bytes(reply).map_err(|why| CallError::Nonsense(why.to_string()))
    }

    /// The time that a word there and back takes, on the control connection.
    ///
    /// # Errors
    /// [`CallError::Deadline`], [`CallError::UnknownPeer`].
    pub async fn ping(&self, to: NodeId, deadline: Duration) -> Result<Duration, CallError> {
        let (peer, ..) = self.prepare(to, "", Kind::Send)?;
        self.0.want(&peer, Place::Control);
        let answered = async {
            loop {
                // One that went with its connection is asked again on the next.
                if let Some(trip) = peer.control.ping().await {
                    return trip;
                }
            }
        };
        tokio::time::timeout(deadline, answered).await.map_err(|_| CallError::Deadline)
    }

    /// Opens all connections to a peer now, so that the first large message need not wait for them.
    ///
    /// # Errors
    /// [`CallError::Deadline`], [`CallError::UnknownPeer`].
    pub async fn prime(&self, to: NodeId, deadline: Duration) -> Result<(), CallError> {
        let (peer, ..) = self.prepare(to, "", Kind::Send)?;
        let places = self.0.places();
        places.iter().for_each(|place| self.0.want(&peer, *place));
        let stand = peer.until(|peer| places.iter().all(|place| peer.stands(*place)));
        tokio::time::timeout(deadline, stand).await.map_err(|_| CallError::Deadline)
    }

    /// Hears when a peer is gone, or a name at a peer.
    ///
    /// # Errors
    /// [`CallError::UnknownPeer`].
    pub fn monitor(
        &self,
        peer: NodeId,
        name: Option<&str>,
    ) -> Result<oneshot::Receiver<Gone>, CallError> {
        let (peer, ..) = self.prepare(peer, name.unwrap_or_default(), Kind::Send)?;
        self.0.want(&peer, Place::Control);
        Ok(peer.monitor(name.map(str::to_owned)))
    }

    /// The peers that are known, as they are now.
    pub fn peers(&self) -> Vec<PeerState> {
        let state = |peer: Arc<Peer>| PeerState {
            id: peer.id,
            addresses: peer.addresses(),
            connections: peer.standing(),
            round_trip: peer.control.round_trip(),
            phi: peer.control.phi(),
            lanes: peer.lanes().map(|(name, lane)| (name, lane.state())).collect(),
        };
        let mut peers: Vec<PeerState> = self.0.peers().into_iter().map(state).collect();
        peers.sort_by_key(|peer| peer.id);
        peers
    }

    /// Memory that peers may use or use, and how much of it there is: for small messages, and for large ones.
    pub fn memory(&self) -> [(u64, u64); 2] {
        [self.0.small_budget.promised(), self.0.bulk_budget.promised()]
    }

    /// Takes part in a network of nodes, who watch each other and tell each other of others; this one is to be found at these
    /// addresses. Again, with others: it has moved. Members are dialled that were added, or may connect.
    ///
    /// # Errors
    /// [`NoAddresses`].
    pub fn take_part(
        &self,
        addresses: &[String],
        settings: membership::Settings,
    ) -> Result<(), NoAddresses> {
        let addresses = Addresses::new(addresses)?;
        if self.0.gossip.take_part(self.id(), addresses, settings, self.0.random()) {
            let closing = self.0.closing.subscribe();
            self.0.control.spawn(Gossip::drive(Arc::downgrade(&self.0), closing));
        }
        Ok(())
    }

    /// Joins the network of which a node is a member, which was added with its addresses. It is tried for as long as it takes.
    /// `false` where this node itself takes no part, or there are too many such nodes.
    pub fn join(&self, through: NodeId) -> bool {
        self.0.gossip.join(through)
    }

    /// The other members of the network, as they are known here.
    pub fn members(&self) -> Vec<membership::Member> {
        self.0.gossip.members()
    }

    /// What becomes of members, from now on. Who is too slow misses the oldest of more than 256.
    pub fn member_events(&self) -> broadcast::Receiver<(membership::Event, NodeId)> {
        self.0.gossip.events()
    }

    /// Says to the other members that this node goes, and ends it.
    pub async fn leave(&self) {
        self.0.gossip.leave(&self.0);
        // The word is short, and needs no answer.
        tokio::time::sleep(LAST_WORDS).await;
        self.close();
    }

    /// Waits until nothing is under way with anybody: no call, no handler of one, no message that was not handed on. Gives up
    /// after `patience`, and says whether it came to that.
    pub async fn settled(&self, patience: Duration) -> bool {
        let quiet = async {
            // Twice in a row: a message may just be on its way from the one to the other.
            let mut times = 0;
            while times < 2 {
                tokio::time::sleep(Duration::from_millis(20)).await;
                times =
                    if self.0.peers().iter().any(|peer| peer.is_busy()) { 0 } else { times + 1 };
            }
        };
        tokio::time::timeout(patience, quiet).await.is_ok()
    }

    /// Ends the node: its connections close properly. What was not acknowledged is lost.
    pub fn close(&self) {
        self.0.close();
    }

    pub(crate) fn blobs(&self) -> &Blobs {
        &self.0.blobs
    }

    /// Waits until half of what may wait for a peer's bulk lane is free.
    pub(crate) async fn room_for_bulk(&self, peer: NodeId) {
        let Some(peer) = self.0.known(&peer) else { return };
        if let Some(lane) = peer.lane(Place::Bulk(0)) {
            lane.half_free(self.0.settings.bulk.outgoing).await;
        }
    }

    fn prepare<'a>(
        &self,
        to: NodeId,
        name: &'a str,
        kind: Kind,
    ) -> Result<(Arc<Peer>, Envelope<'a>, u8), CallError> {
        if *self.0.closing.borrow() {
            return Err(CallError::Closed);
        }
        if name.len() > NAME_BYTES_MAX {
            return Err(CallError::Name(name.len()));
        }
        let peer = self.0.known(&to).ok_or(CallError::UnknownPeer(to))?;
        // All for one name on one connection, so that it comes in order as long as that lasts.
        let slot = name.bytes().fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        Ok((peer, Envelope { name, ..Envelope::of(kind) }, slot))
    }
}

impl Inner {
    fn close(&self) {
        self.closing.send_replace(true);
        self.peers().iter().for_each(|peer| peer.close());
    }

    fn peers(&self) -> Vec<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    pub(crate) fn known(&self, id: &NodeId) -> Option<Arc<Peer>> {
        self.peers.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// What is kept of a peer, from now on if not before; `None` for ourselves, and where there are too many.
    pub(crate) fn peer(self: &Arc<Self>, id: NodeId) -> Option<Arc<Peer>> {
        let mut peers = self.peers.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.get(&id) {
            return Some(peer.clone());
        }
        if id == self.key.id() {
            return None;
        }
        if peers.len() >= self.settings.peers_max {
            let least = peers.values().filter_map(|peer| Some((peer.worth()?, peer.id))).min()?;
            peers.remove(&least.1)?.forget();
        }
        let peer = Peer::new(id, self);
        peers.insert(id, peer.clone());
        Some(peer)
    }

    /// Where bulk data are moved.
    pub(crate) fn bulk(&self) -> Handle {
        if self.fixed.is_some() {
            return self.main.clone();
        }
        let start = || {
            Builder::new_multi_thread()
                .worker_threads(self.settings.bulk_threads.max(1))
                .thread_name("wire-bulk")
                .on_thread_start(be_patient)
                .enable_all()
                .build()
        };
        self.bulk.started(start, |bulk| bulk.handle().clone()).unwrap_or_else(|error| {
            tracing::warn!("no threads for bulk data: {error}");
            self.main.clone()
        })
    }

    /// The same for a member that others told of: `None` where it was not added and may not connect.
    pub(crate) fn member(self: &Arc<Self>, id: NodeId) -> Option<Arc<Peer>> {
        self.known(&id).or_else(|| (self.settings.admit)(&id).then(|| self.peer(id)).flatten())
    }

    /// For jitter: nobody minds who guesses it.
    pub(crate) fn random(&self) -> u64 {
        let Some(fixed) = &self.fixed else { return random() };
        fixed.chance.lock().unwrap_or_else(PoisonError::into_inner).draw()
    }

    /// An epoch: the time of day in nanoseconds, but always after `known`.
    pub(crate) fn epoch_after(&self, known: u64) -> u64 {
        let now = match &self.fixed {
            Some(fixed) => fixed.epoch,
            None => {
                let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                u64::try_from(unix.as_nanos()).unwrap_or(EPOCH_MAX)
            }
        };
        now.max(known.saturating_add(1)).clamp(1, EPOCH_MAX)
    }
}

/// Has lanes on which nothing happens give back the credit that they have, as long as there is the node.
async fn rest(node: std::sync::Weak<Inner>) {
    loop {
        tokio::time::sleep(REST_EVERY).await;
        let Some(node) = node.upgrade() else { return };
        node.peers().iter().for_each(|peer| peer.lanes().for_each(|(_, lane)| lane.rest()));
    }
}

/// Waits until the node ends. What it was told by is let go of before this returns: the node cannot be dropped while somebody
/// holds that.
pub(crate) async fn closed(closing: &mut watch::Receiver<bool>) {
    let _ = closing.wait_for(|closing| *closing).await;
}

/// A thread that does nothing but control connections. Returns how they are given to it.
fn control_thread(mut closing: watch::Receiver<bool>) -> std::io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new().name("wire-control".into()).spawn(move || {
        be_quick();
        runtime.block_on(async {
            closed(&mut closing).await;
            // Connections that end say so.
            tokio::time::sleep(2 * LAST_WORDS).await;
        });
    })?;
    Ok(handle)
}

/// From the system: for what nobody should be able to guess, and for jitter.
pub(crate) fn random() -> u64 {
    let mut bytes = [0; 8];
    match getrandom::fill(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        // Without a source of chance TLS could not have been begun.
        Err(_) => 1,
    }
}
