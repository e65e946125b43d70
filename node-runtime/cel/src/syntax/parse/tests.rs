//! What is and is not an expression, and where it says so.

use super::*;

/// The tree in brackets.
fn show(expr: &Expr) -> String {
    let all = |exprs: Vec<&Expr>| exprs.iter().map(|one| show(one)).collect::<Vec<_>>().join(" ");
    match &expr.kind {
        Kind::Literal(literal) => format!("{literal:?}"),
        Kind::Ident(name) => name.to_string(),
        Kind::Select(operand, field) => format!("{}.{field}", show(operand)),
        Kind::OptionalSelect(operand, field) => format!("{}.?{field}", show(operand)),
        Kind::Has(operand, field) => format!("(has {}.{field})", show(operand)),
        Kind::And(left, right) => format!("(and {} {})", show(left), show(right)),
        Kind::Or(left, right) => format!("(or {} {})", show(left), show(right)),
        Kind::Conditional(parts) => format!("(if {})", all(parts.iter().collect())),
        Kind::Call(call) => {
            let args = all(call.target.iter().chain(&call.args).collect());
            let dot = if call.target.is_some() { "." } else { "" };
            format!("({dot}{} {args})", call.function)
        }
        Kind::Fold(fold) => {
            let mut below = Vec::new();
            expr.kind.each(|one| below.push(one));
            format!("({:?} {} {:?} {})", fold.kind, fold.first, fold.second, all(below))
        }
        other => {
            let mut below = Vec::new();
            other.each(|one| below.push(one));
            format!("[{}]", all(below))
        }
    }
}

fn tree(text: &str) -> String {
    match parse(Source(text)) {
        Ok((expr, _)) => show(&expr),
        Err(error) => error.to_string(),
    }
}

#[test]
fn trees() {
    let cases = [
        ("1 + 2 * 3 - 4", "(_-_ (_+_ Int(1) (_*_ Int(2) Int(3))) Int(4))"),
        ("a && b || c && d", "(or (and a b) (and c d))"),
        ("a || b || c || d || e", "(or (or (or a b) c) (or d e))"),
        ("a ? b : c ? d : e", "(if a b (if c d e))"),
        ("!!a", "a"),
        ("!!!a", "(!_ a)"),
        ("-5", "Int(-5)"),
        ("--5", "(-_ Int(-5))"),
        ("-a.b", "(-_ a.b)"),
        ("-9223372036854775808", "Int(-9223372036854775808)"),
        ("a - 5", "(_-_ a Int(5))"),
        ("0xff", "Int(255)"),
        ("7u", "Uint(7)"),
        ("1.5e3", "Double(1500.0)"),
        (".5", "Double(0.5)"),
        ("1.size()", "(.size Int(1))"),
        ("a.b[c].?d[?e]", "(_[?_] (_[_] a.b c).?d e)"),
        ("x in [1, ?y]", "(@in x [Int(1) y])"),
        ("{'a': 1, ?'b': c}", "[String(\"a\") Int(1) String(\"b\") c]"),
        ("has(a.b.c)", "(has a.b.c)"),
        ("a.all(x, x > 0)", "(All x None a (_>_ x Int(0)))"),
        ("a.all(k, v, v)", "(All k Some(\"v\") a v)"),
        ("a.map(x, p, x)", "(List x None a p x)"),
        ("a.map(x)", "(.map a x)"),
        ("cel.bind(a, 1, a)", "[Int(1) a]"),
        ("a.optMap(x, x)", "[a x]"),
        ("a.namespace", "a.namespace"),
        ("a.in", "a.in"),
        ("Object.spec{a: 1}", "[Int(1)]"),
        ("a // words\n + b", "(_+_ a b)"),
        (".a.b", "a.b"),
        ("'a\\n\\x41\\u00e9\\101'", "String(\"a\\nAéA\")"),
        ("r'\\d'", "String(\"\\\\d\")"),
        ("b'\\xff\\377é'", "Bytes([255, 255, 195, 169])"),
        ("'''a'b''c'''", "String(\"a'b''c\")"),
        ("\"\"\"line\nline\"\"\"", "String(\"line\\nline\")"),
        ("[1,]", "[Int(1)]"),
    ];
    for (text, expected) in cases {
        assert_eq!(tree(text), expected, "{text}");
    }
}

