//! `minik delete`: takes a cluster away, with everything that was made for it.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::exit::Exit;
use crate::out::{Format, Sign};
use crate::report::Report;

/// Take a cluster away: machines, disks, networks, kubeconfig entry
///
/// Succeeds when there is none, and also when an earlier start or delete was cut off.
#[derive(clap::Args, Debug)]
pub(crate) struct DeleteArgs {
    /// Every cluster of this user
    #[arg(long)]
    all: bool,

    /// Settings and downloaded images too; goes with --all
    #[arg(long)]
    purge: bool,

    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

pub(crate) fn run(ctx: &Context, args: &DeleteArgs) -> Result<(), Report> {
    ctx.out.set_format(args.output);
    if args.purge && !args.all {
        return Err(Report::usage("--purge removes what all clusters share: it goes with --all"));
    }
    let names = if args.all { Cluster::names(ctx)? } else { vec![ctx.profile()?] };
    for name in names {
        if Cluster::delete(ctx, &name)? {
            let message = format!("Removed all traces of the \"{name}\" cluster.");
            ctx.out.step(Sign::Delete, "Deleting", 1, 1, &message);
        } else {
            ctx.out.info(Sign::Note, &format!("There is no cluster \"{name}\" to delete."));
        }
    }
    if args.purge {
        purge(ctx)?;
    }
    Ok(())
}

fn purge(ctx: &Context) -> Result<(), Report> {
    for folder in [&ctx.folders.cache, &ctx.folders.config, &ctx.folders.data, &ctx.folders.run] {
        match std::fs::remove_dir_all(folder) {
            Ok(()) => {}
            Err(err) if err.kind() == std::io::ErrorKind::NotFound => {}
            Err(err) => {
                return Err(Report::new(
                    "HOST_PURGE",
                    Exit::HOST_ERROR,
                    format!("{} cannot be removed: {err}", folder.display()),
                ));
            }
        }
    }
    ctx.out.info(Sign::Delete, "Removed settings and downloaded images.");
    Ok(())
}
