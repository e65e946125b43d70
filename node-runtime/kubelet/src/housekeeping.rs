//! Keeps the disk from filling: long logs are rotated, images that nobody uses are removed when
//! room is short. Looks once a minute, on purpose: a log has no event for being long.

mod images;
mod logs;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;

use crate::shared::Shared;

const EVERY: Duration = Duration::from_secs(60);
/// Images are looked at less often than logs.
const IMAGES_EVERY: u32 = 5;

/// Works until it is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = images::Seen::default();
    let mut round = 0;
    loop {
        ticks.tick().await;
        logs::rotate_all(&shared).await;
        if round % IMAGES_EVERY == 0 {
            images::collect(&shared, &mut seen).await;
        }
        round = (round + 1) % IMAGES_EVERY;
    }
}
