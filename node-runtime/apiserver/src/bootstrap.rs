//! What a new cluster holds before anybody asks for anything: namespaces, roles, priority
//! classes, the `kubernetes` Service. Written as one transaction.

mod policy;

use std::sync::Arc;

use crate::vault::Store;
use minik_api::{Resource, aggregation};
use minik_meta::{names, object, time};
use minik_store::{StoreError, Write};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::config::{Authorities, Config};
use crate::core::Core;
use crate::fairness;
use crate::kinds::Kinds;
use crate::objects;

/// Namespaces that exist in every cluster and cannot be deleted (but `default` and `kube-public`
/// and `kube-system` only).
const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Name of the ServiceCIDR that every cluster has.
const SERVICE_CIDR: &str = "kubernetes";

/// Writes what is missing. Objects that exist stay as their owners changed them, except the
/// built-in roles, whose rules follow the program (unless they opt out by annotation).
pub(crate) async fn run(
    store: &Store,
    kinds: &Kinds,
    config: &Config,
    authorities: &Authorities,
) -> Result<(), StoreError> {
    let now = time::now_rfc3339();
    let mut writes = Vec::new();
    for (group, version, plural, mut value) in wanted(config, authorities) {
        let Some(resource) = kinds.find(group, version, plural) else { continue };
        let key = objects::key(&resource, object::namespace(&value), object::name(&value));
        match store.get(&key) {
            Some(entry) => {
                let current = objects::read(&resource, &entry.value, entry.modified);
                if let Some(updated) = reconciled(&current, &value) {
                    let expect = minik_store::Expect::At(entry.modified);
                    writes.push(Write::put(key, expect, objects::write(&resource, updated)));
                }
            }
            None => {
                stamp(&resource, &mut value, &now);
                writes.push(Write::create(key, objects::write(&resource, value)));
            }
        }
    }
    if !writes.is_empty() {
        store.transact(writes).await?;
    }
    fairness::bootstrap(store, kinds).await
}

/// Makes again, until `stop`, what people delete and the cluster cannot do without: the
/// `kubernetes` Service with its addresses, the namespace of the node leases, and what other API
/// servers need to know.
pub(crate) async fn keep(core: Arc<Core>, stop: CancellationToken) {
    const KEPT: &[&str] = &[
        "core/services/default/kubernetes",
        "core/endpoints/default/kubernetes",
        "discovery.k8s.io/endpointslices/default/kubernetes",
        "core/namespaces/kube-node-lease",
        "core/configmaps/kube-system/extension-apiserver-authentication",
        "networking.k8s.io/servicecidrs/kubernetes",
    ];
    let keeping = KEPT.iter().map(|key| keep_one(&core, format!("{}{key}", objects::ROOT)));
    tokio::select! {
        () = stop.cancelled() => {}
        _ = futures::future::join_all(keeping) => {}
    }
}

/// Follows one object; ends only with the store.
async fn keep_one(core: &Core, key: String) {
    let mut after = core.store.revision();
    loop {
        if core.store.get(&key).is_none()
            && let Err(error) = run(&core.store, &core.kinds, &core.config, &core.authorities).await
        {
            // Somebody else made it in between, or the store is failing and says so elsewhere.
            debug!(key, %error, "not made again");
        }
        let Ok(mut watch) = core.store.watch(&key, after) else {
            after = core.store.revision();
            continue;
        };
        match watch.next().await {
            Ok(event) => after = event.revision,
            Err(minik_store::WatchError::Compacted { .. }) => after = core.store.revision(),
            Err(minik_store::WatchError::Closed) => return,
        }
    }
}

/// Gives a new object what every stored one has.
pub(crate) fn stamp(resource: &Resource, value: &mut Value, now: &str) {
    minik_api::default(resource, value);
    let metadata = object::metadata_mut(value);
    metadata.insert("uid".to_owned(), names::new_uid().into());
    metadata.insert("creationTimestamp".to_owned(), now.into());
}

