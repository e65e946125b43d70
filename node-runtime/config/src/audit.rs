//! The audit policy: which requests are recorded, and how much of them. `audit.k8s.io/v1`.

use std::fmt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::document::{or_default, typed};

/// How much of a request is recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditLevel {
    /// Nothing.
    #[default]
    None,
    /// Who asked what, when, and what came of it.
    Metadata,
    /// The same, and the object that was sent.
    Request,
    /// The same, and the object that was answered.
    RequestResponse,
}

/// The moments of a request at which something may be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuditStage {
    /// It is known who asks what.
    RequestReceived,
    /// The head of an answer that may take long was sent.
    ResponseStarted,
    /// The answer is complete.
    ResponseComplete,
    /// The server failed inside.
    Panic,
}

const LEVELS: [AuditLevel; 4] =
    [AuditLevel::None, AuditLevel::Metadata, AuditLevel::Request, AuditLevel::RequestResponse];

const STAGES: [AuditStage; 4] = [
    AuditStage::RequestReceived,
    AuditStage::ResponseStarted,
    AuditStage::ResponseComplete,
    AuditStage::Panic,
];

impl AuditLevel {
    /// Its name in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditLevel::None => "None",
            AuditLevel::Metadata => "Metadata",
            AuditLevel::Request => "Request",
            AuditLevel::RequestResponse => "RequestResponse",
        }
    }
}

impl AuditStage {
    /// Its name in policies and records.
    pub fn as_str(self) -> &'static str {
        match self {
            AuditStage::RequestReceived => "RequestReceived",
            AuditStage::ResponseStarted => "ResponseStarted",
            AuditStage::ResponseComplete => "ResponseComplete",
            AuditStage::Panic => "Panic",
        }
    }
}

/// Rules in order; the first that fits a request decides. What no rule fits is not recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditPolicy {
    /// The rules.
    pub rules: Vec<AuditRule>,
}

/// Which requests a rule is for, and what is recorded of them. An empty list fits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditRule {
    /// How much is recorded.
    pub level: AuditLevel,
    /// Names of users.
    pub users: Vec<String>,
    /// Groups, of which the user has one.
    pub user_groups: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Resources; for requests to other paths, a rule with these does not fit.
    pub resources: Vec<AuditResources>,
    /// Namespaces; the empty name is that of what is in none.
    pub namespaces: Vec<String>,
    /// Paths that are no resources.
    pub non_resource_urls: Vec<String>,
    /// Stages at which nothing is recorded; those of the whole policy are among them.
    pub omit_stages: Vec<AuditStage>,
    /// Whether objects are recorded without `metadata.managedFields`.
    pub omit_managed_fields: bool,
}

/// Resources of one group.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuditResources {
    /// The group; `*` are all, the empty one is the core group.
    #[serde(default, deserialize_with = "or_default")]
    pub group: String,
    /// `pods`, `pods/log`, `*`, `pods/*`, `*/scale`; none are all.
    #[serde(default, deserialize_with = "or_default")]
    pub resources: Vec<String>,
    /// Names of objects; none are all.
    #[serde(default, deserialize_with = "or_default")]
    pub resource_names: Vec<String>,
}

/// How a record is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuditFormat {
    /// One JSON object a line.
    #[default]
    Json,
    /// One line of text.
    Legacy,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditTarget {
    /// Standard output of the process.
    Output,
    /// A file that is turned over when it is large.
    File {
        /// The file.
        path: PathBuf,
        /// Megabytes (2^20 bytes) after which a new file is begun; 0 never.
        size_max: u64,
        /// Old files that are kept; 0 keeps all.
        backups_max: usize,
        /// Days after which old files are removed; 0 keeps them.
        age_max: u64,
    },
}

