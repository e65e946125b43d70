//! Image names as containerd's kubelet side keeps them: with registry and tag.

/// `app` is `docker.io/library/app:latest`, as everywhere in Kubernetes and Docker.
pub(crate) fn normalized(name: &str) -> String {
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if is_registry(first) => (first, rest.to_owned()),
        Some(_) => ("docker.io", name.to_owned()),
        None => ("docker.io", format!("library/{name}")),
    };
    let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
    let last = path.rsplit('/').next().unwrap_or(&path);
    let tagged = last.contains(':') || path.contains('@');
    let tag = if tagged { "" } else { ":latest" };
    format!("{registry}/{path}{tag}")
}

fn is_registry(first: &str) -> bool {
    first.contains(['.', ':']) || first == "localhost"
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    #[test_case("app", "docker.io/library/app:latest")]
    #[test_case("app:v1", "docker.io/library/app:v1")]
    #[test_case("me/app", "docker.io/me/app:latest")]
    #[test_case("localhost/app", "localhost/app:latest")]
    #[test_case("localhost:5000/app:v1", "localhost:5000/app:v1")]
    #[test_case("ghcr.io/a/b/c", "ghcr.io/a/b/c:latest")]
    #[test_case("app@sha256:12", "docker.io/library/app@sha256:12")]
    #[test_case("index.docker.io/me/app", "docker.io/me/app:latest")]
    fn names(name: &str, expected: &str) {
        assert_eq!(super::normalized(name), expected);
    }
}
