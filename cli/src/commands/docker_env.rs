//! `minik docker-env`: makes the shell's docker speak to the Docker Engine inside the machine.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

use crate::cluster::Cluster;
use crate::context::Context;
use crate::report::Report;

/// The port of Docker's API over TLS, by its registration with IANA.
const DOCKER_PORT: u16 = 2376;

/// Print the variables that make docker use the machine: `eval $(minik docker-env)`
#[derive(clap::Args, Debug)]
pub(crate) struct DockerEnvArgs {
    /// Shell to write for [default: the one that runs minik]
    #[arg(long, value_enum)]
    shell: Option<Shell>,

    /// Print what undoes it
    #[arg(short, long)]
    unset: bool,

    /// Add the machine to NO_PROXY
    #[arg(long)]
    no_proxy: bool,

    /// Print bare values; goes with `--shell none`
    #[arg(short, long, value_enum)]
    output: Option<Output>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
    Cmd,
    Tcsh,
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    Json,
    Yaml,
}

/// A variable and its value; none takes it away.
type Variable = (&'static str, Option<String>);

pub(crate) fn run(ctx: &Context, args: &DockerEnvArgs) -> Result<(), Report> {
    let shell = args.shell.unwrap_or_else(|| detect(&|name| std::env::var(name).ok()));
    let printed = variables(ctx, args).and_then(|variables| match args.output {
        Some(Output::Json | Output::Yaml) if shell != Shell::None => {
            Err(Report::usage("--output goes with --shell none"))
        }
        Some(Output::Json) => {
            ctx.out.data(document(&variables).to_string());
            Ok(())
        }
        Some(Output::Yaml) => {
            let yaml = serde_yaml::to_string(&document(&variables))
                .map_err(|err| Report::usage(err.to_string()))?;
            ctx.out.data(yaml.trim_end());
            Ok(())
        }
        Some(Output::Text) | None => {
            ctx.out.data(script(shell, &variables, args.unset));
            Ok(())
        }
    });
    if let Err(report) = &printed
        && !std::io::stdout().is_terminal()
    {
        // Makes `eval $(…)` fail instead of silently leaving the old values in place.
        ctx.out.data(format!("false exit code {}", report.exit.0));
    }
    printed
}

fn variables(ctx: &Context, args: &DockerEnvArgs) -> Result<Vec<Variable>, Report> {
    let profile = ctx.profile()?;
    if args.unset {
        let mut gone: Vec<Variable> =
            ["DOCKER_TLS_VERIFY", "DOCKER_HOST", "DOCKER_CERT_PATH", "MINIK_ACTIVE_DOCKERD"]
                .map(|name| (name, None))
                .to_vec();
        if args.no_proxy {
            gone.push(("NO_PROXY", None));
        }
        return Ok(gone);
    }
    let cluster = Cluster::open(ctx)?;
    let certificates = cluster.enable_docker()?;
    let at = cluster.endpoint(DOCKER_PORT)?;
    Ok(set(&profile, at, &certificates, args.no_proxy, std::env::var("NO_PROXY").ok()))
}

fn set(
    profile: &str,
    at: SocketAddr,
    certificates: &Path,
    no_proxy: bool,
    proxied: Option<String>,
) -> Vec<Variable> {
    let mut variables = vec![
        ("DOCKER_TLS_VERIFY", Some("1".to_owned())),
        ("DOCKER_HOST", Some(format!("tcp://{at}"))),
        ("DOCKER_CERT_PATH", Some(certificates.display().to_string())),
        ("MINIK_ACTIVE_DOCKERD", Some(profile.to_owned())),
    ];
    if no_proxy {
        let ip = at.ip().to_string();
        let all = match proxied.filter(|list| !list.is_empty()) {
            Some(list) if list.split(',').any(|entry| entry == ip) => list,
            Some(list) => format!("{list},{ip}"),
            None => ip,
        };
        variables.push(("NO_PROXY", Some(all)));
    }
    variables
}

fn document(variables: &[Variable]) -> serde_json::Value {
    let map = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), json!(value.clone().unwrap_or_default())));
    serde_json::Value::Object(map.collect())
}

