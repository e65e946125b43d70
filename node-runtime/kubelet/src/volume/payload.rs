//! What files a ConfigMap, Secret or the downward API puts into a volume.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ConfigMap, DownwardAPIVolumeFile, KeyToPath, Pod, Secret};

use super::VolumeError;
use super::atomic::{File, Payload};
use crate::spec::fields::{self, NodeFacts};

/// The mode of files when nothing is said.
pub(crate) const DEFAULT_MODE: i32 = 0o644;

/// A ConfigMap's entries, text and binary.
pub(crate) fn config_map_data(map: &ConfigMap) -> BTreeMap<String, Vec<u8>> {
    let text = map.data.iter().flatten();
    let text = text.map(|(key, value)| (key.clone(), value.clone().into_bytes()));
    let binary = map.binary_data.iter().flatten();
    text.chain(binary.map(|(key, value)| (key.clone(), value.0.clone()))).collect()
}

/// A Secret's entries.
pub(crate) fn secret_data(secret: &Secret) -> BTreeMap<String, Vec<u8>> {
    secret.data.iter().flatten().map(|(key, value)| (key.clone(), value.0.clone())).collect()
}

/// Chooses and renames entries; all of them if no items are named.
pub(crate) fn select(
    what: &str,
    data: BTreeMap<String, Vec<u8>>,
    items: Option<&[KeyToPath]>,
    default_mode: i32,
    optional: bool,
) -> Result<Payload, VolumeError> {
    let file = |data, mode: Option<i32>| File { data, mode: bits(mode, default_mode), owner: None };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.into_iter().map(|(key, data)| (key, file(data, None))).collect());
    };
    let mut payload = Payload::new();
    for item in items {
        match data.get(&item.key) {
            Some(data) => {
                payload.insert(item.path.clone(), file(data.clone(), item.mode));
            }
            None if optional => {}
            None => {
                let (what, key) = (what.to_owned(), item.key.clone());
                return Err(VolumeError::NoKey { what, key });
            }
        }
    }
    Ok(payload)
}

/// The files of the downward API.
pub(crate) fn downward(
    pod: &Pod,
    facts: &NodeFacts,
    items: &[DownwardAPIVolumeFile],
    default_mode: i32,
) -> Result<Payload, VolumeError> {
    let mut payload = Payload::new();
    for item in items {
        let text = match (&item.field_ref, &item.resource_field_ref) {
            (Some(selector), _) => fields::field(pod, facts, selector)?,
            (None, Some(selector)) => fields::resource(pod, facts, None, selector)?,
            (None, None) => continue,
        };
        let mode = bits(item.mode, default_mode);
        payload.insert(item.path.clone(), File { data: text.into_bytes(), mode, owner: None });
    }
    Ok(payload)
}

pub(crate) fn bits(mode: Option<i32>, default: i32) -> u32 {
    u32::try_from(mode.unwrap_or(default)).unwrap_or(0o644) & 0o777
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> BTreeMap<String, Vec<u8>> {
        BTreeMap::from([("a".into(), b"1".to_vec()), ("b".into(), b"2".to_vec())])
    }

    fn item(key: &str, path: &str, mode: Option<i32>) -> KeyToPath {
        KeyToPath { key: key.into(), path: path.into(), mode }
    }

    #[test]
    fn all_or_the_named_ones() {
        let all = select("configmap x", data(), None, 0o600, false).expect("files");
        assert_eq!(all.keys().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(all["a"].mode, 0o600);

        let items = [item("b", "sub/file", Some(0o400))];
        let one = select("configmap x", data(), Some(&items), 0o644, false).expect("files");
        let want = File { data: b"2".to_vec(), mode: 0o400, owner: None };
        assert_eq!(one, Payload::from([("sub/file".to_owned(), want)]));
    }

    #[test]
    fn missing_keys() {
        let items = [item("none", "x", None)];
        let error = select("configmap x", data(), Some(&items), 0o644, false).expect_err("no key");
        assert_eq!(error.to_string(), "configmap x references non-existent config key: none");
        assert_eq!(select("x", data(), Some(&items), 0o644, true).expect("none").len(), 0);
    }
}
