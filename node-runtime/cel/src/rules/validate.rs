//! Evaluates rules over an object and what it was before.

use std::collections::HashMap;

use minik_meta::field::FieldErrorKind;
use minik_meta::{FieldError, Path};
use serde_json::Value as Json;

use super::{Node, Outcome, Rule, Rules};
use crate::budget::Budget;
use crate::decl::ListKind;
use crate::error::{EvalError, EvalErrorKind};
use crate::program::Bindings;
use crate::value::Value;

/// Longest message that an expression makes.
const MESSAGE_MAX: usize = 5 * 1024;

impl Rules {
    /// Evaluates all rules over `new`. Rules about changes are evaluated where there was a value
    /// before; rules that do not hold for values that did not change are warnings.
    pub fn validate(&self, new: &Json, old: Option<&Json>, budget: &mut Budget) -> Outcome {
        let mut validation = Validation { budget, outcome: Outcome::default() };
        if let Some(root) = &self.root {
            let before = Before { old, same_as: old.map(|old| (new, old)) };
            // The root is the only one that runs out silently.
            let _ = validation.node(root, &Path::root(), new, &before, true);
        }
        validation.outcome
    }
}

/// What a value was before.
#[derive(Clone, Copy)]
struct Before<'a> {
    /// None if there was none, or if it cannot be told which it was.
    old: Option<&'a Json>,
    /// This value, or the nearest around it that can be found again, and what that was. If they are
    /// equal, nothing changed here.
    same_as: Option<(&'a Json, &'a Json)>,
}

impl<'a> Before<'a> {
    /// Of a part that can be found again.
    fn of(&self, new: &'a Json, old: Option<&'a Json>) -> Before<'a> {
        match old {
            Some(old) => Before { old: Some(old), same_as: Some((new, old)) },
            None => Before { old: None, same_as: self.same_as },
        }
    }

    fn unchanged(&self) -> bool {
        self.same_as.is_some_and(|(new, old)| new == old)
    }
}

struct Validation<'v> {
    budget: &'v mut Budget,
    outcome: Outcome,
}

/// Nothing more may be evaluated.
struct Exhausted;

