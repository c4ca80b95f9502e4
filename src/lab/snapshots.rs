//! Snapshots and clones of the lab machine's datasets, as OpenZFS does them.
//!
//! Every transaction is one effect, and brings to disk what was written to its pool before. A clone
//! with properties is two transactions, and so is a new dataset with properties: ZFS makes it, then
//! sets them, and takes it back when that fails.

mod destroy;
mod list;

use std::io;
use std::path::Path;
use std::time::Duration;

use super::effects::Effect;
use super::machine::{Dataset, Pool, Snapshot as Taken};
use super::{Inner, Lab, tree};
use crate::format::zfs::{Property, Snapshot};
use crate::host::{Error, Kind, Result, Snapshots};

/// What a transaction takes.
const TRANSACTION: Duration = Duration::from_millis(60);
/// With less room in a pool than this nothing can be made in it.
const FULL: u64 = 256 << 10;
/// Given up after this long.
const LIMIT: Duration = Duration::from_secs(60);

type Properties = [(String, String)];

impl Snapshots for Lab {
    fn list(&self, root: &str) -> Result<Vec<Snapshot>> {
        self.lock().zfs_list_snapshots(root)
    }

    fn take(&self, snapshots: &[String]) -> Result<()> {
        self.lock().zfs_snapshot(snapshots)
    }

    fn record(&self, snapshot: &str, notes: &Properties) -> Result<()> {
        self.lock().zfs_record(snapshot, notes)
    }

    fn notes(&self, dataset: &str, names: &[&str]) -> Result<Vec<Property>> {
        self.lock().zfs_notes(dataset, names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.lock().zfs_rename(from, to)
    }

    fn clone_to(&self, snapshot: &str, dataset: &str, properties: &Properties) -> Result<()> {
        self.lock().zfs_clone(snapshot, dataset, properties)
    }

    fn promote(&self, dataset: &str) -> Result<()> {
        self.lock().zfs_promote(dataset)
    }

    fn create(&self, dataset: &str, properties: &Properties) -> Result<()> {
        self.lock().zfs_create(dataset, properties)
    }

    fn properties(&self, root: &str) -> Result<Vec<Property>> {
        self.lock().zfs_get(root)
    }

    fn destroy(&self, name: &str) -> Result<()> {
        self.lock().zfs_destroy(name)
    }
}

/// A zfs(8) command that is being run.
struct Command(String);

impl Command {
    /// It fails with these words.
    fn fails<T>(&self, words: impl Into<String>) -> Result<T> {
        let words = words.into();
        let kind = match &words {
            text if text.contains("does not exist") => Kind::NotFound,
            text if text.contains("is busy") => Kind::Busy,
            _ => Kind::Refused,
        };
        Err(Error::new(kind, &self.0, words))
    }

    fn missing<T>(&self, name: &str) -> Result<T> {
        self.fails(format!("cannot open '{name}': dataset does not exist"))
    }