/// The audit log of an API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditSettings {
    /// What is recorded.
    pub policy: AuditPolicy,
    /// Where to.
    pub target: AuditTarget,
    /// How.
    pub format: AuditFormat,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawPolicy {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, rename = "metadata")]
    _metadata: serde::de::IgnoredAny,
    #[serde(default, deserialize_with = "or_default")]
    rules: Vec<RawRule>,
    #[serde(default, deserialize_with = "or_default")]
    omit_stages: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    omit_managed_fields: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct RawRule {
    #[serde(default, deserialize_with = "or_default")]
    level: String,
    #[serde(default, deserialize_with = "or_default")]
    users: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    user_groups: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    verbs: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    resources: Vec<AuditResources>,
    #[serde(default, deserialize_with = "or_default")]
    namespaces: Vec<String>,
    #[serde(default, rename = "nonResourceURLs", deserialize_with = "or_default")]
    non_resource_urls: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    omit_stages: Vec<String>,
    #[serde(default)]
    omit_managed_fields: Option<bool>,
}

impl AuditPolicy {
    /// Understands a policy. A field that there is not is an error: a rule that is not read as it
    /// was meant would record too much or nothing.
    ///
    /// # Errors
    /// What is wrong, to be read after the name of the file.
    pub fn from_text(text: &str) -> Result<AuditPolicy, String> {
        let raw: RawPolicy = typed(text, "audit.k8s.io/v1", "Policy")?;
        let everywhere = stages(&raw.omit_stages, "omitStages")?;
        let rules = raw.rules.into_iter().enumerate().map(|(index, rule)| {
            let mut rule = rule.checked(&format!("rules[{index}]"), raw.omit_managed_fields)?;
            rule.omit_stages.extend(&everywhere);
            Ok(rule)
        });
        let rules = rules.collect::<Result<Vec<_>, String>>()?;
        if rules.is_empty() {
            return Err("loaded illegal policy with 0 rules".to_owned());
        }
        Ok(AuditPolicy { rules })
    }
}

impl RawRule {
    fn checked(self, path: &str, omit_managed_fields: bool) -> Result<AuditRule, String> {
        let level = LEVELS.into_iter().find(|level| level.as_str() == self.level);
        let Some(level) = level else {
            return Err(match self.level.as_str() {
                "" => format!("{path}.level: Required value"),
                other => format!(
                    "{path}.level: Unsupported value: {other:?}: supported values: \"Metadata\", \
                     \"None\", \"Request\", \"RequestResponse\""
                ),
            });
        };
        for (index, url) in self.non_resource_urls.iter().enumerate().filter(|(_, url)| *url != "*")
        {
            let path = format!("{path}.nonResourceURLs[{index}]");
            if !url.starts_with('/') {
                let why = "non-resource URL rules must begin with a '/' character";
                return Err(invalid(&path, url, why));
            }
            if url[..url.len() - 1].contains('*') {
                let why = "non-resource URL wildcards '*' must be the final character of the rule";
                return Err(invalid(&path, url, why));
            }
        }
        for resources in &self.resources {
            if !matches!(resources.group.as_str(), "" | "*") && !is_subdomain(&resources.group) {
                let why = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric \
                           characters, '-' or '.', and must start and end with an alphanumeric \
                           character";
                return Err(invalid(&format!("{path}.resources.group"), &resources.group, why));
            }
            if !resources.resource_names.is_empty() && resources.resources.is_empty() {
                let why = "using resourceNames requires at least one resource";
                let path = format!("{path}.resources.resourceNames");
                return Err(invalid(&path, &resources.resource_names, why));
            }
        }
        let both = !self.resources.is_empty() || !self.namespaces.is_empty();
        if both && !self.non_resource_urls.is_empty() {
            let why = "rules cannot apply to both regular resources and non-resource URLs";
            let path = format!("{path}.nonResourceURLs");
            return Err(invalid(&path, &self.non_resource_urls, why));
        }
        Ok(AuditRule {
            level,
            omit_stages: stages(&self.omit_stages, &format!("{path}.omitStages"))?,
            users: self.users,
            user_groups: self.user_groups,
            verbs: self.verbs,
            resources: self.resources,
            namespaces: self.namespaces,
            non_resource_urls: self.non_resource_urls,
            omit_managed_fields: self.omit_managed_fields.unwrap_or(omit_managed_fields),
        })
    }
}

fn stages(names: &[String], path: &str) -> Result<Vec<AuditStage>, String> {
    let stage = |(index, name): (usize, &String)| {
        STAGES.into_iter().find(|stage| stage.as_str() == name).ok_or_else(|| {
            let why = "allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic";
            invalid(&format!("{path}[{index}]"), name, why)
        })
    };
    names.iter().enumerate().map(stage).collect()
}

