//! `bag`: BagIt bags, with no archive at hand.

use super::Context;
use crate::errors::{Answer, Failure};
use crate::output;
use crate::progress::Line;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use strongroom_bag::profile::Profile;
use strongroom_bag::{Problem, Severity, create, validate};
use strongroom_digest::Algorithm;
use strongroom_record::json::put_bytes;

#[derive(Subcommand)]
pub(crate) enum Bag {
    /// Make a bag of a folder: in place, or into a tar
    Create(Create),
    /// Say whether bags are valid: exit 0 valid, 1 invalid, 3 could not tell
    Validate(Validate),
}

#[derive(Args)]
pub(crate) struct Create {
    /// The folder
    path: PathBuf,
    /// Leave the folder as it is, and write the bag into this tar
    #[arg(long, value_name = "FILE.tar")]
    tar: Option<PathBuf>,
    /// Algorithms of the manifests: md5, sha1, sha224, sha256, sha384, sha512
    #[arg(long, value_name = "NAME", value_delimiter = ',', default_value = "sha256", value_parser = algorithm)]
    algorithm: Vec<Algorithm>,
    /// A line of bag-info.txt; may be given several times
    #[arg(long, value_name = "LABEL:VALUE", value_parser = info)]
    info: Vec<(String, String)>,
}

#[derive(Args)]
pub(crate) struct Validate {
    /// Bags: folders, .tar, .tar.gz, .tar.zst
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also hold them against a BagIt profile: a JSON file, or a name such as aptrust or btr
    #[arg(long, value_name = "FILE")]
    profile: Option<String>,
    /// Report every problem, not only the first
    #[arg(long)]
    all_errors: bool,
    /// Compare names and Payload-Oxum only, and read no payload
    #[arg(long)]
    quick: bool,
}

/// A profile is never longer, in bytes.
const PROFILE_BYTES_MAX: u64 = 1 << 20;

pub(crate) fn run(cx: &Context, args: Bag) -> Result<Answer, Failure> {
    match args {
        Bag::Create(args) => make(cx, &args),
        Bag::Validate(args) => check(cx, &args),
    }
}

fn make(cx: &Context, args: &Create) -> Result<Answer, Failure> {
    let options = create::Options {
        algorithms: args.algorithm.clone(),
        info: args.info.clone(),
        ..Default::default()
    };
    let line = Line::new();
    line.title(format!("bag {}", args.path.display()));
    let made = match &args.tar {
        None => create::in_place_with(&args.path, &options, line.as_ref()),
        Some(tar) => {
            // Profiles want the folder in the tar to bear the tar's name.
            let name = tar.file_stem().and_then(|name| name.to_str()).ok_or_else(|| {
                Failure::usage(format_args!("{} is no name for a bag", tar.display()))
            })?;
            create::to_tar(&args.path, tar, name, &options, line.as_ref())
        }
    };
    line.clear();
    let (made, bag) = (made?, args.tar.as_ref().unwrap_or(&args.path));
    for note in &made.notes {
        eprintln!("note: {note}");
    }
    let json = json!({
        "bag": bag.to_string_lossy(),
        "files": made.payload.files,
        "bytes": made.payload.bytes,
        "notes": made.notes,
    });
    let files = output::count(made.payload.files, "file");
    let size = output::bytes(made.payload.bytes);
    cx.out.value(&json, format_args!("{} is a bag: {files}, {size}", bag.display()))?;
    Ok(Answer::Yes)
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let found = [
        Algorithm::Md5,
        Algorithm::Sha1,
        Algorithm::Sha224,
        Algorithm::Sha256,
        Algorithm::Sha384,
        Algorithm::Sha512,
    ];
    found
        .into_iter()
        .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
        .ok_or_else(|| format!("`{name}` is no algorithm known here"))
}

fn info(text: &str) -> Result<(String, String), String> {
    match text.split_once(':') {
        Some((label, value)) if !label.trim().is_empty() => {
            Ok((label.trim().into(), value.trim().into()))
        }
        _ => Err(format!("`{text}` is no LABEL:VALUE")),
    }
}

fn check(cx: &Context, args: &Validate) -> Result<Answer, Failure> {
    let profile = args.profile.as_deref().map(profile).transpose()?;
    let options = validate::Options {
        all_errors: args.all_errors,
        quick: args.quick,
        profile,
        ..Default::default()
    };
    let (mut list, line) = (cx.out.list(), Line::new());
    let (mut valid, mut undecided) = (true, None);
    for path in &args.paths {
        line.title(format!("validate {}", path.display()));
        let report = validate::validate(path, &options, line.as_ref());
        line.clear();
        match report {
            Ok(report) => {
                for problem in &report.problems {
                    eprintln!("{}: {problem}", path.display());
                }
                valid &= report.valid;
                if report.undecided {
                    let words = format_args!("{}: a part of it could not be read", path.display());
                    undecided = Some(Failure::undecided(words));
                }
                let verdict = match (report.valid, report.undecided) {
                    (false, _) => "invalid",
                    (true, true) => "undecided",
                    (true, false) => "valid",
                };
                list.row(
                    &report_json(path, verdict, &report),
                    report_line(path, verdict, &report),
                )?;
            }
            Err(error) => {
                let failure = Failure::from(error);
                let json = json!({
                    "path": path.to_string_lossy(),
                    "verdict": "undecided",
                    "error": failure.to_json(),
                });
                list.row(&json, format_args!("{}: could not tell", path.display()))?;
                undecided = Some(failure);
            }
        }
    }
    list.end()?;
    match undecided {
        Some(failure) if valid => Err(failure),
        _ => Ok(Answer::of(valid)),
    }
}

fn report_line(path: &Path, verdict: &str, report: &validate::Report) -> String {
    let problems = match report.problems.len() as u64 {
        0 => String::new(),
        many => format!("; {}", output::count(many, "problem")),
    };
    format!(
        "{}: {verdict}, {}, {}{problems}",
        path.display(),
        output::count(report.files, "file"),
        output::bytes(report.bytes)
    )
}

fn report_json(path: &Path, verdict: &str, report: &validate::Report) -> Value {
    json!({
        "path": path.to_string_lossy(),
        "verdict": verdict,
        "version": report.version.map(|v| format!("{}.{}", v.major, v.minor)),
        "algorithms": report.algorithms.iter().map(|a| a.name()).collect::<Vec<_>>(),
        "files": report.files,
        "bytes": report.bytes,
        "problems": report.problems.iter().map(problem_json).collect::<Vec<_>>(),
    })
}

fn problem_json(problem: &Problem) -> Value {
    let mut json = Map::new();
    json.insert("code".into(), problem.code.into());
    let severity = match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    json.insert("severity".into(), severity.into());
    if let Some(path) = &problem.path {
        put_bytes(&mut json, "path", path);
    }
    json.insert("detail".into(), problem.detail.clone().into());
    json.into()
}

/// A file where there is one, else a profile known by name.
fn profile(name: &str) -> Result<Profile, Failure> {
    let path = Path::new(name);
    if !path.is_file() {
        return Profile::named(name).ok_or_else(|| {
            Failure::usage(format_args!("no file and no known profile is `{name}`"))
        });
    }
    let read = || {
        use std::io::Read as _;
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(PROFILE_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    let bytes = read().map_err(|e: std::io::Error| Failure::io(path.display(), &e))?;
    Ok(Profile::load(&bytes)?)
}
