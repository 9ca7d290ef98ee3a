//! Reading profiles: the specification's JSON, and APTrust's.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Form, PROFILE_BYTES_MAX, Profile, Serialization, Tag};
use crate::Error;

pub(super) fn load(json: &[u8]) -> Result<Profile, Error> {
    let wrong = |reason: String| Error::Profile(reason);
    if json.len() > PROFILE_BYTES_MAX {
        return Err(wrong(format!("it is larger than {PROFILE_BYTES_MAX} bytes")));
    }
    let value: serde_json::Value =
        serde_json::from_slice(json).map_err(|error| wrong(error.to_string()))?;
    // The two forms share no key that they must have.
    if ["Bag-Info", "BagIt-Profile-Info"].iter().any(|key| value.get(key).is_some()) {
        let read: OfSpecification =
            serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        read.profile()
    } else if ["tags", "bagItProfileInfo"].iter().any(|key| value.get(key).is_some()) {
        let read: OfAptrust =
            serde_json::from_value(value).map_err(|error| wrong(error.to_string()))?;
        read.profile()
    } else {
        let reason = "expected 'BagIt-Profile-Info' (the specification's form) or \
                      'bagItProfileInfo' (APTrust's)";
        Err(wrong(reason.into()))
    }
}

#[derive(Deserialize)]
struct OfSpecification {
    #[serde(rename = "BagIt-Profile-Info", default)]
    about: About,
    #[serde(rename = "Bag-Info", default)]
    bag_info: BTreeMap<String, Label>,
    #[serde(rename = "Manifests-Required", default)]
    manifests_required: Vec<String>,
    #[serde(rename = "Manifests-Allowed")]
    manifests_allowed: Option<Vec<String>>,
    #[serde(rename = "Tag-Manifests-Required", default)]
    tag_manifests_required: Vec<String>,
    #[serde(rename = "Tag-Manifests-Allowed")]
    tag_manifests_allowed: Option<Vec<String>>,
    #[serde(rename = "Tag-Files-Required", default)]
    tag_files_required: Vec<String>,
    #[serde(rename = "Tag-Files-Allowed")]
    tag_files_allowed: Option<Vec<String>>,
    #[serde(rename = "Allow-Fetch.txt", default = "yes")]
    allow_fetch: bool,
    #[serde(rename = "Fetch.txt-Required", default)]
    require_fetch: bool,
    #[serde(rename = "Data-Empty", default)]
    data_empty: bool,
    #[serde(rename = "Serialization")]
    serialization: Option<String>,
    #[serde(rename = "Accept-Serialization", default)]
    accept_serialization: Vec<String>,
    #[serde(rename = "Accept-BagIt-Version", default)]
    accept_version: Vec<String>,
}

#[derive(Deserialize, Default)]
struct About {
    #[serde(rename = "BagIt-Profile-Identifier", default)]
    identifier: String,
    #[serde(rename = "External-Description", default)]
    description: String,
}

#[derive(Deserialize)]
struct Label {
    #[serde(default)]
    required: bool,
    #[serde(default)]
    values: Vec<String>,
    #[serde(default = "yes")]
    repeatable: bool,
}

fn yes() -> bool {
    true
}

