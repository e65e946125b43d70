//! Decides what becomes of one occurrence: a new Event, a higher count on an old one, or nothing.
//!
//! Three bounds keep a busy loop from flooding the API: equal occurrences only raise a count;
//! more than [`SIMILAR_MAX`] different messages about one thing within [`SIMILAR_WINDOW`] share one
//! Event; and an object has a budget of [`BURST`] events that refills one each [`REFILL`].

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use k8s_openapi::api::core::v1::ObjectReference;
use k8s_openapi::jiff::Timestamp;

/// Different messages of one reason about one object before they are combined.
const SIMILAR_MAX: usize = 10;
/// For how long messages count as similar.
const SIMILAR_WINDOW: Duration = Duration::from_secs(600);
/// Events of one object before its budget is empty.
const BURST: f64 = 25.0;
/// Time in which an empty budget regains one event.
const REFILL: Duration = Duration::from_secs(300);
/// How many entries each table remembers; the longest unused goes first.
const REMEMBERED_MAX: usize = 1024;

/// One thing that happened to one object.
#[derive(Clone, Debug)]
pub(crate) struct Occurrence {
    pub(crate) object: ObjectReference,
    pub(crate) kind: &'static str,
    pub(crate) reason: String,
    pub(crate) message: String,
}

/// What to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The object's budget is empty.
    Drop,
    /// Nothing like it yet: create an Event with this message.
    Create { message: String },
    /// The Event of that name gets this count and message.
    Raise { name: String, count: i32, message: String },
}

/// What all occurrences of one reason about one object share.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Topic {
    uid: String,
    namespace: String,
    name: String,
    kind: &'static str,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Line {
    topic: Topic,
    /// Absent for the combined Event of a topic.
    message: Option<String>,
}

struct Written {
    name: String,
    count: i32,
}

struct Similar {
    since: Timestamp,
    messages: Vec<String>,
}

struct Budget {
    left: f64,
    at: Timestamp,
}

/// The memory behind the decisions. Holds no clock: time comes with each question.
#[derive(Default)]
pub(crate) struct Correlator {
    written: Bounded<Line, Written>,
    similar: Bounded<Topic, Similar>,
    budgets: Bounded<String, Budget>,
}

impl Correlator {
    /// Decides, without assuming that the decision is carried out.
    pub(crate) fn decide(&mut self, now: Timestamp, what: &Occurrence) -> Verdict {
        let line = self.line(now, what);
        if !self.spend(now, what) {
            return Verdict::Drop;
        }
        let message = match line.message {
            Some(_) => what.message.clone(),
            None => format!("(combined from similar events): {}", what.message),
        };
        match self.written.get(now, &line) {
            Some(old) => Verdict::Raise { name: old.name.clone(), count: old.count + 1, message },
            None => Verdict::Create { message },
        }
    }

    /// Remembers that the occurrence is now in the Event `name` with `count`.
    pub(crate) fn wrote(&mut self, now: Timestamp, what: &Occurrence, name: String, count: i32) {
        let line = self.line(now, what);
        self.written.put(now, line, Written { name, count });
    }

    /// Forgets the Event of this occurrence: it is gone from the API.
    pub(crate) fn lost(&mut self, now: Timestamp, what: &Occurrence) {
        let line = self.line(now, what);
        self.written.remove(&line);
    }

    fn line(&mut self, now: Timestamp, what: &Occurrence) -> Line {
        let topic = Topic {
            uid: what.object.uid.clone().unwrap_or_default(),
            namespace: what.object.namespace.clone().unwrap_or_default(),
            name: what.object.name.clone().unwrap_or_default(),
            kind: what.kind,
            reason: what.reason.clone(),
        };
        let similar = self
            .similar
            .get_or_put(now, topic.clone(), || Similar { since: now, messages: Vec::new() });
        if age(now, similar.since) > SIMILAR_WINDOW {
            *similar = Similar { since: now, messages: Vec::new() };
        }
        let known = similar.messages.contains(&what.message);
        if !known && similar.messages.len() >= SIMILAR_MAX {
            return Line { topic, message: None };
        }
        if !known {
            similar.messages.push(what.message.clone());
        }
        Line { topic, message: Some(what.message.clone()) }
    }

