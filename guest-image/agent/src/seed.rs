//! The seed: who this guest is to be, in the three NoCloud documents that minik writes (all JSON, which is YAML).

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Error, on_file};

/// The three documents as text, as they lie on the seed disk and travel in a `rehome` message.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Documents {
    pub(crate) meta_data: String,
    pub(crate) user_data: String,
    pub(crate) network_config: String,
}

/// What the documents say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seed {
    pub(crate) instance_id: String,
    pub(crate) hostname: String,
    pub(crate) authorized_keys: Vec<String>,
    pub(crate) host_key: HostKey,
    pub(crate) machine_id: String,
    pub(crate) time_unix_ms: i64,
    pub(crate) nics: Vec<Nic>,
}

/// The SSH host key, both halves as OpenSSH writes them.
#[derive(Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct HostKey {
    #[serde(rename = "ed25519_private")]
    pub(crate) private: String,
    #[serde(rename = "ed25519_public")]
    pub(crate) public: String,
}

// The private half must not reach a log through a debug print.
impl std::fmt::Debug for HostKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "HostKey({})", self.public.trim())
    }
}

/// One network card, found by its hardware address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Nic {
    pub(crate) mac: String,
    /// Address with prefix length.
    pub(crate) addresses: Vec<String>,
    pub(crate) gateway: Option<String>,
    pub(crate) nameservers: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MetaData {
    instance_id: String,
    local_hostname: String,
}

#[derive(Deserialize)]
struct UserData {
    #[serde(default)]
    ssh_authorized_keys: Vec<String>,
    ssh_keys: HostKey,
    minik: MinikData,
}

#[derive(Deserialize)]
struct MinikData {
    time_unix_ms: i64,
    machine_id: String,
}

#[derive(Deserialize)]
struct NetworkConfig {
    #[serde(default)]
    ethernets: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
struct Ethernet {
    r#match: Match,
    #[serde(default)]
    dhcp4: bool,
    #[serde(default)]
    addresses: Vec<String>,
    gateway4: Option<String>,
    #[serde(default)]
    nameservers: Nameservers,
}

#[derive(Deserialize)]
struct Match {
    macaddress: String,
}

#[derive(Default, Deserialize)]
struct Nameservers {
    #[serde(default)]
    addresses: Vec<String>,
}

impl Documents {
    /// Reads the documents from a mounted seed disk.
    pub(crate) fn read(folder: &Path) -> Result<Self, Error> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read_to_string(&path).map_err(on_file("read", path))
        };
        Ok(Self {
            meta_data: read("meta-data")?,
            user_data: read("user-data")?,
            network_config: read("network-config")?,
        })
    }

    /// Understands the documents; anything missing is an error, never a guess.
    pub(crate) fn parse(&self) -> Result<Seed, Error> {
        let meta: MetaData = document("meta-data", &self.meta_data)?;
        let user: UserData = document("user-data", cloud_config(&self.user_data)?)?;
        let network: NetworkConfig = document("network-config", &self.network_config)?;
        let mut nics = Vec::new();
        for (_, value) in network.ethernets {
            let card: Ethernet = serde_json::from_value(value)
                .map_err(|source| Error::Seed { document: "network-config", source })?;
            nics.push(nic(card));
        }
        check_hostname(&meta.local_hostname)?;
        check_machine_id(&user.minik.machine_id)?;
        Ok(Seed {
            instance_id: meta.instance_id,
            hostname: meta.local_hostname,
            authorized_keys: user.ssh_authorized_keys,
            host_key: user.ssh_keys,
            machine_id: user.minik.machine_id,
            time_unix_ms: user.minik.time_unix_ms,
            nics,
        })
    }
}

fn document<T: serde::de::DeserializeOwned>(name: &'static str, text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|source| Error::Seed { document: name, source })
}

fn cloud_config(text: &str) -> Result<&str, Error> {
    text.strip_prefix("#cloud-config")
        .ok_or_else(|| Error::SeedContent("user-data does not start with #cloud-config".into()))
}

