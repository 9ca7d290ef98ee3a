//! What is known of words in names: how often they stood in names of each kind, at which end, and outside of names.

use super::Kind;
use crate::hash;
use crate::hash::HashedMap;
use crate::model::{Error, Reader};
use crate::table::Table;

/// What is known of a word.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Known(u16);

impl Known {
    /// How often in names of each kind, roughly.
    pub(super) const fn kinds(self) -> u64 {
        self.0 as u64 & 0xff
    }

    /// The same, with where in names, and how often outside.
    pub(super) const fn code(self) -> u64 {
        self.0 as u64
    }

    /// The kind that it had most, if any, and whether it is rather outside.
    pub(super) fn most(self) -> u64 {
        let rough = |kind: usize| self.0 >> (2 * kind) & 3;
        let most = (0..Kind::ALL.len()).rev().max_by_key(|kind| rough(*kind)).unwrap_or(0);
        match rough(most) {
            0 => 0,
            _ => 1 + most as u64 + 8 * u64::from(self.0 >> 8 & 3),
        }
    }
}

/// How often a word stood where.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Count {
    kinds: [u32; Kind::ALL.len()],
    first: u32,
    last: u32,
    outside: u32,
}

impl Count {
    /// Once in a name of this kind and number of words.
    pub(super) fn within(&mut self, kind: Kind, at: usize, words: usize) {
        self.kinds[kind as usize] += 1;
        if words > 1 {
            self.first += u32::from(at == 0);
            self.last += u32::from(at + 1 == words);
        }
    }

    /// Once outside of names.
    pub(super) fn outside(&mut self) {
        self.outside += 1;
    }

    pub(super) fn names(&self) -> u32 {
        self.kinds.iter().sum()
    }

    pub(super) fn less(mut self, other: &Count) -> Count {
        self.kinds.iter_mut().zip(other.kinds).for_each(|(kind, other)| *kind -= other);
        self.first -= other.first;
        self.last -= other.last;
        self.outside -= other.outside;
        self
    }

    pub(super) fn known(&self) -> Known {
        let names = self.names();
        if names == 0 {
            return Known::default();
        }
        let rough = |count: u32| match count {
            0 | 1 => count as u16,
            2..=4 => 2,
            _ => 3,
        };
        let kinds = self.kinds.iter().rev().fold(0, |bits, count| bits << 2 | rough(*count));
        let outside = match self.outside {
            0 => 0,
            few if few < names / 4 => 1,
            some if some < names.saturating_mul(4) => 2,
            _ => 3,
        };
        let end = match (self.first, self.last) {
            (first, last) if first > 3 * last => 1,
            (first, last) if last > 3 * first => 2,
            _ => 0,
        };
        Known(kinds | outside << 8 | end << 10)
    }
}

/// Known words, by the hash of their normal form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Names(Table<2>);

impl Names {
    pub(super) fn build(counts: &HashedMap<Count>) -> Names {
        let mut rows: Vec<_> = counts
            .iter()
            .map(|(form, count)| (key(*form), count.known().0.to_le_bytes()))
            .filter(|(_, row)| *row != [0; 2])
            .collect();
        rows.sort_unstable();
        Names(Table::build(&rows))
    }

    pub(super) fn get(&self, form: u64) -> Known {
        Known(self.0.get(key(form)).map_or(0, |row| u16::from_le_bytes(*row)))
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.0.write(out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Names, Error> {
        Table::read(reader).map(Names)
    }
}

fn key(form: u64) -> u64 {
    hash::feature(201, form)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_tells_kinds_and_ends() {
        let mut count = Count::default();
        assert_eq!(count.known(), Known::default());
        for _ in 0..5 {
            count.within(Kind::Person, 0, 2);
        }
        count.within(Kind::Place, 0, 1);
        let known = count.known();
        assert_eq!(known.kinds(), 0b01_00_11);
        assert_eq!(known.most(), 1);
        assert_eq!(known.code() >> 10, 1, "mostly the first word");
        let mut other = Count::default();
        other.within(Kind::Place, 0, 1);
        assert_eq!(count.less(&other).known().kinds(), 0b11);
        (0..100).for_each(|_| count.outside());
        assert_eq!(count.known().most(), 1 + 8 * 3);
    }
}
