//! How what is said of members becomes what is believed of them.

use std::time::Duration;

use super::rumours::Rumours;
use super::{
    Action, CONFIRMATIONS, Event, INCARNATION_AHEAD_MS_MAX, MEMBERS_MAX, Member, Membership,
    Record, SUSPICION_PATIENCE, SUSPICION_PERIODS, SUSPICION_PERIODS_MIN, State,
};
use crate::NodeId;

/// How long a suspect may still deny it.
pub(super) struct Suspicion {
    pub(super) began: Duration,
    /// Who said so, each once: at most one more than [`CONFIRMATIONS`].
    pub(super) accusers: Vec<NodeId>,
    /// The time with all confirmations, and with none.
    within: (Duration, Duration),
    /// How many confirmations make it the least: fewer than [`CONFIRMATIONS`] among few members.
    confirmations: usize,
}

impl Suspicion {
    /// Lifeguard, section IV B: the time falls with the logarithm of the confirmations.
    pub(super) fn deadline(&self) -> Duration {
        let (least, most) = self.within;
        let part = match self.confirmations {
            0 => 1.0,
            all => (self.accusers.len() as f64).ln() / (all as f64 + 1.0).ln(),
        };
        let less = most.saturating_sub(least).mul_f64(part.clamp(0.0, 1.0));
        self.began.saturating_add(most.saturating_sub(less))
    }
}

impl Membership {
    /// The greatest incarnation that is believed now: by others' words, or by a member's own.
    pub(super) fn incarnation_max(&self, now: Duration, own_word: bool) -> u64 {
        let (began, unix_ms) = self.began;
        let passed = u64::try_from(now.saturating_sub(began).as_millis()).unwrap_or(u64::MAX);
        let ahead = INCARNATION_AHEAD_MS_MAX * if own_word { 2 } else { 1 };
        unix_ms.saturating_add(passed).saturating_add(ahead)
    }

    pub(super) fn is_live(&self, node: &NodeId) -> bool {
        self.members.get(node).is_some_and(|member| !member.record.state.is_gone())
    }

    /// Merges what `from` said of a member, itself or another, into what is believed. `in_sync`: it was told
    /// with everything else, and may be old.
    pub(super) fn learn(
        &mut self,
        mut record: Record,
        from: NodeId,
        in_sync: bool,
        now: Duration,
        out: &mut Vec<Action>,
    ) {
        if record.node == self.own.node {
            return self.deny(&record, now);
        }
        let own_word = from == record.node;
        if record.incarnation > self.incarnation_max(now, own_word) {
            return;
        }
        let Some(Member { record: known, .. }) = self.members.get_mut(&record.node) else {
            // Of the gone only those who knew them need to know: otherwise each could be forgotten by one, and
            // told to it by another, for ever.
            let full = self.members.len() >= MEMBERS_MAX;
            if !record.state.is_gone() && (!full || own_word && self.make_room(now, out)) {
                self.settle(record, now, out);
            }
            return;
        };
        if in_sync && record.state == State::Dead && !known.state.is_gone() {
            // With nobody for an accuser: all members of the other half of a network would otherwise confirm each other's word,
            // and leave it the least time.
            record.state = State::Suspect { by: record.node };
        }
        let said = (record.incarnation, record.state.rank());
        let believed = (known.incarnation, known.state.rank());
        if said > believed {
            if record.incarnation == known.incarnation {
                record.addresses = known.addresses.clone();
            }
            self.settle(record, now, out);
        } else if said == believed {
            if let State::Suspect { by } = record.state {
                self.confirm(record.node, by);
            } else if own_word && known.addresses != record.addresses {
                known.addresses = record.addresses;
                self.rumours.tell(from);
            }
        }
    }

    /// Believes a record, which says more than the one before.
    fn settle(&mut self, record: Record, now: Duration, out: &mut Vec<Action>) {
        let (node, state) = (record.node, record.state);
        let before = self.members.get(&node).map(|member| member.record.state);
        let was_live = before.is_some_and(|state| !state.is_gone());
        let is_live = !state.is_gone();
        let mut tell = |event| out.push(Action::Event(event, node));
        if is_live && !was_live {
            tell(Event::Joined);
        }
        match (before, state) {
            (Some(State::Suspect { .. }), State::Alive) => tell(Event::Alive),
            (Some(State::Suspect { .. }), State::Suspect { .. }) => {}
            (_, State::Suspect { .. }) => tell(Event::Suspected),
            (_, State::Dead) if was_live => tell(Event::Dead),
            (_, State::Left) if was_live => tell(Event::Left),
            _ => {}
        }
        if before.is_some() && !was_live {
            self.gone -= 1;
        }
        if !is_live {
            if self.gone == 0 {
                self.retry_at = now.saturating_add(self.about(self.settings.retry_every));
            }
            self.gone += 1;
        }
        match (was_live, is_live) {
            (false, true) => self.line_up(node, now),
            (true, false) => self.step_out(&node),
            _ => {}
        }
        self.suspicions.remove(&node);
        if let State::Suspect { by } = state {
            self.suspicions.insert(node, self.suspicion(by, now));
        }
        self.rumours.tell(node);
        match self.members.get_mut(&node) {
            Some(member) => {
                if member.record.state.rank() != state.rank() {
                    member.since = now;
                }
                member.record = record;
            }
            None => {
                let member = Member { record, since: now, said: None, everything_at: None };
                self.members.insert(node, member);
            }
        }
    }