impl Validation<'_> {
    fn node<'a>(
        &mut self,
        node: &Node,
        at: &Path,
        new: &'a Json,
        before: &Before<'a>,
        root: bool,
    ) -> Result<(), Exhausted> {
        if new.is_null() {
            return Ok(());
        }
        self.rules(node, at, new, before)?;
        for part in &node.all_of {
            // Not forgiven for being old, as upstream does not.
            let before = Before { old: before.old, same_as: None };
            self.node(part, at, new, &before, root)?;
        }
        match new {
            Json::Object(fields) => {
                for (name, value) in fields {
                    let old = before.old.and_then(|old| old.get(name));
                    let mut below = before.of(value, old);
                    if root && matches!(name.as_str(), "apiVersion" | "kind") {
                        below.same_as = None;
                    }
                    if let Some(others) = &node.others {
                        self.node(others, &at.key(name), value, &below, false)?;
                    }
                    if let Some(property) = node.properties.get(name.as_str()) {
                        self.node(property, &at.child(name), value, &below, false)?;
                    }
                }
            }
            Json::Array(list) => {
                let Some(items) = &node.items else { return Ok(()) };
                let known = by_keys(&node.list, before.old);
                for (index, value) in list.iter().enumerate() {
                    let old = known.get(&identity(&node.list, value)).copied();
                    let below = before.of(value, old);
                    self.node(items, &at.index(index), value, &below, false)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn rules<'a>(
        &mut self,
        node: &Node,
        at: &Path,
        new: &'a Json,
        before: &Before<'a>,
    ) -> Result<(), Exhausted> {
        let Some(decl) = node.decl.as_ref().filter(|_| !node.rules.is_empty()) else {
            return Ok(());
        };
        let current = Value::of_json(new, decl);
        let old = before.old.filter(|old| !old.is_null()).map(|old| Value::of_json(old, decl));
        for rule in &node.rules {
            if rule.uses_old && old.is_none() && !rule.optional_old {
                continue;
            }
            let bindings = Bindings::new().with("self", current.clone());
            let bindings = match (rule.optional_old, &old) {
                (true, old) => {
                    bindings.with("oldSelf", Value::Optional(old.clone().map(Into::into)))
                }
                (false, Some(old)) => bindings.with("oldSelf", old.clone()),
                (false, None) => bindings,
            };
            if self.holds(rule, &node.type_name, at, &bindings)? {
                continue;
            }
            let failed = self.failure(rule, node, at, new, &bindings)?;
            if !rule.uses_old && before.unchanged() {
                self.outcome.warnings.push(failed.to_string());
            } else {
                self.outcome.errors.push(failed);
            }
        }
        Ok(())
    }

    /// Whether a rule holds; one that cannot be evaluated is told, and counts as done with.
    fn holds<'a>(
        &mut self,
        rule: &Rule,
        type_name: &str,
        at: &Path,
        bindings: &Bindings<'a>,
    ) -> Result<bool, Exhausted> {
        let mut tell = |why: String| {
            self.outcome.errors.push(FieldError::invalid(at, type_name, why));
        };
        let program = match &rule.program {
            Ok(program) => program,
            Err(why) => {
                tell(format!("rule compile error: {why}"));
                return Ok(true);
            }
        };
        let error = match program.evaluate(bindings, self.budget) {
            Ok(value) => return Ok(value.as_bool() == Some(true)),
            Err(error) => error,
        };
        let shown = rule.shown();
        match error.kind {
            EvalErrorKind::Budget => tell(error.message.clone()),
            EvalErrorKind::CallLimit => tell(format!(
                "'{error}': no further validation rules will be run due to call cost exceeds limit \
                 for rule: {shown}"
            )),
            EvalErrorKind::NoSuchOverload => tell(format!(
                "'{error}': call arguments did not match a supported operator, function or macro \
                 signature for rule: {shown}"
            )),
            EvalErrorKind::Failed => tell(format!("{error} evaluating rule: {shown}")),
        }
        if error.is_final() {
            self.budget.exhaust();
            return Err(Exhausted);
        }
        Ok(true)
    }

    /// What to say of a rule that does not hold.
    fn failure(
        &mut self,
        rule: &Rule,
        node: &Node,
        at: &Path,
        new: &Json,
        bindings: &Bindings<'_>,
    ) -> Result<FieldError, Exhausted> {
        let made = match &rule.message_program {
            Some((program, text)) => {
                let made = program.evaluate(bindings, self.budget);
                if let Err(error) = &made
                    && error.is_final()
                {
                    return self.no_message(error.kind, text, node, at);
                }
                message_of(made)
            }
            None => None,
        };
        let said = match rule.message.trim() {
            "" => format!("failed rule: {}", rule.text.trim()),
            message => message.to_owned(),
        };
        let detail = made.unwrap_or(said);
        let at = match rule.field_path.as_ref() {
            "" => at.clone(),
            below => at.child(below),
        };
        Ok(match (rule.reason.as_ref(), node.type_name.as_ref()) {
            ("FieldValueForbidden", _) => FieldError::forbidden(&at, detail),
            ("FieldValueRequired", _) => FieldError::required(&at, detail),
            ("FieldValueDuplicate", "object" | "array") => {
                FieldError::duplicate(&at, node.type_name.as_ref())
            }
            ("FieldValueDuplicate", _) => FieldError::duplicate(&at, new.clone()),
            (_, "object" | "array") => {
                FieldError::new(FieldErrorKind::InvalidUnshown, &at, "", detail)
            }
            _ => FieldError::invalid(&at, new.clone(), detail),
        })
    }

    /// The message went over a limit: nothing more is evaluated.
    fn no_message(
        &mut self,
        kind: EvalErrorKind,
        text: &str,
        node: &Node,
        at: &Path,
    ) -> Result<FieldError, Exhausted> {
        let why = match kind {
            EvalErrorKind::CallLimit => format!(
                "no further validation rules will be run due to call cost exceeds limit for \
                 messageExpression: {text:?}"
            ),
            _ => {
                "messageExpression evaluation failed due to running out of cost budget, no further \
                  validation rules will be run"
                    .to_owned()
            }
        };
        self.outcome.errors.push(FieldError::invalid(at, node.type_name.as_ref(), why));
        self.budget.exhaust();
        Err(Exhausted)
    }
}

/// A message that may be shown; the rule's own is said instead of any other.
fn message_of(made: Result<Value<'_>, EvalError>) -> Option<String> {
    let made = made.ok()?;
    let message = made.as_str()?.trim();
    let fine = !message.is_empty() && message.len() <= MESSAGE_MAX && !message.contains('\n');
    fine.then(|| message.to_owned())
}

/// Items of the old list by what identifies them.
fn by_keys<'a>(list: &ListKind, old: Option<&'a Json>) -> HashMap<String, &'a Json> {
    let ListKind::Map(_) = list else { return HashMap::new() };
    let items = old.and_then(Json::as_array);
    items.into_iter().flatten().map(|item| (identity(list, item), item)).collect()
}

fn identity(list: &ListKind, item: &Json) -> String {
    let ListKind::Map(keys) = list else { return String::new() };
    let key = |key: &str| item.get(key).map(Json::to_string).unwrap_or_default();
    keys.iter().map(|one| key(one)).collect::<Vec<_>>().join("\u{0}")
}
