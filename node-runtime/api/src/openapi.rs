//! OpenAPI documents, made from the table when asked for: version 3 per group and version, version
//! 2 for all at once.
//!
//! Documents are written piece by piece into one buffer, so that making the largest one costs
//! little more than its size. Nothing is kept: the caller may cache by [`hash`].

mod descriptions;
mod paths;
mod schemas;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bytes::Bytes;
use minik_meta::gvk;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha512};

use crate::kinds::{VERSION, kinds};
use crate::resource::Resource;
use crate::schema::{SchemaRef, TypeId};
use descriptions::Descriptions;

/// Types that every version's document has: bodies and answers of its operations.
const COMMON: &[&str] = &[
    "io.k8s.apimachinery.pkg.apis.meta.v1.APIResourceList",
    "io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions",
    "io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Status",
    "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
];

const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Which of the two document formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavor {
    /// Swagger 2.0
    V2,
    /// OpenAPI 3.0
    V3,
}

impl Flavor {
    /// Where schemas are referred to.
    pub(crate) fn reference(self, name: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{name}"),
            Self::V3 => format!("#/components/schemas/{name}"),
        }
    }
}

/// The path of a version in the index: `api/v1`, `apis/apps/v1`.
pub fn v3_path(group: &str, version: &str) -> String {
    match group.is_empty() {
        true => format!("api/{version}"),
        false => format!("apis/{group}/{version}"),
    }
}

/// `/openapi/v3`: where each document is. `entries` are paths ([`v3_path`]) and hashes.
pub fn v3_index<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let mut paths = Map::new();
    for (path, hash) in entries {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path.to_owned(), json!({"serverRelativeURL": url}));
    }
    json!({"paths": paths})
}

/// A hash that changes when the built-in document of a path may have changed: also the ETag of
/// `/openapi/v2` (path `v2`).
pub fn hash(path: &str) -> String {
    let mut hasher = Sha512::new();
    hasher.update(tables());
    hasher.update(path);
    shown(hasher)
}

/// A digest of all that built-in documents are made of.
fn tables() -> &'static [u8] {
    static DIGEST: OnceLock<Vec<u8>> = OnceLock::new();
    DIGEST.get_or_init(|| {
        let mut hasher = Sha512::new();
        for part in [
            VERSION.as_bytes(),
            env!("CARGO_PKG_VERSION").as_bytes(),
            include_bytes!("../table/types-v1.36.txt"),
            include_bytes!("../table/kinds-v1.36.txt"),
        ] {
            hasher.update(part);
        }
        hasher.finalize().to_vec()
    })
}

fn shown(hasher: Sha512) -> String {
    let digest = hasher.finalize();
    digest[..32].iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Like [`hash`], for a document that custom resources are part of.
pub fn hash_with<'a>(path: &str, customs: impl IntoIterator<Item = &'a Resource>) -> String {
    let mut hasher = Sha512::new();
    hasher.update(hash(path));
    for resource in customs {
        let since = resource.custom.as_ref().map_or(0, |custom| custom.since);
        hasher.update(format!("{} {} {since}\n", resource.gvk(), resource.plural));
    }
    shown(hasher)
}

/// `/openapi/v3/api/v1`, `/openapi/v3/apis/GROUP/VERSION`: the document of these resources, which must
/// share a group and version.
pub fn v3_document(resources: &[&Resource]) -> Bytes {
    let descriptions = Descriptions::load();
    let mut out = Writer::default();
    out.open();
    out.entry("openapi", &"3.0.0".into());
    out.entry("info", &json!({"title": "Kubernetes", "version": VERSION}));
    out.key("paths");
    write_paths(&mut out, resources, Flavor::V3);
    out.key("components");
    out.open();
    out.key("schemas");
    write_schemas(&mut out, resources, &descriptions, Flavor::V3);
    out.entry("securitySchemes", &json!({"BearerToken": security_scheme()}));
    out.close();
    out.close();
    out.finish()
}

/// `/openapi/v2`: all built-in versions and `more` resources in one document.
pub fn v2<'a>(more: impl IntoIterator<Item = &'a Resource>) -> Bytes {
    let descriptions = Descriptions::load();
    let resources: Vec<&Resource> = kinds().all().iter().map(AsRef::as_ref).chain(more).collect();
    let mut out = Writer::default();
    out.open();
    out.entry("swagger", &"2.0".into());
    out.entry("info", &json!({"title": "Kubernetes", "version": VERSION}));
    out.key("paths");
    write_paths(&mut out, &resources, Flavor::V2);
    out.key("definitions");
    write_schemas(&mut out, &resources, &descriptions, Flavor::V2);
    out.entry("securityDefinitions", &json!({"BearerToken": security_scheme()}));
    out.entry("security", &json!([{"BearerToken": []}]));
    out.close();
    out.finish()
}

