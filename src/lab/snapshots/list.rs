//! What zfs(8) lists of datasets and snapshots.

use std::path::Path;

use crate::format::zfs::{self, Property, Snapshot};
use crate::host::{Error, Kind, Result};
use crate::lab::machine::Dataset;
use crate::lab::pools::LIST_LIMIT;
use crate::lab::{Inner, tree};

impl Inner {
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

    pub(super) fn zfs_list_snapshots(&mut self, root: &str) -> Result<Vec<Snapshot>> {
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

    pub(super) fn zfs_get(&mut self, root: &str) -> Result<Vec<Property>> {
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
}
