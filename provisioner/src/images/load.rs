//! Sends images into a guest: only the blobs its containerd does not have yet.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use super::CTR;
use super::archive::{Archive, DOCUMENT_MAX};
use super::names::normalized;
use crate::error::{ProvisionError, Result};
use crate::shell::{Packing, QUICK, Shell, exec_with};
use crate::work::run;

/// How long the guest may be silent while it unpacks.
const UNPACK: Duration = Duration::from_secs(600);

/// The annotations that name an image, best first.
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// What a load did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Full names of the images.
    pub images: Vec<String>,
    /// Layers and documents that were sent.
    pub blobs_sent: usize,
    /// Layers and documents that were there already.
    pub blobs_there: usize,
}

/// What is in an archive.
#[derive(Debug, Default)]
struct Contents {
    index: Option<Value>,
    docker: Option<Value>,
    blobs: BTreeSet<String>,
}

/// Loads the images of an archive (`docker save`, an OCI layout's tar or folder; plain, gzip or zstd).
///
/// # Errors
/// [`ProvisionError::Archive`] when it is none, or what failed in the guest.
pub fn load(shell: &mut dyn Shell, machine: &str, path: &Path) -> Result<Loaded> {
    let refuse = |reason: String| ProvisionError::Archive { path: path.to_owned(), reason };
    let unreadable = |err: io::Error| refuse(err.to_string());
    let archive = Archive::open(path).map_err(unreadable)?;
    let contents = look(&archive).map_err(unreadable)?;
    if contents.index.is_none() && contents.docker.is_none() {
        return Err(refuse("it has neither index.json nor manifest.json".to_owned()));
    }
    let images = contents.names(path);
    if images.is_empty() {
        return Err(refuse("it has no image".to_owned()));
    }
    let there: BTreeSet<String> = if contents.blobs.is_empty() {
        BTreeSet::new()
    } else {
        let listed = run(shell, machine, &format!("{CTR} content ls -q"), QUICK)?.stdout;
        listed.lines().map(|line| line.trim().replace(':', "/")).collect()
    };
    let known = |name: &str| name.strip_prefix("blobs/").is_some_and(|blob| there.contains(blob));
    let blobs_there = contents.blobs.iter().filter(|name| known(name)).count();

    let index = contents.index.as_ref().map(|index| with_names(index, path).to_string());
    let output = send(shell, &archive, index.as_deref(), &known)?;
    if output.exit != 0 {
        return Err(ProvisionError::Guest {
            machine: machine.to_owned(),
            command: IMPORT.to_owned(),
            exit: output.exit,
            stderr: output.stderr,
        });
    }
    let blobs_sent = contents.blobs.len() - blobs_there;
    Ok(Loaded { images, blobs_sent, blobs_there })
}

const IMPORT: &str = "ctr -n k8s.io images import -";

/// A thread writes the smaller archive into a pipe while the connection reads it.
fn send(
    shell: &mut dyn Shell,
    archive: &Archive,
    index: Option<&str>,
    known: &(dyn Fn(&str) -> bool + Sync),
) -> Result<crate::shell::Output> {
    let (reader, writer) =
        io::pipe().map_err(|err| ProvisionError::state("make", "a pipe")(err))?;
    let packing = Packing::best(shell)?;
    let command = format!("{}{IMPORT}", packing.unpack());
    thread::scope(|scope| {
        // A write error is the reader gone: its own error says why.
        scope.spawn(move || write_tar(archive, index, known, writer));
        let mut packed = packing
            .pack(Box::new(reader))
            .map_err(|err| ProvisionError::state("pack", "the archive")(err))?;
        // The reader is gone before the thread is waited for, so that it never waits for the reader.
        let output = exec_with(shell, &command, Some(&mut *packed), UNPACK);
        drop(packed);
        Ok(output?)
    })
}

fn write_tar(
    archive: &Archive,
    index: Option<&str>,
    known: &dyn Fn(&str) -> bool,
    to: impl io::Write,
) -> io::Result<()> {
    let mut tar = tar::Builder::new(to);
    archive.each(&mut |name, size, content| match (name, index) {
        ("index.json", Some(index)) => {
            append(&mut tar, name, index.len() as u64, &mut index.as_bytes())
        }
        // The older list of the same images; one list is enough, and ours has the full names.
        ("manifest.json" | "repositories", Some(_)) => Ok(()),
        _ if known(name) => Ok(()),
        _ => append(&mut tar, name, size, content),
    })?;
    tar.finish()
}

fn append(
    tar: &mut tar::Builder<impl io::Write>,
    name: &str,
    size: u64,
    content: &mut dyn Read,
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o644);
    tar.append_data(&mut header, name, content)
}

fn look(archive: &Archive) -> io::Result<Contents> {
    let mut contents = Contents::default();
    archive.each(&mut |name, _, content| {
        match name {
            "index.json" => contents.index = Some(document(content)?),
            "manifest.json" => contents.docker = Some(document(content)?),
            _ if name.starts_with("blobs/") => {
                contents.blobs.insert(name.to_owned());
            }
            _ => {}
        }
        Ok(())
    })?;
    // A layout without blobs is only the shell of one.
    if contents.blobs.is_empty() {
        contents.index = None;
    }
    Ok(contents)
}

