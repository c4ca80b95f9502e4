//! `zfs destroy -r`.

use super::renamed;
use crate::host::Result;
use crate::lab::Inner;
use crate::lab::machine::Dataset;

impl Inner {
    pub(super) fn zfs_destroy(&mut self, name: &str) -> Result<()> {
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
}
