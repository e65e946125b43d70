//! `minik ip`: the address of a machine.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::report::Report;

/// Print the address of a machine
#[derive(clap::Args, Debug)]
pub(crate) struct IpArgs {
    /// The machine [default: the control plane]
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,
}

pub(crate) fn run(ctx: &Context, args: &IpArgs) -> Result<(), Report> {
    let cluster = Cluster::open(ctx)?;
    let machine = cluster.machine(args.node.as_deref())?;
    cluster.must_run(machine)?;
    ctx.out.data(cluster.address(machine).to_string());
    Ok(())
}
