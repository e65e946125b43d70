//! Stops one container: `preStop`, the stop signal, and in the end SIGKILL.

use std::time::Duration;

use minik_cri::RuntimeError;
use tokio::time::Instant;

use super::hook;
use super::start::Place;
use crate::object::ContainerSpec;
use minik_client::Level;

/// The signal gets at least this long, even if the hook used up the time.
const SIGNAL_AT_LEAST: Duration = Duration::from_secs(2);

/// Stops the container with runtime id `id` within `grace` and a little; returns when it has
/// exited. `why` is the text of the event.
pub(crate) async fn stop(
    place: &Place,
    spec: &ContainerSpec,
    id: &str,
    grace: Duration,
    why: &str,
) -> Result<(), RuntimeError> {
    let name = &spec.container.name;
    let text = match why {
        "" => format!("Stopping container {name}"),
        why => format!("Container {name} {why}"),
    };
    place.event(spec, Level::Normal, "Killing", text);
    let deadline = Instant::now() + grace;
    let hook = spec.container.lifecycle.as_ref().and_then(|it| it.pre_stop.as_ref());
    let mut left = grace;
    if let Some(handler) = hook.filter(|_| !grace.is_zero()) {
        if let Err(message) = hook::run(place, spec, id, handler, grace).await {
            let text = format!("PreStopHook failed: {message}");
            place.event(spec, Level::Warning, "FailedPreStopHook", text);
        }
        left = deadline.saturating_duration_since(Instant::now()).max(SIGNAL_AT_LEAST);
    }
    place.shared.runtime.stop_container(id, left).await
}
