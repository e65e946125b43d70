//! The store as the rest of the server sees it: objects as they are, whatever is on disk.
//!
//! Values are sealed on their way in and opened on their way out, as the user's configuration says,
//! so the store and its files hold what is sealed only. A value that cannot be opened becomes a note
//! that says why, which is no object: see [`readable`].

mod cipher;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use minik_config::{EncryptionConfiguration, EncryptionProvider};
use minik_meta::Status;
use minik_store::{
    Entry, Event, EventKind, ListOptions, Op, Page, Previous, Revision, StoreError, WatchError,
    Write,
};
use tracing::{error, warn};

use crate::objects::ROOT;
use cipher::{Opened, Provider};

/// What every sealed value starts with; objects start with a brace.
const SEALED: &[u8] = b"k8s:enc:";
/// What stands in for a value that cannot be opened, before the reason.
const UNREADABLE: &[u8] = b"k8s:enc:!";

/// A store with what it takes to read it.
#[derive(Clone)]
pub(crate) struct Store {
    inner: minik_store::Store,
    vault: Arc<Vault>,
}

/// Objects of one resource that cannot be read.
struct Unread {
    /// Why the first one cannot.
    reason: String,
    count: usize,
}

/// How the objects of each resource are kept.
struct Vault {
    /// By group and plural; both may be `*`.
    ways: HashMap<(String, String), Vec<Provider>>,
    /// For all others.
    plain: Vec<Provider>,
}

impl Vault {
    fn new(configuration: Option<&EncryptionConfiguration>) -> Vault {
        let mut ways: HashMap<_, Vec<Provider>> = HashMap::new();
        for entry in configuration.iter().flat_map(|one| &one.resources) {
            for (group, resource) in &entry.resources {
                let way = ways.entry((group.clone(), resource.clone())).or_default();
                way.extend(entry.providers.iter().map(Provider::new));
            }
        }
        Vault { ways, plain: vec![Provider::new(&EncryptionProvider::Identity)] }
    }

    /// How the object at `key` is kept.
    fn way(&self, key: &str) -> &[Provider] {
        if self.ways.is_empty() {
            return &self.plain;
        }
        let (group, resource) = resource_of(key);
        let star = || "*".to_owned();
        let found = self
            .ways
            .get(&(group.to_owned(), resource.to_owned()))
            .or_else(|| self.ways.get(&(group.to_owned(), star())))
            .or_else(|| self.ways.get(&(star(), star())));
        found.map_or(&self.plain, Vec::as_slice)
    }

    fn seal(&self, key: &str, value: Bytes) -> Bytes {
        match self.way(key).first() {
            Some(provider) => provider.seal(key, value),
            None => value,
        }
    }

    fn open(&self, key: &str, value: &Bytes) -> Result<Opened, String> {
        // Deleted objects have no value.
        if value.is_empty() {
            return Ok(Opened { value: value.clone(), is_stale: false });
        }
        cipher::open(self.way(key), key, value)
    }

    /// The value, or what stands in for it.
    fn opened(&self, key: &str, value: &mut Bytes) {
        match self.open(key, value) {
            Ok(opened) => *value = opened.value,
            Err(reason) => {
                warn!(key, reason, "an object cannot be read");
                *value = [UNREADABLE, reason.as_bytes()].concat().into();
            }
        }
    }

    /// Whether every value may be passed on as it is.
    fn passes(&self, key: &str, value: &[u8]) -> bool {
        !value.starts_with(SEALED) && self.way(key).iter().any(Provider::is_identity)
    }
}

/// Group and plural in a key.
fn resource_of(key: &str) -> (&str, &str) {
    let mut parts = key.strip_prefix(ROOT).unwrap_or(key).split('/');
    let group = parts.next().unwrap_or_default();
    (if group == "core" { "" } else { group }, parts.next().unwrap_or_default())
}

