//! The end of a namespace: the namespace controller takes its finalizers away here.

use http::{Request, Response, StatusCode};
use minik_meta::{Status, object};

use crate::body::Body;
use crate::call::Call;
use crate::owners::Owners;
use crate::verbs::write::{self, Part};
use crate::{input, output};

pub(super) async fn finalize(
    call: &Call,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let given = input::object(call, &call.kind, request).await?;
    let finalizers = object::list(&given, &["spec", "finalizers"]).to_vec();
    let version = object::resource_version(&given).to_owned();
    let uid = object::uid(&given).to_owned();
    let changed = write::modify(
        call,
        Part::Other,
        Owners::Track,
        Box::new(|current| {
            let mut changed = current.clone();
            object::set(&mut changed, &["spec", "finalizers"], finalizers.clone());
            object::set(&mut changed, &["metadata", "resourceVersion"], version.clone());
            if !uid.is_empty() {
                object::set(&mut changed, &["metadata", "uid"], uid.clone());
            }
            Ok(changed)
        }),
    )
    .await?;
    Ok(output::one(call, StatusCode::OK, changed))
}
