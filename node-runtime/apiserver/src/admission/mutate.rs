//! Lets policies and webhooks change an object: all policies, then all webhooks, each once; those
//! who want to see what others changed after them once more.

use minik_api::apply;
use minik_meta::{Status, object};
use serde_json::Value;

use super::hooks::HookList;
use super::policies::PolicyList;
use super::policies::mutating::Mutators;
use super::question::Question;
use super::webhooks::Changers;

/// What is done again after somebody changed an object: the plug-ins before them.
pub(super) type Again<'a> = &'a (dyn Fn(&mut Value) -> Result<(), Status> + Send + Sync);

/// Who may change what a request is about.
#[derive(Default)]
pub(super) struct Changing {
    pub(super) policies: Option<PolicyList>,
    pub(super) hooks: Option<HookList>,
}

impl Changing {
    pub(super) fn is_nobody(&self) -> bool {
        self.policies.is_none() && self.hooks.is_none()
    }
}

/// Lets them change `object`, which is nothing for deletions.
pub(super) async fn mutate(
    question: &Question<'_>,
    changing: Changing,
    object: &mut Option<Value>,
    old: Option<&Value>,
    again: Again<'_>,
) -> Result<(), Status> {
    let owners = object.as_ref().map(|object| object["metadata"]["managedFields"].clone());
    let mut policies = Mutators::new(changing.policies);
    let mut hooks = changing.hooks.map(Changers::new);

    let mut changed = policies.run(question, 0, object, old).await?;
    let after_policies = object.clone();
    if let Some(hooks) = &mut hooks {
        changed |= hooks.run(question, 0, object, old).await?;
    }
    if changed {
        let after_hooks = object.clone();
        if let Some(object) = object {
            again(object)?;
        }
        if *object != after_policies {
            policies.require();
        }
        policies.run(question, 1, object, old).await?;
        if let Some(hooks) = &mut hooks {
            if *object != after_hooks {
                hooks.require();
            }
            hooks.run(question, 1, object, old).await?;
        }
    }
    if let (Some(object), Some(owners)) = (object, owners) {
        keep_valid_owners(question, object, owners);
    }
    Ok(())
}

/// Owners of fields that somebody broke are what they were before.
fn keep_valid_owners(question: &Question<'_>, object: &mut Value, before: Value) {
    let entries = object::list(object, &["metadata", "managedFields"]);
    let Err(why) = apply::check_managers(entries) else { return };
    question.call.warn(format!(
        ".metadata.managedFields was in an invalid state after admission; this could be caused by \
         an outdated mutating admission controller; please fix your requests: {why}"
    ));
    match before {
        Value::Null => {
            object::remove(object, &["metadata", "managedFields"]);
        }
        before => object::set(object, &["metadata", "managedFields"], before),
    }
}
