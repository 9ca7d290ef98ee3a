//! Throughput of each algorithm over one stream, and of several over one stream.

#![allow(missing_docs)]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use strongroom_digest::{Algorithm, MultiHasher, hash};

const STREAM_BYTES: usize = 1 << 20;

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

criterion_group!(benches, streams);
criterion_main!(benches);
