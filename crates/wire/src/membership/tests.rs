use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const UNIX_MS: u64 = 1_790_000_000_000;
const SECOND: Duration = Duration::from_secs(1);

fn node(n: u8) -> NodeId {
    NodeId([n; 32])
}

fn addresses(text: &str) -> Addresses {
    Addresses::new([text]).unwrap()
}

fn alone(n: u8) -> Membership {
    let at = addresses(&format!("node-{n}:1"));
    Membership::new(node(n), at, UNIX_MS, Duration::ZERO, Settings::default(), n.into())
}

fn record(n: u8, incarnation: u64, state: State) -> Record {
    Record { node: node(n), incarnation, state, addresses: addresses(&format!("node-{n}:1")) }
}

fn message(incarnation: u64, body: Body, records: Vec<Record>) -> Message {
    Message { incarnation, left: false, addresses: addresses("somewhere:1"), body, records }
}

/// What a member hears, with the events that it tells.
fn hears(
    members: &mut Membership,
    from: u8,
    message: Message,
    now: Duration,
) -> Vec<(Event, NodeId)> {
    events(&members.received(node(from), &message.write(), now).unwrap())
}

fn events(actions: &[Action]) -> Vec<(Event, NodeId)> {
    let event = |action: &Action| match action {
        Action::Event(event, node) => Some((*event, *node)),
        Action::Send { .. } => None,
    };
    actions.iter().filter_map(event).collect()
}

fn sent(actions: &[Action]) -> Vec<(NodeId, Message)> {
    let sent = |action: &Action| match action {
        Action::Send { to, bytes } => Some((*to, Message::parse(bytes).unwrap())),
        Action::Event(..) => None,
    };
    actions.iter().filter_map(sent).collect()
}

/// Of a node that heard these others themselves.
fn among(me: u8, others: &[u8]) -> Membership {
    let mut members = alone(me);
    for other in others {
        hears(
            &mut members,
            *other,
            message(UNIX_MS, Body::Sync { wanted: false }, vec![]),
            Duration::ZERO,
        );
    }
    members
}

fn state(members: &Membership, n: u8) -> Option<State> {
    members.member(&node(n)).map(|member| member.record.state)
}

const TOLD: Body = Body::Ack { number: 0 };

#[test]
fn a_node_alone_sleeps() {
    let members = alone(1);
    assert_eq!(members.next_due(), None);
}

#[test]
fn a_node_that_joins_is_known_with_its_addresses() {
    let (mut one, mut two) = (alone(1), alone(2));
    assert!(one.join(node(2), SECOND));
    assert_eq!(one.next_due(), Some(SECOND));
    let pings = sent(&one.tick(SECOND));
    let (to, ping) = &pings[0];
    assert_eq!(*to, node(2));
    let actions = two.received(node(1), &ping.write(), SECOND).unwrap();
    assert_eq!(events(&actions), [(Event::Joined, node(1))]);
    assert_eq!(two.member(&node(1)).unwrap().record, *one.me());
    let mut told = Vec::new();
    for (_, message) in sent(&actions) {
        told.extend(events(&one.received(node(2), &message.write(), SECOND).unwrap()));
    }
    assert_eq!(told, [(Event::Joined, node(2))]);
    assert_eq!(one.member(&node(2)).unwrap().record.addresses, addresses("node-2:1"));
    assert!(!one.join(node(1), SECOND), "itself");
}

/// In one incarnation the worse state, and of incarnations the greater: all orders of all records lead to the same.
#[test]
fn records_merge_the_same_in_every_order() {
    let by = State::Suspect { by: node(9) };
    let all = [(1, State::Alive), (1, by), (1, State::Dead), (2, State::Alive), (2, by)];
    for first in 0..all.len() {
        for second in 0..all.len() {
            let mut members = among(1, &[3, 4, 9]);
            let mut best = (0, State::Alive);
            for (ahead, state) in [all[first], all[second]] {
                let told = vec![record(4, UNIX_MS + ahead, state)];
                hears(&mut members, 3, message(UNIX_MS, TOLD, told), SECOND);
                if (ahead, state.rank()) > (best.0, best.1.rank()) {
                    best = (ahead, state);
                }
            }
            let known = &members.member(&node(4)).unwrap().record;
            assert_eq!((known.incarnation, known.state), (UNIX_MS + best.0, best.1));
        }
    }
}

