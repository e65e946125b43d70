//! `minik ssh-host`: the host key of a machine, as a line of `known_hosts`.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::report::Report;

/// Print the host key of a machine in the form of `known_hosts`
#[derive(clap::Args, Debug)]
pub(crate) struct SshHostArgs {
    /// The machine [default: the control plane]
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,
}

pub(crate) fn run(ctx: &Context, args: &SshHostArgs) -> Result<(), Report> {
    let cluster = Cluster::open(ctx)?;
    let machine = cluster.machine(args.node.as_deref())?;
    ctx.out.data(cluster.known_hosts(machine)?);
    Ok(())
}
