//! Lanes that want the same credit, and what is begun once, in many orders in which their threads may take turns (shuttle).
//!
//! ```text
//! cargo test -p strongroom-wire --features shuttle --lib schedules
//! ```
//!
//! A turn ends at each lock and atomic of [`sync`](crate::sync); a thread that nobody wakes is found as a deadlock. `Notify` and the
//! pipes are tokio's own, and whole.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::sync::Mutex;
use shuttle::thread;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};
use tokio::sync::{Notify, mpsc, watch};

use crate::hello::Place;
use crate::lane::Budget;
use crate::pool::{Once, Wanted, until};
use crate::tls::{Handshake, client_config, server_config};
use crate::{Bounds, Ended, Lane, NodeKey, shake};

/// Of which each lane may want all, and two want more.
const BUDGET_BYTES: u64 = 8 << 10;
const WINDOW: u64 = 2 * BUDGET_BYTES;
/// Messages of one lane: some need most of the budget.
const LENGTHS: [usize; 5] = [6000, 1, 3000, 8000, 1000];

/// Tries so many orders, half of them with few changes between threads.
fn check(schedules: usize, what: impl Fn() + Send + Sync + Clone + 'static) {
    let mut config = shuttle::Config::new();
    // A handshake takes more than shuttle gives.
    config.stack_size = 1 << 20;
    config.failure_persistence = shuttle::FailurePersistence::None;
    let random = RandomScheduler::new(schedules / 2);
    shuttle::Runner::new(random, config.clone()).run(what.clone());
    shuttle::Runner::new(PctScheduler::new(3, schedules / 2), config).run(what);
}

/// The same, of something that must be found to be wrong.
fn check_plant(schedules: usize, what: impl Fn() + Send + Sync + Clone + 'static) {
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(schedules, what)));
    assert!(tried.is_err(), "the planted bug was not found");
}

