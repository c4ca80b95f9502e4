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
