//! `demo`: the whole main job on real files, in a throw-away archive. Each step is the command that
//! a person would type, run by this same program, so what is shown is what is had.

use super::{Context, damage, number};
use crate::errors::{Answer, Failure};
use crate::output;
use clap::Args;
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use strongroom_bag::tree::{Kind, Walk};
use strongroom_digest::{Algorithm, Hasher};

#[derive(Args)]
pub(crate) struct Demo {
    /// A folder of yours; it is only read [default: this project's docs]
    path: Option<PathBuf>,
    /// Keep the archive, to look at it
    #[arg(long)]
    keep: bool,
}

/// Name of the demo's object.
const OBJECT: &str = "demo";

pub(crate) fn run(cx: &Context, args: Demo) -> Result<Answer, Failure> {
    let place = tempfile::Builder::new()
        .prefix("strongroom-demo-")
        .tempdir()
        .map_err(|e| Failure::io("a folder for the demo", &e))?;
    let source = match args.path {
        Some(path) => std::fs::canonicalize(&path).map_err(|e| Failure::io(path.display(), &e))?,
        None => default_source(place.path())?,
    };
    if !source.is_dir() {
        return Err(Failure::usage(format_args!("{} is no folder", source.display())));
    }
    let demo = Steps {
        program: std::env::current_exe().map_err(|e| Failure::io("this program's path", &e))?,
        data: place.path().join("archive"),
    };
    let result = demo.all(&source, place.path());
    let kept = args.keep.then(|| place.keep());
    if let Some(kept) = &kept {
        eprintln!("The archive is kept: --data {}", kept.join("archive").display());
    }
    let summary = result?;
    let json = serde_json::json!({
        "held": true,
        "source": source.to_string_lossy(),
        "files": summary.files,
        "bytes": summary.bytes,
        "damage": summary.damage,
        "repaired": summary.repaired,
        "archive": kept.map(|kept| kept.join("archive").to_string_lossy().into_owned()),
    });
    let line = format!(
        "\nIt all held: {}, {}, came back bit for bit after damage in {} places.",
        output::count(summary.files, "file"),
        output::bytes(summary.bytes),
        summary.damage,
    );
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

struct Summary {
    files: u64,
    bytes: u64,
    damage: usize,
    repaired: u64,
}

struct Steps {
    program: PathBuf,
    data: PathBuf,
}

impl Steps {
    fn all(&self, source: &Path, place: &Path) -> Result<Summary, Failure> {
        say("1. A folder is taken in: hashed, sealed, and kept twice, on the shelves a and b.");
        let deposit = self.step(&[&"deposit", &source, &"--object", &OBJECT], &[0])?;
        let report = &deposit[0]["report"];
        tell(&format!(
            "{}, {}; on shelves {}",
            output::count(number(report, "files"), "file"),
            output::bytes(number(report, "bytes")),
            output::bytes(number(report, "stored_bytes"))
        ));

        say("2. What was stored, and where.");
        let shown = self.step(&[&"object", &"show", &OBJECT], &[0])?;
        for segment in shown["segments"].as_array().into_iter().flatten() {
            let shelves: Vec<_> = (segment["shards"].as_array().into_iter().flatten())
                .filter_map(|shard| shard["shelf"].as_str())
                .collect();
            tell(&format!(
                "segment {} ({}, {}): {} on shelves {}",
                output::short(segment["id"].as_str().unwrap_or_default()),
                segment["kind"].as_str().unwrap_or_default(),
                segment["coding"].as_str().unwrap_or_default(),
                output::bytes(number(segment, "bytes")),
                shelves.join(" and ")
            ));
        }

        say("3. Shelf b is damaged on purpose. (Shelf a is left alone: two copies bear one loss.)");
        let shelves = self.step(&[&"shelf", &"list"], &[0])?;
        let shelf = (shelves.as_array().into_iter().flatten())
            .find(|shelf| shelf["name"] == "b")
            .and_then(|shelf| shelf["location"].as_str())
            .ok_or_else(|| Failure::internal("the demo's archive has no shelf b"))?;
        let done = damage::harm(&Path::new(shelf).join("logs"))?;
        done.told.iter().for_each(|line| tell(line));
        hold(!done.told.is_empty(), "something could be damaged")?;

        say("4. Fixity reads every shard and finds it.");
        let found = self.step(&[&"fixity"], &[1])?;
        tell(&counts(&found));
        hold(number(&found, "damaged") + number(&found, "missing") > 0, "the damage was found")?;

        say("5. Repair makes the lost shards anew from the good ones. It needs no key.");
        let repaired = self.step(&[&"repair"], &[0])?;
        let remade = number(&repaired, "repaired");
        tell(&format!("{} made anew", output::count(remade, "shard")));

        say("6. Fixity again: all is well.");
        tell(&counts(&self.step(&[&"fixity"], &[0])?));

        say("7. The object comes back, as a bag that any BagIt tool can read.");
        let bag = place.join("as-bag");
        self.step(&[&"restore", &OBJECT, &"--to", &bag], &[0])?;
        let checked = self.step(&[&"bag", &"validate", &bag, &"--all-errors"], &[0])?;
        tell(&format!("the bag is {}", checked[0]["verdict"].as_str().unwrap_or("?")));

        say("8. And as the files that they were. Every digest is compared with the source.");
        let files = place.join("as-files");
        self.step(&[&"restore", &OBJECT, &"--as", &"files", &"--to", &files], &[0])?;
        let (files, bytes) = compare(source, &files)?;
        tell(&format!("{} are the same, {}", output::count(files, "file"), output::bytes(bytes)));

        say("9. Each event is chained to the one before; the chain is computed anew.");
        let chain = self.step(&[&"object", &"events", &OBJECT, &"--verify"], &[0])?;
        hold(chain["holds"] == true, "the chain of events holds")?;
        tell(&format!("{} hold", output::count(number(&chain, "events"), "event")));
        Ok(Summary { files, bytes, damage: done.told.len(), repaired: remade })
    }

    /// Runs one command of this program as a person would, and reads its JSON.
    fn step(&self, args: &[&dyn AsRef<OsStr>], expected: &[i32]) -> Result<Value, Failure> {
        let args: Vec<_> = args.iter().map(|arg| (*arg).as_ref()).collect();
        let typed: Vec<_> = args.iter().map(|arg| arg.to_string_lossy()).collect();
        let command = typed.join(" ");
        say(&format!("   $ strongroom --data {} {command}", self.data.display()));
        let done = Command::new(&self.program)
            .arg("--data")
            .arg(&self.data)
            .arg("--json")
            .args(args)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| Failure::io("this program", &e))?;
        let code = done.status.code().unwrap_or(-1);
        hold(expected.contains(&code), &format!("`{command}` ends with {expected:?}, not {code}"))?;
        serde_json::from_slice(&done.stdout)
            .map_err(|e| Failure::internal(format_args!("`{command}` printed no JSON: {e}")))
    }
}

