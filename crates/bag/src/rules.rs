//! The rules of a bag, as a pure core: it is fed tag files, then the digests of every file that somebody
//! read, and says what is wrong. Validation and ingest both stand on it.
//!
//! ```
//! use strongroom_bag::rules::{Checker, Facts};
//! use strongroom_digest::{Algorithm, hash};
//!
//! let mut facts = Facts::new();
//! facts.feed(b"bagit.txt", &b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"[..])?;
//! let line = format!("{}  data/a\n", hash(Algorithm::Md5, b"hello"));
//! facts.feed(b"manifest-md5.txt", line.as_bytes())?;
//! facts.settle();
//!
//! let mut checker = Checker::new(&facts);
//! checker.feed(b"bagit.txt", 54, &[]);
//! checker.feed(b"data/a", 5, &[hash(Algorithm::Md5, b"hullo")]);
//! assert_eq!(checker.finish()[0].code, "digest-mismatch");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};

use strongroom_digest::{Algorithm, Digest, Set};

use crate::declaration::{self, DECLARATION_BYTES_MAX, Declaration, Version};
use crate::info::{self, Info};
use crate::manifest::{self, Kind};
use crate::path;
use crate::problem::{Problem, Problems};
use crate::text::Encoding;
use crate::{fetch, problem::Severity};

mod checker;
mod names;
pub use checker::Checker;
use names::Names;

/// Tag files that come before bagit.txt are held until it is read, up to so many bytes together.
pub const HELD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Manifests may name so many files together.
pub const NAMES_MAX: usize = 100_000_000;

/// What a file is in a bag, by its path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// bagit.txt.
    Declaration,
    /// bag-info.txt, or package-info.txt.
    Info,
    /// fetch.txt.
    Fetch,
    /// A manifest; `None` if its algorithm is unknown.
    Manifest(Kind, Option<Algorithm>),
    /// Any other file beside `data/`.
    Tag,
    /// A file under `data/`.
    Payload,
}

/// What the file at this path is.
pub fn role(path: &[u8]) -> Role {
    if path.starts_with(b"data/") {
        return Role::Payload;
    }
    if path == declaration::NAME.as_bytes() {
        return Role::Declaration;
    }
    if info::NAMES.iter().any(|name| path == name.as_bytes()) {
        return Role::Info;
    }
    if path == fetch::NAME.as_bytes() {
        return Role::Fetch;
    }
    match manifest::parse_name(path) {
        Some((kind, algorithm)) if !path.contains(&b'/') => Role::Manifest(kind, algorithm),
        _ => Role::Tag,
    }
}

/// Everything that a bag's tag files say.
#[derive(Default)]
pub struct Facts {
    declaration: Option<Declaration>,
    /// Labels and values of bag-info.txt (or package-info.txt).
    pub info: Info,
    /// Entries of fetch.txt.
    pub fetch: Vec<fetch::Entry>,
    /// Whether there is a fetch.txt, even an empty one.
    pub has_fetch: bool,
    /// Labels and values of further tag files, those that [`ask_for`](Facts::ask_for) named.
    pub tags: BTreeMap<Vec<u8>, Info>,
    /// Manifests, in the order in which they were fed.
    pub manifests: Vec<Manifest>,
    names: Names,
    held: Vec<(Vec<u8>, Vec<u8>)>,
    held_bytes: u64,
    asked_for: BTreeSet<Vec<u8>>,
    seen_declaration: bool,
    problems: Problems,
}

/// One manifest. Its entries are columns beside the names that all manifests share, so that a bag of a
/// million files in two manifests stays within memory.
pub struct Manifest {
    /// The name of its file.
    pub name: Vec<u8>,
    /// What it lists.
    pub kind: Kind,
    /// Its algorithm.
    pub algorithm: Algorithm,
    /// How many files it lists.
    pub entries: u64,
    /// By slot: the line, 0 where it does not list the name.
    lines: Vec<u32>,
    /// By slot: the bytes of the digest.
    digests: Vec<u8>,
}

impl Manifest {
    /// The line that lists a slot, and the digest there.
    fn at(&self, slot: u32) -> Option<(u32, &[u8])> {
        let slot = slot as usize;
        let line = self.lines.get(slot).copied().filter(|line| *line > 0)?;
        let size = self.algorithm.size();
        Some((line, &self.digests[slot * size..][..size]))
    }

