//! Makes tokens for service accounts (`TokenRequest`).

use ::time::Duration;
use http::{Request, Response, StatusCode};
use minik_meta::{FieldError, GroupKind, GroupResource, Path, Status, names, object, time};
use serde_json::{Value, json};

use crate::admission;
use crate::authn::token::{Claims, KubernetesClaims, Reference};
use crate::body::Body;
use crate::call::Call;
use crate::{input, respond};

/// How long a token lasts if nobody says, in seconds.
const DEFAULT_S: i64 = 3600;
/// The shortest and longest life a token can be asked for, in seconds.
const SHORTEST_S: i64 = 600;
const LONGEST_S: i64 = 1 << 32;
/// A mounted token asks for this life; it is made longer for clients that do not read it again.
const MOUNTED_S: i64 = 3607;
/// How long such a token really lasts, in seconds: a year.
const EXTENDED_S: i64 = 365 * 24 * 3600;

pub(super) async fn create(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let kind = call.core.kinds.body("authentication.k8s.io", "v1", "TokenRequest");
    let kind = kind.ok_or_else(Status::not_found_path)?;
    let mut review = input::object(call, &kind, request).await?;
    admission::ask_virtual(call, &call.target.name, &mut review).await?;
    let (namespace, name) = (&call.target.namespace, call.target.name.as_str());
    let account = call
        .core
        .read_core_object("serviceaccounts", namespace, name)
        .ok_or_else(|| Status::not_found(&call.resource(), name))?;
    let seconds = object::integer(&review, &["spec", "expirationSeconds"]).unwrap_or(DEFAULT_S);
    check_seconds(name, seconds)?;
    let tokens = &call.core.tokens;
    let mut audiences: Vec<String> = object::list(&review, &["spec", "audiences"])
        .iter()
        .filter_map(|audience| audience.as_str().map(str::to_owned))
        .collect();
    if audiences.is_empty() {
        audiences.clone_from(&tokens.audiences);
    }
    let bound = bound_object(call, &review, name)?;

    let now = time::now();
    let ours = audiences == tokens.audiences;
    // Mounted tokens outlive their rotation, so that clients that read them once go on.
    let extended = seconds == MOUNTED_S && bound.pod.is_some() && ours;
    let life = if extended { EXTENDED_S } else { seconds };
    let issued = now.unix_timestamp();
    let subject = format!("{}{namespace}:{name}", crate::user::SERVICE_ACCOUNT_PREFIX);
    let claims = Claims {
        aud: audiences.clone(),
        exp: issued + life,
        iat: issued,
        iss: tokens.issuer().to_owned(),
        jti: names::new_uid(),
        kubernetes: KubernetesClaims {
            namespace: namespace.clone(),
            node: bound.node,
            pod: bound.pod,
            secret: bound.secret,
            serviceaccount: reference(&account),
            warnafter: extended.then_some(issued + seconds),
        },
        nbf: issued,
        sub: subject,
    };
    let token = tokens.sign(&claims).map_err(Status::internal)?;
    object::set(&mut review, &["metadata", "name"], name);
    object::set(&mut review, &["metadata", "namespace"], namespace.clone());
    object::set(&mut review, &["metadata", "creationTimestamp"], time::rfc3339(now));
    object::set(&mut review, &["spec", "audiences"], audiences);
    object::set(&mut review, &["spec", "expirationSeconds"], seconds);
    let expires = time::rfc3339(now + Duration::seconds(seconds));
    review["status"] = json!({"token": token, "expirationTimestamp": expires});
    Ok(respond::value(StatusCode::CREATED, call.output.format, &review))
}

fn check_seconds(name: &str, seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        seconds if seconds < SHORTEST_S => "may not specify a duration less than 10 minutes",
        seconds if seconds > LONGEST_S => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let error = FieldError::invalid(&Path::new("spec.expirationSeconds"), seconds, why);
    let kind = GroupKind::new("authentication.k8s.io", "TokenRequest");
    Err(Status::invalid(&kind, name, &[error]))
}

#[derive(Default)]
struct Bound {
    pod: Option<Reference>,
    node: Option<Reference>,
    secret: Option<Reference>,
}

fn reference(object: &Value) -> Reference {
    Reference { name: object::name(object).to_owned(), uid: object::uid(object).to_owned() }
}

/// What the token is to die with.
fn bound_object(call: &Call, review: &Value, account: &str) -> Result<Bound, Status> {
    let Some(wanted) = object::at(review, &["spec", "boundObjectRef"]) else {
        return Ok(Bound::default());
    };
    let name = object::text(wanted, &["name"]);
    let (plural, namespace) = match object::text(wanted, &["kind"]) {
        "Pod" => ("pods", call.target.namespace.as_str()),
        "Secret" => ("secrets", call.target.namespace.as_str()),
        "Node" => ("nodes", ""),
        other => {
            return Err(Status::bad_request(format!(
                "cannot bind token for serviceaccount {account:?} to object of kind {other:?}"
            )));
        }
    };
    let resource = GroupResource::new("", plural);
    let found = call
        .core
        .read_core_object(plural, namespace, name)
        .ok_or_else(|| Status::not_found(&resource, name))?;
    let uid = object::text(wanted, &["uid"]);
    if !uid.is_empty() && uid != object::uid(&found) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        );
        return Err(Status::conflict(&resource, name, why));
    }
    let held = Some(reference(&found));
    match plural {
        "secrets" => Ok(Bound { secret: held, ..Bound::default() }),
        "nodes" => Ok(Bound { node: held, ..Bound::default() }),
        _ => {
            if object::text(&found, &["spec", "serviceAccountName"]) != account {
                return Err(Status::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with \
                     different serviceaccount name."
                )));
            }
            let node = object::text(&found, &["spec", "nodeName"]);
            let node = call.core.read_core_object("nodes", "", node);
            Ok(Bound { pod: held, node: node.as_ref().map(reference), secret: None })
        }
    }
}
