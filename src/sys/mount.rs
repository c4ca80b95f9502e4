//! Mounting and unmounting file systems, and listing the mounted ones: nmount(2), unmount(2),
//! getfsstat(2).

use std::ffi::{CStr, OsStr};
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use libc::{c_char, c_long};
use nix::mount::{MntFlags, Nmount};

use super::cannot;

/// How often the list is asked for again when file systems are mounted while it is read.
const ATTEMPTS: usize = 10;

/// A mounted file system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountEntry {
    /// Type of the file system: `ufs`, `zfs`, `nullfs`.
    pub fstype: String,
    /// What is mounted: a device, a dataset, a directory. Bytes that are not UTF-8 are replaced.
    pub from: String,
    /// Where it is mounted.
    pub on: PathBuf,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// The identity of this mount, as `MNT_BYFSID` takes it; it differs between two mounts of the
    /// same thing.
    pub fsid: [i32; 2],
}

/// Mounts `from`, a file system of type `fstype`, on the directory `dir`.
///
/// `options` are the names and values of nmount(2) and of the file system's manual page, `None` for
/// an option without a value: `("size", Some("32m"))`, `("noatime", None)`, `("update", None)`.
/// What is in `dir` already is hidden without a word. The kernel loads the file system's module
/// when it is not there. The error carries the kernel's own text (`errmsg`) when there is one; it is
/// `NotFound` when the type, what is to be mounted or the directory is not there.
pub fn nmount(
    fstype: &str,
    from: &str,
    dir: &Path,
    read_only: bool,
    options: &[(&str, Option<&str>)],
) -> io::Result<()> {
    let what = format!("cannot mount {fstype} {from} on {}", dir.display());
    let texts = [fstype.as_bytes(), from.as_bytes(), dir.as_os_str().as_bytes()];
    let option_texts = options
        .iter()
        .flat_map(|(name, value)| [name.as_bytes(), value.unwrap_or_default().as_bytes()]);
    if texts.into_iter().chain(option_texts).any(|text| text.contains(&0)) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{what}: NUL byte inside"),
        ));
    }
    let mut call = Nmount::new();
    call.str_opt_owned("fstype", fstype).str_opt_owned("fspath", dir).str_opt_owned("from", from);
    for (name, value) in options {
        match value {
            Some(value) => call.str_opt_owned(*name, *value),
            None => call.null_opt_owned(*name),
        };
    }
    let mut flags = MntFlags::empty();
    flags.set(MntFlags::MNT_RDONLY, read_only);
    call.nmount(flags).map_err(|error| match error.errmsg() {
        Some("Invalid fstype") => not_found(&what, from, dir),
        Some(text) => cannot(format_args!("{what}: {text}"), &error.error().into()),
        None => cannot(&what, &error.error().into()),
    })
}

/// The kernel makes "Invalid fstype" of everything that is not found: type, source or directory.
fn not_found(what: &str, from: &str, dir: &Path) -> io::Error {
    let why = if !dir.is_dir() {
        "no such directory"
    } else if from.starts_with('/') && !Path::new(from).exists() {
        "nothing there to mount"
    } else {
        "no such type of file system, or nothing there to mount"
    };
    io::Error::new(io::ErrorKind::NotFound, format!("{what}: {why}"))
}

/// Unmounts what was mounted last on `dir`; with `force` even when files are open there.
pub fn unmount(dir: &Path, force: bool) -> io::Result<()> {
    let mut flags = MntFlags::empty();
    flags.set(MntFlags::MNT_FORCE, force);
    nix::mount::unmount(dir, flags)
        .map_err(|error| cannot(format_args!("cannot unmount {}", dir.display()), &error.into()))
}

/// All mounted file systems, in the order in which they were mounted.
///
/// Does not wait for file systems that do not answer (`MNT_NOWAIT`).
pub fn list() -> io::Result<Vec<MountEntry>> {
    read().map_err(|error| cannot("cannot list the mounted file systems", &error))
}

fn read() -> io::Result<Vec<MountEntry>> {
    for _ in 0..ATTEMPTS {
        // SAFETY: with a null buffer the call only counts.
        let count = unsafe { libc::getfsstat(ptr::null_mut(), 0, libc::MNT_NOWAIT) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        // Room for some that are mounted in between; a full buffer may have been too small.
        let room = count + 8;
        // SAFETY: statfs is made of integers and of arrays of them, for which zero is a value.
        let mut buffer: Vec<libc::statfs> = vec![unsafe { mem::zeroed() }; room];
        let size = c_long::try_from(mem::size_of_val(buffer.as_slice()))
            .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
        // SAFETY: the call writes at most `size` bytes, which is the buffer's length.
        let count = unsafe { libc::getfsstat(buffer.as_mut_ptr(), size, libc::MNT_NOWAIT) };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        if count < room {
            buffer.truncate(count);
            return Ok(buffer.iter().map(entry).collect());
        }
    }
    Err(io::Error::other(format!("the list grew {ATTEMPTS} times while it was read")))
}

fn entry(found: &libc::statfs) -> MountEntry {
    MountEntry {
        fstype: text(&found.f_fstypename).to_string_lossy().into_owned(),
        from: text(&found.f_mntfromname).to_string_lossy().into_owned(),
        on: PathBuf::from(text(&found.f_mntonname)),
        read_only: found.f_flags & u64::from(libc::MNT_RDONLY.unsigned_abs()) != 0,
        // SAFETY: fsid_t is a structure of two 32-bit integers and nothing else (sys/_types.h); the
        // sizes are compared when this is compiled.
        fsid: unsafe { mem::transmute::<libc::fsid_t, [i32; 2]>(found.f_fsid) },
    }
}

/// The C string in a field of statfs.
fn text(field: &[c_char]) -> &OsStr {
    // SAFETY: c_char and u8 have the same size and alignment, and every bit pattern is a u8.
    let bytes = unsafe { &*(ptr::from_ref(field) as *const [u8]) };
    let bytes = CStr::from_bytes_until_nul(bytes).map_or(bytes, CStr::to_bytes);
    OsStr::from_bytes(bytes)
}
