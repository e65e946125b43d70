//! Reading and writing the node file.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::document;
use crate::error::ConfigError;
use crate::sections::{NodeConfig, VERSION};
use crate::validate::validate;

/// Where the node file is in the guest.
pub const NODE_FILE: &str = "/etc/minik/node.yaml";

impl NodeConfig {
    /// Reads and checks the node file at `path`.
    ///
    /// # Errors
    /// The file cannot be read or used.
    pub fn load(path: &Path) -> Result<NodeConfig, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        NodeConfig::from_text(&text)
    }

    /// Writes the node file so that a crash leaves the old or the new one; mode 0600.
    ///
    /// # Errors
    /// The values cannot be used, or the file not be written.
    pub fn save(&self, path: &Path) -> Result<(), ConfigError> {
        let text = self.to_text()?;
        replace(path, text.as_bytes())
            .map_err(|source| ConfigError::Write { path: path.to_owned(), source })
    }

    /// Understands a node file: YAML or JSON.
    ///
    /// # Errors
    /// What is wrong with the text or its values.
    pub fn from_text(text: &str) -> Result<NodeConfig, ConfigError> {
        // The version first: a newer file has fields that would otherwise be called unknown.
        let VersionOnly { version } = parse(text)?;
        if version > VERSION {
            return Err(ConfigError::TooNew { found: version, supported: VERSION });
        }
        let config: NodeConfig = parse(text)?;
        validate(&config)?;
        Ok(config)
    }

    /// The text of a node file, checked.
    ///
    /// # Errors
    /// What is wrong with the values.
    pub fn to_text(&self) -> Result<String, ConfigError> {
        validate(self)?;
        serde_yaml::to_string(self)
            .map_err(|err| ConfigError::Malformed { reason: err.to_string() })
    }
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ConfigError> {
    document::yaml(text).map_err(|reason| ConfigError::Malformed { reason })
}

fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let new = path.with_extension("yaml.new");
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use test_case::test_case;

    use super::*;
    use crate::{
        ApiServerFlags, ApiServerSection, ClusterSection, Effect, NodeSection, PathsSection, Role,
        RuntimeSection, Taint,
    };

    fn flags() -> ApiServerFlags {
        let policy = "kind: Policy\napiVersion: audit.k8s.io/v1\nrules:\n- level: Metadata\n";
        let mut flags = ApiServerFlags::default();
        flags.set("audit-log-path", "-");
        flags.set("audit-policy-file", policy);
        flags
    }

    fn sample() -> NodeConfig {
        NodeConfig {
            version: VERSION,
            node: NodeSection {
                name: "minik".to_owned(),
                address: [192, 168, 49, 2].into(),
                role: Role::ControlPlane,
                labels: [("minik.internal/profile".to_owned(), "minik".to_owned())].into(),
                taints: vec![Taint {
                    key: "dedicated".to_owned(),
                    value: "lab".to_owned(),
                    effect: Effect::NoSchedule,
                }],
            },
            cluster: ClusterSection {
                name: "minik".to_owned(),
                domain: "cluster.local".to_owned(),
                service_cidr: "10.96.0.0/12".parse().unwrap(),
                pod_cidr: "10.244.0.0/16".parse().unwrap(),
                dns_address: [10, 96, 0, 10].into(),
            },
            api_server: ApiServerSection {
                listen: ([0, 0, 0, 0], 8443).into(),
                advertise_address: [192, 168, 49, 2].into(),
                sans: vec!["minik".to_owned(), "localhost".to_owned()],
                flags: flags(),
            },
            runtime: RuntimeSection::default(),
            paths: PathsSection::default(),
            host_address: Some([192, 168, 49, 1].into()),
        }
    }

    #[test]
    fn the_file_is_readable_and_comes_back() {
        let text = sample().to_text().unwrap();
        expect![[r#"
            version: 1
            node:
              name: minik
              address: "192.168.49.2"
              role: control-plane
              labels:
                minik.internal/profile: minik
              taints:
              - key: dedicated
                value: lab
                effect: NoSchedule
            cluster:
              name: minik
              domain: cluster.local
              serviceCidr: 10.96.0.0/12
              podCidr: 10.244.0.0/16
              dnsAddress: "10.96.0.10"
            apiServer:
              listen: 0.0.0.0:8443
              advertiseAddress: "192.168.49.2"
              sans:
              - minik
              - localhost
              flags:
                audit-log-path: '-'
                audit-policy-file: |
                  kind: Policy
                  apiVersion: audit.k8s.io/v1
                  rules:
                  - level: Metadata
            runtime:
              endpoint: unix:///run/containerd/containerd.sock
              pauseImage: registry.minik.internal/pause:1
              cniPluginDir: /usr/lib/cni
            paths:
              data: /var/lib/minik/store
              pki: /var/lib/minik/pki
              run: /run/minik
              kubelet: /var/lib/kubelet
            hostAddress: "192.168.49.1"
        "#]]
        .assert_eq(&text);
        assert_eq!(NodeConfig::from_text(&text).unwrap(), sample());
        assert_eq!(sample().api_url(), "https://192.168.49.2:8443");
        assert_eq!(sample().cluster.kubernetes_address().to_string(), "10.96.0.1");
    }

    fn check(change: impl FnOnce(&mut NodeConfig), expected: Expect) {
        let mut config = sample();
        change(&mut config);
        expected.assert_eq(&config.to_text().unwrap_err().to_string());
    }

    #[test]
    fn values_that_cannot_be_used() {
        check(
            |c| c.node.name = "Node_1".to_owned(),
            expect!["node file: node.name: `Node_1` is not a DNS label"],
        );
        check(
            |c| c.node.address = [0, 0, 0, 0].into(),
            expect!["node file: node.address: 0.0.0.0 is not a node's address"],
        );
        check(
            |c| c.cluster.pod_cidr = "10.96.4.0/24".parse().unwrap(),
            expect![
                "node file: cluster.podCidr: 10.96.4.0/24 overlaps the service range 10.96.0.0/12"
            ],
        );
        check(
            |c| c.cluster.service_cidr = "10.96.0.1/12".parse().unwrap(),
            expect![
                "node file: cluster.serviceCidr: 10.96.0.1/12 is an address; the network is 10.96.0.0"
            ],
        );
        check(
            |c| c.cluster.dns_address = [10, 0, 0, 10].into(),
            expect!["node file: cluster.dnsAddress: 10.0.0.10 is not in 10.96.0.0/12"],
        );
        check(
            |c| c.runtime.endpoint = "tcp://1.2.3.4".to_owned(),
            expect!["node file: runtime.endpoint: `tcp://1.2.3.4` is not a unix:/// socket"],
        );
        check(|c| c.paths.pki = "pki".into(), expect!["node file: paths.pki: pki is not absolute"]);
    }

    #[test_case("version: 2\nshiny: true\n", "version 2"; "newer")]
    #[test_case("version: 1\n", "missing field"; "incomplete")]
    #[test_case("version: 1\nversion: 1\n", "duplicate"; "duplicate key")]
    fn texts_that_are_refused(text: &str, says: &str) {
        let err = NodeConfig::from_text(text).unwrap_err().to_string();
        assert!(err.contains(says), "{err}");
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let text = sample().to_text().unwrap() + "colour: red\n";
        assert!(NodeConfig::from_text(&text).unwrap_err().to_string().contains("colour"));
    }

    #[test]
    fn save_replaces_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("etc/node.yaml");
        sample().save(&path).unwrap();
        sample().save(&path).unwrap();
        assert_eq!(NodeConfig::load(&path).unwrap(), sample());
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }
}
