//! Fuzz targets: functions that are handed any bytes and panic if what must hold for them does not.
//!
//! libFuzzer calls them in the programs of `fuzz_targets/` (`make fuzz`), the test beside them with the
//! inputs that are kept in `corpus/`. Inputs are text with parts, so that people can read and
//! write them: parts are separated by lines of three hyphens.

mod targets;

pub use targets::apply::apply;
pub use targets::cel::cel;
pub use targets::decode::decode;
pub use targets::definition::definition;
pub use targets::patch::patch;
pub use targets::path::path;
pub use targets::protobuf::protobuf;
pub use targets::quantity::quantity;
pub use targets::selector::selector;
pub use targets::spdy::spdy;
pub use targets::store::store;

/// What is called with bytes.
pub type Target = fn(&[u8]);

/// All targets by name.
pub const TARGETS: &[(&str, Target)] = &[
    ("apply", apply),
    ("cel", cel),
    ("decode", decode),
    ("definition", definition),
    ("patch", patch),
    ("path", path),
    ("protobuf", protobuf),
    ("quantity", quantity),
    ("selector", selector),
    ("spdy", spdy),
    ("store", store),
];
