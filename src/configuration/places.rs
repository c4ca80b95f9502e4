//! Several trees that are alike, walked once: what each of them has, place by place.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::lists::OURS;
use super::names::Named;
use crate::boot::tree::is_reserved;
use crate::host::{FileKind, Files, Stat, found, why};

/// In `/etc`, and always the image's: it is read before `/cfg` is there.
pub(super) const CONF: &str = "nanozfs.conf";

/// One place, which at least one of the trees has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Below each of the trees.
    pub(super) path: PathBuf,
    /// What each of them has.
    stats: Vec<Option<Stat>>,
}

/// All places.
#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    trees: Vec<PathBuf>,
    /// By path: a directory stands before what is in it.
    pub(super) places: Vec<Place>,
    /// What could not be looked at.
    failed: Vec<Failed>,
}

/// What could not be looked at in one tree.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    tree: usize,
    path: PathBuf,
    /// It is a directory: what is in it is not known.
    inside: bool,
    why: String,
}

impl Failed {
    /// Whether the tree has something at this path is not known.
    pub(super) fn hides(&self, path: &Path) -> bool {
        path.starts_with(&self.path) && !(self.inside && path == self.path)
    }
}

impl Place {
    /// What the tree has here; none, too, when there is no such tree.
    pub(super) fn stat(&self, tree: usize) -> Option<Stat> {
        self.stats.get(tree).copied().flatten()
    }
}

impl Places {
    /// Looks at every place that is meant. What cannot be looked at in one tree is looked at in the
    /// others.
    pub(super) fn walk(files: &dyn Files, trees: Vec<PathBuf>, named: &Named) -> Places {
        let mut places = Places { trees, ..Places::default() };
        let mut open = vec![PathBuf::new()];
        while let Some(directory) = open.pop() {
            places.level(files, named, &directory, &mut open);
        }
        places.places.sort_by(|a, b| a.path.cmp(&b.path));
        places
    }

    /// Where a tree is; nowhere when there is no such tree.
    pub(super) fn tree(&self, tree: usize) -> &Path {
        self.trees.get(tree).map_or(Path::new(""), PathBuf::as_path)
    }

    /// What could not be looked at in one of these trees.
    pub(super) fn failed(&self, trees: &[usize]) -> impl Iterator<Item = &Failed> {
        self.failed.iter().filter(move |failed| trees.contains(&failed.tree))
    }

    /// Where that is, and why.
    pub(super) fn told(&self, failed: &Failed) -> (PathBuf, String) {
        let tree = self.tree(failed.tree);
        let top = failed.path.as_os_str().is_empty();
        (if top { tree.to_owned() } else { tree.join(&failed.path) }, failed.why.clone())
    }

    /// Nobody knows whether one of the trees has something at or below this path.
    pub(super) fn is_unknown(&self, path: &Path) -> bool {
        self.failed.iter().any(|failed| failed.hides(path) || failed.path.starts_with(path))
    }

    /// Looks at one directory, which may be missing in some of the trees.
    fn level(
        &mut self,
        files: &dyn Files,
        named: &Named,
        directory: &Path,
        open: &mut Vec<PathBuf>,
    ) {
        let meant = |name: &OsString| {
            let path = directory.join(name);
            let top = directory.as_os_str().is_empty();
            let ours = top && (name == OURS || name == CONF);
            !ours && !is_reserved(directory, name) && named.leads(&path)
        };
        let has = |tree: &Path| -> io::Result<Vec<(OsString, io::Result<Option<Stat>>)>> {
            if !is_inside(files, tree, directory)? {
                return Ok(Vec::new());
            }
            let place = tree.join(directory);
            let names: Vec<_> = files.list(&place)?.into_iter().filter(meant).collect();
            let stats = files.stat_in(&place, &names).into_iter().map(found);
            Ok(names.iter().cloned().zip(stats).collect())
        };
        let mut of_trees = Vec::new();
        for (tree, top) in self.trees.iter().enumerate() {
            let failed = &mut self.failed;
            let mut fail = |path: PathBuf, inside: bool, error: &io::Error| {
                failed.push(Failed { tree, path, inside, why: why(error) });
            };
            let mut own: Vec<(OsString, Stat)> = Vec::new();
            match has(top) {
                Ok(names) => {
                    for (name, stat) in names {
                        match stat {
                            Ok(Some(stat)) => own.push((name, stat)),
                            // It went since it was listed.
                            Ok(None) => {}
                            Err(error) => fail(directory.join(name), false, &error),
                        }
                    }
                }
                Err(error) => fail(directory.to_owned(), true, &error),
            }
            of_trees.push(own);
        }
        let names: BTreeSet<&OsString> = of_trees.iter().flatten().map(|(name, _)| name).collect();
        for name in names {
            let stat = |tree: &Vec<(OsString, Stat)>| {
                let at = tree.binary_search_by(|(other, _)| other.cmp(name)).ok()?;
                tree.get(at).map(|(_, stat)| *stat)
            };
            let path = directory.join(name);
            let stats: Vec<Option<Stat>> = of_trees.iter().map(stat).collect();
            if stats.iter().flatten().any(|stat| stat.kind == FileKind::Directory) {
                open.push(path.clone());
            }
            self.places.push(Place { path, stats });
        }
    }
}

/// It is a directory of the tree itself; what a link leads to is another tree.
fn is_inside(files: &dyn Files, tree: &Path, directory: &Path) -> io::Result<bool> {
    let above: Vec<_> = directory.ancestors().filter(|one| !one.as_os_str().is_empty()).collect();
    for one in above.into_iter().rev() {
        match files.find(&tree.join(one))? {
            Some(stat) if stat.kind == FileKind::Directory => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}
