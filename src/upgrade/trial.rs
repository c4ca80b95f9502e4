//! What a boot does about switches: before any pool, again before anything is mounted, and once all
//! is.
//!
//! [`machine`](super::machine) decides, [`work`](super::work) takes its steps. Each is finished on the
//! drive or the pool before the next one begins.

use super::guard;
use super::journal::{Journal, Switch};
use super::machine::{self, Decision, Facts, Marks, Step, Verdict};
use super::select::{self, Selection};
use super::work::Work;
use crate::boot::layout::{self, KnownPool};
use crate::boot::osdrive::{OsDrive, Role};
use crate::boot::{Boot, osdrive};
use crate::format::geom::Mesh;
use crate::host::{Flag, Host};
use crate::report::{Code, Finding};

/// What the drive said when the machine started, and how it is now.
#[derive(Clone, Debug)]
pub struct Started {
    /// The drive.
    pub drive: OsDrive,
    /// The slot that is running.
    pub running: Role,
    /// Which slot boots next.
    pub selection: Selection,
    /// By its flags, this boot is a trial.
    pub on_trial: bool,
}

impl Started {
    /// What decides, as it is now.
    fn marks(&self) -> Marks {
        let other = select::opposite(self.running);
        Marks {
            on_trial: self.on_trial,
            next: select::next_boot(&self.selection),
            failed: self.selection.has(other, Flag::BootFailed),
        }
    }
}

/// The drive's name in the journal: what stays when it is plugged in elsewhere.
pub fn drive_id(drive: &OsDrive) -> &str {
    drive.serial.as_deref().unwrap_or(&drive.disk)
}

/// Looks which slot boots. `None` where `/` is on no slot, or the drive has only one.
pub fn look(host: &dyn Host, drive: &OsDrive) -> crate::host::Result<Option<Started>> {
    if drive.running.is_none() {
        return Ok(None);
    }
    let mesh = Mesh::parse(&host.geom()?).map_err(|error| {
        crate::host::Error::new(crate::host::Kind::Nonsense, "kern.geom.confxml", error.to_string())
    })?;
    look_in(host, &mesh, drive)
}

/// [`look`], in a mesh that was read already.
pub fn look_in(
    host: &dyn Host,
    mesh: &Mesh,
    drive: &OsDrive,
) -> crate::host::Result<Option<Started>> {
    let Some(running) = drive.running.filter(|role| *role != Role::RecoveryCopy) else {
        return Ok(None);
    };
    let selection = match Selection::read(host, mesh, drive) {
        Ok(selection) => selection,
        Err(error) if error.kind == crate::host::Kind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let on_trial = select::is_trial(&selection, running);
    Ok(Some(Started { drive: drive.clone(), running, selection, on_trial }))
}

/// Before any pool is looked at: a trial makes sure that every other boot goes to the old slot.
pub fn begin(boot: &mut Boot<'_, '_>, drive: Option<&OsDrive>) -> Option<Started> {
    let drive = drive?;
    let looked = match boot.mesh() {
        Some(mesh) => look_in(boot.host, mesh, drive),
        None => look(boot.host, drive),
    };
    let mut started = match looked {
        Ok(started) => started?,
        Err(error) => {
            boot.find(Finding::failed(Code::E71, "which slot boots is not known", &error));
            return None;
        }
    };
    if started.on_trial {
        let actions = select::begin_trial(&started.selection, started.running);
        change(boot, &mut started, &actions);
        // Writing to the drive has its labels go and come back.
        boot.forget_mesh();
        guard(boot);
    }
    Some(started)
}

/// Has the machine restart when the trial is not kept in time, whatever hangs by then.
fn guard(boot: &mut Boot<'_, '_>) {
    let deadline = boot.config.trial_limit + guard::GRACE;
    if boot.act
        && !boot.host.services().is_guarded()
        && let Err(error) = boot.host.services().guard(deadline)
    {
        let what = "nothing restarts this machine if the trial hangs";
        boot.find(Finding::failed(Code::E71, what, &error));
    }
}

/// Changes which slot boots. False, with a finding, when that did not come out as it should.
pub fn change(
    boot: &mut Boot<'_, '_>,
    started: &mut Started,
    actions: &[select::SelectAction],
) -> bool {
    for action in actions {
        let command = started.selection.command(*action);
        match boot.act {
            true => boot.console.detail(&command),
            false => boot.console.say(&format!("would {command}")),
        }
    }
    if !boot.act || actions.is_empty() {
        return true;
    }
    match select::perform(boot.host, &started.drive, started.selection.clone(), actions) {
        Ok(selection) => {
            boot.changed(actions.len());
            started.selection = selection;
            true
        }
        Err(error) => {
            boot.find(Finding::failed(Code::E71, "what boots next could not be changed", &error));
            false
        }
    }
}

/// The pool whose journal counts: the one that has a journal, because a `cfg` may be missing in the
/// middle of a way back; without any, the one that holds a `cfg`.
pub fn home<'a>(pools: &'a [KnownPool], parent: &str) -> Option<&'a KnownPool> {
    let has = |pool: &&KnownPool| journal(pool, parent).is_ok_and(|one| one.switch.is_some());
    pools.iter().find(has).or_else(|| layout::holder(pools, parent))
}

