//! Expressions from text to result, through the public interface.

mod admission;
mod checks;
mod definitions;
mod functions;
mod hostile;
mod rules;
mod support;
mod values;
