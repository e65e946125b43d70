//! Definitions that are refused, and the status of those that are not.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::custom::tests::definition;

#[track_caller]
fn refused(change: impl FnOnce(&mut Value), expected: Expect) {
    let mut new = definition(json!({"type": "object"}));
    change(&mut new);
    let errors: Vec<String> = validate(&new, None).iter().map(ToString::to_string).collect();
    expected.assert_eq(&errors.join("\n"));
}

#[track_caller]
fn schema_refused(spec: Value, expected: Expect) {
    let errors = validate(&definition(spec), None);
    let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
    expected.assert_eq(&errors.join("\n"));
}

#[test]
fn a_good_one() {
    refused(|_| {}, expect![[""]]);
}

#[test]
fn names_and_groups() {
    refused(
        |new| {
            new["metadata"]["name"] = "other.example.com".into();
            new["spec"]["scope"] = "Galaxy".into();
            new["spec"]["names"]["kind"] = "Wid get".into();
            new["spec"]["names"]["listKind"] = "Wid get".into();
            new["spec"]["names"]["shortNames"] = json!(["W"]);
        },
        expect![[r#"
            metadata.name: Invalid value: "other.example.com": must be spec.names.plural+"."+spec.group
            spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"
            spec.names.kind: Invalid value: "Wid get": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.names.listKind: Invalid value: "Wid get": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.names.listKind: Invalid value: "Wid get": kind and listKind may not be the same
            spec.names.shortNames[0]: Invalid value: "W": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"#]],
    );
    refused(
        |new| {
            new["spec"]["group"] = "widgets".into();
            new["metadata"]["name"] = "widgets.widgets".into();
        },
        expect![[
            r#"spec.group: Invalid value: "widgets": should be a domain with at least one dot"#
        ]],
    );
    refused(
        |new| {
            new["spec"]["group"] = "x.k8s.io".into();
            new["metadata"]["name"] = "widgets.x.k8s.io".into();
        },
        expect![[
            r#"metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111"#
        ]],
    );
}

#[test]
fn versions_and_their_parts() {
    refused(
        |new| {
            let mut second = new["spec"]["versions"][0].clone();
            second["schema"] = Value::Null;
            second["name"] = "V2".into();
            second["deprecationWarning"] = "x".into();
            second["subresources"] =
                json!({"scale": {"specReplicasPath": ".status.n", "statusReplicasPath": "x"}});
            second["additionalPrinterColumns"] =
                json!([{"name": "A", "type": "text", "jsonPath": "spec.a"}]);
            second["selectableFields"] = json!([{"jsonPath": ".spec.missing"}]);
            second.as_object_mut().unwrap().shift_remove("schema");
            new["spec"]["versions"].as_array_mut().unwrap().push(second);
        },
        expect![[r#"
            spec.versions[1].name: Invalid value: "V2": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.versions[1].deprecationWarning: Invalid value: "x": can only be set for deprecated versions
            spec.versions[1].schema.openAPIV3Schema: Required value: schemas are required
            spec.versions[1].subresources.scale.specReplicasPath: Invalid value: ".status.n": should be a json path under .spec
            spec.versions[1].subresources.scale.statusReplicasPath: Invalid value: "x": must be a simple json path starting with .
            spec.versions[1].additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string
            spec.versions[1].additionalPrinterColumns[0].jsonPath: Invalid value: "spec.a": must be a simple json path starting with .
            spec.versions[1].selectableFields[0].jsonPath: Invalid value: ".spec.missing": is an invalid path: does not refer to a valid field
            spec.versions: Invalid value: [{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object"},"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}},{"name":"V2","served":true,"storage":true,"subresources":{"scale":{"specReplicasPath":".status.n","statusReplicasPath":"x"}},"deprecationWarning":"x","additionalPrinterColumns":[{"name":"A","type":"text","jsonPath":"spec.a"}],"selectableFields":[{"jsonPath":".spec.missing"}]}]: must have exactly one version marked as storage version"#]],
    );
}

#[test]
fn conversions() {
    refused(
        |new| new["spec"]["conversion"] = json!({"strategy": "Webhook"}),
        expect![
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook"
        ],
    );
    refused(
        |new| {
            new["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
                "clientConfig": {"url": "http://a@b/c?d#e"}, "conversionReviewVersions": ["v3"]}});
        },
        expect![[r#"
            spec.conversion.webhookClientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path]
            spec.conversion.webhookClientConfig.url: Invalid value: "a": user information is not permitted in the URL
            spec.conversion.webhookClientConfig.url: Invalid value: "e": fragments are not permitted in the URL
            spec.conversion.webhookClientConfig.url: Invalid value: "d": query parameters are not permitted in the URL
            spec.conversion.conversionReviewVersions: Invalid value: ["v3"]: must include at least one of v1, v1beta1"#]],
    );
}

#[test]
fn schemas_must_be_structural() {
    schema_refused(
        json!({"type": "object", "nullable": false, "properties": {
            "a": {},
            "b": {"type": "array", "items": {}},
            "c": {"type": "array"},
            "d": {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            "e": {"type": "text"},
            "f": {"type": "string", "pattern": "("},
            "g": {"$ref": "#/x", "type": "object"},
            "h": {"type": "string", "x-kubernetes-int-or-string": true},
            "i": {"type": "array", "uniqueItems": true, "items": {"type": "string"}},
            "j": {"type": "object", "x-kubernetes-preserve-unknown-fields": false},
        }}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].properties[a].type: Required value: must not be empty for specified object fields
            spec.validation.openAPIV3Schema.properties[spec].properties[b].items.type: Required value: must not be empty for specified array items
            spec.validation.openAPIV3Schema.properties[spec].properties[c].items: Required value: must be specified
            spec.validation.openAPIV3Schema.properties[spec].properties[d].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive
            spec.validation.openAPIV3Schema.properties[spec].properties[e].type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string"
            spec.validation.openAPIV3Schema.properties[spec].properties[f].pattern: Invalid value: "(": must be a valid regular expression, but isn't: regex parse error:
                (
                ^
            error: unclosed group
            spec.validation.openAPIV3Schema.properties[spec].properties[g].$ref: Forbidden: $ref is not supported
            spec.validation.openAPIV3Schema.properties[spec].properties[h].type: Invalid value: "string": must be empty if x-kubernetes-int-or-string is true
            spec.validation.openAPIV3Schema.properties[spec].properties[i].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic
            spec.validation.openAPIV3Schema.properties[spec].properties[j].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined"#]],
    );
}

#[test]
fn identified_lists() {
    schema_refused(
        json!({"type": "object", "properties": {
            "a": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}},
            "b": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "missing"],
                  "items": {"type": "object", "properties": {"k": {"type": "object"}}}},
            "c": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}},
            "d": {"type": "array", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object"}},
            "e": {"type": "string", "x-kubernetes-list-type": "bag"},
        }}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map
            spec.validation.openAPIV3Schema.properties[spec].properties[b].items.properties[k].type: Invalid value: "object": must be a scalar type if parent array's x-kubernetes-list-type is map
            spec.validation.openAPIV3Schema.properties[spec].properties[b].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property
            spec.validation.openAPIV3Schema.properties[spec].properties[b].x-kubernetes-list-map-keys[1]: Invalid value: "missing": entries must all be names of item properties
            spec.validation.openAPIV3Schema.properties[spec].properties[c].items.x-kubernetes-map-type: Required value: must be atomic as item of a list with x-kubernetes-list-type=set
            spec.validation.openAPIV3Schema.properties[spec].properties[d].x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty
            spec.validation.openAPIV3Schema.properties[spec].properties[e].x-kubernetes-list-type: Unsupported value: "bag": supported values: "atomic", "map", "set"
            spec.validation.openAPIV3Schema.properties[spec].properties[e].type: Invalid value: "string": must be array if x-kubernetes-list-type is specified"#]],
    );
}

