//! The flow schemas and priority levels every cluster begins with. Two of each are mandatory: they
//! come back whatever is done to them. The others are suggestions that follow the program as long
//! as nobody takes them over by annotation.

use serde_json::{Value, json};

use crate::user::{AUTHENTICATED, MASTERS, NODES, SERVICE_ACCOUNTS, UNAUTHENTICATED};

/// `true` on an object that follows the program.
pub(super) const AUTO_UPDATE: &str = "apf.kubernetes.io/autoupdate-spec";

pub(super) fn mandatory_levels() -> [Value; 2] {
    let exempt = json!({
        "type": "Exempt",
        "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0},
    });
    let catch_all = json!({
        "type": "Limited",
        "limited": {
            "nominalConcurrencyShares": 5,
            "limitResponse": {"type": "Reject"},
            "lendablePercent": 0,
        },
    });
    [level("exempt", exempt), level("catch-all", catch_all)]
}

pub(super) fn suggested_levels() -> Vec<Value> {
    let queued = |name, shares: u32, lendable: u32, queues: u32, hand: u32| {
        let spec = json!({
            "type": "Limited",
            "limited": {
                "nominalConcurrencyShares": shares,
                "limitResponse": {
                    "type": "Queue",
                    "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50},
                },
                "lendablePercent": lendable,
            },
        });
        level(name, spec)
    };
    vec![
        queued("system", 30, 33, 64, 6),
        queued("node-high", 40, 25, 64, 6),
        queued("leader-election", 10, 0, 16, 4),
        queued("workload-high", 40, 50, 128, 6),
        queued("workload-low", 100, 90, 128, 6),
        queued("global-default", 20, 50, 128, 6),
    ]
}

pub(super) fn mandatory_schemas() -> [Value; 2] {
    let everybody = groups(&[UNAUTHENTICATED, AUTHENTICATED]);
    [
        schema("exempt", "exempt", 1, None, everything(groups(&[MASTERS]))),
        schema("catch-all", "catch-all", 10000, Some("ByUser"), everything(everybody)),
    ]
}

pub(super) fn suggested_schemas() -> Vec<Value> {
    let (user, namespace) = (Some("ByUser"), Some("ByNamespace"));
    let everybody = || groups(&[UNAUTHENTICATED, AUTHENTICATED]);
    let manager = || named("User", "user", "system:kube-controller-manager");
    let scheduler = || named("User", "user", "system:kube-scheduler");
    let probes = json!({
        "subjects": everybody(),
        "nonResourceRules": [
            {"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]},
        ],
    });
    let leases = |verbs: &[&str]| resources(verbs, "coordination.k8s.io", &["leases"], false);
    let election = json!({
        "subjects": [manager(), scheduler(), system_accounts()],
        "resourceRules": [leases(&["get", "create", "update"])],
    });
    let health = json!({
        "subjects": groups(&[NODES]),
        "resourceRules": [
            resources(&["*"], "", &["nodes", "nodes/status"], true),
            leases(&["*"]),
        ],
    });
    let one = |subject: Value| everything(Value::Array(vec![subject]));
    vec![
        schema("probes", "exempt", 2, None, probes),
        schema("system-leader-election", "leader-election", 100, user, election),
        schema("system-node-high", "node-high", 400, user, health),
        schema("system-nodes", "system", 500, user, everything(groups(&[NODES]))),
        schema("kube-controller-manager", "workload-high", 800, namespace, one(manager())),
        schema("kube-scheduler", "workload-high", 800, namespace, one(scheduler())),
        schema(
            "kube-system-service-accounts",
            "workload-high",
            900,
            namespace,
            one(system_accounts()),
        ),
        schema(
            "service-accounts",
            "workload-low",
            9000,
            user,
            everything(groups(&[SERVICE_ACCOUNTS])),
        ),
        schema("global-default", "global-default", 9900, user, everything(everybody())),
    ]
}

fn level(name: &str, spec: Value) -> Value {
    object("PriorityLevelConfiguration", name, spec)
}

fn schema(name: &str, level: &str, precedence: u32, by: Option<&str>, rules: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level},
        "matchingPrecedence": precedence,
    });
    if let Some(by) = by {
        spec["distinguisherMethod"] = json!({"type": by});
    }
    spec["rules"] = json!([rules]);
    object("FlowSchema", name, spec)
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "flowcontrol.apiserver.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, "annotations": {AUTO_UPDATE: "true"}},
        "spec": spec,
    })
}

fn named(kind: &str, field: &str, name: &str) -> Value {
    json!({"kind": kind, field: {"name": name}})
}

fn groups(names: &[&str]) -> Value {
    names.iter().map(|name| named("Group", "group", name)).collect()
}

fn system_accounts() -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": "*"}})
}

fn resources(verbs: &[&str], group: &str, resources: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": [group], "resources": resources});
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule["namespaces"] = json!(["*"]);
    rule
}

/// All that the subjects may ask.
fn everything(subjects: Value) -> Value {
    json!({
        "subjects": subjects,
        "resourceRules": [resources(&["*"], "*", &["*"], true)],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    })
}
