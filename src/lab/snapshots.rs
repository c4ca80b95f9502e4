//! Snapshots and clones of the lab machine's datasets, as OpenZFS does them.
//!
//! Every transaction is one effect, and brings to disk what was written to its pool before. A clone
//! with properties is two transactions, and so is a new dataset with properties: ZFS makes it, then
//! sets them, and takes it back when that fails.

use std::io;
use std::path::Path;
use std::time::Duration;

use super::effects::Effect;
use super::machine::{Dataset, Pool, Snapshot as Taken};
use super::pools::LIST_LIMIT;
use super::{Inner, Lab, tree};
use crate::format::zfs::{self, Property, Snapshot};
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

    /// Bytes of the files that none of the other file systems has as they are in this one.
    fn bytes_only_in(&self, tree: &str, others: &[&String]) -> u64 {
        let top = self.root.join(tree);
        let same = |path: &Path, length: u64| {
            others.iter().any(|other| {
                let other = self.root.join(other).join(path);
                std::fs::symlink_metadata(&other).is_ok_and(|one| one.len() == length)
                    && std::fs::read(&other).ok() == std::fs::read(top.join(path)).ok()
            })
        };
        let files = tree::paths(&top).unwrap_or_default().into_iter().filter_map(|path| {
            let found = std::fs::symlink_metadata(top.join(&path)).ok()?;
            found.is_file().then_some((path, found.len()))
        });
        files.filter(|(path, length)| !same(path, *length)).map(|(_, length)| length).sum()
    }

    fn zfs_list_snapshots(&mut self, root: &str) -> Result<Vec<Snapshot>> {
        let doing = format!("/sbin/zfs list -Hp -r -t snapshot {root}");
        let mut text = String::new();
        let pools = self.machine.pools.iter().filter(|pool| pool.imported);
        for dataset in pools.flat_map(|pool| &pool.datasets) {
            if !Path::new(&dataset.name).starts_with(root) {
                continue;
            }
            for (at, one) in dataset.snapshots.iter().enumerate() {
                let before = at.checked_sub(1).and_then(|at| dataset.snapshots.get(at));
                let after = dataset.snapshots.get(at + 1).map_or(&dataset.tree, |next| &next.tree);
                let others = before.map(|one| &one.tree).into_iter().chain([after]);
                let used = self.bytes_only_in(&one.tree, &others.collect::<Vec<_>>());
                text.push_str(&format!("{}@{}\t{}\t{used}\n", dataset.name, one.name, one.taken));
            }
        }
        let text = self.answer("zfs", &doing, LIST_LIMIT, text)?;
        zfs::parse_snapshots(&text)
            .map_err(|error| Error::new(Kind::Nonsense, doing, error.to_string()))
    }

    fn zfs_get(&mut self, root: &str) -> Result<Vec<Property>> {
        let doing = format!("/sbin/zfs get -Hp -r -t filesystem,volume all {root}");
        let mut text = String::new();
        let pools = self.machine.pools.iter().filter(|pool| pool.imported);
        for (pool, dataset) in pools.flat_map(|pool| pool.datasets.iter().map(move |d| (pool, d))) {
            let name = &dataset.name;
            if !Path::new(name).starts_with(root) {
                continue;
            }
            let below = |other: &&Dataset| Path::new(&other.name).starts_with(name);
            let size = |tree: &String| self.machine.trees.get(tree).map_or(0, |tree| tree.used);
            let trees = |one: &Dataset| -> u64 {
                let snapshots = one.snapshots.iter().map(|taken| &taken.tree);
                snapshots.chain([&one.tree]).map(size).sum()
            };
            let used: u64 = pool.datasets.iter().filter(below).map(trees).sum();
            let mut fixed = vec![
                ("type", dataset.local.get("type").cloned().unwrap_or("filesystem".to_owned())),
                ("used", used.to_string()),
                ("available", pool.free().to_string()),
                ("referenced", size(&dataset.tree).to_string()),
                ("mounted", if self.is_mounted(name) { "yes" } else { "no" }.to_owned()),
            ];
            fixed.extend(dataset.origin.clone().map(|origin| ("origin", origin)));
            for (property, value) in fixed {
                text.push_str(&format!("{name}\t{property}\t{value}\t-\n"));
            }
            for (property, value) in
                dataset.local.iter().filter(|(property, _)| *property != "type")
            {
                text.push_str(&format!("{name}\t{property}\t{value}\tlocal\n"));
            }
        }
        let text = self.answer("zfs", &doing, LIST_LIMIT, text)?;
        zfs::parse_get(&text).map_err(|error| Error::new(Kind::Nonsense, doing, error.to_string()))
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

    fn zfs_destroy(&mut self, name: &str) -> Result<()> {
        let command = self.zfs(&format!("destroy -r {name}"))?;
        let is_there = self.machine.open(name.split('@').next().unwrap_or_default()).is_some();
        if !is_there || !self.machine.has(name) {
            let what = if name.contains('@') {
                "could not find any snapshots to destroy; check snapshot names.".to_owned()
            } else {
                format!("cannot open '{name}': dataset does not exist")
            };
            return command.fails(what);
        }
        let inside = |one: &str| match (name.split_once('@'), one.split_once('@')) {
            (Some((top, own)), Some((of, other))) => own == other && renamed(of, top, "").is_some(),
            _ => renamed(one, name, "").is_some(),
        };
        let pools = self.machine.pools.iter().filter(|pool| pool.imported);
        let all: Vec<&Dataset> = pools.flat_map(|pool| &pool.datasets).collect();
        let depends = |one: &&&Dataset| {
            let origin = one.origin.as_deref();
            origin.is_some_and(inside) && !inside(&one.name)
        };
        if let Some(clone) = all.iter().find(depends) {
            let what = if name.contains('@') { "snapshot" } else { "filesystem" };
            let first = format!("cannot destroy '{name}': {what} has dependent clones");
            return command.fails(format!(
                "{first}\nuse '-R' to destroy the following datasets:\n{}",
                clone.name
            ));
        }
        if let Some((_, own)) = name.split_once('@') {
            let snapshots = all.iter().filter(|one| one.snapshots.iter().any(|s| s.name == own));
            let names = snapshots.map(|one| format!("{}@{own}", one.name));
            let names: Vec<String> = names.filter(|one| inside(one)).collect();
            self.transaction("zfs destroy", name)?;
            return names.iter().try_for_each(|one| command.told(self.forget_dataset(one)));
        }
        let mut doomed: Vec<String> =
            all.iter().map(|one| one.name.clone()).filter(|one| inside(one)).collect();
        doomed.reverse();
        for one in doomed {
            let mounts = &self.machine.mounts;
            let at = mounts.iter().find(|m| m.mount.fstype == "zfs" && m.mount.source == one);
            if let Some(at) = at.map(|mounted| mounted.mount.at.clone())
                && self.unmount(&at).is_err()
            {
                let words = format!("cannot unmount '{}': pool or dataset is busy", at.display());
                return command.fails(words);
            }
            self.transaction("zfs destroy", &one)?;
            command.told(self.forget_dataset(&one))?;
        }
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