/// Whether a value that came out of the store is an object.
///
/// # Errors
/// The failure that upstream gives for an object that cannot be opened.
pub(crate) fn readable(value: &[u8]) -> Result<(), Status> {
    match value.strip_prefix(UNREADABLE) {
        None => Ok(()),
        Some(reason) => {
            let reason = String::from_utf8_lossy(reason);
            Err(Status::internal(reason))
        }
    }
}

/// The same for one of several objects.
pub(crate) fn readable_in_list(key: &str, value: &[u8]) -> Result<(), Status> {
    match value.strip_prefix(UNREADABLE) {
        None => Ok(()),
        Some(reason) => {
            let reason = String::from_utf8_lossy(reason);
            Err(Status::internal(format!("unable to transform key {key:?}: {reason}")))
        }
    }
}

impl Store {
    /// Reads and writes `inner` as the configuration says, and tells the log of what cannot be read.
    pub(crate) fn new(
        inner: minik_store::Store,
        configuration: Option<&EncryptionConfiguration>,
    ) -> Result<Store, StoreError> {
        let store = Store { inner, vault: Arc::new(Vault::new(configuration)) };
        for (resource, Unread { reason, count }) in store.survey()? {
            error!(resource, count, reason, "objects cannot be read");
        }
        Ok(store)
    }

    /// An empty one that keeps nothing.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Store {
        let settings = minik_store::Config::new(minik_store::Storage::Memory);
        let inner = minik_store::Store::open(&settings).expect("store");
        Store::new(inner, None).expect("store")
    }

    /// Why objects cannot be read, and how many, by resource.
    fn survey(&self) -> Result<BTreeMap<String, Unread>, StoreError> {
        let mut found = BTreeMap::new();
        for entry in self.inner.list(ROOT, &ListOptions::default())?.entries {
            if self.vault.passes(&entry.key, &entry.value) {
                continue;
            }
            if let Err(reason) = self.vault.open(&entry.key, &entry.value) {
                let (group, resource) = resource_of(&entry.key);
                let name = format!("{resource}.{group}");
                found.entry(name).or_insert(Unread { reason, count: 0 }).count += 1;
            }
        }
        Ok(found)
    }

    pub(crate) fn get(&self, key: &str) -> Option<Entry> {
        let mut entry = self.inner.get(key)?;
        self.vault.opened(&entry.key, &mut entry.value);
        Some(entry)
    }

    /// Whether the object is kept in another way than it would be if it were written now.
    pub(crate) fn is_stale(&self, key: &str) -> bool {
        let Some(entry) = self.inner.get(key) else { return false };
        self.vault.open(key, &entry.value).is_ok_and(|opened| opened.is_stale)
    }

    pub(crate) fn list(&self, prefix: &str, options: &ListOptions) -> Result<Page, StoreError> {
        let mut page = self.inner.list(prefix, options)?;
        for entry in &mut page.entries {
            self.vault.opened(&entry.key, &mut entry.value);
        }
        Ok(page)
    }

    pub(crate) async fn commit(&self, write: Write) -> Result<Revision, StoreError> {
        self.inner.commit(self.sealed(write)).await
    }

    pub(crate) async fn transact(&self, writes: Vec<Write>) -> Result<Vec<Revision>, StoreError> {
        let writes = writes.into_iter().map(|write| self.sealed(write)).collect();
        self.inner.transact(writes).await
    }

    fn sealed(&self, mut write: Write) -> Write {
        if let Op::Put(value) = write.op {
            write.op = Op::Put(self.vault.seal(&write.key, value));
        }
        write
    }

    pub(crate) fn watch(&self, prefix: &str, after: Revision) -> Result<Watch, StoreError> {
        let inner = self.inner.watch(prefix, after)?;
        Ok(Watch { inner, vault: Arc::clone(&self.vault) })
    }

    pub(crate) fn revision(&self) -> Revision {
        self.inner.revision()
    }

    /// How many keys begin with `prefix`, counted up to `most`.
    pub(crate) fn count(&self, prefix: &str, most: usize) -> usize {
        self.inner.count(prefix, most)
    }

    /// How many keys there are in each group of neighbours: `group` says which a key is in.
    pub(crate) fn count_groups(
        &self,
        group: impl Fn(&str) -> Option<&str>,
    ) -> Vec<(String, usize)> {
        self.inner.count_groups(group)
    }

    /// Whether it takes writes.
    pub(crate) fn is_open(&self) -> bool {
        self.inner.is_open()
    }
}

