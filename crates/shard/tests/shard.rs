//! The whole way of a segment, as its users go it: sealed, lost in part, remade, opened, coded
//! anew; and what is refused on the way.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use strongroom_shard::*;

const CODINGS: [(u8, u8); 6] = [(1, 2), (2, 3), (4, 6), (10, 14), (20, 40), (29, 80)];
const STRIPE_OF_2: usize = 2 * BLOCK;

/// A xorshift generator: tests draw the same keys and losses each time.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill_with(|| (self.next() >> 24) as u8);
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.fill(&mut bytes);
        bytes
    }

    /// `count` of the numbers below `n`, in random order.
    fn pick(&mut self, n: u8, count: usize) -> Vec<u8> {
        let mut all: Vec<u8> = (0..n).collect();
        for i in 0..count {
            let rest = (all.len() - i) as u64;
            all.swap(i, i + (self.next() % rest) as usize);
        }
        all.truncate(count);
        all
    }
}

struct House {
    draw: Draw,
    seed: Seed,
    institution: Institution,
}

impl House {
    fn new(seed: u64) -> House {
        let mut draw = Draw(seed);
        let seed = Seed::random(&mut |bytes| draw.fill(bytes));
        House { draw, institution: Institution::new(&seed), seed }
    }

    fn writer(&mut self, kinds: &[Kind]) -> Writer {
        let key = WriterKey::random(&mut |bytes| self.draw.fill(bytes));
        let mut serial = [0; 16];
        self.draw.fill(&mut serial);
        let writer = key.public();
        let grant =
            Grant { serial, writer, kinds: kinds.to_vec(), from_micros: 10, until_micros: 20 };
        Writer::new(key, self.institution.certify(&self.seed, grant).unwrap()).unwrap()
    }

    fn spec(&mut self, k: u8, n: u8) -> Spec {
        let mut segment = [0; 16];
        self.draw.fill(&mut segment);
        Spec {
            kind: Kind::Data,
            institution: self.institution.id(),
            generation: self.institution.generation(),
            segment,
            coding: CodingNumber { epoch: 3, number: 1 },
            k,
            n,
        }
    }

    fn seal_as(&mut self, spec: Spec, plaintext: &[u8], writer: &Writer) -> Result<Coded, Error> {
        let sealing = self.institution.sealing(&self.seed).unwrap();
        let n = spec.n;
        let mut sealer = Sealer::new(spec, &sealing, &mut |bytes| self.draw.fill(bytes))?;
        let headers = (0..n).map(|index| sealer.header(index)).collect();
        let mut lanes = vec![Vec::new(); sealer.lanes()];
        // Pieces of odd lengths, so that chunks are filled in every way.
        let mut rest = plaintext;
        while !rest.is_empty() {
            let len = (self.draw.next() % 150_000) as usize;
            let (now, later) = rest.split_at(len.min(rest.len()));
            sealer.push(now, &mut lanes)?;
            rest = later;
        }
        let sealed = sealer.finish(writer, &mut lanes)?;
        Ok(Coded { headers, lanes, sealed })
    }

    fn seal(&mut self, k: u8, n: u8, plaintext: &[u8]) -> Coded {
        let writer = self.writer(&[Kind::Data]);
        let spec = self.spec(k, n);
        self.seal_as(spec, plaintext, &writer).unwrap()
    }

    fn keys(&self) -> SecretKeys {
        SecretKeys::new(self.institution.id()).with(1, self.seed.clone())
    }
}

struct Coded {
    headers: Vec<Vec<u8>>,
    lanes: Vec<Vec<u8>>,
    sealed: Sealed,
}

impl Coded {
    fn lane(&self, index: u8) -> usize {
        if self.lanes.len() == 1 { 0 } else { usize::from(index) }
    }

    fn header(&self, index: u8) -> &[u8] {
        &self.headers[usize::from(index)]
    }

    fn blocks(&self, index: u8) -> &[u8] {
        &self.lanes[self.lane(index)]
    }

    fn trailer(&self, index: u8) -> &[u8] {
        &self.sealed.trailers[self.lane(index)]
    }

    fn verify(&self, index: u8) -> Result<Proof, Error> {
        verify(self.header(index), self.trailer(index))
    }

