//! Tells in the status of validating policies which expressions do not fit the kinds they are
//! about. That changes nothing in what the policies do: their objects are of any type.

use std::collections::BTreeSet;
use std::sync::Arc;

use minik_cel::{Decl, Environment, Program, Type};
use minik_meta::{GroupVersion, GroupVersionKind, object};
use minik_store::{Expect, ListOptions, StoreError, WatchError, Write};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::registry::VALIDATING;
use crate::admission::expressions::typed_environment;
use crate::core::Core;
use crate::kinds::Kind;
use crate::objects;

/// Kinds that one policy is checked against.
const TYPES_MAX: usize = 10;
/// Changes that are looked at together.
const BATCH_MAX: usize = 64;
/// How often a status is tried again on the newest policy.
const TRIES_MAX: usize = 8;

/// Follows the policies until `stop`.
pub(crate) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let find = |plural: &str| core.kinds.find("admissionregistration.k8s.io", "v1", plural);
    let Some(kind) = find("validatingadmissionpolicies") else { return };
    loop {
        let after = core.store.revision();
        if let Ok(page) = core.store.list(VALIDATING, &ListOptions::default()) {
            for entry in &page.entries {
                if let Err(error) = settle(&core, &kind, &entry.key).await {
                    warn!(key = %entry.key, %error, "cannot write the status of a policy");
                }
            }
        }
        let Ok(mut watch) = core.store.watch(VALIDATING, after) else { continue };
        tokio::select! {
            () = stop.cancelled() => return,
            changed = watch.next_batch(BATCH_MAX) => match changed {
                Ok(_) | Err(WatchError::Compacted { .. }) => {}
                Err(WatchError::Closed) => return,
            },
        }
    }
}

/// Writes what was found out about the newest generation of a policy, if that is news.
async fn settle(core: &Core, kind: &Kind, key: &Arc<str>) -> Result<(), StoreError> {
    for _ in 0..TRIES_MAX {
        let Some(entry) = core.store.get(key) else { return Ok(()) };
        let mut policy = objects::read(kind, &entry.value, entry.modified);
        let generation = object::generation(&policy);
        if object::integer(&policy, &["status", "observedGeneration"]) == Some(generation) {
            return Ok(());
        }
        let warnings = warnings(core, &policy["spec"]);
        let mut checked = json!({});
        if !warnings.is_empty() {
            checked["expressionWarnings"] = warnings.into();
        }
        object::set(&mut policy, &["status", "observedGeneration"], generation);
        object::set(&mut policy, &["status", "typeChecking"], checked);
        let bytes = objects::write(kind, policy);
        let write = Write::put(Arc::clone(key), Expect::At(entry.modified), bytes);
        match core.store.commit(write).await {
            Err(StoreError::Conflict { .. }) => {}
            done => return done.map(|_| ()),
        }
    }
    Ok(())
}

/// What does not fit, by the places of the expressions.
fn warnings(core: &Core, spec: &Value) -> Vec<Value> {
    let params = param_kind(spec).and_then(|kind| core.kinds.by_kind(&kind));
    let params = params.and_then(|kind| decl(&kind));
    let kinds = kinds(core, spec);
    let environments: Vec<(GroupVersionKind, Environment)> = kinds
        .iter()
        .filter_map(|kind| {
            let environment = typed_environment(&decl(kind)?, params.clone());
            Some((kind.gvk(), with_variables(environment, spec)))
        })
        .collect();
    let check = |text: &str| -> String {
        let each = environments.iter().filter_map(|(kind, environment)| {
            let errors = Program::compile(environment, text).err()?;
            let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
            Some(format!("{kind}: {}\n", errors.join("\n")))
        });
        each.collect::<Vec<_>>().join("\n")
    };
    let mut warnings = Vec::new();
    for (index, validation) in object::list(spec, &["validations"]).iter().enumerate() {
        for field in ["expression", "messageExpression"] {
            let text = object::text(validation, &[field]);
            let found = if text.is_empty() { String::new() } else { check(text) };
            if !found.is_empty() {
                let place = format!("spec.validations[{index}].{field}");
                warnings.push(json!({"fieldRef": place, "warning": found}));
            }
        }
    }
    warnings
}

fn with_variables(mut environment: Environment, spec: &Value) -> Environment {
    for one in object::list(spec, &["variables"]) {
        let compiled = Program::compile(&environment, object::text(one, &["expression"]));
        let ty = compiled.map_or(Type::Dyn, |program| program.ty().clone());
        environment = environment.with_composed(object::text(one, &["name"]), ty);
    }
    environment
}

fn param_kind(spec: &Value) -> Option<GroupVersionKind> {
    let kind = object::at(spec, &["paramKind"])?;
    let version = GroupVersion::parse(object::text(kind, &["apiVersion"]))?;
    Some(version.with_kind(object::text(kind, &["kind"])))
}

/// The kinds that the rules name, without those they only mean by `*`.
fn kinds(core: &Core, spec: &Value) -> Vec<Kind> {
    let texts = |rule: &Value, key: &str| -> BTreeSet<String> {
        let list = object::list(rule, &[key]).iter();
        list.filter_map(|one| one.as_str().map(str::to_owned)).collect()
    };
    let mut found: Vec<Kind> = Vec::new();
    for rule in object::list(spec, &["matchConstraints", "resourceRules"]) {
        let (groups, versions) = (texts(rule, "apiGroups"), texts(rule, "apiVersions"));
        if groups.contains("*") || versions.contains("*") {
            continue;
        }
        let resources = texts(rule, "resources");
        for group in &groups {
            for version in &versions {
                for resource in resources.iter().filter(|one| !one.contains(['*', '/'])) {
                    let kind = core.kinds.find(group, version, resource);
                    let new = kind.filter(|kind| !found.iter().any(|one| one.gvk() == kind.gvk()));
                    found.extend(new);
                    if found.len() == TYPES_MAX {
                        return sorted(found);
                    }
                }
            }
        }
    }
    sorted(found)
}

fn sorted(mut kinds: Vec<Kind>) -> Vec<Kind> {
    kinds.sort_by(|a, b| (&a.group, &a.version, &a.kind).cmp(&(&b.group, &b.version, &b.kind)));
    kinds
}

/// The types of a kind's fields.
fn decl(kind: &Kind) -> Option<Arc<Decl>> {
    match &kind.custom {
        None => Some(Decl::builtin(&kind.schema)),
        Some(custom) => {
            let definition = custom.definition();
            let version = object::list(&definition, &["spec", "versions"])
                .iter()
                .find(|one| one["name"] == kind.version.as_ref())?;
            Decl::structural(&version["schema"]["openAPIV3Schema"], true)
        }
    }
}
