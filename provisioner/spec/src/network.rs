//! The addresses of all machines of a cluster, planned together.

use minik_driver::{CidrRefused, InUse, NetworkMode, NetworkPlan, NetworkRequest, plan_network};

use crate::cluster::ClusterSpec;

/// Gives every node without addresses its own, in one network; those already planned stay.
///
/// `in_use` are the networks of the host and of other profiles; the cluster's own ranges are added
/// here. `mode` is how machines will be reached and is written into every plan.
pub fn plan_networks(
    spec: &mut ClusterSpec,
    mode: NetworkMode,
    in_use: &[InUse],
) -> Result<(), CidrRefused> {
    let mut in_use = in_use.to_vec();
    in_use.push(InUse { network: spec.service_cidr, by: "the cluster's services".to_owned() });
    in_use.push(InUse { network: spec.pod_cidr, by: "the cluster's pods".to_owned() });

    let mut cidr = spec
        .nodes
        .iter()
        .find_map(|node| node.network.as_ref().map(host_cidr))
        .or_else(|| spec.host_only_cidr.clone());
    for node in &mut spec.nodes {
        if let Some(plan) = &mut node.network {
            plan.mode = mode;
            continue;
        }
        let plan = plan_network(
            &NetworkRequest {
                profile: spec.profile.as_str(),
                machine: &node.name,
                index: node.index,
                mode,
                cidr: cidr.as_deref(),
            },
            &in_use,
        )?;
        cidr.get_or_insert_with(|| host_cidr(&plan));
        node.network = Some(plan);
    }
    spec.network = Some(mode);
    Ok(())
}

fn host_cidr(plan: &NetworkPlan) -> String {
    format!("{}/{}", plan.host_address, plan.cidr.prefix())
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::request::tests::sample;

    fn check(cidr: Option<&str>, in_use: &[&str], expected: Expect) {
        let mut spec = sample("dev", 2);
        spec.host_only_cidr = cidr.map(str::to_owned);
        let in_use: Vec<InUse> = in_use
            .iter()
            .map(|text| InUse { network: text.parse().unwrap(), by: "interface eth0".to_owned() })
            .collect();
        let text = match plan_networks(&mut spec, NetworkMode::User, &in_use) {
            Ok(()) => spec
                .nodes
                .iter()
                .map(|node| format!("{} {}", node.name, node.network.as_ref().unwrap().address))
                .collect::<Vec<_>>()
                .join(", "),
            Err(refused) => refused.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn nodes_share_one_network() {
        check(None, &[], expect!["dev 192.168.60.2, dev-m02 192.168.60.3"]);
        check(None, &["192.168.60.0/24"], expect!["dev 192.168.62.2, dev-m02 192.168.62.3"]);
        check(Some("192.168.77.1/24"), &[], expect!["dev 192.168.77.2, dev-m02 192.168.77.3"]);
        check(
            Some("10.100.0.1/24"),
            &[],
            expect!["10.100.0.1/24 overlaps with 10.96.0.0/12 of the cluster's services"],
        );
    }

    #[test]
    fn a_new_node_joins_the_network_of_the_others() {
        let mut spec = sample("dev", 1);
        plan_networks(&mut spec, NetworkMode::Tap, &[]).unwrap();
        let before = spec.nodes[0].clone();
        spec.nodes.push(spec.next_node());
        // The profile's own network is in use by now only if somebody counts it; it must not be.
        plan_networks(&mut spec, NetworkMode::User, &[]).unwrap();
        let (first, second) = (&spec.nodes[0], &spec.nodes[1]);
        assert_eq!(first.network.as_ref().unwrap().address, before.network.unwrap().address);
        assert_eq!(second.network.as_ref().unwrap().cidr, first.network.as_ref().unwrap().cidr);
        assert_eq!(first.network.as_ref().unwrap().mode, NetworkMode::User);
    }
}
