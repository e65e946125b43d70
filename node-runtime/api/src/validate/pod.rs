//! Rules of pods and pod templates.

use minik_meta::{FieldError, names};

use super::at::{At, Errors};
use super::{labels, metadata, volumes};

const PULL_POLICIES: &[&str] = &["Always", "IfNotPresent", "Never"];
const DNS_POLICIES: &[&str] = &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"];
const HANDLERS: &[&str] = &["exec", "httpGet", "tcpSocket", "grpc"];

/// Which list a container is in; what it may have depends on it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Main,
    Init,
    Sidecar,
}

pub(super) fn pod(object: &At<'_>, errors: &mut Errors) {
    spec(&object.get("spec"), errors);
}

/// A pod template inside a workload: its labels, annotations and spec.
pub(super) fn template(at: &At<'_>, errors: &mut Errors) {
    let meta = at.get("metadata");
    labels::labels(&meta.get("labels"), errors);
    metadata::annotations(&meta.get("annotations"), errors);
    spec(&at.get("spec"), errors);
}

pub(super) fn spec(spec: &At<'_>, errors: &mut Errors) {
    let volume_names = volumes::volumes(&spec.get("volumes"), errors);
    containers(spec, &volume_names, errors);
    let restart = spec.get("restartPolicy");
    if restart.is_empty() {
        errors.required(&restart, "");
    } else {
        errors.one_of(&restart, &["Always", "OnFailure", "Never"]);
    }
    errors.one_of(&spec.get("dnsPolicy"), DNS_POLICIES);
    labels::labels(&spec.get("nodeSelector"), errors);
    named(spec, errors);
    limits(spec, errors);
    for one in spec.get("tolerations").items() {
        toleration(&one, errors);
    }
    for alias in spec.get("hostAliases").items() {
        ip(&alias.get("ip"), errors);
        for host in alias.get("hostnames").items() {
            errors.all_invalid(&host, names::dns1123_subdomain(host.text()));
        }
    }
    node_affinity(&spec.down(&["affinity", "nodeAffinity"]), errors);
    pod_affinity(&spec.down(&["affinity", "podAffinity"]), errors);
    pod_affinity(&spec.down(&["affinity", "podAntiAffinity"]), errors);
    spread(&spec.get("topologySpreadConstraints"), errors);
    host_network_ports(spec, errors);
}

fn named(spec: &At<'_>, errors: &mut Errors) {
    for key in ["serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"] {
        let name = spec.get(key);
        if !name.is_empty() {
            errors.all_invalid(&name, names::dns1123_subdomain(name.text()));
        }
    }
    for key in ["hostname", "subdomain"] {
        let name = spec.get(key);
        if !name.is_empty() {
            errors.all_invalid(&name, names::dns1123_label(name.text()));
        }
    }
    for gate in spec.get("schedulingGates").items() {
        let name = gate.get("name");
        errors.all_invalid(&name, names::qualified_name(name.text()));
    }
    for gate in spec.get("readinessGates").items() {
        let kind = gate.get("conditionType");
        errors.all_invalid(&kind, names::qualified_name(kind.text()));
    }
}

fn limits(spec: &At<'_>, errors: &mut Errors) {
    errors.not_negative(&spec.get("terminationGracePeriodSeconds"));
    errors.in_range(&spec.get("activeDeadlineSeconds"), 1, i64::from(i32::MAX));
    let security = spec.get("securityContext");
    for key in ["runAsUser", "runAsGroup", "fsGroup"] {
        errors.in_range(&security.get(key), 0, i64::from(i32::MAX));
    }
}

fn containers(spec: &At<'_>, volumes: &[&str], errors: &mut Errors) {
    let main = spec.get("containers");
    errors.require(&main);
    let mut seen: Vec<&str> = Vec::new();
    for one in spec.get("initContainers").items() {
        let restart = one.get("restartPolicy");
        let role = if restart.text() == "Always" { Role::Sidecar } else { Role::Init };
        container(&one, role, volumes, &mut seen, errors);
    }
    for one in main.items() {
        container(&one, Role::Main, volumes, &mut seen, errors);
    }
    for one in spec.get("ephemeralContainers").items() {
        name_and_image(&one, &mut seen, errors);
    }
}

