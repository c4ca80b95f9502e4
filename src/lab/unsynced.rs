//! Writes that are not on disk yet, and how they are undone when the power goes.
//!
//! Every change of a file system that outlives a power cut leaves a record here until a sync takes
//! it away: of a file for its content and attributes, of a directory for its entries.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::machine::Node;
use super::{Cut, Inner};

/// Where removed files are kept until their removal is on disk.
const KEPT: &str = "undo";

/// A change that is not on disk yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Unsynced {
    tree: String,
    change: Change,
}

/// What was changed, and how it was before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Change {
    /// A new file got its content.
    Content(PathBuf),
    /// Attributes were set; these were there.
    Attributes(PathBuf, Node),
    /// An entry was made.
    Created(PathBuf),
    /// An entry was removed.
    Removed(PathBuf, Saved),
    /// A new file whose content is on disk is in the place of this one.
    Replaced(PathBuf, Saved),
    /// An entry was moved, and this was in its place.
    Renamed(PathBuf, PathBuf, Option<Saved>),
}

/// A file that was removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Saved {
    number: u64,
    node: Node,
}

impl Change {
    /// The file whose content or attributes it is about.
    fn subject(&self) -> Option<&Path> {
        match self {
            Change::Content(path) | Change::Attributes(path, _) => Some(path),
            _ => None,
        }
    }

    /// The file that it keeps until it is on disk.
    fn saved(&self) -> Option<&Saved> {
        match self {
            Change::Renamed(_, _, saved) => saved.as_ref(),
            Change::Removed(_, saved) | Change::Replaced(_, saved) => Some(saved),
            _ => None,
        }
    }

    /// True when it is about an entry of `directory`.
    fn is_entry_of(&self, directory: &Path) -> bool {
        let inside = |path: &Path| path.parent() == Some(directory);
        match self {
            Change::Created(path) | Change::Removed(path, _) | Change::Replaced(path, _) => {
                inside(path)
            }
            Change::Renamed(from, to, _) => inside(from) || inside(to),
            Change::Content(_) | Change::Attributes(..) => false,
        }
    }
}

/// `path` after `from` became `to`.
fn moved(path: &Path, from: &Path, to: &Path) -> Option<PathBuf> {
    let rest = path.strip_prefix(from).ok()?;
    Some(if rest.as_os_str().is_empty() { to.to_path_buf() } else { to.join(rest) })
}

impl Inner {
    /// Notes a change, unless its file system is in memory.
    pub(crate) fn note(&mut self, tree: &str, change: Change) {
        if self.machine.trees.get(tree).is_some_and(|tree| !tree.memory) {
            self.machine.unsynced.push(Unsynced { tree: tree.to_owned(), change });
        } else {
            self.forget(change.saved());
        }
    }

    /// Removes the real file or empty directory, but keeps it until its removal is on disk.
    pub(crate) fn save(&mut self, tree: &str, below: &Path, node: Node) -> io::Result<Saved> {
        let number = self.machine.fresh();
        let kept = self.root.join(KEPT);
        fs::create_dir_all(&kept)?;
        fs::rename(self.real(tree, below), kept.join(number.to_string()))?;
        Ok(Saved { number, node })
    }

    /// What is at `below` in `tree` is on disk now.
    pub(crate) fn synced(&mut self, tree: &str, below: &Path, is_directory: bool) {
        let mut kept: Vec<Unsynced> = Vec::new();
        let all = std::mem::take(&mut self.machine.unsynced);
        let now = |at: usize, path: &Path| current(&all, at, tree, path);
        let drop: Vec<bool> = all
            .iter()
            .enumerate()
            .map(|(at, record)| {
                let entry = is_directory && record.change.is_entry_of(below);
                let subject = record.change.subject().and_then(|path| now(at, path));
                record.tree == tree && (entry || subject.as_deref() == Some(below))
            })
            .collect();
        for (record, drop) in all.into_iter().zip(drop) {
            if !drop {
                kept.push(record);
                continue;
            }
            self.forget(record.change.saved());
            if let Change::Renamed(from, to, _) = &record.change {
                // What was noted about the file under its old name goes on under the new one.
                // That it was made is on disk with its new name.
                let made =
                    |one: &Unsynced| matches!(&one.change, Change::Created(path) if path == from);
                kept.retain(|one| {
                    one.tree != tree || (one.change.subject() != Some(to) && !made(one))
                });
                for one in kept.iter_mut().filter(|one| one.tree == tree) {
                    if let Change::Content(path)
                    | Change::Attributes(path, _)
                    | Change::Created(path) = &mut one.change
                        && let Some(new) = moved(path, from, to)
                    {
                        *path = new;
                    }
                }
            } else if let Change::Removed(path, _) | Change::Replaced(path, _) = &record.change {
                kept.retain(|one| one.tree != tree || one.change.subject() != Some(path));
            }
        }
        self.machine.unsynced = kept;
    }