/// What changes below a prefix.
pub(crate) struct Watch {
    inner: minik_store::Watch,
    vault: Arc<Vault>,
}

impl Watch {
    pub(crate) async fn next(&mut self) -> Result<Arc<Event>, WatchError> {
        self.inner.next().await.map(|event| self.opened(event))
    }

    pub(crate) fn try_next(&mut self) -> Result<Option<Arc<Event>>, WatchError> {
        Ok(self.inner.try_next()?.map(|event| self.opened(event)))
    }

    pub(crate) async fn next_batch(&mut self, max: usize) -> Result<Vec<Arc<Event>>, WatchError> {
        let events = self.inner.next_batch(max).await?;
        Ok(events.into_iter().map(|event| self.opened(event)).collect())
    }

    pub(crate) fn progress(&self) -> Revision {
        self.inner.progress()
    }

    /// Events are shared between all who watch; only what is sealed is copied.
    fn opened(&self, event: Arc<Event>) -> Arc<Event> {
        let passes = |value: &Bytes| value.is_empty() || self.vault.passes(&event.key, value);
        let previous = event.previous.as_ref();
        if passes(&event.value) && previous.is_none_or(|previous| passes(&previous.value)) {
            return event;
        }
        let mut own = copy(&event);
        self.vault.opened(&own.key, &mut own.value);
        if let Some(previous) = &mut own.previous {
            self.vault.opened(&own.key, &mut previous.value);
        }
        Arc::new(own)
    }
}

/// The same event, for its objects to be changed.
pub(crate) fn copy(event: &Event) -> Event {
    Event {
        revision: event.revision,
        key: Arc::clone(&event.key),
        kind: event.kind,
        created: event.created,
        value: event.value.clone(),
        previous: event.previous.clone(),
    }
}

