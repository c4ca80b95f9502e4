//! What an operator may have destroyed of what is kept: which steps that is, or why not.

use super::kept::{Group, groups};
use super::plan::{Goal, next, refusal};
use super::state::{State, Step, within};
use super::{PARTS, SNAPSHOT};

/// More steps than any layout takes.
const MOST: usize = 10_000;

/// One id that is to go, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doomed {
    /// What goes.
    pub group: Group,
    /// The steps that take it away, in order.
    pub steps: Vec<Step>,
}

/// The steps that prune all of these ids, in an order in which nothing that is left depends on
/// what goes. The ids `needed` are refused, and so is an id of which nothing is kept.
///
/// # Errors
///
/// The first id that cannot go, and why. Then none of them should.
pub fn prune(
    state: &State,
    ids: &[String],
    needed: &[String],
) -> Result<Vec<Doomed>, (String, String)> {
    let kept = groups(state);
    let mut left: Vec<&String> = Vec::new();
    for id in ids {
        if !kept.iter().any(|group| group.id == *id) {
            return Err((id.clone(), "nothing is kept under that name".to_owned()));
        }
        if !left.contains(&id) {
            left.push(id);
        }
    }
    let (mut state, mut doomed) = (state.clone(), Vec::new());
    while !left.is_empty() {
        let mut first = None;
        let at = left.iter().position(|id| {
            let why = one(&state, id, needed).err();
            let free = why.is_none();
            first = first.take().or_else(|| why.map(|why| ((*id).clone(), why)));
            free
        });
        let Some(at) = at else { return Err(first.unwrap_or_default()) };
        let id = left.remove(at);
        let steps = one(&state, id, needed).map_err(|why| (id.clone(), why))?;
        steps.iter().for_each(|step| state.apply(step));
        if let Some(group) = kept.iter().find(|group| group.id == *id) {
            doomed.push(Doomed { group: group.clone(), steps });
        }
    }
    Ok(doomed)
}

/// The steps that prune one id.
fn one(state: &State, id: &str, needed: &[String]) -> Result<Vec<Step>, String> {
    let goal = Goal::Prune { id: id.to_owned(), needed: needed.to_vec() };
    if let Some(why) = refusal(state, &goal) {
        return Err(why);
    }
    let (mut state, mut steps) = (state.clone(), Vec::new());
    while let Some(step) = next(&state, &goal).filter(|_| steps.len() < MOST) {
        if let Some(why) = forbidden(&state, &step) {
            return Err(why);
        }
        state.apply(&step);
        steps.push(step);
    }
    Ok(steps)
}

/// Why a step must not be part of a prune: it destroys what is neither kept nor a snapshot of ours,
/// or it changes a clone that somebody else has made.
fn forbidden(state: &State, step: &Step) -> Option<String> {
    let kept = format!("{}/kept", state.root);
    let below_kept = |name: &str| name != kept && within(name, &kept);
    match step {
        Step::Destroy(name) => {
            let ours = match name.split_once('@') {
                Some((of, own)) => within(of, &state.root) && own.starts_with(SNAPSHOT),
                None => below_kept(name),
            };
            (!ours).then(|| format!("{name} is not ours to destroy"))
        }
        Step::Promote(name) => {
            let live = |part: &&str| within(name, &format!("{}/{part}", state.root));
            let ours = below_kept(name) || PARTS.iter().any(live);
            (!ours).then(|| format!("{name} is a clone of it"))
        }
        other => Some(format!("unexpected: {other}")),
    }
}
