//! The known pools: how they are, and which disk is missing.

use std::collections::BTreeMap;

use super::facts::Facts;
use super::{Item, MissingDisk, PoolState, Weight};
use crate::boot::layout;
use crate::boot::osdrive::disk_name;
use crate::boot::pools::decide::Wanted;
use crate::boot::pools::memory;
use crate::boot::pools::survey::{Assessment, FoundPool, Missing};
use crate::format::zpool::{Health, Pool, Space};
use crate::host::{Error, Kind};
use crate::report::Code;
use crate::upgrade::summary::capital;

/// What brings a machine to normal without a restart.
pub(super) const RESUME: &str = "nanozfs resume";
/// The same, when disks have to be connected before.
pub(super) const CONNECT: &str = "connect the disks, then: nanozfs resume";

/// Every known pool, and the lines about them.
pub(super) fn pools(facts: &Facts) -> (Vec<PoolState>, Vec<Item>) {
    let mut told = Told { facts, pools: Vec::new(), items: Vec::new() };
    match &facts.imported {
        Ok(pools) => {
            let plain: Vec<Pool> = pools.iter().map(|(pool, _)| pool.clone()).collect();
            for pool in layout::named(&facts.config, &plain) {
                let space = pools.iter().find(|(one, _)| one.guid == pool.guid);
                told.imported(pool, space.map(|(_, space)| *space).unwrap_or_default());
            }
        }
        Err(error) => told.not_listed(error),
    }
    for wanted in &facts.round.wanted {
        match wanted {
            Wanted::Imported => {}
            Wanted::Ready { at, assessment } => {
                if let Some(found) = facts.round.found.get(*at) {
                    told.ready(found, assessment);
                }
            }
            Wanted::Absent { name, finding, .. } => told.absent(name, finding.code, &finding.what),
        }
    }
    for finding in facts.round.findings.iter().filter(|one| one.code == Code::E20) {
        told.no_name(&finding.what);
    }
    (told.pools, told.items)
}

/// What is asked of a pool by its name, in the place where each of its disks belongs.
pub(super) fn places(pool: &FoundPool) -> BTreeMap<u64, String> {
    disks(pool).map(|disk| (disk.guid, disk.place)).collect()
}

/// All disks of a pool, as if each of them were missing.
fn disks(pool: &FoundPool) -> impl Iterator<Item = Missing> {
    let mut bare = pool.clone();
    bare.devices.clear();
    bare.assess().missing.into_iter()
}

/// The name by which zpool(8) knows a disk of a pool: that of its last place, wherever it is now.
fn known_as(pool: &FoundPool, guid: u64) -> Option<String> {
    let path = disks(pool).find(|disk| disk.guid == guid)?.path?;
    Some(path.strip_prefix("/dev/").unwrap_or(&path).to_owned())
}

struct Told<'a> {
    facts: &'a Facts,
    pools: Vec<PoolState>,
    items: Vec<Item>,
}

