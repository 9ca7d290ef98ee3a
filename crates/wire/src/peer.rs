//! All that a node keeps of one peer: lanes, calls under way in both directions, and the connections that stand.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{Notify, oneshot};
use tokio::task::AbortHandle;

use crate::carry::Note;
use crate::control::{Control, Frame};
use crate::envelope::{Envelope, Kind, Order};
use crate::hello::{CALLS_MAX, EPOCH_MAX, Place, Refusal};
use crate::lane::{Budget, Refused, Ticket};
use crate::node::{Inner, Node};
use crate::path;
use crate::service::{CallError, Context};
use crate::{Fate, Lane, Message, NodeId};

/// Messages above this go on the bulk lane.
pub(crate) const LARGE_BYTES: usize = 64 * 1024;
/// What a peer may always have under way on a lane for small messages.
const CALLS_OWN_BYTES: u64 = 32 * 1024;

/// One peer.
pub(crate) struct Peer {
    pub(crate) id: NodeId,
    pub(crate) node: Weak<Inner>,
    life: Mutex<Life>,
    addresses: Mutex<Addresses>,
    /// This node's owner knows it.
    added: AtomicBool,
    /// The last connection ended then; or it was first known.
    alone_since: Mutex<Instant>,
    /// Another has its place.
    forgotten: AtomicBool,
    calls: [Lane; CALLS_MAX as usize],
    bulk: Lane,
    pub(crate) control: Control,
    places: Mutex<HashMap<Place, Standing>>,
    next_serial: AtomicU64,
    /// Places for which we dialled, found the peer, and wait for its answer.
    asking: Mutex<Vec<Place>>,
    /// A connection stands or went, or there is a new address.
    changed: Notify,
    /// Places for which somebody sees to a connection, a bit each.
    wanted: AtomicU16,
    /// Calls of ours that wait for a reply.
    pending: Mutex<HashMap<u64, oneshot::Sender<Result<Bytes, CallError>>>>,
    next_call: AtomicU64,
    /// Calls of the peer whose handlers wait for something.
    running: Mutex<HashMap<u64, AbortHandle>>,
    /// Bytes of replies that wait for room.
    replies_waiting: AtomicU64,
    /// Of each strand, how many messages were sent in this life.
    strands: Mutex<Box<[u64; STRANDS]>>,
    /// Messages of strands that came, in this life.
    ordered: Mutex<Ordered>,
    /// Names of ours that the peer watches.
    watched: Mutex<HashSet<String>>,
    /// Whoever waits to hear that a name of the peer, or the peer, is gone.
    monitors: Mutex<Vec<Monitored>>,
}

struct Monitored {
    name: Option<String>,
    gone: oneshot::Sender<Gone>,
}

/// Messages ordered by key are numbered in so many strands, by the key's hash: keys need not be remembered, and that some
/// share a strand only orders more than was asked for.
const STRANDS: usize = 256;

/// What came of strands.
#[derive(Default)]
struct Ordered {
    life: u64,
    strands: HashMap<u8, Strand>,
}

#[derive(Default)]
struct Strand {
    /// The number of the next message that is to be handled.
    next: u64,
    /// Those that came before their turn. They count against the peer's credit as any others.
    early: BTreeMap<u64, (Bytes, Place)>,
}

/// What a monitor hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Nobody has the name any more.
    Name,
    /// The way to the peer is lost: its control connection ended, and what it does is not known until there is another.
    Peer,
    /// The peer's process was started anew.
    Restarted,
}

/// The lives in which the two of us know each other.
struct Life {
    /// How many there were before; the lanes count the same.
    number: u64,
    /// Our epoch.
    ours: u64,
    /// The peer's; 0 while unknown.
    theirs: u64,
}

/// Where a peer may be dialled.
#[derive(Default)]
struct Addresses {
    /// As this node's owner says.
    added: Vec<String>,
    /// As the peer says to members.
    said: Vec<String>,
}

