//! Who a write is by, as `metadata.managedFields` names it.

use http::HeaderMap;
use http::header::USER_AGENT;
use minik_api::apply::{MANAGER_BYTES_MAX, Versions, Write};
use minik_api::{Resource, SchemaRef};
use minik_meta::{FieldError, GroupKind, GroupVersion, Path, Status, object, time};
use serde_json::Value;

use crate::call::Call;
use crate::route::{Query, Verb};
use crate::user::{NODE_PREFIX, SERVICE_ACCOUNT_PREFIX, User};

/// What happens to the owners of an object's fields in a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owners {
    /// The writer becomes the owner of what changes.
    Track,
    /// They are in the object already: an apply has made them, or the write is nobody's.
    AsGiven,
}

/// The manager of a request: the one it names, else the program that sent it; empty if unknown.
pub(crate) fn manager(verb: Verb, query: &Query, headers: &HeaderMap) -> Result<String, Status> {
    let named = query.get("fieldManager").unwrap_or_default();
    let errors = mistakes(named);
    if !errors.is_empty() {
        return Err(invalid_options(verb, &errors));
    }
    if !named.is_empty() {
        return Ok(named.to_owned());
    }
    let agent = headers.get(USER_AGENT).and_then(|agent| agent.to_str().ok());
    Ok(from_agent(agent.unwrap_or_default()))
}

/// 422 for options of a write.
pub(crate) fn invalid_options(verb: Verb, errors: &[FieldError]) -> Status {
    let kind = match verb {
        Verb::Create => "CreateOptions",
        Verb::Patch => "PatchOptions",
        _ => "UpdateOptions",
    };
    Status::invalid(&GroupKind::new("meta.k8s.io", kind), "", errors)
}

fn mistakes(manager: &str) -> Vec<FieldError> {
    let path = Path::new("fieldManager");
    let mut errors = Vec::new();
    if manager.len() > MANAGER_BYTES_MAX {
        errors.push(FieldError::too_long(&path, MANAGER_BYTES_MAX));
    }
    for (at, character) in manager.char_indices().filter(|(_, one)| !is_printable(*one)) {
        let code = u32::from(character);
        let why = format!("invalid character U+{code:04X} (at position {at})");
        errors.push(FieldError::invalid(&path, manager, why));
    }
    errors
}

fn is_printable(character: char) -> bool {
    let invisible = matches!(character, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{e000}'..='\u{f8ff}');
    character == ' ' || !(character.is_control() || character.is_whitespace() || invisible)
}

/// What comes before the version in a user agent, as far as it can be a name.
fn from_agent(agent: &str) -> String {
    let mut name = String::new();
    let program = agent.split('/').next().unwrap_or_default();
    for character in program.chars().filter(|one| is_printable(*one)) {
        if name.len() + character.len_utf8() > MANAGER_BYTES_MAX {
            break;
        }
        name.push(character);
    }
    name
}

/// The user agent of a part of this process, which sends none: the program it is elsewhere.
pub(crate) fn agent_of(user: &User) -> &str {
    let name = user.name.as_str();
    if name.starts_with(NODE_PREFIX) {
        return "kubelet";
    }
    match name.strip_prefix(SERVICE_ACCOUNT_PREFIX) {
        Some(account)
            if account.starts_with("kube-system:") && account.ends_with("-controller") =>
        {
            "kube-controller-manager"
        }
        Some(account) => account.rsplit(':').next().unwrap_or_default(),
        None => name.strip_prefix("system:").unwrap_or(name),
    }
}

/// The writer of a call, now.
pub(crate) struct Writer<'c> {
    call: &'c Call,
    now: String,
}

impl<'c> Writer<'c> {
    pub(crate) fn new(call: &'c Call) -> Writer<'c> {
        Writer { call, now: time::now_rfc3339() }
    }

    /// The write of an object of `resource`: the kind of the call or of its subresource.
    pub(crate) fn write<'w>(&'w self, resource: &'w Resource) -> Write<'w> {
        Write {
            resource,
            subresource: &self.call.target.subresource,
            manager: &self.call.manager,
            now: &self.now,
            versions: self,
        }
    }
}

/// The versions that the kind of the call is served in.
impl Versions for Writer<'_> {
    fn convert(&self, object: &Value, version: &str) -> Option<Result<(Value, SchemaRef), Status>> {
        let find = |version: &str| {
            let version = GroupVersion::parse(version)?;
            let plural = &self.call.kind.plural;
            self.call.core.kinds.find(&version.group, &version.version, plural)
        };
        let (from, to) = (find(object::text(object, &["apiVersion"]))?, find(version)?);
        if from.storage != to.storage {
            return None;
        }
        let mut converted = object.clone();
        let result = minik_api::convert(&mut converted, &from, &to);
        Some(result.map(|()| (converted, to.schema.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};
    use http::HeaderValue;
    use test_case::test_case;

    fn check(query: &str, agent: &str, expected: Expect) {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_str(agent).expect("header"));
        let found = manager(Verb::Create, &Query::parse(query), &headers);
        expected.assert_eq(
            &found.unwrap_or_else(|status| format!("{} {}", status.code, status.message)),
        );
    }

    #[test]
    fn managers() {
        check("fieldManager=me", "kubectl/v1", expect!["me"]);
        check("", "kubectl/v1.36 (linux/amd64)", expect!["kubectl"]);
        check("", "my program", expect!["my program"]);
        check("", "", expect![""]);
        check(
            "fieldManager=a%0Ab",
            "x",
            expect![[
                r#"422 CreateOptions.meta.k8s.io "" is invalid: fieldManager: Invalid value: "a\nb": invalid character U+000A (at position 1)"#
            ]],
        );
        let long = "x".repeat(129);
        check(
            &format!("fieldManager={long}"),
            "x",
            expect![[
                r#"422 CreateOptions.meta.k8s.io "" is invalid: fieldManager: Too long: may not be more than 128 bytes"#
            ]],
        );
        assert_eq!(from_agent(&long).len(), 128);
    }

    #[test_case("system:kube-scheduler", "kube-scheduler")]
    #[test_case("system:node:minik", "kubelet")]
    #[test_case("system:serviceaccount:kube-system:job-controller", "kube-controller-manager")]
    #[test_case("system:serviceaccount:default:robot", "robot")]
    #[test_case("alice", "alice")]
    fn agents_of_the_process(user: &str, expected: &str) {
        assert_eq!(agent_of(&User::new(user, [""])), expected);
    }
}
