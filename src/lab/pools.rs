//! Pools: importing them, and what zpool(8) and zfs(8) print about them.

use std::path::Path;
use std::time::Duration;

use super::Inner;
use super::effects::{Effect, Failure};
use super::machine::{Leaf, Pool, Top, Trouble};
use super::statement::TopWords;
use crate::format::zpool::Space;
use crate::format::{zfs, zpool};
use crate::host::{Error, Import, Kind, NewPool, Result};

/// What one import takes; several at once take no longer.
const IMPORT: Duration = Duration::from_millis(1200);
/// What making a pool takes, and how long it may.
const CREATE: Duration = Duration::from_millis(900);
const CREATE_LIMIT: Duration = Duration::from_secs(600);
/// What a list takes.
const LIST: Duration = Duration::from_millis(40);
/// Whoever gives no limit of his own waits no longer for a list.
pub(crate) const LIST_LIMIT: Duration = Duration::from_secs(30);
/// What `zfs set` takes.
const SET: Duration = Duration::from_millis(60);
/// What a program that lost its mind prints.
const NONSENSE: &str = "internal error: cannot iterate filesystems\n(core dumped)\n";

/// True when the disks that are there are enough for this top-level vdev.
fn enough(top: &Top, there: usize) -> bool {
    let all = top.leaves.len();
    match top.kind.as_str() {
        "raidz" => (there as u64).saturating_add(top.parity) >= all as u64,
        "mirror" => there >= 1,
        _ => there == all,
    }
}

fn in_tree(pool: &Pool) -> impl Iterator<Item = &Top> {
    pool.tops.iter().filter(|top| top.aside.is_none())
}

impl Inner {
    /// Imports all, side by side.
    pub(crate) fn import(&mut self, imports: &[Import]) -> Vec<Result<()>> {
        let start = self.machine.uptime;
        let mut longest = start;
        let mut answers = Vec::new();
        for import in imports {
            self.machine.uptime = start;
            answers.push(self.import_one(import));
            longest = longest.max(self.machine.uptime);
        }
        self.machine.uptime = longest;
        answers
    }

    fn import_one(&mut self, import: &Import) -> Result<()> {
        let devices: String = import.devices.iter().map(|device| format!("-d {device} ")).collect();
        let doing = format!("/sbin/zpool import -f -N -o cachefile=none {devices}{}", import.guid);
        match self.program("zpool") {
            // It prints something, does nothing, and ends well.
            Some(Failure::Nonsense) => return Ok(()),
            Some(how) => return Err(self.failed(&how, &doing, import.limit)),
            None => {}
        }
        if let Some(failure) = self.gate(Effect::new("import", &import.name)) {
            let failure = match failure {
                Failure::Errno(number) => {
                    let why = std::io::Error::from_raw_os_error(number).to_string();
                    let why = why.split(" (os error").next().unwrap_or_default().to_owned();
                    Failure::Says(format!("cannot import '{}': {why}", import.name))
                }
                other => other,
            };
            return Err(self.failed(&failure, &doing, import.limit));
        }
        self.machine.uptime += IMPORT;
        let refuse = |why: &str| {
            let why = format!("cannot import '{}': {why}", import.name);
            Err(Error::new(Kind::Refused, doing.clone(), why))
        };
        let Some(at) = self.machine.pools.iter().position(|pool| pool.guid == import.guid) else {
            return refuse("no such pool available");
        };
        let found = self.found(import);
        let Some(pool) = self.machine.pools.get(at).filter(|_| !found.is_empty()) else {
            return refuse("no such pool available");
        };
        let name = pool.name.clone();
        if self.machine.pools.iter().any(|other| other.imported && other.name == name) {
            return refuse("a pool with that name already exists");
        }
        let there = |leaf: &&Leaf| found.iter().any(|(guid, _)| *guid == leaf.guid);
        let enough = |top: &Top| enough(top, top.leaves.iter().filter(there).count());
        if !in_tree(pool).all(enough) {
            return refuse("no such pool or dataset");
        }
        self.run.imported.push(import.guid);
        let (hostid, hostname) = (self.machine.start.hostid, self.machine.start.hostname.clone());
        if let Some(pool) = self.machine.pools.get_mut(at) {
            pool.imported = true;
            pool.txg += 10;
            let txg = pool.txg;
            for leaf in pool.tops.iter_mut().flat_map(|top| &mut top.leaves) {
                let Some((_, device)) = found.iter().find(|(guid, _)| *guid == leaf.guid) else {
                    continue;
                };
                leaf.path = format!("/dev/{device}");
                leaf.opened = Some(device.clone());
                (leaf.txg, leaf.state, leaf.hostid) = (txg, 0, hostid);
                leaf.hostname.clone_from(&hostname);
            }
        }
        Ok(())
    }

