//! A directory that stays within reach when something is mounted over it.

use std::cell::Cell;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::failed;
use crate::host::{Error, HeldDirectory, Result};
use crate::sys;

/// A directory that is open, as a nullfs(5) mount of it inside of itself has it.
///
/// The directory itself would not do: whoever is in it, goes there by fchdir(2) or looks up `.` is
/// led to what is mounted over it. The root of that mount is another vnode, which nobody covers.
pub(super) struct OpenDirectory {
    root: Option<File>,
    at: PathBuf,
    shown: Cell<bool>,
}

/// In the directory that is held: where it is mounted once more.
const HELD: &str = ".nanozfs.held";

impl OpenDirectory {
    /// Makes a directory in it, and mounts it there.
    pub(super) fn open(directory: &Path) -> Result<OpenDirectory> {
        let at = directory.join(HELD);
        let told = |what: &str, at: &Path, error: &io::Error| {
            Error::io(format!("{what} {}", at.display()), error)
        };
        let at = match std::fs::create_dir(&at) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                // A full file system has this all the same, and it is covered in a moment.
                let spare = directory.join("tmp");
                if !spare.is_dir() {
                    return Err(told("make", &at, &error));
                }
                spare
            }
            _ => at,
        };
        let from = directory.display().to_string();
        // An earlier one that was cut off has left it mounted.
        let mounted = sys::mount::list().unwrap_or_default();
        if !mounted.iter().any(|one| Path::new(&one.on) == at && one.fstype == "nullfs") {
            sys::mount::nmount("nullfs", &from, &at, false, &[]).map_err(|error| failed(&error))?;
        }
        let mut held = OpenDirectory { root: None, at: at.clone(), shown: Cell::new(false) };
        held.root = Some(File::open(&at).map_err(|error| told("open", &at, &error))?);
        Ok(held)
    }
}

impl Drop for OpenDirectory {
    fn drop(&mut self) {
        self.root = None;
        if !self.shown.get() && sys::mount::unmount(&self.at, false).is_ok() {
            // It is empty; when it cannot go it does no harm.
            let _ = std::fs::remove_dir(&self.at);
        }
    }
}

impl HeldDirectory for OpenDirectory {
    /// nullfs(5) takes a path, and the kernel looks it up from the working directory: that is how a
    /// directory is named to which no path from `/` leads any more.
    fn show(&self, part: &Path, at: &Path, read_only: bool) -> Result<()> {
        let told = |what: &str, error: nix::Error| Error::io(what, &io::Error::from(error));
        if let Some(root) = &self.root {
            nix::unistd::fchdir(root).map_err(|error| told("go to a directory", error))?;
        }
        let from = match part.as_os_str().is_empty() {
            true => ".".to_owned(),
            false => part.display().to_string(),
        };
        let mounted = sys::mount::nmount("nullfs", &from, at, read_only, &[]);
        nix::unistd::chdir("/").map_err(|error| told("go to /", error))?;
        mounted.map_err(|error| failed(&error))?;
        self.shown.set(true);
        Ok(())
    }
}
