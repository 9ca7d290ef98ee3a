//! Tables from hashed features to small rows of bytes, in one piece of memory.
//!
//! A row is known by sixteen bits of its key, in the bucket that the key points at, or one of the next where that is full: a feature
//! that was never learned finds nothing (but for one in some 20,000). A bucket is one aligned load, all of its lanes are
//! compared at once, and whether one of them matches costs no branch; rows lie side by side, without gaps, in the order of
//! the buckets.

use crate::fetch;
use crate::model::{Error, Reader};

/// Lanes of a bucket: with the number of its first row they fill 16 bytes.
const LANES: usize = 6;

/// Lanes of a bucket that are taken, on average.
const LANES_TAKEN: usize = 3;

/// How many buckets are looked at for a key.
const BUCKETS_MAX: usize = 16;

/// The most rows of a table.
const ROWS_MAX: usize = 4 << 20;

/// How many keys are looked up together.
const BATCH: usize = 32;

/// Rows of `N` bytes by hashed key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Table<const N: usize> {
    /// Those that keys can point at, and `BUCKETS_MAX` more.
    buckets: Vec<Bucket>,
    rows: Vec<[u8; N]>,
}

/// Keys that are looked up together in one table: the bucket that each points at, and what is known of its row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Asked(Vec<(u32, u16)>);

/// Lanes of 16 bits: checks of up to [`LANES`] rows, 0 where there is none, from the lowest on; in the upper half of the second
/// word the number of the first of these rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(align(16))]
struct Bucket([u64; 2]);

impl Bucket {
    fn new(checks: [u16; LANES], first: u32) -> Bucket {
        let word = |checks: &[u16]| checks.iter().rev().fold(0, |w, c| w << 16 | u64::from(*c));
        Bucket([word(&checks[..4]), word(&checks[4..]) | u64::from(first) << 32])
    }

    /// Whether a lane has this check, and the number of the row of the lowest one.
    #[inline]
    fn find(self, check: u16) -> (bool, u32) {
        let equal = equal_lanes(self.0, check) & ((1 << (2 * LANES)) - 1);
        (equal != 0, self.first().wrapping_add(equal.trailing_zeros() / 2))
    }

    #[inline]
    const fn first(self) -> u32 {
        (self.0[1] >> 32) as u32
    }

    /// Whether no lane is free.
    #[inline]
    const fn is_full(self) -> bool {
        self.0[1] & 0xffff_0000 != 0
    }

    fn checks(self) -> [u16; LANES] {
        std::array::from_fn(|lane| (self.0[lane / 4] >> (lane % 4 * 16)) as u16)
    }
}

/// Two bits for each lane of 16: both are set where it is `wanted`.
#[inline]
fn equal_lanes(words: [u64; 2], wanted: u16) -> u32 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{
            _mm_cmpeq_epi16, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi16,
        };
        // SAFETY: every such machine has SSE2, and nothing here touches memory.
        unsafe {
            let words = _mm_set_epi64x(words[1] as i64, words[0] as i64);
            _mm_movemask_epi8(_mm_cmpeq_epi16(words, _mm_set1_epi16(wanted as i16))) as u32
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        lanes_by_word(words, wanted)
    }
}

/// [`equal_lanes`] for any machine.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn lanes_by_word(words: [u64; 2], wanted: u16) -> u32 {
    let lane = |at: usize| (words[at / 4] >> (at % 4 * 16)) as u16;
    (0..8).filter(|at| lane(*at) == wanted).fold(0, |lanes, at| lanes | 3 << (2 * at))
}

impl<const N: usize> Table<N> {
    /// A table of `rows`; of rows with equal keys the first is found.
    pub(crate) fn build(rows: &[(u64, [u8; N])]) -> Table<N> {
        let mut places = rows.len().div_ceil(LANES_TAKEN).max(1);
        loop {
            match Table::try_build(rows, places) {
                Some(table) => return table,
                None => places += places / 8 + 1,
            }
        }
    }