fn detect(env: &dyn Fn(&str) -> Option<String>) -> Shell {
    let Some(path) = env("SHELL") else {
        return if cfg!(windows) { Shell::Powershell } else { Shell::Bash };
    };
    match path.rsplit('/').next().unwrap_or_default() {
        "fish" => Shell::Fish,
        "zsh" => Shell::Zsh,
        "tcsh" | "csh" => Shell::Tcsh,
        _ => Shell::Bash,
    }
}

fn script(shell: Shell, variables: &[Variable], unset: bool) -> String {
    let mut lines: Vec<String> =
        variables.iter().map(|(name, value)| line(shell, name, value.as_deref())).collect();
    let again = if unset { "minik docker-env --unset" } else { "minik docker-env" };
    match shell {
        Shell::Bash | Shell::Zsh => {
            lines.push("\n# To point your shell to minik's docker-daemon, run:".to_owned());
            lines.push(format!("# eval $({again})"));
        }
        Shell::Fish => lines.push(format!("\n# {again} | source")),
        Shell::Powershell => {
            lines.push(format!("# & {again} --shell powershell | Invoke-Expression"));
        }
        Shell::Cmd => {
            lines.push(format!("REM @FOR /f \"tokens=*\" %i IN ('{again} --shell cmd') DO @%i"));
        }
        Shell::Tcsh => lines.push(format!("\n# eval `{again}`")),
        Shell::None => {}
    }
    lines.join("\n")
}

fn line(shell: Shell, name: &str, value: Option<&str>) -> String {
    match (shell, value) {
        (Shell::Bash | Shell::Zsh, Some(value)) => format!("export {name}=\"{value}\""),
        (Shell::Bash | Shell::Zsh, None) => format!("unset {name};"),
        (Shell::Fish, Some(value)) => format!("set -gx {name} \"{value}\";"),
        (Shell::Fish, None) => format!("set -e {name};"),
        (Shell::Powershell, Some(value)) => format!("$Env:{name} = \"{value}\""),
        (Shell::Powershell, None) => format!("Remove-Item Env:\\{name}"),
        (Shell::Cmd, Some(value)) => format!("SET {name}={value}"),
        (Shell::Cmd, None) => format!("SET {name}="),
        (Shell::Tcsh, Some(value)) => format!("setenv {name} \"{value}\";"),
        (Shell::Tcsh, None) => format!("unsetenv {name};"),
        (Shell::None, Some(value)) => format!("{name}={value}"),
        (Shell::None, None) => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    #[test]
    fn bash_evaluates_what_is_printed() {
        let at = "192.168.70.2:2376".parse().unwrap();
        let variables = set("minik", at, Path::new("certs"), false, None);
        expect![[r#"
            export DOCKER_TLS_VERIFY="1"
            export DOCKER_HOST="tcp://192.168.70.2:2376"
            export DOCKER_CERT_PATH="certs"
            export MINIK_ACTIVE_DOCKERD="minik"

            # To point your shell to minik's docker-daemon, run:
            # eval $(minik docker-env)"#]]
        .assert_eq(&script(Shell::Bash, &variables, false));
    }

    #[test]
    fn no_proxy_keeps_what_was_there() {
        let at = "192.168.70.2:2376".parse().unwrap();
        let list = |had: Option<&str>| {
            let all = set("m", at, Path::new("c"), true, had.map(str::to_owned));
            all.last().unwrap().1.clone().unwrap()
        };
        assert_eq!(list(None), "192.168.70.2");
        assert_eq!(list(Some("localhost")), "localhost,192.168.70.2");
        assert_eq!(list(Some("192.168.70.2,a")), "192.168.70.2,a");
    }

    #[test]
    fn the_shell_is_known_by_its_name() {
        let of = |path: &str| detect(&|_| Some(path.to_owned()));
        assert_eq!(of("/usr/bin/fish"), Shell::Fish);
        assert_eq!(of("/bin/zsh"), Shell::Zsh);
        assert_eq!(of("/bin/dash"), Shell::Bash);
    }
}
