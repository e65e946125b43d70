//! Expressions over requests: what webhooks' conditions and policies are given, and how they are
//! evaluated.

use std::sync::Arc;

use minik_api::admission::review::{self, Asked};
use minik_api::admission::{Matched, Objects};
use minik_cel::Value as Outcome;
use minik_cel::{
    Authorizer, Bindings, Budget, Check, CheckTarget, Decision, Decl, Environment, EvalErrorKind,
    Program, ResourceCheck, Type, admission,
};
use minik_meta::object;
use serde_json::{Value, json};

use super::question::Question;
use crate::authz::rbac::Wish;
use crate::call::Call;
use crate::user::User;

/// An expression as it was written, and what became of it.
pub(super) struct Expression {
    pub(super) text: String,
    pub(super) program: Result<Program, String>,
}

/// What kind of result an expression must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Any,
    Bool,
    Text,
    TextOrNull,
    /// `Object{…}`
    Configuration,
    /// A list of `JSONPatch{…}`.
    Operations,
}

/// Why an expression has no result.
pub(super) enum Failure {
    /// Nothing more may be evaluated.
    Budget(String),
    Expression(String),
}

impl Failure {
    pub(super) fn into_message(self) -> String {
        match self {
            Failure::Budget(why) | Failure::Expression(why) => why,
        }
    }
}

impl Expression {
    pub(super) fn compile(environment: &Environment, text: &str, wanted: Wanted) -> Expression {
        let program = Program::compile(environment, text)
            .map_err(|errors| {
                let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
                format!("compilation failed: {}", errors.join("\n"))
            })
            .and_then(|program| wanted.check(program.ty()).map(|()| program));
        Expression { text: text.to_owned(), program }
    }

    pub(super) fn evaluate<'a>(
        &self,
        bindings: &Bindings<'a>,
        budget: &mut Budget,
    ) -> Result<Outcome<'a>, Failure> {
        let program = self.program.as_ref().map_err(|why| {
            let why = why.trim_start_matches("compilation failed: ");
            Failure::Expression(format!("compilation error: {why}"))
        })?;
        program.evaluate(bindings, budget).map_err(|error| match error.kind {
            EvalErrorKind::Budget => Failure::Budget(error.message),
            _ => Failure::Expression(format!(
                "expression '{}' resulted in error: {}",
                self.text, error.message
            )),
        })
    }
}

impl Wanted {
    fn check(self, found: &Type) -> Result<(), String> {
        let name = found.to_string();
        let (fits, wanted) = match self {
            Wanted::Any => return Ok(()),
            Wanted::Bool => (*found == Type::Bool, "bool"),
            Wanted::Text => (*found == Type::String, "string"),
            Wanted::TextOrNull => {
                if matches!(found, Type::String | Type::Null | Type::Dyn) {
                    return Ok(());
                }
                return Err("must evaluate to one of [string null_type]".to_owned());
            }
            Wanted::Configuration => (name == "Object", "Object"),
            Wanted::Operations => (name == "list(JSONPatch)", "list(JSONPatch)"),
        };
        match fits {
            true => Ok(()),
            false => Err(format!("must evaluate to {wanted} but got {name}")),
        }
    }
}

/// What an expression may name: objects of any type, the request, the namespace it is in.
pub(super) fn environment(has_params: bool) -> Environment {
    let environment = objects(has_params.then(Decl::json), &Decl::json());
    environment.with_authorizer()
}

/// The same without rights, for messages.
pub(super) fn message_environment(has_params: bool) -> Environment {
    objects(has_params.then(Decl::json), &Decl::json())
}

/// The same with the objects of known types.
pub(super) fn typed_environment(object: &Arc<Decl>, params: Option<Arc<Decl>>) -> Environment {
    objects(params, object).with_authorizer()
}

fn objects(params: Option<Arc<Decl>>, object: &Arc<Decl>) -> Environment {
    let environment = Environment::new()
        .with("object", Arc::clone(object))
        .with("oldObject", Arc::clone(object))
        .with("request", admission::request())
        .with("namespaceObject", admission::namespace_object());
    match params {
        Some(params) => environment.with("params", params),
        None => environment,
    }
}

/// The values behind those names.
#[derive(Clone, Debug, Default)]
pub(super) struct Facts {
    pub(super) object: Value,
    pub(super) old: Value,
    pub(super) request: Value,
    pub(super) namespace: Value,
    /// None where nothing was said of parameters.
    pub(super) params: Option<Value>,
    /// The resource of the request, for questions about rights.
    resource: ResourceCheck,
}

