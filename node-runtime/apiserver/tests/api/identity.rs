//! Who asks: certificates, front proxies, tokens in headers and subprotocols, nobody known.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use minik_pki::{CA_VALIDITY, Ca, LeafRequest};
use serde_json::{Value, json};

use crate::harness::Api;
use crate::visitor::{Door, certificate};

const PROXY: &str = "front-proxy-client";
const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";

#[tokio::test]
async fn nobody_known_may_look_at_public_facts() {
    let mut api = Api::new().await;
    let door = Door::open(&mut api);
    for path in ["/healthz", "/livez", "/readyz", "/version"] {
        assert_eq!(door.ask(None, path, &[]).await.0, 200, "{path}");
    }
    let (code, body) = door.ask(None, "/api/v1/pods", &[]).await;
    assert_eq!(
        (code, body["message"].as_str()),
        (
            403,
            Some(
                "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in \
                    API group \"\" at the cluster scope"
            )
        )
    );
    assert_eq!(door.whoami(None, &[]).await, Ok("system:anonymous".to_owned()));
    // Who claims to be somebody is not nobody.
    assert_eq!(door.whoami(None, &[("authorization", "Bearer none")]).await, Err(401));
    let basic = [("authorization", "Basic YTpi")];
    assert_eq!(door.whoami(None, &basic).await, Ok("system:anonymous".to_owned()));
    door.close().await;
}

#[tokio::test]
async fn certificates_are_of_users_or_of_proxies() {
    let mut api = Api::new().await;
    let door = Door::open(&mut api);
    let ann = certificate(&api.ca, "ann", &["dev"]);
    let proxy = certificate(&api.front_proxy, PROXY, &[]);
    let other = certificate(&api.front_proxy, "somebody", &["system:masters"]);
    let fake = certificate(&api.ca, PROXY, &[]);
    let stranger = Ca::new("test", CA_VALIDITY).expect("authority");
    let stranger = certificate(&stranger, "ann", &["system:masters"]);
    let old = LeafRequest::client("ann", &[]).valid_for(Duration::ZERO);
    let old = api.ca.issue(&old).expect("a certificate");
    let says = [("x-remote-user", "root"), ("x-remote-group", "system:authenticated")];

    assert_eq!(door.whoami(Some(&ann), &[]).await, Ok("ann".to_owned()));
    assert_eq!(door.whoami(Some(&proxy), &says).await, Ok("root".to_owned()));
    // A proxy is nobody by itself, and a user is no proxy, whatever their name.
    assert_eq!(door.whoami(Some(&proxy), &[]).await, Err(401));
    assert_eq!(door.whoami(Some(&other), &says).await, Err(401));
    assert_eq!(door.whoami(Some(&other), &[]).await, Err(401));
    assert_eq!(door.whoami(Some(&ann), &says).await, Ok("ann".to_owned()));
    assert_eq!(door.whoami(Some(&fake), &says).await, Ok(PROXY.to_owned()));
    assert_eq!(door.whoami(None, &says).await, Ok("system:anonymous".to_owned()));
    // Certificates of nobody we know are refused by an answer, not by the handshake.
    assert_eq!(door.whoami(Some(&stranger), &[]).await, Err(401));
    assert_eq!(door.whoami(Some(&old), &[]).await, Err(401));
    door.close().await;
}

#[tokio::test]
async fn a_proxy_says_all_of_a_user() {
    let mut api = Api::new().await;
    let door = Door::open(&mut api);
    let proxy = certificate(&api.front_proxy, PROXY, &[]);
    let masters = [("x-remote-user", "root"), ("x-remote-group", "system:masters")];
    let (code, list) = door.ask(Some(&proxy), "/api/v1/namespaces", &masters).await;
    assert_eq!((code, list["kind"].as_str()), (200, Some("NamespaceList")));
    let nobody =
        [("x-remote-user", "system:anonymous"), ("x-remote-group", "system:unauthenticated")];
    let (code, _) = door.ask(Some(&proxy), "/api", &nobody).await;
    assert_eq!(code, 403, "discovery is for those who are known");
    let known = [("x-remote-user", "ann")];
    assert_eq!(door.ask(Some(&proxy), "/api", &known).await.0, 200);
    door.close().await;
}

