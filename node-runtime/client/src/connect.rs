//! Builds a [`kube::Client`]: from a service in this process, from certificate files, from a
//! kubeconfig.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::{Request, Response, Uri};
use http_body::Body as HttpBody;
use kube::client::Body;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};
use tower::{BoxError, Service};

/// Where the files of a TLS client identity are. The key is never read into a log or an error.
#[derive(Clone, Debug)]
pub struct CertificateFiles {
    /// Certificate authority that signed the server's certificate, PEM.
    pub ca: PathBuf,
    /// Client certificate, PEM. Its subject is the identity.
    pub certificate: PathBuf,
    /// Key of the client certificate, PEM.
    pub key: PathBuf,
}

/// Why no client could be built.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig is missing, unreadable or names something it does not hold.
    #[error("kubeconfig {path} cannot be used")]
    Kubeconfig {
        /// The file that was read.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<KubeconfigError>,
    },

    /// TLS material or the server address is unusable.
    #[error("no client for {server}")]
    Client {
        /// The server that was to be reached.
        server: String,
        /// What kept the client from being built.
        source: Box<kube::Error>,
    },
}

/// A client whose requests are answered by `service` without a socket.
///
/// The service decides who the caller is; take one service per identity. Must be called inside a
/// tokio runtime.
pub fn in_process<S, B>(service: S) -> Client
where
    S: Service<Request<Body>, Response = Response<B>> + Send + 'static,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Client::new(service, "default")
}

/// A client for `server` (`https://host:port`) that proves itself with a client certificate.
///
/// # Errors
/// [`ConnectError::Client`] if a file cannot be read or is not what it should be.
pub fn with_certificates(server: &Uri, files: &CertificateFiles) -> Result<Client, ConnectError> {
    let mut config = Config::new(server.clone());
    config.root_cert_file = Some(files.ca.clone());
    config.auth_info.client_certificate = Some(files.certificate.to_string_lossy().into_owned());
    config.auth_info.client_key = Some(files.key.to_string_lossy().into_owned());
    build(config)
}

/// A client as the current context of the kubeconfig at `path` describes it.
///
/// # Errors
/// [`ConnectError::Kubeconfig`] if the file cannot be used, [`ConnectError::Client`] if what it
/// names cannot.
pub async fn from_kubeconfig(path: &Path) -> Result<Client, ConnectError> {
    let wrong = |source: KubeconfigError| ConnectError::Kubeconfig {
        path: path.to_owned(),
        source: Box::new(source),
    };
    let kubeconfig = Kubeconfig::read_from(path).map_err(wrong)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .map_err(wrong)?;
    build(config)
}

fn build(config: Config) -> Result<Client, ConnectError> {
    let server = config.cluster_url.to_string();
    Client::try_from(config)
        .map_err(|source| ConnectError::Client { server, source: Box::new(source) })
}
