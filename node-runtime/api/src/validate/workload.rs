//! Rules of workloads: what makes pods.

use minik_meta::{FieldError, names, object};
use serde_json::Value;

use super::at::{At, Errors};
use super::{labels, path, pod};

const CRON_JOB_NAME_MAX: usize = 52;

pub(super) fn deployment(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    errors.not_negative(&spec.get("replicas"));
    labels::selects(&spec, "deployment", errors);
    pods_that_stay(&spec.get("template"), "ReplicaSet", errors);
    let strategy = spec.get("strategy");
    let rolling = strategy.get("rollingUpdate");
    match strategy.get("type").text() {
        "Recreate" if !rolling.is_absent() => {
            errors.forbidden(&rolling, "may not be specified when strategy `type` is 'Recreate'")
        }
        "RollingUpdate" => surge(&rolling, errors),
        _ => {}
    }
    for key in ["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"] {
        errors.not_negative(&spec.get(key));
    }
    let (deadline, ready) = (spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds"));
    if deadline.integer().is_some_and(|seconds| seconds <= ready.integer().unwrap_or_default()) {
        errors.invalid(&deadline, "must be greater than minReadySeconds");
    }
}

/// Both numbers of a rolling update, at least one of which must be above zero.
fn surge(rolling: &At<'_>, errors: &mut Errors) {
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    number_or_percent(&unavailable, errors);
    number_or_percent(&surge, errors);
    if is_nothing(&unavailable) && is_nothing(&surge) {
        errors.invalid(&unavailable, "may not be 0 when `maxSurge` is 0");
    }
    if percent(unavailable.text()).is_some_and(|value| value > 100) {
        errors.invalid(&unavailable, "must not be greater than 100%");
    }
}

fn is_nothing(at: &At<'_>) -> bool {
    at.integer() == Some(0) || percent(at.text()) == Some(0)
}

fn percent(text: &str) -> Option<u32> {
    text.strip_suffix('%')?.parse().ok()
}

/// A number that is not negative, or a percentage.
pub(super) fn number_or_percent(at: &At<'_>, errors: &mut Errors) {
    match at.value {
        Value::String(text) if percent(text).is_none() => errors.invalid(
            at,
            &names::regex(
                "a valid percent string must be a numeric string followed by an ending '%'",
                "[0-9]+%",
                &["1%", "93%"],
            ),
        ),
        Value::Number(_) => errors.not_negative(at),
        _ => {}
    }
}

/// A template whose pods are replaced when they end.
fn pods_that_stay(template: &At<'_>, kind: &str, errors: &mut Errors) {
    pod::template(template, errors);
    let restart = template.down(&["spec", "restartPolicy"]);
    if !restart.is_empty() && restart.text() != "Always" && !errors.about(&restart.path) {
        errors.push(FieldError::not_supported(&restart.path, restart.text(), &["Always"]));
    }
    let deadline = template.down(&["spec", "activeDeadlineSeconds"]);
    if !deadline.is_absent() {
        errors.forbidden(&deadline, &format!("activeDeadlineSeconds in {kind} is not Supported"));
    }
}

pub(super) fn replica_set(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    errors.not_negative(&spec.get("replicas"));
    errors.not_negative(&spec.get("minReadySeconds"));
    labels::selects(&spec, "deployment", errors);
    pods_that_stay(&spec.get("template"), "ReplicaSet", errors);
}

pub(super) fn replication_controller(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    errors.not_negative(&spec.get("replicas"));
    errors.not_negative(&spec.get("minReadySeconds"));
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_empty() {
        errors.required(&selector, "");
    }
    if template.is_absent() {
        errors.required(&template, "");
        return;
    }
    let have = template.down(&["metadata", "labels"]);
    let selected = selector.entries().all(|(key, value)| have.value.get(key) == Some(value.value));
    if !selected {
        errors.invalid(&have, "`selector` does not match template `labels`");
    }
    pods_that_stay(&template, "ReplicationController", errors);
}

pub(super) fn daemon_set(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    labels::selects(&spec, "daemonset", errors);
    pods_that_stay(&spec.get("template"), "DaemonSet", errors);
    for key in ["minReadySeconds", "revisionHistoryLimit"] {
        errors.not_negative(&spec.get(key));
    }
    let strategy = spec.get("updateStrategy");
    if strategy.get("type").text() == "RollingUpdate" {
        let rolling = strategy.get("rollingUpdate");
        let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
        number_or_percent(&unavailable, errors);
        number_or_percent(&surge, errors);
        if !is_nothing(&unavailable) && !is_nothing(&surge) && !surge.is_absent() {
            errors.invalid(&surge, "may not be set when maxUnavailable is non-zero");
        } else if is_nothing(&unavailable) && is_nothing(&surge) {
            errors.required(&unavailable, "cannot be 0 when maxSurge is 0");
        }
    }
}

pub(super) fn stateful_set(object: &At<'_>, errors: &mut Errors) {
    let spec = object.get("spec");
    for key in ["replicas", "minReadySeconds", "revisionHistoryLimit"] {
        errors.not_negative(&spec.get(key));
    }
    errors.not_negative(&spec.down(&["updateStrategy", "rollingUpdate", "partition"]));
    errors.not_negative(&spec.down(&["ordinals", "start"]));
    labels::selects(&spec, "statefulset", errors);
    pods_that_stay(&spec.get("template"), "StatefulSet", errors);
}

pub(super) fn stateful_set_update(new: &Value, old: &Value, errors: &mut Errors) {
    const CHANGEABLE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let fixed = |value: &Value| {
        let mut spec = value.get("spec").cloned().unwrap_or_default();
        if let Some(map) = spec.as_object_mut() {
            map.retain(|key, _| !CHANGEABLE.contains(&key.as_str()));
        }
        spec
    };
    if fixed(new) != fixed(old) {
        errors.push(FieldError::forbidden(
            &path("spec"),
            "updates to statefulset spec for fields other than 'replicas', 'ordinals', \
             'template', 'updateStrategy', 'revisionHistoryLimit', \
             'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
        ));
    }
}

pub(super) fn job(object: &At<'_>, errors: &mut Errors) {
    job_spec(&object.get("spec"), errors);
    let selector = object.down(&["spec", "selector"]);
    if selector.is_absent() {
        errors.required(&selector, "");
    } else {
        labels::selects(&object.get("spec"), "job", errors);
    }
}

fn job_spec(spec: &At<'_>, errors: &mut Errors) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        errors.not_negative(&spec.get(key));
    }
    if spec.get("completionMode").text() == "Indexed" && spec.get("completions").is_absent() {
        errors.required(&spec.get("completions"), "when completion mode is Indexed");
    }
    let template = spec.get("template");
    pod::template(&template, errors);
    let restart = template.down(&["spec", "restartPolicy"]);
    match restart.text() {
        "OnFailure" | "Never" => {}
        "" | "Always" => {
            errors.required(&restart, "valid values: \"OnFailure\", \"Never\"");
        }
        _ => errors.push(FieldError::not_supported(
            &restart.path,
            restart.text(),
            &["OnFailure", "Never"],
        )),
    }
}

