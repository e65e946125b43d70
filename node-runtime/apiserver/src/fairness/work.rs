//! How many seats a request takes: one, and more where many objects are read.

use crate::core::Core;
use crate::objects;
use crate::route::{Action, Query, Target, Verb};

/// Objects that are read for one seat.
const OBJECTS_PER_SEAT: u32 = 100;

/// The seats of a request that may take `most`.
pub(crate) fn seats(core: &Core, action: &Action, query: &Query, most: u32) -> u32 {
    let Action::Resource(verb, target) = action else { return 1 };
    if !reads_many(*verb, target, query) {
        return 1;
    }
    let Some(kind) = core.kinds.find(&target.group, &target.version, &target.resource) else {
        return 1;
    };
    let limit = query.number("limit").ok().flatten().filter(|limit| *limit > 0);
    let selects = ["labelSelector", "fieldSelector"].map(|key| query.non_empty(key));
    let enough = most.saturating_mul(OBJECTS_PER_SEAT);
    let read = match limit {
        // Where some are passed over, a page may take any number of them.
        Some(limit) if selects == [None, None] => enough.min(limit),
        _ => enough,
    };
    let there = core.store.count(&objects::prefix(&kind, &target.namespace), read as usize);
    (there as u32).div_ceil(OBJECTS_PER_SEAT).clamp(1, most.max(1))
}

/// Whether the answer is made of a whole collection.
fn reads_many(verb: Verb, target: &Target, query: &Query) -> bool {
    let by_name = || query.get("fieldSelector").is_some_and(|it| it.contains("metadata.name="));
    let collection = target.name.is_empty() && !by_name();
    match verb {
        Verb::List => collection,
        Verb::Watch => {
            let from_now = matches!(query.get("resourceVersion"), None | Some("" | "0"));
            collection && (query.flag("sendInitialEvents") || from_now)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::route;
    use http::Method;
    use test_case::test_case;

    #[test_case("/api/v1/pods" => true; "list")]
    #[test_case("/api/v1/namespaces/a/pods/b" => false; "get")]
    #[test_case("/api/v1/pods?fieldSelector=metadata.name%3Da" => false; "list of one")]
    #[test_case("/api/v1/pods?watch=1" => true; "watch with initial state")]
    #[test_case("/api/v1/pods?watch=1&resourceVersion=7" => false; "watch from a revision")]
    #[test_case("/api/v1/pods?watch=1&resourceVersion=7&sendInitialEvents=true" => true; "watch list")]
    #[test_case("/version" => false; "page")]
    fn reads_many_objects(uri: &str) -> bool {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let query = Query::parse(query);
        match route(&Method::GET, path, &query) {
            Action::Page(_) => false,
            Action::Resource(verb, target) => reads_many(verb, &target, &query),
        }
    }
}
