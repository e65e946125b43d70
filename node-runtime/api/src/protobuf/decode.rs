//! Protobuf → the same values as JSON bodies, by the numbers in the schema.

use crate::schema::{Field, FieldType, Schema, SchemaRef, Type};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::MAGIC;
use super::choice::{Choice, choice};

/// How deep messages may be nested.
const DEPTH_MAX: usize = 64;

/// Why bytes are no object.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// The bytes begin with something else than the envelope does.
    #[error("provided data does not appear to be a protobuf message, expected prefix {MAGIC:?}")]
    Prefix,
    /// They end within a field.
    #[error("unexpected EOF")]
    Short,
    /// A field says of itself that it is something there is not.
    #[error("wire type {0} of field {1} is not known")]
    Wire(u8, u32),
    /// A text is not UTF-8.
    #[error("text that is not UTF-8")]
    Text,
    /// Messages lie within messages within messages.
    #[error("messages are nested too deep")]
    Depth,
    /// A field that holds JSON does not.
    #[error("field {0} is not valid JSON")]
    Json(String),
    /// A time is outside of all calendars.
    #[error("field {0} has a time that cannot be")]
    Time(String),
}

type Outcome<T> = Result<T, ProtobufError>;

/// Reads a whole body as an object of the type `shape`; `apiVersion` and `kind` come from the
/// envelope.
///
/// # Errors
/// [`ProtobufError`]: what is wrong with the bytes. Unknown fields are none of that: they are skipped.
pub fn decode(shape: &SchemaRef, body: &[u8]) -> Outcome<Value> {
    let body = body.strip_prefix(MAGIC).ok_or(ProtobufError::Prefix)?;
    let (mut api_version, mut kind, mut raw) = (String::new(), String::new(), &[][..]);
    let mut envelope = Reader(body);
    while let Some((number, item)) = envelope.next()? {
        match (number, item) {
            (1, Item::Bytes(meta)) => {
                let mut meta = Reader(meta);
                while let Some((number, item)) = meta.next()? {
                    match (number, item) {
                        (1, Item::Bytes(text)) => api_version = utf8(text)?,
                        (2, Item::Bytes(text)) => kind = utf8(text)?,
                        _ => {}
                    }
                }
            }
            (2, Item::Bytes(bytes)) => raw = bytes,
            _ => {}
        }
    }
    let decoder = Decoder { schema: shape.schema() };
    let mut fields = Map::new();
    fields.insert("apiVersion".to_owned(), api_version.into());
    fields.insert("kind".to_owned(), kind.into());
    decoder.message(&mut fields, shape.root(), &[], raw, 0)?;
    Ok(Value::Object(fields))
}

/// One field's payload, still undecoded.
#[derive(Clone, Copy, Debug)]
enum Item<'a> {
    Number(u64),
    Fixed64(u64),
    Fixed32(u32),
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn next(&mut self) -> Outcome<Option<(u32, Item<'a>)>> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let number = u32::try_from(key >> 3).map_err(|_| ProtobufError::Short)?;
        let item = match (key & 7) as u8 {
            0 => Item::Number(self.varint()?),
            1 => Item::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let length = usize::try_from(self.varint()?).map_err(|_| ProtobufError::Short)?;
                Item::Bytes(self.take(length)?)
            }
            5 => Item::Fixed32(u32::from_le_bytes(self.array()?)),
            wire => return Err(ProtobufError::Wire(wire, number)),
        };
        Ok(Some((number, item)))
    }

    fn varint(&mut self) -> Outcome<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ProtobufError::Short)
    }

    fn take(&mut self, length: usize) -> Outcome<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(ProtobufError::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Outcome<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| ProtobufError::Short)
    }
}

fn utf8(bytes: &[u8]) -> Outcome<String> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| ProtobufError::Text)
}

struct Decoder<'a> {
    schema: &'a Schema,
}

