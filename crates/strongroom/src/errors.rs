//! The one place where an error gets its code, its hint and its exit code.

use crate::output::Output;
use std::fmt::Display;
use std::process::ExitCode;
use strongroom_intake::Code;

/// How a command ended that could tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// Done, or yes.
    Yes,
    /// The answer is no; the command has said why.
    No,
}

impl Answer {
    /// Yes, if this holds.
    pub(crate) fn of(holds: bool) -> Answer {
        if holds { Answer::Yes } else { Answer::No }
    }
}

impl From<Answer> for ExitCode {
    fn from(answer: Answer) -> ExitCode {
        ExitCode::from(match answer {
            Answer::Yes => 0,
            Answer::No => Exit::No as u8,
        })
    }
}

/// The exit codes of failures.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Exit {
    /// Done.
    Done = 0,
    /// The answer is no.
    No = 1,
    /// Used wrongly.
    Usage = 2,
    /// Could not tell, or could not do it.
    Unable = 3,
}

/// Why a command could not go on, as a person is told.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) hint: String,
    pub(crate) exit: Exit,
    /// Nothing more to say.
    quiet: bool,
}

impl Failure {
    fn new(code: &'static str, exit: Exit, message: impl Display) -> Failure {
        let (message, hint) = (message.to_string(), String::new());
        Failure { code, message, hint, exit, quiet: false }
    }

    /// The request makes no sense.
    pub(crate) fn usage(message: impl Display) -> Failure {
        Failure::new(Code::Usage.word(), Exit::Usage, message).hint(Code::Usage.remedy())
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Display) -> Failure {
        Failure::new(Code::NotFound.word(), Exit::No, message).hint(Code::NotFound.remedy())
    }

    /// The system refused, while `doing`.
    pub(crate) fn io(doing: impl Display, error: &std::io::Error) -> Failure {
        Failure::new("system", Exit::Unable, format_args!("{doing}: {error}"))
    }

    /// Something that should not be.
    pub(crate) fn internal(message: impl Display) -> Failure {
        let code = Code::Internal;
        Failure::new(code.word(), Exit::Unable, message).hint(code.remedy())
    }

    /// stdout cannot be written. A reader that has gone (`| head`) is no failure worth a word.
    pub(crate) fn stdout(error: &std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::told(Exit::Done),
            _ => Failure::io("stdout", error),
        }
    }

    /// Nobody can tell.
    pub(crate) fn undecided(message: impl Display) -> Failure {
        Failure::new("undecided", Exit::Unable, message)
    }

    /// What the demo shows did not hold.
    pub(crate) fn did_not_hold(what: &str) -> Failure {
        Failure::new("demo", Exit::No, format_args!("it did not hold that {what}"))
    }

    /// What was told already, and still decides the exit code.
    pub(crate) fn told(exit: Exit) -> Failure {
        Failure { quiet: true, ..Failure::new("told", exit, "") }
    }

    /// Why a work item did not end well.
    pub(crate) fn of(error: &strongroom_intake::Error) -> Failure {
        Failure::coded(error.code(), chain(error))
    }

    /// What is known by its code, such as of a server.
    pub(crate) fn coded(code: Code, message: impl Display) -> Failure {
        let exit = match code {
            Code::SourceRefused | Code::SegmentLost | Code::NotFound | Code::Forbidden => Exit::No,
            Code::Usage
            | Code::Ambiguous
            | Code::SourceDiffers
            | Code::TargetExists
            | Code::ShelfTaken => Exit::Usage,
            _ => Exit::Unable,
        };
        Failure::new(code.word(), exit, message).hint(code.remedy())
    }

    /// A server cannot be reached, or not be understood.
    pub(crate) fn server(message: impl Display) -> Failure {
        Failure::new("server", Exit::Unable, message).hint(
            "Look whether `strongroom serve` runs there, and at --server or STRONGROOM_SERVER.",
        )
    }

    /// Whether there is no such thing.
    pub(crate) fn is_not_found(&self) -> bool {
        self.code == Code::NotFound.word()
    }

    /// With this hint instead.
    pub(crate) fn hint(self, hint: impl Into<String>) -> Failure {
        Failure { hint: hint.into(), ..self }
    }

    /// As JSON, as it stands under `error`.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "exit": self.exit as u8,
        })
    }

    /// Says it on stderr, where it is the last word.
    pub(crate) fn tell(&self, out: Output) -> ExitCode {
        if self.quiet {
        } else if out.is_json() {
            eprintln!("{}", serde_json::json!({ "error": self.to_json() }));
        } else {
            self.say();
        }
        ExitCode::from(self.exit as u8)
    }

    /// Says it on stderr, for a person.
    pub(crate) fn say(&self) {
        eprintln!("error[{}]: {}", self.code, self.message);
        if !self.hint.is_empty() {
            eprintln!("  {}", self.hint);
        }
    }
}

impl From<strongroom_intake::Error> for Failure {
    fn from(error: strongroom_intake::Error) -> Failure {
        Failure::of(&error)
    }
}

impl From<strongroom_serve::Error> for Failure {
    fn from(error: strongroom_serve::Error) -> Failure {
        match error {
            strongroom_serve::Error::Archive(error) => Failure::of(&error),
            error => Failure::coded(error.code(), chain(&error)),
        }
    }
}

impl From<strongroom_registry::Error> for Failure {
    fn from(error: strongroom_registry::Error) -> Failure {
        strongroom_intake::Error::from(error).into()
    }
}

impl From<strongroom_vault::Error> for Failure {
    fn from(error: strongroom_vault::Error) -> Failure {
        strongroom_intake::Error::from(error).into()
    }
}

impl From<strongroom_record::Error> for Failure {
    fn from(error: strongroom_record::Error) -> Failure {
        strongroom_intake::Error::from(error).into()
    }
}

impl From<strongroom_bag::Error> for Failure {
    fn from(error: strongroom_bag::Error) -> Failure {
        use strongroom_bag::Error as Bag;
        let exit = match &error {
            Bag::Asked(_) | Bag::Profile(_) | Bag::AlreadyABag(_) => Exit::Usage,
            Bag::NotABag(_) | Bag::Unfit { .. } => Exit::No,
            _ => Exit::Unable,
        };
        Failure::new("bag", exit, chain(&error))
    }
}

/// An error with its causes; a cause that its error's text holds already is not said twice.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let words = inner.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_exit_code() {
        use strongroom_intake::Error;
        let check = |error: Error, code: &str, exit: Exit| {
            let failure = Failure::from(error);
            assert_eq!((failure.code, failure.exit), (code, exit), "{}", failure.message);
            assert!(!failure.hint.is_empty(), "{code} has no hint");
        };
        check(Error::Usage("x".into()), "usage", Exit::Usage);
        check(Error::TargetExists("/x".into()), "target-exists", Exit::Usage);
        check(Error::NotFound { what: "object", name: "x".into() }, "not-found", Exit::No);
        check(Error::Refused(vec![]), "source-refused", Exit::No);
        check(Error::Interrupted, "interrupted", Exit::Unable);
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert!(Failure::stdout(&gone).quiet);
        let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
        assert!(!Failure::stdout(&full).quiet);
    }
}
