//! Roles and bindings may only grant what their writer holds, unless they may `escalate` or
//! `bind`.

use minik_meta::{Status, object};
use serde_json::Value;

use crate::authz::escalation::{message, missing};
use crate::authz::rbac::{PolicyRule, RoleKey, Wish, role_ref, rules_of};
use crate::call::Call;
use crate::user::MASTERS;

const GROUP: &str = "rbac.authorization.k8s.io";

pub(super) fn check(call: &Call, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    if call.kind.group != GROUP || call.user.is_in(MASTERS) {
        return Ok(());
    }
    match call.kind.kind.as_ref() {
        "Role" | "ClusterRole" => check_role(call, old, new),
        "RoleBinding" | "ClusterRoleBinding" => check_binding(call, old, new),
        _ => Ok(()),
    }
}

fn check_role(call: &Call, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    let name = object::name(new);
    let same = |field: &str| old.is_some_and(|old| old[field] == new[field]);
    if (same("rules") && same("aggregationRule")) || may(call, "escalate", &call.target.resource) {
        return Ok(());
    }
    if !new["aggregationRule"].is_null() && !same("aggregationRule") {
        // Whoever selects roles may come to hold anything.
        let everything = ["*"].map(str::to_owned).to_vec();
        let all = PolicyRule {
            verbs: everything.clone(),
            api_groups: everything.clone(),
            resources: everything,
            ..PolicyRule::default()
        };
        check_held(call, name, &[all])?;
    }
    check_held(call, name, &rules_of(new))
}

fn check_binding(call: &Call, old: Option<&Value>, new: &Value) -> Result<(), Status> {
    if old.is_some_and(|old| old["roleRef"] == new["roleRef"] && old["subjects"] == new["subjects"])
    {
        return Ok(());
    }
    let Some(role) = role_ref(&call.target.namespace, new) else { return Ok(()) };
    if may_bind(call, &role) {
        return Ok(());
    }
    let Some(rules) = call.core.authorizer.role(&role) else {
        let resource = if role.namespace.is_empty() { "clusterroles" } else { "roles" };
        let resource = minik_meta::GroupResource::new(GROUP, resource);
        return Err(Status::not_found(&resource, &role.name));
    };
    check_held(call, object::name(new), &rules)
}

fn check_held(call: &Call, name: &str, wanted: &[PolicyRule]) -> Result<(), Status> {
    let held = call.core.authorizer.rules(&call.user, &call.target.namespace);
    let missing = missing(&held, wanted);
    if missing.is_empty() {
        return Ok(());
    }
    Err(super::forbidden(call, name, message(&call.user, &missing)))
}

fn may(call: &Call, verb: &str, resource: &str) -> bool {
    let wish = Wish::Resource {
        verb,
        group: GROUP,
        resource,
        subresource: "",
        namespace: &call.target.namespace,
        name: &call.target.name,
    };
    call.core.authorizer.allows(&call.user, &wish)
}

fn may_bind(call: &Call, role: &RoleKey) -> bool {
    let wish = Wish::Resource {
        verb: "bind",
        group: GROUP,
        resource: if role.namespace.is_empty() { "clusterroles" } else { "roles" },
        subresource: "",
        namespace: &call.target.namespace,
        name: &role.name,
    };
    call.core.authorizer.allows(&call.user, &wish)
}
