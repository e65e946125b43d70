//! An API server small enough to see through: objects in a map, watches, merge patches, and the
//! one rule that matters here, that a pod is deleted in two steps.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::broadcast;

type Answer = Response<BoxBody<Bytes, Infallible>>;

#[derive(Clone)]
struct Change {
    kind: &'static str,
    path: String,
    object: Value,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    revision: u64,
}

/// The server. Clones share the objects.
#[derive(Clone)]
pub(crate) struct FakeApi {
    state: Arc<Mutex<State>>,
    changes: broadcast::Sender<Change>,
}

impl FakeApi {
    pub(crate) fn new() -> Self {
        Self { state: Arc::default(), changes: broadcast::Sender::new(4096) }
    }

    pub(crate) fn client(&self) -> kube::Client {
        let api = self.clone();
        let service = tower::service_fn(move |request: Request<Body>| {
            let api = api.clone();
            let answer: BoxFuture<'static, Result<Answer, Infallible>> =
                Box::pin(async move { Ok(api.answer(request).await) });
            answer
        });
        kube::Client::new(service, "default")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the objects")
    }

    /// The object at a path like `/api/v1/namespaces/default/pods/web`.
    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.state().objects.get(path).cloned()
    }

    /// All objects of a kind, e.g. `events`.
    pub(crate) fn all(&self, plural: &str) -> Vec<Value> {
        let state = self.state();
        let of_kind =
            state.objects.iter().filter(|(path, _)| path.rsplit('/').nth(1) == Some(plural));
        of_kind.map(|(_, object)| object.clone()).collect()
    }

    /// Puts an object in place, new or changed.
    pub(crate) fn put(&self, path: &str, mut object: Value) -> Value {
        let mut state = self.state();
        state.revision += 1;
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = json!(state.revision.to_string());
        metadata["name"] = json!(path.rsplit('/').next());
        if let Some((namespace, _)) =
            path.split_once("/namespaces/").and_then(|(_, rest)| rest.split_once('/'))
        {
            metadata["namespace"] = json!(namespace);
        }
        if metadata["uid"].is_null() {
            metadata["uid"] = json!(format!("uid-{}", state.revision));
        }
        let is_new = state.objects.insert(path.to_owned(), object.clone()).is_none();
        let kind = if is_new { "ADDED" } else { "MODIFIED" };
        // Nobody may be listening.
        drop(self.changes.send(Change { kind, path: path.to_owned(), object: object.clone() }));
        object
    }

    /// Removes an object at once.
    pub(crate) fn remove(&self, path: &str) {
        let mut state = self.state();
        state.revision += 1;
        if let Some(mut object) = state.objects.remove(path) {
            object["metadata"]["resourceVersion"] = json!(state.revision.to_string());
            drop(self.changes.send(Change { kind: "DELETED", path: path.to_owned(), object }));
        }
    }

    /// Asks for a pod's end, as `kubectl delete` does.
    pub(crate) fn delete_pod(&self, path: &str, grace_seconds: i64) {
        let mut pod = self.get(path).expect("the pod is there");
        pod["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace_seconds);
        self.put(path, pod);
    }

    /// Waits until the objects are as wanted.
    pub(crate) async fn wait<T>(&self, mut wanted: impl FnMut(&Self) -> Option<T>) -> T {
        let mut changes = self.changes.subscribe();
        let deadline = std::time::Duration::from_secs(3600);
        let done = tokio::time::timeout(deadline, async {
            loop {
                if let Some(found) = wanted(self) {
                    return found;
                }
                // A listener that missed some looks at what is there now.
                drop(changes.recv().await);
            }
        });
        match done.await {
            Ok(found) => found,
            Err(_) => panic!("never so; the pods are {:#?}", self.all("pods")),
        }
    }

    async fn answer(&self, request: Request<Body>) -> Answer {
        let (head, body) = request.into_parts();
        let path = head.uri.path().to_owned();
        let query: BTreeMap<String, String> = head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(key, value)| (key.to_owned(), value.replace("%3D", "=")))
            .collect();
        let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
        let body: Value = serde_json::from_slice(&body).unwrap_or_default();
        match head.method {
            Method::GET if query.get("watch").is_some_and(|watch| watch == "true") => {
                self.watch(&path, &query)
            }
            Method::GET => self.read(&path, &query),
            Method::POST if path.ends_with("/token") => token(),
            Method::POST => self.create(&path, body),
            Method::PATCH => self.patch(path.trim_end_matches("/status"), &body),
            Method::DELETE => self.delete(&path, &body),
            _ => failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed"),
        }
    }

    fn read(&self, path: &str, query: &BTreeMap<String, String>) -> Answer {
        let state = self.state();
        if let Some(object) = state.objects.get(path) {
            return send(StatusCode::OK, object);
        }
        if !is_collection(path) {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        }
        let items: Vec<&Value> = state
            .objects
            .iter()
            .filter(|(at, object)| is_in(at, path) && is_selected(object, query))
            .map(|(_, object)| object)
            .collect();
        let metadata = json!({"resourceVersion": state.revision.to_string()});
        send(
            StatusCode::OK,
            &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}),
        )
    }

    fn watch(&self, path: &str, query: &BTreeMap<String, String>) -> Answer {
        let state = self.state();
        let since: u64 = query.get("resourceVersion").and_then(|it| it.parse().ok()).unwrap_or(0);
        let changes = self.changes.subscribe();
        // What changed between the list and now, as far as it is still there.
        let missed: Vec<Change> = state
            .objects
            .iter()
            .filter(|(_, object)| revision(object) > since)
            .map(|(path, object)| Change {
                kind: "ADDED",
                path: path.clone(),
                object: object.clone(),
            })
            .collect();
        drop(state);
        let (path, query) = (path.to_owned(), query.clone());
        let live = futures::stream::unfold(changes, |mut changes| async move {
            Some((changes.recv().await.ok()?, changes))
        });
        let lines = futures::stream::iter(missed).chain(live).filter_map(move |change| {
            let is_wanted = is_in(&change.path, &path) && is_selected(&change.object, &query);
            let line = json!({"type": change.kind, "object": change.object}).to_string() + "\n";
            let frame = is_wanted.then(|| Ok::<_, Infallible>(Frame::data(Bytes::from(line))));
            async move { frame }
        });
        Response::new(BodyExt::boxed(StreamBody::new(Box::pin(lines))))
    }

    fn create(&self, path: &str, object: Value) -> Answer {
        let name = object["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{path}/{name}");
        if self.get(&path).is_some() {
            return failure(StatusCode::CONFLICT, "AlreadyExists");
        }
        send(StatusCode::CREATED, &self.put(&path, object))
    }

    fn patch(&self, path: &str, patch: &Value) -> Answer {
        let Some(mut object) = self.get(path) else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        let wanted = &patch["metadata"]["resourceVersion"];
        if !wanted.is_null() && *wanted != object["metadata"]["resourceVersion"] {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        merge(&mut object, patch);
        send(StatusCode::OK, &self.put(path, object))
    }

    fn delete(&self, path: &str, options: &Value) -> Answer {
        let Some(object) = self.get(path) else {
            return failure(StatusCode::NOT_FOUND, "NotFound");
        };
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != object["metadata"]["uid"] {
            return failure(StatusCode::CONFLICT, "Conflict");
        }
        self.remove(path);
        send(StatusCode::OK, &object)
    }
}

