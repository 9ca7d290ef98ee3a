//! Settings, and where each one comes from: a flag, else the environment, else a default.

use crate::errors::Failure;
use std::path::{Path, PathBuf};

/// Names the data folder.
pub(crate) const DATA_VARIABLE: &str = "STRONGROOM_DATA";
/// Names what is logged.
pub(crate) const LOG_VARIABLE: &str = "STRONGROOM_LOG";
/// The server that is asked.
pub(crate) const SERVER_VARIABLE: &str = "STRONGROOM_SERVER";
/// The token that it is shown.
pub(crate) const TOKEN_VARIABLE: &str = "STRONGROOM_TOKEN";
/// Names the file in which the token stands, where the variable is not set.
pub(crate) const TOKEN_FILE_VARIABLE: &str = "STRONGROOM_TOKEN_FILE";
/// What is logged where nothing else is said.
pub(crate) const LOG_DEFAULT: &str = "warn";

/// Where a setting comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Source {
    Flag,
    Environment,
    Default,
}

impl Source {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Source::Flag => "flag",
            Source::Environment => "environment",
            Source::Default => "default",
        }
    }
}

/// All settings of one run.
pub(crate) struct Settings {
    data: Option<PathBuf>,
    pub(crate) data_source: Source,
    pub(crate) log: String,
    pub(crate) log_source: Source,
    /// The server that is asked instead of an archive on this machine.
    pub(crate) server: Option<String>,
}

impl Settings {
    /// From the flag and the environment.
    pub(crate) fn gather(flag: Option<PathBuf>, server: Option<String>) -> Settings {
        let (data, data_source) = match (flag, variable(DATA_VARIABLE)) {
            (Some(path), _) => (Some(path), Source::Flag),
            (None, Some(path)) => (Some(path), Source::Environment),
            (None, None) => (default_data(), Source::Default),
        };
        let (log, log_source) = match variable(LOG_VARIABLE) {
            Some(filter) => (filter.to_string_lossy().into_owned(), Source::Environment),
            None => (LOG_DEFAULT.into(), Source::Default),
        };
        let data = data.map(|path| std::path::absolute(&path).unwrap_or(path));
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        let server = server.or_else(|| variable(SERVER_VARIABLE).map(text));
        Settings { data, data_source, log, log_source, server }
    }

    /// The token for a server, where there is one.
    pub(crate) fn token(&self) -> Result<Option<String>, Failure> {
        if let Some(token) = variable(TOKEN_VARIABLE) {
            return Ok(Some(token.to_string_lossy().into_owned()));
        }
        let Some(path) = token_file() else { return Ok(None) };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text.trim().to_string())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::io(path.display(), &error)),
        }
    }

    /// The data folder, absolute.
    pub(crate) fn data(&self) -> Result<&Path, Failure> {
        self.data.as_deref().ok_or_else(|| {
            Failure::usage("no data folder is known: HOME and XDG_DATA_HOME are not set")
                .hint("Name it with --data DIR or STRONGROOM_DATA.")
        })
    }
}

/// `$XDG_DATA_HOME/strongroom`, else `~/.local/share/strongroom` (XDG Base Directory 0.8, which says
/// that a path that is not absolute is to be ignored).
fn default_data() -> Option<PathBuf> {
    let xdg = variable("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| home.join(".local/share"));
    Some(xdg.or_else(home)?.join("strongroom"))
}

/// `STRONGROOM_TOKEN_FILE`, else `$XDG_CONFIG_HOME/strongroom/token`, else `~/.config/strongroom/token`.
pub(crate) fn token_file() -> Option<PathBuf> {
    let xdg = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| home.join(".config"));
    let default = || Some(xdg.or_else(home)?.join("strongroom/token"));
    variable(TOKEN_FILE_VARIABLE).or_else(default)
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
