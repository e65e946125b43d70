//! A profile's keys and certificates on the host, and which of them which node gets.
//!
//! All authorities live on the host, one set per profile, and never leave it, except the cluster's own
//! on the control plane, whose controllers sign with it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use minik_config::Role;
use minik_pki::{CA_VALIDITY, Ca, CertKey, LeafRequest, RENEW_BEFORE, ec_key_pair, inspect};
use minik_spec::{ClusterSpec, NodeSpec};
use time::OffsetDateTime;

use crate::error::Result;
use crate::report::Outcome;
use crate::state::{make_private_folder, read_optional, write_private};

/// Folder of certificates in the guest.
pub(crate) const GUEST_PKI: &str = "/var/lib/minik/pki";

/// The authorities of a profile.
#[derive(Debug)]
pub(crate) struct Authorities {
    folder: PathBuf,
    cluster: Ca,
    front_proxy: Ca,
    validity: Duration,
    now: OffsetDateTime,
}

/// One file for a node's folder of certificates.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PkiFile {
    pub(crate) name: &'static str,
    pub(crate) text: String,
    /// Whether it is a private key.
    pub(crate) secret: bool,
}

impl Authorities {
    /// Reads a profile's authorities, and makes those that are not there.
    pub(crate) fn ensure(folder: &Path, spec: &ClusterSpec) -> Result<(Authorities, Outcome)> {
        make_private_folder(folder)?;
        let name = spec.profile.as_str();
        let now = OffsetDateTime::now_utc();
        let (cluster, new) = authority(folder, "ca", &format!("{name} cluster CA"))?;
        let (front_proxy, _) =
            authority(folder, "front-proxy-ca", &format!("{name} front proxy CA"))?;
        if read_optional(&folder.join("sa.pub"))?.is_none() {
            let pair = ec_key_pair()?;
            // The public key last: it says that both are there.
            write_private(&folder.join("sa.key"), pair.private_pem.as_bytes())?;
            write_private(&folder.join("sa.pub"), pair.public_pem.as_bytes())?;
        }
        let validity = spec.cert_expiration.0;
        let folder = folder.to_owned();
        let authorities = Authorities { folder, cluster, front_proxy, validity, now };
        let outcome = if new { Outcome::Changed } else { Outcome::Unchanged };
        Ok((authorities, outcome))
    }

    /// The user's own certificate: in the group that may do everything.
    pub(crate) fn admin(&self) -> Result<CertKey> {
        let request = LeafRequest::client("minik-user", &["system:masters"]);
        self.leaf(&self.folder, &self.cluster, "admin", request)
    }

    /// The cluster authority's certificate.
    pub(crate) fn cluster_pem(&self) -> &str {
        self.cluster.cert_pem()
    }

    /// Everything one node needs and nothing more, each certificate still valid for 30 days or new.
    pub(crate) fn node_files(&self, spec: &ClusterSpec, node: &NodeSpec) -> Result<Vec<PkiFile>> {
        let folder = self.folder.join("nodes").join(&node.name);
        make_private_folder(&folder)?;
        let mut files = Files::default();
        files.public("ca.crt", self.cluster.cert_pem());
        let leaf = |name, request| self.leaf(&folder, &self.cluster, name, request);

        let serving = LeafRequest::server(&format!("system:node:{}", node.name), node_names(node));
        files.pair("kubelet.crt", "kubelet.key", leaf("kubelet", serving)?);
        let user = format!("system:node:{}", node.name);
        let client = LeafRequest::client(&user, &["system:nodes"]);
        files.pair("kubelet-client.crt", "kubelet-client.key", leaf("kubelet-client", client)?);
        let proxy = LeafRequest::client("system:kube-proxy", &["system:node-proxier"]);
        files.pair("kube-proxy.crt", "kube-proxy.key", leaf("kube-proxy", proxy)?);
        if node.role == Role::Worker {
            return Ok(files.0);
        }

        files.secret("ca.key", self.cluster.key_pem());
        let server = LeafRequest::server("kube-apiserver", spec.api_server_sans());
        files.pair("apiserver.crt", "apiserver.key", leaf("apiserver", server)?);
        let to_kubelet = LeafRequest::client("kube-apiserver-kubelet-client", &["system:masters"]);
        files.pair(
            "apiserver-kubelet-client.crt",
            "apiserver-kubelet-client.key",
            leaf("apiserver-kubelet-client", to_kubelet)?,
        );
        files.public("front-proxy-ca.crt", self.front_proxy.cert_pem());
        files.secret("front-proxy-ca.key", self.front_proxy.key_pem());
        let front = LeafRequest::client("front-proxy-client", &[]);
        let front = self.leaf(&folder, &self.front_proxy, "front-proxy-client", front)?;
        files.pair("front-proxy-client.crt", "front-proxy-client.key", front);
        let read = |name: &str| {
            Ok::<_, crate::ProvisionError>(
                read_optional(&self.folder.join(name))?.unwrap_or_default(),
            )
        };
        files.secret("sa.key", &read("sa.key")?);
        files.public("sa.pub", &read("sa.pub")?);
        Ok(files.0)
    }

    /// A certificate for Docker's API, from an authority of its own: whoever may speak to Docker is
    /// root in the guest, and a kubelet's certificate must not be enough for that.
    pub(crate) fn docker(&self, node: &NodeSpec) -> Result<DockerCertificates> {
        let (ca, _) = authority(&self.folder, "docker-ca", "docker CA")?;
        let folder = self.folder.join("nodes").join(&node.name);
        make_private_folder(&folder)?;
        let server = LeafRequest::server(&node.name, node_names(node));
        Ok(DockerCertificates {
            server: self.leaf(&folder, &ca, "docker", server)?,
            client: self.leaf(
                &self.folder,
                &ca,
                "docker-client",
                LeafRequest::client("minik-user", &[]),
            )?,
            authority: ca.cert_pem().to_owned(),
        })
    }

