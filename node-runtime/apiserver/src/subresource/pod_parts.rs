//! The parts of a running pod that may change: ephemeral containers and resources.

use http::{Request, Response, StatusCode};
use minik_meta::{Status, object};
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::input::{self, Patch};
use crate::output;
use crate::owners::Owners;
use crate::route::Verb;
use crate::verbs::get;
use crate::verbs::write::{self, Change, Part};

pub(super) async fn run(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let wanted = match call.verb {
        Verb::Patch => Wanted::Patch(input::patch(call, request).await?),
        Verb::Update => Wanted::Whole(input::object(call, &call.kind, request).await?),
        _ => return get::get(call).await,
    };
    let changed = write::modify(call, Part::Other, wanted.owners(), change(call, &wanted)).await?;
    Ok(output::one(call, StatusCode::OK, changed))
}

enum Wanted {
    Patch(Patch),
    Whole(Value),
}

impl Wanted {
    fn owners(&self) -> Owners {
        match self {
            Wanted::Patch(patch) => patch.owners(),
            Wanted::Whole(_) => Owners::Track,
        }
    }

    fn on(&self, call: &Call, current: &Value) -> Result<Value, Status> {
        match self {
            Wanted::Whole(object) => Ok(object.clone()),
            Wanted::Patch(patch) => patch.apply(call, &call.kind, Some(current)),
        }
    }
}

/// Ephemeral containers can be added, and stay as they are from then on.
fn take_ephemeral(call: &Call, changed: &mut Value, given: &Value) -> Result<(), Status> {
    const PATH: &[&str] = &["spec", "ephemeralContainers"];
    let wanted = object::list(given, PATH).to_vec();
    let lost = object::list(changed, PATH)
        .iter()
        .any(|old| !wanted.iter().any(|new| new["name"] == old["name"]));
    if lost {
        let why = "existing ephemeral containers may not be changed or removed";
        let error = minik_meta::FieldError::forbidden(
            &minik_meta::Path::new("spec.ephemeralContainers"),
            why,
        );
        return Err(Status::invalid(&call.group_kind(), &call.target.name, &[error]));
    }
    object::set(changed, PATH, wanted);
    Ok(())
}

/// Resources and resize policies of containers, by name.
fn take_resources(changed: &mut Value, given: &Value) {
    for list in ["containers", "initContainers"] {
        let given = object::list(given, &["spec", list]);
        let containers = changed["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let Some(new) = given.iter().find(|new| new["name"] == container["name"]) else {
                continue;
            };
            for field in ["resources", "resizePolicy"] {
                if let Some(value) = new.get(field) {
                    container[field] = value.clone();
                }
            }
        }
    }
}

/// The pod with only that part changed that the subresource is for.
fn change<'a>(call: &'a Call, wanted: &'a Wanted) -> Change<'a> {
    Box::new(move |current| {
        let given = wanted.on(call, current)?;
        let mut changed = current.clone();
        match call.target.subresource.as_str() {
            "resize" => take_resources(&mut changed, &given),
            _ => take_ephemeral(call, &mut changed, &given)?,
        }
        if let Wanted::Patch(patch) = wanted {
            patch.keep_owners(&given, &mut changed);
        }
        let version = object::resource_version(&given).to_owned();
        object::set(&mut changed, &["metadata", "resourceVersion"], version);
        Ok(changed)
    })
}
