//! What is on disk when resources are encrypted, and what becomes of it with other keys.

use std::path::Path;

use expect_test::{Expect, expect};
use minik_config::EncryptionConfiguration;
use minik_store::{Storage, Store};
use serde_json::{Value, json};

use crate::harness::{Api, MAPS, config_map};

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const PLAIN: &str = "correct-horse-battery-staple";

/// A server on the store in `folder` whose secrets are kept by these providers.
async fn serve(folder: &Path, providers: &str) -> Api {
    let key = |digit: &str| format!("{}MTI=", "MTIz".repeat(10).replace('z', digit));
    let text = format!(
        "{{apiVersion: apiserver.config.k8s.io/v1, kind: EncryptionConfiguration, \
         resources: [{{resources: [secrets], providers: [{providers}]}}]}}"
    );
    let text = text.replace("ONE", &key("z")).replace("TWO", &key("y"));
    let configuration = (!providers.is_empty())
        .then(|| EncryptionConfiguration::from_text(&text).expect("configuration"));
    let store = Store::open(&minik_store::Config::new(Storage::Folder(folder.to_owned())));
    Api::configured(store.expect("store"), |config| config.encryption = configuration).await
}

fn way(provider: &str, name: &str, secret: &str) -> String {
    format!("{{{provider}: {{keys: [{{name: {name}, secret: {secret}}}]}}}}")
}

/// Ends the server, so that everything is on disk and another may have it.
async fn end(mut api: Api) {
    drop(api.server.take());
    let store = api.store.clone();
    drop(api);
    store.close().await;
}

fn on_disk(folder: &Path, wanted: &str) -> bool {
    let mut found = false;
    for entry in std::fs::read_dir(folder).expect("folder") {
        let path = entry.expect("entry").path();
        if path.is_file() {
            let bytes = std::fs::read(&path).expect("file");
            found |= bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes());
        }
    }
    found
}

fn secret(name: &str) -> Value {
    json!({"metadata": {"name": name}, "stringData": {"password": PLAIN}})
}

/// The text as it is in the object.
fn encoded() -> &'static str {
    "Y29ycmVjdC1ob3JzZS1iYXR0ZXJ5LXN0YXBsZQ=="
}

async fn fails(api: &Api, what: &str, expected: Expect) {
    expected.assert_eq(&api.ask(what, None).await.failure());
}

#[tokio::test]
async fn only_what_is_encrypted_is_on_disk() {
    let folder = tempfile::tempdir().expect("folder");
    let api = serve(folder.path(), &way("secretbox", "key1", "ONE")).await;
    let mut watch = api.watch(&format!("{SECRETS}?watch=1")).await;
    api.post(SECRETS, secret("a")).await.ok();
    api.post(MAPS, config_map("plain-map")).await.ok();
    assert_eq!(watch.line().await, "ADDED a");
    let read = api.get(&format!("{SECRETS}/a")).await.ok();
    assert_eq!(read["data"]["password"], encoded());
    api.patch(&format!("{SECRETS}/a"), json!({"metadata": {"labels": {"x": "y"}}})).await.ok();
    assert_eq!(watch.line().await, "MODIFIED a");
    drop(watch);
    let list = api.get(&format!("{SECRETS}?labelSelector=x%3Dy")).await.ok();
    assert_eq!(list["items"][0]["data"]["password"], encoded());
    end(api).await;
    assert!(on_disk(folder.path(), "k8s:enc:secretbox:v1:key1:"));
    assert!(!on_disk(folder.path(), encoded()) && !on_disk(folder.path(), PLAIN));
    assert!(on_disk(folder.path(), "plain-map"), "what is not encrypted is");

    let api = serve(folder.path(), &way("secretbox", "key1", "ONE")).await;
    assert_eq!(api.get(&format!("{SECRETS}/a")).await.ok()["data"]["password"], encoded());
    end(api).await;
}

#[tokio::test]
async fn keys_are_turned_over() {
    let folder = tempfile::tempdir().expect("folder");
    let (old, new) = (way("aescbc", "key1", "ONE"), way("aesgcm", "key2", "TWO"));
    let path = format!("{SECRETS}/a");
    let api = serve(folder.path(), "").await;
    api.post(SECRETS, secret("a")).await.ok();
    end(api).await;
    assert!(on_disk(folder.path(), encoded()));

    let mut before = String::new();
    for (providers, prefix) in [
        (format!("{old}, {{identity: {{}}}}"), "k8s:enc:aescbc:v1:key1:"),
        (format!("{new}, {old}"), "k8s:enc:aesgcm:v1:key2:"),
    ] {
        let api = serve(folder.path(), &providers).await;
        let object = api.get(&path).await.ok();
        let written = api.put(&path, object.clone()).await.ok();
        let version = |object: &Value| object["metadata"]["resourceVersion"].to_string();
        assert_ne!(version(&written), version(&object), "written anew without a change");
        let again = api.put(&path, written.clone()).await.ok();
        assert_eq!(version(&again), version(&written), "but only once");
        before = version(&again);
        end(api).await;
        assert!(on_disk(folder.path(), prefix));
    }
    let api = serve(folder.path(), &new).await;
    let object = api.get(&path).await.ok();
    assert_eq!(object["metadata"]["resourceVersion"].to_string(), before);
    assert_eq!(object["data"]["password"], encoded());
    end(api).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_a_clear_failure() {
    let folder = tempfile::tempdir().expect("folder");
    let api = serve(folder.path(), &way("secretbox", "key1", "ONE")).await;
    api.post(SECRETS, secret("a")).await.ok();
    api.post(MAPS, config_map("b")).await.ok();
    end(api).await;
    let get = format!("GET {SECRETS}/a");

    let api = serve(folder.path(), "").await;
    fails(&api, &get, expect!["500 InternalError: Internal error occurred: identity transformer tried to read encrypted data"]).await;
    fails(&api, &format!("GET {SECRETS}"), expect![[r#"500 InternalError: Internal error occurred: unable to transform key "/registry/core/secrets/default/a": identity transformer tried to read encrypted data"#]]).await;
    fails(&api, &format!("DELETE {SECRETS}/a"), expect!["500 InternalError: Internal error occurred: identity transformer tried to read encrypted data"]).await;
    api.get(&format!("{MAPS}/b")).await.ok();
    end(api).await;

    let both = format!("{}, {}", way("secretbox", "key1", "TWO"), "{identity: {}}");
    let api = serve(folder.path(), &both).await;
    fails(&api, &get, expect!["500 InternalError: Internal error occurred: output array was not large enough for encryption"]).await;
    let patch = json!({"metadata": {"labels": {"x": "y"}}});
    let patched = api.patch(&format!("{SECRETS}/a"), patch).await.failure();
    expect!["500 InternalError: Internal error occurred: output array was not large enough for encryption"].assert_eq(&patched);
    api.post(SECRETS, secret("c")).await.ok();
    api.get(&format!("{SECRETS}/c")).await.ok();
    end(api).await;

    let api = serve(folder.path(), &way("secretbox", "key9", "ONE")).await;
    fails(&api, &get, expect!["500 InternalError: Internal error occurred: no matching key was found for the provided Secretbox transformer"]).await;
    end(api).await;
}
