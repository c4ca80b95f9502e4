//! Pools, their vdevs, their datasets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A pool.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Pool {
    /// Name.
    pub name: String,
    /// GUID.
    pub guid: u64,
    /// Directory below `pools` in the lab's own: the name, made unlike any other's.
    pub store: String,
    /// Top-level vdevs.
    pub tops: Vec<Top>,
    /// Newest transaction group.
    pub txg: u64,
    /// Imported.
    pub imported: bool,
    /// Its datasets, parents first.
    pub datasets: Vec<Dataset>,
    /// Bytes that fit, reserved or not.
    pub available: u64,
}

impl Pool {
    /// The nearest dataset at or above `name` on which this property is set, and its value.
    pub fn setting(&self, name: &str, property: &str) -> Option<(&str, &str)> {
        let above = std::path::Path::new(name).ancestors().filter_map(std::path::Path::to_str);
        above
            .filter_map(|name| self.datasets.iter().find(|other| other.name == name))
            .find_map(|other| Some((other.name.as_str(), other.local.get(property)?.as_str())))
    }

    /// The property `mountpoint`, inherited or not.
    pub fn mountpoint(&self, name: &str) -> String {
        match self.setting(name, "mountpoint") {
            Some((from, value)) if value.starts_with('/') => {
                let below = name.strip_prefix(from).unwrap_or_default();
                format!("{}{below}", value.trim_end_matches('/'))
            }
            Some((_, value)) => value.to_owned(),
            None => format!("/{name}"),
        }
    }

    /// Bytes that fit and that nobody has reserved.
    pub fn free(&self) -> u64 {
        let reserved = |one: &Dataset| -> u64 {
            let own = ["reservation", "refreservation"].map(|name| {
                one.local.get(name).and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
            });
            own.iter().sum()
        };
        self.available.saturating_sub(self.datasets.iter().map(reserved).sum())
    }

    /// Brings the datasets in order: parents first, by name.
    pub fn sort(&mut self) {
        self.datasets.sort_by(|a, b| a.name.split('/').cmp(b.name.split('/')));
    }
}

/// A top-level vdev.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Top {
    /// `disk`, `mirror`, `raidz`.
    pub kind: String,
    /// Parity of a raidz.
    pub parity: u64,
    /// GUID; that of its only disk for `disk`.
    pub guid: u64,
    /// Its disks.
    pub leaves: Vec<Leaf>,
    /// It is a log device: the pool works without it.
    pub log: bool,
    /// `spare` or `cache`: not part of the tree.
    pub aside: Option<String>,
}

/// A disk of a pool, and what its labels say.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Leaf {
    /// GUID.
    pub guid: u64,
    /// The disk's id.
    pub disk: String,
    /// The partition on it; none: all of it.
    pub part: Option<u32>,
    /// Where it was last seen: `/dev/ada1`.
    pub path: String,
    /// The provider by which an imported pool has it open.
    pub opened: Option<String>,
    /// Transaction group in its labels.
    pub txg: u64,
    /// Pool state in the label: 0 active, 1 exported.
    pub state: u64,
    /// The last host.
    pub hostid: u32,
    /// Its name.
    pub hostname: String,
}

/// A dataset.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dataset {
    /// Full name.
    pub name: String,
    /// The properties set on it, native and user ones.
    pub local: BTreeMap<String, String>,
    /// Its content is encrypted.
    pub encrypted: bool,
    /// Its key is loaded.
    pub key: bool,
    /// Its files: a key of [`Machine::trees`](super::Machine::trees).
    pub tree: String,
    /// The snapshot that it is a clone of, in full.
    pub origin: Option<String>,
    /// Its snapshots, oldest first.
    pub snapshots: Vec<Snapshot>,
}

/// A snapshot of a dataset.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its own name, behind the `@`.
    pub name: String,
    /// When it was taken, in seconds since 1970.
    pub taken: i64,
    /// Its own user properties.
    pub local: BTreeMap<String, String>,
    /// Its files, which do not change any more: a key of [`Machine::trees`](super::Machine::trees).
    pub tree: String,
}
