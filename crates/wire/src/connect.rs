//! Connections to peers: who dials, what the first frames come to, and how each has its place.

use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::control::Frame;
use crate::hello::{
    BULK_MAX, FEATURES, Hello, Place, Refusal, VERSIONS, hear, refuse, say, version,
};
use crate::node::{Inner, closed};
use crate::path::{Path, Stream};
use crate::peer::Peer;
use crate::tls::{self, Handshake, Session, client_config};
use crate::{Ended, NodeId, path, shake};

/// A handshake, the first frames too, takes so long at most.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// The next address of a peer is tried so long after the one before (RFC 8305, 8: the recommended delay).
const STAGGER: Duration = Duration::from_millis(250);
/// Of two connections that were dialled at the same time one goes; what comes later than this is none of those.
const SETTLE: Duration = Duration::from_secs(2);
/// The pause after a first failure is up to this, and twice as long after each further one (full jitter).
pub(crate) const PAUSE_MIN: Duration = Duration::from_millis(100);
/// And never longer than this.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After a connection that stood shorter than this there is a pause.
const STOOD_MIN: Duration = Duration::from_secs(1);

/// A stream that the peer has been found to be at the other end of.
pub(crate) struct Dialled {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) kind: path::Kind,
    pub(crate) session: Session,
    pub(crate) early: Vec<u8>,
}

impl Inner {
    /// All connections that a peer may have with us.
    pub(crate) fn places(&self) -> Vec<Place> {
        let bulk = self.settings.bulk_connections.clamp(1, BULK_MAX);
        let bulk = (0..bulk).map(Place::Bulk);
        [Place::Control, Place::Calls(0), Place::Calls(1)].into_iter().chain(bulk).collect()
    }

    /// Sees to it that there is a connection, from now on; and always to control with it.
    pub(crate) fn want(self: &Arc<Self>, peer: &Arc<Peer>, place: Place) {
        if !peer.first_to_want(place) {
            return;
        }
        let beside = match place {
            Place::Bulk(_) => {
                self.places().into_iter().filter(|p| !matches!(p, Place::Calls(_))).collect()
            }
            _ => vec![Place::Control],
        };
        let beside = beside.into_iter().filter(|other| peer.first_to_want(*other));
        for place in [place].into_iter().chain(beside) {
            let (weak, peer) = (Arc::downgrade(self), peer.clone());
            let closing = self.closing.subscribe();
            self.main.spawn(async move { keep(weak, peer, place, closing).await });
        }
    }

    pub(crate) fn client_handshake(&self, peer: NodeId) -> Result<Handshake, tls::Error> {
        let handshake = Handshake::client(client_config(&self.key, peer)?)?;
        Ok(handshake.with_records(self.settings.records))
    }

    pub(crate) fn server_handshake(&self) -> Result<Handshake, tls::Error> {
        Ok(Handshake::server(self.server.clone())?.with_records(self.settings.records))
    }

    fn hello(&self, peer: &Peer, place: Place) -> Hello {
        let message_max = match place {
            Place::Control => 0,
            Place::Calls(_) => self.settings.calls.window / 2,
            Place::Bulk(_) => self.settings.bulk.window / 2,
        };
        let (epoch, known) = peer.epochs();
        Hello { versions: VERSIONS, place, features: FEATURES, epoch, known, message_max }
    }

    /// Opens a connection for a place.
    async fn open(self: &Arc<Self>, peer: &Arc<Peer>, place: Place) -> Result<(), Ended> {
        let addresses = peer.addresses();
        let mut tries: FuturesUnordered<_> = (addresses.iter().zip(0u32..))
            .map(|(address, number)| async move {
                tokio::time::sleep(STAGGER * number).await;
                let Path { mut stream, kind } = self.dial.dial(&peer.id, address).await?;
                let handshake = self.client_handshake(peer.id)?;
                let (session, early) = shake(&mut stream, handshake).await?;
                Ok::<_, Ended>(Dialled { stream, kind, session, early })
            })
            .collect();
        let mut failed = Ended::NoWay;
        while let Some(tried) = tries.next().await {
            match tried {
                Ok(dialled) => return self.ask(peer, place, dialled).await,
                Err(ended) => failed = ended,
            }
        }
        Err(failed)
    }

