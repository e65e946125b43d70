//! The pod is known; its volumes are made.

use std::time::Duration;

use minik_client::Level;

use super::admit;
use super::sandboxing::Sandboxing;
use super::step::{LeadsTo, Next, Step};
use super::terminating::{Ending, Terminating};
use super::worker::Worker;

const FIRST_RETRY: Duration = Duration::from_millis(500);
const LONGEST_RETRY: Duration = Duration::from_secs(120);

/// The volumes are made.
pub(super) struct Preparing;

impl Step for Preparing {
    const NAME: &'static str = "Preparing";

    async fn run(self, worker: &mut Worker) -> Next {
        if let Some(failure) = admit::refuse(&worker.pod) {
            worker.event(Level::Warning, &failure.reason, &failure.message);
            return Self::to(Terminating { why: Ending::Failed(failure) });
        }
        let mut retry = FIRST_RETRY;
        loop {
            worker.publish();
            if let Some(why) = worker.ending() {
                return Self::to(Terminating { why });
            }
            // Every wait inside has a deadline, so the pod's end is noticed in time.
            if worker.set_up_volumes().await.is_ok() {
                return Self::to(Sandboxing);
            }
            let changed = worker.sources_changed.clone();
            let wait = async {
                tokio::select! {
                    () = changed.notified() => {}
                    () = tokio::time::sleep(retry) => {}
                }
            };
            if let Err(why) = worker.unless_ended(wait).await {
                return Self::to(Terminating { why });
            }
            retry = (retry * 2).min(LONGEST_RETRY);
        }
    }
}

impl LeadsTo<Sandboxing> for Preparing {}
impl LeadsTo<Terminating> for Preparing {}