    /// The ciphertext, from these k shards alone.
    fn ciphertext_from(&self, have: &[u8]) -> Vec<u8> {
        let proof = self.verify(have[0]).unwrap();
        let (layout, header) = (proof.layout(), proof.header());
        let code = Code::new(header.k, header.n).unwrap();
        let mut ciphertext = Vec::new();
        for stripe in 0..layout.stripes() {
            let (offset, len) = layout.stripe(stripe);
            let block = |index: u8| &self.blocks(index)[offset as usize..][..len];
            let have: Vec<(u8, &[u8])> = have.iter().map(|&i| (i, block(i))).collect();
            let want: Vec<u8> = (0..header.k).collect();
            let mut data = vec![0; len * want.len()];
            let mut out: Vec<&mut [u8]> = data.chunks_exact_mut(len).collect();
            code.reconstruct(&have, &want, &mut out).unwrap();
            ciphertext.extend(data);
        }
        ciphertext.truncate(layout.ciphertext_bytes as usize);
        ciphertext
    }

    fn open_from(&self, have: &[u8], keys: &SecretKeys) -> Vec<u8> {
        let mut ciphertext = self.ciphertext_from(have);
        let opener = Opener::new(&self.verify(have[0]).unwrap(), keys).unwrap();
        let mut plaintext = Vec::new();
        for chunk in 0..opener.chunks() {
            let range = opener.cipher_range(chunk);
            assert_eq!(opener.plain_range(chunk).start, plaintext.len() as u64);
            let bytes = &mut ciphertext[range.start as usize..range.end as usize];
            plaintext.extend_from_slice(opener.open_chunk(chunk, bytes).unwrap());
        }
        plaintext
    }
}

#[test]
fn every_kernel_codes_as_reed_solomon_erasure_does() {
    let mut draw = Draw(11);
    let mut checked = 0;
    for (k, n) in CODINGS {
        let theirs = reed_solomon_erasure::galois_8::ReedSolomon::new(k.into(), (n - k).into());
        let theirs = theirs.unwrap();
        for len in [1, 63, 64, 200, 1025] {
            let mut blocks: Vec<Vec<u8>> = (0..n).map(|_| draw.bytes(len)).collect();
            theirs.encode(&mut blocks).unwrap();
            let (data, parity) = blocks.split_at(k.into());
            let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
            for kernel in gf::Kernel::available() {
                let ours = Code::new(k, n).unwrap().with_kernel(kernel);
                let mut out = vec![vec![0; len]; parity.len()];
                let mut outputs: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
                ours.encode(&data, &mut outputs).unwrap();
                assert!(out == parity, "{k} of {n}, {len} bytes, {kernel:?}");
                checked += 1;
            }
        }
    }
    println!("{checked} encodings equal to reed-solomon-erasure's");
}

#[test]
fn any_k_blocks_give_all_others() {
    let mut draw = Draw(12);
    let mut checked = 0;
    for (k, n) in CODINGS {
        let code = Code::new(k, n).unwrap();
        let len = 70;
        let mut blocks: Vec<Vec<u8>> = (0..k).map(|_| draw.bytes(len)).collect();
        blocks.resize(n.into(), vec![0; len]);
        let (data, parity) = blocks.split_at_mut(k.into());
        let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
        code.encode(&data, &mut outputs).unwrap();

        let patterns: Vec<Vec<u8>> = if n <= 14 {
            (0u32..1 << n)
                .filter(|set| set.count_ones() == u32::from(k))
                .map(|set| (0..n).filter(|i| set >> i & 1 == 1).collect())
                .collect()
        } else {
            (0..60).map(|_| draw.pick(n, k.into())).collect()
        };
        for have in patterns {
            let given: Vec<(u8, &[u8])> =
                have.iter().map(|&i| (i, blocks[usize::from(i)].as_slice())).collect();
            let want: Vec<u8> = (0..n).collect();
            let mut out = vec![vec![0; len]; n.into()];
            let mut outputs: Vec<&mut [u8]> = out.iter_mut().map(Vec::as_mut_slice).collect();
            code.reconstruct(&given, &want, &mut outputs).unwrap();
            assert!(out == blocks, "{k} of {n} from {have:?}");
            checked += 1;
        }
    }
    println!("{checked} loss patterns reconstructed");
}