    /// As TLS's client: says what the connection is for, and hears the answer.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        place: Place,
        mut dialled: Dialled,
    ) -> Result<(), Ended> {
        let Dialled { stream, session, early, .. } = &mut dialled;
        let asking = peer.asking(place);
        // Theirs came while we dialled: ours would end it, and then be dropped.
        if peer.stands(place) && self.key.id() > peer.id {
            return Err(Ended::Refused(Refusal::Place));
        }
        say(stream, &mut session.sealer, self.hello(peer, place)).await?;
        let answer = match hear(stream, &mut session.opener, early).await {
            Err(Ended::Refused(Refusal::Epoch(known))) => {
                peer.begin_after(known);
                return Err(Ended::Restarted);
            }
            answer => answer?,
        };
        if answer.place != place || version(answer.versions).is_none() {
            return Err(crate::frame::NoFrame("an answer to something else").into());
        }
        let life = peer.meet(answer.epoch, answer.known).map_err(Ended::Refused)?;
        // Dialled at the same time by both, and theirs stands.
        if peer.stands(place) && self.key.id() > peer.id {
            return Err(Ended::Refused(Refusal::Place));
        }
        let joined = self.join(peer, place, dialled, answer.message_max, life, true);
        drop(asking);
        joined
    }

    /// As TLS's server: hears what the connection is for, which may be agreed on.
    pub(crate) async fn answer(
        self: &Arc<Self>,
        path: Path,
        handshake: Handshake,
        agreed: Option<(NodeId, Place)>,
    ) -> Result<(), Ended> {
        let Path { mut stream, kind } = path;
        let (mut session, mut early) = shake(&mut stream, handshake).await?;
        let id = session.peer.ok_or(Ended::Cut)?;
        let hello = hear(&mut stream, &mut session.opener, &mut early).await?;
        let place = hello.place;
        let met = match self.peer(id) {
            None => Err(Refusal::Closing),
            _ if *self.closing.borrow() => Err(Refusal::Closing),
            _ if version(hello.versions).is_none() => Err(Refusal::Version),
            _ if agreed.is_some_and(|agreed| agreed != (id, place)) => Err(Refusal::Place),
            Some(peer) => {
                let ours = peer.is_asking(place) || peer.just_dialled(place, SETTLE);
                match ours && self.key.id() < id {
                    true => Err(Refusal::Place),
                    false => peer.meet(hello.epoch, hello.known).map(|life| (peer, life)),
                }
            }
        };
        let (peer, life) = match met {
            Ok(met) => met,
            Err(refusal) => {
                refuse(&mut stream, &mut session.sealer, refusal).await?;
                return Err(Ended::Refused(refusal));
            }
        };
        let version = version(hello.versions).unwrap_or(VERSIONS.0);
        let mut answer = self.hello(&peer, place);
        answer.versions = (version, version);
        answer.features &= hello.features;
        say(&mut stream, &mut session.sealer, answer).await?;
        let dialled = Dialled { stream, kind, session, early };
        self.join(&peer, place, dialled, hello.message_max, life, false)
    }

    /// Lets a connection of a life have its place, and drives it.
    fn join(
        self: &Arc<Self>,
        peer: &Arc<Peer>,
        place: Place,
        dialled: Dialled,
        message_max: u64,
        life: u64,
        by_us: bool,
    ) -> Result<(), Ended> {
        let Dialled { stream, kind, session, early } = dialled;
        let (serial, end) = peer.take_place(life, place, kind, by_us).ok_or(Ended::Restarted)?;
        let mut standing = Standing { peer: peer.clone(), place, serial, closed: false };
        peer.set_message_max(place, message_max);
        let mut closing = self.closing.subscribe();
        let driven = async move {
            let peer = &standing.peer;
            let end = async {
                tokio::select! {
                    () = end.notified() => Ended::Replaced,
                    () = closed(&mut closing) => Ended::Closing,
                }
            };
            let ended = match (stream.rehome(), peer.lane(place)) {
                (Err(error), _) => error.into(),
                (Ok(stream), Some(lane)) => lane.carry_in(life, stream, session, early, end).await,
                (Ok(stream), None) => {
                    peer.watch_again();
                    peer.lost_again();
                    let (busy, hear) = (|| peer.is_busy(), |frame| peer.hear(frame));
                    peer.control.carry(stream, session, early, busy, hear, end).await
                }
            };
            tracing::debug!(peer = %peer.id, ?place, "a connection ended: {ended}");
            if matches!(ended, Ended::Silent) {
                // The others go the same way, and would be waited for longer.
                peer.cut();
            }
            standing.closed = matches!(ended, Ended::Closed);
            drop(standing);
        };
        let runtime = match place {
            Place::Control => self.control.clone(),
            Place::Calls(_) => self.main.clone(),
            Place::Bulk(_) => self.bulk(),
        };
        runtime.spawn(driven);
        Ok(())
    }
}

