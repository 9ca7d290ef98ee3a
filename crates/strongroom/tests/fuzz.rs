//! Parsers of bytes from outside, and the API, fuzzed: none may panic, whatever it is given.
//!
//! ```text
//! cargo test --release -p strongroom --test fuzz -- --seconds 600 [--target NAME] [--seed N]
//!     --seconds N     for each target (the gate: 3)
//!     --corpus        writes the first inputs anew, from what the program itself writes
//! ```
//!
//! The corpus is `tests/corpus/TARGET/`; an input at which a target panicked is written there as `found-...`, so that
//! it is tried for good once it is committed. How inputs are made: `testkit::fuzz`.
#![allow(clippy::unwrap_used)]

#[path = "fuzz/api.rs"]
mod api;
#[path = "fuzz/clean.rs"]
mod clean;
#[path = "fuzz/sentiment.rs"]
mod sentiment;
#[path = "fuzz/text.rs"]
mod text;
#[path = "fuzz/wire.rs"]
mod wire;

use std::io::Read as _;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use strongroom_bag::declaration::Declaration;
use strongroom_bag::{fetch, info, manifest, profile, tar};
use strongroom_digest::{Algorithm, Hasher};
use strongroom_record::{Event, FileRecord, Sha256};
use strongroom_shard::{Certificate, Header, SigningChain, Trailer};
use strongroom_spool::testing::MemDisk;
use strongroom_spool::{Disk, ScanOptions, Spool};
use strongroom_testkit::fuzz::{self, Target};

const TARGETS: &[Target] = &[
    Target { name: "tar", run: tar, mend: mend_tar, bytes_max: 64 << 10 },
    Target { name: "manifest", run: manifest, mend: nothing, bytes_max: 16 << 10 },
    Target { name: "tag-files", run: tag_files, mend: nothing, bytes_max: 16 << 10 },
    Target { name: "profile", run: profile, mend: nothing, bytes_max: 32 << 10 },
    Target { name: "shard", run: shard, mend: mend_shard, bytes_max: 64 << 10 },
    Target { name: "log", run: log, mend: mend_log, bytes_max: 64 << 10 },
    Target { name: "journal", run: journal, mend: nothing, bytes_max: 32 << 10 },
    Target { name: "saved-state", run: saved_state, mend: nothing, bytes_max: 4 << 10 },
    Target { name: "api", run: api::request, mend: nothing, bytes_max: 16 << 10 },
    Target { name: "api-body", run: api::body, mend: nothing, bytes_max: 80 << 10 },
    Target { name: "text-model", run: text::model, mend: nothing, bytes_max: 16 << 10 },
    Target { name: "text-conllu", run: text::conllu, mend: nothing, bytes_max: 8 << 10 },
    Target { name: "text-analysis", run: text::analysis, mend: nothing, bytes_max: 8 << 10 },
    Target { name: "text-language", run: sentiment::language, mend: nothing, bytes_max: 4 << 10 },
    Target { name: "text-sentiment", run: sentiment::sentiment, mend: nothing, bytes_max: 2 << 10 },
    Target { name: "text-rules", run: sentiment::rules, mend: nothing, bytes_max: 4 << 10 },
    Target { name: "text-filter", run: clean::filter, mend: nothing, bytes_max: 4 << 10 },
    Target { name: "text-html", run: clean::page, mend: nothing, bytes_max: 16 << 10 },
    Target { name: "wire-hello", run: wire::handshake, mend: nothing, bytes_max: 8 << 10 },
    Target { name: "wire-frames", run: wire::frames, mend: nothing, bytes_max: 8 << 10 },
    Target { name: "wire-words", run: wire::words, mend: nothing, bytes_max: 8 << 10 },
    Target { name: "wire-gossip", run: wire::gossip, mend: nothing, bytes_max: 4 << 10 },
];

fn main() -> ExitCode {
    let (mut seconds, mut seed, mut only) = (3, 1, None);
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut given = std::env::args().skip(1);
    while let Some(arg) = given.next() {
        let mut value = || given.next().unwrap_or_else(|| panic!("{arg} wants a value"));
        match arg.as_str() {
            "--seconds" => seconds = value().parse().unwrap(),
            "--seed" => seed = value().parse().unwrap(),
            "--target" => only = Some(value()),
            "--corpus" => return write_corpus(&root),
            other => panic!("unknown option {other}; see the top of tests/fuzz.rs"),
        }
    }
    let mut exit = ExitCode::SUCCESS;
    for target in TARGETS.iter().filter(|t| only.as_deref().is_none_or(|name| name == t.name)) {
        let corpus = fuzz::corpus(&root, target);
        let of = corpus.len();
        let outcome = fuzz::run(target, corpus, seed, Duration::from_secs(seconds));
        println!(
            "fuzz {:<12} {of} in the corpus, {} inputs, {} different answers, slowest {:?} ({} bytes)",
            target.name, outcome.inputs, outcome.said, outcome.slowest.0, outcome.slowest.1
        );
        for (input, why) in &outcome.found {
            let name = Sha256::of(input).to_string();
            let path = root.join(target.name).join(format!("found-{}", &name[..16]));
            std::fs::write(&path, input).unwrap();
            println!("fuzz {}: FAILED: {why}; the input is {}", target.name, path.display());
            exit = ExitCode::FAILURE;
        }
    }
    api::end();
    exit
}

