//! The flow schemas and priority levels as they are stored, and which of them a request falls under.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use minik_meta::object;
use serde_json::Value;

use super::builtin;
use super::queues::Policy;
use super::shuffle;
use crate::live::Fold;
use crate::route::{Target, Verb};
use crate::user::{SERVICE_ACCOUNT_PREFIX, User};

pub(super) const GROUP: &str = "flowcontrol.apiserver.k8s.io";
pub(super) const SCHEMAS: &str = "/registry/flowcontrol.apiserver.k8s.io/flowschemas/";
pub(super) const LEVELS: &str =
    "/registry/flowcontrol.apiserver.k8s.io/prioritylevelconfigurations/";
/// The level, and the schema, that limit nobody.
pub(super) const EXEMPT: &str = "exempt";
/// The level, and the schema, of what no other schema is for.
pub(super) const CATCH_ALL: &str = "catch-all";

/// What is asked, in the words of flow schemas.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) user: &'a User,
    pub(crate) what: What<'a>,
}

/// A page or a resource.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What<'a> {
    Page { verb: &'a str, path: &'a str },
    Resource { verb: Verb, target: &'a Target },
}

impl Asked<'_> {
    /// Where the requested object lives; a namespace lives in itself.
    fn namespace(&self) -> &str {
        match self.what {
            What::Page { .. } => "",
            What::Resource { target, .. } => {
                let in_itself = target.group.is_empty() && target.resource == "namespaces";
                if in_itself { &target.name } else { &target.namespace }
            }
        }
    }
}

/// A priority level as it is wanted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LevelSpec {
    pub(super) name: Arc<str>,
    pub(super) uid: HeaderValue,
    pub(super) policy: Policy,
    pub(super) shares: u32,
    pub(super) lendable: u32,
    pub(super) borrowing: Option<u32>,
}

/// A flow schema whose level exists.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schema {
    pub(super) name: Arc<str>,
    pub(super) uid: HeaderValue,
    pub(super) level: Arc<str>,
    precedence: i64,
    by: Distinguisher,
    rules: Vec<Rules>,
}

/// What tells the flows of a schema apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Distinguisher {
    Nothing,
    User,
    Namespace,
}

#[derive(Clone, Debug, PartialEq)]
struct Rules {
    subjects: Vec<Subject>,
    resources: Vec<ResourceRule>,
    pages: Vec<PageRule>,
}

#[derive(Clone, Debug, PartialEq)]
enum Subject {
    /// `*` is everybody.
    User(String),
    /// `*` is everybody.
    Group(String),
    /// `*` is all accounts of the namespace.
    Account { namespace: String, name: String },
}

#[derive(Clone, Debug, PartialEq)]
struct ResourceRule {
    verbs: Words,
    groups: Words,
    resources: Words,
    namespaces: Words,
    cluster: bool,
}

#[derive(Clone, Debug, PartialEq)]
struct PageRule {
    verbs: Words,
    paths: Vec<String>,
}

/// Some words, or all there are.
#[derive(Clone, Debug, PartialEq)]
enum Words {
    All,
    These(Vec<String>),
}

/// All that decides about requests, until something changes.
#[derive(Debug)]
pub(super) struct Plan {
    /// Later plans have higher numbers.
    pub(super) number: u64,
    /// In the order they are tried; the last one takes everything.
    pub(super) schemas: Vec<Arc<Schema>>,
    pub(super) levels: BTreeMap<Arc<str>, Arc<LevelSpec>>,
}

impl Plan {
    /// The schema a request falls under.
    pub(super) fn classify(&self, asked: &Asked<'_>) -> &Arc<Schema> {
        let matching = self.schemas.iter().find(|schema| schema.matches(asked));
        let catch_all = || self.schemas.iter().rfind(|schema| *schema.name == *CATCH_ALL);
        matching.or_else(catch_all).expect("a plan always has the schema that catches all")
    }
}

/// Folded from the stored objects.
pub(super) struct Settings {
    schemas: BTreeMap<String, Arc<Schema>>,
    levels: BTreeMap<String, Arc<LevelSpec>>,
    plan: Arc<Plan>,
}

impl Settings {
    pub(super) fn plan(&self) -> Arc<Plan> {
        Arc::clone(&self.plan)
    }
}

impl Default for Settings {
    fn default() -> Settings {
        let (schemas, levels) = (BTreeMap::new(), BTreeMap::new());
        let plan = Arc::new(plan(&schemas, &levels));
        Settings { schemas, levels, plan }
    }
}