    fn put(&mut self, slot: u32, line: u32, digest: &Digest) {
        let (slot, size) = (slot as usize, self.algorithm.size());
        if self.lines.len() <= slot {
            self.lines.resize(slot + 1, 0);
            self.digests.resize((slot + 1) * size, 0);
        }
        self.lines[slot] = line;
        self.digests[slot * size..][..size].copy_from_slice(digest.as_bytes());
        self.entries += 1;
    }
}

impl Facts {
    /// Nothing is known yet.
    pub fn new() -> Facts {
        Facts::default()
    }

    /// Also keeps the labels and values of this tag file, when it is fed (a profile has rules for it).
    pub fn ask_for(&mut self, path: &[u8]) {
        self.asked_for.insert(path.to_vec());
    }

    /// The tag files that were asked for.
    pub fn asked(&self) -> impl Iterator<Item = &[u8]> {
        self.asked_for.iter().map(Vec::as_slice)
    }

    /// Whether [`feed`](Facts::feed) has use for the bytes of this file.
    pub fn takes(&self, path: &[u8]) -> bool {
        match role(path) {
            Role::Payload => false,
            Role::Tag => self.asked_for.contains(path),
            _ => true,
        }
    }

    /// Takes one tag file. bagit.txt best comes first: what comes before it is held in memory.
    ///
    /// # Errors
    /// What the reader says.
    pub fn feed(&mut self, path: &[u8], input: impl Read) -> io::Result<()> {
        let role = role(path);
        if role == Role::Declaration {
            let mut bytes = Vec::new();
            input.take(DECLARATION_BYTES_MAX as u64 + 1).read_to_end(&mut bytes)?;
            let mut problems = Vec::new();
            self.declaration = Declaration::parse(&bytes, &mut problems);
            self.problems.extend(problems);
            self.seen_declaration = true;
            return self.feed_held();
        }
        if self.seen_declaration {
            return self.parse(role, path, input);
        }
        let mut bytes = Vec::new();
        let room = HELD_BYTES_MAX - self.held_bytes;
        input.take(room + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > room {
            let detail = format!("tag files before bagit.txt are over {HELD_BYTES_MAX} bytes");
            self.problems.push(Problem::error("tag-file-too-large", path, detail));
            return Ok(());
        }
        self.held_bytes += bytes.len() as u64;
        self.held.push((path.to_vec(), bytes));
        Ok(())
    }

    /// All tag files were fed. Without bagit.txt the others are read by 0.97's rules, so that more can be
    /// said of them.
    pub fn settle(&mut self) {
        if !self.seen_declaration {
            let problem = Problem::error("missing-declaration", declaration::NAME, "is missing");
            self.problems.push(problem);
            self.seen_declaration = true;
            self.feed_held().expect("reading from memory cannot fail");
        }
        if !self.manifests.iter().any(|m| m.kind == Kind::Payload) {
            self.problems.push(Problem::of_bag("missing-manifest", "there is no payload manifest"));
        }
        self.check_manifests();
        for entry in &self.fetch {
            if !self.is_listed(&entry.path) {
                let shown = path::show(&entry.path);
                let detail = format!("line {}: no manifest lists {shown}", entry.line);
                self.problems.push(Problem::error("fetch-not-listed", fetch::NAME, detail));
            }
        }
    }

    /// The version whose rules hold; 0.97 where bagit.txt does not tell.
    pub fn version(&self) -> Version {
        self.declared().version
    }

    /// What bagit.txt declares, if it could be read.
    pub fn declaration(&self) -> Option<Declaration> {
        self.declaration
    }

    /// All algorithms that any manifest needs.
    pub fn wanted(&self) -> Set {
        self.manifests.iter().map(|m| m.algorithm).collect()
    }

    /// The algorithms needed for the file at this path.
    pub fn wanted_for(&self, path: &[u8]) -> Set {
        let kind = if role(path) == Role::Payload { Kind::Payload } else { Kind::Tag };
        self.manifests.iter().filter(|m| m.kind == kind).map(|m| m.algorithm).collect()
    }

    /// How many names the manifests list, each counted once.
    pub fn names(&self) -> usize {
        self.names.len()
    }

    /// Whether any manifest lists this path.
    pub fn is_listed(&self, path: &[u8]) -> bool {
        self.names.slot(path).is_some()
    }

    /// The digests that manifests want for a path.
    pub fn expected(&self, path: &[u8]) -> Vec<Digest> {
        let Some(slot) = self.names.slot(path) else { return Vec::new() };
        self.manifests
            .iter()
            .filter_map(|m| Digest::from_bytes(m.algorithm, m.at(slot)?.1).ok())
            .collect()
    }

    /// What is wrong with the tag files themselves.
    pub fn problems(&self) -> &[Problem] {
        self.problems.as_slice()
    }

    fn declared(&self) -> Declaration {
        let unknown = Declaration { version: Version::V0_97, encoding: Encoding::Utf8 };
        self.declaration.unwrap_or(unknown)
    }

    fn feed_held(&mut self) -> io::Result<()> {
        for (path, bytes) in std::mem::take(&mut self.held) {
            self.parse(role(&path), &path, &bytes[..])?;
        }
        self.held_bytes = 0;
        Ok(())
    }

    fn parse(&mut self, role: Role, path: &[u8], input: impl Read) -> io::Result<()> {
        let declared = self.declared();
        let mut problems = Vec::new();
        match role {
            Role::Info => {
                let read = info::parse(input, declared.encoding, path, &mut problems)?;
                // Only before 0.96 was the file called package-info.txt; where both lie, each is read.
                self.tags.insert(path.to_vec(), read.clone());
                self.info.extend(read);
            }
            Role::Fetch => {
                self.has_fetch = true;
                self.fetch = fetch::parse(input, declared, &mut problems)?;
            }
            Role::Manifest(_, None) => {
                let detail = "the algorithm is not known here, so the bag cannot be checked by it";
                problems.push(Problem::error("unknown-algorithm", path, detail));
            }
            Role::Manifest(kind, Some(algorithm)) => {
                self.parse_manifest(path, kind, algorithm, input)?;
            }
            Role::Tag if self.asked_for.contains(path) => {
                let read = info::parse(input, declared.encoding, path, &mut problems)?;
                self.tags.insert(path.to_vec(), read);
            }
            Role::Tag | Role::Payload | Role::Declaration => {}
        }
        self.problems.extend(problems);
        Ok(())
    }

    fn parse_manifest(
        &mut self,
        name: &[u8],
        kind: Kind,
        algorithm: Algorithm,
        input: impl Read,
    ) -> io::Result<()> {
        let declared = self.declared();
        let mut reader = manifest::Reader::new(input, algorithm, declared);
        let mut manifest = Manifest {
            name: name.to_vec(),
            kind,
            algorithm,
            entries: 0,
            lines: Vec::new(),
            digests: Vec::new(),
        };
        let mut notes = Notes::default();
        for entry in &mut reader {
            let entry = match entry {
                Ok(entry) => entry,
                Err(manifest::Error::Io(error)) => return Err(error),
                Err(error) => {
                    let problem = Problem::error("bad-manifest-line", name, error.to_string());
                    self.problems.push(problem);
                    continue;
                }
            };
            notes.take(&entry);
            self.list(&mut manifest, entry);
        }
        let encoding = declared.encoding.name();
        notes.not_in_encoding |= reader.had_errors();
        notes.mark = reader.had_mark();
        notes.comments = reader.comments();
        self.problems.extend(notes.problems(name, encoding));
        self.manifests.push(manifest);
        Ok(())
    }

    /// Enters one line of a manifest.
    fn list(&mut self, manifest: &mut Manifest, entry: manifest::Entry) {
        let shown = || path::show(&entry.path);
        let strict = self.version() >= Version::V1_0;
        let mut error = |code, detail: String| {
            let detail = format!("line {}: {detail}", entry.line);
            self.problems.push(Problem::error(code, manifest.name.clone(), detail));
        };
        if let Err(reason) = path::check(&entry.path) {
            return error("unsafe-path", format!("{}: {reason}", shown()));
        }
        let payload = entry.path.starts_with(b"data/");
        if payload != (manifest.kind == Kind::Payload) {
            return if payload {
                error("payload-in-tag-manifest", format!("{} belongs to the payload", shown()))
            } else {
                error("outside-payload", format!("{} does not lie under data/", shown()))
            };
        }
        if self.names.len() >= NAMES_MAX {
            return error("too-many-names", format!("manifests name over {NAMES_MAX} files"));
        }
        let line = u32::try_from(entry.line).unwrap_or(u32::MAX);
        let known = self.names.slot(&entry.path);
        if let Some((first, digest)) = known.and_then(|slot| manifest.at(slot)) {
            let again = format!("{} stands in line {first} too", shown());
            if digest != entry.digest.as_bytes() {
                error("listed-twice", format!("{again}, with another digest"));
            } else if strict {
                error("listed-twice", format!("{again}, which 1.0 forbids"));
            } else {
                let detail = format!("line {}: {again}", entry.line);
                let problem = Problem::warning("listed-twice", manifest.name.clone(), detail);
                self.problems.push(problem);
            }
            return;
        }
        let slot = known.unwrap_or_else(|| self.names.add(&entry.path));
        manifest.put(slot, line, &entry.digest);
    }

    /// What holds between manifests.
    fn check_manifests(&mut self) {
        let strict = self.declared().version >= Version::V1_0;
        let mut found = Vec::new();
        let mut seen: BTreeMap<(Kind, Algorithm), &[u8]> = BTreeMap::new();
        for manifest in &self.manifests {
            if let Some(first) = seen.insert((manifest.kind, manifest.algorithm), &manifest.name) {
                let detail = format!("{} has the same algorithm", path::show(first));
                found.push(Problem::warning("manifest-twice", manifest.name.clone(), detail));
            }
            if manifest.kind != Kind::Tag {
                continue;
            }
            let lists =
                |name: &[u8]| self.names.slot(name).is_some_and(|slot| manifest.at(slot).is_some());
            // RFC 8493, 2.2.1: all payload manifests, and no tag manifest.
            for other in &self.manifests {
                let shown = path::show(&other.name);
                let (code, detail) = match other.kind {
                    Kind::Payload if strict && !lists(&other.name) => {
                        ("manifest-not-listed", format!("does not list {shown}"))
                    }
                    Kind::Tag if lists(&other.name) => {
                        ("tag-manifest-listed", format!("lists {shown}, a tag manifest"))
                    }
                    _ => continue,
                };
                let severity = if strict { Severity::Error } else { Severity::Warning };
                let problem = Problem::error(code, manifest.name.clone(), detail);
                found.push(Problem { severity, ..problem });
            }
        }
        self.problems.extend(found);
        for path::Twin { first, second } in path::twins(self.names.iter()) {
            let shown = path::show(&first);
            let detail = format!("differs from {shown} only in case or Unicode normal form");
            self.problems.push(Problem::warning("twin-names", second, detail));
        }
    }
}

/// Oddities of a manifest's lines, each told once, with the first line that has it.
#[derive(Default)]
struct Notes {
    dot_slash: Option<u64>,
    asterisk: Option<u64>,
    bare_percent: Option<u64>,
    system_file: Option<(u64, String)>,
    not_in_encoding: bool,
    mark: bool,
    comments: u64,
}

/// Files that operating systems leave behind.
const SYSTEM_FILES: [&[u8]; 3] = [b".DS_Store", b"Thumbs.db", b"desktop.ini"];

impl Notes {
    fn take(&mut self, entry: &manifest::Entry) {
        let first = |slot: &mut Option<u64>, met: bool| {
            if met && slot.is_none() {
                *slot = Some(entry.line);
            }
        };
        first(&mut self.dot_slash, entry.dot_slash);
        first(&mut self.asterisk, entry.asterisk);
        first(&mut self.bare_percent, entry.bare_percent);
        self.not_in_encoding |= std::str::from_utf8(&entry.path).is_err();
        let name = entry.path.rsplit(|&b| b == b'/').next().unwrap_or_default();
        if self.system_file.is_none() && SYSTEM_FILES.contains(&name) {
            self.system_file = Some((entry.line, path::show(&entry.path)));
        }
    }

    fn problems(self, name: &[u8], encoding: &str) -> Vec<Problem> {
        let mut found = Vec::new();
        let mut warn = |code, detail: String| found.push(Problem::warning(code, name, detail));
        if let Some(line) = self.dot_slash {
            warn("relative-path", format!("line {line}: the path begins with './'"));
        }
        if let Some(line) = self.asterisk {
            warn("md5sum-asterisk", format!("line {line}: md5sum's '*' stands before the path"));
        }
        if let Some(line) = self.bare_percent {
            let detail = format!("line {line}: a '%' that should be written %25 is taken as it is");
            warn("bare-percent", detail);
        }
        if let Some((line, path)) = self.system_file {
            warn("system-file", format!("line {line}: {path} is left by an operating system"));
        }
        if self.not_in_encoding {
            warn("not-in-encoding", format!("holds bytes that are not {encoding}"));
        }
        if self.mark {
            warn("byte-order-mark", "begins with a byte order mark".into());
        }
        if self.comments > 0 {
            warn("comment-lines", format!("{} lines begin with '#'; passed over", self.comments));
        }
        found
    }
}
