//! `restore` and `cat`: getting things back.

use super::Context;
use super::work::Worker;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, ValueEnum};
use serde_json::json;
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use strongroom_intake::{Archive, Form, RestoreRequest};
use strongroom_registry::Object;

#[derive(Args)]
pub(crate) struct Restore {
    /// OBJECT or OBJECT@VERSION: institution/name, name, or an id's beginning
    object: String,
    /// Where to: a folder that is there gets OBJECT's name in it, else it is made
    #[arg(long, value_name = "DIR")]
    to: PathBuf,
    /// In which form
    #[arg(long = "as", value_enum, default_value = "bag")]
    form: As,
    /// Queue only; `strongroom work run` does the work
    #[arg(long)]
    detach: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum As {
    /// A bag in a folder
    Bag,
    /// A bag in a tar
    Tar,
    /// The files as they were deposited
    Files,
}

#[derive(Args)]
pub(crate) struct Cat {
    /// OBJECT or OBJECT@VERSION
    object: String,
    /// Path of the file, as `object files` lists it; `data/` may be left out
    path: OsString,
}

pub(crate) fn run(cx: &Context, args: Restore) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let (object, version) = archive.find_version(&args.object)?;
    let to = target(&archive, &args, &object)?;
    let form = match args.form {
        As::Bag => Form::Bag,
        As::Tar => Form::Tar,
        As::Files => Form::Files,
    };
    let request = RestoreRequest { version: version.id.to_string(), to: to.clone(), form };
    let mut item = archive.restore(&request)?;
    let name = format!("{}@{}", object.name, version.number);
    let line = if args.detach {
        format!("{name} queued as {}", output::short(item.id))
    } else {
        item = Worker::new(&archive).succeed(&item)?;
        let number = |field: &str| super::number(&item.report, field);
        let files = output::count(number("files"), "file");
        format!("{name}: {files}, {}, in {}", output::bytes(number("bytes")), to.display())
    };
    let json = json!({
        "object": object.name.to_string(),
        "version": version.number,
        "to": to.to_string_lossy(),
        "work": item.id,
        "status": item.status,
        "report": item.report,
    });
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

/// A folder that is there gets the object's name in it; else the path itself is made, or was, by work
/// that died before it could tell.
fn target(archive: &Archive, args: &Restore, object: &Object) -> Result<PathBuf, Failure> {
    let to = std::path::absolute(&args.to).map_err(|e| Failure::io(args.to.display(), &e))?;
    if archive.restores_to(&to)? {
        return Ok(to);
    }
    if !to.is_dir() {
        let is_tar = to.extension() == Some(OsStr::new("tar"));
        return match args.form {
            As::Tar if !is_tar => {
                Err(Failure::usage(format_args!("{} is no folder", to.display()))
                    .hint("Name a folder that is there, or a path that ends in .tar."))
            }
            _ => Ok(to),
        };
    }
    let name = Path::new(object.name.name());
    Ok(to.join(match args.form {
        As::Tar => format!("{}.tar", name.display()).into(),
        _ => name.to_owned(),
    }))
}

pub(crate) fn cat(cx: &Context, args: Cat) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let (object, version) = archive.find_version(&args.object)?;
    let given = args.path.as_bytes().to_vec();
    let in_data = [b"data/", &given[..]].concat();
    let registry = archive.registry();
    let mut found = None;
    for path in [given, in_data] {
        if archive.block_on(registry.file_by_path(version.id, &path))?.is_some() {
            found = Some(path);
            break;
        }
    }
    let path = found.ok_or_else(|| {
        let path = args.path.display();
        Failure::not_found(format_args!("{}@{} has no file {path}", object.name, version.number))
            .hint(format!("List its files with: strongroom object files {}", args.object))
    })?;
    let mut stdout = std::io::stdout().lock();
    // What stdout says is kept apart: a reader that goes away is no failure of the archive.
    let mut gone = None;
    let mut sink = |bytes: &[u8]| {
        stdout.write_all(bytes).map_err(|error| {
            gone = Some(Failure::stdout(&error));
            strongroom_intake::Error::Interrupted
        })
    };
    let read = strongroom_intake::read_file(&archive, &version, &path, &mut sink);
    if let Some(failure) = gone {
        return Err(failure);
    }
    read?;
    stdout.flush().map_err(|e| Failure::stdout(&e))?;
    Ok(Answer::Yes)
}
