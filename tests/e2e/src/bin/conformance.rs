//! Runs upstream's conformance suite against a machine: `conformance [FOCUS [SKIP]]`, both regular
//! expressions on the names of its specs. Ends badly if a spec fails that is known to pass.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use minik_e2e::conformance::{Outcome, images};
use minik_e2e::lab::Lab;

/// The areas that are about the API.
const AREAS: &str = r"\[sig-(api-machinery|auth|cli|instrumentation)\].*\[Conformance\]";
/// Specs that run side by side: a machine under emulation answers slowly.
const BESIDE: &str = "3";
/// Specs known to pass, one a line.
const KNOWN: &str = include_str!("../../conformance/passes.txt");

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let focus = arguments.next().unwrap_or_else(|| AREAS.to_owned());
    let skip = arguments.next().unwrap_or_default();
    match run(&focus, &skip) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(err) => {
            say(&format!("conformance: {err}"));
            ExitCode::FAILURE
        }
    }
}

fn run(focus: &str, skip: &str) -> Result<bool, Box<dyn Error>> {
    let suite = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../out/conformance");
    let suite =
        suite.canonicalize().map_err(|_| "run `make conformance`, which builds the suite")?;
    let lab = Lab::new("conformance");
    say("starting a machine");
    lab.minik("start --driver=qemu --cpus 2 --memory 4g --wait=all").ok();
    let file = lab.path("image.tar");
    for image in images(&suite)? {
        image.write(&file)?;
        lab.minik(&format!("image load {}", file.display())).ok();
    }
    let mut outcome = Outcome::default();
    let parts = [
        Part { name: "parallel", beside: BESIDE, labels: "!Serial" },
        Part { name: "serial", beside: "1", labels: "Serial" },
    ];
    for part in parts {
        say(&format!("running specs; {}/{}.log tells of each", suite.display(), part.name));
        let report = part.run(&lab, &suite, focus, skip)?;
        outcome.add(&serde_json::from_slice(&std::fs::read(report)?)?);
    }
    lab.minik("delete").ok();
    for name in &outcome.passed {
        say(&format!("passed  {name}"));
    }
    for (name, why) in &outcome.failed {
        say(&format!("FAILED  {name}: {why}"));
    }
    let lost = outcome.lost(KNOWN);
    say(&format!(
        "{} passed, {} failed, of which {} used to pass",
        outcome.passed.len(),
        outcome.failed.len(),
        lost.len()
    ));
    Ok(lost.is_empty())
}

/// Specs that are run in the same way.
struct Part {
    name: &'static str,
    /// So many side by side.
    beside: &'static str,
    /// Which, by label.
    labels: &'static str,
}

impl Part {
    /// Runs the specs and gives the report in JSON.
    fn run(
        &self,
        lab: &Lab,
        suite: &Path,
        focus: &str,
        skip: &str,
    ) -> Result<PathBuf, Box<dyn Error>> {
        let Part { name, beside, labels } = self;
        let report = suite.join(format!("{name}.json"));
        // Whether all passed is in the report.
        let line = format!(
            "cd {suite} && rm -f {name}.json && ./ginkgo --procs={beside} --no-color --timeout=2h \
             --keep-going --json-report={name}.json --label-filter='{labels}' --focus='{focus}' \
             --skip='{skip}' ./e2e.test -- --kubeconfig=\"$KUBECONFIG\" --provider=skeleton \
             --disable-log-dump >{name}.log 2>&1 || true",
            suite = suite.display()
        );
        lab.shell(&line).ok();
        if !report.exists() {
            let log = suite.join(format!("{name}.log"));
            return Err(format!("the suite did not run: see {}", log.display()).into());
        }
        Ok(report)
    }
}

#[expect(clippy::print_stderr, reason = "a tool of the build with nobody else to tell")]
fn say(words: &str) {
    eprintln!("{words}");
}