    /// The certificate in `folder` if it still is what is asked for; else a new one, kept there.
    fn leaf(&self, folder: &Path, ca: &Ca, name: &str, request: LeafRequest) -> Result<CertKey> {
        let cert_path = folder.join(format!("{name}.crt"));
        let key_path = folder.join(format!("{name}.key"));
        if let (Some(cert_pem), Some(key_pem)) =
            (read_optional(&cert_path)?, read_optional(&key_path)?)
            && still_good(&cert_pem, ca, &request, self.now, renew_before(self.validity))
        {
            return Ok(CertKey { cert_pem, key_pem });
        }
        let pair = ca.issue(&request.valid_for(self.validity))?;
        // Taken away first, so that a crash never leaves a certificate beside another one's key.
        crate::state::remove_file(&cert_path)?;
        write_private(&key_path, pair.key_pem.as_bytes())?;
        write_private(&cert_path, pair.cert_pem.as_bytes())?;
        Ok(pair)
    }
}

/// What Docker's server and clients need.
#[derive(Debug)]
pub(crate) struct DockerCertificates {
    pub(crate) authority: String,
    pub(crate) server: CertKey,
    pub(crate) client: CertKey,
}

#[derive(Default)]
struct Files(Vec<PkiFile>);

impl Files {
    fn public(&mut self, name: &'static str, text: &str) {
        self.0.push(PkiFile { name, text: text.to_owned(), secret: false });
    }

    fn secret(&mut self, name: &'static str, text: &str) {
        self.0.push(PkiFile { name, text: text.to_owned(), secret: true });
    }

    fn pair(&mut self, cert: &'static str, key: &'static str, pair: CertKey) {
        self.0.push(PkiFile { name: cert, text: pair.cert_pem, secret: false });
        self.0.push(PkiFile { name: key, text: pair.key_pem, secret: true });
    }
}

fn node_names(node: &NodeSpec) -> Vec<String> {
    let mut names = vec![node.name.clone(), "localhost".to_owned(), "127.0.0.1".to_owned()];
    names.extend(node.network.as_ref().map(|plan| plan.address.to_string()));
    names
}

/// A certificate that was short-lived from the start is renewed in the last third of its life.
fn renew_before(validity: Duration) -> Duration {
    RENEW_BEFORE.min(validity / 3)
}

fn still_good(
    cert_pem: &str,
    ca: &Ca,
    request: &LeafRequest,
    now: OffsetDateTime,
    margin: Duration,
) -> bool {
    let (Ok(facts), Ok(issuer)) = (inspect(cert_pem), inspect(ca.cert_pem())) else { return false };
    facts.was_issued_by(&issuer)
        && facts.common_name == request.common_name
        && facts.organizations == request.organizations
        && facts.sans == request.sans
        && !facts.ends_within(now, margin)
}

/// An authority from its files, or a new one; an expired one is replaced, and with it, through
/// [`still_good`], everything it has signed.
fn authority(folder: &Path, name: &str, common_name: &str) -> Result<(Ca, bool)> {
    let cert_path = folder.join(format!("{name}.crt"));
    let key_path = folder.join(format!("{name}.key"));
    if let (Some(cert), Some(key)) = (read_optional(&cert_path)?, read_optional(&key_path)?) {
        let ends = inspect(&cert)?.ends_within(OffsetDateTime::now_utc(), RENEW_BEFORE);
        if !ends {
            return Ok((Ca::from_pem(&cert, &key)?, false));
        }
    }
    let ca = Ca::new(common_name, CA_VALIDITY)?;
    crate::state::remove_file(&cert_path)?;
    write_private(&key_path, ca.key_pem().as_bytes())?;
    write_private(&cert_path, ca.cert_pem().as_bytes())?;
    Ok((ca, true))
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    fn days(count: u32) -> Duration {
        DAY * count
    }

    #[test_case(1000, 960, true; "plenty is left")]
    #[test_case(1000, 980, false; "less than thirty days are left")]
    #[test_case(9, 5, true; "short-lived, in its middle")]
    #[test_case(9, 7, false; "short-lived, in its last third")]
    fn renewal(validity: u32, age: u32, kept: bool) {
        let ca = Ca::new("ca", CA_VALIDITY).unwrap();
        let request = LeafRequest::server("x", vec!["x".to_owned()]);
        let leaf = ca.issue(&request.clone().valid_for(days(validity))).unwrap();
        let now = OffsetDateTime::now_utc() + days(age);
        let margin = renew_before(days(validity));
        assert_eq!(still_good(&leaf.cert_pem, &ca, &request, now, margin), kept);
    }

    #[test]
    fn what_was_asked_differently_is_made_anew() {
        let ca = Ca::new("ca", CA_VALIDITY).unwrap();
        let request = LeafRequest::client("system:node:a", &["system:nodes"]);
        let leaf = ca.issue(&request).unwrap();
        let good = |ca: &Ca, request: &LeafRequest| {
            still_good(&leaf.cert_pem, ca, request, OffsetDateTime::now_utc(), DAY)
        };
        assert!(good(&ca, &request));
        assert!(!good(&Ca::new("ca", CA_VALIDITY).unwrap(), &request), "another authority");
        assert!(!good(&ca, &LeafRequest::client("system:node:b", &["system:nodes"])));
        assert!(!good(&ca, &LeafRequest::client("system:node:a", &[])));
    }
}
