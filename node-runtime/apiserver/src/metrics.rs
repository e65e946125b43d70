//! Counts requests and the time they took, in upstream's metric names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::time::Duration;

use crate::vault::Store;
use http::StatusCode;

use crate::route::{Action, Verb};

/// Upper bounds of the duration buckets, in seconds.
const BUCKETS_S: [f64; 8] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// What requests are counted by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
}

#[derive(Clone, Debug, Default)]
struct Counts {
    by_code: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS_S.len()],
    count: u64,
    sum_s: f64,
}

/// The counters of one server.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<Key, Counts>>,
}

/// More resources than there are kinds: requests for made-up ones are counted as one.
const KEYS_MAX: usize = 2000;

impl Metrics {
    /// Counts one answered request.
    pub(crate) fn record(&self, action: &Action, code: StatusCode, took: Duration) {
        let Action::Resource(verb, target) = action else { return };
        let known = code != StatusCode::NOT_FOUND && code != StatusCode::FORBIDDEN;
        let label = |text: &str| if known { text.to_owned() } else { String::new() };
        let key = Key {
            verb: verb_label(*verb),
            group: label(&target.group),
            version: label(&target.version),
            resource: label(&target.resource),
            subresource: label(&target.subresource),
        };
        let mut requests = self.requests.lock().expect("no holder panics");
        if requests.len() >= KEYS_MAX && !requests.contains_key(&key) {
            return;
        }
        let counts = requests.entry(key).or_default();
        *counts.by_code.entry(code.as_u16()).or_default() += 1;
        let seconds = took.as_secs_f64();
        counts.count += 1;
        counts.sum_s += seconds;
        for (bound, bucket) in BUCKETS_S.iter().zip(&mut counts.buckets) {
            if seconds <= *bound {
                *bucket += 1;
            }
        }
    }

    /// All counters as text for Prometheus.
    pub(crate) fn render(&self, store: &Store) -> String {
        const REQUESTS: &str = "apiserver_request_total";
        const DURATION: &str = "apiserver_request_duration_seconds";
        let mut out = String::new();
        let _ = writeln!(out, "# TYPE {REQUESTS} counter");
        let requests = self.requests.lock().expect("no holder panics").clone();
        for (key, counts) in &requests {
            for (code, count) in &counts.by_code {
                let _ = writeln!(out, "{REQUESTS}{{{},code=\"{code}\"}} {count}", labels(key));
            }
        }
        let _ = writeln!(out, "# TYPE {DURATION} histogram");
        for (key, counts) in &requests {
            let labels = labels(key);
            for (bound, count) in BUCKETS_S.iter().zip(counts.buckets) {
                let _ = writeln!(out, "{DURATION}_bucket{{{labels},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(out, "{DURATION}_bucket{{{labels},le=\"+Inf\"}} {}", counts.count);
            let _ = writeln!(out, "{DURATION}_sum{{{labels}}} {}", counts.sum_s);
            let _ = writeln!(out, "{DURATION}_count{{{labels}}} {}", counts.count);
        }
        let _ = writeln!(out, "# TYPE apiserver_storage_objects gauge");
        let _ = writeln!(out, "apiserver_storage_objects {}", store.len());
        out
    }
}

fn labels(key: &Key) -> String {
    let Key { verb, group, version, resource, subresource } = key;
    format!(
        "verb=\"{verb}\",group=\"{group}\",version=\"{version}\",resource=\"{resource}\",\
         subresource=\"{subresource}\""
    )
}

fn verb_label(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    }
}
