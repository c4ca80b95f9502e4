//! Mounting and unmounting.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Inner;
use super::effects::Effect;
use super::machine::{Damage, Mounted};
use super::paths::{Place, errno};
use crate::host::{Error, FileKind, Kind, Mount, MountRequest, Result, Source};

/// What a mount takes.
const MOUNT: Duration = Duration::from_millis(10);
/// Nothing of this hangs, but a fault can make it.
const LIMIT: Duration = Duration::from_secs(30);

/// What is to be mounted.
struct What {
    fstype: &'static str,
    source: String,
    tree: String,
    below: PathBuf,
    read_only: bool,
}

impl Inner {
    /// nmount(2).
    pub(crate) fn mount(&mut self, request: &MountRequest) -> Result<()> {
        let doing = format!("mount {} on {}", request.source, request.at.display());
        let fail = |number: i32| Error::io(doing.clone(), &errno(number));
        let place = self.mount_point(&request.at).map_err(|error| Error::io(&*doing, &error))?;
        let what = match &request.source {
            Source::Dataset(name) => self.dataset_to_mount(name, &doing)?,
            Source::Ufs(provider) => {
                let what = self.ufs_to_mount(provider, &doing)?;
                self.ufs_allows(&what.tree, request, &doing)?;
                what
            }
            Source::Directory(path) => {
                let from = self.follow(path).map_err(|error| Error::io(&*doing, &error))?;
                let is_directory =
                    self.stat(&from).map_err(|error| Error::io(&*doing, &error))?.kind
                        == FileKind::Directory;
                if !is_directory {
                    return Err(fail(libc::ENOTDIR));
                }
                What {
                    fstype: "nullfs",
                    source: from.path.display().to_string(),
                    tree: from.tree,
                    below: from.below,
                    read_only: from.read_only,
                }
            }
        };
        self.gate_host(
            Effect::new("mount", format!("{} on {}", request.source, request.at.display())),
            LIMIT,
        )?;
        self.machine.uptime += MOUNT;
        if what.fstype == "ufs"
            && !request.read_only
            && let Some(tree) = self.machine.trees.get_mut(&what.tree)
        {
            tree.unclean = true;
        }
        self.mounted(what, place.path, request.read_only);
        Ok(())
    }

    /// The kernel reads the superblock; one that was not unmounted may be looked at only.
    fn ufs_allows(&self, tree: &str, request: &MountRequest, doing: &str) -> Result<()> {
        let Some(tree) = self.machine.trees.get(tree) else { return Ok(()) };
        if tree.damage != Damage::None {
            return Err(Error::io(doing, &errno(libc::EINVAL)));
        }
        if tree.unclean && !request.read_only {
            let at = request.at.display();
            let why = format!("R/W mount on {at} denied. Filesystem is not clean - run fsck.");
            return Err(Error::new(Kind::Refused, doing, why));
        }
        Ok(())
    }

    fn mounted(&mut self, what: What, at: PathBuf, read_only: bool) {
        let mount = Mount {
            fstype: what.fstype.to_owned(),
            source: what.source,
            at,
            read_only: read_only || what.read_only,
        };
        self.machine.mounts.push(Mounted { mount, tree: what.tree, below: what.below });
    }

    /// Shows a directory that somebody has open, by nullfs.
    pub(crate) fn show_held(
        &mut self,
        source: &str,
        (tree, below): (&str, PathBuf),
        at: &Path,
        read_only: bool,
    ) -> Result<()> {
        let doing = format!("mount {source} on {}", at.display());
        let place = self.mount_point(at).map_err(|error| Error::io(&*doing, &error))?;
        if !self.real(tree, &below).is_dir() {
            return Err(Error::io(&*doing, &errno(libc::ENOENT)));
        }
        let effect = Effect::new("mount", format!("{source} on {}", at.display()));
        self.gate_host(effect, LIMIT)?;
        self.machine.uptime += MOUNT;
        let (source, tree) = (source.to_owned(), tree.to_owned());
        let what = What { fstype: "nullfs", source, tree, below, read_only };
        self.mounted(what, place.path, read_only);
        Ok(())
    }

    fn mount_point(&self, at: &Path) -> std::io::Result<Place> {
        let place = self.follow(at)?;
        if self.stat(&place)?.kind != FileKind::Directory {
            return Err(errno(libc::ENOTDIR));
        }
        Ok(place)
    }

    fn dataset_to_mount(&self, name: &str, doing: &str) -> Result<What> {
        let refuse =
            |kind, why: &str| Err(Error::new(kind, doing, format!("cannot mount '{name}': {why}")));
        let of_pool = |pool: &&super::machine::Pool| pool.imported;
        let mut datasets =
            self.machine.pools.iter().filter(of_pool).flat_map(|pool| &pool.datasets);
        let Some(dataset) = datasets.find(|dataset| dataset.name == name) else {
            return refuse(Kind::NotFound, "dataset does not exist");
        };
        if dataset.encrypted && !dataset.key {
            return refuse(Kind::Refused, "encryption key not loaded");
        }
        if self.is_mounted(name) {
            return refuse(Kind::Busy, "filesystem already mounted");
        }
        Ok(What {
            fstype: "zfs",
            source: name.to_owned(),
            tree: dataset.tree.clone(),
            below: PathBuf::new(),
            read_only: false,
        })
    }

