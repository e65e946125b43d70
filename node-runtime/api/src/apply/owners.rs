//! How ownership moves when an object changes, and what goes when a manager no longer applies it.

use std::borrow::Cow;
use std::collections::BTreeMap;

use minik_meta::{Reason, Status};
use serde_json::Value;

use super::check;
use super::compare::{Difference, compare};
use super::conflict::{self, Conflict};
use super::managers::{Managed, ManagerId, Operation, Owned};
use super::merge::merge;
use super::reset::Reset;
use super::set::FieldSet;
use super::shape::Shape;
use super::walk::{fields_of, reconciled, with_named_fields, without};
use super::{Versions, equal};
use crate::schema::SchemaRef;

/// An object with its shape and version.
#[derive(Clone, Debug)]
pub(super) struct Typed<'v> {
    pub(super) value: Cow<'v, Value>,
    pub(super) schema: SchemaRef,
    pub(super) version: String,
}

impl Typed<'_> {
    /// The same place in the schema, with another value.
    fn with(&self, value: Value) -> Typed<'static> {
        let value = Cow::Owned(value);
        Typed { value, schema: self.schema.clone(), version: self.version.clone() }
    }

    fn borrowed(&self) -> Typed<'_> {
        let value = Cow::Borrowed(&*self.value);
        Typed { value, schema: self.schema.clone(), version: self.version.clone() }
    }

    pub(super) fn shape(&self) -> Shape<'_> {
        Shape::root(&self.schema)
    }

    fn fields(&self) -> FieldSet {
        fields_of(self.shape(), &self.value)
    }

    fn named(&self, set: &FieldSet) -> FieldSet {
        with_named_fields(self.shape(), set)
    }

    fn difference(&self, new: &Typed<'_>) -> Difference {
        compare(self.shape(), &self.value, &new.value)
    }

    fn without(&self, gone: &FieldSet) -> Typed<'static> {
        self.with(without(self.shape(), &self.value, gone))
    }

    /// Whether it fits its schema; `who` names it in the error.
    pub(super) fn check(&self, who: &str) -> Result<(), Status> {
        check::check(&self.schema, &self.value).map_err(|mistakes| {
            let message = format!("failed to create typed patch object ({who}): {mistakes}");
            Status::new(Reason::Unknown, message)
        })
    }
}

/// What a write works with besides the objects.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    pub(super) versions: &'a dyn Versions,
    /// What the write cannot change.
    pub(super) reset: &'a Reset,
    pub(super) now: &'a str,
}

/// Why an apply failed.
#[derive(Debug)]
pub(super) enum Refused {
    /// Fields that others own, and that have another value.
    Conflicts(Vec<Conflict>),
    /// Something else.
    Status(Status),
}

