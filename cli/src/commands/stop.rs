//! `minik stop`: powers the machines off and keeps their disks.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::out::{Format, Sign};
use crate::report::Report;

/// Power the machines off and keep their disks
///
/// Succeeds when they are off already. `minik start` goes on from the same disks.
#[derive(clap::Args, Debug)]
pub(crate) struct StopArgs {
    /// Every cluster of this user
    #[arg(long)]
    all: bool,

    /// Leave kubectl's current context as it is
    #[arg(long)]
    keep_context_active: bool,

    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(ctx: &Context, args: &StopArgs) -> Result<(), Report> {
    ctx.out.set_format(args.output);
    let names = if args.all { Cluster::names(ctx)? } else { vec![ctx.profile()?] };
    for name in names {
        let cluster = Cluster::open_named(ctx, &name)?;
        ctx.out.step(Sign::Stop, "Stopping", 0, 1, &format!("Stopping \"{name}\" …"));
        let stopped = cluster.stop(args.keep_context_active)?;
        let nodes = if stopped == 1 { "1 node".to_owned() } else { format!("{stopped} nodes") };
        ctx.out.step(Sign::Stop, "Done", 1, 1, &format!("{nodes} stopped."));
    }
    Ok(())
}
