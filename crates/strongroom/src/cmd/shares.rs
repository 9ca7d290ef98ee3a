//! `key split` and `key combine`: a recovery key on paper, in the hands of trustees.

use super::Context;
use super::key::confirm;
use super::work::Worker;
use crate::errors::{Answer, Failure};
use clap::Args;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use serde_json::json;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use strongroom_intake::{Archive, Dealt, Error, KeyFile, recover_keys};
use strongroom_shard::{SHARE_TEXT_BYTES_MAX, Share};

/// Words in a row of a page.
const ROW_WORDS: usize = 8;
/// Shares that are read at most.
const SHARES_MAX: usize = 255;

#[derive(Args)]
pub(crate) struct Split {
    /// Whose recovery key
    #[arg(long, value_name = "NAME", default_value = "local")]
    institution: String,
    /// Shares, one for each trustee
    #[arg(long, value_name = "N", default_value_t = 5)]
    shares: u8,
    /// How many of them open everything
    #[arg(long, value_name = "T", default_value_t = 3)]
    threshold: u8,
    /// Write a page for each share into this new folder, instead of printing them
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
    /// Make another recovery key, though there is one
    #[arg(long)]
    replace: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub(crate) struct Combine {
    /// Pages, or files with the words or digits of a share; without any they are typed
    shares: Vec<PathBuf>,
    /// Where the key file is to be [default: where the archive keeps it]
    #[arg(long, value_name = "FILE")]
    to: Option<PathBuf>,
    /// The archive's shelves [default: those that the data folder knows]
    #[arg(long, value_name = "DIR", num_args = 1..)]
    shelf: Vec<PathBuf>,
}

pub(crate) fn split(cx: &Context, args: &Split) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let name = &args.institution;
    let known = super::institution(&archive, name)?;
    let rows = archive.block_on(archive.registry().key_generations(known.id))?;
    if let Some(row) = rows.iter().find(|row| row.generation == 0)
        && !args.replace
    {
        let why = format!("`{name}` has a recovery key, whose shares were dealt {}", row.created);
        return Err(Failure::usage(why).hint(
            "Its shares stay good when the key is rotated. If too many are lost, or some are in wrong \
             hands, deal shares of another with --replace.",
        ));
    }
    if let Some(folder) = &args.to
        && folder.exists()
    {
        return Err(Error::TargetExists(folder.clone()).into());
    }
    let what = format!(
        "{} shares are made; any {} of them open every record of `{name}`, now and later.",
        args.shares, args.threshold
    );
    confirm(&what, args.yes)?;
    let dealt = archive.deal_shares(name, args.threshold, args.shares)?;
    let pages: Vec<_> = (dealt.shares.iter())
        .map(|share| page(&archive, name, share, args.shares))
        .collect::<Result<_, _>>()?;
    if let Some(folder) = &args.to {
        write_pages(folder, &dealt, &pages)?;
    }
    let void = |failure: Failure| {
        let hint = format!("{}\n  The shares are void: destroy them.", failure.hint);
        failure.hint(hint)
    };
    let registered = (archive.register_recovery(name, &dealt.recovery).map_err(Failure::from))
        .and_then(|item| Worker::new(&archive).succeed(&item));
    let item =
        registered.map_err(|failure| if args.to.is_some() { void(failure) } else { failure })?;
    let mut json = json!({
        "institution": name,
        "set": dealt.recovery.set,
        "threshold": dealt.recovery.threshold,
        "count": dealt.recovery.shares,
        "folder": args.to.as_ref().map(|folder| folder.to_string_lossy()),
        "work": item.id,
    });
    let text = match &args.to {
        Some(folder) => {
            format!(
                "{} shares of set {} are in {}.",
                pages.len(),
                dealt.recovery.set,
                folder.display()
            )
        }
        None => {
            let of =
                |s: &Share| json!({ "number": s.number(), "words": s.words(), "hex": s.hex() });
            json["shares"] = dealt.shares.iter().map(of).collect();
            pages.join("\u{c}\n")
        }
    };
    cx.out.value(&json, text)?;
    eprintln!("The shares combine, and the keys are sealed to them. No copy of them is kept here.");
    eprintln!("Hand each to another person; none should be able to reach {}.", args.threshold);
    Ok(Answer::Yes)
}

/// One share as it is printed.
fn page(archive: &Archive, name: &str, share: &Share, count: u8) -> Result<String, Failure> {
    let mut text = String::new();
    let facts = [
        (
            "share",
            format!("{} of {count}; any {} open everything", share.number(), share.threshold()),
        ),
        ("set", share.set()),
        ("institution", format!("{name} ({}...)", share.institution())),
        ("archive", archive.id().to_string()),
        ("made", archive.now().to_string()),
    ];
    let _ = writeln!(text, "STRONGROOM - a trustee's share of a recovery key\n");
    for (what, is) in facts {
        let _ = writeln!(text, "{what:<12} {is}");
    }
    let _ = writeln!(
        text,
        "\nKeep this page where nobody else reads it. With {} pages of this set and the shelves,\n\
         `strongroom key combine` brings the key file back; fewer tell nothing.\n",
        share.threshold()
    );
    for (row, words) in share.words().chunks(ROW_WORDS).enumerate() {
        let _ = writeln!(text, "{:>4}  {}", row * ROW_WORDS + 1, words.join(" "));
    }
    let code = QrCode::with_error_correction_level(share.machine(), EcLevel::M)
        .map_err(|e| Failure::internal(format_args!("no QR code: {e}")))?;
    let _ = writeln!(text, "\n{}\n\n{}", code.render::<Dense1x2>().build(), share.machine());
    Ok(text)
}

