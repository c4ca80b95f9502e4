//! A header block: the name, the size and the type of what follows it.

use super::BLOCK;

/// Byte ranges of the fields (tar(5)).
const NAME: (usize, usize) = (0, 100);
const MODE: (usize, usize) = (100, 8);
const UID: (usize, usize) = (108, 8);
const GID: (usize, usize) = (116, 8);
const SIZE: (usize, usize) = (124, 12);
const MTIME: (usize, usize) = (136, 12);
const CHECKSUM: (usize, usize) = (148, 8);
const TYPE: (usize, usize) = (156, 1);
const MAGIC: (usize, usize) = (257, 8);
const UNAME: (usize, usize) = (265, 32);
const GNAME: (usize, usize) = (297, 32);
const PREFIX: (usize, usize) = (345, 155);

/// ustar, with its version.
const USTAR: &[u8] = b"ustar\x0000";
/// What GNU writes in its place.
const GNU: &[u8] = b"ustar  \0";

/// The largest size that octal digits can tell, plus one.
const LARGE: u64 = 1 << 33;

/// What follows a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// A regular file.
    File,
    /// GNU: the name of the next entry.
    LongName,
    /// pax: records about the next entry.
    Pax,
}

/// A header that makes sense.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Type,
    pub(super) name: String,
    pub(super) size: u64,
}

fn field(block: &[u8; BLOCK], (at, length): (usize, usize)) -> &[u8] {
    block.get(at..at + length).unwrap_or_default()
}

/// A field up to its first NUL.
fn text(block: &[u8; BLOCK], place: (usize, usize)) -> Result<&str, &'static str> {
    let bytes = field(block, place).split(|byte| *byte == 0).next().unwrap_or_default();
    std::str::from_utf8(bytes).map_err(|_| "a name is not UTF-8")
}

impl Header {
    pub(super) fn parse(block: &[u8; BLOCK]) -> Result<Header, &'static str> {
        let magic = field(block, MAGIC);
        if magic != USTAR && magic != GNU {
            return Err("not a header of a tar");
        }
        if number(field(block, CHECKSUM)) != Some(checksum(block)) {
            return Err("the checksum of a header is wrong");
        }
        let kind = match field(block, TYPE) {
            b"0" | b"\0" => Type::File,
            b"L" => Type::LongName,
            b"x" => Type::Pax,
            b"1" | b"2" => return Err("a link, where only files are taken"),
            b"5" => return Err("a directory, where only files are taken"),
            b"S" => return Err("a sparse file, where only whole ones are taken"),
            _ => return Err("an entry of a type that is not taken"),
        };
        let size = number(field(block, SIZE)).ok_or("the size of an entry is not a number")?;
        let name = text(block, NAME)?;
        let name = match text(block, PREFIX)? {
            // What GNU keeps in that place is something else.
            prefix if !prefix.is_empty() && magic == USTAR => format!("{prefix}/{name}"),
            _ => name.to_owned(),
        };
        Ok(Header { kind, name, size })
    }
}

/// The sum of all bytes, those of the checksum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    sum(block) - sum(field(block, CHECKSUM)) + u64::from(b' ') * CHECKSUM.1 as u64
}

/// A number: octal digits between spaces or NULs, or binary after a byte of 0x80. Below 2^63.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((0x80, bytes)) = field.split_first() {
        let (zeros, bytes) = bytes.split_last_chunk::<8>().unwrap_or((bytes, &[0xff; 8]));
        let number = u64::from_be_bytes(*bytes);
        let fits = zeros.iter().all(|byte| *byte == 0) && i64::try_from(number).is_ok();
        return fits.then_some(number);
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    let octal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    u64::from_str_radix(text, 8).ok().filter(|_| octal)
}

/// The header of a regular file that belongs to root and may be read by all; `modified` in seconds
/// since 1970. Sizes of 8 GiB and more are written in base 256, as both tar(1) read them.
///
/// `None` when `name` has more than 100 bytes, or a number is too large for its field.
pub fn encode(name: &str, size: u64, modified: u64) -> Option<[u8; BLOCK]> {
    let mut block = [0; BLOCK];
    put(&mut block, NAME, name.as_bytes())?;
    put(&mut block, MODE, b"0000644\0")?;
    put(&mut block, UID, b"0000000\0")?;
    put(&mut block, GID, b"0000000\0")?;
    if size < LARGE {
        put(&mut block, SIZE, format!("{size:011o}\0").as_bytes())?;
    } else {
        let mut bytes = [0; SIZE.1];
        *bytes.first_mut()? = 0x80;
        *bytes.last_chunk_mut()? = i64::try_from(size).ok()?.to_be_bytes();
        put(&mut block, SIZE, &bytes)?;
    }
    put(&mut block, MTIME, format!("{modified:011o}\0").as_bytes())?;
    put(&mut block, TYPE, b"0")?;
    put(&mut block, MAGIC, USTAR)?;
    put(&mut block, UNAME, b"root")?;
    put(&mut block, GNAME, b"wheel")?;
    let sum = checksum(&block);
    put(&mut block, CHECKSUM, format!("{sum:06o}\0 ").as_bytes())?;
    Some(block)
}

fn put(block: &mut [u8; BLOCK], (at, length): (usize, usize), bytes: &[u8]) -> Option<()> {
    let place = block.get_mut(at..at + length)?.get_mut(..bytes.len())?;
    place.copy_from_slice(bytes);
    Some(())
}
