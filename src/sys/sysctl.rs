//! Values of the kernel's state tree: sysctl(3).

use std::io;
use std::ptr;

use super::{c_string, cannot};

/// Room that a long value is asked for with at first.
const LONG: usize = 256 << 10;
/// `CTL_SYSCTL` and what it answers, from sys/sysctl.h: see sysctl(9).
const NAME: [libc::c_int; 2] = [0, 1];
const NEXT: [libc::c_int; 2] = [0, 2];
const NAME2OID: [libc::c_int; 2] = [0, 3];
/// The longest name, in numbers, from sys/sysctl.h.
const CTL_MAXNAME: usize = 24;

/// How often a value that grows while it is read is asked for again.
const ATTEMPTS: usize = 10;

/// The bytes of the value `name`, as sysctlbyname(3) hands them over.
///
/// A value that grows between two calls (`kern.geom.confxml` while disks arrive) is read again with
/// more room. Fails with `NotFound` when there is no such name.
pub fn bytes(name: &str) -> io::Result<Vec<u8>> {
    read(name, 0).map_err(|error| cannot(format_args!("cannot read sysctl {name}"), &error))
}

/// [`bytes`] for a value that the kernel has to make up each time it is asked for it, even for its
/// length only: it is asked once where the value is not longer than 256 KiB.
pub fn long(name: &str) -> io::Result<Vec<u8>> {
    read(name, LONG).map_err(|error| cannot(format_args!("cannot read sysctl {name}"), &error))
}

/// The names of what is directly below the node `name`, without it, and has values.
///
/// Fails with `NotFound` when there is no such node.
pub fn children(name: &str) -> io::Result<Vec<String>> {
    let told = |error: io::Error| cannot(format_args!("cannot list sysctl {name}"), &error);
    let node = oid(&NAME2OID, &[], name.as_bytes()).map_err(told)?;
    let mut children = Vec::new();
    let mut last = node.clone();
    loop {
        let next = match oid(&NEXT, &last, &[]) {
            Ok(next) => next,
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            Err(error) => return Err(told(error)),
        };
        let Some(child) = next.get(..=node.len()).filter(|child| child.starts_with(&node)) else {
            break;
        };
        let full = ask(&[NAME.as_slice(), child].concat(), &[], 1024).map_err(told)?;
        let full = String::from_utf8_lossy(&full).into_owned();
        let below = full.trim_end_matches('\0').strip_prefix(name);
        children.extend(below.and_then(|below| below.strip_prefix('.')).map(str::to_owned));
        // Behind everything that this child has.
        last = [child, &[libc::c_int::MAX]].concat();
    }
    Ok(children)
}

/// Numbers that the kernel answers when `question`, followed by `numbers`, is given `text`.
fn oid(
    question: &[libc::c_int],
    numbers: &[libc::c_int],
    text: &[u8],
) -> io::Result<Vec<libc::c_int>> {
    const WIDTH: usize = size_of::<libc::c_int>();
    let answer = ask(&[question, numbers].concat(), text, CTL_MAXNAME * WIDTH)?;
    let number = |bytes: &[u8]| bytes.try_into().map(libc::c_int::from_ne_bytes).ok();
    Ok(answer.chunks_exact(WIDTH).filter_map(number).collect())
}

/// What the kernel answers to `name`, at most `room` bytes, when it is given `text`.
fn ask(name: &[libc::c_int], text: &[u8], room: usize) -> io::Result<Vec<u8>> {
    let words = libc::c_uint::try_from(name.len()).map_err(io::Error::other)?;
    let mut answer = vec![0_u8; room];
    let mut length = answer.len();
    let new = if text.is_empty() { ptr::null() } else { text.as_ptr().cast() };
    // SAFETY: `name` has `words` numbers, `text` has its length in bytes and is only read; the
    // call writes no more than `length` bytes to `answer` and sets `length` to what it wrote.
    let result = unsafe {
        libc::sysctl(
            name.as_ptr(),
            words,
            answer.as_mut_ptr().cast(),
            &raw mut length,
            new,
            text.len(),
        )
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    answer.truncate(length);
    Ok(answer)
}

/// The text of the value `name`, without the terminating NUL.
///
/// Fails as [`bytes`] does, and with `InvalidData` when the value is not UTF-8.
pub fn string(name: &str) -> io::Result<String> {
    let mut value = bytes(name)?;
    while value.last() == Some(&0) {
        value.pop();
    }
    String::from_utf8(value).map_err(|_| unexpected(name, "not UTF-8 text"))
}

/// The integer value `name`, whatever its width.
///
/// A negative `int` or `long` comes as the unsigned number of the same width. Fails as [`bytes`]
/// does, and with `InvalidData` when the value has not the size of an integer; text of that size is
/// not told apart.
pub fn u64(name: &str) -> io::Result<u64> {
    let value = bytes(name)?;
    match *value.as_slice() {
        [a] => Ok(u64::from(a)),
        [a, b] => Ok(u64::from(u16::from_ne_bytes([a, b]))),
        [a, b, c, d] => Ok(u64::from(u32::from_ne_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => Ok(u64::from_ne_bytes([a, b, c, d, e, f, g, h])),
        _ => Err(unexpected(name, "not an integer")),
    }
}

fn unexpected(name: &str, why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("cannot read sysctl {name}: {why}"))
}

/// Reads with room for `first` bytes, and asks how much is needed when that is 0 or too little.
fn read(name: &str, first: usize) -> io::Result<Vec<u8>> {
    let name = c_string(name)?;
    let mut room = first;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 || room == 0 {
            let mut needed = 0;
            // SAFETY: the name is a C string; with a null buffer the call writes `needed` only.
            let result = unsafe {
                libc::sysctlbyname(name.as_ptr(), ptr::null_mut(), &raw mut needed, ptr::null(), 0)
            };
            if result != 0 {
                return Err(io::Error::last_os_error());
            }
            // Some room for what is added in between, and more on every attempt.
            room = needed.max(room) + needed / 8 + 64;
        }
        let mut value = vec![0_u8; room];
        let mut length = value.len();
        // SAFETY: the name is a C string; the buffer has `length` bytes, and the call writes no
        // more than that and sets `length` to what it wrote.
        let result = unsafe {
            libc::sysctlbyname(
                name.as_ptr(),
                value.as_mut_ptr().cast(),
                &raw mut length,
                ptr::null(),
                0,
            )
        };
        if result == 0 {
            value.truncate(length);
            return Ok(value);
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ENOMEM) {
            return Err(error);
        }
    }
    Err(io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!("it grew {ATTEMPTS} times while it was read"),
    ))
}
