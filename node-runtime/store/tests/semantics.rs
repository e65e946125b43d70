//! Reads and writes against a model that keeps every state there ever was.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use expect_test::{Expect as Golden, expect};
use minik_store::{
    Config, Entry, EventKind, Expect, ListOptions, Page, Revision, Storage, Store, StoreError,
    Write,
};

fn open() -> Store {
    Store::open(&Config::new(Storage::Memory)).expect("memory opens")
}

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn put(key: &str, expect: Expect, value: &str) -> Write {
    Write::put(key, expect, bytes(value))
}

/// `result` as one line: the revision, or the reason.
fn said(result: Result<Revision, StoreError>) -> String {
    match result {
        Ok(revision) => format!("done at {revision}"),
        Err(error) => error.to_string(),
    }
}

async fn check(store: &Store, write: Write, golden: Golden) {
    golden.assert_eq(&said(store.commit(write).await));
}

#[tokio::test]
async fn a_write_happens_only_if_the_key_is_as_expected() {
    let store = open();
    let at = |revision| Expect::At(Revision(revision));
    check(&store, put("a", Expect::Present, "1"), expect!["key a is at None, expected Present"])
        .await;
    check(&store, put("a", at(1), "1"), expect!["key a is at None, expected At(Revision(1))"])
        .await;
    check(&store, put("a", Expect::Absent, "1"), expect!["done at 1"]).await;
    check(
        &store,
        put("a", Expect::Absent, "2"),
        expect!["key a is at Some(Revision(1)), expected Absent"],
    )
    .await;
    check(&store, put("a", at(1), "2"), expect!["done at 2"]).await;
    check(
        &store,
        put("a", at(1), "3"),
        expect!["key a is at Some(Revision(2)), expected At(Revision(1))"],
    )
    .await;
    check(&store, put("a", Expect::Any, "3"), expect!["done at 3"]).await;
    check(
        &store,
        Write::delete("a", at(2)),
        expect!["key a is at Some(Revision(3)), expected At(Revision(2))"],
    )
    .await;
    check(&store, Write::delete("a", at(3)), expect!["done at 4"]).await;
    check(&store, Write::delete("a", Expect::Any), expect!["done at 4"]).await;
    check(
        &store,
        Write::delete("a", Expect::Present),
        expect!["key a is at None, expected Present"],
    )
    .await;
    check(&store, put("a", Expect::Absent, "4"), expect!["done at 5"]).await;
    let again = store.get("a").expect("it is there");
    assert_eq!((again.created, again.modified), (Revision(5), Revision(5)));
}

#[tokio::test]
async fn a_value_over_the_limit_is_refused() {
    let config = Config { value_bytes_max: 4, ..Config::new(Storage::Memory) };
    let store = Store::open(&config).expect("memory opens");
    check(&store, put("a", Expect::Any, "1234"), expect!["done at 1"]).await;
    check(
        &store,
        put("a", Expect::Any, "12345"),
        expect!["the value of a has 5 bytes, at most 4 are allowed"],
    )
    .await;
}

#[tokio::test]
async fn a_transaction_happens_whole_or_not_at_all() {
    let store = open();
    store.commit(put("taken", Expect::Any, "1")).await.expect("free");

    let fails = vec![
        put("new", Expect::Absent, "1"),
        put("taken", Expect::Any, "2"),
        put("taken", Expect::Absent, "3"),
    ];
    let error = store.transact(fails).await.expect_err("the last condition does not hold");
    expect!["key taken is at Some(Revision(3)), expected Absent"].assert_eq(&error.to_string());
    assert!(store.get("new").is_none());
    assert_eq!(store.get("taken").expect("untouched").value, "1");
    assert_eq!(store.revision(), Revision(1));

    let works = vec![
        put("new", Expect::Absent, "1"),
        Write::delete("taken", Expect::At(Revision(1))),
        put("taken", Expect::Absent, "again"),
    ];
    let revisions = store.transact(works).await.expect("all conditions hold");
    assert_eq!(revisions, [Revision(2), Revision(3), Revision(4)]);
    assert_eq!(store.get("taken").expect("put again").created, Revision(4));
}

#[tokio::test]
async fn requests_of_one_batch_see_each_other() {
    let store = open();
    let writes = (0..100).map(|n| store.commit(put("one", Expect::Absent, &n.to_string())));
    let results = futures_join(writes).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(store.revision(), Revision(1));
}

