//! Stand-ins for routines of the kinds' crate that are being written.

pub(crate) mod strategy {
    use minik_api::Resource;
    use minik_meta::{Status, object};
    use serde_json::Value;

    pub(crate) fn prepare_create(resource: &Resource, new: &mut Value) {
        let metadata = object::metadata_mut(new);
        if resource.has_generation {
            metadata.insert("generation".into(), 1.into());
        }
    }
    pub(crate) fn prepare_update(resource: &Resource, new: &mut Value, old: &Value) {
        if resource.has_status() {
            match old.get("status") {
                Some(status) => object::set(new, &["status"], status.clone()),
                None => _ = object::remove(new, &["status"]),
            }
        }
        if resource.has_generation && new["spec"] != old["spec"] {
            let next = object::generation(old) + 1;
            object::metadata_mut(new).insert("generation".into(), next.into());
        }
    }
    pub(crate) fn prepare_status_update(_resource: &Resource, new: &mut Value, old: &Value) {
        let mut result = old.clone();
        result["metadata"] = new["metadata"].take();
        result["status"] = new["status"].take();
        *new = result;
    }
    pub(crate) fn validate(_: &Resource, _: &Value) -> Result<(), Status> {
        Ok(())
    }
    pub(crate) fn validate_update(_: &Resource, _: &Value, _: &Value) -> Result<(), Status> {
        Ok(())
    }
    pub(crate) fn validate_status_update(_: &Resource, _: &Value, _: &Value) -> Result<(), Status> {
        Ok(())
    }
}

pub(crate) struct Document {
    pub(crate) etag: String,
    pub(crate) content_type: String,
    pub(crate) bytes: bytes::Bytes,
}

pub(crate) mod openapi {
    use super::Document;
    fn none() -> &'static Document {
        static NONE: std::sync::OnceLock<Document> = std::sync::OnceLock::new();
        NONE.get_or_init(|| Document {
            etag: "\"0\"".to_owned(),
            content_type: "application/json".to_owned(),
            bytes: "{}".into(),
        })
    }
    pub(crate) fn v2() -> &'static Document {
        none()
    }
    pub(crate) fn v3_index() -> &'static Document {
        none()
    }
    pub(crate) fn v3_group(_: &str) -> Option<&'static Document> {
        None
    }
}

pub(crate) mod discovery {
    use minik_api::KindTable;
    use serde_json::{Value, json};

    pub(crate) fn versions(address: &str) -> Value {
        json!({"kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
    }
    pub(crate) fn groups(table: &KindTable) -> Value {
        let groups: Vec<Value> = table.groups().iter().filter(|g| !g.name.is_empty())
            .filter_map(|g| group(table, &g.name)).collect();
        json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
    }
    pub(crate) fn group(table: &KindTable, name: &str) -> Option<Value> {
        let group = table.groups().iter().find(|g| g.name == name)?;
        let version = |v: &str| json!({"groupVersion": format!("{name}/{v}"), "version": v});
        let versions: Vec<Value> = group.versions.iter().map(|v| version(v)).collect();
        Some(json!({"kind": "APIGroup", "apiVersion": "v1", "name": name,
            "preferredVersion": versions[0], "versions": versions}))
    }
    pub(crate) fn resources(table: &KindTable, group: &str, version: &str) -> Option<Value> {
        let mut list = Vec::new();
        for one in table.in_version(group, version) {
            list.push(json!({"name": one.plural, "singularName": one.singular,
                "namespaced": one.namespaced, "kind": one.kind, "verbs": one.verbs,
                "shortNames": one.short_names, "categories": one.categories}));
            for sub in &one.subresources {
                list.push(json!({"name": format!("{}/{}", one.plural, sub.name),
                    "singularName": "", "namespaced": one.namespaced, "group": sub.group,
                    "version": sub.version, "kind": sub.kind, "verbs": sub.verbs}));
            }
        }
        if list.is_empty() { return None; }
        let gv = minik_meta::gvk::api_version(group, version);
        Some(json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": gv,
            "resources": list}))
    }
}
