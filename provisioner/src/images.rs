//! Container images in the guest: `image load`, `image ls`, `image rm`.
//!
//! They live in containerd's namespace `k8s.io`, where the kubelet sees them.

mod archive;
mod list;
mod load;
mod names;

pub use list::{ImageInfo, list, remove};
pub use load::{Loaded, load};

/// The client of containerd, in the namespace the kubelet uses.
const CTR: &str = "ctr -n k8s.io";
