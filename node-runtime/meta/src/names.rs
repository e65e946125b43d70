//! What names, label keys and values may look like, and why one was refused, in upstream's words.
//!
//! Every check returns the list of things wrong; empty means good.

use rand::Rng;

/// Longest DNS label, label value and name part of a label key.
pub const LABEL_MAX: usize = 63;
/// Longest DNS subdomain: the limit of most object names.
pub const SUBDOMAIN_MAX: usize = 253;

const SUFFIX_LEN: usize = 5;
const GENERATED_BASE_MAX: usize = LABEL_MAX - SUFFIX_LEN;
/// No vowels and no look-alikes, so that no words come out.
const SUFFIX_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

const DNS_LABEL: &str = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";
const LABEL_KEY: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";

/// `metadata.generateName` with a random suffix: `web-` becomes `web-x7k2p`.
pub fn generate_name(base: &str) -> String {
    let mut rng = rand::rng();
    let suffix = (0..SUFFIX_LEN)
        .map(|_| SUFFIX_ALPHABET[rng.random_range(0..SUFFIX_ALPHABET.len())] as char);
    let mut end = base.len().min(GENERATED_BASE_MAX);
    while !base.is_char_boundary(end) {
        end -= 1;
    }
    base[..end].chars().chain(suffix).collect()
}

/// A fresh random version-4 UUID, for `metadata.uid`.
pub fn new_uid() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let mut text = String::with_capacity(36);
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

/// A lower-case DNS label (RFC 1123): namespaces, containers, volumes.
pub fn dns1123_label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, LABEL_MAX);
    if !is_dns_label(text) {
        wrong.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            regex(
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters \
                 or '-', and must start and end with an alphanumeric character",
                DNS_LABEL,
                &["my-name", "123-abc"],
            )
        });
    }
    wrong
}

/// A lower-case DNS subdomain (RFC 1123): most object names.
pub fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, SUBDOMAIN_MAX);
    if !is_subdomain(text) {
        wrong.push(regex(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character",
            &format!(r"{DNS_LABEL}(\.{DNS_LABEL})*"),
            &["example.com"],
        ));
    }
    wrong
}

/// A DNS label that starts with a letter (RFC 1035): services.
pub fn dns1035_label(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, LABEL_MAX);
    if !(is_dns_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())) {
        wrong.push(regex(
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start \
             with an alphabetic character, and end with an alphanumeric character",
            "[a-z]([-a-z0-9]*[a-z0-9])?",
            &["my-name", "abc-123"],
        ));
    }
    wrong
}

/// `*.` and a subdomain: hosts of ingresses.
pub fn wildcard_dns1123_subdomain(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, SUBDOMAIN_MAX);
    if !text.strip_prefix("*.").is_some_and(is_subdomain) {
        wrong.push(regex(
            "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS \
             subdomain, which must consist of lower case alphanumeric characters, '-' or '.' and \
             end with an alphanumeric character",
            &format!(r"\*\.{DNS_LABEL}(\.{DNS_LABEL})*"),
            &["*.example.com"],
        ));
    }
    wrong
}

/// A name that may be one segment of a URL path: RBAC objects.
pub fn path_segment(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ['/', '%']
        .into_iter()
        .filter(|c| text.contains(*c))
        .map(|c| format!("may not contain '{c}'"))
        .collect()
}

/// A label key, also called qualified name: optional DNS prefix, slash, name.
pub fn qualified_name(text: &str) -> Vec<String> {
    const WHAT: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
                        and end with an alphanumeric character";
    const EXAMPLES: &[&str] = &["MyName", "my.name", "123-abc"];
    let mut wrong = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match parts.as_slice() {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                wrong.push("prefix part must be non-empty".to_owned());
            } else {
                wrong.extend(
                    dns1123_subdomain(prefix).into_iter().map(|one| format!("prefix part {one}")),
                );
            }
            name
        }
        _ => {
            return vec![format!(
                "a valid label key {} with an optional DNS subdomain prefix and '/' (e.g. \
                 'example.com/MyName')",
                regex(WHAT, LABEL_KEY, EXAMPLES)
            )];
        }
    };
    if name.is_empty() {
        wrong.push("name part must be non-empty".to_owned());
    } else if name.len() > LABEL_MAX {
        wrong.push(format!("name part must be no more than {LABEL_MAX} characters"));
    }
    if !is_label_text(name) {
        wrong.push(format!("name part {}", regex(WHAT, LABEL_KEY, EXAMPLES)));
    }
    wrong
}

/// A label value.
pub fn label_value(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, LABEL_MAX);
    if !(text.is_empty() || is_label_text(text)) {
        wrong.push(regex(
            "a valid label must be an empty string or consist of alphanumeric characters, '-', \
             '_' or '.', and must start and end with an alphanumeric character",
            &format!("({LABEL_KEY})?"),
            &["MyValue", "my_value", "12345"],
        ));
    }
    wrong
}

