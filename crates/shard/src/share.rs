//! Splitting a seed among trustees: any `threshold` of the shares give it back, fewer tell nothing.
//!
//! Shamir's scheme (A. Shamir, "How to share a secret", 1979), byte by byte over the field of the
//! erasure code, GF(2^8) with 0x11d. What is secret is multiplied without tables or branches. Written here,
//! because the crates at hand draw their coefficients with a bias (RUSTSEC-2024-0398) or bring a curve along.

use crate::Random;
use crate::keys::{Seed, sha256};
use std::collections::BTreeMap;
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes of a share: a multiple of 11 bits, so that no bit of its words is idle.
pub const SHARE_BYTES: usize = 55;
/// Words of a share.
pub const SHARE_WORDS: usize = SHARE_BYTES * 8 / WORD_BITS;
/// What its form for machines (QR codes, files) begins with.
pub const SHARE_PREFIX: &str = "SRSHARE:";
/// The longest text that is read as one share, in bytes: a page with words, hex and QR code.
pub const SHARE_TEXT_BYTES_MAX: usize = 64 << 10;

const WORD_BITS: usize = 11;
const VERSION: u8 = 1;
const COMMITMENT_LABEL: &[u8] = b"strongroom recovery seed 1";
const CHECKSUM_LABEL: &[u8] = b"strongroom share 1";
/// Letters that tell each word of the list from all others.
const WORD_LETTERS: usize = 4;
/// Choices of shares that are tried to tell which one is wrong.
const CHOICES_MAX: usize = 20_000;

/// The English list of BIP-39: 2,048 words, in order, that differ in their first four letters.
static WORDS: &str = include_str!("words.txt");

/// One trustee's share of a recovery seed.
#[derive(Clone, PartialEq, Eq, ZeroizeOnDrop)]
pub struct Share {
    institution: [u8; 8],
    set: [u8; 4],
    threshold: u8,
    number: u8,
    value: [u8; 32],
    commitment: [u8; 4],
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Share({:02x?} number {}, {} needed)", self.set, self.number, self.threshold)
    }
}

/// Why shares give no seed.
#[derive(Debug, thiserror::Error, PartialEq, Eq, Clone)]
#[non_exhaustive]
pub enum ShareError {
    /// A word that is not in the list.
    #[error("word {position}, `{word}`, is not in the list of words")]
    Word {
        /// Its place, from 1.
        position: usize,
        /// As it was given, cut to a line.
        word: String,
    },
    /// Not as long as a share is.
    #[error("{found} {unit} are no share: it has {expected}")]
    Length {
        /// Words or hexadecimal digits.
        unit: &'static str,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
    /// Neither words nor hexadecimal digits.
    #[error("this is neither the words of a share nor its hexadecimal digits")]
    Text,
    /// Made by a later version.
    #[error("it is a share of version {0}, newer than 1 that this program reads")]
    Newer(u8),
    /// A word or digit is another than was printed.
    #[error("its checksum is wrong: a word or digit is not as it was printed")]
    Checksum,
    /// Fewer than are needed.
    #[error("{have} different shares of set {set} are too few: {need} are needed")]
    TooFew {
        /// Different shares that were given.
        have: usize,
        /// Shares that are needed.
        need: usize,
        /// The set, in hex.
        set: String,
    },
    /// Shares that were not dealt together.
    #[error("these shares were not dealt together: {0}")]
    Mixed(String),
    /// Shares that are not what was dealt, as the others prove.
    #[error("share {} is not what was dealt, though its checksum is right; leave it out", list(.0))]
    Wrong(Vec<u8>),
    /// The shares give another seed than was split, and nothing tells which is to blame.
    #[error(
        "shares {} give another seed than was split: one of them at least is not what was dealt; with further shares it can be told which",
        list(.0)
    )]
    Unfit(Vec<u8>),
    /// A split that is none.
    #[error(
        "{threshold} of {count} is no split: at least 2 are needed, at most {count} of 255 dealt"
    )]
    Split {
        /// Shares needed.
        threshold: u8,
        /// Shares dealt.
        count: u8,
    },
}

