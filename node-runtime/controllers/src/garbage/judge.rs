//! Decides what becomes of one object, given what is true of its owners.

use kube::api::PropagationPolicy;

use crate::metadata::Meta;

/// Finalizer of an object that goes after its dependents.
pub(super) const FOREGROUND: &str = "foregroundDeletion";
/// Finalizer of an object that goes after its dependents have been let off.
pub(super) const ORPHAN: &str = "orphan";

/// What is true of one owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// It exists.
    There,
    /// It does not exist, or another object has its name now.
    Absent,
    /// It is being deleted and waits until its dependents are gone.
    WaitsForDependents,
    /// Its kind is not served, or it could not be anywhere: nothing can be said.
    Unknown,
}

/// What is true of the objects that it owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dependents {
    /// There are none.
    None,
    /// There are some.
    Some,
    /// One of them is being deleted and waits for dependents of its own: perhaps a circle.
    Waiting,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// Nothing.
    Keep,
    /// Nothing, but it may become clear later.
    KeepForNow,
    /// Remove the references to these owners.
    DropOwners(Vec<String>),
    /// Let its owners go without waiting for it; then look again.
    Unblock,
    /// Delete it, and its own dependents in this way.
    Delete(PropagationPolicy),
}

/// Whether the object carries this finalizer.
pub(super) fn has_finalizer(meta: &Meta, name: &str) -> bool {
    meta.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == name)
}

/// Decides about an object that is not being deleted.
pub(super) fn judge(owners: &[(String, Owner)], dependents: Dependents, meta: &Meta) -> Verdict {
    let are = |what: Owner| owners.iter().filter(move |(_, owner)| *owner == what);
    if owners.is_empty() {
        return Verdict::Keep;
    }
    if are(Owner::Unknown).next().is_some() {
        return Verdict::KeepForNow;
    }
    let waiting = are(Owner::WaitsForDependents).next().is_some();
    if are(Owner::There).next().is_some() {
        let gone: Vec<String> = are(Owner::Absent)
            .chain(are(Owner::WaitsForDependents))
            .map(|(uid, _)| uid.clone())
            .collect();
        return if gone.is_empty() { Verdict::Keep } else { Verdict::DropOwners(gone) };
    }
    let blocks = meta.metadata.owner_references.iter().flatten();
    let blocks = blocks.into_iter().any(|owner| owner.block_owner_deletion == Some(true));
    if waiting && dependents == Dependents::Waiting && blocks {
        // In a circle each would wait for the next one for ever.
        return Verdict::Unblock;
    }
    let how = if waiting && dependents != Dependents::None {
        PropagationPolicy::Foreground
    } else if has_finalizer(meta, ORPHAN) {
        PropagationPolicy::Orphan
    } else if has_finalizer(meta, FOREGROUND) {
        PropagationPolicy::Foreground
    } else {
        PropagationPolicy::Background
    };
    Verdict::Delete(how)
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;
    use PropagationPolicy::{Background, Foreground, Orphan};

    /// `there`, `absent`, `waits`, `unknown`, one for each owner.
    fn verdict(owners: &str, dependents: Dependents, finalizers: &[&str]) -> Verdict {
        let owners: Vec<(String, Owner)> = owners
            .split_whitespace()
            .map(|word| {
                let owner = match word {
                    "there" => Owner::There,
                    "absent" => Owner::Absent,
                    "waits" => Owner::WaitsForDependents,
                    _ => Owner::Unknown,
                };
                (word.to_owned(), owner)
            })
            .collect();
        let mut meta: Meta = serde_json::from_str("{}").expect("nothing is required");
        meta.metadata.finalizers = Some(finalizers.iter().map(|name| (*name).to_owned()).collect());
        judge(&owners, dependents, &meta)
    }

    fn delete(how: PropagationPolicy) -> Verdict {
        Verdict::Delete(how)
    }

    #[test_case("", Verdict::Keep; "nobody's")]
    #[test_case("there", Verdict::Keep; "owned")]
    #[test_case("there absent", Verdict::DropOwners(vec!["absent".to_owned()]); "one is gone")]
    #[test_case("there waits", Verdict::DropOwners(vec!["waits".to_owned()]); "one wants to go")]
    #[test_case("absent unknown", Verdict::KeepForNow; "one cannot be found")]
    #[test_case("absent", delete(Background); "all are gone")]
    #[test_case("waits", delete(Background); "the owner waits and nobody waits for us")]
    fn verdicts(owners: &str, expected: Verdict) {
        assert_eq!(verdict(owners, Dependents::None, &[]), expected);
    }

    #[test]
    fn how_its_own_dependents_go() {
        assert_eq!(verdict("waits", Dependents::Some, &[]), delete(Foreground));
        assert_eq!(verdict("absent", Dependents::Some, &[]), delete(Background));
        assert_eq!(verdict("absent", Dependents::Some, &[ORPHAN]), delete(Orphan));
        assert_eq!(verdict("absent", Dependents::Some, &[FOREGROUND]), delete(Foreground));
    }
    #[test]
    fn in_a_circle_one_stops_blocking_and_then_goes() {
        let owners = [("1".to_owned(), Owner::WaitsForDependents)];
        let mut meta: Meta = serde_json::from_value(serde_json::json!({"metadata": {
            "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "a", "uid": "1",
                                 "blockOwnerDeletion": true}]}}))
        .expect("metadata");
        assert_eq!(judge(&owners, Dependents::Some, &meta), delete(Foreground));
        assert_eq!(judge(&owners, Dependents::Waiting, &meta), Verdict::Unblock);
        meta.metadata.owner_references.as_mut().expect("one")[0].block_owner_deletion = Some(false);
        assert_eq!(judge(&owners, Dependents::Waiting, &meta), delete(Foreground));
    }
}
