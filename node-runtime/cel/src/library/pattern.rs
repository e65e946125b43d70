//! Patterns: those of schemas, and what it takes to look for them.

pub(crate) use minik_api::custom::pattern::{SIZE_MAX, compile};
use regex_automata::meta::Regex;

/// Steps that going through a text takes, about: each character may meet every state.
pub(crate) fn work(regex: &Regex, text: &str) -> u64 {
    // A state is some dozens of bytes; most are not met.
    let states = regex.memory_usage() as u64 / 512;
    (text.len() as u64 + 1).saturating_mul(states + 1)
}
