//! The parameters that bindings give to policies: any object of the cluster.

use minik_api::Resource;
use minik_meta::object;
use minik_store::{Entry, ListOptions};
use serde_json::Value;

use super::policy::{Binding, ParamRef, Policy};
use crate::admission::question::Question;
use crate::convert;
use crate::core::Core;
use crate::kinds::Kind;
use crate::objects;

/// The kind of a policy's parameters, if it has any.
pub(super) fn kind(question: &Question<'_>, policy: &Policy) -> Result<Option<Kind>, String> {
    let Some(wanted) = &policy.param_kind else { return Ok(None) };
    let kind = question.call.core.kinds.by_kind(wanted);
    kind.map(Some)
        .ok_or_else(|| format!("failed to find resource referenced by paramKind: '{wanted}'"))
}

/// The parameters of a binding; one absent one where it gives none.
pub(super) async fn collect(
    question: &Question<'_>,
    kind: Option<&Kind>,
    binding: &Binding,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(wanted)) = (kind, &binding.params) else { return Ok(vec![None]) };
    let core = &question.call.core;
    let namespace = namespace(kind, wanted, &question.attributes.namespace)?;
    let found = match (&wanted.selector, wanted.name.is_empty()) {
        (Some(_), false) => {
            return Err("paramRef.name and paramRef.selector are mutually exclusive".to_owned());
        }
        (None, true) => return Err("one of name or selector must be provided".to_owned()),
        (None, false) => {
            let key = objects::key(kind, namespace, &wanted.name);
            core.store.get(&key).into_iter().collect()
        }
        (Some(selector), true) => {
            let selector = selector.as_ref().map_err(String::clone)?;
            let prefix = objects::prefix(kind, namespace);
            let page = core.store.list(&prefix, &ListOptions::default());
            let entries = page.map_err(|error| error.to_string())?.entries;
            let selected = |entry: &Entry| {
                serde_json::from_slice::<Value>(&entry.value)
                    .is_ok_and(|one| selector.matches(object::labels(&one)))
            };
            entries.into_iter().filter(selected).collect()
        }
    };
    let params = read(core, kind, found).await?;
    if params.is_empty() && wanted.must_exist {
        let why = "no params found for policy binding with `Deny` parameterNotFoundAction";
        return Err(why.to_owned());
    }
    Ok(params.into_iter().map(Some).collect())
}

/// Where the parameters are; empty for cluster-scoped ones.
fn namespace<'a>(
    kind: &Resource,
    wanted: &'a ParamRef,
    of_request: &'a str,
) -> Result<&'a str, String> {
    match (kind.namespaced, wanted.namespace.as_str(), of_request) {
        (false, "", _) => Ok(""),
        (false, _, _) => {
            let why = "paramRef.namespace must not be provided for a cluster-scoped `paramKind`";
            Err(why.to_owned())
        }
        (true, "", "") => {
            let why = "cannot use namespaced paramRef in policy binding that matches \
                       cluster-scoped resources";
            Err(why.to_owned())
        }
        (true, "", of_request) => Ok(of_request),
        (true, given, _) => Ok(given),
    }
}

async fn read(core: &Core, kind: &Kind, entries: Vec<Entry>) -> Result<Vec<Value>, String> {
    let mut params = Vec::with_capacity(entries.len());
    for mut entry in entries {
        let converted = convert::convert_bytes(core, kind, &mut [&mut entry.value]).await;
        converted.map_err(|status| status.message)?;
        params.push(objects::read(kind, &entry.value, entry.modified));
    }
    Ok(params)
}
