//! The profile file: a [`ClusterSpec`] with a version, so that later programs can read older files.

use serde_json::{Map, Value};

use crate::cluster::ClusterSpec;
use crate::error::SpecError;

/// The version this program writes, and the newest it reads.
pub const PROFILE_VERSION: u64 = 1;

/// One step from a version to the next; entry `n` goes from `n + 1` to `n + 2`.
type Migration = fn(Map<String, Value>) -> Map<String, Value>;

/// Every step there is.
const MIGRATIONS: &[Migration] = &[];

/// Understands a profile file of this or an older version.
pub fn from_text(text: &str) -> Result<ClusterSpec, SpecError> {
    parse(text, MIGRATIONS)
}

/// The text of a profile file.
pub fn to_text(spec: &ClusterSpec) -> Result<String, SpecError> {
    let malformed = |err: serde_json::Error| SpecError::Malformed { reason: err.to_string() };
    let Value::Object(fields) = serde_json::to_value(spec).map_err(malformed)? else {
        return Err(SpecError::Malformed { reason: "not an object".to_owned() });
    };
    let mut document = Map::new();
    document.insert("version".to_owned(), PROFILE_VERSION.into());
    document.extend(fields);
    let text = serde_json::to_string_pretty(&document).map_err(malformed)?;
    Ok(text + "\n")
}

fn parse(text: &str, migrations: &[Migration]) -> Result<ClusterSpec, SpecError> {
    let malformed = |reason: String| SpecError::Malformed { reason };
    let mut document: Map<String, Value> =
        serde_json::from_str(text).map_err(|err| malformed(err.to_string()))?;
    let version = document
        .get("version")
        .and_then(Value::as_u64)
        .filter(|version| *version > 0)
        .ok_or_else(|| malformed("it has no version".to_owned()))?;
    let supported = migrations.len() as u64 + 1;
    if version > supported {
        return Err(SpecError::TooNew { found: version, supported });
    }
    for step in &migrations[version as usize - 1..] {
        document = step(document);
    }
    document.remove("version");
    let spec: ClusterSpec = serde_json::from_value(Value::Object(document))
        .map_err(|err| malformed(err.to_string()))?;
    if spec.nodes.is_empty() {
        return Err(malformed("it has no nodes".to_owned()));
    }
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use minik_driver::NetworkMode;

    use super::*;
    use crate::request::tests::sample;

    #[test]
    fn the_file_of_this_version() {
        let mut spec = sample("dev", 1);
        crate::plan_networks(&mut spec, NetworkMode::Tap, &[]).unwrap();
        let text = to_text(&spec).unwrap();
        expect![[r#"
            {
              "version": 1,
              "profile": "dev",
              "driver": "qemu",
              "cpus": 2,
              "memoryMib": 4000,
              "diskMib": 20000,
              "network": "tap",
              "image": {},
              "kubernetesVersion": "v1.36.0",
              "containerRuntime": "containerd",
              "apiServer": {
                "port": 8443
              },
              "serviceCidr": "10.96.0.0/12",
              "podCidr": "10.244.0.0/16",
              "dnsDomain": "cluster.local",
              "certExpiration": "26280h0m0s",
              "nodes": [
                {
                  "name": "dev",
                  "index": 0,
                  "role": "control-plane",
                  "network": {
                    "mode": "tap",
                    "cidr": "192.168.60.0/24",
                    "hostAddress": "192.168.60.1",
                    "address": "192.168.60.2",
                    "macNat": "52:75:4f:77:a2:11",
                    "macHostonly": "52:8d:cf:93:95:17"
                  }
                }
              ]
            }
        "#]]
        .assert_eq(&text);
        assert_eq!(from_text(&text).unwrap(), spec);
        assert_eq!(MIGRATIONS.len() as u64 + 1, PROFILE_VERSION);
    }

    #[test]
    fn an_older_file_is_brought_up_to_date() {
        let rename: Migration = |mut document| {
            if let Some(cpus) = document.remove("processors") {
                document.insert("cpus".to_owned(), cpus);
            }
            document
        };
        let text = to_text(&sample("dev", 1)).unwrap().replace("\"cpus\"", "\"processors\"");
        assert!(from_text(&text).is_err());
        assert_eq!(parse(&text, &[rename]).unwrap().cpus, 2);
    }

    #[test]
    fn what_is_no_profile_is_refused() {
        let refusal = |text: &str| from_text(text).unwrap_err().to_string();
        expect!["the profile was written by a newer minik: its version is 9, this program understands up to 1"].assert_eq(&refusal(r#"{"version": 9}"#));
        expect!["the profile file is not understood: it has no version"]
            .assert_eq(&refusal(r#"{"cpus": 9}"#));
        let half = &to_text(&sample("dev", 1)).unwrap()[..40];
        assert!(refusal(half).contains("not understood"));
    }
}
