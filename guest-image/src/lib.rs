//! minik-image: gets the guest image onto this machine, verified, and writes the seed that gives a guest its identity.
//!
//! An image is a handful of files that a [`Manifest`] names with sizes and digests; the manifest is signed. [`fetch()`]
//! brings them into the cache, [`CachedImage`] hands them to a driver. How the files are made is in `build` and `recipe/`.

pub mod cache;
pub mod error;
pub mod fetch;
pub mod kernel;
pub mod manifest;
pub mod progress;
pub mod seed;
pub mod signature;
pub mod source;

mod digest;
mod fat;

pub use cache::CachedImage;
pub use error::ImageError;
pub use fetch::{FetchOptions, fetch};
pub use manifest::{FileEntry, Manifest, Role};
pub use progress::Progress;
pub use seed::{SeedDocuments, SeedIdentity};
pub use signature::{LocalKey, TrustedKeys};
pub use source::Source;
