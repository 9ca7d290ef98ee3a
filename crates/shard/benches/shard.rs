//! What sealing and coding cost, beside the limits of the same machine in the same run.
//!
//! `cargo bench -p strongroom-shard` prints one line per subject and the ratio of the whole path to
//! 1/(1/copy + 1/AES + 1/coding + 1.4/BLAKE3), the path's limit for 10+4 on one core, with a copy
//! from memory to memory, as plaintext comes; and with one that stays in the cache. Where
//! libisal.so.2 is installed, ISA-L codes the same blocks in the same run.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::{Duration, Instant};
use strongroom_shard::gf::Kernel;
use strongroom_shard::*;

const K: usize = 10;
const N: usize = 14;
/// More than any cache near a core: 64 MiB of data.
const STRIPES_STREAMING: usize = 409;

fn coding(c: &mut Criterion) {
    let mut group = c.benchmark_group("coding 10+4, 16 KiB blocks");
    for (place, stripes) in [("in cache", 1), ("streaming", STRIPES_STREAMING)] {
        let mut blocks = Blocks::new(stripes);
        group.throughput(Throughput::Bytes((stripes * K * BLOCK) as u64));
        for kernel in Kernel::available() {
            let code = Code::new(K as u8, N as u8).expect("a coding").with_kernel(kernel);
            let name = format!("{kernel:?}, {place}");
            group.bench_function(name, |b| b.iter(|| blocks.encode(&code)));
        }
        if let Some(isal) = isal::Isal::load(K, N) {
            let name = format!("ISA-L, {place}");
            group.bench_function(name, |b| b.iter(|| blocks.encode_with_isal(&isal)));
        }
    }
    group.finish();
}

fn sealing(c: &mut Criterion) {
    let mut group = c.benchmark_group("sealing, coding and hashing");
    let mut bench = SealBench::new();
    for (k, n) in [(1, 2), (4, 6), (10, 14), (20, 40)] {
        group.throughput(Throughput::Bytes(bench.plaintext.len() as u64));
        group.bench_function(format!("{k} of {n}"), |b| b.iter(|| bench.seal(k, n)));
    }
    group.finish();
}

/// The acceptance figures: medians of many short rounds, taken in turn so that a noisy neighbour
/// disturbs all of them alike.
fn ratios(_: &mut Criterion) {
    let code = Code::new(K as u8, N as u8).expect("a coding");
    let mut cached = Blocks::new(1);
    let mut memory = Blocks::new(STRIPES_STREAMING);
    let mut seal = SealBench::new();
    let isal = isal::Isal::load(K, N);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &[7; 32]).expect("a key"));
    let stripe = K * BLOCK;
    let (from, mut to) = (vec![1u8; stripe], vec![0u8; stripe]);
    let mut far = vec![0u8; seal.plaintext.len()];
    let mut samples = vec![Vec::new(); 9];
    for _ in 0..15 {
        let mut at = 0;
        let mut sample = |bytes: usize, work: &mut dyn FnMut()| {
            samples[at].push(rate(bytes, work));
            at += 1;
        };
        sample(stripe, &mut || black_box(&mut to).copy_from_slice(black_box(&from)));
        sample(far.len(), &mut || black_box(&mut far).copy_from_slice(black_box(&seal.plaintext)));
        sample(CHUNK, &mut || {
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let chunk = &mut to[..CHUNK];
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), chunk);
            black_box(tag.expect("sealing")).as_ref();
        });
        sample(stripe, &mut || {
            black_box(blake3::hash(black_box(&from)));
        });
        sample(stripe, &mut || cached.encode(&code));
        sample(memory.bytes(), &mut || memory.encode(&code));
        sample(seal.plaintext.len(), &mut || seal.seal(K as u8, N as u8));
        if let Some(isal) = &isal {
            sample(stripe, &mut || cached.encode_with_isal(isal));
            sample(memory.bytes(), &mut || memory.encode_with_isal(isal));
        }
    }
    let median = |samples: &mut Vec<f64>| {
        samples.sort_by(f64::total_cmp);
        samples.get(samples.len() / 2).copied()
    };
    let medians: Vec<Option<f64>> = samples.iter_mut().map(median).collect();
    let [near, copy, aes, blake3, cached, memory, sealed] =
        std::array::from_fn(|i| medians[i].unwrap_or(f64::NAN));
    let limit = |copy: f64| 1.0 / (1.0 / copy + 1.0 / aes + 1.0 / cached + 1.4 / blake3);
    println!("GB/s on one core, kernel {:?}, 10+4, blocks of 16 KiB:", Kernel::best());
    println!(
        "  copy {copy:.1} from memory, {near:.1} in cache, AES-256-GCM {aes:.1}, BLAKE3 {blake3:.2}"
    );
    println!("  coding {cached:.1} in cache, {memory:.1} streaming");
    if let (Some(isal_cached), Some(isal_memory)) = (medians[7], medians[8]) {
        println!("  ISA-L {isal_cached:.1} in cache, {isal_memory:.1} streaming");
        let (cached, memory) = (cached / isal_cached, memory / isal_memory);
        println!("  coding / ISA-L: {cached:.2} in cache, {memory:.2} streaming");
    }
    for (what, limit) in [("from memory", limit(copy)), ("in cache", limit(near))] {
        let share = 100.0 * sealed / limit;
        println!(
            "  seal, code, hash {sealed:.2}; limit, copying {what}, {limit:.2}; {share:.0} % of it"
        );
    }
}

