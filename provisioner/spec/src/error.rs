//! What can be wrong with what the user asked for.

use crate::changes::Change;

/// Why a request or a profile file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// One setting's value is not understood.
    #[error("{setting}: `{given}` {reason}")]
    Setting {
        /// Name of the setting, as its flag is called.
        setting: &'static str,
        /// What was given.
        given: String,
        /// What is wrong with it, to be read after the value.
        reason: String,
    },
    /// The existing cluster cannot be changed like this; it must be deleted first.
    #[error("the existing cluster `{profile}` cannot be changed: {}", list(.changes))]
    NeedsDelete {
        /// The cluster.
        profile: String,
        /// What would have to change.
        changes: Vec<Change>,
    },
    /// The profile file was written by a newer minik.
    #[error(
        "the profile was written by a newer minik: its version is {found}, this program understands up to {supported}"
    )]
    TooNew {
        /// The version in the file.
        found: u64,
        /// The newest version this program understands.
        supported: u64,
    },
    /// The profile file is damaged.
    #[error("the profile file is not understood: {reason}")]
    Malformed {
        /// What the parser said, with line and column.
        reason: String,
    },
}

impl SpecError {
    pub(crate) fn setting(
        setting: &'static str,
        given: impl Into<String>,
        reason: impl Into<String>,
    ) -> SpecError {
        SpecError::Setting { setting, given: given.into(), reason: reason.into() }
    }
}

fn list(changes: &[Change]) -> String {
    changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