/// What an existing object must become, if it must change.
fn reconciled(current: &Value, wanted: &Value) -> Option<Value> {
    let updatable =
        object::annotation(current, "rbac.authorization.kubernetes.io/autoupdate") == Some("true");
    match wanted["kind"].as_str()? {
        "ClusterRole" | "Role" if updatable && wanted.get("aggregationRule").is_none() => {
            (current["rules"] != wanted["rules"]).then(|| {
                let mut updated = current.clone();
                updated["rules"] = wanted["rules"].clone();
                updated
            })
        }
        "ClusterRole" if updatable => {
            // Its rules follow from others.
            let mut updated = current.clone();
            updated["aggregationRule"] = wanted["aggregationRule"].clone();
            for (key, value) in wanted["metadata"]["labels"].as_object().into_iter().flatten() {
                object::set(&mut updated, &["metadata", "labels", key.as_str()], value.clone());
            }
            (updated != *current).then_some(updated)
        }
        "ConfigMap" if current["data"] != wanted["data"] => {
            let mut updated = current.clone();
            updated["data"] = wanted["data"].clone();
            Some(updated)
        }
        // Those that were made at start follow the program.
        "APIService"
            if object::label(current, aggregation::MANAGED) == Some(aggregation::ON_START)
                && current["spec"] != wanted["spec"] =>
        {
            let mut updated = current.clone();
            updated["spec"] = wanted["spec"].clone();
            Some(updated)
        }
        "Endpoints" if current["subsets"] != wanted["subsets"] => {
            let mut updated = current.clone();
            updated["subsets"] = wanted["subsets"].clone();
            Some(updated)
        }
        "EndpointSlice"
            if (&current["endpoints"], &current["ports"])
                != (&wanted["endpoints"], &wanted["ports"]) =>
        {
            let mut updated = current.clone();
            updated["endpoints"] = wanted["endpoints"].clone();
            updated["ports"] = wanted["ports"].clone();
            Some(updated)
        }
        _ => None,
    }
}

type Wanted = (&'static str, &'static str, &'static str, Value);

fn wanted(config: &Config, authorities: &Authorities) -> Vec<Wanted> {
    let namespaces = NAMESPACES.iter().map(|name| ("", "v1", "namespaces", namespace(name)));
    let policy = policy::objects()
        .into_iter()
        .map(|(plural, object)| ("rbac.authorization.k8s.io", "v1", plural, object));
    let classes = [
        ("system-cluster-critical", 2_000_000_000, "pods that the cluster cannot do without"),
        ("system-node-critical", 2_000_001_000, "pods that their node cannot do without"),
    ]
    .map(|(name, value, text)| {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": name},
            "value": value,
            "description": format!("Used for {text}."),
        });
        ("scheduling.k8s.io", "v1", "priorityclasses", class)
    });
    let services = aggregation::built_in();
    let services =
        services.into_iter().map(|one| ("apiregistration.k8s.io", "v1", "apiservices", one));
    let authentication = ("", "v1", "configmaps", authentication(authorities));
    namespaces
        .chain(policy)
        .chain(classes)
        .chain(kubernetes_service(config))
        .chain(services)
        .chain([authentication, service_cidr(config)])
        .collect()
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {"kubernetes.io/metadata.name": name}},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Active"},
    })
}

/// What other API servers need to know who a request is from: whose certificates to trust, and which
/// headers of ours.
fn authentication(authorities: &Authorities) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
        "data": {
            "client-ca-file": authorities.client_ca_pem,
            "requestheader-allowed-names": json!(authorities.front_proxy_names).to_string(),
            "requestheader-client-ca-file": authorities.front_proxy_ca_pem,
            "requestheader-extra-headers-prefix": "[\"X-Remote-Extra-\"]",
            "requestheader-group-headers": "[\"X-Remote-Group\"]",
            "requestheader-uid-headers": "[\"X-Remote-Uid\"]",
            "requestheader-username-headers": "[\"X-Remote-User\"]",
        },
    })
}

/// The range that Services get their addresses from.
fn service_cidr(config: &Config) -> Wanted {
    let range = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "ServiceCIDR",
        "metadata": {
            "name": SERVICE_CIDR,
            "finalizers": ["networking.k8s.io/service-cidr-finalizer"],
        },
        "spec": {"cidrs": [config.service_cidr.to_string()]},
        "status": {"conditions": [{
            "type": "Ready",
            "status": "True",
            "reason": "",
            "message": "Kubernetes default Service CIDR is ready",
            "lastTransitionTime": time::now_rfc3339(),
        }]},
    });
    ("networking.k8s.io", "v1", "servicecidrs", range)
}

/// The Service by which pods reach the API, and the address behind it.
fn kubernetes_service(config: &Config) -> Vec<Wanted> {
    let port = config.advertise_port;
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let service = json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": labels},
        "spec": {
            "type": "ClusterIP",
            "clusterIP": config.service_cidr.first_address().to_string(),
            "clusterIPs": [config.service_cidr.first_address().to_string()],
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "internalTrafficPolicy": "Cluster",
            "ports": [{"name": "https", "protocol": "TCP", "port": 443, "targetPort": port}],
        },
        "status": {"loadBalancer": {}},
    });
    let address = config.advertise_address.to_string();
    // The slice is ours alone: nothing mirrors these Endpoints.
    let skip = json!({"endpointslice.kubernetes.io/skip-mirror": "true"});
    let endpoints = json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": skip},
        "subsets": [{
            "addresses": [{"ip": address}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    });
    let slice = json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kubernetes",
            "namespace": "default",
            "labels": {"kubernetes.io/service-name": "kubernetes"},
        },
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    vec![
        ("", "v1", "services", service),
        ("", "v1", "endpoints", endpoints),
        ("discovery.k8s.io", "v1", "endpointslices", slice),
    ]
}