#[test]
fn addresses_belong_to_an_incarnation() {
    let mut members = among(1, &[3]);
    let told = |incarnation, text| {
        let record = Record { addresses: addresses(text), ..record(4, incarnation, State::Alive) };
        message(UNIX_MS, TOLD, vec![record])
    };
    let known = |members: &Membership| members.member(&node(4)).unwrap().record.addresses.clone();
    hears(&mut members, 3, told(UNIX_MS + 5, "new:1"), SECOND);
    hears(&mut members, 3, told(UNIX_MS + 4, "old:1"), SECOND);
    hears(&mut members, 3, told(UNIX_MS + 5, "forged:1"), SECOND);
    assert_eq!(known(&members), addresses("new:1"));
    hears(&mut members, 3, told(UNIX_MS + 6, "newer:1"), SECOND);
    assert_eq!(known(&members), addresses("newer:1"));
    hears(&mut members, 4, message(UNIX_MS + 6, TOLD, vec![]), SECOND);
    assert_eq!(known(&members), addresses("somewhere:1"), "its own word counts most");
    let mut mover = alone(2);
    mover.moved(addresses("elsewhere:1"));
    assert_eq!(mover.me().incarnation, UNIX_MS + 1);
}

#[test]
fn who_is_accused_denies_it() {
    let accusations = [State::Suspect { by: node(3) }, State::Dead, State::Left];
    for accusation in accusations {
        for ahead in [0, 7, INCARNATION_AHEAD_MS_MAX] {
            let mut members = among(1, &[3]);
            let told = vec![record(1, UNIX_MS + ahead, accusation)];
            hears(&mut members, 3, message(UNIX_MS, TOLD, told), SECOND);
            assert_eq!(members.me().incarnation, UNIX_MS + ahead + 1);
            assert_eq!(members.me().state, State::Alive);
        }
    }
    let mut members = among(1, &[3]);
    let old = vec![record(1, UNIX_MS - 1, State::Dead), record(1, UNIX_MS, State::Alive)];
    hears(&mut members, 3, message(UNIX_MS, TOLD, old), SECOND);
    assert_eq!(members.me().incarnation, UNIX_MS, "an old accusation, and a true word");
    let other_life = vec![record(1, UNIX_MS + 9, State::Alive)];
    hears(&mut members, 3, message(UNIX_MS, TOLD, other_life), SECOND);
    assert_eq!(members.me().incarnation, UNIX_MS + 10, "an earlier life, whose clock was ahead");
}

/// Whatever others say, what a member says of itself stays within what they believe, also where clocks differ by a day.
#[test]
fn no_incarnation_from_outside_can_stick_anybody() {
    let mut victim = among(1, &[3]);
    let mut other = among(2, &[1, 3]);
    for ahead in [u64::MAX - UNIX_MS, INCARNATION_AHEAD_MS_MAX + 1001] {
        let told = || vec![record(1, UNIX_MS + ahead, State::Dead)];
        hears(&mut victim, 3, message(UNIX_MS, TOLD, told()), SECOND);
        hears(&mut other, 3, message(UNIX_MS, TOLD, told()), SECOND);
        assert_eq!(victim.me().incarnation, UNIX_MS, "not believed by itself");
        assert_eq!(state(&other, 1), Some(State::Alive), "nor by others");
    }
    // A flood of accusations, each one above the last: they carry it to the limit and not beyond.
    let start = UNIX_MS + INCARNATION_AHEAD_MS_MAX;
    for more in 0..3000 {
        let told = vec![record(1, start + more, State::Dead)];
        hears(&mut victim, 3, message(UNIX_MS, TOLD, told.clone()), SECOND);
        hears(&mut other, 3, message(UNIX_MS, TOLD, told), SECOND);
    }
    assert_eq!(victim.me().incarnation, start + 1001);
    assert_eq!(state(&other, 1), Some(State::Dead));
    // The denial reaches also one whose clock is almost a day behind.
    let mut behind = alone(5);
    behind.began.1 -= INCARNATION_AHEAD_MS_MAX - 1;
    for listener in [&mut other, &mut behind] {
        hears(listener, 1, message(victim.me().incarnation, TOLD, vec![]), SECOND);
        assert_eq!(state(listener, 1), Some(State::Alive));
    }
    let far = message(UNIX_MS + 2 * INCARNATION_AHEAD_MS_MAX + 1001, TOLD, vec![]);
    assert!(other.received(node(1), &far.write(), SECOND).is_err());
}