#[test]
fn what_is_no_coding_or_no_block_is_refused() {
    assert_eq!(Code::new(0, 3).unwrap_err(), Error::Coding { k: 0, n: 3 });
    assert_eq!(Code::new(4, 3).unwrap_err(), Error::Coding { k: 4, n: 3 });
    let code = Code::new(2, 4).unwrap();
    let (a, b) = ([1; 8], [2; 7]);
    assert!(matches!(
        code.encode(&[&a, &b], &mut [&mut [0; 8], &mut [0; 8]]),
        Err(Error::Blocks { .. })
    ));
    let twice = code.reconstruct(&[(1, &a), (1, &a)], &[0], &mut [&mut [0; 8]]);
    assert_eq!(twice, Err(Error::Index { index: 1 }));
    let none = code.reconstruct(&[(1, &a), (4, &a)], &[0], &mut [&mut [0; 8]]);
    assert_eq!(none, Err(Error::Index { index: 4 }));
    let few = code.reconstruct(&[(1, &a)], &[0], &mut [&mut [0; 8]]);
    assert!(matches!(few, Err(Error::Blocks { .. })));
    assert_eq!(Code::new(255, 255).unwrap().n(), 255);
}

#[test]
fn a_segment_survives_the_loss_of_n_minus_k_shards_at_every_boundary() {
    let mut house = House::new(21);
    let mut checked = 0;
    for (k, n) in CODINGS {
        let stripe = usize::from(k) * BLOCK;
        let mut sizes = vec![0, 1, CHUNK - 1, CHUNK, CHUNK + 1, stripe - TAG, stripe, stripe + 1];
        sizes.extend([2 * stripe - 3 * TAG, 3 * CHUNK + 5, stripe + 5 * CHUNK]);
        for size in sizes {
            let plaintext = house.draw.bytes(size);
            let coded = house.seal(k, n, &plaintext);
            let have = house.draw.pick(n, k.into());
            assert_eq!(coded.sealed.plaintext_bytes, size as u64);
            assert!(coded.open_from(&have, &house.keys()) == plaintext, "{size} by {k} of {n}");
            let common = coded.verify(0).unwrap().common();
            for index in have {
                let proof = coded.verify(index).unwrap();
                assert_eq!(proof.common(), common);
                let blocks = coded.blocks(index);
                assert_eq!(proof.root(index), Some(*blake3::hash(blocks).as_bytes()));
                for i in 0..proof.block_count() {
                    let (offset, len) = proof.block_range(i);
                    let mut block = blocks[offset as usize..][..len].to_vec();
                    assert!(proof.check_block(i, &block));
                    let at = (house.draw.next() % len as u64) as usize;
                    block[at] ^= 1;
                    assert!(!proof.check_block(i, &block));
                    assert!(!proof.check_block(i, &block[1..]));
                }
                assert!(!proof.check_block(proof.block_count(), &[]));
                let shard = [coded.header(index), blocks, coded.trailer(index)].concat();
                assert_eq!(shard.len() as u64, coded.sealed.shard_bytes);
                let outer = outer_layout(&shard, &shard).unwrap();
                assert_eq!(outer.shard_bytes(), shard.len() as u64);
                assert_eq!((outer.index, outer.kind, outer.version), (index, Kind::Data, 1));
                let tree = &shard[outer.tree_offset as usize..][..outer.tree_len];
                assert_eq!(tree, proof.tree().concat());
            }
            checked += 1;
        }
    }
    println!("{checked} segments opened from k random shards");
}

#[test]
fn a_lost_shard_is_remade_byte_for_byte_without_a_key() {
    let mut house = House::new(22);
    for (k, n) in [(1, 3), (4, 6), (10, 14)] {
        let plaintext = house.draw.bytes(5 * CHUNK + 321);
        let coded = house.seal(k, n, &plaintext);
        let proof = coded.verify(n - 1).unwrap();
        for lost in 0..n {
            let mut tree = Tree::new();
            tree.push(coded.blocks(lost));
            let (leaves, _) = tree.finish();
            let (header, trailer) = proof.make_shard_parts(lost, &leaves).unwrap();
            assert_eq!((&header[..], &trailer[..]), (coded.header(lost), coded.trailer(lost)));
            let mut wrong = leaves.clone();
            wrong[0][5] ^= 4;
            let refused = proof.make_shard_parts(lost, &wrong);
            assert_eq!(refused, Err(Error::Tree { index: lost }));
        }
        assert_eq!(proof.make_shard_parts(n, proof.tree()), Err(Error::Index { index: n }));
    }
}

