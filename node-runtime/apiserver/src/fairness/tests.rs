//! Waiting, giving up, and getting a turn.

use super::*;
use crate::route::{Page, Query, route};
use crate::user::User;
use futures::FutureExt;
use http::Method;

fn fairness(total: u32) -> Arc<Fairness> {
    let store = Store::in_memory();
    Fairness::new(&store, total).expect("fairness")
}

async fn enter_in(fairness: &Arc<Fairness>, user: &str, time: Duration) -> Option<Seat> {
    let user = User::new(user, ["g"]);
    let uri = Uri::from_static("/api/v1/pods");
    let action = Arc::new(route(&Method::GET, uri.path(), &Query::default()));
    let Action::Resource(verb, target) = &*action else { unreachable!() };
    let asked = Asked { user: &user, what: What::Resource { verb: *verb, target } };
    let time = Some(time);
    fairness.enter(Arriving { asked, uri: &uri, action: &action, time }, |_| 1).await.1
}

async fn enter(fairness: &Arc<Fairness>, user: &str) -> Option<Seat> {
    enter_in(fairness, user, Duration::from_secs(60)).await
}

fn rows(fairness: &Fairness, level: &str) -> Vec<String> {
    let table = fairness.dump(Dump::PriorityLevels, false);
    let row = table.lines().find(|line| line.starts_with(level)).expect("a row");
    row.split(',').map(|cell| cell.trim().to_owned()).collect()
}

#[tokio::test]
async fn without_objects_what_is_too_much_is_refused_at_once() {
    let fairness = fairness(2);
    let first = enter(&fairness, "a").await.expect("a seat");
    let _second = enter(&fairness, "a").await.expect("a seat");
    assert!(enter(&fairness, "b").now_or_never().expect("no waiting").is_none());
    drop(first);
    assert!(enter(&fairness, "b").await.is_some());
    assert_eq!(rows(&fairness, "catch-all")[6..8], ["3", "1"], "dispatched, rejected");
}

/// With the built-in objects, and few seats.
async fn with_objects(total: u32) -> Arc<Fairness> {
    let store = Store::in_memory();
    let kinds = crate::kinds::Kinds::new(&store).expect("kinds");
    bootstrap(&store, &kinds).await.expect("objects");
    Fairness::new(&store, total).expect("fairness")
}

/// Takes all seats of the level that the flow is in.
async fn fill(fairness: &Arc<Fairness>, user: &str) -> Vec<Seat> {
    let mut seats = Vec::new();
    while let Some(seat) = enter(fairness, user).now_or_never() {
        seats.push(seat.expect("a seat"));
    }
    seats
}

#[tokio::test]
async fn who_goes_away_leaves_no_trace() {
    let fairness = with_objects(20).await;
    let seats = fill(&fairness, "flood").await;
    assert!(!seats.is_empty());
    let waiting = tokio::spawn({
        let fairness = Arc::clone(&fairness);
        async move { enter(&fairness, "calm").await.is_some() }
    });
    tokio::task::yield_now().await;
    assert_eq!(rows(&fairness, "global-default")[4], "1", "one waits");
    waiting.abort();
    let _ = waiting.await;
    let row = rows(&fairness, "global-default");
    assert_eq!(
        (row[4].as_str(), row[9].as_str()),
        ("0", "2"),
        "the one that did not fit, and this one"
    );
    drop(seats);
    assert_eq!(rows(&fairness, "global-default")[2], "true", "idle");
}

#[tokio::test]
async fn who_waits_too_long_is_refused() {
    let fairness = with_objects(20).await;
    let seats = fill(&fairness, "flood").await;
    assert!(enter_in(&fairness, "calm", Duration::from_millis(20)).await.is_none());
    let row = rows(&fairness, "global-default");
    assert_eq!((row[4].as_str(), row[8].as_str()), ("0", "1"), "one waited for too long");
    drop(seats);
    assert!(enter(&fairness, "calm").await.is_some());
}

#[tokio::test]
async fn a_seat_that_is_given_back_goes_to_who_waits() {
    let fairness = with_objects(20).await;
    let mut seats = fill(&fairness, "flood").await;
    let mut more = Box::pin(enter(&fairness, "flood"));
    let mut calm = Box::pin(enter(&fairness, "calm"));
    assert!((&mut more).now_or_never().is_none());
    assert!((&mut calm).now_or_never().is_none());
    let requests = fairness.dump(Dump::Requests, true);
    let waiting = requests.lines().filter(|line| line.contains("calm")).count();
    assert_eq!(waiting, 1, "{requests}");
    let queues = fairness.dump(Dump::Queues, false);
    assert!(queues.contains("global-default"), "{queues}");
    drop(seats.pop());
    drop(seats.pop());
    assert!(calm.await.is_some());
    assert!(more.await.is_some());
}

#[tokio::test]
async fn exempt_requests_are_never_in_the_way_of_others() {
    let fairness = fairness(1);
    let admin = User::admin();
    let uri = Uri::from_static("/version");
    let action = Arc::new(Action::Page(Page::Version));
    let mut seats = Vec::new();
    for _ in 0..10 {
        let asked = Asked { user: &admin, what: What::Page { verb: "get", path: "/version" } };
        let time = Some(Duration::from_secs(60));
        let arriving = Arriving { asked, uri: &uri, action: &action, time };
        seats.push(fairness.enter(arriving, |_| 1).await.1.expect("a seat"));
    }
    assert!(enter(&fairness, "a").await.is_some());
}
