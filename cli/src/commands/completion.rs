//! `minik completion`: the script that teaches a shell minik's words.

use clap::CommandFactory as _;

use crate::args::Cli;
use crate::context::Context;
use crate::report::Report;

/// Print the completion script of a shell
#[derive(clap::Args, Debug)]
pub(crate) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

pub(crate) fn run(ctx: &Context, args: &CompletionArgs) -> Result<(), Report> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "minik", &mut script);
    ctx.out.data(String::from_utf8_lossy(&script).trim_end());
    Ok(())
}