    /// It is to be probed: at a random place of the round that is under way, as SWIM wants it (section 4.3).
    fn line_up(&mut self, node: NodeId, now: Duration) {
        if self.order.is_empty() {
            // Nothing was due until now.
            self.period_at = now.saturating_add(self.chance.below(self.settings.period));
            self.everything_at = now.saturating_add(self.about(self.settings.everything_every));
        }
        let place = self.next + self.chance.index(self.order.len() - self.next + 1);
        self.order.insert(place, node);
    }

    /// It is no longer to be probed.
    fn step_out(&mut self, node: &NodeId) {
        let Some(place) = self.order.iter().position(|other| other == node) else { return };
        self.order.remove(place);
        if place < self.next {
            self.next -= 1;
        }
        self.probe.take_if(|probe| probe.target == *node);
    }

    fn suspicion(&self, by: NodeId, now: Duration) -> Suspicion {
        let periods = f64::from(SUSPICION_PERIODS) * self.log_members();
        let periods = periods.max(SUSPICION_PERIODS_MIN.into());
        let least = self.settings.period.saturating_mul(periods.ceil() as u32);
        // All but the suspect and its first accuser; this node is not in the order.
        let others = self.order.len().saturating_sub(1);
        Suspicion {
            began: now,
            accusers: vec![by],
            within: (least, least.saturating_mul(SUSPICION_PATIENCE)),
            confirmations: others.min(CONFIRMATIONS),
        }
    }

    /// This node got no answer from it.
    pub(super) fn accuse(&mut self, node: NodeId, now: Duration, out: &mut Vec<Action>) {
        let by = self.own.node;
        let Some(member) = self.members.get(&node) else { return };
        match member.record.state {
            State::Alive => {
                let state = State::Suspect { by };
                self.settle(Record { state, ..member.record.clone() }, now, out);
            }
            State::Suspect { .. } => self.confirm(node, by),
            State::Dead | State::Left => {}
        }
    }

    /// Another one suspects it too. That is news again.
    fn confirm(&mut self, node: NodeId, by: NodeId) {
        if by == node || by != self.own.node && !self.is_live(&by) {
            return;
        }
        let Some(suspicion) = self.suspicions.get_mut(&node) else { return };
        if suspicion.accusers.len() > CONFIRMATIONS || suspicion.accusers.contains(&by) {
            return;
        }
        suspicion.accusers.push(by);
        if let Some(member) = self.members.get_mut(&node) {
            member.record.state = State::Suspect { by };
        }
        self.rumours.tell(node);
    }

    /// Suspects whose time is over are dead.
    pub(super) fn bury(&mut self, now: Duration, out: &mut Vec<Action>) {
        let over = self.suspicions.iter().filter(|(_, suspicion)| suspicion.deadline() <= now);
        for node in over.map(|(node, _)| *node).collect::<Vec<_>>() {
            if let Some(member) = self.members.get(&node) {
                self.settle(Record { state: State::Dead, ..member.record.clone() }, now, out);
            }
        }
    }

    /// Something is said of this node: if it is not what it says of itself, and not older than that, it says so again in a
    /// greater incarnation.
    fn deny(&mut self, record: &Record, now: Duration) {
        let own = &self.own;
        if record.incarnation < own.incarnation
            || record.incarnation > self.incarnation_max(now, false)
        {
            return;
        }
        if record.incarnation == own.incarnation {
            let agrees = record.state == State::Alive && record.addresses == own.addresses;
            if agrees || own.state == State::Left {
                return;
            }
        }
        self.own.incarnation = record.incarnation.saturating_add(1);
        if matches!(record.state, State::Suspect { .. } | State::Dead) {
            self.worse();
        }
        // It was cut off, and what it made of the others' silence meanwhile is not to be told as news. They get it with everything
        // else, and take it for a suspicion; and whom it still suspects gets time anew.
        if record.state == State::Dead {
            self.rumours = Rumours::default();
            self.suspicions.values_mut().for_each(|suspicion| suspicion.began = now);
        }
    }

    /// Gives up the place of a member that is gone, or was never heard itself. `false` where there is none.
    fn make_room(&mut self, now: Duration, out: &mut Vec<Action>) -> bool {
        let worth = |member: &&Member| (!member.record.state.is_gone(), member.since);
        let idle = |member: &&Member| member.record.state.is_gone() || member.said.is_none();
        let Some(member) = self.members.values().filter(idle).min_by_key(worth) else {
            return false;
        };
        let node = member.record.node;
        if !member.record.state.is_gone() {
            out.push(Action::Event(Event::Dead, node));
        }
        self.forget(&node);
        // It may have been one that was joined, and nothing else lost.
        self.retry_at = self.retry_at.max(now);
        true
    }

    /// Those that are gone for long.
    pub(super) fn forget_old(&mut self, now: Duration) {
        let old = |member: &&Member| {
            member.record.state.is_gone()
                && member.since.saturating_add(self.settings.forget_after) <= now
        };
        let old: Vec<NodeId> = self.members.values().filter(old).map(|m| m.record.node).collect();
        old.iter().for_each(|node| self.forget(node));
    }

    fn forget(&mut self, node: &NodeId) {
        let Some(member) = self.members.remove(node) else { return };
        if member.record.state.is_gone() {
            self.gone -= 1;
        }
        self.step_out(node);
        self.suspicions.remove(node);
        self.rumours.forget(*node);
    }
}
