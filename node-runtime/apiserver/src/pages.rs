//! What is served besides resources: health, version, discovery, OpenAPI, keys.

mod health;

use bytes::Bytes;
use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use minik_api::discovery::{self, AggregatedVersion};
use minik_api::{Resource, openapi, protobuf};
use minik_meta::Status;
use serde_json::{Value, json};

use crate::aggregation::documents::{self, OpenApiV2};
use crate::body::{self, Body};
use crate::core::Core;
use crate::kinds::Kind;
use crate::negotiate::{self, Format};
use crate::route::{Page, Query};
use crate::{metrics, respond};

pub(crate) fn serve(
    core: &Core,
    page: &Page,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    match page {
        Page::Index => Ok(json(&index(core))),
        Page::Health { probe, check } => {
            let answer = health::serve(core, probe, check.as_deref(), query);
            Ok(answer.unwrap_or_else(respond::no_page))
        }
        Page::Version => Ok(json(&version())),
        Page::Metrics => Ok(figures(metrics::render(core))),
        Page::HealthMetrics => Ok(figures(metrics::render_health(&core.metrics))),
        Page::OpenApiV2 => {
            let media_type = openapi_v2_type(headers)?;
            let customs = core.kinds.customs();
            let refs = || customs.iter().map(AsRef::as_ref);
            let others = OpenApiV2::of(core);
            let path = format!("v2{}", others.tag());
            let etag = format!("\"{}\"", openapi::hash_with(&path, refs()));
            let json = || with_others(openapi::v2(refs()), &others);
            Ok(tagged(headers, &etag, media_type, || openapi_v2(media_type, json())))
        }
        Page::OpenApiV3 { group_version: None } => {
            let entries = openapi_entries(core);
            let entries = entries.iter().map(|(path, hash)| (path.as_str(), hash.as_str()));
            Ok(json(&openapi::v3_index(entries)))
        }
        Page::OpenApiV3 { group_version: Some(path) } => openapi_v3(core, path, query, headers),
        Page::OpenIdConfiguration => {
            let uri = format!("{}/openid/v1/jwks", core.tokens.issuer());
            Ok(json(&core.tokens.openid_configuration(&uri)))
        }
        Page::Jwks => {
            let keys = respond::write_json(&core.tokens.jwks());
            let kind = HeaderValue::from_static("application/jwk-set+json");
            Ok(respond::bytes(StatusCode::OK, kind, keys))
        }
        Page::Legacy | Page::Groups | Page::Group { .. } | Page::Resources { .. } => {
            discovery(core, page, headers)
        }
        Page::Fairness(dump) => {
            let details = query.non_empty("includeRequestDetails").is_some();
            Ok(respond::text(StatusCode::OK, core.fairness.dump(*dump, details)))
        }
        Page::WrongMethod => Err(Status::wrong_method()),
        Page::Unknown => Ok(respond::no_page()),
    }
}

fn json(value: &Value) -> Response<Body> {
    respond::value(StatusCode::OK, Format::Json, value)
}

fn index(core: &Core) -> Value {
    let mut paths = vec!["/.well-known/openid-configuration".to_owned(), "/api".to_owned()];
    paths.extend(["/api/v1".to_owned(), "/apis".to_owned()]);
    let groups = documents::groups(core);
    for group in groups.iter().filter(|group| !group.name.is_empty()) {
        paths.push(format!("/apis/{}", group.name));
        paths.extend(group.versions.iter().map(|one| format!("/apis/{}/{one}", group.name)));
    }
    let pages = ["healthz", "livez", "metrics", "openapi/v2", "openapi/v3", "openid/v1/jwks"];
    paths.extend(pages.iter().map(|page| format!("/{page}")));
    paths.extend(["/readyz", "/version"].map(str::to_owned));
    paths.sort();
    json!({"paths": paths})
}

fn version() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": minik_api::kinds::VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, architecture()),
    })
}

fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn figures(text: String) -> Response<Body> {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    respond::bytes(StatusCode::OK, kind, text.into())
}

