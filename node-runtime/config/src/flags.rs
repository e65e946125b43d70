//! Flags of the API server that a user may set, by the names they have upstream: one table.
//!
//! The value of a flag that names a file is the text of that file: it is read where the user is, and
//! travels with the node file.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::audit::{AuditFormat, AuditPolicy, AuditSettings, AuditTarget};
use crate::authentication::{Anonymous, Authentication, OidcFlags};
use crate::encryption::EncryptionConfiguration;

/// What a flag is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// A word or number.
    Value,
    /// The name of a file, of which the text is kept. It may hold secrets.
    File,
}

/// A flag that can be set.
#[derive(Debug)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// What it is given.
    pub takes: Takes,
    check: fn(&str) -> Result<(), String>,
}

impl Flag {
    /// Whether the value (for a file: its text) can be used.
    ///
    /// # Errors
    /// What is wrong with it, to be read after its name.
    pub fn check(&self, value: &str) -> Result<(), String> {
        (self.check)(value)
    }
}

const fn value(name: &'static str, check: fn(&str) -> Result<(), String>) -> Flag {
    Flag { name, takes: Takes::Value, check }
}

const fn file(name: &'static str, check: fn(&str) -> Result<(), String>) -> Flag {
    Flag { name, takes: Takes::File, check }
}

/// Every flag of the API server that can be set, by name.
pub const API_SERVER_FLAGS: &[Flag] = &[
    value("anonymous-auth", |text| truth(text).map(drop)),
    value("audit-log-format", |text| audit_format(text).map(drop)),
    value("audit-log-maxage", |text| number(text).map(drop)),
    value("audit-log-maxbackup", |text| number(text).map(drop)),
    value("audit-log-maxsize", |text| number(text).map(drop)),
    value("audit-log-path", audit_path),
    file("audit-policy-file", |text| AuditPolicy::from_text(text).map(drop)),
    file("authentication-config", |text| Authentication::from_text(text).map(drop)),
    file("encryption-provider-config", |text| EncryptionConfiguration::from_text(text).map(drop)),
    file("oidc-ca-file", pem),
    value("oidc-client-id", anything),
    value("oidc-groups-claim", anything),
    value("oidc-groups-prefix", anything),
    value("oidc-issuer-url", anything),
    value("oidc-required-claim", |text| claims(text).map(drop)),
    value("oidc-signing-algs", anything),
    value("oidc-username-claim", anything),
    value("oidc-username-prefix", anything),
    value("requestheader-allowed-names", anything),
];

/// What settings of authentication in a file exclude.
const OIDC: &str = "oidc-";

/// The flags that were set, with their values. Shows no text of files.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApiServerFlags(BTreeMap<String, String>);

impl fmt::Debug for ApiServerFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

impl ApiServerFlags {
    /// Whether none was set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of a flag.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Names and values of all that were set.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Sets a flag, or takes it back with an empty value. See [`ApiServerFlags::check`].
    pub fn set(&mut self, name: &str, value: &str) {
        if value.is_empty() {
            self.0.remove(name);
        } else {
            self.0.insert(name.to_owned(), value.to_owned());
        }
    }

    /// Whether there are such flags, and they can be used together.
    ///
    /// # Errors
    /// Which flag is wrong, and why.
    pub fn check(&self) -> Result<(), FlagError> {
        for (name, value) in &self.0 {
            let wrong = |reason: String| FlagError { name: name.clone(), reason };
            match API_SERVER_FLAGS.iter().find(|flag| flag.name == name) {
                Some(flag) => flag.check(value).map_err(wrong)?,
                None => return Err(wrong("is no flag that can be set".to_owned())),
            }
        }
        self.audit()?;
        self.encryption()?;
        self.authentication()?;
        Ok(())
    }

    /// Whose tokens are taken, and who may stay unknown.
    ///
    /// # Errors
    /// Flags that cannot be used, or not together.
    pub fn authentication(&self) -> Result<Authentication, FlagError> {
        let wrong = |name: &str, reason: String| FlagError { name: name.to_owned(), reason };
        let (file, url, client) = ("authentication-config", "oidc-issuer-url", "oidc-client-id");
        let oidc = self.0.keys().map(String::as_str).find(|name| name.starts_with(OIDC));
        let mut settings = match (self.get(file), oidc) {
            (Some(_), Some(name)) => {
                return Err(wrong(name, format!("cannot be used together with {file}")));
            }
            (Some(text), None) => {
                Authentication::from_text(text).map_err(|reason| wrong(file, reason))?
            }
            (None, None) => Authentication::default(),
            (None, Some(_)) => {
                if let Some(missing) = [url, client].iter().find(|name| self.get(name).is_none()) {
                    let why = format!("{url} and {client} must be set if any {OIDC} flag is");
                    return Err(wrong(missing, why));
                }
                self.oidc()?.settings().map_err(|reason| wrong(url, reason))?
            }
        };
        let flag = "anonymous-auth";
        if let Some(text) = self.get(flag) {
            if self.get(file).is_some_and(Authentication::text_says_anonymous) {
                return Err(wrong(flag, format!("cannot be used where {file} says the same")));
            }
            let may = truth(text).map_err(|reason| wrong(flag, reason))?;
            settings.anonymous = if may { Anonymous::Always } else { Anonymous::Never };
        }
        Ok(settings)
    }

