//! minik-kubelet: not written yet.
