//! What can be learnt of a machine without changing it or waiting long: every question may fail,
//! and the others are asked all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use super::record::{self, Record};
use crate::boot::layout::{self, KnownPool};
use crate::boot::osdrive::{self, Search};
use crate::boot::past::{self, PastBoot};
use crate::boot::pools::decide::{self, Round};
use crate::boot::pools::scan::{Scan, Scanner};
use crate::boot::pools::survey;
use crate::boot::{cfg::CFG, etclocal, var::VAR};
use crate::config::Config;
use crate::format::geom::{Mesh, ProviderId};
use crate::format::zfs_label::PoolState;
use crate::format::zpool::{Health, Pool, Space};
use crate::host::{Error, Host, Kind, Mount, Result, mounted_at};
use crate::report::Finding;
use crate::upgrade::trial::{self, Started};

/// A person waits for the answer: zpool(8) and zfs(8) are given up after this long.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// What was learnt.
#[derive(Clone, Debug)]
pub(super) struct Facts {
    /// The configuration.
    pub config: Config,
    /// What is wrong with it.
    pub complaints: Vec<Finding>,
    /// Time since the machine started.
    pub uptime: Duration,
    /// The mode in which the last `nanozfs boot` left the machine; none when there was none.
    pub boot_mode: Option<String>,
    /// What that boot wrote down.
    pub record: Option<Record>,
    /// What is mounted.
    pub mounts: Result<Vec<Mount>>,
    /// Which disk is the OS drive.
    pub drive: Result<Search>,
    /// Which slot runs and which boots next; none where `/` is on no slot.
    pub slots: Result<Option<Started>>,
    /// The imported pools.
    pub imported: Result<Vec<(Pool, Space)>>,
    /// What the labels on the disks say about the known pools.
    pub round: Round,
    /// The known pools that are imported, and what they hold.
    pub layouts: Vec<KnownPool>,
    /// Pools whose datasets could not be listed.
    pub unlisted: Vec<(String, Error)>,
    /// Providers with a label of a pool that nobody has open.
    pub idle: BTreeSet<String>,
    /// Why `/usr/local/etc` does not lead to `/etc/local`.
    pub etclocal: Option<String>,
    /// So many of the last boots did not come to their end that the pools were left alone.
    pub crash_loop: Option<u32>,
    /// What only `-v` asks.
    pub more: Option<More>,
}

/// What only `-v` asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct More {
    /// The disks that are there.
    pub disks: Vec<Disk>,
    /// Bytes that datasets use, by name.
    pub used: BTreeMap<String, u64>,
    /// The last boots, newest first.
    pub boots: Vec<PastBoot>,
}

/// A disk that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Disk {
    /// The provider, without `/dev/`.
    pub name: String,
    /// Its serial number.
    pub serial: Option<String>,
    /// Bytes.
    pub size: u64,
    /// It holds a spare or cache device, which belongs to no pool by its label.
    pub is_aside: bool,
}

/// Asks everything, `verbose` also what only `-v` shows; `complaints` are those about `config`.
pub(super) fn gather(
    host: &dyn Host,
    config: &Config,
    complaints: Vec<Finding>,
    verbose: bool,
) -> Facts {
    let mounts = host.mounts();
    let mounted = mounts.as_deref().unwrap_or_default();
    let imported = host.inventory().pools_within(PATIENCE);
    let mesh = host.geom().and_then(|xml| {
        let nonsense = |error: crate::format::ParseError| {
            Error::new(Kind::Nonsense, "sysctl kern.geom.confxml", error.to_string())
        };
        Mesh::parse(&xml).map_err(nonsense)
    });
    let boot_mode = host.kenv(crate::boot::record::STATE);
    let (layouts, unlisted) = layouts(host, config, imported.as_deref().unwrap_or_default());
    let mut facts = Facts {
        uptime: host.uptime(),
        record: record_of(host, mounted, &imported),
        drive: mesh.as_ref().map(|_| Search::default()).map_err(Error::clone),
        slots: Ok(None),
        round: Round::default(),
        idle: BTreeSet::new(),
        etclocal: None,
        crash_loop: None,
        more: verbose.then(More::default),
        config: config.clone(),
        complaints,
        boot_mode,
        mounts,
        imported,
        layouts,
        unlisted,
    };
    if is_on(&facts.mounts, CFG) {
        facts.etclocal = etclocal::problem(host);
    }
    if let Ok(mesh) = &mesh {
        disks(host, mesh, &mut facts);
    }
    if let Some(more) = &mut facts.more {
        more.used = used(host, &facts.layouts, &facts.config.dataset);
    }
    facts
}

fn is_on(mounts: &Result<Vec<Mount>>, at: &str) -> bool {
    mounts.as_ref().is_ok_and(|mounts| mounted_at(mounts, Path::new(at)).is_some())
}

