//! The layer rule: a crate may depend only on crates of a lower row, on its own side or shared.

/// Rows, lowest first: crates of the host side, crates of the guest side.
///
/// Crates of one row never see each other. Row 0 is the only one both sides share.
pub const LAYERS: &[(&[&str], &[&str])] = &[
    (SHARED, SHARED),
    (&["minik-driver"], &["minik-api"]),
    (&["minik-spec", "minik-agent"], &["minik-store", "minik-cri", "minik-cel"]),
    (&["minik-image"], &["minik-apiserver", "minik-client"]),
    (DRIVERS, &["minik-reconcile"]),
    (&["minik-provisioner"], MEET_ONLY_THROUGH_THE_API),
    (&["minik"], &["minik-node"]),
];

const SHARED: &[&str] = &["minik-meta", "minik-config", "minik-pki"];

const DRIVERS: &[&str] =
    &["minik-qemu", "minik-libvirt", "minik-hyperv", "minik-virtualbox", "minik-none"];

const MEET_ONLY_THROUGH_THE_API: &[&str] =
    &["minik-controllers", "minik-scheduler", "minik-kubelet", "minik-proxy", "minik-dns"];

/// Crates that only tests may name.
pub const TEST_ONLY: &[&str] =
    &["minik-testkit", "minik-tidy", "minik-cluster", "minik-e2e", "minik-bench", "minik-fuzz"];

/// Crates that only the named ones may depend on.
pub const WRAPPED: &[(&str, &[&str])] = &[
    (
        "minik-store",
        &["minik-apiserver", "minik-node", "minik-testkit", "minik-bench", "minik-fuzz"],
    ),
    ("minik-cri", &["minik-kubelet", "minik-node", "minik-testkit"]),
    ("minik-qemu", &["minik"]),
    ("minik-libvirt", &["minik"]),
    ("minik-hyperv", &["minik"]),
    ("minik-virtualbox", &["minik"]),
    ("minik-none", &["minik"]),
];

/// Which half of the system a crate belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Shared,
    Host,
    Guest,
}

/// Row and side of one crate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    row: usize,
    side: Side,
}

impl Place {
    /// Where `name` stands in [`LAYERS`]; none for a crate that has no row.
    pub fn of(name: &str) -> Option<Place> {
        LAYERS.iter().enumerate().find_map(|(row, (host, guest))| {
            let side = match (host.contains(&name), guest.contains(&name)) {
                (true, true) => Side::Shared,
                (true, false) => Side::Host,
                (false, true) => Side::Guest,
                (false, false) => return None,
            };
            Some(Place { row, side })
        })
    }

    /// Whether a crate here may depend on one at `other`.
    pub fn may_use(self, other: Place) -> bool {
        other.row < self.row && (other.side == Side::Shared || other.side == self.side)
    }
}

/// Why `from` must not depend on `to`; none when it may.
pub fn objection(from: &str, to: &str) -> Option<String> {
    if TEST_ONLY.contains(&from) {
        return None;
    }
    if TEST_ONLY.contains(&to) {
        return Some(format!("{from} -> {to}: {to} is for tests only"));
    }
    if let Some((_, allowed)) = WRAPPED.iter().find(|(name, _)| *name == to)
        && !allowed.contains(&from)
    {
        return Some(format!("{from} -> {to}: only {} may", allowed.join(", ")));
    }
    let (Some(place), Some(other)) = (Place::of(from), Place::of(to)) else {
        return Some(format!("{from} -> {to}: one of them has no row in tests/tidy/src/layers.rs"));
    };
    (!place.may_use(other)).then(|| format!("{from} -> {to}: does not point down"))
}

#[cfg(test)]
mod tests {
    use super::objection;

    #[test]
    fn directions() {
        assert_eq!(objection("minik-apiserver", "minik-store"), None);
        assert_eq!(objection("minik-provisioner", "minik-pki"), None);
        assert!(objection("minik-kubelet", "minik-scheduler").is_some(), "one row");
        assert!(objection("minik-store", "minik-apiserver").is_some(), "upwards");
        assert!(objection("minik-image", "minik-api").is_some(), "across the sides");
        assert!(objection("minik-controllers", "minik-store").is_some(), "wrapped");
        assert!(objection("minik-node", "minik-testkit").is_some(), "test only");
    }
}
