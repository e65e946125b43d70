//! Kills a writing process many times at random moments and looks for what it had acknowledged.

use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use minik_store::{Config, Expect, ListOptions, Storage, Store, Write};

const FOLDER: &str = "MINIK_STORE_CRASH_FOLDER";
const ROUNDS: u64 = 20;
const CLIENTS: usize = 8;

/// The child: eight clients, each counting up its own key and, in the same transaction, a second
/// one. Prints a line after each acknowledgement.
#[test]
#[ignore = "the process that no_acknowledged_write_is_lost starts and kills"]
fn writer() {
    let folder = std::env::var(FOLDER).expect("started by no_acknowledged_write_is_lost");
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().expect("runtime");
    runtime.block_on(async {
        let store =
            Store::open(&Config::new(Storage::Folder(folder.into()))).expect("opens after a kill");
        let clients: Vec<_> =
            (0..CLIENTS).map(|client| tokio::spawn(count_up(store.clone(), client))).collect();
        for client in clients {
            client.await.expect("counts until killed");
        }
    });
}

fn number(store: &Store, key: &str) -> u64 {
    let Some(entry) = store.get(key) else { return 0 };
    String::from_utf8_lossy(&entry.value).trim().parse().expect("a number was put")
}

async fn count_up(store: Store, client: usize) {
    let (key, twin) = (format!("count/{client}"), format!("twin/{client}"));
    let mut count = number(&store, &key);
    loop {
        count += 1;
        // Padded to different sizes, so that pages split and merge.
        let value = Bytes::from(format!("{count:width$}", width = (count % 7) as usize * 300));
        let writes = vec![
            Write::put(&*key, Expect::Any, value.clone()),
            Write::put(&*twin, Expect::Any, value),
            Write::put("lease", Expect::Any, Bytes::from_static(b"now")).volatile(),
        ];
        let revisions = store.transact(writes).await.expect("the disk works");
        let highest = revisions.last().expect("three writes");
        let mut out = std::io::stdout().lock();
        writeln!(out, "\nack {client} {count} {highest}").expect("the parent reads");
    }
}

/// What the child said before it was killed: the last count of each client, the last revision.
#[derive(Debug, Default)]
struct Acknowledged {
    counts: [u64; CLIENTS],
    revision: u64,
}

impl Acknowledged {
    fn read(&mut self, line: &str) -> bool {
        let Some(rest) = line.strip_prefix("ack ") else { return false };
        let fields: Vec<u64> = rest.split(' ').map_while(|field| field.parse().ok()).collect();
        // The kill can cut the last line short: then it is no acknowledgement.
        let &[client, count, revision] = &fields[..] else { return false };
        let Some(known) = self.counts.get_mut(client as usize) else { return false };
        *known = (*known).max(count);
        self.revision = self.revision.max(revision);
        true
    }
}

fn start_writer(folder: &Path) -> Child {
    Command::new(std::env::current_exe().expect("a test binary"))
        .args(["--ignored", "--exact", "writer", "--nocapture", "--test-threads=1"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the test binary starts")
}

/// Lets a writer work for a while, kills it, and adds what it acknowledged.
fn kill_a_writer(folder: &Path, round: u64, said: &mut Acknowledged) {
    let mut child = start_writer(folder);
    let lines = BufReader::new(child.stdout.take().expect("piped"));
    // From the first acknowledgement on, each round is killed at another moment.
    let delay = Duration::from_micros(round * round * 977 % 60_000);
    let mut killer = None;
    let child = std::sync::Arc::new(std::sync::Mutex::new(child));
    for line in lines.lines().map_while(Result::ok) {
        if said.read(&line) && killer.is_none() {
            let child = std::sync::Arc::clone(&child);
            killer = Some(std::thread::spawn(move || {
                std::thread::sleep(delay);
                child.lock().expect("no panic").kill().expect("it was running");
            }));
        }
    }
    killer.expect("the writer acknowledged something").join().expect("no panic");
    let status = child.lock().expect("no panic").wait().expect("it was started");
    assert!(!status.success(), "killed, not ended: {status}");
}

#[tokio::test]
async fn no_acknowledged_write_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut said = Acknowledged::default();
    for round in 0..ROUNDS {
        kill_a_writer(folder.path(), round, &mut said);
        let store = Store::open(&Config::new(Storage::Folder(folder.path().to_owned())))
            .expect("opens after a kill");
        check(&store, &said, round);
        said.counts = std::array::from_fn(|client| number(&store, &format!("count/{client}")));
        store.close().await;
    }
}

/// Whether the store holds what was acknowledged, and at most one write more for each client.
fn check(store: &Store, said: &Acknowledged, round: u64) {
    assert!(store.revision().0 >= said.revision, "revisions went backwards in round {round}");
    for (client, acknowledged) in said.counts.iter().enumerate() {
        let count = number(store, &format!("count/{client}"));
        let twin = number(store, &format!("twin/{client}"));
        // The one after the last acknowledged may be there: it was on its way.
        assert!(
            count == *acknowledged || count == acknowledged + 1,
            "client {client} had {acknowledged} acknowledged, {count} is there (round {round})"
        );
        assert_eq!(count, twin, "a transaction was torn in round {round}");
    }
    let page = store.list("", &ListOptions::default()).expect("now is always known");
    assert!(page.entries.iter().all(|entry| *entry.key != *"lease"), "volatile, yet on disk");
}
