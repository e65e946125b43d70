#!/usr/bin/env python3
"""Writes the table of types of one Kubernetes minor from published packages.

Input, each pinned by SHA-256 below:
  * the wheel `kubernetes-validate` (its `v1.36.0-local/_definitions.json` is the official schema)
  * the Debian packages `golang-k8s-api-dev`, `golang-k8s-apimachinery-dev` and
    `golang-k8s-apiextensions-apiserver-dev` (Go types and `generated.proto`)

Output: `../table/types-v1.36.txt`, facts only. Its format is described in `../table/README.md`.

    pip download --no-deps kubernetes-validate==1.37.0
    apt-get download golang-k8s-api-dev golang-k8s-apimachinery-dev golang-k8s-apiextensions-apiserver-dev
    ./extract.py FOLDER_WITH_THE_FOUR_FILES

For the next minor: change the names and digests below, run, read the diff of the table.
"""

import hashlib
import io
import json
import pathlib
import re
import subprocess
import sys
import tarfile
import zipfile

PINNED = {
    "kubernetes_validate-1.37.0-py3-none-any.whl":
        "85136d018a27b50ec7fc049d902bfa5193f5976807e6c0f408e3ab6fe078cad9",
    "golang-k8s-api-dev_0.36.4-1_all.deb":
        "0b5f0e6bb3c55edf6a564496c5997b729e0b03c6597891a32dac9b6d71b9e109",
    "golang-k8s-apimachinery-dev_0.36.4-3_all.deb":
        "020045b2e32576be3350f382133cefaa6342f17ab8df24175667f6882b32925b",
    "golang-k8s-apiextensions-apiserver-dev_0.36.4-1_all.deb":
        "2b99dfbbdbea3372c625abfb6fcbdaf9ea79e36110bf06a66ac014c25f9babf8",
}
DEFINITIONS = "kubernetes_validate/kubernetes-json-schema/v1.36.0-local/_definitions.json"
MINOR = "1.36"
HERE = pathlib.Path(__file__).resolve().parent
TABLE = HERE.parent / "table"

# Definitions that are scalars or free-form on the wire, with their letter in the table.
SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "q",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "x",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "t",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "u",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": "f",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "a",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON": "j",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray": "j",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool": "j",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray": "j",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Patch": "a",
}
PREFIXES = {
    "k8s.io/api/": "io.k8s.api.",
    "k8s.io/apimachinery/": "io.k8s.apimachinery.",
    "k8s.io/apiextensions-apiserver/": "io.k8s.apiextensions-apiserver.",
}
# Kinds of no Go package here (kube-aggregator is in no package): numbers by hand, from its proto.
BY_HAND = HERE / "by-hand.json"


def read_inputs(folder):
    files = {}
    for name, digest in PINNED.items():
        data = (folder / name).read_bytes()
        have = hashlib.sha256(data).hexdigest()
        if have != digest:
            sys.exit(f"{name}: sha256 is {have}, expected {digest}")
        files[name] = data
    return files


def sources(files):
    """{path below k8s.io: text} of every types.go-like file and generated.proto."""
    found = {}
    for name, data in files.items():
        if not name.endswith(".deb"):
            continue
        tar = subprocess.run(["dpkg-deb", "--fsys-tarfile", "/dev/stdin"], input=data,
                             stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=io.BytesIO(tar)) as archive:
            for member in archive:
                path = member.name.split("/src/", 1)[-1]
                wanted = path.endswith("/generated.proto") or (
                    path.endswith(".go") and not path.endswith("_test.go")
                    and "zz_generated" not in path and "generated.pb" not in path)
                if member.isfile() and path.startswith("k8s.io/") and wanted:
                    found[path] = archive.extractfile(member).read().decode()
    return found


def package_of(path):
    folder = path.rsplit("/", 1)[0] + "/"
    for go, definition in PREFIXES.items():
        if folder.startswith(go):
            return definition + folder[len(go):].strip("/").replace("/", ".")
    return None


def parse_protos(texts):
    """{definition name: {field: (number, type)}}"""
    messages = {}
    for path, text in texts.items():
        package = package_of(path)
        if not path.endswith(".proto") or package is None:
            continue
        for message in re.finditer(r"^message (\w+) \{\n(.*?)^\}", text, re.M | re.S):
            fields = {}
            for field in re.finditer(
                    r"^  (optional|repeated|map<[^>]*>) ?([\w.]+)? (\w+) = (\d+);|"
                    r"^  (map<\w+, [\w.]+>) (\w+) = (\d+);", message.group(2), re.M):
                if field.group(5):
                    fields[field.group(6)] = (int(field.group(7)), field.group(5))
                else:
                    fields[field.group(3)] = (int(field.group(4)), field.group(2))
            messages[f"{package}.{message.group(1)}"] = fields
    return messages


