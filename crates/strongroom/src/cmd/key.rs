//! `key`: which keys there are and where, copies for other places, rotation, writers' certificates.

use super::Context;
use super::shares::{self, Combine, Split};
use super::work::Worker;
use crate::errors::{Answer, Failure};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use strongroom_intake::{Archive, KeyFile, KeySummary};
use strongroom_record::{SegmentKind, Sha256, Time};
use strongroom_registry::ARCHIVE_NAME;
use strongroom_shard::{Kind, RECOVERY_GENERATION};

/// A passphrase file is never longer, in bytes.
const PASSPHRASE_BYTES_MAX: u64 = 4096;
const DAY_SECONDS: i64 = 86_400;

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Show keys, their generations and fingerprints, and who may write
    Show(Show),
    /// Write a key file for another place
    Export(Export),
    /// Deal shares of a recovery key to trustees
    Split(Split),
    /// Bring the key file back from trustees' shares
    Combine(Combine),
    /// Replace the key by a new one; what is stored stays readable
    Rotate(Rotate),
    /// Certify a writer's public key
    Certify(Certify),
    /// Revoke a writer's certificate
    Revoke(Revoke),
}

#[derive(Args)]
pub(crate) struct Show {
    /// Only of this institution
    #[arg(long, value_name = "NAME")]
    institution: Option<String>,
}

#[derive(Args)]
pub(crate) struct Export {
    /// The new file
    to: PathBuf,
    /// Copy this key file, locked or not, instead of the archive's
    #[arg(long, value_name = "FILE", conflicts_with = "public")]
    key: Option<PathBuf>,
    /// Only what a worker needs that takes in, checks and repairs, and cannot read
    #[arg(long)]
    public: bool,
    /// Days for which such a worker is certified
    #[arg(long, value_name = "N", requires = "public", default_value_t = 3660,
          value_parser = clap::value_parser!(i64).range(1..=36_600))]
    days: i64,
    /// Ask for a passphrase: it locks the copy, or unlocks a locked --key
    #[arg(long, conflicts_with = "public")]
    passphrase: bool,
    /// Take the passphrase from the first line of this file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public", "passphrase"])]
    passphrase_file: Option<PathBuf>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub(crate) struct Rotate {
    /// Whose key
    #[arg(long, value_name = "NAME", default_value = "local", conflicts_with = "archive")]
    institution: String,
    /// The archive's own key
    #[arg(long)]
    archive: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub(crate) struct Certify {
    /// The writer's public key, 64 hexadecimal digits; `key show` prints that of a key file
    writer: String,
    /// For which institution
    #[arg(long, value_name = "NAME", default_value = "local")]
    institution: String,
    /// What it may write: data, record, journal, keyring
    #[arg(long, value_delimiter = ',', value_parser = SegmentKind::parse,
          default_values = ["data", "record"])]
    kinds: Vec<SegmentKind>,
    /// For how many days
    #[arg(long, value_name = "N", default_value_t = 366,
          value_parser = clap::value_parser!(i64).range(1..=36_600))]
    days: i64,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