/// A connection that stands.
pub(crate) struct Standing {
    serial: u64,
    pub(crate) kind: path::Kind,
    /// By us.
    pub(crate) dialled: bool,
    pub(crate) since: Instant,
    end: Arc<Notify>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    pub(crate) fn new(id: NodeId, node: &Arc<Inner>) -> Arc<Peer> {
        let settings = &node.settings;
        let epoch = epoch_after(0);
        Arc::new_cyclic(|me: &Weak<Peer>| {
            let lane = |budget: &Arc<Budget>, own, bounds, place: Place| {
                let me = me.clone();
                let deliver = move |message| {
                    if let Some(peer) = me.upgrade() {
                        peer.deliver(message, place);
                    }
                };
                Lane::within(budget, own, bounds, Box::new(deliver))
            };
            Peer {
                id,
                node: Arc::downgrade(node),
                life: Mutex::new(Life { number: 0, ours: epoch, theirs: 0 }),
                addresses: Mutex::default(),
                added: AtomicBool::new(false),
                alone_since: Mutex::new(Instant::now()),
                forgotten: AtomicBool::new(false),
                calls: std::array::from_fn(|slot| {
                    let place = Place::Calls(u8::try_from(slot).unwrap_or(0));
                    lane(&node.small_budget, CALLS_OWN_BYTES, settings.calls, place)
                }),
                bulk: lane(&node.bulk_budget, 0, settings.bulk, Place::Bulk(0)),
                control: Control::new(),
                places: Mutex::default(),
                next_serial: AtomicU64::new(0),
                asking: Mutex::default(),
                changed: Notify::new(),
                wanted: AtomicU16::new(0),
                pending: Mutex::default(),
                // Not from the same number in each life: a reply to an earlier one would answer another call.
                next_call: AtomicU64::new(epoch),
                running: Mutex::default(),
                replies_waiting: AtomicU64::new(0),
                strands: Mutex::new(Box::new([0; STRANDS])),
                ordered: Mutex::default(),
                watched: Mutex::default(),
                monitors: Mutex::default(),
            }
        })
    }

    /// Where it may be dialled, the likeliest first.
    pub(crate) fn addresses(&self) -> Vec<String> {
        let Addresses { added, said } = &*lock(&self.addresses);
        let more = said.iter().filter(|address| !added.contains(address));
        added.iter().chain(more).cloned().collect()
    }

    /// This node's owner says where it is.
    pub(crate) fn add_addresses(&self, addresses: Vec<String>) {
        self.added.store(true, Ordering::Relaxed);
        lock(&self.addresses).added = addresses;
        self.changed.notify_waiters();
    }

    /// The peer says where it is.
    pub(crate) fn says_addresses(&self, addresses: &[String]) {
        let mut known = lock(&self.addresses);
        if known.said != addresses {
            known.said = addresses.to_vec();
            drop(known);
            self.changed.notify_waiters();
        }
    }

    /// How much would be lost with it, the least first: whether something is under way, and since when no connection stands.
    /// `None` where one stands, or this node's owner added it.
    pub(crate) fn worth(&self) -> Option<(bool, Instant)> {
        let free = !self.added.load(Ordering::Relaxed) && lock(&self.places).is_empty();
        free.then(|| (self.is_busy(), *lock(&self.alone_since)))
    }

    /// Another has its place: whoever sees to its connections ends.
    pub(crate) fn forget(&self) {
        self.forgotten.store(true, Ordering::Relaxed);
        self.close();
        self.changed.notify_waiters();
    }

    pub(crate) fn is_forgotten(&self) -> bool {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// The lane of a place; `None` for control.
    pub(crate) fn lane(&self, place: Place) -> Option<&Lane> {
        match place {
            Place::Control => None,
            Place::Calls(slot) => self.calls.get(usize::from(slot)),
            Place::Bulk(_) => Some(&self.bulk),
        }
    }

    /// All lanes, with their names.
    pub(crate) fn lanes(&self) -> impl Iterator<Item = (String, &Lane)> {
        let calls =
            self.calls.iter().enumerate().map(|(slot, lane)| (format!("calls {slot}"), lane));
        calls.chain([("bulk".to_owned(), &self.bulk)])
    }

    /// Whether this is the first to want a connection for the place.
    pub(crate) fn first_to_want(&self, place: Place) -> bool {
        let (lane, slot) = place.to_bytes();
        let bit = 1 << (u16::from(lane) * 4 + u16::from(slot));
        self.wanted.load(Ordering::Relaxed) & bit == 0
            && self.wanted.fetch_or(bit, Ordering::Relaxed) & bit == 0
    }

    /// Grows when a connection there is of use.
    pub(crate) fn progress(&self, place: Place) -> u64 {
        self.lane(place).map_or_else(|| self.control.heard_count(), Lane::progress)
    }

    /// Waits until this is so.
    pub(crate) async fn until(&self, so: impl Fn(&Peer) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if so(self) {
                return;
            }
            changed.await;
        }
    }

