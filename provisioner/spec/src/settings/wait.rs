//! `--wait`: what `start` waits for before it says it is done.

use std::str::FromStr;

use crate::error::SpecError;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitFor {
    /// The API server answers.
    pub api_server: bool,
    /// The nodes are Ready; with it everything that runs inside the node's own process.
    pub nodes: bool,
}

impl WaitFor {
    /// Nothing.
    pub const NONE: WaitFor = WaitFor { api_server: false, nodes: false };
    /// Everything.
    pub const ALL: WaitFor = WaitFor { api_server: true, nodes: true };
}

impl Default for WaitFor {
    /// A cluster one can deploy to: nodes come Ready within a second of the API server.
    fn default() -> WaitFor {
        WaitFor::ALL
    }
}

impl FromStr for WaitFor {
    type Err = SpecError;

    /// A list of minikube's words. Those for parts that are inside the node's own process
    /// (`system_pods`, `default_sa`, `apps_running`, `kubelet`, `extra`) mean that the node is Ready.
    fn from_str(text: &str) -> Result<WaitFor, SpecError> {
        let mut wait = WaitFor::NONE;
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match word {
                "all" | "true" => wait = WaitFor::ALL,
                "none" | "false" => return Ok(WaitFor::NONE),
                "apiserver" => wait.api_server = true,
                "system_pods" | "default_sa" | "apps_running" | "node_ready" | "kubelet"
                | "extra" => wait = WaitFor::ALL,
                _ => {
                    let reason = "is none of apiserver, system_pods, default_sa, apps_running, \
                                  node_ready, kubelet, extra, all, none, true, false";
                    return Err(SpecError::setting("wait", word, reason));
                }
            }
        }
        Ok(wait)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const API: WaitFor = WaitFor { api_server: true, nodes: false };

    #[test_case("apiserver", Some(API))]
    #[test_case("apiserver,system_pods", Some(WaitFor::ALL); "minikube's default")]
    #[test_case("all", Some(WaitFor::ALL))]
    #[test_case("true", Some(WaitFor::ALL))]
    #[test_case("none", Some(WaitFor::NONE))]
    #[test_case("", Some(WaitFor::NONE); "empty")]
    #[test_case("sunshine", None)]
    fn waits(text: &str, expected: Option<WaitFor>) {
        assert_eq!(text.parse().ok(), expected);
    }
}
