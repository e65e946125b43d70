//! The service runs, and with what is on disk now; if so already, it is left alone.

use super::unit::{GENERATION_FILE, SERVICE, generation};
use crate::error::Result;
use crate::report::Outcome;
use crate::work::NodeWork;

pub(crate) fn run(node: &mut NodeWork<'_, '_>) -> Result<Outcome> {
    let wanted = generation(&node.generation);
    let look = format!(
        "systemctl is-enabled {SERVICE}; systemctl is-active {SERVICE}; cat {GENERATION_FILE}; true"
    );
    let seen = node.run(&look)?.stdout;
    if is_as_wanted(&seen, &wanted) {
        return Ok(Outcome::Unchanged);
    }
    // The restart is only ordered here; the next phase waits for it and tells what went wrong.
    node.run(&format!(
        "systemctl daemon-reload && systemctl enable {SERVICE} && \
         systemctl reset-failed {SERVICE}; systemctl restart --no-block {SERVICE}"
    ))?;
    Ok(Outcome::Changed)
}

/// `activating` is fine too: a service that is on its way is not thrown back.
fn is_as_wanted(seen: &str, generation: &str) -> bool {
    let mut lines = seen.lines().map(str::trim);
    lines.next() == Some("enabled")
        && matches!(lines.next(), Some("active" | "activating"))
        && lines.next() == Some(generation)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("enabled\nactive\nabc\n", true; "runs with it")]
    #[test_case("enabled\nactivating\nabc\n", true; "on its way")]
    #[test_case("enabled\nactive\nold\n", false; "runs with something else")]
    #[test_case("enabled\nfailed\n", false; "failed")]
    #[test_case("disabled\nactive\nabc\n", false; "would not come back after a boot")]
    #[test_case("inactive\n", false; "never seen")]
    fn what_is_seen(seen: &str, fine: bool) {
        assert_eq!(is_as_wanted(seen, "abc"), fine);
    }
}
