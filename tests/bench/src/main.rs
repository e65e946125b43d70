//! `minik-bench`: one client that asks any API server the same questions and prints figures.
//!
//! Works through the kubeconfig it is given, in a namespace of its own that it takes away again, so
//! that two servers can be compared by the same program in one run. With the number of the server's
//! process it also says what things cost there in memory; with a command that starts a server,
//! how soon it is ready.

mod memory;
mod ready;
mod server;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};

use crate::server::Server;

/// How long anything here may take before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "minik-bench";

/// Measure an API server: creates, lists, watch fan-out, memory, start
#[derive(Parser, Debug)]
struct Args {
    /// The server
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Its process, if it runs here: also say what definitions and watches cost in memory
    #[arg(long)]
    pid: Option<u32>,
    /// Objects to create and list
    #[arg(long, default_value_t = 10_000)]
    objects: usize,
    /// Requests under way at once
    #[arg(long, default_value_t = 32)]
    parallel: usize,
    /// Lists to ask for, in each form
    #[arg(long, default_value_t = 10)]
    lists: usize,
    /// Watches that see one change, and that see none
    #[arg(long, default_value_t = 1000)]
    watches: usize,
    /// Definitions of each size
    #[arg(long, default_value_t = 100)]
    definitions: usize,
    /// Start this server, say how soon it answers /readyz, and stop it; nothing else
    #[arg(long, num_args = 1.., allow_hyphen_values = true)]
    start: Option<Vec<String>>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let server = Server::read(&args.kubeconfig)?;
        if let Some(command) = &args.start {
            return ready::measure(&server, command).await;
        }
        let client = minik_client::connect::from_kubeconfig(&args.kubeconfig).await?;
        tokio::time::timeout(PATIENCE * 5, measure(&args, &server, client)).await?
    })
}

async fn measure(args: &Args, server: &Server, client: Client) -> Result<(), Failure> {
    if let Some(pid) = args.pid {
        print(&format!("idle     {:>9.1} MiB", memory::resident(pid)? / 1024.0));
    }
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    namespaces.create(&PostParams::default(), &namespace).await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);

    let measured = async {
        if let Some(pid) = args.pid {
            memory::fill_history(&client).await?;
            memory::definitions(&client, pid, args.definitions).await?;
            memory::watches(server, pid, args.watches).await?;
        }
        creates(args, &api).await?;
        lists(args, server).await?;
        fan_out(args, &api).await
    }
    .await;
    namespaces.delete(NAMESPACE, &DeleteParams::default()).await?;
    measured
}

fn object(name: String) -> ConfigMap {
    let mut object = ConfigMap::default();
    object.metadata.name = Some(name);
    object.data = Some(BTreeMap::from([("text".to_owned(), "x".repeat(512))]));
    object
}

async fn creates(args: &Args, api: &Api<ConfigMap>) -> Result<(), Failure> {
    let began = Instant::now();
    let mut times: Vec<Duration> = stream::iter(0..args.objects)
        .map(|number| async move {
            let began = Instant::now();
            api.create(&PostParams::default(), &object(format!("object-{number}"))).await?;
            Ok::<_, kube::Error>(began.elapsed())
        })
        .buffer_unordered(args.parallel)
        .try_collect()
        .await?;
    let rate = rate(args.objects, began.elapsed());
    print(&format!("create   {rate:>9.0} /s   {}", percentiles(&mut times)));
    Ok(())
}

/// All objects as bytes, in the form that kubectl asks for and in that of the controllers.
async fn lists(args: &Args, server: &Server) -> Result<(), Failure> {
    let client = server.client(true)?;
    let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps");
    for (form, accept) in
        [("JSON", "application/json"), ("protobuf", "application/vnd.kubernetes.protobuf")]
    {
        let (mut times, mut size) = (Vec::new(), 0);
        let began = Instant::now();
        for _ in 0..args.lists {
            let began = Instant::now();
            size = server.get(&client, &path).header("accept", accept).send().await?;
            times.push(began.elapsed());
        }
        let rate = rate(args.lists, began.elapsed());
        #[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
        let size = size as f64 / f64::from(1 << 20);
        let (count, times) = (args.objects, percentiles(&mut times));
        print(&format!(
            "list     {rate:>9.1} /s   {times} ({count} objects, {size:.1} MiB of {form})"
        ));
    }
    Ok(())
}

async fn fan_out(args: &Args, api: &Api<ConfigMap>) -> Result<(), Failure> {
    let from = api.list(&ListParams::default().limit(1)).await?;
    let revision = from.metadata.resource_version.unwrap_or_default();
    let (open, mut opened) = tokio::sync::mpsc::channel(args.watches);
    let revision = Arc::new(revision);
    let mut watches = tokio::task::JoinSet::new();
    for _ in 0..args.watches {
        let (api, open, revision) = (api.clone(), open.clone(), Arc::clone(&revision));
        watches.spawn(async move {
            let only = WatchParams::default().fields("metadata.name=the-change");
            let mut events = api.watch(&only, &revision).await?.boxed();
            // The receiver lives until every watch has reported.
            let _ = open.send(()).await;
            while let Some(event) = events.try_next().await? {
                if matches!(event, WatchEvent::Added(_)) {
                    return Ok::<_, kube::Error>(Some(Instant::now()));
                }
            }
            Ok(None)
        });
    }
    for _ in 0..args.watches {
        opened.recv().await;
    }
    let began = Instant::now();
    api.create(&PostParams::default(), &object("the-change".to_owned())).await?;
    let mut times = Vec::new();
    while let Some(seen) = tokio::time::timeout(PATIENCE, watches.join_next()).await? {
        let seen = seen??.ok_or("a watch ended before it saw the change")?;
        times.push(seen.duration_since(began));
    }
    let count = args.watches;
    print(&format!(
        "watch              {} ({count} watches see one create)",
        percentiles(&mut times)
    ));
    Ok(())
}

fn rate(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    let count = count as f64;
    count / took.as_secs_f64()
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1));
    let shown = |percent| at(percent).map_or(0.0, |time: &Duration| time.as_secs_f64() * 1000.0);
    format!("p50 {:.2} ms  p99 {:.2} ms", shown(50), shown(99))
}

#[expect(clippy::print_stdout, reason = "figures are what this program is for")]
fn print(line: &str) {
    println!("{line}");
}
