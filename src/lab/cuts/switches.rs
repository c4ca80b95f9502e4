//! The same for switches between slots, where a cut may lead to either of two ends: the one that
//! there would be if nothing had been typed, or the one that there would be without the cut.
//!
//! A cut in a trial may also lead to where a trial leads that is not kept.
//!
//! After a cut the machine is left alone with rc: it boots, settles, and does so again until nothing
//! is under way. On the way each boot must be a normal one, but for the one after two boots that were
//! cut off, which leaves the pools alone until it is told to forget them. At the end slot and data must
//! be those of one of the two ends, and everything that was kept before must be there still, but for
//! what was to be pruned.

use std::collections::BTreeSet;
use std::io;

use super::Report;
use super::scene::{STOPPED, Scene, after_two, fresh, in_table, row};
use crate::host::Host;
use crate::lab::play::{End, boot_command, run, settle_command};
use crate::lab::{Cut, Lab, Plan};
use crate::upgrade::journal::{Journal, PROPERTY};

/// More boots than any way to an end takes.
const BOOTS: usize = 8;
/// Of the effects of the boot after a cut, every so-manieth is cut as well.
const STRIDE: usize = 7;
/// What an effect fails with.
const ERRNOS: [(i32, &str); 4] =
    [(libc::EIO, "EIO"), (libc::ENOSPC, "ENOSPC"), (libc::EBUSY, "EBUSY"), (libc::ENXIO, "ENXIO")];
/// The datasets whose content must match the slot.
const DATA: [&str; 2] = ["tank/nano/cfg", "tank/nano/var"];

/// Where a machine ended: the slot, and what its data are.
#[derive(Clone, Debug, PartialEq, Eq)]
struct World {
    slot: String,
    data: Vec<Option<String>>,
}

/// Every cut and every error in one run.
pub(super) fn explore(scene: &Scene<'_>, report: &mut Report) -> io::Result<()> {
    let lab = scene.copy("usual")?;
    let mut kept = snapshots(&lab);
    let (end, _) = scene.run(&lab, Plan::Nothing);
    if scene.words.iter().any(|word| word == "prune") {
        // What somebody wants destroyed may go; nothing else.
        kept = kept.intersection(&snapshots(&lab)).cloned().collect();
    }
    if !matches!(end, End::Exit(_)) {
        report.failures.push(format!("{}: without a cut: {end:?}", scene.place));
        return Ok(());
    }
    let effects = lab.effects().len();
    let mut ends = Vec::new();
    for lab in [lab, scene.copy("untouched")?] {
        lab.power_cut(Cut::Kept)?;
        for lab in [interrupted(scene, &lab)?, lab] {
            match run_on(&lab) {
                Ok(world) if ends.contains(&world) => {}
                Ok(world) => ends.push(world),
                Err(why) => report.failures.push(format!("{}: without a cut: {why}", scene.place)),
            }
        }
    }
    for number in 1..=effects + 1 {
        for cut in Cut::OF_DRIVES {
            report.cuts += 1;
            let name = cut.name();
            let place = format!("{}: cut before effect {number}, {name}", scene.place);
            let lab = scene.copy("cut")?;
            let (end, _) = scene.run(&lab, Plan::CutAt(number as u64));
            if let End::Panic(message) = end {
                report.failures.push(format!("{place}: it panicked: {message}"));
                continue;
            }
            lab.power_cut(cut)?;
            second_cuts(scene, &lab, (number, &place), (&ends, &kept), report)?;
            match judge(&lab, &ends, &kept) {
                None => report.survived += 1,
                Some(why) => report.failures.push(format!("{place}: {why}")),
            }
            if scene.certain.get() {
                break;
            }
        }
    }
    for number in 1..=effects {
        for (errno, name) in ERRNOS {
            report.errors += 1;
            let lab = scene.copy("fail")?;
            let (end, _) = scene.run(&lab, Plan::FailAt(number as u64, errno));
            lab.power_cut(Cut::Kept)?;
            let why = match end {
                End::Exit(code) if in_table(code) => judge(&lab, &ends, &kept),
                end => Some(format!("it ended with {end:?}")),
            };
            match why {
                None => report.endured += 1,
                Some(why) => {
                    let place = scene.place;
                    report.failures.push(format!("{place}: effect {number} fails, {name}: {why}"));
                }
            }
        }
        report.hangs += 1;
        match hang(scene, number as u64, (&ends, &kept), report)? {
            None => report.outlasted += 1,
            Some(why) => {
                let place = scene.place;
                report.failures.push(format!("{place}: effect {number} hangs: {why}"));
            }
        }
    }
    Ok(())
}

/// One effect gets no answer. A program is given up after its time, and the run goes on; where the
/// run itself hangs, the guard of a trial restarts the machine, or else a person does.
fn hang(
    scene: &Scene<'_>,
    number: u64,
    (ends, kept): (&[World], &BTreeSet<String>),
    report: &mut Report,
) -> io::Result<Option<String>> {
    let lab = scene.copy("hang")?;
    let (end, _) = scene.run(&lab, Plan::HangAt(number));
    let guard = lab.lock().machine.guard;
    let cut = match (end, guard) {
        (End::Exit(code), _) if in_table(code) => Cut::Kept,
        (End::Hung, Some(deadline)) => {
            let left = deadline.saturating_sub(lab.lock().machine.uptime);
            lab.lock().time_passes(left);
            if !lab.lock().machine.restarting {
                return Ok(Some("the guard did not restart it".to_owned()));
            }
            report.guarded += 1;
            Cut::Kept
        }
        (End::Hung, None) => Cut::Lost,
        (end, _) => return Ok(Some(format!("it ended with {end:?}"))),
    };
    lab.power_cut(cut)?;
    Ok(judge(&lab, ends, kept))
}

