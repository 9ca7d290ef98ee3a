//! `shelf`: the places that keep shards.

use super::{Context, shelf_life};
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use strongroom_serve::Call;
use strongroom_serve::view::{device, on_one_disk};

#[derive(Subcommand)]
pub(crate) enum Shelf {
    /// Add a directory, best on another disk
    Add(Add),
    /// List shelves, with their room
    List,
    /// Show one shelf
    Show(shelf_life::Named),
    /// Set a shelf's capacity, domain, or whether it is only read
    Set(shelf_life::Set),
    /// Look at every frame on a shelf, and compare with what the registry counts
    Verify(shelf_life::Named),
    /// Remove what nobody wants any more
    Reclaim(shelf_life::Reclaim),
    /// Move everything away from a shelf, then retire it
    Retire(shelf_life::Retire),
    /// Add a shelf, move everything there from an old one, and retire that
    Replace(shelf_life::Replace),
    /// Move shards to the shelves where they would be placed now
    Rebalance(shelf_life::Rebalance),
}

#[derive(Args)]
pub(crate) struct Add {
    /// The directory; it is made if it is not there
    path: PathBuf,
    /// What people call it [default: the last part of PATH]
    #[arg(long)]
    name: Option<String>,
    /// What is lost together: a disk, a machine, a site [default: the disk]
    #[arg(long)]
    domain: Option<String>,
    /// Most that it may take, such as 500G or 2TiB [default: the disk]
    #[arg(long, value_parser = size)]
    capacity: Option<u64>,
}

pub(crate) fn run(cx: &Context, args: Shelf) -> Result<Answer, Failure> {
    match args {
        Shelf::Add(args) => add(cx, &args),
        Shelf::List => list(cx),
        Shelf::Show(args) => shelf_life::show(cx, &args),
        Shelf::Set(args) => shelf_life::set(cx, &args),
        Shelf::Verify(args) => shelf_life::verify(cx, &args),
        Shelf::Reclaim(args) => shelf_life::reclaim(cx, &args),
        Shelf::Retire(args) => shelf_life::retire(cx, &args),
        Shelf::Replace(args) => shelf_life::replace(cx, &args),
        Shelf::Rebalance(args) => shelf_life::rebalance(cx, &args),
    }
}

fn add(cx: &Context, args: &Add) -> Result<Answer, Failure> {
    let path = std::path::absolute(&args.path).map_err(|e| Failure::io(args.path.display(), &e))?;
    let name = match (&args.name, path.file_name()) {
        (Some(name), _) => name.clone(),
        (None, Some(last)) => last.to_string_lossy().into_owned(),
        (None, None) => {
            let why = format_args!("no name can be made of {}", path.display());
            return Err(Failure::usage(why).hint("Name the shelf with --name."));
        }
    };
    let domain = domain_of(args.domain.as_deref(), &path, &name);
    let archive = cx.open_or_create()?;
    let shelf = archive.add_shelf(&name, &path, &domain, args.capacity)?;
    let json = json!({
        "id": shelf.id,
        "name": shelf.name,
        "location": shelf.location,
        "domain": shelf.domain,
        "capacity_bytes": shelf.capacity_bytes,
    });
    cx.out.value(&json, format_args!("Shelf {name} is added: {}", path.display()))?;
    // The handle knows the shelves that were there when it was opened.
    warn_of_one_disk(on_one_disk(&cx.open()?));
    Ok(Answer::Yes)
}

/// The domain that was named, else the disk.
pub(super) fn domain_of(named: Option<&str>, path: &Path, name: &str) -> String {
    match (named, device(path)) {
        (Some(domain), _) => domain.into(),
        (None, Some(device)) => format!("disk-{device}"),
        (None, None) => name.into(),
    }
}

fn list(cx: &Context) -> Result<Answer, Failure> {
    let shelves = cx.desk()?.all(&Call::Shelves)?;
    let one_disk = are_on_one_disk(&shelves);
    let row = |shelf: Value| {
        let text = |name: &str| shelf[name].as_str().unwrap_or_default().to_string();
        let size = |name: &str| shelf[name].as_u64().map(output::bytes).unwrap_or_default();
        let state = match text("missing") {
            why if why.is_empty() => text("state"),
            why => format!("MISSING: {why}"),
        };
        let cells = vec![
            text("name"),
            text("domain"),
            size("stored_bytes"),
            size("free_bytes"),
            size("capacity_bytes"),
            text("location"),
            state,
        ];
        (shelf, cells)
    };
    let head = ["shelf", "domain", "stored", "free", "capacity", "location", "state"];
    cx.out.table(&head, shelves.into_iter().map(row))?;
    warn_of_one_disk(one_disk);
    Ok(Answer::Yes)
}

/// Whether there are several shelves, and all that are there are on one disk.
fn are_on_one_disk(shelves: &[Value]) -> bool {
    let there = shelves.iter().filter(|shelf| !shelf["free_bytes"].is_null());
    let devices: Vec<_> = there.map(|shelf| shelf["device"].as_str()).collect();
    devices.len() > 1 && devices.iter().all(|d| d.is_some() && *d == devices[0])
}

fn warn_of_one_disk(one_disk: bool) {
    if one_disk {
        eprintln!("All shelves are on one disk: when it fails, everything on it is lost.");
        eprintln!("Add another with: strongroom shelf add /path/on/another/disk");
    }
}

/// A size such as `1000`, `500G` (decimal) or `2TiB` (binary), in bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let bad =
        || format!("`{text}` is no size: write bytes, or a number with K, M, G, T or KiB ... TiB");
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| bad())?;
    let power = |letter: &str| "KMGT".find(letter).map(|i| i as u32 + 1);
    let factor = match (unit.trim(), unit.trim().get(..1)) {
        ("" | "B", _) => Some(1),
        (unit, Some(letter)) => match &unit[letter.len()..] {
            "" | "B" => power(letter).and_then(|p| 1000u64.checked_pow(p)),
            "i" | "iB" => power(letter).and_then(|p| 1024u64.checked_pow(p)),
            _ => None,
        },
        _ => None,
    };
    factor.and_then(|factor| number.checked_mul(factor)).ok_or_else(bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_both_systems() {
        for (text, bytes) in [
            ("0", Some(0)),
            ("1000", Some(1000)),
            ("500G", Some(500_000_000_000)),
            ("2TiB", Some(2 << 40)),
            ("1 KB", Some(1000)),
            ("", None),
            ("G", None),
            ("1X", None),
            ("-1", None),
            ("1€", None),
            ("99999999999T", None),
        ] {
            assert_eq!(size(text).ok(), bytes, "{text}");
        }
    }
}