#[test]
fn a_suspect_is_told_first_and_when_it_denies_it_lives() {
    let mut members = among(1, &[3, 4, 5]);
    let by = State::Suspect { by: node(3) };
    let told = hears(
        &mut members,
        3,
        message(UNIX_MS, TOLD, vec![record(4, UNIX_MS, by), record(5, UNIX_MS, by)]),
        SECOND,
    );
    assert_eq!(told, [(Event::Suspected, node(4)), (Event::Suspected, node(5))]);
    let ping = message(UNIX_MS, Body::Ping { number: 7 }, vec![]);
    let actions = members.received(node(4), &ping.write(), SECOND).unwrap();
    let (to, ack) = &sent(&actions)[0];
    assert_eq!((*to, ack.body), (node(4), Body::Ack { number: 7 }));
    assert_eq!((ack.records[0].node, ack.records[0].state), (node(4), by));
    assert!(ack.records.iter().filter(|r| r.node == node(4)).count() == 1, "and once");
    let told = hears(&mut members, 4, message(UNIX_MS + 1, TOLD, vec![]), SECOND);
    assert_eq!(told, [(Event::Alive, node(4))]);
}

/// Lets time pass; nothing arrives. Returns what was told, with its times.
fn runs(members: &mut Membership, until: Duration) -> Vec<(Duration, Event, NodeId)> {
    let mut told = Vec::new();
    while let Some(due) = members.next_due().filter(|due| *due <= until) {
        told.extend(events(&members.tick(due)).into_iter().map(|(event, node)| (due, event, node)));
    }
    told
}

#[test]
fn confirmations_shorten_the_time_of_a_suspect() {
    let others: Vec<u8> = (3..12).collect();
    let mut deadlines = Vec::new();
    for accusers in 1..=6u8 {
        let mut members = among(1, &others);
        for by in 3..3 + accusers {
            let suspect = record(11, UNIX_MS, State::Suspect { by: node(by) });
            let twice = vec![suspect.clone(), suspect];
            hears(&mut members, by, message(UNIX_MS, TOLD, twice), SECOND);
        }
        let unknown = record(11, UNIX_MS, State::Suspect { by: node(99) });
        let hearsay = record(11, UNIX_MS, State::Suspect { by: node(11) });
        hears(&mut members, 3, message(UNIX_MS, TOLD, vec![unknown, hearsay]), SECOND);
        deadlines.push(members.suspicions[&node(11)].deadline() - SECOND);
    }
    // 2 log2(11) periods, rounded up, and four times that.
    assert_eq!(deadlines[0], 28 * SECOND);
    assert!(deadlines[..4].is_sorted_by(|a, b| a > b), "{deadlines:?}");
    assert_eq!(deadlines[3..], [7 * SECOND; 3]);
    // Lifeguard's own example: the first confirmation takes half of what can be taken.
    assert_eq!(deadlines[1].as_millis(), (7 * SECOND + 21 * SECOND / 2).as_millis());
}

#[test]
fn who_never_answers_is_suspected_and_dead() {
    let mut members = among(1, &[3]);
    let told = runs(&mut members, 60 * SECOND);
    let [(suspected, Event::Suspected, _), (dead, Event::Dead, _)] = told[..] else {
        panic!("{told:?}");
    };
    assert!(suspected <= 2 * SECOND);
    assert_eq!(dead - suspected, SUSPICION_PERIODS_MIN * SECOND);
    assert!(members.next_due().is_some(), "the dead are tried");
    let told = runs(&mut members, Settings::default().forget_after + 120 * SECOND);
    assert_eq!(told, []);
    assert_eq!(members.members().count(), 0);
    assert_eq!((members.next_due(), members.gone), (None, 0), "and forgotten");
}

#[test]
fn helpers_are_asked_and_an_answer_through_them_counts() {
    let mut members = among(1, &[3, 4, 5, 6, 7]);
    let due = members.next_due().unwrap();
    let pings = sent(&members.tick(due));
    let (target, Message { body: Body::Ping { number }, .. }) = pings[0] else {
        panic!("{pings:?}");
    };
    let later = due + Settings::default().answer_within;
    assert_eq!(members.next_due(), Some(later));
    let asked = sent(&members.tick(later));
    assert_eq!(asked.len(), 3);
    for (helper, request) in &asked {
        assert_ne!(*helper, target);
        assert_eq!(request.body, Body::PingRequest { number, target });
    }
    // Of one that was not asked it is no answer.
    let stranger = (3..8).find(|n| asked.iter().all(|(h, _)| *h != node(*n)) && node(*n) != target);
    hears(&mut members, stranger.unwrap(), message(UNIX_MS, Body::Ack { number }, vec![]), later);
    assert!(!members.probe.as_ref().unwrap().answered);
    hears(&mut members, asked[1].0.0[0], message(UNIX_MS, Body::Ack { number }, vec![]), later);
    assert!(members.probe.as_ref().unwrap().answered);
}

