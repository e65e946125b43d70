//! The conditions under which a webhook wants to be asked: expressions over the request.

use minik_api::admission::{Hook, Objects};

use super::question::Question;

/// Whether all conditions of a webhook are true.
///
/// Expressions are not evaluated yet; a webhook that has some is treated as if they had failed.
pub(super) fn hold(
    hook: &Hook,
    _question: &Question<'_>,
    _objects: Objects<'_>,
) -> Result<bool, String> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let names: Vec<&str> = hook.conditions.iter().map(|(name, _)| name.as_str()).collect();
    Err(format!(
        "matchConditions [{}] of webhook {:?}: this server does not evaluate CEL expressions yet",
        names.join(", "),
        hook.name
    ))
}
