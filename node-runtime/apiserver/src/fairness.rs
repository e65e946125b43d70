//! Priority and fairness: every request takes a seat at a priority level, or waits for one in the
//! queue of its flow, so that no client can starve another.
//!
//! ```text
//! request ─> settings: which flow schema ─> its priority level ─> queues: run, wait or refuse
//!                                              │ levels: how many seats it has now
//! ```
//!
//! Everything that decides is plain data behind one lock ([`Levels`]); this file is what waits.
//! A [`Seat`] is given back when it is dropped, whether its request ran or still waited.

mod builtin;
mod demand;
mod dump;
mod figures;
pub(crate) mod keep;
mod levels;
mod queues;
mod settings;
mod shares;
mod shuffle;
mod tally;
mod work;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::vault::Store;
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};
use minik_store::StoreError;
use tokio::sync::oneshot;

use crate::body::Body;
use crate::live::Live;
use crate::metrics::{Family, MetricKind as Kind};
use crate::respond;
use crate::route::{Action, Verb};
use levels::Levels;
use queues::{Arrival, Id, Refusal};
use settings::{Plan, Schema, Settings};

pub(crate) use dump::Dump;
pub(crate) use keep::bootstrap;
pub(crate) use settings::{Asked, What};
pub(crate) use work::seats;

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");
/// A request waits at most for this part of the time it has.
const WAIT_PART: u32 = 4;
/// A watch, which may take any time, waits at most this long.
const WATCH_WAIT: Duration = Duration::from_secs(15);

/// Gives out the seats of one server.
pub(crate) struct Fairness {
    settings: Live<Settings>,
    began: Instant,
    state: Mutex<State>,
    waits: Family,
    executions: Family,
}

struct State {
    levels: Levels,
    last_id: Id,
    /// Requests that wait or run.
    here: HashMap<Id, Here>,
}

/// What is known of a request while it is here.
struct Here {
    schema: Arc<Schema>,
    flow: Box<str>,
    seats: u32,
    user: Box<str>,
    uri: Uri,
    action: Arc<Action>,
    arrived: Duration,
    /// Whom to tell when its turn comes.
    waker: Option<oneshot::Sender<()>>,
}

/// Which objects decided about a request; told to its client.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    schema: HeaderValue,
    level: HeaderValue,
    /// How long it waited for its seat.
    pub(crate) waited: Duration,
    /// Whether it got none.
    pub(crate) refused: bool,
}

impl Class {
    /// Names them by uid, so that their names stay with the administrators.
    pub(crate) fn mark(self, headers: &mut HeaderMap) {
        headers.insert(SCHEMA_UID, self.schema);
        headers.insert(LEVEL_UID, self.level);
    }
}

/// A place at a priority level, given back on drop.
pub(crate) struct Seat {
    fairness: Arc<Fairness>,
    level: Arc<str>,
    id: Id,
    /// Why it is given back before its request ran.
    leaving: Refusal,
}

/// A request on its way in.
pub(crate) struct Arriving<'a> {
    pub(crate) asked: Asked<'a>,
    pub(crate) uri: &'a Uri,
    pub(crate) action: &'a Arc<Action>,
    /// How long it may take altogether; `None` for watches.
    pub(crate) time: Option<Duration>,
}

impl Fairness {
    /// Follows the objects of `store`; `total` seats to give.
    pub(crate) fn new(store: &Store, total: u32) -> Result<Arc<Fairness>, StoreError> {
        let state = State { levels: Levels::new(total), last_id: 0, here: HashMap::new() };
        let settings = Live::new(store)?;
        const TIMES_S: Kind = Kind::Histogram(&[
            0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0,
        ]);
        let waits = Family::new(
            "apiserver_flowcontrol_request_wait_duration_seconds",
            "[BETA] Seconds a request waited for a seat.",
            TIMES_S,
            &["priority_level", "flow_schema", "execute"],
        );
        let executions = Family::new(
            "apiserver_flowcontrol_request_execution_seconds",
            "[ALPHA] Seconds a request had a seat.",
            TIMES_S,
            &["priority_level", "flow_schema", "type"],
        );
        let state = Mutex::new(state);
        Ok(Arc::new(Fairness { settings, began: Instant::now(), state, waits, executions }))
    }

    /// Waits for a seat; without one the request must be answered by [`too_many`]. `seats` says
    /// how many the request needs, if it may take so many at most.
    pub(crate) async fn enter(
        self: &Arc<Self>,
        arriving: Arriving<'_>,
        seats: impl FnOnce(u32) -> u32,
    ) -> (Class, Option<Seat>) {
        let plan = self.settings.now().plan();
        let schema = plan.classify(&arriving.asked);
        let wait = arriving.time.map_or(WATCH_WAIT, |time| time / WAIT_PART);
        let began = self.began.elapsed();
        let (mut class, arrived) = self.arrive(&plan, schema, arriving, seats);
        let seat = match arrived {
            Arrived::Refused => None,
            Arrived::Seated(seat) => Some(seat),
            Arrived::Waiting(seat, turn) => {
                let seat = self.wait(seat, turn, wait).await;
                class.waited = self.began.elapsed() - began;
                seat
            }
        };
        class.refused = seat.is_none();
        if *schema.level != *settings::EXEMPT {
            let execute = if class.refused { "false" } else { "true" };
            let labels = [&*schema.level, &*schema.name, execute];
            self.waits.observe(&labels, class.waited.as_secs_f64());
        }
        (class, seat)
    }

