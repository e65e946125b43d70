//! What is refused, in upstream's words. Cases go through defaults first, as requests do.

use expect_test::{Expect, expect};
use serde_json::json;

use crate::kinds::kinds;
use crate::resource::Resource;
use crate::{default, strategy};
use minik_meta::object;
use serde_json::Value;

fn resource(group: &str, kind: &str) -> &'static Resource {
    let version = if group == "autoscaling" { "v2" } else { "v1" };
    kinds().by_kind(group, version, kind).unwrap()
}

fn ready(resource: &Resource, mut new: Value) -> Value {
    if object::name(&new).is_empty() && object::at(&new, &["metadata", "generateName"]).is_none() {
        object::set(&mut new, &["metadata", "name"], "x");
    }
    if resource.namespaced {
        object::set(&mut new, &["metadata", "namespace"], "default");
    }
    object::set(&mut new, &["metadata", "uid"], "u");
    default(resource, &mut new);
    strategy::prepare_create(resource, &mut new);
    new
}

fn check(group: &str, kind: &str, new: Value, expected: Expect) {
    let resource = resource(group, kind);
    let new = ready(resource, new);
    let said = match strategy::validate(resource, &new) {
        Ok(()) => "ok".to_owned(),
        Err(status) => status.message,
    };
    expected.assert_eq(&said);
}

fn check_update(
    group: &str,
    kind: &str,
    old: Value,
    change: impl Fn(&mut Value),
    expected: Expect,
) {
    let resource = resource(group, kind);
    let old = ready(resource, old);
    assert_eq!(strategy::validate(resource, &old), Ok(()), "the old object is valid");
    let mut new = old.clone();
    change(&mut new);
    default(resource, &mut new);
    strategy::prepare_update(resource, &mut new, &old);
    let said = match strategy::validate_update(resource, &new, &old) {
        Ok(()) => "ok".to_owned(),
        Err(status) => status.message,
    };
    expected.assert_eq(&said);
}

fn pod(container: Value) -> Value {
    json!({"spec": {"containers": [container]}})
}

fn deployment() -> Value {
    json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}},
        "spec": {"containers": [{"name": "c", "image": "i"}]},
    }}})
}

#[test]
fn names_and_metadata() {
    check("", "ConfigMap", json!({"metadata": {"name": "a.b"}}), expect!["ok"]);
    check(
        "",
        "ConfigMap",
        json!({"metadata": {"name": "A"}}),
        expect![[
            r#"ConfigMap "A" is invalid: metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"#
        ]],
    );
    check(
        "rbac.authorization.k8s.io",
        "ClusterRole",
        json!({"metadata": {"name": "system:x"}}),
        expect!["ok"],
    );
    check(
        "",
        "ConfigMap",
        json!({"metadata": {"labels": {"-a": "b", "c": "d e"}, "finalizers": ["a/b/c"]}}),
        expect![[
            r#"ConfigMap "x" is invalid: [metadata.labels: Invalid value: "-a": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]'), metadata.labels: Invalid value: "d e": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?'), metadata.finalizers: Invalid value: "a/b/c": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')]"#
        ]],
    );
    check_update(
        "",
        "ConfigMap",
        json!({}),
        |new| object::set(new, &["metadata", "name"], "y"),
        expect![[
            r#"ConfigMap "y" is invalid: metadata.name: Invalid value: "y": field is immutable"#
        ]],
    );
}

