//! Tokens of an issuer on the loopback that is asked for its keys over TLS.

use std::sync::{Arc, Mutex, OnceLock};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use minik_config::{Authentication, OidcFlags};
use minik_pki::ec_key_pair;
use serde_json::{Value, json};

use crate::harness::Api;
use crate::hook::{HookServer, Reply};
use crate::visitor::Door;

/// Keys that an issuer publishes, and signs with the last of.
#[derive(Clone, Default)]
struct Keys(Arc<Mutex<Vec<(String, EncodingKey)>>>);

impl Keys {
    fn add(&self, id: &str) {
        let pair = ec_key_pair().expect("keys");
        let key = EncodingKey::from_ec_pem(pair.private_pem.as_bytes()).expect("a key");
        self.0.lock().expect("no holder panics").push((id.to_owned(), key));
    }

    fn document(&self) -> Value {
        let keys = self.0.lock().expect("no holder panics");
        let keys = keys.iter().map(|(id, key)| {
            let mut jwk = Jwk::from_encoding_key(key, Algorithm::ES256).expect("a key");
            jwk.common.key_id = Some(id.clone());
            json!(jwk)
        });
        json!({"keys": keys.collect::<Vec<_>>()})
    }

    fn sign(&self, claims: &Value) -> String {
        let keys = self.0.lock().expect("no holder panics");
        let (id, key) = keys.last().expect("a key");
        let header = Header { kid: Some(id.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, key).expect("a token")
    }
}

struct Issuer {
    url: String,
    server: HookServer,
    keys: Keys,
}

impl Issuer {
    async fn start() -> Issuer {
        let keys = Keys::default();
        keys.add("first");
        let (url, published) = (Arc::new(OnceLock::<String>::new()), keys.clone());
        let known = Arc::clone(&url);
        let server = HookServer::start(move |path, _| {
            let url = known.get().expect("it has started");
            match path {
                "/.well-known/openid-configuration" => Reply::Object(json!({
                    "issuer": url, "jwks_uri": format!("{url}/keys"),
                })),
                "/keys" => Reply::Object(published.document()),
                _ => Reply::Code(404, "nothing here"),
            }
        })
        .await;
        let address = format!("https://{}", server.address);
        url.set(address.clone()).expect("set once");
        Issuer { url: address, server, keys }
    }

    fn ca_pem(&self) -> String {
        let pem = STANDARD.decode(&self.server.bundle).expect("base64");
        String::from_utf8(pem).expect("text")
    }

    fn claims(&self, changes: &Value) -> Value {
        let mut claims = json!({"iss": self.url, "aud": "minik", "sub": "ann",
            "exp": 4_000_000_000_u64, "groups": ["dev"]});
        for (key, value) in changes.as_object().into_iter().flatten() {
            claims[key] = value.clone();
        }
        claims
    }

    fn token(&self, changes: &Value) -> String {
        self.keys.sign(&self.claims(changes))
    }

