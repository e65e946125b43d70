//! Writes the identity into a root file system: at boot from the initramfs, on a clone into the running system.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use crate::error::{Error, on_file};
use crate::seed::Seed;

/// A file the identity consists of.
#[derive(Debug, PartialEq, Eq)]
struct IdentityFile {
    path: &'static str,
    mode: u32,
    content: String,
}

/// Writes every file of the identity below `root`. May be repeated; each file is replaced whole.
pub(crate) fn write(root: &Path, seed: &Seed) -> Result<(), Error> {
    for file in files(seed) {
        let path = root.join(file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(on_file("make", parent))?;
        }
        replace(&path, file.mode, file.content.as_bytes())?;
    }
    let home_ssh = root.join("root/.ssh");
    fs::set_permissions(&home_ssh, Permissions::from_mode(0o700))
        .map_err(on_file("protect", home_ssh))
}

/// Replaces a file so that a reader sees the old or the new content, and nobody else a secret.
pub(crate) fn replace(path: &Path, mode: u32, content: &[u8]) -> Result<(), Error> {
    let beside = path.with_extension("new");
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&beside)
        .and_then(|mut file| file.write_all(content));
    written.map_err(on_file("write", &beside))?;
    fs::rename(&beside, path).map_err(on_file("replace", path))
}

fn files(seed: &Seed) -> Vec<IdentityFile> {
    let file = |path, mode, content| IdentityFile { path, mode, content };
    let name = &seed.hostname;
    vec![
        file("etc/hostname", 0o644, format!("{name}\n")),
        file("etc/hosts", 0o644, hosts(seed)),
        file("etc/machine-id", 0o444, format!("{}\n", seed.machine_id)),
        file("etc/resolv.conf", 0o644, resolv_conf(seed)),
        file("root/.ssh/authorized_keys", 0o600, seed.authorized_keys.join("\n") + "\n"),
        file("etc/ssh/ssh_host_ed25519_key.pub", 0o644, with_newline(&seed.host_key.public)),
        // Last: systemd starts SSH when it appears.
        file("etc/ssh/ssh_host_ed25519_key", 0o600, with_newline(&seed.host_key.private)),
    ]
}

fn hosts(seed: &Seed) -> String {
    let name = &seed.hostname;
    let mut text = "127.0.0.1 localhost\n::1 localhost\n".to_owned();
    // The name must lead to an address that other machines reach, so the card without a gateway counts.
    let own = seed.nics.iter().find(|nic| nic.gateway.is_none()).or(seed.nics.first());
    if let Some(address) = own.and_then(|nic| nic.addresses.first()) {
        let bare = address.split('/').next().unwrap_or(address);
        text.push_str(&format!("{bare} {name}\n"));
    }
    // What people call the host from inside: the far end of the NAT card.
    for gateway in seed.nics.iter().filter_map(|nic| nic.gateway.as_ref()) {
        text.push_str(&format!("{gateway} host.minik.internal\n"));
    }
    text
}

fn resolv_conf(seed: &Seed) -> String {
    seed.nics
        .iter()
        .flat_map(|nic| &nic.nameservers)
        .map(|server| format!("nameserver {server}\n"))
        .collect()
}

fn with_newline(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::tests::documents;

    #[test]
    fn the_identity_is_these_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let seed = documents().parse().expect("a good seed");
        write(folder.path(), &seed).expect("first time");
        write(folder.path(), &seed).expect("again");
        let read = |path: &str| fs::read_to_string(folder.path().join(path)).expect("written");
        let mode = |path: &str| {
            fs::metadata(folder.path().join(path)).expect("there").permissions().mode() & 0o777
        };
        assert_eq!(read("etc/hostname"), "minik\n");
        assert_eq!(
            read("etc/hosts"),
            "127.0.0.1 localhost\n::1 localhost\n192.168.59.2 minik\n10.0.2.2 host.minik.internal\n"
        );
        assert_eq!(read("etc/resolv.conf"), "nameserver 10.0.2.3\n");
        assert_eq!(read("etc/ssh/ssh_host_ed25519_key"), "PRIVATE\n");
        assert_eq!(mode("etc/ssh/ssh_host_ed25519_key"), 0o600);
        assert_eq!(mode("root/.ssh"), 0o700);
        assert_eq!(mode("root/.ssh/authorized_keys"), 0o600);
    }
}