#[derive(Args)]
pub(crate) struct Revoke {
    /// The certificate's serial, or its first digits
    serial: String,
    /// Which institution gave it
    #[arg(long, value_name = "NAME", default_value = "local")]
    institution: String,
    /// The last journal that is believed to be this writer's, as EPOCH:NUMBER; 0:0 for none
    #[arg(long, value_name = "EPOCH:NUMBER", value_parser = journal)]
    last_journal: (u32, u64),
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(cx: &Context, args: Key) -> Result<Answer, Failure> {
    match args {
        Key::Show(args) => show(cx, &args),
        Key::Export(args) => export(cx, &args),
        Key::Split(args) => shares::split(cx, &args),
        Key::Combine(args) => shares::combine(cx, &args),
        Key::Rotate(args) => rotate(cx, &args),
        Key::Certify(args) => certify(cx, &args),
        Key::Revoke(args) => revoke(cx, &args),
    }
}

fn show(cx: &Context, args: &Show) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let path = archive.key_path();
    // A file that is absent, locked or another's is told of, and the registry still tells the rest.
    let (file, why) = match archive.key_file() {
        Ok(file) => (Some(file), None),
        Err(error) => (None, Some(Failure::of(&error))),
    };
    let summaries = file.as_ref().map(KeyFile::summaries).transpose()?.unwrap_or_default();
    let writer = file.as_ref().map(KeyFile::writer_public).transpose()?;
    let mut lines = vec![match &why {
        None => format!("key file     {}", path.display()),
        Some(why) => format!("key file     {}: {}: {}", path.display(), why.code, why.message),
    }];
    lines.extend(writer.map(|writer| format!("writer       {}", hex(&writer))));
    let mut institutions = Vec::new();
    let mut known = archive.block_on(archive.registry().institutions())?;
    known.extend(archive.block_on(archive.registry().institution_by_name(ARCHIVE_NAME))?);
    if let Some(name) = &args.institution {
        super::institution(&archive, name)?;
    }
    for known in known.iter().filter(|k| args.institution.as_ref().is_none_or(|n| *n == k.name)) {
        let of = summaries.iter().find(|summary| summary.id == known.id);
        let (value, told) = institution(&archive, known, of)?;
        institutions.push(value);
        lines.extend(told);
    }
    let json = json!({
        "key": {
            "path": path.to_string_lossy(),
            "error": why.as_ref().map(Failure::to_json),
            "writer": writer.map(|writer| hex(&writer)),
        },
        "archive": archive.id(),
        "institutions": institutions,
    });
    cx.out.value(&json, lines.join("\n"))?;
    Ok(Answer::Yes)
}

/// What is known of an institution's keys: in the registry, and of them in the key file.
fn institution(
    archive: &Archive,
    known: &strongroom_registry::Institution,
    of: Option<&KeySummary>,
) -> Result<(Value, Vec<String>), Failure> {
    let registry = archive.registry();
    let mut rows = archive.block_on(registry.key_generations(known.id))?;
    if !rows.iter().any(|row| row.generation == known.generation) {
        rows.push(strongroom_registry::KeyGeneration {
            institution: known.id,
            generation: known.generation,
            keys: known.keys.clone(),
            keyring: None,
            created: known.created,
        });
    }
    let here = |generation| of.is_some_and(|of| of.seeds.contains(&generation));
    let mut lines = vec![format!("institution  {} ({})", known.name, known.id)];
    let mut generations = Vec::new();
    let (mut recovery, mut recovery_json) = (None, Value::Null);
    for row in rows {
        let fingerprint = Sha256::of(&row.keys);
        if row.generation == RECOVERY_GENERATION {
            let dealt = of.and_then(|of| of.recovery.clone());
            let dealt = dealt.filter(|dealt| dealt.sealing == hex(&row.keys));
            recovery = Some(match &dealt {
                Some(dealt) => format!(
                    "  recovery     any {} of {} shares of set {}, made {}",
                    dealt.threshold, dealt.shares, dealt.set, row.created
                ),
                None => format!("  recovery     shares were dealt {}", row.created),
            });
            recovery_json = json!({
                "fingerprint": fingerprint,
                "set": dealt.as_ref().map(|d| d.set.clone()),
                "threshold": dealt.as_ref().map(|d| d.threshold),
                "shares": dealt.as_ref().map(|d| d.shares),
                "keyring": row.keyring,
                "created": row.created.to_string(),
            });
            continue;
        }
        let seed =
            if here(row.generation) { "seed in the key file" } else { "seed not in the key file" };
        let present = if row.generation == known.generation { ", present" } else { "" };
        lines.push(format!(
            "  generation {} {}  made {}, {seed}{present}",
            row.generation,
            &fingerprint.to_string()[..16],
            row.created,
        ));
        generations.push(json!({
            "generation": row.generation,
            "fingerprint": fingerprint,
            "keyring": row.keyring,
            "seed_here": here(row.generation),
            "created": row.created.to_string(),
        }));
    }
    lines.push(recovery.unwrap_or_else(|| {
        "  recovery     none: no shares were dealt; `strongroom key split` deals them".into()
    }));
    if of.is_some_and(|of| of.rotating || of.generation > known.generation) {
        lines.push("  Rotation was begun and has not ended: strongroom key rotate goes on.".into());
    }
    let revoked = archive.block_on(registry.revocations(known.id))?;
    let mut certificates = Vec::new();
    for certificate in archive.block_on(registry.certificates(known.id))? {
        let serial = hex(&certificate.serial);
        let gone = revoked.iter().any(|r| r.serial == certificate.serial);
        lines.push(format!(
            "  certificate  {serial} for writer {}, until {}{}",
            &hex(&certificate.writer)[..16],
            certificate.until,
            if gone { ", REVOKED" } else { "" }
        ));
        certificates.push(json!({
            "serial": serial,
            "writer": hex(&certificate.writer),
            "from": certificate.from.to_string(),
            "until": certificate.until.to_string(),
            "revoked": gone,
        }));
    }
    let revocations: Vec<_> = revoked.iter().map(revocation).collect();
    let json = json!({
        "name": known.name,
        "id": known.id,
        "generation": known.generation,
        "key_file_generation": of.map(|of| of.generation),
        "rotating": of.is_some_and(|of| of.rotating || of.generation > known.generation),
        "generations": generations,
        "recovery": recovery_json,
        "certificates": certificates,
        "revocations": revocations,
    });
    Ok((json, lines))
}

