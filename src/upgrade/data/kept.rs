//! What is kept: listed and compared.

use super::plan::{all_kept, kept};
use super::state::{State, renamed};
use super::{PARTS, SNAPSHOT};

/// Data that could be gone back to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The id of the switch that replaced them, or of the upgrade that took the snapshots.
    pub id: String,
    /// When the snapshots were taken, in seconds since 1970; what was replaced was replaced when the
    /// id says.
    pub taken: Option<i64>,
    /// The datasets or snapshots.
    pub names: Vec<String>,
    /// Bytes that would be free without it.
    pub used: u64,
}

/// Everything that is kept, what was replaced first.
pub fn list(state: &State) -> Vec<Kept> {
    let mut all: Vec<Kept> = Vec::new();
    let mut add = |id: &str, taken: Option<i64>, name: String, used: u64| {
        let same = |one: &&mut Kept| one.id == id && one.taken.is_some() == taken.is_some();
        match all.iter_mut().find(same) {
            Some(one) => {
                one.names.push(name);
                one.used += used;
            }
            None => all.push(Kept { id: id.to_owned(), taken, names: vec![name], used }),
        }
    };
    let parent = format!("{}/", all_kept(state));
    for dataset in &state.datasets {
        let Some(rest) = dataset.name.strip_prefix(&parent) else { continue };
        let top = rest.split('/').next().unwrap_or(rest);
        if let Some((id, _)) = top.rsplit_once('-').filter(|(_, part)| PARTS.contains(part)) {
            // What the top uses counts those below it.
            let used = if top == rest { dataset.used } else { 0 };
            add(id, None, dataset.name.clone(), used);
        }
    }
    for snapshot in &state.snapshots {
        if let Some(id) = snapshot.name.strip_prefix(SNAPSHOT) {
            add(id, Some(snapshot.taken), snapshot.full_name(), snapshot.used);
        }
    }
    all
}

/// Everything that is kept under one id: what was replaced, and snapshots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// The id.
    pub id: String,
    /// The datasets that were replaced; may be empty.
    pub datasets: Vec<String>,
    /// The snapshots, those of what was replaced included; may be empty.
    pub snapshots: Vec<String>,
    /// When the snapshots were taken, in seconds since 1970.
    pub taken: Option<i64>,
    /// Bytes that are free without it, at least: blocks that two snapshots share count for none.
    pub frees: u64,
}

/// The same as [`list`], but all of one id together; the oldest id first.
pub fn groups(state: &State) -> Vec<Group> {
    let mut all = Vec::<Group>::new();
    for kept in list(state) {
        let at = all.iter().position(|group| group.id == kept.id).unwrap_or_else(|| {
            all.push(Group { id: kept.id.clone(), ..Group::default() });
            all.len() - 1
        });
        let Some(group) = all.get_mut(at) else { continue };
        match kept.taken {
            None => {
                group.datasets = kept.names;
                group.frees += kept.used;
            }
            Some(_) => {
                group.snapshots = kept.names;
                group.taken = kept.taken;
            }
        }
    }
    for group in &mut all {
        let name = format!("{SNAPSHOT}{}", group.id);
        // What a dataset uses counts its snapshots.
        let own = state
            .snapshots
            .iter()
            .filter(|one| one.name == name && !group.datasets.contains(&one.dataset));
        group.frees += own.map(|one| one.used).sum::<u64>();
    }
    all.sort_by(|a, b| a.id.cmp(&b.id));
    all
}

/// A dataset that has a snapshot of this id, and bytes of it that are in no later snapshot and not
/// in the live files any more.
pub fn changed<'a>(state: &'a State, id: &str) -> Vec<(&'a str, u64)> {
    let name = format!("{SNAPSHOT}{id}");
    let own = state.snapshots.iter().filter(|one| one.name == name);
    own.map(|one| (one.dataset.as_str(), one.used)).collect()
}

/// A dataset of what is kept beside the live one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// The live place.
    pub dataset: String,
    /// Bytes of the files that are kept; none: there is no such dataset among what is kept.
    pub kept: Option<u64>,
    /// Bytes of the live files; none: there is no such live dataset.
    pub live: Option<u64>,
}

/// Compares what is kept as `id` with the live data, dataset by dataset.
pub fn compare(state: &State, id: &str) -> Vec<Compared> {
    let mut all = Vec::new();
    for part in PARTS {
        let (live, aside) = (format!("{}/{part}", state.root), kept(state, id, part));
        if !state.has(&aside) {
            continue;
        }
        for one in state.below(&aside) {
            let Some(dataset) = renamed(&one.name, &aside, &live) else { continue };
            let live = state.get(&dataset).map(|one| one.referenced);
            all.push(Compared { dataset, kept: Some(one.referenced), live });
        }
        for one in state.below(&live) {
            let in_kept = renamed(&one.name, &live, &aside);
            if in_kept.is_some_and(|name| !state.has(&name)) {
                let dataset = one.name.clone();
                all.push(Compared { dataset, kept: None, live: Some(one.referenced) });
            }
        }
    }
    all
}