/// The journal of a pool's layout. A layout without one has an empty one.
///
/// # Errors
///
/// What cannot be understood.
pub fn journal(pool: &KnownPool, parent: &str) -> Result<Journal, String> {
    let name = format!("{}/{parent}", pool.name);
    let text = pool
        .datasets
        .iter()
        .find(|dataset| dataset.name == name)
        .and_then(|dataset| dataset.upgrade.as_deref());
    text.map_or(Ok(Journal::default()), |text| {
        Journal::parse(text).map_err(|error| error.to_string())
    })
}

/// After the pools are imported, before anything is mounted: settles what the last switch left. The
/// pools, as they are then. What can wait is for [`Boot::finish_switch`].
pub fn step(
    boot: &mut Boot<'_, '_>,
    started: Option<Started>,
    pools: Vec<KnownPool>,
) -> Vec<KnownPool> {
    let Some(started) = started else { return pools };
    let parent = boot.config.dataset.clone();
    let Some(pool) = home(&pools, &parent) else {
        if started.on_trial {
            let slot = started.running.name();
            boot.console.say(&format!("boot: TRIAL of {slot}; its journal is not there"));
        }
        return pools;
    };
    let root = format!("{}/{parent}", pool.name);
    let journal = match journal(pool, &parent) {
        Ok(journal) => journal,
        Err(why) => {
            boot.find(Finding::new(Code::E70, format!("{root}: {why}")));
            return pools;
        }
    };
    let decision = decide(&started, &journal);
    announce(boot, &started, &journal, decision.verdict);
    let (before, after) = decision.around_mounting();
    let mut work = Work::new(started, root, journal);
    let done = work.take(boot, before);
    let mut pools = pools;
    if boot.act
        && decision.exchanges()
        && !(done && work.is_as_read(&pools))
        && let Some(imported) = layout::list(boot)
    {
        let known = layout::known(boot, &imported);
        pools = layout::read(boot, &known);
    }
    if done && !after.is_empty() {
        boot.leave_to_finish(Rest { work, steps: after.to_vec() });
    }
    pools
}

/// What of a switch can wait until its data are mounted.
#[derive(Debug)]
pub struct Rest {
    work: Work,
    steps: Vec<Step>,
}

impl Rest {
    /// Does it, if the data are in their places.
    pub fn finish(mut self, boot: &mut Boot<'_, '_>) {
        if self.work.is_done(boot) {
            self.work.take(boot, &self.steps);
        }
    }
}

/// What the machine is in.
pub fn decide(started: &Started, journal: &Journal) -> Decision {
    machine::decide(&Facts {
        running: started.running,
        marks: started.marks(),
        drive: drive_id(&started.drive),
        switch: journal.switch.as_ref(),
    })
}

/// Tells people what this boot is.
fn announce(boot: &mut Boot<'_, '_>, started: &Started, journal: &Journal, verdict: Verdict) {
    let slot = started.running.name();
    let other = select::opposite(started.running);
    let limit = boot.config.trial_limit.as_secs();
    match verdict {
        Verdict::Steady | Verdict::Kept => {}
        Verdict::Armed => {
            boot.console.say(&format!("boot: the next boot tries {}", other.name()));
        }
        Verdict::Trial | Verdict::UnknownTrial => {
            if let Some(switch) = &journal.switch {
                guard(boot);
                let image = image_name(switch);
                boot.console.say(&format!(
                    "boot: TRIAL of {slot}{image}: kept when it is healthy, otherwise {} is back \
                     {limit} s after the start",
                    other.name()
                ));
            } else {
                boot.console.say(&format!("boot: TRIAL of {slot}, of which no journal knows"));
            }
        }
        Verdict::Back => {
            let image = journal.switch.as_ref().map(image_name).unwrap_or_default();
            let what = format!("the trial of {}{image} was not kept: {slot} runs", other.name());
            boot.find(Finding::new(Code::E74, what));
        }
    }
}

/// `, gate 2.1`; nothing when it is not known.
pub fn image_name(switch: &Switch) -> String {
    let image = &switch.image;
    match image.name.is_empty() {
        true => String::new(),
        false => format!(", {} {}", image.name, image.version),
    }
}

/// The OS drive, its slots and the pool that holds the layout, for a command typed by hand; what is
/// missing is a finding.
pub fn machine_now(boot: &mut Boot<'_, '_>) -> Option<(Started, KnownPool, Journal)> {
    let started = match osdrive::look(boot).map(|drive| look(boot.host, &drive)) {
        Some(Ok(Some(started))) => started,
        Some(Err(error)) => {
            boot.find(Finding::failed(Code::E71, "which slot boots is not known", &error));
            return None;
        }
        _ => {
            boot.find(Finding::new(Code::E76, "this machine does not run from one of two slots"));
            return None;
        }
    };
    let (pools, parent) = (layout::imported(boot), boot.config.dataset.clone());
    let Some(pool) = home(&pools, &parent) else {
        let what = "no known pool holds a /cfg: there is nowhere to write the journal";
        boot.find(Finding::new(Code::E70, what));
        return None;
    };
    match journal(pool, &parent) {
        Ok(journal) => Some((started, pool.clone(), journal)),
        Err(why) => {
            boot.find(Finding::new(Code::E70, format!("{}/{parent}: {why}", pool.name)));
            None
        }
    }
}
