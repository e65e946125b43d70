//! From one command line and what the profile said before to a cluster.

use std::net::Ipv4Addr;
use std::time::Duration;

use ipnetwork::Ipv4Network;
use minik_driver::HostResources;

use crate::changes::{Change, Effect, changes};
use crate::cluster::{ApiServerSpec, ClusterSpec, ImageChoice, KUBERNETES_VERSION, NodeSpec};
use crate::error::SpecError;
use crate::settings::{self, ContainerRuntime, Cpus, DiskSize, HumanDuration, Memory};
use crate::settings::{APISERVER, NetworkWish, ProfileName};

/// Most machines one cluster may have: with more, names and addresses would not fit their forms.
const NODES_MAX: u32 = 99;

/// How long certificates are valid when nothing is said: minikube's three years.
const CERT_EXPIRATION: HumanDuration = HumanDuration(Duration::from_secs(26_280 * 3600));

/// What one command line said; none is not said, and keeps what the profile has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// `--driver`
    pub driver: Option<String>,
    /// `--cpus`
    pub cpus: Option<Cpus>,
    /// `--memory`
    pub memory: Option<Memory>,
    /// `--disk-size`
    pub disk_size: Option<DiskSize>,
    /// `--nodes`
    pub nodes: Option<u32>,
    /// `--network`
    pub network: Option<NetworkWish>,
    /// `--host-only-cidr`
    pub host_only_cidr: Option<String>,
    /// `--guest-image-url`
    pub guest_image: Option<String>,
    /// `--kubernetes-version`
    pub kubernetes_version: Option<String>,
    /// `--container-runtime`
    pub container_runtime: Option<ContainerRuntime>,
    /// `--apiserver-port`
    pub api_server_port: Option<u16>,
    /// `--apiserver-name` and `--apiserver-names`
    pub api_server_names: Option<Vec<String>>,
    /// `--apiserver-ips`
    pub api_server_ips: Option<Vec<String>>,
    /// `--extra-config apiserver.…`: flags with their values, or the texts of their files; empty
    /// takes back what the profile has
    pub api_server_flags: Vec<(&'static str, String)>,
    /// `--service-cluster-ip-range`
    pub service_cidr: Option<String>,
    /// `--dns-domain`
    pub dns_domain: Option<String>,
    /// `--cert-expiration`
    pub cert_expiration: Option<HumanDuration>,
}

/// A cluster to be made or kept, and how it differs from what is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The cluster.
    pub spec: ClusterSpec,
    /// Settings that change; none of them needs the cluster to be deleted.
    pub changes: Vec<Change>,
}

/// Makes the cluster a request means. `default_driver` is taken when neither request nor profile
/// name one.
///
/// # Errors
/// A value that cannot be used, or a change the existing cluster cannot take.
pub fn resolve(
    profile: &ProfileName,
    request: &Request,
    existing: Option<&ClusterSpec>,
    host: &HostResources,
    default_driver: &str,
) -> Result<Resolved, SpecError> {
    let mut spec = match existing {
        Some(existing) => existing.clone(),
        None => fresh(profile, request.nodes.unwrap_or(1), host, default_driver),
    };
    apply(&mut spec, request, host)?;
    let Some(existing) = existing else { return Ok(Resolved { spec, changes: Vec::new() }) };

    let found = changes(existing, &spec);
    let impossible: Vec<Change> =
        found.iter().filter(|change| change.effect == Effect::Delete).cloned().collect();
    if !impossible.is_empty() {
        return Err(SpecError::NeedsDelete { profile: profile.to_string(), changes: impossible });
    }
    Ok(Resolved { spec, changes: found })
}

