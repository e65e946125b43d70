//! Where an object is: namespace and name.

use std::fmt;

use kube::Resource;

/// Namespace and name of an object. The namespace of a cluster-wide object is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Namespace, empty for kinds without one.
    pub namespace: String,
    /// Name, unique for the kind within the namespace.
    pub name: String,
}

impl ObjectKey {
    /// Key of `name` in `namespace`.
    #[must_use]
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> ObjectKey {
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }

    /// Key of a cluster-wide object.
    #[must_use]
    pub fn cluster(name: impl Into<String>) -> ObjectKey {
        ObjectKey { namespace: String::new(), name: name.into() }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}/{}", self.namespace, self.name)
        }
    }
}

/// Short ways to the metadata that everybody needs.
pub trait KeyOf {
    /// Where the object is.
    fn key(&self) -> ObjectKey;
    /// Its unique id; empty before the API gave it one.
    fn uid_str(&self) -> &str;
    /// Whether its deletion has been asked for.
    fn is_terminating(&self) -> bool;
    /// The label of that name.
    fn label(&self, name: &str) -> Option<&str>;
    /// The annotation of that name.
    fn annotation(&self, name: &str) -> Option<&str>;
}

impl<K: Resource> KeyOf for K {
    fn key(&self) -> ObjectKey {
        let meta = self.meta();
        ObjectKey {
            namespace: meta.namespace.clone().unwrap_or_default(),
            name: meta.name.clone().unwrap_or_default(),
        }
    }

    fn uid_str(&self) -> &str {
        self.meta().uid.as_deref().unwrap_or_default()
    }

    fn is_terminating(&self) -> bool {
        self.meta().deletion_timestamp.is_some()
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.meta().labels.as_ref()?.get(name).map(String::as_str)
    }

    fn annotation(&self, name: &str) -> Option<&str> {
        self.meta().annotations.as_ref()?.get(name).map(String::as_str)
    }
}