/// A key of a ConfigMap or Secret.
pub fn config_map_key(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, SUBDOMAIN_MAX);
    let good = !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
    if !good {
        wrong.push(regex(
            "a valid config key must consist of alphanumeric characters, '-', '_' or '.'",
            "[-._a-zA-Z0-9]+",
            &["key.name", "KEY_NAME", "key-name"],
        ));
    }
    match text {
        "." | ".." => wrong.push(format!("must not be '{text}'")),
        _ if text.starts_with("..") => wrong.push("must not start with '..'".to_owned()),
        _ => {}
    }
    wrong
}

/// A name of an environment variable: anything printable without `=`.
pub fn env_var_name(text: &str) -> Vec<String> {
    if text.is_empty() {
        return vec!["environment variable name must be non-empty".to_owned()];
    }
    match text.bytes().all(|byte| (0x20..0x7f).contains(&byte) && byte != b'=') {
        true => Vec::new(),
        false => vec![
            "a valid environment variable name must consist only of printable ASCII characters \
             other than '='"
                .to_owned(),
        ],
    }
}

/// A name of a port (IANA service name).
pub fn port_name(text: &str) -> Vec<String> {
    let mut wrong = too_long(text, 15);
    let charset = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || !text.bytes().all(charset) {
        wrong.push(
            "must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)".to_owned(),
        );
    }
    if !text.bytes().any(|byte| byte.is_ascii_lowercase()) {
        wrong.push("must contain at least one letter (a-z)".to_owned());
    }
    if text.contains("--") {
        wrong.push("must not contain consecutive hyphens".to_owned());
    }
    if text.starts_with('-') || text.ends_with('-') {
        wrong.push("must not begin or end with a hyphen".to_owned());
    }
    wrong
}

/// A port number, 1 to 65535.
pub fn port_number(port: i64) -> Vec<String> {
    in_range(port, 1, 65_535)
}

/// A number in a closed range.
pub fn in_range(value: i64, low: i64, high: i64) -> Vec<String> {
    match (low..=high).contains(&value) {
        true => Vec::new(),
        false => vec![format!("must be between {low} and {high}, inclusive")],
    }
}

/// A text and the regular expression it must match, as upstream words it.
pub fn regex(message: &str, expression: &str, examples: &[&str]) -> String {
    if examples.is_empty() {
        return format!("{message} (regex used for validation is '{expression}')");
    }
    let examples: Vec<String> = examples.iter().map(|one| format!("'{one}', ")).collect();
    format!("{message} (e.g. {}regex used for validation is '{expression}')", examples.join(" or "))
}

fn too_long(text: &str, bytes_max: usize) -> Vec<String> {
    match text.len() > bytes_max {
        true => vec![format!("must be no more than {bytes_max} characters")],
        false => Vec::new(),
    }
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_dns_label)
}

fn is_dns_label(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    is_framed(text, edge, |byte| edge(byte) || byte == b'-')
}

fn is_label_text(text: &str) -> bool {
    is_framed(
        text,
        |byte| byte.is_ascii_alphanumeric(),
        |byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte),
    )
}

fn is_framed(text: &str, edge: impl Fn(u8) -> bool, inner: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            edge(*first) && edge(*last) && bytes.iter().all(|byte| inner(*byte))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("a", true)]
    #[test_case("web-1", true)]
    #[test_case("1web", true)]
    #[test_case("", false)]
    #[test_case("Web", false)]
    #[test_case("-a", false)]
    #[test_case("a-", false)]
    #[test_case("a.b", false)]
    #[test_case("a_b", false)]
    fn labels(text: &str, good: bool) {
        assert_eq!(dns1123_label(text).is_empty(), good);
    }

    #[test_case("a.b-c.d", true)]
    #[test_case("a..b", false)]
    #[test_case("a.B", false)]
    fn subdomains(text: &str, good: bool) {
        assert_eq!(dns1123_subdomain(text).is_empty(), good);
    }

    #[test_case("app", true)]
    #[test_case("kubernetes.io/hostname", true)]
    #[test_case("a/b/c", false)]
    #[test_case("/x", false)]
    #[test_case("x/", false)]
    #[test_case("-x", false)]
    fn label_keys(text: &str, good: bool) {
        assert_eq!(qualified_name(text).is_empty(), good);
    }

    #[test]
    fn refusals_read_as_upstream() {
        assert_eq!(
            dns1123_label("Web"),
            [
                "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', \
              and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', \
              regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
            ]
        );
        assert_eq!(dns1123_label("a.b"), ["must not contain dots"]);
        assert_eq!(port_number(0), ["must be between 1 and 65535, inclusive"]);
        assert_eq!(path_segment("a/b%"), ["may not contain '/'", "may not contain '%'"]);
    }

    #[test]
    fn generated_names_are_short_enough_and_valid() {
        let name = generate_name(&"x".repeat(100));
        assert_eq!(name.len(), LABEL_MAX);
        assert!(generate_name("web-").starts_with("web-"));
        assert!(dns1123_label(&generate_name("web-")).is_empty());
        assert_ne!(generate_name("web-"), generate_name("web-"));
    }

    #[test]
    fn uids_are_version_4() {
        let uid = new_uid();
        assert_eq!(uid.len(), 36);
        assert_eq!(uid.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&uid.as_bytes()[19]));
    }
}
