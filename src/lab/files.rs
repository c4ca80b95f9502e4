//! The machine's files: real files in the lab's directory, seen through its mounts.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::effects::Effect;
use super::machine::Node;
use super::paths::{Place, errno};
use super::tree::fresh;
use super::unsynced::Change;
use super::{Inner, Lab};
use crate::host::{Attributes, FileKind, Files, RealFiles, Stat};

/// Free space of a file system that has no limit of its own.
pub(crate) const ROOMY: u64 = 1 << 30;

impl Files for Lab {
    fn stat(&self, path: &Path) -> io::Result<Stat> {
        let inner = self.lock();
        let place = inner.place(path)?;
        inner.stat(&place)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let inner = self.lock();
        RealFiles.list(&inner.follow(directory)?.real)
    }

    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        let inner = self.lock();
        let real = inner.regular(path)?;
        RealFiles.read(&real, limit)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        RealFiles.read_link(&self.lock().place(path)?.real)
    }

    fn same_content(&self, one: &Path, other: &Path) -> io::Result<bool> {
        let inner = self.lock();
        let (one, other) = (inner.regular(one)?, inner.regular(other)?);
        RealFiles.same_content(&one, &other)
    }

    fn free_space(&self, path: &Path) -> io::Result<u64> {
        let inner = self.lock();
        let place = inner.follow(path)?;
        let tree = inner.machine.trees.get(&place.tree).ok_or_else(|| errno(libc::ENOENT))?;
        let own = tree.capacity.map_or(ROOMY, |capacity| capacity.saturating_sub(tree.used));
        Ok(own.min(inner.room_in_pool(&place.tree)))
    }

    fn create(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        self.lock().make_file("create", path, content)
    }

    fn copy(&self, source: &Path, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let mut inner = self.lock();
        let content = fs::read(inner.regular(source)?)?;
        inner.make_file("copy", path, &content)?;
        drop(inner);
        self.set_attributes(path, attributes).inspect_err(|_| {
            // As the real one: a file that could not be finished does not stay.
            let _ = self.remove_file(path);
        })
    }

    fn set_attributes(&self, path: &Path, attributes: &Attributes) -> io::Result<()> {
        let mut inner = self.lock();
        let place = inner.writable(path)?;
        let before = inner.node(&place.tree, &place.below)?;
        inner.gate_io(Effect::on("attributes", path))?;
        let mut attributes = *attributes;
        if inner.stat(&place)?.kind == FileKind::Link {
            attributes.mode = before.attributes.mode;
        }
        inner.note(&place.tree, Change::Attributes(place.below.clone(), before));
        let changed = inner.machine.now();
        inner.know(&place, Node { attributes, changed, kind: before.kind });
        Ok(())
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let place = inner.follow(path)?;
        let is_directory = inner.stat(&place)?.kind == FileKind::Directory;
        inner.gate_io(Effect::on("sync", path))?;
        inner.synced(&place.tree, &place.below, is_directory);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let (from_place, to_place) = (inner.writable(from)?, inner.writable(to)?);
        let kind = inner.stat(&from_place)?.kind;
        if from_place.tree != to_place.tree {
            return Err(errno(libc::EXDEV));
        }
        if inner.is_mount_point(&from_place) || inner.is_mount_point(&to_place) {
            return Err(errno(libc::EBUSY));
        }
        let there = match inner.stat(&to_place) {
            Ok(there) => Some(there),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        match there.map(|there| there.kind == FileKind::Directory) {
            Some(true) if kind != FileKind::Directory => return Err(errno(libc::EISDIR)),
            Some(false) if kind == FileKind::Directory => return Err(errno(libc::ENOTDIR)),
            Some(true) if fs::read_dir(&to_place.real)?.next().is_some() => {
                return Err(errno(libc::ENOTEMPTY));
            }
            _ => {}
        }
        inner.gate_io(Effect::on("rename", to))?;
        let replaced = match there {
            Some(there) => {
                let node = inner.node(&to_place.tree, &to_place.below)?;
                inner.use_space(&to_place.tree, 0, there.size);
                Some(inner.save(&to_place.tree, &to_place.below, node)?)
            }
            None => None,
        };
        fs::rename(&from_place.real, &to_place.real)?;
        inner.move_nodes(&to_place.tree, &from_place.below, &to_place.below);
        if let Ok(node) = inner.node(&to_place.tree, &to_place.below) {
            let changed = inner.machine.now();
            inner.know(&to_place, Node { changed, ..node });
        }
        inner.touch_parent(&from_place);
        inner.touch_parent(&to_place);
        let change = Change::Renamed(from_place.below, to_place.below, replaced);
        inner.note(&to_place.tree, change);
        Ok(())
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let place = inner.vacant(path)?;
        inner.gate_io(Effect::on("link", path))?;
        RealFiles.symlink(target, &place.real)?;
        inner.made(&place, 0o755);
        Ok(())
    }

    fn make_directory(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let place = inner.vacant(path)?;
        inner.gate_io(Effect::on("mkdir", path))?;
        fs::create_dir(&place.real)?;
        inner.made(&place, 0o755);
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let place = inner.writable(path)?;
        let stat = inner.stat(&place)?;
        if stat.kind == FileKind::Directory {
            return Err(errno(libc::EISDIR));
        }
        inner.gate_io(Effect::on("remove", path))?;
        inner.use_space(&place.tree, 0, stat.size);
        inner.removed(&place)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        let mut inner = self.lock();
        let place = inner.writable(path)?;
        if inner.stat(&place)?.kind != FileKind::Directory {
            return Err(errno(libc::ENOTDIR));
        }
        if fs::read_dir(&place.real)?.next().is_some() {
            return Err(errno(libc::ENOTEMPTY));
        }
        if inner.is_mount_point(&place) {
            return Err(errno(libc::EBUSY));
        }
        inner.gate_io(Effect::on("rmdir", path))?;
        inner.removed(&place)
    }
}

