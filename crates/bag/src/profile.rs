//! BagIt profiles: what an institution asks of bags beyond the standard.
//!
//! Two forms of JSON are read: the BagIt Profiles specification's (1.1 to 1.4), and the one that APTrust's
//! programs use. The profiles of APTrust and of Beyond the Repository are known by name; they are stated
//! here anew, as rules only.

use std::fmt;

use crate::Error;
use crate::declaration;
use crate::info;
use crate::manifest::Kind;
use crate::path::show;
use crate::problem::Problem;
use crate::rules::Facts;
use crate::source::Container;

mod load;

/// A profile may be so many bytes of JSON.
pub const PROFILE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The form that a profile was written in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    /// The BagIt Profiles specification's.
    Specification,
    /// That of APTrust's programs.
    Aptrust,
}

/// Whether a bag travels as one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Serialization {
    /// It must be a folder.
    Forbidden,
    /// It must be a tar or the like.
    Required,
    /// It may be either.
    Optional,
}

/// A rule for one label of one tag file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tag {
    /// The file.
    pub file: String,
    /// The label.
    pub label: String,
    /// Whether it must be there.
    pub required: bool,
    /// Whether it may be there without a value.
    pub empty_ok: bool,
    /// Whether it may be there more than once.
    pub repeatable: bool,
    /// The values it may have; any, if there are none.
    pub values: Vec<String>,
    /// What is taken for it where it is missing.
    pub default: Option<String>,
}

/// A profile. [`Profile::load`] reads one, [`Profile::named`] knows some.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Profile {
    /// The form that it was written in.
    pub form: Form,
    /// What people call it.
    pub name: String,
    /// Its address, which a bag may name as BagIt-Profile-Identifier.
    pub identifier: String,
    /// The versions of BagIt that it takes; any, if there are none.
    pub versions: Vec<String>,
    /// Whether a bag travels as one file.
    pub serialization: Serialization,
    /// As what kinds of file, as media types; any, if there are none.
    pub media_types: Vec<String>,
    /// Algorithms of payload manifests that must be there.
    pub manifests_required: Vec<String>,
    /// Those that may; any, if it does not say.
    pub manifests_allowed: Option<Vec<String>>,
    /// Algorithms of tag manifests that must be there.
    pub tag_manifests_required: Vec<String>,
    /// Those that may; any, if it does not say.
    pub tag_manifests_allowed: Option<Vec<String>>,
    /// Tag files that must be there.
    pub tag_files_required: Vec<String>,
    /// Patterns of those that may; any, if it does not say.
    pub tag_files_allowed: Option<Vec<String>>,
    /// Whether fetch.txt may be there.
    pub allow_fetch: bool,
    /// Whether it must.
    pub require_fetch: bool,
    /// Whether the payload must be empty (at most one file, of no bytes).
    pub data_empty: bool,
    /// Rules for labels.
    pub tags: Vec<Tag>,
    /// Whether the folder in a tar must have the tar's name.
    pub tar_name_matches: bool,
}

/// What a profile is held against.
pub struct Seen<'a> {
    /// What the tag files say; settled.
    pub facts: &'a Facts,
    /// What holds the bag.
    pub container: Container,
    /// The bag's folder in a tar, with its slash; empty if it has none.
    pub base: &'a [u8],
    /// The name of the folder or the tar.
    pub file_name: Option<&'a [u8]>,
    /// The paths of all files outside `data/`.
    pub tag_files: &'a [Vec<u8>],
}

impl Profile {
    /// Reads a profile in either form.
    ///
    /// # Errors
    /// If it is no JSON, too large, or in neither form.
    pub fn load(json: &[u8]) -> Result<Profile, Error> {
        load::load(json)
    }

    /// The names that [`named`](Profile::named) knows.
    pub const NAMES: [&str; 5] = ["aptrust", "aptrust-2.2", "aptrust-2.3", "btr", "btr-1.0"];

    /// A profile that is known by name; `None` for another name.
    pub fn named(name: &str) -> Option<Profile> {
        let json: &str = match name.to_ascii_lowercase().as_str() {
            "aptrust" | "aptrust-2.3" => include_str!("../profiles/aptrust-2.3.json"),
            "aptrust-2.2" => include_str!("../profiles/aptrust-2.2.json"),
            "btr" | "btr-1.0" => include_str!("../profiles/btr-1.0.json"),
            _ => return None,
        };
        Some(load::load(json.as_bytes()).expect("a profile of ours is well formed"))
    }

