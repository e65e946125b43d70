//! Where an image comes from: the address of its manifest, and mirrors to turn to when it fails.

use std::path::{Path, PathBuf};

use reqwest::Url;

use crate::error::ImageError;
use crate::manifest::MANIFEST_FILE;

/// The addresses of one manifest, in the order they are tried; the files lie beside it. At least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    manifests: Vec<Url>,
}

impl Source {
    /// Takes the first that is given: the flag, the environment's `MINIK_IMAGE_URL`, the configuration.
    ///
    /// # Errors
    /// [`ImageError::NoSource`] when none is, [`ImageError::BadSource`] when it makes no sense.
    pub fn resolve(
        flag: Option<&str>,
        environment: Option<&str>,
        config: Option<&str>,
    ) -> Result<Self, ImageError> {
        [flag, environment, config]
            .into_iter()
            .flatten()
            .find(|text| !text.trim().is_empty())
            .map_or(Err(ImageError::NoSource), Self::parse)
    }

    /// Understands one or several addresses with commas or blanks between them: `http`, `https`, `file`, or a path, of
    /// a manifest or of the folder it lies in.
    ///
    /// # Errors
    /// [`ImageError::BadSource`].
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let manifests = text
            .split([',', ' ', '\n'])
            .filter(|one| !one.is_empty())
            .map(parse_one)
            .collect::<Result<Vec<_>, _>>()?;
        if manifests.is_empty() {
            return Err(ImageError::NoSource);
        }
        Ok(Self { manifests })
    }

    /// The manifest's addresses.
    pub(crate) fn manifests(&self) -> &[Url] {
        &self.manifests
    }

    /// Whether the first address is a file of this machine: asking again costs nothing, and a rebuild should count.
    pub(crate) fn is_local(&self) -> bool {
        self.manifests[0].scheme() == "file"
    }
}

/// For messages: the addresses as they were understood.
impl std::fmt::Display for Source {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let texts: Vec<&str> = self.manifests.iter().map(Url::as_str).collect();
        out.write_str(&texts.join(", "))
    }
}

fn parse_one(text: &str) -> Result<Url, ImageError> {
    let refuse = |reason: String| ImageError::BadSource { text: text.into(), reason };
    let mut url = if text.contains("://") {
        Url::parse(text).map_err(|error| refuse(error.to_string()))?
    } else {
        let path =
            std::path::absolute(Path::new(text)).map_err(|error| refuse(error.to_string()))?;
        Url::from_file_path(&path).map_err(|()| refuse("it is not a path".into()))?
    };
    if !matches!(url.scheme(), "http" | "https" | "file") {
        return Err(refuse(format!("{} is not http, https or file", url.scheme())));
    }
    if !url.path().ends_with(".json") {
        let folder = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{folder}/{MANIFEST_FILE}"));
    }
    Ok(url)
}

/// The address of a file beside the manifest; a query (a token, say) goes along.
pub(crate) fn beside(manifest: &Url, name: &str) -> Url {
    let mut url = manifest.clone();
    let folder = url.path().rsplit_once('/').map_or("", |(folder, _)| folder).to_owned();
    url.set_path(&format!("{folder}/{name}"));
    url
}

/// The path that a `file` address stands for.
pub(crate) fn local_path(url: &Url) -> Option<PathBuf> {
    if url.scheme() == "file" { url.to_file_path().ok() } else { None }
}

/// An address without what must not be shown: user, password and query.
pub(crate) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Fails only for addresses that cannot hold a user, which then hold none.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(text: &str, wanted: Expect) {
        wanted.assert_eq(&match Source::parse(text) {
            Ok(source) => source.to_string(),
            Err(error) => error.to_string(),
        });
    }

    #[test]
    fn addresses_and_paths_name_a_manifest() {
        check("http://mirror.test/v1", expect!["http://mirror.test/v1/manifest.json"]);
        check("https://mirror.test/v1/", expect!["https://mirror.test/v1/manifest.json"]);
        check("https://mirror.test/v1/other.json", expect!["https://mirror.test/v1/other.json"]);
        check("/srv/image", expect!["file:///srv/image/manifest.json"]);
        check("file:///srv/image/manifest.json", expect!["file:///srv/image/manifest.json"]);
        check(
            "http://a.test/x, http://b.test/y",
            expect!["http://a.test/x/manifest.json, http://b.test/y/manifest.json"],
        );
        check(
            "ftp://a.test/x",
            expect![[
                r#""ftp://a.test/x" does not name a guest image: ftp is not http, https or file"#
            ]],
        );
    }

    #[test]
    fn the_nearest_word_counts_and_none_is_an_error_that_helps() {
        let chosen = |flag, environment, config| {
            Source::resolve(flag, environment, config).map(|source| source.to_string())
        };
        assert_eq!(
            chosen(None, Some("/env"), Some("/config")).expect("fine"),
            "file:///env/manifest.json"
        );
        assert_eq!(
            chosen(Some("/flag"), Some("/env"), None).expect("fine"),
            "file:///flag/manifest.json"
        );
        assert_eq!(chosen(None, Some(""), Some("/c")).expect("fine"), "file:///c/manifest.json");
        let error = chosen(None, None, None).expect_err("none").to_string();
        assert!(error.contains("make guest-image") && error.contains("MINIK_IMAGE_URL"), "{error}");
    }

    #[test]
    fn files_lie_beside_the_manifest_and_secrets_are_not_shown() {
        let url = Url::parse("https://me:word@h.test/v1/manifest.json?token=1").expect("a URL");
        assert_eq!(beside(&url, "initrd").as_str(), "https://me:word@h.test/v1/initrd?token=1");
        assert_eq!(shown(&url), "https://h.test/v1/manifest.json");
    }
}
