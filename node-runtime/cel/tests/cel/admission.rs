//! What admission policies and webhooks ask: requests, other objects, permissions, mutations.

use std::sync::Mutex;

use minik_cel::{
    Authorizer, Bindings, Budget, Check, CheckTarget, Decision, Decl, Environment, EvalErrorKind,
    Program, ResourceCheck, Value, admission,
};
use serde_json::{Value as Json, json};

/// Allows what its list names, and notes what it was asked.
#[derive(Default)]
struct Notes(Mutex<Vec<String>>);

impl Authorizer for Notes {
    fn check(&self, check: &Check) -> Decision {
        let who = check.service_account.as_ref().map(|(space, name)| format!("{space}/{name} "));
        let what = match &check.target {
            CheckTarget::Path(path) => path.to_string(),
            CheckTarget::Resource(one) => format!(
                "{}.{}/{} {}/{} {:?} {:?}",
                one.resource,
                one.group,
                one.subresource,
                one.namespace,
                one.name,
                one.field_selector,
                one.label_selector
            ),
        };
        let asked = format!("{}{} {what}", who.unwrap_or_default(), check.verb);
        let allowed = !asked.contains("delete");
        self.0.lock().expect("nobody panicked").push(asked);
        let error = (!allowed).then(|| "no".to_owned());
        Decision { allowed, reason: "because".to_owned(), error }
    }
}

fn environment() -> Environment {
    Environment::new()
        .with_dyn("object")
        .with_dyn("oldObject")
        .with_dyn("params")
        .with("request", admission::request())
        .with("namespaceObject", admission::namespace_object())
        .with_authorizer()
        .with_mutations()
}

fn evaluate(text: &str) -> (String, Vec<String>) {
    let program = match Program::compile(&environment(), text) {
        Ok(program) => program,
        Err(errors) => return (errors[0].to_string(), Vec::new()),
    };
    let notes = Notes::default();
    let object =
        json!({"metadata": {"name": "n", "labels": {"app": "web"}}, "spec": {"replicas": 3}});
    let request = json!({"operation": "CREATE", "namespace": "ns", "dryRun": false,
        "kind": {"group": "apps", "version": "v1", "kind": "Deployment"}, "options": {"x": 1},
        "userInfo": {"username": "u", "groups": ["g"], "extra": {"k": ["v"]}}});
    let namespace = json!({"metadata": {"name": "ns", "labels": {"env": "prod"}}});
    let resource = ResourceCheck {
        group: "apps".into(),
        resource: "deployments".into(),
        ..Default::default()
    };
    let bindings = Bindings::new()
        .with("object", Value::of_json(&object, &Decl::json()))
        .with("oldObject", Value::Null)
        .with("params", Value::Null)
        .with("request", Value::of_json(&request, &admission::request()))
        .with("namespaceObject", Value::of_json(&namespace, &admission::namespace_object()))
        .with_authorizer(&notes, resource);
    let result = match program.evaluate(&bindings, &mut Budget::per_request()) {
        Ok(value) => value.to_json().map_or_else(|why| why, |json| json.to_string()),
        Err(error) => format!("ERROR {error}"),
    };
    (result, notes.0.into_inner().expect("nobody panicked"))
}