    fn oidc(&self) -> Result<OidcFlags, FlagError> {
        let text = |name: &str| self.get(name).unwrap_or_default().to_owned();
        Ok(OidcFlags {
            issuer_url: text("oidc-issuer-url"),
            client_id: text("oidc-client-id"),
            username_claim: text("oidc-username-claim"),
            username_prefix: text("oidc-username-prefix"),
            groups_claim: text("oidc-groups-claim"),
            groups_prefix: text("oidc-groups-prefix"),
            required_claims: self.parsed("oidc-required-claim", BTreeMap::new(), claims)?,
            certificate_authority: text("oidc-ca-file"),
            signing_algorithms: words(&text("oidc-signing-algs")),
        })
    }

    /// The names that certificates of front proxies may have; empty for those that are usual.
    pub fn front_proxy_names(&self) -> Vec<String> {
        words(self.get("requestheader-allowed-names").unwrap_or_default())
    }

    /// The audit log, if one is wanted.
    ///
    /// # Errors
    /// A value that cannot be used, or one that has no effect without another.
    pub fn audit(&self) -> Result<Option<AuditSettings>, FlagError> {
        let (path, policy) = ("audit-log-path", "audit-policy-file");
        let (Some(log), Some(text)) = (self.get(path), self.get(policy)) else {
            let (alone, missing) = match (self.get(path), self.get(policy)) {
                (None, Some(_)) => (Some(policy), path),
                _ => (
                    self.0.keys().map(String::as_str).find(|name| name.starts_with("audit-log-")),
                    policy,
                ),
            };
            return match alone {
                None => Ok(None),
                Some(name) => Err(FlagError {
                    name: name.to_owned(),
                    reason: format!("has no effect without {missing}"),
                }),
            };
        };
        let count = |name: &str, default| self.parsed(name, default, number);
        let size_max = count("audit-log-maxsize", 100)?;
        let backups_max = count("audit-log-maxbackup", 100)?;
        let age_max = count("audit-log-maxage", 366)?;
        let target = match log {
            "-" => AuditTarget::Output,
            log => AuditTarget::File {
                path: PathBuf::from(log),
                size_max,
                backups_max: usize::try_from(backups_max).unwrap_or(usize::MAX),
                age_max,
            },
        };
        let format = self.parsed("audit-log-format", AuditFormat::Json, audit_format)?;
        let policy = AuditPolicy::from_text(text)
            .map_err(|reason| FlagError { name: policy.to_owned(), reason })?;
        Ok(Some(AuditSettings { policy, target, format }))
    }

    /// What is encrypted in the store, if anything.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn encryption(&self) -> Result<Option<EncryptionConfiguration>, FlagError> {
        let name = "encryption-provider-config";
        let read = |text| {
            EncryptionConfiguration::from_text(text)
                .map_err(|reason| FlagError { name: name.to_owned(), reason })
        };
        self.get(name).map(read).transpose()
    }

    fn parsed<T>(
        &self,
        name: &str,
        default: T,
        parse: fn(&str) -> Result<T, String>,
    ) -> Result<T, FlagError> {
        let Some(text) = self.get(name) else { return Ok(default) };
        parse(text).map_err(|reason| FlagError { name: name.to_owned(), reason })
    }
}

/// A flag that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {reason}")]
pub struct FlagError {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub reason: String,
}

fn anything(_: &str) -> Result<(), String> {
    Ok(())
}

/// Words between commas.
fn words(text: &str) -> Vec<String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Claims with the texts they must be: `a=b,c=d`.
fn claims(text: &str) -> Result<BTreeMap<String, String>, String> {
    let one = |word: String| {
        let (claim, value) = word.split_once('=').unwrap_or_default();
        match claim.is_empty() {
            true => Err(format!("{word:?} is not written as CLAIM=VALUE")),
            false => Ok((claim.to_owned(), value.to_owned())),
        }
    };
    words(text).into_iter().map(one).collect()
}

fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

fn pem(text: &str) -> Result<(), String> {
    match text.contains("-----BEGIN CERTIFICATE-----") {
        true => Ok(()),
        false => Err("holds no certificate (PEM)".to_owned()),
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text:?} is no whole number from 0"))
}

fn audit_format(text: &str) -> Result<AuditFormat, String> {
    match text {
        "json" => Ok(AuditFormat::Json),
        "legacy" => Ok(AuditFormat::Legacy),
        _ => Err(format!("{text:?} is no format; `json` and `legacy` are")),
    }
}

