//! `minik node`: the machines of a cluster.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::exit::Exit;
use crate::out::Sign;
use crate::report::Report;

/// List, add and delete the machines of a cluster
#[derive(clap::Args, Debug)]
pub(crate) struct NodeArgs {
    #[command(subcommand)]
    action: Action,
}

#[derive(clap::Subcommand, Debug)]
enum Action {
    /// Print each machine with its address
    List,
    /// Add a worker
    Add,
    /// Take a worker out of the cluster: its machine, its disk and its Node object
    Delete {
        /// The worker, as `m02` or by its full name
        name: String,
    },
}

pub(crate) fn run(ctx: &Context, args: &NodeArgs) -> Result<(), Report> {
    let cluster = Cluster::open(ctx)?;
    match &args.action {
        Action::List => {
            for machine in cluster.machines() {
                ctx.out.data(format!("{}\t{}", machine.name, cluster.address(machine)));
            }
        }
        Action::Add => {
            let name = cluster.add_node()?;
            ctx.out
                .info(Sign::Done, &format!("Successfully added {name} to {}!", cluster.profile()));
        }
        Action::Delete { name } => {
            let name = cluster.delete_node(name)?;
            ctx.out.info(Sign::Delete, &format!("Node {name} was successfully deleted."));
        }
    }
    Ok(())
}

/// The report for a machine that the cluster does not have.
pub(crate) fn unknown(name: &str) -> Report {
    Report::new("GUEST_NODE_RETRIEVE", Exit::GUEST_NOT_FOUND, format!("there is no node `{name}`"))
        .advise("`minik node list` shows all")
}
