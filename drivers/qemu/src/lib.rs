//! minik-qemu: not written yet.
