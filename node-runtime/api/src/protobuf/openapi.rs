//! `/openapi/v2` as protobuf, for clients older than version 3 of the documents.
//!
//! The messages are those of `OpenAPIv2.proto` of gnostic-models, here as data: one routine writes them
//! all. Extensions (`x-…`) and free values travel as YAML, of which JSON is a part.

use serde_json::{Map, Value};

use super::wire::{bytes, double, integer, nested, whole};

/// A message: its fields by JSON name.
struct Message {
    fields: &'static [(&'static str, u16, Shape)],
    /// The field of the extensions; 0 where there is none.
    extensions: u16,
    /// Where entries go whose names are not fields: pairs of name (1) and value (2).
    entries: Option<(u16, Shape)>,
}

/// What a field holds.
#[derive(Clone, Copy)]
enum Shape {
    Text,
    Texts,
    Flag,
    Double,
    Whole,
    Any,
    Anys,
    One(&'static Message),
    Many(&'static Message),
    /// A message with this one in the field 1.
    Inside(&'static Message),
    /// A schema, or whether anything is allowed.
    SchemaOrFlag,
    /// A text or some, in a message's field 1.
    TypeItem,
    /// Parameters: by where they are, in messages of their own.
    Parameters,
    /// An object whose values are lists of texts.
    Requirements,
}

use Shape::*;

static DOCUMENT: Message = Message {
    fields: &[
        ("swagger", 1, Text),
        ("info", 2, One(&INFO)),
        ("host", 3, Text),
        ("basePath", 4, Text),
        ("schemes", 5, Texts),
        ("consumes", 6, Texts),
        ("produces", 7, Texts),
        ("paths", 8, One(&PATHS)),
        ("definitions", 9, One(&DEFINITIONS)),
        ("security", 12, Requirements),
        ("securityDefinitions", 13, One(&SECURITY_DEFINITIONS)),
    ],
    extensions: 16,
    entries: None,
};

static INFO: Message = Message {
    fields: &[("title", 1, Text), ("version", 2, Text), ("description", 3, Text)],
    extensions: 7,
    entries: None,
};

static PATHS: Message = Message { fields: &[], extensions: 1, entries: Some((2, One(&PATH_ITEM))) };

static PATH_ITEM: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("get", 2, One(&OPERATION)),
        ("put", 3, One(&OPERATION)),
        ("post", 4, One(&OPERATION)),
        ("delete", 5, One(&OPERATION)),
        ("options", 6, One(&OPERATION)),
        ("head", 7, One(&OPERATION)),
        ("patch", 8, One(&OPERATION)),
        ("parameters", 9, Parameters),
    ],
    extensions: 10,
    entries: None,
};

static OPERATION: Message = Message {
    fields: &[
        ("tags", 1, Texts),
        ("summary", 2, Text),
        ("description", 3, Text),
        ("operationId", 5, Text),
        ("produces", 6, Texts),
        ("consumes", 7, Texts),
        ("parameters", 8, Parameters),
        ("responses", 9, One(&RESPONSES)),
        ("schemes", 10, Texts),
        ("deprecated", 11, Flag),
        ("security", 12, Requirements),
    ],
    extensions: 13,
    entries: None,
};

static RESPONSES: Message =
    Message { fields: &[], extensions: 2, entries: Some((1, Inside(&RESPONSE))) };

static RESPONSE: Message = Message {
    fields: &[("description", 1, Text), ("schema", 2, Inside(&SCHEMA))],
    extensions: 5,
    entries: None,
};

static BODY_PARAMETER: Message = Message {
    fields: &[
        ("description", 1, Text),
        ("name", 2, Text),
        ("in", 3, Text),
        ("required", 4, Flag),
        ("schema", 5, One(&SCHEMA)),
    ],
    extensions: 6,
    entries: None,
};

/// Of headers and paths.
static PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("type", 5, Text),
        ("format", 6, Text),
        ("default", 9, Any),
        ("pattern", 16, Text),
        ("uniqueItems", 19, Flag),
        ("enum", 20, Anys),
    ],
    extensions: 22,
    entries: None,
};

/// Of queries and forms.
static QUERY_PARAMETER: Message = Message {
    fields: &[
        ("required", 1, Flag),
        ("in", 2, Text),
        ("description", 3, Text),
        ("name", 4, Text),
        ("allowEmptyValue", 5, Flag),
        ("type", 6, Text),
        ("format", 7, Text),
        ("default", 10, Any),
        ("pattern", 17, Text),
        ("uniqueItems", 20, Flag),
        ("enum", 21, Anys),
    ],
    extensions: 23,
    entries: None,
};

