//! What types and fields mean, in words. Packed at build time, unpacked while a document is made.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::ZlibDecoder;

static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptions.z"));

/// All descriptions, unpacked.
pub(super) struct Descriptions {
    text: String,
    /// Where in `text` the lines of a type are.
    types: HashMap<String, (usize, usize)>,
}

impl Descriptions {
    pub(super) fn load() -> Self {
        let mut text = String::new();
        ZlibDecoder::new(PACKED).read_to_string(&mut text).expect("packed by build.rs");
        let mut starts: Vec<usize> = text.match_indices("\n= ").map(|(at, _)| at + 1).collect();
        if text.starts_with("= ") {
            starts.insert(0, 0);
        }
        let mut types = HashMap::with_capacity(starts.len());
        for (index, start) in starts.iter().enumerate() {
            let end = starts.get(index + 1).copied().unwrap_or(text.len());
            let name = text[start + 2..end].split('\t').next().unwrap_or_default();
            types.insert(name.to_owned(), (*start, end));
        }
        Self { text, types }
    }

    /// The description of a type, empty where there is none.
    pub(super) fn of_type(&self, name: &str) -> String {
        self.lines(name).next().map_or_else(String::new, |(_, text)| unescape(text))
    }

    /// The description of a field of a type, empty where there is none.
    pub(super) fn of_field(&self, name: &str, field: &str) -> String {
        let mut lines = self.lines(name).skip(1);
        let found = lines.find(|(one, _)| *one == field);
        found.map_or_else(String::new, |(_, text)| unescape(text))
    }

    fn lines(&self, name: &str) -> impl Iterator<Item = (&str, &str)> {
        let (start, end) = self.types.get(name).copied().unwrap_or_default();
        self.text[start..end].lines().filter_map(|line| line.split_once('\t'))
    }
}

fn unescape(text: &str) -> String {
    if !text.contains('\\') {
        return text.to_owned();
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('n') => plain.push('\n'),
                Some(other) => plain.push(other),
                None => {}
            },
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_of_the_table_with_fields_is_described() {
        let descriptions = Descriptions::load();
        let mut missing = Vec::new();
        for (_, ty) in crate::kinds::kinds().schema().types() {
            if descriptions.lines(&ty.name).next().is_none() {
                missing.push(ty.name.to_string());
            }
        }
        // The one is generic there, the other is no API kind.
        assert_eq!(
            missing,
            [
                "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent",
                "io.k8s.apimachinery.pkg.version.Info"
            ]
        );
        assert!(
            descriptions
                .of_field("io.k8s.api.core.v1.Container", "image")
                .starts_with("Container image name.")
        );
        assert!(descriptions.of_type("io.k8s.api.core.v1.Pod").starts_with("Pod is a collection"));
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(r"a\nb\\c"), "a\nb\\c");
    }
}
