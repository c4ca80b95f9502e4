//! The kernel environment, which the loader fills and everybody can read: kenv(2).

use std::ffi::CStr;
use std::io;
use std::ptr;

use libc::{c_char, c_int};

use super::{c_string, cannot};

/// The longest name and the longest value that kenv(2) takes, in bytes without the NUL
/// (`KENV_MNAMELEN`, `KENV_MVALLEN`).
pub const LONGEST: usize = 128;

/// Room for a value that the loader has set: those may be longer than what kenv(2) sets.
const ROOM: usize = 4096;

/// The value of `name`, or `None` when it is not set.
///
/// A value that does not fit or is not UTF-8 is an error (`InvalidData`), never cut.
pub fn get(name: &str) -> io::Result<Option<String>> {
    match read(name) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        other => {
            other.map(Some).map_err(|error| cannot(format_args!("cannot read kenv {name}"), &error))
        }
    }
}

/// Sets `name` to `value` until the next boot. Needs root.
///
/// A name or value of more than [`LONGEST`] bytes is an error (`InvalidInput`), never cut.
pub fn set(name: &str, value: &str) -> io::Result<()> {
    write(name, value)
        .map_err(|error| cannot(format_args!("cannot set kenv {name}=\"{value}\""), &error))
}

/// Removes `name`; it is no error when it was not set. Needs root.
pub fn unset(name: &str) -> io::Result<()> {
    match remove(name) {
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        other => other.map_err(|error| cannot(format_args!("cannot unset kenv {name}"), &error)),
    }
}

fn read(name: &str) -> io::Result<String> {
    let name = c_string(fitting(name)?)?;
    let mut value = [0_u8; ROOM];
    let room = c_int::try_from(value.len()).unwrap_or(c_int::MAX);
    // SAFETY: the name is a C string, and the call writes at most `room` bytes, the buffer's length.
    let result =
        unsafe { libc::kenv(libc::KENV_GET, name.as_ptr(), value.as_mut_ptr().cast(), room) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // The kernel cuts a value that does not fit, and cuts the NUL with it.
    let text = CStr::from_bytes_until_nul(&value)
        .ok()
        .and_then(|text| text.to_str().ok())
        .filter(|text| text.len() < ROOM - 1);
    text.map(str::to_owned).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "the value is too long or not UTF-8")
    })
}

fn write(name: &str, value: &str) -> io::Result<()> {
    let name = c_string(fitting(name)?)?;
    let value = c_string(fitting(value)?)?;
    let length = c_int::try_from(value.as_bytes_with_nul().len()).unwrap_or(c_int::MAX);
    // SAFETY: both are C strings, `length` counts the value's NUL, and KENV_SET only reads them.
    let result =
        unsafe { libc::kenv(libc::KENV_SET, name.as_ptr(), value.as_ptr().cast_mut(), length) };
    done(result)
}

fn remove(name: &str) -> io::Result<()> {
    let name = c_string(fitting(name)?)?;
    // SAFETY: the name is a C string; KENV_UNSET does not look at value and length.
    let result =
        unsafe { libc::kenv(libc::KENV_UNSET, name.as_ptr(), ptr::null_mut::<c_char>(), 0) };
    done(result)
}

fn done(result: c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn fitting(text: &str) -> io::Result<&str> {
    if text.len() > LONGEST {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{} bytes, at most {LONGEST} fit", text.len()),
        ));
    }
    Ok(text)
}