impl Refused {
    /// The failure of a write that was forced, and so meets no conflicts.
    pub(super) fn into_status(self) -> Status {
        match self {
            Self::Status(status) => status,
            Self::Conflicts(conflicts) => conflict::failure(&conflicts),
        }
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl Rules<'_> {
    /// The object in another version; nothing where that is not served any more.
    fn to<'t>(&self, object: &'t Typed<'_>, version: &str) -> Result<Option<Typed<'t>>, Status> {
        if object.version == version {
            return Ok(Some(object.borrowed()));
        }
        let converted = self.versions.convert(&object.value, version).transpose()?;
        Ok(converted.map(|(value, schema)| Typed {
            value: Cow::Owned(value),
            schema,
            version: version.to_owned(),
        }))
    }

    /// Forgets managers of versions that are gone, and follows types that became atomic.
    fn reconcile(&self, live: &Typed<'_>, managed: &mut Managed) -> Result<(), Status> {
        let mut gone = Vec::new();
        for (id, owned) in &mut managed.0 {
            match self.to(live, &owned.version)? {
                None => gone.push(id.clone()),
                Some(live) => {
                    if let Some(set) = reconciled(live.shape(), &owned.set) {
                        owned.set = set;
                    }
                }
            }
        }
        for id in gone {
            managed.0.remove(&id);
        }
        Ok(())
    }

    /// Takes what changed from all managers but `writer`; those left with nothing are forgotten.
    fn take(
        &self,
        (live, new): (&Typed<'_>, &Typed<'_>),
        difference: Difference,
        managed: &mut Managed,
        writer: Option<&ManagerId>,
        force: bool,
    ) -> Result<(), Refused> {
        let difference = difference.map(|set| self.reset.filter(set));
        let mut by_version = BTreeMap::from([(live.version.clone(), Some(difference))]);
        let mut conflicts = Vec::new();
        let mut left: Vec<(ManagerId, FieldSet)> = Vec::new();
        for (id, owned) in managed.0.iter().filter(|(id, _)| Some(*id) != writer) {
            if !by_version.contains_key(&owned.version) {
                let pair = (self.to(live, &owned.version)?, self.to(new, &owned.version)?);
                let difference = match pair {
                    (Some(live), Some(new)) => {
                        Some(live.difference(&new).map(|set| self.reset.filter(set)))
                    }
                    _ => None,
                };
                by_version.insert(owned.version.clone(), difference);
            }
            let Some(difference) = &by_version[&owned.version] else {
                left.push((id.clone(), FieldSet::default()));
                continue;
            };
            let lost = owned.set.intersection(&difference.written());
            lost.each(&mut |path| conflicts.push(Conflict::new(id, path)));
            let kept = owned.set.difference(&lost).difference(&difference.removed);
            if kept != owned.set {
                left.push((id.clone(), kept));
            }
        }
        if !force && !conflicts.is_empty() {
            return Err(Refused::Conflicts(conflicts));
        }
        for (id, set) in left {
            if let Some(owned) = managed.0.get_mut(&id) {
                owned.set = set;
            }
        }
        managed.0.retain(|_, owned| !owned.set.is_empty());
        Ok(())
    }

    /// Gives `writer` what it changed from `live` to `new`.
    pub(super) fn update(
        &self,
        live: &Typed<'_>,
        new: &Typed<'_>,
        difference: Difference,
        managed: &mut Managed,
        writer: ManagerId,
    ) -> Result<(), Status> {
        self.reconcile(live, managed)?;
        let written = self.reset.filter(&difference.written());
        let taken = self.take((live, new), difference, managed, None, true);
        taken.map_err(Refused::into_status)?;
        let own = written.difference(super::untracked());
        if own.is_empty() {
            return Ok(());
        }
        let set = match managed.0.get(&writer) {
            Some(previous) => own.union(&previous.set),
            None => own,
        };
        let (version, time) = (new.version.clone(), Some(self.now.to_owned()));
        managed.0.insert(writer, Owned { set, version, time });
        Ok(())
    }

    /// Merges `config` into `live` and removes what `writer` applied before and does not any
    /// more. Returns the object before defaults, or nothing where it stays as it is.
    pub(super) fn apply(
        &self,
        live: &Typed<'_>,
        config: &Typed<'_>,
        managed: &mut Managed,
        writer: &ManagerId,
        force: bool,
    ) -> Result<Option<Value>, Refused> {
        debug_assert_eq!(writer.operation, Operation::Apply);
        self.reconcile(live, managed)?;
        let new = live.with(merge(live.shape(), &live.value, &config.value));
        let last = managed.0.remove(writer);
        let set = self.reset.filter(&config.fields());
        let time = last.as_ref().and_then(|last| last.time.clone());
        let version = config.version.clone();
        managed.0.insert(writer.clone(), Owned { set, version, time });
        let new = match last {
            Some(last) if !last.set.is_empty() => self.prune(new, managed, &last)?,
            _ => new,
        };
        let difference = live.difference(&new);
        self.take((live, &new), difference, managed, Some(writer), force)?;
        let changed = !equal(&live.value, &new.value);
        if let Some(owned) = managed.0.get_mut(writer) {
            owned.set = owned.set.difference(super::untracked());
            if changed {
                owned.time = Some(self.now.to_owned());
            }
        }
        managed.0.retain(|_, owned| !owned.set.is_empty());
        Ok(changed.then(|| new.value.into_owned()))
    }

    /// Removes from `merged` what the manager applied last, unless anybody owns it now.
    fn prune(
        &self,
        merged: Typed<'static>,
        managed: &Managed,
        last: &Owned,
    ) -> Result<Typed<'static>, Status> {
        let Some(all) = self.to(&merged, &last.version)? else { return Ok(merged) };
        let pruned = all.without(&all.named(&last.set));
        let pruned = self.add_back_owned(&all, pruned, managed, &last.version)?;
        let Some(pruned) = self.add_back_foreign(&all, &pruned, last)? else {
            return Ok(merged);
        };
        let back = self.to(&pruned, &merged.version)?.map(|pruned| pruned.value.into_owned());
        Ok(back.map(|value| merged.with(value)).unwrap_or(merged))
    }

    /// Adds back what any manager claims.
    fn add_back_owned(
        &self,
        merged: &Typed<'_>,
        mut pruned: Typed<'static>,
        managed: &Managed,
        first: &str,
    ) -> Result<Typed<'static>, Status> {
        let mut claims: BTreeMap<&str, FieldSet> = BTreeMap::new();
        for owned in managed.0.values() {
            let claim = claims.entry(owned.version.as_str()).or_default();
            *claim = claim.union(&owned.set);
        }
        let own = claims.remove_entry(first);
        for (version, claim) in own.into_iter().chain(claims) {
            let pair = (self.to(merged, version)?, self.to(&pruned, version)?);
            let (Some(merged), Some(left)) = pair else { continue };
            let all = merged.named(&merged.fields());
            let kept = merged.named(&left.fields()).union(&merged.named(&claim));
            pruned = merged.without(&all.difference(&kept));
        }
        Ok(pruned)
    }

    /// Adds back what went though the manager had not applied it.
    fn add_back_foreign(
        &self,
        merged: &Typed<'_>,
        pruned: &Typed<'_>,
        last: &Owned,
    ) -> Result<Option<Typed<'static>>, Status> {
        let Some(pruned) = self.to(pruned, &last.version)? else { return Ok(None) };
        let left = merged.named(&pruned.fields());
        let all = merged.named(&merged.fields());
        let gone = all.difference(&left).intersection(&merged.named(&last.set));
        Ok(Some(merged.without(&gone)))
    }
}
