//! minik-controllers: not written yet.
