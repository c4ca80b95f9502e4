//! The same for commands that change the configuration. A cut or an error in one of them may lead to
//! either of two ends: what a restart would show if nothing had been typed, or what it would show
//! without the cut. Where files are only on their way, typing the same again leads to the latter.

use std::io;

use super::scene::{Scene, Usual, in_table, lost};
use super::{ERRNOS, Report};
use crate::lab::play::{End, run};
use crate::lab::state::State;
use crate::lab::{Cut, Lab, Plan};

/// Every cut and every error in one run.
pub(super) fn explore(scene: &Scene<'_>, report: &mut Report) -> io::Result<()> {
    let usual = match scene.usual()? {
        Ok(usual) => usual,
        Err(why) => {
            report.failures.push(format!("{}: {why}", scene.place));
            return Ok(());
        }
    };
    let untouched = scene.again(&scene.copy("untouched")?, Cut::Kept)?.1;
    let settled = scene.again(&scene.copy_after()?, Cut::Kept)?.1;
    let ends = [settled, untouched];
    for number in 1..=usual.effects + 1 {
        for cut in Cut::ALL {
            report.cuts += 1;
            let lab = scene.copy("cut")?;
            let (end, _) = scene.run(&lab, Plan::CutAt(number as u64));
            let place = format!("{}: cut before effect {number}, {}", scene.place, cut.name());
            match judge(scene, &lab, &end, cut, &ends, &usual)? {
                None => report.survived += 1,
                Some(why) => report.failures.push(format!("{place}: {why}")),
            }
            if scene.certain.get() {
                break;
            }
        }
    }
    for number in 1..=usual.effects {
        for (errno, name) in ERRNOS {
            report.errors += 1;
            let lab = scene.copy("fail")?;
            let (end, _) = scene.run(&lab, Plan::FailAt(number as u64, errno));
            let place = format!("{}: effect {number} fails with {name}", scene.place);
            match judge(scene, &lab, &end, Cut::Kept, &ends, &usual)? {
                None => report.endured += 1,
                Some(why) => report.failures.push(format!("{place}: {why}")),
            }
        }
    }
    Ok(())
}

impl Scene<'_> {
    /// The machine after the run.
    fn copy_after(&self) -> io::Result<Lab> {
        let lab = self.copy("after")?;
        self.run(&lab, Plan::Nothing);
        Ok(lab)
    }
}

/// What becomes of the machine: nothing when it is as it should be.
fn judge(
    scene: &Scene<'_>,
    lab: &Lab,
    end: &End,
    cut: Cut,
    ends: &[State; 2],
    usual: &Usual,
) -> io::Result<Option<String>> {
    let at = lab.effects().last().map_or_else(String::new, |last| format!(" (after {last})"));
    let wrong = |why: String| Ok(Some(format!("{why}{at}")));
    match end {
        End::Cut => {}
        End::Exit(code) if in_table(*code) => {}
        end => return wrong(format!("it ended with {end:?}")),
    }
    let (end, state) = scene.again(lab, cut)?;
    if !matches!(end, End::Exit(code) if in_table(code)) {
        return wrong(format!("the next boot ended with {end:?}"));
    }
    if ends.iter().any(|end| difference(end, &state).is_none()) {
        return Ok(None);
    }
    if let Some(loss) = lost(usual, &state, false).filter(|loss| !is_ours(loss)) {
        return wrong(format!("lost or torn: {loss}"));
    }
    // Files are on their way: the same again.
    let (end, _) = run(lab, scene.words, false, Plan::Nothing);
    if scene.is_boot || !matches!(end, End::Exit(code) if in_table(code)) {
        let why = ends.iter().find_map(|end| difference(end, &state)).unwrap_or_default();
        return wrong(format!("the next boot ends otherwise: {why}"));
    }
    let (_, state) = scene.again(lab, Cut::Kept)?;
    match ends.iter().find_map(|end| difference(end, &state)) {
        Some(why) if ends.iter().all(|end| difference(end, &state).is_some()) => {
            wrong(format!("typed again it ends otherwise: {why}"))
        }
        _ => Ok(None),
    }
}

/// The first difference that counts: names with times in them do not.
fn difference(one: &State, other: &State) -> Option<String> {
    one.differences(other).into_iter().find(|line| !is_ours(line))
}

/// It is about the record of a change, or about a snapshot, which only grow in number; or a file
/// system was mended.
fn is_ours(line: &str) -> bool {
    let mended = line.starts_with("volume ") && line.ends_with(" -> gone");
    line.contains(".nanozfs") || line.starts_with("snapshot ") || mended
}
