//! Literal arguments that can be checked before anything is evaluated.

use regex_automata::meta::Regex;

use super::Checker;
use crate::library::{pattern, time};
use crate::syntax::ast::Call;

impl Checker<'_> {
    /// Checks literal times and patterns; the pattern if there is one.
    pub(super) fn literal_argument(&mut self, name: &str, call: &Call) -> Option<Regex> {
        let last = call.args.get(usize::from(name == "matches" && call.target.is_none()));
        let (argument, text) = last.and_then(|arg| Some((arg, arg.literal_text()?)))?;
        match name {
            "duration" if time::parse_duration(text).is_none() => {
                self.error(argument.at, "invalid duration argument");
                None
            }
            "timestamp" if time::parse_timestamp(text).is_none() => {
                self.error(argument.at, "invalid timestamp argument");
                None
            }
            "matches" | "find" | "findAll" => match pattern::compile(text) {
                Ok(regex) => Some(regex),
                Err(_) => {
                    self.error(argument.at, format!("invalid {name} argument"));
                    None
                }
            },
            _ => None,
        }
    }
}