fn security_scheme() -> Value {
    json!({
        "description": "Bearer Token authentication", "type": "apiKey",
        "name": "authorization", "in": "header",
    })
}

fn write_paths(out: &mut Writer, resources: &[&Resource], flavor: Flavor) {
    out.open();
    for resource in resources {
        for (path, item) in paths::of(resource, flavor) {
            out.entry(&path, &item);
        }
    }
    out.close();
}

fn write_schemas(
    out: &mut Writer,
    resources: &[&Resource],
    descriptions: &Descriptions,
    flavor: Flavor,
) {
    out.open();
    let schema = kinds().schema();
    let bodies = paths::body_kinds(resources);
    let (customs, resources): (Vec<&Resource>, Vec<&Resource>) =
        resources.iter().partition(|one| one.custom.is_some());
    let mut roots: Vec<SchemaRef> = resources.iter().map(|one| one.schema.clone()).collect();
    roots.extend(bodies.iter().map(|one| one.schema.clone()));
    let ids = roots.iter().map(SchemaRef::id);
    let names = COMMON.iter().chain((!customs.is_empty()).then_some(&OBJECT_META));
    let common = names.filter_map(|name| schema.find(name));
    let reached: BTreeSet<TypeId> = schemas::reachable(schema, ids.chain(common));
    for id in reached {
        let kinds: Vec<Value> = resources
            .iter()
            .chain(&bodies)
            .filter(|one| one.schema.id() == id)
            .map(|one| gvk_extension(one, &one.kind))
            .collect();
        let (name, body) = schemas::of(schema, id, descriptions, kinds, flavor);
        out.entry(&name, &body);
    }
    for resource in customs {
        for (name, body) in crate::custom::openapi::schemas(resource, flavor) {
            out.entry(&name, &body);
        }
    }
    for resource in resources.iter().filter(|one| one.has_verb("list")) {
        let (name, body) = schemas::list_of(resource, flavor);
        out.entry(&name, &body);
    }
    for (name, body) in schemas::scalars(descriptions, flavor) {
        out.entry(name, &body);
    }
    out.close();
}

/// `x-kubernetes-group-version-kind` of a kind.
pub(crate) fn gvk_extension(resource: &Resource, kind: &str) -> Value {
    json!({"group": resource.group, "version": resource.version, "kind": kind})
}

/// `AppsV1`: a group and version inside operation names.
fn camel_version(group: &str, version: &str) -> String {
    let name = group.strip_suffix(".k8s.io").unwrap_or(group);
    let name = if name.is_empty() { "core" } else { name };
    name.split('.').chain([version]).map(capital).collect()
}

/// `apps_v1`: the tag of a group and version.
fn tag(group: &str, version: &str) -> String {
    let name = group.strip_suffix(".k8s.io").unwrap_or(group);
    let name = if name.is_empty() { "core" } else { name };
    format!("{}_{version}", lower_camel(name))
}

fn lower_camel(name: &str) -> String {
    let mut parts = name.split('.');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + &capital(part))
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

/// Base path of a version: `/api/v1`, `/apis/apps/v1`.
fn base_path(resource: &Resource) -> String {
    match resource.group.is_empty() {
        true => format!("/api/{}", resource.version),
        false => format!("/apis/{}", gvk::api_version(&resource.group, &resource.version)),
    }
}

/// Writes one JSON object at a time into a buffer.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
    comma: bool,
}

impl Writer {
    fn open(&mut self) {
        self.out.push(b'{');
        self.comma = false;
    }

    fn close(&mut self) {
        self.out.push(b'}');
        self.comma = true;
    }

    fn key(&mut self, key: &str) {
        if self.comma {
            self.out.push(b',');
        }
        serde_json::to_writer(&mut self.out, key).expect("writing to memory");
        self.out.push(b':');
        self.comma = false;
    }

    fn entry(&mut self, key: &str, value: &Value) {
        self.key(key);
        serde_json::to_writer(&mut self.out, value).expect("writing to memory");
        self.comma = true;
    }

    fn finish(mut self) -> Bytes {
        self.out.shrink_to_fit();
        self.out.into()
    }
}

#[cfg(test)]
mod tests;