/// Writes a page for each share, reads all of them again, and proves that they combine.
fn write_pages(folder: &Path, dealt: &Dealt, pages: &[String]) -> Result<(), Failure> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |e: std::io::Error| Failure::io(path.display(), &e)
    };
    std::fs::create_dir(folder).map_err(io(folder))?;
    let mut paths = Vec::new();
    for (share, page) in dealt.shares.iter().zip(pages) {
        let path = folder.join(format!("share-{}-of-{}.txt", share.number(), pages.len()));
        let mut options = std::fs::OpenOptions::new();
        let mut file =
            options.write(true).create_new(true).mode(0o600).open(&path).map_err(io(&path))?;
        file.write_all(page.as_bytes()).and_then(|()| file.sync_all()).map_err(io(&path))?;
        paths.push(path);
    }
    std::fs::File::open(folder).and_then(|dir| dir.sync_all()).map_err(io(folder))?;
    let read = paths.iter().map(|path| read_share(path)).collect::<Result<Vec<_>, _>>()?;
    match Archive::shares_give(&read, &dealt.recovery)? {
        true => Ok(()),
        false => Err(Failure::internal("the pages do not give what was split")),
    }
}

pub(crate) fn combine(cx: &Context, args: &Combine) -> Result<Answer, Failure> {
    let to = match &args.to {
        Some(to) => to.clone(),
        None => cx.settings.data()?.join("strongroom.key"),
    };
    if to.exists() {
        return Err(Error::TargetExists(to).into());
    }
    let shares = match args.shares.is_empty() {
        true => typed_shares()?,
        false => args.shares.iter().map(|path| read_share(path)).collect::<Result<_, _>>()?,
    };
    let shelves = match args.shelf.is_empty() {
        true => known_shelves(cx)?,
        false => args.shelf.clone(),
    };
    let recovered = recover_keys(&shares, &shelves, &to)?;
    let file: &KeyFile = &recovered.keys;
    file.write_new(None)?;
    let json = json!({
        "path": to.to_string_lossy(),
        "archive": file.archive(),
        "institution": recovered.institution,
        "generations": recovered.generations,
        "archive_key": recovered.archive_key,
        "keyrings_of_other_recovery_keys": recovered.unopened,
    });
    let generations: Vec<_> = recovered.generations.iter().map(u32::to_string).collect();
    let line = format!(
        "{} holds the key of {}, generations {}.",
        to.display(),
        recovered.institution,
        generations.join(", ")
    );
    cx.out.value(&json, line)?;
    if recovered.unopened > 0 {
        eprintln!(
            "{} keyrings are sealed to another recovery key: if it is a newer one,",
            recovered.unopened
        );
        eprintln!("its shares open more.");
    }
    Ok(Answer::Yes)
}

/// The shelves that the registry knows; where it is lost, those in the data folder.
fn known_shelves(cx: &Context) -> Result<Vec<PathBuf>, Failure> {
    if let Ok(archive) = cx.open() {
        return Ok(archive.vault().shelves().iter().map(|s| s.spec().path.clone()).collect());
    }
    let folder = cx.settings.data()?.join("shelves");
    let entries = std::fs::read_dir(&folder).map_err(|e| {
        Failure::io(folder.display(), &e).hint("Name the shelves with --shelf DIR.")
    })?;
    Ok(entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.is_dir()).collect())
}

fn read_share(path: &Path) -> Result<Share, Failure> {
    let io = |e: &std::io::Error| Failure::io(path.display(), e);
    let file = std::fs::File::open(path).map_err(|e| io(&e))?;
    let mut text = Vec::new();
    file.take(SHARE_TEXT_BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(|e| io(&e))?;
    parse(&String::from_utf8_lossy(&text), path.display().to_string())
}

fn parse(text: &str, which: String) -> Result<Share, Failure> {
    Share::parse(text).map_err(|source| Error::Share { which, source }.into())
}

/// Shares from stdin, with an empty line after each.
fn typed_shares() -> Result<Vec<Share>, Failure> {
    let stdin = std::io::stdin();
    let asks = stdin.is_terminal();
    let (mut shares, mut text) = (Vec::new(), String::new());
    let prompt = |number: usize| {
        if asks {
            eprintln!("Share {number}: its words or digits, then an empty line; end with Ctrl-D.");
        }
    };
    prompt(1);
    let mut lines = stdin.lock().lines();
    loop {
        let line = lines.next().transpose().map_err(|e| Failure::io("stdin", &e))?;
        match &line {
            Some(line) if !line.trim().is_empty() && text.len() <= SHARE_TEXT_BYTES_MAX => {
                text.push_str(line);
                text.push('\n');
                continue;
            }
            _ => {}
        }
        if !text.is_empty() && shares.len() < SHARES_MAX {
            shares.push(parse(&text, format!("share {} as typed", shares.len() + 1))?);
            text.clear();
            prompt(shares.len() + 1);
        }
        if line.is_none() {
            return Ok(shares);
        }
    }
}
