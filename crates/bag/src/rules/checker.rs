//! The second half of the rules: every file that is there, against what the tag files say.

use std::collections::HashSet;

use strongroom_digest::Digest;

use super::{Facts, Role, role};
use crate::declaration::Version;
use crate::info::{self, Oxum};
use crate::manifest::Kind;
use crate::path;
use crate::problem::{Problem, Problems};

/// So many files that no manifest lists are remembered, to notice one that comes twice.
pub(crate) const STRANGERS_MAX: usize = 1_000_000;

/// Compares the files of a bag with what its tag files say of them.
pub struct Checker<'a> {
    facts: &'a Facts,
    seen: Vec<bool>,
    strangers: HashSet<Box<[u8]>>,
    payload: Oxum,
    payload_folder: bool,
    names_only: bool,
    problems: Problems,
}

impl<'a> Checker<'a> {
    /// Begins with facts that are settled.
    pub fn new(facts: &'a Facts) -> Self {
        Checker {
            facts,
            seen: vec![false; facts.names.len()],
            strangers: HashSet::new(),
            payload: Oxum::default(),
            payload_folder: false,
            names_only: false,
            problems: facts.problems.clone(),
        }
    }

    /// Compares names and Payload-Oxum only; digests are not asked for.
    pub fn names_only(mut self) -> Self {
        self.names_only = true;
        self
    }

    /// A file is there, of this size, with at least the digests that
    /// [`wanted_for`](Facts::wanted_for) names. Links to files are fed with their target's.
    pub fn feed(&mut self, path: &[u8], size: u64, digests: &[Digest]) {
        let payload = role(path) == Role::Payload;
        if payload {
            self.payload_folder = true;
            self.payload.files += 1;
            self.payload.bytes = self.payload.bytes.saturating_add(size);
        }
        let facts = self.facts;
        let Some(slot) = facts.names.slot(path) else {
            return self.stranger(path, payload);
        };
        if std::mem::replace(&mut self.seen[slot as usize], true) {
            let problem = Problem::error("path-twice", path, "is there twice");
            self.problems.push(problem);
        }
        let kind = if payload { Kind::Payload } else { Kind::Tag };
        for manifest in facts.manifests.iter().filter(|m| m.kind == kind) {
            let name = path::show(&manifest.name);
            let Some((line, expected)) = manifest.at(slot) else {
                if payload {
                    self.not_in_every_manifest(path, &name);
                }
                continue;
            };
            let algorithm = manifest.algorithm;
            let found = digests.iter().find(|digest| digest.algorithm() == algorithm);
            match found {
                _ if self.names_only => {}
                Some(found) if found.as_bytes() == expected => {}
                Some(found) => {
                    let shown = match Digest::from_bytes(algorithm, expected) {
                        Ok(expected) => expected.to_string(),
                        Err(_) => String::new(),
                    };
                    let detail = format!(
                        "{algorithm}: expected {shown} ({name}, line {line}), found {found}"
                    );
                    self.problems.push(Problem::error("digest-mismatch", path, detail));
                }
                None => {
                    let detail = format!("its {algorithm} was not computed ({name}, line {line})");
                    self.problems.push(Problem::error("digest-not-computed", path, detail));
                }
            }
        }
    }

    /// A file is there, but its bytes could not be had; why is told by a [`note`](Checker::note).
    pub fn present(&mut self, path: &[u8]) {
        self.payload_folder |= role(path) == Role::Payload;
        if let Some(slot) = self.facts.names.slot(path) {
            self.seen[slot as usize] = true;
        }
    }

    /// A folder is there.
    pub fn folder(&mut self, path: &[u8]) {
        self.payload_folder |= path == b"data" || path.starts_with(b"data/");
    }

    /// Something that the caller noticed.
    pub fn note(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Whether the bag is invalid already.
    pub fn has_errors(&self) -> bool {
        self.problems.has_errors()
    }

    /// Files and bytes of the payload so far.
    pub fn payload(&self) -> Oxum {
        self.payload
    }

    /// All files were fed. Says everything that is wrong, what the tag files had to say included.
    pub fn finish(mut self) -> Vec<Problem> {
        self.find_missing();
        if !self.payload_folder {
            let detail = "the payload folder data/ is missing";
            self.problems.push(Problem::of_bag("missing-payload-folder", detail));
        }
        self.check_oxum();
        self.problems.into_vec()
    }

    /// Stops before all files were fed: what is missing or counted is not told.
    pub fn finish_early(self) -> Vec<Problem> {
        self.problems.into_vec()
    }

    fn stranger(&mut self, path: &[u8], payload: bool) {
        if self.strangers.contains(path) {
            let problem = Problem::error("path-twice", path, "is there twice");
            return self.problems.push(problem);
        }
        if self.strangers.len() < STRANGERS_MAX {
            self.strangers.insert(path.into());
        }
        if payload {
            let detail = "is in the payload, and no manifest lists it";
            self.problems.push(Problem::error("not-in-manifest", path, detail));
        }
    }

    /// Version 1.0 wants each payload file in each payload manifest; before, one was enough.
    fn not_in_every_manifest(&mut self, path: &[u8], name: &str) {
        let detail = format!("{name} does not list it, another manifest does");
        let code = "not-in-every-manifest";
        self.problems.push(if self.facts.version() >= Version::V1_0 {
            Problem::error(code, path, detail)
        } else {
            Problem::warning(code, path, detail)
        });
    }

    fn find_missing(&mut self) {
        for (name, slot) in self.facts.names.iter().zip(0..) {
            if self.seen[slot as usize] {
                continue;
            }
            let mut listed = self.facts.manifests.iter().filter_map(|manifest| {
                let (line, _) = manifest.at(slot)?;
                Some(format!("{}, line {line}", path::show(&manifest.name)))
            });
            let by = listed.next().unwrap_or_default();
            let mut detail = format!("is missing (listed in {by})");
            if let Some(entry) = self.facts.fetch.iter().find(|e| e.path == name) {
                detail.push_str(&format!("; fetch.txt says that it lies at {}", entry.url));
            }
            self.problems.push(Problem::error("missing-file", name.to_vec(), detail));
        }
    }

    fn check_oxum(&mut self) {
        let mut count = 0;
        for written in info::values(&self.facts.info, info::OXUM) {
            count += 1;
            let file = info::NAMES[0];
            match Oxum::parse(written) {
                None => {
                    let detail = format!("Payload-Oxum: expected bytes.files, found '{written}'");
                    self.problems.push(Problem::error("bad-oxum", file, detail));
                }
                Some(expected) if expected != self.payload => {
                    let found = self.payload;
                    let detail = format!("Payload-Oxum: expected {expected}, found {found}");
                    self.problems.push(Problem::error("oxum-mismatch", file, detail));
                }
                Some(_) => {}
            }
        }
        if count > 1 {
            let detail = "Payload-Oxum stands there more than once";
            self.problems.push(Problem::warning("repeated-oxum", info::NAMES[0], detail));
        }
    }
}