pub(super) fn job_update(new: &Value, old: &Value, errors: &mut Errors) {
    let (new, old) = (At::root(new).get("spec"), At::root(old).get("spec"));
    let indexed = new.get("completionMode").text() == "Indexed";
    if !indexed {
        errors.immutable(&new.get("completions"), &old.get("completions"));
    }
    for key in
        ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"]
    {
        errors.immutable(&new.get(key), &old.get(key));
    }
    // While a job is suspended and has not started, where its pods may run can still change.
    if !old.get("suspend").is_true() {
        errors.immutable(&new.get("template"), &old.get("template"));
    }
}

pub(super) fn cron_job(object: &At<'_>, errors: &mut Errors) {
    let name = object.down(&["metadata", "name"]);
    if object::name(object.value).len() > CRON_JOB_NAME_MAX {
        errors.invalid(&name, &format!("must be no more than {CRON_JOB_NAME_MAX} characters"));
    }
    let spec = object.get("spec");
    let schedule = spec.get("schedule");
    if errors.require(&schedule)
        && let Err(why) = cron(schedule.text())
    {
        errors.invalid(&schedule, &why);
    }
    errors.not_negative(&spec.get("startingDeadlineSeconds"));
    errors.not_negative(&spec.get("successfulJobsHistoryLimit"));
    errors.not_negative(&spec.get("failedJobsHistoryLimit"));
    let job = spec.down(&["jobTemplate", "spec"]);
    if !job.get("selector").is_absent() {
        errors.forbidden(&job.get("selector"), "`selector` will be auto-generated");
    }
    if job.get("manualSelector").is_true() {
        errors.push(FieldError::not_supported(
            &job.path.child("manualSelector"),
            true,
            &["nil", "false"],
        ));
    }
    job_spec(&job, errors);
}

