//! Calls to the kernel that neither `std` nor `nix` offers in a safe form.
//!
//! This is the only place of the crate with `unsafe` code. Each file wraps one manual page and
//! promises no more than that page does. Errors keep the [`io::ErrorKind`] of the call and say what
//! could not be done, with what, and why.

#[cfg(target_os = "freebsd")]
pub mod kenv;
pub mod lock;
#[cfg(target_os = "freebsd")]
pub mod md;
#[cfg(target_os = "freebsd")]
pub mod mount;
pub mod process;
pub mod siginfo;
#[cfg(target_os = "freebsd")]
pub mod sysctl;
pub mod time;

#[cfg(target_os = "freebsd")]
use std::ffi::CString;
use std::fmt::Display;
use std::io;

/// The same error with `what` in front of it; its kind stays.
fn cannot(what: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

/// `text` for a call that takes a C string; a NUL byte inside is an error, not the end.
#[cfg(target_os = "freebsd")]
fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?}: NUL byte inside"))
    })
}