    fn try_build(rows: &[(u64, [u8; N])], places: usize) -> Option<Table<N>> {
        let mut taken: Vec<Vec<usize>> = vec![Vec::new(); places + BUCKETS_MAX];
        for (number, (key, _)) in rows.iter().enumerate() {
            let start = place(*key, places);
            let free = taken[start..start + BUCKETS_MAX].iter_mut().find(|b| b.len() < LANES)?;
            free.push(number);
        }
        let mut table = Table { buckets: Vec::new(), rows: Vec::new() };
        for numbers in &taken {
            let mut checks = [0; LANES];
            for (to, number) in checks.iter_mut().zip(numbers) {
                *to = check(rows[*number].0);
            }
            table.buckets.push(Bucket::new(checks, table.rows.len() as u32));
            table.rows.extend(numbers.iter().map(|number| rows[*number].1));
        }
        Some(table)
    }

    #[inline]
    fn place(&self, key: u64) -> usize {
        place(key, self.buckets.len() - BUCKETS_MAX)
    }

    /// Adds a key to those that will be looked up together, and has its bucket fetched meanwhile.
    #[inline]
    pub(crate) fn ask(&self, key: u64, asked: &mut Asked) {
        let place = self.place(key);
        fetch::ahead(&self.buckets, place);
        asked.0.push((place as u32, check(key)));
    }

    /// The row of a key.
    #[inline]
    pub(crate) fn get(&self, key: u64) -> Option<&[u8; N]> {
        let (place, check) = (self.place(key), check(key));
        let bucket = self.buckets[place];
        let row = match bucket.find(check) {
            (true, row) => row,
            _ if bucket.is_full() => self.further(place + 1, check)?,
            _ => return None,
        };
        Some(&self.rows[row as usize])
    }

    /// The number of the row with this check in the buckets from `from` on, where the one before is full.
    #[cold]
    fn further(&self, from: usize, check: u16) -> Option<u32> {
        for bucket in self.buckets[from..].iter().take(BUCKETS_MAX - 1) {
            match bucket.find(check) {
                (true, row) => return Some(row),
                (false, _) if !bucket.is_full() => return None,
                (false, _) => {}
            }
        }
        None
    }

    /// Adds the rows of all that was asked of this table, as numbers with sign, to `scores`.
    #[inline]
    pub(crate) fn add(&self, asked: &mut Asked, scores: &mut [i16; N]) {
        let mut sums = *scores;
        self.each(asked, |_, row| add(row, &mut sums));
        *scores = sums;
    }

    /// Adds the row of one key.
    pub(crate) fn add_one(&self, key: u64, scores: &mut [i16; N]) {
        self.get(key).into_iter().for_each(|row| add(row, scores));
    }