/// The same machine after a boot that was cut off at its end: a trial that was is not kept.
fn interrupted(scene: &Scene<'_>, lab: &Lab) -> io::Result<Lab> {
    let cut = fresh(lab, &scene.root.join("interrupted"))?;
    cut.power_on()?;
    run(&cut, &boot_command(), true, Plan::Nothing);
    cut.power_cut(Cut::Kept)?;
    Ok(cut)
}

/// The power goes once more, in the boot after it came back.
fn second_cuts(
    scene: &Scene<'_>,
    cut: &Lab,
    (number, place): (usize, &str),
    (ends, kept): (&[World], &BTreeSet<String>),
    report: &mut Report,
) -> io::Result<()> {
    let again = || fresh(cut, &scene.root.join("second"));
    let lab = again()?;
    lab.power_on()?;
    run(&lab, &boot_command(), true, Plan::Nothing);
    let effects = lab.effects().len();
    for second in (1 + number % STRIDE..=effects).step_by(STRIDE) {
        report.cuts += 1;
        let lab = again()?;
        lab.power_on()?;
        let (end, _) = run(&lab, &boot_command(), true, Plan::CutAt(second as u64));
        let how = Cut::OF_DRIVES.get(second % Cut::OF_DRIVES.len()).copied().unwrap_or(Cut::Lost);
        lab.power_cut(how)?;
        let why = match end {
            End::Panic(message) => Some(format!("it panicked: {message}")),
            _ => judge(&lab, ends, kept),
        };
        match why {
            None => report.survived += 1,
            Some(why) => report
                .failures
                .push(format!("{place}, then before effect {second}, {}: {why}", how.name())),
        }
    }
    Ok(())
}

/// Lets the machine go on, and says what is wrong with where it ends.
fn judge(lab: &Lab, ends: &[World], kept: &BTreeSet<String>) -> Option<String> {
    let world = match run_on(lab) {
        Ok(world) => world,
        Err(why) => return Some(why),
    };
    if !ends.contains(&world) {
        return Some(format!("it ends in {world:?}, not in one of {ends:?}"));
    }
    let now = snapshots(lab);
    kept.difference(&now).next().map(|lost| format!("lost: {lost}"))
}

/// Boots and settles until nothing is under way.
fn run_on(lab: &Lab) -> Result<World, String> {
    let failed = |error: io::Error| error.to_string();
    let mut cleared = false;
    for _ in 0..BOOTS {
        lab.power_on().map_err(failed)?;
        let before = row(lab);
        match run(lab, &boot_command(), true, Plan::Nothing) {
            (End::Exit(0), _) => {}
            // Once: from then on each boot comes to its end.
            (end, output) if output.contains(STOPPED) && !cleared => {
                if let Some(why) = after_two(lab, &end, before) {
                    return Err(why);
                }
                cleared = true;
                lab.shutdown().map_err(failed)?;
                continue;
            }
            (end, output) => return Err(format!("a boot ended with {end:?}: {output}")),
        }
        if let (End::Panic(message), _) = run(lab, &settle_command(), true, Plan::Nothing) {
            return Err(format!("settle panicked: {message}"));
        }
        let journal = journal(lab)?;
        if journal.switch.is_none() && !lab.lock().machine.restarting {
            return world(lab).map_err(failed);
        }
        lab.shutdown().map_err(failed)?;
    }
    Err(format!("after {BOOTS} boots a switch is still under way"))
}

fn journal(lab: &Lab) -> Result<Journal, String> {
    let datasets = lab.datasets("tank/nano").map_err(|error| error.to_string())?;
    let root = datasets.iter().find(|dataset| dataset.name == "tank/nano");
    let text = root.and_then(|root| root.upgrade.as_deref()).unwrap_or("v=1");
    Journal::parse(text).map_err(|error| format!("{PROPERTY}: {error}"))
}

fn world(lab: &Lab) -> io::Result<World> {
    let slot = {
        let inner = lab.lock();
        let root = inner.machine.mounts.first().map(|one| one.tree.clone()).unwrap_or_default();
        root.rsplit('/').next().unwrap_or_default().to_owned()
    };
    let data: io::Result<Vec<_>> = DATA.iter().map(|name| lab.content(name)).collect();
    Ok(World { slot, data: data? })
}

/// What every snapshot holds, wherever it is.
fn snapshots(lab: &Lab) -> BTreeSet<String> {
    let names: Vec<String> = {
        let inner = lab.lock();
        let datasets = inner.machine.pools.iter().flat_map(|pool| &pool.datasets);
        datasets
            .flat_map(|one| {
                one.snapshots.iter().map(move |taken| format!("{}@{}", one.name, taken.name))
            })
            .collect()
    };
    let of = |name: &String| {
        let own = name.split_once('@').map_or("", |(_, own)| own);
        let content = lab.content(name).ok().flatten().unwrap_or_default();
        format!("{own} {content}")
    };
    names.iter().map(of).collect()
}
