//! The seed: the NoCloud volume that tells a guest who it is. The same documents travel to a running clone.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::digest;
use crate::error::ImageError;
use crate::fat::{self, FatFile};

/// The three documents, all JSON (which is YAML, so cloud-init reads them too). They hold the guest's private SSH host
/// key and are treated as secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SeedDocuments {
    /// Instance id and host name.
    pub meta_data: String,
    /// Keys, machine id and time, below the line `#cloud-config`.
    pub user_data: String,
    /// Network cards in netplan's version 2.
    pub network_config: String,
}

// Not derived: the private key must not reach a log.
impl std::fmt::Debug for SeedDocuments {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "SeedDocuments({})", self.meta_data)
    }
}

/// Who a guest is to be.
#[derive(Clone)]
pub struct SeedIdentity {
    /// Changes whenever the guest is to become another one.
    pub instance_id: String,
    /// The node's name.
    pub hostname: String,
    /// Who may log in, as lines of `authorized_keys`.
    pub authorized_keys: Vec<String>,
    /// The SSH host key in OpenSSH's private form.
    pub host_key_private: String,
    /// Its public line.
    pub host_key_public: String,
    /// 32 hex digits.
    pub machine_id: String,
    /// The host's clock in milliseconds since 1970; a guest that is behind moves forward to it.
    pub time_unix_ms: i64,
    /// Hardware address of the card that leads out through the hypervisor's NAT.
    pub nat_mac: Option<String>,
    /// Hardware address of the host-only card, and its address with prefix length.
    pub host_only: Option<(String, String)>,
}

impl SeedIdentity {
    /// The documents that say so.
    #[must_use]
    pub fn documents(&self) -> SeedDocuments {
        let mut ethernets = serde_json::Map::new();
        if let Some(mac) = &self.nat_mac {
            ethernets.insert("nat".into(), json!({"match": {"macaddress": mac}, "dhcp4": true}));
        }
        if let Some((mac, address)) = &self.host_only {
            let card = json!({"match": {"macaddress": mac}, "addresses": [address]});
            ethernets.insert("hostonly".into(), card);
        }
        let user = json!({
            "ssh_authorized_keys": self.authorized_keys,
            "ssh_keys": {
                "ed25519_private": self.host_key_private,
                "ed25519_public": self.host_key_public,
            },
            "minik": {"time_unix_ms": self.time_unix_ms, "machine_id": self.machine_id},
        });
        let meta = json!({"instance-id": self.instance_id, "local-hostname": self.hostname});
        SeedDocuments {
            meta_data: format!("{meta}\n"),
            user_data: format!("#cloud-config\n{user}\n"),
            network_config: format!("{}\n", json!({"version": 2, "ethernets": ethernets})),
        }
    }
}

impl SeedDocuments {
    /// As the agent's `rehome` request carries them.
    #[must_use]
    pub fn to_value(&self) -> Value {
        json!({
            "meta-data": self.meta_data,
            "user-data": self.user_data,
            "network-config": self.network_config,
        })
    }
}

/// Writes the documents as a FAT volume with the label `CIDATA`, readable by its owner only. The file appears whole
/// or not at all, and the same documents give the same bytes.
///
/// # Errors
/// [`ImageError::SeedTooLarge`], or [`ImageError::File`] when it cannot be written.
pub fn write(path: &Path, documents: &SeedDocuments) -> Result<(), ImageError> {
    let files = [
        FatFile {
            name: "meta-data",
            short: b"METADA~1   ",
            content: documents.meta_data.as_bytes(),
        },
        FatFile {
            name: "user-data",
            short: b"USERDA~1   ",
            content: documents.user_data.as_bytes(),
        },
        FatFile {
            name: "network-config",
            short: b"NETWOR~1   ",
            content: documents.network_config.as_bytes(),
        },
    ];
    let volume = fat::volume(*b"CIDATA     ", &files)?;
    digest::write_whole(path, 0o600, &volume)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use expect_test::expect;

    use super::*;

    fn identity() -> SeedIdentity {
        SeedIdentity {
            instance_id: "i-1".into(),
            hostname: "minik".into(),
            authorized_keys: vec!["ssh-ed25519 AAAA me".into()],
            host_key_private: "PRIVATE".into(),
            host_key_public: "ssh-ed25519 BBBB".into(),
            machine_id: "0123456789abcdef0123456789abcdef".into(),
            time_unix_ms: 1_700_000_000_000,
            nat_mac: Some("52:54:00:00:00:01".into()),
            host_only: Some(("52:54:00:00:00:02".into(), "192.168.59.2/24".into())),
        }
    }

    #[test]
    fn the_documents_are_what_the_agent_and_cloud_init_read() {
        let documents = identity().documents();
        expect![[r##"
            {"instance-id":"i-1","local-hostname":"minik"}
            #cloud-config
            {"ssh_authorized_keys":["ssh-ed25519 AAAA me"],"ssh_keys":{"ed25519_private":"PRIVATE","ed25519_public":"ssh-ed25519 BBBB"},"minik":{"time_unix_ms":1700000000000,"machine_id":"0123456789abcdef0123456789abcdef"}}
            {"version":2,"ethernets":{"nat":{"match":{"macaddress":"52:54:00:00:00:01"},"dhcp4":true},"hostonly":{"match":{"macaddress":"52:54:00:00:00:02"},"addresses":["192.168.59.2/24"]}}}
        "##]]
        .assert_eq(&format!(
            "{}{}{}",
            documents.meta_data, documents.user_data, documents.network_config
        ));
        assert!(!format!("{documents:?}").contains("PRIVATE"));
    }

    #[test]
    fn the_volume_is_private_and_always_the_same() {
        let folder = tempfile::tempdir().expect("a folder");
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        write(&one, &identity().documents()).expect("written");
        write(&two, &identity().documents()).expect("written");
        let mode = std::fs::metadata(&one).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read(one).expect("there"), std::fs::read(two).expect("there"));
    }
}
