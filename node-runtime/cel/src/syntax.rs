//! From text to tree: lexer, parser and macros.

pub(crate) mod ast;
mod balance;
mod lex;
mod literal;
mod macros;
mod parse;
mod source;

pub(crate) use parse::parse;
pub use source::CompileError;
pub(crate) use source::Source;