/// Whether the object an event is about can be read.
pub(crate) fn readable_event(event: &Event) -> Result<(), Status> {
    let value = match (event.kind, &event.previous) {
        (EventKind::Put, _) => &event.value,
        (EventKind::Delete, Some(Previous { value, .. })) => value,
        (EventKind::Delete, None) => return Ok(()),
    };
    readable_in_list(&event.key, value)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    const OTHER: &str = "YWJjZGVmMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";
    const AT: &str = "/registry/core/secrets/web/a";

    fn vault(resources: &str) -> Vault {
        let head = "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\n";
        let text = resources.replace("KEY", KEY).replace("OTHER", OTHER);
        let text = format!("{head}resources: [{text}]");
        Vault::new(Some(&EncryptionConfiguration::from_text(&text).expect("configuration")))
    }

    fn secrets(providers: &str) -> Vault {
        vault(&format!("{{resources: [secrets], providers: [{providers}]}}"))
    }

    fn key(provider: &str, name: &str, secret: &str) -> String {
        format!("{{{provider}: {{keys: [{{name: {name}, secret: {secret}}}]}}}}")
    }

    #[test_case("secretbox")]
    #[test_case("aesgcm")]
    #[test_case("aescbc")]
    fn what_is_sealed_can_be_opened(provider: &str) {
        let vault = secrets(&key(provider, "one", "KEY"));
        for length in [2, 15, 16, 17, 5000] {
            let plain: Bytes = vec![b'x'; length].into();
            let sealed = vault.seal(AT, plain.clone());
            let prefix = format!("k8s:enc:{provider}:v1:one:");
            assert!(sealed.starts_with(prefix.as_bytes()) && sealed.len() >= length + prefix.len());
            assert!(!sealed.windows(2).any(|pair| pair == b"xx") || length == 5000);
            assert_ne!(vault.seal(AT, plain.clone()), sealed, "never the same nonce");
            let opened = vault.open(AT, &sealed).expect("opens");
            assert_eq!((opened.value, opened.is_stale), (plain, false));
        }
    }

    #[test_case("secretbox", "output array was not large enough for encryption")]
    #[test_case("aesgcm", "cipher: message authentication failed")]
    #[test_case("aescbc", "invalid padding on input")]
    fn a_wrong_key_or_half_a_value_is_refused(provider: &str, reason: &str) {
        let sealed = secrets(&key(provider, "one", "KEY")).seal(AT, b"{\"plain\":1}"[..].into());
        let wrong = secrets(&key(provider, "one", "OTHER"));
        match wrong.open(AT, &sealed) {
            Err(error) => assert_eq!(error, reason),
            // Without authentication, one key in 256 fits the padding; what comes out is no object.
            Ok(opened) => assert!(provider == "aescbc" && !opened.value.starts_with(b"{")),
        }
        let vault = secrets(&key(provider, "one", "KEY"));
        let start = format!("k8s:enc:{provider}:v1:one:").len();
        for length in start..sealed.len() {
            let half = sealed.slice(..length);
            let opened = vault.open(AT, &half);
            assert!(opened.is_err() || provider == "aescbc", "{length}");
        }
        let unknown = secrets(&key(provider, "two", "KEY")).open(AT, &sealed).unwrap_err();
        assert!(unknown.starts_with("no matching key was found for the provided "), "{unknown}");
    }

    #[test]
    fn an_object_cannot_be_moved_to_another_key() {
        let vault = secrets(&key("aesgcm", "one", "KEY"));
        let sealed = vault.seal(AT, b"{}"[..].into());
        let elsewhere = vault.open("/registry/core/secrets/web/b", &sealed).unwrap_err();
        assert_eq!(elsewhere, "cipher: message authentication failed");
    }

    #[test]
    fn all_providers_read_and_the_first_one_writes() {
        let old = secrets(&key("secretbox", "old", "KEY"));
        let sealed = old.seal(AT, b"{}"[..].into());
        let both = secrets(&format!(
            "{}, {}, {{identity: {{}}}}",
            key("aesgcm", "new", "OTHER"),
            key("secretbox", "old", "KEY")
        ));
        assert!(both.open(AT, &sealed).expect("opens").is_stale);
        assert!(both.open(AT, &b"{}"[..].into()).expect("opens").is_stale);
        assert!(!both.open(AT, &both.seal(AT, b"{}"[..].into())).expect("opens").is_stale);
        let back = secrets(&format!("{{identity: {{}}}}, {}", key("secretbox", "old", "KEY")));
        assert_eq!(back.open(AT, &sealed).expect("opens").value, &b"{}"[..]);
        assert_eq!(back.seal(AT, b"{}"[..].into()), &b"{}"[..]);
        let plain = Vault::new(None).open(AT, &sealed).unwrap_err();
        assert_eq!(plain, "identity transformer tried to read encrypted data");
        assert_eq!(old.open(AT, &b"{}"[..].into()).unwrap_err(), "no matching prefix found");
    }

    #[test_case("/registry/core/secrets/web/a", true)]
    #[test_case("/registry/core/configmaps/web/a", false)]
    #[test_case("/registry/apps/deployments/web/a", true; "wildcard of a group")]
    #[test_case("/registry/bears.example/pandas/a", true; "custom resource")]
    #[test_case("/registry/batch/jobs/web/a", false)]
    fn resources_are_found_by_key(key_of: &str, is_sealed: bool) {
        let vault = vault(
            "{resources: [secrets, '*.apps', pandas.bears.example], providers: [{secretbox: \
             {keys: [{name: a, secret: KEY}]}}]}",
        );
        assert_eq!(vault.seal(key_of, b"{}"[..].into()).starts_with(SEALED), is_sealed);
    }
}
