//! Tables: what `kubectl get` prints, made by the server.
//!
//! Columns are data of the [`Resource`]; a cell is a path or one of the functions in `cells`.

mod cells;
mod pods;
mod workloads;

use ::time::OffsetDateTime;
use minik_meta::{Status, object, time};
use serde_json::{Map, Value, json};

use crate::resource::{Cell, Column, Resource};

/// How much of each object a table carries besides its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IncludeObject {
    /// Nothing.
    None,
    /// `metadata` only: the default.
    #[default]
    Metadata,
    /// The whole object.
    Object,
}

impl IncludeObject {
    /// Reads the query parameter; absent means the default.
    pub fn from_query(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("" | "Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Status::bad_request(format!(
                "includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or \
                 empty"
            ))),
        }
    }
}

/// A whole table. `list_metadata` is the `metadata` of the list (resourceVersion, continue, …);
/// `now` is what ages are counted to.
pub fn render<'a>(
    resource: &Resource,
    items: impl IntoIterator<Item = &'a Value>,
    list_metadata: Value,
    include: IncludeObject,
    now: OffsetDateTime,
) -> Value {
    let rows: Vec<Value> =
        items.into_iter().map(|item| row(resource, item, include, now)).collect();
    assemble(list_metadata, columns(resource), rows)
}

/// A table of one object, as watches send it: only the first of a watch has the columns.
pub fn render_event(
    resource: &Resource,
    item: &Value,
    with_columns: bool,
    include: IncludeObject,
    now: OffsetDateTime,
) -> Value {
    let mut metadata = Map::new();
    if let Some(version) = object::at(item, &["metadata", "resourceVersion"]) {
        metadata.insert("resourceVersion".into(), version.clone());
    }
    let columns = if with_columns { columns(resource) } else { Value::Null };
    assemble(Value::Object(metadata), columns, vec![row(resource, item, include, now)])
}

/// The column definitions.
pub fn columns(resource: &Resource) -> Value {
    let definition = |column: &Column| {
        json!({
            "name": column.name, "type": column.kind, "format": column.format,
            "description": column.description, "priority": column.priority,
        })
    };
    resource.columns.iter().map(definition).collect()
}

/// One row.
pub fn row(
    resource: &Resource,
    item: &Value,
    include: IncludeObject,
    now: OffsetDateTime,
) -> Value {
    let cells: Vec<Value> = resource.columns.iter().map(|column| cell(column, item, now)).collect();
    let mut row = Map::from_iter([("cells".to_owned(), Value::Array(cells))]);
    if let Some(conditions) = pods::row_conditions(resource, item) {
        row.insert("conditions".into(), conditions);
    }
    match include {
        IncludeObject::None => {}
        IncludeObject::Metadata => {
            row.insert("object".into(), partial(item));
        }
        IncludeObject::Object => {
            row.insert("object".into(), item.clone());
        }
    }
    Value::Object(row)
}

/// The object as `PartialObjectMetadata`.
pub fn partial(item: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": item.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

fn assemble(metadata: Value, columns: Value, rows: Vec<Value>) -> Value {
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

fn cell(column: &Column, item: &Value, now: OffsetDateTime) -> Value {
    match &column.cell {
        Cell::Named(name) => match cells::function(name) {
            Some(make) => make(item, now),
            None => Value::Null,
        },
        Cell::Query(path) => match (path.first(item), column.kind.as_ref()) {
            (Some(Value::String(text)), "date") => match time::parse(text) {
                Some(_) => age(text, now),
                None => "<invalid>".into(),
            },
            (found, _) => crate::custom::cell(column, found),
        },
        Cell::Path(path, otherwise) => {
            let found = at_path(item, path).filter(|value| !value.is_null());
            match (found, column.kind.as_ref()) {
                (Some(value), "date") => value.as_str().map_or(Value::Null, |text| age(text, now)),
                (Some(value), "string") => plain_text(value).into(),
                (Some(value), _) => value.clone(),
                (None, "integer" | "number") => {
                    otherwise.parse::<i64>().map_or(Value::Null, Value::from)
                }
                (None, "string") => otherwise.as_ref().into(),
                (None, _) if otherwise.is_empty() => Value::Null,
                (None, _) => otherwise.as_ref().into(),
            }
        }
    }
}

/// What is at `.a.b`; an empty string counts as absent.
fn at_path<'a>(item: &'a Value, path: &str) -> Option<&'a Value> {
    let mut value = item;
    for step in path.split('.').filter(|step| !step.is_empty()) {
        value = value.get(step)?;
    }
    (value.as_str() != Some("")).then_some(value)
}

fn plain_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How long ago, as people read it.
fn age(text: &str, now: OffsetDateTime) -> Value {
    match time::since(text, now) {
        Some(age) => time::human_duration(age).into(),
        None => "<unknown>".into(),
    }
}

#[cfg(test)]
mod tests;
