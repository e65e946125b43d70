//! The state of all queues as tables, for people who wonder where requests wait:
//! `/debug/api_priority_and_fairness/…`.

use std::fmt::Write;
use std::time::Duration;

use minik_meta::time;

use super::queues::{Id, Queue, Refusal, work};
use super::{Fairness, Here, State};
use crate::route::Action;

/// One of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dump {
    PriorityLevels,
    Queues,
    Requests,
}

impl Dump {
    /// The table of a path's last part.
    pub(crate) fn of(name: &str) -> Option<Dump> {
        match name {
            "dump_priority_levels" => Some(Dump::PriorityLevels),
            "dump_queues" => Some(Dump::Queues),
            "dump_requests" => Some(Dump::Requests),
            _ => None,
        }
    }
}

impl Fairness {
    /// A table; `details` says whether that of requests also tells what they ask for.
    pub(crate) fn dump(&self, dump: Dump, details: bool) -> String {
        let state = self.lock();
        let rows = match dump {
            Dump::PriorityLevels => levels(&state),
            Dump::Queues => queues(&state),
            Dump::Requests => requests(&state, self.began.elapsed(), details),
        };
        aligned(&rows)
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn levels(state: &State) -> Vec<Vec<String>> {
    let mut rows = vec![row([
        "PriorityLevelName",
        "ActiveQueues",
        "IsIdle",
        "IsQuiescing",
        "WaitingRequests",
        "ExecutingRequests",
        "DispatchedRequests",
        "RejectedRequests",
        "TimedoutRequests",
        "CancelledRequests",
    ])];
    for level in state.levels.sorted() {
        let load = level.queues.load();
        let active = level.queues.queues().iter().filter(|queue| !queue.waiting.is_empty());
        let sum = |why| level.tallies.values().map(|tally| tally.refused(why)).sum::<u64>();
        let (timed_out, gone) = (sum(Refusal::TooLong), sum(Refusal::Gone));
        let rejected = sum(Refusal::QueueFull) + sum(Refusal::NoSeats) + timed_out + gone;
        let dispatched: u64 = level.tallies.values().map(|tally| tally.dispatched).sum();
        rows.push(vec![
            level.spec.name.to_string(),
            active.count().to_string(),
            level.queues.is_idle().to_string(),
            level.quiescing.to_string(),
            load.waiting.to_string(),
            load.running.to_string(),
            dispatched.to_string(),
            rejected.to_string(),
            timed_out.to_string(),
            gone.to_string(),
        ]);
    }
    rows
}

fn queues(state: &State) -> Vec<Vec<String>> {
    let mut rows = vec![row([
        "PriorityLevelName",
        "Index",
        "PendingRequests",
        "ExecutingRequests",
        "SeatsInUse",
        "NextDispatchR",
        "InitialSeatsSum",
        "MaxSeatsSum",
        "TotalWorkSum",
    ])];
    for level in state.levels.sorted() {
        let one = |queue: &Queue| {
            let seats = queue.waiting_seats.to_string();
            vec![
                level.spec.name.to_string(),
                queue.index.to_string(),
                queue.waiting.len().to_string(),
                queue.running.to_string(),
                queue.seats_in_use.to_string(),
                format!("{:.8}ss", queue.next_at),
                seats.clone(),
                seats,
                format!("{:.8}ss", work(queue.waiting_seats)),
            ]
        };
        rows.extend(level.queues.queues().iter().map(one));
    }
    rows
}

fn requests(state: &State, now: Duration, details: bool) -> Vec<Vec<String>> {
    let mut head = row([
        "PriorityLevelName",
        "FlowSchemaName",
        "QueueIndex",
        "RequestIndexInQueue",
        "FlowDistingsher",
        "ArriveTime",
        "InitialSeats",
        "FinalSeats",
        "AdditionalLatency",
        "StartTime",
    ]);
    if details {
        head.extend(row([
            "UserName",
            "Verb",
            "APIPath",
            "Namespace",
            "Name",
            "APIVersion",
            "Resource",
            "SubResource",
        ]));
    }
    let mut here: Vec<(&Id, &Here)> = state.here.iter().collect();
    here.sort_by_key(|(id, _)| **id);
    let mut rows = vec![head];
    for level in state.levels.sorted() {
        for (id, one) in here.iter().filter(|(_, one)| one.schema.level == level.spec.name) {
            let Some(placed) = level.queues.placed(**id) else { continue };
            let queue = placed.queue.and_then(|index| {
                let found = level.queues.queues().iter().find(|queue| queue.index == index)?;
                Some((index, found.waiting.iter().position(|other| *other == **id)))
            });
            let place = queue.and_then(|(_, place)| place);
            let or_none = |number: Option<String>| number.unwrap_or_else(|| "-1".to_owned());
            let started = placed.started.map(|started| wall(now, started));
            let mut cells = vec![
                level.spec.name.to_string(),
                one.schema.name.to_string(),
                or_none(queue.map(|(index, _)| index.to_string())),
                or_none(place.map(|place| place.to_string())),
                one.flow.to_string(),
                wall(now, one.arrived),
                one.seats.to_string(),
                "0".to_owned(),
                "0s".to_owned(),
                started.unwrap_or_else(|| "0001-01-01T00:00:00Z".to_owned()),
            ];
            if details {
                cells.extend(asked(one));
            }
            rows.push(cells);
        }
    }
    rows
}

fn asked(one: &Here) -> [String; 8] {
    let path = one.uri.path().to_owned();
    let user = one.user.to_string();
    match &*one.action {
        Action::Page(_) => {
            let none = String::new;
            [user, "get".to_owned(), path, none(), none(), none(), none(), none()]
        }
        Action::Resource(verb, target) => {
            let version = match target.group.as_str() {
                "" => target.version.clone(),
                group => format!("{group}/{}", target.version),
            };
            [
                user,
                verb.as_str().to_owned(),
                path,
                target.namespace.clone(),
                target.name.clone(),
                version,
                target.resource.clone(),
                target.subresource.clone(),
            ]
        }
    }
}

/// A moment of the scheduler's clock as a time of day.
fn wall(now: Duration, then: Duration) -> String {
    let ago = now.saturating_sub(then);
    let moment = time::now() - ago;
    time::rfc3339_micro(moment)
}

/// Cells in columns, each but the last of a line followed by a comma.
fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        // With the comma and a blank, and never less than a tab.
        (cells.map(|cell| cell.chars().count() + 2).max().unwrap_or_default()).max(8)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            let _ = match column + 1 == row.len() {
                true => writeln!(out, "{cell}"),
                false => write!(out, "{:<width$}", format!("{cell},"), width = widths[column]),
            };
        }
    }
    out
}