static REFERENCE: Message = Message {
    fields: &[("$ref", 1, Text), ("description", 2, Text)],
    extensions: 0,
    entries: None,
};

static DEFINITIONS: Message =
    Message { fields: &[], extensions: 0, entries: Some((1, One(&SCHEMA))) };

static SCHEMA: Message = Message {
    fields: &[
        ("$ref", 1, Text),
        ("format", 2, Text),
        ("title", 3, Text),
        ("description", 4, Text),
        ("default", 5, Any),
        ("multipleOf", 6, Double),
        ("maximum", 7, Double),
        ("exclusiveMaximum", 8, Flag),
        ("minimum", 9, Double),
        ("exclusiveMinimum", 10, Flag),
        ("maxLength", 11, Whole),
        ("minLength", 12, Whole),
        ("pattern", 13, Text),
        ("maxItems", 14, Whole),
        ("minItems", 15, Whole),
        ("uniqueItems", 16, Flag),
        ("maxProperties", 17, Whole),
        ("minProperties", 18, Whole),
        ("required", 19, Texts),
        ("enum", 20, Anys),
        ("additionalProperties", 21, SchemaOrFlag),
        ("type", 22, TypeItem),
        ("items", 23, Inside(&SCHEMA)),
        ("allOf", 24, Many(&SCHEMA)),
        ("properties", 25, One(&DEFINITIONS)),
        ("discriminator", 26, Text),
        ("readOnly", 27, Flag),
        ("example", 30, Any),
    ],
    extensions: 31,
    entries: None,
};

static SECURITY_DEFINITIONS: Message =
    Message { fields: &[], extensions: 0, entries: Some((1, One(&SECURITY_DEFINITION))) };

/// One of several; Kubernetes has keys in headers only.
static SECURITY_DEFINITION: Message = Message { fields: &[], extensions: 0, entries: None };

static API_KEY: Message = Message {
    fields: &[("type", 1, Text), ("name", 2, Text), ("in", 3, Text), ("description", 4, Text)],
    extensions: 5,
    entries: None,
};

/// The document in the form of [`super::OPENAPI_V2`].
pub fn openapi_v2(document: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    if let Value::Object(fields) = document {
        write(&mut out, &DOCUMENT, fields);
    }
    out
}

fn write(out: &mut Vec<u8>, message: &Message, fields: &Map<String, Value>) {
    if std::ptr::eq(message, &SECURITY_DEFINITION) {
        return nested(out, 2, |out| write(out, &API_KEY, fields));
    }
    for (name, value) in fields {
        let known = message.fields.iter().find(|(known, ..)| known == name);
        if let Some((_, number, shape)) = known {
            put(out, *number, *shape, value);
        } else if name.starts_with("x-") && message.extensions > 0 {
            pair(out, message.extensions, name, Any, value);
        } else if let Some((number, shape)) = message.entries {
            pair(out, number, name, shape, value);
        }
    }
}

fn pair(out: &mut Vec<u8>, number: u16, name: &str, shape: Shape, value: &Value) {
    nested(out, number, |out| {
        bytes(out, 1, name.as_bytes());
        put(out, 2, shape, value);
    });
}

/// One field. What is of another shape than its name says is no OpenAPI, and left out.
fn put(out: &mut Vec<u8>, number: u16, shape: Shape, value: &Value) {
    match (shape, value) {
        (Text, Value::String(text)) => bytes(out, number, text.as_bytes()),
        (Texts, Value::Array(items)) => items.iter().for_each(|one| put(out, number, Text, one)),
        (Flag, Value::Bool(flag)) => integer(out, number, u64::from(*flag)),
        (Double, Value::Number(one)) => double(out, number, one.as_f64().unwrap_or_default()),
        (Whole, Value::Number(_)) => integer(out, number, whole(value)),
        (Any, value) => nested(out, number, |out| bytes(out, 2, value.to_string().as_bytes())),
        (Anys, Value::Array(items)) => items.iter().for_each(|one| put(out, number, Any, one)),
        (One(message), Value::Object(fields)) => {
            nested(out, number, |out| write(out, message, fields));
        }
        (Many(message), Value::Array(items)) => {
            items.iter().for_each(|one| put(out, number, One(message), one));
        }
        (Inside(message), value) => nested(out, number, |out| put(out, 1, One(message), value)),
        (SchemaOrFlag, Value::Bool(_)) => nested(out, number, |out| put(out, 2, Flag, value)),
        (SchemaOrFlag, value) => put(out, number, Inside(&SCHEMA), value),
        (TypeItem, Value::Array(_)) => nested(out, number, |out| put(out, 1, Texts, value)),
        (TypeItem, value) => nested(out, number, |out| put(out, 1, Text, value)),
        (Parameters, Value::Array(items)) => {
            items.iter().for_each(|one| nested(out, number, |out| parameter(out, one)));
        }
        (Requirements, Value::Array(items)) => {
            items.iter().for_each(|one| nested(out, number, |out| requirement(out, one)));
        }
        _ => {}
    }
}