    /// The tag files whose labels it has rules for.
    pub fn tag_files(&self) -> Vec<String> {
        let mut files: Vec<String> = self.tags.iter().map(|tag| tag.file.clone()).collect();
        files.sort();
        files.dedup();
        files
    }

    /// Holds a bag against it. Codes begin with `profile-`.
    pub fn check(&self, seen: &Seen<'_>) -> Vec<Problem> {
        let mut found = Vec::new();
        self.check_shape(seen, &mut found);
        self.check_manifests(seen, &mut found);
        self.check_tag_files(seen, &mut found);
        self.check_fetch_and_payload(seen, &mut found);
        for tag in &self.tags {
            self.check_tag(tag, seen, &mut found);
        }
        found
    }

    /// A problem of the bag as a whole.
    fn wrong(&self, code: &'static str, detail: fmt::Arguments<'_>) -> Problem {
        Problem::of_bag(code, format!("{}: {detail}", self.name))
    }

    fn check_shape(&self, seen: &Seen<'_>, found: &mut Vec<Problem>) {
        let version = seen.facts.version().to_string();
        if !self.versions.is_empty() && !self.versions.contains(&version) {
            let expected = self.versions.join(", ");
            let detail = format_args!("expected BagIt version {expected}, found {version}");
            found.push(self.wrong("profile-version", detail));
        }
        let code = "profile-serialization";
        let types = seen.container.media_types();
        match (self.serialization, seen.container) {
            (Serialization::Required, Container::Folder) => {
                let detail = format_args!("expected a serialized bag, found a folder");
                found.push(self.wrong(code, detail));
            }
            (Serialization::Forbidden, Container::Folder) | (_, Container::Folder) => {}
            (Serialization::Forbidden, _) => {
                let detail = format_args!("expected a folder, found a serialized bag");
                found.push(self.wrong(code, detail));
            }
            _ if !self.media_types.is_empty()
                && !self.media_types.iter().any(|known| types.contains(&known.as_str())) =>
            {
                let expected = self.media_types.join(", ");
                let detail = format_args!("expected one of {expected}, found {}", types[0]);
                found.push(self.wrong(code, detail));
            }
            _ => {}
        }
        if self.tar_name_matches && seen.container != Container::Folder {
            let stem = seen.file_name.map(stem).unwrap_or_default();
            let base = seen.base.strip_suffix(b"/").unwrap_or(seen.base);
            if stem != base {
                let (stem, base) = (show(stem), show(base));
                let detail =
                    format_args!("expected the folder '{stem}' in the tar, found '{base}'");
                found.push(self.wrong("profile-tar-name", detail));
            }
        }
    }

    fn check_manifests(&self, seen: &Seen<'_>, found: &mut Vec<Problem>) {
        let rules = [
            (Kind::Payload, "manifest", &self.manifests_required, &self.manifests_allowed),
            (Kind::Tag, "tagmanifest", &self.tag_manifests_required, &self.tag_manifests_allowed),
        ];
        for (kind, word, required, allowed) in rules {
            let manifests = seen.facts.manifests.iter().filter(|m| m.kind == kind);
            let there: Vec<&str> = manifests.map(|m| m.algorithm.name()).collect();
            for algorithm in required.iter().filter(|a| !there.contains(&a.as_str())) {
                let detail = format_args!("{word}-{algorithm}.txt is required");
                found.push(self.wrong("profile-manifest-missing", detail));
            }
            let Some(allowed) = allowed else { continue };
            for algorithm in there.iter().filter(|a| !allowed.iter().any(|known| known == *a)) {
                let detail = format_args!("{word}-{algorithm}.txt is not allowed");
                found.push(self.wrong("profile-manifest-not-allowed", detail));
            }
        }
    }

