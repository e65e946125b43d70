//! The number of replicas of anything that has one, in one shape for all kinds.

use http::{Request, Response, StatusCode};
use minik_api::{Resource, apply, scale};
use minik_meta::Status;
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::input::{self, Patch};
use crate::owners::{Owners, Writer};
use crate::route::Verb;
use crate::verbs::write::{self, Change, Part};
use crate::{convert, objects, output};

pub(super) async fn run(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let kind = call.core.kinds.body("autoscaling", "v1", "Scale");
    let kind = kind.ok_or_else(Status::not_found_path)?;
    let object = match call.verb {
        Verb::Update => {
            let wanted = input::object(call, &kind, request).await?;
            let change = replaced(call, &kind, wanted);
            write::modify(call, Part::Scale, Owners::AsGiven, change).await?
        }
        Verb::Patch => {
            let patch = input::patch(call, request).await?;
            let change = patched(call, &kind, &patch);
            write::modify(call, Part::Scale, Owners::AsGiven, change).await?
        }
        _ => {
            let key = objects::key(&call.kind, &call.target.namespace, &call.target.name);
            let entry = call.core.store.get(&key);
            let missing = || Status::not_found(&call.resource(), &call.target.name);
            let entry = entry.ok_or_else(missing)?;
            let entry = convert::served_one(call, entry).await?;
            let object = objects::read(&call.kind, &entry.value, entry.modified);
            scale::check_wanted(&call.kind, &object)?;
            object
        }
    };
    let scale = scale::read(&call.kind, &object)?;
    Ok(output::value(call, StatusCode::OK, &scale))
}

/// The scale that the client sent, and who owns it then.
fn replaced<'a>(call: &'a Call, kind: &'a Resource, wanted: Value) -> Change<'a> {
    Box::new(move |current| {
        let mut wanted = wanted.clone();
        apply::track(&Writer::new(call).write(kind), Some(current), &mut wanted);
        Ok(wanted)
    })
}

/// The scale that a patch makes of the current one, and who owns it then.
fn patched<'a>(call: &'a Call, kind: &'a Resource, patch: &'a Patch) -> Change<'a> {
    Box::new(move |current| {
        let mut wanted = patch.apply(call, kind, Some(current))?;
        if patch.owners() == Owners::Track {
            apply::track(&Writer::new(call).write(kind), Some(current), &mut wanted);
        }
        Ok(wanted)
    })
}
