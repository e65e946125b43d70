//! Lists objects: all, a page, or as they were at a revision.

use bytes::{BufMut, BytesMut};
use http::{Response, StatusCode};
use minik_meta::{Reason, Status};
use minik_store::{Entry, ListOptions, Revision, StoreError};
use serde_json::{Map, Value, json};

use crate::body::Body;
use crate::call::Call;
use crate::negotiate::{Format, Output, Shape};
use crate::objects::{self, Head};
use crate::verbs::select::{self, Continue, Filter, revision};
use crate::{convert, output};

/// How many entries are looked at in one go when selectors thin them out.
const SCAN: usize = 500;

/// Which state is listed, and which part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Plan {
    at: Option<Revision>,
    start: Option<String>,
    limit: usize,
}

/// What was found.
pub(crate) struct Found {
    pub(crate) entries: Vec<Entry>,
    pub(crate) revision: Revision,
    /// The token for the next page, and how many objects it and later ones hold, if known.
    next: Option<(String, Option<usize>)>,
}

pub(crate) async fn list(call: &Call) -> Result<Response<Body>, Status> {
    let found = find(call).await?;
    let plain =
        |entry: &Entry| output::is_plain(&call.kind, call.output, &entry.value, entry.modified);
    let json = call.output == Output::default();
    if json && found.entries.iter().all(plain) {
        return Ok(spliced(call, &found));
    }
    let kind = &call.kind;
    let items: Vec<Value> = found
        .entries
        .iter()
        .map(|entry| objects::read(kind, &entry.value, entry.modified))
        .collect();
    // Put together by hand: the macro would copy every item.
    let list = |kind: &str, version: String, items: Vec<Value>| {
        Value::Object(Map::from_iter([
            ("kind".to_owned(), kind.into()),
            ("apiVersion".to_owned(), version.into()),
            ("metadata".to_owned(), metadata(&found).into()),
            ("items".to_owned(), items.into()),
        ]))
    };
    let list = match call.output.shape {
        Shape::Whole => list(&kind.list_kind, kind.api_version(), items),
        Shape::Metadata => {
            let items = items.into_iter().map(output::partial).collect();
            list("PartialObjectMetadataList", "meta.k8s.io/v1".to_owned(), items)
        }
        Shape::Table { version, include } => {
            output::make_table(kind, version, include, &items, metadata(&found).into())
        }
    };
    Ok(output::value(call, StatusCode::OK, &list))
}

fn metadata(found: &Found) -> Map<String, Value> {
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".to_owned(), found.revision.to_string().into());
    if let Some((token, remaining)) = &found.next {
        metadata.insert("continue".to_owned(), token.clone().into());
        if let Some(remaining) = remaining {
            metadata.insert("remainingItemCount".to_owned(), (*remaining).into());
        }
    }
    metadata
}

/// The list put together from stored bytes.
fn spliced(call: &Call, found: &Found) -> Response<Body> {
    debug_assert_eq!(call.output.format, Format::Json);
    let size: usize = found.entries.iter().map(|entry| entry.value.len() + 48).sum();
    let mut out = BytesMut::with_capacity(size + 256);
    let head = json!({
        "kind": call.kind.list_kind,
        "apiVersion": call.kind.api_version(),
        "metadata": metadata(found),
    });
    let head = head.to_string();
    out.put_slice(head.trim_end_matches('}').as_bytes());
    // The metadata's own brace was trimmed with the list's.
    out.put_slice(b"},\"items\":[");
    for (index, entry) in found.entries.iter().enumerate() {
        if index > 0 {
            out.put_u8(b',');
        }
        objects::splice(&mut out, &entry.value, entry.modified, Head::Item);
    }
    out.put_slice(b"]}\n");
    output::json_bytes(call, out.freeze())
}

