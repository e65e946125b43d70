//! From a schema to compiled rules, and what is wrong with them.

use std::collections::BTreeMap;
use std::sync::Arc;

use minik_meta::field::FieldErrorKind;
use minik_meta::{FieldError, Path, object};
use serde_json::Value;

use super::field_path;
use super::{ESTIMATE_MAX, Node, Rule, Rules, TOTAL_ESTIMATE_MAX};
use crate::decl::{Decl, DeclKind, ListKind, escape};
use crate::environment::Environment;
use crate::program::Program;
use crate::syntax::CompileError;
use crate::types::Type;

const KEY: &str = "x-kubernetes-validations";
/// Most of the expensive rules that are named when all together are too expensive.
const EXPENSIVE_SHOWN: usize = 4;

impl Rules {
    /// The rules of `openAPIV3Schema`, which stands at `at` in the definition.
    ///
    /// # Errors
    /// Rules that do not compile, that could cost too much, or that can never be applied.
    pub fn compile(schema: &Value, at: &Path) -> Result<Rules, Vec<FieldError>> {
        let mut compiler = Compiler::default();
        let decl = Decl::structural(schema, true);
        let place = Place { at: at.clone(), times: Some(1), uncorrelated: None };
        let root = compiler.node(schema, schema, decl, &place);
        compiler.check_total(at);
        match compiler.errors.is_empty() {
            true => Ok(Rules { root }),
            false => Err(compiler.errors),
        }
    }

    /// The rules of a definition that is stored. A rule that does not compile fails wherever it is
    /// evaluated.
    pub fn of(schema: &Value) -> Rules {
        let mut compiler = Compiler::default();
        let decl = Decl::structural(schema, true);
        let place = Place { at: Path::root(), times: Some(1), uncorrelated: None };
        Rules { root: compiler.node(schema, schema, decl, &place) }
    }
}

/// Where in a schema.
#[derive(Clone)]
struct Place {
    at: Path,
    /// How often such a value can occur in an object; none if nothing says so.
    times: Option<u64>,
    /// The place above whose items cannot be told from each other.
    uncorrelated: Option<Path>,
}

impl Place {
    fn below(&self, at: Path, times: Option<u64>) -> Place {
        let times = self.times.zip(times).map(|(outer, inner)| outer.saturating_mul(inner));
        Place { at, times, uncorrelated: self.uncorrelated.clone() }
    }
}

#[derive(Default)]
struct Compiler {
    errors: Vec<FieldError>,
    total: u64,
    /// Costs of all expressions with their places.
    costs: Vec<(u64, Path)>,
}

fn limit(schema: &Value, key: &str) -> Option<u64> {
    schema.get(key).and_then(Value::as_i64).map(|most| most.max(0) as u64)
}

fn embedded(schema: &Value) -> bool {
    object::boolean(schema, &["x-kubernetes-embedded-resource"])
}

impl Compiler {
    /// The node of `rules` (a schema, or part of an `allOf`) over values of `structure`.
    fn node(
        &mut self,
        rules: &Value,
        structure: &Value,
        decl: Option<Arc<Decl>>,
        place: &Place,
    ) -> Option<Node> {
        let node = Node {
            type_name: object::text(structure, &["type"]).into(),
            rules: self.rules(rules, structure, decl.as_ref(), place),
            properties: self.properties(rules, structure, decl.as_ref(), place),
            others: self.others(rules, structure, decl.as_ref(), place),
            items: self.items(rules, structure, decl.as_ref(), place),
            all_of: self.all_of(rules, structure, decl.as_ref(), place),
            list: match decl.as_ref().map(|decl| &decl.kind) {
                Some(DeclKind::List(_, kind)) => kind.clone(),
                _ => ListKind::Atomic,
            },
            decl,
        };
        (!node.is_empty()).then_some(node)
    }

    fn properties(
        &mut self,
        rules: &Value,
        structure: &Value,
        decl: Option<&Arc<Decl>>,
        place: &Place,
    ) -> BTreeMap<Box<str>, Node> {
        let mut nodes = BTreeMap::new();
        let properties = rules.get("properties").and_then(Value::as_object);
        for (name, rules) in properties.into_iter().flatten() {
            let Some(structure) = structure.get("properties").and_then(|all| all.get(name)) else {
                continue;
            };
            let declared = decl.and_then(|decl| match &decl.kind {
                DeclKind::Object(object) => {
                    object.field(&escape(name)?).map(|field| Arc::clone(&field.decl))
                }
                _ => None,
            });
            // What has no name in expressions can have rules of its own.
            let declared = declared.or_else(|| Decl::structural(structure, embedded(structure)));
            let below = place.below(place.at.child("properties").key(name), Some(1));
            if let Some(node) = self.node(rules, structure, declared, &below) {
                nodes.insert(name.as_str().into(), node);
            }
        }
        nodes
    }

