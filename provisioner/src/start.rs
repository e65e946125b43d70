//! `start`: runs the phases, for all nodes at once where they are about nodes.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use minik_spec::{Change, Effect, NodeSpec, ProfileName, Request, WaitFor, resolve};

use crate::error::{ProvisionError, Result};
use crate::phases::{Act, Phase, message, phases};
use crate::report::{Outcome, Step};
use crate::state::Profile;
use crate::tools::Tools;
use crate::work::{NodeWork, Work};

/// How to start, beyond what the profile remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StartOptions {
    /// Driver taken when neither request nor profile name one.
    pub default_driver: String,
    /// What to wait for.
    pub wait: WaitFor,
    /// How long each wait may take.
    pub wait_timeout: Duration,
    /// Leave the current context of kubectl alone.
    pub keep_context: bool,
    /// Put certificates into the kubeconfig instead of paths to them.
    pub embed_certs: bool,
    /// Namespace of the context.
    pub namespace: Option<String>,
}

impl Default for StartOptions {
    fn default() -> StartOptions {
        StartOptions {
            default_driver: "qemu".to_owned(),
            wait: WaitFor::default(),
            wait_timeout: Duration::from_secs(6 * 60),
            keep_context: false,
            embed_certs: true,
            namespace: None,
        }
    }
}

/// A started cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// The profile as it is now.
    pub profile: Profile,
    /// Whether there was a cluster before.
    pub existed: bool,
    /// Whether anything had to be done at all.
    pub acted: bool,
    /// Settings that were changed.
    pub changes: Vec<Change>,
    /// Where programs on this host reach the API server.
    pub api_url: String,
    /// Whether kubectl now uses this cluster unless told otherwise.
    pub context_switched: bool,
}

/// Makes the cluster run as asked, whatever state it is in.
///
/// # Errors
/// Which phase failed, and why; what was done so far stays, and the next call goes on from there.
pub fn start(
    tools: &Tools<'_>,
    name: &ProfileName,
    request: &Request,
    options: &StartOptions,
) -> Result<Started> {
    let _lock = tools.lock(name)?;
    let existing = Profile::find(tools.folders, name)?;
    let resources = tools.host.resources(&tools.folders.data)?;
    let old = existing.as_ref().map(|profile| &profile.spec);
    let resolved = resolve(name, request, old, &resources, &options.default_driver)?;
    warn_of_restarts(tools, existing.as_ref(), &resolved.changes)?;
    let profile = Profile::new(tools.folders, resolved.spec);
    converge(tools, profile, existing.is_some(), resolved.changes, options)
}

/// Runs all phases over a profile whose lock is held.
pub(crate) fn converge(
    tools: &Tools<'_>,
    profile: Profile,
    existed: bool,
    changes: Vec<Change>,
    options: &StartOptions,
) -> Result<Started> {
    let list = phases(options.wait, options.wait_timeout);
    let mut work = Work {
        tools,
        options,
        profile,
        existed,
        changes: &changes,
        image: None,
        authorities: None,
        context_switched: false,
        api_url: String::new(),
        binary: OnceLock::new(),
        deadline: Instant::now(),
    };
    let nodes = work.profile.spec.nodes.len();
    let total = list.iter().map(|phase| phase.repeats(nodes)).sum();
    let counter = Counter { done: AtomicUsize::new(0), changed: AtomicUsize::new(0), total };

    let mut rest = list.as_slice();
    while let Some(first) = rest.first() {
        match first.act {
            Act::Cluster(act) => {
                work.deadline = Instant::now() + first.deadline;
                counter.observe(&mut work, first, act)?;
                rest = &rest[1..];
            }
            Act::Node(_) => {
                let end = rest.iter().position(|phase| matches!(phase.act, Act::Cluster(_)));
                let (now, later) = rest.split_at(end.unwrap_or(rest.len()));
                for_each_node(&work, now, &counter)?;
                rest = later;
            }
        }
    }
    let Work { profile, api_url, context_switched, .. } = work;
    let acted = counter.changed.into_inner() > 0;
    Ok(Started { profile, existed, acted, changes, api_url, context_switched })
}

