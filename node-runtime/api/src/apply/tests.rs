//! Runs the cases in `tests/cases`: what managers do to an object, and who owns what then.
//!
//! A file holds its cases and what comes of them; `UPDATE_EXPECT=1` writes the latter anew, to be
//! read before it is committed. Lines of a case:
//!
//! ```text
//! # name of the case
//! apps/v1 Deployment [with defaults]           the kind
//! WHO applies|forces|patches|replaces [SUBRESOURCE] [as VERSION]: YAML   `patches` is a merge patch
//! | YAML                                       more of it
//!   conflict "other": .spec.replicas           (result) it failed
//!   nothing changes                            (result) it was no write
//! = {…}                                        (result) the object in the end
//! - WHO Apply @2: .spec.replicas               (result) owner, the step it wrote in, its fields
//! ```

mod custom;
mod laws;

use std::fmt::Write as _;

use expect_test::expect_file;
use minik_meta::{Status, object};
use serde_json::{Value, json};
use test_case::test_case;

use super::managers::Managed;
use super::set::path_text;
use super::*;
use crate::decode::{ContentType, FieldValidation, conform, decode_any};
use crate::kinds::kinds;
use crate::{patch, scale};

#[test_case("scalars")]
#[test_case("maps")]
#[test_case("keyed_lists")]
#[test_case("ports")]
#[test_case("sets")]
#[test_case("atomics")]
#[test_case("order")]
#[test_case("conflicts")]
#[test_case("removal")]
#[test_case("metadata")]
#[test_case("updates")]
#[test_case("subresources")]
#[test_case("client_side")]
#[test_case("versions")]
#[test_case("custom")]
#[test_case("mistakes")]
#[test_case("managed_fields")]
fn cases(name: &str) {
    let path = format!("{}/src/apply/tests/cases/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect("the file of cases");
    let mut rendered = String::new();
    for case in text.split("\n\n").filter(|case| !case.trim().is_empty()) {
        run(case, &mut rendered);
    }
    expect_file![path].assert_eq(&format!("{}\n", rendered.trim_end()));
}

#[test]
fn there_are_enough_cases() {
    let folder = format!("{}/src/apply/tests/cases", env!("CARGO_MANIFEST_DIR"));
    let files = std::fs::read_dir(folder).expect("the folder of cases");
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let count: usize =
        texts.map(|text| text.lines().filter(|line| line.starts_with("# ")).count()).sum();
    assert!(count >= 150, "{count} cases");
}

/// Runs one case and writes it with its results.
fn run(case: &str, out: &mut String) {
    let is_result = |line: &&str| line.starts_with(' ') || line.starts_with(['=', '-']);
    let lines: Vec<&str> = case.lines().filter(|line| !is_result(line)).collect();
    let mut world = None;
    let mut at = 0;
    while at < lines.len() {
        let end = (at + 1..lines.len()).find(|next| !lines[*next].starts_with('|'));
        let end = end.unwrap_or(lines.len());
        lines[at..end].iter().for_each(|line| writeln!(out, "{line}").unwrap());
        match (&mut world, lines[at]) {
            (_, line) if line.starts_with('#') || line.is_empty() => {}
            (None, line) => world = Some(World::new(line)),
            (Some(world), _) => {
                let result = world.step(&lines[at..end]);
                result.lines().for_each(|line| writeln!(out, "  {line}").unwrap());
            }
        }
        at = end;
    }
    out.push_str(&world.expect("a case names its kind").describe());
    out.push('\n');
}

/// One object and what has been done to it.
struct World {
    kind: &'static Resource,
    defaults: bool,
    live: Option<Value>,
    steps: usize,
}

fn find(api_version: &str, kind: &str) -> &'static Resource {
    let version = GroupVersion::parse(api_version).expect("a version");
    let (group, version) = (&version.group, &version.version);
    let found = kinds().by_kind(group, version, kind).map(|found| &**found);
    let found = found.or_else(|| custom::find(api_version, kind));
    found.unwrap_or_else(|| panic!("no {kind} in {api_version}"))
}

impl World {
    fn new(line: &str) -> World {
        let words: Vec<&str> = line.split(' ').collect();
        let [version, kind, rest @ ..] = words.as_slice() else { panic!("{line}") };
        let defaults = *rest == ["with", "defaults"];
        World { kind: find(version, kind), defaults, live: None, steps: 0 }
    }

    /// Does what a step says; returns what went wrong, if something did.
    fn step(&mut self, lines: &[&str]) -> String {
        self.steps += 1;
        let (head, inline) = lines[0].split_once(':').unwrap_or_else(|| panic!("{}", lines[0]));
        let more = lines[1..].iter().map(|line| line[1..].trim_end());
        let yaml: String =
            [inline].into_iter().chain(more).map(|line| format!("{line}\n")).collect();
        let (body, _) = decode_any(yaml.as_bytes(), ContentType::Yaml).expect("YAML");
        let words: Vec<&str> = head.split(' ').collect();
        let (who, verb, subresource, version) = match words.as_slice() {
            [who, verb] => (who, verb, "", None),
            [who, verb, "as", version] => (who, verb, "", Some(version)),
            [who, verb, subresource] => (who, verb, *subresource, None),
            _ => panic!("{head}"),
        };
        if let Some(version) = version {
            self.become_version(version);
        }
        let before = self.live.clone();
        let result = match subresource {
            "scale" => self.scale(who, verb, &body),
            _ => self.write(who, verb, subresource, body),
        };
        match result {
            Err(status) => failure(&status),
            Ok(()) if self.live == before => "nothing changes".to_owned(),
            Ok(()) => String::new(),
        }
    }