fn list(numbers: &[u8]) -> String {
    numbers.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

/// Deals `count` shares of a seed, any `threshold` of which give it back.
pub fn split(
    seed: &Seed,
    institution: [u8; 16],
    threshold: u8,
    count: u8,
    random: &mut Random<'_>,
) -> Result<Vec<Share>, ShareError> {
    if threshold < 2 || threshold > count {
        return Err(ShareError::Split { threshold, count });
    }
    let mut set = [0; 4];
    random(&mut set);
    let institution = abbreviated(institution);
    let commitment = commitment(institution, set, threshold, seed.expose());
    // The coefficients of one polynomial for each byte, the seed's byte being the constant one.
    let mut coefficients = vec![*seed.expose()];
    coefficients.resize(threshold.into(), [0; 32]);
    for higher in &mut coefficients[1..] {
        random(higher);
    }
    let shares = (1..=count).map(|number| {
        let mut value = [0; 32];
        for coefficient in coefficients.iter().rev() {
            for (byte, add) in value.iter_mut().zip(coefficient) {
                *byte = multiply(*byte, number) ^ add;
            }
        }
        Share { institution, set, threshold, number, value, commitment }
    });
    let shares = shares.collect();
    coefficients.zeroize();
    Ok(shares)
}

/// The seed of which these are shares. More than are needed may be given, and one twice. No seed is
/// given that was not split: what is wrong is named instead, as far as it can be told.
pub fn combine(shares: &[Share]) -> Result<Seed, ShareError> {
    let shares = of_one_set(shares)?;
    let need = shares.first().map_or(2, |share| usize::from(share.threshold));
    if shares.len() < need {
        let set = shares.first().map_or("-".into(), |share| share.set());
        return Err(ShareError::TooFew { have: shares.len(), need, set });
    }
    let all: Vec<u8> = shares.iter().map(|share| share.number).collect();
    let mut choice: Vec<usize> = (0..need).collect();
    for _ in 0..CHOICES_MAX {
        let chosen: Vec<&Share> = choice.iter().map(|i| shares[*i]).collect();
        let mut value = at(0, &chosen);
        let first = chosen[0];
        if commitment(first.institution, first.set, first.threshold, &value) == first.commitment {
            let off = |share: &&&Share| at(share.number, &chosen) != share.value;
            let wrong: Vec<u8> = shares.iter().filter(off).map(|share| share.number).collect();
            let seed = Seed::new(value);
            value.zeroize();
            return if wrong.is_empty() { Ok(seed) } else { Err(ShareError::Wrong(wrong)) };
        }
        if !next_choice(&mut choice, shares.len()) {
            break;
        }
    }
    Err(ShareError::Unfit(all))
}

/// The different shares, which must be of one set.
fn of_one_set(shares: &[Share]) -> Result<Vec<&Share>, ShareError> {
    let mut sets: BTreeMap<_, BTreeMap<u8, &Share>> = BTreeMap::new();
    for share in shares {
        let of = (share.institution, share.set, share.threshold, share.commitment);
        match sets.entry(of).or_default().insert(share.number, share) {
            Some(before) if before != share => {
                let number = share.number;
                return Err(ShareError::Mixed(format!("two differ and are both number {number}")));
            }
            _ => {}
        }
    }
    if sets.len() > 1 {
        let told = sets.values().map(|set| {
            let numbers: Vec<u8> = set.keys().copied().collect();
            let of = set.values().next().map_or(String::new(), |share| {
                format!("set {} of institution {}...", share.set(), share.institution())
            });
            format!("number {} of {of}", list(&numbers))
        });
        return Err(ShareError::Mixed(told.collect::<Vec<_>>().join("; ")));
    }
    Ok(sets.into_values().flat_map(BTreeMap::into_values).collect())
}

/// The next choice of as many out of `count`, in order; `false` after the last.
fn next_choice(choice: &mut [usize], count: usize) -> bool {
    let len = choice.len();
    let Some(i) = (0..len).rev().find(|&i| choice[i] < count - len + i) else { return false };
    choice[i] += 1;
    for j in i + 1..len {
        choice[j] = choice[j - 1] + 1;
    }
    true
}

impl Share {
    /// Its number in the set, from 1.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// How many shares of the set are needed.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// The set with which it was dealt, in hex.
    pub fn set(&self) -> String {
        hex(&self.set)
    }

    /// The first half of the institution's id, in hex.
    pub fn institution(&self) -> String {
        hex(&self.institution)
    }

    /// Whether it is a share of this institution.
    pub fn is_of(&self, institution: [u8; 16]) -> bool {
        self.institution == abbreviated(institution)
    }

    /// Its bytes.
    pub fn encode(&self) -> [u8; SHARE_BYTES] {
        let mut out = [0; SHARE_BYTES];
        out[0] = VERSION;
        out[1..9].copy_from_slice(&self.institution);
        out[9..13].copy_from_slice(&self.set);
        out[13] = self.threshold;
        out[14] = self.number;
        out[15..47].copy_from_slice(&self.value);
        out[47..51].copy_from_slice(&self.commitment);
        let checksum = checksum(&out);
        out[51..].copy_from_slice(&checksum);
        out
    }

    /// Reads its bytes.
    pub fn decode(bytes: &[u8; SHARE_BYTES]) -> Result<Share, ShareError> {
        if bytes[51..] != checksum(bytes) {
            return Err(ShareError::Checksum);
        }
        if bytes[0] != VERSION {
            return Err(ShareError::Newer(bytes[0]));
        }
        let share = Share {
            institution: part(bytes, 1),
            set: part(bytes, 9),
            threshold: bytes[13],
            number: bytes[14],
            value: part(bytes, 15),
            commitment: part(bytes, 47),
        };
        // Its checksum is right, so it was never dealt.
        if share.number == 0 || share.threshold < 2 {
            return Err(ShareError::Wrong(vec![share.number]));
        }
        Ok(share)
    }

    /// Its 40 words.
    pub fn words(&self) -> Vec<&'static str> {
        let list: Vec<&str> = WORDS.lines().collect();
        let bytes = self.encode();
        let bit = |at: usize| usize::from(bytes[at / 8] >> (7 - at % 8) & 1);
        let index =
            |word: usize| (0..WORD_BITS).fold(0, |index, i| index << 1 | bit(word * WORD_BITS + i));
        (0..SHARE_WORDS).map(|word| list[index(word)]).collect()
    }

    /// Its 110 hexadecimal digits.
    pub fn hex(&self) -> String {
        hex(&self.encode())
    }

    /// Its form for machines: short as a QR code, and found in a file among other lines.
    pub fn machine(&self) -> String {
        format!("{SHARE_PREFIX}{}", self.hex().to_uppercase())
    }

    /// Reads what a person typed, scanned or kept as a file: the words (each by its first four
    /// letters at least; numbers before them are passed over), the digits, or a page that has a
    /// line in the form for machines.
    pub fn parse(text: &str) -> Result<Share, ShareError> {
        if text.len() > SHARE_TEXT_BYTES_MAX {
            let (found, expected) = (text.len(), SHARE_BYTES * 2);
            return Err(ShareError::Length { unit: "bytes", found, expected });
        }
        let machine = text.lines().find_map(|line| {
            let line = line.trim();
            let prefix = line.get(..SHARE_PREFIX.len())?;
            prefix.eq_ignore_ascii_case(SHARE_PREFIX).then(|| &line[SHARE_PREFIX.len()..])
        });
        if let Some(digits) = machine {
            return parse_hex(digits);
        }
        let tokens: Vec<&str> = text.split_whitespace().collect();
        match tokens.iter().all(|token| token.bytes().all(is_digit)) {
            true if tokens.concat().len() > SHARE_BYTES => parse_hex(&tokens.concat()),
            _ => parse_words(&tokens),
        }
    }
}