    fn others(
        &mut self,
        rules: &Value,
        structure: &Value,
        decl: Option<&Arc<Decl>>,
        place: &Place,
    ) -> Option<Box<Node>> {
        let rules = rules.get("additionalProperties").filter(|one| one.is_object())?;
        let inner = structure.get("additionalProperties").filter(|one| one.is_object())?;
        let declared = decl.and_then(|decl| match &decl.kind {
            DeclKind::Map(values) => Some(Arc::clone(values)),
            _ => None,
        });
        let times = limit(structure, "maxProperties");
        let below = place.below(place.at.child("additionalProperties"), times);
        self.node(rules, inner, declared, &below).map(Box::new)
    }

    fn items(
        &mut self,
        rules: &Value,
        structure: &Value,
        decl: Option<&Arc<Decl>>,
        place: &Place,
    ) -> Option<Box<Node>> {
        let rules = rules.get("items").filter(|one| one.is_object())?;
        let inner = structure.get("items").filter(|one| one.is_object())?;
        let declared = decl.and_then(|decl| match &decl.kind {
            DeclKind::List(items, _) => Some(Arc::clone(items)),
            _ => None,
        });
        let mut below = place.below(place.at.child("items"), limit(structure, "maxItems"));
        let keyed = object::text(structure, &["x-kubernetes-list-type"]) == "map";
        if !keyed && below.uncorrelated.is_none() {
            below.uncorrelated = Some(place.at.clone());
        }
        self.node(rules, inner, declared, &below).map(Box::new)
    }

    fn all_of(
        &mut self,
        rules: &Value,
        structure: &Value,
        decl: Option<&Arc<Decl>>,
        place: &Place,
    ) -> Vec<Node> {
        let all = rules.get("allOf").and_then(Value::as_array);
        let mut nodes = Vec::new();
        for (index, one) in all.into_iter().flatten().enumerate() {
            let at = place.at.child("allOf").index(index);
            nodes.extend(self.node(one, structure, decl.cloned(), &place.below(at, Some(1))));
        }
        nodes
    }

    fn rules(
        &mut self,
        rules: &Value,
        structure: &Value,
        decl: Option<&Arc<Decl>>,
        place: &Place,
    ) -> Vec<Rule> {
        let list = rules.get(KEY).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        if list.is_empty() {
            return Vec::new();
        }
        let at = place.at.child(KEY);
        let Some(decl) = decl else {
            let why = "internal error: failed to construct type information for \
                       x-kubernetes-validations rules: failed to convert to declType for CEL \
                       validation rules";
            self.errors.push(FieldError::new(FieldErrorKind::Internal, &at, "", why));
            return Vec::new();
        };
        let mut compiled = Vec::new();
        for (index, rule) in list.iter().enumerate() {
            if object::text(rule, &["rule"]).trim().is_empty() {
                continue;
            }
            let place = Place { at: at.index(index), ..place.clone() };
            compiled.push(self.rule(rule, structure, decl, &place));
        }
        compiled
    }

    fn rule(&mut self, rule: &Value, structure: &Value, decl: &Arc<Decl>, place: &Place) -> Rule {
        let text = |key: &str| object::text(rule, &[key]);
        let optional_old = object::boolean(rule, &["optionalOldSelf"]);
        let environment = Environment::new().with("self", Arc::clone(decl));
        let environment = match optional_old {
            true => environment.with_optional("oldSelf", Arc::clone(decl)),
            false => environment.with("oldSelf", Arc::clone(decl)),
        };
        let program = compiled(&environment, text("rule"), &Type::Bool)
            .map_err(|why| why.replace("RESULT", "cel expression must evaluate to a bool"));
        match &program {
            Ok(program) => {
                let times = place.times.unwrap_or_else(|| decl.occurrences_max());
                let cost = program.cost_max().saturating_mul(times);
                self.charge(cost, place.at.child("rule"), "estimated rule cost");
                self.check_old(program, rule, place);
            }
            Err(why) => {
                let at = place.at.child("rule");
                self.errors.push(FieldError::invalid(&at, rule.clone(), why.clone()));
            }
        }
        Rule {
            text: text("rule").into(),
            message: text("message").into(),
            reason: text("reason").into(),
            field_path: self.field_path(text("fieldPath"), structure, place),
            uses_old: program.as_ref().is_ok_and(|program| program.uses("oldSelf")),
            optional_old,
            program,
            message_program: self.message(rule, &environment, place),
        }
    }

