//! The spool as a caller sees it: appended, synced, torn, damaged, cut off from power.
#![allow(clippy::unwrap_used)]

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use strongroom_spool::testing::{Cut, Faults, MemDisk, Random};
use strongroom_spool::{
    Disk, Error, Found, HEADER_BYTES, KEY_BYTES, Key, LISTED_MAX, Location, LogId, Options, OsDisk,
    ScanOptions, ScanReport, Spool, Why, Writer,
};

const VERIFY: ScanOptions = ScanOptions { verify_payload: true, log: None };

/// Ids that differ over all writers of this process.
fn ids() -> Box<dyn Fn() -> LogId + Send + Sync> {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Box::new(|| {
        let drawn = Random(NEXT.fetch_add(1, Ordering::Relaxed)).draw();
        let mut id = [0xA5; 16];
        id[..8].copy_from_slice(&drawn.to_le_bytes());
        LogId(id)
    })
}

fn key(number: u64) -> Key {
    let mut key = [0x4B; KEY_BYTES];
    key[..8].copy_from_slice(&number.to_le_bytes());
    key
}

fn payload(number: u64, len: usize) -> Vec<u8> {
    let mut random = Random(number);
    (0..len).map(|_| random.draw() as u8).collect()
}

fn dir() -> PathBuf {
    PathBuf::from("/shelf")
}

fn open(disk: &MemDisk) -> Spool {
    Spool::open(Arc::new(disk.clone()), &dir(), Options::default()).unwrap()
}

fn writer(spool: &Spool, epoch: u64) -> Writer {
    spool.writer(epoch, [3; 16], ids()).unwrap()
}

fn scan(spool: &Spool, options: ScanOptions) -> (Vec<Found>, ScanReport) {
    let mut found = Vec::new();
    let report = spool
        .scan(options, &mut |frame| {
            found.push(frame);
            ControlFlow::Continue(())
        })
        .unwrap();
    (found, report)
}

fn assert_clean(report: &ScanReport) {
    assert!(report.torn.is_empty() && report.damaged.is_empty(), "{report:?}");
    assert!(report.unreadable.is_empty() && report.not_listed == 0, "{report:?}");
}

/// A closed log of a few small frames, and where they are.
fn small_log(disk: &MemDisk, lens: &[usize]) -> (PathBuf, Vec<Location>) {
    let spool = open(disk);
    let writer = writer(&spool, 1);
    let at = lens.iter().enumerate().map(|(number, len)| {
        let number = number as u64;
        writer.append(&key(number), number, &[&payload(number, *len)]).unwrap()
    });
    let at: Vec<Location> = at.collect();
    writer.sync().unwrap();
    let path = dir().join(&spool.logs().unwrap()[0].name);
    (path, at)
}

#[test]
fn what_is_appended_is_read_and_found_again_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(Arc::new(OsDisk), folder.path(), Options::default()).unwrap();
    let writer = writer(&spool, 1);
    let mut all = Vec::new();
    for number in 0..200 {
        let bytes = payload(number, number as usize * 37 % 5000);
        let (front, back) = bytes.split_at(bytes.len() / 3);
        let at = writer.append(&key(number), number * 10, &[front, &[], back]).unwrap();
        assert_eq!(at.offset % 8, 0);
        assert_eq!(spool.read_frame(&at, &key(number)).unwrap(), bytes);
        all.push((at, bytes));
    }
    assert_eq!(writer.unsynced_bytes(), all.iter().map(|(at, _)| at.frame_bytes()).sum::<u64>());
    writer.sync().unwrap();
    assert_eq!(writer.unsynced_bytes(), 0);
    assert!(spool.logs().unwrap()[0].in_use);
    drop(writer);

    let spool = Spool::open(Arc::new(OsDisk), folder.path(), Options::default()).unwrap();
    let (found, report) = scan(&spool, VERIFY);
    assert_clean(&report);
    assert_eq!(found.len(), all.len());
    for (number, (found, (at, bytes))) in found.iter().zip(&all).enumerate() {
        let number = number as u64;
        let expected =
            Found { location: *at, key: key(number), first: number * 10, payload_ok: Some(true) };
        assert_eq!(*found, expected);
        let mut middle = vec![0; bytes.len() / 2];
        spool.read(at, &key(number), bytes.len() as u32 / 4, &mut middle).unwrap();
        assert_eq!(middle, bytes[bytes.len() / 4..][..middle.len()]);
    }
    assert_eq!(report.bytes + HEADER_BYTES as u64, spool.bytes().unwrap());
    let log = &spool.logs().unwrap()[0];
    assert!(!log.in_use);
    assert_eq!((log.epoch, log.token, log.counter), (1, [3; 16], 1));
}

