//! `minik ssh`: a shell or one command inside a machine; its exit code is minik's.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::exit::Exit;
use crate::report::Report;

/// Open a shell in a machine, or run one command: `minik ssh -- uname -a`
#[derive(clap::Args, Debug)]
pub(crate) struct SshArgs {
    /// The machine [default: the control plane]
    #[arg(short, long, value_name = "NODE")]
    node: Option<String>,

    /// Taken for the habits of minikube's users; changes nothing
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    native_ssh: Option<bool>,

    /// The command; a shell when there is none
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(crate) fn run(ctx: &Context, args: &SshArgs) -> Result<(), Report> {
    let cluster = Cluster::open(ctx)?;
    let machine = cluster.machine(args.node.as_deref())?;
    cluster.must_run(machine)?;
    let mut ssh = cluster.ssh(machine, &args.command)?;
    let status = ssh.status().map_err(|err| {
        Report::new("HOST_SSH", Exit::HOST_ERROR, format!("`ssh` cannot be run: {err}")).advise(
            "install OpenSSH's client: on Debian and Ubuntu `sudo apt install openssh-client`",
        )
    })?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Report::silent(u8::try_from(code).unwrap_or(1))),
        None => Err(Report::silent(Exit::INTERRUPTED.0)),
    }
}