#[test]
fn a_helper_passes_the_answer_on_or_says_that_there_is_none() {
    let within = Settings::default().answer_within;
    for answers in [true, false] {
        let mut members = among(1, &[3, 4]);
        let request = Body::PingRequest { number: 77, target: node(4) };
        let actions = members.received(node(3), &message(UNIX_MS, request, vec![]).write(), SECOND);
        let (to, ping) = sent(&actions.unwrap()).remove(0);
        let Body::Ping { number } = ping.body else { panic!("{ping:?}") };
        assert_eq!(to, node(4));
        let answer = message(UNIX_MS, Body::Ack { number }, vec![]).write();
        let wrong = members.received(node(3), &answer, SECOND).unwrap();
        assert_eq!(wrong, [], "an answer of another one");
        let (actions, expected) = if answers {
            (members.received(node(4), &answer, SECOND).unwrap(), Body::Ack { number: 77 })
        } else {
            members.period_at = 10 * SECOND;
            members.everything_at = 10 * SECOND;
            (members.tick(SECOND + within), Body::Nack { number: 77 })
        };
        let (to, said) = &sent(&actions)[0];
        assert_eq!((*to, said.body), (node(3), expected));
        assert!(members.relays.is_empty());
    }
}

#[test]
fn pings_for_others_are_bounded() {
    let mut members = among(1, &[3, 4]);
    for number in 0..100 {
        let request = Body::PingRequest { number, target: node(4) };
        hears(&mut members, 3, message(UNIX_MS, request, vec![]), SECOND);
    }
    assert_eq!(members.relays.len(), RELAYS_PER_MEMBER_MAX);
    let request = Body::PingRequest { number: 5, target: node(88) };
    let bytes = message(UNIX_MS, request, vec![]).write();
    let mut members = among(1, &[3]);
    let said = sent(&members.received(node(3), &bytes, SECOND).unwrap());
    assert_eq!(said[0].1.body, Body::Nack { number: 5 }, "of one that is not known");
}

#[test]
fn the_dead_are_not_believed_but_of_oneself() {
    let mut members = among(1, &[3, 4, 5]);
    let dead = vec![record(4, UNIX_MS, State::Dead)];
    assert_eq!(
        hears(&mut members, 3, message(UNIX_MS, TOLD, dead), SECOND),
        [(Event::Dead, node(4))]
    );
    let accusations = vec![record(5, UNIX_MS, State::Dead), record(1, UNIX_MS, State::Dead)];
    assert_eq!(hears(&mut members, 4, message(UNIX_MS, TOLD, accusations), SECOND), []);
    assert_eq!(members.me().incarnation, UNIX_MS + 1);
}

#[test]
fn who_was_dead_does_not_tell_what_it_made_of_the_silence() {
    let mut members = among(1, &[3, 4, 5]);
    runs(&mut members, 10 * SECOND);
    assert!(members.rumours.len() >= 1);
    let began = |members: &Membership| members.suspicions.values().map(|s| s.began).max();
    assert!(began(&members).unwrap() < 10 * SECOND);
    let dead = vec![record(1, UNIX_MS, State::Dead)];
    hears(&mut members, 3, message(UNIX_MS + 1, TOLD, dead), 10 * SECOND);
    assert_eq!((members.rumours.len(), began(&members)), (0, Some(10 * SECOND)));
}

