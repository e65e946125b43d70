//! Container images made on the spot from a static busybox: nothing is pulled from anywhere.

use std::io;
use std::path::Path;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// One image: its names, one layer of files, a command.
#[derive(Debug, Default)]
pub struct Image<'a> {
    /// Names with tags, as `minik.test/web:1`.
    pub names: Vec<&'a str>,
    /// Files of the only layer: path without leading slash, mode, content.
    pub files: Vec<(&'a str, u32, Vec<u8>)>,
    /// Symbolic links: path and target.
    pub links: Vec<(String, &'a str)>,
    /// The program that arguments are given to, if not the first word of `command`.
    pub entrypoint: Vec<&'a str>,
    /// The program and its arguments.
    pub command: Vec<&'a str>,
}

/// A web server that answers with the name of its pod, on port 80.
///
/// # Errors
///
/// There is no static busybox at `busybox`.
pub fn web(busybox: &Path) -> io::Result<Image<'static>> {
    let script = b"#!/bin/busybox sh\necho \"Content-Type: text/plain\"\necho\necho \"hello from $(/bin/busybox hostname)\"\n";
    Ok(Image {
        names: vec!["minik.test/web:1"],
        files: vec![
            ("bin/busybox", 0o755, std::fs::read(busybox)?),
            ("bin/sh", 0o755, std::fs::read(busybox)?),
            ("www/cgi-bin/index.cgi", 0o755, script.to_vec()),
        ],
        command: vec!["/bin/busybox", "httpd", "-f", "-v", "-p", "80", "-h", "/www"],
        ..Image::default()
    })
}

impl Image<'_> {
    /// Writes the image as an OCI layout inside a tar archive, which containerd and Docker import.
    ///
    /// The same image gives the same bytes each time.
    ///
    /// # Errors
    ///
    /// The archive cannot be written.
    pub fn write(&self, to: &Path) -> io::Result<()> {
        let layer = self.layer()?;
        let config = json!({
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Entrypoint": self.entrypoint,
                "Cmd": self.command,
                "Env": ["PATH=/bin:/usr/bin"],
                "ExposedPorts": { "80/tcp": {} },
                "WorkingDir": "/",
            },
            "rootfs": { "type": "layers", "diff_ids": [digest(&layer)] },
            "history": [{ "created_by": "minik tests" }],
        })
        .to_string()
        .into_bytes();
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": [descriptor("application/vnd.oci.image.layer.v1.tar", &layer)],
        })
        .to_string()
        .into_bytes();
        let entry = |name: &&str| {
            let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &manifest);
            entry["annotations"] = json!({
                "io.containerd.image.name": name,
                "org.opencontainers.image.ref.name": name.rsplit(':').next().unwrap_or("latest"),
            });
            entry
        };
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.names.iter().map(entry).collect::<Vec<_>>(),
        });

        let mut archive = tar::Builder::new(std::fs::File::create(to)?);
        add(&mut archive, "oci-layout", 0o644, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add(&mut archive, "index.json", 0o644, index.to_string().as_bytes())?;
        for blob in [&layer, &config, &manifest] {
            add(&mut archive, &format!("blobs/sha256/{}", hash(blob)), 0o644, blob)?;
        }
        archive.into_inner()?.sync_all()
    }

    fn layer(&self) -> io::Result<Vec<u8>> {
        let mut layer = tar::Builder::new(Vec::new());
        for (path, mode, content) in &self.files {
            add(&mut layer, path, *mode, content)?;
        }
        for (path, target) in &self.links {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            header.set_mode(0o777);
            layer.append_link(&mut header, path, target)?;
        }
        layer.into_inner()
    }
}

fn add<W: io::Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    mode: u32,
    content: &[u8],
) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(content.len() as u64);
    header.set_mode(mode);
    archive.append_data(&mut header, path, content)
}

fn hash(content: &[u8]) -> String {
    hex::encode(Sha256::digest(content))
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", hash(content))
}

fn descriptor(media_type: &str, content: &[u8]) -> Value {
    json!({ "mediaType": media_type, "digest": digest(content), "size": content.len() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_image_is_always_the_same_bytes() {
        let image = Image {
            names: vec!["minik.test/x:2"],
            files: vec![("bin/x", 0o755, b"program".to_vec())],
            command: vec!["/bin/x"],
            ..Image::default()
        };
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("1"), folder.path().join("2"));
        image.write(&one).unwrap();
        image.write(&two).unwrap();
        let bytes = std::fs::read(&one).unwrap();
        assert_eq!(bytes, std::fs::read(&two).unwrap());

        let names: Vec<String> = tar::Archive::new(bytes.as_slice())
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert_eq!(names.len(), 5, "{names:?}");
        let layer = image.layer().unwrap();
        assert!(names.contains(&format!("blobs/sha256/{}", hash(&layer))), "{names:?}");
    }
}
