//! Functions: the standard ones and those of the Kubernetes libraries.
//!
//! [`handler`] knows a function by its name; which overload it is follows from the values. What it
//! costs before it runs says [`price`].

mod authorizer;
mod convert;
mod format;
mod lists;
pub(crate) mod named;
pub(crate) mod net;
mod operators;
mod optional;
pub(crate) mod pattern;
mod prices;
mod quantity;
pub(crate) mod semver;
mod sets;
mod texts;
pub(crate) mod time;
mod times;
pub(crate) mod url;

use regex_automata::meta::Regex;

use crate::budget::Meter;
use crate::eval::Evaluated;
use crate::value::Value;
pub(crate) use prices::{PER_CHARACTER, PER_PATTERN_CHARACTER, Price, price};

/// What a function is given; what a method is called on comes first.
pub(crate) struct Args<'x, 'a> {
    pub(crate) values: Vec<Value<'a>>,
    /// The pattern, where it is a literal.
    pub(crate) regex: Option<&'x Regex>,
    pub(crate) meter: &'x mut Meter,
}

/// A function.
pub(crate) type Handler = for<'x, 'a> fn(&mut Args<'x, 'a>) -> Evaluated<'a>;

/// Finds a function in one library.
type Find = fn(&str) -> Option<Handler>;

const FUNCTIONS: &[Find] = &[
    operators::find,
    convert::find,
    optional::functions,
    lists::functions,
    sets::find,
    url::functions,
    net::functions,
    quantity::functions,
    named::functions,
    semver::functions,
    texts::functions,
];

const METHODS: &[Find] = &[
    texts::methods,
    lists::methods,
    times::methods,
    optional::methods,
    url::methods,
    net::methods,
    quantity::methods,
    semver::methods,
    named::methods,
    authorizer::methods,
];

/// The function of this name, or the method.
pub(crate) fn handler(name: &str, method: bool) -> Option<Handler> {
    let libraries = if method { METHODS } else { FUNCTIONS };
    libraries.iter().find_map(|find| find(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::signatures::FUNCTIONS;

    #[test]
    fn every_signature_has_a_handler() {
        for (name, overloads) in FUNCTIONS.iter() {
            for overload in overloads {
                assert!(handler(name, overload.method).is_some(), "{name} ({})", overload.id);
            }
        }
    }
}
