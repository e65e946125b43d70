//! Which resources are encrypted in the store, and with which keys: `EncryptionConfiguration`.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::document::{or_default, typed};

/// Which resources are encrypted, and how. Earlier entries come before later ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionConfiguration {
    /// Resources with the way they are kept.
    pub resources: Vec<EncryptedResources>,
}

/// Resources that are kept in one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptedResources {
    /// Group and plural, each may be `*`.
    pub resources: Vec<(String, String)>,
    /// The first one writes; all are tried for reading.
    pub providers: Vec<EncryptionProvider>,
}

/// A way to keep an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncryptionProvider {
    /// As it is.
    Identity,
    /// AES in CBC mode.
    AesCbc(Vec<EncryptionKey>),
    /// AES in GCM mode, bound to the object's place.
    AesGcm(Vec<EncryptionKey>),
    /// XSalsa20 and Poly1305.
    Secretbox(Vec<EncryptionKey>),
}

/// A key. The first one of a provider writes.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey {
    /// The name that is written beside what it encrypts.
    pub name: String,
    /// Its bytes, of a length its provider takes.
    pub secret: Vec<u8>,
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name: {}, Secret: [REDACTED]", self.name)
    }
}

const AES_LENGTHS: &[usize] = &[16, 24, 32];
const SECRETBOX_LENGTHS: &[usize] = &[32];

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    #[serde(default, deserialize_with = "or_default")]
    resources: Vec<RawResources>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResources {
    #[serde(default, deserialize_with = "or_default")]
    resources: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    providers: Vec<RawProvider>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProvider {
    aesgcm: Option<RawKeys>,
    aescbc: Option<RawKeys>,
    secretbox: Option<RawKeys>,
    identity: Option<Nothing>,
    kms: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKeys {
    #[serde(default, deserialize_with = "or_default")]
    keys: Vec<RawKey>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawKey {
    #[serde(default, deserialize_with = "or_default")]
    name: String,
    #[serde(default, deserialize_with = "or_default")]
    secret: String,
}

impl EncryptionConfiguration {
    /// Understands a configuration.
    ///
    /// # Errors
    /// What is wrong, to be read after the name of the file. Never holds a key.
    pub fn from_text(text: &str) -> Result<EncryptionConfiguration, String> {
        let raw: Raw = typed(text, "apiserver.config.k8s.io/v1", "EncryptionConfiguration")?;
        if raw.resources.is_empty() {
            return Err("resources: Required value: at least one resources is required".to_owned());
        }
        let mut list = Vec::new();
        for (index, entry) in raw.resources.into_iter().enumerate() {
            let path = format!("resources[{index}]");
            let resources = resources(&entry.resources, &format!("{path}.resources"))?;
            let path = format!("{path}.providers");
            if entry.providers.is_empty() {
                return Err(format!("{path}: Required value: at least one {path} is required"));
            }
            let providers = entry.providers.into_iter().enumerate();
            let providers = providers
                .map(|(index, provider)| provider.checked(&format!("{path}[{index}]")))
                .collect::<Result<_, _>>()?;
            not_masked(&resources, &list)?;
            list.push(EncryptedResources { resources, providers });
        }
        Ok(EncryptionConfiguration { resources: list })
    }
}

/// An earlier wildcard would leave later entries without effect.
fn not_masked(
    resources: &[(String, String)],
    earlier: &[EncryptedResources],
) -> Result<(), String> {
    let earlier: Vec<_> = earlier.iter().flat_map(|entry| &entry.resources).collect();
    for (group, resource) in resources {
        for by in [(group.clone(), "*".to_owned()), ("*".to_owned(), "*".to_owned())] {
            if earlier.contains(&&by) {
                let resource = format!("{resource}.{group}");
                return Err(format!(
                    "resource {resource:?} is masked by earlier rule \"{}.{}\"",
                    by.1, by.0
                ));
            }
        }
    }
    Ok(())
}

fn resources(names: &[String], path: &str) -> Result<Vec<(String, String)>, String> {
    if names.is_empty() {
        return Err(format!("{path}: Required value: at least one {path} is required"));
    }
    let invalid = |at: String, value: &dyn fmt::Debug, why: &str| {
        Err(format!("{at}: Invalid value: {value:?}: {why}"))
    };
    let parsed: Vec<(String, String)> = names
        .iter()
        .map(|name| {
            let (resource, group) = name.split_once('.').unwrap_or((name, ""));
            (group.to_owned(), resource.to_owned())
        })
        .collect();
    for (index, (group, resource)) in parsed.iter().enumerate() {
        let rest = &parsed[index + 1..];
        if rest.contains(&parsed[index]) {
            let why = "the same resource cannot be specified multiple times";
            return invalid(path.to_owned(), &names, why);
        }
        let all = (group.as_str(), resource.as_str()) == ("*", "*");
        let overlaps = |(other, name): &(String, String)| {
            all || (other == "*" && name == "*")
                || (other == group && (name == "*" || resource == "*"))
        };
        if rest.iter().any(overlaps) {
            let why = "using overlapping resources such as 'secrets' and '*.' in the same resource \
                       list is not allowed as they will be masked";
            return invalid(path.to_owned(), &names, why);
        }
    }
    for (index, (name, (group, resource))) in names.iter().zip(&parsed).enumerate() {
        let why = if name.chars().any(char::is_uppercase) {
            "resource name should not contain capital letters"
        } else if name == "*" {
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all \
             resources"
        } else if matches!(
            name.as_str(),
            "apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations"
        ) {
            "resources which do not have REST API/s cannot be encrypted"
        } else if group == "events.k8s.io" {
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use \
             'events' instead in the config file"
        } else if group == "extensions" {
            "'extensions' group has been removed and cannot be used for encryption"
        } else if group == "*" && resource != "*" {
            "encrypting the same resource across groups is not supported"
        } else {
            continue;
        };
        return invalid(format!("{path}[{index}]"), name, why);
    }
    Ok(parsed)
}

impl RawProvider {
    fn checked(self, path: &str) -> Result<EncryptionProvider, String> {
        if self.kms.is_some() {
            return Err(format!(
                "{path}.kms: there is no key management service here; use secretbox, aesgcm or \
                 aescbc"
            ));
        }
        let mut found = Vec::new();
        if let Some(raw) = self.aesgcm {
            let keys = keys(raw, &format!("{path}.aesgcm.keys"), AES_LENGTHS)?;
            found.push(EncryptionProvider::AesGcm(keys));
        }
        if let Some(raw) = self.aescbc {
            let keys = keys(raw, &format!("{path}.aescbc.keys"), AES_LENGTHS)?;
            found.push(EncryptionProvider::AesCbc(keys));
        }
        if let Some(raw) = self.secretbox {
            let keys = keys(raw, &format!("{path}.secretbox.keys"), SECRETBOX_LENGTHS)?;
            found.push(EncryptionProvider::Secretbox(keys));
        }
        if self.identity.is_some() {
            found.push(EncryptionProvider::Identity);
        }
        match (found.pop(), found.is_empty()) {
            (Some(only), true) => Ok(only),
            (Some(_), false) => Err(format!(
                "{path}: more than one provider specified in a single element, should split into \
                 different list elements"
            )),
            (None, _) => Err(format!(
                "{path}: provider does not contain any of the expected providers: KMS, AESGCM, \
                 AESCBC, Secretbox, Identity"
            )),
        }
    }
}

fn keys(raw: RawKeys, path: &str, lengths: &[usize]) -> Result<Vec<EncryptionKey>, String> {
    if raw.keys.is_empty() {
        return Err(format!("{path}: Required value: at least one keys is required"));
    }
    let key = |(index, RawKey { name, secret }): (usize, RawKey)| {
        let path = format!("{path}[{index}]");
        for (field, value) in [("name", &name), ("secret", &secret)] {
            if value.is_empty() {
                return Err(format!(
                    "{path}.{field}: Required value: {field} is a mandatory field for a key"
                ));
            }
        }
        let wrong = |why: String| format!("{path}.secret: Invalid value: \"REDACTED\": {why}");
        let secret = STANDARD
            .decode(secret.replace(['\n', '\r'], ""))
            .map_err(|_| wrong("secrets must be base64 encoded".to_owned()))?;
        if !lengths.contains(&secret.len()) {
            let expected: Vec<_> = lengths.iter().map(ToString::to_string).collect();
            return Err(wrong(format!(
                "secret is not of the expected length, got {}, expected one of [{}]",
                secret.len(),
                expected.join(" ")
            )));
        }
        Ok(EncryptionKey { name, secret })
    };
    raw.keys.into_iter().enumerate().map(key).collect()
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use test_case::test_case;

    use super::*;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

    fn read(resources: &str) -> Result<EncryptionConfiguration, String> {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";
        let text = resources.replace("KEY", KEY);
        EncryptionConfiguration::from_text(&format!("{head}resources: [{text}]"))
    }

    #[test]
    fn a_configuration_with_everything() {
        let read = read(
            "{resources: [events], providers: [{identity: {}}]}, \
             {resources: [secrets, pandas.bears.example], providers: [\
             {secretbox: {keys: [{name: a, secret: KEY}, {name: b, secret: KEY}]}}, \
             {aesgcm: {keys: [{name: c, secret: KEY}]}}]}, \
             {resources: ['*.apps'], providers: [{aescbc: {keys: [{name: d, secret: KEY}]}}]}, \
             {resources: ['*.*'], providers: [{identity: {}}]}",
        );
        expect![[r#"EncryptionConfiguration { resources: [EncryptedResources { resources: [("", "events")], providers: [Identity] }, EncryptedResources { resources: [("", "secrets"), ("bears.example", "pandas")], providers: [Secretbox([Name: a, Secret: [REDACTED], Name: b, Secret: [REDACTED]]), AesGcm([Name: c, Secret: [REDACTED]])] }, EncryptedResources { resources: [("apps", "*")], providers: [AesCbc([Name: d, Secret: [REDACTED]])] }, EncryptedResources { resources: [("*", "*")], providers: [Identity] }] }"#]].assert_eq(&format!("{:?}", read.unwrap()));
    }

    #[test_case("", "resources: Required value"; "nothing")]
    #[test_case("{providers: [{identity: {}}]}", "resources[0].resources: Required"; "no resources")]
    #[test_case("{resources: [secrets]}", "resources[0].providers: Required value"; "no providers")]
    #[test_case("{resources: [a], providers: [{}]}", "expected providers"; "empty provider")]
    #[test_case("{resources: [a], providers: [{kms: {name: x}}]}", "no key management"; "kms")]
    #[test_case("{resources: [a], providers: [{identity: {}, aesgcm: {keys: [{name: a, secret: KEY}]}}]}", "more than one provider"; "two in one")]
    #[test_case("{resources: [a], providers: [{aesgcm: {keys: []}}]}", "at least one keys"; "no keys")]
    #[test_case("{resources: [a], providers: [{aesgcm: {keys: [{secret: KEY}]}}]}", "name is a mandatory"; "no name")]
    #[test_case("{resources: [a], providers: [{aesgcm: {keys: [{name: a}]}}]}", "secret is a mandatory"; "no secret")]
    #[test_case("{resources: [a], providers: [{aesgcm: {keys: [{name: a, secret: 'a-b'}]}}]}", "base64"; "no base64")]
    #[test_case("{resources: [a], providers: [{secretbox: {keys: [{name: a, secret: YWJj}]}}]}", "got 3, expected one of [32]"; "short")]
    #[test_case("{resources: [Secrets], providers: [{identity: {}}]}", "capital"; "capital letters")]
    #[test_case("{resources: ['*'], providers: [{identity: {}}]}", "use '*.'"; "star")]
    #[test_case("{resources: [a, a], providers: [{identity: {}}]}", "multiple times"; "twice")]
    #[test_case("{resources: [a, '*.'], providers: [{identity: {}}]}", "overlapping"; "overlap")]
    #[test_case("{resources: ['*.*', a], providers: [{identity: {}}]}", "overlapping"; "overlap of all")]
    #[test_case("{resources: [a.events.k8s.io], providers: [{identity: {}}]}", "Use 'events'"; "events")]
    #[test_case("{resources: [a.extensions], providers: [{identity: {}}]}", "has been removed"; "extensions")]
    #[test_case("{resources: ['a.*'], providers: [{identity: {}}]}", "across groups"; "across")]
    #[test_case("{resources: ['*.'], providers: [{identity: {}}]}, {resources: [a], providers: [{identity: {}}]}", "resource \"a.\" is masked by earlier rule \"*.\""; "masked")]
    #[test_case("{resources: [a], providers: [{aesgcm: {keys: KEY}}]}", "expected sequence"; "wrong shape")]
    fn refused(resources: &str, says: &str) {
        let err = read(resources).unwrap_err();
        assert!(err.contains(says), "{err}");
        assert!(!err.contains(KEY), "{err}");
    }
}
