//! The shortest way from what the kernel has to what it should have. Pure.

use crate::rules::{Chain, Desired, Key, Target};

/// One command to nftables. All steps of a diff are one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step<'a> {
    /// A set that remembers clients for so many seconds.
    AddSet { name: &'a str, seconds: u32 },
    /// An empty chain.
    AddChain { name: &'a str },
    /// Takes all rules out of a chain.
    FlushChain { name: &'a str },
    /// Fills an empty chain.
    FillChain { name: &'a str, chain: &'a Chain },
    /// An element of a map or set.
    DeleteElement { key: &'a Key },
    /// An element of a map or set.
    AddElement { key: &'a Key, target: &'a Target },
    /// An empty chain that nothing leads to.
    DeleteChain { name: &'a str },
    /// A set that no rule uses.
    DeleteSet { name: &'a str },
}

/// The steps from `old` to `new`, in an order in which nothing is used before it is there or
/// removed while it is used.
pub(crate) fn diff<'a>(old: &'a Desired, new: &'a Desired) -> Vec<Step<'a>> {
    let added = || new.chains.iter().filter(|(name, _)| !old.chains.contains_key(*name));
    let removed = || old.chains.iter().filter(|(name, _)| !new.chains.contains_key(*name));
    let changed = || {
        let known = |name: &String| old.chains.get(name);
        new.chains.iter().filter(move |(name, chain)| known(name).is_some_and(|it| it != *chain))
    };
    let mut steps = Vec::new();
    steps.extend(added().filter_map(|(name, chain)| {
        remembers(chain).map(|seconds| Step::AddSet { name, seconds })
    }));
    steps.extend(added().map(|(name, _)| Step::AddChain { name }));
    steps.extend(changed().map(|(name, _)| Step::FlushChain { name }));
    steps.extend(added().chain(changed()).map(|(name, chain)| Step::FillChain { name, chain }));
    steps.extend(elements(old, new));
    // First all are emptied, so that none of them is used by another.
    steps.extend(removed().map(|(name, _)| Step::FlushChain { name }));
    steps.extend(removed().map(|(name, _)| Step::DeleteChain { name }));
    steps.extend(
        removed().filter_map(|(name, chain)| remembers(chain).map(|_| Step::DeleteSet { name })),
    );
    steps
}

fn elements<'a>(old: &'a Desired, new: &'a Desired) -> Vec<Step<'a>> {
    let gone = old.elements.iter().filter(|(key, target)| new.elements.get(key) != Some(target));
    let come = new.elements.iter().filter(|(key, target)| old.elements.get(key) != Some(target));
    gone.map(|(key, _)| Step::DeleteElement { key })
        .chain(come.map(|(key, target)| Step::AddElement { key, target }))
        .collect()
}

/// For how long the chain remembers its clients in a set, if it does.
fn remembers(chain: &Chain) -> Option<u32> {
    match chain {
        Chain::Endpoint { remember_seconds, .. } => Some(*remember_seconds),
        Chain::Balance { .. } | Chain::Sticky { .. } | Chain::Outside { .. } => None,
    }
}