class Go:
    """The few facts only the Go sources have: pointers, omitempty, defaults, enums."""

    def __init__(self, texts):
        self.structs, self.aliases, self.enums, self.constants = {}, {}, set(), {}
        for path, text in texts.items():
            package = package_of(path)
            if path.endswith(".go") and package is not None:
                self._read(package, text)

    def _read(self, package, text):
        for found in re.finditer(r"((?:^//[^\n]*\n)*)^type (\w+) (\w[\w.]*|\[\]\w+)$", text, re.M):
            name = f"{package}.{found.group(2)}"
            self.aliases[name] = found.group(3)
            if re.search(r"^// ?\+enum\b|^// ?\+k8s:enum\b", found.group(1), re.M):
                self.enums.add(name)
        for found in re.finditer(
                r"^\s*(?:const )?(\w+)\s+(\w+)\s*=\s*\"([^\"]*)\"", text, re.M):
            self.constants.setdefault(f"{package}.{found.group(2)}", []).append(
                (found.group(1), found.group(3)))
        for found in re.finditer(r"^type (\w+) struct \{\n(.*?)^\}", text, re.M | re.S):
            self.structs[f"{package}.{found.group(1)}"] = self._fields(found.group(2))

    @staticmethod
    def _fields(body):
        fields, comment = [], []
        for line in body.split("\n"):
            line = line.strip()
            if line.startswith("//"):
                comment.append(line[2:].strip())
                continue
            found = re.match(r"(?:(\w+)\s+)?([\w.\[\]*]+)\s+`(.*)`", line)
            if found:
                tag = re.search(r'json:"([^"]*)"', found.group(3))
                proto = re.search(r'protobuf:"\w+,(\d+)', found.group(3))
                if tag:
                    json_name, *options = tag.group(1).split(",")
                    fields.append({
                        "json": json_name, "options": options, "type": found.group(2),
                        "name": found.group(1) or found.group(2).split(".")[-1],
                        "proto": int(proto.group(1)) if proto else 0, "comment": comment})
            comment = []
        return fields

    def flat(self, name, messages):
        """JSON fields of a struct, embedded ones pulled up: {json: (field, proto path, owner)}."""
        result = {}
        for field in self.structs.get(name, []):
            inline = "inline" in field["options"] or (not field["json"] and field["options"] == [])
            if inline and not field["json"]:
                if field["type"].endswith("TypeMeta"):
                    continue
                inner = self.resolve(name, field["type"].lstrip("*"))
                for key, (sub, path, owner) in self.flat(inner, messages).items():
                    result[key] = (sub, [field["proto"]] + path, owner)
            elif field["json"] and field["json"] != "-":
                result[field["json"]] = (field, [field["proto"]], name)
        return result

    def resolve(self, owner, go_type):
        package = owner.rsplit(".", 1)[0]
        if "." not in go_type:
            return f"{package}.{go_type}"
        qualifier, plain = go_type.split(".")
        known = {"metav1": "io.k8s.apimachinery.pkg.apis.meta.v1",
                 "v1": "io.k8s.api.core.v1", "corev1": "io.k8s.api.core.v1",
                 "api": "io.k8s.api.core.v1"}
        if qualifier == "v1" and package == "io.k8s.api.core.v1":
            return f"{package}.{plain}"
        return f"{known.get(qualifier, qualifier)}.{plain}"

    def default(self, owner, field):
        for line in field["comment"]:
            found = re.match(r"\+default=(.*)$", line)
            if found:
                text = found.group(1).strip()
                reference = re.match(r"ref\((\w+)\)", text)
                if reference:
                    package = owner.rsplit(".", 1)[0]
                    for values in self.constants.items():
                        if values[0].startswith(package):
                            for constant, value in values[1]:
                                if constant == reference.group(1):
                                    return json.dumps(value)
                    sys.exit(f"{owner}.{field['json']}: no constant {text}")
                return json.dumps(json.loads(text), separators=(",", ":"))
        return None

    def enum(self, owner, field):
        plain = field["type"].lstrip("*").replace("[]", "")
        name = self.resolve(owner, plain)
        if name not in self.enums:
            return None
        return sorted({value for _, value in self.constants.get(name, [])})


def letter(schema):
    if "$ref" in schema:
        name = schema["$ref"].split("/")[-1]
        return SCALARS.get(name, "@" + name)
    kind = schema.get("type")
    kinds = kind if isinstance(kind, list) else [kind]
    kind = next((one for one in kinds if one != "null"), None)
    form = schema.get("format")
    if kind == "string":
        return {"byte": "y", "date-time": "t"}.get(form, "s")
    if kind == "integer":
        return "l" if form == "int64" else "i"
    if kind == "number":
        return "d"
    if kind == "boolean":
        return "b"
    if kind == "array":
        return "[" + letter(schema["items"])
    if kind == "object":
        return "{" + letter(schema["additionalProperties"]) \
            if "additionalProperties" in schema else "a"
    return "a"


def served_kinds():
    """Kinds of the hand-written table, as (group, version, kind)."""
    kinds = []
    group_version = None
    for line in (TABLE / "kinds-v1.36.txt").read_text().splitlines():
        words = line.split()
        if words[:1] == ["group"]:
            group_version = (words[1].strip("-"), words[2])
        elif words[:1] == ["kind"]:
            kinds.append(group_version + (words[1],))
    return kinds


