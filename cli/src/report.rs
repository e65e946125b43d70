//! What a failed command tells its user: a stable id, what happened, what to do, an exit code.

use std::error::Error;
use std::fmt::Write as _;

use crate::exit::Exit;

/// A failure ready to be shown: made from an error's facts by the tables in [`crate::advice`].
#[derive(Debug)]
pub(crate) struct Report {
    /// Stable name that scripts and searches can rely on, as `GUEST_NOT_FOUND`.
    pub(crate) id: &'static str,
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) advice: Vec<String>,
    /// Nothing more is printed: the command has already said it (an exit code of `ssh`, `status`).
    pub(crate) silent: bool,
}

impl Report {
    pub(crate) fn new(id: &'static str, exit: Exit, message: impl Into<String>) -> Report {
        Report { id, exit, message: message.into(), advice: Vec::new(), silent: false }
    }

    /// From an error, with the errors it came from behind it: `a: b: c`.
    pub(crate) fn of(id: &'static str, exit: Exit, err: &dyn Error) -> Report {
        Report::new(id, exit, chain(err))
    }

    /// Ends with `code` and prints nothing.
    pub(crate) fn silent(code: u8) -> Report {
        Report {
            id: "EXIT",
            exit: Exit(code),
            message: String::new(),
            advice: Vec::new(),
            silent: true,
        }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Report {
        Report::new("MK_USAGE", Exit::USAGE, message)
    }

    /// Adds one thing the user can do.
    pub(crate) fn advise(mut self, advice: impl Into<String>) -> Report {
        self.advice.push(advice.into());
        self
    }
}

/// An error and its sources in one line, each said once.
pub(crate) fn chain(err: &dyn Error) -> String {
    let mut text = err.to_string();
    let mut next = err.source();
    while let Some(source) = next {
        let said = source.to_string();
        if !text.contains(&said) {
            let _ = write!(text, ": {said}");
        }
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("opening the disk")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_report_names_each_cause_once() {
        let err = Outer(std::io::Error::other("no space left"));
        assert_eq!(chain(&err), "opening the disk: no space left");
    }
}