#[test]
fn a_segment_coded_anew_opens_and_keeps_its_origin() {
    let mut house = House::new(23);
    let plaintext = house.draw.bytes(3 * CHUNK + 77);
    let first = house.seal(1, 2, &plaintext);
    let mut last = Coded { headers: vec![], lanes: vec![], sealed: first.sealed.clone() };
    let mut proof = first.verify(1).unwrap();
    let mut ciphertext = first.blocks(0).to_vec();
    let second_writer = house.writer(&[Kind::Data]);
    for (number, k, n) in [(2, 4, 6), (3, 2, 3), (4, 1, 4)] {
        let coding = CodingNumber { epoch: 3, number };
        let stale = Recoder::new(&proof, proof.header().coding, k, n);
        assert!(matches!(stale, Err(Error::Origin { field: "coding number" })));
        let mut recoder = Recoder::new(&proof, coding, k, n).unwrap();
        let headers = (0..n).map(|index| recoder.header(index)).collect();
        let mut lanes = vec![Vec::new(); recoder.lanes()];
        ciphertext.chunks(40_001).for_each(|piece| recoder.push(piece, &mut lanes).unwrap());
        let sealed = recoder.finish(&second_writer, &mut lanes).unwrap();
        last = Coded { headers, lanes, sealed };
        proof = last.verify(0).unwrap();
        let have = house.draw.pick(n, k.into());
        assert!(last.open_from(&have, &house.keys()) == plaintext);
        ciphertext = last.ciphertext_from(&have);
        let origin = proof.origin().unwrap();
        assert_eq!(origin.header.encode(), first.header(0));
        assert_eq!(origin.claims.roots, first.sealed.roots);
        assert_ne!(origin.claims.certificate, *proof.certificate());
        assert_eq!(proof.writer_fingerprint(), second_writer.certificate().writer_fingerprint());
    }
    let mut short = Recoder::new(&proof, CodingNumber { epoch: 4, number: 0 }, 1, 2).unwrap();
    let mut lanes = vec![Vec::new()];
    short.push(&ciphertext[1..], &mut lanes).unwrap();
    let (found, expected) = (ciphertext.len() as u64 - 1, ciphertext.len() as u64);
    let refused = short.finish(&second_writer, &mut lanes).unwrap_err();
    assert_eq!(refused, Error::Length { found, expected });
    every_flipped_bit_is_found(&last, 2);
}

#[test]
fn every_flipped_bit_of_header_and_trailer_is_found() {
    let mut house = House::new(24);
    let plaintext = house.draw.bytes(2 * STRIPE_OF_2 + 9);
    let coded = house.seal(2, 3, &plaintext);
    every_flipped_bit_is_found(&coded, 1);
    let next = Seed::random(&mut |bytes| house.draw.fill(bytes));
    house.institution = house.institution.rotate(&house.seed, &next).unwrap();
    house.seed = next;
    let coded = house.seal(1, 2, b"after a rotation");
    every_flipped_bit_is_found(&coded, 1);
}

fn every_flipped_bit_is_found(coded: &Coded, index: u8) {
    let (mut header, mut trailer) = (coded.header(index).to_vec(), coded.trailer(index).to_vec());
    verify(&header, &trailer).unwrap();
    // The index is in no signature: it is the root at that index that tells.
    for at in (0..header.len()).filter(|&at| coded.lanes.len() > 1 || at != 60) {
        header[at] ^= 1 << (at % 8);
        assert!(verify(&header, &trailer).is_err(), "header byte {at}");
        header[at] ^= 1 << (at % 8);
    }
    for at in 0..trailer.len() {
        trailer[at] ^= 1 << (at % 8);
        assert!(verify(&header, &trailer).is_err(), "trailer byte {at} of {}", trailer.len());
        trailer[at] ^= 1 << (at % 8);
    }
    verify(&header, &trailer).unwrap();
    println!("{} flips found", header.len() + trailer.len());
}

