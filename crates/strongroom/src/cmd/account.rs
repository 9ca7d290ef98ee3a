//! `account` and `token`: who may ask a server, and by what.

use super::Context;
use crate::config::token_file;
use crate::errors::{Answer, Failure};
use crate::output;
use clap::{Args, Subcommand};
use serde_json::Value;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use strongroom_registry::{AccountState, Role};
use strongroom_serve::{Call, DAYS};

#[derive(Subcommand)]
pub(crate) enum Account {
    /// Make an account
    Add(Add),
    /// List accounts
    List(List),
    /// Let an account act no longer; its tokens are kept
    Disable(Named),
    /// Let it act again
    Enable(Named),
}

#[derive(Args)]
pub(crate) struct Add {
    /// INSTITUTION/NAME
    account: String,
    /// depositor, administrator, auditor, observer or node-keeper
    #[arg(long, value_parser = Role::parse)]
    role: Role,
}

#[derive(Args)]
pub(crate) struct List {
    /// Only of this institution
    #[arg(long, value_name = "NAME")]
    institution: Option<String>,
}

#[derive(Args)]
pub(crate) struct Named {
    /// INSTITUTION/NAME
    account: String,
}

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Make a token; it is shown this once
    Create(Create),
    /// List an account's tokens
    List(Whose),
    /// Revoke a token
    Revoke(Revoke),
    /// Exchange a one-time token for a lasting one, and keep that in the token file
    Exchange,
}

#[derive(Args)]
pub(crate) struct Create {
    /// INSTITUTION/NAME [default: at a server, the account whose token is shown]
    account: Option<String>,
    /// What people call it
    #[arg(long, default_value = "token")]
    name: String,
    /// What it may be used for, of read, deposit, restore, work, text, admin [default: all]
    #[arg(long, value_delimiter = ',', value_name = "SCOPE")]
    scope: Vec<String>,
    /// How many days it counts
    #[arg(long, default_value_t = DAYS)]
    days: u32,
}

#[derive(Args)]
pub(crate) struct Whose {
    /// INSTITUTION/NAME [default: at a server, the account whose token is shown]
    account: Option<String>,
}

#[derive(Args)]
pub(crate) struct Revoke {
    /// The token's id, as `token list` shows it
    id: String,
}

pub(crate) fn run(cx: &Context, args: Account) -> Result<Answer, Failure> {
    let desk = cx.desk()?;
    let set = |named: Named, state: AccountState| Call::SetAccount {
        account: named.account,
        state: state.word().into(),
    };
    let call = match args {
        Account::List(args) => {
            let accounts = desk.all(&Call::Accounts(args.institution))?;
            let head = ["account", "role", "state", "created"];
            cx.out.table(
                &head,
                accounts.into_iter().map(|account| {
                    let cells = ["account", "role", "state"].map(|name| text(&account, name));
                    let created = output::time(text(&account, "created"));
                    (account, cells.into_iter().chain([created]).collect())
                }),
            )?;
            return Ok(Answer::Yes);
        }
        Account::Add(args) => {
            Call::AddAccount { account: args.account, role: args.role.word().into() }
        }
        Account::Disable(named) => set(named, AccountState::Disabled),
        Account::Enable(named) => set(named, AccountState::Active),
    };
    let account = desk.ask(&call)?;
    let [name, role, state] = ["account", "role", "state"].map(|name| text(&account, name));
    cx.out.value(&account, format_args!("{name}: {role}, {state}"))?;
    Ok(Answer::Yes)
}

pub(crate) fn token(cx: &Context, args: Token) -> Result<Answer, Failure> {
    let desk = cx.desk()?;
    match args {
        Token::Create(args) => {
            let scopes = (!args.scope.is_empty()).then(|| args.scope.join(" "));
            let Create { account, name, days, .. } = args;
            let token = desk.ask(&Call::CreateToken { account, name, scopes, days })?;
            eprintln!("It is not shown again. It counts until {}.", text(&token, "expires"));
            cx.out.value(&token, text(&token, "token"))?;
        }
        Token::List(args) => {
            let tokens = desk.all(&Call::Tokens(args.account))?;
            let head = ["token", "name", "scopes", "expires", "last used", "revoked"];
            cx.out.table(
                &head,
                tokens.into_iter().map(|token| {
                    let times = ["expires", "last_used", "revoked"];
                    let times = times.map(|name| output::time(text(&token, name)));
                    let cells = ["id", "name", "scopes"].map(|name| text(&token, name));
                    (token, cells.into_iter().chain(times).collect())
                }),
            )?;
        }
        Token::Revoke(args) => {
            let token = desk.ask(&Call::RevokeToken(args.id))?;
            cx.out.value(&token, format_args!("{} is revoked", text(&token, "id")))?;
        }
        Token::Exchange => {
            let path = token_file().ok_or_else(|| {
                Failure::usage("no place for the token is known: HOME is not set")
                    .hint("Name a file with STRONGROOM_TOKEN_FILE.")
            })?;
            // Whether it can be kept is known before the one-time token is used up.
            let mut file = keep(&path).map_err(|e| Failure::io(path.display(), &e))?;
            let token = desk.ask(&Call::ExchangeToken);
            if token.is_err() {
                let _ = std::fs::remove_file(&path);
            }
            let token = token?;
            let kept = writeln!(file, "{}", text(&token, "token")).and_then(|()| file.sync_all());
            kept.map_err(|e| Failure::io(path.display(), &e))?;
            let until = output::time(text(&token, "expires"));
            let line = format!("The token is kept in {}, and counts until {until}", path.display());
            cx.out.value(&token, line)?;
        }
    }
    Ok(Answer::Yes)
}

/// A new file that its owner alone may read.
fn keep(path: &PathBuf) -> std::io::Result<std::fs::File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_string()
}
