//! Label selectors over typed objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

type Labels = BTreeMap<String, String>;

/// Whether `selector` selects an object with these labels. An empty selector selects everything,
/// one with an operator that does not exist selects nothing.
#[must_use]
pub fn selects(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let pairs = selector.match_labels.iter().flatten();
    let rules = selector.match_expressions.iter().flatten();
    pairs.into_iter().all(|(name, value)| value_of(labels, name) == Some(value))
        && rules.into_iter().all(|rule| holds(rule, labels))
}

/// Whether `labels` contains all of `wanted`: the selector of a Service or a ReplicationController.
#[must_use]
pub fn selects_all(wanted: &Labels, labels: Option<&Labels>) -> bool {
    wanted.iter().all(|(name, value)| value_of(labels, name) == Some(value))
}

/// Whether a selector has no rule, and so selects everything.
#[must_use]
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

fn holds(rule: &LabelSelectorRequirement, labels: Option<&Labels>) -> bool {
    let value = value_of(labels, &rule.key);
    let listed = || {
        let mut values = rule.values.iter().flatten();
        value.is_some_and(|value| values.any(|one| one == value))
    };
    match rule.operator.as_str() {
        "In" => listed(),
        "NotIn" => !listed(),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

fn value_of<'a>(labels: Option<&'a Labels>, name: &str) -> Option<&'a String> {
    labels?.get(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn expressions() {
        let have = labels(&[("app", "web"), ("tier", "front")]);
        let check = |key: &str, operator: &str, values: &[&str], expected: bool| {
            let rule = LabelSelectorRequirement {
                key: key.to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
            };
            assert_eq!(holds(&rule, Some(&have)), expected, "{key} {operator} {values:?}");
        };
        check("app", "In", &["db", "web"], true);
        check("app", "In", &["db"], false);
        check("app", "NotIn", &["db"], true);
        check("none", "NotIn", &["db"], true);
        check("none", "Exists", &[], false);
        check("none", "DoesNotExist", &[], true);
        check("app", "Near", &["web"], false);
    }

    #[test]
    fn pairs() {
        let have = labels(&[("app", "web"), ("tier", "front")]);
        assert!(selects_all(&labels(&[("app", "web")]), Some(&have)));
        assert!(!selects_all(&labels(&[("app", "db")]), Some(&have)));
        assert!(!selects_all(&labels(&[("app", "web")]), None));
        assert!(selects(&LabelSelector::default(), None));
    }
}
