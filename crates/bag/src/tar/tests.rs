use std::io::{Cursor, Write};
use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;
use crate::path::show;

/// Everything a reader finds: entries with their bytes, then warnings.
fn read_all(bytes: &[u8]) -> Result<Vec<(Entry, Vec<u8>)>, io::Error> {
    let mut reader = Reader::new(bytes);
    let mut all = Vec::new();
    while let Some(entry) = reader.next()? {
        let mut data = Vec::new();
        // Hostile sizes are cut: no test wants terabytes of holes.
        io::Read::read_to_end(&mut io::Read::take(&mut reader, 1 << 20), &mut data)?;
        all.push((entry, data));
    }
    Ok(all)
}

/// The kinds, sizes and names of a tar, one to a line.
fn listing(all: &[(Entry, Vec<u8>)]) -> Vec<String> {
    all.iter()
        .map(|(entry, _)| {
            let kind = match &entry.kind {
                Kind::Symlink(to) => format!("-> {}", show(to)),
                Kind::HardLink(to) => format!("= {}", show(to)),
                other => format!("{other:?}"),
            };
            let Entry { mode, mtime_ns, size, .. } = entry;
            format!("{} {kind} {mode:o} {mtime_ns} {size}", show(&entry.path))
        })
        .collect()
}

/// A writer's tar with all that ustar cannot say.
fn awkward() -> (Vec<u8>, Vec<String>) {
    let mut writer = Writer::new(Vec::new());
    let mut expected = Vec::new();
    let deep = [&b"d/".repeat(120)[..], b"f"].concat();
    let long = [b'n'; 300];
    let names: [&[u8]; 6] =
        [b"plain", b"\xff\xfe", "N\u{fa}\u{f1}ez".as_bytes(), &deep, &long, b"nl\n"];
    let times = [0, 1, -1_500_000_000, 1_700_000_000_123_456_789, (1 << 34) * 1_000_000_000, -1];
    for (at, (name, time)) in names.into_iter().zip(times).enumerate() {
        let data = vec![at as u8; at * 511];
        let mut file = writer.append_file(name, 0o640, time, data.len() as u64).unwrap();
        file.write_all(&data).unwrap();
        expected.push(format!("{} File 640 {time} {}", show(name), data.len()));
    }
    writer.folder(b"folder", 0o2755, 5_000_000_000).unwrap();
    expected.push("folder Folder 2755 5000000000 0".into());
    writer.symlink(b"link", &long, 0o777, 1).unwrap();
    expected.push(format!("link -> {} 777 1 0", show(&long)));
    writer.symlink(b"raw", b"\xfe", 0o777, 0).unwrap();
    expected.push("raw -> \\xfe 777 0 0".into());
    (writer.finish().unwrap(), expected)
}

#[test]
fn what_is_written_is_read_back() {
    let (bytes, expected) = awkward();
    let all = read_all(&bytes).unwrap();
    assert_eq!(listing(&all), expected);
    assert!(all.iter().enumerate().all(|(at, (_, data))| data.iter().all(|b| *b == at as u8)));
}

#[test]
fn a_file_must_have_the_size_that_was_announced() {
    let mut writer = Writer::new(Vec::new());
    assert!(writer.append_file(b"a", 0, 0, 1).unwrap().write_all(b"12").is_err());
    let mut writer = Writer::new(Vec::new());
    let _ = writer.append_file(b"a", 0, 0, 1).unwrap();
    assert!(writer.folder(b"b", 0, 0).is_err());
    assert!(writer.append_file(b"a\0b", 0, 0, 1).is_err());
}

#[test]
fn files_of_eight_gibibytes_are_announced_by_pax() {
    let size = 1 << 33;
    let mut bytes = Vec::new();
    let _ = Writer::new(&mut bytes).append_file(b"big", 0o644, 0, size).unwrap();
    let entry = Reader::new(&bytes[..]).next().unwrap().unwrap();
    assert_eq!((entry.size, entry.data_offset), (size, 3 * BLOCK_BYTES as u64));
}

