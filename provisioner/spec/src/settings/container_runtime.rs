//! `--container-runtime`: what runs containers in the guest.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::SpecError;

/// What runs containers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerRuntime {
    /// containerd, which the guest image has. Docker Engine beside it shares its images.
    #[default]
    Containerd,
}

impl FromStr for ContainerRuntime {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<ContainerRuntime, SpecError> {
        match text {
            "" | "auto" | "containerd" => Ok(ContainerRuntime::Containerd),
            "docker" => Err(SpecError::setting(
                "container-runtime",
                text,
                "cannot run pods; containerd does, and Docker Engine in the guest shares its images",
            )),
            _ => Err(SpecError::setting("container-runtime", text, "is not containerd")),
        }
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("containerd", true)]
    #[test_case("", true; "unset chooses")]
    #[test_case("docker", false)]
    #[test_case("cri-o", false)]
    fn runtimes(text: &str, fine: bool) {
        assert_eq!(text.parse::<ContainerRuntime>().is_ok(), fine);
    }
}
