//! minik-virtualbox: not written yet.
