//! Operators, macros and every function of the libraries.

use crate::support::check;

#[test]
fn arithmetic() {
    check(&[
        ("1 + 2 * 3", "7"),
        ("7 / 2", "3"),
        ("-7 / 2", "-3"),
        ("7 % 3", "1"),
        ("-7 % 3", "-1"),
        ("1u + 2u", "3u"),
        ("5u - 6u", "ERROR unsigned integer overflow"),
        ("1.5 * 2.0", "3.0"),
        ("1.0 / 0.0 > 1.0e308", "true"),
        ("1 / 0", "ERROR division by zero"),
        ("1 % 0", "ERROR modulus by zero"),
        ("1u / 0u", "ERROR division by zero"),
        ("9223372036854775807 + 1", "ERROR integer overflow"),
        ("-9223372036854775808 - 1", "ERROR integer overflow"),
        ("-(-9223372036854775808)", "ERROR integer overflow"),
        ("-9223372036854775808 / -1", "ERROR integer overflow"),
        ("-9223372036854775808 % -1", "ERROR integer overflow"),
        ("4611686018427387904 * 2", "ERROR integer overflow"),
        ("18446744073709551615u + 1u", "ERROR unsigned integer overflow"),
        ("'a' + 'b'", r#""ab""#),
        ("b'a' + b'b' == b'ab'", "true"),
        ("[1] + [2, 3]", "[1,2,3]"),
    ]);
}

#[test]
fn comparison() {
    check(&[
        ("1 < 2 && 2 <= 2 && 3 > 2 && 2 >= 2", "true"),
        ("'a' < 'b' && b'a' < b'b' && false < true", "true"),
        ("1 < 1.5 && 1u < 2 && 1.5 > 1u", "true"),
        ("9223372036854775807 < 9223372036854775808.0", "true"),
        ("1u < -1", "false"),
        ("dyn(1) == 1.0", "true"),
        ("dyn(1) == 1u", "true"),
        ("dyn(1) == '1'", "false"),
        ("[1, 2] == [1, 2]", "true"),
        ("[1, 2] == [2, 1]", "false"),
        ("{'a': 1, 'b': 2} == {'b': 2, 'a': 1}", "true"),
        ("null == null", "true"),
        ("1.0 / 0.0 * 0.0 == 1.0", "false"),
        ("1 != 2", "true"),
        ("duration('1h') > duration('59m')", "true"),
        ("timestamp('2024-01-01T00:00:00Z') < timestamp('2024-01-02T00:00:00Z')", "true"),
    ]);
}

#[test]
fn logic() {
    check(&[
        ("true && false", "false"),
        ("true || false", "true"),
        ("!true", "false"),
        ("false && 1 / 0 == 1", "false"),
        ("1 / 0 == 1 && false", "false"),
        ("1 / 0 == 1 || true", "true"),
        ("1 / 0 == 1 && true", "ERROR division by zero"),
        ("1 / 0 == 1 || false", "ERROR division by zero"),
        ("true ? 1 : 2", "1"),
        ("false ? 1 / 0 : 2", "2"),
        ("dyn(1) && true", "ERROR no such overload"),
        ("dyn('a') ? 1 : 2", "ERROR no such overload"),
    ]);
}

#[test]
fn macros_over_lists() {
    check(&[
        ("[1, 2, 3].all(x, x > 0)", "true"),
        ("[1, 2, 3].all(x, x > 1)", "false"),
        ("[].all(x, x)", "true"),
        ("[1, 0].all(x, 1 / x > 5)", "false"),
        ("[0, 1].all(x, 1 / x > 0)", "ERROR division by zero"),
        ("[1, 2].exists(x, x == 2)", "true"),
        ("[0, 1].exists(x, 1 / x == 1)", "true"),
        ("[0, 2].exists(x, 1 / x == 1)", "ERROR division by zero"),
        ("[1, 2, 2].exists_one(x, x == 2)", "false"),
        ("[1, 2].existsOne(x, x == 2)", "true"),
        ("[0].exists_one(x, 1 / x == 1)", "ERROR division by zero"),
        ("[1, 2, 3].map(x, x * 2)", "[2,4,6]"),
        ("[1, 2, 3].map(x, x > 1, x * 2)", "[4,6]"),
        ("[1, 2, 3].filter(x, x % 2 == 1)", "[1,3]"),
        ("[[1, 2], [3]].map(x, x.map(y, y + 1))", "[[2,3],[4]]"),
        ("[1, 2].all(x, [3].all(y, x < y))", "true"),
        ("[1].map(x, [2].map(x, x)) == [[2]]", "true"),
        ("[3, 1, 2].sortBy(x, -x)", "[3,2,1]"),
        ("['bb', 'a'].sortBy(x, x.size())", r#"["a","bb"]"#),
        ("[5, 6].all(i, v, v == i + 5)", "true"),
        ("[5, 6].exists(i, v, i == 1 && v == 6)", "true"),
        ("[1, 1].existsOne(i, v, v == 1 && i == 0)", "true"),
        ("[1, 2, 3].transformList(i, v, i * v)", "[0,2,6]"),
        ("[1, 2, 3].transformList(i, v, i > 0, v)", "[2,3]"),
        ("[7, 8].transformMap(i, v, v) == {0: 7, 1: 8}", "true"),
        ("['a', 'b'].transformMapEntry(i, v, {v: i})", r#"{"a":0,"b":1}"#),
        ("['a', 'a'].transformMapEntry(i, v, {v: i})", "ERROR insert failed: key a already exists"),
    ]);
}

#[test]
fn macros_over_maps() {
    check(&[
        ("{'a': 1, 'b': 2}.all(k, k != 'c')", "true"),
        ("{'a': 1}.exists(k, k == 'a')", "true"),
        ("{'a': 1, 'b': 2}.map(k, k)", r#"["a","b"]"#),
        ("{'a': 1, 'b': 2}.filter(k, k == 'b')", r#"["b"]"#),
        ("{'a': 1, 'b': 2}.all(k, v, v > 0)", "true"),
        ("{'a': 1, 'b': 2}.transformList(k, v, v)", "[1,2]"),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v + 1)", r#"{"a":2,"b":3}"#),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v)", r#"{"b":2}"#),
        ("{'a': 'x'}.transformMapEntry(k, v, {v: k})", r#"{"x":"a"}"#),
        ("{'a': 1}['a']", "1"),
        ("{'a': 1}['b']", "ERROR no such key: b"),
        ("{'a': 1}.a", "1"),
        ("'a' in {'a': 1}", "true"),
        ("{1: 'x'}[dyn(1.0)]", r#""x""#),
        ("{true: 1}[true]", "1"),
        ("{'a': 1, 'a': 2}", "ERROR Failed with repeated key"),
    ]);
}

#[test]
fn has_and_bind() {
    check(&[
        ("has({'a': 1}.a)", "true"),
        ("has({'a': 1}.b)", "false"),
        ("has(object.spec.replicas)", "true"),
        ("has(object.spec.nothing)", "false"),
        ("has(object.nothing.at.all)", "ERROR no such key: nothing"),
        ("has(object.spec.replicas.deeper)", "ERROR no such key: deeper"),
        ("cel.bind(a, 2, a * a)", "4"),
        ("cel.bind(a, 1 / 0, true)", "true"),
        ("cel.bind(a, 1 / 0, a == 1)", "ERROR division by zero"),
        ("cel.bind(a, 1, cel.bind(a, 2, a) + a)", "3"),
    ]);
}

#[test]
fn optionals() {
    check(&[
        ("optional.of(1)", "some(1)"),
        ("optional.none()", "none"),
        ("optional.ofNonZeroValue(0)", "none"),
        ("optional.ofNonZeroValue('')", "none"),
        ("optional.ofNonZeroValue([])", "none"),
        ("optional.ofNonZeroValue(5)", "some(5)"),
        ("optional.of(1).value()", "1"),
        ("optional.none().value()", "ERROR optional.none() dereference"),
        ("optional.of(1).hasValue()", "true"),
        ("optional.none().orValue(2)", "2"),
        ("optional.none().or(optional.of(3)).value()", "3"),
        ("{'a': 1}.?a", "some(1)"),
        ("{'a': 1}.?b", "none"),
        ("{'a': {'b': 1}}.?a.b", "some(1)"),
        ("{'a': {'b': 1}}.?a.?c", "none"),
        ("{'a': {'b': 1}}.?z.b", "none"),
        ("{'a': [1]}.?a[0]", "some(1)"),
        ("{'a': [1]}.?a[?5]", "none"),
        ("[1, 2][?0]", "some(1)"),
        ("[1, 2][?9]", "none"),
        ("{'a': 1}[?'b'].orValue(7)", "7"),
        ("[1, ?optional.none(), ?optional.of(2)]", "[1,2]"),
        ("{'a': 1, ?'b': optional.none()}", r#"{"a":1}"#),
        ("optional.of(2).optMap(x, x * 2)", "some(4)"),
        ("optional.none().optMap(x, x)", "none"),
        ("optional.of(2).optFlatMap(x, optional.none())", "none"),
        ("optional.of([1]).optFlatMap(x, x[?0])", "some(1)"),
        ("object.?spec.?replicas.orValue(0)", "3"),
        ("object.?nothing.?at.?all.orValue(0)", "0"),
        ("optional.unwrap([optional.of(1), optional.none()])", "[1]"),
        ("[1, 2].first()", "some(1)"),
        ("[].last()", "none"),
        ("optional.of(1) == optional.of(1)", "true"),
        ("optional.of(1) == optional.none()", "false"),
        ("has({'a': {'b': 1}}.?a.b)", "true"),
    ]);
}

#[test]
fn conversions() {
    check(&[
        ("int('42')", "42"),
        ("int('x')", "ERROR strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("int('9223372036854775808')", "ERROR strconv.ParseInt"),
        ("int(1.9)", "1"),
        ("int(-1.9)", "-1"),
        ("int(1e19)", "ERROR integer overflow"),
        ("int(9223372036854775808u)", "ERROR integer overflow"),
        ("uint(-1)", "ERROR unsigned integer overflow"),
        ("uint('7')", "7u"),
        ("uint(1.5)", "1u"),
        ("double('1.5')", "1.5"),
        ("double(1)", "1.0"),
        ("double('abc')", "ERROR strconv.ParseFloat"),
        ("string(1.0)", r#""1""#),
        ("string(1.5)", r#""1.5""#),
        ("string(1e21)", r#""1e+21""#),
        ("string(true)", r#""true""#),
        ("string(b'abc')", r#""abc""#),
        ("string(b'\\xff')", "ERROR invalid UTF-8"),
        ("string(duration('90m'))", r#""5400s""#),
        ("string(timestamp('2024-01-01T00:00:00Z'))", r#""2024-01-01T00:00:00Z""#),
        ("bytes('abc') == b'abc'", "true"),
        ("bool('true')", "true"),
        ("bool('yes')", "ERROR strconv.ParseBool"),
        ("int(timestamp('1970-01-01T00:01:00Z'))", "60"),
        ("timestamp(60) == timestamp('1970-01-01T00:01:00Z')", "true"),
        ("timestamp(9223372036854775807)", "ERROR timestamp overflow"),
        ("duration(string(object.text))", "ERROR time: invalid duration"),
        ("type(1)", "type int"),
        ("type(1) == int", "true"),
        ("type('a') == string && type([]) == list && type({}) == map", "true"),
        ("type(null) == null_type", "true"),
        ("type(duration('1s')) == google.protobuf.Duration", "true"),
        ("type(ip('::1')) == net.IP", "true"),
        ("type(type(1)) == type", "true"),
        ("size('é€')", "2"),
        ("'é€'.size()", "2"),
        ("size(b'\\xc3\\xa9')", "2"),
        ("size([1, 2]) + size({'a': 1})", "3"),
    ]);
}

#[test]
fn texts() {
    check(&[
        ("'hello'.contains('ell')", "true"),
        ("'hello'.startsWith('he') && 'hello'.endsWith('lo')", "true"),
        ("'hello'.matches('^h.*o$')", "true"),
        ("matches('hello', 'l+')", "true"),
        ("'hello'.matches(object.text + '(')", "ERROR error parsing regexp"),
        ("'héllo'.charAt(1)", r#""é""#),
        ("'abc'.charAt(3)", r#""""#),
        ("'abc'.charAt(4)", "ERROR index out of range: 4"),
        ("'abc'.charAt(-1)", "ERROR index out of range: -1"),
        ("'héllo'.indexOf('l')", "2"),
        ("'hello'.indexOf('l', 3)", "3"),
        ("'hello'.indexOf('z')", "-1"),
        ("'hello'.indexOf('l', 9)", "ERROR index out of range: 9"),
        ("'hello'.indexOf('')", "0"),
        ("'hello'.lastIndexOf('l')", "3"),
        ("'hello'.lastIndexOf('l', 2)", "2"),
        ("'hello'.lastIndexOf('')", "5"),
        ("'ÀbC'.lowerAscii()", r#""Àbc""#),
        ("'ab'.upperAscii()", r#""AB""#),
        ("'a-b-c'.replace('-', '+')", r#""a+b+c""#),
        ("'a-b-c'.replace('-', '+', 1)", r#""a+b-c""#),
        ("'ab'.replace('', '_')", r#""_a_b_""#),
        ("'a,b,c'.split(',')", r#"["a","b","c"]"#),
        ("'a,b,c'.split(',', 2)", r#"["a","b,c"]"#),
        ("'a,b'.split(',', 0)", "[]"),
        ("'a,b'.split(',', -1)", r#"["a","b"]"#),
        ("'añb'.split('')", r#"["a","ñ","b"]"#),
        ("''.split(',')", r#"[""]"#),
        ("['a', 'b'].join()", r#""ab""#),
        ("['a', 'b'].join('-')", r#""a-b""#),
        ("[].join('-')", r#""""#),
        ("'héllo'.substring(1)", r#""éllo""#),
        ("'hello'.substring(1, 3)", r#""el""#),
        ("'hello'.substring(3, 1)", "ERROR invalid substring range. start: 3, end: 1"),
        ("'hello'.substring(9)", "ERROR index out of range: 9"),
        ("'  a\\n'.trim()", r#""a""#),
        ("'abc'.reverse()", r#""cba""#),
        ("strings.quote('a\"b\\n')", r#""\"a\\\"b\\n\"""#),
        ("'abc 123'.find('[0-9]+')", r#""123""#),
        ("'abc'.find('[0-9]+')", r#""""#),
        ("'1 22 333'.findAll('[0-9]+')", r#"["1","22","333"]"#),
        ("'1 22 333'.findAll('[0-9]+', 2)", r#"["1","22"]"#),
    ]);
}

#[test]
fn formatting() {
    check(&[
        ("'%s is %d'.format(['a', 1])", r#""a is 1""#),
        ("'100%%'.format([])", r#""100%""#),
        ("'%f %.2f'.format([1.5, 2.345])", r#""1.500000 2.35""#),
        ("'%e'.format([1234.5])", r#""1.234500e+03""#),
        ("'%b %o %x %X'.format([5, 8, 255, 255])", r#""101 10 ff FF""#),
        ("'%x'.format(['hi'])", r#""6869""#),
        ("'%x'.format([-255])", r#""-ff""#),
        ("'%b'.format([true])", r#""1""#),
        ("'%s'.format([[1, 'a', null]])", r#""[1, \"a\", null]""#),
        ("'%s'.format([{'b': 1, 'a': 2.5}])", r#""{\"a\": 2.5, \"b\": 1}""#),
        (
            "'%s %s'.format([duration('1m'), timestamp('2024-01-01T00:00:00Z')])",
            r#""60s 2024-01-01T00:00:00Z""#,
        ),
        ("'%s'.format([int])", r#""int""#),
        ("'%d'.format(['a'])", "ERROR error during formatting: decimal clause"),
        ("'%d'.format([])", "ERROR index 0 out of range"),
        ("'%q'.format([1])", "ERROR could not parse formatting clause: unrecognized"),
        ("'%.99999f'.format([1.0])", "ERROR could not parse formatting clause"),
        ("'%'.format([1])", "ERROR could not parse formatting clause"),
    ]);
}

#[test]
fn lists() {
    check(&[
        ("[1, 2, 2].isSorted()", "true"),
        ("['b', 'a'].isSorted()", "false"),
        ("[1, 2, 3].sum()", "6"),
        ("[1.5, 2.5].sum()", "4.0"),
        ("[duration('1m'), duration('1s')].sum() == duration('61s')", "true"),
        ("[9223372036854775807, 1].sum()", "ERROR integer overflow"),
        ("[3, 1, 2].min()", "1"),
        ("['a', 'c'].max()", r#""c""#),
        ("self.names.filter(x, false).max()", "ERROR max called on empty list"),
        ("[1, 2, 1].indexOf(1)", "0"),
        ("[1, 2, 1].lastIndexOf(1)", "2"),
        ("[1].indexOf(5)", "-1"),
        ("[1, 2, 3, 4].slice(1, 3)", "[2,3]"),
        ("[1].slice(1, 0)", "ERROR cannot slice(1, 0)"),
        ("[1].slice(0, 2)", "ERROR cannot slice(0, 2), list is length 1"),
        ("[1].slice(-1, 1)", "ERROR cannot slice(-1, 1)"),
        ("[[1], [2, 3]].flatten()", "[1,2,3]"),
        ("[dyn([1, 2]), dyn(3), dyn([[4]])].flatten(9)", "[1,2,3,4]"),
        ("[dyn([[1]])].flatten(1)", "[[1]]"),
        ("[3, 1, 2].sort()", "[1,2,3]"),
        ("[1, 2, 1].distinct()", "[1,2]"),
        ("[1, 2].reverse()", "[2,1]"),
        ("lists.range(3)", "[0,1,2]"),
        ("lists.range(-1)", "[]"),
        ("1 in [1, 2]", "true"),
        ("[1, 2][1]", "2"),
        ("[1, 2][2]", "ERROR index out of bounds: 2"),
        ("[1, 2][-1]", "ERROR index out of bounds: -1"),
        ("sets.contains([1, 2], [2])", "true"),
        ("sets.contains([1], [2])", "false"),
        ("sets.equivalent([1, 2, 2], [2, 1])", "true"),
        ("sets.intersects([1, 2], [2, 3])", "true"),
        ("sets.intersects([1], [])", "false"),
    ]);
}

#[test]
fn times() {
    check(&[
        ("timestamp('2024-02-29T12:30:45.678Z').getFullYear()", "2024"),
        ("timestamp('2024-02-29T12:30:45Z').getMonth()", "1"),
        ("timestamp('2024-02-29T12:30:45Z').getDayOfMonth()", "28"),
        ("timestamp('2024-02-29T12:30:45Z').getDate()", "29"),
        ("timestamp('2024-02-29T12:30:45Z').getDayOfYear()", "59"),
        ("timestamp('2024-02-29T12:30:45Z').getDayOfWeek()", "4"),
        ("timestamp('2024-02-29T12:30:45Z').getHours('Europe/Berlin')", "13"),
        ("timestamp('2024-07-01T12:30:45Z').getHours('Europe/Berlin')", "14"),
        ("timestamp('2024-02-29T23:30:45Z').getDate('+01:30')", "1"),
        ("timestamp('2024-02-29T12:30:45Z').getHours('-8:00')", "4"),
        ("timestamp('2024-02-29T12:30:45Z').getHours('Nowhere/Land')", "ERROR unknown time zone"),
        ("timestamp('2024-02-29T12:30:45Z').getHours('99:99')", "ERROR unknown time zone"),
        ("timestamp('9999-12-31T23:59:59Z').getHours('Europe/Berlin')", "23"),
        ("timestamp('2024-02-29T12:30:45.678Z').getMilliseconds()", "678"),
        ("duration('1h1m1s1ms').getMinutes()", "61"),
        ("duration('1h').getHours() + duration('1m').getSeconds()", "61"),
        (
            "timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')",
            "true",
        ),
        (
            "timestamp('2024-01-02T00:00:00Z') - timestamp('2024-01-01T00:00:00Z') == duration('24h')",
            "true",
        ),
        ("timestamp('9999-12-31T00:00:00Z') + duration('48h')", "ERROR timestamp overflow"),
        (
            "timestamp('9999-12-31T00:00:00Z') - timestamp('0001-01-01T00:00:00Z')",
            "ERROR duration overflow",
        ),
        ("duration('2540399h') + duration('2540399h')", "ERROR duration overflow"),
        ("duration('1h') - duration('30m') == duration('30m')", "true"),
    ]);
}

#[test]
fn urls() {
    check(&[
        (
            "url('https://user:pass@example.com:80/path?query=val#fragment').getHost()",
            r#""example.com:80""#,
        ),
        ("url('https://example.com:80/').getHostname()", r#""example.com""#),
        ("url('https://[::1]:80/').getHostname()", r#""::1""#),
        ("url('https://[::1]:80/').getHost()", r#""[::1]:80""#),
        ("url('https://[::1]:80/').getPort()", r#""80""#),
        ("url('https://example.com/').getPort()", r#""""#),
        ("url('/path').getScheme()", r#""""#),
        ("url('HTTPS://example.com/').getScheme()", r#""https""#),
        ("url('https://example.com/with spaces/').getEscapedPath()", r#""/with%20spaces/""#),
        ("url('https://example.com').getEscapedPath()", r#""""#),
        ("url('https://a.b/p?k1=a&k2=b&k2=c').getQuery()", r#"{"k1":["a"],"k2":["b","c"]}"#),
        ("url('https://a.b/p?a%20b=c+d').getQuery()", r#"{"a b":["c d"]}"#),
        ("url('https://a.b/p?').getQuery()", "{}"),
        ("isURL('/absolute')", "true"),
        ("isURL('../relative')", "false"),
        ("isURL('https://a:b:c/')", "false"),
        ("isURL('')", "false"),
        ("isURL('mailto:a@b.c')", "true"),
        ("isURL(':foo')", "false"),
        ("isURL('http://a b/')", "false"),
        ("isURL('http://a/%zz')", "false"),
        ("isURL('http://[::1/')", "false"),
        ("url('nope')", "ERROR URL parse error during conversion from string"),
        ("url('https://a.b/') == url('https://a.b/')", "true"),
    ]);
}

#[test]
fn addresses() {
    check(&[
        ("isIP('10.0.0.1') && isIP('::1')", "true"),
        (
            "isIP('10.0.0.256') || isIP('010.0.0.1') || isIP('::ffff:1.2.3.4') || isIP('fe80::1%eth0')",
            "false",
        ),
        ("ip('nope')", "ERROR IP Address \"nope\" parse error"),
        ("ip('fe80::1%eth0')", "ERROR IP address \"fe80::1%eth0\" with zone value is not allowed"),
        ("ip('::ffff:1.2.3.4')", "ERROR IPv4-mapped IPv6 address"),
        ("ip('10.0.0.1').family()", "4"),
        ("ip('::1').family()", "6"),
        ("string(ip('2001:DB8::0:1'))", r#""2001:db8::1""#),
        ("ip.isCanonical('2001:db8::1')", "true"),
        ("ip.isCanonical('2001:DB8::1')", "false"),
        ("ip('0.0.0.0').isUnspecified() && ip('127.0.0.1').isLoopback()", "true"),
        ("ip('224.0.0.1').isLinkLocalMulticast() && ip('ff02::1').isLinkLocalMulticast()", "true"),
        ("ip('224.0.1.1').isLinkLocalMulticast()", "false"),
        ("ip('169.254.1.1').isLinkLocalUnicast() && ip('fe80::1').isLinkLocalUnicast()", "true"),
        ("ip('10.0.0.1').isGlobalUnicast()", "true"),
        ("ip('255.255.255.255').isGlobalUnicast() || ip('ff00::1').isGlobalUnicast()", "false"),
        ("ip('10.0.0.1') == ip('10.0.0.1')", "true"),
        ("isCIDR('10.0.0.0/8') && isCIDR('::1/128')", "true"),
        (
            "isCIDR('10.0.0.0/33') || isCIDR('10.0.0.0') || isCIDR('10.0.0.0/08') || isCIDR('::/129')",
            "false",
        ),
        ("cidr('10.0.0.0/8').containsIP('10.1.2.3')", "true"),
        ("cidr('10.0.0.0/8').containsIP(ip('11.1.2.3'))", "false"),
        ("cidr('10.0.0.0/8').containsIP('::1')", "false"),
        ("cidr('10.0.0.0/8').containsIP('nope')", "ERROR IP Address"),
        ("cidr('10.0.0.0/8').containsCIDR('10.1.0.0/16')", "true"),
        ("cidr('10.1.0.0/16').containsCIDR(cidr('10.0.0.0/8'))", "false"),
        ("string(cidr('10.1.2.3/8').masked())", r#""10.0.0.0/8""#),
        ("cidr('10.1.2.3/8') == cidr('10.0.0.0/8')", "false"),
        ("cidr('10.1.2.3/8').ip() == ip('10.1.2.3')", "true"),
        ("cidr('::/0').prefixLength()", "0"),
        ("string(cidr('ffff::1/0').masked())", r#""::/0""#),
    ]);
}

#[test]
fn quantities() {
    check(&[
        ("isQuantity('1.5Gi')", "true"),
        ("isQuantity('200K') || isQuantity('Three') || isQuantity('1,3G')", "false"),
        ("quantity('1.5Gi').isGreaterThan(quantity('1G'))", "true"),
        ("quantity('200M').compareTo(quantity('0.2G'))", "0"),
        ("quantity('50M').compareTo(quantity('50Mi'))", "-1"),
        ("quantity('50M').isLessThan(quantity('100M'))", "true"),
        ("quantity('50k').add(quantity('20k')) == quantity('70k')", "true"),
        ("quantity('50k').add(20) == quantity('50020')", "true"),
        ("quantity('50k').sub(20000).asApproximateFloat()", "30000.0"),
        ("quantity('50k').asInteger()", "50000"),
        ("quantity('1500m').isInteger()", "false"),
        ("quantity('1500m').asInteger()", "ERROR cannot convert value to integer"),
        ("quantity('-1').sign() + quantity('0').sign() + quantity('5').sign()", "0"),
        ("quantity('x')", "ERROR quantities must match the regular expression"),
    ]);
}

#[test]
fn versions() {
    check(&[
        ("isSemver('1.0.0') && isSemver('0.1.0-alpha.1+build')", "true"),
        ("isSemver('v1.0.0') || isSemver('1.0') || isSemver('01.0.0') || isSemver('a')", "false"),
        ("isSemver('v1.0', true) && isSemver('01.01.01', true)", "true"),
        ("isSemver('1-alpha', true)", "false"),
        ("semver('1.2.3').major() + semver('1.2.3').minor() + semver('1.2.3').patch()", "6"),
        ("semver('1.2.3').isGreaterThan(semver('1.2.2'))", "true"),
        ("semver('1.2.3-rc.1').isLessThan(semver('1.2.3'))", "true"),
        ("semver('1.0.0-alpha').compareTo(semver('1.0.0-alpha.1'))", "-1"),
        ("semver('1.0.0-2').compareTo(semver('1.0.0-10'))", "-1"),
        ("semver('1.0.0-2').compareTo(semver('1.0.0-a'))", "-1"),
        ("semver('1.0.0+a') == semver('1.0.0+b')", "true"),
        ("semver('v1.0', true) == semver('1.0.0')", "true"),
        ("semver('200K')", "ERROR"),
    ]);
}

#[test]
fn named_formats() {
    check(&[
        ("format.dns1123Label().validate('my-name')", "none"),
        ("format.dns1123Label().validate('Not_Valid').hasValue()", "true"),
        (
            "format.dns1123Label().validate('Not_Valid').value()[0].startsWith('a lowercase RFC 1123 label')",
            "true",
        ),
        ("format.dns1123LabelPrefix().validate('my-prefix-')", "none"),
        ("format.dns1123Subdomain().validate('a.b')", "none"),
        ("format.dns1035Label().validate('9a').hasValue()", "true"),
        ("format.qualifiedName().validate('a.io/b')", "none"),
        (
            "format.labelValue().validate('-')",
            "some([\"a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')\"])",
        ),
        ("format.uri().validate('http://a.b')", "none"),
        ("format.uuid().validate('123e4567-e89b-12d3-a456-426614174000')", "none"),
        ("format.uuid().validate('x')", r#"some(["does not match the UUID format"])"#),
        ("format.byte().validate('aGVsbG8=')", "none"),
        ("format.date().validate('2024-02-30').hasValue()", "true"),
        ("format.datetime().validate('2024-02-29T00:00:00Z')", "none"),
        ("format.named('uuid').hasValue()", "true"),
        ("format.named('nope').hasValue()", "false"),
        ("jsonpatch.escapeKey('a/b~c')", r#""a~1b~0c""#),
    ]);
}