#[test]
fn pods_without_the_necessary() {
    check("", "Pod", pod(json!({"name": "c", "image": "i"})), expect!["ok"]);
    check(
        "",
        "Pod",
        json!({"spec": {}}),
        expect![[r#"Pod "x" is invalid: spec.containers: Required value"#]],
    );
    check(
        "",
        "Pod",
        pod(json!({})),
        expect![[
            r#"Pod "x" is invalid: [spec.containers[0].name: Required value, spec.containers[0].image: Required value]"#
        ]],
    );
    check(
        "",
        "Pod",
        json!({"spec": {"restartPolicy": "Sometimes", "dnsPolicy": "X", "containers": [
            {"name": "c", "image": "i"}, {"name": "c", "image": "i"}]}}),
        expect![[
            r#"Pod "x" is invalid: [spec.containers[1].name: Duplicate value: "c", spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never", spec.dnsPolicy: Unsupported value: "X": supported values: "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"]"#
        ]],
    );
}

#[test]
fn what_is_in_containers() {
    check(
        "",
        "Pod",
        pod(json!({"name": "c", "image": "i",
            "ports": [{"containerPort": 0}, {"containerPort": 70000, "protocol": "X"}],
            "env": [{"name": "a=b"}, {"name": "c", "valueFrom": {}}],
            "volumeMounts": [{"name": "v", "mountPath": "/v"}],
            "resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}},
        })),
        expect![[
            r#"Pod "x" is invalid: [spec.containers[0].ports[0].containerPort: Required value, spec.containers[0].ports[1].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive, spec.containers[0].ports[1].protocol: Unsupported value: "X": supported values: "SCTP", "TCP", "UDP", spec.containers[0].env[0].name: Invalid value: "a=b": a valid environment variable name must consist only of printable ASCII characters other than '=', spec.containers[0].env[1].valueFrom: Invalid value: {}: must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`, spec.containers[0].volumeMounts[0].name: Not found: "v", spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1]"#
        ]],
    );
    check(
        "",
        "Pod",
        pod(json!({"name": "c", "image": "i",
            "livenessProbe": {"successThreshold": 2, "httpGet": {"port": 0}},
            "readinessProbe": {},
        })),
        expect![[
            r#"Pod "x" is invalid: [spec.containers[0].livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive, spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1, spec.containers[0].readinessProbe: Required value: must specify a handler type]"#
        ]],
    );
}

#[test]
fn volumes() {
    check(
        "",
        "Pod",
        json!({"spec": {"containers": [{"name": "c", "image": "i"}], "volumes": [
            {"name": "a", "hostPath": {"path": "/a/../b"}},
            {"name": "a", "configMap": {}, "secret": {"secretName": "s"}},
            {"name": "p", "persistentVolumeClaim": {}},
        ]}}),
        expect![[
            r#"Pod "x" is invalid: [spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain '..', spec.volumes[1].name: Duplicate value: "a", spec.volumes[1].secret: Forbidden: may not specify more than 1 volume type, spec.volumes[2].persistentVolumeClaim.claimName: Required value]"#
        ]],
    );
}

#[test]
fn pod_updates() {
    let running = || pod(json!({"name": "c", "image": "i"}));
    check_update(
        "",
        "Pod",
        running(),
        |new| new["spec"]["containers"][0]["image"] = "j".into(),
        expect!["ok"],
    );
    check_update(
        "",
        "Pod",
        running(),
        |new| new["spec"]["nodeName"] = "n".into(),
        expect![[
            r#"Pod "x" is invalid: spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"#
        ]],
    );
    check_update(
        "",
        "Pod",
        running(),
        |new| {
            object::set(
                new,
                &["spec", "containers"],
                json!([{"name": "c", "image": "i"}, {"name": "d", "image": "i"}]),
            )
        },
        expect![[
            r#"Pod "x" is invalid: spec.containers: Forbidden: pod updates may not add or remove containers"#
        ]],
    );
    check_update(
        "",
        "Pod",
        running(),
        |new| object::set(new, &["spec", "tolerations"], json!([{"operator": "Exists"}])),
        expect!["ok"],
    );
}

#[test]
fn deployments() {
    check("apps", "Deployment", deployment(), expect!["ok"]);
    check(
        "apps",
        "Deployment",
        json!({"spec": {"template": {"spec": {"containers": []}}}}),
        expect![[
            r#"Deployment.apps "x" is invalid: [spec.selector: Required value, spec.template.spec.containers: Required value]"#
        ]],
    );
    let mut other = deployment();
    other["spec"]["template"]["metadata"]["labels"] = json!({"c": "d"});
    other["spec"]["replicas"] = json!(-1);
    other["spec"]["template"]["spec"]["restartPolicy"] = "Never".into();
    check(
        "apps",
        "Deployment",
        other,
        expect![[
            r#"Deployment.apps "x" is invalid: [spec.replicas: Invalid value: -1: must be greater than or equal to 0, spec.template.metadata.labels: Invalid value: {"c":"d"}: `selector` does not match template `labels`, spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"]"#
        ]],
    );
    check_update(
        "apps",
        "Deployment",
        deployment(),
        |new| {
            object::set(new, &["spec", "selector", "matchLabels"], json!({"c": "d"}));
            object::set(new, &["spec", "template", "metadata", "labels"], json!({"c": "d"}));
        },
        expect![[
            r#"Deployment.apps "x" is invalid: spec.selector: Invalid value: {"matchLabels":{"c":"d"}}: field is immutable"#
        ]],
    );
    let mut stuck = deployment();
    stuck["spec"]["strategy"] = json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}});
    check(
        "apps",
        "Deployment",
        stuck,
        expect![[
            r#"Deployment.apps "x" is invalid: spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when `maxSurge` is 0"#
        ]],
    );
}

