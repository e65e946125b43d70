//! minik: not written yet.

fn main() {}