    fn check_tag_files(&self, seen: &Seen<'_>, found: &mut Vec<Problem>) {
        for required in &self.tag_files_required {
            if !seen.tag_files.iter().any(|file| file == required.as_bytes()) {
                let detail = format_args!("the tag file {required} is required");
                found.push(self.wrong("profile-tag-file-missing", detail));
            }
        }
        let Some(allowed) = &self.tag_files_allowed else { return };
        let own = |file: &[u8]| {
            file == declaration::NAME.as_bytes()
                || info::NAMES.iter().any(|name| file == name.as_bytes())
                || file == crate::fetch::NAME.as_bytes()
                || crate::manifest::parse_name(file).is_some()
                || self.tag_files_required.iter().any(|required| required.as_bytes() == file)
        };
        for file in seen.tag_files.iter().filter(|file| !own(file)) {
            if !allowed.iter().any(|pattern| matches(pattern.as_bytes(), file)) {
                let detail = format_args!("the tag file {} is not allowed", show(file));
                found.push(self.wrong("profile-tag-file-not-allowed", detail));
            }
        }
    }

    fn check_fetch_and_payload(&self, seen: &Seen<'_>, found: &mut Vec<Problem>) {
        if seen.facts.has_fetch && !self.allow_fetch {
            found.push(self.wrong("profile-fetch", format_args!("fetch.txt is not allowed")));
        }
        if !seen.facts.has_fetch && self.require_fetch {
            found.push(self.wrong("profile-fetch", format_args!("fetch.txt is required")));
        }
        if self.data_empty {
            let payload = seen.facts.manifests.iter().filter(|m| m.kind == Kind::Payload);
            if payload.map(|m| m.entries).max().unwrap_or(0) > 1 {
                let detail = format_args!("the payload must be empty");
                found.push(self.wrong("profile-data-empty", detail));
            }
        }
    }

    fn check_tag(&self, tag: &Tag, seen: &Seen<'_>, found: &mut Vec<Problem>) {
        let values = values(tag, seen.facts);
        let mut error = |code, detail: String| {
            let detail = format!("{}: {}: {detail}", self.name, tag.label);
            found.push(Problem::error(code, tag.file.as_bytes(), detail));
        };
        if values.is_empty() && tag.required {
            match &tag.default {
                Some(default) => {
                    let detail = format!("{}: {} is taken for '{default}'", self.name, tag.label);
                    found.push(Problem::warning("profile-default", tag.file.as_bytes(), detail));
                }
                None => error("profile-tag-missing", "is required".into()),
            }
            return;
        }
        if values.len() > 1 && !tag.repeatable {
            error("profile-tag-repeated", format!("stands there {} times", values.len()));
        }
        for value in &values {
            let same = |known: &String| match self.form {
                Form::Specification => known == value,
                Form::Aptrust => known.eq_ignore_ascii_case(value),
            };
            if value.is_empty() {
                if tag.required && !tag.empty_ok {
                    error("profile-tag-empty", "has no value".into());
                }
            } else if !tag.values.is_empty() && !tag.values.iter().any(same) {
                let expected = tag.values.join(", ");
                error("profile-tag-value", format!("expected one of {expected}, found '{value}'"));
            }
        }
    }
}

/// The values that a bag has for a tag.
fn values(tag: &Tag, facts: &Facts) -> Vec<String> {
    if tag.file == declaration::NAME {
        let Some(declared) = facts.declaration() else { return Vec::new() };
        return match tag.label.as_str() {
            "BagIt-Version" => vec![declared.version.to_string()],
            "Tag-File-Character-Encoding" => vec![declared.encoding.name().to_owned()],
            _ => Vec::new(),
        };
    }
    let info = match facts.tags.get(tag.file.as_bytes()) {
        Some(info) => info,
        None if tag.file == info::NAMES[0] => &facts.info,
        None => return Vec::new(),
    };
    info::values(info, &tag.label).map(str::to_owned).collect()
}

/// A file name without the ending of its container.
fn stem(name: &[u8]) -> &[u8] {
    let endings: [&[u8]; 6] = [b".tar.gz", b".tar.zst", b".tgz", b".tzst", b".tar", b".gz"];
    endings.iter().find_map(|ending| name.strip_suffix(*ending)).unwrap_or(name)
}