fn revision(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Collections end in a plural, objects in a name that follows one.
fn is_collection(path: &str) -> bool {
    const PLURALS: &[&str] =
        &["pods", "nodes", "services", "configmaps", "secrets", "leases", "events"];
    PLURALS.contains(&path.rsplit('/').next().unwrap_or_default())
}

/// Whether the object at `at` belongs to the collection, in one namespace or all.
fn is_in(at: &str, collection: &str) -> bool {
    let plural = collection.rsplit('/').next();
    let in_namespace = at.rsplit_once('/').is_some_and(|(folder, _)| folder == collection);
    in_namespace || (!collection.contains("/namespaces/") && at.rsplit('/').nth(1) == plural)
}

fn is_selected(object: &Value, query: &BTreeMap<String, String>) -> bool {
    let Some(selector) = query.get("fieldSelector") else { return true };
    let (field, value) = selector.split_once('=').expect("one selector");
    let pointer = format!("/{}", field.replace('.', "/"));
    object.pointer(&pointer).and_then(Value::as_str) == Some(value)
}

fn merge(object: &mut Value, patch: &Value) {
    let Value::Object(changes) = patch else {
        *object = patch.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    for (key, change) in changes {
        if change.is_null() {
            object.as_object_mut().expect("an object").remove(key);
        } else {
            merge(&mut object[key], change);
        }
    }
}

fn token() -> Answer {
    let status =
        json!({"token": "header.claims.signature", "expirationTimestamp": "2199-01-01T00:00:00Z"});
    send(
        StatusCode::CREATED,
        &json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1", "metadata": {}, "spec": {"audiences": []}, "status": status}),
    )
}

fn send(code: StatusCode, value: &Value) -> Answer {
    let body = Full::new(Bytes::from(value.to_string()));
    Response::builder().status(code).body(body.boxed()).expect("a response")
}

fn failure(code: StatusCode, reason: &str) -> Answer {
    send(
        code,
        &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": reason, "reason": reason, "code": code.as_u16()}),
    )
}
