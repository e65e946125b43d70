//! Upstream's conformance suite: the images its tests ask for, and what its reports say.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::image::Image;

/// An image that tests name: what it is called, what is in it beside busybox, and what it runs.
struct Wanted {
    names: &'static [&'static str],
    /// A program of the suite, and where it is in the image.
    program: Option<(&'static str, &'static str)>,
    /// A page of its web server.
    page: Option<(&'static str, &'static str)>,
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
}

const WEB: &[&str] = &["/bin/httpd", "-f", "-p", "80", "-h", "/www"];

const WANTED: &[Wanted] = &[
    Wanted {
        names: &[
            "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
            "registry.k8s.io/e2e-test-images/agnhost:2.55",
            "registry.k8s.io/pause:3.10.2",
        ],
        program: Some(("agnhost", "agnhost")),
        page: None,
        entrypoint: &["/agnhost"],
        command: &["pause"],
    },
    Wanted {
        names: &["registry.k8s.io/e2e-test-images/busybox:1.37.0-1"],
        program: None,
        page: None,
        entrypoint: &[],
        command: &["sh"],
    },
    Wanted {
        names: &[
            "registry.k8s.io/e2e-test-images/nginx:1.15-4",
            "registry.k8s.io/e2e-test-images/nginx:1.27-0",
        ],
        program: None,
        page: Some(("www/index.html", "hello\n")),
        entrypoint: &[],
        command: WEB,
    },
    Wanted {
        names: &["registry.k8s.io/e2e-test-images/nautilus:1.8"],
        program: None,
        page: Some(("www/data.json", "{\"image\": \"nautilus.jpg\"}\n")),
        entrypoint: &[],
        command: WEB,
    },
    Wanted {
        names: &["registry.k8s.io/etcd:3.6.8-0"],
        program: Some(("etcd", "usr/local/bin/etcd")),
        page: None,
        entrypoint: &["/usr/local/bin/etcd"],
        command: &[],
    },
    Wanted {
        names: &["registry.k8s.io/e2e-test-images/sample-apiserver:1.29.2"],
        program: Some(("sample-apiserver", "sample-apiserver")),
        page: None,
        entrypoint: &["/sample-apiserver"],
        command: &[],
    },
];

/// The images that tests of the API name, with the suite's own programs in them. `suite` is where
/// `.ci/conformance-suite` put these.
///
/// # Errors
///
/// A program is not there.
pub fn images(suite: &Path) -> io::Result<Vec<Image<'static>>> {
    let busybox = Path::new("/bin/busybox");
    let applets = Command::new(busybox).arg("--list").output()?.stdout;
    let applets = String::from_utf8_lossy(&applets).into_owned();
    let image = |wanted: &Wanted| {
        let mut files = vec![
            ("bin/busybox", 0o755, std::fs::read(busybox)?),
            ("etc/passwd", 0o644, b"root:x:0:0:root:/:/bin/sh\n".to_vec()),
            ("tmp/.keep", 0o644, Vec::new()),
        ];
        if let Some((program, path)) = wanted.program {
            files.push((path, 0o755, std::fs::read(suite.join(program))?));
        }
        files.extend(wanted.page.map(|(path, text)| (path, 0o644, text.as_bytes().to_vec())));
        let applets = applets.lines().filter(|applet| *applet != "busybox");
        Ok(Image {
            names: wanted.names.to_vec(),
            files,
            links: applets.map(|applet| (format!("bin/{applet}"), "busybox")).collect(),
            entrypoint: wanted.entrypoint.to_vec(),
            command: wanted.command.to_vec(),
        })
    };
    WANTED.iter().map(image).collect()
}

/// How the specs of a run ended.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Specs that passed.
    pub passed: BTreeSet<String>,
    /// Specs that did not, with what they said.
    pub failed: BTreeMap<String, String>,
}

impl Outcome {
    /// Adds what a report of Ginkgo in JSON says.
    pub fn add(&mut self, report: &Value) {
        let suites = report.as_array().into_iter().flatten();
        let specs = suites.flat_map(|suite| suite["SpecReports"].as_array().into_iter().flatten());
        for spec in specs.filter(|spec| spec["LeafNodeType"] == "It") {
            let mut words: Vec<&str> = spec["ContainerHierarchyTexts"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            words.extend(spec["LeafNodeText"].as_str());
            let name = words.join(" ");
            match spec["State"].as_str() {
                Some("passed") => {
                    self.passed.insert(name);
                }
                Some("skipped" | "pending") | None => {}
                Some(state) => {
                    let said = spec["Failure"]["Message"].as_str().unwrap_or(state);
                    self.failed.insert(name, said.lines().next().unwrap_or_default().to_owned());
                }
            }
        }
    }

    /// Specs of `known`, one a line, that were run and did not pass.
    pub fn lost<'a>(&self, known: &'a str) -> Vec<&'a str> {
        known.lines().filter(|name| self.failed.contains_key(*name)).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_spec_that_used_to_pass_is_missed() {
        let spec = |leaf: &str, state: &str| {
            json!({ "LeafNodeType": "It", "LeafNodeText": leaf, "State": state,
                "ContainerHierarchyTexts": ["[sig-cli]"], "Failure": { "Message": "no\nbecause" } })
        };
        let report = json!([{ "SpecReports": [
            spec("a", "passed"), spec("b", "failed"), spec("c", "skipped"), spec("d", "timedout"),
            { "LeafNodeType": "BeforeSuite", "State": "passed" }] }]);
        let mut outcome = Outcome::default();
        outcome.add(&report);
        assert_eq!(outcome.passed, BTreeSet::from(["[sig-cli] a".to_owned()]));
        assert_eq!(outcome.failed["[sig-cli] b"], "no");
        assert_eq!(outcome.lost("[sig-cli] a\n[sig-cli] b\n[sig-cli] c\n"), ["[sig-cli] b"]);
    }
}
