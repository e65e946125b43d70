//! minik-image: not written yet.
