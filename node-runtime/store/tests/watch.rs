//! Watches: what wakes them, what they see, when they end.

use std::sync::Arc;

use bytes::Bytes;
use expect_test::expect;
use minik_store::{Config, Event, Expect, Revision, Storage, Store, Watch, WatchError, Write};

fn open(ring_bytes_max: usize, ring_events_min: usize) -> Store {
    let config = Config { ring_bytes_max, ring_events_min, ..Config::new(Storage::Memory) };
    Store::open(&config).expect("memory opens")
}

async fn put(store: &Store, key: &str, value: &str) {
    let value = Bytes::copy_from_slice(value.as_bytes());
    store.commit(Write::put(key, Expect::Any, value)).await.expect("no condition");
}

fn line(event: &Event) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let previous = event.previous.as_ref().map(|before| text(&before.value)).unwrap_or_default();
    format!(
        "{} {:?} {} {:?}<-{previous:?}\n",
        event.revision,
        event.kind,
        event.key,
        text(&event.value)
    )
}

fn read_all(watch: &mut Watch) -> Result<String, WatchError> {
    let mut lines = String::new();
    while let Some(event) = watch.try_next()? {
        lines += &line(&event);
    }
    Ok(lines)
}

#[tokio::test]
async fn a_watch_sees_its_prefix_after_its_revision() {
    let store = open(1 << 20, 0);
    put(&store, "pods/a", "1").await;
    put(&store, "pods/b", "1").await;
    let mut pods = store.watch("pods/", Revision(1)).expect("known");
    let mut one = store.watch("pods/a", Revision(0)).expect("known");
    let mut all = store.watch("", Revision(2)).expect("known");
    put(&store, "nodes/a", "1").await;
    put(&store, "pods/a", "2").await;
    store.commit(Write::delete("pods/b", Expect::Any)).await.expect("there");
    expect![[r#"
        2 Put pods/b "1"<-""
        4 Put pods/a "2"<-"1"
        5 Delete pods/b ""<-"1"
    "#]]
    .assert_eq(&read_all(&mut pods).expect("in the ring"));
    expect![[r#"
        1 Put pods/a "1"<-""
        4 Put pods/a "2"<-"1"
    "#]]
    .assert_eq(&read_all(&mut one).expect("in the ring"));
    expect![[r#"
        3 Put nodes/a "1"<-""
        4 Put pods/a "2"<-"1"
        5 Delete pods/b ""<-"1"
    "#]]
    .assert_eq(&read_all(&mut all).expect("in the ring"));
}

#[tokio::test]
async fn a_waiting_watch_is_woken() {
    let store = open(1 << 20, 0);
    let mut watch = store.watch("pods/", Revision(0)).expect("known");
    let waiting = tokio::spawn(async move { watch.next().await });
    put(&store, "nodes/a", "1").await;
    put(&store, "pods/a", "1").await;
    let event = waiting.await.expect("no panic").expect("in the ring");
    expect!["2 Put pods/a \"1\"<-\"\"\n"].assert_eq(&line(&event));
}

#[tokio::test]
async fn progress_says_what_has_been_seen() {
    let store = open(1 << 20, 0);
    let mut watch = store.watch("pods/", Revision(0)).expect("known");
    put(&store, "nodes/a", "1").await;
    assert_eq!(watch.progress(), Revision(1), "nothing to see up to here");
    put(&store, "pods/a", "1").await;
    put(&store, "pods/a", "2").await;
    put(&store, "nodes/a", "2").await;
    assert_eq!(watch.progress(), Revision(0), "two events are unread");
    watch.next().await.expect("in the ring");
    assert_eq!(watch.progress(), Revision(2), "one event is unread");
    watch.next().await.expect("in the ring");
    assert_eq!(watch.progress(), Revision(4), "all is read");
}

#[tokio::test]
async fn a_slow_watch_ends_and_a_quiet_one_does_not() {
    let store = open(1, 2);
    let mut slow = store.watch("pods/", Revision(0)).expect("known");
    let mut quiet = store.watch("nodes/", Revision(0)).expect("known");
    for n in 0..5 {
        put(&store, "pods/a", &n.to_string()).await;
    }
    put(&store, "nodes/a", "1").await;
    let compacted = WatchError::Compacted { seen: Revision(0), lost: Revision(4) };
    assert_eq!(slow.next().await, Err(compacted));
    assert_eq!(slow.next().await, Err(compacted), "and stays so");
    expect!["6 Put nodes/a \"1\"<-\"\"\n"]
        .assert_eq(&read_all(&mut quiet).expect("nothing was missed"));
}

#[tokio::test]
async fn watches_of_a_transaction_see_all_of_it_in_order() {
    let store = open(1 << 20, 0);
    let mut watch = store.watch("", Revision(0)).expect("known");
    let writes = (0..5).map(|n| Write::create(format!("k{n}"), Bytes::new())).collect();
    store.transact(writes).await.expect("all absent");
    let batch = watch.next_batch(3).await.expect("in the ring");
    let revisions: Vec<_> = batch.iter().map(|event| event.revision.0).collect();
    assert_eq!(revisions, [1, 2, 3]);
    assert_eq!(watch.next_batch(3).await.expect("in the ring").len(), 2);
}

#[tokio::test]
async fn events_are_shared_between_watches() {
    let store = open(1 << 20, 0);
    let mut one = store.watch("a", Revision(0)).expect("known");
    let mut other = store.watch("", Revision(0)).expect("known");
    put(&store, "a", "1").await;
    let (one, other) = (one.next().await.expect("there"), other.next().await.expect("there"));
    assert!(Arc::ptr_eq(&one, &other));
}

#[tokio::test]
async fn closing_the_store_ends_watches() {
    let store = open(1 << 20, 0);
    let mut watch = store.watch("", Revision(0)).expect("known");
    let other = store.clone();
    put(&store, "a", "1").await;
    store.close().await;
    watch.next().await.expect("what was written is still read");
    assert_eq!(watch.next().await, Err(WatchError::Closed));
    let late = other.commit(Write::create("b", Bytes::new())).await;
    expect!["the store is closed"].assert_eq(&late.expect_err("too late").to_string());
    assert!(other.watch("", Revision(1)).is_err());
}