/// A path in the guest; `-` is the journal of the node's service.
fn audit_path(text: &str) -> Result<(), String> {
    let fine = text == "-" || (text.starts_with('/') && !text.ends_with('/'));
    if fine { Ok(()) } else { Err(format!("{text:?} is neither `-` nor an absolute path")) }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";

    fn flags(pairs: &[(&str, &str)]) -> ApiServerFlags {
        let mut flags = ApiServerFlags::default();
        pairs.iter().for_each(|(name, value)| flags.set(name, value));
        flags
    }

    fn refused(pairs: &[(&str, &str)], expected: Expect) {
        expected.assert_eq(&flags(pairs).check().unwrap_err().to_string());
    }

    #[test]
    fn the_audit_log() {
        assert_eq!(flags(&[]).audit(), Ok(None));
        let path = ("audit-log-path", "/var/log/audit.log");
        let set = flags(&[path, ("audit-policy-file", POLICY), ("audit-log-maxsize", "5")]);
        set.check().unwrap();
        let audit = set.audit().unwrap().unwrap();
        assert_eq!(audit.format, AuditFormat::Json);
        assert_eq!(
            audit.target,
            AuditTarget::File { path: path.1.into(), size_max: 5, backups_max: 100, age_max: 366 }
        );
        let output = flags(&[("audit-log-path", "-"), ("audit-policy-file", POLICY)]);
        assert_eq!(output.audit().unwrap().unwrap().target, AuditTarget::Output);
        assert!(!format!("{output:?}").contains("Metadata"));
    }

    #[test]
    fn what_cannot_be_used() {
        refused(&[("v", "2")], expect!["v: is no flag that can be set"]);
        refused(
            &[("audit-log-path", "/a")],
            expect!["audit-log-path: has no effect without audit-policy-file"],
        );
        refused(
            &[("audit-policy-file", POLICY)],
            expect!["audit-policy-file: has no effect without audit-log-path"],
        );
        refused(
            &[("audit-log-maxsize", "5")],
            expect!["audit-log-maxsize: has no effect without audit-policy-file"],
        );
        refused(
            &[("audit-log-path", "log")],
            expect![[r#"audit-log-path: "log" is neither `-` nor an absolute path"#]],
        );
        refused(
            &[("audit-log-maxage", "-1")],
            expect![[r#"audit-log-maxage: "-1" is no whole number from 0"#]],
        );
        refused(
            &[("audit-log-format", "xml")],
            expect![[r#"audit-log-format: "xml" is no format; `json` and `legacy` are"#]],
        );
        refused(
            &[("encryption-provider-config", "kind: Pod\napiVersion: v1\n")],
            expect![[
                r#"encryption-provider-config: has apiVersion "v1" and kind "Pod"; "apiserver.config.k8s.io/v1" and "EncryptionConfiguration" are wanted"#
            ]],
        );
    }

    #[test]
    fn who_is_believed() {
        assert_eq!(flags(&[]).authentication(), Ok(Authentication::default()));
        let url = ("oidc-issuer-url", "https://a.example");
        let client = ("oidc-client-id", "minik");
        let set = flags(&[
            url,
            client,
            ("oidc-required-claim", "hd=a.example, level=2"),
            ("oidc-username-prefix", "-"),
            ("oidc-groups-claim", "roles"),
            ("oidc-signing-algs", "RS256,ES256"),
            ("anonymous-auth", "false"),
        ]);
        let read = set.authentication().unwrap();
        assert_eq!(read.algorithms, ["RS256", "ES256"]);
        assert_eq!(read.anonymous, Anonymous::Never);
        assert_eq!(read.jwt[0].claim_mappings.username.prefix.as_deref(), Some(""));
        assert_eq!(read.jwt[0].claim_validation_rules[1].required_value, "2");
        let file = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";
        refused(
            &[("authentication-config", file), url, client],
            expect!["oidc-client-id: cannot be used together with authentication-config"],
        );
        refused(
            &[client],
            expect![
                "oidc-issuer-url: oidc-issuer-url and oidc-client-id must be set if any oidc- flag is"
            ],
        );
        let says = format!("{file}anonymous: {{enabled: false}}\n");
        refused(
            &[("authentication-config", &says), ("anonymous-auth", "true")],
            expect!["anonymous-auth: cannot be used where authentication-config says the same"],
        );
        refused(
            &[("oidc-issuer-url", "http://a"), client],
            expect![[
                r#"oidc-issuer-url: jwt[0].issuer.url: Invalid value: "http://a": URL scheme must be https"#
            ]],
        );
        refused(
            &[url, client, ("oidc-required-claim", "hd")],
            expect![[r#"oidc-required-claim: "hd" is not written as CLAIM=VALUE"#]],
        );
        refused(
            &[url, client, ("oidc-ca-file", "none")],
            expect!["oidc-ca-file: holds no certificate (PEM)"],
        );
        let names = flags(&[("requestheader-allowed-names", "a, b")]).front_proxy_names();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn an_empty_value_takes_a_flag_back() {
        assert!(flags(&[("audit-log-path", "/a"), ("audit-log-path", "")]).is_empty());
    }
}