/// What the known pools that are imported hold. They are asked side by side: one that hangs takes
/// no time from the others.
fn layouts(
    host: &dyn Host,
    config: &Config,
    imported: &[(Pool, Space)],
) -> (Vec<KnownPool>, Vec<(String, Error)>) {
    let pools: Vec<Pool> = imported.iter().map(|(pool, _)| pool.clone()).collect();
    let known = layout::named(config, &pools);
    let lost = || Err(Error::new(Kind::Refused, "zfs list", "its thread was lost"));
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = |pool: &Pool| {
            let root = format!("{}/{}", pool.name, config.dataset);
            scope.spawn(move || host.inventory().datasets_within(&root, PATIENCE))
        };
        let asked: Vec<_> = known.iter().map(|pool| ask(pool)).collect();
        asked.into_iter().map(|one| one.join().unwrap_or_else(|_| lost())).collect()
    });
    let (mut layouts, mut unlisted) = (Vec::new(), Vec::new());
    for (pool, answer) in known.into_iter().zip(answers) {
        let (name, readable) = (pool.name.clone(), answer.is_ok());
        let datasets = answer.unwrap_or_else(|error| {
            unlisted.push((name.clone(), error));
            Vec::new()
        });
        layouts.push(KnownPool { name, guid: pool.guid, datasets, readable });
    }
    (layouts, unlisted)
}

/// The record of this boot. A file on a pool that has stopped would never answer: it is left
/// alone.
fn record_of(
    host: &dyn Host,
    mounts: &[Mount],
    imported: &Result<Vec<(Pool, Space)>>,
) -> Option<Record> {
    let var = mounted_at(mounts, Path::new(VAR))?;
    let pool = var.source.split('/').next().unwrap_or_default();
    let works = |(one, _): &(Pool, Space)| {
        one.name == pool && matches!(one.health, Health::Online | Health::Degraded)
    };
    match var.fstype == "zfs" {
        true if !imported.as_ref().is_ok_and(|pools| pools.iter().any(works)) => None,
        _ => record::of_this_boot(host),
    }
}

/// The OS drive, its slots, and the labels of the disks that are not at work in a healthy pool.
fn disks(host: &dyn Host, mesh: &Mesh, facts: &mut Facts) {
    let mounts = facts.mounts.as_deref().unwrap_or_default();
    let search = osdrive::search_on(host, mesh, mounts, &facts.config.label);
    if let Some(drive) = &search.drive {
        facts.slots = trial::look_in(host, mesh, drive);
        facts.crash_loop = past::crash_loop(host, drive);
    }
    let parts = search.drive.iter().flat_map(|drive| drive.parts.values());
    let parts: Vec<_> =
        parts.filter_map(|name| mesh.find(name)).map(|id| mesh.extent(id)).collect();
    let pools: Vec<Pool> = match &facts.imported {
        Ok(pools) => pools.iter().map(|(pool, _)| pool.clone()).collect(),
        Err(_) => Vec::new(),
    };
    let all_well = facts.imported.is_ok() && pools.iter().all(|one| one.health == Health::Online);
    let every = facts.more.is_some() || !all_well;
    let wanted = |id: ProviderId| (every || !in_use(mesh, id)) && !parts.contains(&mesh.extent(id));
    let scan = Scanner::default().scan_some(host, mesh, &wanted);
    let (found, twins) = survey::survey(&scan.members);
    for device in found.iter().flat_map(|pool| pool.devices.values()) {
        if mesh.find(&device.provider).is_some_and(|id| !in_use(mesh, id)) {
            facts.idle.insert(device.provider.clone());
        }
    }
    let mut round = decide::decide(&facts.config.pools, found, &pools);
    if facts.imported.is_err() {
        // Whether they are imported is not known.
        round.wanted.clear();
    }
    facts.round = round.with_notes(&scan.damaged, &twins);
    if let Some(more) = &mut facts.more {
        more.disks = disks_there(mesh, &scan);
        more.boots = past::recent(host, search.drive.as_ref());
    }
    facts.drive = Ok(search);
}

/// True when somebody has it open for writing, as a pool has its devices.
fn in_use(mesh: &Mesh, id: ProviderId) -> bool {
    mesh.aliases(id).iter().any(|id| mesh.provider(*id).access.w > 0)
}

fn disks_there(mesh: &Mesh, scan: &Scan) -> Vec<Disk> {
    let aside = |state| matches!(state, PoolState::Spare | PoolState::L2cache);
    let drives = mesh.disks().filter(|id| mesh.class(*id) == "DISK");
    drives
        .map(|id| mesh.provider(id))
        .map(|provider| Disk {
            name: provider.name.clone(),
            serial: provider.ident.clone(),
            size: provider.mediasize,
            is_aside: scan
                .members
                .iter()
                .any(|member| member.disk == provider.name && aside(member.label.state)),
        })
        .collect()
}

/// Bytes that the layout's datasets use; those of a pool that does not say are left out.
fn used(host: &dyn Host, layouts: &[KnownPool], parent: &str) -> BTreeMap<String, u64> {
    let readable = layouts.iter().filter(|pool| pool.readable);
    let properties = readable
        .filter_map(|pool| host.snapshots().properties(&format!("{}/{parent}", pool.name)).ok());
    properties
        .flatten()
        .filter(|property| property.name == "used")
        .filter_map(|property| Some((property.dataset, property.value?.parse().ok()?)))
        .collect()
}
