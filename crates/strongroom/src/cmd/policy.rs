//! `policy`: how many copies, or which coding, is kept.

use super::Context;
use super::work::Worker;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::json;
use strongroom_intake::Archive;
use strongroom_record::Coding;
use strongroom_registry::{SETTING_CODING, Scope};

#[derive(Subcommand)]
pub(crate) enum Policy {
    /// Show policies
    Show(Of),
    /// Set a policy; what is stored already is coded anew
    Set(Set),
    /// Show or set how much an institution may have
    Quota(Quota),
}

#[derive(Args)]
pub(crate) struct Quota {
    /// The institution
    #[arg(long, value_name = "NAME", default_value = "local")]
    institution: String,
    /// Most bytes of its files, all versions, such as 2TiB, or `none` [default: only show it]
    quota: Option<String>,
}

#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct Of {
    /// Of this institution
    #[arg(long, value_name = "NAME")]
    institution: Option<String>,
    /// Of this object
    #[arg(long, value_name = "OBJECT")]
    object: Option<String>,
}

#[derive(Args)]
pub(crate) struct Set {
    /// copies=N, or K+M: any K of K+M shards restore everything
    policy: Coding,
    #[command(flatten)]
    of: Of,
    /// Queue only; `strongroom work run` codes anew what is stored
    #[arg(long)]
    detach: bool,
}

pub(crate) fn run(cx: &Context, args: Policy) -> Result<Answer, Failure> {
    match args {
        Policy::Show(of) => show(cx, &of),
        Policy::Set(args) => set(cx, &args),
        Policy::Quota(args) => quota(cx, &args),
    }
}

fn show(cx: &Context, of: &Of) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let registry = archive.registry();
    let (name, own, effective) = if let Some(name) = &of.object {
        let object = archive.find_object(name)?;
        let coding = archive.block_on(registry.coding_for(Some(object.id), object.institution))?;
        (object.name.to_string(), object.coding, coding)
    } else if let Some(name) = &of.institution {
        let institution = super::institution(&archive, name)?;
        let coding = archive.block_on(registry.coding_for(None, institution.id))?;
        (institution.name, institution.coding, coding)
    } else {
        let set = archive.block_on(registry.setting(SETTING_CODING))?;
        let own = set.map(|text| text.parse::<Coding>()).transpose()?;
        ("archive".into(), own, own.unwrap_or(Coding::TWO_COPIES))
    };
    let survives = effective.n() - effective.k();
    let json = json!({
        "scope": name,
        "policy": effective,
        "own": own,
        "shelves": effective.n(),
        "losses_survived": survives,
    });
    let whose = if own.is_some() { "its own" } else { "by default" };
    let line = format!(
        "{name}: {effective} ({whose}); needs {}, survives the loss of any {survives}",
        output::count(effective.n().into(), "shelf").replace("shelfs", "shelves"),
    );
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

fn quota(cx: &Context, args: &Quota) -> Result<Answer, Failure> {
    let archive = cx.open()?;
    let institution = super::institution(&archive, &args.institution)?;
    match args.quota.as_deref() {
        None => {}
        Some("none") => archive.set_quota(institution.id, None)?,
        Some(text) => {
            let most = super::shelf::size(text).map_err(Failure::usage)?;
            archive.set_quota(institution.id, Some(most))?;
        }
    }
    let quota = archive.quota(institution.id)?;
    let json = json!({
        "institution": institution.name,
        "used_bytes": quota.used,
        "quota_bytes": quota.max,
    });
    let used = output::bytes(quota.used);
    let line = match quota.max {
        Some(most) => format!("{}: {used} of {}", institution.name, output::bytes(most)),
        None => format!("{}: {used}, no quota", institution.name),
    };
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

fn set(cx: &Context, args: &Set) -> Result<Answer, Failure> {
    let archive = cx.open_or_create()?;
    let (scope, name) = scope(&archive, &args.of)?;
    let mut item = archive.set_policy(scope, args.policy)?;
    eprintln!("The policy of {name} is {}.", args.policy);
    if !args.detach {
        item = Worker::new(&archive).succeed(&item)?;
    }
    let json = json!({
        "scope": name,
        "policy": args.policy,
        "work": item.id,
        "status": item.status,
        "report": item.report,
    });
    let line = match args.detach {
        true => format!("Coding anew what is stored is queued as {}", output::short(item.id)),
        false => format!("What is stored is coded anew: {}", args.policy),
    };
    cx.out.value(&json, line)?;
    Ok(Answer::Yes)
}

fn scope(archive: &Archive, of: &Of) -> Result<(Scope, String), Failure> {
    Ok(if let Some(name) = &of.object {
        let object = archive.find_object(name)?;
        (Scope::Object(object.id), object.name.to_string())
    } else if let Some(name) = &of.institution {
        let institution = super::institution(archive, name)?;
        (Scope::Institution(institution.id), institution.name)
    } else {
        (Scope::Archive, "the archive".into())
    })
}