impl Decoder<'_> {
    /// Reads the fields of a message into `out`. `outer` are the numbers of the fields that lead to
    /// it if it is embedded: its fields lie in the same JSON object.
    fn message(
        &self,
        out: &mut Map<String, Value>,
        shape: &Type,
        outer: &[u16],
        bytes: &[u8],
        depth: usize,
    ) -> Outcome<()> {
        if depth > DEPTH_MAX {
            return Err(ProtobufError::Depth);
        }
        let mut reader = Reader(bytes);
        while let Some((number, item)) = reader.next()? {
            let number = u16::try_from(number).unwrap_or(0);
            let mut wanted = [0; 3];
            wanted[..outer.len()].copy_from_slice(outer);
            wanted[outer.len()] = number;
            let path = &wanted[..=outer.len()];
            let field = shape.fields.iter().find(|field| field.proto == wanted && number > 0);
            match (field, item) {
                (Some(field), item) => match choice(shape, field) {
                    Some(choice) => self.choice(out, field, choice, item, depth)?,
                    None => self.field(out, field, item, depth)?,
                },
                (None, Item::Bytes(inner)) if path.len() < wanted.len() && number > 0 => {
                    if shape.fields.iter().any(|field| field.proto.starts_with(path)) {
                        self.message(out, shape, path, inner, depth + 1)?;
                    }
                }
                // A field of a later version: as for unknown JSON fields of a typed client.
                (None, _) => {}
            }
        }
        Ok(())
    }

    fn field(
        &self,
        out: &mut Map<String, Value>,
        field: &Field,
        item: Item<'_>,
        depth: usize,
    ) -> Outcome<()> {
        let name = field.name.as_ref();
        match &field.kind {
            FieldType::List(of) => {
                let list = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(list) = list else { return Ok(()) };
                self.list_item(list, name, of, item, depth)
            }
            FieldType::Map(of) => {
                let map = out.entry(name).or_insert_with(|| Value::Object(Map::new()));
                let (Value::Object(map), Item::Bytes(entry)) = (map, item) else { return Ok(()) };
                let (key, value) = self.map_entry(name, of, entry, depth)?;
                map.insert(key, value);
                Ok(())
            }
            kind => {
                let value = self.value(name, kind, item, depth)?;
                if !value.is_null() {
                    out.insert(name.to_owned(), value);
                }
                Ok(())
            }
        }
    }

    /// A field that in JSON is one of two shapes.
    fn choice(
        &self,
        out: &mut Map<String, Value>,
        field: &Field,
        choice: Choice,
        item: Item<'_>,
        depth: usize,
    ) -> Outcome<()> {
        let Item::Bytes(message) = item else { return Ok(()) };
        let name = field.name.as_ref();
        if !matches!(field.kind, FieldType::Map(_)) {
            out.insert(name.to_owned(), self.chosen(choice, message, depth)?);
            return Ok(());
        }
        let map = out.entry(name).or_insert_with(|| Value::Object(Map::new()));
        let (mut key, mut value) = (String::new(), Value::Null);
        let mut entry = Reader(message);
        while let Some((number, item)) = entry.next()? {
            match (number, item) {
                (1, Item::Bytes(text)) => key = utf8(text)?,
                (2, Item::Bytes(message)) => value = self.chosen(choice, message, depth)?,
                _ => {}
            }
        }
        if let Value::Object(map) = map {
            map.insert(key, value);
        }
        Ok(())
    }

    /// A message with a schema in one field and something else in the other.
    fn chosen(&self, choice: Choice, message: &[u8], depth: usize) -> Outcome<Value> {
        let (mut schema, mut many, mut flag) = (None, Vec::new(), false);
        let mut fields = Reader(message);
        while let Some((number, item)) = fields.next()? {
            match (number, item) {
                (number, Item::Bytes(bytes)) if number == choice.schema() => {
                    schema = Some(self.schema_of(choice, bytes, depth)?);
                }
                (2, Item::Bytes(bytes)) => many.push(match choice {
                    Choice::Texts(_) => utf8(bytes)?.into(),
                    _ => self.schema_of(choice, bytes, depth)?,
                }),
                (1, Item::Number(number)) => flag = number != 0,
                _ => {}
            }
        }
        Ok(match (schema, choice) {
            (_, Choice::Schemas(_) | Choice::Texts(_)) if !many.is_empty() => many.into(),
            (Some(schema), _) => schema,
            (None, Choice::Flag(_)) => flag.into(),
            (None, _) => Value::Object(Map::new()),
        })
    }

    fn schema_of(&self, choice: Choice, bytes: &[u8], depth: usize) -> Outcome<Value> {
        let mut fields = Map::new();
        let shape = self.schema.get(choice.of());
        self.message(&mut fields, shape, &[], bytes, depth + 1)?;
        Ok(Value::Object(fields))
    }

    fn list_item(
        &self,
        list: &mut Vec<Value>,
        name: &str,
        of: &FieldType,
        item: Item<'_>,
        depth: usize,
    ) -> Outcome<()> {
        let numeric = matches!(of, FieldType::Int32 | FieldType::Int64 | FieldType::Bool);
        match item {
            Item::Bytes(packed) if numeric => {
                let mut reader = Reader(packed);
                while !reader.0.is_empty() {
                    let number = Item::Number(reader.varint()?);
                    list.push(self.value(name, of, number, depth)?);
                }
            }
            item => list.push(self.value(name, of, item, depth)?),
        }
        Ok(())
    }

    fn map_entry(
        &self,
        name: &str,
        of: &FieldType,
        entry: &[u8],
        depth: usize,
    ) -> Outcome<(String, Value)> {
        let (mut key, mut value) = (String::new(), zero(of));
        let mut reader = Reader(entry);
        while let Some((number, item)) = reader.next()? {
            match (number, item, of) {
                (1, Item::Bytes(text), _) => key = utf8(text)?,
                // Lists as values are wrapped: a message whose first field repeats.
                (2, Item::Bytes(wrapped), FieldType::List(of)) => {
                    let mut list = Vec::new();
                    let mut items = Reader(wrapped);
                    while let Some((_, item)) = items.next()? {
                        self.list_item(&mut list, name, of, item, depth)?;
                    }
                    value = Value::Array(list);
                }
                (2, item, of) => value = self.value(name, of, item, depth)?,
                _ => {}
            }
        }
        Ok((key, value))
    }

    fn value(&self, name: &str, kind: &FieldType, item: Item<'_>, depth: usize) -> Outcome<Value> {
        Ok(match (kind, item) {
            (FieldType::String, Item::Bytes(text)) => utf8(text)?.into(),
            (FieldType::Bool, Item::Number(number)) => (number != 0).into(),
            (FieldType::Int32 | FieldType::Int64, Item::Number(number)) => {
                number.cast_signed().into()
            }
            (FieldType::Double, Item::Fixed64(bits)) => f64::from_bits(bits).into(),
            (FieldType::Double, Item::Fixed32(bits)) => f64::from(f32::from_bits(bits)).into(),
            (FieldType::Bytes, Item::Bytes(bytes)) => STANDARD.encode(bytes).into(),
            (FieldType::Quantity, Item::Bytes(message)) => quantity(message)?,
            (FieldType::IntOrString, Item::Bytes(message)) => int_or_string(message)?,
            (FieldType::Time, Item::Bytes(message)) => timestamp(name, message, false)?,
            (FieldType::MicroTime, Item::Bytes(message)) => timestamp(name, message, true)?,
            (FieldType::FieldsV1 | FieldType::Raw | FieldType::Json, Item::Bytes(message)) => {
                raw_json(name, message)?
            }
            (FieldType::Object(id), Item::Bytes(message)) => {
                let mut fields = Map::new();
                self.message(&mut fields, self.schema.get(*id), &[], message, depth + 1)?;
                Value::Object(fields)
            }
            _ => Value::Null,
        })
    }
}

