//! `--profile`: name of the cluster, of its first machine, and of its kubeconfig context.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::error::SpecError;

/// The longest name: with `-m99` behind it, it must still be a DNS label.
const LENGTH_MAX: usize = 59;

/// A name that can be a host name, a Node name and a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(String);

impl ProfileName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for ProfileName {
    fn default() -> ProfileName {
        ProfileName("minik".to_owned())
    }
}

impl FromStr for ProfileName {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<ProfileName, SpecError> {
        let refuse = |reason: &str| Err(SpecError::setting("profile", text, reason));
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() {
            return refuse("is empty");
        }
        if text.len() > LENGTH_MAX {
            return refuse("is longer than 59 characters");
        }
        if !text.chars().all(inner) {
            return refuse("may have only the characters a-z, 0-9 and -");
        }
        if !text.starts_with(|c: char| c.is_ascii_lowercase()) || text.ends_with('-') {
            return refuse("must begin with a letter and end with a letter or digit");
        }
        if is_node_name(text) {
            return refuse("ends like the name of a further node");
        }
        Ok(ProfileName(text.to_owned()))
    }
}

/// `dev-m02` would be both a profile and the second node of `dev`.
fn is_node_name(text: &str) -> bool {
    let Some((_, number)) = text.rsplit_once("-m") else { return false };
    number.len() >= 2 && number.chars().all(|c| c.is_ascii_digit())
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ProfileName {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ProfileName {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<ProfileName, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("minik", true)]
    #[test_case("lab-2-anna", true)]
    #[test_case("", false; "empty")]
    #[test_case("Dev", false; "capital")]
    #[test_case("../x", false; "path")]
    #[test_case("dev-", false; "ends in a dash")]
    #[test_case("1dev", false; "begins with a digit")]
    #[test_case("dev-m02", false; "a node of dev")]
    #[test_case("dev-mars", true; "only looks like one")]
    fn names(text: &str, fine: bool) {
        assert_eq!(text.parse::<ProfileName>().is_ok(), fine);
    }
}