    fn ufs_to_mount(&self, name: &str, doing: &str) -> Result<What> {
        let fail = |number| Error::io(doing, &errno(number));
        let provider = self.provider(name).ok_or_else(|| fail(libc::ENOENT))?;
        let part = self.part_of(&provider).filter(|part| part.bsd == provider.inner);
        if part.is_some_and(|part| part.open.is_some()) {
            return Err(fail(libc::EBUSY));
        }
        let part = part.filter(|part| !part.raw);
        let tree = part.and_then(|part| part.tree.clone()).ok_or_else(|| fail(libc::EINVAL))?;
        let is_same = |one: &&Mounted| one.mount.fstype == "ufs" && one.tree == tree;
        if self.machine.mounts.iter().any(|one| is_same(&one)) {
            return Err(fail(libc::EBUSY));
        }
        Ok(What {
            fstype: "ufs",
            source: format!("/dev/{}", provider.name),
            tree,
            below: PathBuf::new(),
            read_only: false,
        })
    }

    /// A new file system in memory.
    pub(crate) fn mount_memory(&mut self, at: &Path, bytes: u64) -> Result<()> {
        let doing = format!("mount tmpfs on {}", at.display());
        let place = self.mount_point(at).map_err(|error| Error::io(&*doing, &error))?;
        self.gate_host(Effect::new("mount", format!("tmpfs on {}", at.display())), LIMIT)?;
        self.machine.uptime += MOUNT;
        let tree = self.memory(bytes).map_err(|error| Error::io(&*doing, &error))?;
        self.show("tmpfs", "tmpfs", &tree, place.path, false);
        Ok(())
    }

    /// An empty file system in memory that nothing shows yet.
    pub(crate) fn memory(&mut self, bytes: u64) -> std::io::Result<String> {
        let tree = format!("memory/{}", self.machine.fresh());
        self.make_tree(&tree, true)?;
        if let Some(tree) = self.machine.trees.get_mut(&tree) {
            tree.capacity = Some(bytes);
        }
        Ok(tree)
    }

    /// Mounts a file system as the kernel does at its start: no effect of ours.
    pub(crate) fn show(
        &mut self,
        fstype: &'static str,
        source: &str,
        tree: &str,
        at: PathBuf,
        read_only: bool,
    ) {
        let what = What {
            fstype,
            source: source.to_owned(),
            tree: tree.to_owned(),
            below: PathBuf::new(),
            read_only,
        };
        self.mounted(what, at, read_only);
    }

    /// unmount(2) of what is seen at `at`.
    pub(crate) fn unmount(&mut self, at: &Path) -> Result<()> {
        let doing = format!("cannot unmount {}", at.display());
        let fail = |number| Error::io(&*doing, &errno(number));
        let place = self.follow(at).map_err(|error| Error::io(&*doing, &error))?;
        let mounts = &self.machine.mounts;
        let Some(index) = mounts.iter().rposition(|one| one.mount.at == place.path) else {
            return Err(fail(libc::EINVAL));
        };
        let on_top = mounts.iter().skip(index + 1);
        let covered = on_top.map(|one| &one.mount.at).any(|other| other.starts_with(&place.path));
        let shown = |one: &Mounted| {
            one.mount.fstype == "nullfs" && {
                let mine = mounts.get(index).map(|mine| &mine.tree);
                mine == Some(&one.tree)
                    && mounts.get(index).is_some_and(|m| m.mount.fstype != "nullfs")
            }
        };
        let in_use = self.machine.in_use.iter().any(|path| path.starts_with(&place.path));
        if covered || in_use || mounts.iter().any(shown) {
            return Err(fail(libc::EBUSY));
        }
        self.gate_host(Effect::on("unmount", at), LIMIT)?;
        self.machine.uptime += MOUNT;
        let gone = self.machine.mounts.remove(index);
        self.leave_clean(&gone);
        if self.machine.mounts.iter().all(|other| other.tree != gone.tree) {
            self.close_tree(&gone.tree).map_err(|error| Error::io(&*doing, &error))?;
        }
        Ok(())
    }

    /// A UFS that is unmounted says so.
    pub(crate) fn leave_clean(&mut self, gone: &Mounted) {
        let tree = self.machine.trees.get_mut(&gone.tree);
        if let Some(tree) = tree.filter(|_| gone.mount.fstype == "ufs" && !gone.mount.read_only) {
            tree.unclean = false;
        }
    }

    /// Nothing shows the file system any more: it is on disk, or it is gone.
    pub(crate) fn close_tree(&mut self, tree: &str) -> std::io::Result<()> {
        self.synced_all(tree);
        if self.machine.trees.get(tree).is_some_and(|tree| tree.memory) {
            self.machine.trees.remove(tree);
            std::fs::remove_dir_all(self.root.join(tree))?;
        }
        Ok(())
    }
}
