//! `minik logs`: what the node says about itself, from its journal or, when it is down, its console.

use crate::cluster::Cluster;
use crate::context::Context;
use crate::exit::Exit;
use crate::report::Report;

/// Show the logs of the node
#[derive(clap::Args, Debug)]
pub(crate) struct LogsArgs {
    /// The machine [default: the control plane]
    #[arg(long, value_name = "NODE")]
    node: Option<String>,

    /// Lines of each part
    #[arg(short = 'n', long, default_value_t = 60, value_name = "LINES")]
    length: u32,

    /// Go on as lines come
    #[arg(short, long)]
    follow: bool,

    /// Only lines that look like problems
    #[arg(long)]
    problems: bool,

    /// Write into a file instead
    #[arg(long, value_name = "FILE", conflicts_with = "follow")]
    file: Option<std::path::PathBuf>,
}

/// Units whose journal is shown, in this order.
const UNITS: &[&str] = &["minik-node", "containerd", "docker", "minik-agent"];

/// What a line with a problem has in it.
const PROBLEMS: &[&str] = &["error", "warn", "fail", "panic", "denied", "refused", "timed out"];

pub(crate) fn run(ctx: &Context, args: &LogsArgs) -> Result<(), Report> {
    let cluster = Cluster::open(ctx)?;
    let machine = cluster.machine(args.node.as_deref())?;
    if args.follow {
        cluster.must_run(machine)?;
        let units: Vec<String> = UNITS.iter().map(|unit| format!("-u {unit}")).collect();
        let line = format!("journalctl --no-pager -n {} -f {}", args.length, units.join(" "));
        let status = cluster.ssh(machine, &[line])?.status();
        return match status.ok().and_then(|status| status.code()) {
            Some(0) | None => Ok(()),
            Some(code) => Err(Report::silent(u8::try_from(code).unwrap_or(1))),
        };
    }
    let mut text = String::new();
    if cluster.is_running(machine) {
        for unit in UNITS {
            let line = format!("journalctl --no-pager -o short-iso -n {} -u {unit}", args.length);
            let said = cluster.remote(machine, &line)?;
            text.push_str(&section(unit, &said));
        }
    }
    let console = cluster.console_tail(machine, args.length as usize);
    text.push_str(&section("console", &console));
    if args.problems {
        text = problems(&text);
    }
    match &args.file {
        None => ctx.out.data(text.trim_end()),
        Some(file) => std::fs::write(file, &text).map_err(|err| {
            Report::new("HOST_IO", Exit::HOST_ERROR, format!("{}: {err}", file.display()))
        })?,
    }
    Ok(())
}

fn section(name: &str, text: &str) -> String {
    format!("==> {name} <==\n{}\n\n", text.trim_end())
}

fn problems(text: &str) -> String {
    let speaks_of_one = |line: &str| {
        let line = line.to_lowercase();
        PROBLEMS.iter().any(|word| line.contains(word))
    };
    text.lines()
        .filter(|line| line.starts_with("==> ") || speaks_of_one(line))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_keep_their_headings() {
        let text = section("minik-node", "all is well\nWARN disk is slow\n");
        assert_eq!(problems(&text), "==> minik-node <==\nWARN disk is slow\n");
    }
}
