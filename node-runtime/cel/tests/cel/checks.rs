//! What the checker refuses, with its words and places.

use crate::support::evaluate;

/// Expressions and how what is told of them begins.
const ERRORS: &[(&str, &str)] = &[
    ("slef.name", "1:1: undeclared reference to 'slef' (in container '')\n | slef.name\n | ^"),
    ("self.nope", "1:5: undefined field 'nope'\n | self.nope\n | ....^"),
    ("self.nested.nope == 1", "1:12: undefined field 'nope'"),
    ("has(self.nope)", "1:4: undefined field 'nope'"),
    ("self.opaque", "1:5: undefined field 'opaque'"),
    ("self.free.unknown", "1:10: undefined field 'unknown'"),
    ("self.template.spec", "1:14: undefined field 'spec'"),
    ("self.name.foo", "1:10: type 'string' does not support field selection"),
    ("nope(1)", "1:5: undeclared reference to 'nope' (in container '')"),
    ("self.name.nope()", "1:15: undeclared reference to 'nope' (in container '')"),
    ("self.name.charAt()", "1:17: found no matching overload for 'charAt' applied to 'string.()'"),
    (
        "self.name.charAt('a')",
        "1:17: found no matching overload for 'charAt' applied to 'string.(string)'",
    ),
    ("self.count == 'a'", "1:12: found no matching overload for '_==_' applied to '(int, string)'"),
    ("self.count + 'a'", "1:12: found no matching overload for '_+_' applied to '(int, string)'"),
    ("self.count && true", "1:12: found no matching overload for '_&&_' applied to '(int, bool)'"),
    (
        "self.count ? 1 : 2",
        "1:12: found no matching overload for '_?_:_' applied to '(int, int, int)'",
    ),
    (
        "true ? 1 : 'a'",
        "1:6: found no matching overload for '_?_:_' applied to '(bool, int, string)'",
    ),
    ("!self.count", "1:1: found no matching overload for '!_' applied to '(int)'"),
    ("1 < 'a'", "1:3: found no matching overload for '_<_' applied to '(int, string)'"),
    (
        "self.names.all(x, x > 1)",
        "1:21: found no matching overload for '_>_' applied to '(string, int)'",
    ),
    ("self.names.all(x, x)", "1:19: expected type 'bool' but found 'string'"),
    (
        "self.count.all(x, true)",
        "1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)",
    ),
    ("self.names.all(x, true) && x", "1:28: undeclared reference to 'x' (in container '')"),
    ("[1, 'a']", "1:5: expected type 'int' but found 'string'"),
    ("{'a': 1, 'b': 'c'}", "1:15: expected type 'int' but found 'string'"),
    ("{[1]: 2}", "1:2: unsupported map key type: 'list(int)'"),
    (
        "self.names == [1]",
        "1:12: found no matching overload for '_==_' applied to '(list(string), list(int))'",
    ),
    ("'a' in self.count", "1:5: found no matching overload for '@in' applied to '(string, int)'"),
    (
        "self.names['a']",
        "1:11: found no matching overload for '_[_]' applied to '(list(string), string)'",
    ),
    ("self.name.matches('(')", "1:19: invalid matches argument"),
    ("self.name.matches('(?=a)')", "1:19: invalid matches argument"),
    ("duration('1y')", "1:10: invalid duration argument"),
    ("timestamp('2024')", "1:11: invalid timestamp argument"),
    (
        "self.at == '2024'",
        "1:9: found no matching overload for '_==_' applied to '(timestamp, string)'",
    ),
    (
        "self.data == 'a'",
        "1:11: found no matching overload for '_==_' applied to '(bytes, string)'",
    ),
    (
        "ip('::1') == cidr('::/0')",
        "1:11: found no matching overload for '_==_' applied to '(net.IP, net.CIDR)'",
    ),
    ("quantity('1') > quantity('2')", "1:15: found no matching overload for '_>_'"),
    (
        "optional.of(1) + 1",
        "1:16: found no matching overload for '_+_' applied to '(optional_type(int), int)'",
    ),
    ("[?1]", "1:3: expected type 'optional_type(_var0)' but found 'int'"),
    ("authorizer.path('/x')", "1:1: undeclared reference to 'authorizer' (in container '')"),
    ("variables.x", "1:1: undeclared reference to 'variables' (in container '')"),
    ("Object{a: 1}", "1:7: undeclared reference to 'Object' (in container '')"),
    (
        "sets.contains([1], ['a'])",
        "1:14: found no matching overload for 'sets.contains' applied to '(list(int), list(string))'",
    ),
    ("[[1]].sortBy(x, x)", "1:17: list elements cannot be sorted by 'list(int)'"),
    ("size(1)", "1:5: found no matching overload for 'size' applied to '(int)'"),
    (
        "self.nope && self.nopes",
        "1:5: undefined field 'nope'\n | self.nope && self.nopes\n | ....^\nERROR: <input>:1:18: undefined field 'nopes'",
    ),
    ("self.count ==\n 'a'", "1:12: found no matching overload"),
    ("1 ==\n  self.nope", "2:7: undefined field 'nope'\n |   self.nope\n | ......^"),
];

#[test]
fn errors() {
    let mut wrong = Vec::new();
    for (text, expected) in ERRORS {
        let found = evaluate(text);
        if !found.starts_with(&format!("ERROR: <input>:{expected}")) {
            wrong.push(format!("{text}\n  expected {expected}\n  found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_only_known_later_passes() {
    for text in [
        "self.port == 80",
        "type(self.port) == int && self.port > 5",
        "object.a.b.c(1) || true",
        "object.spec.x > 1 || object.spec.x == 'a'",
        "[object.spec, object.text].size() == 2",
        "object.all(k, object[k] == 1)",
    ] {
        let found = evaluate(text);
        let fine = !found.starts_with("ERROR: ") || text.contains("c(1)");
        assert!(fine, "{text}: {found}");
    }
}
