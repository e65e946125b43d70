//! Policies and bindings as they are written, and the expressions of policies compiled.

use std::sync::OnceLock;

use minik_api::admission::Constraints;
use minik_cel::{Bindings, Environment, Program, Type};
use minik_meta::{GroupVersion, GroupVersionKind, LabelSelector, object};
use serde_json::Value;

use crate::admission::expressions::{
    Conditions, Expression, Wanted, environment, message_environment,
};

/// A policy of either kind.
pub(crate) struct Policy {
    pub(super) name: String,
    pub(super) ignores_failures: bool,
    /// The kind of its parameters, if it has any.
    pub(super) param_kind: Option<GroupVersionKind>,
    pub(super) constraints: Constraints,
    /// Whether it is evaluated again when others change the object after it.
    pub(super) reinvoked: bool,
    spec: Value,
    compiled: OnceLock<Compiled>,
}

/// The expressions of a policy.
pub(super) struct Compiled {
    pub(super) conditions: Conditions,
    pub(super) variables: Vec<(String, Expression)>,
    pub(super) validations: Vec<Validation>,
    /// Keys and values for the audit log.
    pub(super) annotations: Vec<(String, Expression)>,
    pub(super) mutations: Vec<Mutation>,
}

/// One thing that must be true.
pub(super) struct Validation {
    pub(super) expression: Expression,
    pub(super) message: String,
    pub(super) message_expression: Option<Expression>,
    /// Empty for the usual one.
    pub(super) reason: String,
}

/// One change.
pub(super) enum Mutation {
    Apply(Expression),
    JsonPatch(Expression),
}

impl Policy {
    pub(super) fn parse(object: &Value) -> Policy {
        let spec = &object["spec"];
        let param_kind = object::at(spec, &["paramKind"]).map(|kind| {
            let version = GroupVersion::parse(object::text(kind, &["apiVersion"]));
            let version = version.unwrap_or_else(|| GroupVersion::new("", ""));
            version.with_kind(object::text(kind, &["kind"]))
        });
        Policy {
            name: object::name(object).to_owned(),
            ignores_failures: object::text(spec, &["failurePolicy"]) == "Ignore",
            param_kind,
            constraints: Constraints::of_policy(&spec["matchConstraints"]),
            reinvoked: object::text(spec, &["reinvocationPolicy"]) == "IfNeeded",
            spec: spec.clone(),
            compiled: OnceLock::new(),
        }
    }

    /// Its expressions; compiled when they are first asked for.
    pub(super) fn compiled(&self) -> &Compiled {
        self.compiled.get_or_init(|| Compiled::of(&self.spec))
    }
}

impl Compiled {
    pub(super) fn of(spec: &Value) -> Compiled {
        let has_params = object::at(spec, &["paramKind"]).is_some();
        let (mut full, mut plain) = (environment(has_params), message_environment(has_params));
        let text = |one: &Value, key: &str| object::text(one, &[key]).to_owned();
        let conditions = object::list(spec, &["matchConditions"]).iter();
        // Conditions are looked at before variables.
        let conditions =
            Conditions::compile(&full, conditions.map(|one| object::text(one, &["expression"])));
        let mut variables = Vec::new();
        for one in object::list(spec, &["variables"]) {
            let name = text(one, "name");
            let expression = Expression::compile(&full, &text(one, "expression"), Wanted::Any);
            let ty = expression.program.as_ref().map_or(Type::Dyn, |program| program.ty().clone());
            full = full.with_composed(&name, ty.clone());
            plain = plain.with_composed(&name, ty);
            variables.push((name, expression));
        }
        let validations = object::list(spec, &["validations"]).iter();
        let validations = validations.map(|one| Validation::compile(one, &full, &plain)).collect();
        let annotations = object::list(spec, &["auditAnnotations"]).iter().map(|one| {
            let value = text(one, "valueExpression");
            (text(one, "key"), Expression::compile(&full, &value, Wanted::TextOrNull))
        });
        let annotations = annotations.collect();
        let full = full.with_mutations();
        let mutations = object::list(spec, &["mutations"]).iter();
        let mutations = mutations.map(|one| Mutation::compile(one, &full)).collect();
        Compiled { conditions, variables, validations, annotations, mutations }
    }

    /// The bindings with the policy's variables, which are evaluated when they are first asked for.
    pub(super) fn compose<'a>(&'a self, mut bindings: Bindings<'a>) -> Bindings<'a> {
        for (name, expression) in &self.variables {
            if let Ok(program) = &expression.program {
                bindings = bindings.with_composed(name, program);
            }
        }
        bindings
    }
}