/// What a map value is when its entry does not carry one.
fn zero(kind: &FieldType) -> Value {
    match kind {
        FieldType::String | FieldType::Bytes => "".into(),
        FieldType::Quantity => "0".into(),
        FieldType::Bool => false.into(),
        FieldType::Int32 | FieldType::Int64 => 0.into(),
        FieldType::List(_) => Value::Array(Vec::new()),
        _ => Value::Object(Map::new()),
    }
}

fn quantity(message: &[u8]) -> Outcome<Value> {
    let mut reader = Reader(message);
    while let Some((number, item)) = reader.next()? {
        if let (1, Item::Bytes(text)) = (number, item) {
            return Ok(utf8(text)?.into());
        }
    }
    Ok("0".into())
}

fn int_or_string(message: &[u8]) -> Outcome<Value> {
    let (mut is_text, mut number_value, mut text_value) = (false, 0, String::new());
    let mut reader = Reader(message);
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Number(kind)) => is_text = kind == 1,
            (2, Item::Number(value)) => number_value = value.cast_signed(),
            (3, Item::Bytes(text)) => text_value = utf8(text)?,
            _ => {}
        }
    }
    Ok(if is_text { text_value.into() } else { number_value.into() })
}

/// An empty message is the zero time, which JSON writes as null.
fn timestamp(name: &str, message: &[u8], micro: bool) -> Outcome<Value> {
    if message.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0i64, 0i64);
    let mut reader = Reader(message);
    while let Some((number, item)) = reader.next()? {
        match (number, item) {
            (1, Item::Number(value)) => seconds = value.cast_signed(),
            (2, Item::Number(value)) => nanos = value.cast_signed(),
            _ => {}
        }
    }
    let wrong = || ProtobufError::Time(name.to_owned());
    let at = OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| wrong())?;
    let at = at.checked_add(time::Duration::nanoseconds(nanos)).ok_or_else(wrong)?;
    let text = match micro {
        true => minik_meta::time::rfc3339_micro(at),
        false => minik_meta::time::rfc3339(at),
    };
    Ok(text.into())
}

