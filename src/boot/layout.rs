//! The layout on the pools: `POOL/nano` with `cfg`, `var` and `jails` below it.

use super::Boot;
use crate::config::Config;
use crate::format::zfs::Dataset;
use crate::format::zpool::Pool;
use crate::report::{Code, Finding};

/// Below the parent: what was put aside, and is kept.
pub const KEPT: &str = "kept";

/// A known pool that is imported, and what it holds of the layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPool {
    /// Its name.
    pub name: String,
    /// Its GUID.
    pub guid: u64,
    /// The datasets at and below the layout's parent; empty when there is no layout.
    pub datasets: Vec<Dataset>,
    /// False when its datasets could not be listed: nothing is known of its layout.
    pub readable: bool,
}

impl KnownPool {
    /// The layout's dataset `part`, which is `cfg`, `var` or `jails`.
    pub fn dataset(&self, parent: &str, part: &str) -> Option<&Dataset> {
        let name = format!("{}/{parent}/{part}", self.name);
        self.datasets.iter().find(|dataset| dataset.name == name)
    }

    /// The datasets below `part`, parents first.
    pub fn below<'a>(&'a self, parent: &str, part: &str) -> impl Iterator<Item = &'a Dataset> {
        let prefix = format!("{}/{parent}/{part}/", self.name);
        self.datasets.iter().filter(move |dataset| dataset.name.starts_with(&prefix))
    }
}

/// The dataset that a way back to earlier data put aside for this part of the layout below `root`, when
/// the part itself is missing: it was not brought back yet.
pub fn aside<'a>(datasets: &'a [Dataset], root: &str, part: &str) -> Option<&'a Dataset> {
    let (kept, own) = (format!("{root}/{KEPT}/"), format!("{root}/{part}"));
    if datasets.iter().any(|dataset| dataset.name == own) {
        return None;
    }
    let of_part = |name: &str| name.ends_with(&format!("-{part}")) && !name.contains('/');
    datasets.iter().find(|one| one.name.strip_prefix(&kept).is_some_and(of_part))
}

/// The pool that `/cfg` and `/var` come from: the first, in the order of the configuration, that
/// holds a `cfg`.
pub fn holder<'a>(pools: &'a [KnownPool], parent: &str) -> Option<&'a KnownPool> {
    pools.iter().find(|pool| pool.dataset(parent, "cfg").is_some())
}

/// The known pools among the imported ones, in the order of the configuration.
pub fn known<'a>(boot: &Boot<'_, '_>, imported: &'a [Pool]) -> Vec<&'a Pool> {
    named(boot.config, imported)
}

/// The same, of a configuration by itself.
pub fn named<'a>(config: &Config, imported: &'a [Pool]) -> Vec<&'a Pool> {
    let mut pools = Vec::<&Pool>::new();
    for known in &config.pools {
        for pool in imported.iter().filter(|pool| known.matches(&pool.name, pool.guid)) {
            if !pools.iter().any(|other| other.guid == pool.guid) {
                pools.push(pool);
            }
        }
    }
    pools
}

/// Reads what the known pools hold. What goes wrong is a finding; such a pool counts as empty.
pub fn read(boot: &mut Boot<'_, '_>, pools: &[&Pool]) -> Vec<KnownPool> {
    let mut layouts = Vec::new();
    for pool in pools {
        let root = format!("{}/{}", pool.name, boot.config.dataset);
        let datasets = boot.host.datasets(&root).map_err(|error| {
            boot.find(Finding::failed(Code::E26, &format!("pool {}", pool.name), &error));
        });
        layouts.push(KnownPool {
            name: pool.name.clone(),
            guid: pool.guid,
            readable: datasets.is_ok(),
            datasets: datasets.unwrap_or_default(),
        });
    }
    layouts
}

/// The imported pools; `None`, with a finding, when that cannot be known.
pub fn list(boot: &mut Boot<'_, '_>) -> Option<Vec<Pool>> {
    match boot.host.pools() {
        Ok(pools) => Some(pools),
        Err(error) => {
            boot.find(Finding::failed(Code::E26, "imported pools", &error));
            None
        }
    }
}

/// The known pools that are imported already, for a helper that runs by itself.
pub fn imported(boot: &mut Boot<'_, '_>) -> Vec<KnownPool> {
    if boot.config.recovery {
        return Vec::new();
    }
    let imported = list(boot).unwrap_or_default();
    let known = known(boot, &imported);
    read(boot, &known)
}