/// Bytes per nanosecond over at least 10 ms.
fn rate(bytes: usize, work: &mut dyn FnMut()) -> f64 {
    let start = Instant::now();
    let mut rounds = 0u32;
    loop {
        work();
        rounds += 1;
        let elapsed = start.elapsed();
        if elapsed > Duration::from_millis(10) {
            return f64::from(rounds) * bytes as f64 / elapsed.as_nanos() as f64;
        }
    }
}

/// Stripes of data and parity blocks, one run of bytes per shard, as a coder meets them.
struct Blocks {
    stripes: usize,
    data: Vec<u8>,
    parity: Vec<Vec<u8>>,
}

impl Blocks {
    fn new(stripes: usize) -> Blocks {
        let data = (0..stripes * K * BLOCK).map(|i| ((i * 31) >> 3) as u8).collect();
        Blocks { stripes, data, parity: vec![vec![0; stripes * BLOCK]; N - K] }
    }

    fn bytes(&self) -> usize {
        self.data.len()
    }

    fn encode(&mut self, code: &Code) {
        self.each_stripe(|data, parity| code.encode(data, parity).expect("equal blocks"));
    }

    fn encode_with_isal(&mut self, isal: &isal::Isal) {
        self.each_stripe(|data, parity| isal.encode(data, parity));
    }

    fn each_stripe(&mut self, mut work: impl FnMut(&[&[u8]], &mut [&mut [u8]])) {
        let mut lanes: Vec<_> = self.parity.iter_mut().map(|l| l.chunks_exact_mut(BLOCK)).collect();
        for stripe in self.data.chunks_exact(K * BLOCK).take(self.stripes) {
            let data: [&[u8]; K] = std::array::from_fn(|i| &stripe[i * BLOCK..(i + 1) * BLOCK]);
            let mut parity: [&mut [u8]; N - K] =
                std::array::from_fn(|i| lanes[i].next().expect("a block per stripe"));
            work(&data, &mut parity);
        }
        black_box(&mut self.parity);
    }
}

/// A segment sealed over and over; the lanes are emptied every 1 MiB, as by a sender.
struct SealBench {
    plaintext: Vec<u8>,
    sealing: SealingPublic,
    institution: Institution,
    writer: Writer,
    lanes: Vec<Vec<u8>>,
}

impl SealBench {
    fn new() -> SealBench {
        let seed = Seed::random(&mut random);
        let institution = Institution::new(&seed);
        let key = WriterKey::random(&mut random);
        let grant = Grant {
            serial: [1; 16],
            writer: key.public(),
            kinds: vec![Kind::Data],
            from_micros: 0,
            until_micros: u64::MAX,
        };
        let certificate = institution.certify(&seed, grant).expect("a certificate");
        SealBench {
            plaintext: (0..16usize << 20).map(|i| ((i * 7) >> 2) as u8).collect(),
            sealing: institution.sealing(&seed).expect("a sealing key"),
            institution,
            writer: Writer::new(key, certificate).expect("a writer"),
            lanes: Vec::new(),
        }
    }

