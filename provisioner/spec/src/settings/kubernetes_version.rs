//! `--kubernetes-version`: minik is one minor version of Kubernetes, the one it was made from.

use crate::cluster::KUBERNETES_VERSION;
use crate::error::SpecError;

/// Takes `stable`, `latest` and every way to write the version this minik is.
pub(crate) fn check_version(text: &str) -> Result<(), SpecError> {
    if matches!(text, "" | "stable" | "latest") {
        return Ok(());
    }
    let asked = text.strip_prefix('v').unwrap_or(text);
    let ours = KUBERNETES_VERSION.trim_start_matches('v');
    let minor = ours.rsplit_once('.').map_or(ours, |(minor, _)| minor);
    if asked == ours || asked == minor {
        return Ok(());
    }
    let reason = format!("is not in this minik, which is Kubernetes {KUBERNETES_VERSION}");
    Err(SpecError::setting("kubernetes-version", text, reason))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    #[test_case("stable", true)]
    #[test_case("latest", true)]
    #[test_case("v1.36.0", true)]
    #[test_case("1.36", true)]
    #[test_case("v1.35.2", false)]
    #[test_case("newest", false)]
    fn versions(text: &str, fine: bool) {
        assert_eq!(super::check_version(text).is_ok(), fine);
    }
}
