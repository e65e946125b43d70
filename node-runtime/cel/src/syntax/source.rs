//! The text of an expression and places in it.

use std::fmt;

/// Why an expression cannot be used, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// Counted from 1.
    pub line: usize,
    /// Characters before the place in its line.
    pub column: usize,
    /// What is wrong there.
    pub message: String,
    /// The line itself.
    pub text: String,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, message, text } = self;
        write!(f, "ERROR: <input>:{line}:{}: {message}", column + 1)?;
        write!(f, "\n | {text}\n | {}^", ".".repeat(*column))
    }
}

impl std::error::Error for CompileError {}

/// The text of an expression.
#[derive(Clone, Copy)]
pub(crate) struct Source<'s>(pub(crate) &'s str);

impl Source<'_> {
    /// An error at a byte offset.
    pub(crate) fn error(self, at: u32, message: impl Into<String>) -> CompileError {
        let mut at = (at as usize).min(self.0.len());
        while !self.0.is_char_boundary(at) {
            at -= 1;
        }
        let before = &self.0[..at];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        CompileError {
            line: before.matches('\n').count() + 1,
            column: before[start..].chars().count(),
            message: message.into(),
            text: self.0[start..].lines().next().unwrap_or_default().to_owned(),
        }
    }
}
