//! Name-value lists in XDR, as ZFS labels hold them: see nvlist(9) for the idea, the comment above
//! `nvs_xdr_create` in OpenZFS' `module/nvpair/nvpair.c` for the format, RFC 4506 for XDR.
//!
//! A packed list is four bytes (encoding, endianness, two reserved), then the list: version, flags,
//! pairs, eight zero bytes. A pair is its packed and unpacked size, name, type, number of elements
//! and value. A list inside a list has no four bytes of its own. All numbers are big-endian,
//! everything is aligned to four bytes.

use super::ParseError;

#[cfg(any(test, feature = "lab"))]
mod encode;
#[cfg(any(test, feature = "lab"))]
pub use encode::encode;

const WHAT: &str = "nvlist";

/// Lists may be nested this deep. OpenZFS' labels need five levels or six.
const DEEPEST: usize = 20;

const XDR: u8 = 1;

/// The types of `data_type_t` in OpenZFS' `include/sys/nvpair.h`.
mod kind {
    pub(super) const BOOLEAN: u32 = 1;
    pub(super) const BYTE: u32 = 2;
    pub(super) const INT16: u32 = 3;
    pub(super) const UINT16: u32 = 4;
    pub(super) const INT32: u32 = 5;
    pub(super) const UINT32: u32 = 6;
    pub(super) const INT64: u32 = 7;
    pub(super) const UINT64: u32 = 8;
    pub(super) const STRING: u32 = 9;
    pub(super) const UINT16_ARRAY: u32 = 12;
    pub(super) const UINT32_ARRAY: u32 = 14;
    pub(super) const UINT64_ARRAY: u32 = 16;
    pub(super) const HRTIME: u32 = 18;
    pub(super) const NVLIST: u32 = 19;
    pub(super) const NVLIST_ARRAY: u32 = 20;
    pub(super) const BOOLEAN_VALUE: u32 = 21;
    pub(super) const INT8: u32 = 22;
    pub(super) const UINT8: u32 = 23;
    pub(super) const UINT8_ARRAY: u32 = 26;
}

/// Names and values, in the order in which they were packed. Where a name is there twice, the first
/// counts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nvlist(pub Vec<(String, Value)>);

/// A value. Integers of all sizes are widened to 64 bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Nothing but its name.
    Flag,
    /// True or false.
    Bool(bool),
    /// An integer without a sign.
    U64(u64),
    /// An integer with a sign, or a time in nanoseconds.
    I64(i64),
    /// Text. Bytes that are not UTF-8 are replaced.
    Text(String),
    /// A list.
    List(Nvlist),
    /// Several lists.
    Lists(Vec<Nvlist>),
    /// Several integers without a sign.
    U64s(Vec<u64>),
    /// A value of this type, a `data_type_t`, skipped.
    Other(u32),
}

impl Nvlist {
    /// The value with this name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| v)
    }

    /// There is a value with this name.
    pub fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// The integer with this name, if it is one without a sign.
    pub fn u64(&self, name: &str) -> Option<u64> {
        match self.get(name) {
            Some(Value::U64(number)) => Some(*number),
            _ => None,
        }
    }

    /// The text with this name, if it is one.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.get(name) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The list with this name, if it is one.
    pub fn list(&self, name: &str) -> Option<&Nvlist> {
        match self.get(name) {
            Some(Value::List(list)) => Some(list),
            _ => None,
        }
    }

    /// The lists with this name, if they are lists. None of that name is an empty slice.
    pub fn lists(&self, name: &str) -> &[Nvlist] {
        match self.get(name) {
            Some(Value::Lists(lists)) => lists,
            _ => &[],
        }
    }

    /// The integers with this name, if they are integers without a sign. None of that name is an
    /// empty slice.
    pub fn u64s(&self, name: &str) -> &[u64] {
        match self.get(name) {
            Some(Value::U64s(numbers)) => numbers,
            _ => &[],
        }
    }
}

/// Unpacks the list at the start of `packed`; what is behind its end is not looked at.
///
/// # Errors
///
/// Names the byte where the list ends too early, is not in XDR, or is nested more than 20 deep.
pub fn decode(packed: &[u8]) -> Result<Nvlist, ParseError> {
    let header = packed.first_chunk::<4>();
    match header {
        Some([XDR, ..]) => {}
        Some([other, ..]) => {
            return Err(ParseError::offset(WHAT, 0, format!("encoding {other}, not XDR")));
        }
        None => return Err(ParseError::offset(WHAT, 0, "it ends here")),
    }
    let mut input = Input { bytes: packed, at: 4 };
    list(&mut input, 0)
}