/// This project's docs where they are there, else a small tree that is made.
fn default_source(place: &Path) -> Result<PathBuf, Failure> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    if let Ok(docs) = docs.canonicalize()
        && docs.is_dir()
    {
        return Ok(docs);
    }
    let letters = place.join("letters");
    let make = || {
        std::fs::create_dir_all(letters.join("1914"))?;
        for month in ["june", "july", "august"] {
            let text = format!("A letter of {month} 1914.\n").repeat(4000);
            std::fs::write(letters.join("1914").join(format!("{month}.txt")), text)?;
        }
        std::fs::write(letters.join("about.txt"), "Letters, for the demo.\n")
    };
    make().map_err(|e| Failure::io(letters.display(), &e))?;
    Ok(letters)
}

/// Compares all that is in two folders: paths, kinds, modes, links' targets, bytes by SHA-256. Gives
/// files and bytes.
fn compare(source: &Path, restored: &Path) -> Result<(u64, u64), Failure> {
    let (here, there) = (gather(source)?, gather(restored)?);
    for (path, entry) in &here {
        let shown = strongroom_bag::path::show(path);
        hold(there.get(path) == Some(entry), &format!("{shown} came back as it was"))?;
    }
    hold(here.len() == there.len(), "nothing came back that was not there")?;
    let files = here.values().filter_map(|(_, _, file)| file.as_ref());
    Ok(files.fold((0, 0), |(files, bytes), (size, _)| (files + 1, bytes + size)))
}

/// What is compared of an entry: kind and target, mode, and of a file size and SHA-256.
type Seen = (Kind, u32, Option<(u64, String)>);

fn gather(root: &Path) -> Result<BTreeMap<Vec<u8>, Seen>, Failure> {
    let mut all = BTreeMap::new();
    for entry in Walk::new(root).map_err(|e| Failure::io(root.display(), &e))? {
        let entry = entry?;
        let path = root.join(OsStr::from_bytes(&entry.path));
        let file = match entry.kind {
            // That a folder is there is said by what is in it.
            Kind::Folder => continue,
            Kind::File => Some((entry.size, sha256(&path)?)),
            _ => None,
        };
        all.insert(entry.path, (entry.kind, entry.mode, file));
    }
    Ok(all)
}

fn sha256(path: &Path) -> Result<String, Failure> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut read = || {
        let mut file = std::fs::File::open(path)?;
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(()),
                n => hasher.update(&buffer[..n]),
            }
        }
    };
    read().map_err(|e: std::io::Error| Failure::io(path.display(), &e))?;
    Ok(hasher.finish().to_string())
}

fn counts(report: &Value) -> String {
    format!(
        "{} checked: {} damaged, {} missing",
        output::count(number(report, "checked"), "shard"),
        number(report, "damaged"),
        number(report, "missing")
    )
}

fn hold(holds: bool, what: &str) -> Result<(), Failure> {
    match holds {
        true => Ok(()),
        false => Err(Failure::did_not_hold(what)),
    }
}

fn say(line: &str) {
    eprintln!("{line}");
}

fn tell(line: &str) {
    eprintln!("   {line}");
}
