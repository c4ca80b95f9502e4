//! Packing: for the lab, which makes labels that ZFS would accept, and for tests.

use super::{Nvlist, Value, XDR, kind};

/// Little-endian, the byte order of the machine that packs. Readers of XDR do not look at it.
const LITTLE_ENDIAN: u8 = 1;
/// `NV_UNIQUE_NAME`: no name is there twice.
const UNIQUE_NAMES: u32 = 1;

/// Packs a list as OpenZFS does. [`Value::Other`] carries no value and is left out.
pub fn encode(list: &Nvlist) -> Vec<u8> {
    let mut out = vec![XDR, LITTLE_ENDIAN, 0, 0];
    put_list(&mut out, list);
    out
}

fn put_u32(out: &mut Vec<u8>, number: u32) {
    out.extend(number.to_be_bytes());
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_u32(out, text.len() as u32);
    out.extend(text.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
}

fn put_list(out: &mut Vec<u8>, list: &Nvlist) {
    put_u32(out, 0);
    put_u32(out, UNIQUE_NAMES);
    for (name, value) in &list.0 {
        put_pair(out, name, value);
    }
    out.extend([0; 8]);
}

fn put_pair(out: &mut Vec<u8>, name: &str, value: &Value) {
    let mut bytes = Vec::new();
    let (kind, count) = match value {
        Value::Flag => (kind::BOOLEAN, 0),
        Value::Bool(truth) => {
            put_u32(&mut bytes, u32::from(*truth));
            (kind::BOOLEAN_VALUE, 1)
        }
        Value::U64(number) => {
            bytes.extend(number.to_be_bytes());
            (kind::UINT64, 1)
        }
        Value::I64(number) => {
            bytes.extend(number.to_be_bytes());
            (kind::INT64, 1)
        }
        Value::Text(text) => {
            put_text(&mut bytes, text);
            (kind::STRING, 1)
        }
        Value::List(list) => {
            put_list(&mut bytes, list);
            (kind::NVLIST, 1)
        }
        Value::Lists(lists) => {
            for list in lists {
                put_list(&mut bytes, list);
            }
            (kind::NVLIST_ARRAY, lists.len())
        }
        Value::U64s(numbers) => {
            if !numbers.is_empty() {
                put_u32(&mut bytes, numbers.len() as u32);
            }
            for number in numbers {
                bytes.extend(number.to_be_bytes());
            }
            (kind::UINT64_ARRAY, numbers.len())
        }
        Value::Other(_) => return,
    };
    let name_size = name.len().next_multiple_of(4);
    put_u32(out, (20 + name_size + bytes.len()) as u32);
    put_u32(out, unpacked_size(name, value));
    put_text(out, name);
    put_u32(out, kind);
    put_u32(out, count as u32);
    out.extend(bytes);
}

/// The size of the pair in the memory of OpenZFS, which checks that it is not absurd: a header of
/// 16 bytes, the name with its NUL, the value, both aligned to eight bytes. An `nvlist_t` has 24
/// bytes, a pointer eight.
fn unpacked_size(name: &str, value: &Value) -> u32 {
    let header = (16 + name.len() + 1).next_multiple_of(8);
    let value = match value {
        Value::Flag | Value::Other(_) => 0,
        Value::Bool(_) => 4,
        Value::U64(_) | Value::I64(_) => 8,
        Value::Text(text) => text.len() + 1,
        Value::List(_) => 24,
        Value::Lists(lists) => lists.len() * 32,
        Value::U64s(numbers) => numbers.len() * 8,
    };
    (header + value.next_multiple_of(8)) as u32
}
