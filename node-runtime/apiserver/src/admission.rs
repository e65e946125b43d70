//! What the server adds to and refuses of writes, beyond the rules of single kinds. One file per
//! plug-in; this file is their order.

mod certificates;
mod defaults;
mod escalation;
mod expressions;
pub(crate) mod hooks;
mod limits;
mod mutate;
mod namespace;
mod node;
mod node_tokens;
mod pod_security;
pub(crate) mod policies;
mod priority;
mod question;
mod quota;
mod runtime_class;
mod service;
mod service_account;
mod webhooks;

use minik_api::admission::{Objects, Operation};
use minik_api::scale;
use minik_meta::{GroupResource, Status, object};
use serde_json::Value;

use crate::alloc::Lease;
use crate::call::Call;
use crate::verbs::delete;
use crate::verbs::write::Part;
use mutate::{Again, Changing};
use question::Question;

/// Changes a new object, and refuses what cannot become good. The name may still be missing.
pub(crate) async fn mutate_create(call: &Call, object: &mut Value) -> Result<(), Status> {
    namespace::must_be_open(call, object)?;
    plug_in_create(call, object)?;
    let name = object::name(object).to_owned();
    let question = || Question::new(call, Operation::Create, &name);
    let again = |object: &mut Value| plug_in_create(call, object);
    change_whole(call, question, object, None, &again).await.map(|_| ())
}

/// What depends on the name of a new object.
pub(crate) fn named(call: &Call, object: &mut Value) {
    namespace::label(call, object);
}

/// Lets others change what a request is about, if there are any.
async fn change<'c>(
    call: &'c Call,
    question: impl FnOnce() -> Question<'c>,
    object: &mut Option<Value>,
    old: Option<&Value>,
    again: Again<'_>,
) -> Result<bool, Status> {
    let changing = Changing {
        policies: call.core.policies.now().mutating(),
        hooks: call.core.hooks.now().mutating(),
    };
    if changing.is_nobody() {
        return Ok(false);
    }
    let question = question();
    if question.attributes.is_exempt() {
        return Ok(false);
    }
    mutate::mutate(&question, changing, object, old, again).await?;
    Ok(true)
}

/// Lets others judge what a request is about, if there are any.
async fn judge<'c>(
    call: &'c Call,
    question: impl FnOnce() -> Question<'c>,
    objects: Objects<'_>,
) -> Result<(), Status> {
    let policies = call.core.policies.now().validating();
    let hooks = call.core.hooks.now().validating();
    if policies.is_none() && hooks.is_none() {
        return Ok(());
    }
    let question = question();
    if question.attributes.is_exempt() {
        return Ok(());
    }
    if let Some(policies) = policies {
        policies::validating::validate(&question, &policies, objects).await?;
    }
    if let Some(hooks) = hooks {
        webhooks::validate(&question, &hooks, objects).await?;
    }
    Ok(())
}

/// The plug-ins for new objects; they may be asked again after a webhook changed something.
fn plug_in_create(call: &Call, object: &mut Value) -> Result<(), Status> {
    namespace::label(call, object);
    if call.kind.is("", "Pod") {
        priority::of_new_pod(call, object)?;
        runtime_class::of_new_pod(call, object)?;
        service_account::of_new_pod(call, object)?;
        defaults::tolerations(object);
        limits::default_resources(call, object)?;
    }
    if call.kind.is("", "Node") {
        defaults::node_taint(object);
    }
    if call.kind.is("", "PersistentVolumeClaim") {
        defaults::storage_class(call, object)?;
    }
    if call.kind.is("networking.k8s.io", "Ingress") {
        defaults::ingress_class(call, object)?;
    }
    if call.kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        certificates::of_new_request(call, object);
    }
    defaults::protection(&call.kind, object);
    Ok(())
}

/// Changes the new state of an object. Returns whether somebody else than this server could.
pub(crate) async fn mutate_update(
    call: &Call,
    part: Part,
    old: &Value,
    new: &mut Value,
) -> Result<bool, Status> {
    plug_in_update(call, old, new);
    // Who bound a pod was asked as who made a binding, who scales as who changed a scale.
    if matches!(part, Part::Binding | Part::Scale) {
        return Ok(false);
    }
    let again = |new: &mut Value| {
        plug_in_update(call, old, new);
        Ok(())
    };
    mutate_state(call, old, new, &again).await
}

/// Lets the webhooks change the new scale of an object.
pub(crate) async fn mutate_scale(call: &Call, old: &Value, new: &mut Value) -> Result<(), Status> {
    mutate_state(call, old, new, &|_| Ok(())).await.map(|_| ())
}

async fn mutate_state(
    call: &Call,
    old: &Value,
    new: &mut Value,
    again: Again<'_>,
) -> Result<bool, Status> {
    let question = || Question::new(call, Operation::Update, &call.target.name);
    change_whole(call, question, new, Some(old), again).await
}