    fn settings(&self) -> Authentication {
        let flags = OidcFlags {
            issuer_url: self.url.clone(),
            client_id: "minik".to_owned(),
            username_prefix: "oidc:".to_owned(),
            groups_claim: "groups".to_owned(),
            groups_prefix: "oidc:".to_owned(),
            certificate_authority: self.ca_pem(),
            signing_algorithms: vec!["ES256".to_owned()],
            ..OidcFlags::default()
        };
        flags.settings().expect("good flags")
    }
}

async fn whoami(door: &Door, token: &str) -> Result<String, u16> {
    let bearer = format!("Bearer {token}");
    door.whoami(None, &[("authorization", &bearer)]).await
}

/// A token without a signature.
fn unsigned(claims: &Value) -> String {
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.", encode(&json!({"alg": "none", "typ": "JWT"})), encode(claims))
}

#[tokio::test]
async fn tokens_of_an_issuer() {
    let issuer = Issuer::start().await;
    let mut api = Api::trusting(issuer.settings()).await;
    let door = Door::open(&mut api);
    assert_eq!(issuer.server.take(), [], "nobody asks before there is a token");
    assert_eq!(whoami(&door, &issuer.token(&json!({}))).await, Ok("oidc:ann".to_owned()));
    let asked: Vec<String> = issuer.server.take().into_iter().map(|(path, _)| path).collect();
    assert_eq!(asked, ["/.well-known/openid-configuration", "/keys"]);

    for changes in [
        json!({"aud": "other"}),
        json!({"exp": 1}),
        json!({"iss": "https://other.example"}),
        json!({"nbf": 3_999_999_999_u64}),
        json!({"sub": null}),
    ] {
        assert_eq!(whoami(&door, &issuer.token(&changes)).await, Err(401), "{changes}");
    }
    assert_eq!(whoami(&door, &unsigned(&issuer.claims(&json!({})))).await, Err(401));
    let secret = EncodingKey::from_secret(issuer.ca_pem().as_bytes());
    let shared = Header { kid: Some("first".to_owned()), ..Header::new(Algorithm::HS256) };
    let shared = jsonwebtoken::encode(&shared, &issuer.claims(&json!({})), &secret);
    assert_eq!(whoami(&door, &shared.expect("a token")).await, Err(401));
    assert_eq!(issuer.server.take(), [], "none of these needs another key");

    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    let review = json!({"spec": {"token": issuer.token(&json!({"jti": "7"}))}});
    let user = api.post(path, review).await.ok()["status"]["user"].clone();
    assert_eq!(user["groups"], json!(["oidc:dev", "system:authenticated"]));
    assert_eq!(user["extra"]["authentication.kubernetes.io/credential-id"], json!(["JTI=7"]));
    let review = json!({"spec": {"token": issuer.token(&json!({"aud": "other"}))}});
    let status = api.post(path, review).await.ok()["status"].clone();
    assert_eq!(
        status["error"],
        "oidc: verify token: oidc: expected audience \"minik\" got [\"other\"]"
    );
    door.close().await;
}

#[tokio::test]
async fn unknown_keys_are_asked_for_seldom() {
    let issuer = Issuer::start().await;
    let mut api = Api::trusting(issuer.settings()).await;
    let door = Door::open(&mut api);
    // Somebody else's key, under a name that the issuer does not have: keys are fetched, in vain.
    let thief = Keys::default();
    thief.add("unknown");
    let forged = thief.sign(&issuer.claims(&json!({})));
    assert_eq!(whoami(&door, &forged).await, Err(401));
    assert_eq!(issuer.server.take().len(), 2);
    // They could have changed since, but not all the time, however many tokens come.
    for _ in 0..5 {
        assert_eq!(whoami(&door, &forged).await, Err(401));
    }
    assert_eq!(issuer.server.take().len(), 2);
    assert_eq!(whoami(&door, &issuer.token(&json!({}))).await, Ok("oidc:ann".to_owned()));
    // A stolen name does not help.
    let thief = Keys::default();
    thief.add("first");
    let forged = thief.sign(&issuer.claims(&json!({})));
    assert_eq!(whoami(&door, &forged).await, Err(401));
    door.close().await;
}

#[tokio::test]
async fn keys_are_rotated() {
    let issuer = Issuer::start().await;
    let text = format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n\
         - issuer: {{url: '{}', audiences: [minik], certificateAuthority: {}}}\n  \
         claimMappings:\n    username: {{expression: '\"x:\" + claims.sub'}}\n\
         anonymous: {{enabled: true, conditions: [{{path: /livez}}]}}\n",
        issuer.url,
        json!(issuer.ca_pem()),
    );
    let settings = Authentication::from_text(&text).expect("good settings");
    let mut api = Api::trusting(settings).await;
    let door = Door::open(&mut api);
    assert_eq!(door.ask(None, "/livez", &[]).await.0, 200);
    assert_eq!(door.ask(None, "/version", &[]).await.0, 401, "that is not for everybody here");
    let before = issuer.token(&json!({}));
    assert_eq!(whoami(&door, &before).await, Ok("x:ann".to_owned()));
    assert_eq!(issuer.server.take().len(), 2);
    issuer.keys.add("second");
    assert_eq!(whoami(&door, &issuer.token(&json!({}))).await, Ok("x:ann".to_owned()));
    assert_eq!(issuer.server.take().len(), 2, "the key was new");
    assert_eq!(whoami(&door, &issuer.token(&json!({}))).await, Ok("x:ann".to_owned()));
    assert_eq!(whoami(&door, &before).await, Ok("x:ann".to_owned()), "both are published");
    assert_eq!(issuer.server.take(), [], "known keys are not asked for");
    door.close().await;
}