    /// Whether something is under way between the two of us.
    pub(crate) fn is_busy(&self) -> bool {
        // No lock that a thread for bulk data may hold: those are waited for long.
        !lock(&self.pending).is_empty()
            || !lock(&self.running).is_empty()
            || self.lanes().any(|(_, lane)| !lane.is_idle())
    }

    // Connections.

    /// Whether a connection stands there.
    pub(crate) fn stands(&self, place: Place) -> bool {
        lock(&self.places).contains_key(&place)
    }

    /// Until what is returned is dropped, the peer's answer is waited for.
    pub(crate) fn asking(&self, place: Place) -> Asking<'_> {
        lock(&self.asking).push(place);
        Asking { peer: self, place }
    }

    pub(crate) fn is_asking(&self, place: Place) -> bool {
        lock(&self.asking).contains(&place)
    }

    /// A connection of ours there that has only just been made: the other side's is then one that was dialled at the
    /// same time.
    pub(crate) fn just_dialled(&self, place: Place, settle: Duration) -> bool {
        let places = lock(&self.places);
        places.get(&place).is_some_and(|s| s.dialled && s.since.elapsed() < settle)
    }

    /// What stands, for show.
    pub(crate) fn standing(&self) -> Vec<(Place, path::Kind, bool, Duration)> {
        let places = lock(&self.places);
        let mut all: Vec<_> =
            places.iter().map(|(p, s)| (*p, s.kind, s.dialled, s.since.elapsed())).collect();
        all.sort_by_key(|(place, ..)| *place);
        all
    }

    /// A connection of this life takes a place; whatever stood there ends. Returns its number, and what tells it to end; `None`
    /// where that life is over.
    pub(crate) fn take_place(
        &self,
        life: u64,
        place: Place,
        kind: path::Kind,
        dialled: bool,
    ) -> Option<(u64, Arc<Notify>)> {
        let now = lock(&self.life);
        if now.number != life {
            return None;
        }
        let serial = self.next_serial.fetch_add(1, Ordering::Relaxed);
        let end = Arc::new(Notify::new());
        let standing = Standing { serial, kind, dialled, since: Instant::now(), end: end.clone() };
        if let Some(before) = lock(&self.places).insert(place, standing) {
            before.end.notify_one();
        }
        drop(now);
        self.changed.notify_waiters();
        Some((serial, end))
    }

    /// The connection of this number is gone.
    pub(crate) fn leave_place(&self, place: Place, serial: u64) {
        let mut places = lock(&self.places);
        if places.get(&place).is_some_and(|s| s.serial == serial) {
            places.remove(&place);
            *lock(&self.alone_since) = Instant::now();
        }
        drop(places);
        if place == Place::Control && !self.stands(place) {
            self.tell_monitors(None, Gone::Peer);
            if let Some(node) = self.node.upgrade() {
                node.gossip.unreachable(self.id);
            }
        }
        self.changed.notify_waiters();
    }

    /// Ends every connection: the way to the peer is dead.
    pub(crate) fn cut(&self) {
        lock(&self.places).values().for_each(|standing| standing.end.notify_one());
    }

    /// Our epoch, and the peer's as far as it is known, or 0.
    pub(crate) fn epochs(&self) -> (u64, u64) {
        let life = lock(&self.life);
        (life.ours, life.theirs)
    }

    /// The peer speaks in a life with this epoch, and says which of ours it knows, or 0. If it means other lives than we do,
    /// what was under way in the earlier ones ends. Returns the number of the life.
    pub(crate) fn meet(&self, theirs: u64, knows: u64) -> Result<u64, Refusal> {
        let mut life = lock(&self.life);
        if theirs < life.theirs {
            return Err(Refusal::Epoch(life.theirs));
        }
        let known = std::mem::replace(&mut life.theirs, theirs);
        if knows > life.ours {
            // Of a process that had this key, and a clock that was ahead.
            life.ours = epoch_after(knows);
        } else if known == 0 || known == theirs {
            return Ok(life.number);
        }
        Ok(self.next_life(life))
    }

    /// The peer knows a later life of ours than this one: we begin one after that.
    pub(crate) fn begin_after(&self, knows: u64) {
        let mut life = lock(&self.life);
        if knows > life.ours {
            life.ours = epoch_after(knows);
            self.next_life(life);
        }
    }

    fn next_life(&self, mut life: MutexGuard<'_, Life>) -> u64 {
        life.number += 1;
        let number = life.number;
        // Who sends in an order waits until it begins anew.
        let mut strands = lock(&self.strands);
        **strands = [0; STRANDS];
        // Requests that were not begun go to the new process; every other call has lost its handler.
        let mut kept = HashSet::new();
        for (_, lane) in self.lanes() {
            lane.restart(&mut |call| {
                kept.insert(call);
            });
        }
        drop(strands);
        let lost: Vec<_> = {
            let mut pending = lock(&self.pending);
            pending.extract_if(|call, _| !kept.contains(call)).collect()
        };
        for (_, caller) in lost {
            let _ = caller.send(Err(CallError::Restarted));
        }
        lock(&self.running).drain().for_each(|(_, handler)| handler.abort());
        lock(&self.watched).clear();
        // The connections of lanes know; that of control is told.
        if let Some(control) = lock(&self.places).get(&Place::Control) {
            control.end.notify_one();
        }
        drop(life);
        self.tell_monitors(None, Gone::Restarted);
        number
    }

    // What goes out.

    /// The lane for a message of so many bytes, and its place.
    fn way(&self, bytes: usize, slot: u8) -> (Place, &Lane) {
        match self.calls.get(usize::from(slot % CALLS_MAX)) {
            Some(lane) if bytes <= LARGE_BYTES => (Place::Calls(slot % CALLS_MAX), lane),
            _ => (Place::Bulk(0), &self.bulk),
        }
    }

    fn want(self: &Arc<Self>, place: Place) {
        if let Some(node) = self.node.upgrade() {
            node.want(self, place);
        }
    }

    /// Gives a message to its lane; waits while there is no room.
    pub(crate) async fn post(
        self: &Arc<Self>,
        slot: u8,
        parts: [Bytes; 2],
        note: Note,
    ) -> Result<(Place, Ticket), Refused> {
        let (place, lane) = self.way(parts[0].len() + parts[1].len(), slot);
        self.want(place);
        self.control.stir();
        Ok((place, lane.post(parts, note).await?))
    }

    /// The same, at once or not at all.
    pub(crate) fn try_post(
        self: &Arc<Self>,
        slot: u8,
        parts: [Bytes; 2],
        note: Note,
    ) -> Result<(Place, Ticket), (Refused, Note)> {
        let (place, lane) = self.way(parts[0].len() + parts[1].len(), slot);
        self.want(place);
        let ticket = lane.try_post(parts, note)?;
        self.control.stir();
        Ok((place, ticket))
    }

    /// Sends a message that is handled after all others of its key that were sent before; waits while there is no room.
    pub(crate) async fn post_in_order(
        self: &Arc<Self>,
        key: &[u8],
        envelope: Envelope<'_>,
        payload: Bytes,
        receipt: oneshot::Sender<Fate>,
    ) -> Result<(), Refused> {
        let strand = strand(key);
        let (place, lane) = self.way(ENVELOPE_BYTES_MAX + payload.len(), strand);
        self.want(place);
        let mut receipt = Some(receipt);
        lane.once_there_is_room(|| {
            let mut strands = lock(&self.strands);
            let number = &mut strands[usize::from(strand)];
            let order = Order { strand, number: *number };
            let envelope = Envelope { order: Some(order), ..envelope };
            let parts = [envelope.to_bytes(), payload.clone()];
            match lane.try_post(parts, Note::Ordered(receipt.take()?, order)) {
                Ok(_) => {
                    *number += 1;
                    Some(Ok(()))
                }
                Err((Refused::Full { .. }, Note::Ordered(back, _))) => {
                    receipt = Some(back);
                    None
                }
                Err((refused, _)) => Some(Err(refused)),
            }
        })
        .await?;
        self.control.stir();
        Ok(())
    }

    /// Sends a call and waits for its reply, however long that takes. Dropped before, the call is taken back, or cancelled.
    pub(crate) async fn call(
        self: &Arc<Self>,
        slot: u8,
        mut envelope: Envelope<'_>,
        payload: Bytes,
    ) -> Result<Bytes, CallError> {
        let call = self.next_call.fetch_add(1, Ordering::Relaxed);
        envelope.kind = Kind::Call(call);
        let (sender, reply) = oneshot::channel();
        lock(&self.pending).insert(call, sender);
        let mut waiting = Waiting { peer: self, call, sent: None, over: false };
        waiting.sent =
            Some(self.post(slot, [envelope.to_bytes(), payload], Note::Call(call)).await?);
        let reply = reply.await.unwrap_or(Err(CallError::Closed));
        waiting.over = true;
        reply
    }

    fn reply(self: &Arc<Self>, call: u64, slot: u8, done: Result<Bytes, CallError>) {
        let (kind, payload) = match done {
            Ok(payload) => (Kind::Reply(call), payload),
            Err(error) => (Kind::Failure(call), error.to_payload()),
        };
        let parts = [Envelope::of(kind).to_bytes(), payload];
        let bytes = parts[1].len() as u64;
        match self.try_post(slot, parts.clone(), Note::None) {
            Ok(_) => {}
            // Who asks for much and does not take it gets no more of it.
            Err((Refused::Full { .. }, note)) => {
                let waiting = self.replies_waiting.fetch_add(bytes, Ordering::Relaxed);
                let parts = match waiting <= REPLIES_WAITING_BYTES_MAX {
                    true => parts,
                    false => failed(call, "too many bytes of replies wait for this peer already"),
                };
                self.post_later(slot, parts, note, bytes);
            }
            Err((refused, note)) => {
                let why = format!("its reply cannot be sent: {refused}");
                self.post_later(slot, failed(call, &why), note, 0);
            }
        }
    }

    /// Posts a reply that counts so many bytes among those that wait, once there is room.
    fn post_later(self: &Arc<Self>, slot: u8, parts: [Bytes; 2], note: Note, bytes: u64) {
        let peer = self.clone();
        self.spawn(async move {
            if let Err(refused) = peer.post(slot, parts, note).await {
                tracing::debug!(peer = %peer.id, "a reply cannot be sent: {refused}");
            }
            peer.replies_waiting.fetch_sub(bytes, Ordering::Relaxed);
        });
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> Option<AbortHandle> {
        let node = self.node.upgrade()?;
        Some(node.main.spawn(future).abort_handle())
    }

    /// This node ends: nobody will answer, nothing is taken in, handlers that wait are dropped.
    pub(crate) fn close(&self) {
        self.lanes().for_each(|(_, lane)| lane.close());
        lock(&self.pending).drain().for_each(|(_, caller)| {
            let _ = caller.send(Err(CallError::Closed));
        });
        lock(&self.running).drain().for_each(|(_, handler)| handler.abort());
        self.tell_monitors(None, Gone::Peer);
    }

    /// The peer takes messages of so many bytes on the lane of this place.
    pub(crate) fn set_message_max(&self, place: Place, message_max: u64) {
        let refused = self.lane(place).map(|lane| lane.set_message_max(message_max));
        for (call, bytes) in refused.unwrap_or_default() {
            self.replied(call, Err(Refused::TooLarge { bytes, max: message_max }.into()));
        }
    }

    // What comes in.

    fn deliver(self: &Arc<Self>, message: Message, place: Place) {
        let Message { bytes, life } = message;
        let Some((envelope, begin)) = Envelope::parse(&bytes) else {
            tracing::debug!(peer = %self.id, "a message without an envelope was dropped");
            return;
        };
        let payload = bytes.slice(begin..);
        match envelope.kind {
            Kind::Send | Kind::Call(_) => match envelope.order {
                None => self.handle(envelope, payload, place),
                Some(order) => self.handle_in_order(order, life, bytes.clone(), place),
            },
            Kind::Reply(call) => self.replied(call, Ok(payload)),
            Kind::Failure(call) => self.replied(call, Err(CallError::from_payload(&payload))),
        }
    }

    /// Handles a message when all before it in its strand were handed to their handlers, and then those that waited for it.
    fn handle_in_order(self: &Arc<Self>, order: Order, life: u64, bytes: Bytes, place: Place) {
        let mut ordered = lock(&self.ordered);
        if life < ordered.life {
            // Of a process that is gone, and of an order that was given up with it.
            return;
        }
        if life > ordered.life {
            *ordered = Ordered { life, ..Ordered::default() };
        }
        let strand = ordered.strands.entry(order.strand).or_default();
        if order.number < strand.next {
            tracing::debug!(peer = %self.id, "a message with a number that was had before was dropped");
            return;
        }
        strand.early.insert(order.number, (bytes, place));
        while let Some((bytes, place)) = strand.early.remove(&strand.next) {
            strand.next += 1;
            if let Some((envelope, begin)) = Envelope::parse(&bytes)
                // What only takes its number.
                && !envelope.name.is_empty()
            {
                self.handle(envelope, bytes.slice(begin..), place);
            }
        }
    }

    fn replied(&self, call: u64, reply: Result<Bytes, CallError>) {
        // Nobody may be waiting any more.
        if let Some(caller) = lock(&self.pending).remove(&call) {
            let _ = caller.send(reply);
        }
    }

    fn handle(self: &Arc<Self>, envelope: Envelope<'_>, payload: Bytes, place: Place) {
        let Some(node) = self.node.upgrade() else { return };
        let deadline = envelope.deadline.and_then(|d| Instant::now().checked_add(d));
        let context = Context {
            node: Node::of(node.clone()),
            from: self.id,
            deadline,
            trace: envelope.trace,
            redelivered: false,
        };
        let call = match envelope.kind {
            Kind::Call(call) => Some(call),
            _ => None,
        };
        let slot = match place {
            Place::Calls(slot) => slot,
            _ => 0,
        };
        // The payload counts against the peer's credit until its handler is done, whatever that does with it.
        let held = payload.clone();
        let mut handling = node.names.handle(envelope.name, context, payload);
        // Most handlers of small messages never wait: those need no task. Handlers of large ones run where they disturb no
        // bulk data; but those of an order have to begin in it.
        let _inside = node.main.enter();
        if (matches!(place, Place::Calls(_)) || envelope.order.is_some())
            && let Poll::Ready(done) = poll_once(handling.as_mut())
        {
            self.done(call, slot, done.map(|reply| apart(reply, &held)), envelope.name);
            return;
        }
        let (peer, name) = (self.clone(), envelope.name.to_owned());
        // It starts only when its handle is known, so that none is left behind.
        let (start, started) = oneshot::channel::<()>();
        let handle = self.spawn(async move {
            let _ = started.await;
            let done = match deadline {
                Some(deadline) => tokio::time::timeout_at(deadline.into(), handling).await,
                None => Ok(handling.await),
            };
            // After the deadline nobody waits.
            if let Ok(done) = done {
                peer.done(call, slot, done.map(|reply| apart(reply, &held)), &name);
            }
            // Only now, so that whoever waits for what runs finds the reply under way.
            if let Some(call) = call {
                lock(&peer.running).remove(&call);
            }
            drop(held);
        });
        if let (Some(call), Some(handle)) = (call, handle) {
            lock(&self.running).insert(call, handle);
        }
        let _ = start.send(());
    }

    fn done(
        self: &Arc<Self>,
        call: Option<u64>,
        slot: u8,
        done: Result<Bytes, CallError>,
        name: &str,
    ) {
        match (call, done) {
            (Some(call), done) => self.reply(call, slot, done),
            (None, Ok(_)) => {}
            (None, Err(error)) => {
                tracing::debug!(peer = %self.id, name, "a message was not handled: {error}");
            }
        }
    }

    /// What the peer says on its control connection.
    pub(crate) fn hear(self: &Arc<Self>, frame: Frame) {
        match frame {
            Frame::Cancel(call) => {
                if let Some(handler) = lock(&self.running).remove(&call) {
                    handler.abort();
                }
            }
            Frame::Wanted(place) => {
                if !self.addresses().is_empty() {
                    self.want(place);
                }
            }
            Frame::Watch(name) => {
                // First it is watched, so that it cannot go unseen after it was found to be there.
                let watches = {
                    let mut watched = lock(&self.watched);
                    let room = watched.len() < WATCHED_MAX || watched.contains(&name);
                    if room {
                        watched.insert(name.clone());
                    }
                    room
                };
                let here = self.node.upgrade().is_some_and(|node| node.names.has(&name));
                if !(watches && here) {
                    lock(&self.watched).remove(&name);
                    self.control.say(&Frame::Gone(name));
                }
            }
            Frame::Gone(name) => self.tell_monitors(Some(&name), Gone::Name),
            Frame::Gossip(bytes) => {
                if let Some(node) = self.node.upgrade() {
                    node.gossip.received(&node, self.id, &bytes);
                }
            }
            Frame::Ping(_) | Frame::Pong(_) => {}
        }
    }

    // Monitors.

    pub(crate) fn monitor(&self, name: Option<String>) -> oneshot::Receiver<Gone> {
        let (gone, told) = oneshot::channel();
        let mut monitors = lock(&self.monitors);
        monitors.retain(|monitored| !monitored.gone.is_closed());
        monitors.push(Monitored { name: name.clone(), gone });
        drop(monitors);
        if let Some(name) = name {
            self.control.say(&Frame::Watch(name));
        }
        told
    }

    /// Says once more which names are watched: an earlier connection may have ended with what was to be said on it.
    pub(crate) fn watch_again(&self) {
        for monitored in lock(&self.monitors).iter().filter(|m| !m.gone.is_closed()) {
            if let Some(name) = &monitored.name {
                self.control.say(&Frame::Watch(name.clone()));
            }
        }
    }

    /// A name of ours is gone.
    pub(crate) fn name_gone(&self, name: &str) {
        if lock(&self.watched).remove(name) {
            self.control.say(&Frame::Gone(name.to_owned()));
        }
    }

    /// Tells those who watch the name, or everybody.
    fn tell_monitors(&self, name: Option<&str>, gone: Gone) {
        let mut monitors = lock(&self.monitors);
        for told in monitors.extract_if(.., |m| name.is_none() || m.name.as_deref() == name) {
            let _ = told.gone.send(gone);
        }
    }
}

