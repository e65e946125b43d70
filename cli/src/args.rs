//! The command line: global flags, and the list of commands.

use clap::{Args, Parser, Subcommand};

use crate::commands;

/// A real Kubernetes on real virtual machines in seconds
#[derive(Parser, Debug)]
#[command(name = "minik", version, about, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Flags that every command takes.
#[derive(Args, Debug)]
pub(crate) struct GlobalArgs {
    /// Name of the cluster, its machine and its kubeconfig context [default: minik]
    #[arg(short, long, global = true, value_name = "NAME", env = "MINIK_PROFILE")]
    pub(crate) profile: Option<String>,

    /// Say more of what is done; twice for debug logs
    #[arg(
        short = 'v',
        long = "v",
        visible_alias = "verbose",
        global = true,
        num_args = 0..=1,
        require_equals = true,
        value_name = "LEVEL",
        default_missing_value = "1"
    )]
    pub(crate) verbosity: Option<u8>,

    /// Fail at once when another minik works on the same cluster
    #[arg(long, global = true)]
    pub(crate) no_wait: bool,

    /// Write debug logs to stderr
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub(crate) alsologtostderr: Option<bool>,

    /// Taken for the habits of minikube's users; changes nothing
    #[arg(long, global = true, hide = true, num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    pub(crate) logtostderr: Option<bool>,

    /// Taken for the habits of minikube's users; changes nothing
    #[arg(short, long, global = true, hide = true)]
    pub(crate) bootstrapper: Option<String>,

    /// Taken for the habits of minikube's users; changes nothing
    #[arg(long, global = true, hide = true)]
    pub(crate) user: Option<String>,
}

/// Every command; the file of the same name holds its flags and its doing.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Start(Box<commands::start::StartArgs>),
    Status(commands::status::StatusArgs),
    Stop(commands::stop::StopArgs),
    Delete(commands::delete::DeleteArgs),
    Ip(commands::ip::IpArgs),
    Ssh(commands::ssh::SshArgs),
    SshKey(commands::ssh_key::SshKeyArgs),
    SshHost(commands::ssh_host::SshHostArgs),
    Kubectl(commands::kubectl::KubectlArgs),
    Service(commands::service::ServiceArgs),
    Logs(commands::logs::LogsArgs),
    Image(commands::image::ImageArgs),
    DockerEnv(commands::docker_env::DockerEnvArgs),
    Node(commands::node::NodeArgs),
    Profile(commands::profile::ProfileArgs),
    Config(commands::config::ConfigArgs),
    UpdateContext(commands::update_context::UpdateContextArgs),
    Version(commands::version::VersionArgs),
    Completion(commands::completion::CompletionArgs),
}
