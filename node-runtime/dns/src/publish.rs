//! The Service object that shows where DNS is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use minik_client::ApiErrorExt;

/// Makes the service `kube-dns` in `kube-system` with this address, if there is none of that
/// name. Called once on the control plane, by an identity that may create services there; the
/// namespace must exist.
///
/// # Errors
/// What the API answered.
pub async fn publish_service(client: Client, address: IpAddr) -> Result<(), kube::Error> {
    let services = Api::<Service>::namespaced(client, "kube-system");
    // Asked first: a second create would be refused for its taken address, not for its taken name.
    if services.get_opt("kube-dns").await?.is_some() {
        return Ok(());
    }
    match services.create(&PostParams::default(), &service(address)).await {
        Err(error) if !error.is_already_exists() => Err(error),
        _ => Ok(()),
    }
}

fn service(address: IpAddr) -> Service {
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let port = |name: &str, protocol: &str| ServicePort {
        name: Some(name.to_owned()),
        port: 53,
        protocol: Some(protocol.to_owned()),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta {
            name: Some("kube-dns".to_owned()),
            labels: Some(BTreeMap::from([
                label("k8s-app", "kube-dns"),
                // Each node has the address itself: there is nothing to translate.
                label("service.kubernetes.io/service-proxy-name", "minik-dns"),
            ])),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some(address.to_string()),
            ports: Some(vec![port("dns", "UDP"), port("dns-tcp", "TCP")]),
            ..ServiceSpec::default()
        }),
        status: None,
    }
}