#[test]
fn wrong_keys_and_uncertified_writers_are_refused_by_name() {
    let mut house = House::new(31);
    let mut other = House::new(32);
    let coded = house.seal(2, 3, b"secret");
    let proof = coded.verify(0).unwrap();

    let none = SecretKeys::new(house.institution.id());
    assert_eq!(Opener::new(&proof, &none).unwrap_err(), Error::NoKey { generation: 1 });
    let wrong = none.clone().with(1, other.seed.clone());
    assert_eq!(Opener::new(&proof, &wrong).unwrap_err(), Error::WrongKey { generation: 1 });
    let expected = other.institution.id();
    let found = house.institution.id();
    let refused = Opener::new(&proof, &other.keys()).unwrap_err();
    assert_eq!(refused, Error::Institution { what: "the segment", found, expected });

    let for_records = house.writer(&[Kind::Record, Kind::Journal]);
    let spec = house.spec(2, 3);
    let refused = house.seal_as(spec.clone(), b"x", &for_records).err();
    assert_eq!(refused, Some(Error::KindNotCertified { kind: Kind::Data }));
    let stranger = other.writer(&[Kind::Data]);
    let refused = house.seal_as(spec.clone(), b"x", &stranger).err();
    assert_eq!(refused, Some(Error::SealingKey { generation: 1, by: "writer's certificate" }));
    let later = Spec { generation: 2, ..spec };
    let refused = house.seal_as(later, b"x", &for_records).err();
    assert_eq!(refused, Some(Error::SealingKey { generation: 2, by: "segment's description" }));

    // A shard of an institution that another one's writer signed.
    let writer = other.writer(&[Kind::Data]);
    let forged = Spec { institution: house.institution.id(), ..other.spec(1, 2) };
    let refused = other.seal_as(forged, b"x", &writer).err();
    assert!(matches!(refused, Some(Error::Institution { .. })));

    let certificate = house.writer(&[Kind::Data]).certificate().clone();
    let key = WriterKey::new(&[3; 32]);
    assert_eq!(Writer::new(key, certificate.clone()).unwrap_err(), Error::WriterKey);
    assert!(!certificate.valid_at(9) && certificate.valid_at(10) && !certificate.valid_at(20));
    let refused = house.institution.rotate(&other.seed, &other.seed).unwrap_err();
    assert_eq!(refused, Error::WrongKey { generation: 1 });
}

#[test]
fn chunks_do_not_change_places_and_the_end_is_the_end() {
    let mut house = House::new(33);
    let plaintext = house.draw.bytes(3 * CHUNK);
    let coded = house.seal(1, 2, &plaintext);
    let opener = Opener::new(&coded.verify(0).unwrap(), &house.keys()).unwrap();
    let ciphertext = coded.blocks(0);
    let chunk = |i: usize| ciphertext[i * (CHUNK + TAG)..][..CHUNK + TAG].to_vec();
    for (index, from) in [(0, 1), (1, 0), (1, 2), (2, 1)] {
        let refused = opener.open_chunk(index, &mut chunk(from)).err();
        assert_eq!(refused, Some(Error::Chunk { index }));
    }
    assert!(opener.open_chunk(3, &mut []).is_err());
    assert_eq!(opener.open_chunk(2, &mut chunk(2)).unwrap(), &plaintext[2 * CHUNK..]);
    assert_eq!(opener.chunk_range(0..0), 0..0);
    assert_eq!(opener.chunk_range(CHUNK as u64 - 1..CHUNK as u64 + 1), 0..2);
    assert_eq!(opener.chunk_range(0..u64::MAX), 0..3);
}

#[test]
fn a_segment_is_bounded_and_rotated_keys_open_by_generation() {
    let mut house = House::new(34);
    let first = house.seed.clone();
    let old = house.seal(2, 3, b"old");
    let next = Seed::random(&mut |bytes| house.draw.fill(bytes));
    let id = house.institution.id();
    house.institution = house.institution.rotate(&first, &next).unwrap();
    house.seed = next.clone();
    assert_eq!((house.institution.id(), house.institution.generation()), (id, 2));
    let new = house.seal(2, 3, b"new");
    let keys = SecretKeys::new(id).with(1, first).with(2, next);
    assert_eq!(old.open_from(&[2, 1], &keys), b"old");
    assert_eq!(new.open_from(&[2, 1], &keys), b"new");
    let chain = SigningChain::parse(&house.institution.chain().encode()).unwrap();
    assert_eq!(Institution::from_chain(chain).unwrap(), house.institution);

    let sealing = house.institution.sealing(&house.seed).unwrap();
    let copy = SealingPublic::from_bytes(2, &sealing.to_bytes()).unwrap();
    assert_eq!(copy.fingerprint(), sealing.fingerprint());
    let spec = house.spec(1, 2);
    let mut sealer = Sealer::new(spec, &copy, &mut |bytes| house.draw.fill(bytes)).unwrap();
    let mut lanes = vec![Vec::new()];
    let mebibyte = vec![0; 1 << 20];
    for _ in 0..64 {
        sealer.push(&mebibyte, &mut lanes).unwrap();
        lanes[0].clear();
    }
    let full = sealer.push(&[0], &mut lanes).unwrap_err();
    assert_eq!(full, Error::Full { max: SEGMENT_BYTES_MAX });
    assert_eq!(coding_for(65535, 10, 14), (1, 5));
    assert_eq!(coding_for(65536, 10, 14), (10, 14));
}

