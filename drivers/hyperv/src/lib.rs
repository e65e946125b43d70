//! minik-hyperv: not written yet.
