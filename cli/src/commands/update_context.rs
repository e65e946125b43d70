//! `minik update-context`: makes the kubeconfig point at the cluster again.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::report::Report;

/// Write the cluster's address and certificates into the kubeconfig again
#[derive(clap::Args, Debug)]
pub(crate) struct UpdateContextArgs {}

pub(crate) fn run(ctx: &Context, _: &UpdateContextArgs) -> Result<(), Report> {
    let cluster = Cluster::open(ctx)?;
    let name = cluster.profile();
    ctx.out.data(if cluster.update_context()? {
        format!("\"{name}\" context has been updated to point to {}", cluster.server()?)
    } else {
        format!("No changes required for the \"{name}\" context")
    });
    Ok(())
}
