//! Which images a guest has, and taking one away.

use std::collections::BTreeMap;

use super::CTR;
use super::names::normalized;
use crate::error::{ProvisionError, Result};
use crate::shell::{QUICK, Shell, quote};
use crate::work::run;

/// One image of a guest, with all its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageInfo {
    /// Digest of its configuration, `sha256:…`, as Docker shows it; empty until the kubelet's runtime
    /// has seen the image.
    pub id: String,
    /// Names with tags.
    pub repo_tags: Vec<String>,
    /// Names with digests.
    pub repo_digests: Vec<String>,
    /// Bytes of its layers, to containerd's precision of a tenth of a unit.
    pub size: u64,
}

/// The images of a guest, by their first name.
///
/// # Errors
/// The guest's containerd does not answer.
pub fn list(shell: &mut dyn Shell, machine: &str) -> Result<Vec<ImageInfo>> {
    let output = run(shell, machine, &format!("{CTR} images ls"), QUICK)?;
    Ok(understand(&output.stdout))
}

/// Takes the name off an image, and the image away with its last name.
///
/// # Errors
/// [`ProvisionError::ImageNotFound`], or containerd's.
pub fn remove(shell: &mut dyn Shell, machine: &str, image: &str) -> Result<()> {
    let wanted = normalized(image);
    let is_it = |info: &&ImageInfo| {
        info.repo_tags.contains(&wanted) || info.repo_digests.contains(&wanted) || info.id == image
    };
    let images = list(shell, machine)?;
    let Some(found) = images.iter().find(is_it) else {
        let (machine, image) = (machine.to_owned(), image.to_owned());
        return Err(ProvisionError::ImageNotFound { machine, image });
    };
    let others = found.repo_tags.iter().any(|tag| *tag != wanted);
    let by_name = found.repo_tags.contains(&wanted);
    let names: Vec<String> = if by_name && others {
        vec![quote(&wanted)]
    } else {
        let all = found.repo_tags.iter().chain(&found.repo_digests).chain([&found.id]);
        all.filter(|name| !name.is_empty()).map(|name| quote(name)).collect()
    };
    run(shell, machine, &format!("{CTR} images rm --sync {}", names.join(" ")), QUICK)?;
    Ok(())
}

/// `ctr images ls`: reference, type, digest, size in two words, platforms, labels. Several references
/// with one digest are one image.
fn understand(text: &str) -> Vec<ImageInfo> {
    let mut images: BTreeMap<&str, ImageInfo> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [reference, _, digest, number, unit, ..] = words[..] else { continue };
        let image = images.entry(digest).or_default();
        image.size = bytes(number, unit).unwrap_or(image.size);
        if reference.starts_with("sha256:") {
            reference.clone_into(&mut image.id);
        } else if reference.contains('@') {
            image.repo_digests.push(reference.to_owned());
        } else {
            image.repo_tags.push(reference.to_owned());
        }
    }
    let mut images: Vec<ImageInfo> = images.into_values().collect();
    images.sort_by(|a, b| (&a.repo_tags, &a.id).cmp(&(&b.repo_tags, &b.id)));
    images
}

fn bytes(number: &str, unit: &str) -> Option<u64> {
    let factor: f64 = match unit {
        "B" => 1.0,
        "KiB" => 1024.0,
        "MiB" => 1024.0 * 1024.0,
        "GiB" => 1024.0 * 1024.0 * 1024.0,
        _ => return None,
    };
    Some((number.parse::<f64>().ok()? * factor) as u64)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;
    use crate::shell::scripted::ScriptedGuest;

    const LS: &str = "\
REF                           TYPE                                       DIGEST    SIZE      PLATFORMS   LABELS
docker.io/library/web:v1      application/vnd.oci.image.manifest.v1+json sha256:aa 1.5 MiB   linux/amd64 io.cri-containerd.image=managed
docker.io/library/web:v2      application/vnd.oci.image.manifest.v1+json sha256:aa 1.5 MiB   linux/amd64 io.cri-containerd.image=managed
registry.minik.internal/pause:1 application/vnd.oci.image.manifest.v1+json sha256:bb 4.0 KiB linux/amd64 -
sha256:11                     application/vnd.oci.image.manifest.v1+json sha256:aa 1.5 MiB   linux/amd64 io.cri-containerd.image=managed
";

    #[test]
    fn names_of_one_image_are_together() {
        let text: Vec<String> = understand(LS)
            .iter()
            .map(|image| format!("{} [{}] {}", image.id, image.repo_tags.join(" "), image.size))
            .collect();
        expect![[r#"
            sha256:11 [docker.io/library/web:v1 docker.io/library/web:v2] 1572864
             [registry.minik.internal/pause:1] 4096"#]]
        .assert_eq(&text.join("\n"));
        assert_eq!(understand(""), []);
    }

    #[test]
    fn an_image_goes_with_its_last_name() {
        let guest = ScriptedGuest::default();
        guest.answer("ctr -n k8s.io images ls", 0, LS);
        let mut shell = guest.shell();
        let mut removal = |image: &str| {
            let result = remove(&mut *shell, "dev", image);
            let last = guest.take_calls().pop().unwrap();
            result.map_or_else(|err| err.to_string(), |()| last)
        };
        expect!["ctr -n k8s.io images rm --sync docker.io/library/web:v1"]
            .assert_eq(&removal("web:v1"));
        expect!["ctr -n k8s.io images rm --sync registry.minik.internal/pause:1"]
            .assert_eq(&removal("registry.minik.internal/pause:1"));
        expect!["ctr -n k8s.io images rm --sync docker.io/library/web:v1 docker.io/library/web:v2 sha256:11"].assert_eq(&removal("sha256:11"));
        expect!["dev has no image `other`"].assert_eq(&removal("other"));
    }
}