/// A connection at its place, until this is dropped.
struct Standing {
    peer: Arc<Peer>,
    place: Place,
    serial: u64,
    /// By the peer, who knows it.
    closed: bool,
}

impl Drop for Standing {
    fn drop(&mut self) {
        self.peer.leave_place(self.place, self.serial, self.closed);
    }
}

/// Keeps a connection at a place: dials whenever there is none, with pauses after failures, and after connections that were
/// short.
async fn keep(
    node: Weak<Inner>,
    peer: Arc<Peer>,
    place: Place,
    mut closing: watch::Receiver<bool>,
) {
    let mut pauses = Pauses::default();
    let mut stood = None;
    while !peer.is_forgotten() {
        let kept = async {
            if peer.stands(place) {
                stood = Some((Instant::now(), peer.progress(place)));
                peer.until(|peer| !peer.stands(place)).await;
            }
            let addresses = peer.addresses();
            let failed = match stood.take() {
                Some((since, progress)) => {
                    let long = since.elapsed() >= STOOD_MIN;
                    if long || peer.progress(place) != progress {
                        pauses = Pauses::default();
                    }
                    if long { None } else { Some(Ended::Cut) }
                }
                None if addresses.is_empty() => Some(Ended::NoWay),
                None => {
                    let Some(node) = node.upgrade() else { return };
                    timely(node.open(&peer, place)).await.err()
                }
            };
            let Some(failed) = failed else { return };
            tracing::debug!(peer = %peer.id, ?place, "cannot be dialled, or not for long: {failed}");
            if place != Place::Control {
                peer.control.say(&Frame::Wanted(place));
            }
            // It may come by itself, or be found elsewhere.
            let other = |peer: &Peer| {
                peer.stands(place) || peer.is_forgotten() || peer.addresses() != addresses
            };
            let random = node.upgrade().map_or(0, |node| node.random());
            let _ = tokio::time::timeout(pauses.next(random), peer.until(other)).await;
        };
        tokio::select! {
            () = kept => {}
            () = closed(&mut closing) => return,
        }
    }
}

/// Pauses after failures, each up to twice as long as the one before.
#[derive(Default)]
pub(crate) struct Pauses(u32);

impl Pauses {
    /// Anything between nothing and all of it, so that many do not come at once.
    pub(crate) fn next(&mut self, random: u64) -> Duration {
        let most = (PAUSE_MIN * 2u32.saturating_pow(self.0)).min(PAUSE_MAX);
        self.0 = (self.0 + 1).min(16);
        most.mul_f64((random >> 11) as f64 / (1u64 << 53) as f64)
    }
}

pub(crate) async fn timely<T>(what: impl Future<Output = Result<T, Ended>>) -> Result<T, Ended> {
    tokio::time::timeout(HANDSHAKE_MAX, what).await.unwrap_or(Err(Ended::Late))
}
