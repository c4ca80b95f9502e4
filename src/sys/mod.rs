//! Calls to the kernel that neither `std` nor `nix` offers in a safe form.
//!
//! This is the only place of the crate with `unsafe` code. Each file wraps one manual page and
//! promises no more than that page does. Errors keep the [`io::ErrorKind`] of the call and say what
//! could not be done, with what, and why.

#[cfg(target_os = "freebsd")]
pub mod disk;
#[cfg(target_os = "freebsd")]
pub mod kenv;
pub mod lock;
#[cfg(target_os = "freebsd")]
pub mod md;
#[cfg(target_os = "freebsd")]
pub mod mount;
#[cfg(target_os = "freebsd")]
mod note;
pub mod process;
pub mod pty;
pub mod siginfo;
#[cfg(target_os = "freebsd")]
pub mod sysctl;
pub mod time;

#[cfg(target_os = "freebsd")]
use std::ffi::CString;
use std::fmt::Display;
use std::io;

/// What the system says in `error`, in words only: std adds the number, which nobody can use.
#[must_use]
pub fn why(error: &io::Error) -> String {
    let text = error.to_string();
    let number = error.raw_os_error().unwrap_or_default();
    match text.strip_suffix(&format!(" (os error {number})")) {
        Some(words) => words.to_owned(),
        None => text,
    }
}

/// The same error with `what` in front of it; its kind stays.
fn cannot(what: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {}", why(error)))
}

/// `text` for a call that takes a C string; a NUL byte inside is an error, not the end.
#[cfg(target_os = "freebsd")]
fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{text:?}: NUL byte inside"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_keeps_its_kind_and_says_what_and_why_in_words() {
        let error = cannot("cannot read /x", &io::Error::from_raw_os_error(libc::ENOENT));
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        assert_eq!(error.to_string(), "cannot read /x: No such file or directory");
    }
}
