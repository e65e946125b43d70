//! The program that runs in the guest, on this side: where it is found.

use std::env;
use std::path::{Path, PathBuf};

use crate::error::{ProvisionError, Result};

/// Name of the program's file.
const NAME: &str = "minik-node";

/// Where `minik-node` may be, best first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeBinary {
    candidates: Vec<PathBuf>,
}

impl NodeBinary {
    /// `MINIK_NODE_BINARY` if set, and nothing else then; else beside this program, or in the `lib`
    /// folder of the prefix it is installed in.
    pub fn from_env() -> NodeBinary {
        NodeBinary::choose(
            env::var_os("MINIK_NODE_BINARY").map(PathBuf::from),
            env::current_exe().ok(),
        )
    }

    /// Exactly that file.
    pub fn at(path: impl Into<PathBuf>) -> NodeBinary {
        NodeBinary { candidates: vec![path.into()] }
    }

    fn choose(named: Option<PathBuf>, program: Option<PathBuf>) -> NodeBinary {
        if let Some(named) = named.filter(|path| !path.as_os_str().is_empty()) {
            return NodeBinary::at(named);
        }
        let folder = program.as_deref().and_then(Path::parent);
        let beside = folder.map(|folder| folder.join(NAME));
        let installed =
            folder.and_then(Path::parent).map(|prefix| prefix.join("lib/minik").join(NAME));
        NodeBinary { candidates: beside.into_iter().chain(installed).collect() }
    }

    /// The first candidate that is a file.
    ///
    /// # Errors
    /// [`ProvisionError::NodeBinaryMissing`] with every place that was tried.
    pub fn find(&self) -> Result<PathBuf> {
        let found = self.candidates.iter().find(|path| path.is_file()).cloned();
        found.ok_or_else(|| ProvisionError::NodeBinaryMissing { tried: self.candidates.clone() })
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case(None, "/p/bin/minik", "/p/bin/minik-node /p/lib/minik/minik-node"; "beside or installed")]
    #[test_case(Some("/x/node"), "/p/bin/minik", "/x/node"; "named wins alone")]
    #[test_case(Some(""), "/p/bin/minik", "/p/bin/minik-node /p/lib/minik/minik-node"; "empty is unset")]
    fn places(named: Option<&str>, program: &str, expected: &str) {
        let binary = NodeBinary::choose(named.map(PathBuf::from), Some(program.into()));
        let text: Vec<String> =
            binary.candidates.iter().map(|path| path.display().to_string()).collect();
        assert_eq!(text.join(" "), expected);
    }
}
