//! Evicts a pod: deletes it if its disruption budgets allow that now.

use http::{Request, Response, StatusCode};
use minik_meta::status::Cause;
use minik_meta::{LabelSelector, Status, object};
use minik_store::{Entry, Expect, ListOptions, StoreError, Write};
use serde_json::{Value, json};

use crate::admission;
use crate::body::Body;
use crate::call::Call;
use crate::verbs::delete::{self, delete_one};
use crate::{input, objects, output};

const BUDGETS: (&str, &str, &str) = ("policy", "v1", "poddisruptionbudgets");
/// How often the budget's counter is tried when others write it too.
const TRIES_MAX: usize = 8;

pub(super) async fn evict(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let kind = call.core.kinds.body("policy", "v1", "Eviction");
    let kind = kind.ok_or_else(Status::not_found_path)?;
    let mut eviction = input::object(call, &kind, request).await?;
    admission::ask_virtual(call, &call.target.name, &mut eviction).await?;
    let options = delete::options_of(&eviction["deleteOptions"], call.dry_run)?;
    let (namespace, name) = (&call.target.namespace, call.target.name.as_str());
    let pod = call
        .core
        .read_core_object("pods", namespace, name)
        .ok_or_else(|| Status::not_found(&call.resource(), name))?;
    if needs_budget(&pod) {
        spend(call, &pod, options.dry_run).await?;
    }
    // Who may evict was asked about the eviction, not about the pod.
    delete_one(call, name, &options, None).await?;
    let success = Status::success(None);
    Ok(output::value(call, StatusCode::CREATED, &success))
}

/// Pods that do not run are not missed.
fn needs_budget(pod: &Value) -> bool {
    let phase = object::text(pod, &["status", "phase"]);
    object::deletion_timestamp(pod).is_none()
        && !matches!(phase, "Succeeded" | "Failed" | "Pending")
}

/// Takes one disruption off the pod's budget, if it has one.
async fn spend(call: &Call, pod: &Value, dry_run: bool) -> Result<(), Status> {
    let (group, version, plural) = BUDGETS;
    let Some(kind) = call.core.kinds.find(group, version, plural) else { return Ok(()) };
    let prefix = objects::prefix(&kind, &call.target.namespace);
    for _ in 0..TRIES_MAX {
        let page = call.core.store.list(&prefix, &ListOptions::default());
        let page = page.map_err(Status::internal)?;
        let mut budgets: Vec<(&Entry, Value)> = page
            .entries
            .iter()
            .map(|entry| (entry, objects::read(&kind, &entry.value, entry.modified)))
            .filter(|(_, budget)| covers(budget, pod))
            .collect();
        let Some((entry, mut budget)) = budgets.pop() else { return Ok(()) };
        if !budgets.is_empty() {
            return Err(Status::internal(
                "This pod has more than one PodDisruptionBudget, which the eviction subresource \
                 does not support.",
            ));
        }
        take_one(&mut budget, object::name(pod))?;
        if dry_run {
            return Ok(());
        }
        let bytes = objects::write(&kind, budget);
        let write = Write::put(entry.key.clone(), Expect::At(entry.modified), bytes);
        match call.core.store.commit(write).await {
            Ok(_) => return Ok(()),
            Err(StoreError::Conflict { .. }) => {}
            Err(error) => return Err(Status::internal(error)),
        }
    }
    Err(Status::too_many_requests("the disruption budget is being changed by others", 1))
}

fn covers(budget: &Value, pod: &Value) -> bool {
    let selector = object::at(budget, &["spec", "selector"]);
    LabelSelector::from_object(selector).is_ok_and(|selector| selector.matches(object::labels(pod)))
}

fn take_one(budget: &mut Value, pod: &str) -> Result<(), Status> {
    let name = object::name(budget).to_owned();
    let refused = |message: &str, cause: String| {
        let mut status = Status::too_many_requests(message, 0);
        status.details.get_or_insert_default().causes.push(Cause {
            reason: "DisruptionBudget".to_owned(),
            message: cause,
            field: String::new(),
        });
        status
    };
    let observed = object::integer(budget, &["status", "observedGeneration"]).unwrap_or(0);
    if observed < object::generation(budget) {
        let cause = format!("The disruption budget {name} is still being processed by the server.");
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        return Err(refused(message, cause));
    }
    let number = |field: &str| object::integer(budget, &["status", field]).unwrap_or(0);
    let allowed = number("disruptionsAllowed");
    if allowed <= 0 {
        let cause = format!(
            "The disruption budget {name} needs {} healthy pods and has {} currently",
            number("desiredHealthy"),
            number("currentHealthy")
        );
        let message = "Cannot evict pod as it would violate the pod's disruption budget.";
        return Err(refused(message, cause));
    }
    object::set(budget, &["status", "disruptionsAllowed"], allowed - 1);
    let now = minik_meta::time::now_rfc3339();
    object::set(budget, &["status", "disruptedPods", pod], json!(now));
    Ok(())
}
