//! The volumes are there; the sandbox is adopted or made.

use std::time::Duration;

use minik_cri::{RuntimeError, v1};
use tokio::time::Instant;
use tracing::warn;

use super::plan::{self, Verdict, plan};
use super::running::Running;
use super::step::{LeadsTo, Next, Step};
use super::terminating::{Ending, Terminating};
use super::worker::{Sandbox, Worker};
use crate::object;
use minik_client::Level;

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// The sandbox is adopted or made.
pub(super) struct Sandboxing;

impl Step for Sandboxing {
    const NAME: &'static str = "Sandboxing";

    async fn run(self, worker: &mut Worker) -> Next {
        if worker.sandbox_is_ready() {
            worker.open_host_ports().await;
            return Self::to(Running);
        }
        let policy = object::restart_policy(&worker.pod).to_owned();
        if let Some(old) = worker.sandbox.clone() {
            worker.event(
                Level::Normal,
                "SandboxChanged",
                "Pod sandbox changed, it will be killed and re-created.",
            );
            if let Err(error) = worker.shared.runtime.stop_sandbox(&old.id).await {
                warn!(%error, id = old.id, "old sandbox not stopped");
            }
            worker.close_host_ports().await;
            leave_sandbox(worker, &policy);
            if plan(&worker.records, &policy, Instant::now()).verdict != Verdict::Going {
                return Self::to(Terminating { why: Ending::Completed });
            }
        }
        let mut retry = FIRST_RETRY;
        loop {
            worker.publish();
            let attempt = worker.sandbox.as_ref().map_or(0, |sandbox| sandbox.attempt + 1);
            let config = worker.sandbox_config(attempt);
            let shared = worker.shared.clone();
            let made = worker.unless_ended(async { make(&shared, config).await }).await;
            match made {
                Err(why) => return Self::to(Terminating { why }),
                Ok(Ok(id)) => {
                    worker.sandbox = Some(Sandbox { id, attempt, is_ready: true });
                    worker.read_addresses().await;
                    worker.open_host_ports().await;
                    return Self::to(Running);
                }
                Ok(Err(error)) => {
                    let text = format!("Failed to create pod sandbox: {error}");
                    worker.event(Level::Warning, "FailedCreatePodSandBox", &text);
                }
            }
            if let Err(why) = worker.unless_ended(tokio::time::sleep(retry)).await {
                return Self::to(Terminating { why });
            }
            retry = (retry * 2).min(LONGEST_RETRY);
        }
    }
}

async fn make(
    shared: &crate::shared::Shared,
    config: v1::PodSandboxConfig,
) -> Result<String, RuntimeError> {
    let folder = config.log_directory.clone();
    tokio::fs::create_dir_all(&folder).await.map_err(|error| RuntimeError::Failed {
        code: "Internal".into(),
        message: format!("{folder}: {error}"),
    })?;
    shared.runtime.run_sandbox(config).await
}

/// What ran in the old sandbox is over; what the restart policy says runs again.
fn leave_sandbox(worker: &mut Worker, policy: &str) {
    let now = Instant::now();
    for record in &mut worker.records {
        record.lose(now);
        let runs_again = match record.exit() {
            Some(exit) => {
                record.spec.kind == object::Kind::Init || plan::restarts(record, exit, policy)
            }
            None => true,
        };
        record.leave_sandbox(runs_again, now);
    }
    worker.pod_ips.clear();
}

impl LeadsTo<Running> for Sandboxing {}
impl LeadsTo<Terminating> for Sandboxing {}
