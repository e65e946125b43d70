//! What becomes of built-in objects that people change.

use super::*;
use test_case::test_case;

fn schema_kind() -> Kind {
    let kinds = minik_api::kinds();
    kinds.by_resource(GROUP, "v1", "flowschemas").expect("kind").clone()
}

fn wanted() -> Value {
    suggested_schemas().remove(8)
}

/// A stored object that was changed, with this annotation and generation.
fn changed(precedence: i64, annotation: Option<&str>, generation: i64) -> Value {
    let mut current = created(&schema_kind(), wanted(), "2026-01-01T00:00:00Z");
    object::set(&mut current, &["spec", "matchingPrecedence"], precedence);
    object::set(&mut current, &["metadata", "generation"], generation);
    match annotation {
        Some(text) => object::set(&mut current, &["metadata", "annotations", AUTO_UPDATE], text),
        None => drop(object::remove(&mut current, &["metadata", "annotations"])),
    }
    current
}

/// Precedence and annotation after a look at it; nothing if it stays as it is.
#[test_case(9900, Some("true"), 1, false => None; "as wanted")]
#[test_case(1, Some("true"), 2, false => Some((9900, "true".into())); "changed but not taken over")]
#[test_case(1, Some("false"), 2, false => None; "taken over")]
#[test_case(1, None, 2, false => Some((1, "false".into())); "changed without saying so")]
#[test_case(1, None, 1, false => Some((9900, "true".into())); "of an older program")]
#[test_case(1, Some("false"), 2, true => Some((9900, "true".into())); "mandatory")]
fn revisions(
    precedence: i64,
    annotation: Option<&str>,
    generation: i64,
    mandatory: bool,
) -> Option<(i64, String)> {
    let current = changed(precedence, annotation, generation);
    let revised = revised(&schema_kind(), current, wanted(), mandatory)?;
    let precedence = object::integer(&revised, &["spec", "matchingPrecedence"])?;
    Some((precedence, object::annotation(&revised, AUTO_UPDATE)?.to_owned()))
}

#[test]
fn what_the_exempt_level_lends_is_the_administrators_choice() {
    let kinds = minik_api::kinds();
    let kind = kinds.by_resource(GROUP, "v1", "prioritylevelconfigurations").expect("kind");
    let [exempt, _] = mandatory_levels();
    let mut current = created(kind, exempt.clone(), "2026-01-01T00:00:00Z");
    object::set(&mut current, &["spec", "exempt", "nominalConcurrencyShares"], 40);
    assert_eq!(revised(kind, current, exempt, true), None);
}

#[test]
fn conditions_change_only_with_what_they_say() {
    let mut schema = wanted();
    assert!(tell_condition(&mut schema, condition("x", false, "2026-01-01T00:00:00Z")));
    assert!(!tell_condition(&mut schema, condition("x", false, "2026-01-02T00:00:00Z")));
    assert!(tell_condition(&mut schema, condition("x", true, "2026-01-03T00:00:00Z")));
    let conditions = object::list(&schema, &["status", "conditions"]);
    assert_eq!(conditions.len(), 1);
    assert_eq!(conditions[0]["status"], "False");
    assert_eq!(
        conditions[0]["message"],
        "This FlowSchema references the PriorityLevelConfiguration object named \"x\" and it exists"
    );
}
