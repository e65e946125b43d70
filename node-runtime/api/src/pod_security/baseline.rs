//! Checks of the level `baseline`: nothing that is known to lead out of the pod.

use minik_meta::object;
use serde_json::Value;

use super::Violation;
use super::visit::{Pod, containers, distinct, plural, quoted, setters, violation};

/// What the runtime gives anyway.
const CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

const SE_LINUX_TYPES: &[&str] =
    &["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];

pub(super) fn app_armor(pod: &Pod<'_>) -> Option<Violation> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let unconfined =
        |context: &Value| object::text(context, &["appArmorProfile", "type"]) == "Unconfined";
    let names = pod.named(|container| unconfined(&container["securityContext"]));
    let mut details = Vec::new();
    if let Some(who) = setters(unconfined(pod.context()), &names) {
        details.push(format!("{who} must not set AppArmor profile type to \"Unconfined\""));
    }
    let annotations = object::map(pod.metadata, &["annotations"]).into_iter().flatten();
    let mut forbidden: Vec<String> = annotations
        .filter(|(key, _)| key.starts_with(PREFIX))
        .filter_map(|(key, value)| Some((key, value.as_str()?)))
        .filter(|(_, value)| {
            !(value.is_empty() || *value == "runtime/default" || value.starts_with("localhost/"))
        })
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    forbidden.sort();
    if !forbidden.is_empty() {
        let word = plural("annotation", forbidden.len());
        details.push(format!("{word} {}", forbidden.join(", ")));
    }
    let reason = match details.len() + forbidden.len() + names.len() {
        0 => return None,
        1 | 2 => "forbidden AppArmor profile",
        _ => "forbidden AppArmor profiles",
    };
    Some(Violation { reason, detail: details.join(", ") })
}

pub(super) fn capabilities(pod: &Pod<'_>) -> Option<Violation> {
    let added = |container: &Value| -> Vec<String> {
        let added = object::list(container, &["securityContext", "capabilities", "add"]);
        let added = added.iter().filter_map(Value::as_str);
        distinct(added.filter(|one| !CAPABILITIES.contains(one)))
    };
    let names = pod.named(|container| !added(container).is_empty());
    violation("non-default capabilities", &names, |who| {
        let all: Vec<String> = pod.containers().flat_map(added).collect();
        let all = distinct(all.iter().map(String::as_str));
        format!("{who} must not include {} in securityContext.capabilities.add", quoted(&all))
    })
}

pub(super) fn host_namespaces(pod: &Pod<'_>) -> Option<Violation> {
    let used: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| pod.spec[*field] == true)
        .map(|field| format!("{field}=true"))
        .collect();
    (!used.is_empty()).then(|| Violation { reason: "host namespaces", detail: used.join(", ") })
}

pub(super) fn host_path(pod: &Pod<'_>) -> Option<Violation> {
    let volumes = object::list(pod.spec, &["volumes"]).iter();
    let names: Vec<&str> = volumes
        .filter(|volume| volume["hostPath"].is_object())
        .map(|volume| object::text(volume, &["name"]))
        .collect();
    (!names.is_empty()).then(|| Violation {
        reason: "hostPath volumes",
        detail: format!("{} {}", plural("volume", names.len()), quoted(&names)),
    })
}

pub(super) fn host_ports(pod: &Pod<'_>) -> Option<Violation> {
    let ports = |container: &Value| -> Vec<i64> {
        let ports = object::list(container, &["ports"]).iter();
        ports.filter_map(|port| port["hostPort"].as_i64()).filter(|port| *port != 0).collect()
    };
    let names = pod.named(|container| !ports(container).is_empty());
    violation("hostPort", &names, |who| {
        let all: std::collections::BTreeSet<i64> = pod.containers().flat_map(ports).collect();
        let list: Vec<String> = all.iter().map(i64::to_string).collect();
        let verb = if names.len() == 1 { "uses" } else { "use" };
        format!("{who} {verb} {} {}", plural("hostPort", list.len()), list.join(", "))
    })
}

