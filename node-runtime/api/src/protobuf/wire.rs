//! Fields of protobuf messages, as bytes.

use serde_json::Value;

/// A number without fraction, as the 64 bits of its two's complement.
pub(super) fn whole(value: &Value) -> u64 {
    value.as_i64().map_or_else(|| value.as_u64().unwrap_or_default(), i64::cast_unsigned)
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn key(out: &mut Vec<u8>, number: u16, wire: u64) {
    varint(out, u64::from(number) << 3 | wire);
}

pub(super) fn integer(out: &mut Vec<u8>, number: u16, value: u64) {
    key(out, number, 0);
    varint(out, value);
}

pub(super) fn double(out: &mut Vec<u8>, number: u16, value: f64) {
    key(out, number, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(super) fn bytes(out: &mut Vec<u8>, number: u16, payload: &[u8]) {
    key(out, number, 2);
    varint(out, payload.len() as u64);
    out.extend_from_slice(payload);
}

/// A field whose content `write` appends; its length is put before it afterwards.
pub(super) fn nested(out: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    key(out, number, 2);
    let start = out.len();
    write(out);
    let mut length = Vec::with_capacity(5);
    varint(&mut length, (out.len() - start) as u64);
    out.splice(start..start, length);
}
