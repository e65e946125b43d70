//! Approval and denial of certificate requests; admission knows who may.

use http::{Request, Response, StatusCode};
use minik_api::strategy;
use minik_meta::{Status, object};
use serde_json::Value;

use crate::body::Body;
use crate::call::Call;
use crate::input::{self, Patch};
use crate::output;
use crate::owners::Owners;
use crate::route::Verb;
use crate::rules::certificates;
use crate::verbs::get;
use crate::verbs::write::{self, Change, Part};

pub(super) async fn run(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    if call.verb == Verb::Get {
        return get::get(call).await;
    }
    let wanted = match call.verb {
        Verb::Patch => Wanted::Patch(input::patch(call, request).await?),
        _ => Wanted::Whole(input::object(call, &call.kind, request).await?),
    };
    let changed = write::modify(call, Part::Other, wanted.owners(), change(call, &wanted)).await?;
    Ok(output::one(call, StatusCode::OK, changed))
}

/// What `given` says of conditions and metadata; the rest of the request stays.
fn approved(current: &Value, given: &Value) -> Value {
    let mut changed = given.clone();
    let conditions = object::list(given, &["status", "conditions"]).to_vec();
    for part in ["spec", "status"] {
        object::set(&mut changed, &[part], current[part].clone());
    }
    object::set(&mut changed, &["status", "conditions"], conditions);
    strategy::stamp_conditions(&mut changed, current);
    changed
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
}

fn change<'a>(call: &'a Call, wanted: &'a Wanted) -> Change<'a> {
    Box::new(move |current| {
        let given = match wanted {
            Wanted::Patch(patch) => patch.apply(call, &call.kind, Some(current))?,
            Wanted::Whole(object) => object.clone(),
        };
        let changed = approved(current, &given);
        let wrong = certificates::wrong(&changed, Some(current), certificates::Part::Approval);
        strategy::refuse(&call.kind, &changed, &wrong)?;
        Ok(changed)
    })
}
