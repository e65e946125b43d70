//! Guest images from the cache or the network, verified: what `start` uses.

use std::path::PathBuf;

use minik_image::{CachedImage, FetchOptions, ImageError, Progress, Source, TrustedKeys};
use minik_spec::ImageChoice;

use crate::error::Result;
use crate::tools::{GuestImage, Images};

/// Where images come from on this host.
pub struct GuestImages<'a> {
    /// The cache's folder.
    pub cache: PathBuf,
    /// Whose signatures count.
    pub keys: TrustedKeys,
    /// Source taken when neither command line nor profile name one: environment, then settings.
    pub default_source: Option<String>,
    /// Open no connection.
    pub offline: bool,
    /// Get the Docker layer too, for `docker-env`.
    pub with_docker: bool,
    /// Hears about downloads.
    pub progress: &'a dyn Progress,
}

impl Images for GuestImages<'_> {
    fn boot(&self, choice: &ImageChoice) -> Result<GuestImage> {
        if let Some(image) = self.pinned(choice) {
            return Ok(guest_image(&image, false));
        }
        let named = choice.source.as_deref().or(self.default_source.as_deref());
        let source = Source::resolve(named, None, None)?;
        let options = FetchOptions {
            cache: self.cache.clone(),
            keys: self.keys.clone(),
            offline: self.offline,
            with_docker: self.with_docker,
            refresh: false,
        };
        Ok(guest_image(&minik_image::fetch(&source, &options, self.progress)?, true))
    }
}

impl GuestImages<'_> {
    /// The image the cluster's machines were made with, if it still is in the cache and good.
    fn pinned(&self, choice: &ImageChoice) -> Option<CachedImage> {
        let digest = choice.pinned.as_deref()?;
        let open = || -> std::result::Result<CachedImage, ImageError> {
            let image = CachedImage::open(&self.cache, digest, &self.keys)?;
            image.verify()?;
            Ok(image)
        };
        match open() {
            Ok(image) if !self.with_docker || image.boot_files().docker.is_some() => Some(image),
            Ok(_) => None,
            Err(err) => {
                tracing::info!(%err, "the cluster's image is not in the cache any more");
                None
            }
        }
    }
}

fn guest_image(image: &CachedImage, fetched: bool) -> GuestImage {
    GuestImage { files: image.boot_files(), id: image.digest().to_owned(), fetched }
}
