//! `restore` and `cat`: getting things back.

use super::work::Worker;
use super::{Context, remote};
use crate::desk::Client;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use strongroom_intake::{Form, RestoreRequest};
use strongroom_record::ObjectName;
use strongroom_serve::{Call, view};

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
    let form = match args.form {
        As::Bag => Form::Bag,
        As::Tar => Form::Tar,
        As::Files => Form::Files,
    };
    let (name, number, to, item) = match cx.client()? {
        None => here(cx, &args, form)?,
        Some(client) => at_server(cx, &client, &args, form)?,
    };
    let line = if args.detach {
        format!("{name}@{number} queued as {}", output::short(item["id"].as_str().unwrap_or("")))
    } else {
        let count = |field: &str| super::number(&item["report"], field);
        let (files, bytes) = (output::count(count("files"), "file"), output::bytes(count("bytes")));
        format!("{name}@{number}: {files}, {bytes}, in {}", to.display())
    };
    let json = json!({
        "object": name.to_string(),
        "version": number,
        "to": to.to_string_lossy(),
        "work": item["id"],
        "status": item["status"],
        "report": item["report"],
    });
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

/// What is restored, as which version, to where, by which work item.
type Restored = (ObjectName, u64, PathBuf, Value);

fn here(cx: &Context, args: &Restore, form: Form) -> Result<Restored, Failure> {
    let archive = cx.open()?;
    let (object, version) = archive.find_version(&args.object)?;
    let to = target(args, &object.name, &|to| Ok(archive.restores_to(to)?))?;
    let request = RestoreRequest { version: version.id.to_string(), to: to.clone(), form };
    let mut item = archive.restore(&request)?;
    if !args.detach {
        item = Worker::new(&archive).succeed(&item)?;
    }
    Ok((object.name, version.number.into(), to, view::work(&item)))
}

fn at_server(
    cx: &Context,
    client: &Client,
    args: &Restore,
    form: Form,
) -> Result<Restored, Failure> {
    let desk = cx.desk()?;
    let object = desk.ask(&Call::Object(args.object.clone()))?;
    let name: ObjectName = object["name"].as_str().unwrap_or_default().parse()?;
    let number = super::number(&object, "shown");
    let to = target(args, &name, &|_| Ok(false))?;
    // Refused before the server does anything.
    if to.symlink_metadata().is_ok() {
        return Err(strongroom_intake::Error::TargetExists(to).into());
    }
    let object = format!("{name}@{number}");
    let mut item = desk.ask(&Call::Restore { object, form })?;
    if !args.detach {
        item = remote::restore(&desk, client, &item, &to, form)?;
    }
    Ok((name, number, to, item))
}

/// A folder that is there gets the object's name in it; else the path itself is made, or was, by work
/// that died before it could tell.
fn target(
    args: &Restore,
    object: &ObjectName,
    begun: &dyn Fn(&Path) -> Result<bool, Failure>,
) -> Result<PathBuf, Failure> {
    let to = std::path::absolute(&args.to).map_err(|e| Failure::io(args.to.display(), &e))?;
    if begun(&to)? {
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
    let name = Path::new(object.name());
    Ok(to.join(match args.form {
        As::Tar => format!("{}.tar", name.display()).into(),
        _ => name.to_owned(),
    }))
}

pub(crate) fn cat(cx: &Context, args: Cat) -> Result<Answer, Failure> {
    if let Some(client) = cx.client()? {
        remote::cat(&client, &args.object, &args.path)?;
        return Ok(Answer::Yes);
    }
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