    fn seal(&mut self, k: u8, n: u8) {
        let spec = Spec {
            kind: Kind::Data,
            institution: self.institution.id(),
            generation: 1,
            segment: [9; 16],
            coding: CodingNumber { epoch: 1, number: 1 },
            k,
            n,
        };
        let mut sealer = Sealer::new(spec, &self.sealing, &mut random).expect("a sealer");
        self.lanes.resize_with(sealer.lanes(), Vec::new);
        for piece in self.plaintext.chunks(1 << 20) {
            self.lanes.iter_mut().for_each(Vec::clear);
            sealer.push(piece, &mut self.lanes).expect("sealing");
        }
        self.lanes.iter_mut().for_each(Vec::clear);
        black_box(sealer.finish(&self.writer, &mut self.lanes).expect("sealing"));
    }
}

fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system's random source");
}

/// ISA-L, where it is installed: loaded at run time, so that nothing depends on it.
mod isal {
    use std::ffi::{CStr, c_char, c_int, c_uchar, c_void};

    unsafe extern "C" {
        fn dlopen(name: *const c_char, flags: c_int) -> *mut c_void;
        fn dlsym(library: *mut c_void, name: *const c_char) -> *mut c_void;
    }
    const RTLD_NOW: c_int = 2;

    type Encode =
        extern "C" fn(c_int, c_int, c_int, *const c_uchar, *const *const u8, *const *mut u8);
    type InitTables = extern "C" fn(c_int, c_int, *const c_uchar, *mut c_uchar);
    type MakeMatrix = extern "C" fn(*mut c_uchar, c_int, c_int);

    pub(super) struct Isal {
        encode: Encode,
        tables: Vec<u8>,
        k: usize,
    }

    impl Isal {
        pub(super) fn load(k: usize, n: usize) -> Option<Isal> {
            // SAFETY: plain look-ups; the signatures are those of ISA-L's erasure_code.h.
            let (encode, init, matrix) = unsafe {
                let library = dlopen(c"libisal.so.2".as_ptr(), RTLD_NOW);
                let symbol = |name: &CStr| {
                    (!library.is_null())
                        .then(|| dlsym(library, name.as_ptr()))
                        .filter(|symbol| !symbol.is_null())
                };
                (
                    std::mem::transmute::<*mut c_void, Encode>(symbol(c"ec_encode_data")?),
                    std::mem::transmute::<*mut c_void, InitTables>(symbol(c"ec_init_tables")?),
                    std::mem::transmute::<*mut c_void, MakeMatrix>(symbol(c"gf_gen_rs_matrix")?),
                )
            };
            let mut coefficients = vec![0; n * k];
            matrix(coefficients.as_mut_ptr(), n as c_int, k as c_int);
            let mut tables = vec![0; 32 * k * (n - k)];
            let parity = coefficients[k * k..].as_ptr();
            init(k as c_int, (n - k) as c_int, parity, tables.as_mut_ptr());
            Some(Isal { encode, tables, k })
        }

        pub(super) fn encode(&self, data: &[&[u8]], parity: &mut [&mut [u8]]) {
            let len = data[0].len();
            assert!(data.len() == self.k && self.tables.len() == 32 * self.k * parity.len());
            assert!(data.iter().all(|b| b.len() == len) && parity.iter().all(|b| b.len() == len));
            let from: Vec<*const u8> = data.iter().map(|block| block.as_ptr()).collect();
            let to: Vec<*mut u8> = parity.iter_mut().map(|block| block.as_mut_ptr()).collect();
            let (k, rows) = (self.k as c_int, parity.len() as c_int);
            (self.encode)(len as c_int, k, rows, self.tables.as_ptr(), from.as_ptr(), to.as_ptr());
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = coding, sealing, ratios
}
criterion_main!(benches);
