//! Tables from hashed features to small rows of bytes, in one piece of memory.
//!
//! A row lies where its key says, or in one of the next places; two bytes of the key stand before it, so that a feature
//! that was never learned finds nothing (but for one in some 30,000). A table is used as it is stored.

use crate::model::{Error, Reader};

/// The most places that are looked at for a key.
const PROBES_MAX: usize = 100;

/// The most rows of a table.
const ROWS_MAX: usize = 4 << 20;

/// How many keys are looked up together.
const BATCH: usize = 32;

/// Of a hundred places, how many are taken.
const FULL_PERCENT: usize = 60;

/// Rows of `N` bytes by hashed key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table<const N: usize> {
    /// Places that keys can point at; `PROBES_MAX` more follow.
    places: usize,
    checks: Vec<u16>,
    rows: Vec<[u8; N]>,
}

impl<const N: usize> Table<N> {
    /// A table of `rows`; of rows with equal keys the first is found.
    pub(crate) fn build(rows: &[(u64, [u8; N])]) -> Table<N> {
        let mut places = (rows.len() * 100 / FULL_PERCENT).max(1);
        loop {
            match Table::try_build(rows, places) {
                Some(table) => return table,
                None => places += places / 8 + 1,
            }
        }
    }

    fn try_build(rows: &[(u64, [u8; N])], places: usize) -> Option<Table<N>> {
        let length = places + PROBES_MAX;
        let mut table = Table { places, checks: vec![0; length], rows: vec![[0; N]; length] };
        for (key, row) in rows {
            let start = table.place(*key);
            let free = (start..start + PROBES_MAX).find(|at| table.checks[*at] == 0)?;
            table.checks[free] = check(*key);
            table.rows[free] = *row;
        }
        Some(table)
    }

    #[inline]
    fn place(&self, key: u64) -> usize {
        (((key & 0xffff_ffff) * self.places as u64) >> 32) as usize
    }

    /// The row of a key.
    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<&[u8; N]> {
        self.find(self.place(key), check(key)).map(|at| &self.rows[at])
    }

    /// Where a row with this check lies, from `start` on.
    #[inline]
    fn find(&self, start: usize, wanted: u16) -> Option<usize> {
        for (at, found) in self.checks[start..].iter().enumerate().take(PROBES_MAX) {
            match *found {
                found if found == wanted => return Some(start + at),
                0 => return None,
                _ => {}
            }
        }
        None
    }

    /// Adds the rows of all keys, as numbers with sign, to `scores`.
    #[inline]
    pub(crate) fn add(&self, keys: &[u64], scores: &mut [i16; N]) {
        self.each(keys, |_, row| {
            for (score, weight) in scores.iter_mut().zip(row) {
                *score = score.wrapping_add(i16::from(*weight as i8));
            }
        });
    }

    /// Tells the rows of those keys that have one, each with the number of the key.
    ///
    /// Places are looked at before rows are fetched, so that the processor waits for many of them at once.
    #[inline]
    pub(crate) fn each(&self, keys: &[u64], mut tell: impl FnMut(usize, &[u8; N])) {
        for (from, some) in (0..).step_by(BATCH).zip(keys.chunks(BATCH)) {
            let mut found = [(0u32, 0u16); BATCH];
            for (found, key) in found.iter_mut().zip(some) {
                let place = self.place(*key);
                *found = (place as u32, self.checks[place]);
            }
            let mut rows = [(0u32, 0u32); BATCH];
            let mut count = 0;
            for (number, ((place, first), key)) in (0..).zip(found.iter().zip(some)) {
                let wanted = check(*key);
                // Without branches where the first place tells.
                rows[count] = (number, *place);
                if *first == wanted {
                    count += 1;
                } else if *first != 0
                    && let Some(at) = self.find(*place as usize + 1, wanted)
                {
                    rows[count] = (number, at as u32);
                    count += 1;
                }
            }
            for (number, row) in &rows[..count] {
                tell(from + *number as usize, &self.rows[*row as usize]);
            }
        }
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend((self.places as u32).to_le_bytes());
        self.checks.iter().for_each(|check| out.extend(check.to_le_bytes()));
        self.rows.iter().for_each(|row| out.extend(row));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Table<N>, Error> {
        let places = reader.u32("size of a table")? as usize;
        if places == 0 || places > ROWS_MAX {
            return Err(Error::Value { what: "size of a table", value: places as u64 });
        }
        let length = places + PROBES_MAX;
        let checks = reader.bytes(length * 2, "checks of a table")?;
        let checks = checks.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
        let rows = reader.bytes(length * N, "rows of a table")?;
        let rows = rows.as_chunks::<N>().0.to_vec();
        Ok(Table { places, checks, rows })
    }
}

/// What stands before a row: never 0, which marks an empty place.
#[inline]
const fn check(key: u64) -> u16 {
    (key >> 48) as u16 | 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash;

    #[test]
    fn rows_are_found_and_others_are_not() {
        let rows: Vec<_> =
            (0..20_000u64).map(|i| (hash::mix(i), [i as u8, (i >> 8) as u8])).collect();
        let table = Table::build(&rows);
        let mut bytes = Vec::new();
        table.write(&mut bytes);
        let read = Table::<2>::read(&mut Reader::new(&bytes)).unwrap();
        assert_eq!(read, table);
        let wrong = rows.iter().filter(|(key, row)| read.get(*key) != Some(row)).count();
        assert!(wrong < 10, "{wrong} rows taken for others");
        let strangers = (20_000..120_000).filter(|i| read.get(hash::mix(*i)).is_some()).count();
        assert!(strangers < 20, "{strangers} strangers found");
        let mut scores = [1, 2];
        read.add(&[hash::mix(255), hash::mix(30_000)], &mut scores);
        assert_eq!(scores, [0, 2], "bytes are numbers with sign");
    }

    #[test]
    fn a_damaged_table_is_refused() {
        let mut bytes = Vec::new();
        Table::build(&[(7, [1u8; 3])]).write(&mut bytes);
        for at in 0..bytes.len() {
            assert!(Table::<3>::read(&mut Reader::new(&bytes[..at])).is_err());
        }
        for size in [0, u32::MAX, ROWS_MAX as u32 + 1] {
            bytes[..4].copy_from_slice(&size.to_le_bytes());
            assert!(Table::<3>::read(&mut Reader::new(&bytes)).is_err());
        }
    }
}