impl Fold for Settings {
    const PREFIXES: &'static [&'static str] = &[SCHEMAS, LEVELS];

    fn apply(&mut self, key: &str, object: Option<&Value>) {
        if let Some(name) = key.strip_prefix(SCHEMAS) {
            let schema = object.map(|object| Arc::new(Schema::read(object)));
            if !put(&mut self.schemas, name, schema) {
                return;
            }
        } else if let Some(name) = key.strip_prefix(LEVELS) {
            // What cannot work is as if it were not there.
            if !put(&mut self.levels, name, object.and_then(LevelSpec::read).map(Arc::new)) {
                return;
            }
        }
        self.plan = Arc::new(plan(&self.schemas, &self.levels));
    }
}

/// Whether that changed anything.
fn put<T: PartialEq>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) -> bool {
    if map.get(name) == value.as_ref() {
        return false;
    }
    match value {
        Some(value) => drop(map.insert(name.to_owned(), value)),
        None => drop(map.remove(name)),
    }
    true
}

fn plan(
    schemas: &BTreeMap<String, Arc<Schema>>,
    levels: &BTreeMap<String, Arc<LevelSpec>>,
) -> Plan {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let mut by_name: BTreeMap<Arc<str>, Arc<LevelSpec>> = BTreeMap::new();
    for object in builtin::mandatory_levels() {
        let spec = LevelSpec::read(&object).expect("the program's own levels work");
        by_name.insert(Arc::clone(&spec.name), Arc::new(spec));
    }
    by_name.extend(levels.values().map(|spec| (Arc::clone(&spec.name), Arc::clone(spec))));
    let usable = schemas.values().filter(|schema| by_name.contains_key(&schema.level));
    let mut ordered: Vec<Arc<Schema>> = usable.cloned().collect();
    ordered.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
    for object in builtin::mandatory_schemas() {
        let schema = Schema::read(&object);
        if ordered.iter().any(|have| have.name == schema.name) {
            continue;
        }
        let at = if *schema.name == *EXEMPT { 0 } else { ordered.len() };
        ordered.insert(at, Arc::new(schema));
    }
    Plan { number: LAST.fetch_add(1, Ordering::Relaxed) + 1, schemas: ordered, levels: by_name }
}

fn number(object: &Value, path: &[&str]) -> Option<u32> {
    object::integer(object, path).map(|number| u32::try_from(number.max(0)).unwrap_or(u32::MAX))
}

fn uid(object: &Value) -> HeaderValue {
    HeaderValue::from_str(object::text(object, &["metadata", "uid"]))
        .unwrap_or(HeaderValue::from_static(""))
}

impl LevelSpec {
    /// `None` for what contradicts itself.
    pub(super) fn read(object: &Value) -> Option<LevelSpec> {
        let name: Arc<str> = object::name(object).into();
        let limited = object::at(object, &["spec", "limited"]);
        let exempt = object::at(object, &["spec", "exempt"]);
        let (policy, place) = match (object::text(object, &["spec", "type"]), limited, exempt) {
            ("Exempt", None, Some(place)) if *name == *EXEMPT => (Policy::Exempt, place),
            ("Limited", Some(place), None) if *name != *EXEMPT => (policy(place)?, place),
            _ => return None,
        };
        Some(LevelSpec {
            name,
            uid: uid(object),
            policy,
            shares: number(place, &["nominalConcurrencyShares"]).unwrap_or(match policy {
                Policy::Exempt => 0,
                Policy::Reject | Policy::Queue { .. } => 30,
            }),
            lendable: number(place, &["lendablePercent"]).unwrap_or(0).min(100),
            borrowing: number(place, &["borrowingLimitPercent"]),
        })
    }
}

fn policy(limited: &Value) -> Option<Policy> {
    let queuing = object::at(limited, &["limitResponse", "queuing"]);
    match (object::text(limited, &["limitResponse", "type"]), queuing) {
        ("Reject", None) => Some(Policy::Reject),
        ("Queue", Some(queuing)) => {
            let queues = number(queuing, &["queues"]).unwrap_or(64);
            let hand = number(queuing, &["handSize"]).unwrap_or(8);
            let length = number(queuing, &["queueLengthLimit"]).unwrap_or(50);
            shuffle::can_deal(queues, hand).then_some(Policy::Queue { queues, hand, length })
        }
        _ => None,
    }
}

impl Schema {
    pub(super) fn read(object: &Value) -> Schema {
        let by = match object::text(object, &["spec", "distinguisherMethod", "type"]) {
            "ByUser" => Distinguisher::User,
            "ByNamespace" => Distinguisher::Namespace,
            _ => Distinguisher::Nothing,
        };
        let rules = object::list(object, &["spec", "rules"]).iter().map(Rules::read);
        Schema {
            name: object::name(object).into(),
            uid: uid(object),
            level: object::text(object, &["spec", "priorityLevelConfiguration", "name"]).into(),
            precedence: object::integer(object, &["spec", "matchingPrecedence"]).unwrap_or(1000),
            by,
            rules: rules.collect(),
        }
    }

