//! From bytes to an object that fits its kind: parsed, typed, pruned, with nothing unknown left.
//!
//! Words of errors and warnings are upstream's: clients show and match them.

mod conform;
pub(crate) mod octets;
mod parse;

pub(crate) use conform::metadata;

use minik_meta::{GroupVersion, Status, object};
use serde_json::Value;

use crate::resource::Resource;

/// Largest body that is decoded.
pub const BODY_MAX: usize = 3 * 1024 * 1024;

/// What clients are told about fields that were ignored or given twice.
pub type Warnings = Vec<String>;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentType {
    /// `application/json`
    Json,
    /// `application/yaml`
    Yaml,
}

/// What happens with unknown and duplicate fields.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FieldValidation {
    /// They are dropped.
    Ignore,
    /// They are dropped with a warning: the default.
    #[default]
    Warn,
    /// The request fails.
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter; absent means the default.
    pub fn from_query(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("" | "Warn") => Ok(Self::Warn),
            Some("Ignore") => Ok(Self::Ignore),
            Some("Strict") => Ok(Self::Strict),
            Some(other) => Err(Status::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"\", \
                 \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// Decodes a body as an object of `resource`. A missing `apiVersion` and `kind` are filled in, other
/// ones refused. Nulls and unknown fields are gone afterwards; defaults are not yet applied.
pub fn decode(
    resource: &Resource,
    bytes: &[u8],
    content: ContentType,
    validation: FieldValidation,
) -> Result<(Value, Warnings), Status> {
    let parsed = document(bytes, content).map_err(|why| {
        Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get \
             version/kind; json parse error: {why} ({})",
            resource.kind,
            summary(bytes)
        ))
    })?;
    let mut value = parsed.value;
    check_kind(resource, &mut value)?;
    // Custom resources have no typed reader that would meet all objections on its one way.
    let text = (content == ContentType::Json && resource.custom.is_none()).then_some(bytes);
    let warnings = finish(resource, &mut value, parsed.duplicates, text, validation)?;
    Ok((value, warnings))
}

/// Parses any JSON or YAML body without a schema, for patches. Duplicate keys come back as
/// `duplicate field "…"`.
pub fn decode_any(bytes: &[u8], content: ContentType) -> Result<(Value, Warnings), Status> {
    let parsed = document(bytes, content)
        .map_err(|why| Status::bad_request(format!("error decoding patch: {why}")))?;
    Ok((parsed.value, parsed.duplicates))
}

/// Makes a value fit `resource` again, for instance after a patch: types are checked, nulls and
/// unknown fields removed. `apiVersion` and `kind` must be the resource's own.
pub fn conform(
    resource: &Resource,
    value: &mut Value,
    validation: FieldValidation,
) -> Result<Warnings, Status> {
    check_kind(resource, value)?;
    finish(resource, value, Vec::new(), None, validation)
}

fn document(bytes: &[u8], content: ContentType) -> Result<parse::Parsed, String> {
    if bytes.len() > BODY_MAX {
        return Err(format!("body of {} bytes is over the limit of {BODY_MAX}", bytes.len()));
    }
    match content {
        ContentType::Json => parse::json(bytes),
        ContentType::Yaml => parse::yaml(bytes),
    }
}

/// The start of a body as upstream shows it in errors.
fn summary(bytes: &[u8]) -> String {
    const SHOWN: usize = 30;
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(SHOWN)]);
    match bytes.len() {
        0 => "empty data".to_owned(),
        1..=SHOWN => minik_meta::field::go_quote(&text),
        _ => format!("{} ...", minik_meta::field::go_quote(&text)),
    }
}

fn check_kind(resource: &Resource, value: &mut Value) -> Result<(), Status> {
    let api_version = resource.api_version();
    let Some(map) = value.as_object_mut() else {
        return Err(Status::bad_request(format!(
            "the object provided is unrecognized (must be of type {}): couldn't get \
             version/kind; json parse error: json: cannot unmarshal {} into Go value of type \
             struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \
             \"json:\\\"kind,omitempty\\\"\" }}",
            resource.kind,
            conform::json_name(value),
        )));
    };
    for (key, own) in [("apiVersion", api_version.as_str()), ("kind", &resource.kind)] {
        match map.get(key) {
            None | Some(Value::Null) => {
                map.insert(key.to_owned(), own.into());
            }
            Some(Value::String(text)) if text.is_empty() => {
                map.insert(key.to_owned(), own.into());
            }
            Some(_) => {}
        }
    }
    let kind = object::text(value, &["kind"]);
    let found = object::text(value, &["apiVersion"]);
    if kind != resource.kind {
        let version = GroupVersion::parse(found).unwrap_or_default();
        return Err(Status::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: the kind in the data ({kind}) does \
             not match the expected kind ({})",
            version.version, resource.kind, resource.kind
        )));
    }
    // Options are sent with the version of whatever they are for.
    if found != api_version && resource.kind != "DeleteOptions" {
        return Err(Status::bad_request(format!(
            "the API version in the data ({found}) does not match the expected API version \
             ({api_version})"
        )));
    }
    Ok(())
}