#[test]
fn what_was_not_asked_for_is_never_returned() {
    let disk = MemDisk::default();
    let (_, at) = small_log(&disk, &[100, 100]);
    let spool = open(&disk);
    let mut buf = [0; 10];
    let read = |at: &Location, of: u64, skip, buf: &mut [u8]| spool.read(at, &key(of), skip, buf);

    let wrong_key = read(&at[0], 1, 0, &mut buf);
    assert!(matches!(wrong_key, Err(Error::OtherFrame { what: "key", .. })), "{wrong_key:?}");
    let wrong_len = read(&Location { len: 99, ..at[0] }, 0, 0, &mut buf);
    assert!(matches!(wrong_len, Err(Error::OtherFrame { what: "length", .. })), "{wrong_len:?}");
    let past = read(&at[0], 0, 91, &mut buf);
    assert!(matches!(past, Err(Error::OutOfRange { skip: 91, end: 101, len: 100 })), "{past:?}");
    read(&at[0], 0, 90, &mut buf).unwrap();
    read(&at[0], 0, 100, &mut []).unwrap();
    for offset in [0, 8, at[0].offset + 1, at[1].offset - 8, 1 << 40, u64::MAX] {
        let nowhere = spool.read_frame(&Location { offset, ..at[0] }, &key(0));
        assert!(matches!(nowhere, Err(Error::Damaged { why: Why::Head, .. })), "{nowhere:?}");
    }
    let no_log = read(&Location { log: LogId([0; 16]), ..at[0] }, 0, 0, &mut buf);
    assert!(matches!(no_log, Err(Error::NoSuchLog { .. })), "{no_log:?}");
}

#[test]
fn a_folder_that_is_not_there_is_no_empty_spool() {
    let folder = tempfile::tempdir().unwrap();
    let gone = folder.path().join("unmounted");
    let opened = Spool::open(Arc::new(OsDisk), &gone, Options::default());
    assert!(matches!(opened, Err(Error::Io { doing: "list", .. })), "{opened:?}");
    assert!(!gone.exists());
}

#[test]
fn two_writers_share_a_folder_and_each_keeps_to_its_logs() {
    let folder = tempfile::tempdir().unwrap();
    let options = Options { log_bytes_max: 20_000, ..Options::default() };
    // Two spools, as in two processes.
    let spools = [(); 2].map(|()| Spool::open(Arc::new(OsDisk), folder.path(), options).unwrap());
    let threads = [0u64, 1].map(|which| {
        let spool = spools[which as usize].clone();
        std::thread::spawn(move || {
            let writer = spool.writer(1, [which as u8; 16], ids()).unwrap();
            let append = |number: u64| {
                let number = which * 1000 + number;
                let at = writer.append(&key(number), 0, &[&payload(number, 700)]).unwrap();
                if number.is_multiple_of(7) {
                    writer.sync().unwrap();
                }
                (number, at)
            };
            let all: Vec<_> = (0..100).map(append).collect();
            writer.sync().unwrap();
            (writer, all)
        })
    });
    let [first, second] = threads.map(|thread| thread.join().unwrap());
    for (number, at) in first.1.iter().chain(&second.1) {
        for spool in &spools {
            assert_eq!(spool.read_frame(at, &key(*number)).unwrap(), payload(*number, 700));
        }
    }
    assert!(first.1.iter().all(|(_, at)| second.1.iter().all(|(_, other)| at.log != other.log)));
    let (found, report) = scan(&spools[0], VERIFY);
    assert_clean(&report);
    assert_eq!(found.len(), 200);
    let logs = spools[0].logs().unwrap();
    assert!(logs.len() >= 8 && logs.iter().all(|log| log.bytes <= 20_000), "{logs:?}");
    // Each holds its newest log; the full ones were let go when they were synced.
    assert_eq!(logs.iter().filter(|log| log.in_use).count(), 2);
}