fn nothing(_: &mut [u8]) {}

fn tar(input: &[u8]) -> String {
    let mut reader = tar::Reader::new(input);
    let mut kinds = String::new();
    let mut buf = vec![0; 4096];
    loop {
        match reader.next() {
            Ok(Some(entry)) => {
                kinds.push_str(&format!("{:?} ", entry.kind).chars().take(6).collect::<String>());
                let mut left = 256 << 10; // a hole may be of any size
                loop {
                    match reader.read(&mut buf) {
                        Ok(0) => break,
                        Ok(_) if left == 0 => break,
                        Ok(n) => left -= n.min(left),
                        Err(e) => return format!("{kinds}{e}"),
                    }
                }
            }
            Ok(None) => return kinds,
            Err(e) => return format!("{kinds}{e}"),
        }
        if kinds.len() > 60 {
            return kinds;
        }
    }
}

/// Header checksums (POSIX ustar): the sum of the block's bytes, its own field as spaces.
fn mend_tar(input: &mut [u8]) {
    for block in input.chunks_exact_mut(512) {
        if block[257..262] == *b"ustar" {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
}

fn manifest(input: &[u8]) -> String {
    let mut said = String::new();
    for algorithm in [Algorithm::Md5, Algorithm::Sha256] {
        let reader = manifest::Reader::new(input, algorithm, Declaration::default());
        for entry in reader.take(200) {
            match entry {
                Ok(entry) => said.push_str(if entry.path.is_empty() { "e" } else { "p" }),
                Err(e) => said.push_str(&e.to_string()),
            }
        }
    }
    said
}

fn tag_files(input: &[u8]) -> String {
    let mut problems = Vec::new();
    let declared = Declaration::parse(input, &mut problems);
    let read = info::parse(input, declared.unwrap_or_default().encoding, b"x", &mut problems);
    let fetched = fetch::parse(input, declared.unwrap_or_default(), &mut problems);
    let codes: Vec<_> = problems.iter().take(6).map(|p| p.to_string()).collect();
    format!(
        "{} {} {}",
        read.map_or(0, |i| i.len()),
        fetched.map_or(0, |f| f.len()),
        codes.join(" ")
    )
}

fn profile(input: &[u8]) -> String {
    match profile::Profile::load(input) {
        Err(e) => e.to_string(),
        Ok(profile) => profile.tag_files().join(","),
    }
}

/// A shard: header, trailer and whole; its certificate besides.
fn shard(input: &[u8]) -> String {
    let header = Header::parse(input);
    let mut said = match &header {
        Ok((header, len)) => format!("{:?} {}", header.kind, header.encode().len() == *len),
        Err(e) => e.to_string(),
    };
    let footer = input.len().saturating_sub(strongroom_shard::FOOTER_BYTES);
    match strongroom_shard::outer_layout(input, &input[footer..]) {
        Err(e) => said.push_str(&e.to_string()),
        Ok(layout) => {
            let trailer = input.len().saturating_sub(layout.trailer_len);
            let trailer = &input[trailer..];
            let parsed = Trailer::parse(trailer).map(|_| ()).err().map(|e| e.to_string());
            said.push_str(&parsed.unwrap_or_default());
            let proof = strongroom_shard::verify(input, trailer).map(|_| ()).err();
            said.push_str(&proof.map(|e| e.to_string()).unwrap_or_default());
        }
    }
    if let Some(at) = input.windows(8).position(|window| window == b"SR-CERTI") {
        let certificate = Certificate::parse(&input[at..]);
        said.push_str(&certificate.err().map(|e| e.to_string()).unwrap_or_default());
        let chain = SigningChain::parse(&input[at..]);
        said.push_str(&chain.err().map(|e| e.to_string()).unwrap_or_default());
    }
    said
}

/// The footer's check: the first bytes of the BLAKE3 of what is before it (docs/format/shard.md).
fn mend_shard(input: &mut [u8]) {
    if let Some(at) = input.len().checked_sub(strongroom_shard::FOOTER_BYTES) {
        let (footer, check) = input[at..].split_at_mut(44);
        check[..4].copy_from_slice(&blake3::hash(footer).as_bytes()[..4]);
    }
}

const LOG_ID: &str = "11111111111111111111111111111111";

/// A log as its name says it is; the frames of the id in the name are found.
fn log(input: &[u8]) -> String {
    let memory = MemDisk::default();
    let disk: Arc<dyn Disk> = Arc::new(memory.clone());
    let dir = Path::new("/shelf/logs");
    disk.create_dir(Path::new("/shelf")).unwrap();
    disk.create_dir(dir).unwrap();
    let name = format!("{:016x}-{:032x}-{:016x}-{LOG_ID}.log", 1, 2, 1);
    memory.put(&dir.join(name), input);
    let spool = Spool::open(disk, dir, Default::default()).unwrap();
    let mut frames = Vec::new();
    let options = ScanOptions { verify_payload: true, log: None };
    let report = spool.scan(options, &mut |found| {
        frames.push(found);
        ControlFlow::Continue(())
    });
    let mut said = match report {
        Err(e) => e.to_string(),
        Ok(report) => {
            let why: Vec<_> = report.damaged.iter().take(3).map(|d| d.why.to_string()).collect();
            format!("{} {} {}", report.torn.len().min(1), report.unreadable.len(), why.join(" "))
        }
    };
    for found in frames.iter().take(8) {
        let read = spool.read_frame(&found.location, &found.key);
        said.push_str(
            &read.map_or_else(|e| e.to_string(), |bytes| format!("{:?}", bytes.is_empty())),
        );
    }
    said
}

/// Checksums of the header and of each head that begins with the magic (docs/format/spool.md).
fn mend_log(input: &mut [u8]) {
    if input.len() >= 256 {
        let sum = crc32c::crc32c(&input[..252]);
        input[252..256].copy_from_slice(&sum.to_le_bytes());
    }
    let mut at = 256;
    while at + 96 <= input.len() {
        if input[at..at + 4] == *b"\xF5SRf" {
            let length = u32::from_le_bytes(input[at + 72..at + 76].try_into().unwrap()) as usize;
            if let Some(payload) = input.get(at + 96..(at + 96).saturating_add(length)) {
                let sum = crc32c::crc32c(payload);
                input[at + 76..at + 80].copy_from_slice(&sum.to_le_bytes());
            }
            let sum = crc32c::crc32c(&input[at..at + 92]);
            input[at + 92..at + 96].copy_from_slice(&sum.to_le_bytes());
        }
        at += 8;
    }
}

/// Lines of journals and records.
fn journal(input: &[u8]) -> String {
    strongroom_intake::look_at_lines(input).join(" ")
}

fn saved_state(input: &[u8]) -> String {
    match Hasher::restore(input) {
        Err(e) => e.to_string(),
        Ok(mut hasher) => {
            hasher.update(b"more");
            format!("{:?}", hasher.finish().algorithm())
        }
    }
}

/// The first inputs of each target.
fn write_corpus(root: &Path) -> ExitCode {
    let put = |target: &str, name: &str, bytes: &[u8]| {
        let folder: PathBuf = root.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(name), bytes).unwrap();
    };
    let mut writer = tar::Writer::new(Vec::new());
    let long = "long/".repeat(60) + "name";
    for (name, text) in [("a/b.txt", "some text"), (long.as_str(), "x"), ("\u{e9}", "")] {
        writer
            .append_file(name.as_bytes(), 0o644, 1_700_000_000_123_456_789, text.len() as u64)
            .unwrap();
        std::io::Write::write_all(&mut writer.data(), text.as_bytes()).unwrap();
    }
    put("tar", "own", &writer.finish().unwrap());
    put("manifest", "md5", b"d41d8cd98f00b204e9800998ecf8427e  data/a%0Ab.txt\r\n# c\nd41d8cd98f00b204e9800998ecf8427e *data/b\n");
    let sha = Sha256::of(b"");
    put(
        "manifest",
        "sha256",
        format!("{sha} data/\u{e9}\n{sha}\t./data/x\n{sha} /etc/passwd\n").as_bytes(),
    );
    put("tag-files", "bagit", b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n");
    put("tag-files", "latin", b"BagIt-Version: 0.97\nTag-File-Character-Encoding: ISO-8859-1\n");
    put(
        "tag-files",
        "info",
        b"Source-Organization: X\n  goes on\nPayload-Oxum: 12.3\nBag-Count: 1 of 2\n",
    );
    put("tag-files", "fetch", b"https://example.org/a 123 data/a\nhttp://x - data/%25b\n");
    put("profile", "own", br#"{"BagIt-Profile-Info":{"BagIt-Profile-Identifier":"https://example.org/p.json","Source-Organization":"X","External-Description":"d","Version":"1.0","BagIt-Profile-Version":"1.3.0"},"Bag-Info":{"Title":{"required":true,"values":["a","b"]}},"Manifests-Required":["md5"],"Tag-Manifests-Required":["sha256"],"Allow-Fetch.txt":false,"Serialization":"optional","Accept-Serialization":["application/tar"],"Accept-BagIt-Version":["1.0"],"Tag-Files-Required":["x/*"]}"#);
    for i in 1..=2 {
        let shard = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(format!("../shard/tests/data/v1-2of3-{i}.shard"));
        put("shard", &format!("v1-{i}"), &std::fs::read(shard).unwrap());
    }
    put("log", "two-frames", &first_log());
    let id = "00112233445566778899aabbccddeeff";
    let event = serde_json::json!({"hash":"sha256","institution":id,"epoch":1,"sequence":"1","time":"2026-11-21T09:30:00.000000Z",
        "before":Sha256([0;32]),"type":"creation","outcome":"success","detail":{"record":id}});
    let file = FileRecord::from_json(
        &serde_json::json!({"id":id,"number":"0","path":"data/a","kind":"file","mode":420,
        "mtime_ns":"-5","size":"3","sha256":sha,"extents":[[id,"0","3"]],"digests":{"md5":"00"}}),
    )
    .unwrap();
    assert!(Event::from_json(&event, sha).is_ok());
    let mut lines = Vec::new();
    for line in [
        serde_json::json!({"strongroom":"journal head","format":1,"institution":id,"journal":id,"number":["1","2"],"kind":"since",
            "first_event":"1","last_event":"2","before":null,"parts":[[id, sha]],"hash":"sha256"}),
        serde_json::json!({"strongroom":"version record head","format":1,"institution":id,"institution_name":"x","object":id,"object_name":"o",
            "version":id,"number":1,"revision":["1","2"],"bag":true,"parts":[[id, sha]],"files":"1","files_root":sha}),
        serde_json::json!({"line":"event","event":event,"sha256":sha}),
        serde_json::json!({"line":"row","table":"tombstones","row":{"kind":"file","id":id,"institution":id,"event":"1","detail":"{\"segments\":[]}","time":"1"}}),
        serde_json::json!({"line":"more","column":"detail","text":"piece"}),
        file.to_json(),
    ] {
        lines.extend_from_slice(line.to_string().as_bytes());
        lines.push(b'\n');
    }
    put("journal", "lines", &lines);
    let texts = text::first_inputs().into_iter().chain(sentiment::first_inputs());
    let texts = texts.chain(clean::first_inputs());
    texts.for_each(|(target, name, bytes)| put(target, name, &bytes));
    let [of_client, of_server] = wire::first_words();
    put("wire-hello", "client", &of_client);
    put("wire-hello", "server", &of_server);
    put("wire-frames", "honest", &wire::honest_frames());
    for (name, bytes) in wire::honest_words() {
        put("wire-words", name, &bytes);
    }
    put("wire-gossip", "honest", &wire::honest_gossip());
    for algorithm in [Algorithm::Md5, Algorithm::Sha256, Algorithm::Sha512] {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(b"some bytes of a file");
        put("saved-state", algorithm.name(), &hasher.save());
    }
    for (target, name, bytes) in api::first() {
        put(target, &name, &bytes);
    }
    ExitCode::SUCCESS
}

/// A log with two frames, as docs/format/spool.md says.
fn first_log() -> Vec<u8> {
    let id = [0x11; 16];
    let mut log = vec![0; 256];
    log[..8].copy_from_slice(b"\x89SRlog\r\n");
    log[8..12].copy_from_slice(&1u32.to_le_bytes());
    log[12..16].copy_from_slice(&256u32.to_le_bytes());
    log[16..32].copy_from_slice(&id);
    log[32..40].copy_from_slice(&1u64.to_le_bytes());
    for payload in [&b"the first payload"[..], b"the second"] {
        let at = log.len();
        let mut head = vec![0; 96];
        head[..4].copy_from_slice(b"\xF5SRf");
        head[4..6].copy_from_slice(&1u16.to_le_bytes());
        head[6..8].copy_from_slice(&96u16.to_le_bytes());
        head[8..24].copy_from_slice(&id);
        head[72..76].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        head[80..88].copy_from_slice(&(at as u64).to_le_bytes());
        log.extend_from_slice(&head);
        log.extend_from_slice(payload);
        log.resize(log.len().next_multiple_of(8), 0);
    }
    mend_log(&mut log);
    log
}
