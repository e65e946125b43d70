//! Real machines in a network of their own: what the tests of the whole product are written with.

pub mod conformance;
pub mod image;
pub mod lab;
