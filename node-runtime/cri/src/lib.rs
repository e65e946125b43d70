//! minik-cri: not written yet.