    /// Which flow of this schema a request belongs to.
    pub(super) fn flow<'a>(&self, asked: &'a Asked<'_>) -> &'a str {
        match self.by {
            Distinguisher::Nothing => "",
            Distinguisher::User => &asked.user.name,
            Distinguisher::Namespace => asked.namespace(),
        }
    }

    fn matches(&self, asked: &Asked<'_>) -> bool {
        self.rules.iter().any(|rules| rules.match_request(asked))
    }
}

impl Rules {
    fn read(rules: &Value) -> Rules {
        let each = |key: &str| object::list(rules, &[key]).iter();
        Rules {
            subjects: each("subjects").filter_map(Subject::read).collect(),
            resources: each("resourceRules").map(ResourceRule::read).collect(),
            pages: each("nonResourceRules").map(PageRule::read).collect(),
        }
    }

    fn match_request(&self, asked: &Asked<'_>) -> bool {
        if !self.subjects.iter().any(|subject| subject.is(asked.user)) {
            return false;
        }
        match asked.what {
            What::Page { verb, path } => self.pages.iter().any(|rule| rule.matches(verb, path)),
            What::Resource { verb, target } => {
                let namespace = asked.namespace();
                self.resources.iter().any(|rule| rule.matches(verb, target, namespace))
            }
        }
    }
}

impl Subject {
    fn read(subject: &Value) -> Option<Subject> {
        let text = |path: &[&str]| object::text(subject, path).to_owned();
        Some(match object::text(subject, &["kind"]) {
            "User" => Subject::User(text(&["user", "name"])),
            "Group" => Subject::Group(text(&["group", "name"])),
            "ServiceAccount" => Subject::Account {
                namespace: text(&["serviceAccount", "namespace"]),
                name: text(&["serviceAccount", "name"]),
            },
            _ => return None,
        })
    }

    fn is(&self, user: &User) -> bool {
        match self {
            Subject::User(name) => name == "*" || *name == user.name,
            Subject::Group(group) => group == "*" || user.is_in(group),
            Subject::Account { namespace, name } => {
                let account = user.name.strip_prefix(SERVICE_ACCOUNT_PREFIX);
                let account = account.and_then(|rest| rest.split_once(':'));
                account.is_some_and(|(own, account)| {
                    own == namespace && (name == "*" || name == account)
                })
            }
        }
    }
}

impl ResourceRule {
    fn read(rule: &Value) -> ResourceRule {
        ResourceRule {
            verbs: Words::read(rule, "verbs"),
            groups: Words::read(rule, "apiGroups"),
            resources: Words::read(rule, "resources"),
            namespaces: Words::read(rule, "namespaces"),
            cluster: object::at(rule, &["clusterScope"]).and_then(Value::as_bool) == Some(true),
        }
    }

    fn matches(&self, verb: Verb, target: &Target, namespace: &str) -> bool {
        let scoped = match namespace {
            "" => self.cluster,
            namespace => self.namespaces.have(namespace),
        };
        scoped
            && self.verbs.have(verb.as_str())
            && self.groups.have(&target.group)
            && self.resources.have_resource(&target.resource, &target.subresource)
    }
}

impl PageRule {
    fn read(rule: &Value) -> PageRule {
        let paths = object::list(rule, &["nonResourceURLs"]).iter();
        let paths = paths.filter_map(|path| path.as_str().map(str::to_owned)).collect();
        PageRule { verbs: Words::read(rule, "verbs"), paths }
    }

    fn matches(&self, verb: &str, path: &str) -> bool {
        let below = |rule: &str| {
            let start = rule.strip_suffix('*').unwrap_or(rule).trim_end_matches('/');
            path.strip_prefix(start).is_some_and(|rest| rest.starts_with('/'))
        };
        self.verbs.have(verb)
            && self.paths.iter().any(|rule| rule == "*" || rule == path || below(rule))
    }
}

impl Words {
    fn read(rule: &Value, key: &str) -> Words {
        let words: Vec<String> = object::list(rule, &[key])
            .iter()
            .filter_map(|word| word.as_str().map(str::to_owned))
            .collect();
        match words.as_slice() {
            [one] if one == "*" => Words::All,
            _ => Words::These(words),
        }
    }

    fn have(&self, word: &str) -> bool {
        match self {
            Words::All => true,
            Words::These(words) => words.iter().any(|one| one == word),
        }
    }

    /// Subresources are named `pods/status`.
    fn have_resource(&self, resource: &str, subresource: &str) -> bool {
        if subresource.is_empty() {
            return self.have(resource);
        }
        let Words::These(words) = self else { return true };
        words.iter().any(|one| one.split_once('/') == Some((resource, subresource)))
    }
}

#[cfg(test)]
mod tests;