#[test]
fn jobs() {
    let job = |restart: &str| {
        json!({"spec": {"template": {"spec": {
        "restartPolicy": restart, "containers": [{"name": "c", "image": "i"}]}}}})
    };
    check("batch", "Job", job("Never"), expect!["ok"]);
    check(
        "batch",
        "Job",
        job("Always"),
        expect![[
            r#"Job.batch "x" is invalid: spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#
        ]],
    );
    check_update(
        "batch",
        "Job",
        job("Never"),
        |new| new["spec"]["parallelism"] = json!(3),
        expect!["ok"],
    );
    check_update(
        "batch",
        "Job",
        job("Never"),
        |new| new["spec"]["completions"] = json!(3),
        expect![[
            r#"Job.batch "x" is invalid: spec.completions: Invalid value: 3: field is immutable"#
        ]],
    );
    check(
        "batch",
        "CronJob",
        json!({"spec": {"schedule": "never", "concurrencyPolicy": "Maybe", "jobTemplate": job("Never")}}),
        expect![[
            r#"CronJob.batch "x" is invalid: [spec.schedule: Invalid value: "never": expected exactly 5 fields, found 1: [never], spec.concurrencyPolicy: Unsupported value: "Maybe": supported values: "Allow", "Forbid", "Replace"]"#
        ]],
    );
}

#[test]
fn services() {
    let service = || json!({"spec": {"ports": [{"port": 80}], "clusterIP": "10.96.0.1", "clusterIPs": ["10.96.0.1"]}});
    check("", "Service", service(), expect!["ok"]);
    check(
        "",
        "Service",
        json!({"spec": {"type": "Direct"}}),
        expect![[
            r#"Service "x" is invalid: [spec.type: Unsupported value: "Direct": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort", spec.ports: Required value]"#
        ]],
    );
    check(
        "",
        "Service",
        json!({"spec": {"ports": [{"port": 80, "nodePort": 30000}, {"port": 80, "name": "b"}]}}),
        expect![[
            r#"Service "x" is invalid: [spec.ports[0].name: Required value, spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP', spec.ports[1]: Duplicate value: {"protocol":"TCP","port":80}]"#
        ]],
    );
    check_update(
        "",
        "Service",
        service(),
        |new| {
            new["spec"]["clusterIP"] = "10.96.0.2".into();
            new["spec"]["clusterIPs"] = json!(["10.96.0.2"]);
        },
        expect![[
            r#"Service "x" is invalid: spec.clusterIPs[0]: Invalid value: "10.96.0.2": may not change once set"#
        ]],
    );
}