/// The objects that the call selects.
pub(crate) async fn find(call: &Call) -> Result<Found, Status> {
    let plan = plan(call)?;
    let filter = Filter::of(call)?;
    let prefix = select::collection_prefix(&call.kind, &call.target.namespace);
    let mut found = Found { entries: Vec::new(), revision: Revision::default(), next: None };
    let mut at = plan.at;
    let mut start_after = plan.start.as_ref().map(|start| format!("{prefix}{start}"));
    loop {
        let missing = plan.limit.saturating_sub(found.entries.len());
        let step = match (plan.limit, filter.is_empty()) {
            (0, _) => None,
            (_, true) => Some(missing),
            (_, false) => Some(SCAN.max(missing)),
        };
        let options = ListOptions { at, start_after: start_after.clone(), limit: step };
        let page = call.core.store.list(&prefix, &options);
        let page = page.map_err(|error| cannot_list(call, &plan, error))?;
        found.revision = page.revision;
        at = Some(page.revision);
        let (count, total) = (page.entries.len(), page.remaining);
        let entries = convert::served(call, page.entries).await?;
        for (index, entry) in entries.into_iter().enumerate() {
            let full = plan.limit > 0 && found.entries.len() == plan.limit;
            if full {
                let remaining = filter.is_empty().then_some(count - index + total);
                found.next = next(&found, &prefix, remaining);
                return Ok(found);
            }
            start_after = Some(entry.key.to_string());
            if filter.selects_stored(&entry.value, entry.modified) {
                found.entries.push(entry);
            }
        }
        if !page.more {
            return Ok(found);
        }
        if plan.limit > 0 && found.entries.len() == plan.limit {
            let remaining = filter.is_empty().then_some(total);
            found.next = next(&found, &prefix, remaining);
            return Ok(found);
        }
    }
}

fn next(found: &Found, prefix: &str, remaining: Option<usize>) -> Option<(String, Option<usize>)> {
    let last = found.entries.last()?;
    let start = last.key.strip_prefix(prefix)?;
    let rv = i64::try_from(found.revision.0).ok()?;
    Some((Continue::new(rv, start).encode(), remaining))
}

/// Reads `resourceVersion`, `resourceVersionMatch`, `limit` and `continue`.
fn plan(call: &Call) -> Result<Plan, Status> {
    let query = &call.query;
    let invalid = |field: &str, value: &str, why: &str| {
        Status::new(
            Reason::Invalid,
            format!(
                "{}List.meta.k8s.io \"\" is invalid: {field}: Forbidden: {value}{why}",
                call.kind.kind
            ),
        )
    };
    let limit: usize = query
        .number("limit")
        .map_err(|text| Status::bad_request(format!("strconv.ParseInt: parsing {text:?}")))?
        .unwrap_or(0);
    let version = query.non_empty("resourceVersion");
    let matching = query.non_empty("resourceVersionMatch");
    if let Some(token) = query.non_empty("continue") {
        if matching.is_some() {
            let why = "resourceVersionMatch is forbidden when continue is provided";
            return Err(invalid("resourceVersionMatch", "", why));
        }
        if version.is_some_and(|version| version != "0") {
            return Err(Status::bad_request(
                "specifying resource version is not allowed when using continue",
            ));
        }
        let token = Continue::decode(token)?;
        let at = u64::try_from(token.rv).ok().map(Revision);
        return Ok(Plan { at, start: Some(token.start), limit });
    }
    let asked = revision(version)?;
    if matching.is_some() && version.is_none() {
        let why = "resourceVersionMatch is forbidden unless resourceVersion is provided";
        return Err(invalid("resourceVersionMatch", "", why));
    }
    let at = match matching {
        Some("Exact") if asked.is_none() => {
            let why = "resourceVersionMatch \"Exact\" is forbidden for resourceVersion \"0\"";
            return Err(invalid("resourceVersionMatch", "", why));
        }
        Some("Exact") => asked,
        Some("NotOlderThan") => None,
        Some(other) => {
            let why = format!(
                "Unsupported value: {other:?}: supported values: \"Exact\", \"NotOlderThan\", \"\""
            );
            return Err(Status::bad_request(format!("resourceVersionMatch: {why}")));
        }
        // Clients that page from a version mean that version.
        None if limit > 0 => asked,
        None => None,
    };
    select::check_not_future(call, version)?;
    Ok(Plan { at, start: None, limit })
}

fn cannot_list(call: &Call, plan: &Plan, error: StoreError) -> Status {
    match error {
        StoreError::Compacted { asked, oldest } => match &plan.start {
            None => Status::expired(format!(
                "The resourceVersion for the provided list is too old: {asked} ({oldest})."
            )),
            Some(start) => {
                let mut status = Status::expired(
                    "The provided continue parameter is too old to display a consistent list \
                     result. You can start a new list without the continue parameter, or use the \
                     continue token in this response to retrieve the remainder of the results. \
                     Continuing with the provided token results in an inconsistent list - objects \
                     that were created, modified, or deleted between the time the first chunk was \
                     returned and now may show up in the list.",
                );
                status.continue_token = Some(Continue::new(-1, start).encode());
                status
            }
        },
        StoreError::Future { asked, current } => select::too_large(asked, current),
        error => {
            tracing::error!(resource = %call.resource(), %error, "cannot list");
            Status::internal(error)
        }
    }
}
