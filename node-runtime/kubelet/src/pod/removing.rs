//! Everything has ended and the deletion was asked for: the object is removed from the API.

use super::gone::Gone;
use super::step::{LeadsTo, Next, Step};
use super::terminating::Ending;
use super::worker::Worker;

/// The object is removed from the API.
pub(super) struct Removing;

impl Step for Removing {
    const NAME: &'static str = "Removing";

    async fn run(self, worker: &mut Worker) -> Next {
        worker.remove_object();
        loop {
            if let Some(Ending::Removed) = worker.ending() {
                return Self::to(Gone);
            }
            // Finalizers may keep the object for a while.
            let signal = worker.signal().await;
            worker.attend(signal).await;
        }
    }
}

impl LeadsTo<Gone> for Removing {}