/// Probes and hooks reach into the pod, not to other hosts.
pub(super) fn probe_hosts(pod: &Pod<'_>) -> Option<Violation> {
    const HANDLERS: &[&[&str]] = &[
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let hosts = |container: &Value| -> Vec<String> {
        let handlers = HANDLERS.iter().filter_map(|path| object::at(container, path));
        let hosts = handlers.flat_map(|handler| {
            ["httpGet", "tcpSocket"].map(|action| object::text(handler, &[action, "host"]))
        });
        distinct(hosts.filter(|host| !host.is_empty()))
    };
    let names = pod.named(|container| !hosts(container).is_empty());
    violation("probe or lifecycle host", &names, |who| {
        let all: Vec<String> = pod.containers().flat_map(hosts).collect();
        let all = distinct(all.iter().map(String::as_str));
        let verb = if names.len() == 1 { "uses" } else { "use" };
        format!("{who} {verb} probe or lifecycle {} {}", plural("host", all.len()), quoted(&all))
    })
}

pub(super) fn privileged(pod: &Pod<'_>) -> Option<Violation> {
    let names = pod.named(|one| object::boolean(one, &["securityContext", "privileged"]));
    violation("privileged", &names, |who| {
        format!("{who} must not set securityContext.privileged=true")
    })
}

pub(super) fn proc_mount(pod: &Pod<'_>) -> Option<Violation> {
    let kind = |one: &Value| object::text(one, &["securityContext", "procMount"]).to_owned();
    let is_bad = |kind: &str| !matches!(kind, "" | "Default");
    let names = pod.named(|one| is_bad(&kind(one)));
    violation("procMount", &names, |who| {
        let kinds: Vec<String> = pod.containers().map(kind).filter(|kind| is_bad(kind)).collect();
        let kinds = distinct(kinds.iter().map(String::as_str));
        format!("{who} must not set securityContext.procMount to {}", quoted(&kinds))
    })
}

pub(super) fn se_linux(pod: &Pod<'_>) -> Option<Violation> {
    let options = |holder: &Value, field: &str| {
        object::text(holder, &["securityContext", "seLinuxOptions", field]).to_owned()
    };
    let is_bad = |holder: &Value| {
        !SE_LINUX_TYPES.contains(&options(holder, "type").as_str())
            || !options(holder, "user").is_empty()
            || !options(holder, "role").is_empty()
    };
    let names = pod.named(is_bad);
    let who = setters(is_bad(pod.spec), &names)?;
    let holders = || std::iter::once(pod.spec).chain(pod.containers());
    let types: Vec<String> = holders().map(|one| options(one, "type")).collect();
    let types = types.iter().map(String::as_str).filter(|one| !SE_LINUX_TYPES.contains(one));
    let types = distinct(types);
    let mut details = Vec::new();
    if !types.is_empty() {
        details.push(format!("{} {}", plural("type", types.len()), quoted(&types)));
    }
    for field in ["user", "role"] {
        if holders().any(|one| !options(one, field).is_empty()) {
            details.push(format!("{field} may not be set"));
        }
    }
    let detail =
        format!("{who} set forbidden securityContext.seLinuxOptions: {}", details.join("; "));
    Some(Violation { reason: "seLinuxOptions", detail })
}

pub(super) fn seccomp(pod: &Pod<'_>) -> Option<Violation> {
    let unconfined = |holder: &Value| {
        object::text(holder, &["securityContext", "seccompProfile", "type"]) == "Unconfined"
    };
    let names = pod.named(unconfined);
    let who = setters(unconfined(pod.spec), &names)?;
    let detail =
        format!("{who} must not set securityContext.seccompProfile.type to \"Unconfined\"");
    Some(Violation { reason: "seccompProfile", detail })
}

pub(super) fn sysctls(pod: &Pod<'_>) -> Option<Violation> {
    let all = object::list(pod.context(), &["sysctls"]).iter();
    let forbidden: Vec<&str> = all
        .map(|sysctl| object::text(sysctl, &["name"]))
        .filter(|name| !minik_meta::sysctls::SAFE.contains(name))
        .collect();
    let reason = if forbidden.len() == 1 { "forbidden sysctl" } else { "forbidden sysctls" };
    (!forbidden.is_empty()).then(|| Violation { reason, detail: forbidden.join(", ") })
}

pub(super) fn host_process(pod: &Pod<'_>) -> Option<Violation> {
    let uses = |holder: &Value| {
        object::boolean(holder, &["securityContext", "windowsOptions", "hostProcess"])
    };
    let names = pod.named(uses);
    let pod_uses = uses(pod.spec);
    let who = match (pod_uses, names.as_slice()) {
        (true, names @ [_, ..]) => format!("pod and {}", containers(names)),
        (pod_uses, names) => setters(pod_uses, names)?,
    };
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    Some(Violation { reason: "hostProcess", detail })
}