impl Facts {
    /// The facts of a request, shown in the version that somebody named.
    pub(super) fn of(question: &Question<'_>, matched: &Matched, objects: Objects<'_>) -> Facts {
        let user = question.call.user.info();
        let asked = Asked {
            uid: "",
            version: "v1",
            matched,
            objects: Objects::default(),
            user: &user,
            options: &question.options,
            dry_run: question.dry_run,
        };
        let attributes = &question.attributes;
        Facts {
            object: objects.new.cloned().unwrap_or_default(),
            old: objects.old.cloned().unwrap_or_default(),
            request: review::seen(attributes, &asked),
            namespace: Value::Null,
            params: None,
            resource: ResourceCheck {
                group: attributes.resource.group.clone(),
                resource: attributes.resource.resource.clone(),
                subresource: attributes.subresource.clone(),
                namespace: attributes.namespace.clone(),
                name: attributes.name.clone(),
                ..ResourceCheck::default()
            },
        }
    }

    pub(super) fn bindings<'a>(&'a self, rights: &'a Rights<'_>) -> Bindings<'a> {
        self.plain_bindings().with_authorizer(rights, self.resource.clone())
    }

    /// Without rights.
    pub(super) fn plain_bindings(&self) -> Bindings<'_> {
        let any = Decl::json();
        let bindings = Bindings::new()
            .with("object", Outcome::of_json(&self.object, &any))
            .with("oldObject", Outcome::of_json(&self.old, &any))
            .with("request", Outcome::of_json(&self.request, &admission::request()))
            .with(
                "namespaceObject",
                Outcome::of_json(&self.namespace, &admission::namespace_object()),
            );
        match &self.params {
            Some(params) => bindings.with("params", Outcome::of_json(params, &any)),
            None => bindings,
        }
    }
}

/// What of a namespace expressions may see.
pub(super) fn namespace_facts(namespace: &Value) -> Value {
    let mut metadata = json!({});
    for key in [
        "name",
        "generateName",
        "namespace",
        "labels",
        "annotations",
        "creationTimestamp",
        "deletionGracePeriodSeconds",
        "deletionTimestamp",
        "generation",
        "resourceVersion",
        "finalizers",
    ] {
        if let Some(value) = object::at(namespace, &["metadata", key]) {
            metadata[key] = value.clone();
        }
    }
    metadata["UID"] = object::uid(namespace).into();
    let finalizers = object::list(namespace, &["spec", "finalizers"]).to_vec();
    json!({
        "metadata": metadata,
        "spec": {"finalizers": finalizers},
        "status": {"phase": object::text(namespace, &["status", "phase"])},
    })
}

/// Answers what the sender of a request, or a service account, may do.
pub(super) struct Rights<'c>(pub(super) &'c Call);

impl Authorizer for Rights<'_> {
    fn check(&self, check: &Check) -> Decision {
        let account;
        let user = match &check.service_account {
            None => &self.0.user,
            Some((namespace, name)) => {
                account = User::service_account(namespace, name);
                &account
            }
        };
        let wish = match &check.target {
            CheckTarget::Path(path) => Wish::Page { verb: &check.verb, path },
            CheckTarget::Resource(one) => Wish::Resource {
                verb: &check.verb,
                group: &one.group,
                resource: &one.resource,
                subresource: &one.subresource,
                namespace: &one.namespace,
                name: &one.name,
            },
        };
        match self.0.core.authorizer.decide(user, &wish) {
            Ok(()) => Decision { allowed: true, ..Decision::default() },
            Err(reason) => Decision { allowed: false, reason, error: None },
        }
    }
}

/// Conditions that must all be true.
#[derive(Default)]
pub(super) struct Conditions(pub(super) Vec<Expression>);

impl Conditions {
    pub(super) fn compile<'t>(
        environment: &Environment,
        texts: impl IntoIterator<Item = &'t str>,
    ) -> Conditions {
        let compile = |text: &str| Expression::compile(environment, text, Wanted::Bool);
        Conditions(texts.into_iter().map(compile).collect())
    }

    /// Whether they hold. One that is false decides, whatever becomes of the others.
    ///
    /// # Errors
    /// Why it cannot be said.
    pub(super) fn hold(&self, bindings: &Bindings<'_>) -> Result<bool, String> {
        let mut budget = Budget::match_conditions();
        let mut failures = Vec::new();
        for expression in &self.0 {
            match expression.evaluate(bindings, &mut budget) {
                Ok(value) if value.as_bool() == Some(false) => return Ok(false),
                Ok(_) => {}
                Err(Failure::Budget(why)) => return Err(why),
                Err(Failure::Expression(why)) => failures.push(why),
            }
        }
        match failures.as_slice() {
            [] => Ok(true),
            [one] => Err(one.clone()),
            several => Err(format!("[{}]", several.join(", "))),
        }
    }
}