/// Names of ours that one peer watches at most.
const WATCHED_MAX: usize = 4096;

/// The reply in memory of its own where it lies in that of its request: a reply that waited for the peer's credit would keep
/// credit from the peer, and two nodes that echo each other's messages would wait for each other for good.
fn apart(reply: Bytes, request: &Bytes) -> Bytes {
    match request.as_ptr_range().contains(&reply.as_ptr()) {
        true => Bytes::copy_from_slice(&reply),
        false => reply,
    }
}

/// A reply that says why there is none.
fn failed(call: u64, why: &str) -> [Bytes; 2] {
    let failure = CallError::Failed(why.into()).to_payload();
    [Envelope::of(Kind::Failure(call)).to_bytes(), failure]
}

/// Bytes of replies that wait for room on a lane, beside those that are on it.
const REPLIES_WAITING_BYTES_MAX: u64 = 32 << 20;
/// Bytes of any envelope, about: what decides whether a message is large.
const ENVELOPE_BYTES_MAX: usize = 512;

/// The strand of a key: the last byte of its hash (FNV-1a, 64 bits).
fn strand(key: &[u8]) -> u8 {
    let hash = key.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    (hash ^ hash >> 32).to_le_bytes()[0]
}

/// An epoch: the time of day in nanoseconds, but always after `known`.
fn epoch_after(known: u64) -> u64 {
    let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let nanos = u64::try_from(unix.as_nanos()).unwrap_or(EPOCH_MAX);
    nanos.max(known.saturating_add(1)).clamp(1, EPOCH_MAX)
}