fn invalid(path: &str, value: &(impl fmt::Debug + ?Sized), why: &str) -> String {
    format!("{path}: Invalid value: {value:?}: {why}")
}

fn is_subdomain(text: &str) -> bool {
    let label = |part: &str| {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !part.is_empty()
            && part.chars().all(inner)
            && !part.starts_with('-')
            && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[test]
    fn a_policy_with_everything() {
        let policy = AuditPolicy::from_text(
            r#"
apiVersion: audit.k8s.io/v1
kind: Policy
metadata: {creationTimestamp: null}
omitStages: [RequestReceived]
omitManagedFields: true
rules:
- level: None
  users: ["system:kube-proxy"]
  verbs: [watch]
  resources: [{group: "", resources: [endpoints, services], resourceNames: null}]
- level: Request
  namespaces: [""]
  omitStages: [Panic]
  omitManagedFields: false
- level: None
  nonResourceURLs: ["/api*", "*"]
"#,
        )
        .unwrap();
        let levels: Vec<_> = policy.rules.iter().map(|rule| rule.level.as_str()).collect();
        assert_eq!(levels, ["None", "Request", "None"]);
        let request = &policy.rules[1];
        assert_eq!(request.omit_stages, [AuditStage::Panic, AuditStage::RequestReceived]);
        assert!(!request.omit_managed_fields && policy.rules[0].omit_managed_fields);
    }

    fn refused(rules: &str, expected: Expect) {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}");
        expected.assert_eq(&AuditPolicy::from_text(&text).unwrap_err());
    }

    #[test]
    fn what_is_no_policy() {
        refused("rules: []", expect!["loaded illegal policy with 0 rules"]);
        refused("rules: [{users: [a]}]", expect!["rules[0].level: Required value"]);
        refused(
            "rules: [{level: All}]",
            expect![[
                r#"rules[0].level: Unsupported value: "All": supported values: "Metadata", "None", "Request", "RequestResponse""#
            ]],
        );
        refused(
            "rules: [{level: None, nonResourceURLs: [healthz]}]",
            expect![[
                r#"rules[0].nonResourceURLs[0]: Invalid value: "healthz": non-resource URL rules must begin with a '/' character"#
            ]],
        );
        refused(
            "rules: [{level: None, nonResourceURLs: ['/a*b']}]",
            expect![[
                r#"rules[0].nonResourceURLs[0]: Invalid value: "/a*b": non-resource URL wildcards '*' must be the final character of the rule"#
            ]],
        );
        refused(
            "rules: [{level: None, nonResourceURLs: ['/a'], namespaces: [b]}]",
            expect![[
                r#"rules[0].nonResourceURLs: Invalid value: ["/a"]: rules cannot apply to both regular resources and non-resource URLs"#
            ]],
        );
        refused(
            "rules: [{level: None, resources: [{group: apps/v1}]}]",
            expect![[
                r#"rules[0].resources.group: Invalid value: "apps/v1": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character"#
            ]],
        );
        refused(
            "rules: [{level: None, resources: [{resourceNames: [a]}]}]",
            expect![[
                r#"rules[0].resources.resourceNames: Invalid value: ["a"]: using resourceNames requires at least one resource"#
            ]],
        );
        refused(
            "rules: [{level: None}]\nomitStages: [Later]",
            expect![[
                r#"omitStages[0]: Invalid value: "Later": allowed stages are RequestReceived,ResponseStarted,ResponseComplete,Panic"#
            ]],
        );
        let other = AuditPolicy::from_text("apiVersion: v1\nkind: Pod\nmetadata: {}\n");
        expect![[
            r#"has apiVersion "v1" and kind "Pod"; "audit.k8s.io/v1" and "Policy" are wanted"#
        ]]
        .assert_eq(&other.unwrap_err());
        let typo = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: None, user: [a]}]";
        assert!(AuditPolicy::from_text(typo).unwrap_err().contains("unknown field `user`"));
        assert!(AuditPolicy::from_text("rules: [").is_err());
    }
}
