//! Health, metrics and what is nowhere, as clients see them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use minik_apiserver::User;
use serde_json::json;

use crate::harness::{Api, MAPS, PATIENCE, config_map};

async fn text(api: &Api, path: &str) -> (u16, String) {
    let response = api.raw(User::admin(), &format!("GET {path}"), Bytes::new(), &[]).await;
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.expect("body").to_bytes();
    (code, String::from_utf8_lossy(&body).into_owned())
}

#[tokio::test]
async fn health_pages_tell_of_each_check() {
    let api = Api::new().await;
    assert_eq!(text(&api, "/livez").await, (200, "ok".to_owned()));
    assert_eq!(text(&api, "/healthz/ping").await, (200, "ok".to_owned()));
    let (code, all) = text(&api, "/readyz?verbose&exclude=etcd").await;
    assert_eq!(code, 200);
    assert!(all.starts_with("[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\n"), "{all}");
    assert!(all.contains("[+]poststarthook/rbac/bootstrap-roles ok\n"), "{all}");
    assert!(all.ends_with("[+]shutdown ok\nreadyz check passed\n"), "{all}");
    assert_eq!(text(&api, "/readyz/poststarthook/rbac/bootstrap-roles").await.0, 200);
    let nowhere = (404, "404 page not found\n".to_owned());
    assert_eq!(text(&api, "/livez/shutdown").await, nowhere);
    assert_eq!(text(&api, "/coffee").await, nowhere);
    let (_, slis) = text(&api, "/metrics/slis").await;
    assert!(slis.contains("kubernetes_healthcheck{name=\"ping\",type=\"readyz\"} 1\n"), "{slis}");
}

#[tokio::test]
async fn metrics_count_what_was_asked() {
    let api = Api::new().await;
    api.post(MAPS, config_map("a")).await.ok();
    api.post(&format!("{MAPS}?dryRun=All"), config_map("b")).await.ok();
    api.get(MAPS).await.ok();
    api.get("/apis/made/up/names").await;
    let someone = User::new("someone", ["people"]);
    api.ask_as(someone, &format!("GET {MAPS}"), None, &[]).await;
    let mut watch = api.watch(&format!("{MAPS}?watch=1")).await;
    assert_eq!(watch.line().await, "ADDED a");

    let response = api.raw(User::admin(), "GET /metrics", Bytes::new(), &[]).await;
    let kind = &response.headers()["content-type"];
    assert!(kind.to_str().expect("text").starts_with("text/plain; version=0.0.4"));
    let (_, all) = text(&api, "/metrics").await;
    let of = "version=\"v1\",resource=\"configmaps\"";
    for line in [
        &format!(
            "apiserver_request_total{{verb=\"POST\",group=\"\",{of},subresource=\"\",\
             scope=\"namespace\",component=\"apiserver\",dry_run=\"All\",code=\"201\"}} 1"
        ),
        &format!(
            "apiserver_longrunning_requests{{verb=\"WATCH\",group=\"\",{of},subresource=\"\",\
             scope=\"namespace\",component=\"apiserver\"}} 1"
        ),
        &format!("apiserver_watch_events_total{{group=\"\",{of}}} 1"),
        "apiserver_storage_objects{resource=\"configmaps\"} 2",
        "apiserver_resource_objects{group=\"apiregistration.k8s.io\",resource=\"apiservices\"}",
        "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1",
        "apiserver_flowcontrol_dispatched_requests_total{priority_level=\"global-default\",\
         flow_schema=\"global-default\"} 1",
        "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"workload-low\"} 245",
        "authorization_attempts_total{result=\"no-opinion\"} 1",
        "kubernetes_build_info{major=\"1\",minor=\"36\",git_version=\"v1.36.0\"",
        "process_resident_memory_bytes ",
    ] {
        assert!(all.lines().any(|one| one.starts_with(line)), "{line}\nis not in\n{all}");
    }
    assert!(!all.contains("made"), "names that clients make up are no labels");
    drop(watch);
    let (_, all) = text(&api, "/metrics").await;
    let open = all.lines().find(|line| line.starts_with("apiserver_longrunning_requests{"));
    assert!(open.is_some_and(|line| line.ends_with(" 0")), "{open:?}");
}