    /// `zpool create`: one step, and the labels are on the disks.
    pub(crate) fn create_pool(&mut self, new: &NewPool) -> Result<()> {
        let (name, kind) = (&new.name, &new.kind);
        let devices = new.devices.join(" ");
        let doing = format!("/sbin/zpool create -o cachefile=none {name} {kind} {devices}");
        if let Some(how) = self.program("zpool") {
            return Err(self.failed(&how, &doing, CREATE_LIMIT));
        }
        let refuse = |why: String| Err(Error::new(Kind::Refused, doing.clone(), why));
        if self.machine.pools.iter().any(|pool| pool.imported && pool.name == *name) {
            return refuse(format!("cannot create '{name}': pool already exists"));
        }
        for device in &new.devices {
            let Some(provider) = self.provider(device) else {
                return refuse(format!("cannot open '{device}': no such device"));
            };
            if self.vdev(&provider).is_some() || provider.open.0 {
                return refuse(format!("{device} is part of a pool, or in use"));
            }
        }
        self.gate_host(Effect::new("zpool create", name), CREATE_LIMIT)?;
        self.machine.uptime += CREATE;
        let short = |device: &String| device.trim_start_matches("/dev/").to_owned();
        let kind = if kind.is_empty() { "disk".to_owned() } else { kind.clone() };
        let words = TopWords { kind, devices: new.devices.iter().map(short).collect() };
        let told = |error| Error::io(doing.clone(), &error);
        let mut top = self.top(name, &words).map_err(told)?;
        for leaf in &mut top.leaves {
            leaf.opened = leaf.path.strip_prefix("/dev/").map(str::to_owned);
        }
        self.add_pool(name, None, vec![top]);
        let root = self.add_dataset(name).map_err(told)?;
        root.local.insert("canmount".to_owned(), "off".to_owned());
        if let Some(pool) = self.machine.pools.last_mut() {
            pool.imported = true;
        }
        Ok(())
    }

    /// The vdevs of the pool that are on the devices of the import: GUID and device.
    fn found(&self, import: &Import) -> Vec<(u64, String)> {
        let mut found: Vec<(u64, String)> = Vec::new();
        for device in &import.devices {
            let Some(provider) = self.provider(device) else { continue };
            let disk = self.machine.disks.get(provider.disk);
            let good = disk.is_some_and(|disk| disk.trouble == Trouble::None);
            if let Some((pool, _, leaf)) = self.vdev(&provider).filter(|_| good)
                && pool.guid == import.guid
                && found.iter().all(|(guid, _)| *guid != leaf.guid)
            {
                found.push((leaf.guid, provider.name));
            }
        }
        found
    }

