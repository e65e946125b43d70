//! Order and directives of merged lists. An item is its merge key, or itself where it is a scalar.

use serde_json::Value;

use super::DIRECTIVE;

/// Applies the `$patch` items of a list patch. Returns what is kept of the original and what is
/// left of the patch; with a `replace` item the patch alone.
pub(super) fn directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), String> {
    let mut rest = Vec::with_capacity(patch.len());
    let mut replaces = false;
    for mut item in patch {
        let directive = item.as_object_mut().and_then(|map| map.shift_remove(DIRECTIVE));
        match directive.as_ref().map(Value::as_str) {
            None => rest.push(item),
            Some(Some("delete")) => {
                let id = item.get(key).cloned().ok_or_else(|| {
                    format!("map: {item} does not contain declared merge key: {key}")
                })?;
                original.retain(|one| one.get(key) != Some(&id));
            }
            Some(Some("replace")) => replaces = true,
            Some(Some("merge")) => {
                return Err(format!("merging directive is not supported in list: {item}"));
            }
            Some(_) => return Err(format!("unknown patch type found in: {item}")),
        }
    }
    if replaces {
        original.clear();
    }
    Ok((original, rest))
}

/// Whether the items of a patch come in the order its order list gives.
pub(super) fn check_order(items: &[Value], order: &[Value], key: &str) -> Result<(), String> {
    let mut from = 0;
    for item in items.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        match order[from..].iter().position(|one| is_same(one, item, key)) {
            Some(at) => from += at + 1,
            None => {
                return Err(format!(
                    "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
                    Value::from(items.to_vec()),
                    Value::from(order.to_vec())
                ));
            }
        }
    }
    Ok(())
}

/// Orders a merged list: items of the patch in the patch's order, the server's own items where
/// the server had them.
pub(super) fn order(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: &str,
) -> Vec<Value> {
    let place =
        |order: &[Value], item: &Value| order.iter().position(|one| is_same(one, item, key));
    let (mut patched, mut server): (Vec<Value>, Vec<Value>) =
        merged.into_iter().partition(|item| place(patch_order, item).is_some());
    patched.sort_by_key(|item| place(patch_order, item));
    server.sort_by_key(|item| place(server_order, item));

    // The server's items go before the first patched item that came after them on the server.
    let mut ordered = Vec::with_capacity(patched.len() + server.len());
    let mut server = server.into_iter().peekable();
    for item in patched {
        let here = place(server_order, &item);
        while let Some(own) = server.peek() {
            let before = place(server_order, own).zip(here).is_some_and(|(own, here)| own < here);
            if !before {
                break;
            }
            ordered.extend(server.next());
        }
        ordered.push(item);
    }
    ordered.extend(server);
    ordered
}

fn is_same(a: &Value, b: &Value, key: &str) -> bool {
    if key.is_empty() { a == b } else { a.get(key).is_some() && a.get(key) == b.get(key) }
}
