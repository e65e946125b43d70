//! Custom resources: from the definition to the last object.

use minik_store::{Storage, Store};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Api, Events};

pub(crate) const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
pub(crate) const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// A definition of widgets with these versions.
pub(crate) fn definition(versions: Value) -> Value {
    json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
            "versions": versions,
        },
    })
}

/// A version whose objects have this shape of `spec`.
pub(crate) fn version(name: &str, storage: bool, spec: Value) -> Value {
    json!({
        "name": name, "served": true, "storage": storage,
        "subresources": {
            "status": {},
            "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
                      "labelSelectorPath": ".status.selector"},
        },
        "schema": {"openAPIV3Schema": {"type": "object", "properties": {
            "spec": spec,
            "status": {"type": "object", "properties": {
                "replicas": {"type": "integer"}, "selector": {"type": "string"}}},
        }}},
    })
}

fn simple() -> Value {
    json!({"type": "object", "properties": {
        "color": {"type": "string", "default": "red"},
        "replicas": {"type": "integer", "minimum": 0},
    }})
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": spec})
}

/// A server that runs, with what it does on its own.
pub(crate) struct Running {
    pub(crate) api: Api,
    address: std::net::SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Running {
    pub(crate) async fn new() -> Running {
        let storage = minik_store::Config::new(Storage::Memory);
        Running::on(Store::open(&storage).expect("store")).await
    }

    async fn on(store: Store) -> Running {
        let mut api = Api::on(store).await;
        let stop = CancellationToken::new();
        let server = api.server.take().expect("a server");
        let address = server.address;
        let task = tokio::spawn(server.run(stop.clone()));
        Running { api, address, stop, task }
    }

    /// Writes a definition and waits until it is established.
    pub(crate) async fn define(&self, definition: Value) {
        let name = definition["metadata"]["name"].as_str().expect("a name").to_owned();
        let selector = format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name={name}");
        let mut events = self.api.watch(&selector).await;
        self.api.post(DEFINITIONS, definition).await.ok();
        self.until(&mut events, |definition| condition(definition, "Established") == "True").await;
    }

    /// Waits for an event whose object is so.
    async fn until(&self, events: &mut Events, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = events.next().await.expect("the watch goes on");
            if is(&event["object"]) {
                return event["object"].clone();
            }
        }
    }

    /// A TLS connection to the server as the administrator.
    pub(crate) async fn connect(&self) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
        crate::kubelet::connect(&self.api, self.address).await
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("the server ends");
    }
}

fn condition<'a>(definition: &'a Value, kind: &str) -> &'a str {
    let conditions = definition["status"]["conditions"].as_array();
    let found = conditions.into_iter().flatten().find(|one| one["type"] == kind);
    found.map_or("", |one| one["status"].as_str().unwrap_or_default())
}

#[tokio::test]
async fn objects_are_served_as_soon_as_the_definition_is_established() {
    let running = Running::new().await;
    let api = &running.api;
    assert_eq!(api.get(WIDGETS).await.code, 404);
    running.define(definition(json!([version("v1", true, simple())]))).await;

    let made = api.post(WIDGETS, widget("a", json!({"replicas": 2, "odd": 1}))).await;
    assert_eq!(made.warnings(), ["299 - \"unknown field \\\"spec.odd\\\"\""]);
    let made = made.ok();
    assert_eq!(made["spec"], json!({"replicas": 2, "color": "red"}));
    assert_eq!((&made["metadata"]["generation"], made.get("status")), (&1.into(), None));
    assert_eq!(api.get(WIDGETS).await.ok()["kind"], "WidgetList");
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let refused = api.post(&strict, widget("b", json!({"odd": 1}))).await;
    assert_eq!(
        refused.failure(),
        "400 BadRequest: Widget in version \"v1\" cannot be handled as a Widget: strict decoding \
         error: unknown field \"spec.odd\""
    );
    let refused = api.post(WIDGETS, widget("b", json!({"replicas": -1}))).await;
    assert_eq!(
        refused.failure(),
        "422 Invalid: Widget.example.com \"b\" is invalid: [spec.replicas: Invalid value: -1: \
         spec.replicas in body should be greater than or equal to 0, spec.replicas: Invalid value: \
         -1: should be a non-negative integer]"
    );

    let changed = api.patch(&format!("{WIDGETS}/a"), json!({"spec": {"color": "blue"}})).await.ok();
    assert_eq!(changed["metadata"]["generation"], 2);
    let status = json!({"status": {"replicas": 1, "selector": "x=y"}, "spec": {"color": "green"},
        "metadata": {"labels": {"a": "b"}}});
    let changed = api.patch(&format!("{WIDGETS}/a/status"), status).await.ok();
    assert_eq!(changed["metadata"].get("labels"), None);
    assert_eq!(
        (&changed["spec"]["color"], &changed["metadata"]["generation"]),
        (&"blue".into(), &2.into())
    );
    let scale =
        api.patch(&format!("{WIDGETS}/a/scale"), json!({"spec": {"replicas": 5}})).await.ok();
    assert_eq!(scale["spec"]["replicas"], 5);
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "x=y"}));
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    let admin = minik_apiserver::User::admin();
    let what = format!("PATCH {WIDGETS}/a");
    let refused = api.ask_as(admin, &what, Some(json!({})), &strategic).await;
    assert_eq!(refused.code, 415);
    running.stop().await;
}

