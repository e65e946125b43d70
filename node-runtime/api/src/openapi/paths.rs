//! The operations on a resource as OpenAPI paths.

use serde_json::{Map, Value, json};

use super::{Flavor, base_path, camel_version, capital, gvk_extension, tag};
use crate::kinds::kinds;
use crate::resource::{Resource, Subresource};
use crate::schema::Text;

const STATUS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const DELETE_OPTIONS: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH_TYPES: &[&str] = &[
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/apply-patch+yaml",
    "application/strategic-merge-patch+json",
];

/// Query parameters: name, type.
type Parameters = &'static [(&'static str, &'static str)];

const LIST: Parameters = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE: Parameters =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH: Parameters = &[
    ("dryRun", "string"),
    ("fieldManager", "string"),
    ("fieldValidation", "string"),
    ("force", "boolean"),
];
const DELETE: Parameters = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

/// One operation before it is put into either format.
struct Operation {
    verb: &'static str,
    method: &'static str,
    /// First word of its id: `list`, `read`, `create`, …
    word: &'static str,
    parameters: Parameters,
    /// Definition of the request body.
    body: Option<Text>,
    /// Definition of the answer.
    answer: Text,
    /// What follows the kind in its id.
    suffix: String,
    /// Kind in its extension.
    kind: Value,
    namespaced: bool,
}

/// All paths of a resource with their operations.
pub(super) fn of(resource: &Resource, flavor: Flavor) -> Vec<(String, Value)> {
    let base = base_path(resource);
    let plural = &resource.plural;
    let place = match resource.namespaced {
        true => format!("{base}/namespaces/{{namespace}}/{plural}"),
        false => format!("{base}/{plural}"),
    };
    let mut paths = Vec::new();
    if resource.namespaced && resource.has_verb("list") {
        let all = format!("{base}/{plural}");
        paths.push((all, item(resource, list_everywhere(resource), &[], flavor)));
    }
    let scope: &[&str] = if resource.namespaced { &["namespace"] } else { &[] };
    let collection = collection(resource);
    if !collection.is_empty() {
        paths.push((place.clone(), item(resource, collection, scope, flavor)));
    }
    let named: Vec<&str> = ["name"].iter().chain(scope).copied().collect();
    let single = single(resource);
    if !single.is_empty() {
        paths.push((format!("{place}/{{name}}"), item(resource, single, &named, flavor)));
    }
    for sub in &resource.subresources {
        let operations = subresource(resource, sub);
        let path = format!("{place}/{{name}}/{}", sub.name);
        paths.push((path, item(resource, operations, &named, flavor)));
    }
    paths
}

/// Kinds that only occur as bodies of subresources of these resources.
pub(super) fn body_kinds<'a>(resources: &[&'a Resource]) -> Vec<&'a Resource> {
    let mut found: Vec<&Resource> = Vec::new();
    for sub in resources.iter().flat_map(|one| &one.subresources) {
        if let Some(body) = kinds().body(&sub.group, &sub.version, &sub.kind)
            && !found.iter().any(|one| std::ptr::eq(*one, body.as_ref()))
        {
            found.push(body);
        }
    }
    found
}

fn operation(resource: &Resource, verb: &'static str) -> Operation {
    let (method, word, parameters): (_, _, Parameters) = match verb {
        "list" => ("get", "list", LIST),
        "get" => ("get", "read", &[]),
        "create" => ("post", "create", WRITE),
        "update" => ("put", "replace", WRITE),
        "patch" => ("patch", "patch", PATCH),
        "delete" => ("delete", "delete", DELETE),
        _ => ("delete", "deleteCollection", LIST),
    };
    let own = resource.definition();
    let body = match verb {
        "create" | "update" | "patch" => Some(own.clone()),
        "delete" | "deletecollection" => Some(DELETE_OPTIONS.into()),
        _ => None,
    };
    let answer = match verb {
        "delete" | "deletecollection" => STATUS.into(),
        _ => own,
    };
    Operation {
        verb,
        method,
        word,
        parameters,
        body,
        answer,
        suffix: String::new(),
        kind: gvk_extension(resource, &resource.kind),
        namespaced: resource.namespaced,
    }
}

fn list_everywhere(resource: &Resource) -> Vec<Operation> {
    let mut list = operation(resource, "list");
    list.namespaced = false;
    list.suffix = "ForAllNamespaces".to_owned();
    vec![list]
}

fn collection(resource: &Resource) -> Vec<Operation> {
    let verbs = ["list", "create", "deletecollection"];
    verbs
        .into_iter()
        .filter(|verb| resource.has_verb(verb))
        .map(|verb| operation(resource, verb))
        .collect()
}

fn single(resource: &Resource) -> Vec<Operation> {
    let verbs = ["get", "update", "patch", "delete"];
    verbs
        .into_iter()
        .filter(|verb| resource.has_verb(verb))
        .map(|verb| operation(resource, verb))
        .collect()
}

