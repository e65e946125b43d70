//! Sets of completion indexes and their text, `1,3-5`.

use std::collections::BTreeSet;

/// Reads `1,3-5`. Parts that are no numbers are left out.
pub(super) fn parse(text: &str) -> BTreeSet<i32> {
    let parts = text.split(',').filter(|part| !part.is_empty());
    let ranges = parts.filter_map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<i32>().ok()?..=last.trim().parse::<i32>().ok()?)
    });
    ranges.flatten().collect()
}

/// Writes a set so: runs of three and more as a range, as upstream does.
pub(super) fn format(indexes: &BTreeSet<i32>) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for index in indexes.iter().copied() {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == index => *last = index,
            _ => runs.push((index, index)),
        }
    }
    let texts = runs.into_iter().map(|(first, last)| match last - first {
        0 => first.to_string(),
        1 => format!("{first},{last}"),
        _ => format!("{first}-{last}"),
    });
    texts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use test_case::test_case;

    use super::*;

    #[test_case("", &[]; "none")]
    #[test_case("1", &[1]; "one")]
    #[test_case("0,1", &[0, 1]; "two")]
    #[test_case("1,3-5,7", &[1, 3, 4, 5, 7]; "runs")]
    fn round_trip(text: &str, indexes: &[i32]) {
        let set: BTreeSet<i32> = indexes.iter().copied().collect();
        assert_eq!(parse(text), set);
        assert_eq!(format(&set), text);
    }
}