    /// What `zpool list` says of an imported pool.
    pub(crate) fn health(&self, pool: &Pool) -> &'static str {
        let there = |leaf: &&Leaf| {
            let disk = self.machine.disks.iter().find(|disk| disk.id == leaf.disk);
            leaf.opened.is_some() && disk.is_some_and(|disk| self.machine.present(disk))
        };
        let mut health = "ONLINE";
        for top in in_tree(pool) {
            let count = top.leaves.iter().filter(there).count();
            if !enough(top, count) {
                return "SUSPENDED";
            }
            if count < top.leaves.len() {
                health = "DEGRADED";
            }
        }
        health
    }

    /// The answer of a program, or what is wrong with it.
    pub(crate) fn answer(
        &mut self,
        program: &str,
        doing: &str,
        limit: Duration,
        text: String,
    ) -> Result<String> {
        self.machine.uptime += LIST;
        match self.program(program) {
            None => Ok(text),
            Some(Failure::Nonsense) => Ok(NONSENSE.to_owned()),
            Some(how) => Err(self.failed(&how, doing, limit)),
        }
    }

    /// The imported pools: the kernel's statistics know those of this run that are `ONLINE`,
    /// `zpool list` all.
    pub(crate) fn zpool_list(&mut self) -> Result<Vec<zpool::Pool>> {
        let doing = format!("/sbin/zpool list -Hp -o {}", zpool::LIST_COLUMNS);
        let mut lines: Vec<String> = Vec::new();
        let mut usual = true;
        for pool in self.machine.pools.iter().filter(|pool| pool.imported) {
            let health = self.health(pool);
            usual &= health == "ONLINE" && self.run.imported.contains(&pool.guid);
            lines.push(format!("{}\t{}\t{health}\toff\n", pool.name, pool.guid));
        }
        lines.sort();
        let text = match usual {
            true => lines.concat(),
            false => self.answer("zpool", &doing, LIST_LIMIT, lines.concat())?,
        };
        zpool::parse_list(&text)
            .map_err(|error| Error::new(Kind::Nonsense, doing, error.to_string()))
    }

    /// `zpool list` with sizes.
    pub(crate) fn zpool_spaces(&mut self, limit: Duration) -> Result<Vec<(zpool::Pool, Space)>> {
        let doing = format!("/sbin/zpool list -Hp -o {}", zpool::SPACE_COLUMNS);
        let mut lines: Vec<String> = Vec::new();
        for pool in self.machine.pools.iter().filter(|pool| pool.imported) {
            let disks = in_tree(pool).flat_map(|top| &top.leaves);
            let size = |leaf: &Leaf| {
                let disk = self.machine.disks.iter().find(|disk| disk.id == leaf.disk);
                disk.map_or(0, |disk| disk.size)
            };
            let (name, guid, health) = (&pool.name, pool.guid, self.health(pool));
            let size: u64 = disks.map(size).sum();
            let free = pool.free().min(size);
            lines.push(format!("{name}\t{guid}\t{health}\t{size}\t{free}\toff\n"));
        }
        lines.sort();
        let text = self.answer("zpool", &doing, limit, lines.concat())?;
        zpool::parse_spaces(&text)
            .map_err(|error| Error::new(Kind::Nonsense, doing, error.to_string()))
    }

    /// `zfs list -r`; nothing when `root` is not there.
    pub(crate) fn zfs_list(&mut self, root: &str, limit: Duration) -> Result<Vec<zfs::Dataset>> {
        let doing = format!("/sbin/zfs list -Hp -r -t filesystem -o {} {root}", zfs::LIST_COLUMNS);
        let mut text = String::new();
        let pools = self.machine.pools.iter().filter(|pool| pool.imported);
        for (pool, dataset) in pools.flat_map(|pool| pool.datasets.iter().map(move |d| (pool, d))) {
            if !Path::new(&dataset.name).starts_with(root) {
                continue;
            }
            let inherited =
                |property| pool.setting(&dataset.name, property).map_or("-", |(_, value)| value);
            let mounted = self.is_mounted(&dataset.name);
            let mountpoint = pool.mountpoint(&dataset.name);
            let columns = [
                dataset.name.as_str(),
                dataset.local.get("canmount").map_or("on", String::as_str),
                &mountpoint,
                if mounted { "yes" } else { "no" },
                if dataset.encrypted { "aes-256-gcm" } else { "off" },
                match (dataset.encrypted, dataset.key) {
                    (false, _) => "-",
                    (true, true) => "available",
                    (true, false) => "unavailable",
                },
                inherited("org.nanozfs:upgrade"),
                inherited("org.nanozfs:disks"),
            ];
            text.push_str(&columns.join("\t"));
            text.push('\n');
        }
        let text = self.answer("zfs", &doing, limit, text)?;
        zfs::parse_list(&text).map_err(|error| Error::new(Kind::Nonsense, doing, error.to_string()))
    }

    /// True when the dataset is mounted, wherever.
    pub(crate) fn is_mounted(&self, dataset: &str) -> bool {
        let mounts = &self.machine.mounts;
        mounts.iter().any(|one| one.mount.fstype == "zfs" && one.mount.source == dataset)
    }

    /// `zfs set`.
    pub(crate) fn set_property(&mut self, dataset: &str, name: &str, value: &str) -> Result<()> {
        let doing = format!("/sbin/zfs set {name}={value} {dataset}");
        let limit = Duration::from_secs(30);
        if let Some(how) = self.program("zfs") {
            return Err(self.failed(&how, &doing, limit));
        }
        self.gate_host(Effect::new("set", format!("{name} of {dataset}")), limit)?;
        self.machine.uptime += SET;
        let Some(found) = self.machine.open_mut(dataset) else {
            let why = format!("cannot open '{dataset}': dataset does not exist");
            return Err(Error::new(Kind::NotFound, doing, why));
        };
        found.local.insert(name.to_owned(), value.to_owned());
        self.transacted(dataset);
        Ok(())
    }
}
