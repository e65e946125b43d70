//! JSON as expressions see it.

use crate::support::check;

#[test]
fn fields_by_schema() {
    check(&[
        ("self.name", r#""web""#),
        ("self.count + 1", "4"),
        ("self.ratio", "0.5"),
        ("self.on", "true"),
        ("self.data == b'hello'", "true"),
        ("self.at.getMilliseconds()", "500"),
        ("self.day.getDate()", "29"),
        ("self.wait == duration('90m')", "true"),
        ("type(self.port) == string", "true"),
        ("self.port.endsWith('%')", "true"),
        ("self.names[0] + self.names[2]", r#""bc""#),
        ("self.labels.app", r#""web""#),
        ("self.labels['a/b']", r#""c""#),
        ("self.labels.all(k, k.size() > 0)", "true"),
        ("'app' in self.labels", "true"),
        ("self.nested.a__dash__b + self.nested.c__dot__d + self.nested.e__slash__f", "6"),
        ("self.nested.__namespace__", r#""ns""#),
        ("self.nested.__in__ + self.nested.x__underscores__y", "9"),
        ("has(self.nested.absent)", "false"),
        ("self.nested.absent", "ERROR no such key: absent"),
        ("self.nested.?absent.orValue('d')", r#""d""#),
        ("has(self.maybe)", "true"),
        ("dyn(self.maybe) == null", "true"),
        ("self.free.known", "1"),
        ("self.template.metadata.name", r#""p""#),
        ("self.template.kind + self.template.apiVersion", r#""Podv1""#),
    ]);
}

#[test]
fn equality_by_list_type() {
    check(&[
        ("self.set == oldSelf.set", "true"),
        ("self.set == ['y', 'x']", "true"),
        ("self.set == ['y', 'z']", "false"),
        ("self.set + ['y', 'z']", r#"["x","y","z"]"#),
        ("self.keyed == oldSelf.keyed", "true"),
        ("self.names == ['a', 'b', 'c']", "false"),
        ("self.keyed + oldSelf.keyed", r#"[{"k":"1","v":1},{"k":"2","v":2}]"#),
        ("self.nested == self.nested", "true"),
        ("self.keyed[0] == oldSelf.keyed[1]", "true"),
        ("self.keyed[0] == oldSelf.keyed[0]", "false"),
        ("self.keyed.exists(x, x.k == '2' && x.v == 2)", "true"),
    ]);
}

#[test]
fn any_json() {
    check(&[
        ("object.spec.replicas == 3", "true"),
        ("object.spec.replicas + 1", "4"),
        ("type(object.spec.replicas) == int", "true"),
        ("type(object.float) == double", "true"),
        ("type(object.big) == uint", "true"),
        ("object.none == null", "true"),
        ("object.spec.ports.map(p, p + 1)", "[81,444]"),
        ("object.spec.ports.exists(p, p == 443)", "true"),
        ("object.nothing", "ERROR no such key: nothing"),
        ("object.spec.name.nothing", "ERROR no such key: nothing"),
        ("object['spec']['replicas']", "3"),
        ("object.spec + 1", "ERROR no such overload"),
        ("object.spec.replicas > '3'", "ERROR no such overload"),
        ("object.text < 'u'", "true"),
        ("object.spec.all(k, k != 'x')", "true"),
        ("object.text.all(k, true)", "ERROR no such overload"),
        ("object == object", "true"),
    ]);
}