impl Inner {
    /// lstat(2) of a place.
    pub(crate) fn stat(&self, place: &Place) -> io::Result<Stat> {
        let real = RealFiles.stat(&place.real)?;
        let node = self.node(&place.tree, &place.below)?;
        let kind = node.kind.unwrap_or(real.kind);
        let size = if kind == FileKind::File { real.size } else { 0 };
        Ok(Stat { kind, attributes: node.attributes, size, changed: node.changed })
    }

    /// The real file of a regular one; EINVAL for what must not be opened.
    fn regular(&self, path: &Path) -> io::Result<PathBuf> {
        let place = self.place(path)?;
        match self.stat(&place)?.kind {
            FileKind::File => Ok(place.real),
            FileKind::Directory => Err(errno(libc::EISDIR)),
            FileKind::Link => Err(errno(libc::ELOOP)),
            _ => Err(errno(libc::EINVAL)),
        }
    }

    fn writable(&self, path: &Path) -> io::Result<Place> {
        let place = self.place(path)?;
        if place.read_only {
            return Err(errno(libc::EROFS));
        }
        Ok(place)
    }

    fn vacant(&self, path: &Path) -> io::Result<Place> {
        let place = self.place(path)?;
        if fs::symlink_metadata(&place.real).is_ok() {
            return Err(errno(libc::EEXIST));
        }
        if place.read_only {
            return Err(errno(libc::EROFS));
        }
        Ok(place)
    }

    fn make_file(&mut self, verb: &'static str, path: &Path, content: &[u8]) -> io::Result<()> {
        let place = self.vacant(path)?;
        self.gate_io(Effect::on(verb, path))?;
        if !self.has_room(&place.tree, content.len() as u64) {
            return Err(errno(libc::ENOSPC));
        }
        RealFiles.create(&place.real, content)?;
        self.use_space(&place.tree, content.len() as u64, 0);
        self.made(&place, 0o600);
        self.note(&place.tree, Change::Content(place.below));
        Ok(())
    }

    fn has_room(&self, tree: &str, more: u64) -> bool {
        let limit = self.machine.trees.get(tree).and_then(|tree| Some((tree.capacity?, tree.used)));
        let fits = |(capacity, used): (u64, u64)| used.saturating_add(more) <= capacity;
        limit.is_none_or(fits) && more <= self.room_in_pool(tree)
    }

    fn use_space(&mut self, tree: &str, more: u64, less: u64) {
        if let Some(tree) = self.machine.trees.get_mut(tree) {
            tree.used = tree.used.saturating_add(more).saturating_sub(less);
        }
    }

    fn know(&mut self, place: &Place, node: Node) {
        if let Some(tree) = self.machine.trees.get_mut(&place.tree) {
            tree.nodes.insert(place.below.clone(), node);
        }
    }

    /// A new entry is there, root's, of now.
    pub(crate) fn made(&mut self, place: &Place, mode: u32) {
        let attributes = Attributes { mode, uid: 0, gid: 0, modified: self.machine.now() };
        self.know(place, fresh(attributes));
        self.touch_parent(place);
        self.note(&place.tree, Change::Created(place.below.clone()));
    }

    fn removed(&mut self, place: &Place) -> io::Result<()> {
        let node = self.node(&place.tree, &place.below)?;
        let saved = self.save(&place.tree, &place.below, node)?;
        if let Some(tree) = self.machine.trees.get_mut(&place.tree) {
            tree.nodes.remove(&place.below);
        }
        self.touch_parent(place);
        self.note(&place.tree, Change::Removed(place.below.clone(), saved));
        Ok(())
    }

    /// A directory's time changes when its entries do.
    fn touch_parent(&mut self, place: &Place) {
        let now = self.machine.now();
        let tree = self.machine.trees.get_mut(&place.tree);
        if let (Some(tree), Some(parent)) = (tree, place.below.parent())
            && let Some(node) = tree.nodes.get_mut(parent)
        {
            node.attributes.modified = now;
        }
    }

    fn is_mount_point(&self, place: &Place) -> bool {
        self.machine.mounts.iter().any(|mounted| mounted.mount.at == place.path)
    }
}
