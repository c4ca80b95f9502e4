//! What only `-v` shows: disks, pools, datasets, slots, the last upgrade, the last boots.

use super::facts::{Disk, Facts, More};
use super::json::{maybe, number};
use super::pools::places;
use super::{PoolState, Row, Section};
use crate::boot::action::megabytes;
use crate::boot::layout::KnownPool;
use crate::boot::osdrive::{Role, disk_name};
use crate::boot::past::PastBoot;
use crate::format::zfs::{CanMount, Dataset};
use crate::report::Mode;
use crate::report::json::text;
use crate::upgrade::journal::{Journal, id_of, letter};
use crate::upgrade::select::SLOTS;
use crate::upgrade::summary::{Summary, capital, ended};

/// Below the layout's parent: what upgrades kept aside.
const KEPT: &str = "kept";

/// The sections, in the order in which they are shown.
pub(super) fn sections(
    facts: &Facts,
    more: &More,
    pools: &[PoolState],
    slots: Option<&Summary>,
    journal: &Journal,
) -> Vec<Section> {
    let all = [
        ("disks", disks(facts, more, pools)),
        ("pools", pools.iter().map(pool).collect()),
        ("datasets", datasets(facts, more)),
        ("slots", self::slots(facts, slots, journal)),
        ("upgrades", upgrades(journal)),
        ("boots", boots(more)),
    ];
    all.into_iter().map(|(name, rows)| Section { name, rows }).collect()
}

/// Every disk that is there, then every one that is not.
fn disks(facts: &Facts, more: &More, pools: &[PoolState]) -> Vec<Row> {
    let there = more.disks.iter().map(|disk| {
        let is = purpose(facts, disk);
        let serial = disk.serial.as_deref();
        let name = disk_name(&disk.name, serial);
        Row {
            text: format!("{name}, {}: {is}.", bytes(disk.size)),
            fields: vec![
                ("name", text(&disk.name)),
                ("serial", maybe(serial)),
                ("size", disk.size.to_string()),
                ("is", text(&is)),
            ],
        }
    });
    let missing = pools.iter().flat_map(|pool| {
        pool.missing.iter().map(|disk| Row {
            text: format!("Missing of pool {}: {}.", pool.name, disk.text),
            fields: Vec::new(),
        })
    });
    there.chain(missing).collect()
}

/// What a disk is for.
fn purpose(facts: &Facts, disk: &Disk) -> String {
    let mut uses = Vec::new();
    if let Ok(search) = &facts.drive {
        let name = disk_name(&disk.name, disk.serial.as_deref());
        match &search.drive {
            Some(drive) if drive.disk == disk.name => uses.push("the OS drive".to_owned()),
            _ if search.alike.contains(&name) => {
                uses.push("carries the labels of an OS drive".to_owned());
            }
            _ => {}
        }
    }
    for pool in &facts.round.found {
        let places = places(pool);
        for (guid, _) in pool.devices.iter().filter(|(_, device)| device.disk == disk.name) {
            let place = places.get(guid).map_or("part", String::as_str);
            uses.push(format!("pool {}, {place}", pool.name));
        }
    }
    if disk.is_aside {
        uses.push("a spare or cache device".to_owned());
    }
    match uses.is_empty() {
        true => "nothing that nanozfs knows".to_owned(),
        false => uses.join("; "),
    }
}

/// One line; programs have it among the pools.
fn pool(pool: &PoolState) -> Row {
    let health = match (&pool.health, pool.imported) {
        (Some(health), _) => health.as_str(),
        (None, Some(false)) => "not imported",
        (None, _) => "not known whether it is imported",
    };
    let mut line = format!("{}: {health}", pool.name);
    if let (Some(size), Some(free)) = (pool.size, pool.free) {
        line = format!("{line}, {}, of which {} are free", bytes(size), bytes(free));
    }
    Row { text: format!("{line}."), fields: Vec::new() }
}

