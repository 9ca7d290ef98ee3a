//! Throughput of each algorithm over one stream, of several over one stream, and of many inputs at
//! once beside one after the other, with the ratio.

#![allow(missing_docs)]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use strongroom_digest::{Algorithm, Digest, MultiHasher, hash, hash_many};

const STREAM_BYTES: usize = 1 << 20;
/// Many inputs: as many as a batch of small files may hold, of this size each.
const INPUTS: usize = 128;
const INPUT_BYTES: usize = 20 << 10;
/// The time given to each side of a ratio, in each of its turns.
const TURN: Duration = Duration::from_millis(100);
const TURNS: u32 = 5;

fn streams(c: &mut Criterion) {
    let input = vec![0x5a; STREAM_BYTES];
    let mut group = c.benchmark_group("stream");
    group.throughput(Throughput::Bytes(STREAM_BYTES as u64));
    for algorithm in Algorithm::ALL {
        group.bench_function(algorithm.name(), |b| {
            b.iter(|| hash(algorithm, black_box(&input)));
        });
    }
    group.bench_function("md5+sha256", |b| {
        b.iter(|| {
            let mut hasher = MultiHasher::new(&[Algorithm::Md5, Algorithm::Sha256]);
            hasher.update(black_box(&input));
            hasher.finish()
        });
    });
    group.finish();
}

fn many(c: &mut Criterion) {
    let bytes: Vec<Vec<u8>> = (0..INPUTS).map(|i| vec![i as u8; INPUT_BYTES]).collect();
    let inputs: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
    let mut group = c.benchmark_group("many");
    group.throughput(Throughput::Bytes((INPUTS * INPUT_BYTES) as u64));
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        group.bench_function(algorithm.name(), |b| b.iter(|| at_once(algorithm, &inputs)));
    }
    group.finish();
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        for count in [2, 3, 4, 16, INPUTS] {
            let inputs = &inputs[..count];
            println!(
                "{algorithm}, {count} inputs of {INPUT_BYTES} bytes: at once {:.2} x one by one",
                ratio(&|| at_once(algorithm, inputs), &|| one_by_one(algorithm, inputs))
            );
        }
    }
}

fn at_once(algorithm: Algorithm, inputs: &[&[u8]]) -> Vec<Digest> {
    let mut digests = Vec::with_capacity(inputs.len());
    hash_many(algorithm, black_box(inputs), &mut digests);
    digests
}

fn one_by_one(algorithm: Algorithm, inputs: &[&[u8]]) -> Vec<Digest> {
    black_box(inputs).iter().map(|input| hash(algorithm, input)).collect()
}

/// How many times as fast `one` is as `other`, measured in turns, so that a disturbance hits both.
fn ratio(one: &dyn Fn() -> Vec<Digest>, other: &dyn Fn() -> Vec<Digest>) -> f64 {
    let mut rounds = [0u32; 2];
    let mut seconds = [0.0; 2];
    for _ in 0..TURNS {
        for (side, work) in [one, other].into_iter().enumerate() {
            let start = Instant::now();
            while start.elapsed() < TURN {
                black_box(work());
                rounds[side] += 1;
            }
            seconds[side] += start.elapsed().as_secs_f64();
        }
    }
    (f64::from(rounds[0]) / seconds[0]) / (f64::from(rounds[1]) / seconds[1])
}

criterion_group!(benches, streams, many);
criterion_main!(benches);
