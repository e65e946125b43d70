//! Where upstream says that something of a version is wrong: what all versions share counts as
//! the definition's own.

use minik_meta::Path;
use serde_json::Value;

/// The paths of the parts of one version.
pub(super) struct Places {
    pub(super) version: Path,
    pub(super) schema: Path,
    pub(super) subresources: Path,
    pub(super) columns: Path,
    pub(super) selectable: Path,
}

/// The places of each version, and whether it has to be checked on its own there: what is shared
/// is checked once.
pub(super) fn of(versions: &[Value]) -> Vec<Places> {
    let shared = |key: &str| {
        let first = versions.first().and_then(|one| one.get(key));
        first.is_some() && versions.iter().all(|one| one.get(key) == first)
    };
    let place = |index: usize, key: &str, own: &str| match shared(key) {
        true => Path::new("spec").child(own),
        false => Path::new("spec.versions").index(index).child(key),
    };
    (0..versions.len())
        .map(|index| Places {
            version: Path::new("spec.versions").index(index),
            schema: place(index, "schema", "validation"),
            subresources: place(index, "subresources", "subresources"),
            columns: place(index, "additionalPrinterColumns", "additionalPrinterColumns"),
            selectable: place(index, "selectableFields", "selectableFields"),
        })
        .collect()
}