/// `dhcp4` is answered with what the user-mode NAT of QEMU and of VirtualBox always hands out: asking would only cost
/// time. A hypervisor whose NAT differs names the address in the seed instead.
fn nic(card: Ethernet) -> Nic {
    let mut nic = Nic {
        mac: card.r#match.macaddress.to_lowercase(),
        addresses: card.addresses,
        gateway: card.gateway4,
        nameservers: card.nameservers.addresses,
    };
    if card.dhcp4 && nic.addresses.is_empty() {
        nic.addresses = vec!["10.0.2.15/24".into()];
        nic.gateway = Some("10.0.2.2".into());
        nic.nameservers = vec!["10.0.2.3".into()];
    }
    nic
}

fn check_hostname(name: &str) -> Result<(), Error> {
    let fine = !name.is_empty()
        && name.len() <= 63
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
        && !name.starts_with(['-', '.']);
    if fine { Ok(()) } else { Err(Error::SeedContent(format!("{name:?} is not a host name"))) }
}

fn check_machine_id(id: &str) -> Result<(), Error> {
    let fine =
        id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if fine { Ok(()) } else { Err(Error::SeedContent(format!("{id:?} is not a machine id"))) }
}

#[cfg(test)]
pub(crate) mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    pub(crate) fn documents() -> Documents {
        Documents {
            meta_data: r#"{"instance-id":"i-1","local-hostname":"minik"}"#.into(),
            user_data: concat!(
                "#cloud-config\n",
                r#"{"ssh_authorized_keys":["ssh-ed25519 AAAA me"],"#,
                r#""ssh_keys":{"ed25519_private":"PRIVATE","ed25519_public":"ssh-ed25519 BBBB host"},"#,
                r#""minik":{"time_unix_ms":1700000000000,"machine_id":"0123456789abcdef0123456789abcdef"}}"#
            )
            .into(),
            network_config: concat!(
                r#"{"version":2,"ethernets":{"nat":{"match":{"macaddress":"52:54:00:00:00:01"},"dhcp4":true},"#,
                r#""hostonly":{"match":{"macaddress":"52:54:00:00:00:0B"},"addresses":["192.168.59.2/24"]}}}"#
            )
            .into(),
        }
    }

    fn check(documents: &Documents, wanted: Expect) {
        wanted.assert_eq(&match documents.parse() {
            Ok(seed) => format!("{seed:?}"),
            Err(error) => crate::error::chain(&error),
        });
    }

    #[test]
    fn a_seed_says_who_the_guest_is_and_never_shows_the_key() {
        check(
            &documents(),
            expect![[
                r#"Seed { instance_id: "i-1", hostname: "minik", authorized_keys: ["ssh-ed25519 AAAA me"], host_key: HostKey(ssh-ed25519 BBBB host), machine_id: "0123456789abcdef0123456789abcdef", time_unix_ms: 1700000000000, nics: [Nic { mac: "52:54:00:00:00:01", addresses: ["10.0.2.15/24"], gateway: Some("10.0.2.2"), nameservers: ["10.0.2.3"] }, Nic { mac: "52:54:00:00:00:0b", addresses: ["192.168.59.2/24"], gateway: None, nameservers: [] }] }"#
            ]],
        );
    }

    #[test]
    fn a_broken_seed_is_refused_with_its_reason() {
        let broken = |change: fn(&mut Documents)| {
            let mut documents = documents();
            change(&mut documents);
            documents
        };
        check(
            &broken(|d| d.meta_data = r#"{"instance-id":"i","local-hostname":"Bad Name"}"#.into()),
            expect![[r#"the seed is not usable: "Bad Name" is not a host name"#]],
        );
        check(
            &broken(|d| d.user_data = d.user_data.replace("0123456789abcdef", "x")),
            expect![[r#"the seed is not usable: "xx" is not a machine id"#]],
        );
        check(
            &broken(|d| d.user_data = "{}".into()),
            expect!["the seed is not usable: user-data does not start with #cloud-config"],
        );
        check(
            &broken(|d| d.network_config = "{".into()),
            expect![
                "network-config of the seed is not what it should be: EOF while parsing an object at line 1 column 1"
            ],
        );
    }
}