impl Validation {
    fn compile(validation: &Value, full: &Environment, plain: &Environment) -> Validation {
        let text = |key: &str| object::text(validation, &[key]);
        let message_expression = Some(text("messageExpression")).filter(|text| !text.is_empty());
        Validation {
            expression: Expression::compile(full, text("expression"), Wanted::Bool),
            message: text("message").trim().to_owned(),
            message_expression: message_expression
                .map(|text| Expression::compile(plain, text, Wanted::Text)),
            reason: text("reason").to_owned(),
        }
    }
}

impl Mutation {
    fn compile(mutation: &Value, environment: &Environment) -> Mutation {
        let text = |key: &str| object::text(mutation, &[key, "expression"]);
        match object::text(mutation, &["patchType"]) {
            "JSONPatch" => Mutation::JsonPatch(Expression::compile(
                environment,
                text("jsonPatch"),
                Wanted::Operations,
            )),
            _ => Mutation::Apply(Expression::compile(
                environment,
                text("applyConfiguration"),
                Wanted::Configuration,
            )),
        }
    }

    pub(super) fn expression(&self) -> &Expression {
        match self {
            Mutation::Apply(expression) | Mutation::JsonPatch(expression) => expression,
        }
    }
}

/// What becomes of a request that a policy does not like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Deny,
    Warn,
    Audit,
}

/// A binding of a policy.
pub(crate) struct Binding {
    pub(super) name: String,
    pub(super) policy: String,
    pub(super) constraints: Constraints,
    pub(super) params: Option<ParamRef>,
    pub(super) actions: Vec<Action>,
}

/// Which parameters a binding gives to its policy.
pub(super) struct ParamRef {
    pub(super) name: String,
    /// Empty for that of the request.
    pub(super) namespace: String,
    pub(super) selector: Option<Result<LabelSelector, String>>,
    /// Whether a request is denied if there are none.
    pub(super) must_exist: bool,
}

impl Binding {
    pub(super) fn parse(object: &Value) -> Binding {
        let spec = &object["spec"];
        let params = object::at(spec, &["paramRef"]).map(|given| {
            let text = |key: &str| object::text(given, &[key]).to_owned();
            ParamRef {
                name: text("name"),
                namespace: text("namespace"),
                selector: object::at(given, &["selector"]).map(|selector| {
                    LabelSelector::from_object(Some(selector)).map_err(|error| error.to_string())
                }),
                must_exist: text("parameterNotFoundAction") == "Deny",
            }
        });
        let actions = object::list(spec, &["validationActions"]).iter();
        Binding {
            name: object::name(object).to_owned(),
            policy: object::text(spec, &["policyName"]).to_owned(),
            constraints: Constraints::of_policy(&spec["matchResources"]),
            params,
            actions: actions
                .filter_map(|one| match one.as_str()? {
                    "Deny" => Some(Action::Deny),
                    "Warn" => Some(Action::Warn),
                    "Audit" => Some(Action::Audit),
                    _ => None,
                })
                .collect(),
        }
    }
}

/// All expressions of a policy with their places, as far as they cannot be used.
pub(super) fn mistakes(spec: &Value) -> Vec<(String, String, String)> {
    let compiled = Compiled::of(spec);
    let mut found = Vec::new();
    let mut look = |at: String, expression: &Expression| {
        if let Err(why) = &expression.program
            && !expression.text.trim().is_empty()
        {
            found.push((at, expression.text.clone(), why.clone()));
        }
    };
    for (index, one) in compiled.conditions.0.iter().enumerate() {
        look(format!("spec.matchConditions[{index}].expression"), one);
    }
    for (index, (_, one)) in compiled.variables.iter().enumerate() {
        look(format!("spec.variables[{index}].expression"), one);
    }
    for (index, one) in compiled.validations.iter().enumerate() {
        look(format!("spec.validations[{index}].expression"), &one.expression);
        if let Some(message) = &one.message_expression {
            look(format!("spec.validations[{index}].messageExpression"), message);
        }
    }
    for (index, (_, one)) in compiled.annotations.iter().enumerate() {
        look(format!("spec.auditAnnotations[{index}].valueExpression"), one);
    }
    for (index, one) in compiled.mutations.iter().enumerate() {
        let field = match one {
            Mutation::Apply(_) => "applyConfiguration",
            Mutation::JsonPatch(_) => "jsonPatch",
        };
        look(format!("spec.mutations[{index}].{field}.expression"), one.expression());
    }
    found
}

/// Programs are shared between requests.
const _: fn() = || {
    fn shared<T: Send + Sync>() {}
    shared::<Program>();
};
