//! `minik ssh-key`: the file of the key that opens a machine.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::report::Report;

/// Print the path of the key that opens the machine
#[derive(clap::Args, Debug)]
pub(crate) struct SshKeyArgs {
    /// The machine [default: the control plane]
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,
}

pub(crate) fn run(ctx: &Context, args: &SshKeyArgs) -> Result<(), Report> {
    let cluster = Cluster::open(ctx)?;
    cluster.machine(args.node.as_deref())?;
    ctx.out.data(cluster.ssh_key().display().to_string());
    Ok(())
}
