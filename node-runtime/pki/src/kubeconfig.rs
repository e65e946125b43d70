//! A kubeconfig document: what minik reads and changes is typed, everything else is kept as it was.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::PkiError;

type Other = Map<String, Value>;

/// One kubeconfig file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kubeconfig {
    /// Always `v1`.
    #[serde(rename = "apiVersion", default = "v1")]
    pub api_version: String,
    /// Always `Config`.
    #[serde(default = "config")]
    pub kind: String,
    /// Where API servers are.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub clusters: Vec<NamedCluster>,
    /// Pairs of cluster and user.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub contexts: Vec<NamedContext>,
    /// The context commands use unless told otherwise; empty is none.
    #[serde(rename = "current-context", default)]
    pub current_context: String,
    /// Credentials.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub users: Vec<NamedAuthInfo>,
    /// Fields minik does not know.
    #[serde(flatten)]
    pub other: Other,
}

/// A cluster and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedCluster {
    /// Name contexts refer to.
    pub name: String,
    /// The cluster.
    pub cluster: Cluster,
}

/// Where an API server is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Cluster {
    /// URL.
    #[serde(default)]
    pub server: String,
    /// Authority of its certificate: a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority: Option<String>,
    /// Authority of its certificate: PEM in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_authority_data: Option<String>,
    /// Fields minik does not know.
    #[serde(flatten)]
    pub other: Other,
}

/// A context and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedContext {
    /// Name.
    pub name: String,
    /// The context.
    pub context: Context,
}

/// Which user talks to which cluster, in which namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Context {
    /// Name of the cluster.
    #[serde(default)]
    pub cluster: String,
    /// Name of the user.
    #[serde(default)]
    pub user: String,
    /// Namespace used when none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Fields minik does not know.
    #[serde(flatten)]
    pub other: Other,
}

/// A user and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedAuthInfo {
    /// Name contexts refer to.
    pub name: String,
    /// The credentials.
    pub user: AuthInfo,
}

/// Credentials: a client certificate and its key, as files or as PEM in base64.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct AuthInfo {
    /// File of the certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate: Option<String>,
    /// The certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_certificate_data: Option<String>,
    /// File of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key: Option<String>,
    /// The key. Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_key_data: Option<String>,
    /// Fields minik does not know.
    #[serde(flatten)]
    pub other: Other,
}

/// One PEM text, as a file of its own or inside the kubeconfig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    /// Path of a file.
    File(String),
    /// The text itself.
    Text(String),
}

/// What a cluster's entries hold: the authority and a client certificate with its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The cluster's certificate authority.
    pub authority: Pem,
    /// The client's certificate.
    pub certificate: Pem,
    /// The client's key.
    pub key: Pem,
}

/// Cluster, user and context of one name, as minik writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Name of all three.
    pub name: String,
    /// URL of the API server.
    pub server: String,
    /// How to talk to it.
    pub credentials: Credentials,
    /// Namespace of the context; an existing one is kept when this is none.
    pub namespace: Option<String>,
}

impl Default for Kubeconfig {
    fn default() -> Kubeconfig {
        Kubeconfig {
            api_version: v1(),
            kind: config(),
            clusters: Vec::new(),
            contexts: Vec::new(),
            current_context: String::new(),
            users: Vec::new(),
            other: Map::new(),
        }
    }
}

impl Kubeconfig {
    /// Understands a kubeconfig; an empty text is an empty one.
    pub fn parse(text: &str) -> Result<Kubeconfig, PkiError> {
        if text.trim().is_empty() {
            return Ok(Kubeconfig::default());
        }
        serde_yaml::from_str(text).map_err(|err| PkiError::Kubeconfig { reason: err.to_string() })
    }

    /// The document as YAML.
    pub fn to_yaml(&self) -> Result<String, PkiError> {
        serde_yaml::to_string(self).map_err(|err| PkiError::Kubeconfig { reason: err.to_string() })
    }

    /// Puts an entry in, over one of the same name; fields minik does not know stay.
    pub fn put(&mut self, entry: &Entry) {
        let name = &entry.name;
        let at = find_or_add(
            &mut self.clusters,
            |c| c.name == *name,
            || NamedCluster { name: name.clone(), cluster: Cluster::default() },
        );
        at.cluster.server.clone_from(&entry.server);
        let (file, data) = split(&entry.credentials.authority);
        at.cluster.certificate_authority = file;
        at.cluster.certificate_authority_data = data;

        let at = find_or_add(
            &mut self.users,
            |u| u.name == *name,
            || NamedAuthInfo { name: name.clone(), user: AuthInfo::default() },
        );
        (at.user.client_certificate, at.user.client_certificate_data) =
            split(&entry.credentials.certificate);
        (at.user.client_key, at.user.client_key_data) = split(&entry.credentials.key);

        let at = find_or_add(
            &mut self.contexts,
            |c| c.name == *name,
            || NamedContext { name: name.clone(), context: Context::default() },
        );
        at.context.cluster.clone_from(name);
        at.context.user.clone_from(name);
        if entry.namespace.is_some() {
            at.context.namespace.clone_from(&entry.namespace);
        }
    }

    /// Takes cluster, user and context of that name out; whether anything was there.
    pub fn remove(&mut self, name: &str) -> bool {
        let before = self.clusters.len() + self.contexts.len() + self.users.len();
        self.clusters.retain(|cluster| cluster.name != name);
        self.contexts.retain(|context| context.name != name);
        self.users.retain(|user| user.name != name);
        if self.current_context == name {
            self.current_context.clear();
        }
        before != self.clusters.len() + self.contexts.len() + self.users.len()
    }