fn name_and_image<'a>(at: &At<'a>, seen: &mut Vec<&'a str>, errors: &mut Errors) {
    let name = at.get("name");
    if name.is_empty() {
        errors.required(&name, "");
    } else {
        errors.all_invalid(&name, names::dns1123_label(name.text()));
        if seen.contains(&name.text()) {
            errors.duplicate(&name);
        }
        seen.push(name.text());
    }
    let image = at.get("image");
    if image.is_empty() {
        errors.required(&image, "");
    } else if image.text().trim() != image.text() {
        errors.invalid(&image, "must not have leading or trailing whitespace");
    }
}

fn container<'a>(
    at: &At<'a>,
    role: Role,
    volumes: &[&str],
    seen: &mut Vec<&'a str>,
    errors: &mut Errors,
) {
    name_and_image(at, seen, errors);
    ports(&at.get("ports"), errors);
    environment(at, errors);
    mounts(at, volumes, errors);
    let policy = at.get("imagePullPolicy");
    if policy.is_empty() {
        errors.required(&policy, "");
    } else {
        errors.one_of(&policy, PULL_POLICIES);
    }
    resources(&at.get("resources"), errors);
    let security = at.get("securityContext");
    for key in ["runAsUser", "runAsGroup"] {
        errors.in_range(&security.get(key), 0, i64::from(i32::MAX));
    }
    for key in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(at) = at.get(key).present() else { continue };
        match role {
            Role::Init => errors
                .forbidden(&at, "may not be set for init containers without restartPolicy=Always"),
            Role::Main | Role::Sidecar => probe(&at, key, errors),
        }
    }
    if let Some(lifecycle) = at.get("lifecycle").present() {
        match role {
            Role::Init => errors.forbidden(
                &lifecycle,
                "may not be set for init containers without restartPolicy=Always",
            ),
            Role::Main | Role::Sidecar => {
                for key in ["postStart", "preStop"] {
                    if let Some(at) = lifecycle.get(key).present() {
                        handler(&at, &["exec", "httpGet", "tcpSocket", "sleep"], errors);
                    }
                }
            }
        }
    }
}

fn ports(at: &At<'_>, errors: &mut Errors) {
    let mut names_seen: Vec<&str> = Vec::new();
    for port in at.items() {
        let name = port.get("name");
        if !name.is_empty() {
            let wrong = names::port_name(name.text());
            if wrong.is_empty() && names_seen.contains(&name.text()) {
                errors.duplicate(&name);
            }
            errors.all_invalid(&name, wrong);
            names_seen.push(name.text());
        }
        let number = port.get("containerPort");
        match number.integer() {
            None | Some(0) => errors.required(&number, ""),
            Some(value) => errors.all_invalid(&number, names::port_number(value)),
        }
        let host = port.get("hostPort");
        if let Some(value) = host.integer().filter(|value| *value != 0) {
            errors.all_invalid(&host, names::port_number(value));
        }
        let protocol = port.get("protocol");
        if protocol.is_empty() {
            errors.required(&protocol, "");
        }
        errors.one_of(&protocol, &["SCTP", "TCP", "UDP"]);
    }
}

/// On the host's network, host port and container port are the same.
fn host_network_ports(spec: &At<'_>, errors: &mut Errors) {
    if !spec.get("hostNetwork").is_true() {
        return;
    }
    for port in
        spec.get("containers").items().flat_map(|one| one.get("ports").items().collect::<Vec<_>>())
    {
        let (own, host) = (port.get("containerPort"), port.get("hostPort"));
        if host.integer().is_some_and(|number| number != 0) && own.integer() != host.integer() {
            errors.invalid(&own, "must match `hostPort` when `hostNetwork` is true");
        }
    }
}

