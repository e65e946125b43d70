//! minik-agent: not written yet.

fn main() {}
