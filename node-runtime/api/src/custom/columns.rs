//! Columns of the tables of custom resources.

use minik_meta::object;
use serde_json::Value;

use super::JsonPath;
use crate::resource::{Cell, Column};
use crate::schema::Text;

/// The columns of a version: its name, and what the definition says, else its age.
pub(super) fn columns(version: &Value) -> Vec<Column> {
    let own = object::list(version, &["additionalPrinterColumns"]);
    let name = Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: "Name must be unique within a namespace.".into(),
        priority: 0,
        cell: Cell::Path(".metadata.name".into(), "".into()),
    };
    let age = || Column {
        name: "Age".into(),
        kind: "date".into(),
        format: "".into(),
        description: "When the object was created.".into(),
        priority: 0,
        cell: Cell::Path(".metadata.creationTimestamp".into(), "".into()),
    };
    let rest = match own.is_empty() {
        true => vec![age()],
        false => own.iter().map(column).collect(),
    };
    std::iter::once(name).chain(rest).collect()
}

fn column(column: &Value) -> Column {
    let text = |key: &str| Text::Owned(object::text(column, &[key]).to_owned());
    let priority = object::integer(column, &["priority"]).unwrap_or_default();
    Column {
        name: text("name"),
        kind: text("type"),
        format: text("format"),
        description: text("description"),
        priority: i32::try_from(priority).unwrap_or_default(),
        cell: match JsonPath::parse(&text("jsonPath")) {
            Ok(path) => Cell::Query(path),
            // Refused with the definition; a column without values if it got here all the same.
            Err(_) => Cell::Path("".into(), "".into()),
        },
    }
}

/// A cell with the value its path leads to.
pub(crate) fn cell(column: &Column, found: Option<&Value>) -> Value {
    let Some(value) = found.filter(|value| !value.is_null()) else { return Value::Null };
    match (column.kind.as_ref(), value) {
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", value) => value.to_string().into(),
        ("integer", Value::Number(number)) => match number.as_f64() {
            Some(whole) if number.is_f64() => (whole as i64).into(),
            _ => value.clone(),
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        _ => Value::Null,
    }
}