    /// URL of the API server the context of that name leads to.
    pub fn server_of(&self, context: &str) -> Option<&str> {
        let context = self.contexts.iter().find(|known| known.name == context)?;
        let cluster = self.clusters.iter().find(|known| known.name == context.context.cluster)?;
        Some(&cluster.cluster.server)
    }

    /// Whether a context of that name is there.
    pub fn has_context(&self, name: &str) -> bool {
        self.contexts.iter().any(|context| context.name == name)
    }
}

fn find_or_add<T>(
    list: &mut Vec<T>,
    is_it: impl Fn(&T) -> bool,
    make: impl FnOnce() -> T,
) -> &mut T {
    let at = list.iter().position(is_it).unwrap_or_else(|| {
        list.push(make());
        list.len() - 1
    });
    &mut list[at]
}

fn split(pem: &Pem) -> (Option<String>, Option<String>) {
    match pem {
        Pem::File(path) => (Some(path.clone()), None),
        Pem::Text(text) => (None, Some(BASE64.encode(text))),
    }
}

fn v1() -> String {
    "v1".to_owned()
}

fn config() -> String {
    "Config".to_owned()
}

/// `clusters: null` is what some tools write for none.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use expect_test::expect;

    use super::*;

    const THEIRS: &str = r#"
apiVersion: v1
kind: Config
preferences: {colors: true}
clusters:
- name: work
  cluster:
    server: https://work.example:6443
    tls-server-name: inner
    extensions:
    - name: audit
      extension: {level: "012", enabled: yes, count: 7}
contexts:
- name: work
  context: {cluster: work, user: me, namespace: team}
current-context: work
users:
- name: me
  user:
    exec:
      apiVersion: client.authentication.k8s.io/v1
      command: login
      args: ["--for", "work"]
"#;

    fn entry(server: &str, pem: fn(String) -> Pem) -> Entry {
        Entry {
            name: "minik".to_owned(),
            server: server.to_owned(),
            credentials: Credentials {
                authority: pem("ca".to_owned()),
                certificate: pem("cert".to_owned()),
                key: pem("key".to_owned()),
            },
            namespace: None,
        }
    }

    #[test]
    fn what_others_wrote_stays() {
        let mut document = Kubeconfig::parse(THEIRS).unwrap();
        document.put(&entry("https://192.168.49.2:8443", Pem::Text));
        document.current_context = "minik".to_owned();
        expect![[r#"
            apiVersion: v1
            kind: Config
            clusters:
            - name: work
              cluster:
                server: https://work.example:6443
                tls-server-name: inner
                extensions:
                - name: audit
                  extension:
                    level: "012"
                    enabled: true
                    count: 7
            - name: minik
              cluster:
                server: https://192.168.49.2:8443
                certificate-authority-data: Y2E=
            contexts:
            - name: work
              context:
                cluster: work
                user: me
                namespace: team
            - name: minik
              context:
                cluster: minik
                user: minik
            current-context: minik
            users:
            - name: me
              user:
                exec:
                  apiVersion: client.authentication.k8s.io/v1
                  command: login
                  args:
                  - --for
                  - work
            - name: minik
              user:
                client-certificate-data: Y2VydA==
                client-key-data: a2V5
            preferences:
              colors: true
        "#]]
        .assert_eq(&document.to_yaml().unwrap());

        let mut again = Kubeconfig::parse(&document.to_yaml().unwrap()).unwrap();
        assert_eq!(again, document);
        assert!(again.remove("minik"));
        assert!(!again.remove("minik"));
        assert_eq!(again.current_context, "");
        again.current_context = "work".to_owned();
        assert_eq!(again, Kubeconfig::parse(THEIRS).unwrap());
    }

    #[test]
    fn putting_again_changes_the_entry_and_keeps_its_namespace() {
        let mut document = Kubeconfig::default();
        document.put(&entry("https://a:1", Pem::Text));
        document.contexts[0].context.namespace = Some("web".to_owned());
        document.clusters[0].cluster.other.insert("proxy-url".to_owned(), "http://p".into());
        document.put(&entry("https://a:2", Pem::File));
        assert_eq!(document.server_of("minik"), Some("https://a:2"));
        assert_eq!(document.contexts[0].context.namespace.as_deref(), Some("web"));
        assert_eq!(document.clusters[0].cluster.certificate_authority_data, None);
        assert_eq!(document.clusters[0].cluster.certificate_authority.as_deref(), Some("ca"));
        assert_eq!(document.clusters[0].cluster.other["proxy-url"], "http://p");
        assert_eq!(document.users.len(), 1);
    }

    #[test]
    fn empty_and_null_are_fine_and_nonsense_is_not() {
        assert_eq!(Kubeconfig::parse("").unwrap(), Kubeconfig::default());
        let nulls = "apiVersion: v1\nkind: Config\nclusters: null\ncontexts: null\nusers: null\n";
        assert_eq!(Kubeconfig::parse(nulls).unwrap(), Kubeconfig::default());
        assert!(Kubeconfig::parse("clusters: 7").is_err());
    }

    #[test]
    fn long_data_is_one_line() {
        let mut document = Kubeconfig::default();
        let mut long = entry("https://a:1", Pem::Text);
        long.credentials.authority = Pem::Text("x".repeat(3000));
        document.put(&long);
        let yaml = document.to_yaml().unwrap();
        assert!(yaml.lines().any(|line| line.len() > 3000), "{yaml}");
        assert_eq!(Kubeconfig::parse(&yaml).unwrap(), document);
    }
}