    /// Tells the rows of all that was asked of this table, where there are any, each with the number of its key.
    ///
    /// Buckets are looked at before rows are fetched, so that the processor waits for many of them at once.
    #[inline]
    pub(crate) fn each(&self, asked: &mut Asked, mut tell: impl FnMut(usize, &[u8; N])) {
        for (from, some) in (0..).step_by(BATCH).zip(asked.0.chunks(BATCH)) {
            // Each is the number of a row and, in the lowest bits, that of its key.
            let mut found = [0; BATCH];
            let mut count = 0;
            for (number, (place, check)) in (0..).zip(some) {
                let bucket = self.buckets[*place as usize];
                let (hit, row) = bucket.find(*check);
                // Without branches where the first bucket tells.
                found[count % BATCH] = row * BATCH as u32 + number;
                count += usize::from(hit);
                if bucket.is_full()
                    && !hit
                    && let Some(row) = self.further(*place as usize + 1, *check)
                {
                    found[count % BATCH] = row * BATCH as u32 + number;
                    count += 1;
                }
            }
            for found in &found[..count] {
                let (row, number) = (*found as usize / BATCH, *found as usize % BATCH);
                tell(from + number, &self.rows[row]);
            }
        }
        asked.0.clear();
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(((self.buckets.len() - BUCKETS_MAX) as u32).to_le_bytes());
        let checks = self.buckets.iter().flat_map(|bucket| bucket.checks());
        checks.for_each(|check| out.extend(check.to_le_bytes()));
        self.rows.iter().for_each(|row| out.extend(row));
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Table<N>, Error> {
        let places = reader.u32("size of a table")? as usize;
        if places == 0 || places > ROWS_MAX {
            return Err(Error::Value { what: "size of a table", value: places as u64 });
        }
        let checks =
            reader.bytes((places + BUCKETS_MAX) * LANES * size_of::<u16>(), "checks of a table")?;
        let mut buckets = Vec::with_capacity(places + BUCKETS_MAX);
        let mut count = 0;
        for bytes in checks.as_chunks::<{ LANES * size_of::<u16>() }>().0 {
            let checks: [u16; LANES] = std::array::from_fn(|lane| {
                u16::from_le_bytes([bytes[2 * lane], bytes[2 * lane + 1]])
            });
            buckets.push(Bucket::new(checks, count));
            let taken = checks.iter().take_while(|check| **check != 0).count();
            // Rows are counted by the lanes before them.
            if checks[taken..].iter().any(|check| *check != 0) {
                return Err(Error::Value { what: "check of a table", value: buckets.len() as u64 });
            }
            count += taken as u32;
        }
        let rows = reader.bytes(count as usize * N, "rows of a table")?;
        let rows = rows.as_chunks::<N>().0.to_vec();
        Ok(Table { buckets, rows })
    }
}

#[inline]
fn add<const N: usize>(row: &[u8; N], scores: &mut [i16; N]) {
    for (score, weight) in scores.iter_mut().zip(row) {
        *score = score.wrapping_add(i16::from(*weight as i8));
    }
}

/// The bucket that a key points at, of so many.
#[inline]
const fn place(key: u64, places: usize) -> usize {
    ((key & 0xffff_ffff).wrapping_mul(places as u64) >> 32) as usize
}

/// What is known of a row's key: never 0, which marks a free lane.
#[inline]
const fn check(key: u64) -> u16 {
    match (key >> 48) as u16 {
        0 => 1,
        check => check,
    }
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
        let mut asked = Asked::default();
        [255, 30_000].iter().for_each(|i| read.ask(hash::mix(*i), &mut asked));
        read.add(&mut asked, &mut scores);
        assert_eq!(asked, Asked::default());
        // More than one batch, every third a stranger.
        let stranger = |i: u64| i.is_multiple_of(3);
        (0..100).for_each(|i| read.ask(hash::mix(i + 20_000 * u64::from(stranger(i))), &mut asked));
        let mut told = Vec::new();
        read.each(&mut asked, |number, row| told.push((number as u64, *row)));
        let known = (0..100).filter(|i| !stranger(*i));
        assert!(known.map(|i| (i, [i as u8, 0])).eq(told));
        assert_eq!(scores, [0, 2], "bytes are numbers with sign");
    }

    #[test]
    fn lanes_are_compared_alike_on_all_machines() {
        let words = [0x0007_0000_ffff_0007, 0x0007_8000_0007_0001];
        for wanted in [0, 1, 7, 0x8000, 0xffff, 9] {
            assert_eq!(equal_lanes(words, wanted), lanes_by_word(words, wanted), "{wanted:#x}");
        }
        assert_eq!(equal_lanes(words, 7), 0b11_00_11_00_11_00_00_11);
    }

    #[test]
    fn a_damaged_table_is_refused() {
        let mut bytes = Vec::new();
        Table::build(&[(7, [1u8; 3])]).write(&mut bytes);
        for at in 0..bytes.len() {
            assert!(Table::<3>::read(&mut Reader::new(&bytes[..at])).is_err());
        }
        // A row is counted by the lanes before its own, so none of them may be free.
        let at = 4 + 2 * bytes[4..].iter().position(|byte| *byte != 0).unwrap() / 2;
        bytes.swap(at, at + 2);
        bytes.swap(at + 1, at + 3);
        assert!(Table::<3>::read(&mut Reader::new(&bytes)).is_err(), "a gap");
        for size in [0, u32::MAX, ROWS_MAX as u32 + 1] {
            bytes[..4].copy_from_slice(&size.to_le_bytes());
            assert!(Table::<3>::read(&mut Reader::new(&bytes)).is_err());
        }
    }
}
