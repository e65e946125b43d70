//! The status of an object, written apart from the rest.

use http::{Request, Response, StatusCode};
use minik_meta::Status;

use crate::body::Body;
use crate::call::Call;
use crate::owners::Owners;
use crate::route::Verb;
use crate::verbs::write::{self, Part};
use crate::verbs::{get, patch};
use crate::{input, output};

pub(super) async fn run(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    match call.verb {
        Verb::Patch => patch::patch_part(call, request, Part::Status).await,
        Verb::Update => {
            let mut object = input::object(call, &call.kind, request).await?;
            write::place(call, &mut object)?;
            let updated =
                write::modify(call, Part::Status, Owners::Track, Box::new(|_| Ok(object.clone())))
                    .await?;
            Ok(output::one(call, StatusCode::OK, updated))
        }
        _ => get::get(call).await,
    }
}