#[test]
fn a_log_in_use_is_not_removed_and_a_removed_one_is_an_error_to_its_readers() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(Arc::new(OsDisk), folder.path(), Options::default()).unwrap();
    let other = Spool::open(Arc::new(OsDisk), folder.path(), Options::default()).unwrap();
    let writer = writer(&spool, 1);
    let at = writer.append(&key(0), 0, &[b"bytes"]).unwrap();
    writer.sync().unwrap();
    let refused = other.remove_log(&at.log);
    assert!(matches!(refused, Err(Error::InUse { .. })), "{refused:?}");
    assert_eq!(other.read_frame(&at, &key(0)).unwrap(), b"bytes");
    drop(writer);
    spool.remove_log(&at.log).unwrap();
    for spool in [&spool, &other] {
        // A handle that was open before may serve a reader until the folder is listed anew.
        assert!(spool.logs().unwrap().is_empty());
        let gone = spool.read_frame(&at, &key(0));
        assert!(matches!(gone, Err(Error::NoSuchLog { .. })), "{gone:?}");
        assert!(matches!(spool.remove_log(&at.log), Err(Error::NoSuchLog { .. })));
    }
}

#[test]
fn a_writer_lets_go_of_a_log_and_goes_on_in_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(Arc::new(OsDisk), folder.path(), Options::default()).unwrap();
    let writer = writer(&spool, 1);
    writer.next_log().unwrap();
    assert!(spool.logs().unwrap().is_empty(), "none is begun before there is one");
    let first = writer.append(&key(0), 0, &[b"first"]).unwrap();
    writer.next_log().unwrap();
    assert_eq!(writer.unsynced_bytes(), 0);
    let logs = spool.logs().unwrap();
    let in_use: Vec<_> = logs.iter().filter(|log| log.in_use).map(|log| log.id).collect();
    assert_eq!((logs.len(), in_use.len()), (2, 1), "its writer is seen to live: {logs:?}");
    assert_ne!(in_use[0], first.log);
    writer.next_log().unwrap();
    assert_eq!(spool.logs().unwrap().len(), 2, "an empty log is kept");
    spool.remove_log(&first.log).unwrap();
    let second = writer.append(&key(1), 0, &[b"second"]).unwrap();
    writer.sync().unwrap();
    assert_eq!(second.log, in_use[0]);
    assert_eq!(spool.read_frame(&second, &key(1)).unwrap(), b"second");
}

#[test]
fn a_log_deleted_by_hand_is_an_error_to_a_reader_that_never_opened_it() {
    let disk = MemDisk::default();
    let (path, at) = small_log(&disk, &[10]);
    let spool = open(&disk);
    disk.remove(&path).unwrap();
    let gone = spool.read_frame(&at[0], &key(0));
    assert!(matches!(gone, Err(Error::NoSuchLog { .. })), "{gone:?}");
    let truncated = MemDisk::default();
    let (path, at) = small_log(&truncated, &[10]);
    let spool = open(&truncated);
    spool.read_frame(&at[0], &key(0)).unwrap();
    truncated.put(&path, b"");
    assert!(matches!(spool.read_frame(&at[0], &key(0)), Err(Error::Damaged { .. })));
}

#[test]
fn too_large_a_payload_is_refused_and_harms_nothing() {
    let disk = MemDisk::default();
    let options = Options { frame_bytes_max: 100, ..Options::default() };
    let spool = Spool::open(Arc::new(disk), &dir(), options).unwrap();
    let writer = writer(&spool, 1);
    let refused = writer.append(&key(0), 0, &[&[0; 60], &[0; 41]]);
    assert!(matches!(refused, Err(Error::TooLarge { bytes: 101, bytes_max: 100 })));
    let at = writer.append(&key(0), 0, &[&[0; 60], &[0; 40]]).unwrap();
    writer.sync().unwrap();
    assert_eq!(spool.read_frame(&at, &key(0)).unwrap(), [0; 100]);
}

