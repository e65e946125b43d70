//! Who may ask the kubelet: the API server and administrators, by their certificate.

use rustls::ServerConnection;
use x509_parser::prelude::{FromDer, X509Certificate};

/// The API server's name on its certificate for kubelets.
const API_SERVER: &str = "kube-apiserver-kubelet-client";
const API_SERVER_SHORT: &str = "apiserver-kubelet-client";
/// Whoever belongs to this group may do everything.
const ADMINISTRATORS: &str = "system:masters";

/// Whether the client of this connection may ask. That its certificate is genuine was checked in
/// the handshake.
pub(super) fn is_allowed(connection: &ServerConnection) -> bool {
    let Some([certificate, ..]) = connection.peer_certificates() else { return false };
    let Ok((_, certificate)) = X509Certificate::from_der(certificate) else { return false };
    let subject = certificate.subject();
    let names = |attributes: Vec<Option<&str>>| -> Vec<String> {
        attributes.into_iter().flatten().map(str::to_owned).collect()
    };
    let common = names(subject.iter_common_name().map(|name| name.as_str().ok()).collect());
    let groups = names(subject.iter_organization().map(|name| name.as_str().ok()).collect());
    allows(&common, &groups)
}

fn allows(common: &[String], groups: &[String]) -> bool {
    common.iter().any(|name| name == API_SERVER || name == API_SERVER_SHORT)
        || groups.iter().any(|group| group == ADMINISTRATORS)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("apiserver-kubelet-client", "" => true)]
    #[test_case("kubernetes-admin", "system:masters" => true)]
    #[test_case("system:node:minik", "system:nodes" => false; "another node")]
    #[test_case("", "" => false)]
    fn who(common: &str, group: &str) -> bool {
        allows(&[common.to_owned()], &[group.to_owned()])
    }
}