/// A message that carries JSON as bytes in its first field.
fn raw_json(name: &str, message: &[u8]) -> Outcome<Value> {
    let mut reader = Reader(message);
    while let Some((number, item)) = reader.next()? {
        if let (1, Item::Bytes(json)) = (number, item) {
            if json.is_empty() {
                return Ok(Value::Null);
            }
            return serde_json::from_slice(json).map_err(|_| ProtobufError::Json(name.to_owned()));
        }
    }
    Ok(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    /// A length-delimited field.
    fn field(number: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).expect("short");
        [&[number << 3 | 2, length], payload].concat()
    }

    fn body(kind: &str, raw: &[u8]) -> Vec<u8> {
        let meta = [field(1, b"v1"), field(2, kind.as_bytes())].concat();
        [MAGIC.to_vec(), field(1, &meta), field(2, raw)].concat()
    }

    fn check(kind: &str, raw: &[u8], expected: Expect) {
        let resource = crate::kinds().by_kind("", "v1", kind).expect("kind");
        let said = match decode(&resource.schema, &body(kind, raw)) {
            Ok(value) => value.to_string(),
            Err(error) => error.to_string(),
        };
        expected.assert_eq(&said);
    }

    #[test]
    fn metadata_times_and_maps() {
        let label = [field(1, b"a"), field(2, b"b")].concat();
        let created = [0x08, 0x80, 0x94, 0xeb, 0xdc, 0x03];
        let metadata = [field(1, b"x"), field(8, &created), field(11, &label)].concat();
        check(
            "ServiceAccount",
            &field(1, &metadata),
            expect![[
                r#"{"apiVersion":"v1","kind":"ServiceAccount","metadata":{"name":"x","creationTimestamp":"2001-09-09T01:46:40Z","labels":{"a":"b"}}}"#
            ]],
        );
        let secret = [field(1, b"k"), field(2, b"\x00\xff")].concat();
        check(
            "Secret",
            &field(2, &secret),
            expect![[r#"{"apiVersion":"v1","kind":"Secret","data":{"k":"AP8="}}"#]],
        );
    }

    #[test]
    fn embedded_messages_and_numbers_that_may_be_text() {
        let source = field(2, &[]);
        let volume = [field(1, b"v"), field(2, &source)].concat();
        let port = [vec![0x18, 80], field(4, &[0x08, 1, 0x10, 0, 0x1a, 1, b'h'])].concat();
        let spec = field(1, &volume);
        check(
            "Pod",
            &field(2, &spec),
            expect![[
                r#"{"apiVersion":"v1","kind":"Pod","spec":{"volumes":[{"name":"v","emptyDir":{}}]}}"#
            ]],
        );
        check(
            "Service",
            &field(2, &field(1, &port)),
            expect![[
                r#"{"apiVersion":"v1","kind":"Service","spec":{"ports":[{"port":80,"targetPort":"h"}]}}"#
            ]],
        );
    }

    #[test]
    fn broken_bytes_are_refused() {
        let resource = crate::kinds().by_kind("", "v1", "Pod").expect("kind");
        assert_eq!(decode(&resource.schema, b"{}"), Err(ProtobufError::Prefix));
        let whole = body("Pod", &field(1, &field(1, b"x")));
        for end in MAGIC.len() + 1..whole.len() {
            let cut = decode(&resource.schema, &whole[..end]);
            let envelope_only = whole[..end] == body("Pod", b"")[..end.min(body("Pod", b"").len())];
            assert!(cut.is_err() || envelope_only, "cut at {end}");
        }
    }
}
