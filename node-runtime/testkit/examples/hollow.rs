//! Serves a control plane with hollow nodes on loopback, to try clients against:
//! `cargo run -p minik-testkit --example hollow -- KUBECONFIG [NODES]`, ended with Ctrl-C.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use minik_testkit::Cluster;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let kubeconfig = arguments.next().ok_or("name the file to write the kubeconfig to")?;
    let count: usize = arguments.next().map_or(Ok(2), |text| text.parse())?;
    let volumes = tempfile::tempdir()?;
    let cluster = Cluster::with_volumes(volumes.path()).await?;
    let nodes: Vec<_> = (1..=count).map(|number| cluster.add_node(&format!("n{number}"))).collect();
    write_kubeconfig(Path::new(&kubeconfig), &cluster)?;
    tracing::warn!(address = %cluster.address, nodes = nodes.len(), kubeconfig, "serving");
    tokio::signal::ctrl_c().await?;
    cluster.stop().await;
    Ok(())
}

fn write_kubeconfig(path: &Path, cluster: &Cluster) -> Result<(), Box<dyn std::error::Error>> {
    std::fs::write(path, cluster.admin_kubeconfig("hollow")?)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(())
}
