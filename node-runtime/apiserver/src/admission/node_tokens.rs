//! Tokens that kubelets ask for: for their own pods only, and for audiences those pods name.

use minik_meta::{GroupResource, Status, object};
use serde_json::Value;

use crate::authz::rbac::Wish;
use crate::call::Call;

/// Refuses a request for a token, as the kubelet sent it, that no pod of its node needs.
pub(super) fn check(call: &Call, review: &Value) -> Result<(), Status> {
    let Some(node) = call.user.node_name() else { return Ok(()) };
    let refuse = |why: &str| Err(super::forbidden(call, &call.target.name, why));
    let bound = |field: &str| object::text(review, &["spec", "boundObjectRef", field]);
    let (name, uid) = (bound("name"), bound("uid"));
    if bound("apiVersion") != "v1" || bound("kind") != "Pod" || name.is_empty() {
        return refuse("node requested token not bound to a pod");
    }
    if uid.is_empty() {
        return refuse("node requested token with a pod binding without a uid");
    }
    let namespace = &call.target.namespace;
    let pod = call.core.read_core_object("pods", namespace, name);
    let pod = pod.ok_or_else(|| Status::not_found(&GroupResource::new("", "pods"), name))?;
    if object::uid(&pod) != uid {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        );
        return refuse(&why);
    }
    if object::text(&pod, &["spec", "nodeName"]) != node {
        return refuse("node requested token bound to a pod scheduled on a different node");
    }
    let audience = match object::list(review, &["spec", "audiences"]) {
        [] => "",
        [one] => one.as_str().unwrap_or_default(),
        _ => return refuse("node may only request 0 or 1 audiences"),
    };
    if names(&pod, audience) || of_driver(call, &pod, audience) || may(call, audience) {
        return Ok(());
    }
    let user = &call.user.name;
    refuse(&format!(
        "audience {audience:?} not found in pod spec volume, {user} is not authorized to request \
         tokens for this audience"
    ))
}

fn volumes(pod: &Value) -> &[Value] {
    object::list(pod, &["spec", "volumes"])
}

/// Whether a volume of the pod is a token for the audience.
fn names(pod: &Value, audience: &str) -> bool {
    let sources = volumes(pod).iter().flat_map(|one| object::list(one, &["projected", "sources"]));
    let tokens = sources.filter_map(|source| source.get("serviceAccountToken"));
    tokens.into_iter().any(|token| object::text(token, &["audience"]) == audience)
}

/// Whether the driver of a volume of the pod is given tokens for the audience.
fn of_driver(call: &Call, pod: &Value, audience: &str) -> bool {
    volumes(pod).iter().filter_map(|volume| driver_of(call, pod, volume)).any(|driver| {
        let driver = call.core.read_object("storage.k8s.io", "csidrivers", "", &driver);
        let requests = driver.as_ref().map(|one| object::list(one, &["spec", "tokenRequests"]));
        let mut requests = requests.unwrap_or_default().iter();
        requests.any(|one| object::text(one, &["audience"]) == audience)
    })
}

fn driver_of(call: &Call, pod: &Value, volume: &Value) -> Option<String> {
    let text = |path: &[&str]| {
        let found = object::text(volume, path);
        (!found.is_empty()).then(|| found.to_owned())
    };
    if let Some(driver) = text(&["csi", "driver"]) {
        return Some(driver);
    }
    let own = || {
        let template = object::at(volume, &["ephemeral", "volumeClaimTemplate"]);
        template.map(|_| format!("{}-{}", object::name(pod), object::text(volume, &["name"])))
    };
    let claim = text(&["persistentVolumeClaim", "claimName"]).or_else(own)?;
    let claims = "persistentvolumeclaims";
    let claim = call.core.read_core_object(claims, object::namespace(pod), &claim)?;
    let volume = object::text(&claim, &["spec", "volumeName"]);
    let volume = call.core.read_core_object("persistentvolumes", "", volume)?;
    let driver = object::text(&volume, &["spec", "csi", "driver"]);
    (!driver.is_empty()).then(|| driver.to_owned())
}

/// Whether the roles let the kubelet ask for the audience all the same.
fn may(call: &Call, audience: &str) -> bool {
    let wish = Wish::Resource {
        verb: "request-serviceaccounts-token-audience",
        group: "",
        resource: audience,
        subresource: "",
        namespace: &call.target.namespace,
        name: &call.target.name,
    };
    call.core.authorizer.allows(&call.user, &wish)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_names_audiences() {
        let source = json!({"serviceAccountToken": {"path": "token"}});
        let vault = json!({"serviceAccountToken": {"path": "v", "audience": "vault"}});
        let pod = json!({"spec": {"volumes": [
            {"name": "a", "projected": {"sources": [{"configMap": {"name": "c"}}, source, vault]}},
        ]}});
        assert!(names(&pod, "") && names(&pod, "vault") && !names(&pod, "other"));
        assert!(!names(&json!({"spec": {}}), ""));
    }
}
