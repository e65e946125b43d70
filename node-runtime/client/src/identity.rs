//! Names of the users that minik's own parts act as, and the groups that come with a name.

/// User of the scheduler.
pub const SCHEDULER: &str = "system:kube-scheduler";
/// User of what the controllers share: their caches.
pub const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";
/// User of the service proxy.
pub const PROXY: &str = "system:kube-proxy";

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const NODE: &str = "system:node:";

/// User name of one controller: `controller("deployment-controller")` is the service account of
/// that name in `kube-system`, which the bootstrap roles are bound to.
#[must_use]
pub fn controller(name: &str) -> String {
    format!("{SERVICE_ACCOUNT}kube-system:{name}")
}

/// User name of the kubelet of the node called `name`.
#[must_use]
pub fn node(name: &str) -> String {
    format!("{NODE}{name}")
}

/// The groups that a user made by this module belongs to.
#[must_use]
pub fn groups_of(user: &str) -> Vec<String> {
    let mut groups = Vec::new();
    if let Some(account) = user.strip_prefix(SERVICE_ACCOUNT) {
        groups.push("system:serviceaccounts".to_owned());
        if let Some((namespace, _)) = account.split_once(':') {
            groups.push(format!("system:serviceaccounts:{namespace}"));
        }
    } else if user.starts_with(NODE) {
        groups.push("system:nodes".to_owned());
    }
    groups.push("system:authenticated".to_owned());
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_come_with_the_name() {
        let check = |user: &str, groups: &[&str]| assert_eq!(groups_of(user), groups, "{user}");
        check(
            &controller("job-controller"),
            &[
                "system:serviceaccounts",
                "system:serviceaccounts:kube-system",
                "system:authenticated",
            ],
        );
        check(&node("minik"), &["system:nodes", "system:authenticated"]);
        check(SCHEDULER, &["system:authenticated"]);
    }
}
