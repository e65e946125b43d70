//! Strategic merge patch: what `kubectl apply`, `edit` and `patch` send for built-in kinds.
//!
//! Lists with a merge key are merged item by item. Directives in the patch: `$patch`
//! (`replace`, `delete`), `$retainKeys`, `$setElementOrder/<list>`, `$deleteFromPrimitiveList/<list>`.

mod lists;

use minik_meta::Status;
use serde_json::{Map, Value};

use crate::schema::{Field, FieldType, Schema, SchemaRef, Type};

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const SET_ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Merges `patch` into `target`, an object of the type `shape`.
///
/// # Errors
/// 400 for malformed directives and list items without their merge key. `target` is then
/// unchanged.
pub fn apply(shape: &SchemaRef, target: &mut Value, patch: &Value) -> Result<(), Status> {
    let Value::Object(patch) = patch else {
        return Err(Status::bad_request("invalid JSON document"));
    };
    let original = match target {
        Value::Object(map) => map.clone(),
        _ => Map::new(),
    };
    let merge = Merge { schema: shape.schema() };
    let merged = merge
        .object(original, patch.clone(), Shape::Known(shape.root()))
        .map_err(Status::bad_request)?;
    *target = Value::Object(merged);
    Ok(())
}

/// What is known about an object while it is merged.
#[derive(Clone, Copy)]
enum Shape<'a> {
    /// Fields of a type.
    Known(&'a Type),
    /// A map whose values all have one type.
    MapOf(&'a FieldType),
    /// Nothing.
    Unknown,
}

type Fields = Map<String, Value>;

struct Merge<'a> {
    schema: &'a Schema,
}

impl<'a> Merge<'a> {
    fn object(
        &self,
        mut original: Fields,
        mut patch: Fields,
        shape: Shape<'a>,
    ) -> Result<Fields, String> {
        if let Some(directive) = patch.shift_remove(DIRECTIVE) {
            return match directive.as_str() {
                Some("replace") => Ok(patch),
                Some("delete") => Ok(Map::new()),
                _ => Err(format!("unknown patch type {directive} found in: object")),
            };
        }
        retain_keys(&mut original, &mut patch)?;
        self.ordered_lists(&mut original, &mut patch, shape)?;
        for (key, value) in patch {
            let (key, deletes) = match key.strip_prefix(DELETE_FROM) {
                Some(list) => (list.to_owned(), true),
                None => (key, false),
            };
            self.field(&mut original, key, value, deletes, shape)?;
        }
        Ok(original)
    }

    fn field(
        &self,
        original: &mut Fields,
        key: String,
        value: Value,
        deletes: bool,
        shape: Shape<'a>,
    ) -> Result<(), String> {
        if value.is_null() {
            original.shift_remove(&key);
            return Ok(());
        }
        let (field, kind) = lookup(shape, &key);
        let merged = match (original.get_mut(&key).map(Value::take), value) {
            (Some(Value::Object(before)), Value::Object(patch)) if !is_replaced(field) => {
                Value::Object(self.object(before, patch, self.inner(kind))?)
            }
            (Some(Value::Array(before)), Value::Array(patch)) => {
                Value::Array(self.list(before, patch, field, kind, deletes)?)
            }
            (Some(before), _) if deletes => before,
            (None, _) if deletes => return Ok(()),
            (_, value) => match clean(value) {
                Some(value) => value,
                None => {
                    original.shift_remove(&key);
                    return Ok(());
                }
            },
        };
        original.insert(key, merged);
        Ok(())
    }

    /// Handles every `$setElementOrder/<list>` together with the list it orders.
    fn ordered_lists(
        &self,
        original: &mut Fields,
        patch: &mut Fields,
        shape: Shape<'a>,
    ) -> Result<(), String> {
        let directives: Vec<String> =
            patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
        for directive in directives {
            let Some(Value::Array(order)) = patch.shift_remove(&directive) else {
                return Err(format!("{directive} must be a list"));
            };
            let key = &directive[SET_ORDER.len()..];
            let (field, kind) = lookup(shape, key);
            let merge_key = field.and_then(Field::merge_key).unwrap_or_default();
            let server = as_list(original.get(key));
            let patched = match patch.shift_remove(key) {
                // A deleted list stays deleted; a value of another type is merged as usual.
                Some(other @ (Value::Null | Value::Object(_) | Value::String(_))) => {
                    patch.insert(key.to_owned(), other);
                    continue;
                }
                other => other.map(|list| as_list(Some(&list)).unwrap_or_default()),
            };
            if let Some(items) = &patched {
                lists::check_order(items, &order, merge_key)?;
            }
            let merged = match (&server, patched) {
                (None, None) => continue,
                (Some(server), None) => server.clone(),
                (None, Some(items)) => items.into_iter().filter_map(clean).collect(),
                (Some(server), Some(items)) => {
                    self.list(server.clone(), items, field, kind, false)?
                }
            };
            let server = server.unwrap_or_default();
            let ordered = lists::order(merged, &order, &server, merge_key);
            original.insert(key.to_owned(), Value::Array(ordered));
        }
        Ok(())
    }