def reachable(definitions, roots):
    seen, waiting = set(), list(roots)
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting += re.findall(r'"#/\$defs/([^"]+)"', json.dumps(definitions[name]))
    return seen


def field_line(name, schema, required, go_field, messages, go, package, by_hand):
    kind = letter(schema)
    local = kind.replace("@" + package + ".", "@")
    kind = local if "." not in local else kind
    number, flags = "0", []
    if go_field:
        field, path, owner = go_field
        number = ".".join(map(str, path))
        proto = messages.get(owner, {})
        known = {one[0] for one in proto.values()}
        if proto and path[-1] not in known:
            sys.exit(f"{owner}.{name}: number {path[-1]} is not in generated.proto")
        go_type, options = field["type"], field["options"]
        value_struct = kind[0] in "@" and not go_type.startswith("*")
        if go_type.startswith("*"):
            flags.append("p")
        elif "omitzero" in options:
            pass
        elif value_struct:
            flags.append("s")
        elif "omitempty" not in options:
            flags.append("z")
        if "ExtraValue" in go_type:
            flags.append("w")
        default, enum = go.default(owner, field), go.enum(owner, field)
    else:
        number = str(by_hand.get(name, 0))
        default = enum = None
        if kind[0] == "@":
            flags.append("s" if name in ("metadata", "spec", "status") else "p")
        elif required:
            flags.append("z")
    if required:
        flags.append("r")
    list_type = schema.get("x-kubernetes-list-type")
    if list_type:
        keys = schema.get("x-kubernetes-list-map-keys")
        flags.append("L=" + list_type + (":" + ",".join(keys) if keys else ""))
    if schema.get("x-kubernetes-map-type"):
        flags.append("M=" + schema["x-kubernetes-map-type"])
    if schema.get("x-kubernetes-patch-merge-key"):
        flags.append("K=" + schema["x-kubernetes-patch-merge-key"])
    if schema.get("x-kubernetes-patch-strategy"):
        flags.append("S=" + schema["x-kubernetes-patch-strategy"])
    if default is not None:
        flags.append("D=" + default)
    if enum:
        flags.append("E=" + ",".join(enum).replace(" ", "%20"))
    return " ".join([name, number, kind] + flags)


def type_lines(definitions, names, messages, go):
    by_hand = json.loads(BY_HAND.read_text())
    lines = []
    for name in sorted(names):
        if name in SCALARS:
            continue
        schema = definitions[name]
        package = name.rsplit(".", 1)[0]
        head = f"= {name}"
        if schema.get("x-kubernetes-map-type"):
            head += " M=" + schema["x-kubernetes-map-type"]
        if letter(schema) == "[s" or "properties" not in schema and letter(schema) != "a":
            sys.exit(f"{name}: a scalar that SCALARS does not list: {schema}")
        lines.append(head)
        flat = go.flat(name, messages)
        required = set(schema.get("required", []))
        for field, sub in sorted(schema.get("properties", {}).items()):
            if field in ("apiVersion", "kind") and field not in flat:
                lines.append(f"{field} 0 s")
                continue
            if field not in flat and name not in by_hand:
                sys.exit(f"{name}.{field}: not in the Go sources")
            lines.append(field_line(field, sub, field in required, flat.get(field),
                                    messages, go, package, by_hand.get(name, {})))
    return lines


def main():
    files = read_inputs(pathlib.Path(sys.argv[1]))
    wheel = next(data for name, data in files.items() if name.endswith(".whl"))
    with zipfile.ZipFile(io.BytesIO(wheel)) as archive:
        definitions = json.loads(archive.read(DEFINITIONS))["$defs"]
    texts = sources(files)
    messages, go = parse_protos(texts), Go(texts)
    by_kind = {}
    for name, schema in definitions.items():
        for gvk in schema.get("x-kubernetes-group-version-kind", []):
            by_kind.setdefault((gvk["group"], gvk["version"], gvk["kind"]), name)
    roots = []
    for key in served_kinds():
        if key not in by_kind:
            sys.exit(f"no definition of {key}")
        roots.append(by_kind[key])
    meta = "io.k8s.apimachinery.pkg.apis.meta.v1."
    roots += [meta + one for one in ("DeleteOptions", "Status", "WatchEvent", "APIGroup",
                                     "APIGroupList", "APIResourceList", "APIVersions")]
    roots += ["io.k8s.apimachinery.pkg.version.Info"]
    names = reachable(definitions, roots)
    lines = [f"# Types of Kubernetes v{MINOR}. Written by tool/extract.py; do not edit."]
    lines += type_lines(definitions, names, messages, go)
    (TABLE / "types-v1.36.txt").write_text("\n".join(lines) + "\n")
    print(f"{len(names)} types, {len(lines)} lines")


if __name__ == "__main__":
    main()
