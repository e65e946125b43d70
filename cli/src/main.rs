//! `minik`: reads the command line, runs one command, ends with its exit code.

mod advice;
mod args;
mod bundle;
mod cluster;
mod commands;
mod config;
mod context;
mod drivers;
mod exit;
mod extra_config;
mod kube;
mod out;
mod progress;
mod report;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory as _, Parser as _};

use crate::args::Cli;
use crate::context::Context;
use crate::exit::Exit;
use crate::out::Out;
use crate::report::Report;

fn main() -> ExitCode {
    let out = Out::new(&|name| std::env::var(name).ok());
    let cli = match Cli::try_parse_from(command_line(std::env::args_os().collect())) {
        Ok(cli) => cli,
        Err(err) => return told_by_the_parser(&out, &err),
    };
    let verbosity = cli.global.verbosity.unwrap_or(0);
    out.set_verbose(verbosity > 0);
    if verbosity > 1 || cli.global.alsologtostderr == Some(true) {
        tracing_subscriber::fmt()
            .with_writer(std::io::stderr)
            .with_max_level(tracing::Level::DEBUG)
            .init();
    }
    let Some(command) = cli.command else {
        let help = Cli::command().render_help();
        out.data(help.to_string().trim_end());
        return ExitCode::SUCCESS;
    };
    let ctx = match Context::new(&cli.global, out) {
        Ok(ctx) => ctx,
        Err((report, out)) => {
            out.error(&report);
            return ExitCode::from(report.exit.0);
        }
    };
    match commands::run(&ctx, &command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            ctx.out.error(&report);
            ExitCode::from(report.exit.0)
        }
    }
}

/// Commands that minikube's users know and minik does not have yet, and what to do instead.
const NOT_YET: &[(&str, &str)] = &[
    ("addons", "DNS, proxy and load balancer addresses are part of every cluster"),
    ("cache", "send images with `minik image load`, or build them with `minik docker-env`"),
    ("cp", "`minik ssh -- 'cat > FILE' < FILE` copies a file"),
    ("dashboard", "any dashboard that reads the kubeconfig works: k9s, Lens, Headlamp"),
    ("mount", "`minik ssh -- 'cat > FILE' < FILE` copies a file; hostPath volumes read it"),
    ("pause", "`minik stop` keeps disks, addresses and everything in the cluster"),
    ("podman-env", "`minik docker-env` reaches the container engine of the machine"),
    (
        "tunnel",
        "`minik service NAME --url` reaches services; LoadBalancers have the node's address",
    ),
    ("unpause", "`minik start` goes on from a stopped machine"),
];

/// Help and version end well; anything else the parser refuses is a usage error.
fn told_by_the_parser(out: &Out, err: &clap::Error) -> ExitCode {
    if let Some(ContextValue::String(word)) = err.get(ContextKind::InvalidSubcommand)
        && let Some((_, instead)) = NOT_YET.iter().find(|(command, _)| command == word)
    {
        let message = format!("`minik {word}` is not there yet");
        let report = Report::new("MK_UNIMPLEMENTED", Exit::UNSUPPORTED, message).advise(*instead);
        out.error(&report);
        return ExitCode::from(report.exit.0);
    }
    // A closed pipe is the reader's choice.
    let _ = err.print();
    if err.use_stderr() { ExitCode::from(Exit::USAGE.0) } else { ExitCode::SUCCESS }
}

/// Called under the name `kubectl` (a link), minik is `minik kubectl --`.
///
/// `--context NAME` chooses the profile then, so that scripts written for kubectl work unchanged.
fn command_line(args: Vec<OsString>) -> Vec<OsString> {
    let called = args.first().map(std::path::PathBuf::from).unwrap_or_default();
    if called.file_stem().is_none_or(|name| name != "kubectl") {
        return args;
    }
    let mut rest: Vec<OsString> = args.into_iter().skip(1).collect();
    let mut line = vec![OsString::from("minik")];
    if let Some(at) = rest.iter().position(|word| word == "--context")
        && rest.len() > at + 1
    {
        let profile = rest.remove(at + 1);
        rest.remove(at);
        line.extend([OsString::from("--profile"), profile]);
    }
    line.extend(["kubectl", "--"].map(OsString::from));
    line.extend(rest);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn called_as_kubectl() {
        let check = |said, meant| assert_eq!(command_line(words(said)), words(meant));
        check("minik status", "minik status");
        check("/bin/kubectl get pods", "minik kubectl -- get pods");
        check("kubectl --context lab get pods", "minik --profile lab kubectl -- get pods");
    }

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