/// Polls a future once, without a way to wake anybody: it is polled again by a task.
fn poll_once<T>(future: Pin<&mut (dyn Future<Output = T> + Send)>) -> Poll<T> {
    future.poll(&mut TaskContext::from_waker(Waker::noop()))
}

pub(crate) struct Asking<'a> {
    peer: &'a Peer,
    place: Place,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut asking = lock(&self.peer.asking);
        if let Some(at) = asking.iter().position(|place| *place == self.place) {
            asking.swap_remove(at);
        }
    }
}

/// A call whose reply is waited for.
struct Waiting<'a> {
    peer: &'a Arc<Peer>,
    call: u64,
    sent: Option<(Place, Ticket)>,
    over: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        lock(&self.peer.pending).remove(&self.call);
        if let Some((place, ticket)) = self.sent {
            let withdrawn = self.peer.lane(place).is_some_and(|lane| lane.withdraw(ticket));
            if !withdrawn {
                self.peer.control.say(&Frame::Cancel(self.call));
            }
        }
    }
}

/// What becomes of a message that was sent.
pub struct Receipt(pub(crate) oneshot::Receiver<Fate>);

impl Receipt {
    /// Waits until that is known: [`Fate::Delivered`] when the peer handed the message to its handler.
    pub async fn fate(self) -> Fate {
        self.0.await.unwrap_or(Fate::Uncertain)
    }
}
