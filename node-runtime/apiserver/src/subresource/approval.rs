//! Approval of certificate requests, by those who may approve for the signer.

use http::{Request, Response, StatusCode};
use minik_meta::{Status, object, time};
use serde_json::Value;

use crate::authz::rbac::Wish;
use crate::authz::{self};
use crate::body::Body;
use crate::call::Call;
use crate::input::{self, Patch};
use crate::output;
use crate::owners::Owners;
use crate::route::Verb;
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

/// The request with the conditions that `given` has.
fn approved(current: &Value, given: &Value) -> Value {
    let mut changed = current.clone();
    let mut conditions = object::list(given, &["status", "conditions"]).to_vec();
    let now = time::now_rfc3339();
    for condition in &mut conditions {
        let fields = object::fields(condition);
        fields.entry("status").or_insert_with(|| "True".into());
        for time in ["lastUpdateTime", "lastTransitionTime"] {
            if fields.get(time).is_none_or(Value::is_null) {
                fields.insert(time.to_owned(), now.clone().into());
            }
        }
    }
    object::set(&mut changed, &["status", "conditions"], conditions);
    let version = object::resource_version(given).to_owned();
    object::set(&mut changed, &["metadata", "resourceVersion"], version);
    changed
}

/// Whether the user may `approve` for the signer, by its name or its domain.
fn may_approve(call: &Call, request: &Value) -> Result<(), Status> {
    let signer = object::text(request, &["spec", "signerName"]);
    let domain = format!("{}/*", signer.split('/').next().unwrap_or_default());
    let wish = |name| Wish::Resource {
        verb: "approve",
        group: "certificates.k8s.io",
        resource: "signers",
        subresource: "",
        namespace: "",
        name,
    };
    let authorizer = &call.core.authorizer;
    let may = [signer, &domain].iter().any(|name| authorizer.allows(&call.user, &wish(name)));
    match may {
        true => Ok(()),
        false => Err(authz::forbidden_because(
            &call.user,
            &wish(signer),
            "user not permitted to approve requests with signerName",
        )),
    }
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
        may_approve(call, current)?;
        let given = match wanted {
            Wanted::Patch(patch) => patch.apply(call, &call.kind, Some(current))?,
            Wanted::Whole(object) => object.clone(),
        };
        let mut changed = approved(current, &given);
        if let Wanted::Patch(patch) = wanted {
            patch.keep_owners(&given, &mut changed);
        }
        Ok(changed)
    })
}
