//! Snapshots that record something, and `.zfs/snapshot`, where a mounted dataset shows its own.

use std::path::{Component, Path, PathBuf};

use super::Inner;
use super::files::ROOMY;
use super::machine::{Mounted, Pool};
use super::paths::errno;
use super::pools::LIST_LIMIT;
use crate::format::zfs::{self, Property};
use crate::host::{Error, Kind, Result};

/// With less room in a pool than this no snapshot can be taken.
const FULL: u64 = 64 << 10;

impl Inner {
    /// `zfs snapshot -o`: one transaction.
    pub(crate) fn zfs_record(&mut self, name: &str, notes: &[(String, String)]) -> Result<()> {
        self.zfs_snapshot(&[name.to_owned()])?;
        let (dataset, own) = name.split_once('@').unwrap_or((name, ""));
        let found = self.machine.open_mut(dataset);
        let taken = found.and_then(|one| one.snapshots.iter_mut().find(|one| one.name == own));
        if let Some(taken) = taken {
            taken.local.extend(notes.iter().cloned());
        }
        Ok(())
    }

    /// `zfs get -t snapshot -s local`.
    pub(crate) fn zfs_notes(&mut self, dataset: &str, names: &[&str]) -> Result<Vec<Property>> {
        let doing = format!("/sbin/zfs get -Hp -d 1 -t snapshot {} {dataset}", names.join(","));
        let Some(found) = self.machine.open(dataset) else {
            let why = format!("cannot open '{dataset}': dataset does not exist");
            return Err(Error::new(Kind::NotFound, doing, why));
        };
        let mut text = String::new();
        for taken in &found.snapshots {
            for (name, value) in &taken.local {
                if names.contains(&name.as_str()) {
                    text.push_str(&format!("{dataset}@{}\t{name}\t{value}\tlocal\n", taken.name));
                }
            }
        }
        let text = self.answer("zfs", &doing, LIST_LIMIT, text)?;
        zfs::parse_get(&text).map_err(|error| Error::new(Kind::Nonsense, doing, error.to_string()))
    }

    /// Where `below` a mounted dataset is, when that is in `.zfs`: a file system and a path in it.
    /// The directories above the snapshots are shown as the dataset's own, which nobody lists.
    pub(crate) fn in_snapshot(
        &self,
        mounted: &Mounted,
        below: &Path,
    ) -> std::io::Result<Option<(String, PathBuf)>> {
        let mut parts = below.components().map(Component::as_os_str);
        if mounted.mount.fstype != "zfs" || parts.next().is_none_or(|part| part != ".zfs") {
            return Ok(None);
        }
        match (parts.next(), parts.next()) {
            (None, _) => Ok(Some((mounted.tree.clone(), PathBuf::new()))),
            (Some(part), None) if part == "snapshot" => {
                Ok(Some((mounted.tree.clone(), PathBuf::new())))
            }
            (Some(part), Some(name)) if part == "snapshot" => {
                let found = self.machine.open(&mounted.mount.source);
                let all = found.map(|one| one.snapshots.as_slice()).unwrap_or_default();
                let taken = all.iter().find(|one| *name == *one.name);
                let taken = taken.ok_or_else(|| errno(libc::ENOENT))?;
                Ok(Some((taken.tree.clone(), parts.collect())))
            }
            _ => Err(errno(libc::ENOENT)),
        }
    }

    /// What can still be written to this file system, as far as its pool goes.
    pub(crate) fn room_in_pool(&self, tree: &str) -> u64 {
        let has = |pool: &&Pool| pool.datasets.iter().any(|one| one.tree == tree);
        self.machine.pools.iter().find(has).map_or(ROOMY, Pool::free)
    }

    /// A pool that is full takes no snapshot.
    pub(crate) fn is_full(&self, dataset: &str) -> bool {
        let pool = dataset.split(['/', '@']).next();
        let pools = self.machine.pools.iter();
        pools.filter(|one| Some(one.name.as_str()) == pool).any(|pool| pool.free() < FULL)
    }
}
