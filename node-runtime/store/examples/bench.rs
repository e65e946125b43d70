//! Measures the store: writes per second, watch fan-out, lists, memory. Prints a table.
//!
//! `cargo run --release -p minik-store --example bench [FOLDER]`; the folder decides the disk.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use minik_store::{Config, Expect, ListOptions, Storage, Store, Write};

const VALUE_BYTES: usize = 1024;
const WATCHES: usize = 1000;
/// So many that their memory shows beside what the allocator had in reserve.
const IDLE_WATCHES: usize = 100_000;

fn main() -> std::io::Result<()> {
    let place = std::env::args().nth(1).map_or_else(std::env::temp_dir, Into::into);
    let folder = tempfile::tempdir_in(place)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(measure(folder.path()))
}

fn say(what: &str, value: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{what:<52} {value}")
}

async fn measure(folder: &Path) -> std::io::Result<()> {
    say("RSS at start", rss())?;
    let store = open(folder);
    say("durable writes/s, 1 client", rate(2000, || one_by_one(&store, "one", 2000, false)).await)?;
    for clients in [8, 32, 128] {
        let each = 16_000 / clients;
        let run = || together(&store, clients, each);
        say(&format!("durable writes/s, {clients} clients"), rate(clients * each, run).await)?;
    }
    say(
        "volatile writes/s, 1 client",
        rate(20_000, || one_by_one(&store, "v", 20_000, true)).await,
    )?;
    fan_out(&store, "same/", "watches of one prefix: write to last event").await?;
    fan_out(&store, "", "watches, a prefix each: write to event").await?;
    let before = rss_bytes();
    say(&format!("RSS with {} keys of {VALUE_BYTES} B", store.len()), rss())?;
    let idle = |n| store.watch(&format!("idle/{n}/"), store.revision());
    let watches: Vec<_> = (0..IDLE_WATCHES).map(idle).collect();
    let each = rss_bytes().saturating_sub(before) / watches.len();
    say("RSS for each idle watch, a prefix each", format!("{each} B"))?;
    drop(watches);
    let start = Instant::now();
    let page = store.list("", &ListOptions::default()).expect("now is always known");
    say(&format!("list of {} keys", page.entries.len()), format!("{:.1?}", start.elapsed()))?;
    drop(page);
    store.close().await;
    let size = folder.join("store.redb").metadata()?.len();
    say("file", format!("{:.1} MiB", size as f64 / 1_048_576.0))?;
    let start = Instant::now();
    let store = open(folder);
    say(&format!("open with {} keys", store.len()), format!("{:.1?}", start.elapsed()))?;
    store.close().await;
    Ok(())
}

fn open(folder: &Path) -> Store {
    Store::open(&Config::new(Storage::Folder(folder.to_owned()))).expect("the folder is ours")
}

async fn rate<F: Future<Output = ()>>(count: usize, run: impl FnOnce() -> F) -> String {
    let start = Instant::now();
    run().await;
    format!("{:.0}", count as f64 / start.elapsed().as_secs_f64())
}

async fn one_by_one(store: &Store, name: &str, count: usize, volatile: bool) {
    let value = Bytes::from(vec![7; VALUE_BYTES]);
    for n in 0..count {
        let write = Write::put(format!("/registry/pods/{name}/{n}"), Expect::Any, value.clone());
        let write = if volatile { write.volatile() } else { write };
        store.commit(write).await.expect("the disk works");
    }
}

async fn together(store: &Store, clients: usize, each: usize) {
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                one_by_one(&store, &format!("{clients}-{client}"), each, false).await;
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("writes until done");
    }
}

/// How long it takes from a write's start until the last of the watches it concerns has it.
async fn fan_out(store: &Store, prefix: &str, what: &str) -> std::io::Result<()> {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(WATCHES);
    let tasks: Vec<_> = (0..WATCHES)
        .map(|n| {
            let own = if prefix.is_empty() { format!("own/{n}/") } else { prefix.to_owned() };
            let mut watch = store.watch(&own, store.revision()).expect("now is known");
            let sender = sender.clone();
            tokio::spawn(async move {
                while let Ok(event) = watch.next().await {
                    let _ = sender.send((event.revision, Instant::now())).await;
                }
            })
        })
        .collect();
    let mut spent = Vec::new();
    for n in 0..50 {
        let key = if prefix.is_empty() { format!("own/{n}/k") } else { format!("{prefix}k") };
        let wakes = if prefix.is_empty() { 1 } else { WATCHES };
        let write = Write::put(key, Expect::Any, Bytes::from_static(b"x")).volatile();
        let start = Instant::now();
        store.commit(write).await.expect("memory only");
        let mut last = start;
        for _ in 0..wakes {
            last = last.max(receiver.recv().await.expect("watches run").1);
        }
        spent.push(last - start);
    }
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
    spent.sort();
    let median: Duration = spent[spent.len() / 2];
    say(&format!("{WATCHES} {what}"), format!("{median:.1?}"))
}

fn rss_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn rss() -> String {
    format!("{:.1} MiB", rss_bytes() as f64 / 1_048_576.0)
}