#[test]
fn combinations_may_only_narrow() {
    schema_refused(
        json!({"type": "object", "properties": {"a": {"type": "string"}, "x": {
                "x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}},
            "anyOf": [{"properties": {"a": {"type": "string"}, "b": {"minLength": 1}}}, {"not": {"default": 1}}]}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].anyOf[0].properties[a].type: Forbidden: must be empty to be structural
            spec.validation.openAPIV3Schema.properties[spec].properties[b]: Required value: because it is defined in spec.validation.openAPIV3Schema.properties[spec].anyOf[0].properties[b]
            spec.validation.openAPIV3Schema.properties[spec].anyOf[1].not.default: Forbidden: must be undefined to be structural"#]],
    );
}

#[test]
fn defaults_must_be_values_of_the_schema() {
    schema_refused(
        json!({"type": "object", "properties": {
            "a": {"type": "integer", "default": "x"},
            "b": {"type": "object", "default": {"c": 1, "z": 2}, "properties": {"c": {"type": "string"}}},
        }}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].properties[a].default: Invalid value: "string": spec.validation.openAPIV3Schema.properties[spec].properties[a].default in body must be of type integer: "string"
            spec.validation.openAPIV3Schema.properties[spec].properties[b].default: Invalid value: {"c":1,"z":2}: must not have unknown fields
            spec.validation.openAPIV3Schema.properties[spec].properties[b].default.c: Invalid value: "integer": spec.validation.openAPIV3Schema.properties[spec].properties[b].default.c in body must be of type string: "integer""#]],
    );
}

#[test]
fn rules_have_expressions() {
    schema_refused(
        json!({"type": "object", "x-kubernetes-validations": [{"rule": "self.a > 1"}, {"rule": " "}]}),
        expect![
            "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[1].rule: Required value: rule is not specified"
        ],
    );
}

#[test]
fn rules_stand_where_all_must_hold() {
    let with = |key: &str, rule: &str| json!({"type": "object", key: [{"allOf": [{"x-kubernetes-validations": [{"rule": rule}]}]}]});
    schema_refused(with("allOf", "true"), expect![[""]]);
    schema_refused(
        with("allOf", " "),
        expect![
            "spec.validation.openAPIV3Schema.properties[spec].allOf[0].allOf[0].x-kubernetes-validations[0].rule: Required value: rule is not specified"
        ],
    );
    schema_refused(
        with("anyOf", "true"),
        expect![
            "spec.validation.openAPIV3Schema.properties[spec].anyOf[0].allOf[0].x-kubernetes-validations: Forbidden: must be empty to be structural"
        ],
    );
}

#[test]
fn schemas_and_their_places() {
    let mut two = definition(json!({"type": "object"}));
    let mut second = two["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    two["spec"]["versions"].as_array_mut().unwrap().push(second);
    let places = |definition: &Value| -> Vec<String> {
        schemas(definition).iter().map(|(at, _)| at.to_string()).collect()
    };
    assert_eq!(places(&two), ["spec.validation.openAPIV3Schema"]);
    two["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["description"] = "other".into();
    assert_eq!(
        places(&two),
        ["spec.versions[0].schema.openAPIV3Schema", "spec.versions[1].schema.openAPIV3Schema"]
    );
}

#[test]
fn updates() {
    let old = definition(json!({"type": "object"}));
    let mut new = old.clone();
    new["spec"]["scope"] = "Cluster".into();
    new["spec"]["names"]["kind"] = "Gadget".into();
    new["spec"]["versions"][0]["name"] = "v2".into();
    let errors: Vec<String> = validate(&new, Some(&old)).iter().map(ToString::to_string).collect();
    expect![[r#"
        status.storedVersions[0]: Invalid value: "v1": missing from spec.versions; v1 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v1 and removes v1 from status.storedVersions
        status.storedVersions: Invalid value: ["v1"]: must have the storage version v2
        spec.scope: Invalid value: "Cluster": field is immutable
        spec.names.kind: Invalid value: "Gadget": field is immutable"#]]
    .assert_eq(&errors.join("\n"));
    prepare_update(&mut new);
    assert_eq!(new["status"]["storedVersions"], json!(["v1", "v2"]));
}

/// Names and conditions of a fresh definition beside others.
fn conditions(fresh: &Value, others: &[Value]) -> String {
    let mut definition = fresh.clone();
    prepare_create(&mut definition);
    let status = status(&definition, others).expect("a first status");
    let lines = object::list(&status, &["conditions"]).iter().map(|one| {
        let text = |key: &str| object::text(one, &[key]);
        format!("{}={} {}: {}", text("type"), text("status"), text("reason"), text("message"))
    });
    let names = status["acceptedNames"].to_string();
    lines.chain([names]).collect::<Vec<_>>().join("\n")
}

#[test]
fn names_that_are_free() {
    expect![[r#"
        NamesAccepted=True NoConflicts: no conflicts found
        Established=True InitialNamesAccepted: the initial names have been accepted
        {"plural":"widgets","kind":"Widget","singular":"widget","listKind":"WidgetList"}"#]]
    .assert_eq(&conditions(&definition(json!({"type": "object"})), &[]));
}

#[test]
fn names_that_are_taken() {
    let other = definition(json!({"type": "object"}));
    let mut fresh = other.clone();
    fresh["spec"]["names"]["plural"] = "gadgets".into();
    fresh["spec"]["names"]["shortNames"] = json!(["widgets"]);
    expect![[r#"
        NamesAccepted=False ListKindConflict: "WidgetList" is already in use
        Established=False NotAccepted: not all names are accepted
        {"plural":"gadgets","kind":""}"#]]
    .assert_eq(&conditions(&fresh, std::slice::from_ref(&other)));
    // In another group the same names are free.
    fresh["spec"]["group"] = "other.com".into();
    assert!(conditions(&fresh, &[other]).starts_with("NamesAccepted=True"));
}

#[test]
fn groups_of_the_community() {
    let mut fresh = definition(json!({"type": "object"}));
    fresh["spec"]["group"] = "x.k8s.io".into();
    fresh["metadata"]["annotations"] =
        json!({"api-approved.kubernetes.io": "unapproved, experimental"});
    assert!(conditions(&fresh, &[]).contains(
        "KubernetesAPIApprovalPolicyConformant=False UnapprovedAnnotation: not approved: \
         \"unapproved, experimental\""
    ));
}

#[test]
fn a_status_that_is_right_stays() {
    let mut settled = definition(json!({"type": "object"}));
    prepare_create(&mut settled);
    settled["status"] = status(&settled, &[]).expect("a first status");
    assert_eq!(status(&settled, &[]), None);
    assert!(mark_deletion(&mut settled, &DeletionStage::InProgress));
    assert!(!mark_deletion(&mut settled, &DeletionStage::InProgress));
}