impl Told<'_> {
    fn say(&mut self, code: Option<Code>, weight: Weight, text: String, advice: Option<String>) {
        self.items.push(Item { topic: "pool", code, weight, text, advice });
    }

    /// Names the disks that are missing.
    fn missing(&mut self, missing: &[Missing], memory: Option<&str>) -> Vec<MissingDisk> {
        let mut disks = Vec::new();
        for disk in missing {
            let text = memory::describe(disk, memory);
            let line = format!("Missing: {text}.");
            let weight = Weight::Impaired;
            self.items.push(Item { topic: "disk", code: None, weight, text: line, advice: None });
            disks.push(MissingDisk {
                place: disk.place.clone(),
                serial: memory::serial(disk, memory),
                last_seen: memory::last_seen(disk, memory),
                text,
            });
        }
        disks
    }

    fn imported(&mut self, pool: &Pool, space: Space) {
        let facts = self.facts;
        let name = &pool.name;
        let found = facts.round.found.iter().find(|found| found.guid == pool.guid);
        let layout = facts.layouts.iter().find(|layout| layout.guid == pool.guid);
        let parent = format!("{name}/{}", facts.config.dataset);
        let parent = layout.and_then(|layout| layout.datasets.iter().find(|d| d.name == parent));
        let memory = parent.and_then(|dataset| dataset.disks.as_deref());
        let state = PoolState {
            name: name.clone(),
            imported: Some(true),
            health: Some(pool.health.to_string()),
            size: space.size,
            free: space.free,
            missing: Vec::new(),
        };
        if pool.health == Health::Online {
            let (code, weight, text, advice) = match pool.readonly {
                false => (None, Weight::Fact, format!("Pool {name}: ONLINE."), None),
                true => (
                    Some(Code::E24),
                    Weight::Impaired,
                    format!("Pool {name}: ONLINE, but read-only."),
                    Some(format!("zpool status {name}")),
                ),
            };
            self.say(code, weight, text, advice);
            return self.pools.push(state);
        }
        let assessment = found.map(FoundPool::assess);
        let missing = assessment.as_ref().map(|it| it.missing.clone()).unwrap_or_default();
        let idle = found.map(|found| self.idle(found)).unwrap_or_default();
        let counted = assessment.map(|it| format!("; {}", it.text)).unwrap_or_default();
        let (code, advice) = match (&pool.health, idle.first()) {
            (Health::Suspended, _) if missing.is_empty() => {
                (Code::E24, format!("zpool clear {name}"))
            }
            (Health::Suspended, _) => {
                (Code::E24, format!("connect the disks, then: zpool clear {name}"))
            }
            (Health::Degraded, Some((_, provider))) if missing.is_empty() => {
                (Code::E21, format!("zpool online {name} {provider}"))
            }
            (Health::Degraded, _) => (Code::E21, format!("zpool status {name}")),
            _ => (Code::E24, format!("zpool status {name}")),
        };
        let text = format!("Pool {name}: {}{counted}.", pool.health);
        self.say(Some(code), Weight::Impaired, text, Some(advice));
        let missing = self.missing(&missing, memory);
        for (line, _) in idle {
            let weight = Weight::Impaired;
            self.items.push(Item { topic: "disk", code: None, weight, text: line, advice: None });
        }
        self.pools.push(PoolState { missing, ..state });
    }

    /// The disks of an imported pool that it does not use: each in words, and its name.
    fn idle(&self, found: &FoundPool) -> Vec<(String, String)> {
        let places = places(found);
        let idle = found.devices.iter().filter(|(_, one)| self.facts.idle.contains(&one.provider));
        idle.map(|(guid, device)| {
            let place = places.get(guid).map_or("a disk", String::as_str);
            let disk = disk_name(&device.provider, device.serial.as_deref());
            let line = format!("{disk} is here, but pool {} does not use it: {place}.", found.name);
            (line, known_as(found, *guid).unwrap_or_else(|| device.provider.clone()))
        })
        .collect()
    }

    fn ready(&mut self, found: &FoundPool, assessment: &Assessment) {
        let name = &found.name;
        let code = (!assessment.missing.is_empty()).then_some(Code::E21);
        let text = format!("Pool {name}: {}; it is not imported.", assessment.text);
        self.say(code, Weight::Impaired, text, Some(RESUME.to_owned()));
        let missing = self.missing(&assessment.missing, None);
        let imported = Some(false);
        self.pools.push(PoolState { name: name.clone(), imported, missing, ..Default::default() });
    }

    fn absent(&mut self, name: &str, code: Code, what: &str) {
        let advice = match code {
            Code::E27 => {
                "nanozfs pools -n; then, at the loader prompt: set nanozfs.pools=ID".to_owned()
            }
            _ => CONNECT.to_owned(),
        };
        self.say(Some(code), Weight::Impaired, format!("{}.", capital(what)), Some(advice));
        let found = self.facts.round.found.iter().find(|found| found.name == name);
        let missing = found.filter(|_| code == Code::E22).map(|found| found.assess().missing);
        let missing = self.missing(&missing.unwrap_or_default(), None);
        let (name, imported) = (name.to_owned(), Some(false));
        self.pools.push(PoolState { name, imported, missing, ..PoolState::default() });
    }

    /// The configuration names no pool.
    fn no_name(&mut self, what: &str) {
        let found: Vec<_> =
            self.facts.round.found.iter().map(|found| found.name.as_str()).collect();
        let found = match found.is_empty() {
            true => String::new(),
            false => format!(" On the disks: {}.", found.join(", ")),
        };
        let text = format!("{}.{found}", capital(what));
        let advice = Code::E20.next().to_owned();
        self.say(Some(Code::E20), Weight::Impaired, text, Some(advice));
    }

    /// Which pools are imported is not known; what their labels say is.
    fn not_listed(&mut self, error: &Error) {
        let (why, advice) = in_words(error);
        let text = format!("Not known: which pools are imported: {why}.");
        self.say(Some(Code::E26), Weight::Unknown, text, Some(advice));
        let facts = self.facts;
        for found in &facts.round.found {
            if !facts.config.pools.iter().any(|word| word.matches(&found.name, found.guid)) {
                continue;
            }
            let assessment = found.assess();
            let text = format!("Pool {}: by its labels, {}.", found.name, assessment.text);
            let weight = match assessment.missing.is_empty() {
                true => Weight::Fact,
                false => Weight::Impaired,
            };
            self.say(None, weight, text, None);
            let missing = self.missing(&assessment.missing, None);
            let name = found.name.clone();
            self.pools.push(PoolState { name, missing, ..PoolState::default() });
        }
    }
}

/// Why a program did not answer, and what to type about it.
pub(super) fn in_words(error: &Error) -> (String, String) {
    let program = error.doing.split(' ').next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default();
    let (why, advice) = match error.kind {
        Kind::TimedOut(limit) => {
            (format!("{program} gave no answer within {} s", limit.as_secs()), "dmesg | tail")
        }
        Kind::ProgramMissing => (format!("{program} cannot be run"), "ls -l /sbin/zpool /sbin/zfs"),
        Kind::Nonsense if program == "zfs" => {
            ("what zfs answers makes no sense".to_owned(), "zfs list")
        }
        Kind::Nonsense => (format!("what {program} answers makes no sense"), "zpool status"),
        _ => (error.why.clone(), "zpool status"),
    };
    (why, advice.to_owned())
}
