//! Leading the machine to the other slot, and calling that off: `upgrade arm`, `cancel`, `rollback`.

use super::data::{self, Goal};
use super::journal::{Data, End, Image, Installed, Journal, Past, Phase, Switch};
use super::machine::{self, Verdict};
use super::select;
use super::trial::{self, Started};
use super::work::{self, Work};
use crate::boot::Boot;
use crate::boot::layout::KnownPool;
use crate::configuration::confirm;
use crate::format::geom::Mesh;
use crate::report::{Code, Exit, Finding};

/// What is to be tried, and with which data.
struct Aim {
    image: Image,
    data: Data,
}

/// `upgrade arm`: the next boot tries what is installed in the other slot. Takes the snapshots that
/// lead back first, and marks the slot last. `force` tries an image again that failed. With `-n`
/// the slot holds `shown`, where that is what an install would have written.
pub fn arm(boot: &mut Boot<'_, '_>, force: bool, shown: Option<Image>) -> Exit {
    let Some((mut started, pool, journal)) = ready(boot) else { return Exit::Failed };
    let other = select::opposite(started.running);
    let installed = journal.startable(other, trial::drive_id(&started.drive));
    let installed = installed.map(|one| one.image.clone());
    let Some(image) = shown.filter(|_| !boot.act).or(installed) else {
        let what = format!("{}: nothing was installed in it that could be tried", other.name());
        boot.find(Finding::new(Code::E68, what));
        return Exit::Failed;
    };
    if let Some(past) = journal.failure(&image.digest).filter(|_| !force) {
        boot.find(
            failed_before(past.why.as_str(), &past.image).next("nanozfs upgrade arm --force"),
        );
        return Exit::Failed;
    }
    let aim = Aim { image, data: Data::Keep };
    lead(boot, &mut started, &pool, journal, aim)
}

/// The finding about an image that failed a trial.
pub fn failed_before(why: &str, image: &Image) -> Finding {
    let what = format!("{} {} failed a trial on this machine", image.name, image.version);
    Finding::new(Code::E64, what).detail("why", why)
}

/// `upgrade rollback`: the next boot is the system before the last upgrade, with the data of then.
/// In a trial it gives the trial up.
pub fn rollback(boot: &mut Boot<'_, '_>) -> Exit {
    let Some((mut started, pool, journal)) = trial::machine_now(boot) else { return Exit::Failed };
    if matches!(trial::decide(&started, &journal).verdict, Verdict::Trial | Verdict::UnknownTrial) {
        let other = select::opposite(started.running).name();
        boot.console.say(&format!("the trial is not kept: the next boot goes to {other}"));
        return Exit::Done;
    }
    if !is_idle(boot, &journal) {
        return Exit::Failed;
    }
    let other = select::opposite(started.running);
    let past = match last_upgrade(&started, &journal) {
        Ok(past) => past,
        Err(why) => {
            boot.find(Finding::new(Code::E76, why));
            return Exit::Failed;
        }
    };
    // The trial would run with the present data, where those of then are gone.
    let root = format!("{}/{}", pool.name, boot.config.dataset);
    let goal = Goal::Restore { id: past.id.clone(), aside: fresh_id(boot, &journal) };
    // Snapshots that an earlier way back left with what is kept are needed now.
    let promoted = work::data_goal(boot, &root, Goal::Promote);
    if let Err(error) = promoted.and_then(|state| data::Plan::from(state, goal)) {
        let what = format!("the data of {} cannot be had", past.id);
        boot.find(Finding::failed(Code::E76, &what, &error).next("nanozfs upgrade kept"));
        return Exit::Failed;
    }
    let before = journal.past.iter().rev().find(|one| one.to == other && one.end == End::Committed);
    let image = before.map(|one| one.image.clone()).unwrap_or_default();
    let aim = Aim { image, data: Data::Restore(past.id.clone()) };
    lead(boot, &mut started, &pool, journal, aim)
}

/// The upgrade that a rollback undoes.
///
/// # Errors
///
/// Why there is no way back, in words.
pub fn last_upgrade<'a>(started: &Started, journal: &'a Journal) -> Result<&'a Past, String> {
    let other = select::opposite(started.running);
    let past = journal.last_committed().filter(|past| past.to == started.running);
    let past = past.ok_or("no upgrade of this system is remembered")?;
    match journal.installed.as_ref().filter(|one| one.slot == other) {
        None => Ok(past),
        Some(Installed { image, complete: true, .. }) => {
            Err(format!("{} holds {} {} now", other.name(), image.name, image.version))
        }
        Some(_) => Err(format!("{} was written to since, and holds nothing", other.name())),
    }
}