/// Whether a schedule has the form of cron: five fields in their ranges, or a macro.
fn cron(schedule: &str) -> Result<(), String> {
    const MACROS: &[&str] =
        &["@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"];
    const FIELDS: [(&str, u32, u32); 5] = [
        ("minute", 0, 59),
        ("hour", 0, 23),
        ("day of month", 1, 31),
        ("month", 1, 12),
        ("day of week", 0, 6),
    ];
    if schedule.contains("TZ") {
        return Err("cannot use TZ or CRON_TZ in schedule, use timeZone field instead".to_owned());
    }
    if schedule.starts_with('@') {
        let known = MACROS.contains(&schedule) || schedule.starts_with("@every ");
        return if known { Ok(()) } else { Err(format!("unrecognized descriptor: {schedule}")) };
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    for (text, (_, low, high)) in fields.into_iter().zip(FIELDS) {
        text.split(',').try_for_each(|part| cron_part(part, low, high))?;
    }
    Ok(())
}

/// `*`, `?`, `3`, `1-5`, `mon`, each with `/step`.
fn cron_part(part: &str, low: u32, high: u32) -> Result<(), String> {
    const NAMES: &str =
        "jan feb mar apr may jun jul aug sep oct nov dec sun mon tue wed thu fri sat";
    let (range, step) = part.split_once('/').unwrap_or((part, "1"));
    let bad = |text: &str| format!("failed to parse int from {text}: invalid syntax");
    let step: u32 = step.parse().map_err(|_| bad(step))?;
    if step == 0 {
        return Err(format!("step of range should be a positive number: {part}"));
    }
    if matches!(range, "*" | "?") {
        return Ok(());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let mut previous = low;
    for bound in [first, last] {
        let is_name = high <= 12
            && bound.len() == 3
            && NAMES.split(' ').any(|name| name.eq_ignore_ascii_case(bound));
        if is_name {
            continue;
        }
        let value: u32 = bound.parse().map_err(|_| bad(bound))?;
        if value < low {
            return Err(format!("beginning of range ({value}) below minimum ({low}): {part}"));
        }
        if value > high {
            return Err(format!("end of range ({value}) above maximum ({high}): {part}"));
        }
        if value < previous {
            return Err(format!(
                "beginning of range ({previous}) beyond end of range ({value}): {part}"
            ));
        }
        previous = value;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use test_case::test_case;

    #[test_case("* * * * *", Ok(()))]
    #[test_case("*/5 0-12 1,15 jan-mar mon", Ok(()))]
    #[test_case("@hourly", Ok(()))]
    #[test_case("@every 5m", Ok(()))]
    #[test_case("* * * *", Err("expected exactly 5 fields, found 4: [* * * *]"))]
    #[test_case("60 * * * *", Err("end of range (60) above maximum (59): 60"))]
    #[test_case("x * * * *", Err("failed to parse int from x: invalid syntax"))]
    #[test_case("5-1 * * * *", Err("beginning of range (5) beyond end of range (1): 5-1"))]
    #[test_case("*/0 * * * *", Err("step of range should be a positive number: */0"))]
    #[test_case("@often", Err("unrecognized descriptor: @often"))]
    fn schedules(text: &str, expected: Result<(), &str>) {
        assert_eq!(cron(text), expected.map_err(str::to_owned));
    }
}