    fn become_version(&mut self, version: &str) {
        let other = find(version, &self.kind.kind);
        if let Some(live) = &mut self.live {
            crate::convert(live, self.kind, other).expect("versions of one kind");
        }
        self.kind = other;
    }

    fn write(
        &mut self,
        who: &str,
        verb: &str,
        subresource: &str,
        body: Value,
    ) -> Result<(), Status> {
        let now = format!("2026-01-01T00:00:{:02}Z", self.steps);
        let write = Write {
            resource: self.kind,
            subresource,
            manager: who,
            now: &now,
            versions: &BuiltInVersions,
        };
        let live = self.live.as_ref();
        let mut new = match verb {
            "applies" | "forces" => {
                let mut config = self.complete(body);
                object::metadata_mut(&mut config).shift_remove("uid");
                apply(&write, live, &config, verb == "forces")?
            }
            "patches" => {
                let mut new = live.cloned().unwrap_or_else(|| self.complete(json!({})));
                patch::merge::apply(&mut new, &body);
                new
            }
            "replaces" | "stores" => self.complete(body),
            _ => panic!("{verb}"),
        };
        if custom::find(&self.kind.api_version(), &self.kind.kind).is_none() {
            conform(self.kind, &mut new, FieldValidation::Ignore)?;
        }
        if self.defaults {
            crate::default(self.kind, &mut new);
        }
        if matches!(verb, "patches" | "replaces") {
            track(&write, live, &mut new);
        }
        match live {
            Some(live) => settle(live, &mut new),
            None => {
                object::metadata_mut(&mut new).insert("uid".into(), "u".into()).map_or((), drop)
            }
        }
        self.live = Some(new);
        Ok(())
    }

    fn scale(&mut self, who: &str, verb: &str, body: &Value) -> Result<(), Status> {
        let now = format!("2026-01-01T00:00:{:02}Z", self.steps);
        let kind = kinds().body("autoscaling", "v1", "Scale").expect("a kind");
        let write = Write {
            resource: kind,
            subresource: "scale",
            manager: who,
            now: &now,
            versions: &BuiltInVersions,
        };
        let live = self.live.as_mut().expect("something to scale");
        let mut old = scale::read(self.kind, live)?;
        super::scale::lend(self.kind, live, &mut old);
        let mut new = old.clone();
        match verb {
            "applies" | "forces" => {
                let mut config = json!({"apiVersion": "autoscaling/v1", "kind": "Scale"});
                patch::merge::apply(&mut config, body);
                new = apply(&write, Some(&old), &config, verb == "forces")?;
            }
            _ => {
                patch::merge::apply(&mut new, body);
                track(&write, Some(&old), &mut new);
            }
        }
        let mut changed = live.clone();
        scale::write(self.kind, &mut changed, &new)?;
        super::scale::take_back(self.kind, &mut changed, &new);
        settle(live, &mut changed);
        *live = changed;
        Ok(())
    }

    /// The body with what every object has.
    fn complete(&self, mut body: Value) -> Value {
        let map = object::fields(&mut body);
        map.entry("apiVersion").or_insert_with(|| self.kind.api_version().into());
        map.entry("kind").or_insert_with(|| self.kind.kind.as_ref().into());
        if let Some(name) = object::fields(map.entry("metadata").or_insert(json!({})))
            .entry("name")
            .or_insert_with(|| "x".into())
            .as_str()
        {
            assert_eq!(name, "x");
        }
        object::metadata_mut(&mut body).insert("uid".into(), "u".into());
        body
    }

    /// The object without what all have, and its owners.
    fn describe(&self) -> String {
        let Some(mut live) = self.live.clone() else { return "= nothing\n".to_owned() };
        let managed = match Managed::read(entries(&live)) {
            Ok(managed) => managed,
            Err(why) => return format!("= unreadable: {why}\n"),
        };
        let mut ordered = json!({});
        managed.write(&mut ordered);
        let metadata = object::metadata_mut(&mut live);
        for key in ["name", "uid", "managedFields"] {
            metadata.shift_remove(key);
        }
        if metadata.is_empty() {
            object::remove(&mut live, &["metadata"]);
        }
        object::remove(&mut live, &["apiVersion"]);
        object::remove(&mut live, &["kind"]);
        let mut out = format!("= {live}\n");
        for entry in entries(&ordered) {
            let text = |key: &str| object::text(entry, &[key]);
            let own = self.kind.api_version();
            let version = text("apiVersion");
            let version = if version == own { String::new() } else { format!(" in {version}") };
            let via = match text("subresource") {
                "" => String::new(),
                subresource => format!(" via {subresource}"),
            };
            let step = text("time").trim_end_matches('Z').rsplit(':').next().unwrap_or_default();
            let step = step.trim_start_matches('0');
            let step = if step.is_empty() { String::new() } else { format!(" @{step}") };
            let set = fields::read(&entry["fieldsV1"]).unwrap();
            let mut paths = Vec::new();
            set.each(&mut |path| paths.push(path_text(path)));
            let (who, how) = (text("manager"), text("operation"));
            writeln!(out, "- {who} {how}{version}{via}{step}: {}", paths.join(" ")).unwrap();
        }
        out
    }
}

fn failure(status: &Status) -> String {
    let causes = status.details.as_ref().map_or(&[][..], |details| &details.causes);
    match causes {
        [] => format!("{}: {}", status.code, status.message),
        causes => causes
            .iter()
            .map(|cause| format!("{} at {}", cause.message, cause.field))
            .collect::<Vec<_>>()
            .join("\n"),
    }
}
