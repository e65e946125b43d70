//! Jobs select their pods by the job's own uid, unless the user manages the selector.

use minik_meta::object;
use serde_json::{Value, json};

/// Adds the labels to the template and makes the selector. Needs `metadata.uid` and name.
pub(super) fn generate_selector(job: &mut Value) {
    if object::boolean(job, &["spec", "manualSelector"]) {
        return;
    }
    let (name, uid) = (object::name(job).to_owned(), object::uid(job).to_owned());
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    for (key, value) in labels {
        let path = ["spec", "template", "metadata", "labels", key];
        if object::at(job, &path).is_none() {
            object::set(job, &path, value.as_str());
        }
    }
    if object::at(job, &["spec", "selector"]).is_none() {
        let selector = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
        object::set(job, &["spec", "selector"], selector);
    }
}
