//! The figures of all levels, under the names of upstream's flow control.

use super::tally::{REFUSALS, Tally};
use super::{Fairness, State};
use crate::metrics::{MetricKind as Kind, Text};
use crate::route::{Action, Verb};

const PREFIX: &str = "apiserver_flowcontrol_";

impl Fairness {
    /// Writes the figures as of now.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        {
            let state = self.lock();
            by_kind(&state, text);
            by_level(&state, text);
            by_schema(&state, text);
        }
        self.waits.write(text);
        self.executions.write(text);
    }
}

/// Requests that run and wait, reading and writing ones apart.
fn by_kind(state: &State, text: &mut Text) {
    let (mut running, mut waiting) = ([0; 2], [0; 2]);
    for one in state.here.values() {
        let reads = match &*one.action {
            Action::Page(_) => true,
            Action::Resource(verb, _) => matches!(verb, Verb::Get | Verb::List | Verb::Watch),
        };
        let counts = if one.waker.is_some() { &mut waiting } else { &mut running };
        counts[usize::from(reads)] += 1;
    }
    let names = [
        ("apiserver_current_inflight_requests", "[STABLE] Requests that are served now.", running),
        ("apiserver_current_inqueue_requests", "[ALPHA] Requests that wait now.", waiting),
    ];
    for (name, help, [mutating, read_only]) in names {
        text.head(name, help, Kind::Gauge);
        text.sample(name, &[("request_kind", "mutating")], mutating);
        text.sample(name, &[("request_kind", "readOnly")], read_only);
    }
}

fn by_level(state: &State, text: &mut Text) {
    type Figure = fn(&super::levels::Level) -> f64;
    let figures: [(&str, &str, Figure); 8] = [
        ("nominal_limit_seats", "[BETA] Seats by a level's share.", |level| {
            f64::from(level.limits.nominal)
        }),
        ("lower_limit_seats", "[ALPHA] Seats a level keeps when it lends.", |level| {
            f64::from(level.limits.least)
        }),
        ("upper_limit_seats", "[ALPHA] Seats a level has when it borrows.", |level| {
            f64::from(level.limits.most)
        }),
        ("current_limit_seats", "[ALPHA] Seats a level has now.", |level| {
            f64::from(level.queues.limit())
        }),
        ("demand_seats_high_watermark", "[ALPHA] Most seats wanted in the last period.", |level| {
            level.wanted.highest
        }),
        ("demand_seats_average", "[ALPHA] Seats wanted in the last period, on average.", |level| {
            level.wanted.average
        }),
        ("demand_seats_stdev", "[ALPHA] How far what was wanted varied.", |level| {
            level.wanted.deviation
        }),
        ("demand_seats_smoothed", "[ALPHA] Seats wanted, over all periods.", |level| {
            level.wanted.smoothed
        }),
    ];
    for (name, help, figure) in figures {
        let name = format!("{PREFIX}{name}");
        text.head(&name, help, Kind::Gauge);
        for level in state.levels.sorted() {
            text.sample(&name, &[("priority_level", &level.spec.name)], figure(level));
        }
    }
}

fn by_schema(state: &State, text: &mut Text) {
    type Figure = fn(&Tally) -> f64;
    let figures: [(&str, &str, Kind, Figure); 5] = [
        ("dispatched_requests_total", "[BETA] Requests that got a seat.", Kind::Counter, |tally| {
            tally.dispatched as f64
        }),
        ("current_inqueue_requests", "[BETA] Requests that wait.", Kind::Gauge, |tally| {
            f64::from(tally.waiting)
        }),
        ("current_inqueue_seats", "[ALPHA] Seats that are waited for.", Kind::Gauge, |tally| {
            f64::from(tally.seats_waiting)
        }),
        ("current_executing_requests", "[BETA] Requests with a seat.", Kind::Gauge, |tally| {
            f64::from(tally.running)
        }),
        ("current_executing_seats", "[BETA] Seats in use.", Kind::Gauge, |tally| {
            f64::from(tally.seats_in_use)
        }),
    ];
    for (name, help, kind, figure) in figures {
        let name = format!("{PREFIX}{name}");
        text.head(&name, help, kind);
        each_tally(state, |labels, tally| text.sample(&name, &labels, figure(tally)));
    }
    let name = format!("{PREFIX}rejected_requests_total");
    text.head(&name, "[BETA] Requests that got no seat.", Kind::Counter);
    each_tally(state, |[level, schema], tally| {
        for (why, reason) in REFUSALS {
            let count = tally.refused(why);
            if count > 0 {
                text.sample(&name, &[level, schema, ("reason", reason)], count);
            }
        }
    });
}

fn each_tally(state: &State, mut visit: impl FnMut([(&str, &str); 2], &Tally)) {
    for level in state.levels.sorted() {
        let mut tallies: Vec<_> = level.tallies.iter().collect();
        tallies.sort_by(|a, b| a.0.cmp(b.0));
        for (schema, tally) in tallies {
            visit([("priority_level", &level.spec.name), ("flow_schema", schema)], tally);
        }
    }
}
