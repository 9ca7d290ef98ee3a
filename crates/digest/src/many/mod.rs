//! Many inputs at once: each lane of a vector register hashes an input of its own.
//!
//! One stream of MD5 waits for its own last step most of the time; sixteen side by side do not. The
//! idea is that of minio's md5-simd; the lanes here are refilled as inputs end, longest first, so that
//! inputs of mixed lengths keep them busy to the end. Two streams of SHA-256 fill the SHA instructions in
//! the same way.

use crate::{Algorithm, Digest, hash};

#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod md5;
#[cfg(target_arch = "x86_64")]
mod sha256;
#[cfg(target_arch = "x86_64")]
mod sha_ni;

/// The digests of many inputs, appended to `out` in the inputs' order; the same as [`hash`] of each.
///
/// It pays for MD5 (16 lanes with AVX-512, 8 with AVX2) and for SHA-256 (two with the SHA instructions)
/// from two inputs on, for SHA-256 in 16 lanes (AVX-512 without the SHA instructions) from four on, and
/// most with several times as many inputs as lanes. Where the lengths or the
/// number leave too few lanes in use, on other machines, and for the other algorithms, the inputs are
/// hashed one after the other. Takes a little memory for each input, none for its bytes.
///
/// ```
/// use strongroom_digest::{Algorithm, hash, hash_many};
///
/// let mut digests = Vec::new();
/// hash_many(Algorithm::Md5, &[b"one", b"two", b"three"], &mut digests);
/// assert_eq!(digests[2], hash(Algorithm::Md5, b"three"));
/// ```
pub fn hash_many(algorithm: Algorithm, inputs: &[&[u8]], out: &mut Vec<Digest>) {
    #[cfg(target_arch = "x86_64")]
    if in_lanes(algorithm, inputs, out) {
        return;
    }
    out.extend(inputs.iter().map(|input| hash(algorithm, input)));
}

/// Hashes in lanes, when this machine has them for the algorithm.
#[cfg(target_arch = "x86_64")]
fn in_lanes(algorithm: Algorithm, inputs: &[&[u8]], out: &mut Vec<Digest>) -> bool {
    match algorithm {
        Algorithm::Md5 => {
            if let Some(kernel) = md5::Avx512::detect() {
                lanes::run(kernel, inputs, out);
            } else if let Some(kernel) = md5::Avx2::detect() {
                lanes::run(kernel, inputs, out);
            } else {
                return false;
            }
        }
        // On a core with both (Zen 4), two streams by the SHA instructions make 3.3 GB/s, sixteen lanes
        // 2.9 and one stream 1.8. Without the SHA instructions one stream makes 0.5 there.
        Algorithm::Sha256 => {
            if let Some(kernel) = sha_ni::ShaNi::detect() {
                lanes::run(kernel, inputs, out);
            } else if let Some(kernel) = sha256::Avx512::detect() {
                lanes::run(kernel, inputs, out);
            } else {
                return false;
            }
        }
        _ => return false,
    }
    true
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every path that this machine has agrees with [`hash`].
    fn check(inputs: &[&[u8]]) {
        for algorithm in [Algorithm::Md5, Algorithm::Sha1, Algorithm::Sha256] {
            let expected: Vec<_> = inputs.iter().map(|input| hash(algorithm, input)).collect();
            // What is in `out` already stays.
            let before = hash(algorithm, b"before");
            let mut found = vec![before];
            hash_many(algorithm, inputs, &mut found);
            assert_eq!(found[0], before);
            assert_eq!(found[1..], expected, "{algorithm}");
        }
        #[cfg(target_arch = "x86_64")]
        {
            each_kernel(md5::Avx512::detect(), inputs);
            each_kernel(md5::Avx2::detect(), inputs);
            each_kernel(sha256::Avx512::detect(), inputs);
            each_kernel(sha_ni::ShaNi::detect(), inputs);
        }
    }

    #[cfg(target_arch = "x86_64")]
    fn each_kernel<const L: usize, const W: usize, K: lanes::Kernel<L, W>>(
        kernel: Option<K>,
        inputs: &[&[u8]],
    ) {
        let Some(kernel) = kernel else { return };
        let expected: Vec<_> = inputs.iter().map(|input| hash(K::ALGORITHM, input)).collect();
        let mut found = Vec::new();
        lanes::run(kernel, inputs, &mut found);
        assert_eq!(found, expected, "{} in {L} lanes", K::ALGORITHM);
    }

    #[test]
    fn every_length_around_the_blocks_agrees() {
        let bytes: Vec<u8> = (0..=250u8).cycle().take(400).collect();
        let inputs: Vec<&[u8]> = (0..bytes.len()).map(|len| &bytes[..len]).collect();
        check(&inputs);
    }

    #[test]
    fn every_number_of_inputs_agrees() {
        let bytes: Vec<u8> = (0..=250u8).cycle().take(2000).collect();
        for count in 0..40 {
            let inputs: Vec<&[u8]> = (0..count).map(|i| &bytes[i..i + (i * 677) % 1900]).collect();
            check(&inputs);
        }
    }

    #[test]
    fn one_long_input_among_short_ones_agrees() {
        let long = vec![b'a'; 1_000_000];
        let mut inputs = vec![&b"abc"[..]; 50];
        inputs[33] = &long;
        check(&inputs);
    }

    proptest! {
        #[test]
        fn any_mixture_of_lengths_agrees(
            inputs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 0..70),
        ) {
            let inputs: Vec<&[u8]> = inputs.iter().map(Vec::as_slice).collect();
            check(&inputs);
        }
    }
}
