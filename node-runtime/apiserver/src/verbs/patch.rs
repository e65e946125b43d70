//! Changes parts of an object.

use http::{Request, Response, StatusCode};
use minik_api::{FieldValidation, decode};
use minik_meta::{Status, object};

use crate::body::Body;
use crate::call::Call;
use crate::input::{self, Patch};
use crate::output;
use crate::verbs::write::{self, Change, Part};

pub(crate) async fn patch(call: &Call, request: Request<Body>) -> Result<Response<Body>, Status> {
    patch_part(call, request, Part::Main).await
}

/// Patches the object or one of its parts. The patch is tried again on the newest state when
/// somebody else was faster, unless it names the version it is for.
pub(crate) async fn patch_part(
    call: &Call,
    request: Request<Body>,
    part: Part,
) -> Result<Response<Body>, Status> {
    let patch = input::patch(request).await?;
    let validation = input::validation(call)?;
    let patched = write::modify(call, part, change(call, &patch, validation)).await?;
    Ok(output::one(call, StatusCode::OK, patched))
}

fn change<'a>(call: &'a Call, patch: &'a Patch, validation: FieldValidation) -> Change<'a> {
    Box::new(move |current| {
        let mut changed = patch.apply(&call.kind, current)?;
        let warnings = decode::conform(&call.kind, &mut changed, validation)?;
        warnings.into_iter().for_each(|text| call.warn(text));
        write::place(call, &mut changed)?;
        if object::resource_version(&changed).is_empty() {
            let version = object::resource_version(current).to_owned();
            object::set(&mut changed, &["metadata", "resourceVersion"], version);
        }
        Ok(changed)
    })
}
