//! What can be wrong with a bag.

use std::fmt;

/// How much a [`Problem`] weighs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// The bag is not valid.
    Error,
    /// The bag is valid, and somebody should look.
    Warning,
}

/// One thing that is wrong, or worth a look.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// A stable name in kebab-case, for programs and for documentation.
    pub code: &'static str,
    /// Whether it makes the bag invalid.
    pub severity: Severity,
    /// The file in the bag that it is about.
    pub path: Option<Vec<u8>>,
    /// For people: what was expected, what was found, at which line or offset.
    pub detail: String,
}

impl Problem {
    /// A problem that makes the bag invalid.
    pub fn error(code: &'static str, path: impl Into<Vec<u8>>, detail: impl Into<String>) -> Self {
        Problem {
            code,
            severity: Severity::Error,
            path: Some(path.into()),
            detail: detail.into(),
        }
    }

    /// A problem that leaves the bag valid.
    pub fn warning(
        code: &'static str,
        path: impl Into<Vec<u8>>,
        detail: impl Into<String>,
    ) -> Self {
        Problem { severity: Severity::Warning, ..Problem::error(code, path, detail) }
    }

    /// A problem of the bag as a whole.
    pub fn of_bag(code: &'static str, detail: impl Into<String>) -> Self {
        Problem { code, severity: Severity::Error, path: None, detail: detail.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if let Some(path) = &self.path {
            write!(f, "{}: ", crate::path::show(path))?;
        }
        write!(f, "{} [{}]", self.detail, self.code)
    }
}

/// A bounded list of problems. What goes beyond the bound is counted, and said.
#[derive(Clone, Debug, Default)]
pub struct Problems {
    kept: Vec<Problem>,
    passed_over: u64,
    errors: u64,
}

/// So many problems are kept, errors and warnings together.
pub const PROBLEMS_MAX: usize = 100_000;

impl Problems {
    /// Keeps a problem, or counts it when too many are kept already.
    pub fn push(&mut self, problem: Problem) {
        if problem.severity == Severity::Error {
            self.errors += 1;
        }
        if self.kept.len() < PROBLEMS_MAX {
            self.kept.push(problem);
        } else {
            self.passed_over += 1;
        }
    }

    /// Whether any of them makes the bag invalid.
    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// Those kept so far.
    pub fn as_slice(&self) -> &[Problem] {
        &self.kept
    }

    /// All of them: errors before warnings, each in the order of their paths.
    pub fn into_vec(mut self) -> Vec<Problem> {
        self.kept.sort_by(|a, b| {
            (a.severity, &a.path, a.code).cmp(&(b.severity, &b.path, b.code))
        });
        if self.passed_over > 0 {
            let detail = format!("{} more problems are not listed", self.passed_over);
            self.kept.push(Problem::of_bag("too-many-problems", detail));
        }
        self.kept
    }
}

impl Extend<Problem> for Problems {
    fn extend<T: IntoIterator<Item = Problem>>(&mut self, iter: T) {
        iter.into_iter().for_each(|problem| self.push(problem));
    }
}
