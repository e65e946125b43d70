//! `minik version`: which minik this is and which Kubernetes it makes.

use serde_json::json;

use crate::context::Context;
use crate::out::Format;
use crate::report::Report;

/// Print the version of minik
#[derive(clap::Args, Debug)]
pub(crate) struct VersionArgs {
    /// Print the bare version only
    #[arg(long)]
    short: bool,

    /// Print the versions of what minik brings too
    #[arg(long)]
    components: bool,

    /// How to print
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// The Kubernetes version every cluster runs.
pub(crate) const KUBERNETES: &str = "v1.36.0";

pub(crate) fn run(ctx: &Context, args: &VersionArgs) -> Result<(), Report> {
    let version = concat!("v", env!("CARGO_PKG_VERSION"));
    if args.output == Some(Format::Json) {
        let mut document = json!({ "minikVersion": version, "minikubeVersion": version });
        if args.components {
            document["kubernetes"] = json!(KUBERNETES);
        }
        ctx.out.data(document.to_string());
        return Ok(());
    }
    if args.short {
        ctx.out.data(version);
        return Ok(());
    }
    ctx.out.data(format!("minik version: {version}"));
    if args.components {
        ctx.out.data(format!("kubernetes: {KUBERNETES}"));
    }
    Ok(())
}