#[test]
fn who_comes_back_is_asked_for_all_that_it_knows() {
    let mut members = among(1, &[3, 4]);
    let dead = vec![record(4, UNIX_MS, State::Dead)];
    hears(&mut members, 3, message(UNIX_MS, TOLD, dead), SECOND);
    let back = message(UNIX_MS + 1, Body::Ping { number: 1 }, vec![]);
    let actions = members.received(node(4), &back.write(), 3 * SECOND).unwrap();
    assert_eq!(events(&actions), [(Event::Joined, node(4))]);
    let asks = |(_, m): &(NodeId, Message)| m.body == Body::Sync { wanted: true };
    assert!(sent(&actions).iter().any(asks));
    // What it knows of deaths is only suspected here.
    let everything = message(
        UNIX_MS + 1,
        Body::Sync { wanted: false },
        vec![record(3, UNIX_MS, State::Dead), record(7, UNIX_MS, State::Dead)],
    );
    let told = hears(&mut members, 4, everything, 3 * SECOND);
    assert_eq!(told, [(Event::Suspected, node(3))]);
    assert_eq!(state(&members, 3), Some(State::Suspect { by: node(3) }));
    assert_eq!(state(&members, 7), None, "of the dead only those are told who knew them");
}

#[test]
fn everything_is_sent_to_each_once_in_a_while() {
    let mut members = among(1, &[3]);
    let many = (10..200).map(|n| record(n, UNIX_MS, State::Alive)).collect::<Vec<_>>();
    for some in many.chunks(30) {
        hears(&mut members, 3, message(UNIX_MS, TOLD, some.to_vec()), SECOND);
    }
    let ask = message(UNIX_MS, Body::Sync { wanted: true }, vec![]).write();
    let pieces = sent(&members.received(node(3), &ask, 2 * SECOND).unwrap());
    let told: usize = pieces.iter().map(|(_, piece)| piece.records.len()).sum();
    assert_eq!((told, pieces.len() > 2), (191, true));
    assert_eq!(
        sent(&members.received(node(3), &ask, 2 * SECOND + EVERYTHING_GAP / 2).unwrap()),
        []
    );
    assert!(!members.received(node(3), &ask, 2 * SECOND + EVERYTHING_GAP).unwrap().is_empty());
}

#[test]
fn a_node_that_was_stopped_accuses_nobody() {
    let mut members = among(1, &[3, 4, 5]);
    let suspect = record(4, UNIX_MS, State::Suspect { by: node(3) });
    hears(&mut members, 3, message(UNIX_MS, TOLD, vec![suspect]), SECOND / 10);
    let due = members.next_due().unwrap();
    members.tick(due);
    let deadline = members.suspicions[&node(4)].deadline();
    let actions = members.tick(3600 * SECOND);
    assert_eq!(events(&actions), []);
    assert_eq!(members.health(), 1);
    assert!(members.suspicions[&node(4)].deadline() > deadline + 3000 * SECOND);
}

#[test]
fn a_node_that_hears_nobody_doubts_itself() {
    let mut members = among(1, &[3, 4, 5, 6, 7]);
    runs(&mut members, 4 * SECOND);
    assert!(members.health() >= 1);
    let patient = members.probe.as_ref().unwrap().ask_at.unwrap_or(members.period_at);
    assert!(patient > 4 * SECOND);
    for _ in 0..20 {
        members.probe.as_mut().unwrap().answered = true;
        let due = members.period_at;
        members.conclude(due, &mut Vec::new());
        members.probe_next(due, &mut Vec::new());
    }
    assert_eq!(members.health(), 0);
}

#[test]
fn the_transport_may_help() {
    let mut members = among(1, &[3, 4, 5, 6]);
    let due = members.next_due().unwrap();
    members.tick(due);
    let target = members.probe.as_ref().unwrap().target;
    members.unreachable(target, due);
    assert_eq!(members.next_due(), Some(due), "others are asked at once");
    assert_eq!(sent(&members.tick(due)).len(), 3);
    members.heard(target);
    assert!(members.probe.as_ref().unwrap().answered);
    let last = *members.order.last().unwrap();
    members.unreachable(last, due);
    let due = members.next_due().unwrap();
    members.tick(due);
    assert_eq!(members.probe.as_ref().unwrap().target, last);
    members.unreachable(node(99), due);
}

#[test]
fn who_leaves_says_so_and_is_not_tried() {
    let mut one = among(1, &[2]);
    let mut two = among(2, &[1]);
    let goodbye = one.leave();
    assert_eq!((one.leave(), one.next_due()), (vec![], None));
    let told = hears(&mut two, 1, sent(&goodbye)[0].1.clone(), SECOND);
    assert_eq!(told, [(Event::Left, node(1))]);
    let before = message(UNIX_MS, Body::Ping { number: 1 }, vec![]);
    assert_eq!(hears(&mut two, 1, before, SECOND), [], "a message from before is overtaken");
    assert_eq!(runs(&mut two, 100 * SECOND), []);
    let again = message(UNIX_MS + 1, Body::Ping { number: 1 }, vec![]);
    assert_eq!(hears(&mut two, 1, again, 100 * SECOND), [(Event::Joined, node(1))]);
}