#[test]
fn a_torn_tail_is_passed_over_and_reported_at_every_byte_of_the_last_frame() {
    let disk = MemDisk::default();
    // Multiples of 8, so that the last byte is payload and not padding.
    let (path, at) = small_log(&disk, &[40, 0, 80, 120]);
    let whole = disk.contents(&path).unwrap();
    let last = at[3].offset;
    let mut cuts = 0;
    for len in last..=whole.len() as u64 {
        disk.put(&path, &whole[..len as usize]);
        let (found, report) = scan(&open(&disk), VERIFY);
        let frames = if len == whole.len() as u64 { 4 } else { 3 };
        assert_eq!(found.iter().map(|found| found.location).collect::<Vec<_>>(), at[..frames]);
        assert!(report.damaged.is_empty(), "{report:?}");
        if len == last || frames == 4 {
            assert_clean(&report);
        } else {
            let torn = report.torn[0];
            assert_eq!((report.torn.len(), torn.offset, torn.len), (1, last, len - last));
            assert_eq!(torn.why, Why::Short);
        }
        cuts += 1;
    }
    println!("{cuts} cuts");
}

#[test]
fn a_flipped_byte_costs_only_the_frame_it_is_in() {
    let disk = MemDisk::default();
    let (path, at) = small_log(&disk, &[33, 0, 100, 7, 64]);
    let whole = disk.contents(&path).unwrap();
    let mut flips = 0;
    for byte in 0..whole.len() {
        for flip in [0x01, 0x80, 0xFF] {
            let mut bytes = whole.clone();
            bytes[byte] ^= flip;
            disk.put(&path, &bytes);
            let spool = open(&disk);
            let (found, report) = scan(&spool, VERIFY);
            let good: Vec<Location> = found
                .iter()
                .filter(|found| found.payload_ok == Some(true))
                .map(|found| found.location)
                .collect();
            let hit = at.iter().position(|at| {
                let end = at.offset + 96 + u64::from(at.len);
                (at.offset..end).contains(&(byte as u64))
            });
            let expected: Vec<Location> = at
                .iter()
                .enumerate()
                .filter(|(nth, _)| Some(*nth) != hit)
                .map(|(_, at)| *at)
                .collect();
            assert_eq!(good, expected, "byte {byte}");
            let reported = report.damaged.len() + report.torn.len();
            let in_header = byte < HEADER_BYTES;
            assert_eq!(
                reported,
                usize::from(hit.is_some() || in_header),
                "byte {byte}: {report:?}"
            );
            for (number, at) in at.iter().enumerate() {
                let read = spool.read_frame(at, &key(number as u64));
                assert_eq!(read.is_ok(), hit != Some(number), "byte {byte}: {read:?}");
            }
            flips += 1;
        }
    }
    println!("{flips} flips in {} bytes", whole.len());
}

#[test]
fn a_hole_of_any_size_costs_only_the_frames_that_it_touches() {
    let disk = MemDisk::default();
    let lens: Vec<usize> = (0..60).map(|number| number * 211 % 9000).collect();
    let (path, at) = small_log(&disk, &lens);
    let whole = disk.contents(&path).unwrap();
    let mut random = Random(11);
    for _ in 0..100 {
        let begin = random.below(whole.len() as u64);
        let end = (begin + 1 + random.below(70_000)).min(whole.len() as u64);
        let touched = |at: &Location| at.offset < end && begin < at.offset + at.frame_bytes();
        let expected: Vec<Location> = at.iter().filter(|at| !touched(at)).copied().collect();

        let mut bytes = whole.clone();
        bytes[begin as usize..end as usize].fill(0);
        disk.put(&path, &bytes);
        let (found, report) = scan(&open(&disk), VERIFY);
        let sound: Vec<Location> = found
            .iter()
            .filter(|found| found.payload_ok == Some(true) && !touched(&found.location))
            .map(|found| found.location)
            .collect();
        assert_eq!(sound, expected);
        assert!(!report.damaged.is_empty() || !report.torn.is_empty());

        // The same bytes, which the disk now refuses to read.
        disk.put(&path, &whole);
        disk.set_faults(Faults { unreadable: Some((begin, end)), ..Faults::default() });
        let (found, report) = scan(&open(&disk), VERIFY);
        disk.set_faults(Faults::default());
        let good: Vec<Location> = found
            .iter()
            .filter(|found| found.payload_ok == Some(true))
            .map(|found| found.location)
            .collect();
        // A sector's neighbours in its page may go with it, nothing else.
        let near =
            |at: &Location| at.offset < end + 4096 && begin < at.offset + at.frame_bytes() + 4096;
        assert!(at.iter().filter(|at| !near(at)).all(|at| good.contains(at)));
        assert!(
            good.iter()
                .all(|good| !touched(good) || good.offset + 96 + u64::from(good.len) <= begin)
        );
        assert!(
            report.damaged.iter().any(|damage| matches!(damage.why, Why::Read(_))) || begin < 256
        );
    }
}

