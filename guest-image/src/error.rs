//! What can go wrong with an image, with the facts: which file, what was expected, what was found.

use std::io;
use std::path::PathBuf;

/// Why there is no usable image.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// Nobody said where the image is.
    #[error(
        "no guest image is named: build one with `make guest-image`, or name one with --guest-image-url, \
         MINIK_IMAGE_URL or `minik config set guest-image-url`"
    )]
    NoSource,
    /// The name given is neither an address nor a path.
    #[error("{text:?} does not name a guest image: {reason}")]
    BadSource {
        /// As given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Offline was asked for and the cache lacks it.
    #[error("{what} is not in the cache and --offline forbids to fetch it from {url}")]
    Offline {
        /// File or manifest.
        what: String,
        /// Where it would have come from.
        url: String,
    },
    /// The server answered with something other than the file.
    #[error("{url} answered {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// For example `404 Not Found`.
        status: String,
    },
    /// The server cannot be reached, or the connection broke and could not be taken up again.
    #[error("{url} cannot be read: {reason}")]
    Unreachable {
        /// What was asked for.
        url: String,
        /// The chain of causes.
        reason: String,
    },
    /// What arrived has another length than the manifest says.
    #[error("{file} from {url} has {actual} bytes, expected {expected}")]
    Size {
        /// File name in the manifest.
        file: String,
        /// Where it came from.
        url: String,
        /// Bytes by the manifest.
        expected: u64,
        /// Bytes that are there; at least, when reading stopped there.
        actual: u64,
    },
    /// What arrived, or lies in the cache, is not what was signed.
    #[error("{file} from {from} has SHA-256 {actual}, expected {expected}")]
    Digest {
        /// File name in the manifest.
        file: String,
        /// URL or path.
        from: String,
        /// Hex, by the manifest.
        expected: String,
        /// Hex, of the bytes.
        actual: String,
    },
    /// The manifest is not signed by a key we trust.
    #[error("the signature of {manifest} is not good: {reason}")]
    Signature {
        /// URL or path of the manifest.
        manifest: String,
        /// Wrong key, changed content or not a signature.
        reason: String,
    },
    /// The manifest is signed but not usable.
    #[error("{manifest} is not a usable manifest: {reason}")]
    Manifest {
        /// URL or path.
        manifest: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// Every mirror failed; the reasons in the order they were tried.
    #[error("{file} could not be had from any of {} mirrors: {}", .attempts.len(), .attempts.join("; "))]
    EveryMirror {
        /// File name in the manifest.
        file: String,
        /// One reason per mirror.
        attempts: Vec<String>,
    },
    /// The image does not fit.
    #[error("{path} has {free} bytes left but {needed} are needed for {file}")]
    DiskFull {
        /// The cache.
        path: PathBuf,
        /// What was being written.
        file: String,
        /// Bytes still to be written.
        needed: u64,
        /// Bytes available.
        free: u64,
    },
    /// A file on this machine cannot be used.
    #[error("cannot {doing} {path}")]
    File {
        /// For example `read`.
        doing: &'static str,
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The compressed kernel is not in the form we unpack.
    #[error("{path} is not a kernel that can be unpacked: {reason}")]
    Kernel {
        /// The compressed kernel.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A signing or trusted key is not in minisign's form.
    #[error("{what} is not a usable key: {reason}")]
    Key {
        /// Path or name.
        what: String,
        /// What is wrong.
        reason: String,
    },
    /// The seed does not fit into its volume.
    #[error("the seed is {actual} bytes, {max} fit")]
    SeedTooLarge {
        /// Bytes of the documents.
        actual: usize,
        /// Bytes that fit.
        max: usize,
    },
}

/// Adapts an I/O failure on `path`, for `map_err`.
pub(crate) fn on_file(
    doing: &'static str,
    path: impl Into<PathBuf>,
) -> impl FnOnce(io::Error) -> ImageError {
    let path = path.into();
    move |source| ImageError::File { doing, path, source }
}

/// An error with all its causes on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        line.push_str(": ");
        line.push_str(&inner.to_string());
        cause = inner.source();
    }
    line
}
