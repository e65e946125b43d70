//! Names of images as people write them.

/// Why a name is no image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("couldn't parse image name \"{0}\": invalid reference format")]
pub(crate) struct InvalidName(pub(crate) String);

/// An image by name, with the tag that is meant when none is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    /// Host and port of the registry, `docker.io` if none is written.
    pub(crate) registry: String,
    /// Path in the registry, with `library/` where it is meant.
    pub(crate) repository: String,
    /// As written, plus `:latest` if it has neither tag nor digest.
    pub(crate) full: String,
    /// Whether the tag is `latest`: then the default policy pulls always.
    pub(crate) is_latest: bool,
}

impl Reference {
    pub(crate) fn parse(text: &str) -> Result<Self, InvalidName> {
        let invalid = || InvalidName(text.to_owned());
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        if digest.is_some_and(|digest| !is_digest(digest)) {
            return Err(invalid());
        }
        let last = named.rfind('/').map_or(0, |at| at + 1);
        let (name, tag) = match named[last..].find(':') {
            Some(at) => (&named[..last + at], Some(&named[last + at + 1..])),
            None => (named, None),
        };
        if tag.is_some_and(|tag| !is_tag(tag)) {
            return Err(invalid());
        }
        let (registry, path) = match name.split_once('/') {
            Some((first, rest)) if is_registry(first) => (first, rest),
            _ => ("docker.io", name),
        };
        if path.is_empty() || !path.split('/').all(is_component) {
            return Err(invalid());
        }
        let repository = match registry {
            "docker.io" | "index.docker.io" if !path.contains('/') => format!("library/{path}"),
            _ => path.to_owned(),
        };
        let is_bare = tag.is_none() && digest.is_none();
        Ok(Self {
            registry: registry.to_owned(),
            repository,
            full: if is_bare { format!("{text}:latest") } else { text.to_owned() },
            is_latest: is_bare || (tag == Some("latest") && digest.is_none()),
        })
    }
}

fn is_registry(first: &str) -> bool {
    first.contains('.') || first.contains(':') || first == "localhost"
}

fn is_component(part: &str) -> bool {
    let is_edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let inside = |c: char| is_edge(c) || matches!(c, '.' | '_' | '-');
    part.starts_with(is_edge) && part.ends_with(is_edge) && part.chars().all(inside)
}

fn is_tag(tag: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !tag.is_empty()
        && tag.len() <= 128
        && tag.starts_with(is_word)
        && tag.chars().all(|c| is_word(c) || matches!(c, '.' | '-'))
}

fn is_digest(digest: &str) -> bool {
    let Some((algorithm, hex)) = digest.split_once(':') else { return false };
    !algorithm.is_empty() && hex.len() >= 32 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("nginx" => "docker.io library/nginx nginx:latest true")]
    #[test_case("nginx:1.27" => "docker.io library/nginx nginx:1.27 false")]
    #[test_case("team/app:latest" => "docker.io team/app team/app:latest true")]
    #[test_case("localhost:5000/app" => "localhost:5000 app localhost:5000/app:latest true")]
    #[test_case("registry.example/a/b:v1" => "registry.example a/b registry.example/a/b:v1 false")]
    fn names(text: &str) -> String {
        let it = Reference::parse(text).expect("a name");
        format!("{} {} {} {}", it.registry, it.repository, it.full, it.is_latest)
    }

    #[test]
    fn digests() {
        let text = format!("app@sha256:{}", "0".repeat(64));
        let it = Reference::parse(&text).expect("a name");
        assert_eq!((it.full.as_str(), it.is_latest), (text.as_str(), false));
    }

    #[test_case("")]
    #[test_case("Nginx"; "upper case")]
    #[test_case("a b")]
    #[test_case("app:")]
    #[test_case("app@sha256:xyz")]
    #[test_case("registry.example/"; "no path")]
    fn not_names(text: &str) {
        assert_eq!(Reference::parse(text), Err(InvalidName(text.into())));
    }
}
