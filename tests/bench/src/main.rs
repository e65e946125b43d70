//! `minik-bench`: one client that asks any API server the same questions and prints figures.
//!
//! Works through the kubeconfig it is given, in a namespace of its own that it takes away again, so
//! that two servers can be compared by the same program in one run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use kube::api::{DeleteParams, ListParams, PostParams, WatchEvent, WatchParams};
use kube::{Api, Client};

/// How long anything here may take before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(120);
const NAMESPACE: &str = "minik-bench";

/// Measure an API server: creates, lists and watch fan-out
#[derive(Parser, Debug)]
struct Args {
    /// The server
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Objects to create and list
    #[arg(long, default_value_t = 2000)]
    objects: usize,
    /// Requests under way at once
    #[arg(long, default_value_t = 32)]
    parallel: usize,
    /// Lists to ask for
    #[arg(long, default_value_t = 20)]
    lists: usize,
    /// Watches that see one change
    #[arg(long, default_value_t = 500)]
    watches: usize,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = minik_client::connect::from_kubeconfig(&args.kubeconfig).await?;
        tokio::time::timeout(PATIENCE * 5, measure(&args, client)).await?
    })
}

async fn measure(args: &Args, client: Client) -> Result<(), Failure> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let mut namespace = Namespace::default();
    namespace.metadata.name = Some(NAMESPACE.to_owned());
    namespaces.create(&PostParams::default(), &namespace).await?;
    let api: Api<ConfigMap> = Api::namespaced(client.clone(), NAMESPACE);

    let measured = async {
        creates(args, &api).await?;
        lists(args, &api).await?;
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

async fn lists(args: &Args, api: &Api<ConfigMap>) -> Result<(), Failure> {
    let mut times = Vec::new();
    let began = Instant::now();
    for _ in 0..args.lists {
        let began = Instant::now();
        let list = api.list(&ListParams::default()).await?;
        // The controller of root certificates adds one of its own.
        if list.items.len() < args.objects {
            return Err(format!("{} objects instead of {}", list.items.len(), args.objects).into());
        }
        times.push(began.elapsed());
    }
    let rate = rate(args.lists, began.elapsed());
    let size = args.objects;
    print(&format!("list     {rate:>9.1} /s   {} ({size} objects)", percentiles(&mut times)));
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
