//! Values of the kernel's state tree: sysctl(3).

use std::io;
use std::ptr;

use super::{c_string, cannot};

/// How often a value that grows while it is read is asked for again.
const ATTEMPTS: usize = 10;

/// The bytes of the value `name`, as sysctlbyname(3) hands them over.
///
/// A value that grows between two calls (`kern.geom.confxml` while disks arrive) is read again with
/// more room. Fails with `NotFound` when there is no such name.
pub fn bytes(name: &str) -> io::Result<Vec<u8>> {
    read(name).map_err(|error| cannot(format_args!("cannot read sysctl {name}"), &error))
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

fn read(name: &str) -> io::Result<Vec<u8>> {
    let name = c_string(name)?;
    let mut room = 0;
    for _ in 0..ATTEMPTS {
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
