//! `--extra-config`: flags of the cluster's components, as `apiserver.audit-log-path=/var/log/audit.log`.

use minik_config::{API_SERVER_FLAGS, Flag};

use crate::error::SpecError;

/// The only component that is configured this way.
pub(crate) const APISERVER: &str = "apiserver";

const SETTING: &str = "extra-config";

/// One flag and what it is given: a value, or the name of a file on this host.
#[derive(Clone, Copy, Debug)]
pub struct ExtraConfig<'a> {
    /// The flag of the API server.
    pub flag: &'static Flag,
    /// What it is given; nothing takes the flag back.
    pub given: &'a str,
}

impl<'a> ExtraConfig<'a> {
    /// Understands `COMPONENT.KEY=VALUE`.
    ///
    /// # Errors
    /// Another form, or a component or key that is not known; the error lists what is.
    pub fn parse(text: &'a str) -> Result<ExtraConfig<'a>, SpecError> {
        let form = "is not written as COMPONENT.KEY=VALUE";
        let (name, given) =
            text.split_once('=').ok_or_else(|| SpecError::setting(SETTING, text, form))?;
        let (component, key) =
            name.split_once('.').ok_or_else(|| SpecError::setting(SETTING, name, form))?;
        if component != APISERVER {
            let why = format!("names no component that is configured this way; {APISERVER} is");
            return Err(SpecError::setting(SETTING, name, why));
        }
        let Some(flag) = API_SERVER_FLAGS.iter().find(|flag| flag.name == key) else {
            let known: Vec<_> = API_SERVER_FLAGS.iter().map(|flag| flag.name).collect();
            let why = format!("cannot be set; of {APISERVER} these can: {}", known.join(", "));
            return Err(SpecError::setting(SETTING, name, why));
        };
        Ok(ExtraConfig { flag, given })
    }

    /// Whether the value, or the text of the file, can be used.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, text: &str) -> Result<(), SpecError> {
        self.flag.check(text).map_err(|why| self.refused(format!("cannot be used: {why}")))
    }

    /// The error that says what is wrong with what was given.
    pub fn refused(&self, why: impl Into<String>) -> SpecError {
        let given = format!("{APISERVER}.{}={}", self.flag.name, self.given);
        SpecError::setting(SETTING, given, why)
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("apiserver.audit-log-path=/a=b", "audit-log-path /a=b"; "the value may hold more")]
    #[test_case("apiserver.audit-log-path=", "audit-log-path "; "taken back")]
    #[test_case("apiserver", "extra-config: `apiserver` is not written as COMPONENT.KEY=VALUE"; "no value")]
    #[test_case("audit-log-path=/a", "extra-config: `audit-log-path` is not written as COMPONENT.KEY=VALUE"; "no component")]
    #[test_case("kubelet.max-pods=5", "extra-config: `kubelet.max-pods` names no component that is configured this way; apiserver is"; "another component")]
    #[test_case("apiserver.v=5", "extra-config: `apiserver.v` cannot be set; of apiserver these can: anonymous-auth, audit-log-format, audit-log-maxage, audit-log-maxbackup, audit-log-maxsize, audit-log-path, audit-policy-file, authentication-config, encryption-provider-config, oidc-ca-file, oidc-client-id, oidc-groups-claim, oidc-groups-prefix, oidc-issuer-url, oidc-required-claim, oidc-signing-algs, oidc-username-claim, oidc-username-prefix, requestheader-allowed-names"; "another key")]
    fn forms(text: &str, expected: &str) {
        let found = match ExtraConfig::parse(text) {
            Ok(extra) => format!("{} {}", extra.flag.name, extra.given),
            Err(err) => err.to_string(),
        };
        assert_eq!(found, expected);
    }
}