fn environment(container: &At<'_>, errors: &mut Errors) {
    const SOURCES: &[&str] =
        &["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    for one in container.get("env").items() {
        let name = one.get("name");
        if name.is_empty() {
            errors.required(&name, "");
        } else {
            errors.all_invalid(&name, names::env_var_name(name.text()));
        }
        let Some(from) = one.get("valueFrom").present() else { continue };
        let set = SOURCES.iter().filter(|key| !from.get(key).is_absent()).count();
        if set == 0 {
            errors.invalid(
                &from,
                "must specify one of: `fieldRef`, `resourceFieldRef`, \
                                   `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
            );
        } else if !one.get("value").is_empty() {
            errors.invalid(&from, "may not be specified when `value` is not empty");
        } else if set > 1 {
            errors.invalid(&from, "may not have more than one field specified at a time");
        }
        for key in ["configMapKeyRef", "secretKeyRef"] {
            if let Some(reference) = from.get(key).present() {
                errors.require(&reference.get("name"));
                let key = reference.get("key");
                if errors.require(&key) {
                    errors.all_invalid(&key, names::config_map_key(key.text()));
                }
            }
        }
    }
    for from in container.get("envFrom").items() {
        let sources = ["configMapRef", "secretRef"];
        match sources.iter().filter(|key| !from.get(key).is_absent()).count() {
            0 => errors.invalid(&from, "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => errors.invalid(&from, "may not have more than one field specified at a time"),
        }
        for key in sources {
            if let Some(reference) = from.get(key).present() {
                errors.require(&reference.get("name"));
            }
        }
    }
}

fn mounts(container: &At<'_>, volumes: &[&str], errors: &mut Errors) {
    let mut paths: Vec<&str> = Vec::new();
    for mount in container.get("volumeMounts").items() {
        let name = mount.get("name");
        if errors.require(&name) && !volumes.contains(&name.text()) {
            errors.not_found(&name);
        }
        let path = mount.get("mountPath");
        if errors.require(&path) {
            if paths.contains(&path.text()) {
                errors.invalid(&path, "must be unique");
            }
            paths.push(path.text());
        }
        for key in ["subPath", "subPathExpr"] {
            let sub = mount.get(key);
            if sub.text().starts_with('/') {
                errors.invalid(&sub, "must be a relative path");
            } else if sub.text().split('/').any(|part| part == "..") {
                errors.invalid(&sub, "must not contain '..'");
            }
        }
        if !mount.get("subPath").is_empty() && !mount.get("subPathExpr").is_empty() {
            errors.invalid(
                &mount.get("subPathExpr"),
                "subPathExpr and subPath are mutually exclusive",
            );
        }
    }
}

/// Requests and limits: no negative amount, no request above its limit.
pub(super) fn resources(at: &At<'_>, errors: &mut Errors) {
    for list in ["limits", "requests"] {
        for (name, amount) in at.get(list).entries() {
            for message in names::qualified_name(name) {
                errors.push(FieldError::invalid(&at.path.child(list), name, message));
            }
            if amount.quantity().is_some_and(|amount| amount.is_negative()) {
                errors.invalid(&amount, "must be greater than or equal to 0");
            }
        }
    }
    let limits = at.get("limits");
    for (name, request) in at.get("requests").entries() {
        let limit =
            limits.value.get(name).and_then(|one| minik_meta::Quantity::from_value(one).ok());
        let Some((request_amount, limit)) = request.quantity().zip(limit) else { continue };
        let fixed = name.starts_with("hugepages-");
        if fixed && request_amount != limit {
            errors.push(FieldError::invalid(
                &at.path.child("requests"),
                request.value.clone(),
                format!("must be equal to {name} limit of {limit}"),
            ));
        } else if request_amount > limit {
            errors.push(FieldError::invalid(
                &at.path.child("requests"),
                request.value.clone(),
                format!("must be less than or equal to {name} limit of {limit}"),
            ));
        }
    }
}

fn probe(at: &At<'_>, key: &str, errors: &mut Errors) {
    handler(at, HANDLERS, errors);
    for key in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        errors.not_negative(&at.get(key));
    }
    let successes = at.get("successThreshold");
    if key != "readinessProbe" && successes.integer().is_some_and(|number| number != 1) {
        errors.invalid(&successes, "must be 1");
    }
    if at.get("terminationGracePeriodSeconds").integer().is_some_and(|seconds| seconds <= 0) {
        errors.invalid(&at.get("terminationGracePeriodSeconds"), "must be greater than 0");
    }
}

fn handler(at: &At<'_>, kinds: &[&str], errors: &mut Errors) {
    errors.one_field(at, kinds, "handler", true);
    if let Some(exec) = at.get("exec").present() {
        errors.require(&exec.get("command"));
    }
    if let Some(http) = at.get("httpGet").present() {
        errors.require(&http.get("path"));
        port(&http.get("port"), errors);
        errors.one_of(&http.get("scheme"), &["HTTP", "HTTPS"]);
        for header in http.get("httpHeaders").items() {
            let name = header.get("name");
            let good = !name.is_empty()
                && name.text().bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            if !good {
                errors.invalid(
                    &name,
                    &names::regex(
                        "a valid HTTP header must consist of alphanumeric characters or '-'",
                        "[-A-Za-z0-9]+",
                        &["X-Header-Name"],
                    ),
                );
            }
        }
    }
    if let Some(tcp) = at.get("tcpSocket").present() {
        port(&tcp.get("port"), errors);
    }
    if let Some(grpc) = at.get("grpc").present() {
        port(&grpc.get("port"), errors);
    }
}

