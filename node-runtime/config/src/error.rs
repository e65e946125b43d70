//! What can be wrong with a node file.

use std::io;
use std::path::PathBuf;

/// Why a node file could not be read, understood or written.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read node file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write node file {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The text is not YAML, has an unknown or missing field, or a value of the wrong type.
    #[error("node file is not understood: {reason}")]
    Malformed {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// The file was written by a newer minik.
    #[error("node file has version {found}, this program understands up to {supported}")]
    TooNew {
        /// The version in the file.
        found: u32,
        /// The newest version this program understands.
        supported: u32,
    },
    /// A value is well-formed but cannot be used.
    #[error("node file: {field}: {reason}")]
    Invalid {
        /// Path of the field, as written in the file.
        field: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
}
