//! All figures as text: what was counted, and what is looked up now.

use super::Metrics;
use super::process;
use super::registry::{Kind, Text};
use crate::core::Core;
use crate::objects;

/// The page `/metrics`.
pub(crate) fn render(core: &Core) -> String {
    let mut text = Text::default();
    core.metrics.families().iter().for_each(|family| family.write(&mut text));
    core.fairness.write_metrics(&mut text);
    write_objects(core, &mut text);
    write_remotes(core, &mut text);
    if let Some(audit) = &core.audit {
        audit.render(&mut text);
    }
    text.head("kubernetes_build_info", "[ALPHA] What this program is.", Kind::Gauge);
    let labels = [
        ("major", "1"),
        ("minor", "36"),
        ("git_version", minik_api::kinds::VERSION),
        ("git_commit", ""),
        ("git_tree_state", "clean"),
        ("build_date", "1970-01-01T00:00:00Z"),
        ("go_version", ""),
        ("compiler", "rustc"),
        ("platform", std::env::consts::OS),
    ];
    text.sample("kubernetes_build_info", &labels, 1);
    process::write(&mut text);
    text.into_string()
}

/// The page `/metrics/slis`.
pub(crate) fn render_health(metrics: &Metrics) -> String {
    let mut text = Text::default();
    metrics.health.healthy.write(&mut text);
    metrics.health.checks.write(&mut text);
    text.into_string()
}

/// How many objects there are of each resource, under the old name and the new one.
fn write_objects(core: &Core, text: &mut Text) {
    let counts = core.store.count_groups(|key| {
        let mut parts = key.strip_prefix(objects::ROOT)?.splitn(3, '/');
        Some(&key[..objects::ROOT.len() + parts.next()?.len() + 1 + parts.next()?.len()])
    });
    let named: Vec<(&str, &str, usize)> = counts
        .iter()
        .filter_map(|(prefix, count)| {
            let (group, plural) = prefix.strip_prefix(objects::ROOT)?.split_once('/')?;
            Some((if group == "core" { "" } else { group }, plural, *count))
        })
        .collect();
    const OLD: &str = "apiserver_storage_objects";
    text.head(OLD, "[STABLE] Stored objects by resource.", Kind::Gauge);
    for (group, plural, count) in &named {
        let dot = if group.is_empty() { "" } else { "." };
        text.sample(OLD, &[("resource", &format!("{plural}{dot}{group}"))], count);
    }
    const NEW: &str = "apiserver_resource_objects";
    text.head(NEW, "[ALPHA] Stored objects by group and resource.", Kind::Gauge);
    for (group, plural, count) in &named {
        text.sample(NEW, &[("group", group), ("resource", plural)], count);
    }
}

/// Which other API servers cannot be reached.
fn write_remotes(core: &Core, text: &mut Text) {
    const NAME: &str = "aggregator_unavailable_apiservice";
    text.head(NAME, "[ALPHA] Whether an APIService is unavailable.", Kind::Gauge);
    for (service, available) in core.aggregation.availability() {
        text.sample(NAME, &[("name", &service)], u8::from(!available));
    }
}