#[test]
fn seeking_and_resuming_find_the_same_entries() {
    let mut bytes = pax(b'g', b"16 mtime=1234.5\n");
    bytes.extend(awkward().0);
    let all = read_all(&bytes).unwrap();
    let mut reader = Reader::with_seek(Cursor::new(&bytes)).unwrap();
    let mut states = Vec::new();
    for (entry, _) in &all {
        let state = reader.state();
        // The global header belongs to the first entry.
        assert_eq!(state.offset, entry.header_offset);
        states.push(serde_json::to_string(&state).unwrap());
        assert_eq!(reader.next().unwrap().as_ref(), Some(entry));
    }
    assert_eq!(reader.next().unwrap(), None);
    for (at, (entry, data)) in all.iter().enumerate() {
        let state: State = serde_json::from_str(&states[at]).unwrap();
        let from = state.offset as usize;
        let mut streamed = Reader::resume(&bytes[from..], state.clone());
        assert_eq!(streamed.next().unwrap().as_ref(), Some(entry));
        let mut reader = Reader::resume_with_seek(Cursor::new(&bytes), state).unwrap();
        assert_eq!(reader.next().unwrap().as_ref(), Some(entry));
        reader.advance(entry.size / 3).unwrap();
        let mut rest = Vec::new();
        io::Read::read_to_end(&mut reader, &mut rest).unwrap();
        assert_eq!(rest, data[(entry.size / 3) as usize..]);
    }
    assert_eq!(all[0].0.mtime_ns, 1_234_500_000_000, "the global mtime holds where none is local");
}

/// A header that is right but for what `change` does before the sum is taken.
fn header(kind: u8, name: &[u8], size: u64, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut block = [0; BLOCK_BYTES];
    block[..name.len()].copy_from_slice(name);
    block[100..107].copy_from_slice(b"0000644");
    block[124..135].copy_from_slice(format!("{size:011o}").as_bytes());
    block[136..147].copy_from_slice(b"00000000000");
    block[156] = kind;
    block[257..265].copy_from_slice(b"ustar\x0000");
    change(&mut block);
    let (sum, _) = super::header::sums(&block);
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.to_vec()
}

fn pad(bytes: &[u8]) -> Vec<u8> {
    let mut padded = bytes.to_vec();
    padded.resize(padded.len().next_multiple_of(BLOCK_BYTES), 0);
    padded
}

fn pax(kind: u8, records: &[u8]) -> Vec<u8> {
    let size = records.len() as u64;
    [header(kind, b"PaxHeaders/x", size, |_| {}), pad(records)].concat()
}

const END: [u8; 2 * BLOCK_BYTES] = [0; 2 * BLOCK_BYTES];