/// A document with its tag; clients that have it already get 304.
fn tagged(
    headers: &HeaderMap,
    etag: &str,
    content_type: &str,
    make: impl FnOnce() -> Bytes,
) -> Response<Body> {
    let known = headers.get(IF_NONE_MATCH).and_then(|tag| tag.to_str().ok());
    let mut response = if known == Some(etag) {
        let mut response = Response::new(body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let kind = HeaderValue::from_str(content_type);
        let kind = kind.unwrap_or(HeaderValue::from_static("application/json"));
        respond::bytes(StatusCode::OK, kind, make())
    };
    if let Ok(tag) = HeaderValue::from_str(etag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// JSON or protobuf, as the client prefers.
fn openapi_v2_type(headers: &HeaderMap) -> Result<&'static str, Status> {
    const JSON: &str = "application/json";
    let clauses = negotiate::clauses(headers);
    if clauses.is_empty() {
        return Ok(JSON);
    }
    let known = |media_type: &str| match media_type {
        JSON | "application/*" | "*/*" => Some(JSON),
        // The second name is from before the first was found to be no valid media type.
        protobuf::OPENAPI_V2 | "application/com.github.proto-openapi.spec.v2@v1.0+protobuf" => {
            Some(protobuf::OPENAPI_V2)
        }
        _ => None,
    };
    let found = clauses.iter().find_map(|clause| known(clause.media_type));
    found.ok_or_else(|| Status::not_acceptable(&[JSON, protobuf::OPENAPI_V2]))
}

/// The document with what other servers serve.
fn with_others(ours: Bytes, others: &OpenApiV2) -> Bytes {
    if others.tag().is_empty() {
        return ours;
    }
    let Ok(mut document) = serde_json::from_slice(&ours) else { return ours };
    others.merge_into(&mut document);
    serde_json::to_vec(&document).map_or(ours, Bytes::from)
}

fn openapi_v2(media_type: &str, json: Bytes) -> Bytes {
    if media_type != protobuf::OPENAPI_V2 {
        return json;
    }
    serde_json::from_slice(&json)
        .map(|document| protobuf::openapi_v2(&document).into())
        .unwrap_or(json)
}

/// The document of one group version, `api/v1` or `apis/apps/v1`.
fn openapi_v3(
    core: &Core,
    path: &str,
    query: &Query,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let (group, version) = match path.split('/').collect::<Vec<_>>().as_slice() {
        ["api", version] => (String::new(), (*version).to_owned()),
        ["apis", group, version] => ((*group).to_owned(), (*version).to_owned()),
        _ => return Err(Status::not_found_path()),
    };
    let kinds = core.kinds.in_version(&group, &version);
    if kinds.is_empty() {
        return Err(Status::not_found_path());
    }
    let hash = openapi_hash(path, &kinds);
    let refs: Vec<&Resource> = kinds.iter().map(AsRef::as_ref).collect();
    let make = || openapi::v3_document(&refs);
    let mut response = tagged(headers, &format!("\"{hash}\""), "application/json", make);
    // Under its hash a document never changes: clients may keep it.
    if query.get("hash") == Some(hash.as_str()) {
        let forever = HeaderValue::from_static("public, immutable");
        response.headers_mut().insert(http::header::CACHE_CONTROL, forever);
    }
    Ok(response)
}

/// Paths and hashes of all documents.
fn openapi_entries(core: &Core) -> Vec<(String, String)> {
    let mut entries = Vec::new();
    let others = documents::openapi_v3(core);
    for group in core.kinds.groups() {
        for version in &group.versions {
            let path = openapi::v3_path(&group.name, version);
            let hash = openapi_hash(&path, &core.kinds.in_version(&group.name, version));
            if !others.contains_key(&path) {
                entries.push((path, hash));
            }
        }
    }
    entries.extend(others.into_iter().filter(|(_, hash)| !hash.is_empty()));
    entries
}

fn openapi_hash(path: &str, kinds: &[Kind]) -> String {
    let customs: Vec<&Resource> =
        kinds.iter().map(AsRef::as_ref).filter(|kind: &&Resource| kind.custom.is_some()).collect();
    match customs.is_empty() {
        true => openapi::hash(path),
        false => openapi::hash_with(path, customs),
    }
}

fn hash(bytes: &[u8]) -> u64 {
    use std::hash::Hasher;
    let mut hasher = std::hash::DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Discovery: aggregated for clients that ask for it, else one document per level.
fn discovery(core: &Core, page: &Page, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let server = format!("{}:{}", core.config.advertise_address, core.config.advertise_port);
    let value = match page {
        Page::Legacy | Page::Groups => {
            if let Some(form) = aggregated_form(headers) {
                return Ok(aggregated(core, page, form, headers));
            }
            match page {
                Page::Legacy => discovery::core_versions(&server),
                _ => discovery::group_list(&documents::groups(core)),
            }
        }
        Page::Group { group: name } => {
            let groups = documents::groups(core);
            let found = groups.iter().find(|group| group.name == *name);
            discovery::group(found.ok_or_else(Status::not_found_path)?)
        }
        Page::Resources { group, version } => {
            let kinds = core.kinds.in_version(group, version);
            if kinds.is_empty() {
                return Err(Status::not_found_path());
            }
            discovery::resource_list(group, version, kinds.iter().map(AsRef::as_ref))
        }
        _ => return Err(Status::not_found_path()),
    };
    Ok(json(&value))
}

/// The first form of aggregated discovery the client takes, if it prefers that to the old one.
fn aggregated_form(headers: &HeaderMap) -> Option<AggregatedVersion> {
    let clauses = negotiate::clauses(headers);
    let clause = clauses.iter().find(|clause| clause.media_type == "application/json")?;
    if clause.parameter("as") != "APIGroupDiscoveryList" {
        return None;
    }
    match (clause.parameter("g"), clause.parameter("v")) {
        ("apidiscovery.k8s.io", "v2") => Some(AggregatedVersion::V2),
        ("apidiscovery.k8s.io", "v2beta1") => Some(AggregatedVersion::V2Beta1),
        _ => None,
    }
}

fn aggregated(
    core: &Core,
    page: &Page,
    form: AggregatedVersion,
    headers: &HeaderMap,
) -> Response<Body> {
    let legacy = *page == Page::Legacy;
    let (groups, kinds) = (documents::groups(core), core.kinds.all());
    let groups = groups.iter().filter(|group| group.name.is_empty() == legacy);
    let resources: Vec<&Resource> = kinds.iter().map(AsRef::as_ref).collect();
    let mut list = discovery::aggregated(form, groups, &resources);
    if !legacy {
        documents::complete(core, &mut list);
    }
    let list = respond::write_json(&list);
    let content_type = format!(
        "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList",
        form.as_str()
    );
    let etag = format!("\"{:016X}\"", hash(&list));
    let mut response = tagged(headers, &etag, &content_type, || list);
    response.headers_mut().insert(http::header::VARY, HeaderValue::from_static("Accept"));
    response
}