/// The layout's datasets, and where they are mounted.
fn datasets(facts: &Facts, more: &More) -> Vec<Row> {
    let mounts = facts.mounts.as_deref().unwrap_or_default();
    let row = |dataset: &Dataset| {
        let name = &dataset.name;
        let mount = mounts.iter().find(|one| one.fstype == "zfs" && one.source == *name);
        let at = mount.map(|one| one.at.display().to_string());
        let used = more.used.get(name).copied();
        let place = match &at {
            Some(at) => format!("on {at}"),
            None if dataset.can_mount == CanMount::Off => "holds others".to_owned(),
            None if dataset.encrypted && !dataset.key_available => {
                "not mounted, its key is not loaded".to_owned()
            }
            None => "not mounted".to_owned(),
        };
        let size = used.map(|used| format!(", {}", bytes(used))).unwrap_or_default();
        Row {
            text: format!("{name}: {place}{size}."),
            fields: vec![
                ("name", text(name)),
                ("mounted", maybe(at.as_deref())),
                ("used", number(used)),
            ],
        }
    };
    let kept = |pool: &KnownPool| format!("{}/{}/{KEPT}", pool.name, facts.config.dataset);
    let of_pool = |pool: &KnownPool| -> Vec<Row> {
        // What upgrades kept aside is as much again, for each of them.
        let kept = kept(pool);
        let is_kept = |name: &str| {
            name.strip_prefix(&kept).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        pool.datasets.iter().filter(|one| !is_kept(&one.name)).map(row).collect()
    };
    facts.layouts.iter().flat_map(of_pool).collect()
}

fn slots(facts: &Facts, slots: Option<&Summary>, journal: &Journal) -> Vec<Row> {
    let Some(drive) = facts.drive.as_ref().ok().and_then(|search| search.drive.as_ref()) else {
        return Vec::new();
    };
    let started = facts.slots.as_ref().ok().and_then(Option::as_ref);
    let row = |role: Role| {
        let provider = drive.parts.get(&role)?;
        let running = drive.running == Some(role);
        let next = slots.is_some_and(|slots| slots.next_boot == Some(role));
        let marks = started.map(|one| one.selection.slot(role).flags.to_string());
        let holds = match running {
            true => image_of(journal, role),
            false => slots.map(|slots| slots.other_holds.clone()),
        };
        let mut line = format!("{}, {provider}", capital(role.name()));
        if let Some(marks) = marks.as_ref().filter(|marks| *marks != "[]") {
            line = format!("{line}, {marks}");
        }
        for (so, words) in [(running, "runs"), (next, "boots next")] {
            line = if so { format!("{line}, {words}") } else { line };
        }
        if let Some(holds) = &holds {
            line = format!("{line}, holds {holds}");
        }
        Some(Row {
            text: format!("{line}."),
            fields: vec![
                ("slot", text(letter(role))),
                ("provider", text(provider)),
                ("marks", maybe(marks.as_deref())),
                ("running", running.to_string()),
                ("next", next.to_string()),
                ("holds", maybe(holds.as_deref())),
            ],
        })
    };
    SLOTS.into_iter().filter_map(row).collect()
}

/// What the slot that runs holds, where the journal says so.
fn image_of(journal: &Journal, role: Role) -> Option<String> {
    let tried = journal.switch.as_ref().filter(|switch| switch.to == role);
    let kept = || journal.last_committed().filter(|past| past.to == role).map(|past| &past.image);
    let image = tried.map(|switch| &switch.image).or_else(kept)?;
    (!image.name.is_empty()).then(|| format!("{} {}", image.name, image.version))
}

/// The last switch that ended.
fn upgrades(journal: &Journal) -> Vec<Row> {
    let row = |past: &crate::upgrade::journal::Past| Row {
        text: format!("{}.", ended(past)),
        fields: vec![
            ("id", text(&past.id)),
            ("slot", text(letter(past.to))),
            ("name", text(&past.image.name)),
            ("version", text(&past.image.version)),
            ("end", text(past.end.name())),
            ("why", text(&past.why)),
        ],
    };
    journal.past.last().map(row).into_iter().collect()
}

/// The last boots, as the OS drive remembers them.
fn boots(more: &More) -> Vec<Row> {
    let row = |past: &PastBoot| {
        let began = id_of(past.began);
        let mode = past.mode.map(Mode::name);
        let end = match (past.finished, mode) {
            (true, Some(mode)) => {
                format!("mode {mode}, at its end after {} s", past.took.as_secs())
            }
            (true, None) => format!("mode not known, at its end after {} s", past.took.as_secs()),
            (false, _) => "did not come to its end".to_owned(),
        };
        Row {
            text: format!("{began}: {end}."),
            fields: vec![
                ("began", text(&began)),
                ("mode", maybe(mode)),
                ("seconds", number(past.finished.then_some(past.took.as_secs()))),
                ("finished", past.finished.to_string()),
            ],
        }
    };
    more.boots.iter().map(row).collect()
}

/// A size as people say it, in powers of 1024; less than a megabyte is one.
fn bytes(count: u64) -> String {
    const UNITS: [(u64, &str); 2] = [(1 << 40, "TB"), (1 << 30, "GB")];
    match UNITS.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) if count / unit < 10 => {
            format!("{}.{} {name}", count / unit, count % unit * 10 / unit)
        }
        Some((unit, name)) => format!("{} {name}", count / unit),
        None => megabytes(count),
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_said_in_few_digits() {
        let table = [
            (0, "0 MB"),
            (1, "1 MB"),
            (256 << 20, "256 MB"),
            (8_000_000_000, "7.4 GB"),
            (931 << 30, "931 GB"),
            (4_000_787_030_016, "3.6 TB"),
            (u64::MAX, "16777215 TB"),
        ];
        for (count, words) in table {
            assert_eq!(bytes(count), words);
        }
    }
}
