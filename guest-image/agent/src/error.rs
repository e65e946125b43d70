//! What can go wrong in the guest, with the facts a reader of the console needs.

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Usage(&'static str),
    #[error("cannot {doing} {path}")]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot mount {what} on {on}")]
    Mount { what: String, on: PathBuf, source: io::Error },
    #[error("kernel module {path} does not load")]
    Module { path: PathBuf, source: io::Error },
    #[error("no disk with the serial {serial}; disks here: {}", list(.present))]
    NoDisk { serial: &'static str, present: Vec<String> },
    #[error("{program} failed: {said}")]
    Program { program: String, said: String },
    #[error("{document} of the seed is not what it should be")]
    Seed { document: &'static str, source: serde_json::Error },
    #[error("the seed is not usable: {0}")]
    SeedContent(String),
    #[error("no virtio port named {0}: the host does not listen")]
    NoChannel(&'static str),
    #[error("cannot {doing}")]
    System { doing: &'static str, source: io::Error },
}

/// Adapts an I/O failure on `path`, for `map_err`.
pub(crate) fn on_file(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> Error {
    let path = path.into();
    move |source| Error::File { doing, path, source }
}

/// Adapts a failed system call, for `map_err`.
pub(crate) fn on_system(doing: &'static str) -> impl FnOnce(rustix::io::Errno) -> Error {
    move |errno| Error::System { doing, source: errno.into() }
}

/// The message with all its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        cause = inner.source();
    }
    line
}

fn list(present: &[String]) -> String {
    if present.is_empty() { "none".into() } else { present.join(", ") }
}
