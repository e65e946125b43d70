//! The whole of `start`, `stop` and `delete` against a scripted driver and scripted guests.

use std::time::Duration;

use expect_test::expect;
use minik_spec::{Cpus, Request, WaitFor};
use test_case::test_case;

use crate::testing::{Lab, chain};
use crate::{ProvisionError, delete, stop};

fn nodes(count: u32) -> Request {
    Request { nodes: Some(count), ..Request::default() }
}

#[test]
fn a_first_start_makes_everything() {
    let lab = Lab::new(&["dev"]);
    let started = lab.start("dev", &nodes(1)).unwrap();
    expect!["certificates dev host-checks image keys kubeconfig machine-create dev machine-start dev node-file dev seed dev service dev unit dev upload dev"].assert_eq(&lab.take_changed().join(" "));
    expect!["create dev, start dev"].assert_eq(&lab.driver.take_calls().join(", "));
    expect!["https://192.168.60.2:8443"].assert_eq(&started.api_url);
    expect![[r#"
        600 /etc/minik/node.yaml
        644 /etc/systemd/system/minik-node.service
        755 /var/lib/minik/bin/minik-node
        644 /var/lib/minik/pki/apiserver-kubelet-client.crt
        600 /var/lib/minik/pki/apiserver-kubelet-client.key
        644 /var/lib/minik/pki/apiserver.crt
        600 /var/lib/minik/pki/apiserver.key
        644 /var/lib/minik/pki/ca.crt
        600 /var/lib/minik/pki/ca.key
        644 /var/lib/minik/pki/front-proxy-ca.crt
        600 /var/lib/minik/pki/front-proxy-ca.key
        644 /var/lib/minik/pki/front-proxy-client.crt
        600 /var/lib/minik/pki/front-proxy-client.key
        644 /var/lib/minik/pki/kube-proxy.crt
        600 /var/lib/minik/pki/kube-proxy.key
        644 /var/lib/minik/pki/kubelet-client.crt
        600 /var/lib/minik/pki/kubelet-client.key
        644 /var/lib/minik/pki/kubelet.crt
        600 /var/lib/minik/pki/kubelet.key
        600 /var/lib/minik/pki/sa.key
        644 /var/lib/minik/pki/sa.pub"#]]
    .assert_eq(&lab.guest("dev").files().join("\n"));
    expect![[r#"
        data/profiles/dev/pki/admin.crt
        data/profiles/dev/pki/admin.key
        data/profiles/dev/pki/ca.crt
        data/profiles/dev/pki/ca.key
        data/profiles/dev/pki/front-proxy-ca.crt
        data/profiles/dev/pki/front-proxy-ca.key
        data/profiles/dev/pki/nodes/dev/apiserver-kubelet-client.crt
        data/profiles/dev/pki/nodes/dev/apiserver-kubelet-client.key
        data/profiles/dev/pki/nodes/dev/apiserver.crt
        data/profiles/dev/pki/nodes/dev/apiserver.key
        data/profiles/dev/pki/nodes/dev/front-proxy-client.crt
        data/profiles/dev/pki/nodes/dev/front-proxy-client.key
        data/profiles/dev/pki/nodes/dev/kube-proxy.crt
        data/profiles/dev/pki/nodes/dev/kube-proxy.key
        data/profiles/dev/pki/nodes/dev/kubelet-client.crt
        data/profiles/dev/pki/nodes/dev/kubelet-client.key
        data/profiles/dev/pki/nodes/dev/kubelet.crt
        data/profiles/dev/pki/nodes/dev/kubelet.key
        data/profiles/dev/pki/sa.key
        data/profiles/dev/pki/sa.pub
        data/profiles/dev/profile.json
        data/profiles/dev/seeds/dev.img
        data/profiles/dev/ssh/dev-host_ed25519
        data/profiles/dev/ssh/dev-host_ed25519.pub
        data/profiles/dev/ssh/id_ed25519
        data/profiles/dev/ssh/id_ed25519.pub
        data/profiles/dev/ssh/known_hosts
        kubeconfig"#]]
    .assert_eq(&lab.files().join("\n"));
    assert!(lab.kubeconfig_text().contains("current-context: dev"));
}

#[test]
fn a_second_start_changes_nothing() {
    let lab = Lab::new(&["dev"]);
    assert!(lab.start("dev", &nodes(1)).unwrap().acted);
    let (files, kubeconfig) = (lab.files(), lab.kubeconfig_text());
    lab.take_changed();
    lab.guest("dev").take_calls();

    assert!(!lab.start("dev", &Request::default()).unwrap().acted);
    assert_eq!(lab.take_changed(), Vec::<String>::new());
    assert_eq!(lab.guest("dev").restarts(), 1);
    assert_eq!((lab.files(), lab.kubeconfig_text()), (files, kubeconfig));
    let calls = lab.guest("dev").take_calls().join("\n");
    let calls = calls.replace("359", "N").replace("360", "N");
    expect![[r#"
        hostname; date +%s; find /var/lib/minik/bin /var/lib/minik/pki /etc/minik/node.yaml /etc/systemd/system/minik-node.service -type f -exec sha256sum {} + 2>/dev/null; find /var/lib/minik/bin /var/lib/minik/pki /etc/minik/node.yaml /etc/systemd/system/minik-node.service -type f -exec stat -c '%a %n' {} + 2>/dev/null; true
        systemctl show minik-node.service -p ActiveState -p UnitFileState -p NeedDaemonReload; echo Generation=$(cat /run/minik/generation)
        timeout N systemctl start minik-node.service && /var/lib/minik/bin/minik-node status --wait Ns"#]]
    .assert_eq(&calls);
}

#[test_case("host-checks")]
#[test_case("image")]
#[test_case("keys")]
#[test_case("seed")]
#[test_case("machine-create")]
#[test_case("machine-start")]
#[test_case("guest-ready")]
#[test_case("reach")]
#[test_case("upload")]
#[test_case("certificates")]
#[test_case("node-file")]
#[test_case("unit")]
#[test_case("service")]
#[test_case("ready")]
#[test_case("kubeconfig")]
fn a_killed_start_is_taken_up_again(phase: &'static str) {
    let all = Lab::new(&["dev", "dev-m02"]);
    all.start("dev", &nodes(2)).unwrap();

    let lab = Lab::new(&["dev", "dev-m02"]);
    lab.start_killed_before(phase, "dev", 2);
    lab.start("dev", &nodes(2)).unwrap();
    assert_eq!(lab.files(), all.files());
    for node in ["dev", "dev-m02"] {
        assert_eq!(lab.guest(node).files(), all.guest(node).files());
        assert_eq!(lab.guest(node).restarts(), 1);
    }
    assert_eq!(lab.driver.machines(), all.driver.machines());
    assert!(lab.kubeconfig_text().contains("current-context: dev"));
}

#[test_case("host-checks")]
#[test_case("image")]
#[test_case("keys")]
#[test_case("machine-create")]
#[test_case("machine-start")]
#[test_case("upload")]
#[test_case("kubeconfig")]
fn a_half_made_cluster_is_deleted_whole(phase: &'static str) {
    let lab = Lab::new(&["dev"]);
    lab.start_killed_before(phase, "dev", 1);
    delete(&lab.tools(), &"dev".parse().unwrap()).unwrap();
    assert_eq!(lab.files(), Vec::<String>::new());
    assert!(lab.driver.machines().is_empty());
}

#[test]
fn stop_and_start_keep_the_cluster() {
    let lab = Lab::new(&["dev", "dev-m02"]);
    let before = lab.start("dev", &nodes(2)).unwrap();
    let name = "dev".parse().unwrap();
    let stopped = stop(&lab.tools(), &name, Duration::ZERO, false).unwrap();
    assert_eq!(stopped.len(), 2);
    assert!(!lab.kubeconfig_text().contains("current-context: dev"));
    stop(&lab.tools(), &name, Duration::ZERO, false).unwrap();
    for node in ["dev", "dev-m02"] {
        lab.guest(node).power_off();
    }
    lab.take_changed();

    let after = lab.start("dev", &Request::default()).unwrap();
    assert_eq!(after.profile, before.profile);
    expect![[r#"
        kubeconfig
        machine-start dev
        machine-start dev-m02
        seed dev
        seed dev-m02
        service dev
        service dev-m02"#]]
    .assert_eq(&lab.take_changed().join("\n"));
}

#[test]
fn delete_leaves_nothing_and_is_done_when_nothing_is_there() {
    let lab = Lab::new(&["dev"]);
    lab.start("dev", &nodes(1)).unwrap();
    let name = "dev".parse().unwrap();
    assert!(delete(&lab.tools(), &name).unwrap().existed);
    assert!(!delete(&lab.tools(), &name).unwrap().existed);
    assert_eq!(lab.files(), ["kubeconfig"]);
    assert!(!lab.kubeconfig_text().contains("dev"));
    assert!(lab.driver.machines().is_empty());
}

#[test]
fn a_new_program_restarts_the_service_once() {
    let lab = Lab::new(&["dev"]);
    lab.start("dev", &nodes(1)).unwrap();
    lab.replace_program("a newer node program");
    lab.take_changed();
    lab.start("dev", &Request::default()).unwrap();
    expect!["service dev unit dev upload dev"].assert_eq(&lab.take_changed().join(" "));
    assert_eq!(lab.guest("dev").restarts(), 2);
}

#[test]
fn flags_of_the_api_server_go_to_the_control_plane_and_stay() {
    let lab = Lab::new(&["dev", "dev-m02"]);
    lab.start("dev", &nodes(2)).unwrap();
    let policy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";
    let api_server_flags =
        vec![("audit-log-path", "-".to_owned()), ("audit-policy-file", policy.to_owned())];
    let request = Request { api_server_flags, ..Request::default() };
    lab.take_changed();
    lab.start("dev", &request).unwrap();
    expect!["host-checks node-file dev service dev unit dev"]
        .assert_eq(&lab.take_changed().join(" "));
    lab.start("dev", &Request::default()).unwrap();
    assert_eq!(lab.take_changed(), Vec::<String>::new());
    let told = |node| lab.guest(node).text("/etc/minik/node.yaml").unwrap();
    assert!(told("dev").contains("level: Metadata") && !told("dev-m02").contains("audit"));
    let modes = lab.guest("dev").files();
    assert!(modes.contains(&"600 /etc/minik/node.yaml".to_owned()));
}

#[test]
fn new_names_of_the_api_server_come_with_a_new_certificate() {
    let lab = Lab::new(&["dev"]);
    lab.start("dev", &nodes(1)).unwrap();
    let names = Request { api_server_names: Some(vec!["api.lab".into()]), ..Request::default() };
    lab.take_changed();
    lab.start("dev", &names).unwrap();
    expect!["certificates dev host-checks node-file dev service dev unit dev"]
        .assert_eq(&lab.take_changed().join(" "));
    let pem = lab.guest("dev").text("/var/lib/minik/pki/apiserver.crt").unwrap();
    assert!(minik_pki::inspect(&pem).unwrap().covers(&["api.lab".to_owned()]));
}

#[test]
fn a_worker_gets_only_what_it_needs() {
    let lab = Lab::new(&["dev", "dev-m02"]);
    lab.start("dev", &nodes(2)).unwrap();
    expect![[r#"
        600 /etc/minik/node.yaml
        644 /etc/systemd/system/minik-node.service
        755 /var/lib/minik/bin/minik-node
        644 /var/lib/minik/pki/ca.crt
        644 /var/lib/minik/pki/kube-proxy.crt
        600 /var/lib/minik/pki/kube-proxy.key
        644 /var/lib/minik/pki/kubelet-client.crt
        600 /var/lib/minik/pki/kubelet-client.key
        644 /var/lib/minik/pki/kubelet.crt
        600 /var/lib/minik/pki/kubelet.key"#]]
    .assert_eq(&lab.guest("dev-m02").files().join("\n"));
}

#[test]
fn what_needs_a_restart_is_said_while_the_machine_runs() {
    let lab = Lab::new(&["dev"]);
    lab.start("dev", &nodes(1)).unwrap();
    let more = Request { cpus: Some(Cpus::Count(3)), ..Request::default() };
    lab.start("dev", &more).unwrap();
    expect![
        "cpus is 2, asked for 3; that takes effect when the cluster is stopped and started again"
    ]
    .assert_eq(&lab.take_warnings().join(" "));
}

#[test]
fn another_guest_behind_the_address_is_refused() {
    let lab = Lab::new(&["dev"]);
    *lab.driver.hostname.lock().unwrap() = Some("other".to_owned());
    let err = lab.start("dev", &nodes(1)).unwrap_err();
    expect!["while booting the guest: dev says it is `other`"].assert_eq(&chain(&err));
}

#[test]
fn a_node_that_does_not_become_ready_says_why() {
    let lab = Lab::new(&["dev"]);
    let guest = lab.guest("dev");
    guest.answer("timeout", 124, "");
    guest.answer(
        "/var/lib/minik/bin/minik-node status",
        1,
        r#"{"api":true,"node":false,"reasons":{"node":"no container runtime"}}"#,
    );
    guest.answer("journalctl", 0, "containerd is not there\n");
    let err = lab.start("dev", &nodes(1)).unwrap_err();
    let ProvisionError::NotReady { what, reasons, journal, .. } = err.root() else {
        panic!("{err}");
    };
    assert_eq!(
        (*what, reasons.as_slice()),
        ("node", &["node: no container runtime".to_owned()][..])
    );
    assert_eq!(journal, "containerd is not there\n");

    // Whoever waits for the API server only is content.
    let options = crate::StartOptions {
        wait: WaitFor { api_server: true, nodes: false },
        ..crate::StartOptions::default()
    };
    crate::start(&lab.tools(), &"dev".parse().unwrap(), &nodes(1), &options).unwrap();
}

#[test]
fn two_profiles_get_two_networks() {
    let lab = Lab::new(&["dev", "lab"]);
    let one = lab.start("dev", &nodes(1)).unwrap().api_url;
    let two = lab.start("lab", &nodes(1)).unwrap().api_url;
    expect!["https://192.168.60.2:8443 https://192.168.62.2:8443"]
        .assert_eq(&format!("{one} {two}"));
    // The context that was current comes back.
    delete(&lab.tools(), &"lab".parse().unwrap()).unwrap();
    assert!(lab.kubeconfig_text().contains("current-context: dev"));
}

#[test]
fn nodes_come_and_go() {
    let lab = Lab::new(&["dev", "dev-m02", "dev-m03"]);
    lab.start("dev", &nodes(1)).unwrap();
    let name = "dev".parse().unwrap();
    let options = crate::StartOptions::default();
    for expected in ["dev-m02", "dev-m03"] {
        let (added, _) = crate::add_node(&lab.tools(), &name, &options).unwrap();
        assert_eq!(added, expected);
    }
    assert_eq!(crate::delete_node(&lab.tools(), &name, "m02").unwrap(), "dev-m02");
    let err = crate::delete_node(&lab.tools(), &name, "dev").unwrap_err();
    assert!(matches!(err, ProvisionError::IsControlPlane { .. }));
    let err = crate::delete_node(&lab.tools(), &name, "m02").unwrap_err();
    expect!["cluster `dev` has no node `m02`, only dev, dev-m03"].assert_eq(&err.to_string());
    let (again, _) = crate::add_node(&lab.tools(), &name, &options).unwrap();
    assert_eq!(again, "dev-m02");
}

#[test]
fn a_damaged_profile_can_be_deleted_but_not_started() {
    let lab = Lab::new(&["dev", "dev-m02"]);
    lab.start("dev", &nodes(2)).unwrap();
    lab.damage_profile("dev");
    let err = lab.start("dev", &nodes(2)).unwrap_err();
    assert!(chain(&err).contains("not understood"), "{err}");
    lab.driver.take_calls();
    assert!(delete(&lab.tools(), &"dev".parse().unwrap()).unwrap().existed);
    expect!["delete dev, delete dev-m02"].assert_eq(&lab.driver.take_calls().join(", "));
    assert_eq!(lab.files(), ["kubeconfig"]);
}