/// The first error of the first node in order is told; the others have had their chance to get on.
fn for_each_node(work: &Work<'_>, list: &[Phase], counter: &Counter) -> Result<()> {
    let nodes = &work.profile.spec.nodes;
    if let [node] = nodes.as_slice() {
        return run_node(work, node, list, counter);
    }
    thread::scope(|scope| {
        let threads: Vec<_> = nodes
            .iter()
            .map(|node| scope.spawn(move || run_node(work, node, list, counter)))
            .collect();
        threads
            .into_iter()
            .map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
            .fold(Ok(()), Result::and)
    })
}

fn run_node(work: &Work<'_>, node: &NodeSpec, list: &[Phase], counter: &Counter) -> Result<()> {
    let mut node_work = work.node_work(node);
    for phase in list {
        if let Act::Node(act) = phase.act {
            node_work.deadline = Instant::now() + phase.deadline;
            counter.observe_node(&mut node_work, phase, act)?;
        }
    }
    Ok(())
}

/// Counts steps over all threads.
struct Counter {
    done: AtomicUsize,
    changed: AtomicUsize,
    total: usize,
}

impl Counter {
    fn observe(
        &self,
        work: &mut Work<'_>,
        phase: &Phase,
        act: fn(&mut Work<'_>) -> Result<Outcome>,
    ) -> Result<()> {
        let tools = work.tools;
        let step = self.step(phase, message(phase, &work.profile.spec, None), None);
        self.run(tools, phase, step, None, || act(work))
    }

    fn observe_node(
        &self,
        node: &mut NodeWork<'_, '_>,
        phase: &Phase,
        act: fn(&mut NodeWork<'_, '_>) -> Result<Outcome>,
    ) -> Result<()> {
        let (tools, spec) = (node.work.tools, &node.work.profile.spec);
        let name = node.node.name.clone();
        let step = self.step(phase, message(phase, spec, Some(node.node)), Some(name.clone()));
        let several = (spec.nodes.len() > 1).then_some(name);
        self.run(tools, phase, step, several, || act(node))
    }

    fn step(&self, phase: &Phase, message: String, machine: Option<String>) -> Step {
        let current = self.done.fetch_add(1, Ordering::Relaxed) + 1;
        Step { id: phase.id, name: phase.step, message, current, total: self.total, machine }
    }

    fn run(
        &self,
        tools: &Tools<'_>,
        phase: &Phase,
        step: Step,
        machine: Option<String>,
        act: impl FnOnce() -> Result<Outcome>,
    ) -> Result<()> {
        let begin = Instant::now();
        tools.reporter.step(&step);
        let outcome = act().map_err(|source| ProvisionError::During {
            phase: phase.id,
            doing: phase.doing.to_owned(),
            machine,
            source: Box::new(source),
        })?;
        if outcome == Outcome::Changed {
            self.changed.fetch_add(1, Ordering::Relaxed);
        }
        tools.reporter.done(&step, &outcome, begin.elapsed());
        Ok(())
    }
}

impl Phase {
    fn repeats(&self, nodes: usize) -> usize {
        match self.act {
            Act::Cluster(_) => 1,
            Act::Node(_) => nodes,
        }
    }
}

/// Size and network of a machine are fixed while it runs.
fn warn_of_restarts(
    tools: &Tools<'_>,
    existing: Option<&Profile>,
    changes: &[Change],
) -> Result<()> {
    let Some(profile) = existing else { return Ok(()) };
    let mut running = false;
    for machine in profile.spec.nodes.iter().filter_map(|node| profile.machine(node)) {
        running |= tools.driver.state(&machine)? == minik_driver::MachineState::Running;
    }
    for change in changes.iter().filter(|change| running && change.effect == Effect::Restart) {
        tools.reporter.warning(&format!(
            "{change}; that takes effect when the cluster is stopped and started again"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