#[test]
fn configuration() {
    check(
        "",
        "ConfigMap",
        json!({"data": {"a b": "", "c": ""}, "binaryData": {"c": ""}}),
        expect![[
            r#"ConfigMap "x" is invalid: [data[a b]: Invalid value: "a b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+'), data[c]: Invalid value: "c": duplicate of key present in binaryData, binaryData[c]: Invalid value: "c": duplicate of key present in data]"#
        ]],
    );
    check(
        "",
        "Secret",
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": ""}}),
        expect![[r#"Secret "x" is invalid: data[tls.key]: Required value"#]],
    );
    check_update(
        "",
        "ConfigMap",
        json!({"immutable": true, "data": {"a": "b"}}),
        |new| new["data"]["a"] = "c".into(),
        expect![[
            r#"ConfigMap "x" is invalid: data: Forbidden: field is immutable when `immutable` is set"#
        ]],
    );
}

#[test]
fn access_and_quota() {
    check(
        "rbac.authorization.k8s.io",
        "Role",
        json!({"rules": [{"resources": ["pods"]}, {"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
        expect![[
            r#"Role.rbac.authorization.k8s.io "x" is invalid: [rules[0].verbs: Required value: verbs must contain at least one value, rules[0].apiGroups: Required value: resource rules must supply at least one api group, rules[1].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs]"#
        ]],
    );
    check(
        "rbac.authorization.k8s.io",
        "RoleBinding",
        json!({"roleRef": {"kind": "Pod", "name": ""}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
        expect![[
            r#"RoleBinding.rbac.authorization.k8s.io "x" is invalid: [roleRef.kind: Unsupported value: "Pod": supported values: "Role", "ClusterRole", roleRef.name: Required value, subjects[0].namespace: Required value]"#
        ]],
    );
    check(
        "",
        "LimitRange",
        json!({"spec": {"limits": [{"type": "Container", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}}),
        expect![[
            r#"LimitRange "x" is invalid: [spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 1, spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than default request value 1, spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than default value 1]"#
        ]],
    );
}

#[test]
fn storage_and_ingress() {
    check(
        "",
        "PersistentVolumeClaim",
        json!({"spec": {}}),
        expect![[
            r#"PersistentVolumeClaim "x" is invalid: [spec.accessModes: Required value: at least 1 access mode is required, spec.resources.requests[storage]: Required value]"#
        ]],
    );
    check_update(
        "",
        "PersistentVolumeClaim",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "2Gi"}}}}),
        |new| new["spec"]["accessModes"] = json!(["ReadOnlyMany"]),
        expect![[
            r#"PersistentVolumeClaim "x" is invalid: spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"#
        ]],
    );
    check(
        "networking.k8s.io",
        "Ingress",
        json!({"spec": {"rules": [{"host": "10.0.0.1", "http": {"paths": [{"path": "a", "pathType": "Prefix", "backend": {"service": {"name": "s"}}}]}}]}}),
        expect![[
            r#"Ingress.networking.k8s.io "x" is invalid: [spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address, spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path, spec.rules[0].http.paths[0].backend.service.port: Required value: port name or number is required]"#
        ]],
    );
}

#[test]
fn a_fresh_object_of_every_kind_is_checked_without_panic() {
    for resource in kinds().all() {
        let new = ready(resource, json!({}));
        let _ = strategy::validate(resource, &new);
        let _ = strategy::validate_update(resource, &new, &new);
    }
}

#[test]
fn addresses_of_services() {
    let address = |name: &str, expected: Expect| {
        let parent = json!({"resource": "services", "namespace": "a", "name": "b"});
        let object = json!({"metadata": {"name": name}, "spec": {"parentRef": parent}});
        check("networking.k8s.io", "IPAddress", object, expected);
    };
    address("10.0.0.1", expect!["ok"]);
    address("2001:db8::1", expect!["ok"]);
    address(
        "2001:db8:0::1",
        expect![[
            r#"IPAddress.networking.k8s.io "2001:db8:0::1" is invalid: metadata.name: Invalid value: "2001:db8:0::1": must be a valid address in canonical form"#
        ]],
    );
    address(
        "10.0.0",
        expect![[
            r#"IPAddress.networking.k8s.io "10.0.0" is invalid: metadata.name: Invalid value: "10.0.0": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
        ]],
    );
    let nobodys = json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {"name": "b"}}});
    check(
        "networking.k8s.io",
        "IPAddress",
        nobodys,
        expect![[
            r#"IPAddress.networking.k8s.io "10.0.0.1" is invalid: spec.parentRef.resource: Required value"#
        ]],
    );
}

#[test]
fn ranges_of_services() {
    let group = "networking.k8s.io";
    let range = |cidrs: Value| json!({"spec": {"cidrs": cidrs}});
    check(group, "ServiceCIDR", range(json!(["10.0.0.0/8", "2001:db8::/64"])), expect!["ok"]);
    check(
        group,
        "ServiceCIDR",
        range(json!([])),
        expect![[
            r#"ServiceCIDR.networking.k8s.io "x" is invalid: spec.cidrs: Required value: at least one CIDR required"#
        ]],
    );
    check(
        group,
        "ServiceCIDR",
        range(json!(["10.0.0.1/8", "10.0.0.1"])),
        expect![[
            r#"ServiceCIDR.networking.k8s.io "x" is invalid: [spec.cidrs[0]: Invalid value: "10.0.0.1/8": must be in canonical form ("10.0.0.0/8"), spec.cidrs[1]: Invalid value: "10.0.0.1": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)]"#
        ]],
    );
    check(
        group,
        "ServiceCIDR",
        range(json!(["10.0.0.0/8", "11.0.0.0/8"])),
        expect![[
            r#"ServiceCIDR.networking.k8s.io "x" is invalid: spec.cidrs: Invalid value: ["10.0.0.0/8","11.0.0.0/8"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"#
        ]],
    );
    let old = range(json!(["10.0.0.0/8"]));
    let change = |cidrs: Value, expected: Expect| {
        check_update(
            group,
            "ServiceCIDR",
            old.clone(),
            |new| new["spec"]["cidrs"] = cidrs.clone(),
            expected,
        );
    };
    change(json!(["10.0.0.0/8", "2001:db8::/64"]), expect!["ok"]);
    change(
        json!(["11.0.0.0/8"]),
        expect![[
            r#"ServiceCIDR.networking.k8s.io "x" is invalid: spec.cidrs[0]: Invalid value: "11.0.0.0/8": field is immutable"#
        ]],
    );
    change(
        json!([]),
        expect![[
            r#"ServiceCIDR.networking.k8s.io "x" is invalid: [spec.cidrs: Required value: at least one CIDR required, spec.cidrs: Invalid value: null: field is immutable]"#
        ]],
    );
}

#[test]
fn flow_schemas() {
    let schema = |spec: Value, expected: Expect| {
        check("flowcontrol.apiserver.k8s.io", "FlowSchema", json!({"spec": spec}), expected);
    };
    let subject = json!({"kind": "User", "user": {"name": "*"}});
    let resources =
        json!({"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true});
    schema(
        json!({"priorityLevelConfiguration": {"name": "a"}, "matchingPrecedence": 9,
            "rules": [{"subjects": [subject], "resourceRules": [resources]}]}),
        expect!["ok"],
    );
    schema(
        json!({"priorityLevelConfiguration": {"name": ""}, "matchingPrecedence": 1}),
        expect![[
            r#"FlowSchema.flowcontrol.apiserver.k8s.io "x" is invalid: [spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1, spec.priorityLevelConfiguration.name: Required value: must reference a priority level]"#
        ]],
    );
    schema(
        json!({"priorityLevelConfiguration": {"name": "a"}, "matchingPrecedence": 10001, "rules": [{}]}),
        expect![[
            r#"FlowSchema.flowcontrol.apiserver.k8s.io "x" is invalid: [spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000, spec.rules[0].subjects: Required value: subjects must contain at least one value, spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty]"#
        ]],
    );
    schema(
        json!({"priorityLevelConfiguration": {"name": "a"}, "rules": [{
            "subjects": [
                {"kind": "Group", "user": {"name": "u"}}, {"kind": "Robot"},
                {"kind": "ServiceAccount", "serviceAccount": {"name": "A"}}],
            "resourceRules": [{"verbs": ["fly"], "apiGroups": ["*", "a"], "namespaces": ["A"]}],
            "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["a", "/a*", "/*/b", "/a/*", "/é"]}],
        }]}),
        expect![[
            r#"FlowSchema.flowcontrol.apiserver.k8s.io "x" is invalid: [spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group', spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User', spec.rules[0].subjects[1].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User", spec.rules[0].subjects[2].serviceAccount.name: Invalid value: "A": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*'), spec.rules[0].subjects[2].serviceAccount.namespace: Required value: must specify namespace for service account, spec.rules[0].resourceRules[0].verbs: Unsupported value: ["fly"]: supported values: "create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch", spec.rules[0].resourceRules[0].apiGroups: Invalid value: ["*","a"]: if '*' is present, must not specify other api groups, spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource, spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: "A": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?'), spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "a": must start with slash, spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "/a*": wildcard can only do suffix matching, spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/*/b": wildcard can only do suffix matching]"#
        ]],
    );
}

#[test]
fn priority_levels() {
    let level = |spec: Value, expected: Expect| {
        let kind = "PriorityLevelConfiguration";
        check("flowcontrol.apiserver.k8s.io", kind, json!({"spec": spec}), expected);
    };
    let limited = |queuing: Value| json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": queuing}}});
    level(limited(json!({"queues": 64, "handSize": 6, "queueLengthLimit": 50})), expect!["ok"]);
    level(
        limited(json!({"queues": 10_000_000, "handSize": 1_000_000})),
        expect![[
            r#"PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io "x" is invalid: spec.limited.limitResponse.queuing.handSize: Invalid value: 1000000: required entropy bits of deckSize 10000000 and handSize 1000000 should not be greater than 60"#
        ]],
    );
    level(
        limited(json!({"queues": 2, "handSize": 3, "queueLengthLimit": -1})),
        expect![[
            r#"PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io "x" is invalid: [spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive, spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)]"#
        ]],
    );
    level(
        json!({"type": "Limited", "exempt": {}, "limited": {"lendablePercent": 101, "borrowingLimitPercent": -1,
            "nominalConcurrencyShares": -2, "limitResponse": {"type": "Reject", "queuing": {}}}}),
        expect![[
            r#"PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io "x" is invalid: [spec.exempt: Forbidden: must be nil if the type is Limited, spec.limited.nominalConcurrencyShares: Invalid value: -2: must be a non-negative integer, spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive, spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer, spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited]"#
        ]],
    );
    level(
        json!({"type": "Exempt"}),
        expect![[
            r#"PriorityLevelConfiguration.flowcontrol.apiserver.k8s.io "x" is invalid: spec.type: Invalid value: "Exempt": must be 'Exempt' if and only if `name` is 'exempt'"#
        ]],
    );
}
