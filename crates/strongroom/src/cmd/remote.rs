//! `deposit`, `restore` and `cat` at a server: what goes out, and what comes back.

use crate::desk::{Client, Desk};
use crate::errors::Failure;
use crate::output;
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Read as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;
use strongroom_bag::source::{Container, detect};
use strongroom_intake::{Code, Deposit, Form};
use strongroom_record::WorkStatus;
use strongroom_serve::{Call, PREFIX, folder_tar, object_path, uri::escape};

/// How often a server is asked whether work has ended.
const POLL: Duration = Duration::from_millis(300);
/// Bytes on their way from a folder to the server.
const PIPE_BYTES: usize = 256 << 10;
/// Problems of a source that are told in one message.
const PROBLEMS_MAX: usize = 3;

/// Sends a source as a tar; the work item that takes it in.
pub(super) fn deposit(client: &Client, deposit: &Deposit) -> Result<Value, Failure> {
    let source = &deposit.source;
    let io = |error: std::io::Error| Failure::io(source.display(), &error);
    let mut target = format!(
        "{PREFIX}/deposits?object={}&origin={}",
        escape(deposit.object.as_bytes()),
        escape(source.to_string_lossy().as_bytes()),
    );
    if let Some(policy) = deposit.policy {
        target.push_str(&format!("&policy={}", escape(policy.to_string().as_bytes())));
    }
    if deposit.accept_degraded {
        target.push_str("&accept_degraded=true");
    }
    let mut sent = match detect(source).map_err(io)? {
        Some(Container::Tar | Container::TarGz | Container::TarZst) => {
            client.post(&target, File::open(source).map_err(io)?)?
        }
        _ => pack(client, &target, source)?,
    };
    Ok(sent["work"].take())
}

/// Sends a folder, or a file that is no tar, as a tar that is made on the way.
fn pack(client: &Client, target: &str, source: &Path) -> Result<Value, Failure> {
    let io = |error: std::io::Error| Failure::io(source.display(), &error);
    let (from, to) = std::io::pipe().map_err(io)?;
    std::thread::scope(|scope| {
        let packing = scope.spawn(move || {
            let mut out = BufWriter::with_capacity(PIPE_BYTES, to);
            folder_tar::pack(source, &mut out)?;
            out.flush()
        });
        let mut whole = Whole { from, packing: Some(packing) };
        let sent = client.post(target, &mut whole);
        // The pipe breaks where the server takes no more; then it has said why.
        let Whole { from, packing } = whole;
        drop(from);
        match packing.map(|packing| packing.join()) {
            Some(Ok(Err(error))) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                Err(io(error))
            }
            _ => sent,
        }
    })
}

/// What comes through a pipe, and whether it was all: a tar that was not packed to its end must not
/// reach the server as if it were whole.
struct Whole<'s> {
    from: std::io::PipeReader,
    packing: Option<std::thread::ScopedJoinHandle<'s, std::io::Result<()>>>,
}

impl std::io::Read for Whole<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.from.read(buffer)?;
        if read == 0
            && !buffer.is_empty()
            && let Some(packing) = self.packing.take()
        {
            match packing.join() {
                Ok(packed) => packed?,
                Err(_) => return Err(std::io::Error::other("packing failed")),
            }
        }
        Ok(read)
    }
}

/// Asks until a work item is over.
pub(super) fn wait(desk: &Desk, item: &Value) -> Result<Value, Failure> {
    let id = text(item, "id");
    loop {
        let item = desk.ask(&Call::WorkItem(id.clone()))?;
        match WorkStatus::parse(&text(&item, "status"))? {
            WorkStatus::Queued | WorkStatus::Running => std::thread::sleep(POLL),
            _ => return Ok(item),
        }
    }
}

/// Why an item that is over did not end well.
pub(super) fn failure_of(item: &Value) -> Option<Failure> {
    if text(item, "status") == WorkStatus::Succeeded.word() {
        return None;
    }
    let (id, report) = (output::short(text(item, "id")), &item["report"]);
    let problems = report["problems"].as_array().map(Vec::as_slice).unwrap_or_default();
    let mut message: Vec<_> =
        problems.iter().take(PROBLEMS_MAX).filter_map(Value::as_str).map(String::from).collect();
    if problems.len() > PROBLEMS_MAX {
        message.push(format!("and {} more", problems.len() - PROBLEMS_MAX));
    }
    let code = Code::ALL.iter().find(|code| report["code"] == code.word());
    Some(match code {
        Some(code) => super::work::kept(Failure::coded(*code, message.join("; ")), &id),
        None => Failure::coded(
            Code::Conflict,
            format_args!("work item {id} is {}: {}", text(item, "status"), text(item, "note")),
        ),
    })
}

/// Brings a version back to `to`, which does not exist yet. The work item, as it ended.
pub(super) fn restore(
    desk: &Desk,
    client: &Client,
    item: &Value,
    to: &Path,
    form: Form,
) -> Result<Value, Failure> {
    let mut item = wait(desk, item)?;
    if let Some(failure) = failure_of(&item) {
        return Err(failure);
    }
    let id = text(&item, "id");
    let mut from = client.fetch(&format!("{PREFIX}/restorations/{id}/content"))?;
    let io = |error: std::io::Error| Failure::io(to.display(), &error);
    let partial = partial(to, &id)?;
    let made = match form {
        Form::Tar => File::create_new(&partial).and_then(|mut file| {
            std::io::copy(&mut from, &mut file)?;
            file.sync_all()
        }),
        Form::Bag | Form::Files => folder_tar::unpack(&mut from, &partial),
    };
    if let Err(error) = made {
        let _ = match form {
            Form::Tar => std::fs::remove_file(&partial),
            Form::Bag | Form::Files => std::fs::remove_dir_all(&partial),
        };
        return Err(io(error));
    }
    let flags = rustix::fs::RenameFlags::NOREPLACE;
    rustix::fs::renameat_with(rustix::fs::CWD, &partial, rustix::fs::CWD, to, flags)
        .map_err(|error| io(error.into()))?;
    let folder = to.parent().unwrap_or(Path::new("/"));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(io)?;
    // Where it is now, not where it waited.
    item["report"]["to"] = to.to_string_lossy().into();
    Ok(item)
}

/// The place beside the target where it is made.
fn partial(to: &Path, id: &str) -> Result<PathBuf, Failure> {
    let bad = || Failure::usage(format_args!("{} names nothing", to.display()));
    let mut name = std::ffi::OsString::from(".");
    name.push(to.file_name().ok_or_else(bad)?);
    name.push(format!(".partial-{id}"));
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(|e| Failure::io(folder.display(), &e))?;
    }
    Ok(to.with_file_name(name))
}

/// Writes a file of an object to stdout.
pub(super) fn cat(client: &Client, object: &str, path: &std::ffi::OsStr) -> Result<(), Failure> {
    let rest = format!("/bytes/{}", escape(path.as_bytes()));
    let mut from = client.fetch(&object_path(object, &rest))?;
    let (mut stdout, mut buffer) = (std::io::stdout().lock(), vec![0; PIPE_BYTES]);
    loop {
        match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => stdout.write_all(&buffer[..read]).map_err(|e| Failure::stdout(&e))?,
            Err(error) => return Err(Failure::server(format_args!("the file broke off: {error}"))),
        }
    }
    stdout.flush().map_err(|e| Failure::stdout(&e))
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
}