#[test]
fn hostile_tars_are_refused_by_name_and_place() {
    let file = |change: &dyn Fn(&mut [u8])| header(b'0', b"f", 0, |block| change(block));
    let f = || header(b'0', b"f", 0, |_| {});
    let record = |key: &str, value: &str| {
        let mut out = Vec::new();
        super::pax::write(&mut out, key, value.as_bytes());
        out
    };
    let sparse = |map: &str, size: &str, stored: u64| {
        let records = [record("GNU.sparse.map", map), record("GNU.sparse.size", size)].concat();
        let data = vec![1; stored.next_multiple_of(512) as usize];
        [pax(b'x', &records), header(b'0', b"f", stored, |_| {}), data].concat()
    };
    let one = |map: &[u8]| {
        let names = [
            record("GNU.sparse.major", "1"),
            record("GNU.sparse.minor", "0"),
            record("GNU.sparse.realsize", "100"),
        ];
        let size = pad(map).len() as u64;
        [pax(b'x', &names.concat()), header(b'0', b"f", size, |_| {}), pad(map)].concat()
    };
    let broken = |block: &mut [u8]| block[0] ^= 1;
    let mut damaged = f();
    broken(&mut damaged);
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("nothing at all", vec![], "tar-truncated"),
        ("half a header", f()[..300].to_vec(), "tar-truncated"),
        ("a damaged header", damaged, "tar-checksum"),
        ("rubbish", vec![b'x'; 1024], "tar-checksum"),
        ("a cut file", [header(b'0', b"f", 600, |_| {}), vec![1; 512]].concat(), "tar-truncated"),
        (
            "a lying size",
            [header(b'0', b"f", 1 << 32, |_| {}), END.to_vec()].concat(),
            "tar-truncated",
        ),
        ("size in letters", file(&|b| b[124..128].copy_from_slice(b"size")), "tar-field"),
        ("a negative size", file(&|b| b[124..136].fill(0xff)), "tar-field"),
        (
            "a huge size",
            file(&|b| {
                b[124..136].fill(0xff);
                b[124] = 0x80;
            }),
            "tar-field",
        ),
        (
            "i64::MAX by pax",
            [pax(b'x', &record("size", "9223372036854775807")), f()].concat(),
            "tar-too-large",
        ),
        (
            "more than that",
            [pax(b'x', &record("size", "9223372036854775808")), f()].concat(),
            "tar-extension",
        ),
        (
            "a time out of range",
            file(&|b| {
                b[136..148].copy_from_slice(&[0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0])
            }),
            "tar-field",
        ),
        ("pax of 2 MiB", header(b'x', b"x", 2 << 20, |_| {}), "tar-too-large"),
        ("pax cut off", header(b'x', b"x", 1000, |_| {}), "tar-truncated"),
        ("pax without length", [pax(b'x', b"path=x\n"), f()].concat(), "tar-extension"),
        ("pax length lies", [pax(b'x', b"99 path=x\n"), f()].concat(), "tar-extension"),
        ("pax length zero", [pax(b'x', b"0 path=x\n"), f()].concat(), "tar-extension"),
        ("pax without equals", [pax(b'x', b"8 pathx\n"), f()].concat(), "tar-extension"),
        ("pax without line feed", [pax(b'x', b"9 path=xx"), f()].concat(), "tar-extension"),
        (
            "a pax time of letters",
            [pax(b'x', &record("mtime", "now")), f()].concat(),
            "tar-extension",
        ),
        (
            "pax before nothing",
            [pax(b'x', &record("path", "x")), END.to_vec()].concat(),
            "tar-extension",
        ),
        ("pax, then the end", pax(b'x', &record("path", "x")), "tar-truncated"),
        (
            "endless extensions",
            pax(b'x', &record("path", "x")).repeat(EXTENSIONS_MAX + 1),
            "tar-extension",
        ),
        (
            "a long name too long",
            header(b'L', b"x", PATH_BYTES_MAX as u64 + 2, |_| {}),
            "tar-too-large",
        ),
        (
            "a pax path too long",
            [pax(b'x', &record("path", &"x".repeat(PATH_BYTES_MAX + 1))), f()].concat(),
            "tar-too-large",
        ),
        ("one zero block, then more", [vec![0; 512], f()].concat(), "tar-field"),
        ("sparse overlap", sparse("0,10,5,10", "100", 20), "tar-sparse"),
        ("sparse beyond its size", sparse("0,10,95,10", "100", 20), "tar-sparse"),
        ("sparse overflow", sparse("9223372036854775807,10", "100", 10), "tar-sparse"),
        ("sparse odd map", sparse("0,10,5", "100", 10), "tar-sparse"),
        ("sparse stores less", sparse("0,10", "100", 5), "tar-sparse"),
        ("sparse of 8 EiB", sparse("0,10", "9223372036854775807", 10), "tar-too-large"),
        ("sparse 1.0, count lies", one(b"999999999999\n"), "tar-sparse"),
        ("sparse 1.0, letters", one(b"a\n"), "tar-sparse"),
        ("sparse 1.0, no map", one(b""), "tar-sparse"),
        (
            "old sparse without its block",
            header(b'S', b"f", 0, |b| {
                b[257..265].copy_from_slice(b"ustar  \0");
                b[482] = 1;
            }),
            "tar-truncated",
        ),
    ];
    let count = rows.len();
    for (what, bytes, code) in rows {
        let error = read_all(&bytes).expect_err(what);
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.code(), code, "{what}: {error}");
        assert!(error.is_damage());
        let mut seeking = Reader::with_seek(Cursor::new(&bytes)).unwrap();
        let walked = std::iter::from_fn(|| seeking.next().transpose()).find_map(Result::err);
        assert!(walked.is_some_and(|error| error.code() == code), "{what}, by seeking");
    }
    println!("{count} hostile tars refused");
}

