//! What is there after the store was closed, copied in a crash, or failed to write.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use expect_test::expect;
use minik_store::{
    Backend, BackendError, Batch, Change, Config, Expect, Loaded, Marks, Revision, Storage, Store,
    StoreError, Write,
};

fn config(folder: &Path) -> Config {
    Config::new(Storage::Folder(folder.to_owned()))
}

fn put(key: &str, value: &'static str) -> Write {
    Write::put(key, Expect::Any, Bytes::from_static(value.as_bytes()))
}

fn content(store: &Store) -> String {
    let page = store.list("", &Default::default()).expect("now is always known");
    let line = |entry: &minik_store::Entry| {
        let value = String::from_utf8_lossy(&entry.value).into_owned();
        format!("{}={value}@{}/{}\n", entry.key, entry.created, entry.modified)
    };
    page.entries.iter().map(line).collect()
}

#[tokio::test]
async fn a_clean_stop_keeps_durable_entries_and_the_revision() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&config(folder.path())).expect("new");
    for write in [put("a", "1"), put("b", "1"), put("a", "2"), put("lease", "1").volatile()] {
        store.commit(write).await.expect("no condition");
    }
    store.commit(Write::delete("b", Expect::Any)).await.expect("there");
    store.close().await;

    let store = Store::open(&config(folder.path())).expect("written by this program");
    expect!["a=2@1/3\n"].assert_eq(&content(&store));
    assert_eq!(store.revision(), Revision(5));
    assert!(matches!(store.watch("", Revision(4)), Err(StoreError::Compacted { .. })));
    assert_eq!(store.commit(put("c", "1")).await.expect("no condition"), Revision(6));
}

#[tokio::test]
async fn after_a_crash_revisions_go_on_above_all_that_were_given_out() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&config(folder.path())).expect("new");
    store.commit(put("a", "1")).await.expect("no condition");
    for _ in 0..25_000 {
        store.commit(put("lease", "1").volatile()).await.expect("no condition");
    }
    let given_out = store.revision();
    // The file as a crash would leave it.
    let crashed = tempfile::tempdir().expect("a folder");
    std::fs::copy(folder.path().join("store.redb"), crashed.path().join("store.redb"))
        .expect("copied");

    let again = Store::open(&config(crashed.path())).expect("repaired");
    assert!(again.revision() >= given_out, "{} < {given_out}", again.revision());
    expect!["a=1@1/1\n"].assert_eq(&content(&again));
}

#[tokio::test]
async fn a_volatile_write_to_a_durable_key_is_durable() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&config(folder.path())).expect("new");
    store.commit(put("a", "1")).await.expect("no condition");
    store.commit(put("a", "2").volatile()).await.expect("no condition");
    store.commit(put("b", "1")).await.expect("no condition");
    store.commit(Write::delete("b", Expect::Any).volatile()).await.expect("there");
    store.close().await;
    expect!["a=2@1/2\n"].assert_eq(&content(&Store::open(&config(folder.path())).expect("closed")));
}

#[tokio::test]
async fn only_one_process_and_only_its_user_has_the_file() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().expect("a folder");
    let folder = parent.path().join("new");
    let _store = Store::open(&config(&folder)).expect("new");
    let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&folder), mode(&folder.join("store.redb"))), (0o700, 0o600));
    let second = Store::open(&config(&folder)).expect_err("locked");
    assert!(matches!(second, StoreError::Backend(e) if matches!(*e, BackendError::Locked { .. })));
}

/// A backend whose disk can be broken, with or without the failing batch reaching it.
#[derive(Clone, Default)]
struct Fragile {
    broken: Arc<AtomicBool>,
    reaches_disk: Arc<AtomicBool>,
    disk: Arc<Mutex<(Vec<String>, Marks)>>,
}

impl Fragile {
    fn failure(&self) -> BackendError {
        let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
        BackendError::Io { doing: "write", path: "disk".into(), source }
    }
}

impl Backend for Fragile {
    fn load(&mut self, _each: &mut dyn FnMut(Loaded<'_>)) -> Result<Marks, BackendError> {
        Ok(Marks::default())
    }

    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), BackendError> {
        let broken = self.broken.load(Ordering::SeqCst);
        if !broken || self.reaches_disk.load(Ordering::SeqCst) {
            let mut disk = self.disk.lock().expect("no panic");
            disk.1 = batch.marks;
            disk.0.extend(batch.changes.iter().map(|change| match change {
                Change::Put(put) => format!("put {}", put.key),
                Change::Delete { key } => format!("delete {key}"),
            }));
        }
        if broken { Err(self.failure()) } else { Ok(()) }
    }

    fn reopen(&mut self) -> Result<Marks, BackendError> {
        if self.broken.load(Ordering::SeqCst) {
            return Err(self.failure());
        }
        Ok(self.disk.lock().expect("no panic").1)
    }
}

/// Writes before, while and after the disk is broken; returns what can be read at the end.
async fn break_and_mend(reaches_disk: bool) -> String {
    let disk = Fragile::default();
    disk.reaches_disk.store(reaches_disk, Ordering::SeqCst);
    let config = Config::new(Storage::Memory);
    let store = Store::with_backend(&config, Box::new(disk.clone())).expect("memory");
    let mut watch = store.watch("", Revision(0)).expect("known");
    store.commit(put("before", "1")).await.expect("whole");
    disk.broken.store(true, Ordering::SeqCst);
    for key in ["failed", "refused"] {
        let error = store.commit(put(key, "1")).await.expect_err("broken");
        assert!(matches!(error, StoreError::Backend(_)), "{error}");
        assert!(store.get(key).is_none(), "nothing unacknowledged is visible");
    }
    disk.broken.store(false, Ordering::SeqCst);
    store.commit(put("after", "1")).await.expect("mended");
    let mut seen = String::new();
    while let Some(event) = watch.try_next().expect("in the ring") {
        seen += &format!("{} {}, ", event.revision, event.key);
    }
    format!("watched {seen}on disk {:?}", disk.disk.lock().expect("no panic").0)
}

#[tokio::test]
async fn a_failed_batch_that_never_reached_the_disk_never_happened() {
    let seen = break_and_mend(false).await;
    expect![[r#"watched 1 before, 2 after, on disk ["put before", "put after"]"#]].assert_eq(&seen);
}

#[tokio::test]
async fn a_failed_batch_that_did_reach_the_disk_becomes_visible() {
    let seen = break_and_mend(true).await;
    expect![[
        r#"watched 1 before, 2 failed, 3 after, on disk ["put before", "put failed", "put after"]"#
    ]]
    .assert_eq(&seen);
}

#[tokio::test]
async fn a_damaged_file_is_refused_or_read_and_nothing_worse() {
    const PAGE: usize = 4096;
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(&config(folder.path())).expect("new");
    for number in 0..40 {
        store.commit(put(&format!("key/{number}"), "value")).await.expect("no condition");
    }
    store.close().await;
    let whole = std::fs::read(folder.path().join("store.redb")).expect("the file");
    let mut refused = 0;
    for page in (0..whole.len() / PAGE).filter(|at| whole[at * PAGE..][..PAGE] != [0; PAGE]) {
        let mut bytes = whole.clone();
        bytes[page * PAGE..][..PAGE].fill(0xcb);
        let damaged = tempfile::tempdir().expect("a folder");
        std::fs::write(damaged.path().join("store.redb"), bytes).expect("written");
        match Store::open(&config(damaged.path())) {
            Ok(store) => store.close().await,
            Err(StoreError::Backend(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 2, "only {refused} pages matter");
}