#[test]
fn invented_members_do_not_keep_real_ones_out() {
    let mut members = among(1, &[3]);
    let invented = |n: u16, incarnation| {
        let mut id = [77; 32];
        id[..2].copy_from_slice(&n.to_le_bytes());
        let addresses = Addresses::default();
        Record { node: NodeId(id), incarnation, state: State::Alive, addresses }
    };
    for n in (0..6000u16).step_by(60) {
        let records = (n..n + 60).map(|n| invented(n, UNIX_MS)).collect();
        hears(&mut members, 3, message(UNIX_MS, TOLD, records), SECOND);
    }
    assert_eq!(members.members().count(), MEMBERS_MAX);
    assert!(members.rumours.len() <= MEMBERS_MAX);
    let told = hears(&mut members, 4, message(UNIX_MS, TOLD, vec![]), SECOND);
    assert_eq!((told.len(), told[1]), (2, (Event::Joined, node(4))));
    assert_eq!((told[0].0, members.members().count()), (Event::Dead, MEMBERS_MAX));
    assert_eq!(members.order.len(), MEMBERS_MAX);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever admitted members send, and whenever: the books agree.
    #[test]
    fn a_hostile_member_breaks_nothing(
        steps in vec((0..8u8, 0..5u8, vec((0..9u8, 0..4u8, any::<u8>()), 0..8), 0..4000u64), 1..200),
        far in any::<u64>(),
    ) {
        let mut members = alone(1);
        members.join(node(2), Duration::ZERO);
        let mut now = Duration::ZERO;
        let mut live = BTreeSet::new();
        for (from, body, records, wait) in steps {
            now += Duration::from_millis(wait);
            let incarnation = |n: u8| match n {
                0..200 => UNIX_MS + u64::from(n % 5),
                200..230 => UNIX_MS + INCARNATION_AHEAD_MS_MAX + u64::from(n),
                230..250 => far,
                _ => u64::MAX,
            };
            let records = records.into_iter().map(|(n, state, ahead)| record(n, incarnation(ahead), match state {
                0 => State::Alive,
                1 => State::Suspect { by: node(ahead % 8) },
                2 => State::Dead,
                _ => State::Left,
            }));
            let body = match body {
                0 => Body::Ping { number: far },
                1 => Body::PingRequest { number: far, target: node(from / 2) },
                2 => Body::Ack { number: members.number },
                3 => Body::Nack { number: members.number },
                _ => Body::Sync { wanted: true },
            };
            let message = message(incarnation(from * 30), body, records.collect());
            let mut actions = members.tick(now);
            actions.extend(members.received(node(from), &message.write(), now).unwrap_or_default());
            prop_assert!(sent(&actions).iter().all(|(to, _)| *to != node(1)));
            for (event, node) in events(&actions) {
                let fits = match event {
                    Event::Joined => live.insert(node),
                    Event::Dead | Event::Left => live.remove(&node),
                    Event::Suspected | Event::Alive => live.contains(&node),
                };
                prop_assert!(fits, "{:?} of {}", event, node);
            }
            let believed = |m: &&Member| !m.record.state.is_gone();
            let all: BTreeSet<NodeId> = members.members().filter(believed).map(|m| m.record.node).collect();
            prop_assert_eq!(&all, &live);
            let order: BTreeSet<NodeId> = members.order.iter().copied().collect();
            prop_assert_eq!((&order, members.order.len()), (&live, live.len()));
            prop_assert_eq!(members.gone + live.len(), members.members().count());
            let suspects = members.members().filter(|m| matches!(m.record.state, State::Suspect { .. }));
            let suspects: Vec<NodeId> = suspects.map(|m| m.record.node).collect();
            prop_assert_eq!(suspects, members.suspicions.keys().copied().collect::<Vec<_>>());
            prop_assert!(members.next <= members.order.len());
            prop_assert!(members.me().incarnation <= members.incarnation_max(now, false) + 1);
            members.rumours.len();
        }
    }

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..300)) {
        let _ = alone(1).received(node(2), &bytes, SECOND);
    }
}
