//! The volumes are there; the sandbox is adopted or made.

use std::time::Duration;

use k8s_openapi::api::node::v1::RuntimeClass;
use kube::Api;
use minik_cri::{RuntimeError, v1};
use tokio::time::Instant;
use tracing::warn;

use super::plan::{self, Verdict, plan};
use super::running::Running;
use super::step::{LeadsTo, Next, Step};
use super::terminating::{Ending, Terminating};
use super::worker::{Sandbox, Worker};
use crate::object;
use crate::shared::Shared;
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
            let class = object::spec(&worker.pod).runtime_class_name.clone();
            let made = worker.unless_ended(async { make(&shared, class, config).await }).await;
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

/// Why there is no sandbox.
#[derive(Debug, thiserror::Error)]
enum SandboxError {
    #[error("RuntimeClass \"{class}\": {message}")]
    Class { class: String, message: String },
    #[error("{path}: {source}")]
    Folder { path: String, source: std::io::Error },
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
}

async fn make(
    shared: &Shared,
    class: Option<String>,
    config: v1::PodSandboxConfig,
) -> Result<String, SandboxError> {
    let handler = match class.filter(|class| !class.is_empty()) {
        Some(class) => handler(shared, class).await?,
        None => String::new(),
    };
    let path = config.log_directory.clone();
    let made = tokio::fs::create_dir_all(&path).await;
    made.map_err(|source| SandboxError::Folder { path, source })?;
    Ok(shared.runtime.run_sandbox(config, &handler).await?)
}

/// What the runtime calls a class.
async fn handler(shared: &Shared, class: String) -> Result<String, SandboxError> {
    let classes: Api<RuntimeClass> = Api::all(shared.client.clone());
    match classes.get(&class).await {
        Ok(found) => Ok(found.handler),
        Err(error) => Err(SandboxError::Class { class, message: error.to_string() }),
    }
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
