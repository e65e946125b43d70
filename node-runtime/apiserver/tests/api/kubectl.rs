//! The real kubectl against the server over TLS: every line of a session, and what it says.

use std::path::Path;
use std::process::Stdio;

use minik_pki::{Credentials, Entry, Kubeconfig, LeafRequest, Pem};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;

use crate::harness::{Api, PATIENCE};

const MANIFEST: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c, namespace: shop}
data: {a: '1'}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: a, image: nginx, ports: [{containerPort: 80}]}]
";

struct Session {
    folder: tempfile::TempDir,
}

impl Session {
    fn new(api: &Api, address: std::net::SocketAddr) -> Session {
        let folder = tempfile::tempdir().expect("folder");
        let admin = LeafRequest::client("kubernetes-admin", &["system:masters"]);
        let admin = api.ca.issue(&admin).expect("certificate");
        let mut config = Kubeconfig::default();
        config.put(&Entry {
            name: "minik".to_owned(),
            server: format!("https://{address}"),
            credentials: Credentials {
                authority: Pem::Text(api.ca.cert_pem().to_owned()),
                certificate: Pem::Text(admin.cert_pem),
                key: Pem::Text(admin.key_pem),
            },
            namespace: None,
        });
        config.current_context = "minik".to_owned();
        let path = folder.path().join("kubeconfig");
        std::fs::write(path, config.to_yaml().expect("yaml")).expect("write");
        Session { folder }
    }

    /// Runs kubectl; what it printed on both outputs, and whether it was content.
    async fn try_run(&self, line: &str, input: &str) -> (bool, String) {
        let folder: &Path = self.folder.path();
        let mut child = Command::new("kubectl")
            .args(line.split(' '))
            .env("KUBECONFIG", folder.join("kubeconfig"))
            .env("HOME", folder)
            .env("KUBE_EDITOR", "sed -i s/nginx:3/nginx:4/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl is installed");
        let mut stdin = child.stdin.take().expect("stdin");
        stdin.write_all(input.as_bytes()).await.expect("write");
        drop(stdin);
        let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await;
        let output = output.expect("kubectl ends in time").expect("kubectl runs");
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        // The client may be older than the server allows officially.
        let lines = text.lines().filter(|line| !line.starts_with("WARNING: version difference"));
        (output.status.success(), lines.collect::<Vec<_>>().join("\n"))
    }

    #[track_caller]
    fn check(line: &str, (good, said): &(bool, String), wanted: &[&str]) {
        assert!(good, "kubectl {line}: {said}");
        for part in wanted {
            assert!(said.contains(part), "kubectl {line}: {part:?} is not in: {said}");
        }
    }

    async fn run(&self, line: &str, wanted: &[&str]) -> String {
        let result = self.try_run(line, "").await;
        Session::check(line, &result, wanted);
        result.1
    }

    async fn run_with(&self, input: &str, line: &str, wanted: &[&str]) {
        let result = self.try_run(line, input).await;
        Session::check(line, &result, wanted);
    }

    async fn refused(&self, line: &str, wanted: &str) {
        let (good, said) = self.try_run(line, "").await;
        assert!(!good && said.contains(wanted), "kubectl {line}: {said}");
    }
}

#[tokio::test]
async fn a_session() {
    let mut api = Api::new().await;
    let server = api.server.take().expect("server");
    let address = server.address;
    let drain = CancellationToken::new();
    let running = tokio::spawn(server.run(drain.clone()));
    let kubectl = Session::new(&api, address);

    looking_around(&kubectl).await;
    applying(&kubectl).await;
    changing(&kubectl).await;
    imperative(&kubectl).await;
    rights(&kubectl).await;
    deleting(&kubectl).await;

    drain.cancel();
    tokio::time::timeout(PATIENCE, running).await.expect("drained").expect("no panic");
}

async fn looking_around(kubectl: &Session) {
    kubectl.run("version", &["Server Version: v1.36.0"]).await;
    kubectl.run("api-resources", &["deploy", "apps/v1", "EndpointSlice"]).await;
    kubectl.run("api-versions", &["storage.k8s.io/v1", "rbac.authorization.k8s.io/v1"]).await;
    kubectl.run("get ns", &["kube-node-lease", "Active"]).await;
    kubectl.run("get svc -A", &["10.96.0.1", "443/TCP"]).await;
    kubectl.run("get --raw /readyz?verbose", &["[+]ping ok", "readyz check passed"]).await;
    kubectl.run("explain deployment.spec.strategy", &["rollingUpdate", "DeploymentStrategy"]).await;
    kubectl.run("explain pods --recursive", &["containerPort", "initContainers"]).await;
    kubectl.refused("get nonsense", "the server doesn't have a resource type").await;
}

