//! Custom resources as the store's definitions make them, and what becomes of definitions.

pub(crate) mod lifecycle;

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;
use minik_api::Resource;
use minik_api::custom::{established, resources};
use minik_api::kinds::Group;
use minik_store::Revision;
use serde_json::Value;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::kinds::Kind;
use crate::live::Fold;

/// Where definitions are stored.
pub(crate) const PREFIX: &str = "/registry/apiextensions.k8s.io/customresourcedefinitions/";

/// The resources of all definitions that are established.
#[derive(Default)]
pub(crate) struct Definitions {
    by_key: BTreeMap<String, Definition>,
}

/// One definition.
struct Definition {
    resources: Vec<Arc<Resource>>,
    /// A digest of all that its resources are made of.
    digest: u64,
    /// The revision it has been so since.
    since: u64,
    retired: CancellationToken,
    /// Ends what follows its resources when the definition goes or changes.
    _end: DropGuard,
}

impl Fold for Definitions {
    const PREFIXES: &'static [&'static str] = &[PREFIX];

    fn apply(&mut self, key: &str, _: Option<&Value>) {
        // Only what is gone comes here; the rest is handed over as it is stored.
        self.by_key.remove(key);
    }

    fn apply_stored(&mut self, key: &str, stored: Option<(&Bytes, Revision)>) {
        let parsed = stored.and_then(|(bytes, revision)| {
            let definition = serde_json::from_slice::<Value>(bytes).ok()?;
            established(&definition).then_some((definition, bytes, revision))
        });
        let Some((definition, bytes, revision)) = parsed else {
            self.apply(key, None);
            return;
        };
        let digest = digest(&definition);
        let kept = self.by_key.remove(key).filter(|known| known.digest == digest);
        let since = kept.as_ref().map_or(revision.0, |known| known.since);
        let resources = resources(&definition, bytes, since);
        let resources = resources.into_iter().map(Arc::new).collect();
        let new = match kept {
            Some(known) => Definition { resources, ..known },
            None => {
                let retired = CancellationToken::new();
                let end = retired.clone().drop_guard();
                Definition { resources, digest, since, retired, _end: end }
            }
        };
        self.by_key.insert(key.to_owned(), new);
    }
}

impl Definitions {
    fn each(&self) -> impl Iterator<Item = (&Definition, &Arc<Resource>)> {
        self.by_key.values().flat_map(|one| one.resources.iter().map(move |kind| (one, kind)))
    }

    /// The resource of a path.
    pub(crate) fn find(&self, group: &str, version: &str, plural: &str) -> Option<Kind> {
        let definition = self.by_key.get(&format!("{PREFIX}{plural}.{group}"))?;
        definition.resources.iter().find(|one| one.version == version).cloned()
    }

    /// Cancelled when the resource is no more what it is; at once if there is none.
    pub(crate) fn retirement(&self, group: &str, version: &str, plural: &str) -> CancellationToken {
        let definition = self.by_key.get(&format!("{PREFIX}{plural}.{group}"));
        let served = definition
            .filter(|definition| definition.resources.iter().any(|one| one.version == version));
        served.map_or_else(
            || {
                let gone = CancellationToken::new();
                gone.cancel();
                gone
            },
            |definition| definition.retired.clone(),
        )
    }

    /// All of them, by group, version and name.
    pub(crate) fn all(&self) -> Vec<Kind> {
        let mut all: Vec<Kind> = self.each().map(|(_, kind)| Arc::clone(kind)).collect();
        all.sort_by(|a, b| {
            (&a.group, &a.version, &a.plural).cmp(&(&b.group, &b.version, &b.plural))
        });
        all
    }

    /// Their groups by name, the preferred version of each first.
    pub(crate) fn groups(&self) -> Vec<Group> {
        let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (_, kind) in self.each() {
            let versions = groups.entry(&kind.group).or_default();
            if !versions.contains(&kind.version.as_ref()) {
                versions.push(&kind.version);
            }
        }
        let group = |(name, mut versions): (&str, Vec<&str>)| {
            versions.sort_by_key(|version| Reverse(priority(version)));
            let versions = versions.into_iter().map(|version| version.to_owned().into());
            Group { name: name.to_owned().into(), versions: versions.collect() }
        };
        groups.into_iter().map(group).collect()
    }
}

/// How preferred a version is: stable ones by number, then betas, then alphas, then other names
/// by the alphabet.
pub(crate) fn priority(version: &str) -> (u8, u64, u64, Reverse<String>) {
    let other = (0, 0, 0, Reverse(version.to_owned()));
    let Some(rest) = version.strip_prefix('v') else { return other };
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let Ok(major) = rest[..digits].parse() else { return other };
    let none = Reverse(String::new());
    let numbered = |rank: u8, minor: &str| minor.parse().ok().map(|minor| (rank, major, minor));
    let ranked = match &rest[digits..] {
        "" => Some((3, major, 0)),
        stage => match (stage.strip_prefix("beta"), stage.strip_prefix("alpha")) {
            (Some(""), _) => Some((2, major, 0)),
            (_, Some("")) => Some((1, major, 0)),
            (Some(minor), _) => numbered(2, minor),
            (_, Some(minor)) => numbered(1, minor),
            (None, None) => None,
        },
    };
    ranked.map_or(other, |(rank, major, minor)| (rank, major, minor, none))
}

/// A digest of all that the resources of a definition are made of.
fn digest(definition: &Value) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    definition["spec"].to_string().hash(&mut hasher);
    definition["status"]["acceptedNames"].to_string().hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_order_of_preference() {
        let mut versions = vec!["v1alpha1", "foo", "v1", "v2beta2", "v10", "v2beta10", "bar", "v2"];
        versions.sort_by_key(|version| Reverse(priority(version)));
        let expected = ["v10", "v2", "v1", "v2beta10", "v2beta2", "v1alpha1", "bar", "foo"];
        assert_eq!(versions, expected);
    }
}