/// The same for an object that is there.
async fn change_whole<'c>(
    call: &'c Call,
    question: impl FnOnce() -> Question<'c>,
    object: &mut Value,
    old: Option<&Value>,
    again: Again<'_>,
) -> Result<bool, Status> {
    let mut wanted = Some(object.take());
    let result = change(call, question, &mut wanted, old, again).await;
    *object = wanted.unwrap_or_default();
    result
}

fn plug_in_update(call: &Call, old: &Value, new: &mut Value) {
    if call.kind.is("certificates.k8s.io", "CertificateSigningRequest") {
        certificates::of_old_request(old, new);
    }
    namespace::label(call, new);
}

/// Refuses a new, valid object.
pub(crate) async fn check_create(call: &Call, object: &Value) -> Result<(), Status> {
    node::check_create(call, object)?;
    priority::check_class(call, object)?;
    limits::check(call, object)?;
    if call.kind.is("", "Pod") {
        runtime_class::check(call, object)?;
    }
    pod_security::check(call, object)?;
    pod_security::check_namespace(call, None, object)?;
    escalation::check(call, None, object)?;
    certificates::check_create(call, object)?;
    let question = || Question::new(call, Operation::Create, object::name(object));
    judge(call, question, Objects { new: Some(object), old: None }).await
}

/// Refuses the new, valid state of an object.
pub(crate) async fn check_update(
    call: &Call,
    part: Part,
    old: &Value,
    new: &Value,
) -> Result<(), Status> {
    node::check_update(call, old, new)?;
    certificates::check_update(call, old, new)?;
    // The rest of a pod's spec does not change what it may do.
    if part == Part::Main && !call.kind.is("", "Pod")
        || call.target.subresource == "ephemeralcontainers"
    {
        pod_security::check(call, new)?;
        pod_security::check_namespace(call, Some(old), new)?;
    }
    if part == Part::Main {
        escalation::check(call, Some(old), new)?;
    }
    if part == Part::Binding {
        return Ok(());
    }
    let question = || Question::new(call, Operation::Update, &call.target.name);
    if part == Part::Scale {
        let kind = &call.kind;
        let (old, new) = (scale::read(kind, old)?, scale::read(kind, new)?);
        return judge(call, question, Objects { new: Some(&new), old: Some(&old) }).await;
    }
    judge(call, question, Objects { new: Some(new), old: Some(old) }).await
}

/// Refuses to delete an object.
pub(crate) fn check_delete(call: &Call, object: &Value) -> Result<(), Status> {
    namespace::check_delete(call)?;
    node::check_delete(call, object)
}

/// Asks whether an object may be deleted. `name` is empty for one of a collection.
pub(crate) async fn ask_delete(
    call: &Call,
    name: &str,
    object: &Value,
    options: &delete::Options,
) -> Result<(), Status> {
    let question = || {
        let question = Question::new(call, Operation::Delete, name);
        question.with_options(options.to_value(), options.dry_run)
    };
    change(call, question, &mut None, Some(object), &|_| Ok(())).await?;
    judge(call, question, Objects { new: None, old: Some(object) }).await
}

/// Asks whether something may be created that is not stored: a review, a binding, an eviction.
pub(crate) async fn ask_virtual(call: &Call, name: &str, body: &mut Value) -> Result<(), Status> {
    namespace::must_be_open(call, body)?;
    ask_whole(call, Operation::Create, name, body).await
}

/// Refuses a request for a token, as it was sent, that a kubelet may not make.
pub(crate) fn check_token(call: &Call, review: &Value) -> Result<(), Status> {
    node_tokens::check(call, review)
}

/// Asks whether somebody may connect to a pod, a service or a node, with these options.
pub(crate) async fn ask_connect(call: &Call, options: &mut Value) -> Result<(), Status> {
    ask_whole(call, Operation::Connect, &call.target.name, options).await
}

async fn ask_whole(
    call: &Call,
    operation: Operation,
    name: &str,
    body: &mut Value,
) -> Result<(), Status> {
    let question = || Question::new(call, operation, name);
    change_whole(call, question, body, None, &|_| Ok(())).await?;
    judge(call, question, Objects { new: Some(body), old: None }).await
}

/// Counts a new object against the quotas of its namespace; the result must be held until the
/// object is written.
pub(crate) async fn charge(call: &Call, object: &Value) -> Result<quota::Charge, Status> {
    quota::charge(call, object).await
}

/// Gives a Service its addresses and ports; other kinds get nothing.
pub(crate) fn allocate(
    call: &Call,
    old: Option<&Value>,
    object: &mut Value,
) -> Result<Lease, Status> {
    if !call.kind.is("", "Service") {
        return Ok(Lease::default());
    }
    let name = minik_meta::object::name(object).to_owned();
    service::allocate(&call.core.allocator, old, object)
        .map_err(|errors| Status::invalid(&call.group_kind(), &name, &errors))
}

/// 403 in the words of a plug-in.
fn forbidden(call: &Call, name: &str, why: impl std::fmt::Display) -> Status {
    let resource = GroupResource::new(call.target.group.clone(), call.target.resource.clone());
    Status::forbidden(&resource, name, why)
}