/// A place in a list's bytes.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn error(&self, why: impl std::fmt::Display) -> ParseError {
        ParseError::offset(WHAT, self.at, why)
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.at)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], ParseError> {
        let end = self.at.checked_add(len);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        match taken {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(self.error(format!("{len} bytes expected, {} left", self.left()))),
        }
    }

    fn u32(&mut self) -> Result<u32, ParseError> {
        let bytes = self.take(4)?;
        Ok(bytes.iter().fold(0, |n, b| n << 8 | u32::from(*b)))
    }

    fn u64(&mut self) -> Result<u64, ParseError> {
        let bytes = self.take(8)?;
        Ok(bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn text(&mut self) -> Result<String, ParseError> {
        let len = self.u32()? as usize;
        let text = String::from_utf8_lossy(self.take(len)?).into_owned();
        self.take(len.wrapping_neg() % 4)?;
        Ok(text)
    }

    /// The next `len` bytes, as a part that keeps its place for messages.
    fn part(&self, len: usize) -> Result<Input<'a>, ParseError> {
        let end = self.at.checked_add(len);
        match end.and_then(|end| self.bytes.get(..end)) {
            Some(bytes) => Ok(Input { bytes, at: self.at }),
            None => Err(self.error(format!("a pair of {len} bytes, {} left", self.left()))),
        }
    }
}

/// The list at `input`, which is left behind its end.
fn list(input: &mut Input<'_>, depth: usize) -> Result<Nvlist, ParseError> {
    if depth >= DEEPEST {
        return Err(input.error(format!("more than {DEEPEST} lists in each other")));
    }
    let version = input.u32()?;
    if version != 0 {
        return Err(input.error(format!("version {version} of nvlist is not known")));
    }
    input.u32()?; // flags: unique names, unique types
    let mut pairs = Vec::new();
    loop {
        let start = input.at;
        let packed = input.u32()? as usize;
        let unpacked = input.u32()?;
        if unpacked == 0 {
            return Ok(Nvlist(pairs));
        }
        input.at = start;
        let mut pair = input.part(packed)?;
        pair.take(8)?;
        let name = pair.text()?;
        let kind = pair.u32()?;
        let count = pair.u32()? as usize;
        let value = value(&mut pair, kind, count, depth)?;
        // OpenZFS counts four bytes too many for an empty array, and does not use the packed size
        // when it reads. It is all there is to skip an unknown type with.
        input.at = match value {
            Value::Other(_) if count > 0 => pair.bytes.len(),
            _ => pair.at,
        };
        pairs.push((name, value));
    }
}

/// The value of a pair of this type and with this many elements.
fn value(pair: &mut Input<'_>, kind: u32, count: usize, depth: usize) -> Result<Value, ParseError> {
    let is_array = matches!(
        kind,
        kind::UINT8_ARRAY | kind::UINT16_ARRAY | kind::UINT32_ARRAY | kind::UINT64_ARRAY
    );
    Ok(match kind {
        kind::BOOLEAN => Value::Flag,
        kind::NVLIST_ARRAY => {
            let mut lists = Vec::new();
            for _ in 0..count {
                lists.push(list(pair, depth + 1)?);
            }
            Value::Lists(lists)
        }
        _ if is_array && count == 0 => Value::U64s(Vec::new()),
        _ if is_array => Value::U64s(numbers(pair, kind, count)?),
        _ if count == 0 => Value::Other(kind),
        kind::BOOLEAN_VALUE => Value::Bool(pair.u32()? != 0),
        // A small integer is packed as one of 32 bits; only its own bits count.
        kind::BYTE | kind::UINT8 => Value::U64(u64::from(pair.u32()? as u8)),
        kind::UINT16 => Value::U64(u64::from(pair.u32()? as u16)),
        kind::UINT32 => Value::U64(u64::from(pair.u32()?)),
        kind::UINT64 => Value::U64(pair.u64()?),
        kind::INT8 => Value::I64(i64::from(pair.u32()? as i8)),
        kind::INT16 => Value::I64(i64::from(pair.u32()? as i16)),
        kind::INT32 => Value::I64(i64::from(pair.u32()? as i32)),
        kind::INT64 | kind::HRTIME => Value::I64(pair.u64()? as i64),
        kind::STRING => Value::Text(pair.text()?),
        kind::NVLIST => Value::List(list(pair, depth + 1)?),
        other => Value::Other(other),
    })
}