fn is_digit(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || byte == b'-'
}

fn parse_hex(text: &str) -> Result<Share, ShareError> {
    let mut digits = text.bytes().filter(|b| *b != b'-').collect::<Vec<_>>();
    if digits.len() != SHARE_BYTES * 2 {
        let found = digits.len();
        let expected = SHARE_BYTES * 2;
        return Err(ShareError::Length { unit: "hexadecimal digits", found, expected });
    }
    let mut bytes = [0; SHARE_BYTES];
    for (byte, pair) in bytes.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |b: u8| char::from(b).to_digit(16).ok_or(ShareError::Text);
        *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
    }
    let share = Share::decode(&bytes);
    digits.zeroize();
    bytes.zeroize();
    share
}

fn parse_words(tokens: &[&str]) -> Result<Share, ShareError> {
    let numbering = |token: &&&str| token.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let words: Vec<&str> = tokens.iter().filter(|t| !numbering(t)).copied().collect();
    if words.is_empty() {
        return Err(ShareError::Text);
    }
    let mut bytes = [0; SHARE_BYTES];
    for (at, word) in words.iter().enumerate() {
        let index = word_index(word).ok_or_else(|| {
            let word = word.chars().take(40).collect();
            ShareError::Word { position: at + 1, word }
        })?;
        if at >= SHARE_WORDS {
            break;
        }
        for i in 0..WORD_BITS {
            let bit = at * WORD_BITS + i;
            bytes[bit / 8] |= ((index >> (WORD_BITS - 1 - i) & 1) as u8) << (7 - bit % 8);
        }
    }
    if words.len() != SHARE_WORDS {
        let (found, expected) = (words.len(), SHARE_WORDS);
        return Err(ShareError::Length { unit: "words", found, expected });
    }
    let share = Share::decode(&bytes);
    bytes.zeroize();
    share
}