/// A pipe that now and then forgets whom to wake, if it is told to.
struct Pipe {
    stream: DuplexStream,
    forgets_after: Option<u32>,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let forgets = self.forgets_after == Some(0);
        let nobody = &mut Context::from_waker(Waker::noop());
        let read = Pin::new(&mut self.stream).poll_read(if forgets { nobody } else { cx }, buffer);
        if read.is_pending() {
            self.forgets_after = self.forgets_after.and_then(|after| after.checked_sub(1));
        }
        read
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

fn key(seed: u8) -> NodeKey {
    NodeKey::from_seed(&[seed; 32]).unwrap()
}

/// Joins two lanes by a connection, which two threads carry until they are told that it ends.
fn connect(
    one: &Lane,
    other: &Lane,
    ended: &watch::Receiver<bool>,
    forgets_after: Option<u32>,
) -> [thread::JoinHandle<Ended>; 2] {
    let (mut near, mut far) = tokio::io::duplex(4096);
    let client = Handshake::client(client_config(&key(1), key(2).id()).unwrap()).unwrap();
    let server = server_config(&key(2), Arc::new(|_| true)).unwrap();
    let server = Handshake::server(server).unwrap();
    let shaken = async { tokio::join!(shake(&mut near, client), shake(&mut far, server)) };
    let (near_end, far_end) = block_on(shaken);
    let carry = |lane: &Lane, stream, (session, early), forgets_after| {
        let (lane, mut ended) = (lane.clone(), ended.clone());
        thread::spawn(move || {
            let stream = Pipe { stream, forgets_after };
            let end = async move {
                let _ = ended.wait_for(|ended| *ended).await;
                Ended::Closed
            };
            block_on(lane.carry_in(0, stream, session, early, end))
        })
    };
    let near = carry(one, near, near_end.unwrap(), None);
    [near, carry(other, far, far_end.unwrap(), forgets_after)]
}

/// Two senders, whose receivers have one budget; `breaks` says whether one of two connections of the first goes.
fn two_lanes(breaks: bool, own: u64, forgets_after: Option<u32>) {
    let bounds = Bounds { window: WINDOW, outgoing: 4 * WINDOW };
    let budget = Budget::new(BUDGET_BYTES);
    let (end, ended) = watch::channel(false);
    let (cut, is_cut) = watch::channel(false);
    let (sender, mut came) = mpsc::unbounded_channel();
    let receivers = [0, 1].map(|lane| {
        let sender = sender.clone();
        let deliver = move |message: crate::Message| drop(sender.send((lane, message.bytes)));
        Lane::within(&budget, own, bounds, Box::new(deliver))
    });
    drop(sender);
    let senders = [0, 1].map(|_| Lane::new(bounds, Box::new(|_| {})));
    let mut carrying = Vec::new();
    for (one, other) in senders.iter().zip(&receivers) {
        carrying.extend(connect(one, other, &ended, forgets_after));
    }
    if breaks {
        carrying.extend(connect(&senders[0], &receivers[0], &is_cut, None));
        carrying.push(thread::spawn(move || {
            cut.send_replace(true);
            Ended::Cut
        }));
    }
    let sending = senders.map(|lane| {
        thread::spawn(move || {
            block_on(async {
                for length in LENGTHS {
                    lane.send([Bytes::from(vec![7; length]), Bytes::new()]).await.unwrap();
                }
                lane.flushed().await;
            });
        })
    });
    // What came is held for a while, by somebody else. Credit that a peer had when its only connection went is promised to others
    // meanwhile, and is good again with the next connection.
    let most = if breaks { BUDGET_BYTES + WINDOW } else { BUDGET_BYTES };
    let held = receivers.clone();
    let holding = thread::spawn(move || {
        let mut seen = [const { Vec::new() }; 2];
        while seen.iter().map(Vec::len).sum::<usize>() < 2 * LENGTHS.len()
            && let Some((lane, bytes)) = block_on(came.recv())
        {
            let held: u64 = held.iter().map(|lane| lane.state().held).sum();
            assert!(held <= most, "{held} bytes are held out of {most}");
            seen[lane].push(bytes.len());
        }
        for mut seen in seen {
            let mut sent = LENGTHS;
            seen.sort_unstable();
            sent.sort_unstable();
            assert_eq!(seen, sent, "each message once");
        }
    });
    sending.into_iter().for_each(|sending| sending.join().unwrap());
    holding.join().unwrap();
    end.send_replace(true);
    carrying.into_iter().for_each(|carrying| drop(carrying.join().unwrap()));
    assert_eq!(budget.promised().0, 0, "nobody can use what is promised");
}

#[test]
fn lanes_that_want_the_same_credit_do_not_wait_for_ever() {
    check(2000, || two_lanes(false, 0, None));
}

#[test]
fn nor_when_a_connection_goes() {
    check(1000, || two_lanes(true, 0, None));
}

#[test]
fn a_wake_up_that_is_lost_is_found() {
    check_plant(200, || two_lanes(false, 0, Some(2)));
}

#[test]
fn a_promise_beside_the_budget_is_found() {
    check_plant(200, || two_lanes(false, WINDOW, None));
}

/// Some want the same places at the same time, and wait until a connection stands there; for bulk data there are threads first.
fn pool<F: Future<Output = ()> + Send>(
    wait: impl Fn(Arc<Notify>, Arc<Mutex<BTreeSet<Place>>>) -> F + Copy + Send + 'static,
) {
    const PLACES: [Place; 3] = [Place::Control, Place::Bulk(0), Place::Bulk(1)];
    let wanted = Arc::new(Wanted::default());
    let standing = Arc::new(Mutex::new(BTreeSet::new()));
    let (changed, threads) = (Arc::new(Notify::new()), Arc::new(Once::<()>::default()));
    let starts = Arc::new(Mutex::new(0));
    let want = |from: usize| {
        let (wanted, standing, changed) = (wanted.clone(), standing.clone(), changed.clone());
        let (threads, starts) = (threads.clone(), starts.clone());
        thread::spawn(move || {
            let mut keeping = Vec::new();
            for place in PLACES.into_iter().cycle().skip(from).take(PLACES.len()) {
                if !wanted.first(place) {
                    continue;
                }
                let (standing, changed) = (standing.clone(), changed.clone());
                let (threads, starts) = (threads.clone(), starts.clone());
                keeping.push(thread::spawn(move || {
                    if matches!(place, Place::Bulk(_)) {
                        let start = || {
                            *starts.lock().unwrap() += 1;
                            Ok::<_, ()>(())
                        };
                        threads.started(start, |()| ()).unwrap();
                    }
                    assert!(standing.lock().unwrap().insert(place), "{place:?} is kept twice");
                    changed.notify_waiters();
                }));
            }
            block_on(wait(changed, standing));
            keeping.into_iter().for_each(|kept| kept.join().unwrap());
        })
    };
    [0, 1, 2].map(want).into_iter().for_each(|wants| wants.join().unwrap());
    assert_eq!(*starts.lock().unwrap(), 1, "threads are started once");
}

#[test]
fn places_are_kept_once_and_nobody_waits_for_ever() {
    check(4000, || {
        pool(|changed, standing| async move {
            until(&changed, || standing.lock().unwrap().len() == 3).await;
        });
    });
}

#[test]
fn who_looks_before_they_listen_is_found() {
    check_plant(4000, || {
        pool(|changed, standing| async move {
            while standing.lock().unwrap().len() < 3 {
                thread::yield_now();
                changed.notified().await;
            }
        });
    });
}
