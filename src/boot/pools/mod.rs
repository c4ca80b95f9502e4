//! The known pools: waits for their disks, imports them, says what is missing.
//!
//! The labels on the disks say at once whether a pool is complete, so boot waits only while
//! waiting can help. A pool is asked for by GUID and from the very devices found; no other pool is
//! touched.

pub mod decide;
pub mod memory;
pub mod scan;
pub mod survey;

use std::time::Duration;

use super::layout::{self, KnownPool};
use super::{Action, Boot, osdrive, past};
use crate::format::zpool::{Health, Pool};
use crate::host::{Error, Import, Kind};
use crate::report::{Code, Finding};

use decide::{Round, Wanted};
use scan::Scanner;
use survey::{FoundPool, Missing};

/// The helper: imports what is known and answers what is imported then.
pub fn step(boot: &mut Boot<'_, '_>) -> (String, Vec<KnownPool>) {
    if boot.config.recovery {
        let what = "mode=recovery was set: no pool is looked at";
        boot.find(Finding::new(Code::E29, what));
        return ("left alone, as asked".to_owned(), Vec::new());
    }
    if let Some(finding) = past::objection(boot) {
        boot.find(finding);
        return ("left alone".to_owned(), Vec::new());
    }
    let Some(before) = layout::list(boot) else {
        return ("left alone: what is imported is not known".to_owned(), Vec::new());
    };
    let round = wait(boot, &before);
    for finding in &round.findings {
        boot.find(finding.clone());
    }
    let began = boot.host.uptime();
    let mut failed = import(boot, &round);
    let took = boot.host.uptime().saturating_sub(began);
    let after = match round.imports().is_empty() || !boot.act {
        true => before.clone(),
        false => match layout::list(boot) {
            Some(after) => {
                failed.extend(not_there(boot, &round, &failed, &after));
                after
            }
            None => before.clone(),
        },
    };
    let known = layout::known(boot, &after);
    let pools = layout::read(boot, &known);
    for (pool, layout) in known.iter().zip(&pools) {
        health(boot, pool, &round, layout);
        remember(boot, &round, layout);
    }
    (line(boot, &round, &before, &after, &failed, took), pools)
}

/// What there is of the known pools now, without waiting and without a word; `None`, with a
/// finding, when that cannot be known.
pub fn look(boot: &mut Boot<'_, '_>) -> Option<Round> {
    let imported = layout::list(boot)?;
    let mesh = osdrive::mesh(boot)?;
    let scan = Scanner::default().scan(boot.host, &mesh);
    let (found, twins) = survey::survey(&scan.members);
    Some(decide::decide(&boot.config.pools, found, &imported).with_notes(&scan.damaged, &twins))
}

/// Looks at the disks until every known pool is complete, or the time is over.
fn wait(boot: &mut Boot<'_, '_>, imported: &[Pool]) -> Round {
    let deadline = boot.host.uptime() + if boot.act { boot.config.wait } else { Duration::ZERO };
    let mut scanner = Scanner::default();
    let mut told = false;
    loop {
        // What osdrive saw is a moment old: what has come since wakes the first wait at once.
        let mesh = boot.mesh.take().or_else(|| osdrive::mesh(boot));
        let Some(mesh) = mesh else { return Round::default() };
        let scan = scanner.scan(boot.host, &mesh);
        let (found, twins) = survey::survey(&scan.members);
        let mut round = decide::decide(&boot.config.pools, found, imported);
        round.spares = scan.spares();
        let waiting = round.waiting();
        if !boot.act && !waiting.is_empty() {
            let (limit, what) = (boot.config.wait.as_secs(), waiting.join("; "));
            boot.console.say(&format!("would wait up to {limit} s for {what}"));
        }
        if waiting.is_empty() || boot.host.uptime() >= deadline {
            return round.with_notes(&scan.damaged, &twins);
        }
        if !told || boot.host.progress_asked() {
            let left = deadline.saturating_sub(boot.host.uptime()).as_secs_f64().ceil();
            boot.console.say(&format!("pools: waiting up to {left} s for {}", waiting.join("; ")));
            told = true;
        }
        boot.host.wait_for_devices(deadline);
    }
}

/// Imports, side by side. The pools that failed.
fn import(boot: &mut Boot<'_, '_>, round: &Round) -> Vec<String> {
    let imports: Vec<_> = round
        .imports()
        .into_iter()
        .map(|pool| Import {
            name: pool.name.clone(),
            guid: pool.guid,
            devices: [pool.paths(), round.spares.clone()].concat(),
            limit: boot.config.import_limit,
        })
        .collect();
    for import in &imports {
        let text =
            format!("import {} ({}) from {}", import.name, import.guid, import.devices.join(" "));
        match boot.act {
            true => boot.console.detail(&text),
            false => boot.console.say(&format!("would {text}")),
        }
    }
    if imports.is_empty() {
        return Vec::new();
    }
    if !boot.act {
        boot.stop_at_barrier();
        return Vec::new();
    }
    past::begin(boot);
    let results = boot.host.import(&imports);
    let mut failed = Vec::new();
    for (import, result) in imports.iter().zip(results) {
        match result {
            Ok(()) => boot.changed(1),
            Err(error) => {
                boot.find(import_failed(&import.name, &error));
                failed.push(import.name.clone());
            }
        }
    }
    failed
}

