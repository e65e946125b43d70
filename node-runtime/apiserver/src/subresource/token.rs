//! Makes tokens for service accounts (`TokenRequest`).

use ::time::Duration;
use http::{Request, Response, StatusCode};
use minik_meta::{FieldError, GroupKind, GroupResource, Path, Status, names, object, time};
use serde_json::{Value, json};

use crate::admission;
use crate::authn::token::{Claims, KubernetesClaims, Reference};
use crate::body::Body;
use crate::call::Call;
use crate::{input, output};

/// What the audit log calls a new token by.
const ISSUED: &str = "authentication.kubernetes.io/issued-credential-id";
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
    let (namespace, name) = (&call.target.namespace, call.target.name.as_str());
    admission::check_token(call, &review)?;
    check_place(&review, namespace, name)?;
    let account = call
        .core
        .read_core_object("serviceaccounts", namespace, name)
        .ok_or_else(|| Status::not_found(&call.resource(), name))?;
    check_uid(&review, &account, name)?;
    let tokens = &call.core.tokens;
    complete(&mut review, &account, &tokens.audiences);
    seconds_of(&review)?;
    admission::ask_virtual(call, name, &mut review).await?;
    let seconds = seconds_of(&review)?;
    let audiences = audiences_of(&review);
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
    object::set(&mut review, &["metadata", "creationTimestamp"], time::rfc3339(now));
    call.trail.annotate(ISSUED.to_owned(), format!("JTI={}", claims.jti));
    let expires = time::rfc3339(now + Duration::seconds(seconds));
    review["status"] = json!({"token": token, "expirationTimestamp": expires});
    Ok(output::value(call, StatusCode::CREATED, &review))
}

/// Fills in what the client left out.
fn complete(review: &mut Value, account: &Value, ours: &[String]) {
    for (field, value) in [
        ("name", object::name(account)),
        ("namespace", object::namespace(account)),
        ("uid", object::uid(account)),
    ] {
        object::set(review, &["metadata", field], value);
    }
    if audiences_of(review).is_empty() {
        object::set(review, &["spec", "audiences"], ours.to_vec());
    }
    if object::at(review, &["spec", "expirationSeconds"]).is_none_or(Value::is_null) {
        object::set(review, &["spec", "expirationSeconds"], DEFAULT_S);
    }
}

fn audiences_of(review: &Value) -> Vec<String> {
    let all = object::list(review, &["spec", "audiences"]).iter();
    all.filter_map(|audience| audience.as_str().map(str::to_owned)).collect()
}

fn seconds_of(review: &Value) -> Result<i64, Status> {
    let seconds = object::integer(review, &["spec", "expirationSeconds"]).unwrap_or_default();
    let why = match seconds {
        seconds if seconds < SHORTEST_S => "may not specify a duration less than 10 minutes",
        seconds if seconds > LONGEST_S => "may not specify a duration larger than 2^32 seconds",
        seconds => return Ok(seconds),
    };
    let error = FieldError::invalid(&Path::new("spec.expirationSeconds"), seconds, why);
    Err(Status::invalid(&group_kind(), "", &[error]))
}

fn group_kind() -> GroupKind {
    GroupKind::new("authentication.k8s.io", "TokenRequest")
}

/// What the body says of its account must be what the path says.
fn check_place(review: &Value, namespace: &str, name: &str) -> Result<(), Status> {
    for (field, wanted, what) in [("name", name, "name"), ("namespace", namespace, "namespace")] {
        let given = object::text(review, &["metadata", field]);
        if !given.is_empty() && given != wanted {
            let why = format!("must match the service account {what} if specified");
            let error = FieldError::invalid(&Path::new(format!("metadata.{field}")), given, why);
            return Err(Status::invalid(&group_kind(), name, &[error]));
        }
    }
    Ok(())
}

/// The account may be another one than the client thinks.
fn check_uid(review: &Value, account: &Value, name: &str) -> Result<(), Status> {
    let (given, uid) = (object::uid(review), object::uid(account));
    if given.is_empty() || given == uid {
        return Ok(());
    }
    let why = format!(
        "the UID in the token request ({given}) does not match the UID of the service account \
         ({uid})"
    );
    Err(Status::conflict(&GroupResource::new("authentication.k8s.io", "TokenRequest"), name, why))
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
    let (version, kind) = (object::text(wanted, &["apiVersion"]), object::text(wanted, &["kind"]));
    let (plural, namespace) = match (version.contains('/'), kind) {
        (false, "Pod") => ("pods", call.target.namespace.as_str()),
        (false, "Secret") => ("secrets", call.target.namespace.as_str()),
        (false, "Node") => ("nodes", ""),
        _ => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!(
                "cannot bind token to object of type {group}/{version}, Kind={kind}"
            )));
        }
    };
    let found = call
        .core
        .read_core_object(plural, namespace, name)
        .ok_or_else(|| Status::not_found(&GroupResource::new("", plural), name))?;
    if plural == "pods" && object::text(&found, &["spec", "serviceAccountName"]) != account {
        return Err(Status::bad_request(format!(
            "cannot bind token for serviceaccount {account:?} to pod running with different \
             serviceaccount name."
        )));
    }
    let uid = object::text(wanted, &["uid"]);
    if !uid.is_empty() && uid != object::uid(&found) {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The \
             object might have been deleted and then recreated"
        );
        return Err(Status::conflict(&GroupResource::new("", kind), name, why));
    }
    let held = Some(reference(&found));
    Ok(match plural {
        "secrets" => Bound { secret: held, ..Bound::default() },
        "nodes" => Bound { node: held, ..Bound::default() },
        _ => Bound { pod: held, node: node_of(call, &found), secret: None },
    })
}

/// The node of a pod; by name only, if it is gone.
fn node_of(call: &Call, pod: &Value) -> Option<Reference> {
    let name = object::text(pod, &["spec", "nodeName"]);
    let node = call.core.read_core_object("nodes", "", name);
    let alone = || Reference { name: name.to_owned(), uid: String::new() };
    (!name.is_empty()).then(|| node.as_ref().map_or_else(alone, reference))
}