#[test]
fn the_tail_of_a_log_in_use_is_not_called_torn() {
    let disk = MemDisk::default();
    let spool = open(&disk);
    let writer = writer(&spool, 1);
    let first = writer.append(&key(0), 0, &[b"whole"]).unwrap();
    disk.set_faults(Faults { writes_left: Some(0), ..Faults::default() });
    writer.append(&key(1), 0, &[&[1; 1000]]).unwrap_err();
    let (found, report) = scan(&spool, VERIFY);
    assert_eq!(found.len(), 1);
    assert_clean(&report);
    drop(writer);
    let (found, report) = scan(&spool, VERIFY);
    assert_eq!(found[0].location, first);
    assert_eq!((report.torn.len(), report.damaged.len()), (1, 0));
}

/// Appends and syncs at random, cuts the power, and looks for all that was acknowledged.
fn check_power_cut(cut: Cut, seed: u64) -> (usize, usize) {
    let disk = MemDisk::default();
    let mut random = Random(seed);
    let mut acknowledged: Vec<(u64, Location, Vec<u8>)> = Vec::new();
    let (mut number, mut survivors) = (0, 0);
    for epoch in 0..3 {
        let options = Options { log_bytes_max: 1500 + random.below(20_000), ..Options::default() };
        let spool = Spool::open(Arc::new(disk.clone()), &dir(), options).unwrap();
        let writer = writer(&spool, epoch);
        let mut waiting = Vec::new();
        for _ in 0..random.below(60) {
            if random.below(5) == 0 {
                writer.sync().unwrap();
                acknowledged.append(&mut waiting);
            }
            let bytes = payload(random.draw(), random.below(3000) as usize);
            let at = writer.append(&key(number), 0, &[&bytes]).unwrap();
            waiting.push((number, at, bytes));
            number += 1;
        }
        disk.power_cut(cut, random.draw());
        assert_eq!(writer.sync().is_err(), writer.unsynced_bytes() > 0);

        let spool = open(&disk);
        for (number, at, bytes) in &acknowledged {
            assert_eq!(&spool.read_frame(at, &key(*number)).unwrap(), bytes, "seed {seed}");
        }
        let (found, report) = scan(&spool, VERIFY);
        assert!(report.unreadable.is_empty() && report.not_listed == 0, "{report:?}");
        let good: Vec<Location> = found
            .iter()
            .filter(|found| found.payload_ok == Some(true))
            .map(|found| found.location)
            .collect();
        assert!(acknowledged.iter().all(|(_, at, _)| good.contains(at)), "seed {seed}");
        // What was not acknowledged but survived is what was appended, too.
        for (number, at, bytes) in waiting.iter().filter(|(_, at, _)| good.contains(at)) {
            assert_eq!(&spool.read_frame(at, &key(*number)).unwrap(), bytes, "seed {seed}");
            survivors += 1;
        }
    }
    (acknowledged.len(), survivors)
}

#[test]
fn what_was_synced_is_found_after_any_power_cut() {
    // Where unsynced writes are lost, only what an append synced (many full logs) survives as well.
    let mut survivors_least = 0;
    for cut in [Cut::Lose, Cut::Tear, Cut::Reorder] {
        let (mut acknowledged, mut survivors) = (0, 0);
        for seed in 0..200 {
            let (more, survived) = check_power_cut(cut, seed);
            acknowledged += more;
            survivors += survived;
        }
        println!("{cut:?}: {acknowledged} acknowledged frames found, {survivors} others survived");
        assert!(acknowledged > 1000 && survivors > survivors_least);
        survivors_least = survivors_least.max(if cut == Cut::Lose { survivors } else { 0 });
    }
}

