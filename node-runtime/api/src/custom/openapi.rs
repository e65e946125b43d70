//! Custom resources in OpenAPI documents: their schemas as they were written, with what every
//! object has added.

use serde_json::{Map, Value, json};

use super::schema_of;
use crate::openapi::{Flavor, gvk_extension};
use crate::resource::Resource;

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
const LIST_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta";
const API_VERSION: &str = "APIVersion defines the versioned schema of this representation of an \
    object. Servers should convert recognized schemas to the latest internal value, and may reject \
    unrecognized values. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const KIND: &str = "Kind is a string value representing the REST resource this object represents. \
    Servers may infer this from the endpoint the client submits requests to. Cannot be updated. In \
    CamelCase. More info: \
    https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// Name and schema of the kind and of its list.
pub(crate) fn schemas(resource: &Resource, flavor: Flavor) -> Vec<(String, Value)> {
    let Some(custom) = &resource.custom else { return Vec::new() };
    let definition = custom.definition();
    let name = resource.definition();
    let mut schema = schema_of(&definition, custom.version()).cloned().unwrap_or_else(|| json!({}));
    match flavor {
        // Any property named here would make kubectl take the others for mistakes.
        Flavor::V2 if preserves(&schema) => schema = json!({"type": "object"}),
        Flavor::V2 => {
            simplify(&mut schema);
            complete(&mut schema, flavor, true);
        }
        Flavor::V3 => complete(&mut schema, flavor, true),
    }
    schema["x-kubernetes-group-version-kind"] = json!([gvk_extension(resource, &resource.kind)]);
    let text = |description: &str| json!({"type": "string", "description": description});
    let list = json!({
        "description": format!("{} is a list of {}", resource.list_kind, resource.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text(API_VERSION),
            "items": {
                "description": format!("List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", resource.plural),
                "type": "array",
                "items": reference(&name, "", flavor),
            },
            "kind": text(KIND),
            "metadata": reference(LIST_META, "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds", flavor),
        },
        "x-kubernetes-group-version-kind": [gvk_extension(resource, &resource.list_kind)],
    });
    vec![(name.to_string(), schema), (format!("{name}List"), list)]
}

fn reference(name: &str, description: &str, flavor: Flavor) -> Value {
    let link = json!({"$ref": flavor.reference(name)});
    match (flavor, description) {
        (_, "") => link,
        (Flavor::V2, text) => json!({"description": text, "$ref": flavor.reference(name)}),
        (Flavor::V3, text) => json!({"description": text, "allOf": [link]}),
    }
}

fn preserves(schema: &Value) -> bool {
    schema["x-kubernetes-preserve-unknown-fields"] == true
}

/// Takes away what the older form, or kubectl with it, cannot say.
fn simplify(schema: &mut Value) {
    let preserves = preserves(schema);
    let Value::Object(map) = schema else { return };
    for key in ["allOf", "anyOf", "oneOf", "not"] {
        map.shift_remove(key);
    }
    let nullable = map.shift_remove("nullable") == Some(Value::Bool(true));
    if nullable || preserves {
        // Values without a type must have neither.
        map.shift_remove("items");
        map.shift_remove("properties");
    }
    let array_of_anything = map.get("type") == Some(&json!("array")) && !map.contains_key("items");
    let open_object = preserves && map.get("type") == Some(&json!("object"));
    if nullable || array_of_anything || open_object {
        map.shift_remove("type");
    }
    let is_nullable = |value: &Value| value["nullable"] == true;
    let nullables: Vec<Value> = object_of(map, "properties")
        .filter(|(_, value)| is_nullable(value))
        .map(|(name, _)| json!(name))
        .collect();
    if let Some(Value::Array(required)) = map.get_mut("required") {
        required.retain(|name| !nullables.contains(name));
    }
    let no_values_required = map.get("additionalProperties").is_some_and(is_nullable);
    if no_values_required || map.get("required") == Some(&json!([])) {
        map.shift_remove("required");
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(simplify);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            simplify(inner);
        }
    }
}

fn object_of<'a>(
    map: &'a Map<String, Value>,
    key: &str,
) -> impl Iterator<Item = (&'a String, &'a Value)> {
    map.get(key).and_then(Value::as_object).into_iter().flatten()
}

/// Adds what objects have to the root and to objects inside.
fn complete(schema: &mut Value, flavor: Flavor, root: bool) {
    let Value::Object(map) = schema else { return };
    let is = |key: &str| map.get(key) == Some(&Value::Bool(true));
    let open = flavor == Flavor::V2 && is("x-kubernetes-preserve-unknown-fields");
    let embedded = is("x-kubernetes-embedded-resource") && !open;
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        properties.values_mut().for_each(|value| complete(value, flavor, false));
    }
    for key in ["items", "additionalProperties"] {
        if let Some(inner) = map.get_mut(key) {
            complete(inner, flavor, false);
        }
    }
    if root || embedded {
        let properties = map.entry("properties").or_insert_with(|| Value::Object(Map::new()));
        let metadata = reference(
            OBJECT_META,
            "Standard object's metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
            flavor,
        );
        properties["apiVersion"] = json!({"type": "string", "description": API_VERSION});
        properties["kind"] = json!({"type": "string", "description": KIND});
        properties["metadata"] = metadata;
        if root {
            map.entry("type").or_insert_with(|| "object".into());
        } else if let Value::Array(required) = map.entry("required").or_insert_with(|| json!([])) {
            for name in ["kind", "apiVersion"].map(Value::from) {
                if !required.contains(&name) {
                    required.push(name);
                }
            }
        }
    }
}
