//! A request as those see it who are asked about it: webhooks and policies.

use minik_api::admission::{Attributes, Equivalent, Matched, Objects, Operation};
use minik_api::{FieldValidation, conform, default};
use minik_meta::object::Object;
use minik_meta::{GroupResource, GroupVersionKind, GroupVersionResource, Status, object};
use serde_json::{Value, json};

use crate::call::Call;
use crate::convert;
use crate::kinds::Kind;

/// What is asked about.
pub(crate) struct Question<'c> {
    pub(super) call: &'c Call,
    pub(super) attributes: Attributes,
    /// The options of the request; null for connections.
    pub(super) options: Value,
    pub(super) dry_run: bool,
}

impl<'c> Question<'c> {
    /// `name` is empty as long as it is to be generated, and for collections.
    pub(super) fn new(call: &'c Call, operation: Operation, name: &str) -> Question<'c> {
        let target = &call.target;
        let itself =
            || GroupVersionKind::new(&*call.kind.group, &*call.kind.version, &*call.kind.kind);
        let sub = call.kind.subresource(&target.subresource);
        let kind = sub.map_or_else(itself, |sub| {
            GroupVersionKind::new(&*sub.group, &*sub.version, &*sub.kind)
        });
        // Rights and selectors of a namespace are about what is in it.
        let of_namespaces = target.group.is_empty() && target.resource == "namespaces";
        let namespace = if of_namespaces { name } else { &target.namespace };
        let attributes = Attributes {
            operation,
            resource: GroupVersionResource::new(&target.group, &target.version, &target.resource),
            subresource: target.subresource.clone(),
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        };
        let options = options(call, operation);
        Question { call, attributes, options, dry_run: call.dry_run }
    }

    /// The same question with the options of a deletion.
    pub(super) fn with_options(mut self, options: Value, dry_run: bool) -> Question<'c> {
        self.options = options;
        self.dry_run = dry_run;
        self
    }

    /// Labels of the namespace that the request is about.
    pub(super) fn namespace_labels(&self) -> Result<Option<Object>, Status> {
        Ok(object::labels(&self.namespace_object()?).cloned())
    }

    /// The namespace that the request is about.
    pub(super) fn namespace_object(&self) -> Result<Value, Status> {
        let name = &self.attributes.namespace;
        let found = self.call.core.read_core_object("namespaces", "", name);
        found.ok_or_else(|| Status::not_found(&GroupResource::new("", "namespaces"), name))
    }

    /// The resource in its other versions and groups.
    pub(super) fn equivalents(&self) -> Vec<Equivalent> {
        let (kind, sub) = (&self.call.kind, self.attributes.subresource.as_str());
        let others = self.call.core.kinds.all();
        let others = others.iter().filter(|one| one.storage == kind.storage);
        others
            .map(|one| Equivalent {
                resource: GroupVersionResource::new(&*one.group, &*one.version, &*one.plural),
                kind: match sub {
                    "" => Some(one.gvk()),
                    sub => one
                        .subresource(sub)
                        .map(|sub| GroupVersionKind::new(&*sub.group, &*sub.version, &*sub.kind)),
                },
            })
            .collect()
    }

    /// An object of the request's kind in the version that somebody named.
    pub(super) async fn shown(&self, matched: &Matched, value: &Value) -> Result<Value, Status> {
        self.convert(&self.attributes.kind, &matched.kind, value.clone()).await
    }

    /// And back.
    pub(super) async fn back(&self, matched: &Matched, value: Value) -> Result<Value, Status> {
        self.convert(&matched.kind, &self.attributes.kind, value).await
    }

    async fn convert(
        &self,
        from: &GroupVersionKind,
        to: &GroupVersionKind,
        value: Value,
    ) -> Result<Value, Status> {
        if from == to {
            return Ok(value);
        }
        let core = &self.call.core;
        match (self.version(from), self.version(to)) {
            (Some(from), Some(to)) => convert::between(core, &from, &to, value).await,
            _ => Err(Status::internal(format!("unable to convert {from:?} to {to:?}"))),
        }
    }

    /// The kind of the stored object in another version.
    fn version(&self, kind: &GroupVersionKind) -> Option<Kind> {
        let own = &self.call.kind;
        let all = self.call.core.kinds.all();
        let mut same = all.into_iter().filter(|one| one.storage == own.storage);
        same.find(|one| one.group == kind.group && one.version == kind.version)
    }

    /// What is known of bodies of `kind`; nothing of options of connections.
    pub(super) fn schema(&self, kind: &GroupVersionKind) -> Option<Kind> {
        if *kind == self.call.kind.gvk() {
            return Some(Kind::clone(&self.call.kind));
        }
        let version = self.version(kind).filter(|one| one.kind == kind.kind);
        version.or_else(|| self.call.core.kinds.body(&kind.group, &kind.version, &kind.kind))
    }

    /// The states of the object in the version that somebody named.
    pub(super) async fn show(
        &self,
        matched: &Matched,
        objects: Objects<'_>,
    ) -> Result<Shown, Status> {
        let new = match objects.new {
            Some(object) => Some(self.shown(matched, object).await?),
            None => None,
        };
        let old = match objects.old {
            Some(object) => Some(self.shown(matched, object).await?),
            None => None,
        };
        Ok(Shown { new, old })
    }

    /// Makes what somebody changed an object of its kind again, with its defaults.
    pub(super) fn complete(&self, matched: &Matched, object: &mut Value) -> Result<(), Status> {
        if let Some(kind) = self.schema(&matched.kind) {
            conform(&kind, object, FieldValidation::Ignore).map_err(Status::internal)?;
            default(&kind, object);
        }
        Ok(())
    }

    /// 403 for the object of the request, whose name may not be known yet.
    pub(super) fn forbidden(&self, objects: Objects<'_>, why: impl std::fmt::Display) -> Status {
        let of_object = |path: &[&str]| {
            objects.new.map(|object| object::text(object, path)).filter(|text| !text.is_empty())
        };
        let name = Some(self.attributes.name.as_str()).filter(|name| !name.is_empty());
        let name = name
            .or_else(|| of_object(&["metadata", "name"]))
            .or_else(|| of_object(&["metadata", "generateName"]));
        let resource = self.attributes.resource.group_resource();
        Status::forbidden(&resource, name.unwrap_or("Unknown"), why)
    }
}

/// The states of an object in the version that somebody named.
pub(super) struct Shown {
    pub(super) new: Option<Value>,
    pub(super) old: Option<Value>,
}

impl Shown {
    pub(super) fn objects(&self) -> Objects<'_> {
        Objects { new: self.new.as_ref(), old: self.old.as_ref() }
    }
}

/// The options of a write, as an object.
fn options(call: &Call, operation: Operation) -> Value {
    let kind = match operation {
        Operation::Create => "CreateOptions",
        Operation::Update => "UpdateOptions",
        Operation::Delete | Operation::Connect => return Value::Null,
    };
    let mut options = json!({"kind": kind, "apiVersion": "meta.k8s.io/v1"});
    if call.dry_run {
        options["dryRun"] = json!(["All"]);
    }
    for key in ["fieldManager", "fieldValidation"] {
        if let Some(value) = call.query.non_empty(key) {
            options[key] = value.into();
        }
    }
    options
}
