//! The seed this guest lives by, kept on the data disk: the seed disk's at first, a later `rehome`'s from then on.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, on_file};
use crate::identity;
use crate::seed::Documents;

/// Where the running guest finds it.
pub(crate) const PATH: &str = "/var/lib/minik/seed.json";

/// The documents and where they came from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Saved {
    pub(crate) documents: Documents,
    /// Set by `rehome`: the instance id that the attached seed disk had, whose word no longer counts.
    pub(crate) replaces: Option<String>,
}

/// Reads it; `None` when this guest has no identity yet.
pub(crate) fn read(path: &Path) -> Result<Option<Saved>, Error> {
    let text = match fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(on_file("read", path)(error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|source| Error::Seed { document: "the saved copy", source })
}

/// Keeps it, readable for root only: it holds the SSH host key.
pub(crate) fn write(path: &Path, saved: &Saved) -> Result<(), Error> {
    let text = serde_json::to_vec(saved)
        .map_err(|source| Error::Seed { document: "the saved copy", source })?;
    identity::replace(path, 0o600, &text)
}

/// Which seed counts at boot: the disk's, unless a rehome has replaced exactly that one.
pub(crate) fn choose(disk: Option<Documents>, kept: Option<Saved>) -> Result<Option<Saved>, Error> {
    let Some(documents) = disk else { return Ok(kept) };
    let instance_id = documents.parse()?.instance_id;
    match kept {
        Some(kept) if kept.replaces.as_deref() == Some(&instance_id) => Ok(Some(kept)),
        _ => Ok(Some(Saved { documents, replaces: None })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::tests::documents;

    fn named(instance: &str) -> Documents {
        let mut documents = documents();
        documents.meta_data = documents.meta_data.replace("i-1", instance);
        documents
    }

    fn check(disk: Option<&str>, kept: Option<(&str, Option<&str>)>, wanted: Option<&str>) {
        let kept = kept.map(|(instance, replaces)| Saved {
            documents: named(instance),
            replaces: replaces.map(str::to_owned),
        });
        let chosen = choose(disk.map(named), kept)
            .expect("good seeds")
            .map(|saved| saved.documents.parse().expect("a good seed").instance_id);
        assert_eq!(chosen.as_deref(), wanted);
    }

    #[test]
    fn the_disk_counts_until_a_rehome_replaced_it() {
        check(None, None, None);
        check(Some("disk"), None, Some("disk"));
        check(None, Some(("kept", None)), Some("kept"));
        check(Some("disk"), Some(("kept", None)), Some("disk"));
        check(Some("disk"), Some(("clone", Some("disk"))), Some("clone"));
        check(Some("other"), Some(("clone", Some("disk"))), Some("other"));
    }

    #[test]
    fn what_is_kept_comes_back_and_is_private() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("seed.json");
        assert_eq!(read(&path).expect("absent is fine"), None);
        let saved = Saved { documents: documents(), replaces: Some("i-0".into()) };
        write(&path, &saved).expect("written");
        assert_eq!(read(&path).expect("readable"), Some(saved));
        assert_eq!(fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