    fn list(
        &self,
        original: Vec<Value>,
        patch: Vec<Value>,
        field: Option<&'a Field>,
        kind: Option<&'a FieldType>,
        deletes: bool,
    ) -> Result<Vec<Value>, String> {
        if deletes {
            return Ok(original.into_iter().filter(|item| !patch.contains(item)).collect());
        }
        let Some(field) = field.filter(|field| field.merges()) else {
            return Ok(patch);
        };
        let of_objects = original.iter().chain(&patch).any(Value::is_object);
        if !of_objects {
            let mut merged: Vec<Value> = Vec::new();
            for item in original.iter().chain(&patch) {
                if !merged.contains(item) {
                    merged.push(item.clone());
                }
            }
            return Ok(lists::order(merged, &patch, &original, ""));
        }
        let key = field
            .merge_key()
            .ok_or_else(|| format!("cannot merge lists without merge key for {}", field.name))?;
        let item_shape = match kind {
            Some(FieldType::List(item)) => self.inner(Some(item)),
            _ => Shape::Unknown,
        };
        let (kept, patch) = lists::directives(original, patch, key)?;
        let mut merged = kept.clone();
        for item in &patch {
            let Value::Object(fields) = item else {
                return Err(format!("list of {} mixes objects with other values", field.name));
            };
            let id = fields
                .get(key)
                .ok_or_else(|| format!("map: {item} does not contain declared merge key: {key}"))?;
            match merged.iter_mut().find(|one| one.get(key) == Some(id)) {
                Some(before) => {
                    let Value::Object(before_fields) = before.take() else { continue };
                    let result = self.object(before_fields, fields.clone(), item_shape)?;
                    *before = Value::Object(result);
                }
                None => merged.extend(clean(item.clone())),
            }
        }
        Ok(lists::order(merged, &patch, &kept, key))
    }

    fn inner(&self, kind: Option<&'a FieldType>) -> Shape<'a> {
        match kind {
            Some(FieldType::Object(id)) => Shape::Known(self.schema.get(*id)),
            Some(FieldType::Map(value)) => Shape::MapOf(value),
            _ => Shape::Unknown,
        }
    }
}

fn lookup<'a>(shape: Shape<'a>, key: &str) -> (Option<&'a Field>, Option<&'a FieldType>) {
    match shape {
        Shape::Known(ty) => {
            let field = ty.field(key);
            (field, field.map(|field| &field.kind))
        }
        Shape::MapOf(kind) => (None, Some(kind)),
        Shape::Unknown => (None, None),
    }
}

/// Whether the published strategy is to replace the whole object.
fn is_replaced(field: Option<&Field>) -> bool {
    field.is_some_and(|field| field.patch_strategy().split(',').any(|one| one == "replace"))
}

fn as_list(value: Option<&Value>) -> Option<Vec<Value>> {
    value.and_then(Value::as_array).cloned()
}

/// `$retainKeys`: drops what the patch does not list.
fn retain_keys(original: &mut Fields, patch: &mut Fields) -> Result<(), String> {
    let Some(directive) = patch.shift_remove(RETAIN_KEYS) else { return Ok(()) };
    let Value::Array(keys) = directive else {
        return Err(format!("{RETAIN_KEYS} must be a list"));
    };
    let retained = |key: &str| keys.iter().any(|one| one.as_str() == Some(key));
    let plain = |key: &&String| !key.starts_with('$');
    if let Some(key) = patch
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, _)| key)
        .find(|key| plain(key) && !retained(key))
    {
        return Err(format!("{RETAIN_KEYS} does not contain the patched key {key}"));
    }
    original.retain(|key, _| retained(key));
    Ok(())
}

/// A value taken over from a patch: without nulls and directives. `None` where it deletes itself.
fn clean(value: Value) -> Option<Value> {
    match value {
        Value::Object(mut map) => {
            let directive = map.shift_remove(DIRECTIVE);
            if directive.as_ref().and_then(Value::as_str) == Some("delete") {
                return None;
            }
            let kept = map
                .into_iter()
                .filter(|(key, value)| !key.starts_with('$') && !value.is_null())
                .filter_map(|(key, value)| Some((key, clean(value)?)));
            Some(Value::Object(kept.collect()))
        }
        Value::Array(list) => Some(Value::Array(list.into_iter().filter_map(clean).collect())),
        other => Some(other),
    }
}

#[cfg(test)]
mod tests;
