//! Learning to say yes or no: averaged perceptrons with a margin over hashed features, several seeds summed.

use crate::hash::{HashedMap, Random};

/// Examples: features of each, and whether the answer is yes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Examples {
    features: Vec<u64>,
    ends: Vec<(usize, bool)>,
}

impl Examples {
    /// Adds an example.
    pub(crate) fn add(&mut self, yes: bool, features: impl FnOnce(&mut Vec<u64>)) {
        features(&mut self.features);
        self.ends.push((self.features.len(), yes));
    }

    /// The learned weights, by feature in rising order; yes is where they sum to more than 0.
    pub(crate) fn learn(&self, options: &Options) -> Vec<(u64, [u8; 1])> {
        let mut counts: HashedMap<u32> = HashedMap::default();
        for feature in &self.features {
            *counts.entry(*feature).or_default() += 1;
        }
        let mut kept: Vec<u64> =
            counts.iter().filter(|(_, n)| **n >= options.count_min).map(|(f, _)| *f).collect();
        kept.sort_unstable();
        let index: HashedMap<u32> = kept.iter().zip(0..).map(|(f, row)| (*f, row)).collect();
        let mut examples = Vec::with_capacity(self.ends.len());
        let mut rows: Vec<u32> = Vec::new();
        let mut from = 0;
        for (end, yes) in &self.ends {
            let start = rows.len();
            rows.extend(self.features[from..*end].iter().filter_map(|feature| index.get(feature)));
            examples.push((start..rows.len(), *yes));
            from = *end;
        }
        let mut sums = vec![0i64; kept.len()];
        std::thread::scope(|scope| {
            let run = |seed| perceptron(&examples, &rows, kept.len(), seed, options);
            let seeds = (0..options.perceptrons).map(|i| options.seed + i);
            let threads: Vec<_> = seeds.map(|seed| scope.spawn(move || run(seed))).collect();
            for thread in threads {
                let weights = thread.join().expect("a perceptron does not panic");
                sums.iter_mut().zip(weights).for_each(|(sum, weight)| *sum += weight);
            }
        });
        pack(&kept, &sums)
    }
}

/// How it is learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) seed: u64,
    pub(crate) perceptrons: u64,
    pub(crate) epochs: usize,
    pub(crate) count_min: u32,
    pub(crate) margin: i32,
    /// Of a hundred features of an example, how many are left out at random each time that it is seen.
    pub(crate) dropout_percent: u64,
}

fn perceptron(
    examples: &[(std::ops::Range<usize>, bool)],
    rows: &[u32],
    count: usize,
    seed: u64,
    options: &Options,
) -> Vec<i64> {
    let mut weights = vec![0i32; count];
    let mut early = vec![0i64; count];
    let mut order: Vec<u32> = (0..examples.len() as u32).collect();
    let mut random = Random::new(seed);
    let mut step = 1i64;
    let mut kept: Vec<u32> = Vec::new();
    for _ in 0..options.epochs {
        random.shuffle(&mut order);
        for example in &order {
            let (range, yes) = &examples[*example as usize];
            kept.clear();
            kept.extend(
                rows[range.clone()]
                    .iter()
                    .filter(|_| random.next() % 100 >= options.dropout_percent),
            );
            let rows = &kept[..];
            let score: i32 = rows.iter().map(|row| weights[*row as usize]).sum();
            let sign = if *yes { 1 } else { -1 };
            if score * sign <= options.margin {
                for row in rows {
                    weights[*row as usize] += sign;
                    early[*row as usize] += i64::from(sign) * step;
                }
            }
            step += 1;
        }
    }
    let average = |(weight, early): (&i32, &i64)| (i64::from(*weight) * step - early) * 1024 / step;
    weights.iter().zip(&early).map(average).collect()
}

fn pack(features: &[u64], sums: &[i64]) -> Vec<(u64, [u8; 1])> {
    let mut sizes: Vec<u64> =
        sums.iter().map(|sum| sum.unsigned_abs()).filter(|size| *size > 0).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    let unit = sizes.get(sizes.len() / 2000).map_or(1, |size| size / 127).max(1) as i64;
    let round = |sum: &i64| {
        let half = if *sum < 0 { -unit / 2 } else { unit / 2 };
        ((sum + half) / unit).clamp(-127, 127) as i8 as u8
    };
    let rows = features.iter().zip(sums).map(|(f, sum)| (*f, [round(sum)]));
    rows.filter(|(_, row)| row[0] != 0).collect()
}
