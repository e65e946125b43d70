//! minik-node: not written yet.

fn main() {}
