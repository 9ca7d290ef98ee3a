//! Which shelves take the shards of a segment: rendezvous hashing (Thaler and Ravishankar, 1998),
//! spread over failure domains.

use strongroom_record::{Id as _, SegmentId, ShelfId};

/// A shelf that could take a shard.
#[derive(Clone, Debug)]
pub(crate) struct Candidate {
    pub(crate) shelf: ShelfId,
    pub(crate) domain: String,
}

/// The order in which `candidates` are asked to keep shards of `segment`: each time the failure
/// domain that has fewest so far, and in it the shelf with the highest hash. The first n are taken,
/// so a shelf added or lost moves only the shards that it gains or loses.
pub(crate) fn order(segment: SegmentId, candidates: &[Candidate]) -> Vec<ShelfId> {
    let mut left: Vec<(&Candidate, [u8; 32])> =
        candidates.iter().map(|c| (c, score(segment, c.shelf))).collect();
    left.sort_by_key(|(_, score)| std::cmp::Reverse(*score));
    let mut taken: Vec<&Candidate> = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let load = |c: &Candidate| taken.iter().filter(|t| t.domain == c.domain).count();
        let least = left.iter().map(|(c, _)| load(c)).min().unwrap_or(0);
        // `left` is in order of score, so the first with the least load is the best.
        let best = left.iter().position(|(c, _)| load(c) == least).unwrap_or(0);
        taken.push(left.remove(best).0);
    }
    taken.into_iter().map(|c| c.shelf).collect()
}

fn score(segment: SegmentId, shelf: ShelfId) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"strongroom placement 1");
    hasher.update(&segment.bytes());
    hasher.update(&shelf.bytes());
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shelves(domains: &[&str]) -> Vec<Candidate> {
        let one = |(i, d): (usize, &&str)| Candidate {
            shelf: ShelfId([i as u8; 16]),
            domain: d.to_string(),
        };
        domains.iter().enumerate().map(one).collect()
    }

    #[test]
    fn domains_are_used_evenly() {
        let all = shelves(&["x", "x", "x", "y", "y", "z"]);
        for s in 0..50u8 {
            let order = order(SegmentId([s; 16]), &all);
            let domain = |id: &ShelfId| &all.iter().find(|c| c.shelf == *id).unwrap().domain;
            let first: std::collections::HashSet<_> = order[..3].iter().map(domain).collect();
            assert_eq!(first.len(), 3, "the first three shards are in three domains");
        }
    }

    #[test]
    fn a_new_shelf_moves_only_what_it_takes() {
        let before = shelves(&["a", "b", "c", "d"]);
        let after = shelves(&["a", "b", "c", "d", "e"]);
        let (mut moved, mut taken) = (0, 0);
        for s in 0..=255u8 {
            let segment = SegmentId([s; 16]);
            let old = order(segment, &before)[0];
            let new = order(segment, &after)[0];
            moved += usize::from(old != new);
            taken += usize::from(new == ShelfId([4; 16]));
        }
        assert_eq!(moved, taken);
        assert!((25..80).contains(&taken), "about a fifth of 256, not {taken}");
    }
}
