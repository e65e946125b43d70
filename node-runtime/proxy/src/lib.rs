//! minik-proxy: not written yet.
