//! Conflicts between managers, and the failure that names them.

use minik_meta::Status;
use minik_meta::status::{Cause, Details, Reason};

use super::element::PathElement;
use super::managers::ManagerId;
use super::set::{FieldSet, path_text};

/// A field that another manager owns.
#[derive(Clone, Debug)]
pub(super) struct Conflict {
    manager: ManagerId,
    path: Vec<PathElement>,
}

impl Conflict {
    pub(super) fn new(manager: &ManagerId, path: &[PathElement]) -> Self {
        Self { manager: manager.clone(), path: path.to_vec() }
    }

    /// Whether the field is in `set`.
    pub(super) fn is_in(&self, set: &FieldSet) -> bool {
        set.has(&self.path)
    }
}

/// 409 with a cause for each conflict; they come manager by manager.
pub(super) fn failure(conflicts: &[Conflict]) -> Status {
    let causes = conflicts.iter().map(|conflict| Cause {
        reason: "FieldManagerConflict".to_owned(),
        message: format!("conflict with {}", conflict.manager),
        field: path_text(&conflict.path),
    });
    let details = Details { causes: causes.collect(), ..Details::default() };
    Status::new(Reason::Conflict, message(conflicts)).with_details(details)
}

fn message(conflicts: &[Conflict]) -> String {
    if let [one] = conflicts {
        let path = path_text(&one.path);
        return format!("Apply failed with 1 conflict: conflict with {}: {path}", one.manager);
    }
    let mut lines = Vec::new();
    for same in conflicts.chunk_by(|a, b| a.manager == b.manager) {
        lines.push(format!("conflicts with {}:", same[0].manager));
        lines.extend(same.iter().map(|conflict| format!("- {}", path_text(&conflict.path))));
    }
    format!("Apply failed with {} conflicts: {}", conflicts.len(), lines.join("\n"))
}