#[tokio::test]
async fn discovery_and_documents_know_it_at_once() {
    let running = Running::new().await;
    let api = &running.api;
    let index = api.get("/openapi/v3").await.ok();
    assert!(index["paths"].get("apis/example.com/v1").is_none());
    let second = version("v1beta1", false, simple());
    running.define(definition(json!([second, version("v1", true, simple())]))).await;

    let group = api.get("/apis/example.com").await.ok();
    assert_eq!(group["preferredVersion"]["version"], "v1");
    let resources = api.get("/apis/example.com/v1").await.ok();
    let names: Vec<&str> = resources["resources"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["name"].as_str())
        .collect();
    assert_eq!(names, ["widgets", "widgets/scale", "widgets/status"]);
    assert_eq!(resources["resources"][0]["shortNames"], json!(["wd"]));
    let admin = minik_apiserver::User::admin;
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let all = api.ask_as(admin(), "GET /apis", None, &[("accept", accept)]).await.ok();
    let ours = all["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["metadata"]["name"] == "example.com");
    assert_eq!(ours.unwrap()["versions"][0]["resources"][0]["responseKind"]["kind"], "Widget");

    let index = api.get("/openapi/v3").await.ok();
    let url =
        index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let document = api.get(&url).await.ok();
    let schema = &document["components"]["schemas"]["com.example.v1.Widget"];
    assert_eq!(schema["properties"]["spec"]["properties"]["color"]["default"], "red");
    assert!(schema["properties"]["metadata"]["allOf"][0]["$ref"].is_string());
    let patch =
        &document["paths"]["/apis/example.com/v1/namespaces/{namespace}/widgets/{name}"]["patch"];
    let content = patch["requestBody"]["content"].as_object().unwrap();
    assert!(!content.contains_key("application/strategic-merge-patch+json"));
    let old = api.get("/openapi/v2").await.ok();
    assert!(old["definitions"]["com.example.v1.WidgetList"].is_object());

    let mut changed = api.get(&format!("{DEFINITIONS}/widgets.example.com")).await.ok();
    changed["spec"]["versions"][1]["schema"]["openAPIV3Schema"]["description"] = "New.".into();
    api.put(&format!("{DEFINITIONS}/widgets.example.com"), changed).await.ok();
    let index = api.get("/openapi/v3").await.ok();
    assert_ne!(index["paths"]["apis/example.com/v1"]["serverRelativeURL"], *url);
    running.stop().await;
}

#[tokio::test]
async fn a_new_schema_shapes_what_was_stored_before() {
    let running = Running::new().await;
    let api = &running.api;
    running.define(definition(json!([version("v1", true, simple())]))).await;
    api.post(WIDGETS, widget("a", json!({"color": "blue"}))).await.ok();
    let mut watch = api.watch(&format!("{WIDGETS}?watch=1")).await;
    assert_eq!(watch.line().await, "ADDED a");

    let path = format!("{DEFINITIONS}/widgets.example.com");
    let mut changed = api.get(&path).await.ok();
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer", "default": 7}}});
    let second = version("v2", true, spec.clone());
    changed["spec"]["versions"] = json!([version("v1", false, spec), second]);
    let changed = api.put(&path, changed).await.ok();
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    // What followed the old shape ends, so that clients begin anew with the new one.
    assert_eq!(watch.line().await, "END");

    for version in ["v1", "v2"] {
        let path = format!("/apis/example.com/{version}/namespaces/default/widgets");
        let found = api.get(&format!("{path}/a")).await.ok();
        assert_eq!(found["apiVersion"], format!("example.com/{version}"));
        assert_eq!(found["spec"], json!({"size": 7}));
        let listed = api.get(&path).await.ok();
        assert_eq!(listed["items"][0]["spec"], json!({"size": 7}));
        assert_eq!(listed["items"][0]["apiVersion"], found["apiVersion"]);
    }
    running.stop().await;
}

#[tokio::test]
async fn names_of_another_definition_are_not_accepted() {
    let running = Running::new().await;
    let api = &running.api;
    running.define(definition(json!([version("v1", true, simple())]))).await;
    let mut other = definition(json!([version("v1", true, simple())]));
    other["metadata"]["name"] = "gadgets.example.com".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Widget", "shortNames": ["wd"]});
    let mut events = api
        .watch(&format!("{DEFINITIONS}?watch=1&fieldSelector=metadata.name=gadgets.example.com"))
        .await;
    api.post(DEFINITIONS, other).await.ok();
    let judged = running.until(&mut events, |one| condition(one, "NamesAccepted") == "False").await;
    assert_eq!(condition(&judged, "Established"), "False");
    assert_eq!(api.get("/apis/example.com/v1/gadgets").await.code, 404);
    // When the names become free, they are taken.
    api.delete(&format!("{DEFINITIONS}/widgets.example.com")).await.ok();
    running.until(&mut events, |one| condition(one, "Established") == "True").await;
    assert_eq!(api.get("/apis/example.com/v1/gadgets").await.ok()["kind"], "WidgetList");
    running.stop().await;
}

#[tokio::test]
async fn objects_go_before_their_definition() {
    let running = Running::new().await;
    let api = &running.api;
    running.define(definition(json!([version("v1", true, simple())]))).await;
    let mut held = widget("held", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    api.post(WIDGETS, held).await.ok();
    api.post(WIDGETS, widget("free", json!({}))).await.ok();
    let mut watch = api.watch(&format!("{WIDGETS}?watch=1")).await;
    assert_eq!(watch.line().await, "ADDED free");
    assert_eq!(watch.line().await, "ADDED held");

    let path = format!("{DEFINITIONS}/widgets.example.com");
    let mut definitions = api.watch(&format!("{DEFINITIONS}?watch=1")).await;
    let going = api.delete(&path).await.ok();
    assert_eq!(
        going["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    assert_eq!(condition(&going, "Terminating"), "True");
    assert_eq!(watch.line().await, "DELETED free");
    assert_eq!(watch.line().await, "MODIFIED held");
    let refused = api.post(WIDGETS, widget("late", json!({}))).await;
    assert_eq!(
        refused.failure(),
        "405 MethodNotAllowed: create not allowed while custom resource definition is terminating"
    );
    assert_eq!(api.get(&path).await.code, 200);
    api.patch(&format!("{WIDGETS}/held"), json!({"metadata": {"finalizers": null}})).await.ok();
    assert_eq!(watch.line().await, "DELETED held");
    assert_eq!(watch.line().await, "END");
    loop {
        match definitions.line().await.as_str() {
            "DELETED widgets.example.com" => break,
            line => assert!(line.ends_with("widgets.example.com"), "{line}"),
        }
    }
    assert_eq!(api.get(&path).await.code, 404);
    assert_eq!(api.get(WIDGETS).await.code, 404);
    // The same definition again starts from nothing.
    running.define(definition(json!([version("v1", true, simple())]))).await;
    assert_eq!(api.get(WIDGETS).await.ok()["items"], json!([]));
    running.stop().await;
}

#[tokio::test]
async fn they_are_there_when_the_server_starts() {
    let storage = minik_store::Config::new(Storage::Memory);
    let store = Store::open(&storage).expect("store");
    let first = Running::on(store.clone()).await;
    first.define(definition(json!([version("v1", true, simple())]))).await;
    first.api.post(WIDGETS, widget("a", json!({}))).await.ok();
    first.stop().await;
    // Not even running: the first request finds them.
    let second = Api::on(store).await;
    assert_eq!(second.get(&format!("{WIDGETS}/a")).await.ok()["spec"]["color"], "red");
}

#[tokio::test]
async fn what_clients_are_warned_of() {
    let running = Running::new().await;
    let api = &running.api;
    let mut old = version("v1", true, simple());
    old["deprecated"] = true.into();
    running.define(definition(json!([old]))).await;
    assert_eq!(
        api.get(WIDGETS).await.warnings(),
        ["299 - \"example.com/v1 Widget is deprecated\""]
    );

    running.stop().await;
}

#[tokio::test]
async fn fields_that_can_be_selected_by_and_columns() {
    let running = Running::new().await;
    let api = &running.api;
    let mut one = version("v1", true, simple());
    one["selectableFields"] = json!([{"jsonPath": ".spec.color"}]);
    one["additionalPrinterColumns"] = json!([
        {"name": "Color", "type": "string", "jsonPath": ".spec.color"},
        {"name": "Wanted", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
    ]);
    running.define(definition(json!([one]))).await;
    api.post(WIDGETS, widget("a", json!({"replicas": 3}))).await.ok();
    api.post(WIDGETS, widget("b", json!({"color": "blue"}))).await.ok();
    let found = api.get(&format!("{WIDGETS}?fieldSelector=spec.color=blue")).await.ok();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(found["items"][0]["metadata"]["name"], "b");
    assert_eq!(api.get(&format!("{WIDGETS}?fieldSelector=spec.replicas=3")).await.code, 400);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let admin = minik_apiserver::User::admin();
    let table = api.ask_as(admin, &format!("GET {WIDGETS}"), None, &accept).await.ok();
    let cells: Vec<&Value> =
        table["rows"].as_array().unwrap().iter().map(|row| &row["cells"]).collect();
    assert_eq!(cells, [&json!(["a", "red", 3]), &json!(["b", "blue", null])]);
    running.stop().await;
}

#[tokio::test]
async fn several_appliers_share_an_object() {
    let running = Running::new().await;
    let api = &running.api;
    let spec = json!({"type": "object", "properties": {
        "color": {"type": "string"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                  "items": {"type": "object", "required": ["name"], "properties": {
                      "name": {"type": "string"}, "port": {"type": "integer"}}}},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }});
    running.define(definition(json!([version("v1", true, spec)]))).await;
    let apply = async |manager: &str, spec: Value| {
        let what = format!("PATCH {WIDGETS}/a?fieldManager={manager}");
        let body = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "spec": spec});
        let headers = [("content-type", "application/apply-patch+yaml")];
        api.ask_as(minik_apiserver::User::admin(), &what, Some(body), &headers).await
    };
    let one = json!({"color": "red", "ports": [{"name": "x", "port": 1}], "open": {"a": {"b": 1}}});
    assert_eq!(apply("one", one).await.code, 201);
    let two = json!({"ports": [{"name": "y", "port": 2}], "open": {"c": 2}});
    let both = apply("two", two).await.ok();
    assert_eq!(
        both["spec"],
        json!({"color": "red", "ports": [{"name": "x", "port": 1}, {"name": "y", "port": 2}],
               "open": {"a": {"b": 1}, "c": 2}})
    );
    let conflict = apply("two", json!({"color": "blue"})).await.failure();
    assert_eq!(
        conflict,
        "409 Conflict: Apply failed with 1 conflict: conflict with \"one\": .spec.color"
    );
    let less = apply("two", json!({})).await.ok();
    assert_eq!(less["spec"]["ports"], json!([{"name": "x", "port": 1}]));
    let unknown = apply("two", json!({"odd": 1})).await.failure();
    assert!(unknown.contains(".spec.odd: field not declared in schema"), "{unknown}");
    running.stop().await;
}
