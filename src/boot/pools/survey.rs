//! From labels to pools: which there are, whether they are complete, which disk is missing.

use std::collections::BTreeMap;

use super::scan::Member;
use crate::format::zfs_label::{PoolState, Vdev};

/// Read-incompatible feature that is active once a top-level vdev was removed from a pool: from
/// then on the labels do not tell of every top-level vdev (`zpool-features(7)`).
const DEVICE_REMOVAL: &str = "com.delphix:device_removal";

/// A pool, as the labels of the devices that were found describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundPool {
    /// Its name.
    pub name: String,
    /// Its GUID.
    pub guid: u64,
    /// Exported, or last used by some host.
    pub state: PoolState,
    /// The host that used it last.
    pub hostname: Option<String>,
    /// That host's ID (hostid(8)); 0 or none where it had none.
    pub hostid: Option<u64>,
    /// The devices found, by their vdev's GUID.
    pub devices: BTreeMap<u64, Device>,
    tops: BTreeMap<u64, Vdev>,
    top_count: u64,
    holes: Vec<u64>,
    tops_removed: bool,
}

/// A device of a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// The provider, without `/dev/`.
    pub provider: String,
    /// The disk it is on.
    pub disk: String,
    /// The disk's serial number.
    pub serial: Option<String>,
    txg: u64,
}

/// How much of a pool is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Every device.
    Complete,
    /// Enough to import it.
    Degraded,
    /// The labels cannot tell: a top-level vdev is not known, but may have been removed.
    Unsure,
    /// Not enough.
    Short,
}

/// A device that was not found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The GUID of its vdev.
    pub guid: u64,
    /// Its number within its vdev, from 1, and the vdev: `disk 3 of raidz1-0`.
    pub place: String,
    /// Where it was seen last: `/dev/ada3`.
    pub path: Option<String>,
    /// True when somebody took it out of service, so that waiting for it makes no sense.
    pub out_of_service: bool,
}

/// How a vdev is, in the way the kernel will see it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Whole,
    Impaired,
    Lost,
}

/// Everything that can be said about a pool before it is imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assessment {
    /// Can it be imported?
    pub verdict: Verdict,
    /// The devices that are not there.
    pub missing: Vec<Missing>,
    /// `2 of 3 disks found, raidz1 needs 2`.
    pub text: String,
}

impl Assessment {
    /// Is there something worth waiting for?
    pub fn may_improve(&self) -> bool {
        match self.verdict {
            Verdict::Complete | Verdict::Unsure => false,
            Verdict::Degraded => self.missing.iter().any(|missing| !missing.out_of_service),
            Verdict::Short => true,
        }
    }
}

/// Groups members by pool. Of two devices that claim to be the same vdev, the one with the newer
/// label counts; both are told in the second list when their labels are equally new.
pub fn survey(members: &[Member]) -> (Vec<FoundPool>, Vec<(String, String)>) {
    let mut pools = Vec::<(FoundPool, u64)>::new();
    let mut twins = Vec::new();
    for member in members {
        let label = &member.label;
        let (Some(guid), Some(name)) = (label.pool_guid, &label.pool_name) else { continue };
        let in_use = matches!(label.state, PoolState::Active | PoolState::Exported);
        if !in_use || !label.is_member() {
            continue;
        }
        let at = pools.iter().position(|(pool, _)| pool.guid == guid).unwrap_or(pools.len());
        if at == pools.len() {
            pools.push((FoundPool::new(name, guid), 0));
        }
        let Some((pool, newest)) = pools.get_mut(at) else { continue };
        if label.txg >= *newest {
            *newest = label.txg;
            name.clone_into(&mut pool.name);
            pool.state = label.state;
            pool.hostname.clone_from(&label.hostname);
            pool.hostid = label.hostid;
            pool.top_count = label.vdev_children;
            pool.holes.clone_from(&label.holes);
            pool.tops_removed = label.features_for_read.iter().any(|name| name == DEVICE_REMOVAL);
        }
        if let Some(tree) = &label.tree {
            let newer = |device: &Device| device.txg > label.txg;
            let known = pool.tops.get(&tree.id);
            if known.is_none_or(|top| {
                !top.leaves().any(|leaf| pool.devices.get(&leaf.guid).is_some_and(newer))
            }) {
                pool.tops.insert(tree.id, tree.clone());
            }
        }
        let device = Device {
            provider: member.provider.clone(),
            disk: member.disk.clone(),
            serial: member.serial.clone(),
            txg: label.txg,
        };
        match pool.devices.get(&label.guid) {
            Some(other) if other.txg > device.txg => {}
            // One disk under two names whose sizes differ, as with glabel(8): one is as good.
            Some(other) if other.txg == device.txg && other.disk == device.disk => {
                let last = label.tree.as_ref().and_then(|tree| {
                    tree.leaves().find(|leaf| leaf.guid == label.guid)?.path.as_deref()
                });
                if last.and_then(|path| path.strip_prefix("/dev/")) == Some(&device.provider) {
                    pool.devices.insert(label.guid, device);
                }
            }
            Some(other) if other.txg == device.txg => {
                twins.push((other.provider.clone(), device.provider));
            }
            _ => {
                pool.devices.insert(label.guid, device);
            }
        }
    }
    (pools.into_iter().map(|(pool, _)| pool).collect(), twins)
}

