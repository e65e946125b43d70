//! `authorizer`: builds questions and asks them.

use std::sync::Arc;

use minik_meta::names;

use super::{Args, Handler};
use crate::authorizer::{AuthorizerValue, CheckTarget, Decision, ResourceCheck};
use crate::error::EvalError;
use crate::eval::Evaluated;
use crate::value::{Library, Value};

pub(super) fn methods(name: &str) -> Option<Handler> {
    Some(match name {
        "path" => path,
        "group" => |args| match args.values.as_slice() {
            [Value::Library(Library::Authorizer(own)), Value::String(group)] => {
                Ok(Value::Library(Library::GroupCheck(own.clone(), group.as_str().into())))
            }
            _ => Err(EvalError::no_such_overload()),
        },
        "serviceAccount" => service_account,
        "resource" => resource,
        "subresource" => |args| refined(args, |check, text| check.subresource = text),
        "namespace" => |args| refined(args, |check, text| check.namespace = text),
        "name" => |args| refined(args, |check, text| check.name = text),
        "fieldSelector" => |args| refined(args, |check, text| check.field_selector = Some(text)),
        "labelSelector" => |args| refined(args, |check, text| check.label_selector = Some(text)),
        "check" => check,
        "allowed" => |args| decided(args, |decision| Value::Bool(decision.allowed)),
        "errored" => |args| decided(args, |decision| Value::Bool(decision.error.is_some())),
        "reason" => |args| decided(args, |decision| Value::text(decision.reason.as_str())),
        "error" => |args| {
            decided(args, |decision| Value::text(decision.error.as_deref().unwrap_or_default()))
        },
        _ => return None,
    })
}

fn path<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Library(Library::Authorizer(_)), Value::String(path)]
            if path.as_str().trim().is_empty() =>
        {
            Err(EvalError::failed("path must not be empty"))
        }
        [Value::Library(Library::Authorizer(own)), Value::String(path)] => {
            Ok(Value::Library(Library::PathCheck(own.clone(), path.as_str().into())))
        }
        _ => Err(EvalError::no_such_overload()),
    }
}

fn service_account<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::Library(Library::Authorizer(own)), Value::String(namespace), Value::String(name)] =
        args.values.as_slice()
    else {
        return Err(EvalError::no_such_overload());
    };
    let (namespace, name) = (namespace.as_str(), name.as_str());
    let wrong = names::dns1123_subdomain(name);
    if !wrong.is_empty() {
        return Err(EvalError::failed(format!(
            "Invalid service account name: {}",
            wrong.join(", ")
        )));
    }
    let wrong = names::dns1123_label(namespace);
    if !wrong.is_empty() {
        let why = format!("Invalid service account namespace: {}", wrong.join(", "));
        return Err(EvalError::failed(why));
    }
    let service_account = Some((namespace.into(), name.into()));
    Ok(Value::Library(Library::Authorizer(AuthorizerValue {
        authorizer: own.authorizer,
        service_account,
    })))
}

fn resource<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let [Value::Library(Library::GroupCheck(own, group)), Value::String(resource)] =
        args.values.as_slice()
    else {
        return Err(EvalError::no_such_overload());
    };
    if resource.as_str().trim().is_empty() {
        return Err(EvalError::failed("resource must not be empty"));
    }
    let check = ResourceCheck {
        group: group.to_string(),
        resource: resource.as_str().to_owned(),
        ..ResourceCheck::default()
    };
    Ok(Value::Library(Library::ResourceCheck(own.clone(), Arc::new(check))))
}

fn refined<'a>(args: &mut Args<'_, 'a>, refine: fn(&mut ResourceCheck, String)) -> Evaluated<'a> {
    let [Value::Library(Library::ResourceCheck(own, check)), Value::String(text)] =
        args.values.as_slice()
    else {
        return Err(EvalError::no_such_overload());
    };
    args.meter.make(text.as_str().len() as u64)?;
    let mut check = check.as_ref().clone();
    refine(&mut check, text.as_str().to_owned());
    Ok(Value::Library(Library::ResourceCheck(own.clone(), Arc::new(check))))
}

fn check<'a>(args: &mut Args<'_, 'a>) -> Evaluated<'a> {
    let decision = match args.values.as_slice() {
        [Value::Library(Library::PathCheck(own, path)), Value::String(verb)] => {
            own.ask(CheckTarget::Path(Arc::clone(path)), verb.as_str())
        }
        [Value::Library(Library::ResourceCheck(own, check)), Value::String(verb)] => {
            own.ask(CheckTarget::Resource(check.as_ref().clone()), verb.as_str())
        }
        _ => return Err(EvalError::no_such_overload()),
    };
    Ok(Value::Library(Library::Decision(Arc::new(decision))))
}

fn decided<'a>(args: &mut Args<'_, 'a>, of: fn(&Decision) -> Value<'a>) -> Evaluated<'a> {
    match args.values.as_slice() {
        [Value::Library(Library::Decision(decision))] => Ok(of(decision)),
        _ => Err(EvalError::no_such_overload()),
    }
}
