//! Doing it, one transaction after the other.

use super::plan::{Goal, next, refusal};
use super::state::{State, Step};
use crate::host::{Error, Host, Kind, Result};

/// More steps than any layout takes: something is in a circle.
const MOST: usize = 10_000;

fn refused(goal: &Goal, why: String) -> Error {
    let doing = match goal {
        Goal::Snapshot { id } => format!("snapshots {id}"),
        Goal::Restore { id, .. } => format!("restore {id}"),
        Goal::PutBack { id, .. } => format!("put back {id}"),
        Goal::Promote => "promote what was restored".to_owned(),
        Goal::Prune { id, .. } => format!("prune {id}"),
    };
    Error::new(Kind::Refused, doing, why)
}

/// The way from what there is to a goal.
#[derive(Clone, Debug)]
pub struct Plan {
    steps: Vec<Step>,
    then: State,
}

impl Plan {
    /// Looks at the layout at `root` (`POOL/nano`) and finds the way; nothing is changed. No steps:
    /// the goal is reached already.
    ///
    /// # Errors
    ///
    /// Refused, as far as it can be known before; or what zfs(8) cannot tell.
    pub fn make(host: &dyn Host, root: &str, goal: Goal) -> Result<Plan> {
        Plan::from(State::read(host, root)?, goal)
    }

    /// The same from what is known already.
    ///
    /// # Errors
    ///
    /// Refused.
    pub fn from(state: State, goal: Goal) -> Result<Plan> {
        if let Some(why) = refusal(&state, &goal) {
            return Err(refused(&goal, why));
        }
        let (mut then, mut steps) = (state, Vec::new());
        while let Some(step) = next(&then, &goal) {
            if steps.len() == MOST {
                return Err(refused(&goal, format!("no end of it: {step}")));
            }
            then.apply(&step);
            steps.push(step);
        }
        Ok(Plan { steps, then })
    }

    /// The transactions, in their order.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// What there must be when all of them are done.
    pub fn then(self) -> State {
        self.then
    }

    /// Does one after the other: what there must be then. Each transaction is on disk when it has
    /// been done. When one fails, or the power goes, what was done stays: a new plan for the same
    /// goal goes on with it.
    ///
    /// # Errors
    ///
    /// The transaction that failed.
    pub fn carry_out(self, host: &dyn Host) -> Result<State> {
        for step in &self.steps {
            log::debug!("{step}");
            perform(host, step)?;
        }
        Ok(self.then)
    }

    /// Does all of them, those after one that failed, too: promotions do not need each other.
    ///
    /// # Errors
    ///
    /// The first transaction that failed.
    pub fn attempt(self, host: &dyn Host) -> Result<()> {
        let mut done = Ok(());
        for step in &self.steps {
            log::debug!("{step}");
            done = done.and(perform(host, step));
        }
        done
    }
}

/// Reaches the goal for the layout at `root`, and looks whether it is reached. Already reached is
/// success.
///
/// # Errors
///
/// Those of [`Plan`], and when zfs(8) shows something else than it said it had done.
pub fn run(host: &dyn Host, root: &str, goal: &Goal) -> Result<()> {
    let mut state = Plan::make(host, root, goal.clone())?.carry_out(host)?;
    // The snapshots are where the clones are.
    state.datasets = State::of(root, host.snapshots().properties(root)?, Vec::new()).datasets;
    match next(&state, goal) {
        None => Ok(()),
        Some(step) => Err(refused(goal, format!("still to do: {step}"))),
    }
}

fn perform(host: &dyn Host, step: &Step) -> Result<()> {
    let zfs = host.snapshots();
    match step {
        Step::Snapshot(names) => zfs.take(names),
        Step::Rename { from, to } => zfs.rename(from, to),
        Step::Clone { snapshot, dataset, properties } => {
            zfs.clone_to(snapshot, dataset, properties)
        }
        Step::Create { dataset, properties } => zfs.create(dataset, properties),
        Step::Set { dataset, name, value } => host.set_property(dataset, name, value),
        Step::Promote(dataset) => zfs.promote(dataset),
        Step::Destroy(name) => zfs.destroy(name),
    }
}