#[test]
fn odd_but_honest_tars_are_read() {
    let data = pad(b"12345");
    let with = |first: Vec<u8>| [first, data.clone(), END.to_vec()].concat();
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("v7", with(header(b'\0', b"f", 5, |b| b[257..265].fill(0))), "f File 644 0 5"),
        (
            "v7 folder",
            [header(b'\0', b"d/", 0, |b| b[257..265].fill(0)), END.to_vec()].concat(),
            "d Folder 644 0 0",
        ),
        (
            "size in base 256",
            with(header(b'0', b"f", 0, |b| {
                b[124..136].copy_from_slice(&[0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5])
            })),
            "f File 644 0 5",
        ),
        (
            "a negative time",
            with(header(b'0', b"f", 5, |b| b[136..148].fill(0xff))),
            "f File 644 -1000000000 5",
        ),
        (
            "spaces around numbers",
            with(header(b'0', b"f", 5, |b| b[100..108].copy_from_slice(b"   644 \0"))),
            "f File 644 0 5",
        ),
        (
            "a prefix",
            with(header(b'0', b"f", 5, |b| b[345..350].copy_from_slice(b"a/b/c"))),
            "a/b/c/f File 644 0 5",
        ),
        (
            "star's prefix",
            with(header(b'0', b"f", 5, |b| {
                b[345..348].copy_from_slice(b"a/b");
                b[476..487].copy_from_slice(b"00000000000");
                b[508..511].copy_from_slice(b"tar");
            })),
            "a/b/f File 644 0 5",
        ),
        ("a dot before", with(header(b'0', b"././f", 5, |_| {})), "f File 644 0 5"),
        (
            "a GNU long name",
            [
                header(b'L', b"././@LongLink", 5, |_| {}),
                pad(b"long\0"),
                with(header(b'0', b"f", 5, |_| {})),
            ]
            .concat(),
            "long File 644 0 5",
        ),
        (
            "an empty pax value takes back",
            [
                pax(b'g', b"14 path=xxxxx\n"),
                pax(b'x', b"8 path=\n"),
                with(header(b'0', b"f", 5, |_| {})),
            ]
            .concat(),
            "f File 644 0 5",
        ),
    ];
    for (what, bytes, expected) in rows {
        let all = read_all(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        assert_eq!(listing(&all), [expected], "{what}");
    }
    let mut reader = Reader::new(Cursor::new([header(b'0', b"f", 0, |_| {})].concat()));
    assert!(reader.next().unwrap().is_some() && reader.next().unwrap().is_none());
    assert_eq!(reader.warnings().len(), 1, "an unmarked end is worth a warning");
    let hidden = [END.to_vec(), header(b'0', b"hidden", 0, |_| {})].concat();
    let mut reader = Reader::new(Cursor::new(hidden));
    assert!(reader.next().unwrap().is_none());
    assert!(reader.warnings()[0].starts_with("bytes follow"), "{:?}", reader.warnings());
}

/// Whether a program is there; where CI=true it must be.
fn has(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{program} is missing, and CI=true");
        eprintln!("SKIPPED: {program} is not there");
    }
    there
}

fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", show(&output.stderr));
    output.stdout
}

#[test]
fn gnu_tar_and_python_read_what_we_write() {
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("ours.tar");
    let (bytes, expected) = awkward();
    std::fs::write(&file, bytes).unwrap();
    if has("tar") {
        let names = run(Command::new("tar")
            .args(["--quoting-style=literal", "--list", "--file"])
            .arg(&file));
        assert!(names.windows(3).any(|w| w == b"\n\xff\xfe".as_slice()), "{}", show(&names));
        assert_eq!(names.split(|&b| b == b'\n').count(), expected.len() + 2, "{}", show(&names));
    }
    if has("python3") {
        let script = "import sys,tarfile,os\n\
            for m in tarfile.open(sys.argv[1]):\n\
            \x20 n=os.fsencode(m.name); print(n.hex(), m.size, oct(m.mode)[2:], m.mtime, os.fsencode(m.linkname).hex())";
        let out =
            run(Command::new("python3").env("LC_ALL", "C.UTF-8").args(["-c", script]).arg(&file));
        let text = String::from_utf8(out).unwrap();
        let hex = |b: &[u8]| b.iter().map(|b| format!("{b:02x}")).collect::<String>();
        assert_eq!(text.lines().count(), expected.len());
        let line = text.lines().nth(1).unwrap();
        assert!(line.starts_with(&format!("{} 511 640 1e-09", hex(b"\xff\xfe"))), "{line}");
        let line = text.lines().nth(2).unwrap();
        assert!(line.starts_with(&format!("{} 1022 640 -1.5", hex("Núñez".as_bytes()))), "{line}");
        assert!(text.lines().last().unwrap().ends_with(" fe"), "{text}");
    }
}

#[test]
fn we_read_what_python_writes() {
    if !has("python3") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let script = r#"
import sys, tarfile, io, os
for name, format in (("ustar", 0), ("gnu", 1), ("pax", 2)):
    t = tarfile.open(os.path.join(sys.argv[1], name), "w", format=format, pax_headers={"comment": "x"})
    def add(path, type=tarfile.REGTYPE, data=b"", link="", mtime=0):
        i = tarfile.TarInfo(os.fsdecode(path)); i.type = type; i.size = len(data); i.mode = 0o600
        i.linkname = link; i.mtime = mtime
        t.addfile(i, io.BytesIO(data))
    add(b"a", data=b"hello", mtime=12)
    add(b"d" * 90 + b"/" + b"e" * 90, data=b"x" * 1000)
    add(b"folder", type=tarfile.DIRTYPE)
    add(b"hard", type=tarfile.LNKTYPE, link="a")
    add(b"soft", type=tarfile.SYMTYPE, link="../a")
    add(b"pipe", type=tarfile.FIFOTYPE)
    if format:
        add(b"n" * 500, data=b"y")
        add(b"bad\xff", data=b"z", mtime=-3)
        add(b"l", type=tarfile.SYMTYPE, link="m" * 300)
    if format == 2:
        add("Núñez".encode(), mtime=1.25)
    t.close()
"#;
    run(Command::new("python3").env("LC_ALL", "C.UTF-8").args(["-c", script]).arg(place.path()));
    let mut expected = vec![
        "a File 600 12000000000 5".to_owned(),
        format!("{}/{} File 600 0 1000", "d".repeat(90), "e".repeat(90)),
        "folder Folder 600 0 0".into(),
        "hard = a 600 0 0".into(),
        "soft -> ../a 600 0 0".into(),
        "pipe Fifo 600 0 0".into(),
    ];
    let read =
        |name: &str| listing(&read_all(&std::fs::read(place.path().join(name)).unwrap()).unwrap());
    assert_eq!(read("ustar"), expected);
    expected.push(format!("{} File 600 0 1", "n".repeat(500)));
    expected.push("bad\\xff File 600 -3000000000 1".into());
    expected.push(format!("l -> {} 600 0 0", "m".repeat(300)));
    assert_eq!(read("gnu"), expected);
    expected.push("Núñez File 600 1250000000 0".into());
    assert_eq!(read("pax"), expected);
}

