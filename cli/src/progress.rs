//! Between the libraries that work and the user who watches: steps and downloads.

use std::io::IsTerminal as _;
use std::time::Duration;

use minik_image::Progress;
use minik_image::progress::{Bars, Lines};
use minik_provisioner::report::{Outcome, Reporter, Step};

use crate::out::{Out, Sign};

/// Says what the provisioner does.
pub(crate) struct Steps<'a> {
    pub(crate) out: &'a Out,
}

impl Reporter for Steps<'_> {
    fn step(&self, step: &Step) {
        self.out.step(sign(step.id), step.name, step.current, step.total, &step.message);
    }

    fn done(&self, step: &Step, outcome: &Outcome, took: Duration) {
        let seconds = took.as_secs_f64();
        self.out.detail(&format!("{}: {outcome}, {seconds:.1} s", step.id));
    }

    fn info(&self, message: &str) {
        self.out.info(Sign::Note, message);
    }

    fn detail(&self, message: &str) {
        self.out.detail(message);
    }

    fn warning(&self, message: &str) {
        self.out.warning(message);
    }
}

/// The sign in front of a step, by its id.
fn sign(id: &str) -> Sign {
    match id {
        "host-checks" => Sign::Choose,
        "image" => Sign::Download,
        "machine-create" | "machine-start" | "guest-ready" => Sign::Machine,
        "ready" => Sign::Check,
        _ => Sign::Node,
    }
}

/// Shows downloads: bars on a terminal, lines in a pipe, events in JSON.
pub(crate) struct Watcher<'a> {
    shown: Box<dyn Progress + 'a>,
    out: &'a Out,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(out: &'a Out) -> Watcher<'a> {
        let shown: Box<dyn Progress + 'a> = if !out.is_json() && std::io::stderr().is_terminal() {
            Box::new(Bars::default())
        } else {
            Box::new(Lines::new(|line: &str| out.info(Sign::Download, line)))
        };
        Watcher { shown, out }
    }
}

impl Progress for Watcher<'_> {
    fn started(&self, file: &str, size: u64, have: u64) {
        let data = serde_json::json!({ "artifact": file, "size": size.to_string() });
        self.out.only_event("download", &data);
        self.shown.started(file, size, have);
    }

    fn advanced(&self, file: &str, bytes: u64) {
        self.shown.advanced(file, bytes);
    }

    fn restarted(&self, file: &str) {
        self.shown.restarted(file);
    }

    fn finished(&self, file: &str) {
        let data = serde_json::json!({ "artifact": file, "progress": "1" });
        self.out.only_event("download.progress", &data);
        self.shown.finished(file);
    }

    fn note(&self, line: &str) {
        self.shown.note(line);
    }
}