    fn told<T>(&self, result: io::Result<T>) -> Result<T> {
        result.map_err(|error| Error::io(&self.0, &error))
    }
}

/// `name` with `from` at its front, or as all of it, replaced by `to`.
fn renamed(name: &str, from: &str, to: &str) -> Option<String> {
    let rest = name.strip_prefix(from)?;
    (rest.is_empty() || rest.starts_with(['/', '@'])).then(|| format!("{to}{rest}"))
}

fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Inner {
    /// zfs(8) is run with these arguments.
    fn zfs(&mut self, arguments: &str) -> Result<Command> {
        let doing = format!("/sbin/zfs {arguments}");
        match self.program("zfs") {
            None => Ok(Command(doing)),
            Some(how) => Err(self.failed(&how, &doing, LIMIT)),
        }
    }

    /// A transaction is about to happen.
    fn transaction(&mut self, verb: &'static str, object: &str) -> Result<()> {
        self.gate_host(Effect::new(verb, object), LIMIT)?;
        self.machine.uptime += TRANSACTION;
        Ok(())
    }

    /// A transaction of this dataset's pool has happened: what was written before is on disk.
    pub(crate) fn transacted(&mut self, name: &str) {
        let trees: Vec<String> = match self.pool_of(name) {
            Some(pool) => pool.datasets.iter().map(|one| one.tree.clone()).collect(),
            None => return,
        };
        trees.iter().for_each(|tree| self.synced_all(tree));
    }

    fn pool_of(&mut self, name: &str) -> Option<&mut Pool> {
        let pool = name.split(['/', '@']).next()?;
        self.machine.pools.iter_mut().find(|one| one.imported && one.name == pool)
    }

    /// A copy of the files in `from`, as they are now.
    fn copy_of(&mut self, from: &str) -> io::Result<String> {
        let store = Path::new(from).parent().unwrap_or(Path::new(""));
        let name = store.join(format!("={}", self.machine.fresh())).display().to_string();
        tree::copy(&self.root.join(from), &self.root.join(&name))?;
        let copy = self.machine.trees.get(from).cloned().unwrap_or_default();
        self.machine.trees.insert(name.clone(), copy);
        Ok(name)
    }

    /// Forgets these file systems.
    pub(crate) fn drop_trees(&mut self, trees: &[String]) -> io::Result<()> {
        for tree in trees {
            self.synced_all(tree);
            self.machine.trees.remove(tree);
            std::fs::remove_dir_all(self.root.join(tree))?;
        }
        Ok(())
    }

    pub(crate) fn zfs_snapshot(&mut self, names: &[String]) -> Result<()> {
        let command = self.zfs(&format!("snapshot {}", names.join(" ")))?;
        for name in names {
            let (dataset, own) = name.split_once('@').unwrap_or((name, ""));
            let Some(found) = self.machine.open(dataset) else {
                return command.missing(dataset);
            };
            if found.snapshots.iter().any(|one| one.name == own) {
                let words = format!("cannot create snapshot '{name}': dataset already exists");
                return command.fails(words);
            }
        }
        if names.iter().any(|name| self.is_full(name)) {
            let first = names.first().map_or("", String::as_str);
            return command.fails(format!("cannot create snapshot '{first}': out of space"));
        }
        self.transaction("zfs snapshot", &names.join(" "))?;
        command.told(self.snapshot(names))
    }

    /// Takes snapshots, of pools that are imported or not.
    pub(crate) fn snapshot(&mut self, names: &[String]) -> io::Result<()> {
        for name in names {
            let missing = || io::Error::other(format!("there is no dataset for {name}"));
            let (dataset, own) = name.split_once('@').ok_or_else(missing)?;
            let tree = self.machine.dataset(dataset).ok_or_else(missing)?.tree.clone();
            let taken = self.machine.now().seconds;
            let local = Default::default();
            let taken = Taken { name: own.to_owned(), taken, local, tree: self.copy_of(&tree)? };
            let all = self.machine.pools.iter_mut().flat_map(|pool| &mut pool.datasets);
            if let Some(found) = all.into_iter().find(|one| one.tree == tree) {
                found.snapshots.push(taken);
            }
            self.transacted(dataset);
        }
        Ok(())
    }

    /// Refuses a name that is there, or that has no parent, and when there is no room.
    fn can_be_made(&mut self, command: &Command, name: &str) -> Result<()> {
        self.vacant_dataset(command, &format!("create '{name}'"), name)?;
        match self.pool_of(name).is_some_and(|pool| pool.free() < FULL) {
            true => command.fails(format!("cannot create '{name}': out of space")),
            false => Ok(()),
        }
    }

    /// Refuses a name that is there, or that has no parent.
    fn vacant_dataset(&self, command: &Command, doing: &str, name: &str) -> Result<()> {
        if self.machine.open(parent(name)).is_none() {
            return command.fails(format!("cannot create '{name}': parent does not exist"));
        }
        if self.machine.open(name).is_some() {
            return command.fails(format!("cannot {doing}: dataset already exists"));
        }
        Ok(())
    }

    fn zfs_rename(&mut self, from: &str, to: &str) -> Result<()> {
        let command = self.zfs(&format!("rename -u {from} {to}"))?;
        if self.machine.open(from).is_none() {
            return command.missing(from);
        }
        self.vacant_dataset(&command, &format!("rename '{from}'"), to)?;
        if renamed(to, from, "").is_some() {
            let why = "New dataset name cannot be a descendant of current dataset name";
            return command.fails(format!("cannot rename to '{to}': {why}"));
        }
        let pool = self.pool_of(from).map(|pool| &*pool);
        let jailed = |pool: &Pool| {
            let mut below =
                pool.datasets.iter().filter(|one| renamed(&one.name, from, "").is_some());
            below.any(|one| pool.setting(&one.name, "jailed").is_some_and(|(_, on)| on == "on"))
        };
        if pool.is_some_and(jailed) {
            let why = "child dataset with inherited mountpoint is used in a non-global zone";
            return command.fails(format!("cannot rename '{from}': {why}"));
        }
        self.transaction("zfs rename", &format!("{from} to {to}"))?;
        let change = |name: &mut String| {
            if let Some(new) = renamed(name, from, to) {
                *name = new;
            }
        };
        if let Some(pool) = self.pool_of(from) {
            for dataset in &mut pool.datasets {
                change(&mut dataset.name);
                dataset.origin.iter_mut().for_each(change);
            }
            pool.sort();
        }
        for mounted in self.machine.mounts.iter_mut().filter(|one| one.mount.fstype == "zfs") {
            change(&mut mounted.mount.source);
        }
        self.transacted(to);
        Ok(())
    }

    fn zfs_clone(&mut self, snapshot: &str, name: &str, properties: &Properties) -> Result<()> {
        let command = self.zfs(&format!("clone {snapshot} {name}"))?;
        let (dataset, own) = snapshot.split_once('@').unwrap_or((snapshot, ""));
        let origin = self.machine.open(dataset);
        let Some((origin, of)) = origin
            .and_then(|one| Some((one, one.snapshots.iter().find(|taken| taken.name == own)?)))
        else {
            return command.missing(snapshot);
        };
        let (tree, encrypted, key) = (of.tree.clone(), origin.encrypted, origin.key);
        self.can_be_made(&command, name)?;
        self.transaction("zfs clone", &format!("{snapshot} to {name}"))?;
        let tree = command.told(self.copy_of(&tree))?;
        self.made_dataset(Dataset {
            name: name.to_owned(),
            local: Default::default(),
            encrypted,
            key,
            tree,
            origin: Some(snapshot.to_owned()),
            snapshots: Vec::new(),
        });
        self.set_first(&command, name, properties)
    }

    fn zfs_create(&mut self, name: &str, properties: &Properties) -> Result<()> {
        let command = self.zfs(&format!("create -u {name}"))?;
        self.can_be_made(&command, name)?;
        let above = self.machine.open(parent(name));
        let (encrypted, key) = above.map_or((false, true), |above| (above.encrypted, above.key));
        if encrypted && !key {
            return command.fails(format!(
                "cannot create '{name}': encryption root's key is not loaded or provided"
            ));
        }
        self.transaction("zfs create", name)?;
        let store = self.pool_of(name).map(|pool| pool.store.clone()).unwrap_or_default();
        let tree = format!("pools/{store}/={}", self.machine.fresh());
        command.told(self.make_tree(&tree, false))?;
        self.made_dataset(Dataset {
            name: name.to_owned(),
            local: Default::default(),
            encrypted,
            key,
            tree,
            origin: None,
            snapshots: Vec::new(),
        });
        self.set_first(&command, name, properties)
    }

    fn made_dataset(&mut self, dataset: Dataset) {
        let name = dataset.name.clone();
        if let Some(pool) = self.pool_of(&name) {
            pool.datasets.push(dataset);
            pool.sort();
        }
        self.transacted(&name);
    }

    /// The second transaction of a new dataset; without it, the dataset goes again.
    fn set_first(&mut self, command: &Command, name: &str, properties: &Properties) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.transaction("zfs properties", name) {
            command.told(self.forget_dataset(name))?;
            return Err(error);
        }
        let free = self.pool_of(name).map_or(0, |pool| pool.free());
        let wanted = properties.iter().filter(|(name, _)| name.ends_with("reservation"));
        let wanted = wanted.filter_map(|(_, value)| value.parse::<u64>().ok());
        if wanted.sum::<u64>() > free {
            command.told(self.forget_dataset(name))?;
            return command.fails(format!("cannot create '{name}': out of space"));
        }
        if let Some(dataset) = self.machine.open_mut(name) {
            dataset.local.extend(properties.iter().cloned());
        }
        self.transacted(name);
        Ok(())
    }

