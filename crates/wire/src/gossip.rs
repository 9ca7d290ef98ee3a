//! Drives [`membership`](crate::membership): its messages go on control connections, its time is this process's.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{Notify, broadcast, watch};

use crate::NodeId;
use crate::control::Frame;
use crate::hello::Place;
use crate::membership::{Action, Addresses, Event, Member, Membership, Settings};
use crate::node::{Inner, closed};
use crate::peer::Peer;

/// Events that are kept for those who are slow to hear them.
const EVENTS_KEPT: usize = 256;

/// A node's part in a network of nodes, once it has one.
pub(crate) struct Gossip {
    members: Mutex<Option<Membership>>,
    /// The beginning of its time.
    begun: Instant,
    /// Something may be due sooner than thought.
    sooner: Notify,
    events: broadcast::Sender<(Event, NodeId)>,
}

impl Gossip {
    pub(crate) fn new() -> Gossip {
        Gossip {
            members: Mutex::default(),
            begun: Instant::now(),
            sooner: Notify::new(),
            events: broadcast::channel(EVENTS_KEPT).0,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Membership>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Takes part from now on, to be found at these addresses; or, if it does already, is found there from now on.
    /// Says whether it is new.
    pub(crate) fn take_part(
        &self,
        me: NodeId,
        addresses: Addresses,
        settings: Settings,
        seed: u64,
    ) -> bool {
        let mut members = self.lock();
        if let Some(members) = &mut *members {
            members.moved(addresses);
            return false;
        }
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let unix_ms = u64::try_from(unix.as_millis()).unwrap_or(u64::MAX);
        *members = Some(Membership::new(me, addresses, unix_ms, self.now(), settings, seed));
        true
    }

    /// Tries to reach a node and be in one network with it. `false` where this node takes no part, or tries too many.
    pub(crate) fn join(&self, node: NodeId) -> bool {
        let now = self.now();
        let joined = self.lock().as_mut().is_some_and(|members| members.join(node, now));
        self.sooner.notify_one();
        joined
    }

    pub(crate) fn events(&self) -> broadcast::Receiver<(Event, NodeId)> {
        self.events.subscribe()
    }

    pub(crate) fn members(&self) -> Vec<Member> {
        self.lock().iter().flat_map(|members| members.members().cloned()).collect()
    }

    /// A peer says something of members.
    pub(crate) fn received(&self, node: &Arc<Inner>, from: NodeId, bytes: &[u8]) {
        let now = self.now();
        let received = match self.lock().as_mut() {
            Some(members) => members.received(from, bytes, now),
            None => return,
        };
        match received {
            Ok(actions) => self.act(node, actions),
            Err(error) => {
                tracing::warn!(peer = %from, "what it says of members was not taken: {error}")
            }
        }
        self.sooner.notify_one();
    }

    /// There is no way to the peer now.
    pub(crate) fn unreachable(&self, peer: NodeId) {
        let now = self.now();
        if let Some(members) = self.lock().as_mut() {
            members.unreachable(peer, now);
        }
        self.sooner.notify_one();
    }

    /// Says to others that this node goes.
    pub(crate) fn leave(&self, node: &Arc<Inner>) {
        let actions = self.lock().as_mut().map(Membership::leave);
        self.act(node, actions.unwrap_or_default());
    }

    fn act(&self, node: &Arc<Inner>, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Event(event, of) => {
                    tracing::info!(member = %of, "{event:?}");
                    if event == Event::Joined {
                        self.peer(node, of);
                    }
                    // Nobody may be listening.
                    let _ = self.events.send((event, of));
                }
                Action::Send { to, bytes } => {
                    let Some(peer) = self.peer(node, to) else { continue };
                    node.want(&peer, Place::Control);
                    peer.control.say(&Frame::Gossip(bytes));
                }
            }
        }
    }

    /// What is kept of a member, with the addresses that it said last. `None` for one that may not connect to
    /// us: it is not dialled either, whatever others say of it.
    fn peer(&self, node: &Arc<Inner>, id: NodeId) -> Option<Arc<Peer>> {
        let peer = node.member(id)?;
        if let Some(member) = self.lock().as_ref().and_then(|members| members.member(&id))
            && let said @ [_, ..] = member.record.addresses.as_slice()
        {
            peer.says_addresses(said);
        }
        Some(peer)
    }

    /// Does what is due, when it is, until the node ends.
    pub(crate) async fn drive(node: Weak<Inner>, mut closing: watch::Receiver<bool>) {
        let Some(gossip) = node.upgrade().map(|node| node.gossip.clone()) else { return };
        loop {
            let now = gossip.now();
            let (actions, due) = match gossip.lock().as_mut() {
                Some(members) => (members.tick(now), members.next_due()),
                None => return,
            };
            // The node is not kept alive by this.
            let Some(inner) = node.upgrade() else { return };
            gossip.act(&inner, actions);
            drop(inner);
            let due = due.map(|due| gossip.begun + due.max(now + Duration::from_millis(1)));
            let pause = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = pause => {}
                () = gossip.sooner.notified() => {}
                () = closed(&mut closing) => return,
            }
        }
    }
}