    /// Everything in `tree` is on disk now.
    pub(crate) fn synced_all(&mut self, tree: &str) {
        let all = std::mem::take(&mut self.machine.unsynced);
        let (gone, kept): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.tree == tree);
        self.machine.unsynced = kept;
        for one in gone {
            self.forget(one.change.saved());
        }
    }

    fn forget(&self, saved: Option<&Saved>) {
        if let Some(saved) = saved {
            let path = self.root.join(KEPT).join(saved.number.to_string());
            if fs::remove_file(&path).is_err() && fs::remove_dir(&path).is_err() {
                log::debug!("lab: {} is gone already", path.display());
            }
        }
    }

    /// The power has gone: what becomes of everything that was not on disk.
    ///
    /// # Errors
    ///
    /// When the lab's directory cannot be written to.
    pub(crate) fn lose(&mut self, cut: Cut) -> io::Result<()> {
        let all = std::mem::take(&mut self.machine.unsynced);
        let number = self.run.done.len() as u64 + self.machine.seed;
        let of_files = match cut {
            Cut::Reordered if number.is_multiple_of(2) => Cut::Lost,
            Cut::Reordered => Cut::Kept,
            other => other,
        };
        match of_files {
            Cut::Kept | Cut::Reordered => {}
            Cut::Torn => {
                for (at, one) in all.iter().enumerate() {
                    if let Change::Content(path) = &one.change
                        && let Some(path) = current(&all, at, &one.tree, path)
                    {
                        // Both happen: the length is not there yet, or the length is and the
                        // content is not.
                        let length = self.length(&one.tree, &path);
                        self.shorten(&one.tree, &path, |length| length / 2)?;
                        if (at + self.run.done.len()) % 2 == 1 {
                            self.shorten(&one.tree, &path, |_| length)?;
                        }
                    }
                }
            }
            Cut::Lost => {
                for one in all.iter().rev() {
                    self.undo(&one.tree, &one.change)?;
                }
            }
        }
        self.lose_cache(cut)?;
        let kept = self.root.join(KEPT);
        if kept.is_dir() { fs::remove_dir_all(kept) } else { Ok(()) }
    }

    fn length(&self, tree: &str, path: &Path) -> u64 {
        fs::symlink_metadata(self.real(tree, path)).map_or(0, |found| found.len())
    }

    /// Gives a regular file another length; what is added is zeroes.
    fn shorten(&self, tree: &str, path: &Path, to: impl Fn(u64) -> u64) -> io::Result<()> {
        let real = self.real(tree, path);
        match fs::symlink_metadata(&real) {
            Ok(found) if found.is_file() => {
                fs::OpenOptions::new().write(true).open(&real)?.set_len(to(found.len()))
            }
            _ => Ok(()),
        }
    }

    fn undo(&mut self, tree: &str, change: &Change) -> io::Result<()> {
        match change {
            Change::Content(path) => self.shorten(tree, path, |_| 0),
            Change::Attributes(path, before) => {
                if let Some(tree) = self.machine.trees.get_mut(tree) {
                    tree.nodes.insert(path.clone(), *before);
                }
                Ok(())
            }
            Change::Created(path) => self.take(tree, path),
            Change::Removed(path, saved) => self.restore(tree, path, saved),
            Change::Replaced(path, saved) => {
                self.take(tree, path)?;
                self.restore(tree, path, saved)
            }
            Change::Renamed(from, to, replaced) => {
                fs::rename(self.real(tree, to), self.real(tree, from))?;
                self.move_nodes(tree, to, from);
                match replaced {
                    Some(saved) => self.restore(tree, to, saved),
                    None => Ok(()),
                }
            }
        }
    }

    fn restore(&mut self, tree: &str, path: &Path, saved: &Saved) -> io::Result<()> {
        let kept = self.root.join(KEPT).join(saved.number.to_string());
        let real = self.real(tree, path);
        // The removal of its directory is on disk, and so is its own.
        if !real.parent().is_some_and(Path::is_dir) {
            return Ok(());
        }
        fs::rename(kept, real)?;
        if let Some(tree) = self.machine.trees.get_mut(tree) {
            tree.nodes.insert(path.to_path_buf(), saved.node);
        }
        Ok(())
    }

    /// What is known about `from` and everything below it is from now on known about `to`.
    pub(crate) fn move_nodes(&mut self, tree: &str, from: &Path, to: &Path) {
        if let Some(tree) = self.machine.trees.get_mut(tree) {
            let all = std::mem::take(&mut tree.nodes);
            let moved = |path: PathBuf| moved(&path, from, to).unwrap_or(path);
            tree.nodes = all
                .into_iter()
                .filter(|(path, _)| !path.starts_with(to))
                .map(|(path, node)| (moved(path), node))
                .collect();
        }
    }
}

/// What the file that record `at` calls `path` is called now; none when it is gone.
fn current(all: &[Unsynced], at: usize, tree: &str, path: &Path) -> Option<PathBuf> {
    let mut path = path.to_path_buf();
    for later in all.iter().skip(at + 1).filter(|one| one.tree == tree) {
        match &later.change {
            Change::Renamed(from, to, _) => {
                if let Some(new) = moved(&path, from, to) {
                    path = new;
                } else if path == *to {
                    return None;
                }
            }
            Change::Removed(gone, _) | Change::Replaced(gone, _) if path == *gone => return None,
            _ => {}
        }
    }
    Some(path)
}
