//! What is meant to harm: it ends soon, in an error.

use crate::support::evaluate;

const LIMIT: &str = "ERROR operation cancelled: actual cost limit exceeded";

fn stopped(text: &str) {
    let found = evaluate(text);
    let shown: String = text.chars().take(80).collect();
    let answer: String = found.chars().take(200).collect();
    assert_eq!(answer, LIMIT, "{shown}");
}

#[test]
fn nested_loops_stop() {
    stopped(
        "lists.range(1000).all(a, lists.range(1000).all(b, lists.range(1000).all(c, a + b + c >= 0)))",
    );
    stopped("lists.range(1000).map(a, lists.range(1000).map(b, a * b)).size() > 0");
    stopped("lists.range(2000).filter(a, lists.range(2000).exists(b, a == b + 5000)).size() > 0");
    stopped("lists.range(999999).sortBy(x, -x).size() > 0");
    stopped("lists.range(9223372036854775807).size() > 0");
}

#[test]
fn doubling_stops() {
    let doubled = |of: &str, times: usize| {
        let open = "cel.bind(x, x + x, ".repeat(times);
        format!("cel.bind(x, {of}, {open}x.size(){})", ")".repeat(times))
    };
    stopped(&doubled("'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", 60));
    stopped(&doubled("b'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'", 60));
    stopped(&doubled("[1, 2, 3, 4, 5, 6, 7, 8]", 60));
    let replaced = "cel.bind(x, x.replace('', x), ".repeat(12);
    stopped(&format!("cel.bind(x, 'abcdefgh', {replaced}x.size(){})", ")".repeat(12)));
    let joined = "cel.bind(x, [x, x, x, x, x, x, x, x].join(x), ".repeat(12);
    stopped(&format!("cel.bind(x, 'abcdefgh', {joined}x.size(){})", ")".repeat(12)));
    let formatted = "cel.bind(x, '%s%s%s%s'.format([x, x, x, x]), ".repeat(20);
    stopped(&format!("cel.bind(x, 'abcdefgh', {formatted}x.size(){})", ")".repeat(20)));
    let nested = "cel.bind(x, [x, x, x, x], ".repeat(60);
    stopped(&format!("cel.bind(x, [1], {nested}'%s'.format([x]).size() > 0{})", ")".repeat(60)));
    stopped(&format!("cel.bind(x, [1], {nested}x == x.map(y, y){})", ")".repeat(60)));
}

#[test]
fn large_data_compared_again_and_again_stops() {
    let nested = "cel.bind(x, [x, x, x, x], ".repeat(7);
    stopped(&format!(
        "cel.bind(x, [1], {nested}lists.range(100000).all(i, [x] == [x]){})",
        ")".repeat(7)
    ));
}

#[test]
fn slow_patterns_stop() {
    for text in [
        "cel.bind(x, lists.range(2000).map(i, 'a').join(), x.matches('(a*)*(a*)*b'))",
        "cel.bind(x, lists.range(5000).map(i, 'a').join(), x.matches('(a|a)*(a|a)*(a|a)*c'))",
        "'a'.matches('(((((a{10}){10}){10}){10}){10}){10}')",
        "'a'.matches(object.text + '(((((a{10}){10}){10}){10}){10}){10}')",
        "cel.bind(x, lists.range(20000).map(i, 'ab').join(), x.findAll('(a|b)*?b$').size() > 99)",
    ] {
        let found = evaluate(text);
        let fine = found == LIMIT
            || found == "false"
            || found.contains("invalid matches argument")
            || found.starts_with("ERROR error parsing regexp");
        assert!(fine, "{text}: {found}");
    }
    let pattern = "(x+x+)+y|".repeat(2000);
    let text = format!("lists.range(50000).map(i, 'x').join().matches('{pattern}z')");
    assert!(evaluate(&text).starts_with("ERROR"));
}

#[test]
fn what_is_deep_or_long_is_refused() {
    for text in [
        "[".repeat(100_000),
        "(".repeat(100_000),
        "a.".repeat(40_000),
        "!".repeat(99_999),
        "-".repeat(99_999),
        "{".repeat(99_999),
        "1?".repeat(40_000),
        "cel.bind(a,".repeat(9_000),
        "'".repeat(99_999),
        "\\".repeat(99_999),
        "9".repeat(99_999),
        format!("'{}", "\\x".repeat(40_000)),
        "\u{0}".repeat(10),
        "a\u{202e}b".to_owned(),
        "💥".repeat(1000),
        "x".repeat(200_000),
    ] {
        let found = evaluate(&text);
        assert!(found.starts_with("ERROR: <input>:1:"), "{}", &found[..found.len().min(200)]);
    }
    let long = format!("'{}'.size()", "y".repeat(90_000));
    assert_eq!(evaluate(&long), "90000");
    let wide = format!("[{}1].size()", "1,".repeat(40_000));
    assert_eq!(evaluate(&wide), "40001");
}

/// What noise is made of.
const WORDS: &[&str] = &[
    "self",
    "object",
    ".",
    "?",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ":",
    "'a'",
    "b'\\xff'",
    "1",
    "-1",
    "0u",
    "1.5",
    "null",
    "true",
    "in",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "<",
    "&&",
    "||",
    "!",
    "x",
    "names",
    "all",
    "map",
    "filter",
    "x,",
    "has",
    "size",
    "optional.of",
    "name",
    "count",
    "labels",
    "9223372036854775807",
    "format",
    "split",
    "substring",
    "matches",
    "duration('1h')",
    "keyed",
    "timestamp('2024-01-01T00:00:00Z')",
    "charAt",
    "orValue",
    "cel.bind",
    "sortBy",
    "at",
    "slice",
    "lists.range",
    "transformMapEntry",
    "getHours",
    "é",
    "flatten",
    "quantity('1')",
    "ip('::1')",
];

#[test]
fn noise_never_panics() {
    // A small generator of numbers: the same noise every time.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut next = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    for _ in 0..20_000 {
        let count = 1 + next(14);
        let text: String = (0..count)
            .map(|_| WORDS[next(WORDS.len())])
            .collect::<Vec<_>>()
            .join(if next(3) == 0 { " " } else { "" });
        evaluate(&text);
    }
}
