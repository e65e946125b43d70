//! `minik kubectl`: runs the user's kubectl, or fetches one, against the profile's cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use minik_driver::{Host as _, RealHost};
use sha2::{Digest as _, Sha256};

use crate::advice;
use crate::commands::version::KUBERNETES;
use crate::context::Context;
use crate::exit::Exit;
use crate::out::Sign;
use crate::report::Report;

/// Run kubectl against the cluster: `minik kubectl -- get pods -A`
///
/// Takes the kubectl on PATH; without one, downloads it once from the mirror in
/// `minik config set kubectl-mirror URL` and checks its digest.
#[derive(clap::Args, Debug)]
pub(crate) struct KubectlArgs {
    /// Not available: the guest image holds no kubectl
    #[arg(long, hide = true)]
    ssh: bool,

    /// What kubectl is asked
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub(crate) fn run(ctx: &Context, args: &KubectlArgs) -> Result<(), Report> {
    if args.ssh {
        return Err(Report::new(
            "MK_UNIMPLEMENTED",
            Exit::UNSUPPORTED,
            "the guest image holds no kubectl: `--ssh` is not available",
        )
        .advise("leave `--ssh` out: kubectl on this host reaches the cluster directly"));
    }
    let kubectl = match on_path(std::env::var_os("PATH").as_deref(), "kubectl") {
        Some(path) => path,
        None => fetched(ctx)?,
    };
    let mut command = Command::new(&kubectl);
    if !chooses_cluster(&args.args) {
        command.arg(format!("--context={}", ctx.profile()?));
    }
    let status = command.args(&args.args).status().map_err(|err| {
        Report::new("HOST_KUBECTL", Exit::HOST_ERROR, format!("{}: {err}", kubectl.display()))
    })?;
    match status.code() {
        Some(0) => Ok(()),
        Some(code) => Err(Report::silent(u8::try_from(code).unwrap_or(1))),
        None => Err(Report::silent(Exit::INTERRUPTED.0)),
    }
}

/// Whether the user's own words already say which cluster is meant.
fn chooses_cluster(args: &[String]) -> bool {
    args.iter().take_while(|word| *word != "--").any(|word| {
        ["--context", "--kubeconfig", "--cluster", "--server", "-s"].iter().any(|flag| {
            word == flag || (flag.starts_with("--") && word.starts_with(&format!("{flag}=")))
        })
    })
}

/// The program `name` on a PATH, leaving out minik itself under that name.
fn on_path(path: Option<&std::ffi::OsStr>, name: &str) -> Option<PathBuf> {
    let own = std::env::current_exe().ok().and_then(|exe| exe.canonicalize().ok());
    std::env::split_paths(path?)
        .map(|folder| folder.join(name))
        .filter(|program| program.is_file())
        .find(|program| program.canonicalize().ok() != own)
}

/// The kubectl in the cache, downloaded and checked when it is not there yet.
fn fetched(ctx: &Context) -> Result<PathBuf, Report> {
    let at = ctx.folders.cache.join("kubectl").join(KUBERNETES).join("kubectl");
    if at.is_file() {
        return Ok(at);
    }
    let config = ctx.config()?;
    let missing = |why: &str| {
        Report::new(
            "HOST_KUBECTL_NOT_FOUND",
            Exit::NOT_FOUND,
            format!("kubectl is not on PATH{why}"),
        )
        .advise("install it: on Debian 13 `apt install kubernetes-client`")
        .advise("or name a mirror to download it from: `minik config set kubectl-mirror URL`")
    };
    let Some(mirror) = config.get("kubectl-mirror") else {
        return Err(missing(" and no mirror is set"));
    };
    if config.get("offline") == Some("true") {
        return Err(missing(", and `offline` forbids downloading it"));
    }
    let base = format!("{}/{KUBERNETES}/bin/linux/amd64/kubectl", mirror.trim_end_matches('/'));
    ctx.out.info(Sign::Download, &format!("Downloading kubectl {KUBERNETES} …"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|err| Report::of("HOST_ERROR", Exit::HOST_ERROR, &err))?;
    let expected = runtime.block_on(body(&format!("{base}.sha256")))?;
    let expected = String::from_utf8_lossy(&expected)
        .split_whitespace()
        .next()
        .unwrap_or_default()
        .to_lowercase();
    let program = runtime.block_on(body(&base))?;
    keep(&at, &program, &expected, &base)?;
    Ok(at)
}

async fn body(url: &str) -> Result<Vec<u8>, Report> {
    let failed = |err: reqwest::Error| {
        Report::of("INET_KUBECTL_DOWNLOAD", Exit::INTERNET_ERROR, &err)
            .advise("look at the mirror: `minik config get kubectl-mirror`")
    };
    let answer = reqwest::get(url).await.map_err(failed)?.error_for_status().map_err(failed)?;
    Ok(answer.bytes().await.map_err(failed)?.to_vec())
}

fn keep(at: &Path, program: &[u8], expected: &str, url: &str) -> Result<(), Report> {
    let actual = hex::encode(Sha256::digest(program));
    if actual != expected {
        return Err(Report::new(
            "INET_KUBECTL_DIGEST",
            Exit::INTERNET_ERROR,
            format!("{url} has SHA-256 {actual}, its checksum file says {expected}"),
        )
        .advise("nothing was kept; try again or choose another mirror"));
    }
    let folder = at.parent().unwrap_or(at);
    RealHost
        .make_dir(folder, 0o700)
        .and_then(|()| RealHost.write_atomic(at, program, 0o755))
        .map_err(|err| advice::driver(&err))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn the_users_own_choice_of_cluster_wins() {
        assert!(chooses_cluster(&words("get pods --context=other")));
        assert!(chooses_cluster(&words("--kubeconfig file get pods")));
        assert!(!chooses_cluster(&words("get pods -A")));
        assert!(!chooses_cluster(&words("exec web -- run --context=x")));
    }

    #[test]
    fn a_wrong_digest_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("v1/kubectl");
        let report = keep(&at, b"program", "00", "mirror/kubectl").unwrap_err();
        assert_eq!(report.id, "INET_KUBECTL_DIGEST");
        assert!(!at.exists());
        keep(&at, b"program", &hex::encode(Sha256::digest(b"program")), "mirror/kubectl").unwrap();
        assert!(at.exists());
    }

    #[test]
    fn the_first_program_on_the_path_is_taken() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("kubectl"), "").unwrap();
        let path = std::env::join_paths([Path::new("nowhere"), folder.path()]).unwrap();
        assert_eq!(on_path(Some(&path), "kubectl"), Some(folder.path().join("kubectl")));
        assert_eq!(on_path(Some(&path), "helm"), None);
    }
}