    fn zfs_promote(&mut self, name: &str) -> Result<()> {
        let command = self.zfs(&format!("promote {name}"))?;
        let Some(clone) = self.machine.open(name) else { return command.missing(name) };
        let Some(snapshot) = clone.origin.clone() else {
            return command.fails(format!("cannot promote '{name}': not a cloned filesystem"));
        };
        let (origin, own) = snapshot.split_once('@').unwrap_or((&snapshot, ""));
        let Some(of) = self.machine.open(origin) else { return command.missing(origin) };
        let to_move = of.snapshots.iter().position(|one| one.name == own).map_or(0, |at| at + 1);
        let mut moving = of.snapshots.iter().take(to_move);
        let taken = |name: &str| clone.snapshots.iter().any(|one| one.name == name);
        if let Some(conflict) = moving.find(|one| taken(&one.name)) {
            let why = format!("conflicting snapshot '{}' from parent '{snapshot}'", conflict.name);
            return command.fails(format!("cannot promote '{name}': {why}"));
        }
        self.transaction("zfs promote", name)?;
        let (mut moved, mut above) = (Vec::new(), None);
        if let Some(of) = self.machine.open_mut(origin) {
            moved = of.snapshots.drain(..to_move).collect();
            above = of.origin.replace(format!("{name}@{own}"));
        }
        if let Some(pool) = self.pool_of(name) {
            // Other clones of what moves depend on the promoted one from now on.
            for other in pool.datasets.iter_mut().filter(|one| one.name != origin) {
                let Some((from, snapshot)) =
                    other.origin.as_deref().and_then(|o| o.split_once('@'))
                else {
                    continue;
                };
                if from == origin && moved.iter().any(|one| one.name == snapshot) {
                    other.origin = Some(format!("{name}@{snapshot}"));
                }
            }
        }
        if let Some(clone) = self.machine.open_mut(name) {
            moved.append(&mut clone.snapshots);
            (clone.snapshots, clone.origin) = (moved, above);
        }
        self.transacted(name);
        Ok(())
    }

    /// Takes away a dataset, or a snapshot.
    fn forget_dataset(&mut self, name: &str) -> io::Result<()> {
        let mut trees = Vec::new();
        if let Some((dataset, own)) = name.split_once('@') {
            if let Some(found) = self.machine.open_mut(dataset) {
                let gone = found.snapshots.extract_if(.., |one| one.name == own);
                trees.extend(gone.map(|one| one.tree));
            }
        } else if let Some(pool) = self.pool_of(name) {
            for gone in pool.datasets.extract_if(.., |one| one.name == name) {
                trees.extend(gone.snapshots.into_iter().map(|one| one.tree));
                trees.push(gone.tree);
            }
        }
        self.drop_trees(&trees)?;
        self.transacted(name);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
