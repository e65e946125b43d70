//! From what went wrong to what the user can do: the one place where errors get ids, exit codes, advice.
//!
//! Libraries below state facts. Each table here is one exhaustive `match`, so that a new fact does not
//! compile until somebody has thought about its advice.

mod driver;
mod image;
mod provision;

pub(crate) use driver::driver;
pub(crate) use image::image;
pub(crate) use provision::{provision, spec};