/// A port by number or name.
pub(super) fn port(at: &At<'_>, errors: &mut Errors) {
    match at.integer() {
        Some(number) => errors.all_invalid(at, names::port_number(number)),
        None => errors.all_invalid(at, names::port_name(at.text())),
    }
}

/// An IP address, v4 or v6.
pub(super) fn ip(at: &At<'_>, errors: &mut Errors) {
    if at.text().parse::<std::net::IpAddr>().is_err() {
        errors.invalid(at, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
}

fn toleration(at: &At<'_>, errors: &mut Errors) {
    let (key, operator, value) = (at.get("key"), at.get("operator"), at.get("value"));
    if !key.is_empty() {
        errors.all_invalid(&key, names::qualified_name(key.text()));
    } else if operator.text() != "Exists" {
        errors.invalid(
            &operator,
            "operator must be Exists when `key` is empty, which means \
                                   \"match all values and all keys\"",
        );
    }
    match operator.text() {
        "" | "Equal" => errors.all_invalid(&value, names::label_value(value.text())),
        "Exists" if !value.is_empty() => {
            errors.invalid(&operator, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" | "Lt" | "Gt" => {}
        _ => errors.one_of(&operator, &["Equal", "Exists"]),
    }
    let effect = at.get("effect");
    if !at.get("tolerationSeconds").is_absent() && effect.text() != "NoExecute" {
        errors.invalid(&effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    errors.one_of(&effect, &["NoSchedule", "PreferNoSchedule", "NoExecute"]);
}

fn node_affinity(at: &At<'_>, errors: &mut Errors) {
    let required = at.get("requiredDuringSchedulingIgnoredDuringExecution");
    if let Some(selector) = required.present() {
        node_selector(&selector, errors);
    }
    for preferred in at.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        let weight = preferred.get("weight");
        errors.in_range(&weight, 1, 100);
        node_selector_term(&preferred.get("preference"), errors);
    }
}

/// A `NodeSelector` object.
pub(super) fn node_selector(at: &At<'_>, errors: &mut Errors) {
    let terms = at.get("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&terms, "must have at least one node selector term");
    }
    for term in terms.items() {
        node_selector_term(&term, errors);
    }
}

fn node_selector_term(at: &At<'_>, errors: &mut Errors) {
    for expression in at.get("matchExpressions").items() {
        let (operator, values) = (expression.get("operator"), expression.get("values"));
        match operator.text() {
            "In" | "NotIn" if values.is_empty() => {
                errors.required(&values, "must be specified when `operator` is 'In' or 'NotIn'");
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
                &values,
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            "Gt" | "Lt" if values.len() != 1 => errors.required(
                &values,
                "must be specified single value when `operator` is 'Lt' or 'Gt'",
            ),
            "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
            _ => errors.invalid(&operator, "not a valid selector operator"),
        }
        let key = expression.get("key");
        errors.all_invalid(&key, names::qualified_name(key.text()));
    }
}

fn pod_affinity(at: &At<'_>, errors: &mut Errors) {
    for term in at.get("requiredDuringSchedulingIgnoredDuringExecution").items() {
        affinity_term(&term, errors);
    }
    for preferred in at.get("preferredDuringSchedulingIgnoredDuringExecution").items() {
        errors.in_range(&preferred.get("weight"), 1, 100);
        affinity_term(&preferred.get("podAffinityTerm"), errors);
    }
}

fn affinity_term(at: &At<'_>, errors: &mut Errors) {
    labels::selector(&at.get("labelSelector"), errors);
    labels::selector(&at.get("namespaceSelector"), errors);
    let key = at.get("topologyKey");
    if key.is_empty() {
        errors.required(&key, "can not be empty");
    } else {
        errors.all_invalid(&key, names::qualified_name(key.text()));
    }
}

fn spread(at: &At<'_>, errors: &mut Errors) {
    for one in at.items() {
        let skew = one.get("maxSkew");
        if skew.integer().unwrap_or_default() <= 0 {
            errors.invalid(&skew, "must be greater than 0");
        }
        let key = one.get("topologyKey");
        if key.is_empty() {
            errors.required(&key, "can not be empty");
        }
        errors.one_of(&one.get("whenUnsatisfiable"), &["DoNotSchedule", "ScheduleAnyway"]);
        labels::selector(&one.get("labelSelector"), errors);
    }
}