fn subresource(resource: &Resource, sub: &Subresource) -> Vec<Operation> {
    let table = kinds();
    let body = table
        .body(&sub.group, &sub.version, &sub.kind)
        .or_else(|| table.by_kind(&sub.group, &sub.version, &sub.kind));
    let definition = body.map(|one| one.schema.root().name.clone());
    let own = sub.kind == resource.kind;
    ["get", "create", "update", "patch", "delete"]
        .into_iter()
        .filter(|verb| sub.verbs.iter().any(|one| one == verb))
        .map(|verb| {
            let mut one = operation(resource, verb);
            let connect = definition.is_none() && !own;
            if connect {
                (one.verb, one.body, one.parameters) = ("connect", None, &[]);
            }
            if let Some(definition) = &definition {
                one.body = one.body.map(|_| definition.clone());
                one.answer = definition.clone();
            } else if own {
                one.answer = resource.definition();
            }
            one.suffix = capital(&sub.name);
            one.kind = json!({"group": sub.group, "version": sub.version, "kind": sub.kind});
            one
        })
        .collect()
}

/// The path item of some operations, with the parameters they share.
fn item(
    resource: &Resource,
    operations: Vec<Operation>,
    in_path: &[&str],
    flavor: Flavor,
) -> Value {
    let mut map = Map::new();
    for one in &operations {
        map.insert(one.method.to_owned(), describe(resource, one, flavor));
    }
    let path_parameter = |name: &&str| match flavor {
        Flavor::V2 => json!({
            "name": name, "in": "path", "required": true, "type": "string", "uniqueItems": true,
        }),
        Flavor::V3 => json!({
            "name": name, "in": "path", "required": true,
            "schema": {"type": "string", "uniqueItems": true},
        }),
    };
    let mut shared: Vec<Value> = in_path.iter().map(path_parameter).collect();
    shared.push(query_parameter("pretty", "string", flavor));
    map.insert("parameters".into(), shared.into());
    Value::Object(map)
}

fn query_parameter(name: &str, kind: &str, flavor: Flavor) -> Value {
    match flavor {
        Flavor::V2 => json!({"name": name, "in": "query", "type": kind, "uniqueItems": true}),
        Flavor::V3 => json!({
            "name": name, "in": "query", "schema": {"type": kind, "uniqueItems": true},
        }),
    }
}

fn describe(resource: &Resource, one: &Operation, flavor: Flavor) -> Value {
    let version = camel_version(&resource.group, &resource.version);
    let namespaced = if one.namespaced { "Namespaced" } else { "" };
    let id = match one.verb {
        "connect" => format!(
            "connect{version}{}{namespaced}{}{}",
            capital(one.method),
            resource.kind,
            one.suffix
        ),
        _ => format!("{}{version}{namespaced}{}{}", one.word, resource.kind, one.suffix),
    };
    let action = match one.verb {
        "create" => "post",
        "update" => "put",
        verb => verb,
    };
    let mut parameters: Vec<Value> =
        one.parameters.iter().map(|(name, kind)| query_parameter(name, kind, flavor)).collect();
    let mut map = Map::from_iter([
        ("tags".to_owned(), json!([tag(&resource.group, &resource.version)])),
        ("operationId".to_owned(), id.into()),
    ]);
    // A list answers with the list of the kind, which is named after it.
    let answer = match one.verb {
        "list" => format!("{}List", one.answer),
        _ => one.answer.to_string(),
    };
    let answers = answers(&answer, one, flavor);
    match (flavor, &one.body) {
        (_, None) => {}
        (Flavor::V2, Some(body)) => parameters.push(json!({
            "name": "body", "in": "body", "required": one.verb != "delete",
            "schema": body_schema(one, body, flavor),
        })),
        (Flavor::V3, Some(body)) => {
            let schema = json!({"schema": body_schema(one, body, flavor)});
            let types = if one.verb == "patch" { patch_types(resource) } else { &["*/*"] };
            let content: Map<String, Value> =
                types.iter().map(|kind| ((*kind).to_owned(), schema.clone())).collect();
            map.insert("requestBody".into(), json!({"content": content}));
        }
    }
    if flavor == Flavor::V2 {
        let consumes = if one.verb == "patch" { patch_types(resource) } else { &["*/*"] };
        map.insert("consumes".into(), json!(consumes));
        map.insert("produces".into(), json!(["application/json", "application/yaml"]));
    }
    map.insert("parameters".into(), parameters.into());
    map.insert("responses".into(), answers);
    map.insert("x-kubernetes-action".into(), action.into());
    map.insert("x-kubernetes-group-version-kind".into(), one.kind.clone());
    Value::Object(map)
}

/// Strategic merge needs types that were made for it.
fn patch_types(resource: &Resource) -> &'static [&'static str] {
    if resource.custom.is_some() { &PATCH_TYPES[..3] } else { PATCH_TYPES }
}

/// Patches may look like anything; all other bodies are what they say.
fn body_schema(one: &Operation, body: &str, flavor: Flavor) -> Value {
    match one.verb {
        "patch" => json!({"type": "object"}),
        _ => json!({"$ref": flavor.reference(body)}),
    }
}

fn answers(answer: &str, one: &Operation, flavor: Flavor) -> Value {
    let schema = match one.verb {
        "connect" => json!({"type": "string"}),
        _ => json!({"$ref": flavor.reference(answer)}),
    };
    let with = |schema: Value| match flavor {
        Flavor::V2 => json!({"description": "OK", "schema": schema}),
        Flavor::V3 => json!({"description": "OK", "content": {
            "application/json": {"schema": schema},
        }}),
    };
    json!({"200": with(schema), "401": {"description": "Unauthorized"}})
}
