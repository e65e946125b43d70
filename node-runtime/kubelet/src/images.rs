//! Gets images onto the node: by policy, with the pod's passwords, each image once at a time.

mod credentials;
pub(crate) mod reference;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use minik_cri::{Runtime, RuntimeError, v1};
use tokio::sync::{Mutex as AsyncMutex, Notify, Semaphore};
use tokio::time::Instant;

use crate::spec::security::ImageUser;
use reference::{InvalidName, Reference};

/// Pulls that run at once.
const PULLS_MAX: usize = 5;

/// When the registry is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    Always,
    IfNotPresent,
    Never,
}

impl Policy {
    /// The container's policy; without one it depends on the tag.
    pub(crate) fn of(policy: Option<&str>, image: &Reference) -> Self {
        match policy {
            Some("Always") => Self::Always,
            Some("IfNotPresent") => Self::IfNotPresent,
            Some("Never") => Self::Never,
            _ if image.is_latest => Self::Always,
            _ => Self::IfNotPresent,
        }
    }
}

/// Why there is no image.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ImageError {
    #[error(transparent)]
    Name(#[from] InvalidName),
    #[error("Container image \"{0}\" is not present with pull policy of Never")]
    NeverPulled(String),
    #[error("failed to inspect image \"{image}\": {source}")]
    Inspect { image: String, source: RuntimeError },
    #[error("failed to pull image \"{image}\": {source}")]
    Pull { image: String, source: RuntimeError },
}

impl ImageError {
    /// The reason that `kubectl get pods` shows.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Name(_) => "InvalidImageName",
            Self::NeverPulled(_) => "ErrImageNeverPull",
            Self::Inspect { .. } => "ImageInspectError",
            Self::Pull { .. } => "ErrImagePull",
        }
    }
}

/// An image that is on the node.
#[derive(Clone, Debug)]
pub(crate) struct Image {
    /// What containers are made from.
    pub(crate) id: String,
    pub(crate) user: ImageUser,
    /// How it came here: the text of the `Pulled` event.
    pub(crate) story: String,
}

/// The images of this node. Clones share the limits.
#[derive(Clone)]
pub(crate) struct Images {
    runtime: Arc<dyn Runtime>,
    slots: Arc<Semaphore>,
    /// One lock per image that is being pulled, so that a second pod waits for the first's pull.
    pulling: Arc<Mutex<HashMap<String, Arc<AsyncMutex<()>>>>>,
    changed: Arc<Notify>,
}

/// What to get.
pub(crate) struct Request<'a> {
    pub(crate) image: &'a str,
    pub(crate) policy: Option<&'a str>,
    pub(crate) secrets: &'a [Arc<Secret>],
    pub(crate) sandbox: &'a v1::PodSandboxConfig,
}

impl Images {
    pub(crate) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self {
            runtime,
            slots: Arc::new(Semaphore::new(PULLS_MAX)),
            pulling: Arc::default(),
            changed: Arc::default(),
        }
    }

    /// Returns when an image was pulled since the last call: the node's list is out of date.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Makes sure that the image is here. `on_pull` is called before the registry is asked.
    pub(crate) async fn ensure(
        &self,
        request: Request<'_>,
        on_pull: impl FnOnce(),
    ) -> Result<Image, ImageError> {
        let reference = Reference::parse(request.image)?;
        let policy = Policy::of(request.policy, &reference);
        let present = self.inspect(&reference).await?;
        match (policy, present) {
            (Policy::IfNotPresent | Policy::Never, Some(image)) => Ok(image_of(
                &image,
                format!("Container image \"{}\" already present on machine", request.image),
            )),
            (Policy::Never, None) => Err(ImageError::NeverPulled(request.image.to_owned())),
            (Policy::Always, _) | (Policy::IfNotPresent, None) => {
                on_pull();
                self.pull(&request, &reference, policy).await
            }
        }
    }

    async fn inspect(&self, reference: &Reference) -> Result<Option<v1::Image>, ImageError> {
        let found = self.runtime.image_status(&reference.full).await;
        found.map_err(|source| ImageError::Inspect { image: reference.full.clone(), source })
    }

    async fn pull(
        &self,
        request: &Request<'_>,
        reference: &Reference,
        policy: Policy,
    ) -> Result<Image, ImageError> {
        let waiting_since = Instant::now();
        let turn = {
            let mut pulling = self.pulling.lock().expect("nothing panics while it holds this");
            pulling.retain(|_, lock| Arc::strong_count(lock) > 1);
            pulling.entry(reference.full.clone()).or_default().clone()
        };
        let _turn = turn.lock().await;
        if let (Policy::IfNotPresent, Some(image)) = (policy, self.inspect(reference).await?) {
            let story = format!("Container image \"{}\" already present on machine", request.image);
            return Ok(image_of(&image, story));
        }
        let _slot = self.slots.acquire().await.expect("the semaphore is never closed");

        let started = Instant::now();
        let failed = |source| ImageError::Pull { image: request.image.to_owned(), source };
        let id = self.pull_with_passwords(request, reference).await.map_err(failed)?;
        self.changed.notify_one();
        let image = self.inspect(reference).await?;
        let size = image.as_ref().map_or(0, |image| image.size);
        let story = format!(
            "Successfully pulled image \"{}\" in {} ({} including waiting). Image size: {size} bytes.",
            request.image,
            show(started.elapsed()),
            show(waiting_since.elapsed()),
        );
        Ok(match image {
            Some(image) => image_of(&image, story),
            None => Image { id, user: ImageUser::default(), story },
        })
    }

    /// Tries each password that fits, then none.
    async fn pull_with_passwords(
        &self,
        request: &Request<'_>,
        reference: &Reference,
    ) -> Result<String, RuntimeError> {
        let mut last = None;
        let passwords = credentials::matching(request.secrets, reference);
        let attempts = if passwords.is_empty() {
            vec![None]
        } else {
            passwords.into_iter().map(Some).collect()
        };
        for auth in attempts {
            let pull = self.runtime.pull_image(&reference.full, auth, request.sandbox.clone());
            match pull.await {
                Ok(id) => return Ok(id),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("there is at least one attempt"))
    }
}

fn image_of(image: &v1::Image, story: String) -> Image {
    Image { id: image.id.clone(), user: ImageUser::of(image), story }
}

fn show(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis}ms"),
        millis => format!("{}.{:03}s", millis / 1000, millis % 1000),
    }
}
