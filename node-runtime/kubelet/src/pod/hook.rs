//! `postStart` and `preStop`.

use std::time::Duration;

use k8s_openapi::api::core::v1::LifecycleHandler;

use super::start::Place;
use crate::object::ContainerSpec;
use crate::probe;

/// A hook without a deadline of its own (`postStart`) may take this long.
pub(crate) const LONGEST: Duration = Duration::from_secs(2 * 60 * 60);
/// An HTTP hook answers within this time.
const HTTP_DEADLINE: Duration = Duration::from_secs(60);

/// Runs a hook of the container with runtime id `id`, for at most `deadline`.
pub(crate) async fn run(
    place: &Place,
    spec: &ContainerSpec,
    id: &str,
    handler: &LifecycleHandler,
    deadline: Duration,
) -> Result<(), String> {
    match tokio::time::timeout(deadline, act(place, spec, id, handler, deadline)).await {
        Ok(result) => result,
        Err(_) => Err(format!("did not finish within {} s", deadline.as_secs())),
    }
}

async fn act(
    place: &Place,
    spec: &ContainerSpec,
    id: &str,
    handler: &LifecycleHandler,
    deadline: Duration,
) -> Result<(), String> {
    if let Some(exec) = &handler.exec {
        let command = exec.command.clone().unwrap_or_default();
        let answer = place.shared.runtime.exec_sync(id, command.clone(), deadline).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.exit_code != 0 {
            let output =
                String::from_utf8_lossy(&[answer.stdout, answer.stderr].concat()).into_owned();
            return Err(format!("{command:?} exited with {}: {output}", answer.exit_code));
        }
    } else if let Some(action) = &handler.http_get {
        let get = probe::http_get(&spec.container, action, &place.address())?;
        get.send(deadline.min(HTTP_DEADLINE)).await.map_err(|error| error.to_string())?;
    } else if let Some(sleep) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(sleep.seconds).unwrap_or(0))).await;
    }
    Ok(())
}