fn parameter(out: &mut Vec<u8>, value: &Value) {
    if value.get("$ref").is_some() {
        return put(out, 2, One(&REFERENCE), value);
    }
    let place = value.get("in").and_then(Value::as_str).unwrap_or_default();
    nested(out, 1, |out| match place {
        "body" => put(out, 1, One(&BODY_PARAMETER), value),
        "header" => nested(out, 2, |out| put(out, 1, One(&PARAMETER), value)),
        "formData" => nested(out, 2, |out| put(out, 2, One(&QUERY_PARAMETER), value)),
        "query" => nested(out, 2, |out| put(out, 3, One(&QUERY_PARAMETER), value)),
        "path" => nested(out, 2, |out| put(out, 4, One(&PARAMETER), value)),
        _ => {}
    });
}

fn requirement(out: &mut Vec<u8>, value: &Value) {
    for (name, scopes) in value.as_object().into_iter().flatten() {
        nested(out, 1, |out| {
            bytes(out, 1, name.as_bytes());
            nested(out, 2, |out| put(out, 1, Texts, scopes));
        });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A text that shows numbers and nesting: what a reader without the definition sees.
    fn shown(mut rest: &[u8]) -> String {
        let mut fields = Vec::new();
        while let [key, after @ ..] = rest {
            assert!(*key < 0x80 || !after.is_empty(), "short");
            let (number, wire, after) = match *key < 0x80 {
                true => (u16::from(key >> 3), key & 7, after),
                false => {
                    (u16::from(key & 0x7f) >> 3 | u16::from(after[0]) << 4, key & 7, &after[1..])
                }
            };
            rest = match wire {
                0 => {
                    fields.push(format!("{number}={}", after[0]));
                    &after[1..]
                }
                1 => {
                    fields.push(format!("{number}=double"));
                    &after[8..]
                }
                _ => {
                    let length = usize::from(after[0]);
                    let inner = &after[1..=length];
                    let text = std::str::from_utf8(inner).unwrap_or_default();
                    let plain = text.chars().all(|c| !c.is_control()) && !text.is_empty();
                    fields.push(match plain {
                        true => format!("{number}={text:?}"),
                        false => format!("{number}{{{}}}", shown(inner)),
                    });
                    &after[1 + length..]
                }
            };
        }
        fields.join(" ")
    }

    #[test]
    fn a_document_is_its_messages() {
        let document = json!({
            "swagger": "2.0",
            "info": {"title": "K", "version": "v1"},
            "paths": {"/a": {
                "parameters": [{"in": "query", "name": "q", "type": "string"}],
                "get": {"responses": {"200": {"schema": {"$ref": "#/d"}}}},
            }},
        });
        assert_eq!(
            shown(&openapi_v2(&document)),
            "1=\"2.0\" 2{1=\"K\" 2=\"v1\"} \
             8{2{1=\"/a\" 2{9{1{2{3{2=\"query\" 4=\"q\" 6=\"string\"}}}} \
             2{9{1{1=\"200\" 2{1{2{1{1=\"#/d\"}}}}}}}}}}"
        );
    }

    #[test]
    fn a_schema_keeps_its_extensions() {
        let document = json!({"definitions": {"T": {
            "type": "object",
            "properties": {"n": {"type": "integer", "default": 1, "minimum": 0}},
            "additionalProperties": false,
            "x-kubernetes-map-type": "atomic",
        }}});
        assert_eq!(
            shown(&openapi_v2(&document)),
            "9{1{1=\"T\" 2{22{1=\"object\"} \
             25{1{1=\"n\" 2{22{1=\"integer\"} 5{2=\"1\"} 9=double}}} 21{2=0} \
             31{1=\"x-kubernetes-map-type\" 2{2=\"\\\"atomic\\\"\"}}}}}"
        );
    }
}
