//! Expressions from text to result, through the public interface.

mod checks;
mod functions;
mod hostile;
mod support;
mod values;
