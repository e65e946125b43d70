//! One file for each command: its flags, its help and its doing.

pub(crate) mod completion;
pub(crate) mod config;
pub(crate) mod delete;
pub(crate) mod docker_env;
pub(crate) mod image;
pub(crate) mod ip;
pub(crate) mod kubectl;
pub(crate) mod logs;
pub(crate) mod node;
pub(crate) mod profile;
pub(crate) mod service;
pub(crate) mod ssh;
pub(crate) mod ssh_host;
pub(crate) mod ssh_key;
pub(crate) mod start;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod update_context;
pub(crate) mod version;

use crate::args::Command;
use crate::context::Context;
use crate::report::Report;

/// Runs the command that was asked for.
pub(crate) fn run(ctx: &Context, command: &Command) -> Result<(), Report> {
    match command {
        Command::Start(args) => start::run(ctx, args),
        Command::Status(args) => status::run(ctx, args),
        Command::Stop(args) => stop::run(ctx, args),
        Command::Delete(args) => delete::run(ctx, args),
        Command::Ip(args) => ip::run(ctx, args),
        Command::Ssh(args) => ssh::run(ctx, args),
        Command::SshKey(args) => ssh_key::run(ctx, args),
        Command::SshHost(args) => ssh_host::run(ctx, args),
        Command::Kubectl(args) => kubectl::run(ctx, args),
        Command::Service(args) => service::run(ctx, args),
        Command::Logs(args) => logs::run(ctx, args),
        Command::Image(args) => image::run(ctx, args),
        Command::DockerEnv(args) => docker_env::run(ctx, args),
        Command::Node(args) => node::run(ctx, args),
        Command::Profile(args) => profile::run(ctx, args),
        Command::Config(args) => config::run(ctx, args),
        Command::UpdateContext(args) => update_context::run(ctx, args),
        Command::Version(args) => version::run(ctx, args),
        Command::Completion(args) => completion::run(ctx, args),
    }
}
