//! `rebuild`: the registry from the shelves and the key.

use super::Context;
use crate::errors::{Answer, Failure};
use crate::interrupt;
use crate::progress::Line;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use strongroom_intake::RebuildRequest;

#[derive(Args)]
pub(crate) struct Rebuild {
    /// A shelf's folder; give all that are there. Those that the registry knows, where there is one,
    /// are read too
    #[arg(long, value_name = "SHELF", num_args = 1..)]
    from: Vec<PathBuf>,
    /// The key file [default: strongroom.key in the data folder]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Take what is newer on the shelves into the registry that is there, without asking
    #[arg(long)]
    yes: bool,
}

pub(crate) fn run(cx: &Context, args: Rebuild) -> Result<Answer, Failure> {
    let options = cx.options()?;
    if options.data.join("strongroom.db").exists() && !args.yes {
        let why = "there is a registry already; what is newer on the shelves is taken into it, and a \
                   new epoch begins";
        return Err(Failure::usage(why).hint(
            "Say --yes for that. To make it anew, move strongroom.db and its -wal and -shm away first.",
        ));
    }
    let stop = interrupt::stop_on_signals();
    let progress = Line::new();
    progress.title("rebuild".into());
    let request = RebuildRequest { from: args.from, key: args.key };
    let rebuilt = strongroom_intake::rebuild(&options, &request, &stop, progress.as_ref())?;
    progress.clear();
    let json = json!({
        "anew": rebuilt.anew,
        "epoch": rebuilt.epoch,
        "versions": rebuilt.versions,
        "files": rebuilt.files,
        "shards": rebuilt.shards.iter().map(|(shelf, shards)| {
            json!({"shelf": shelf, "shards": shards})
        }).collect::<Vec<_>>(),
        "events": rebuilt.events.iter().map(|(institution, last)| {
            json!({"institution": institution, "last": last.to_string()})
        }).collect::<Vec<_>>(),
        "unknown_segments": rebuilt.unknown,
        "remarks": rebuilt.remarks,
    });
    for remark in &rebuilt.remarks {
        eprintln!("{remark}");
    }
    let mut lines = Vec::new();
    for (shelf, shards) in &rebuilt.shards {
        lines.push(format!("shelf {shelf}: {shards} shards"));
    }
    for (institution, last) in &rebuilt.events {
        lines.push(format!("{institution}: events recovered up to {last}"));
    }
    if !rebuilt.unknown.is_empty() {
        let count = rebuilt.unknown.len();
        lines.push(format!("{count} segments belong to nothing that is known; they are kept"));
    }
    let what =
        if rebuilt.anew { "The registry was made anew" } else { "The registry was brought up" };
    lines.push(format!(
        "{what}: {} versions with {} files came back; epoch {} begins. Now run `strongroom fixity`.",
        rebuilt.versions, rebuilt.files, rebuilt.epoch
    ));
    cx.out.value(&json, lines.join("\n"))?;
    // The shelves are told at once; opening also shows that the registry can be used.
    cx.open()?;
    Ok(Answer::Yes)
}