fn fresh(profile: &ProfileName, nodes: u32, host: &HostResources, driver: &str) -> ClusterSpec {
    ClusterSpec {
        profile: profile.clone(),
        driver: driver.to_owned(),
        cpus: Cpus::default().on(host).min(host.cpus.max(1)),
        memory_mib: settings::default_memory_mib(host, nodes),
        disk_mib: DiskSize::default().mib,
        host_only_cidr: None,
        network: None,
        image: ImageChoice::default(),
        kubernetes_version: KUBERNETES_VERSION.to_owned(),
        container_runtime: ContainerRuntime::default(),
        api_server: ApiServerSpec::default(),
        service_cidr: range([10, 96, 0, 0], 12),
        pod_cidr: range([10, 244, 0, 0], 16),
        dns_domain: "cluster.local".to_owned(),
        cert_expiration: CERT_EXPIRATION,
        nodes: vec![NodeSpec::new(profile, 0)],
    }
}

fn apply(spec: &mut ClusterSpec, request: &Request, host: &HostResources) -> Result<(), SpecError> {
    if let Some(driver) = &request.driver {
        spec.driver.clone_from(driver);
    }
    if let Some(cpus) = request.cpus {
        spec.cpus = cpus.on(host);
    }
    if let Some(memory) = request.memory {
        spec.memory_mib = memory.on(host);
    }
    if let Some(disk) = request.disk_size {
        spec.disk_mib = disk.mib;
    }
    if let Some(count) = request.nodes {
        set_nodes(spec, count)?;
    }
    if let Some(NetworkWish::Mode(mode)) = request.network {
        spec.network = Some(mode);
    }
    if let Some(cidr) = &request.host_only_cidr {
        set_cidr(spec, cidr);
    }
    if let Some(source) = &request.guest_image
        && spec.image.source.as_ref() != Some(source)
    {
        // Another source means another image: the old one is not held on to.
        spec.image = ImageChoice { source: Some(source.clone()), pinned: None };
    }
    if let Some(version) = &request.kubernetes_version {
        settings::check_version(version)?;
    }
    // A profile made by an older minik moves to the Kubernetes this one is.
    spec.kubernetes_version = KUBERNETES_VERSION.to_owned();
    if let Some(runtime) = request.container_runtime {
        spec.container_runtime = runtime;
    }
    if let Some(expiration) = request.cert_expiration {
        spec.cert_expiration = expiration;
    }
    apply_names(spec, request)
}

fn apply_names(spec: &mut ClusterSpec, request: &Request) -> Result<(), SpecError> {
    if let Some(port) = request.api_server_port {
        if port == 0 {
            return Err(SpecError::setting("apiserver-port", "0", "cannot be reached"));
        }
        spec.api_server.port = port;
    }
    if let Some(names) = &request.api_server_names {
        names.iter().try_for_each(|name| settings::check_name("apiserver-names", name))?;
        spec.api_server.names.clone_from(names);
    }
    if let Some(ips) = &request.api_server_ips {
        let parse = |text: &String| settings::parse_address("apiserver-ips", text);
        spec.api_server.ips = ips.iter().map(parse).collect::<Result<_, _>>()?;
    }
    for (name, value) in &request.api_server_flags {
        spec.api_server.flags.set(name, value);
    }
    spec.api_server.flags.check().map_err(|err| {
        SpecError::setting("extra-config", format!("{APISERVER}.{}", err.name), err.reason)
    })?;
    if let Some(range) = &request.service_cidr {
        spec.service_cidr = settings::parse_range(range)?;
    }
    if let Some(domain) = &request.dns_domain {
        settings::check_domain(domain)?;
        spec.dns_domain.clone_from(domain);
    }
    settings::check_ranges(spec.service_cidr, spec.pod_cidr)
}

fn set_nodes(spec: &mut ClusterSpec, count: u32) -> Result<(), SpecError> {
    if !(1..=NODES_MAX).contains(&count) {
        return Err(SpecError::setting("nodes", count.to_string(), "is not between 1 and 99"));
    }
    let count = count as usize;
    while spec.nodes.len() < count {
        let node = spec.next_node();
        spec.nodes.push(node);
    }
    spec.nodes.truncate(count);
    Ok(())
}

