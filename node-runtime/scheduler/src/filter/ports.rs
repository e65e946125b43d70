//! Two pods cannot have the same port of a node.

use crate::cluster::{NodeFacts, PodFacts};
use crate::filter::{Refusal, Wakes};

pub(super) fn check(pod: &PodFacts, node: &NodeFacts) -> Option<Refusal> {
    if pod.ports.is_empty() {
        return None;
    }
    let mut taken = node.pods.values().flat_map(|other| &other.ports);
    let taken = taken.any(|taken| pod.ports.iter().any(|port| port.collides(taken)));
    taken.then(|| {
        let reason = "node(s) didn't have free ports for the requested pod ports";
        Refusal::curable(reason, Wakes::ROOM)
    })
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use crate::cluster::HostPort;

    #[test_case(("", "TCP", 80), ("", "TCP", 80), true; "same")]
    #[test_case(("", "TCP", 80), ("", "UDP", 80), false; "other protocol")]
    #[test_case(("", "TCP", 80), ("10.0.0.1", "TCP", 80), true; "all addresses against one")]
    #[test_case(("10.0.0.2", "TCP", 80), ("10.0.0.1", "TCP", 80), false; "two addresses")]
    #[test_case(("", "TCP", 80), ("", "TCP", 81), false; "other number")]
    fn collisions(a: (&str, &str, i32), b: (&str, &str, i32), expected: bool) {
        let port = |(address, protocol, port): (&str, &str, i32)| HostPort {
            address: address.to_owned(),
            protocol: protocol.to_owned(),
            port,
        };
        assert_eq!(port(a).collides(&port(b)), expected);
    }
}