/// Starts all futures at once and waits for them.
async fn futures_join<T: Send + 'static>(
    futures: impl Iterator<Item = impl Future<Output = T>>,
) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        pending.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(value) => {
                done.push(value);
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

fn show(page: Result<Page, StoreError>) -> String {
    let page = match page {
        Ok(page) => page,
        Err(error) => return error.to_string(),
    };
    let entry = |entry: &Entry| {
        let value = String::from_utf8_lossy(&entry.value).into_owned();
        format!("{}={value}@{}/{}", entry.key, entry.created, entry.modified)
    };
    let entries: Vec<_> = page.entries.iter().map(entry).collect();
    format!("{}: {} +{}", page.revision, entries.join(" "), page.remaining)
}

fn options(at: Option<u64>, start_after: Option<&str>, limit: Option<usize>) -> ListOptions {
    ListOptions { at: at.map(Revision), start_after: start_after.map(str::to_owned), limit }
}

#[tokio::test]
async fn lists_show_one_revision_in_order_and_in_pages() {
    let store = open();
    for (key, value) in [("p/b", "1"), ("p/a", "2"), ("q/a", "3"), ("p/b", "4"), ("p/c", "5")] {
        store.commit(put(key, Expect::Any, value)).await.expect("free");
    }
    store.commit(Write::delete("p/a", Expect::Any)).await.expect("there");

    let check =
        |prefix, wanted, golden: Golden| golden.assert_eq(&show(store.list(prefix, &wanted)));
    check("p/", options(None, None, None), expect!["6: p/b=4@1/4 p/c=5@5/5 +0"]);
    check("p/", options(Some(6), None, None), expect!["6: p/b=4@1/4 p/c=5@5/5 +0"]);
    check("p/", options(Some(5), None, None), expect!["5: p/a=2@2/2 p/b=4@1/4 p/c=5@5/5 +0"]);
    check("p/", options(Some(3), None, None), expect!["3: p/a=2@2/2 p/b=1@1/1 +0"]);
    check("p/", options(Some(1), None, None), expect!["1: p/b=1@1/1 +0"]);
    check("p/", options(Some(0), None, None), expect!["0:  +0"]);
    check(
        "p/",
        options(Some(7), None, None),
        expect!["revision 7 has not happened, the newest is 6"],
    );
    check("p/", options(Some(5), None, Some(1)), expect!["5: p/a=2@2/2 +2"]);
    check("p/", options(Some(5), Some("p/a"), Some(1)), expect!["5: p/b=4@1/4 +1"]);
    check("p/", options(Some(5), Some("p/b"), Some(1)), expect!["5: p/c=5@5/5 +0"]);
    check("p/", options(None, Some("a"), None), expect!["6: p/b=4@1/4 p/c=5@5/5 +0"]);
    check("p/", options(None, None, Some(0)), expect!["6:  +2"]);
    check("", options(None, None, None), expect!["6: p/b=4@1/4 p/c=5@5/5 q/a=3@3/3 +0"]);
    check("none/", options(None, None, None), expect!["6:  +0"]);
}

#[tokio::test]
async fn what_fell_out_of_the_ring_is_compacted() {
    let config = Config { ring_bytes_max: 1, ring_events_min: 3, ..Config::new(Storage::Memory) };
    let store = Store::open(&config).expect("memory opens");
    for n in 1..=10 {
        store.commit(put("k", Expect::Any, &n.to_string())).await.expect("free");
    }
    let check =
        |at, golden: Golden| golden.assert_eq(&show(store.list("k", &options(at, None, None))));
    check(Some(6), expect!["revision 6 is compacted, the oldest known is 7"]);
    check(Some(7), expect!["7: k=7@1/7 +0"]);
    check(None, expect!["10: k=10@1/10 +0"]);
    let error = store.watch("k", Revision(6)).expect_err("too old");
    expect!["revision 6 is compacted, the oldest known is 7"].assert_eq(&error.to_string());
    assert_eq!(store.oldest(), Revision(7));
}

#[tokio::test]
async fn lists_of_the_past_end_by_age_and_watches_do_not() {
    let config = Config { list_age_max: Duration::ZERO, ..Config::new(Storage::Memory) };
    let store = Store::open(&config).expect("memory opens");
    for n in 1..=3 {
        store.commit(put("k", Expect::Any, &n.to_string())).await.expect("free");
    }
    let check =
        |at, golden: Golden| golden.assert_eq(&show(store.list("k", &options(at, None, None))));
    check(Some(2), expect!["revision 2 is compacted, the oldest known is 3"]);
    check(Some(3), expect!["3: k=3@1/3 +0"]);
    assert!(store.watch("k", Revision(1)).is_ok());
}

/// A small deterministic generator: the same walk in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

type State = BTreeMap<String, (String, Revision, Revision)>;

fn state_of(page: &Page) -> State {
    let row = |entry: &Entry| {
        let value = String::from_utf8_lossy(&entry.value).into_owned();
        (entry.key.to_string(), (value, entry.created, entry.modified))
    };
    page.entries.iter().map(row).collect()
}

fn under(state: &State, prefix: &str) -> State {
    let rows = state.iter().filter(|(key, _)| key.starts_with(prefix));
    rows.map(|(key, row)| (key.clone(), row.clone())).collect()
}

/// One random write, on the store and on the model. Returns whether a new state came of it.
async fn walk(store: &Store, dice: &mut Dice, model: &mut State) -> bool {
    let key = format!("{}/{}", ["p", "q", "p/sub"][dice.below(3) as usize], dice.below(6));
    let there = model.get(&key).map(|(_, _, modified)| *modified);
    let expect = match dice.below(4) {
        0 => Expect::Any,
        1 => Expect::Absent,
        2 => Expect::Present,
        _ => Expect::At(there.unwrap_or(Revision(dice.below(9)))),
    };
    let holds = match expect {
        Expect::Any => true,
        Expect::Absent => there.is_none(),
        Expect::Present => there.is_some(),
        Expect::At(revision) => there == Some(revision),
    };
    let delete = dice.below(3) == 0;
    let value = dice.below(1000).to_string();
    let write = if delete { Write::delete(&*key, expect) } else { put(&key, expect, &value) };
    let write = if dice.below(3) == 0 { write.volatile() } else { write };
    let result = store.commit(write).await;
    assert_eq!(result.is_ok(), holds, "{key} {expect:?}");
    let Ok(revision) = result else { return false };
    if delete {
        return model.remove(&key).is_some();
    }
    let created = model.get(&key).map_or(revision, |(_, created, _)| *created);
    model.insert(key, (value, created, revision));
    true
}

#[tokio::test]
async fn every_list_and_every_watch_agrees_with_the_model() {
    let store = open();
    let mut dice = Dice(7);
    let mut model = State::new();
    let mut history = vec![model.clone()]; // by revision
    for _ in 0..2000 {
        if walk(&store, &mut dice, &mut model).await {
            history.push(model.clone());
        }
    }
    assert_eq!(store.revision(), Revision(history.len() as u64 - 1));
    for prefix in ["", "p/", "p/sub/", "q/3", "nothing"] {
        for (revision, state) in history.iter().enumerate().step_by(7) {
            let wanted = under(state, prefix);
            let at = Some(revision as u64);
            let whole = store.list(prefix, &options(at, None, None)).expect("in the ring");
            assert_eq!(state_of(&whole), wanted, "{prefix} at {revision}");
            assert_eq!(paged(&store, prefix, at, 3), wanted, "{prefix} at {revision} in pages");
            assert_eq!(replayed(&store, prefix, revision, wanted), under(&model, prefix));
        }
    }
}

/// The list read in pages.
fn paged(store: &Store, prefix: &str, at: Option<u64>, limit: usize) -> State {
    let mut state = State::new();
    let mut after: Option<String> = None;
    loop {
        let page =
            store.list(prefix, &options(at, after.as_deref(), Some(limit))).expect("in the ring");
        state.append(&mut state_of(&page));
        if !page.more {
            return state;
        }
        after = page.entries.last().map(|entry| entry.key.to_string());
    }
}

/// The state that a list at `revision` and the changes after it lead to.
fn replayed(store: &Store, prefix: &str, revision: usize, mut state: State) -> State {
    let mut watch = store.watch(prefix, Revision(revision as u64)).expect("in the ring");
    let mut last = Revision(revision as u64);
    while let Some(event) = watch.try_next().expect("not compacted") {
        assert!(event.revision > last && event.key.starts_with(prefix));
        last = event.revision;
        let there = state.get(&*event.key).map(|(value, _, modified)| (value.clone(), *modified));
        let previous = event.previous.as_ref();
        let previous = previous.map(|previous| {
            (String::from_utf8_lossy(&previous.value).into_owned(), previous.modified)
        });
        assert_eq!(previous, there);
        match event.kind {
            EventKind::Put => {
                let value = String::from_utf8_lossy(&event.value).into_owned();
                state.insert(event.key.to_string(), (value, event.created, event.revision));
            }
            EventKind::Delete => {
                state.remove(&*event.key);
            }
        }
    }
    assert_eq!(watch.progress(), store.revision());
    state
}
