//! File systems as they are filled from outside the machine: when a story sets it up, and when the
//! image is copied to memory before any script runs. Nothing here is an effect.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::Inner;
use super::machine::{EPOCH, Node, Tree};
use crate::host::{Attributes, FileKind, Timestamp};

/// What is put into a file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A regular file with this content.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// A link that reads so.
    Link(PathBuf),
    /// Another name of a file in the same directory.
    Name(PathBuf),
    /// A fifo, socket or device node.
    Special(FileKind),
}

/// Owner and mode of root's, at the time when the lab's clock starts.
pub(crate) fn plain(mode: u32) -> Attributes {
    let modified = Timestamp { seconds: EPOCH, nanoseconds: 0 };
    Attributes { mode, uid: 0, gid: 0, modified }
}

/// A file that has not changed since its time was set.
pub(crate) fn fresh(attributes: Attributes) -> Node {
    Node { attributes, changed: attributes.modified, kind: None }
}

/// Copies the directory `from` with everything in it to `to`, which is made.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (kind, target) = (entry.file_type()?, to.join(entry.file_name()));
        if kind.is_dir() {
            copy(&entry.path(), &target)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(entry.path())?, &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}

/// Every path in `top`, below it, parents first, sorted.
pub(crate) fn paths(top: &Path) -> io::Result<Vec<PathBuf>> {
    fn add(top: &Path, below: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
        let here = if below.as_os_str().is_empty() { top.to_path_buf() } else { top.join(below) };
        let mut names: Vec<_> =
            fs::read_dir(here)?.collect::<io::Result<Vec<_>>>()?.into_iter().collect();
        names.sort_by_key(fs::DirEntry::file_name);
        for entry in names {
            let path = below.join(entry.file_name());
            found.push(path.clone());
            if entry.file_type()?.is_dir() {
                add(top, &path, found)?;
            }
        }
        Ok(())
    }
    let mut found = Vec::new();
    add(top, Path::new(""), &mut found)?;
    Ok(found)
}

impl Inner {
    /// Makes the file system `name` with an empty root directory; one that is there stays.
    pub(crate) fn make_tree(&mut self, name: &str, memory: bool) -> io::Result<()> {
        fs::create_dir_all(self.root.join(name))?;
        let tree = self
            .machine
            .trees
            .entry(name.to_owned())
            .or_insert_with(|| Tree { memory, ..Tree::default() });
        tree.nodes.entry(PathBuf::new()).or_insert(fresh(plain(0o755)));
        Ok(())
    }

    /// Puts a thing at `below` in the file system `tree`, with the directories above it; replaces
    /// what was there.
    pub(crate) fn put(
        &mut self,
        tree: &str,
        below: &Path,
        thing: &Thing,
        attributes: Attributes,
    ) -> io::Result<()> {
        let real = self.real(tree, below);
        if let Some(parent) = real.parent() {
            fs::create_dir_all(parent)?;
        }
        let there = fs::symlink_metadata(&real);
        let keep = *thing == Thing::Directory && there.as_ref().is_ok_and(fs::Metadata::is_dir);
        if there.is_ok() && !keep {
            self.take(tree, below)?;
        }
        let mut kind = None;
        match thing {
            Thing::File(content) => fs::write(&real, content)?,
            Thing::Directory if keep => {}
            Thing::Directory => fs::create_dir(&real)?,
            Thing::Link(target) => symlink(target, &real)?,
            Thing::Name(other) => fs::hard_link(real.with_file_name(other), &real)?,
            Thing::Special(special) => {
                kind = Some(*special);
                fs::write(&real, b"")?;
            }
        }
        if let Some(tree) = self.machine.trees.get_mut(tree) {
            if let Thing::File(content) = thing {
                tree.used += content.len() as u64;
            }
            for parent in below.ancestors().skip(1) {
                tree.nodes.entry(parent.to_path_buf()).or_insert(fresh(plain(0o755)));
            }
            tree.nodes.insert(below.to_path_buf(), Node { kind, ..fresh(attributes) });
        }
        Ok(())
    }

    /// Takes away what is at `below`, with everything in it.
    pub(crate) fn take(&mut self, tree: &str, below: &Path) -> io::Result<()> {
        let real = self.real(tree, below);
        let found = fs::symlink_metadata(&real)?;
        if found.is_dir() {
            fs::remove_dir_all(&real)?;
        } else {
            fs::remove_file(&real)?;
        }
        if let Some(tree) = self.machine.trees.get_mut(tree) {
            tree.nodes.retain(|path, _| !path.starts_with(below));
            if found.is_file() {
                tree.used = tree.used.saturating_sub(found.len());
            }
        }
        Ok(())
    }

    /// Copies the directory `from` of one file system into the directory `to` of another, with
    /// owners, modes and times: `cp -Rp`.
    pub(crate) fn copy_tree(
        &mut self,
        (from_tree, from): (&str, &Path),
        (to_tree, to): (&str, &Path),
    ) -> io::Result<()> {
        for path in paths(&self.real(from_tree, from))? {
            let source = self.real(from_tree, &from.join(&path));
            let node = self.node(from_tree, &from.join(&path))?;
            let found = fs::symlink_metadata(&source)?;
            let thing = if let Some(kind) = node.kind {
                Thing::Special(kind)
            } else if found.is_dir() {
                Thing::Directory
            } else if found.is_symlink() {
                Thing::Link(fs::read_link(&source)?)
            } else {
                Thing::File(fs::read(&source)?)
            };
            self.put(to_tree, &to.join(&path), &thing, node.attributes)?;
            let now = self.machine.now();
            let copy = self.machine.trees.get_mut(to_tree);
            if let Some(copy) = copy.and_then(|tree| tree.nodes.get_mut(&to.join(&path))) {
                copy.changed = now;
            }
        }
        Ok(())
    }

    /// What is known about a file; for one that somebody put into the lab's directory by hand,
    /// what its real file says, owned by root.
    pub(crate) fn node(&self, tree: &str, below: &Path) -> io::Result<Node> {
        use std::os::unix::fs::MetadataExt;
        let real = fs::symlink_metadata(self.real(tree, below))?;
        let known = self.machine.trees.get(tree).and_then(|tree| tree.nodes.get(below));
        Ok(known.copied().unwrap_or_else(|| {
            let modified = Timestamp { seconds: real.mtime(), nanoseconds: real.mtime_nsec() };
            let attributes = Attributes { mode: real.mode() & 0o7777, uid: 0, gid: 0, modified };
            let changed = Timestamp { seconds: real.ctime(), nanoseconds: real.ctime_nsec() };
            Node { attributes, changed, kind: None }
        }))
    }
}