impl FoundPool {
    fn new(name: &str, guid: u64) -> Self {
        FoundPool {
            name: name.to_owned(),
            guid,
            state: PoolState::Active,
            hostname: None,
            hostid: None,
            devices: BTreeMap::new(),
            tops: BTreeMap::new(),
            top_count: 0,
            holes: Vec::new(),
            tops_removed: false,
        }
    }

    /// The devices to import it from, as paths.
    pub fn paths(&self) -> Vec<String> {
        let path = |device: &Device| format!("/dev/{}", device.provider);
        let mut paths: Vec<_> = self.devices.values().map(path).collect();
        paths.sort_unstable();
        paths
    }

    /// What is there of it, and what is not.
    pub fn assess(&self) -> Assessment {
        let mut missing = Vec::new();
        let mut verdict = Verdict::Complete;
        let mut needs = None;
        let (mut found, mut total) = (0, 0);
        for (id, top) in &self.tops {
            let mut walk =
                Walk { pool: self, top: format!("{}-{id}", kind(top)), missing: Vec::new() };
            let health = walk.health(top, None);
            if top.children.is_empty() {
                walk.missing.iter_mut().for_each(|disk| disk.place = format!("disk {}", id + 1));
            }
            total += top.leaves().count();
            found += top.leaves().filter(|leaf| self.devices.contains_key(&leaf.guid)).count();
            if health != Health::Whole && (needs.is_none() || health == Health::Lost) {
                needs = need(top).map(|count| format!("{} needs {count}", kind(top)));
            }
            verdict = verdict.max(match health {
                Health::Whole => Verdict::Complete,
                Health::Impaired => Verdict::Degraded,
                // A lost log loses no data of the file systems, but only an operator may say so.
                Health::Lost => Verdict::Short,
            });
            missing.append(&mut walk.missing);
        }
        let known = |id: &u64| self.tops.contains_key(id) || self.holes.contains(id);
        let unknown = (0..self.top_count.min(4096)).filter(|id| !known(id)).count();
        let mut text = format!("{found} of {total} disks found");
        if let Some(needs) = needs {
            text = format!("{text}, {needs}");
        }
        if unknown > 0 && self.tops_removed {
            verdict = verdict.max(Verdict::Unsure);
        } else if unknown > 0 {
            verdict = Verdict::Short;
            text = format!("{text}; no disk of {unknown} more of its {} vdevs", self.top_count);
        }
        Assessment { verdict, missing, text }
    }
}

/// One walk through the tree of a top-level vdev.
struct Walk<'a> {
    pool: &'a FoundPool,
    top: String,
    missing: Vec<Missing>,
}

impl Walk<'_> {
    fn health(&mut self, vdev: &Vdev, number: Option<usize>) -> Health {
        if vdev.children.is_empty() {
            return self.leaf(vdev, number);
        }
        let children: Vec<_> = vdev
            .children
            .iter()
            .enumerate()
            .map(|(at, child)| self.health(child, number.or(Some(at + 1))))
            .collect();
        let lost = children.iter().filter(|health| **health == Health::Lost).count() as u64;
        let spare = match vdev.kind.as_str() {
            "raidz" | "draid" => vdev.nparity,
            // mirror, and what stands for one disk while it is replaced: replacing, spare
            _ => (children.len() as u64).saturating_sub(1),
        };
        match lost {
            lost if lost > spare => Health::Lost,
            0 if children.iter().all(|health| *health == Health::Whole) => Health::Whole,
            _ => Health::Impaired,
        }
    }

    fn leaf(&mut self, vdev: &Vdev, number: Option<usize>) -> Health {
        // These stand for no device of their own.
        if matches!(vdev.kind.as_str(), "hole" | "indirect" | "dspare") {
            return Health::Whole;
        }
        if self.pool.devices.contains_key(&vdev.guid) {
            return Health::Whole;
        }
        self.missing.push(Missing {
            guid: vdev.guid,
            place: format!("disk {} of {}", number.unwrap_or(1), self.top),
            path: vdev.path.clone(),
            out_of_service: vdev.offline || vdev.removed,
        });
        Health::Lost
    }
}

/// As zpool(8) writes it: `raidz1`, `mirror`, `disk`.
fn kind(vdev: &Vdev) -> String {
    match vdev.kind.as_str() {
        "raidz" | "draid" => format!("{}{}", vdev.kind, vdev.nparity),
        kind => kind.to_owned(),
    }
}

/// How many of its children a vdev cannot do without; `None` for a single disk.
fn need(vdev: &Vdev) -> Option<u64> {
    let children = vdev.children.len() as u64;
    match vdev.kind.as_str() {
        _ if children == 0 => None,
        "raidz" | "draid" => Some(children.saturating_sub(vdev.nparity)),
        _ => Some(1),
    }
}
