//! The service runs, and with what is on disk now; if so already, it is left alone.

use super::unit::{GENERATION_FILE, SERVICE, generation};
use crate::error::Result;
use crate::report::Outcome;
use crate::work::NodeWork;

/// What has to be done about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// It runs, or is on its way, with what is on disk.
    Nothing,
    /// It is known and does not run: a boot comes to it by itself, only not faster than we ask.
    Start,
    /// It is not known as it is on disk, or runs with something else.
    Restart,
}

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let wanted = generation(&node.generation);
    let look = format!(
        "systemctl show {SERVICE} -p ActiveState -p UnitFileState -p NeedDaemonReload; \
         echo Generation=$(cat {GENERATION_FILE})"
    );
    let seen = node.run(&look)?.stdout;
    // The order is only given here; the next phase waits for it and tells what went wrong.
    let order = match need(&seen, &wanted) {
        Need::Nothing => return Ok(Outcome::Unchanged),
        Need::Start => format!("systemctl start --no-block {SERVICE}"),
        Need::Restart => format!(
            "systemctl daemon-reload && systemctl enable {SERVICE} && \
             systemctl reset-failed {SERVICE}; systemctl restart --no-block {SERVICE}"
        ),
    };
    node.run(&order)?;
    Ok(Outcome::Changed)
}

fn need(seen: &str, generation: &str) -> Need {
    let value = |key: &str| {
        let mut fields = seen.lines().filter_map(|line| line.trim().split_once('='));
        fields.find(|(name, _)| *name == key).map(|(_, value)| value)
    };
    if value("UnitFileState") != Some("enabled") || value("NeedDaemonReload") != Some("no") {
        return Need::Restart;
    }
    match value("ActiveState") {
        Some("active" | "activating" | "reloading") if value("Generation") == Some(generation) => {
            Need::Nothing
        }
        Some("inactive") => Need::Start,
        _ => Need::Restart,
    }
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("active enabled no abc", Need::Nothing; "runs with it")]
    #[test_case("activating enabled no abc", Need::Nothing; "on its way with it")]
    #[test_case("inactive enabled no ", Need::Start; "boots")]
    #[test_case("activating enabled no old", Need::Restart; "on its way with something else")]
    #[test_case("active enabled no old", Need::Restart; "runs with something else")]
    #[test_case("active enabled yes abc", Need::Restart; "written but not loaded")]
    #[test_case("failed enabled no abc", Need::Restart; "failed")]
    #[test_case("active disabled no abc", Need::Restart; "would not come back after a boot")]
    #[test_case("inactive  no ", Need::Restart; "never seen")]
    fn what_is_seen(seen: &str, expected: Need) {
        let keys = ["ActiveState", "UnitFileState", "NeedDaemonReload", "Generation"];
        let lines: Vec<String> =
            keys.iter().zip(seen.split(' ')).map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(need(&lines.join("\n"), "abc"), expected);
    }
}
