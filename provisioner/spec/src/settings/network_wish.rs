//! `--network`: how the host reaches the machines.

use std::str::FromStr;

use minik_driver::NetworkMode;

use crate::error::SpecError;

/// How machines should be reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetworkWish {
    /// The best this user may have.
    #[default]
    Auto,
    /// Exactly so.
    Mode(NetworkMode),
}

impl NetworkWish {
    /// The mode, if one was named.
    pub fn mode(self) -> Option<NetworkMode> {
        match self {
            NetworkWish::Auto => None,
            NetworkWish::Mode(mode) => Some(mode),
        }
    }
}

impl FromStr for NetworkWish {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<NetworkWish, SpecError> {
        match text {
            "" | "auto" => Ok(NetworkWish::Auto),
            "tap" => Ok(NetworkWish::Mode(NetworkMode::Tap)),
            "user" | "builtin" => Ok(NetworkWish::Mode(NetworkMode::User)),
            _ => Err(SpecError::setting("network", text, "is none of auto, tap, user")),
        }
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("auto", Some(NetworkWish::Auto))]
    #[test_case("tap", Some(NetworkWish::Mode(NetworkMode::Tap)))]
    #[test_case("user", Some(NetworkWish::Mode(NetworkMode::User)))]
    #[test_case("builtin", Some(NetworkWish::Mode(NetworkMode::User)); "minikube's word")]
    #[test_case("socket_vmnet", None)]
    fn wishes(text: &str, expected: Option<NetworkWish>) {
        assert_eq!(text.parse().ok(), expected);
    }
}
