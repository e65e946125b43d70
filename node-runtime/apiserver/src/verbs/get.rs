//! Reads one object.

use http::Response;
use minik_meta::Status;

use crate::body::Body;
use crate::call::Call;
use crate::verbs::select;
use crate::{convert, objects, output, vault};

pub(crate) async fn get(call: &Call) -> Result<Response<Body>, Status> {
    select::check_not_future(call, call.query.non_empty("resourceVersion"))?;
    let target = &call.target;
    let key = objects::key(&call.kind, &target.namespace, &target.name);
    let entry = call.core.store.get(&key);
    let entry = entry.ok_or_else(|| Status::not_found(&call.resource(), &target.name))?;
    vault::readable(&entry.value)?;
    let mut entries = convert::served(call, vec![entry]).await?;
    let entry = entries.pop().ok_or_else(|| Status::internal("an object was lost"))?;
    Ok(output::stored(call, &entry.value, entry.modified))
}
