//! Questions to the server about identity and rights: who am I, may I, is this token good.

use http::{Request, Response, StatusCode};
use minik_meta::{Status, object};
use serde_json::{Value, json};

use crate::admission;
use crate::authn::bearer;
use crate::authz::rbac::{PolicyRule, Wish};
use crate::body::Body;
use crate::call::Call;
use crate::user::User;
use crate::{input, output};

/// Answers a review: the object comes back with its status filled in.
pub(crate) async fn review(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let mut review = input::object(call, &call.kind, request).await?;
    let name = object::name(&review).to_owned();
    admission::ask_virtual(call, &name, &mut review).await?;
    let status = match call.kind.kind.as_ref() {
        "TokenReview" => token(call, &review).await?,
        "SelfSubjectReview" => json!({"userInfo": call.user.info()}),
        "SelfSubjectAccessReview" => access(call, &call.user, &review)?,
        "SubjectAccessReview" => access(call, &subject(&review)?, &review)?,
        "LocalSubjectAccessReview" => {
            let namespace = object::text(&review, &["spec", "resourceAttributes", "namespace"]);
            if namespace != call.target.namespace {
                return Err(Status::bad_request(format!(
                    "spec.resourceAttributes.namespace must match namespace: {}",
                    call.target.namespace
                )));
            }
            access(call, &subject(&review)?, &review)?
        }
        "SelfSubjectRulesReview" => rules(call, &review)?,
        _ => return Err(Status::not_found_path()),
    };
    let fields = object::fields(&mut review);
    fields.entry("metadata").or_insert_with(|| json!({}));
    fields.entry("spec").or_insert_with(|| json!({}));
    fields.insert("status".to_owned(), status);
    object::metadata_mut(&mut review).entry("creationTimestamp").or_insert(Value::Null);
    Ok(output::value(call, StatusCode::CREATED, &review))
}

async fn token(call: &Call, review: &Value) -> Result<Value, Status> {
    let token = object::text(review, &["spec", "token"]);
    if token.is_empty() {
        return Err(Status::bad_request("token is required for TokenReview in authentication"));
    }
    let audiences: Vec<String> = object::list(review, &["spec", "audiences"])
        .iter()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    Ok(match bearer::verify(&call.core, token, &audiences).await {
        Ok(verified) => json!({
            "authenticated": true,
            "user": verified.user.info(),
            "audiences": verified.audiences,
        }),
        Err(error) => json!({"user": {}, "error": error.to_string()}),
    })
}

/// The user a review asks about.
fn subject(review: &Value) -> Result<User, Status> {
    let name = object::text(review, &["spec", "user"]);
    let groups = object::list(review, &["spec", "groups"]);
    if name.is_empty() && groups.is_empty() {
        return Err(Status::bad_request(
            "spec.user: Invalid value: \"\": at least one of user or group must be specified",
        ));
    }
    Ok(User {
        name: name.to_owned(),
        groups: groups.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect(),
        ..User::default()
    })
}

fn access(call: &Call, user: &User, review: &Value) -> Result<Value, Status> {
    let resource = object::at(review, &["spec", "resourceAttributes"]);
    let page = object::at(review, &["spec", "nonResourceAttributes"]);
    let wish = match (resource, page) {
        (Some(wanted), None) => Wish::Resource {
            verb: object::text(wanted, &["verb"]),
            group: object::text(wanted, &["group"]),
            resource: object::text(wanted, &["resource"]),
            subresource: object::text(wanted, &["subresource"]),
            namespace: object::text(wanted, &["namespace"]),
            name: object::text(wanted, &["name"]),
        },
        (None, Some(wanted)) => Wish::Page {
            verb: object::text(wanted, &["verb"]),
            path: object::text(wanted, &["path"]),
        },
        _ => {
            return Err(Status::bad_request(
                "spec.resourceAttributes: Invalid value: exactly one of nonResourceAttributes or \
                 resourceAttributes must be specified",
            ));
        }
    };
    Ok(match call.core.authorizer.decide(user, &wish) {
        Ok(()) => json!({"allowed": true}),
        Err(reason) if reason.is_empty() => json!({"allowed": false}),
        Err(reason) => json!({"allowed": false, "reason": reason}),
    })
}

fn rules(call: &Call, review: &Value) -> Result<Value, Status> {
    let namespace = object::text(review, &["spec", "namespace"]);
    if namespace.is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let rules = call.core.authorizer.rules(&call.user, namespace);
    let (pages, resources): (Vec<PolicyRule>, Vec<PolicyRule>) =
        rules.into_iter().partition(|rule| !rule.non_resource_urls.is_empty());
    Ok(json!({"resourceRules": resources, "nonResourceRules": pages, "incomplete": false}))
}