impl OfSpecification {
    fn profile(self) -> Result<Profile, Error> {
        let tags = self.bag_info.into_iter().map(|(label, rule)| Tag {
            file: crate::info::NAMES[0].to_owned(),
            label,
            required: rule.required,
            empty_ok: false,
            repeatable: rule.repeatable,
            values: rule.values,
            default: None,
        });
        let names = [&self.about.description, &self.about.identifier];
        let name = names.into_iter().find(|name| !name.is_empty());
        Ok(Profile {
            form: Form::Specification,
            name: name.map_or_else(|| "profile".to_owned(), Clone::clone),
            identifier: self.about.identifier.clone(),
            versions: self.accept_version,
            serialization: serialization(self.serialization.as_deref())?,
            media_types: self.accept_serialization,
            manifests_required: algorithms(self.manifests_required),
            manifests_allowed: self.manifests_allowed.map(algorithms),
            tag_manifests_required: algorithms(self.tag_manifests_required),
            tag_manifests_allowed: self.tag_manifests_allowed.map(algorithms),
            tag_files_required: self.tag_files_required,
            tag_files_allowed: self.tag_files_allowed,
            allow_fetch: self.allow_fetch,
            require_fetch: self.require_fetch,
            data_empty: self.data_empty,
            tags: tags.collect(),
            tar_name_matches: false,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfAptrust {
    #[serde(default)]
    name: String,
    #[serde(rename = "bagItProfileInfo", default)]
    about: AptrustAbout,
    #[serde(rename = "acceptBagItVersion", default)]
    accept_version: Vec<String>,
    #[serde(default)]
    accept_serialization: Vec<String>,
    serialization: Option<String>,
    #[serde(default = "yes")]
    allow_fetch_txt: bool,
    #[serde(default)]
    tar_dir_must_match_name: bool,
    manifests_required: Option<Vec<String>>,
    manifests_allowed: Option<Vec<String>>,
    tag_manifests_required: Option<Vec<String>>,
    tag_manifests_allowed: Option<Vec<String>>,
    tag_files_required: Option<Vec<String>>,
    tag_files_allowed: Option<Vec<String>>,
    tags: Option<Vec<AptrustTag>>,
}

#[derive(Deserialize, Default)]
struct AptrustAbout {
    #[serde(rename = "bagItProfileIdentifier", default)]
    identifier: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AptrustTag {
    tag_file: String,
    tag_name: String,
    #[serde(default)]
    required: bool,
    // Both spellings are met; each may be null.
    empty_ok: Option<bool>,
    #[serde(rename = "emptyOK")]
    empty_ok_too: Option<bool>,
    values: Option<Vec<String>>,
    default_value: Option<String>,
}

impl OfAptrust {
    fn profile(self) -> Result<Profile, Error> {
        let tags = self.tags.unwrap_or_default().into_iter().map(|tag| Tag {
            // A default is for the program that makes bags, except where APTrust's ingest fills it in.
            default: tag.default_value.filter(|value| {
                !value.is_empty() && tag.tag_name.eq_ignore_ascii_case("Storage-Option")
            }),
            file: tag.tag_file,
            label: tag.tag_name,
            required: tag.required,
            empty_ok: tag.empty_ok.or(tag.empty_ok_too).unwrap_or(false),
            repeatable: true,
            values: tag.values.unwrap_or_default(),
        });
        // An empty list says nothing, as does a missing one; so does an empty pattern in it.
        let some = |list: Option<Vec<String>>| list.filter(|list| !list.is_empty());
        Ok(Profile {
            form: Form::Aptrust,
            name: if self.name.is_empty() { "profile".to_owned() } else { self.name },
            identifier: self.about.identifier,
            versions: self.accept_version,
            serialization: serialization(self.serialization.as_deref())?,
            media_types: self.accept_serialization,
            manifests_required: algorithms(self.manifests_required.unwrap_or_default()),
            manifests_allowed: some(self.manifests_allowed).map(algorithms),
            tag_manifests_required: algorithms(self.tag_manifests_required.unwrap_or_default()),
            tag_manifests_allowed: some(self.tag_manifests_allowed).map(algorithms),
            tag_files_required: self.tag_files_required.unwrap_or_default(),
            tag_files_allowed: some(self.tag_files_allowed),
            allow_fetch: self.allow_fetch_txt,
            require_fetch: false,
            data_empty: false,
            tags: tags.collect(),
            tar_name_matches: self.tar_dir_must_match_name,
        })
    }
}

fn serialization(word: Option<&str>) -> Result<Serialization, Error> {
    match word.unwrap_or("optional") {
        "forbidden" => Ok(Serialization::Forbidden),
        "required" => Ok(Serialization::Required),
        "optional" | "" => Ok(Serialization::Optional),
        other => Err(Error::Profile(format!(
            "Serialization: expected forbidden, required or optional, found '{other}'"
        ))),
    }
}

/// Names of algorithms in the form that manifests have.
fn algorithms(names: Vec<String>) -> Vec<String> {
    names.into_iter().map(|name| name.to_ascii_lowercase().replace('-', "")).collect()
}