/// Asking for the network that minik chose before is no change.
fn set_cidr(spec: &mut ClusterSpec, cidr: &str) {
    let planned = spec.control_plane().network.as_ref();
    let same =
        planned.is_some_and(|plan| cidr == format!("{}/{}", plan.host_address, plan.cidr.prefix()));
    if !same {
        spec.host_only_cidr = Some(cidr.to_owned());
    }
}

fn range(first: [u8; 4], prefix: u8) -> Ipv4Network {
    Ipv4Network::new(Ipv4Addr::from(first), prefix).expect("a constant prefix length below 33")
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const HOST: HostResources = HostResources {
        cpus: 4,
        memory_mib: 16_000,
        memory_available_mib: 8000,
        disk_free_mib: 50_000,
    };

    const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";

    pub(crate) fn sample(profile: &str, nodes: u32) -> ClusterSpec {
        let request = Request { nodes: Some(nodes), ..Request::default() };
        resolve(&profile.parse().unwrap(), &request, None, &HOST, "qemu").unwrap().spec
    }

    fn check(request: Request, expected: Expect) {
        let existing = sample("dev", 2);
        let resolved = resolve(&existing.profile, &request, Some(&existing), &HOST, "qemu");
        let text = match resolved {
            Ok(resolved) => resolved
                .changes
                .iter()
                .map(|change| format!("{change} ({:?})", change.effect))
                .collect::<Vec<_>>()
                .join("; "),
            Err(err) => err.to_string(),
        };
        expected.assert_eq(&text);
    }

    #[test]
    fn what_changes_on_an_existing_cluster() {
        check(Request::default(), expect![""]);
        check(Request { cpus: Some(Cpus::Count(2)), ..Request::default() }, expect![""]);
        check(
            Request { cpus: Some(Cpus::Max), ..Request::default() },
            expect!["cpus is 2, asked for 4 (Restart)"],
        );
        check(
            Request { memory: Some(Memory::Mib(2048)), ..Request::default() },
            expect!["memory is 2000mb, asked for 2048mb (Restart)"],
        );
        check(
            Request { nodes: Some(3), ..Request::default() },
            expect!["nodes is 2, asked for 3 (Now)"],
        );
        check(
            Request { nodes: Some(1), ..Request::default() },
            expect!["the existing cluster `dev` cannot be changed: nodes is 2, asked for 1"],
        );
        check(
            Request { nodes: Some(0), ..Request::default() },
            expect!["nodes: `0` is not between 1 and 99"],
        );
        check(
            Request {
                driver: Some("libvirt".to_owned()),
                disk_size: Some(DiskSize { mib: 40_000 }),
                ..Request::default()
            },
            expect![
                "the existing cluster `dev` cannot be changed: driver is qemu, asked for libvirt, disk-size is 20000mb, asked for 40000mb"
            ],
        );
        check(
            Request { host_only_cidr: Some("192.168.70.1/24".to_owned()), ..Request::default() },
            expect![
                "the existing cluster `dev` cannot be changed: host-only-cidr is auto, asked for 192.168.70.1/24"
            ],
        );
        check(
            Request { api_server_names: Some(vec!["api.lab".to_owned()]), ..Request::default() },
            expect!["apiserver-names is none, asked for api.lab (Now)"],
        );
        check(
            Request { kubernetes_version: Some("v1.30".to_owned()), ..Request::default() },
            expect![
                "kubernetes-version: `v1.30` is not in this minik, which is Kubernetes v1.36.0"
            ],
        );
        check(
            Request { service_cidr: Some("10.244.0.0/16".to_owned()), ..Request::default() },
            expect![
                "service-cluster-ip-range: `10.244.0.0/16` overlaps the pods' range 10.244.0.0/16"
            ],
        );
    }

    #[test]
    fn what_flags_change() {
        check(
            Request {
                api_server_flags: vec![
                    ("audit-log-path", "-".to_owned()),
                    ("audit-policy-file", POLICY.to_owned()),
                ],
                ..Request::default()
            },
            expect![
                "extra-config is unset, asked for apiserver.audit-log-path=- (Now); extra-config is unset, asked for apiserver.audit-policy-file (68 bytes) (Now)"
            ],
        );
        check(
            Request {
                api_server_flags: vec![("audit-log-path", "-".to_owned())],
                ..Request::default()
            },
            expect![
                "extra-config: `apiserver.audit-log-path` has no effect without audit-policy-file"
            ],
        );
    }

    #[test]
    fn flags_stay_until_they_are_taken_back() {
        let path = |path: &str| ("audit-log-path", path.to_owned());
        let ask = |flags, existing: Option<&ClusterSpec>| {
            let request = Request { api_server_flags: flags, ..Request::default() };
            resolve(&"dev".parse().unwrap(), &request, existing, &HOST, "qemu").unwrap()
        };
        let policy = ("audit-policy-file", POLICY.to_owned());
        let first = ask(vec![path("-"), policy], None).spec;
        let same = ask(Vec::new(), Some(&first));
        assert_eq!((&same.spec, same.changes.len()), (&first, 0));
        let other = ask(vec![path("/a")], Some(&first));
        assert_eq!(
            other.changes[0].to_string(),
            "extra-config is apiserver.audit-log-path=-, asked for apiserver.audit-log-path=/a"
        );
        let none = ask(vec![path(""), ("audit-policy-file", String::new())], Some(&first));
        assert!(none.spec.api_server.flags.is_empty());
        assert_eq!(none.changes.len(), 2);
    }

    #[test]
    fn only_the_control_plane_is_told_the_flags() {
        let mut spec = sample("dev", 2);
        crate::plan_networks(&mut spec, minik_driver::NetworkMode::Tap, &[]).unwrap();
        spec.api_server.flags.set("audit-log-path", "-");
        let flags = |node| spec.node_config(node).unwrap().api_server.flags;
        assert_eq!(flags(&spec.nodes[0]), spec.api_server.flags);
        assert!(flags(&spec.nodes[1]).is_empty());
    }

    #[test]
    fn a_fresh_cluster_has_minikubes_habits() {
        let spec = sample("dev", 3);
        let names: Vec<_> = spec.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["dev", "dev-m02", "dev-m03"]);
        assert_eq!(spec.node(Some("m02")).unwrap().name, "dev-m02");
        assert_eq!(spec.node(Some("dev-m03")).unwrap().short_name(), "m03");
        assert_eq!(spec.node(None).unwrap().name, "dev");
        assert_eq!((spec.cpus, spec.disk_mib), (2, 20_000));
        assert_eq!(spec.cert_expiration.to_string(), "26280h0m0s");
    }

    #[test]
    fn the_network_minik_chose_may_be_asked_for() {
        let mut existing = sample("dev", 1);
        crate::plan_networks(&mut existing, minik_driver::NetworkMode::Tap, &[]).unwrap();
        let plan = existing.nodes[0].network.clone().unwrap();
        let cidr = format!("{}/{}", plan.host_address, plan.cidr.prefix());
        let request = Request { host_only_cidr: Some(cidr), ..Request::default() };
        let resolved = resolve(&existing.profile, &request, Some(&existing), &HOST, "qemu");
        assert_eq!(resolved.unwrap().changes, []);
    }

    #[test]
    fn the_api_server_is_known_by_all_its_names() {
        let mut spec = sample("dev", 1);
        crate::plan_networks(&mut spec, minik_driver::NetworkMode::Tap, &[]).unwrap();
        spec.api_server.names = vec!["api.lab".to_owned(), "localhost".to_owned()];
        spec.api_server.ips = vec![[10, 9, 8, 7].into()];
        expect!["kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local dev localhost 10.96.0.1 127.0.0.1 192.168.60.2 api.lab 10.9.8.7"].assert_eq(&spec.api_server_sans().join(" "));
    }
}