    /// Rules about changes belong where a value can be found again.
    fn check_old(&mut self, program: &Program, rule: &Value, place: &Place) {
        if program.uses("oldSelf") {
            if let Some(path) = &place.uncorrelated {
                let why = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {path}"
                );
                let text = object::text(rule, &["rule"]);
                self.errors.push(FieldError::invalid(&place.at.child("rule"), text, why));
            }
        } else if let Some(set) = rule.get("optionalOldSelf").filter(|one| !one.is_null()) {
            let why = "may not be set if oldSelf is not used in rule";
            let at = place.at.child("optionalOldSelf");
            self.errors.push(FieldError::invalid(&at, set.clone(), why));
        }
    }

    fn field_path(&mut self, path: &str, structure: &Value, place: &Place) -> Box<str> {
        if path.is_empty() {
            return Box::default();
        }
        match field_path::resolve(path, structure) {
            Some(printed) => printed.into(),
            None => {
                let at = place.at.child("fieldPath");
                self.errors.push(FieldError::invalid(&at, path, "fieldPath must be a valid path"));
                Box::default()
            }
        }
    }

    fn message(
        &mut self,
        rule: &Value,
        environment: &Environment,
        place: &Place,
    ) -> Option<(Program, Box<str>)> {
        let text = object::text(rule, &["messageExpression"]);
        let at = place.at.child("messageExpression");
        if text.is_empty() {
            return None;
        }
        if text.trim().is_empty() {
            let why = "messageExpression must be non-empty if specified";
            self.errors.push(FieldError::required(&at, why));
            return None;
        }
        match compiled(environment, text, &Type::String) {
            Ok(program) => {
                self.charge(program.cost_max(), at, "estimated messageExpression cost");
                Some((program, text.into()))
            }
            Err(why) => {
                let why = match why.as_str() {
                    "RESULT" => "messageExpression must evaluate to a string".to_owned(),
                    why => format!("messageExpression {why}"),
                };
                self.errors.push(FieldError::invalid(&at, rule.clone(), why));
                None
            }
        }
    }

    fn charge(&mut self, cost: u64, at: Path, what: &str) {
        if cost > ESTIMATE_MAX {
            let why = too_expensive(what, cost, ESTIMATE_MAX);
            self.errors.push(FieldError::forbidden(&at, why));
        }
        self.total = self.total.saturating_add(cost);
        self.costs.push((cost, at));
    }

    fn check_total(&mut self, at: &Path) {
        if self.total <= TOTAL_ESTIMATE_MAX {
            return;
        }
        self.costs.sort_by(|(left, _), (right, _)| right.cmp(left));
        for (_, place) in self.costs.iter().take(EXPENSIVE_SHOWN) {
            let why = "contributed to estimated rule & messageExpression cost total exceeding cost \
                       limit for entire OpenAPIv3 schema";
            self.errors.push(FieldError::forbidden(place, why));
        }
        let what = "estimated rule & messageExpression cost total for entire OpenAPIv3 schema";
        let why = too_expensive(what, self.total, TOTAL_ESTIMATE_MAX);
        self.errors.push(FieldError::forbidden(at, why));
    }
}

/// The program; otherwise why it is none, or `RESULT` if only its type is wrong.
fn compiled(environment: &Environment, text: &str, wanted: &Type) -> Result<Program, String> {
    let program = Program::compile(environment, text).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(CompileError::to_string).collect();
        format!("compilation failed: {}", errors.join("\n"))
    })?;
    if program.ty() == wanted { Ok(program) } else { Err("RESULT".to_owned()) }
}

fn too_expensive(what: &str, cost: u64, most: u64) -> String {
    let times = cost as f64 / most as f64;
    let factor = match times {
        times if times > 100.0 => "more than 100x".to_owned(),
        // So that it does not say 1.0 times.
        times if times < 1.5 => format!("{times:.6}x"),
        times => format!("{times:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, \
         maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