#[tokio::test]
async fn times_that_are_none_are_refused() {
    let api = Api::new().await;
    let wrong = api.get(&format!("{MAPS}?timeout=5")).await;
    assert_eq!(
        wrong.failure(),
        "400 BadRequest: invalid timeout specified in the request URL - time: missing unit in \
         duration \"5\""
    );
}

#[tokio::test]
async fn a_server_that_ends_says_so_first_and_still_serves() {
    let mut api = Api::with(|config| config.shutdown_delay = Duration::from_secs(3600)).await;
    let (drain, _running) = api.run();
    let mut watch = api.watch(&format!("{MAPS}?watch=1")).await;
    drain.cancel();
    let mut turns = 0;
    let (_, page) = loop {
        let answer = text(&api, "/readyz").await;
        if answer.0 == 500 {
            break answer;
        }
        turns += 1;
        assert!(turns < 1000, "ready although it ends");
        tokio::task::yield_now().await;
    };
    assert!(page.contains("[-]shutdown failed: reason withheld\n"), "{page}");
    let one = text(&api, "/readyz/shutdown").await;
    assert_eq!(one, (500, "internal server error: process is shutting down\n".to_owned()));
    assert_eq!(text(&api, "/readyz?exclude=shutdown").await, (200, "ok".to_owned()));
    assert_eq!(text(&api, "/livez").await.0, 200);
    api.post(MAPS, config_map("late")).await.ok();
    assert_eq!(watch.line().await, "ADDED late");
}

#[tokio::test]
async fn a_server_that_ends_ends_its_watches() {
    let mut api = Api::new().await;
    let (drain, running) = api.run();
    let mut watch = api.watch(&format!("{MAPS}?watch=1")).await;
    drain.cancel();
    assert_eq!(watch.line().await, "END");
    tokio::time::timeout(PATIENCE, running).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn methods_and_paths_that_nothing_answers_to() {
    let api = Api::new().await;
    let wrong = "405 MethodNotAllowed: the server does not allow this method on the requested \
                 resource";
    for what in [
        "PUT /api/v1/nodes",
        "POST /api/v1/nodes/n",
        "BREW /api/v1/nodes",
        "POST /version",
        "POST /api/v1/configmaps",
        "DELETE /api/v1/configmaps",
    ] {
        assert_eq!(api.ask(what, None).await.failure(), wrong, "{what}");
    }
    assert_eq!(api.get("/api/v1/foos").await.code, 404);
    for what in ["HEAD /livez", "HEAD /api/v1/nodes", "GET /coffee", "GET /livez", "GET /api/"] {
        let response = api.raw(User::admin(), what, Bytes::new(), &[]).await;
        assert_eq!(response.headers()["cache-control"], "no-cache, private", "{what}");
        assert!(response.headers().contains_key("audit-id"), "{what}");
        let body = response.into_body().collect().await.expect("body").to_bytes();
        assert_eq!(body.is_empty(), what.starts_with("HEAD"), "{what}");
    }
}

#[tokio::test]
async fn metrics_count_what_policies_say() {
    let api = Api::new().await;
    let group = "/apis/admissionregistration.k8s.io/v1";
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"],
            "resources": ["configmaps"],
        }]},
        "validations": [{"expression": "object.metadata.name != 'bad'"}],
    }});
    let binding = json!({"metadata": {"name": "b"}, "spec": {
        "policyName": "p", "validationActions": ["Deny"],
    }});
    api.post(&format!("{group}/validatingadmissionpolicies"), policy).await.ok();
    api.post(&format!("{group}/validatingadmissionpolicybindings"), binding).await.ok();
    assert_eq!(api.post(MAPS, config_map("bad")).await.code, 422);
    api.post(MAPS, config_map("good")).await.ok();
    let (_, all) = text(&api, "/metrics").await;
    for action in ["allow", "deny"] {
        let line = format!(
            "apiserver_validating_admission_policy_check_total{{policy=\"p\",policy_binding=\"b\",\
             error_type=\"no_error\",enforcement_action=\"{action}\"}} 1\n"
        );
        assert!(all.contains(&line), "{line} is not in\n{all}");
    }
}