fn document(content: &mut dyn Read) -> io::Result<Value> {
    serde_json::from_reader(content.take(DOCUMENT_MAX)).map_err(io::Error::from)
}

impl Contents {
    fn names(&self, path: &Path) -> Vec<String> {
        match (&self.index, &self.docker) {
            (Some(index), _) => manifests(index).map(|entry| name_of(entry, path)).collect(),
            (None, Some(docker)) => docker
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|image| image["RepoTags"].as_array())
                .flatten()
                .filter_map(Value::as_str)
                .map(normalized)
                .collect(),
            (None, None) => Vec::new(),
        }
    }
}

fn manifests(index: &Value) -> impl Iterator<Item = &Value> {
    index["manifests"].as_array().into_iter().flatten()
}

/// The index with each image's full name where containerd looks for it.
fn with_names(index: &Value, path: &Path) -> Value {
    let mut index = index.clone();
    let entries = index["manifests"].as_array_mut().into_iter().flatten();
    for entry in entries {
        let name = name_of(entry, path);
        if !entry["annotations"].is_object() {
            entry["annotations"] = json!({});
        }
        entry["annotations"][NAMES[0]] = Value::String(name);
    }
    index
}

/// An image without a name, or with a tag for one, is called as the archive is: `web.tar` is `web`.
fn name_of(entry: &Value, path: &Path) -> String {
    let annotations = &entry["annotations"];
    let given = NAMES.iter().find_map(|key| annotations[key].as_str());
    let stem = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let stem = stem.split('.').next().unwrap_or_default().to_lowercase();
    match given {
        Some(name) if name.contains(['/', ':']) => normalized(name),
        Some(tag) if tag.starts_with(|c: char| c.is_ascii_digit()) || tag == "latest" => {
            normalized(&format!("{stem}:{tag}"))
        }
        Some(name) => normalized(name),
        None => normalized(&stem),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use expect_test::expect;

    use super::*;
    use crate::shell::scripted::ScriptedGuest;

    fn layout(folder: &Path, annotations: &Value) {
        fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        for blob in ["aa", "bb", "cc"] {
            fs::write(folder.join("blobs/sha256").join(blob), blob).unwrap();
        }
        fs::write(folder.join("oci-layout"), "{}").unwrap();
        let index = json!({ "manifests": [{ "digest": "sha256:aa", "annotations": annotations }] });
        fs::write(folder.join("index.json"), index.to_string()).unwrap();
    }

    fn sent(guest: &ScriptedGuest) -> Vec<String> {
        let bytes = zstd::decode_all(guest.last_input().as_slice()).unwrap();
        let mut tar = tar::Archive::new(bytes.as_slice());
        let names = tar.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().into_owned());
        names.map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn only_missing_blobs_are_sent() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("web");
        layout(&folder, &json!({ NAMES[1]: "web:v1" }));
        let guest = ScriptedGuest::default();
        guest.answer("ctr -n k8s.io content ls -q", 0, "sha256:bb\nsha256:dd\n");
        let loaded = load(&mut *guest.shell(), "dev", &folder).unwrap();
        assert_eq!(loaded.images, ["docker.io/library/web:v1"]);
        assert_eq!((loaded.blobs_sent, loaded.blobs_there), (2, 1));
        expect!["blobs/sha256/aa blobs/sha256/cc index.json oci-layout"]
            .assert_eq(&sent(&guest).join(" "));
    }

    #[test]
    fn a_packed_tar_is_read_too() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("web");
        layout(&folder, &json!(null));
        let path = dir.path().join("Web.tar.zst");
        let file = zstd::Encoder::new(fs::File::create(&path).unwrap(), 1).unwrap().auto_finish();
        let mut tar = tar::Builder::new(file);
        tar.append_dir_all(".", &folder).unwrap();
        drop(tar.into_inner().unwrap());

        let guest = ScriptedGuest::default();
        let loaded = load(&mut *guest.shell(), "dev", &path).unwrap();
        assert_eq!(loaded.images, ["docker.io/library/web:latest"]);
        assert_eq!(loaded.blobs_sent, 3);
    }

    #[test]
    fn what_docker_saved_long_ago_is_sent_whole() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("old");
        fs::create_dir_all(folder.join("1234")).unwrap();
        fs::write(folder.join("1234/layer.tar"), "layer").unwrap();
        fs::write(folder.join("manifest.json"), r#"[{"RepoTags":["app:v2"]}]"#).unwrap();
        let guest = ScriptedGuest::default();
        let loaded = load(&mut *guest.shell(), "dev", &folder).unwrap();
        assert_eq!(loaded.images, ["docker.io/library/app:v2"]);
        expect!["1234/layer.tar manifest.json"].assert_eq(&sent(&guest).join(" "));
    }

    #[test]
    fn other_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.tar");
        fs::write(&path, "# A title\n\nand more text than a tar's header has\n".repeat(20))
            .unwrap();
        let guest = ScriptedGuest::default();
        let err = load(&mut *guest.shell(), "dev", &path).unwrap_err();
        let said = format!(
            "{} is not an image archive: it is no tar, plain, gzip or zstd",
            path.display()
        );
        assert_eq!(err.to_string(), said);
        assert!(load(&mut *guest.shell(), "dev", &dir.path().join("none.tar")).is_err());
        assert_eq!(guest.take_calls(), Vec::<String>::new());
    }
}
