//! Definitions of custom resources: a schema of `spec`, then an object's `spec`, then another.

use bytes::Bytes;
use minik_api::decode::{ContentType, FieldValidation, decode as decode_as};
use minik_api::{Resource, conform, custom, kinds, strategy};
use minik_cel::Budget;
use minik_cel::rules::Rules;
use minik_meta::Path;
use serde_json::{Value, json};

use super::parts;

/// A definition that is not refused serves objects: they are pruned, defaulted and judged, and
/// doing so again changes nothing. One that is refused, but was stored before, breaks nothing.
pub fn definition(data: &[u8]) {
    let [schema, new, old] = parts(data);
    let Ok((schema, _)) = minik_api::decode_any(schema, ContentType::Json) else { return };
    let resource = kinds()
        .by_kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
        .expect("the table has it");
    let mut definition = definition_of(schema);
    if conform(resource, &mut definition, FieldValidation::Ignore).is_err() {
        return;
    }
    minik_api::default(resource, &mut definition);
    let refused = strategy::validate(resource, &definition).is_err();
    let rules = compile(&definition, refused);
    let source = Bytes::from(definition.to_string());
    let served = custom::resources(&definition, &source, 1);
    let Some(served) = served.first() else { return };
    let (new, old) = (object_of(new), object_of(old));
    let old = read(served, &old, refused);
    let Some(new) = read(served, &new, refused) else { return };
    let _ = strategy::validate(served, &new);
    if let Some(old) = &old {
        let _ = strategy::validate_update(served, &new, old);
    }
    if let Some(rules) = rules {
        rules.validate(&new, old.as_ref(), &mut Budget::new(20_000, 10_000));
    }
}

fn compile(definition: &Value, refused: bool) -> Option<Rules> {
    let schema = definition.pointer("/spec/versions/0/schema/openAPIV3Schema")?;
    if refused {
        return Some(Rules::of(schema));
    }
    Rules::compile(schema, &Path::root()).ok()
}

/// Reads, prunes and defaults; twice is as good as once.
fn read(resource: &Resource, text: &str, refused: bool) -> Option<Value> {
    let body = text.as_bytes();
    let (mut value, _) =
        decode_as(resource, body, ContentType::Json, FieldValidation::Warn).ok()?;
    let pruned = value.clone();
    let warnings = conform(resource, &mut value, FieldValidation::Warn).unwrap_or_default();
    assert!(warnings.is_empty(), "pruned and still {warnings:?}");
    assert_eq!(value, pruned, "pruned");
    minik_api::default(resource, &mut value);
    let mut again = value.clone();
    minik_api::default(resource, &mut again);
    // Defaults of a definition that would be refused need not fit themselves.
    assert!(refused || again == value, "defaulted: {value} and again: {again}");
    Some(value)
}

fn object_of(spec: &[u8]) -> String {
    let spec = String::from_utf8_lossy(spec);
    let spec = if spec.trim().is_empty() { "{}".into() } else { spec };
    format!(r#"{{"metadata":{{"name":"w","namespace":"d"}},"spec":{spec}}}"#)
}

fn definition_of(spec: Value) -> Value {
    let names = json!({"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList"});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced", "names": names,
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
            "conversion": {"strategy": "None"},
        },
        "status": {
            "acceptedNames": names, "storedVersions": ["v1"],
            "conditions": [{"type": "Established", "status": "True"}],
        },
    })
}