fn numbers(pair: &mut Input<'_>, kind: u32, count: usize) -> Result<Vec<u64>, ParseError> {
    if pair.u32()? as usize != count {
        return Err(pair.error("an array has two lengths"));
    }
    let mut numbers = Vec::new();
    for _ in 0..count {
        numbers.push(match kind {
            kind::UINT64_ARRAY => pair.u64()?,
            kind::UINT16_ARRAY => u64::from(pair.u32()? as u16),
            kind::UINT8_ARRAY => u64::from(pair.u32()? as u8),
            _ => u64::from(pair.u32()?),
        });
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Nvlist {
        let inner = Nvlist(vec![("guid".to_owned(), Value::U64(7))]);
        Nvlist(vec![
            ("version".to_owned(), Value::U64(5000)),
            ("name".to_owned(), Value::Text("tank".to_owned())),
            ("org.example:flag".to_owned(), Value::Flag),
            ("yes".to_owned(), Value::Bool(true)),
            ("delta".to_owned(), Value::I64(-3)),
            ("hole_array".to_owned(), Value::U64s(vec![1, u64::MAX])),
            ("none".to_owned(), Value::U64s(vec![])),
            ("tree".to_owned(), Value::List(inner.clone())),
            ("children".to_owned(), Value::Lists(vec![inner, Nvlist::default()])),
            ("no children".to_owned(), Value::Lists(vec![])),
        ])
    }

    /// One list with one pair of the given type, number of elements and value.
    fn pair_of(kind: u32, count: u32, value: &[u8]) -> Vec<u8> {
        let size = 24 + value.len() as u32;
        let mut packed = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        for word in [size, 32, 1, u32::from_be_bytes(*b"n\0\0\0"), kind, count] {
            packed.extend(word.to_be_bytes());
        }
        packed.extend(value);
        packed.extend([0; 8]);
        packed
    }

    fn one(kind: u32, count: u32, value: &[u8]) -> Value {
        let list = decode(&pair_of(kind, count, value)).unwrap();
        list.get("n").unwrap().clone()
    }

    #[test]
    fn what_was_packed_is_unpacked() {
        assert_eq!(decode(&encode(&example())), Ok(example()));
    }

    #[test]
    fn getters_give_only_the_type_they_name() {
        let list = example();
        assert_eq!(list.u64("version"), Some(5000));
        assert_eq!(list.u64("name"), None);
        assert_eq!(list.u64("delta"), None);
        assert_eq!(list.text("name"), Some("tank"));
        assert_eq!(list.u64s("hole_array"), [1, u64::MAX]);
        assert_eq!(list.list("tree").unwrap().u64("guid"), Some(7));
        assert_eq!(list.lists("children").len(), 2);
        assert!(list.lists("tree").is_empty() && list.u64s("absent").is_empty());
        assert!(list.has("org.example:flag") && !list.has("absent"));
    }

    #[test]
    fn integers_of_all_sizes_are_widened() {
        let minus_two = (-2i32).to_be_bytes();
        assert_eq!(one(kind::UINT8, 1, &minus_two), Value::U64(254));
        assert_eq!(one(kind::BYTE, 1, &minus_two), Value::U64(254));
        assert_eq!(one(kind::UINT16, 1, &minus_two), Value::U64(65534));
        assert_eq!(one(kind::UINT32, 1, &minus_two), Value::U64(4294967294));
        assert_eq!(one(kind::INT8, 1, &minus_two), Value::I64(-2));
        assert_eq!(one(kind::INT16, 1, &minus_two), Value::I64(-2));
        assert_eq!(one(kind::INT32, 1, &minus_two), Value::I64(-2));
        let three = [0, 0, 0, 1, 0, 0, 0, 3];
        for kind in [kind::UINT8_ARRAY, kind::UINT16_ARRAY, kind::UINT32_ARRAY] {
            assert_eq!(one(kind, 1, &three), Value::U64s(vec![3]));
        }
    }

    #[test]
    fn a_type_that_is_not_known_is_skipped_with_its_size() {
        assert_eq!(one(99, 1, b"whatever it is.."), Value::Other(99));
        assert_eq!(one(10, 3, b"abc\0"), Value::Other(10)); // bytes
    }

    #[test]
    fn text_that_is_not_utf8_is_kept_as_far_as_possible() {
        let value = one(kind::STRING, 1, b"\0\0\0\x02a\xff\0\0");
        assert_eq!(value, Value::Text("a\u{fffd}".to_owned()));
    }

    #[test]
    fn a_list_that_ends_too_early_is_refused_wherever_it_ends() {
        let packed = encode(&example());
        for end in 0..packed.len() {
            assert!(decode(&packed[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn lists_are_not_nested_without_end() {
        let mut nested = Nvlist::default();
        for _ in 1..DEEPEST {
            nested = Nvlist(vec![("in".to_owned(), Value::List(nested))]);
        }
        assert!(decode(&encode(&nested)).is_ok());
        nested = Nvlist(vec![("in".to_owned(), Value::List(nested))]);
        let error = decode(&encode(&nested)).unwrap_err();
        assert!(error.why.contains("20 lists"), "{error}");
    }

    #[test]
    fn sizes_and_counts_that_are_lies_are_refused() {
        assert!(decode(&pair_of(kind::NVLIST_ARRAY, u32::MAX, &[0; 16])).is_err());
        assert!(decode(&pair_of(kind::UINT64_ARRAY, u32::MAX, &[255; 4])).is_err());
        assert!(decode(&pair_of(kind::UINT64_ARRAY, 1, &[0; 12])).is_err());
        assert!(decode(&pair_of(kind::STRING, 1, &[255; 4])).is_err());
        let mut small = pair_of(kind::UINT64, 1, &[0; 8]);
        small[15] = 4;
        assert!(decode(&small).is_err());
    }

    #[test]
    fn only_xdr_of_version_0_is_understood() {
        assert!(decode(&[0, 1, 0, 0]).unwrap_err().why.contains("not XDR"));
        let mut packed = encode(&Nvlist::default());
        packed[7] = 1;
        assert!(decode(&packed).unwrap_err().why.contains("version 1"));
    }
}