#[test]
fn errors_and_their_places() {
    let cases = [
        ("", "1:1: Syntax error: mismatched input '<EOF>' expecting {'['"),
        (
            "this does not",
            "1:6: Syntax error: mismatched input 'does' expecting <EOF>\n | this does not\n | .....^",
        ),
        ("a +\n  ", "2:3: Syntax error: mismatched input '<EOF>'"),
        ("(a", "1:3: Syntax error: mismatched input '<EOF>' expecting ')'"),
        ("a.1", "1:2: Syntax error: mismatched input '.1'"),
        ("a.", "1:3: Syntax error: mismatched input '<EOF>' expecting IDENTIFIER"),
        ("a @ b", "1:3: Syntax error: token recognition error at: '@'"),
        ("'abc", "1:1: Syntax error: token recognition error at: ''abc'"),
        ("'a\nb'", "1:1: Syntax error: token recognition error"),
        ("'\\q'", "1:1: Syntax error: invalid literal: unable to unescape string"),
        ("'\\ud800'", "1:1: Syntax error: invalid literal: invalid unicode code point"),
        ("'\\U00110000'", "1:1: Syntax error: invalid literal: invalid unicode code point"),
        ("'\\xZZ'", "1:1: Syntax error: invalid literal"),
        ("b'\\u0041'", "1:1: Syntax error: invalid literal: unicode escapes"),
        ("'\\'", "1:1: Syntax error: token recognition error"),
        ("9223372036854775808", "1:1: invalid int literal"),
        ("-9223372036854775809", "1:2: invalid int literal"),
        ("18446744073709551616u", "1:1: invalid uint literal"),
        ("1e999", "1:1: invalid double literal"),
        ("0x", "1:1: invalid int literal"),
        ("for + 1", "1:1: reserved identifier: for"),
        ("has(a)", "1:5: invalid argument to has() macro"),
        ("a.all(1, true)", "1:7: argument must be a simple name"),
        ("a.all(x.y, true)", "1:8: argument must be a simple name"),
        ("a.all(x, x, true)", "1:6: duplicate variable name: x"),
        ("a.transformMapEntry(k, v, v)", "1:27: transformMapEntry() takes a map literal"),
        ("é + ' ' + #", "1:1: Syntax error: token recognition error at: 'é'"),
        ("'é' + #", "1:7: Syntax error: token recognition error at: '#'"),
        ("a ? b", "1:6: Syntax error: mismatched input '<EOF>' expecting ':'"),
        ("a in", "1:5: Syntax error: mismatched input '<EOF>'"),
    ];
    for (text, expected) in cases {
        let shown = tree(text);
        assert!(shown.starts_with(&format!("ERROR: <input>:{expected}")), "{text}: {shown}");
    }
}

#[test]
fn depth_and_length_are_bounded() {
    let deep = [
        "(".repeat(100_000),
        "[".repeat(50_000),
        "{1:".repeat(30_000),
        "-(".repeat(20_000),
        "a?b:".repeat(20_000) + "c",
        "!a.b(".repeat(10_000),
        "a".to_owned() + &".b".repeat(40_000),
        "1".to_owned() + &"+1".repeat(40_000),
        "a.all(x, ".repeat(5_000),
        "a".to_owned() + &"[0]".repeat(20_000),
        "a in ".repeat(10_000) + "a",
    ];
    for text in deep {
        let error = tree(&text);
        assert!(error.contains("expression recursion limit exceeded: 200"), "{}", &text[..20]);
    }
    assert!(tree(&" ".repeat(100_001)).contains("expression code point size exceeds limit"));
    let wide = "true".to_owned() + &" && true".repeat(10_000);
    assert!(tree(&wide).starts_with("(and (and "), "long chains are balanced");
    assert!(!tree(&("!".repeat(50_001) + "a")).contains("ERROR"));
}
