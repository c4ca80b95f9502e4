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
        Goal::Prune { id, .. } => format!("prune {id}"),
    };
    Error::new(Kind::Refused, doing, why)
}

/// Reaches the goal for the layout at `root` (`POOL/nano`); what there is afterwards: the datasets
/// as zfs(8) tells, the snapshots as they must be. Each
/// transaction is on disk when it has been done. When one fails, or the power goes, what was done
/// stays: running the same goal again goes on with it. Already reached is success.
///
/// # Errors
///
/// Refused before anything was changed, or the transaction that failed.
pub fn run(host: &dyn Host, root: &str, goal: &Goal) -> Result<State> {
    let mut state = State::read(host, root)?;
    if let Some(why) = refusal(&state, goal) {
        return Err(refused(goal, why));
    }
    for _ in 0..MOST {
        let Some(step) = next(&state, goal) else { break };
        log::debug!("{step}");
        perform(host, &step)?;
        state.apply(&step);
    }
    // What zfs(8) made of it. The snapshots are where the clones are.
    state.datasets = State::of(root, host.snapshots().properties(root)?, Vec::new()).datasets;
    match next(&state, goal) {
        None => Ok(state),
        Some(step) => Err(refused(goal, format!("still to do: {step}"))),
    }
}

/// What [`run`] would do; nothing is changed.
///
/// # Errors
///
/// As [`run`], as far as it can be known before.
pub fn dry_run(host: &dyn Host, root: &str, goal: &Goal) -> Result<Vec<Step>> {
    let mut state = State::read(host, root)?;
    if let Some(why) = refusal(&state, goal) {
        return Err(refused(goal, why));
    }
    let mut steps = Vec::new();
    while let Some(step) = next(&state, goal).filter(|_| steps.len() < MOST) {
        state.apply(&step);
        steps.push(step);
    }
    Ok(steps)
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