#[tokio::test]
async fn a_certificate_counts_for_more_than_a_token() {
    let mut api = Api::new().await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let token = api.post(path, json!({})).await.ok()["status"]["token"].clone();
    let bearer = format!("Bearer {}", token.as_str().expect("a token"));
    let door = Door::open(&mut api);
    let account = Ok("system:serviceaccount:default:default".to_owned());
    let ann = certificate(&api.ca, "ann", &[]);
    let stranger = Ca::new("test", CA_VALIDITY).expect("authority");
    let stranger = certificate(&stranger, "ann", &[]);
    assert_eq!(door.whoami(None, &[("authorization", &bearer)]).await, account);
    assert_eq!(door.whoami(Some(&ann), &[("authorization", &bearer)]).await, Ok("ann".to_owned()));
    assert_eq!(door.whoami(Some(&stranger), &[("authorization", &bearer)]).await, account);

    // A browser's web socket has its token among the subprotocols.
    let encoded = URL_SAFE_NO_PAD.encode(token.as_str().expect("a token"));
    let hidden = format!("base64url.bearer.authorization.k8s.io.{encoded}");
    let socket = |protocols: &str| {
        let protocols = protocols.to_owned();
        let door = &door;
        async move {
            let headers = [
                ("connection", "Upgrade, close"),
                ("upgrade", "websocket"),
                ("sec-websocket-protocol", &protocols),
            ];
            door.whoami(None, &headers).await
        }
    };
    assert_eq!(socket(&format!("v4.channel.k8s.io, {hidden}")).await, account);
    assert_eq!(socket(&hidden).await, Err(401));
    door.close().await;
}

fn token(id: &str, changes: &Value) -> Value {
    let mut data = json!({"token-id": id, "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true"});
    for (key, value) in changes.as_object().into_iter().flatten() {
        data[key] = value.clone();
    }
    json!({"metadata": {"name": format!("bootstrap-token-{id}")},
        "type": "bootstrap.kubernetes.io/token", "stringData": data})
}

#[tokio::test]
async fn bootstrap_tokens_are_for_those_who_join() {
    let mut api = Api::new().await;
    let groups = json!({"auth-extra-groups": "system:bootstrappers:web"});
    api.post(SECRETS, token("abcdef", &groups)).await.ok();
    api.post(SECRETS, token("000000", &json!({"expiration": "2020-01-01T00:00:00Z"}))).await.ok();
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = json!({"spec": {"token": "abcdef.0123456789abcdef"}});
    let status = api.post(path, review).await.ok()["status"].clone();
    assert_eq!(status["user"]["username"], "system:bootstrap:abcdef");
    assert_eq!(
        status["user"]["groups"],
        json!(["system:bootstrappers", "system:bootstrappers:web", "system:authenticated"])
    );
    let door = Door::open(&mut api);
    let ask = async |token: &str| {
        let bearer = format!("Bearer {token}");
        door.whoami(None, &[("authorization", &bearer)]).await
    };
    assert_eq!(ask("abcdef.0123456789abcdef").await, Ok("system:bootstrap:abcdef".to_owned()));
    for bad in ["abcdef.0123456789abcdee", "000000.0123456789abcdef", "111111.0123456789abcdef"] {
        assert_eq!(ask(bad).await, Err(401), "{bad}");
    }
    api.delete(&format!("{SECRETS}/bootstrap-token-abcdef")).await.ok();
    assert_eq!(ask("abcdef.0123456789abcdef").await, Err(401), "it is gone");
    door.close().await;
}