async fn applying(kubectl: &Session) {
    kubectl.run_with(MANIFEST, "apply -f -", &["deployment.apps/web created"]).await;
    let changed = MANIFEST.replace("replicas: 1", "replicas: 3").replace("a: '1'", "b: '2'");
    kubectl.run_with(&changed, "apply -f -", &["web configured", "shop unchanged"]).await;
    let data = kubectl.run("get cm c -n shop -o jsonpath={.data}", &[]).await;
    assert_eq!(data, r#"{"b":"2"}"#, "apply takes away what is not applied any more");
    let misspelt = MANIFEST.replace("image: nginx", "imagee: nginx");
    let (good, said) = kubectl.try_run("apply -f -", &misspelt).await;
    assert!(!good && said.contains(r#"unknown field "spec.template.spec.containers[0].imagee""#));
    kubectl.run("describe deploy web -n shop", &["3 desired", "RollingUpdate"]).await;
}

async fn changing(kubectl: &Session) {
    kubectl.run("annotate deploy web -n shop x=y", &["annotated"]).await;
    kubectl.run("label deploy web -n shop tier=front", &["labeled"]).await;
    kubectl.run("get deploy -n shop -l tier=front -o name", &["deployment.apps/web"]).await;
    kubectl.run("set image deploy/web -n shop a=nginx:3", &["image updated"]).await;
    kubectl.run("edit deploy web -n shop", &["edited"]).await;
    kubectl.run("get deploy -n shop -o wide", &["nginx:4"]).await;
    kubectl.run("scale deploy web -n shop --replicas=5", &["scaled"]).await;
    kubectl
        .run("wait deploy/web -n shop --for=jsonpath={.spec.replicas}=5", &["condition met"])
        .await;
    kubectl.run("get deploy web -n shop -o yaml", &["replicas: 5", "image: nginx:4"]).await;
    kubectl.run("get deploy web -n shop --watch-only --request-timeout=1s", &[]).await;
}

async fn imperative(kubectl: &Session) {
    kubectl.run("create deployment api --image=x --replicas=2", &["created"]).await;
    kubectl.run("expose deployment api --type=NodePort --port=80", &["exposed"]).await;
    kubectl.run("get svc api", &["NodePort", "80:3"]).await;
    kubectl.run("run one --image=x", &["pod/one created"]).await;
    kubectl.run("get pods", &["one", "Pending"]).await;
    kubectl.run("describe pod one", &["kube-api-access-", "QoS Class:"]).await;
    kubectl.run("create secret generic s --from-literal=k=v", &["created"]).await;
    kubectl.run("get secret s -o jsonpath={.data.k}", &["dg=="]).await;
    kubectl.run("create job j --image=x", &["created"]).await;
    kubectl.run("get all", &["deployment.apps/api", "service/api", "pod/one"]).await;
    kubectl.run("get pods --chunk-size=1 -A", &["one"]).await;
}

async fn rights(kubectl: &Session) {
    kubectl.run("auth whoami", &["kubernetes-admin", "system:masters"]).await;
    kubectl.run("create role r --verb=get,list --resource=pods", &["created"]).await;
    kubectl.run("create rolebinding rb --role=r --user=ann", &["created"]).await;
    kubectl.run("auth can-i list pods --as=ann", &["yes"]).await;
    kubectl.refused("auth can-i delete pods --as=ann", "no").await;
    kubectl.run("get pods --as=ann", &["one"]).await;
    kubectl.refused("get secrets --as=ann", r#"User "ann" cannot list resource "secrets""#).await;
    kubectl.run("auth can-i --list --as=ann", &["pods", "[get list]"]).await;
    let token = kubectl.run("create token default", &[]).await;
    // A certificate would count for more than the token.
    let server = kubectl.run("config view -o jsonpath={.clusters[0].cluster.server}", &[]).await;
    let as_pod = format!(
        "auth whoami --kubeconfig=/dev/null --server={server} --insecure-skip-tls-verify \
         --token={token}"
    );
    let (_, said) = kubectl.try_run(&as_pod, "").await;
    assert!(said.contains("system:serviceaccount:default:default"), "{said}");
}

async fn deleting(kubectl: &Session) {
    kubectl.run("delete pod one", &["deleted"]).await;
    kubectl.run("delete deploy,svc -l app=api", &["deployment.apps \"api\" deleted"]).await;
    kubectl.run("delete ns shop --wait=false", &["deleted"]).await;
    kubectl.run("get ns shop", &["Terminating"]).await;
    kubectl.refused("create cm x -n shop", "being terminated").await;
    kubectl.run("delete svc kubernetes", &["deleted"]).await;
    kubectl.run("wait svc/kubernetes --for=create --timeout=15s", &["condition met"]).await;
    kubectl.run("get svc kubernetes", &["10.96.0.1"]).await;
    kubectl.refused("delete ns default", "this namespace may not be deleted").await;
}
