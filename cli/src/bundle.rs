//! The `minik-node` that is part of this program, if it was built with one; see `build.rs`.

use minik_provisioner::Bundle;

/// Absent in a development build, which finds `minik-node` beside itself.
#[cfg(bundled_node)]
pub(crate) const NODE: Option<Bundle> = Some(Bundle {
    packed: include_bytes!(env!("MINIK_BUNDLE_PACKED")),
    digest: env!("MINIK_BUNDLE_DIGEST"),
});

/// Absent in a development build, which finds `minik-node` beside itself.
#[cfg(not(bundled_node))]
pub(crate) const NODE: Option<Bundle> = None;
