//! Reading documents that users give: YAML or JSON, with their kind checked first.

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer};

/// Largest document that is read, in bytes.
pub(crate) const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// Understands YAML. Messages tell where something is wrong, never what stands there: keys may.
pub(crate) fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_yaml::options! { with_snippet: false };
    serde_yaml::from_str_with_options(text, options).map_err(|err| err.to_string())
}

/// A document of this kind.
pub(crate) fn typed<T: DeserializeOwned>(
    text: &str,
    api_version: &str,
    kind: &str,
) -> Result<T, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Head {
        #[serde(default, deserialize_with = "or_default")]
        api_version: String,
        #[serde(default, deserialize_with = "or_default")]
        kind: String,
    }
    if text.len() > DOCUMENT_BYTES_MAX {
        return Err(format!("is larger than {DOCUMENT_BYTES_MAX} bytes"));
    }
    let head: Head = yaml(text)?;
    if head.api_version != api_version || head.kind != kind {
        return Err(format!(
            "has apiVersion {:?} and kind {:?}; {api_version:?} and {kind:?} are wanted",
            head.api_version, head.kind
        ));
    }
    yaml(text)
}

/// A field that is absent when it is null, as everywhere in Kubernetes.
pub(crate) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