#[test]
fn a_failed_sync_ends_the_writer_and_what_it_held_is_never_acknowledged() {
    // The first log's first sync is of the file, the second of the folder.
    for syncs_left in 0..4 {
        let disk = MemDisk::default();
        let spool = open(&disk);
        let doomed = writer(&spool, 1);
        disk.set_faults(Faults { syncs_left: Some(syncs_left), ..Faults::default() });
        let mut acknowledged = Vec::new();
        let failure = loop {
            let at = doomed.append(&key(0), 0, &[b"bytes"]).unwrap();
            match doomed.sync() {
                Ok(()) => acknowledged.push(at),
                Err(error) => break error,
            }
        };
        assert!(matches!(failure, Error::Io { doing: "sync", .. }), "{failure:?}");
        // The disk would sync again, and say that all is well.
        assert!(matches!(doomed.sync(), Err(Error::Poisoned { .. })));
        let later = doomed.clone().append(&key(0), 0, &[b"more"]);
        assert!(later.unwrap_err().to_string().contains("injected failure of a sync"));
        assert!(doomed.unsynced_bytes() > 0);

        let next = writer(&spool, 1);
        let at = next.append(&key(9), 0, &[b"anew"]).unwrap();
        next.sync().unwrap();
        assert!(acknowledged.iter().all(|old| old.log != at.log));
        disk.power_cut(Cut::Lose, 0);
        let (found, _) = scan(&open(&disk), VERIFY);
        acknowledged.push(at);
        assert!(acknowledged.iter().all(|at| found.iter().any(|found| found.location == *at)));
    }
}

#[test]
fn what_a_killed_writer_left_is_durable_once_the_logs_are_settled() {
    for settled in [false, true] {
        let disk = MemDisk::default();
        let spool = open(&disk);
        let killed = writer(&spool, 1);
        let kept = killed.append(&key(0), 0, &[b"synced"]).unwrap();
        killed.sync().unwrap();
        killed.append(&key(1), 0, &[b"written, and no more"]).unwrap();
        drop(killed);
        assert_eq!(scan(&spool, VERIFY).0.len(), 2, "it is there, in the system's memory");
        if settled {
            spool.settle().unwrap();
        }
        disk.power_cut(Cut::Lose, 0);
        let (found, _) = scan(&open(&disk), VERIFY);
        assert_eq!(found[0].location, kept);
        assert_eq!(found.len(), 1 + usize::from(settled));
    }
}

#[test]
fn a_failed_write_ends_the_writer_and_keeps_what_was_synced() {
    let disk = MemDisk::default();
    let spool = open(&disk);
    let doomed = writer(&spool, 1);
    let kept = doomed.append(&key(0), 0, &[b"kept"]).unwrap();
    doomed.sync().unwrap();
    disk.set_faults(Faults { writes_left: Some(1), ..Faults::default() });
    doomed.append(&key(1), 0, &[b"not synced"]).unwrap();
    let full = doomed.append(&key(2), 0, &[&[0; 500]]);
    assert!(
        matches!(&full, Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::StorageFull)
    );
    disk.set_faults(Faults::default());
    assert!(matches!(doomed.sync(), Err(Error::Poisoned { .. })));
    assert_eq!(spool.read_frame(&kept, &key(0)).unwrap(), b"kept");
    let (found, report) = scan(&spool, VERIFY);
    assert_eq!(found.len(), 2);
    assert_clean(&report);
}