fn finish(
    resource: &Resource,
    value: &mut Value,
    mut strict: Vec<String>,
    json: Option<&[u8]>,
    validation: FieldValidation,
) -> Result<Warnings, Status> {
    let cannot = |why: &str| {
        Status::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: {why}",
            resource.kind, resource.version, resource.kind
        ))
    };
    let unknown = match &resource.custom {
        Some(custom) => crate::custom::conform(custom, value),
        None => conform::conform(&resource.schema, value),
    };
    let unknown = unknown.map_err(|why| cannot(&why))?;
    let mixed = !strict.is_empty() && !unknown.is_empty();
    strict.extend(unknown);
    if let (true, Some(text)) = (mixed, json) {
        parse::in_order(text, &mut strict);
    }
    match validation {
        FieldValidation::Ignore => Ok(Vec::new()),
        FieldValidation::Warn => Ok(strict),
        FieldValidation::Strict if strict.is_empty() => Ok(Vec::new()),
        FieldValidation::Strict => {
            Err(cannot(&format!("strict decoding error: {}", strict.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;
    use crate::kinds::kinds;

    fn check(kind: &str, body: &str, expected: Expect) {
        let group = if kind == "Deployment" { "apps" } else { "" };
        let resource = kinds().by_kind(group, "v1", kind).unwrap();
        let content = if body.starts_with(['{', '[', '"']) || body.is_empty() {
            ContentType::Json
        } else {
            ContentType::Yaml
        };
        let say = |validation| match decode(resource, body.as_bytes(), content, validation) {
            Ok((value, warnings)) => format!("{value} {warnings:?}"),
            Err(status) => format!("{}: {}", status.code, status.message),
        };
        let (warn, strict) = (say(FieldValidation::Warn), say(FieldValidation::Strict));
        let both = if warn == strict { warn } else { format!("{warn}\n{strict}") };
        expected.assert_eq(&both);
    }

    #[test]
    fn bytes_are_text_or_numbers() {
        check(
            "ConfigMap",
            r#"{"binaryData":{"a":[104,105],"b":"YW\nJj"}}"#,
            expect![[
                r#"{"binaryData":{"a":"aGk=","b":"YWJj"},"apiVersion":"v1","kind":"ConfigMap"} []"#
            ]],
        );
        check(
            "ConfigMap",
            r#"{"binaryData":{"a":[104,300]}}"#,
            expect![[
                r#"400: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number 300 into Go struct field ConfigMap.binaryData of type uint8"#
            ]],
        );
        check(
            "ConfigMap",
            r#"{"binaryData":{"a":["h"]}}"#,
            expect![[
                r#"400: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal string into Go struct field ConfigMap.binaryData of type uint8"#
            ]],
        );
        check(
            "ConfigMap",
            r#"{"binaryData":{"a":7}}"#,
            expect![[
                r#"400: ConfigMap in version "v1" cannot be handled as a ConfigMap: json: cannot unmarshal number into Go struct field ConfigMap.binaryData of type []uint8"#
            ]],
        );
    }

    #[test]
    fn what_fits_is_taken() {
        check(
            "ConfigMap",
            r#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#,
            expect![[
                r#"{"metadata":{"name":"a"},"data":{"k":"v"},"apiVersion":"v1","kind":"ConfigMap"} []"#
            ]],
        );
        check(
            "Pod",
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec:\n  containers:\n  - name: c\n    \
             image: x\n    ports: [{containerPort: 0x50}]\n",
            expect![[
                r#"{"apiVersion":"v1","kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","image":"x","ports":[{"containerPort":80}]}]}} []"#
            ]],
        );
    }

    #[test]
    fn unknown_and_duplicate_fields() {
        check(
            "Deployment",
            r#"{"spec":{"foo":1,"replicas":1,"replicas":2,"template":{"spec":{"containers":[{"name":"a","imagee":"x"}]}}}}"#,
            expect![[r#"
                {"spec":{"replicas":2,"template":{"spec":{"containers":[{"name":"a"}]}}},"apiVersion":"apps/v1","kind":"Deployment"} ["unknown field \"spec.foo\"", "duplicate field \"spec.replicas\"", "unknown field \"spec.template.spec.containers[0].imagee\""]
                400: Deployment in version "v1" cannot be handled as a Deployment: strict decoding error: unknown field "spec.foo", duplicate field "spec.replicas", unknown field "spec.template.spec.containers[0].imagee""#]],
        );
    }

    #[test]
    fn duplicate_keys_of_yaml_are_told_by_line() {
        check(
            "ConfigMap",
            "metadata:\n  name: a\ndata:\n  k: v\n  k: w\n  l: x\nextra: 1\nmetadata:\n  name: b\n",
            expect![[r#"
                {"metadata":{"name":"b"},"data":{"k":"w","l":"x"},"apiVersion":"v1","kind":"ConfigMap"} ["yaml: unmarshal errors:\n  line 5: key \"k\" already set in map\n  line 9: key \"metadata\" already set in map", "unknown field \"extra\""]
                400: ConfigMap in version "v1" cannot be handled as a ConfigMap: strict decoding error: yaml: unmarshal errors:
                  line 5: key "k" already set in map
                  line 9: key "metadata" already set in map, unknown field "extra""#]],
        );
    }

    #[test]
    fn nulls_are_dropped() {
        check(
            "Pod",
            r#"{"metadata":{"creationTimestamp":null,"labels":{"a":null}},"spec":{"containers":null}}"#,
            expect![[
                r#"{"metadata":{"labels":{"a":""}},"spec":{},"apiVersion":"v1","kind":"Pod"} []"#
            ]],
        );
    }

    #[test]
    fn wrong_types() {
        check(
            "Deployment",
            r#"{"spec":{"replicas":"three"}}"#,
            expect![[
                r#"400: Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"#
            ]],
        );
        check(
            "Deployment",
            r#"{"spec":{"template":{"spec":{"containers":[{"env":[{"name":"A","value":1}]}]}}}}"#,
            expect![[
                r#"400: Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number into Go struct field EnvVar.spec.template.spec.containers.env.value of type string"#
            ]],
        );
        check(
            "Pod",
            r#"{"spec":{"containers":{"name":"a"}}}"#,
            expect![[
                r#"400: Pod in version "v1" cannot be handled as a Pod: json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type []v1.Container"#
            ]],
        );
        check(
            "Deployment",
            r#"{"spec":{"replicas":1.5}}"#,
            expect![[
                r#"400: Deployment in version "v1" cannot be handled as a Deployment: json: cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas of type int32"#
            ]],
        );
        check(
            "Pod",
            r#"{"spec":{"containers":[{"resources":{"limits":{"cpu":"lots"}}}]}}"#,
            expect![[
                r#"400: Pod in version "v1" cannot be handled as a Pod: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"#
            ]],
        );
        check(
            "Secret",
            r#"{"kind":"Secret","data":{"a":"not base64!"}}"#,
            expect![
                "400: Secret in version \"v1\" cannot be handled as a Secret: illegal base64 data at input byte 3"
            ],
        );
    }

    #[test]
    fn wrong_kinds_and_broken_bodies() {
        check(
            "Pod",
            r#"{"kind":"Service","apiVersion":"v1"}"#,
            expect![[
                r#"400: Service in version "v1" cannot be handled as a Pod: the kind in the data (Service) does not match the expected kind (Pod)"#
            ]],
        );
        check(
            "Deployment",
            r#"{"kind":"Deployment","apiVersion":"apps/v1beta1"}"#,
            expect![
                "400: the API version in the data (apps/v1beta1) does not match the expected API version (apps/v1)"
            ],
        );
        check(
            "Pod",
            r#"{"kind":"#,
            expect![[
                r#"400: the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input ("{\"kind\":")"#
            ]],
        );
        check(
            "Pod",
            "",
            expect![
                "400: the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: unexpected end of JSON input (empty data)"
            ],
        );
        check(
            "Pod",
            "[]",
            expect![[
                r#"400: the object provided is unrecognized (must be of type Pod): couldn't get version/kind; json parse error: json: cannot unmarshal array into Go value of type struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#
            ]],
        );
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
        let resource = kinds().by_kind("", "v1", "ConfigMap").unwrap();
        let result = decode(resource, deep.as_bytes(), ContentType::Json, FieldValidation::Ignore);
        assert_eq!(result.unwrap_err().code, 400);
        let yaml = format!("a: {}", "[".repeat(5000));
        assert!(
            decode(resource, yaml.as_bytes(), ContentType::Yaml, FieldValidation::Ignore).is_err()
        );
    }
}
