//! Settings, and where each one comes from: a flag, else the environment, else a default.

use crate::errors::Failure;
use std::path::{Path, PathBuf};

/// Names the data folder.
pub(crate) const DATA_VARIABLE: &str = "STRONGROOM_DATA";
/// Names what is logged.
pub(crate) const LOG_VARIABLE: &str = "STRONGROOM_LOG";
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
}

impl Settings {
    /// From the flag and the environment.
    pub(crate) fn gather(flag: Option<PathBuf>) -> Settings {
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
        Settings { data, data_source, log, log_source }
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

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}