    fn arrive(
        self: &Arc<Self>,
        plan: &Plan,
        schema: &Arc<Schema>,
        arriving: Arriving<'_>,
        seats: impl FnOnce(u32) -> u32,
    ) -> (Class, Arrived) {
        let now = self.began.elapsed();
        let mut state = self.lock();
        state.refresh(now, plan);
        let State { levels, last_id, here } = &mut *state;
        let mut schema = schema;
        if levels.get(&schema.level).is_none() {
            // Somebody with newer settings took it out just now.
            schema = plan.schemas.last().expect("a plan has schemas");
        }
        let level = levels.get(&schema.level).expect("the level that catches all is always there");
        let (uid, level_uid) = (schema.uid.clone(), level.spec.uid.clone());
        let waited = Duration::ZERO;
        let class = Class { schema: uid, level: level_uid, waited, refused: false };
        let flow = schema.flow(&arriving.asked);
        let hash = shuffle::flow_hash(&schema.name, flow);
        *last_id += 1;
        let id = *last_id;
        let seats = seats(level.seats_max());
        let arrival = level.queues.arrive(now, id, hash, seats);
        let tally = level.tally(schema);
        let mut turn = None;
        let waker = match arrival {
            Arrival::Refused(why) => {
                tally.refuse(why);
                return (class, Arrived::Refused);
            }
            Arrival::Running => {
                tally.begin(seats);
                None
            }
            Arrival::Waiting => {
                tally.wait(seats);
                let (waker, woken) = oneshot::channel();
                turn = Some(woken);
                Some(waker)
            }
        };
        let one = Here {
            schema: Arc::clone(schema),
            flow: flow.into(),
            seats,
            user: arriving.asked.user.name.as_str().into(),
            uri: arriving.uri.clone(),
            action: Arc::clone(arriving.action),
            arrived: now,
            waker,
        };
        here.insert(id, one);
        let level = Arc::clone(&level.spec.name);
        // A limit that grew may have room for those who wait.
        state.run_next(now, &level);
        drop(state);
        let seat = Seat { fairness: Arc::clone(self), level, id, leaving: Refusal::Gone };
        let arrived = match turn {
            None => Arrived::Seated(seat),
            Some(turn) => Arrived::Waiting(seat, turn),
        };
        (class, arrived)
    }

    /// Waits for the turn of a request, at most for `patience`.
    async fn wait(
        &self,
        mut seat: Seat,
        mut turn: oneshot::Receiver<()>,
        patience: Duration,
    ) -> Option<Seat> {
        let end = self.began.elapsed() + patience;
        loop {
            let now = self.began.elapsed();
            if now >= end {
                break;
            }
            // Whoever waits looks whether others have seats to lend, should nobody else come by.
            let until = self.lock().levels.due().clamp(now, end);
            match tokio::time::timeout(until - now, &mut turn).await {
                Ok(Ok(())) => return Some(seat),
                // Cannot happen while the seat is held: treated as no turn.
                Ok(Err(_)) => return None,
                Err(_) => {
                    let plan = self.settings.now().plan();
                    self.lock().refresh(self.began.elapsed(), &plan);
                }
            }
        }
        if turn.try_recv().is_ok() {
            return Some(seat);
        }
        seat.leaving = Refusal::TooLong;
        None
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }
}

enum Arrived {
    Seated(Seat),
    Waiting(Seat, oneshot::Receiver<()>),
    Refused,
}

impl State {
    /// Follows the settings and what is lent; see [`Levels::refresh`].
    fn refresh(&mut self, now: Duration, plan: &Plan) {
        for id in self.levels.refresh(now, plan) {
            self.begin(id);
        }
    }

    /// Lets all of a level run that may.
    fn run_next(&mut self, now: Duration, level: &str) {
        while let Some(id) = self.levels.get(level).and_then(|level| level.queues.next(now)) {
            self.begin(id);
        }
    }

    /// Wakes a request whose turn it is.
    fn begin(&mut self, id: Id) {
        let Some(one) = self.here.get_mut(&id) else { return };
        if let Some(level) = self.levels.get(&one.schema.level) {
            let tally = level.tally(&one.schema);
            tally.wait_no_more(one.seats);
            tally.begin(one.seats);
        }
        if let Some(waker) = one.waker.take() {
            // Who does not listen any more gives the seat back at once.
            let _ = waker.send(());
        }
    }

    /// Takes a request out. Returns when it began, if it ran.
    fn leave(
        &mut self,
        now: Duration,
        level: &str,
        id: Id,
        why: Refusal,
    ) -> Option<(Here, Duration)> {
        let one = self.here.remove(&id);
        let mut ran = None;
        if let (Some(level), Some(one)) = (self.levels.get(level), one) {
            let placed = level.queues.leave(now, id);
            let tally = level.tally(&one.schema);
            match placed.and_then(|placed| placed.started) {
                Some(started) => {
                    tally.end(one.seats);
                    ran = Some((one, started));
                }
                None => {
                    tally.wait_no_more(one.seats);
                    tally.refuse(why);
                }
            }
        }
        self.run_next(now, level);
        self.levels.reap(level);
        ran
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let now = self.fairness.began.elapsed();
        let ran = self.fairness.lock().leave(now, &self.level, self.id, self.leaving);
        if let Some((one, started)) = ran {
            let watch = matches!(&*one.action, Action::Resource(Verb::Watch, _));
            let kind = if watch { "watch" } else { "regular" };
            let took = now.saturating_sub(started).as_secs_f64();
            self.fairness.executions.observe(&[&self.level, &one.schema.name, kind], took);
        }
    }
}

/// The answer to a request that got no seat.
pub(crate) fn too_many() -> Response<Body> {
    let text = "Too many requests, please try again later.\n";
    let mut response = respond::text(StatusCode::TOO_MANY_REQUESTS, text);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

#[cfg(test)]
mod tests;
