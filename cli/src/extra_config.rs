//! `--extra-config`: reads the files it names, and checks what they say before anything is changed.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use minik_config::Takes;
use minik_spec::ExtraConfig;

use crate::advice;
use crate::report::Report;

/// Largest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Flags with their values, or with the texts of the files they name, in the order given.
pub(crate) fn read(given: &[String]) -> Result<Vec<(&'static str, String)>, Report> {
    let one = |text: &String| {
        let extra = ExtraConfig::parse(text)?;
        let value = match extra.flag.takes {
            _ if extra.given.is_empty() => return Ok((extra.flag.name, String::new())),
            Takes::Value => extra.given.to_owned(),
            Takes::File => text_of(Path::new(extra.given)).map_err(|why| extra.refused(why))?,
        };
        extra.check(&value)?;
        Ok((extra.flag.name, value))
    };
    given.iter().map(one).collect::<Result<_, _>>().map_err(|err| advice::spec(&err))
}

fn text_of(path: &Path) -> Result<String, String> {
    let unreadable = |err: std::io::Error| format!("cannot be read: {err}");
    let mut text = String::new();
    let file = File::open(path).map_err(unreadable)?;
    let length = file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(unreadable)?;
    if length as u64 > FILE_BYTES_MAX {
        return Err(format!("is larger than {FILE_BYTES_MAX} bytes"));
    }
    if text.trim().is_empty() {
        return Err("is an empty file".to_owned());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";

    fn refused(name: &str, text: Option<&str>, expected: Expect) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let given = format!("apiserver.{name}={}", path.display());
        let message = read(&[given]).unwrap_err().message;
        expected.assert_eq(&message.replace(&path.display().to_string(), "FILE"));
    }

    #[test]
    fn files_come_with_their_texts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.yaml");
        std::fs::write(&path, POLICY).unwrap();
        let given = [
            format!("apiserver.audit-policy-file={}", path.display()),
            "apiserver.audit-log-path=-".to_owned(),
            "apiserver.encryption-provider-config=".to_owned(),
        ];
        let expected = [
            ("audit-policy-file", POLICY.to_owned()),
            ("audit-log-path", "-".to_owned()),
            ("encryption-provider-config", String::new()),
        ];
        assert_eq!(read(&given).unwrap(), expected);
    }

    #[test]
    fn files_that_cannot_be_used() {
        refused(
            "audit-policy-file",
            None,
            expect![
                "extra-config: `apiserver.audit-policy-file=FILE` cannot be read: No such file or directory (os error 2)"
            ],
        );
        refused(
            "audit-policy-file",
            Some(" "),
            expect!["extra-config: `apiserver.audit-policy-file=FILE` is an empty file"],
        );
        refused(
            "audit-policy-file",
            Some("rules: ["),
            expect![
                "extra-config: `apiserver.audit-policy-file=FILE` cannot be used: unclosed bracket '[' at line 1, column 8"
            ],
        );
        refused(
            "audit-policy-file",
            Some("kind: Pod\napiVersion: v1"),
            expect![[
                r#"extra-config: `apiserver.audit-policy-file=FILE` cannot be used: has apiVersion "v1" and kind "Pod"; "audit.k8s.io/v1" and "Policy" are wanted"#
            ]],
        );
        refused(
            "encryption-provider-config",
            Some(
                "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources: []",
            ),
            expect![
                "extra-config: `apiserver.encryption-provider-config=FILE` cannot be used: resources: Required value: at least one resources is required"
            ],
        );
        let large = " ".repeat(FILE_BYTES_MAX as usize + 1);
        refused(
            "audit-policy-file",
            Some(&large),
            expect![
                "extra-config: `apiserver.audit-policy-file=FILE` is larger than 1048576 bytes"
            ],
        );
    }
}