/// The place in the list of a word, or of the word that begins with these four letters at least.
fn word_index(word: &str) -> Option<usize> {
    let word = word.to_lowercase();
    let fits = |w: &str| w == word || (word.len() >= WORD_LETTERS && w.starts_with(&word));
    WORDS.lines().position(fits)
}

/// The value at `x` of the polynomials through these shares (Lagrange).
fn at(x: u8, shares: &[&Share]) -> [u8; 32] {
    let mut sum = [0; 32];
    for share in shares {
        let mut factor = 1;
        for other in shares.iter().filter(|other| other.number != share.number) {
            let (above, below) = (x ^ other.number, share.number ^ other.number);
            factor = multiply(factor, multiply(above, inverse(below)));
        }
        for (byte, value) in sum.iter_mut().zip(&share.value) {
            *byte ^= multiply(*value, factor);
        }
    }
    sum
}

/// The product in GF(2^8), in the same time for all factors.
fn multiply(mut a: u8, b: u8) -> u8 {
    let mut product = 0;
    for bit in 0..8 {
        product ^= a & 0u8.wrapping_sub(b >> bit & 1);
        let carry = 0u8.wrapping_sub(a >> 7);
        a = a << 1 ^ 0x1d & carry;
    }
    product
}

/// a^254, which is 1/a. Only numbers of shares, which are public, are inverted.
fn inverse(a: u8) -> u8 {
    (0..253).fold(a, |power, _| multiply(power, a))
}

/// Ties shares to the seed, so that no other one is taken for it. 32 of 256 random bits are given
/// away by their hash, which helps nobody to guess the rest.
fn commitment(institution: [u8; 8], set: [u8; 4], threshold: u8, seed: &[u8; 32]) -> [u8; 4] {
    let mut message = [COMMITMENT_LABEL, &institution, &set, &[threshold], seed].concat();
    let hash = sha256(&message);
    message.zeroize();
    part(&hash, 0)
}

fn checksum(bytes: &[u8; SHARE_BYTES]) -> [u8; 4] {
    part(&sha256(&[CHECKSUM_LABEL, &bytes[..51]].concat()), 0)
}

fn part<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut part = [0; N];
    part.copy_from_slice(&bytes[at..at + N]);
    part
}

