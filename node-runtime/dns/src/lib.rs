//! minik-dns: not written yet.
