//! Deletes all objects that the selectors select.

use http::{Request, Response, StatusCode};
use minik_meta::{Reason, Status};
use serde_json::json;

use crate::body::Body;
use crate::call::Call;
use crate::verbs::{delete, list};
use crate::{objects, output};

pub(crate) async fn delete_collection(
    call: &Call,
    request: Request<Body>,
) -> Result<Response<Body>, Status> {
    let options = delete::options(call, request).await?;
    let found = list::find(call).await?;
    let mut items = Vec::with_capacity(found.entries.len());
    for entry in &found.entries {
        let name = entry.key.rsplit('/').next().unwrap_or_default();
        match delete::delete_one(call, name, &options, Some("")).await {
            Ok((object, _)) => items.push(object),
            // Deleted by somebody else meanwhile: what was asked for.
            Err(status) if status.reason == Reason::NotFound => {
                items.push(objects::read(&call.kind, &entry.value, entry.modified));
            }
            Err(status) => return Err(status),
        }
    }
    let items: Vec<_> = items
        .into_iter()
        .map(|object| output::shape(&call.kind, call.output, object, true))
        .collect();
    let list = json!({
        "kind": call.kind.list_kind,
        "apiVersion": call.kind.api_version(),
        "metadata": {"resourceVersion": call.core.store.revision().to_string()},
        "items": items,
    });
    Ok(output::value(call, StatusCode::OK, &list))
}
