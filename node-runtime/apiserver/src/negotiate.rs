//! What the client wants to get back: the `Accept` header, decided once per request.

use http::HeaderMap;
use http::header::ACCEPT;
use minik_api::protobuf;
use minik_meta::Status;

use crate::route::Query;

/// The media types objects are written in; the last one only where the kind has such a form.
const MEDIA_TYPES: &[&str] = &["application/json", "application/yaml", protobuf::MEDIA_TYPE];

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub(crate) format: Format,
    pub(crate) shape: Shape,
}

/// The encoding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    #[default]
    Json,
    PrettyJson,
    Yaml,
    Protobuf,
}

/// What is made of the objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Shape {
    /// The objects themselves.
    #[default]
    Whole,
    /// `PartialObjectMetadata` or its list.
    Metadata,
    /// A table of printer columns, `v1` or `v1beta1`.
    Table { version: &'static str, include: Include },
}

/// What each row of a table carries besides its cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    #[default]
    Metadata,
    Object,
}

/// What there is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Whether it is a list.
    pub(crate) list: bool,
    /// Whether the kind has a protobuf form.
    pub(crate) protobuf: bool,
    /// Whether there are objects to make a table of: reviews, for instance, are only answers.
    pub(crate) table: bool,
}

/// One clause of an `Accept` header.
pub(crate) struct Clause<'a> {
    /// `application/json`
    pub(crate) media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Clause<'_> {
    /// The value of a parameter such as `as`, empty where absent.
    pub(crate) fn parameter(&self, name: &str) -> &str {
        let found = self.parameters.iter().find(|(key, _)| *key == name);
        found.map_or("", |(_, value)| value)
    }
}

/// The clauses of all `Accept` headers, best first.
pub(crate) fn clauses(headers: &HeaderMap) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters.iter().find(|(key, _)| *key == "q");
            let quality = quality.and_then(|(_, value)| value.parse().ok()).unwrap_or(1.0);
            Clause { media_type, parameters, quality }
        })
        .filter(|clause| !clause.media_type.is_empty())
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

/// Chooses the first acceptable clause.
pub(crate) fn negotiate(
    headers: &HeaderMap,
    query: &Query,
    answer: Answer,
) -> Result<Output, Status> {
    let pretty = match query.get("pretty") {
        Some(_) => query.flag("pretty"),
        None => asks_from_terminal(headers),
    };
    let clauses = clauses(headers);
    if clauses.is_empty() {
        return Ok(Output { format: json(pretty), shape: Shape::Whole });
    }
    for clause in &clauses {
        let format = match clause.media_type {
            "application/json" | "application/*" | "*/*" => json(pretty),
            "application/yaml" => Format::Yaml,
            protobuf::MEDIA_TYPE => Format::Protobuf,
            _ => continue,
        };
        match (shape(clause, query, answer.list), format) {
            // The columns of tables are JSON by nature.
            (Some(Shape::Table { .. }), Format::Protobuf) => {}
            (Some(Shape::Table { .. }), _) if !answer.table => {}
            (Some(Shape::Whole), Format::Protobuf) if !answer.protobuf => {}
            (Some(shape), _) => return Ok(Output { format, shape }),
            (None, _) => {}
        }
    }
    let types = MEDIA_TYPES.len() - usize::from(!answer.protobuf);
    Err(Status::not_acceptable(&MEDIA_TYPES[..types]))
}

fn json(pretty: bool) -> Format {
    if pretty { Format::PrettyJson } else { Format::Json }
}

/// People who look with curl or a browser get line breaks.
fn asks_from_terminal(headers: &HeaderMap) -> bool {
    let agent = headers.get(http::header::USER_AGENT).and_then(|agent| agent.to_str().ok());
    agent.is_some_and(|agent| {
        ["curl", "Wget", "Mozilla/5.0"].iter().any(|start| agent.starts_with(start))
    })
}

fn shape(clause: &Clause<'_>, query: &Query, list: bool) -> Option<Shape> {
    let version = match (clause.parameter("g"), clause.parameter("v")) {
        ("meta.k8s.io", "v1") => "v1",
        ("meta.k8s.io", "v1beta1") => "v1beta1",
        _ if clause.parameter("as").is_empty() => return Some(Shape::Whole),
        _ => return None,
    };
    match clause.parameter("as") {
        "Table" => {
            let include = match query.get("includeObject") {
                Some("None") => Include::Nothing,
                Some("Object") => Include::Object,
                _ => Include::Metadata,
            };
            Some(Shape::Table { version, include })
        }
        "PartialObjectMetadata" if !list && version == "v1" => Some(Shape::Metadata),
        "PartialObjectMetadataList" if list && version == "v1" => Some(Shape::Metadata),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(accept: &str, list: bool, expected: Expect) {
        check_kind(accept, Answer { list, protobuf: true, table: true }, expected);
    }

    #[track_caller]
    fn check_kind(accept: &str, answer: Answer, expected: Expect) {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().expect("header"));
        let said = match negotiate(&headers, &Query::default(), answer) {
            Ok(output) => format!("{:?} {:?}", output.format, output.shape),
            Err(status) => format!("{} {}", status.code, status.message),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn answers_that_are_no_objects_have_no_table() {
        let review = Answer { list: false, protobuf: true, table: false };
        let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
        check_kind(
            table,
            review,
            expect![
                "406 only the following media types are accepted: application/json, application/yaml, application/vnd.kubernetes.protobuf"
            ],
        );
        check_kind(&format!("{table},application/json"), review, expect!["Json Whole"]);
    }

    #[test]
    fn first_acceptable_clause_wins() {
        check("*/*", false, expect!["Json Whole"]);
        check("application/yaml", false, expect!["Yaml Whole"]);
        check(
            "application/vnd.kubernetes.protobuf,application/json",
            true,
            expect!["Protobuf Whole"],
        );
        check(
            "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            true,
            expect![[r#"Json Table { version: "v1", include: Metadata }"#]],
        );
        check(
            "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            true,
            expect!["Json Metadata"],
        );
        check(
            "application/json;as=Nonsense;g=meta.k8s.io;v=v1,application/json;q=0.5",
            true,
            expect!["Json Whole"],
        );
    }

    #[test]
    fn protobuf_is_for_what_has_a_form_in_it() {
        let custom = Answer { list: true, protobuf: false, table: true };
        let both = "application/vnd.kubernetes.protobuf;stream=watch,application/json";
        check(both, false, expect!["Protobuf Whole"]);
        check_kind(both, custom, expect!["Json Whole"]);
        check_kind(
            "application/vnd.kubernetes.protobuf",
            custom,
            expect![
                "406 only the following media types are accepted: application/json, application/yaml"
            ],
        );
        check_kind(
            "application/vnd.kubernetes.protobuf;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1",
            custom,
            expect!["Protobuf Metadata"],
        );
        check(
            "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json",
            true,
            expect!["Json Whole"],
        );
    }
}
