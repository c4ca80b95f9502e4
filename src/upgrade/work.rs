//! Taking the steps of a switch, for a boot, for the end of a boot, or for who types a command.

use super::data::{self, Goal, is_at};
use super::journal::{Journal, PROPERTY};
use super::machine::{self, Step};
use super::select;
use super::trial::{Started, change};
use crate::boot::layout::{self, KnownPool};
use crate::boot::{Action, Boot};
use crate::host::Result;
use crate::report::{Code, Finding};

/// A machine whose switch is gone on with.
#[derive(Debug)]
pub struct Work {
    started: Started,
    /// `POOL/nano`
    root: String,
    journal: Journal,
    /// What there must be after the data were exchanged.
    exchanged: Option<data::State>,
    /// The datasets in their places are clones of those that were there, with the same properties.
    like_before: bool,
}

impl Work {
    /// Nothing is done yet.
    pub fn new(started: Started, root: String, journal: Journal) -> Self {
        Work { started, root, journal, exchanged: None, like_before: false }
    }

    /// Takes the steps, and stops at the first that fails: the next boot, or the same command again,
    /// finds the same decision. False when one failed.
    pub fn take(&mut self, boot: &mut Boot<'_, '_>, steps: &[Step]) -> bool {
        steps.iter().all(|step| self.one(boot, step))
    }

    fn one(&mut self, boot: &mut Boot<'_, '_>, step: &Step) -> bool {
        match step {
            Step::Return(_) => {
                let actions = select::begin_trial(&self.started.selection, self.started.running);
                change(boot, &mut self.started, &actions)
            }
            Step::Settle(role) => {
                let actions = select::settle(&self.started.selection, *role);
                change(boot, &mut self.started, &actions)
            }
            Step::Phase(phase) => {
                if let Some(switch) = &mut self.journal.switch {
                    switch.phase = *phase;
                }
                write(boot, &self.root, &self.journal)
            }
            Step::Restore { snapshots, keep_as } => {
                let (id, aside) = (snapshots.clone(), keep_as.clone());
                self.exchange(boot, Goal::Restore { id, aside })
            }
            Step::PutBack(kept) => {
                let (id, aside) = (kept.clone(), machine::tried(kept));
                !was_exchanged(boot, &self.root, &id)
                    || self.exchange(boot, Goal::PutBack { id, aside })
            }
            Step::Promote => {
                self.promote(boot);
                true
            }
            Step::End(end, why) => {
                self.journal.end(*end, why);
                write(boot, &self.root, &self.journal)
            }
        }
    }

    /// Exchanges the data. False, with a finding, when that did not come to its end.
    fn exchange(&mut self, boot: &mut Boot<'_, '_>, goal: Goal) -> bool {
        let what = "the data of before are not in place";
        let plan = match data::Plan::make(boot.host, &self.root, goal.clone()) {
            Ok(plan) => plan,
            Err(error) => {
                boot.find(Finding::failed(Code::E73, what, &error));
                return false;
            }
        };
        let only_cloned = plan
            .steps()
            .iter()
            .all(|step| matches!(step, data::Step::Rename { .. } | data::Step::Clone { .. }));
        match follow(boot, plan) {
            Ok(state) => {
                self.exchanged = Some(state);
                self.like_before = only_cloned && matches!(goal, Goal::Restore { .. });
                true
            }
            Err(error) => {
                boot.find(Finding::failed(Code::E73, what, &error));
                if let Goal::Restore { aside, .. } = goal {
                    self.undo(boot, aside);
                }
                false
            }
        }
    }

    /// Half exchanged there may be no `/cfg` at all: better the data of the trial.
    fn undo(&self, boot: &Boot<'_, '_>, id: String) {
        let aside = format!("{id}-undone");
        for goal in [Goal::PutBack { id, aside }, Goal::Promote] {
            if let Err(error) = data::run(boot.host, &self.root, &goal) {
                log::warn!("{error}");
                return;
            }
        }
    }

    /// Promotes what was exchanged, as far as it can be: the data of before are in place without
    /// that.
    fn promote(&mut self, boot: &mut Boot<'_, '_>) {
        let plan = match self.exchanged.take() {
            Some(state) => data::Plan::from(state, Goal::Promote),
            None => data::Plan::make(boot.host, &self.root, Goal::Promote),
        };
        let plan = match plan {
            Ok(plan) => plan,
            Err(error) => {
                let what = "whether the data need what is kept is not known";
                boot.find(Finding::failed(Code::E79, what, &error));
                return;
            }
        };
        show(boot, &plan);
        let count = plan.steps().len();
        if !boot.act || count == 0 {
            return;
        }
        boot.changed(count);
        if let Err(error) = plan.attempt(boot.host) {
            let what = "the data of before are in place, but need the snapshots of what is kept";
            let finding = Finding::failed(Code::E79, what, &error);
            let left = data::Plan::make(boot.host, &self.root, Goal::Promote);
            let left = left.map(|plan| plan.steps().iter().map(ToString::to_string).collect());
            boot.find(match left {
                Ok::<Vec<String>, _>(left) if !left.is_empty() => finding.next(left.join("; ")),
                _ => finding,
            });
        }
    }

