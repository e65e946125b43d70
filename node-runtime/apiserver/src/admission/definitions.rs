//! What whoever writes a definition of custom resources is told beside the answer.

use minik_api::custom::definition;
use serde_json::Value;

use crate::call::Call;

/// Warns about parts of the definition that have no effect.
pub(super) fn warn(call: &Call, definition: &Value) {
    if call.kind.is("apiextensions.k8s.io", "CustomResourceDefinition") {
        definition::warnings(definition).into_iter().for_each(|text| call.warn(text));
    }
}