/// `upgrade cancel`: the next boot is this system again. The snapshots stay.
pub fn cancel(boot: &mut Boot<'_, '_>) -> Exit {
    let Some((started, pool, journal)) = trial::machine_now(boot) else { return Exit::Failed };
    let verdict = trial::decide(&started, &journal).verdict;
    match (&journal.switch, verdict) {
        (Some(switch), Verdict::Armed | Verdict::Steady) => {
            let steps = machine::cancel(switch);
            let root = format!("{}/{}", pool.name, boot.config.dataset);
            let slot = started.running.name();
            let done = Work::new(started, root, journal).take(boot, &steps);
            if done && boot.act {
                boot.console.say(&format!("called off: the next boot is {slot} again"));
            }
            if done { Exit::Done } else { Exit::Failed }
        }
        (_, Verdict::Trial | Verdict::UnknownTrial) => {
            let what = "a trial is running already";
            boot.find(Finding::new(Code::E69, what).next("nanozfs upgrade rollback --reboot"));
            Exit::Failed
        }
        _ => {
            boot.console.say("nothing is armed");
            Exit::Nothing
        }
    }
}

/// The machine, when no switch is under way.
pub fn ready(boot: &mut Boot<'_, '_>) -> Option<(Started, KnownPool, Journal)> {
    let (started, pool, journal) = trial::machine_now(boot)?;
    is_idle(boot, &journal).then_some((started, pool, journal))
}

fn is_idle(boot: &mut Boot<'_, '_>, journal: &Journal) -> bool {
    let Some(switch) = &journal.switch else { return true };
    let what = match switch.phase {
        Phase::Armed => "the next boot tries the other slot already",
        Phase::Trial => "a trial is not decided yet",
        Phase::Committing => "a trial is being kept",
    };
    boot.find(Finding::new(Code::E69, what));
    false
}

/// Snapshots, journal, mark: in this order. Fails with nothing armed.
fn lead(
    boot: &mut Boot<'_, '_>,
    started: &mut Started,
    pool: &KnownPool,
    mut journal: Journal,
    aim: Aim,
) -> Exit {
    let (from, to) = (started.running, select::opposite(started.running));
    if let Some(why) = unfit(boot, started) {
        boot.find(Finding::new(Code::E75, why));
        return Exit::Failed;
    }
    // The snapshots would have it as not confirmed, and a way back take it back.
    if let Some(finding) = confirm::waiting(boot) {
        boot.find(finding);
        return Exit::Failed;
    }
    let root = format!("{}/{}", pool.name, boot.config.dataset);
    let id = fresh_id(boot, &journal);
    if let Err(error) = work::data_goal(boot, &root, Goal::Snapshot { id: id.clone() }) {
        boot.find(Finding::failed(Code::E72, "no way back could be made for the data", &error));
        return Exit::Failed;
    }
    let drive = trial::drive_id(&started.drive).to_owned();
    let Aim { image, data } = aim;
    journal.switch =
        Some(Switch { id, phase: Phase::Armed, from, to, data, image, drive, why: String::new() });
    if !work::write(boot, &root, &journal) {
        return Exit::Failed;
    }
    let image = journal.switch.as_ref().map(trial::image_name).unwrap_or_default();
    let actions = select::arm(&started.selection, from);
    if !trial::change(boot, started, &actions) {
        // It may be marked all the same. While it is, the journal must say what for.
        if let Ok(Some(now)) = trial::look(boot.host, &started.drive) {
            started.selection = now.selection;
            let actions = select::settle(&started.selection, from);
            if trial::change(boot, started, &actions) {
                journal.end(End::Cancelled, "the slot could not be marked");
                work::write(boot, &root, &journal);
            }
        }
        return Exit::Failed;
    }
    if boot.act {
        let (to, limit) = (to.name(), boot.config.trial_limit.as_secs());
        boot.console.say(&format!(
            "armed: the next boot tries {to}{image}; it is kept when it is healthy within {limit} s"
        ));
        if started.selection.scheme == select::Scheme::Mbr {
            let key = started.selection.slot(from).index;
            boot.console.say(&format!(
                "boot0 has no way back by itself when that kernel does not start: press F{key} then"
            ));
        }
    }
    Exit::Done
}

/// Why the other slot cannot be tried on this machine, whatever it holds.
pub fn unfit(boot: &Boot<'_, '_>, started: &Started) -> Option<String> {
    let mesh = boot.host.geom().ok().and_then(|xml| Mesh::parse(&xml).ok())?;
    select::unfit(boot.host, &mesh, &started.drive, &started.selection)
}

/// A name that no switch had before: the time, or a second later.
fn fresh_id(boot: &Boot<'_, '_>, journal: &Journal) -> String {
    let mut now = boot.host.services().now();
    loop {
        let id = super::journal::id_of(now);
        if !journal.past.iter().any(|past| past.id == id) {
            return id;
        }
        now += 1;
    }
}
