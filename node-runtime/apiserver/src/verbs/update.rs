//! Replaces an object.

use http::{Request, Response, StatusCode};
use minik_meta::{Reason, Status, object};

use crate::body::Body;
use crate::call::Call;
use crate::owners::Owners;
use crate::verbs::create::create_object;
use crate::verbs::write::{self, Part};
use crate::{input, output, pipeline};

pub(crate) async fn update(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    let mut object = input::object(call, &call.kind, request).await?;
    write::place(call, &mut object)?;
    match write::modify(call, Part::Main, Owners::Track, Box::new(|_| Ok(object.clone()))).await {
        Err(status)
            if status.reason == Reason::NotFound
                && write::creates_on_update(&call.kind)
                && object::resource_version(&object).is_empty() =>
        {
            pipeline::may_create(call)?;
            let created = create_object(call, object).await?;
            Ok(output::one(call, StatusCode::CREATED, created))
        }
        result => Ok(output::one(call, StatusCode::OK, result?)),
    }
}
