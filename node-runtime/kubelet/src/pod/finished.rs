//! The pod ended by itself; its logs stay until it is deleted.

use super::gone::Gone;
use super::removing::Removing;
use super::step::{LeadsTo, Next, Step};
use super::terminating::Ending;
use super::worker::Worker;

/// Nothing runs any more.
pub(super) struct Finished;

impl Step for Finished {
    const NAME: &'static str = "Finished";

    async fn run(self, worker: &mut Worker) -> Next {
        loop {
            match worker.ending() {
                Some(Ending::Removed) => return Self::to(Gone),
                Some(Ending::Deleted) => return Self::to(Removing),
                Some(Ending::Over | Ending::Completed | Ending::Failed(_)) | None => {}
            }
            let signal = worker.signal().await;
            worker.attend(signal).await;
        }
    }
}

impl LeadsTo<Removing> for Finished {}
impl LeadsTo<Gone> for Finished {}