#[test]
fn variables() {
    let cases = [
        ("request.operation == 'CREATE' && request.namespace == 'ns'", "true"),
        (
            "request.kind.kind + request.userInfo.groups[0] + request.userInfo.extra['k'][0]",
            r#""Deploymentgv""#,
        ),
        ("request.options.x", "1"),
        ("request.dryRun", "false"),
        ("request.nope", "ERROR: <input>:1:8: undefined field 'nope'"),
        ("namespaceObject.metadata.labels['env']", r#""prod""#),
        ("has(namespaceObject.metadata.namespace)", "false"),
        ("object.spec.replicas <= 3", "true"),
        ("oldObject == null", "true"),
        ("params == null || params.x > 1", "true"),
        ("oldObject.spec", "ERROR no such key: spec"),
    ];
    for (text, expected) in cases {
        let (found, _) = evaluate(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
}

/// Expression, result, what was asked.
const PERMISSIONS: &[(&str, &str, &str)] = &[
    ("authorizer.path('/healthz').check('get').allowed()", "true", "get /healthz"),
    ("authorizer.path(' ').check('get').allowed()", "ERROR path must not be empty", ""),
    (
        "authorizer.group('').resource('pods').check('create').allowed()",
        "true",
        "create pods./ / None None",
    ),
    (
        "authorizer.group('').resource('pods').check('delete').allowed()",
        "false",
        "delete pods./ / None None",
    ),
    (
        "authorizer.group('').resource('pods').check('delete').error()",
        r#""no""#,
        "delete pods./ / None None",
    ),
    (
        "authorizer.group('').resource('pods').check('delete').errored()",
        "true",
        "delete pods./ / None None",
    ),
    (
        "authorizer.group('').resource('pods').check('get').reason()",
        r#""because""#,
        "get pods./ / None None",
    ),
    (
        "authorizer.group('').resource('').check('get').allowed()",
        "ERROR resource must not be empty",
        "",
    ),
    (
        "authorizer.group('apps').resource('deployments').subresource('scale').namespace('a').name('b').check('get').allowed()",
        "true",
        "get deployments.apps/scale a/b None None",
    ),
    (
        "authorizer.group('').resource('pods').fieldSelector('a=b').labelSelector('c').check('list').allowed()",
        "true",
        "list pods./ / Some(\"a=b\") Some(\"c\")",
    ),
    (
        "authorizer.serviceAccount('ns', 'sa').group('').resource('pods').check('get').allowed()",
        "true",
        "ns/sa get pods./ / None None",
    ),
    (
        "authorizer.serviceAccount('NS', 'sa').path('/x').check('get').allowed()",
        "ERROR Invalid service account namespace",
        "",
    ),
    (
        "authorizer.serviceAccount('ns', 's@a').path('/x').check('get').allowed()",
        "ERROR Invalid service account name",
        "",
    ),
    (
        "authorizer.requestResource.check('update').allowed()",
        "true",
        "update deployments.apps/ / None None",
    ),
    (
        "authorizer.requestResource.name('x').check('update').allowed()",
        "true",
        "update deployments.apps/ /x None None",
    ),
];

#[test]
fn permissions() {
    for (text, expected, asked) in PERMISSIONS {
        let (found, notes) = evaluate(text);
        assert!(found.starts_with(expected), "{text}: {found}");
        assert_eq!(notes.join(";"), *asked, "{text}");
    }
    let three = "[1, 2, 3].all(x, authorizer.path('/x').check('get').allowed())";
    assert_eq!(evaluate(three).0, "ERROR operation cancelled: actual cost limit exceeded");
}

#[test]
fn mutations() {
    let cases = [
        (
            "Object{spec: Object.spec{replicas: object.spec.replicas + 1}}",
            r#"{"spec":{"replicas":4}}"#,
        ),
        (
            "Object{metadata: Object.metadata{labels: {'a': 'b'}}}",
            r#"{"metadata":{"labels":{"a":"b"}}}"#,
        ),
        ("Object{spec: Object.spec{a__dash__b: [1, 2]}}", r#"{"spec":{"a-b":[1,2]}}"#),
        ("Object{?spec: optional.none()}", "{}"),
        (
            "Object{spec: Object.metadata{a: 1}}",
            "ERROR unexpected type name \"Object.metadata\", expected \"Object.spec\"",
        ),
        (
            "Object{spec: Object.spec{x: [Object.spec.x{name: 'c'}]}}",
            r#"{"spec":{"x":[{"name":"c"}]}}"#,
        ),
        (
            "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b'), value: 'x'}]",
            r#"[{"op":"add","path":"/metadata/labels/a~1b","value":"x"}]"#,
        ),
        (
            "JSONPatch{op: 1}",
            "ERROR: <input>:1:13: expected type of field 'op' is 'string' but provided type is 'int'",
        ),
        ("JSONPatch{nope: 1}", "ERROR: <input>:1:15: undefined field 'nope'"),
        ("Other{a: 1}", "ERROR: <input>:1:6: undeclared reference to 'Other'"),
    ];
    for (text, expected) in cases {
        let (found, _) = evaluate(text);
        assert!(found.starts_with(expected), "{text}: {found}");
    }
    let object = Program::compile(&environment(), "Object{}").expect("fine");
    assert_eq!(object.ty().to_string(), "Object");
}

#[test]
fn expressions_that_use_others() {
    let environment = environment();
    let replicas = Program::compile(&environment, "object.spec.replicas").expect("fine");
    let environment = environment.with_composed("replicas", replicas.ty().clone());
    let double = Program::compile(&environment, "variables.replicas * 2").expect("fine");
    let broken = Program::compile(&environment, "variables.replicas / 0").expect("fine");
    let environment = environment
        .with_composed("double", double.ty().clone())
        .with_composed("broken", broken.ty().clone());
    let object = json!({"spec": {"replicas": 3}});
    let bindings = Bindings::new()
        .with("object", Value::of_json(&object, &Decl::json()))
        .with_composed("replicas", &replicas)
        .with_composed("double", &double)
        .with_composed("broken", &broken);
    let mut budget = Budget::per_request();
    let mut run = |text: &str| -> Result<Json, String> {
        let program =
            Program::compile(&environment, text).map_err(|errors| errors[0].to_string())?;
        let result = program.evaluate(&bindings, &mut budget).map_err(|error| error.to_string())?;
        result.to_json()
    };
    assert_eq!(run("variables.double + variables.replicas"), Ok(json!(9)));
    assert_eq!(run("variables.double > 5 || variables.broken > 1"), Ok(json!(true)));
    assert_eq!(run("variables.broken"), Err("division by zero".to_owned()));
    let unknown = run("variables.nope").expect_err("unknown");
    assert!(unknown.contains("1:10: undefined field 'nope'"), "{unknown}");
}

#[test]
fn values_do_not_nest_without_end() {
    let mut environment = Environment::new();
    let mut programs = Vec::new();
    for index in 0..40 {
        let text = match index {
            0 => "[1]".to_owned(),
            _ => format!("[[[[[[[[[[dyn(variables.v{})]]]]]]]]]]", index - 1),
        };
        let program = Program::compile(&environment, &text).expect("fine");
        environment = environment.with_composed(&format!("v{index}"), program.ty().clone());
        programs.push(program);
    }
    let mut bindings = Bindings::new();
    for (index, program) in programs.iter().enumerate() {
        bindings = bindings.with_composed(&format!("v{index}"), program);
    }
    let run = |name: &str| {
        let program = Program::compile(&environment, &format!("size(variables.{name})"));
        let result = program.expect("fine").evaluate(&bindings, &mut Budget::per_request());
        result.map_err(|error| error.to_string()).and_then(|value| value.to_json())
    };
    for index in 0..40 {
        let found = run(&format!("v{index}"));
        let fine = found == Ok(json!(1));
        assert_eq!(fine, index < 10, "{index}: {found:?}");
    }
}

#[test]
fn what_is_huge_is_not_written() {
    let nested = "cel.bind(x, [x, x, x, x], ".repeat(30);
    let text = format!("cel.bind(x, [1], {nested}x{})", ")".repeat(30));
    let copies = "cel.bind(x, lists.range(20000).map(i, object), [x, x, x, x, x, x])";
    for text in [text.as_str(), copies] {
        let (found, _) = evaluate(text);
        assert!(found == "value is too large to be written as JSON", "{text}");
    }
}

#[test]
fn a_budget_is_for_all() {
    let program =
        Program::compile(&environment(), "lists.range(1000).all(x, x >= 0)").expect("fine");
    let mut budget = Budget::new(20_000, 1_000_000);
    let results: Vec<bool> =
        (0..5).map(|_| program.evaluate(&Bindings::new(), &mut budget).is_ok()).collect();
    assert_eq!(results, [true, true, true, false, false]);
    let error = program.evaluate(&Bindings::new(), &mut budget).expect_err("nothing left");
    assert_eq!(error.kind, EvalErrorKind::Budget);
}

#[test]
fn built_in_kinds() {
    let pod = minik_api::kinds().by_resource("", "v1", "pods");
    let schema = &pod.expect("pods").schema;
    let environment = Environment::new().with("object", Decl::builtin(schema));
    let check = |text: &str| match Program::compile(&environment, text) {
        Ok(program) => program.ty().to_string(),
        Err(errors) => errors[0].to_string().lines().next().unwrap_or_default().to_owned(),
    };
    assert_eq!(check("object.spec.containers.map(c, c.name)"), "list(string)");
    assert_eq!(check("object.metadata.labels['a']"), "string");
    assert_eq!(check("object.metadata.__namespace__"), "string");
    assert_eq!(check("object.spec.containers[0].resources.limits['cpu']"), "dyn");
    assert_eq!(check("object.spec.containers[0].ports[0].containerPort > 80"), "bool");
    assert_eq!(check("object.spec.replicas"), "ERROR: <input>:1:12: undefined field 'replicas'");
    assert_eq!(
        check("object.spec.hostNetwork == 'true'"),
        "ERROR: <input>:1:25: found no matching overload for '_==_' applied to '(bool, string)'"
    );
}