#[test]
fn threads_that_wait_share_a_sync() {
    let disk = MemDisk::default();
    let spool = open(&disk);
    let writer = writer(&spool, 1);
    disk.set_faults(Faults { sync_takes: Duration::from_millis(2), ..Faults::default() });
    let calls: u64 = 8 * 25;
    let all: Vec<(u64, Location)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8u64)
            .map(|thread| {
                let (writer, spool) = (writer.clone(), spool.clone());
                scope.spawn(move || {
                    let append = |nth: u64| {
                        let number = thread * 100 + nth;
                        let bytes = payload(number, 50 + nth as usize);
                        let at = writer.append(&key(number), 0, &[&bytes]).unwrap();
                        writer.sync().unwrap();
                        assert_eq!(spool.read_frame(&at, &key(number)).unwrap(), bytes);
                        (number, at)
                    };
                    (0..25).map(append).collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    println!("{} syncs of the disk for {calls} calls", disk.syncs());
    assert!(disk.syncs() < calls / 2);
    disk.power_cut(Cut::Lose, 0);
    let spool = open(&disk);
    for (number, at) in &all {
        spool.read_frame(at, &key(*number)).unwrap();
    }
    assert_eq!(all.len() as u64, calls);
}

#[test]
fn a_newer_log_is_refused_by_name_and_the_others_are_read() {
    let disk = MemDisk::default();
    let (path, at) = small_log(&disk, &[10]);
    let spool = open(&disk);
    let later = writer(&spool, 2);
    later.append(&key(7), 0, &[b"old version"]).unwrap();
    drop(later);
    let mut bytes = disk.contents(&path).unwrap();
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..252]);
    bytes[252..256].copy_from_slice(&crc.to_le_bytes());
    disk.put(&path, &bytes);
    let refused = spool.read_frame(&at[0], &key(0)).unwrap_err();
    assert!(matches!(refused, Error::NewerVersion { version: 2, known: 1, .. }), "{refused:?}");
    let (found, report) = scan(&spool, VERIFY);
    assert_eq!(found.iter().map(|found| found.key).collect::<Vec<_>>(), [key(7)]);
    assert_eq!((report.unreadable.len(), &report.unreadable[0].path), (1, &path));
    assert!(report.unreadable[0].why.contains("version 2"), "{report:?}");
}

#[test]
fn a_newer_frame_is_refused_by_name() {
    let disk = MemDisk::default();
    let (path, at) = small_log(&disk, &[8, 8]);
    let mut bytes = disk.contents(&path).unwrap();
    let head = at[0].offset as usize;
    bytes[head + 4] = 9;
    let crc = crc32c::crc32c(&bytes[head..head + 92]);
    bytes[head + 92..head + 96].copy_from_slice(&crc.to_le_bytes());
    disk.put(&path, &bytes);
    let spool = open(&disk);
    let refused = spool.read_frame(&at[0], &key(0)).unwrap_err();
    assert!(matches!(refused, Error::NewerVersion { version: 9, .. }), "{refused:?}");
    let (found, report) = scan(&spool, VERIFY);
    assert_eq!((found.len(), report.damaged[0].why), (1, Why::Newer(9)));
}

/// Writes a frame's head that is right in all that a checksum can tell.
fn forge_head(bytes: &mut [u8], log: LogId, offset: u64, len: u32) {
    bytes[..8].copy_from_slice(b"\xF5SRf\x01\0\x60\0");
    bytes[8..24].copy_from_slice(&log.0);
    bytes[72..76].copy_from_slice(&len.to_le_bytes());
    bytes[80..88].copy_from_slice(&offset.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..92]);
    bytes[92..96].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn hostile_logs_neither_panic_nor_take_memory() {
    let disk = MemDisk::default();
    let (path, at) = small_log(&disk, &[10]);
    let log = at[0].log;
    let header = disk.contents(&path).unwrap()[..HEADER_BYTES].to_vec();
    let mut random = Random(5);
    let mut frames = 0;
    for round in 0..300 {
        let len = random.below(9000) as usize;
        let mut bytes: Vec<u8> = (0..len).map(|_| random.draw() as u8).collect();
        if round % 2 == 0 && len >= HEADER_BYTES {
            bytes[..HEADER_BYTES].copy_from_slice(&header);
        }
        // Heads that lie about their length, in any places, over one another.
        for _ in 0..random.below(20) {
            let offset = 256 + random.below(1100) * 8;
            let claims = [0, 1, 200, 8000, 64 << 20, (64 << 20) + 1, u32::MAX];
            let claim = claims[random.below(claims.len() as u64) as usize];
            if let Some(head) = bytes.get_mut(offset as usize..offset as usize + 96) {
                forge_head(head, log, offset, claim);
            }
        }
        disk.put(&path, &bytes);
        let spool = open(&disk);
        let (found, report) = scan(&spool, VERIFY);
        frames += found.len();
        let ends = found.iter().map(|found| found.location.offset + u64::from(found.location.len));
        assert!(ends.max().unwrap_or(0) <= len as u64);
        let regions = report.damaged.iter().chain(&report.torn);
        assert!(regions.into_iter().all(|damage| damage.offset + damage.len <= len as u64 + 8));
        for offset in (0..len as u64).step_by(8) {
            for len in [0, 200, 64 << 20, u32::MAX] {
                let _ = spool.read_frame(&Location { log, offset, len }, &key(0));
            }
        }
    }
    println!("{frames} forged frames were taken for frames");
    assert!(frames > 100);
}

#[test]
fn what_a_report_lists_is_bounded_and_the_rest_is_counted() {
    let disk = MemDisk::default();
    let (path, at) = small_log(&disk, &[8]);
    let mut bytes = disk.contents(&path).unwrap()[..HEADER_BYTES].to_vec();
    let regions = LISTED_MAX as u64 + 500;
    for nth in 0..regions {
        let offset = HEADER_BYTES as u64 + nth * 104;
        bytes.resize(offset as usize + 104, 0);
        forge_head(&mut bytes[offset as usize..], at[0].log, offset, 0);
    }
    disk.put(&path, &bytes);
    let (found, report) = scan(&open(&disk), ScanOptions::default());
    assert_eq!(found.len() as u64, regions);
    assert!(found.iter().all(|found| found.payload_ok.is_none()));
    // The last region of 8 bytes is a torn tail.
    assert_eq!((report.damaged.len(), report.not_listed, report.torn.len()), (LISTED_MAX, 499, 1));
}

#[test]
fn a_scan_stops_when_told_and_can_be_of_one_log() {
    let disk = MemDisk::default();
    let (_, at) = small_log(&disk, &[10, 20, 30]);
    let spool = open(&disk);
    let later = writer(&spool, 2);
    let other = later.append(&key(7), 0, &[b"x"]).unwrap();
    let mut seen = 0;
    let report = spool
        .scan(ScanOptions::default(), &mut |_| {
            seen += 1;
            if seen == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((seen, report.frames), (2, 2));
    let of = |log| scan(&spool, ScanOptions { verify_payload: true, log: Some(log) }).0.len();
    assert_eq!((of(at[0].log), of(other.log)), (3, 1));
    let nowhere = ScanOptions { verify_payload: false, log: Some(LogId([9; 16])) };
    assert!(spool.scan(nowhere, &mut |_| ControlFlow::Continue(())).is_err());
}

#[test]
fn a_renamed_log_is_reported_and_remnants_are_swept() {
    let disk = MemDisk::default();
    let (path, _) = small_log(&disk, &[10]);
    let renamed = dir().join("copy of a log.log");
    disk.rename(&path, &renamed).unwrap();
    let remnant = Path::new(&path).with_extension("log.new");
    disk.put(&remnant, b"");
    let foreign = dir().join("identity.new");
    disk.put(&foreign, b"mine");
    let spool = open(&disk);
    let (found, report) = scan(&spool, VERIFY);
    assert!(found.is_empty());
    assert_eq!(report.unreadable.iter().map(|file| &file.path).collect::<Vec<_>>(), [&renamed]);
    let _writer = writer(&spool, 1);
    assert_eq!(disk.contents(&remnant), None);
    assert_eq!(disk.contents(&foreign).unwrap(), b"mine");
}

#[test]
fn many_full_logs_are_synced_before_they_pile_up() {
    let disk = MemDisk::default();
    let options = Options { log_bytes_max: 1000, ..Options::default() };
    let spool = Spool::open(Arc::new(disk.clone()), &dir(), options).unwrap();
    let writer = writer(&spool, 1);
    let at: Vec<Location> = (0..100)
        .map(|number| writer.append(&key(number), 0, &[&payload(number, 800)]).unwrap())
        .collect();
    let logs = spool.logs().unwrap();
    assert_eq!(logs.len(), 100);
    assert!(logs.iter().filter(|log| log.in_use).count() <= 6);
    writer.sync().unwrap();
    // More than are kept open.
    for (number, at) in at.iter().enumerate() {
        let number = number as u64;
        assert_eq!(spool.read_frame(at, &key(number)).unwrap(), payload(number, 800));
    }
}
