//! Pods run as a service account and find its token, the cluster's CA and their namespace mounted.

use minik_meta::{Status, names, object};
use serde_json::{Value, json};

use crate::call::Call;

const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// How long a mounted token lasts; clients older than bound tokens may read it once an hour, and
/// get a warning period.
const TOKEN_SECONDS: i64 = 3607;

/// Sets the account, checks that it exists, mounts its token, takes over its pull secrets.
pub(super) fn of_new_pod(call: &Call, pod: &mut Value) -> Result<(), Status> {
    let name = object::name(pod).to_owned();
    if object::annotation(pod, "kubernetes.io/config.mirror").is_some() {
        return Ok(());
    }
    let account = match object::text(pod, &["spec", "serviceAccountName"]) {
        "" => match object::text(pod, &["spec", "serviceAccount"]) {
            "" => "default".to_owned(),
            old_field => old_field.to_owned(),
        },
        account => account.to_owned(),
    };
    object::set(pod, &["spec", "serviceAccountName"], account.clone());
    object::set(pod, &["spec", "serviceAccount"], account.clone());
    let namespace = &call.target.namespace;
    let Some(found) = call.core.read_core_object("serviceaccounts", namespace, &account) else {
        let why = format!(
            "error looking up service account {namespace}/{account}: serviceaccount \
             \"{account}\" not found"
        );
        return Err(super::forbidden(call, &name, why));
    };
    if mounts_token(pod, &found) {
        mount(pod);
    }
    if object::list(pod, &["spec", "imagePullSecrets"]).is_empty() {
        let secrets = object::list(&found, &["imagePullSecrets"]);
        if !secrets.is_empty() {
            object::set(pod, &["spec", "imagePullSecrets"], secrets.to_vec());
        }
    }
    Ok(())
}

fn mounts_token(pod: &Value, account: &Value) -> bool {
    let of = |value: Option<&Value>| value.and_then(Value::as_bool);
    of(object::at(pod, &["spec", "automountServiceAccountToken"]))
        .or(of(object::at(account, &["automountServiceAccountToken"])))
        .unwrap_or(true)
}

/// Adds the volume and its mounts to all containers that have nothing mounted there.
fn mount(pod: &mut Value) {
    let spec = object::fields(&mut pod["spec"]);
    let volume = names::generate_name("kube-api-access-");
    let mut used = false;
    for list in ["initContainers", "containers"] {
        let containers = spec.get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mounts = object::fields(container).entry("volumeMounts");
            let Some(mounts) = mounts.or_insert_with(|| json!([])).as_array_mut() else { continue };
            if mounts.iter().any(|mount| mount["mountPath"] == MOUNT_PATH) {
                continue;
            }
            mounts.push(json!({"name": volume, "readOnly": true, "mountPath": MOUNT_PATH}));
            used = true;
        }
    }
    if !used {
        return;
    }
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(token_volume(&volume));
    }
}

fn token_volume(name: &str) -> Value {
    json!({
        "name": name,
        "projected": {
            "defaultMode": 420,
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
                {"configMap": {
                    "name": "kube-root-ca.crt",
                    "items": [{"key": "ca.crt", "path": "ca.crt"}],
                }},
                {"downwardAPI": {"items": [{
                    "path": "namespace",
                    "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"},
                }]}},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_mounted_once_into_each_container() {
        let mut pod = json!({"spec": {"containers": [
            {"name": "a"},
            {"name": "b", "volumeMounts": [{"name": "own", "mountPath": MOUNT_PATH}]},
        ]}});
        mount(&mut pod);
        let volume = pod["spec"]["volumes"][0]["name"].as_str().expect("name").to_owned();
        assert!(volume.starts_with("kube-api-access-"));
        assert_eq!(pod["spec"]["containers"][0]["volumeMounts"][0]["name"], volume.as_str());
        assert_eq!(object::list(&pod["spec"]["containers"][1], &["volumeMounts"]).len(), 1);
    }
}
