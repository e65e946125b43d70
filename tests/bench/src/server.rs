//! A server as its kubeconfig describes it, asked without a client library between.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use kube::config::Kubeconfig;
use reqwest::{Certificate, Client, Identity};
use secrecy::ExposeSecret as _;

use crate::Failure;

/// Where a server is and how one proves oneself to it.
pub(crate) struct Server {
    address: String,
    authority: Vec<u8>,
    /// Certificate and key.
    identity: Vec<u8>,
}

/// A request that is answered in full or not at all.
pub(crate) struct Request(reqwest::RequestBuilder);

impl Server {
    /// The only cluster and user of a kubeconfig; users prove themselves by certificate.
    pub(crate) fn read(path: &Path) -> Result<Server, Failure> {
        let config = Kubeconfig::read_from(path)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let load = |data: Option<&str>, file: Option<&str>| -> Result<Vec<u8>, Failure> {
            match (data, file) {
                (Some(data), _) => Ok(BASE64_STANDARD.decode(data)?),
                (None, Some(file)) => Ok(std::fs::read(folder.join(PathBuf::from(file)))?),
                (None, None) => Err("the kubeconfig lacks a certificate or key".into()),
            }
        };
        let cluster = config.clusters.first().and_then(|one| one.cluster.as_ref());
        let cluster = cluster.ok_or("the kubeconfig names no cluster")?;
        let user = config.auth_infos.first().and_then(|one| one.auth_info.as_ref());
        let user = user.ok_or("the kubeconfig names no user")?;
        let authority = load(
            cluster.certificate_authority_data.as_deref(),
            cluster.certificate_authority.as_deref(),
        )?;
        let mut identity =
            load(user.client_certificate_data.as_deref(), user.client_certificate.as_deref())?;
        let key = user.client_key_data.as_ref().map(|key| key.expose_secret());
        identity.extend(load(key, user.client_key.as_deref())?);
        let address = cluster.server.clone().ok_or("the kubeconfig names no server")?;
        Ok(Server { address, authority, identity })
    }

    /// A client with connections of its own: one with many streams, or one per request under way.
    pub(crate) fn client(&self, http2: bool) -> Result<Client, Failure> {
        let builder = Client::builder()
            .tls_certs_only([Certificate::from_pem(&self.authority)?])
            .identity(Identity::from_pem(&self.identity)?)
            .no_proxy();
        let builder = if http2 { builder.http2_prior_knowledge() } else { builder.http1_only() };
        Ok(builder.build()?)
    }

    /// A request for what is at a path.
    pub(crate) fn get(&self, client: &Client, path: &str) -> Request {
        Request(client.get(format!("{}{path}", self.address)))
    }
}

impl Request {
    pub(crate) fn header(self, name: &str, value: &str) -> Request {
        Request(self.0.header(name, value))
    }

    /// The size of the body of a good answer.
    pub(crate) async fn send(self) -> Result<usize, Failure> {
        Ok(self.0.send().await?.error_for_status()?.bytes().await?.len())
    }

    /// The answer whose body goes on.
    pub(crate) async fn open(self) -> Result<reqwest::Response, Failure> {
        Ok(self.0.send().await?.error_for_status()?)
    }
}