/// Whether a pattern with `*` and `?` matches all of a name; both match slashes too.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    // Where to go on if what follows the last star turns out not to match.
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    n = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("*", "a/b.txt", true),
            ("*.txt", "a/b.txt", true),
            ("a?c", "abc", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b", "a", false),
            ("", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn known_profiles_can_be_had_by_name() {
        for name in Profile::NAMES {
            assert!(Profile::named(name).is_some(), "{name}");
        }
        let aptrust = Profile::named("APTrust").unwrap();
        assert_eq!(aptrust.form, Form::Aptrust);
        assert_eq!(aptrust.tag_files(), ["aptrust-info.txt", "bag-info.txt", "bagit.txt"]);
        assert_eq!(Profile::named("btr").unwrap().form, Form::Specification);
        assert!(Profile::named("other").is_none());
    }

    fn facts(files: &[(&str, &str)]) -> Facts {
        let mut facts = Facts::new();
        facts.ask_for(b"aptrust-info.txt");
        for (name, text) in files {
            facts.feed(name.as_bytes(), text.as_bytes()).unwrap();
        }
        facts.settle();
        facts
    }

    fn codes(
        profile: &Profile,
        facts: &Facts,
        container: Container,
        base: &[u8],
    ) -> Vec<&'static str> {
        let file_name = Some(&b"b.tar"[..]);
        let seen = Seen { facts, container, base, file_name, tag_files: &[] };
        profile.check(&seen).iter().map(|problem| problem.code).collect()
    }

    const BAGIT: (&str, &str) =
        ("bagit.txt", "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n");

    #[test]
    fn aptrust_wants_a_tar_md5_and_its_own_labels() {
        let profile = Profile::named("aptrust").unwrap();
        let info = "Title: t\nAccess: institution\n";
        let good = facts(&[BAGIT, ("manifest-md5.txt", ""), ("aptrust-info.txt", info)]);
        assert_eq!(codes(&profile, &good, Container::Tar, b"b/"), ["profile-default"]);
        let on_disk = codes(&profile, &good, Container::Folder, b"");
        assert_eq!(on_disk, ["profile-serialization", "profile-default"]);
        assert_eq!(codes(&profile, &good, Container::Tar, b"c/")[0], "profile-tar-name");
        let info = "Title:\nAccess: anybody\nStorage-Option: Moon\n";
        let bad = facts(&[
            BAGIT,
            ("manifest-sha384.txt", ""),
            ("fetch.txt", ""),
            ("aptrust-info.txt", info),
        ]);
        let expected = [
            "profile-manifest-missing",
            "profile-manifest-not-allowed",
            "profile-fetch",
            "profile-tag-empty",
            "profile-tag-value",
            "profile-tag-value",
        ];
        assert_eq!(codes(&profile, &bad, Container::Tar, b"b/"), expected);
    }

    #[test]
    fn the_specifications_form_is_read_whole() {
        let json = br#"{
            "BagIt-Profile-Info": {"BagIt-Profile-Identifier": "http://p", "External-Description": "P"},
            "Bag-Info": {
                "A": {"required": true, "values": ["1", "2"], "repeatable": false},
                "B": {"required": false}
            },
            "Manifests-Required": ["sha256"], "Tag-Manifests-Required": ["sha256"],
            "Tag-Files-Required": ["x.txt"], "Tag-Files-Allowed": ["y*"],
            "Allow-Fetch.txt": false, "Serialization": "forbidden", "Accept-BagIt-Version": ["0.97"]
        }"#;
        let profile = Profile::load(json).unwrap();
        assert_eq!(profile.form, Form::Specification);
        let facts = facts(&[BAGIT, ("manifest-md5.txt", ""), ("bag-info.txt", "A: 1\na: 3\n")]);
        let tag_files = [b"z.txt".to_vec(), b"yes".to_vec(), b"bagit.txt".to_vec()];
        let file_name = None;
        let container = Container::TarGz;
        let seen = Seen { facts: &facts, container, base: b"", file_name, tag_files: &tag_files };
        let found: Vec<_> = profile.check(&seen).iter().map(|p| p.code).collect();
        let expected = [
            "profile-version",
            "profile-serialization",
            "profile-manifest-missing",
            "profile-manifest-missing",
            "profile-tag-file-missing",
            "profile-tag-file-not-allowed",
            "profile-tag-repeated",
            "profile-tag-value",
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let wrong: [&[u8]; 5] = [b"", b"[]", b"{}", b"{\"Bag-Info\": 3}", b"{\"tags\": [{}]}"];
        for json in wrong {
            assert!(Profile::load(json).is_err(), "{}", show(json));
        }
    }
}