    fn spend(&mut self, now: Timestamp, what: &Occurrence) -> bool {
        let object = format!(
            "{}/{}/{}",
            what.object.namespace.as_deref().unwrap_or_default(),
            what.object.name.as_deref().unwrap_or_default(),
            what.object.uid.as_deref().unwrap_or_default()
        );
        let budget = self.budgets.get_or_put(now, object, || Budget { left: BURST, at: now });
        let regained = age(now, budget.at).as_secs_f64() / REFILL.as_secs_f64();
        budget.left = (budget.left + regained).min(BURST);
        budget.at = now;
        if budget.left < 1.0 {
            return false;
        }
        budget.left -= 1.0;
        true
    }
}

fn age(now: Timestamp, then: Timestamp) -> Duration {
    now.duration_since(then).try_into().unwrap_or_default()
}

/// A map that never holds more than [`REMEMBERED_MAX`] entries.
struct Bounded<K, V> {
    entries: HashMap<K, (Timestamp, V)>,
}

impl<K, V> Default for Bounded<K, V> {
    fn default() -> Self {
        Bounded { entries: HashMap::new() }
    }
}

impl<K: Eq + Hash + Clone, V> Bounded<K, V> {
    fn get(&mut self, now: Timestamp, key: &K) -> Option<&V> {
        let (used, value) = self.entries.get_mut(key)?;
        *used = now;
        Some(value)
    }

    fn get_or_put(&mut self, now: Timestamp, key: K, make: impl FnOnce() -> V) -> &mut V {
        if !self.entries.contains_key(&key) {
            self.make_room();
        }
        let (used, value) = self.entries.entry(key).or_insert_with(|| (now, make()));
        *used = now;
        value
    }

    fn put(&mut self, now: Timestamp, key: K, value: V) {
        if !self.entries.contains_key(&key) {
            self.make_room();
        }
        self.entries.insert(key, (now, value));
    }

    fn remove(&mut self, key: &K) {
        self.entries.remove(key);
    }

    fn make_room(&mut self) {
        if self.entries.len() < REMEMBERED_MAX {
            return;
        }
        let oldest = self.entries.iter().min_by_key(|(_, (used, _))| *used);
        if let Some(key) = oldest.map(|(key, _)| key.clone()) {
            self.entries.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(message: &str) -> Occurrence {
        Occurrence {
            object: ObjectReference {
                name: Some("web".to_owned()),
                namespace: Some("default".to_owned()),
                uid: Some("u1".to_owned()),
                ..ObjectReference::default()
            },
            kind: "Warning",
            reason: "BackOff".to_owned(),
            message: message.to_owned(),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).expect("in range")
    }

    #[test]
    fn an_equal_occurrence_raises_the_count() {
        let mut correlator = Correlator::default();
        let what = occurrence("back-off");
        let created = correlator.decide(at(0), &what);
        assert_eq!(created, Verdict::Create { message: "back-off".to_owned() });
        correlator.wrote(at(0), &what, "web.1".to_owned(), 1);

        let raised = correlator.decide(at(1), &what);
        let name = "web.1".to_owned();
        assert_eq!(raised, Verdict::Raise { name, count: 2, message: "back-off".to_owned() });

        correlator.lost(at(2), &what);
        assert!(matches!(correlator.decide(at(2), &what), Verdict::Create { .. }));
    }

    #[test]
    fn many_different_messages_share_one_event() {
        let mut correlator = Correlator::default();
        for number in 0..10 {
            let what = occurrence(&format!("message {number}"));
            assert!(matches!(correlator.decide(at(0), &what), Verdict::Create { .. }));
        }
        let verdict = correlator.decide(at(1), &occurrence("message 10"));
        let message = "(combined from similar events): message 10".to_owned();
        assert_eq!(verdict, Verdict::Create { message });
    }

    #[test]
    fn the_budget_of_an_object_empties_and_refills() {
        let mut correlator = Correlator::default();
        let what = occurrence("back-off");
        for _ in 0..25 {
            assert_ne!(correlator.decide(at(0), &what), Verdict::Drop);
        }
        assert_eq!(correlator.decide(at(1), &what), Verdict::Drop);
        assert_ne!(correlator.decide(at(301), &what), Verdict::Drop);
        assert_eq!(correlator.decide(at(302), &what), Verdict::Drop);
    }
}
