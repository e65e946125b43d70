//! Counters and histograms by labels, and the text format Prometheus reads them in.

use std::collections::HashMap;
use std::fmt::{Display, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;

/// Label values that one family keeps apart. What is beyond is not counted: better no figure than
/// a memory that clients can fill.
const SERIES_MAX: usize = 4000;

/// What a family measures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets.
    Histogram(&'static [f64]),
}

/// Figures of one name, told apart by labels.
#[derive(Debug)]
pub(crate) struct Family {
    name: &'static str,
    help: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    /// By the hash of the label values: finding one takes no memory.
    series: Mutex<HashMap<u64, Series>>,
}

#[derive(Debug)]
struct Series {
    values: Box<[Box<str>]>,
    /// Of counters and gauges; of histograms the sum.
    sum: f64,
    count: u64,
    buckets: Box<[u64]>,
}

impl Family {
    pub(crate) fn new(
        name: &'static str,
        help: &'static str,
        kind: Kind,
        labels: &'static [&'static str],
    ) -> Family {
        Family { name, help, kind, labels, series: Mutex::default() }
    }

    /// Counts one.
    pub(crate) fn count(&self, values: &[&str]) {
        self.add(values, 1.0);
    }

    /// Adds to a counter or gauge.
    pub(crate) fn add(&self, values: &[&str], amount: f64) {
        self.with(values, |series, _| series.sum += amount);
    }

    /// Sets a gauge.
    pub(crate) fn set(&self, values: &[&str], value: f64) {
        self.with(values, |series, _| series.sum = value);
    }

    /// Notes one value in a histogram.
    pub(crate) fn observe(&self, values: &[&str], value: f64) {
        self.observe_all(values, [value]);
    }

    /// Notes several values in a histogram.
    pub(crate) fn observe_all(&self, values: &[&str], all: impl IntoIterator<Item = f64>) {
        self.with(values, |series, bounds| {
            for value in all {
                series.sum += value;
                series.count += 1;
                if let Some(at) = bounds.iter().position(|bound| value <= *bound) {
                    series.buckets[at] += 1;
                }
            }
        });
    }

    fn with(&self, values: &[&str], change: impl FnOnce(&mut Series, &[f64])) {
        debug_assert_eq!(values.len(), self.labels.len(), "{}", self.name);
        let bounds = match self.kind {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => &[],
        };
        let mut hasher = DefaultHasher::new();
        values.hash(&mut hasher);
        let mut series = self.series.lock().expect("no holder panics");
        let full = series.len() >= SERIES_MAX;
        let hash = hasher.finish();
        let one = match series.get_mut(&hash) {
            Some(one) => one,
            None if full => return,
            None => series.entry(hash).or_insert_with(|| Series {
                values: values.iter().map(|value| Box::from(*value)).collect(),
                sum: 0.0,
                count: 0,
                buckets: bounds.iter().map(|_| 0).collect(),
            }),
        };
        change(one, bounds);
    }

    /// Writes all figures, ordered by their labels.
    pub(crate) fn write(&self, text: &mut Text) {
        let series = self.series.lock().expect("no holder panics");
        if series.is_empty() {
            return;
        }
        let mut ordered: Vec<&Series> = series.values().collect();
        ordered.sort_by(|a, b| a.values.cmp(&b.values));
        text.head(self.name, self.help, self.kind);
        for one in ordered {
            let values = one.values.iter().map(|value| &**value);
            let labels: Vec<(&str, &str)> = self.labels.iter().copied().zip(values).collect();
            match self.kind {
                Kind::Counter | Kind::Gauge => text.sample(self.name, &labels, one.sum),
                Kind::Histogram(bounds) => {
                    let buckets = bounds.iter().copied().zip(one.buckets.iter().copied());
                    text.histogram(self.name, &labels, buckets, one.sum, one.count);
                }
            }
        }
    }
}

/// The text that is being written.
#[derive(Debug, Default)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn into_string(self) -> String {
        self.0
    }

    /// Begins a family.
    pub(crate) fn head(&mut self, name: &str, help: &str, kind: Kind) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// Writes one figure of the family.
    pub(crate) fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// A family of one figure.
    pub(crate) fn single(&mut self, name: &str, help: &str, kind: Kind, value: impl Display) {
        self.head(name, help, kind);
        self.sample(name, &[], value);
    }

    fn histogram(
        &mut self,
        name: &str,
        labels: &[(&str, &str)],
        buckets: impl Iterator<Item = (f64, u64)>,
        sum: f64,
        count: u64,
    ) {
        let mut below = 0;
        for (bound, more) in buckets {
            below += more;
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(&bound.to_string()));
            let _ = writeln!(self.0, " {below}");
        }
        let _ = write!(self.0, "{name}_bucket");
        self.labels(labels, Some("+Inf"));
        let _ = writeln!(self.0, " {count}");
        self.sample(&format!("{name}_sum"), labels, sum);
        self.sample(&format!("{name}_count"), labels, count);
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{separator}{name}=\"{value}\"");
            separator = ',';
        }
        if separator == ',' {
            self.0.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn text_for_prometheus() {
        let requests = Family::new("requests_total", "Requests.", Kind::Counter, &["verb", "code"]);
        requests.count(&["LIST", "200"]);
        requests.count(&["GET", "4\"4\\"]);
        requests.count(&["LIST", "200"]);
        const BOUNDS: &[f64] = &[0.5, 1.0, 10.0];
        let took = Family::new("took_seconds", "Time.", Kind::Histogram(BOUNDS), &["verb"]);
        took.observe_all(&["GET"], [0.25, 1.0, 2.0, 100.0]);
        let unused = Family::new("unused", "Nothing.", Kind::Gauge, &[]);
        let mut text = Text::default();
        [requests, took, unused].iter().for_each(|family| family.write(&mut text));
        text.single("up", "Whether.", Kind::Gauge, 1);
        expect![[r#"
            # HELP requests_total Requests.
            # TYPE requests_total counter
            requests_total{verb="GET",code="4\"4\\"} 1
            requests_total{verb="LIST",code="200"} 2
            # HELP took_seconds Time.
            # TYPE took_seconds histogram
            took_seconds_bucket{verb="GET",le="0.5"} 1
            took_seconds_bucket{verb="GET",le="1"} 2
            took_seconds_bucket{verb="GET",le="10"} 3
            took_seconds_bucket{verb="GET",le="+Inf"} 4
            took_seconds_sum{verb="GET"} 103.25
            took_seconds_count{verb="GET"} 4
            # HELP up Whether.
            # TYPE up gauge
            up 1
        "#]]
        .assert_eq(&text.into_string());
    }

    #[test]
    fn the_number_of_series_is_bounded() {
        let family = Family::new("n", "N.", Kind::Counter, &["x"]);
        for number in 0..2 * SERIES_MAX {
            family.count(&[&number.to_string()]);
        }
        family.count(&["0"]);
        assert_eq!(family.series.lock().expect("lock").len(), SERIES_MAX);
        let mut text = Text::default();
        family.write(&mut text);
        assert!(text.into_string().contains("n{x=\"0\"} 2\n"));
    }
}
