//! From a path on the machine to the file in the lab's directory that stands for it.
//!
//! Mounts cover what is below them, the last one made first. Symbolic links are followed within the
//! machine: an absolute one starts again at the machine's own `/`.

use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Inner;
use super::machine::Mounted;

/// As many symbolic links as the kernel follows in one path (MAXSYMLINKS).
const MOST_LINKS: usize = 32;

/// Where a path leads.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The path on the machine, without any link in it.
    pub(crate) path: PathBuf,
    /// The file system, a key of the machine's trees.
    pub(crate) tree: String,
    /// The path within the file system.
    pub(crate) below: PathBuf,
    /// The real file.
    pub(crate) real: PathBuf,
    /// It is on a file system that cannot be written to.
    pub(crate) read_only: bool,
}

/// The error with this errno(2).
pub(crate) fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl Inner {
    /// Where `path` leads; a link in the last component is not followed, and nothing need be there.
    pub(crate) fn place(&self, path: &Path) -> io::Result<Place> {
        self.walk(path, false)
    }

    /// Where `path` leads when a link in the last component is followed, too.
    pub(crate) fn follow(&self, path: &Path) -> io::Result<Place> {
        self.walk(path, true)
    }

    /// The file system that is seen at `path`, a path without links.
    pub(crate) fn covering(&self, path: &Path) -> Option<&Mounted> {
        self.machine.mounts.iter().rev().find(|mounted| path.starts_with(&mounted.mount.at))
    }

    /// The real file for `below` in the file system `tree`.
    pub(crate) fn real(&self, tree: &str, below: &Path) -> PathBuf {
        let top = self.root.join(tree);
        if below.as_os_str().is_empty() { top } else { top.join(below) }
    }

    fn at(&self, path: PathBuf) -> io::Result<Place> {
        let mounted = self.covering(&path).ok_or_else(|| errno(libc::ENXIO))?;
        let rest = path.strip_prefix(&mounted.mount.at).map_err(|_| errno(libc::EINVAL))?;
        let below = mounted.below.join(rest);
        let (tree, below, read_only) = match self.in_snapshot(mounted, &below)? {
            Some((tree, below)) => (tree, below, true),
            None => (mounted.tree.clone(), below, mounted.mount.read_only),
        };
        Ok(Place { real: self.real(&tree, &below), tree, below, read_only, path })
    }

    fn walk(&self, path: &Path, follow_last: bool) -> io::Result<Place> {
        let mut here = PathBuf::from("/");
        let mut names = Vec::new();
        push(&mut names, path);
        let mut links = 0;
        while let Some(name) = names.pop() {
            if name == OsStr::new("..") {
                here.pop();
                continue;
            }
            let place = self.at(here.join(&name))?;
            let last = names.is_empty();
            if last && !follow_last {
                return Ok(place);
            }
            let found = std::fs::symlink_metadata(&place.real)?;
            if found.is_symlink() {
                links += 1;
                if links > MOST_LINKS {
                    return Err(errno(libc::ELOOP));
                }
                let target = std::fs::read_link(&place.real)?;
                if target.is_absolute() {
                    here = PathBuf::from("/");
                }
                push(&mut names, &target);
            } else if found.is_dir() {
                here = place.path;
            } else if last {
                return Ok(place);
            } else {
                return Err(errno(libc::ENOTDIR));
            }
        }
        self.at(here)
    }
}

/// Puts the names in `path` on the stack, the first on top.
fn push(names: &mut Vec<OsString>, path: &Path) {
    let parts = path.components().rev().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_os_string()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    });
    names.extend(parts);
}
