//! JSON paths of printer columns and the like: a path, then an object.

use minik_api::custom::JsonPath;
use minik_api::custom::pattern;

use super::parts;

/// Every text is a path or refused, and leads somewhere or nowhere; the same for patterns.
pub fn path(data: &[u8]) {
    let [path, object] = parts(data);
    let Ok(path) = std::str::from_utf8(path) else { return };
    let object = serde_json::from_slice(object).unwrap_or_default();
    if let Ok(path) = JsonPath::parse(path) {
        let _ = (path.first(&object), path.fields());
    }
    if let (Ok(pattern), Some(text)) = (pattern::compile(path), object.as_str()) {
        let _ = pattern.is_match(text);
    }
}
