//! minik-libvirt: not written yet.
