//! Clients of other languages, each with a program that says what it does: see `clients/`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::Api;
use minik_testkit::{Cluster, until};
use tokio::process::Command;

/// Far more than a program takes, which has deadlines of its own.
const PATIENCE: Duration = Duration::from_secs(180);

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two folders down").to_owned()
}

/// What `make setup` has put there.
fn client(path: &str) -> PathBuf {
    let path = root().join("out/clients").join(path);
    assert!(path.exists(), "{} is missing: run `make setup`", path.display());
    path
}

/// Runs a program with the kubeconfig of a fresh cluster as its last argument; it must end well.
async fn passes(program: &Path, arguments: &[&Path]) {
    let cluster = Cluster::start().await.expect("a cluster");
    let _node = cluster.add_node("n1");
    until(&Api::<Node>::all(cluster.admin()), "n1", "it is there", |_| true).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kubeconfig");
    let text = cluster.admin_kubeconfig("test").expect("a kubeconfig");
    std::fs::write(&file, text).expect("it is written");
    let run = Command::new(program)
        .args(arguments)
        .arg(&file)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said =
        tokio::time::timeout(PATIENCE, run).await.expect("it ends in time").expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&said.stdout), text(&said.stderr));
    assert!(said.status.success(), "{}\n{stdout}\n{stderr}", said.status);
    assert!(stdout.lines().filter(|line| line.starts_with("ok ")).count() >= 5, "{stdout}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python() {
    passes(&client("python/bin/python"), &[&root().join("tests/cluster/clients/python/suite.py")])
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn javascript() {
    // Modules are looked for beside the program.
    let suite = client("js").join("suite.mjs");
    std::fs::copy(root().join("tests/cluster/clients/js/suite.mjs"), &suite).expect("a copy");
    passes(Path::new("node"), &[&suite]).await;
}

/// Whether what is written in Go could be built here; if not, that is said.
#[expect(clippy::print_stderr, reason = "a test that is left out is seen")]
async fn go_is_there() -> bool {
    let there = root().join("out/clients/go").exists()
        || Command::new("go").arg("version").output().await.is_ok();
    if !there {
        eprintln!("SKIPPED: tests of the Go client and of helm need Go when `make setup` runs");
    }
    there
}

#[tokio::test(flavor = "multi_thread")]
async fn helm() {
    if go_is_there().await {
        let suite = root().join("tests/cluster/clients/helm/suite.sh");
        passes(&suite, &[&client("helm")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn go() {
    if go_is_there().await {
        passes(&client("go"), &[]).await;
    }
}
