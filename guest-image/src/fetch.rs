//! Brings an image into the cache: manifest, signature, then the files side by side, each verified before it counts.
//!
//! ```text
//! address → manifest → signature → lock → files missing? → download (resume, mirrors) → size, SHA-256 → rename
//! ```

mod download;
mod transport;

use std::path::{Path, PathBuf};

use futures::stream::StreamExt;
use reqwest::Url;

use crate::cache::{self, CachedImage, Lock};
use crate::error::{ImageError, on_file};
use crate::kernel;
use crate::manifest::{FileEntry, Manifest, Role, SIGNATURE_SUFFIX};
use crate::progress::Progress;
use crate::signature::TrustedKeys;
use crate::source::{self, Source};

use download::Download;
use transport::Transport;

/// Files that are downloaded at the same time.
const SIDE_BY_SIDE: usize = 4;
/// A manifest or a signature is a few KiB.
const SMALL_BYTES_MAX: u64 = 1024 * 1024;

/// How to fetch.
#[derive(Clone, Debug)]
pub struct FetchOptions {
    /// The cache's folder; made when absent.
    pub cache: PathBuf,
    /// Whose signatures count.
    pub keys: TrustedKeys,
    /// Open no connection; what is not here is an error.
    pub offline: bool,
    /// Fetch the Docker layer too.
    pub with_docker: bool,
    /// Ask a server again although its answer is remembered. A local address is always asked.
    pub refresh: bool,
}

/// Makes sure that the image is in the cache, whole and verified. May be called by many processes at once: one
/// downloads, the others wait for it. Blocks; must not be called from asynchronous code.
///
/// # Errors
/// Any [`ImageError`]; what was half-made is never used, and kept only where a later call can continue it.
pub fn fetch(
    source: &Source,
    options: &FetchOptions,
    progress: &dyn Progress,
) -> Result<CachedImage, ImageError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(on_file("start the downloads for", &options.cache))?;
    runtime.block_on(Fetch { source, options, progress }.run())
}

struct Fetch<'a> {
    source: &'a Source,
    options: &'a FetchOptions,
    progress: &'a dyn Progress,
}

impl Fetch<'_> {
    async fn run(&self) -> Result<CachedImage, ImageError> {
        let cache = &self.options.cache;
        let transport = Transport::new()?;
        let image = match self.remembered() {
            Some(image) => image,
            None => self.fetch_manifest(&transport).await?,
        };
        let _lock = Lock::take(cache, image.digest(), || {
            self.progress.note("another minik is fetching this image, waiting for it");
        })?;
        let good = image.good_files(|error| {
            self.progress.note(&format!("fetching again: {error}"));
        })?;
        let missing: Vec<&FileEntry> = image
            .manifest()
            .files
            .iter()
            .filter(|file| self.options.with_docker || file.role != Role::Docker)
            .filter(|file| !good.contains(&file.name))
            .collect();
        self.download(&transport, &image, &missing).await?;
        for entry in &missing {
            if let Some(from) = &entry.unpacked_from {
                kernel::unpack(&image.folder().join(from), &image.path_of(entry))?;
            }
        }
        image.verify()?;
        Ok(image)
    }

    /// The image that this address named before, when we may rely on that.
    fn remembered(&self) -> Option<CachedImage> {
        if self.source.is_local() || (self.options.refresh && !self.options.offline) {
            return None;
        }
        let digest = cache::remembered(&self.options.cache, &self.source.to_string())?;
        CachedImage::open(&self.options.cache, &digest, &self.options.keys).ok()
    }

    async fn fetch_manifest(&self, transport: &Transport) -> Result<CachedImage, ImageError> {
        let mut attempts = Vec::new();
        for url in self.source.manifests() {
            match self.fetch_manifest_from(transport, url).await {
                Ok(image) => return Ok(image),
                Err(error) => attempts.push(error),
            }
        }
        Err(download::sum_up("the manifest", attempts))
    }

    async fn fetch_manifest_from(
        &self,
        transport: &Transport,
        url: &Url,
    ) -> Result<CachedImage, ImageError> {
        let shown = source::shown(url);
        self.allow(url, "the manifest")?;
        let content = transport.get_small(url, SMALL_BYTES_MAX).await?;
        let mut signature_url = url.clone();
        signature_url.set_path(&format!("{}{SIGNATURE_SUFFIX}", url.path()));
        let signature = transport.get_small(&signature_url, SMALL_BYTES_MAX).await?;
        let signature = String::from_utf8_lossy(&signature).into_owned();
        self.options.keys.check(&shown, &content, &signature)?;
        let manifest = Manifest::parse(&content)
            .map_err(|reason| ImageError::Manifest { manifest: shown, reason })?;
        let cache = &self.options.cache;
        let image = CachedImage::store(cache, &content, &signature, manifest)?;
        cache::remember(cache, &self.source.to_string(), image.digest())?;
        Ok(image)
    }

    async fn download(
        &self,
        transport: &Transport,
        image: &CachedImage,
        missing: &[&FileEntry],
    ) -> Result<(), ImageError> {
        let files: Vec<&FileEntry> =
            missing.iter().copied().filter(|file| file.unpacked_from.is_none()).collect();
        if let (Some(first), Some(url)) = (files.first(), self.source.manifests().first()) {
            self.allow(url, &first.name)?;
        }
        let needed: u64 = missing.iter().map(|file| file.size).sum();
        check_space(image.folder(), needed)?;
        let downloads = files.into_iter().map(|entry| {
            let mirrors = self.source.manifests();
            let urls = mirrors.iter().map(|url| source::beside(url, &entry.name)).collect();
            let path = image.path_of(entry);
            Download { transport, entry, path, urls, progress: self.progress }
        });
        // One that fails does not stop the others: what they fetch is there for the next try.
        let outcomes: Vec<Result<(), ImageError>> = futures::stream::iter(downloads)
            .map(|download| async move { download.run().await })
            .buffer_unordered(SIDE_BY_SIDE)
            .collect()
            .await;
        outcomes.into_iter().collect()
    }

    fn allow(&self, url: &Url, what: &str) -> Result<(), ImageError> {
        if self.options.offline && url.scheme() != "file" {
            return Err(ImageError::Offline { what: what.into(), url: source::shown(url) });
        }
        Ok(())
    }
}

/// Refuses before the first byte what cannot end well.
fn check_space(folder: &Path, needed: u64) -> Result<(), ImageError> {
    let system = rustix::fs::statvfs(folder)
        .map_err(|errno| on_file("read the free space of", folder)(errno.into()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if free < needed {
        let file = "the image".into();
        return Err(ImageError::DiskFull { path: folder.into(), file, needed, free });
    }
    Ok(())
}
