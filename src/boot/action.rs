//! What a boot does to the machine, as values: decided, shown and done are the same thing.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::replace;
use crate::host::{Database, Host, MountRequest, Result};

/// One action on the machine. Files are laid by [`super::overlay`] and [`super::tree`], which have
/// thousands of them and their own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Mounts something.
    Mount(MountRequest),
    /// Mounts a memory file system of `bytes` at `at`.
    MountMemory {
        /// The mount point.
        at: PathBuf,
        /// Its size.
        bytes: u64,
    },
    /// Unmounts what is at a directory.
    Unmount(PathBuf),
    /// Has a file system that is not mounted checked and put right, asking nobody.
    Repair {
        /// What it is on.
        provider: String,
        /// Given up after this long.
        limit: Duration,
    },
    /// Sets a user property of a dataset.
    SetProperty {
        /// The dataset.
        dataset: String,
        /// The property.
        name: &'static str,
        /// Its value.
        value: String,
    },
    /// Rebuilds a database in `/etc`.
    Rebuild(Database),
    /// Makes a symbolic link.
    Link {
        /// Where.
        at: PathBuf,
        /// What it reads.
        target: PathBuf,
    },
    /// Puts a symbolic link in the place of another, in one step.
    Relink {
        /// Where.
        at: PathBuf,
        /// What it reads.
        target: PathBuf,
    },
    /// Makes a directory.
    MakeDirectory(PathBuf),
    /// Removes an empty directory.
    RemoveDirectory(PathBuf),
    /// Renames, in one step.
    Rename {
        /// The old name.
        from: PathBuf,
        /// The new one.
        to: PathBuf,
    },
}

impl Action {
    /// Does it.
    pub fn perform(&self, host: &dyn Host) -> Result<()> {
        let files = host.files();
        let done = match self {
            Action::Mount(request) => return host.mount(request),
            Action::MountMemory { at, bytes } => return host.mount_memory(at, *bytes),
            Action::Unmount(at) => return host.unmount(at),
            Action::Repair { provider, limit } => {
                return host.drives().repair_volume(provider, *limit);
            }
            Action::SetProperty { dataset, name, value } => {
                return host.set_property(dataset, name, value);
            }
            Action::Rebuild(database) => return host.rebuild(*database),
            Action::Link { at, target } => files.symlink(target, at),
            Action::Relink { at, target } => replace::link(files, target, at),
            Action::MakeDirectory(path) => files.make_directory(path),
            Action::RemoveDirectory(path) => files.remove_directory(path),
            Action::Rename { from, to } => files.rename(from, to),
        };
        done.map_err(|error| crate::host::Error::io(self.to_string(), &error))
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Mount(request) => {
                let how = if request.read_only { ", read-only" } else { "" };
                write!(f, "mount {} on {}{how}", request.source, request.at.display())
            }
            Action::MountMemory { at, bytes } => {
                write!(f, "mount {} of memory on {}", megabytes(*bytes), at.display())
            }
            Action::Repair { provider, .. } => {
                write!(f, "check and repair {provider}: fsck_ffs -p -f /dev/{provider}")
            }
            Action::Unmount(at) => write!(f, "unmount {}", at.display()),
            Action::SetProperty { dataset, name, value } => {
                write!(f, "set {name}={value} on {dataset}")
            }
            Action::Rebuild(database) => {
                write!(f, "rebuild {} from /etc/{}", database.files().join(", "), database.text())
            }
            Action::Link { at, target } | Action::Relink { at, target } => {
                write!(f, "make the link {} to {}", at.display(), target.display())
            }
            Action::MakeDirectory(path) => write!(f, "make the directory {}", path.display()),
            Action::RemoveDirectory(path) => {
                write!(f, "remove the empty directory {}", path.display())
            }
            Action::Rename { from, to } => {
                write!(f, "rename {} to {}", from.display(), to.display())
            }
        }
    }
}

/// A size as people say it.
pub fn megabytes(bytes: u64) -> String {
    format!("{} MB", bytes.div_ceil(1 << 20))
}
