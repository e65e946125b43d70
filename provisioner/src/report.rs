//! What a long verb says while it works. The CLI makes sentences, bars or events of it.

use std::fmt;

/// One step that begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Stable id: `machine-start`.
    pub id: &'static str,
    /// The step's name in JSON output, as minikube's consumers know it: `Creating VM`.
    pub name: &'static str,
    /// A sentence for people: `Starting machine dev (2 CPUs, 4000 MiB)`.
    pub message: String,
    /// Which step of all, from 1.
    pub current: usize,
    /// How many there are.
    pub total: usize,
    /// The machine, when the step is about one.
    pub machine: Option<String>,
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It changed something.
    Changed,
    /// Everything was so already.
    Unchanged,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Outcome::Changed => "changed",
            Outcome::Unchanged => "unchanged",
        })
    }
}

/// Receives what a verb says. Several machines are worked on at once, so calls come from several
/// threads and must not block for long.
pub trait Reporter: Sync {
    /// A step begins.
    fn step(&self, step: &Step);

    /// The step ended well, after `took`.
    fn done(&self, step: &Step, outcome: &Outcome, took: std::time::Duration) {
        let _ = (step, outcome, took);
    }

    /// A fact worth a line.
    fn info(&self, message: &str);

    /// A detail for `-v`.
    fn detail(&self, message: &str) {
        let _ = message;
    }

    /// Something is slower or weaker than it could be.
    fn warning(&self, message: &str);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Reporter for Silent {
    fn step(&self, _: &Step) {}
    fn info(&self, _: &str) {}
    fn warning(&self, _: &str) {}
}
