//! The same for the history of the configuration. A cut may come while somebody's work is half in
//! `/cfg`: what is in memory is gone then, so the machine need not come out as without the cut.
//!
//! After a cut each file of `/cfg` is one of those that there were or are to be, every snapshot is
//! there still, the machine boots, and the same command comes to an end. After an error the same
//! command once more leads to where it would have led without the error.

use std::io;

use super::scene::{Scene, in_table};
use super::{ERRNOS, Report};
use crate::host::Host;
use crate::lab::play::{End, boot_command, run};
use crate::lab::state::State;
use crate::lab::{Cut, Lab, Plan};
use crate::report::Exit;

/// The dataset whose history it is.
const CFG: &str = "tank/nano/cfg";

/// What a machine has that counts: `/cfg`, `/etc`, the snapshots that there were.
struct World {
    cfg: State,
    etc: State,
    snapshots: State,
}

fn world(lab: &Lab) -> io::Result<World> {
    let all = lab.state()?;
    let part = |begin: &str| {
        let lines = all.lines.iter().filter(|(name, _)| name.starts_with(begin));
        State { lines: lines.map(|(name, line)| (name.clone(), line.clone())).collect() }
    };
    let (cfg, snapshots) = (part("pools/tank/@nano+cfg "), part("snapshot tank "));
    Ok(World { cfg, etc: part("/etc "), snapshots })
}

/// Every cut and every error in one command.
pub(super) fn explore(scene: &Scene<'_>, report: &mut Report) -> io::Result<()> {
    if scene.is_boot {
        // Boots have stories of their own, but for those that take something away.
        let (_, output) = scene.run(&scene.copy("usual")?, Plan::Nothing);
        if output.contains(" removed,") {
            report.add(scene.explore()?);
        }
        return Ok(());
    }
    let before = world(&scene.copy("usual")?)?;
    let lab = scene.copy("usual")?;
    let (end, _) = scene.run(&lab, Plan::Nothing);
    if !matches!(end, End::Exit(_)) {
        report.failures.push(format!("{}: without a cut: {end:?}", scene.place));
        return Ok(());
    }
    let effects = lab.effects().len();
    let after = world(&lab)?;
    for number in 1..=effects {
        for cut in Cut::ALL {
            report.cuts += 1;
            let lab = scene.copy("cut")?;
            scene.run(&lab, Plan::CutAt(number as u64));
            let last = lab.effects().last().map_or_else(String::new, ToString::to_string);
            lab.power_cut(cut)?;
            let why = match whole(&world(&lab)?, [&before, &after]) {
                None => goes_on(scene, &lab)?,
                some => some,
            };
            match why {
                None => report.survived += 1,
                Some(why) => report.failures.push(format!(
                    "{}: cut before effect {number}, {} (after {last}): {why}",
                    scene.place,
                    cut.name()
                )),
            }
            if scene.certain.get() {
                break;
            }
        }
        for (errno, name) in ERRNOS {
            report.errors += 1;
            let lab = scene.copy("fail")?;
            let (end, _) = scene.run(&lab, Plan::FailAt(number as u64, errno));
            let what = lab.effects().get(number - 1).map_or_else(String::new, ToString::to_string);
            let why = match end {
                End::Exit(code) if in_table(code) => {
                    match whole(&world(&lab)?, [&before, &after]) {
                        // The finding says what to type: a text tells nothing of its database.
                        None if what.starts_with("rebuild ") => None,
                        None => again(scene, &lab, &after)?,
                        some => some,
                    }
                }
                end => Some(format!("it ended with {end:?}")),
            };
            match why {
                None => report.endured += 1,
                Some(why) => report.failures.push(format!(
                    "{}: effect {number} ({what}) fails with {name}: {why}",
                    scene.place
                )),
            }
        }
    }
    Ok(())
}

/// Each file in `/cfg` is that of one of the worlds, or the one that was in `/etc`; no snapshot has
/// changed or gone.
fn whole(found: &World, [before, after]: [&World; 2]) -> Option<String> {
    for (name, line) in &before.snapshots.lines {
        if found.snapshots.lines.get(name) != Some(line) {
            return Some(format!("{name} is not what it was"));
        }
    }
    let names = [&found.cfg, &before.cfg, &after.cfg].map(|world| world.lines.keys());
    let names: std::collections::BTreeSet<&String> = names.into_iter().flatten().collect();
    for name in names.into_iter().filter(|name| !name.ends_with(".nanozfs.tmp")) {
        let line = |world: &State, name: &str| world.lines.get(name).cloned();
        let below = name.split_once(' ').map_or("", |(_, path)| path);
        let now = line(&found.cfg, name);
        let of_etc = line(&before.etc, &format!("/etc {below}"));
        let good = [line(&before.cfg, name), line(&after.cfg, name), of_etc];
        let is_list = below.starts_with(".nanozfs");
        let is_directory = now.as_ref().is_none_or(|line| line.starts_with("directory"));
        if !good.contains(&now) && !is_list && !is_directory {
            return Some(format!("{name}: {}", now.unwrap_or_default()));
        }
    }
    None
}

/// The machine boots, and the same command comes to an end.
fn goes_on(scene: &Scene<'_>, lab: &Lab) -> io::Result<Option<String>> {
    lab.power_on()?;
    for (words, under_rc) in [(boot_command(), true), (scene.words.to_vec(), false)] {
        let (end, output) = run(lab, &words, under_rc, Plan::Nothing);
        let good = match &end {
            End::Exit(code) => [Exit::Done, Exit::Nothing].iter().any(|exit| exit.code() == *code),
            _ => false,
        };
        // A file that is only in memory is gone with it, and cannot be meant any more.
        if !good && !output.contains("E93") {
            return Ok(Some(format!("then {} ended with {end:?}: {output}", words.join(" "))));
        }
    }
    Ok(None)
}

/// The same command once more, without an error, leads to the same end.
fn again(scene: &Scene<'_>, lab: &Lab, wanted: &World) -> io::Result<Option<String>> {
    lab.lock().machine.answers = scene.before.lock().machine.answers.clone();
    let (end, output) = run(lab, scene.words, false, Plan::Nothing);
    let End::Exit(_) = end else { return Ok(Some(format!("then it ended with {end:?}"))) };
    let found = world(lab)?;
    let differ = wanted.cfg.differences(&found.cfg).into_iter().next();
    let differ = differ.or_else(|| wanted.etc.differences(&found.etc).into_iter().next());
    if let Some(differ) = differ {
        return Ok(Some(format!("once more it leads elsewhere: {differ}: {output}")));
    }
    // A boot keeps no history.
    if scene.words.get(1).is_none_or(|command| command != "cfg") {
        return Ok(None);
    }
    let newest = lab.snapshots().list(CFG).ok().and_then(|all| all.last().cloned());
    let recorded = newest.map(|one| lab.content(&one.full_name())).transpose()?.flatten();
    match recorded == lab.content(CFG)? {
        true => Ok(None),
        false => Ok(Some(format!("what is in /cfg is in no snapshot: {output}"))),
    }
}
