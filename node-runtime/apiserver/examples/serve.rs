//! An API server alone, to try things against: `cargo run -p minik-apiserver --example serve -- DIR`
//!
//! Makes certificates in `DIR/pki` (kept for the next run) and a kubeconfig of the administrator
//! in `DIR/kubeconfig`, keeps its data in `DIR/store`, listens on a free port of the loopback (or
//! on the second argument). Further arguments are flags as `minik start --extra-config` takes them:
//! `apiserver.audit-policy-file=FILE`. Stops on Ctrl-C.

use std::error::Error;
use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;

use minik_apiserver::{Config, Secrets};
use minik_config::{API_SERVER_FLAGS, ApiServerFlags, Takes};
use minik_pki::{CA_VALIDITY, Ca, Credentials, Entry, Kubeconfig, LeafRequest, Pem, ec_key_pair};
use minik_store::{Storage, Store};
use tokio_util::sync::CancellationToken;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let Some(folder) = arguments.next() else { return Err("which folder?".into()) };
    let listen: SocketAddr = arguments.next().as_deref().unwrap_or("127.0.0.1:0").parse()?;
    let flags = flags(arguments)?;
    let folder = std::path::absolute(folder)?;
    std::fs::create_dir_all(&folder)?;

    let pki = folder.join("pki");
    if !pki.join("ca.crt").exists() {
        make_certificates(&pki)?;
    }
    let storage = Storage::Folder(folder.join("store"));
    let store = Store::open(&minik_store::Config::new(storage))?;
    let mut config = Config::new(listen, listen.ip());
    config.audit = flags.audit()?;
    config.encryption = flags.encryption()?;
    config.authentication = flags.authentication()?;
    config.front_proxy_names = flags.front_proxy_names();
    let server = config.build(store.clone(), Secrets::read(&pki)?).await?;

    let kubeconfig = folder.join("kubeconfig");
    write_kubeconfig(&pki, &kubeconfig, server.address)?;
    writeln!(std::io::stdout(), "export KUBECONFIG={}", kubeconfig.display())?;

    let drain = CancellationToken::new();
    let stop = drain.clone();
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        stop.cancel();
    });
    server.run(drain).await;
    store.close().await;
    Ok(())
}

fn flags(arguments: impl Iterator<Item = String>) -> Outcome<ApiServerFlags> {
    let mut flags = ApiServerFlags::default();
    for text in arguments {
        let (name, given) = text.split_once('=').ok_or("a flag is NAME=VALUE")?;
        let name = name.strip_prefix("apiserver.").ok_or("only `apiserver` has flags")?;
        let known = API_SERVER_FLAGS.iter().find(|flag| flag.name == name);
        match known.map(|flag| flag.takes) {
            Some(Takes::File) => flags.set(name, &std::fs::read_to_string(given)?),
            Some(Takes::Value) | None => flags.set(name, given),
        }
    }
    flags.check()?;
    Ok(flags)
}

fn make_certificates(pki: &Path) -> Outcome<()> {
    std::fs::create_dir_all(pki)?;
    let ca = Ca::new("minik", CA_VALIDITY)?;
    let names = ["127.0.0.1", "10.96.0.1", "localhost", "kubernetes", "kubernetes.default"];
    let server = LeafRequest::server("kube-apiserver", names.map(str::to_owned).to_vec());
    let kubelet = LeafRequest::client("kube-apiserver-kubelet-client", &["system:masters"]);
    let admin = LeafRequest::client("kubernetes-admin", &["system:masters"]);
    std::fs::write(pki.join("ca.crt"), ca.cert_pem())?;
    std::fs::write(pki.join("ca.key"), ca.key_pem())?;
    let leaves = [("apiserver", server), ("apiserver-kubelet-client", kubelet), ("admin", admin)];
    for (name, request) in leaves {
        let leaf = ca.issue(&request)?;
        std::fs::write(pki.join(format!("{name}.crt")), leaf.cert_pem)?;
        std::fs::write(pki.join(format!("{name}.key")), leaf.key_pem)?;
    }
    let front_proxy = Ca::new("front-proxy", CA_VALIDITY)?;
    let front_client = front_proxy.issue(&LeafRequest::client("front-proxy-client", &[]))?;
    std::fs::write(pki.join("front-proxy-ca.crt"), front_proxy.cert_pem())?;
    std::fs::write(pki.join("front-proxy-client.crt"), front_client.cert_pem)?;
    std::fs::write(pki.join("front-proxy-client.key"), front_client.key_pem)?;
    let keys = ec_key_pair()?;
    std::fs::write(pki.join("sa.key"), keys.private_pem)?;
    std::fs::write(pki.join("sa.pub"), keys.public_pem)?;
    Ok(())
}

fn write_kubeconfig(pki: &Path, path: &Path, address: SocketAddr) -> Outcome<()> {
    let file = |name: &str| Pem::File(pki.join(name).display().to_string());
    let mut config = Kubeconfig::default();
    config.put(&Entry {
        name: "minik".to_owned(),
        server: format!("https://{address}"),
        credentials: Credentials {
            authority: file("ca.crt"),
            certificate: file("admin.crt"),
            key: file("admin.key"),
        },
        namespace: None,
    });
    config.current_context = "minik".to_owned();
    std::fs::write(path, config.to_yaml()?)?;
    Ok(())
}