#[test]
fn a_newer_version_is_refused_by_name_and_yet_kept_and_audited() {
    let mut house = House::new(35);
    let coded = house.seal(2, 3, b"from the future");
    let (mut header, mut trailer) = (coded.header(1).to_vec(), coded.trailer(1).to_vec());
    header[8] = 9;
    let what = "the header of a shard";
    assert_eq!(verify(&header, &trailer).err(), Some(Error::Newer { what, version: 9, known: 1 }));
    let footer = trailer.len() - FOOTER_BYTES;
    trailer[footer + 8] = 9;
    let check = blake3::hash(&trailer[footer..footer + 44]);
    trailer[footer + 44..].copy_from_slice(&check.as_bytes()[..4]);
    let outer = outer_layout(&header, &trailer).unwrap();
    assert_eq!((outer.version, outer.index), (9, 1));
    assert_eq!(outer.segment, coded.verify(1).unwrap().header().segment);
}

/// Files of the first version stay readable for good. `STRONGROOM_WRITE_FIXTURES=1` wrote them.
#[test]
fn shards_of_version_1_are_written_and_read_as_ever() {
    let mut house = House::new(77);
    let plaintext = house.draw.bytes(66_000);
    let coded = house.seal(2, 3, &plaintext);
    for index in [1, 2] {
        let shard = [coded.header(index), coded.blocks(index), coded.trailer(index)].concat();
        let path = format!("{}/tests/data/v1-2of3-{index}.shard", env!("CARGO_MANIFEST_DIR"));
        if std::env::var_os("STRONGROOM_WRITE_FIXTURES").is_some() {
            std::fs::write(&path, &shard).unwrap();
            println!("seed {:02x?}", house.seed.expose());
            println!("blake3 of the plaintext {}", blake3::hash(&plaintext));
        }
        assert!(std::fs::read(&path).unwrap() == shard, "{path} differs");
    }
    assert!(coded.open_from(&[2, 1], &house.keys()) == plaintext);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn random_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000), magic in 0usize..4) {
        let mut bytes = bytes;
        let magics: [&[u8]; 3] = [b"SR-SHARD\x01\0", b"SR-CERTI\x01\0\x01\0", b""];
        if let Some(magic) = magics.get(magic) {
            bytes.splice(..0, magic.iter().copied());
        }
        prop_assert!(Header::parse(&bytes).is_err() || bytes.len() >= OUTER_HEAD_BYTES);
        prop_assert!(Trailer::parse(&bytes).is_err());
        prop_assert!(Certificate::parse(&bytes).is_err());
        let _ = SigningChain::parse(&bytes);
        let _ = outer_layout(&bytes, &bytes);
    }

    #[test]
    fn mutated_shards_are_refused_without_a_panic(
        seed in 1u64.., cut in 0usize..2000, changes in proptest::collection::vec((any::<u16>(), any::<u8>()), 1..6),
    ) {
        thread_local! {
            static CODED: Coded = House::new(41).seal(2, 5, &[7; 40_000]);
        }
        CODED.with(|coded| {
            let (mut header, mut trailer) = (coded.header(1).to_vec(), coded.trailer(1).to_vec());
            let bytes = if seed % 2 == 0 { &mut header } else { &mut trailer };
            if seed % 3 == 0 {
                bytes.drain(..cut.min(bytes.len()));
            }
            for (at, value) in changes {
                let at = usize::from(at) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = value;
                }
            }
            let same = header == coded.header(1) && trailer == coded.trailer(1);
            assert!(verify(&header, &trailer).is_err() || same);
            let _ = outer_layout(&header, &trailer);
        });
    }
}