fn revocation(revoked: &strongroom_registry::Revocation) -> Value {
    json!({
        "serial": hex(&revoked.serial),
        "last_journal":
            [revoked.last_journal.0.to_string(), revoked.last_journal.1.to_string()],
        "time": revoked.time.to_string(),
    })
}

fn export(cx: &Context, args: &Export) -> Result<Answer, Failure> {
    if args.public {
        let archive = cx.open()?;
        let file = archive.export_public(&args.to, Some(args.days * DAY_SECONDS))?;
        let line = format!(
            "{} lets a worker take in, check and repair, and read nothing.\n\
             Put it where that worker's archive keeps its key file.",
            args.to.display()
        );
        return told(cx, &file, true, false, line);
    }
    let path = match &args.key {
        Some(path) => path.clone(),
        None => cx.open()?.key_path().to_owned(),
    };
    let locked = KeyFile::is_locked(&path);
    let passphrase = match &args.passphrase_file {
        Some(path) => Some(first_line(path)?),
        None if args.passphrase || locked => Some(ask_passphrase(!locked)?),
        None => None,
    };
    let (unlock, lock) = if locked { (passphrase, None) } else { (None, passphrase) };
    let file = KeyFile::read(&path, unlock.as_deref())?;
    if lock.is_none() {
        let what = "The copy will not be locked: whoever has it can read every record.";
        confirm(what, args.yes)?;
    }
    let file = file.at(&args.to);
    file.write_new(lock.as_deref())?;
    let line = match lock {
        Some(_) => format!("{} is locked under the passphrase.", args.to.display()),
        None => {
            format!("{} is a whole key file: keep it apart from the shelves.", args.to.display())
        }
    };
    told(cx, &file, false, lock.is_some(), line)
}

