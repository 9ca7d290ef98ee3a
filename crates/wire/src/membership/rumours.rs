//! Which news of members are still to be told.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use crate::NodeId;

/// News that are told beside other messages: of each member the last, each a bounded number of times, the least told
/// first, and of those the newest. Bounded by the number of members.
#[derive(Default)]
pub(super) struct Rumours {
    queue: BTreeSet<(Place, NodeId)>,
    places: BTreeMap<NodeId, Place>,
    /// Numbers the news.
    news: u64,
}

/// How often it was told, and when it was new.
type Place = (u32, Reverse<u64>);

impl Rumours {
    /// There are news of this member.
    pub(super) fn tell(&mut self, node: NodeId) {
        self.news += 1;
        self.put(node, (0, Reverse(self.news)));
    }

    /// There is no more to tell of this member.
    pub(super) fn forget(&mut self, node: NodeId) {
        if let Some(place) = self.places.remove(&node) {
            self.queue.remove(&(place, node));
        }
    }

    /// Offers each in its turn to `add`, which says whether it took it; those were told once more, and are forgotten when
    /// that was the `limit`th time. Ends when `add` says `None`.
    pub(super) fn take(&mut self, limit: u32, mut add: impl FnMut(NodeId) -> Option<bool>) {
        let mut told = Vec::new();
        for (place, node) in &self.queue {
            match add(*node) {
                Some(true) => told.push((*place, *node)),
                Some(false) => {}
                None => break,
            }
        }
        for ((times, news), node) in told {
            match times + 1 < limit {
                true => self.put(node, (times + 1, news)),
                false => self.forget(node),
            }
        }
    }

    fn put(&mut self, node: NodeId, place: Place) {
        if let Some(before) = self.places.insert(node, place) {
            self.queue.remove(&(before, node));
        }
        self.queue.insert((place, node));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        assert_eq!(self.queue.len(), self.places.len());
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes up to two, and says which.
    fn two(rumours: &mut Rumours, limit: u32) -> Vec<u8> {
        let mut taken = Vec::new();
        rumours.take(limit, |node| {
            (taken.len() < 2).then(|| {
                taken.push(node.0[0]);
                true
            })
        });
        taken
    }

    #[test]
    fn the_least_told_come_first_and_each_comes_so_often() {
        let mut rumours = Rumours::default();
        (1..=3).for_each(|n| rumours.tell(NodeId([n; 32])));
        assert_eq!(two(&mut rumours, 2), [3, 2], "the newest first");
        assert_eq!(two(&mut rumours, 2), [1, 3], "those that were not told before those that were");
        assert_eq!(two(&mut rumours, 2), [2, 1]);
        assert_eq!(rumours.len(), 0);
    }

    #[test]
    fn news_take_the_place_of_older_news_of_the_same_member() {
        let mut rumours = Rumours::default();
        rumours.tell(NodeId([1; 32]));
        assert_eq!(two(&mut rumours, 2), [1]);
        rumours.tell(NodeId([1; 32]));
        assert_eq!(rumours.len(), 1);
        assert_eq!(two(&mut rumours, 2), [1]);
        assert_eq!(two(&mut rumours, 2), [1]);
        assert_eq!(two(&mut rumours, 2), []);
        rumours.tell(NodeId([1; 32]));
        rumours.forget(NodeId([1; 32]));
        assert_eq!(rumours.len(), 0);
    }
}
