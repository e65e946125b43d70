//! What is served besides resources: health, version, discovery, OpenAPI, keys.

use http::header::{ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use minik_meta::Status;
use serde_json::{Value, json};

use crate::body::{self, Body};
use crate::core::Core;
use crate::negotiate::{self, Format};
use crate::respond;
use crate::route::Page;

pub(crate) fn serve(
    core: &Core,
    page: &Page,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    match page {
        Page::Index => Ok(json(&index(core))),
        Page::Health { probe, check } => health(core, probe, check.as_deref(), headers),
        Page::Version => Ok(json(&version())),
        Page::Metrics => Ok(metrics(core)),
        Page::OpenApiV2 => Ok(tagged(headers, crate::shim::openapi::v2())),
        Page::OpenApiV3 { group_version: None } => {
            Ok(tagged(headers, crate::shim::openapi::v3_index()))
        }
        Page::OpenApiV3 { group_version: Some(path) } => {
            let document = crate::shim::openapi::v3_group(path);
            document.map(|document| tagged(headers, document)).ok_or_else(Status::not_found_path)
        }
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
        Page::Unknown => Err(Status::not_found_path()),
    }
}

fn json(value: &Value) -> Response<Body> {
    respond::value(StatusCode::OK, Format::Json, value)
}

fn index(core: &Core) -> Value {
    let mut paths = vec!["/.well-known/openid-configuration".to_owned(), "/api".to_owned()];
    paths.extend(["/api/v1".to_owned(), "/apis".to_owned()]);
    for group in core.kinds.table().groups().iter().filter(|group| !group.name.is_empty()) {
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

/// The checks behind the health pages: their names, and whether each holds.
fn checks(core: &Core, probe: &str) -> Vec<(&'static str, bool)> {
    let mut checks = vec![("ping", true), ("etcd", core.store.revision().0 > 0)];
    if probe != "livez" {
        checks.push(("poststarthook/rbac/bootstrap-roles", core.store.revision().0 > 0));
    }
    if probe == "readyz" {
        checks.push(("shutdown", !core.draining().is_cancelled()));
    }
    checks
}

fn health(
    core: &Core,
    probe: &str,
    check: Option<&str>,
    headers: &HeaderMap,
) -> Result<Response<Body>, Status> {
    let checks = checks(core, probe);
    if let Some(name) = check {
        let found = checks.iter().find(|(known, _)| *known == name);
        let (_, good) = found.ok_or_else(Status::not_found_path)?;
        return Ok(verdict(*good, "ok".to_owned()));
    }
    let good = checks.iter().all(|(_, good)| *good);
    let verbose = headers.get("x-minik-verbose").is_some();
    if good && !verbose {
        return Ok(verdict(true, "ok".to_owned()));
    }
    let mut text = String::new();
    for (name, good) in &checks {
        let line = match good {
            true => format!("[+]{name} ok\n"),
            false => format!("[-]{name} failed: reason withheld\n"),
        };
        text += &line;
    }
    text += &format!("{probe} check {}\n", if good { "passed" } else { "failed" });
    Ok(verdict(good, text))
}

fn verdict(good: bool, text: String) -> Response<Body> {
    let code = if good { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    respond::text(code, text)
}

fn metrics(core: &Core) -> Response<Body> {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    respond::bytes(StatusCode::OK, kind, core.metrics.render(&core.store).into())
}

/// A prebuilt document with its tag; clients that have it get 304.
fn tagged(headers: &HeaderMap, document: &crate::shim::Document) -> Response<Body> {
    let same = headers.get(IF_NONE_MATCH).is_some_and(|tag| tag.as_bytes() == document.etag.as_bytes());
    let mut response = match same {
        true => {
            let mut response = Response::new(body::empty());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        }
        false => {
            let kind = HeaderValue::from_str(&document.content_type);
            let kind = kind.unwrap_or(HeaderValue::from_static("application/json"));
            respond::bytes(StatusCode::OK, kind, document.bytes.clone())
        }
    };
    if let Ok(tag) = HeaderValue::from_str(&document.etag) {
        response.headers_mut().insert(ETAG, tag);
    }
    response
}

/// Discovery: aggregated for clients that ask for it, else one document per level.
fn discovery(core: &Core, page: &Page, headers: &HeaderMap) -> Result<Response<Body>, Status> {
    let _ = (headers, negotiate::clauses(headers));
    let found = match page {
        Page::Legacy => Some(crate::shim::discovery::versions(&core.config.advertise_address.to_string())),
        Page::Groups => Some(crate::shim::discovery::groups(core.kinds.table())),
        Page::Group { group } => crate::shim::discovery::group(core.kinds.table(), group),
        Page::Resources { group, version } => {
            crate::shim::discovery::resources(core.kinds.table(), group, version)
        }
        _ => None,
    };
    found.map(|value| json(&value)).ok_or_else(Status::not_found_path)
}