/// The pools whose import ended well and which are not imported for all that. Each is a finding.
fn not_there(
    boot: &mut Boot<'_, '_>,
    round: &Round,
    failed: &[String],
    after: &[Pool],
) -> Vec<String> {
    let mut names = Vec::new();
    for pool in round.imports() {
        let there = after.iter().any(|other| other.guid == pool.guid);
        if !there && !failed.contains(&pool.name) {
            let what = format!("pool {}: zpool import ended well, and imported nothing", pool.name);
            boot.find(Finding::new(Code::E26, what));
            names.push(pool.name.clone());
        }
    }
    names
}

/// Why an import did not succeed, as a finding.
fn import_failed(pool: &str, error: &Error) -> Finding {
    match error.kind {
        Kind::TimedOut(limit) => {
            let what = format!("pool {pool}: not imported after {} s: given up", limit.as_secs());
            Finding::new(Code::E25, what)
        }
        Kind::ProgramMissing | Kind::Nonsense => {
            Finding::failed(Code::E26, &format!("pool {pool}"), error)
        }
        _ => Finding::failed(Code::E24, &format!("pool {pool}"), error),
    }
}

/// Says what is wrong with an imported pool.
fn health(boot: &mut Boot<'_, '_>, pool: &Pool, round: &Round, layout: &KnownPool) {
    let memory = parent(boot, layout).and_then(|(_, disks)| disks);
    let found = round.found.iter().find(|found| found.guid == pool.guid);
    let assessment = found.map(FoundPool::assess);
    let missing = assessment.as_ref().map(|it| it.missing.as_slice()).unwrap_or_default();
    let text = match &assessment {
        Some(assessment) if !missing.is_empty() => format!("{}: ", assessment.text),
        _ => String::new(),
    };
    let mut finding = match &pool.health {
        Health::Online if pool.readonly => {
            Finding::new(Code::E24, format!("pool {}: imported, but read-only", pool.name))
        }
        Health::Online => return,
        Health::Degraded => {
            Finding::new(Code::E21, format!("pool {}: {text}imported DEGRADED", pool.name))
                .next(format!("zpool status {}", pool.name))
        }
        other => {
            Finding::new(Code::E24, format!("pool {}: {text}imported, but {other}", pool.name))
                .next(format!("zpool status {}", pool.name))
        }
    };
    for disk in missing {
        finding = finding.detail("missing", memory::describe(disk, memory.as_deref()));
    }
    boot.find(finding);
}

/// The layout's parent dataset and what it remembers of the disks.
fn parent(boot: &Boot<'_, '_>, layout: &KnownPool) -> Option<(String, Option<String>)> {
    let name = format!("{}/{}", layout.name, boot.config.dataset);
    let dataset = layout.datasets.iter().find(|dataset| dataset.name == name)?;
    Some((name, dataset.disks.clone()))
}

/// Has a complete pool remember its disks, if they are others than it remembers.
fn remember(boot: &mut Boot<'_, '_>, round: &Round, layout: &KnownPool) {
    let found = round.found.iter().find(|found| found.guid == layout.guid);
    let complete = |found: &&FoundPool| found.assess().verdict == survey::Verdict::Complete;
    let Some(value) = found.filter(complete).and_then(memory::remember) else { return };
    let Some((dataset, known)) = parent(boot, layout) else { return };
    if known.as_ref() == Some(&value) {
        return;
    }
    let action = Action::SetProperty { dataset, name: memory::PROPERTY, value };
    if let Err(error) = boot.perform(&action) {
        // Only a name in a later message is lost by it.
        boot.console.detail(&error.to_string());
    }
}

/// The helper's line: every known pool and how it is.
fn line(
    boot: &Boot<'_, '_>,
    round: &Round,
    before: &[Pool],
    after: &[Pool],
    failed: &[String],
    took: Duration,
) -> String {
    let mut parts = Vec::new();
    for pool in layout::known(boot, after) {
        if before.iter().any(|other| other.guid == pool.guid) {
            parts.push(format!("{} is imported already", pool.name));
        } else if let Some(found) = round.found.iter().find(|found| found.guid == pool.guid) {
            let disks = match found.devices.len() {
                1 => "1 disk".to_owned(),
                count => format!("{count} disks"),
            };
            parts.push(format!("{} imported from {disks}", pool.name));
        }
    }
    if parts.len() == 1 && took >= Duration::from_millis(100) && boot.act {
        parts =
            parts.into_iter().map(|part| format!("{part}, {:.1} s", took.as_secs_f64())).collect();
    }
    let absent = round.wanted.iter().filter_map(Wanted::absent_name);
    parts.extend(absent.chain(failed.iter().cloned()).map(|name| format!("{name} not imported")));
    if !boot.act {
        parts.extend(round.imports().iter().map(|pool| format!("{} to be imported", pool.name)));
    }
    match parts.is_empty() {
        true => "none".to_owned(),
        false => parts.join("; "),
    }
}

/// What is missing of a pool, for the line that says what is waited for.
fn missing_disks(missing: &[Missing]) -> String {
    let expected: Vec<_> = missing.iter().filter(|disk| !disk.out_of_service).collect();
    match expected.as_slice() {
        [disk] => memory::describe(disk, None),
        disks => format!("{} disks", disks.len()),
    }
}

#[cfg(test)]
mod tests;