    /// After an exchange: what was read of the pools before it tells still what there is to be mounted.
    pub fn is_as_read(&self, pools: &[KnownPool]) -> bool {
        self.like_before && self.exchanged.as_ref().is_some_and(|state| is_same(state, pools))
    }

    /// After an exchange: whether what must be there is. zfs(8) may say that it did what it did not,
    /// and then the next boot has to exchange the data once more.
    pub fn is_done(&self, boot: &mut Boot<'_, '_>) -> bool {
        let Some(state) = self.exchanged.as_ref().filter(|_| boot.act) else { return true };
        let Some(imported) = layout::list(boot) else { return true };
        let home: Vec<_> = imported.iter().filter(|pool| is_at(&self.root, &pool.name)).collect();
        let lost = lost(state, &layout::read(boot, &home));
        if let Some(lost) = &lost {
            let what = format!("{lost} is not there, although zfs says that it made it");
            boot.find(Finding::new(Code::E73, what));
        }
        lost.is_none()
    }
}

/// The datasets at and below `cfg` and `var` that files can be in.
fn live(state: &data::State) -> impl Iterator<Item = &str> {
    let all = state.datasets.iter().filter(|one| !one.volume);
    all.map(|one| one.name.as_str()).filter(|name| is_live(state, name))
}

fn is_live(state: &data::State, name: &str) -> bool {
    data::PARTS.iter().any(|part| is_at(name, &format!("{}/{part}", state.root)))
}

/// A dataset that must be there and is not; what could not be read holds anything.
fn lost(state: &data::State, pools: &[KnownPool]) -> Option<String> {
    let pool = pools.iter().find(|one| is_at(&state.root, &one.name) && one.readable)?;
    let there = |name: &str| pool.datasets.iter().any(|dataset| dataset.name == name);
    live(state).find(|name| !there(name)).map(str::to_owned)
}

/// The datasets in their places have the names that were read, and need no key.
fn is_same(state: &data::State, pools: &[KnownPool]) -> bool {
    let Some(pool) = pools.iter().find(|one| is_at(&state.root, &one.name)) else { return false };
    let read = pool.datasets.iter().filter(|one| is_live(state, &one.name));
    let read: Vec<_> = read.collect();
    read.iter().all(|one| !one.encrypted)
        && live(state).count() == read.len()
        && live(state).all(|name| read.iter().any(|one| one.name == name))
}

/// Something is kept under this name: an exchange of the data began. When that cannot be known, it
/// did.
fn was_exchanged(boot: &Boot<'_, '_>, root: &str, id: &str) -> bool {
    let Ok(state) = data::State::read(boot.host, root) else { return true };
    let names = [id.to_owned(), machine::tried(id)];
    let mut kept = data::list(&state).into_iter().filter(|kept| kept.taken.is_none());
    kept.any(|kept| names.contains(&kept.id))
}

/// Reaches a goal of the data; for `-n` shows how. What there must be then.
pub fn data_goal(boot: &mut Boot<'_, '_>, root: &str, goal: Goal) -> Result<data::State> {
    let plan = data::Plan::make(boot.host, root, goal)?;
    follow(boot, plan)
}

fn show(boot: &mut Boot<'_, '_>, plan: &data::Plan) {
    for step in plan.steps() {
        match boot.act {
            true => boot.console.detail(&step.to_string()),
            false => boot.console.say(&format!("would {step}")),
        }
    }
}

fn follow(boot: &mut Boot<'_, '_>, plan: data::Plan) -> Result<data::State> {
    show(boot, &plan);
    if !boot.act {
        return Ok(plan.then());
    }
    let count = plan.steps().len();
    let then = plan.carry_out(boot.host)?;
    boot.changed(count);
    Ok(then)
}

/// Writes the journal, in one transaction.
pub fn write(boot: &mut Boot<'_, '_>, root: &str, journal: &Journal) -> bool {
    let (dataset, name, value) = (root.to_owned(), PROPERTY, journal.encode());
    match boot.perform(&Action::SetProperty { dataset, name, value }) {
        Ok(()) => true,
        Err(error) => {
            boot.find(Finding::failed(Code::E70, "the journal could not be written", &error));
            false
        }
    }
}

#[cfg(test)]
#[cfg(feature = "lab")]
mod tests;