#[test]
fn sparse_files_of_gnu_tar_are_expanded() {
    if !has("tar") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let dir = place.path();
    let sparse = |name: &str, size: u64, pieces: &[(u64, &[u8])]| {
        use std::os::unix::fs::FileExt;
        let file = std::fs::File::create(dir.join(name)).unwrap();
        file.set_len(size).unwrap();
        for (at, bytes) in pieces {
            file.write_all_at(bytes, *at).unwrap();
        }
    };
    sparse("ends", 1_000_000, &[(0, b"start"), (999_990, b"the end...")]);
    sparse("hole-at-end", 700_000, &[(70_000, b"middle")]);
    sparse("empty", 500_000, &[]);
    // More pieces than fit into one header, and one block after it.
    let many: Vec<(u64, &[u8])> = (0..60).map(|i| (i * 16_384, &b"piece"[..])).collect();
    sparse("many", 60 * 16_384, &many);
    let mut rounds = 0;
    for format in [
        &["--format=gnu"][..],
        &["--format=posix", "--sparse-version=0.0"],
        &["--format=posix", "--sparse-version=0.1"],
        &["--format=posix", "--sparse-version=1.0"],
    ] {
        let names = ["ends", "hole-at-end", "empty", "many"];
        let tar = run(Command::new("tar")
            .current_dir(dir)
            .args(["--create", "--sparse", "--hole-detection=seek", "--file=-"])
            .args(format)
            .args(names));
        let all = read_all(&tar).unwrap();
        assert_eq!(all.len(), names.len(), "{format:?}");
        for ((entry, data), name) in all.iter().zip(names) {
            let expected = std::fs::read(dir.join(name)).unwrap();
            assert_eq!(show(&entry.path), name);
            assert_eq!(entry.size, expected.len() as u64);
            assert!(*data == expected, "{format:?} {name}");
            rounds += u32::from(entry.sparse);
        }
    }
    println!("{rounds} sparse files expanded");
    assert!(rounds >= 12, "the file system or this tar makes no holes");
}

#[test]
fn a_real_tree_by_gnu_tar_in_every_format_is_the_same() {
    if !has("tar") {
        return;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut listings = Vec::new();
    for format in ["v7", "oldgnu", "gnu", "ustar", "posix"] {
        let tar = run(Command::new("tar").current_dir(source).args([
            "--create",
            "--sort=name",
            "--mtime=@0",
            "--file=-",
            "--format",
            format,
            "src",
        ]));
        listings.push(listing(&read_all(&tar).unwrap()));
    }
    assert!(listings[0].len() > 20);
    assert!(listings.windows(2).all(|pair| pair[0] == pair[1]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_bytes_make_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..4096)) {
        let _ = read_all(&bytes);
    }

    /// Damage within headers whose sums are made right again reaches all parsers behind them.
    #[test]
    fn mutated_tars_never_panic(at in 0usize..20_000, byte: u8, more in 0usize..512, other: u8) {
        let mut bytes = awkward().0;
        bytes.extend(pax(b'x', b"22 GNU.sparse.major=1\n30 GNU.sparse.realsize=123456\n"));
        bytes.extend(header(b'0', b"s", 1024, |_| {}));
        bytes.extend(pad(b"2\n0\n1\n99\n511\n"));
        let at = at % bytes.len();
        let block = at / BLOCK_BYTES * BLOCK_BYTES;
        bytes[at] = byte;
        bytes[block + more] = other;
        let _ = read_all(&bytes);
        if let Some(header) = bytes[block..].first_chunk::<BLOCK_BYTES>() {
            let (sum, _) = super::header::sums(header);
            bytes[block + 148..block + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        let _ = read_all(&bytes);
    }
}