/// Says what was exported.
fn told(
    cx: &Context,
    file: &KeyFile,
    public: bool,
    locked: bool,
    line: String,
) -> Result<Answer, Failure> {
    let of = |summary: KeySummary| {
        json!({
            "name": summary.name,
            "id": summary.id,
            "generation": summary.generation,
            "fingerprint": summary.fingerprint,
        })
    };
    let institutions: Vec<_> = file.summaries()?.into_iter().map(of).collect();
    let json = json!({
        "path": file.path().to_string_lossy(),
        "archive": file.archive(),
        "public": public,
        "locked": locked,
        "writer": hex(&file.writer_public()?),
        "institutions": institutions,
    });
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

fn rotate(cx: &Context, args: &Rotate) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let name = if args.archive { ARCHIVE_NAME } else { args.institution.as_str() };
    super::institution(&archive, name)?;
    let what = format!(
        "The key of `{name}` is replaced. Copies of the key file that lie elsewhere stay good for what \
         was stored so far; replace them by the new file."
    );
    confirm(&what, args.yes)?;
    let item = archive.rotate_key(name)?;
    let item = Worker::new(&archive).succeed(&item)?;
    let report = &item.report;
    let json = json!({ "institution": name, "work": item.id, "report": report });
    let line = format!(
        "Generation {} is the present key of {name}, fingerprint {}.\n\
         Copy {} to the places where you keep it.",
        report["generation"],
        report["fingerprint"].as_str().unwrap_or_default(),
        archive.key_path().display()
    );
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

fn certify(cx: &Context, args: &Certify) -> Result<Answer, Failure> {
    let bad = || Failure::usage(format_args!("`{}` is no public key: 64 digits are", args.writer));
    let writer: [u8; 32] =
        unhex(&args.writer).and_then(|bytes| bytes.try_into().ok()).ok_or_else(bad)?;
    let archive = cx.open()?;
    let kinds: Vec<_> = args.kinds.iter().map(|kind| shard_kind(*kind)).collect();
    let what = format!(
        "What writer {} signs as {} will be believed for {} days.",
        args.writer, args.institution, args.days
    );
    confirm(&what, args.yes)?;
    let days = args.days * DAY_SECONDS;
    let certificate = archive.certify_writer(&args.institution, writer, kinds, days)?;
    let grant = certificate.grant();
    let until = Time(i64::try_from(grant.until_micros).unwrap_or(i64::MAX));
    let json = json!({
        "serial": hex(&grant.serial),
        "writer": hex(&grant.writer),
        "until": until.to_string(),
        "certificate": hex(&certificate.encode()),
    });
    let line = format!(
        "serial       {}\nuntil        {until}\ncertificate  {}",
        hex(&grant.serial),
        hex(&certificate.encode())
    );
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

fn revoke(cx: &Context, args: &Revoke) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let what = format!(
        "Certificate {} is revoked for good. What its writer wrote after journal {}:{} is not believed \
         when a registry is rebuilt.",
        args.serial, args.last_journal.0, args.last_journal.1
    );
    confirm(&what, args.yes)?;
    let revoked = archive.revoke_writer(&args.institution, &args.serial, args.last_journal)?;
    cx.out.value(&revocation(&revoked), format_args!("{} is revoked.", hex(&revoked.serial)))?;
    Ok(Answer::Yes)
}

/// Says what is about to happen, and asks; `--yes` answers before.
pub(super) fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    eprintln!("{what}");
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failure::usage("nobody is there to be asked").hint("Add --yes to go on."));
    }
    eprint!("Go on? Type yes: ");
    let _ = std::io::stderr().flush();
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|e| Failure::io("stdin", &e))?;
    match answer.trim() == "yes" {
        true => Ok(()),
        false => Err(Failure::usage("not done").hint("Nothing was changed.")),
    }
}

fn ask_passphrase(twice: bool) -> Result<String, Failure> {
    let ask = |prompt: &str| {
        rpassword::prompt_password(prompt).map_err(|e| {
            Failure::io("asking for the passphrase", &e)
                .hint("Give it with --passphrase-file FILE.")
        })
    };
    let passphrase = ask("Passphrase: ")?;
    if twice && ask("Once more: ")? != passphrase {
        return Err(Failure::usage("the two passphrases differ"));
    }
    not_empty(passphrase)
}

fn first_line(path: &Path) -> Result<String, Failure> {
    use std::io::Read as _;
    let io = |e: &std::io::Error| Failure::io(path.display(), e);
    let file = std::fs::File::open(path).map_err(|e| io(&e))?;
    let mut text = String::new();
    file.take(PASSPHRASE_BYTES_MAX).read_to_string(&mut text).map_err(|e| io(&e))?;
    not_empty(text.lines().next().unwrap_or_default().into())
}

fn not_empty(passphrase: String) -> Result<String, Failure> {
    match passphrase.is_empty() {
        true => Err(Failure::usage("the passphrase is empty")),
        false => Ok(passphrase),
    }
}

fn shard_kind(kind: SegmentKind) -> Kind {
    match kind {
        SegmentKind::Data => Kind::Data,
        SegmentKind::Record => Kind::Record,
        SegmentKind::Journal => Kind::Journal,
        SegmentKind::Keyring => Kind::Keyring,
    }
}

fn journal(text: &str) -> Result<(u32, u64), String> {
    let parts = text.split_once(':');
    let parsed =
        parts.and_then(|(epoch, number)| Some((epoch.parse().ok()?, number.parse().ok()?)));
    parsed.ok_or_else(|| format!("`{text}` is no EPOCH:NUMBER"))
}

pub(super) use strongroom_record::json::bytes::{hex, unhex};