fn abbreviated(institution: [u8; 16]) -> [u8; 8] {
    part(&institution, 0)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use reed_solomon_erasure::galois_8 as independent;

    const INSTITUTION: [u8; 16] = [0xab; 16];

    fn random(seed: u64) -> impl FnMut(&mut [u8]) {
        let mut state = seed;
        move |bytes: &mut [u8]| {
            for byte in bytes {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                *byte = (state >> 40) as u8;
            }
        }
    }

    fn dealt(threshold: u8, count: u8, salt: u64) -> (Seed, Vec<Share>) {
        let mut random = random(salt);
        let seed = Seed::random(&mut random);
        let shares = split(&seed, INSTITUTION, threshold, count, &mut random).unwrap();
        (seed, shares)
    }

    #[test]
    fn every_choice_of_enough_shares_gives_the_seed_and_fewer_give_none() {
        for (threshold, count) in [(2, 2), (2, 3), (3, 5), (5, 7), (4, 4)] {
            let (seed, shares) = dealt(threshold, count, 1);
            for choice in 0u32..1 << count {
                let some: Vec<_> = (0..usize::from(count))
                    .filter(|i| choice >> i & 1 == 1)
                    .map(|i| shares[i].clone())
                    .collect();
                match combine(&some) {
                    Ok(found) => {
                        assert!(some.len() >= threshold.into());
                        assert_eq!(found.expose(), seed.expose());
                    }
                    Err(ShareError::TooFew { have, .. }) => {
                        assert_eq!(have, some.len());
                        assert!(have < threshold.into(), "{threshold} of {count}: {have}");
                    }
                    Err(other) => panic!("{other}"),
                }
            }
        }
        let (seed, shares) = dealt(200, 255, 2);
        assert_eq!(combine(&shares[55..]).unwrap().expose(), seed.expose());
    }

    #[test]
    fn the_field_and_the_interpolation_are_those_of_another_implementation() {
        for a in 0..=255 {
            for b in 0..=255 {
                assert_eq!(multiply(a, b), independent::mul(a, b));
            }
            if a > 0 {
                assert_eq!(inverse(a), independent::div(1, a));
            }
        }
        let (seed, shares) = dealt(3, 5, 3);
        let chosen = [&shares[4], &shares[0], &shares[2]];
        for byte in 0..32 {
            let mut sum = 0;
            for share in chosen {
                let mut term = share.value[byte];
                for other in chosen.iter().filter(|o| o.number != share.number) {
                    let below = independent::add(share.number, other.number);
                    term = independent::mul(term, independent::div(other.number, below));
                }
                sum = independent::add(sum, term);
            }
            assert_eq!(sum, seed.expose()[byte]);
        }
    }

    #[test]
    fn the_list_of_words_is_bip_39s() {
        assert_eq!(
            hex(&sha256(WORDS.as_bytes())),
            "2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda"
        );
        let letters: std::collections::BTreeSet<_> =
            WORDS.lines().map(|w| &w[..w.len().min(WORD_LETTERS)]).collect();
        assert_eq!(letters.len(), 2048);
    }

    #[test]
    fn a_share_stands_in_each_of_its_forms() {
        let (_, shares) = dealt(3, 5, 4);
        let share = &shares[1];
        assert_eq!(share.words().len(), 40);
        let words = share.words();
        let short: Vec<_> = words.iter().map(|w| &w[..w.len().min(4)]).collect();
        let numbered: String =
            words.iter().zip(1..).map(|(w, i)| format!("{i:>2}. {}\n", w.to_uppercase())).collect();
        let page = format!("a page\n  {}\nand a remark", share.machine());
        let grouped: String = share
            .hex()
            .as_bytes()
            .chunks(8)
            .map(|c| format!("{} ", String::from_utf8_lossy(c)))
            .collect();
        let forms = [words.join(" "), short.join("\n"), numbered, share.hex(), page, grouped];
        for form in &forms {
            assert_eq!(Share::parse(form).as_ref(), Ok(share), "{form}");
        }
        assert_eq!(share.machine().len(), 118);
        assert!(share.is_of(INSTITUTION) && !share.is_of([1; 16]));
        // Stored shares are read for good.
        let kept = include_str!("../tests/data/share-v1.txt");
        let kept: Vec<_> = kept.split("\n\n").map(|text| Share::parse(text).unwrap()).collect();
        assert_eq!(combine(&kept).unwrap().expose(), &[7; 32]);
    }

    #[test]
    fn an_altered_word_or_digit_is_found() {
        let (_, shares) = dealt(2, 2, 5);
        let words = shares[0].words();
        let list: Vec<_> = WORDS.lines().collect();
        for at in 0..SHARE_WORDS {
            for step in [1, 64, 2047] {
                let mut altered = words.clone();
                let index = list.iter().position(|w| *w == words[at]).unwrap();
                altered[at] = list[(index + step) % 2048];
                assert_eq!(Share::parse(&altered.join(" ")), Err(ShareError::Checksum));
            }
        }
        let mut swapped = words.clone();
        swapped.swap(3, 30);
        assert_eq!(Share::parse(&swapped.join(" ")), Err(ShareError::Checksum));
        let mut odd = words.clone();
        odd[7] = "strongroom";
        let named = ShareError::Word { position: 8, word: "strongroom".into() };
        assert_eq!(Share::parse(&odd.join(" ")), Err(named));
        for (text, found) in [(words[..39].join(" "), 39), (words.repeat(2).join(" "), 80)] {
            let length = ShareError::Length { unit: "words", found, expected: 40 };
            assert_eq!(Share::parse(&text), Err(length));
        }
        let newer = {
            let mut b = shares[0].encode();
            b[0] = 2;
            let c = checksum(&b);
            b[51..].copy_from_slice(&c);
            b
        };
        assert_eq!(Share::decode(&newer), Err(ShareError::Newer(2)));
    }

    #[test]
    fn wrong_shares_are_named_and_no_wrong_seed_is_given() {
        let (_, shares) = dealt(3, 5, 6);
        let (_, others) = dealt(3, 5, 7);
        let mixed = combine(&[shares[0].clone(), shares[1].clone(), others[2].clone()]);
        assert!(matches!(&mixed, Err(ShareError::Mixed(what)) if what.contains(&others[2].set())));
        // One share twice is one share.
        let twice = combine(&[shares[0].clone(), shares[0].clone(), shares[1].clone()]);
        assert!(matches!(twice, Err(ShareError::TooFew { have: 2, need: 3, .. })));
        // A share that lies with a right checksum.
        let mut liar = shares[1].clone();
        liar.value[5] ^= 1;
        let three = combine(&[shares[0].clone(), liar.clone(), shares[4].clone()]);
        assert_eq!(three.unwrap_err(), ShareError::Unfit(vec![1, 2, 5]));
        let four = [shares[0].clone(), liar.clone(), shares[3].clone(), shares[4].clone()];
        assert_eq!(combine(&four).unwrap_err(), ShareError::Wrong(vec![2]));
        let both = combine(&[liar, shares[1].clone(), shares[2].clone()]);
        assert!(matches!(both, Err(ShareError::Mixed(_))));
        for (threshold, count) in [(1, 3), (0, 0), (4, 3)] {
            assert!(
                split(&Seed::new([1; 32]), INSTITUTION, threshold, count, &mut random(1)).is_err()
            );
        }
    }

    #[test]
    fn shares_below_the_threshold_fit_any_seed() {
        // With t-1 shares, each value of a further one gives another seed: nothing is excluded.
        let (_, shares) = dealt(2, 3, 8);
        let mut seen = [false; 256];
        for value in 0..=255 {
            let mut guess = shares[1].clone();
            guess.value[0] = value;
            seen[usize::from(at(0, &[&shares[0], &guess])[0])] = true;
        }
        assert!(seen.iter().all(|s| *s));
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[ -~\n]{0,400}", bytes in prop::collection::vec(any::<u8>(), 55)) {
            let _ = Share::parse(&text);
            let _ = Share::parse(&hex(&bytes));
            let _ = Share::parse(&format!("{SHARE_PREFIX}{text}"));
        }
    }
}
