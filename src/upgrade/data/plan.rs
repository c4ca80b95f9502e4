//! From what there is to the next transaction. Nothing here touches the machine.

use super::state::{Dataset, State, Step, parent, renamed, within};
use super::{PARTS, ROLLBACK, ROOM, SNAPSHOT};

/// What is to be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Snapshots of everything that a restore would exchange.
    Snapshot {
        /// The id of the upgrade.
        id: String,
    },
    /// The data are as they were at these snapshots, as clones; what there was is kept.
    Restore {
        /// The id of the upgrade that took the snapshots.
        id: String,
        /// The id under which the present data are kept. Never used before.
        aside: String,
    },
    /// The data are those that are kept as `id`; what there was is kept.
    PutBack {
        /// The id under which they are kept.
        id: String,
        /// The id under which the present data are kept. Never used before.
        aside: String,
    },
    /// What is live hangs on nothing that is kept, and has its older snapshots again: what a restore
    /// or a put back has left as clones is promoted.
    Promote,
    /// What is kept as `id` and the snapshots of the upgrade `id` are gone.
    Prune {
        /// The id.
        id: String,
        /// The ids that the upgrade or rollback under way would go back to: these are refused.
        needed: Vec<String>,
    },
}

/// Properties of what is kept: their value there, and where the real one is remembered.
const PARKED: [(&str, &str, &str); 3] = [
    ("canmount", "noauto", "org.nanozfs:was-canmount"),
    ("reservation", "none", "org.nanozfs:was-reservation"),
    ("refreservation", "none", "org.nanozfs:was-refreservation"),
];

/// Properties of the parent of what is kept. Its reservation is what clones are made with when what
/// went wrong has filled the pool.
const HOLDER: [(&str, &str); 3] =
    [("canmount", "off"), ("mountpoint", "none"), ("refreservation", "16777216")];

/// With less room than this (bytes) the reservation is given free.
const LOW: u64 = 8 << 20;

/// Properties that ZFS gives a clone by itself and lets nobody set.
const OF_ORIGIN: [&str; 4] = ["encryption", "keyformat", "keylocation", "pbkdf2iters"];

/// The next transaction on the way from `state` to `goal`; `None` when it is reached.
pub fn next(state: &State, goal: &Goal) -> Option<Step> {
    match goal {
        Goal::Snapshot { id } => {
            let name = format!("{SNAPSHOT}{id}");
            let names = members(state).into_iter().filter(|of| !state.has_snapshot(of, &name));
            let names: Vec<String> = names.map(|of| format!("{of}@{name}")).collect();
            // The parent of what is kept is made while there is time and room, and keys are loaded.
            holder(state, true).or((!names.is_empty()).then_some(Step::Snapshot(names)))
        }
        Goal::Restore { id, aside } => {
            let name = format!("{SNAPSHOT}{id}");
            PARTS.iter().find_map(|part| restore(state, &Places::of(state, part, aside), &name))
        }
        Goal::PutBack { id, aside } => PARTS.iter().find_map(|part| {
            put_back(state, &Places::of(state, part, aside), &kept(state, id, part))
        }),
        Goal::Promote => {
            let clone = state.datasets.iter().find(|one| hangs(state, one));
            clone.map(|one| Step::Promote(one.name.clone()))
        }
        Goal::Prune { id, .. } => prune(state, id),
    }
}

/// Why the goal cannot be reached from `state`, or must not be; `None` when nothing is known
/// against it.
pub fn refusal(state: &State, goal: &Goal) -> Option<String> {
    match goal {
        Goal::Snapshot { id } => {
            let (name, all) = (format!("{SNAPSHOT}{id}"), members(state));
            let taken = all.iter().filter(|of| state.has_snapshot(of, &name)).count();
            let root = state.get(&state.root).filter(|_| !all.is_empty());
            let Some(root) = root else {
                return Some(format!("no data to be kept at {}", state.root));
            };
            let (used, free) = (root.used, root.available);
            if taken > 0 && taken < all.len() {
                Some(format!("only {taken} of {} datasets have {name}", all.len()))
            } else if taken == 0 && free < ROOM.0.max(used.saturating_add(free) / ROOM.1) {
                Some(format!("{}: {} MB free: no room for snapshots", state.root, free >> 20))
            } else {
                PARTS.iter().find_map(|part| stuck(state, &format!("{}/{part}", state.root)))
            }
        }
        Goal::Restore { id, aside } => {
            let name = format!("{SNAPSHOT}{id}");
            let all = PARTS.map(|part| Places::of(state, part, aside));
            let begun = |one: &Places| state.has(&one.aside);
            let due = |one: &&Places| !begun(one) && state.has_snapshot(&one.live, &name);
            if !all.iter().any(|one| begun(one) || due(&one)) {
                return Some(format!("{}: no snapshots {name}", state.root));
            }
            all.iter().filter(due).find_map(|one| stuck(state, &one.live))
        }
        Goal::PutBack { id, aside } => {
            let all = PARTS.map(|part| (Places::of(state, part, aside), kept(state, id, part)));
            let begun = |(one, kept): &(Places, String)| state.has(&one.aside) || state.has(kept);
            // A restore may have stopped before it renamed anything.
            let mut parked = members(state).into_iter().filter_map(|name| state.get(name));
            if !all.iter().any(begun) && !parked.any(is_parked) {
                return Some(nothing(state, id));
            }
            all.iter().filter(|(_, kept)| state.has(kept)).find_map(|(one, kept)| {
                if state.has(&one.live) && state.has(&one.aside) {
                    return Some(format!("{} is there already", one.aside));
                }
                stuck(state, kept).or_else(|| stuck(state, &one.live))
            })
        }
        Goal::Promote => None,
        Goal::Prune { id, needed } => {
            if needed.contains(id) {
                return Some(format!("{id} is needed to go back to"));
            }
            let name = format!("{SNAPSHOT}{id}");
            let tops = PARTS.map(|part| kept(state, id, part));
            let doomed = |one: &str| tops.iter().any(|top| within(one, top));
            let mut all = state.datasets.iter();
            if let Some(used) = all.find(|one| one.mounted && doomed(&one.name)) {
                return Some(format!("{} is mounted", used.name));
            }
            let depends = |one: &&Dataset| {
                let origin = one.origin.as_deref().and_then(|origin| origin.split_once('@'));
                origin.is_some_and(|(_, own)| own == name) && !doomed(&one.name)
            };
            if let Some(clone) = state.datasets.iter().find(depends) {
                return Some(format!("{} depends on {name}", clone.name));
            }
            let there = tops.iter().any(|top| state.has(top))
                || state.snapshots.iter().any(|one| one.name == name);
            (!there).then(|| nothing(state, id))
        }
    }
}

fn nothing(state: &State, id: &str) -> String {
    format!("{}: nothing is kept as {id}", state.root)
}

/// Why a part cannot be renamed: something of it belongs to a jail, or it is a clone of an encrypted
/// dataset, which cannot leave its parent.
fn stuck(state: &State, name: &str) -> Option<String> {
    if let Some(one) = state.below(name).find(|one| one.local("jailed") == Some("on")) {
        return Some(format!("{} has jailed=on: ZFS does not rename {name}", one.name));
    }
    let key = state.get(name)?.encryption_root.as_deref()?;
    let parents = state.get(&state.root).and_then(|one| one.encryption_root.as_deref());
    (key != name && Some(key) != parents)
        .then(|| format!("{name} is encrypted with the key of {key}: ZFS does not move it"))
}

/// The datasets that are to be snapshotted and exchanged, parents first.
pub fn members(state: &State) -> Vec<&str> {
    let mut members = Vec::new();
    for part in PARTS {
        let top = format!("{}/{part}", state.root);
        let own = state.datasets.iter().filter(|one| within(&one.name, &top));
        members.extend(own.filter(|one| !is_out(state, one)).map(|one| one.name.as_str()));
    }
    members
}

/// The datasets that stayed with what a restore has kept as `aside`: they are younger than the
/// snapshot, or something else is in their place.
pub fn stayed<'a>(state: &'a State, aside: &str) -> Vec<&'a str> {
    let mut stayed = Vec::new();
    for part in PARTS {
        let places = Places::of(state, part, aside);
        let all = state.datasets.iter().filter(|one| within(&one.name, &places.aside));
        let of =
            |one: &Dataset| one.origin.as_deref()?.split_once('@').map(|(of, _)| of.to_owned());
        let exchanged = |one: &Dataset| {
            let place = places.place(&one.name);
            let live = state.get(&place).and_then(of);
            of(one).is_some_and(|of| of == place) || live.is_some_and(|of| of == one.name)
        };
        stayed.extend(all.filter(|one| !exchanged(one)).map(|one| one.name.as_str()));
    }
    stayed
}

/// Where what a switch with this id replaces is kept.
pub(super) fn kept(state: &State, id: &str, part: &str) -> String {
    format!("{}/{id}-{part}", all_kept(state))
}

/// The parent of everything that is kept.
pub(super) fn all_kept(state: &State) -> String {
    format!("{}/kept", state.root)
}

/// Where one part of the layout lives, and where it goes.
struct Places {
    live: String,
    aside: String,
}

impl Places {
    fn of(state: &State, part: &str, aside: &str) -> Self {
        let live = format!("{}/{part}", state.root);
        Places { live, aside: kept(state, aside, part) }
    }

    /// The live place of a dataset that is aside.
    fn place(&self, name: &str) -> String {
        renamed(name, &self.aside, &self.live).unwrap_or_default()
    }
}

/// True for what keeps its data: a volume, and what somebody has set so, or a dataset above it in
/// the layout.
fn is_out(state: &State, dataset: &Dataset) -> bool {
    let off = |one: &Dataset| one.volume || one.local(ROLLBACK) == Some("off");
    let (root, kept) = (&state.root, all_kept(state));
    let above = |one: &&Dataset| {
        within(&dataset.name, &one.name) && one.name != kept && one.name.len() > root.len()
    };
    state.datasets.iter().filter(above).any(off)
}

fn set(dataset: &Dataset, name: &str, value: &str) -> Option<Step> {
    let (dataset, name, value) = (dataset.name.clone(), name.to_owned(), value.to_owned());
    Some(Step::Set { dataset, name, value })
}

/// The parent of everything that is kept: it holds no files and gives nothing to those below. The
/// first of its properties always has to be there, the others when `all` have.
fn holder(state: &State, all: bool) -> Option<Step> {
    let dataset = all_kept(state);
    let Some(made) = state.get(&dataset) else {
        let own = HOLDER.map(|(name, value)| (name.to_owned(), value.to_owned()));
        return Some(Step::Create { dataset, properties: own.to_vec() });
    };
    // The power went between its two transactions, or its room was needed.
    let lost = |(name, value): &&(&str, &str)| {
        let there = |now: &str| now == *value || !matches!(now, "0" | "none");
        !made.local(name).is_some_and(there)
    };
    let (name, value) = HOLDER.iter().take(if all { HOLDER.len() } else { 1 }).find(lost)?;
    set(made, name, value)
}

/// Nothing can be cloned in a full pool: the room that is reserved for that is given free.
fn make_room(state: &State) -> Option<Step> {
    let root = state.get(&state.root)?;
    let holder = state.get(&all_kept(state)).filter(|_| root.available < LOW)?;
    real(holder, "refreservation")?;
    set(holder, "refreservation", "none")
}

/// A property that is parked when it has such a value.
fn real<'a>(dataset: &'a Dataset, name: &str) -> Option<&'a str> {
    match (name, dataset.local(name)) {
        ("canmount", None | Some("on")) => Some("on"),
        ("canmount", _) | (_, None | Some("none" | "0")) => None,
        (_, value) => value,
    }
}

/// Nothing of it is mounted by itself any more, and no space is reserved for it.
fn park(dataset: &Dataset) -> Option<Step> {
    PARKED.iter().find_map(|(name, parked, was)| {
        let real = real(dataset, name)?;
        match dataset.local(was) == Some(real) {
            true => set(dataset, name, parked),
            false => set(dataset, was, real),
        }
    })
}

fn is_parked(dataset: &Dataset) -> bool {
    PARKED.iter().any(|(_, _, was)| dataset.local(was).is_some())
}

/// It is as it was before it was parked.
fn unpark(dataset: &Dataset) -> Option<Step> {
    PARKED.iter().find_map(|(name, _, was)| {
        let value = dataset.local(was)?;
        match dataset.local(name) == Some(value) {
            true => set(dataset, was, ""),
            false => set(dataset, name, value),
        }
    })
}

/// The properties of the dataset that takes the place of this one, which is parked. Space is
/// reserved only while there is plenty: going back must not fail for that.
fn wanted(state: &State, dataset: &Dataset) -> Vec<(String, String)> {
    let free = state.get(&state.root).map_or(0, |root| root.available);
    let plenty = |value: &str| value.parse::<u64>().is_ok_and(|bytes| bytes < free / 4);
    let mut wanted = Vec::new();
    for (name, value) in &dataset.local {
        let parked = PARKED.iter().find(|one| one.0 == name);
        let was = parked.and_then(|(_, _, was)| dataset.local(was));
        let value = was.unwrap_or(value);
        let left = value.is_empty()
            || OF_ORIGIN.contains(&name.as_str())
            || PARKED.iter().any(|one| one.2 == name)
            || name.ends_with("reservation") && !plenty(value);
        if !left {
            wanted.push((name.clone(), value.to_owned()));
        }
    }
    wanted
}

/// The same, but not to be mounted: `how` it may.
fn unmounted(mut properties: Vec<(String, String)>, how: &str) -> Vec<(String, String)> {
    properties.retain(|(name, _)| name != "canmount");
    properties.push(("canmount".to_owned(), how.to_owned()));
    properties
}

/// One part goes aside: it is parked, and renamed.
fn go_aside(state: &State, places: &Places) -> Option<Step> {
    let all = state.datasets.iter().filter(|one| within(&one.name, &places.live));
    let parked = all.filter(|one| !is_out(state, one)).find_map(park);
    let rename = || Step::Rename { from: places.live.clone(), to: places.aside.clone() };
    parked.or_else(|| holder(state, false)).or_else(|| Some(rename()))
}

fn restore(state: &State, places: &Places, snapshot: &str) -> Option<Step> {
    if !state.has(&places.aside) {
        // A part without that snapshot is none of its business.
        let part_of_it = state.has_snapshot(&places.live, snapshot);
        return part_of_it.then(|| go_aside(state, places)).flatten();
    }
    let all = state.datasets.iter().filter(|one| within(&one.name, &places.aside));
    all.into_iter().find_map(|original| match is_out(state, original) {
        true => bring_back(state, places, original),
        false => bring_up(state, places, original, snapshot),
    })
}

/// The clone of `original` takes its place.
fn bring_up(state: &State, places: &Places, original: &Dataset, name: &str) -> Option<Step> {
    let place = places.place(&original.name);
    let snapshot = format!("{}@{name}", original.name);
    if !state.has_snapshot(&original.name, name) {
        // Promoted since, or younger than the snapshot: then it stays where it is.
        return None;
    }
    let wanted = wanted(state, original);
    let Some(clone) = state.get(&place) else {
        let clone = Step::Clone {
            snapshot,
            properties: unmounted(wanted.clone(), "noauto"),
            dataset: place.clone(),
        };
        let first = make_room(state).or_else(|| container(state, places, parent(&place)));
        return Some(first.unwrap_or(clone));
    };
    if clone.origin.as_deref() != Some(&snapshot) {
        return None; // something else is there
    }
    complete(clone, &wanted)
}

/// Sets what `made` lacks of `wanted`. Until the rest is there it must not be mounted: a mount point
/// that is set on a dataset that may be mounted can mount it.
fn complete(made: &Dataset, wanted: &[(String, String)]) -> Option<Step> {
    let missing = |(name, value): &&(String, String)| made.local(name) != Some(value);
    let others = wanted.iter().filter(|(name, _)| name != "canmount");
    let last = wanted.iter().filter(|(name, _)| name == "canmount");
    match made.local("canmount") {
        None => {
            let value = last.map(|(_, value)| value.as_str()).find(|value| *value != "on");
            set(made, "canmount", value.unwrap_or("noauto"))
        }
        Some(_) => {
            let (name, value) = others.chain(last).find(missing)?;
            set(made, name, value)
        }
    }
}

/// A dataset that keeps its data goes back to its place, with all below it.
fn bring_back(state: &State, places: &Places, child: &Dataset) -> Option<Step> {
    let place = places.place(&child.name);
    if state.get(parent(&child.name)).is_some_and(|above| is_out(state, above)) {
        return None; // it goes with the one above it
    }
    if state.has(&place) {
        return None; // something else is there
    }
    let back = Step::Rename { from: child.name.clone(), to: place.clone() };
    let first = container(state, places, parent(&place));
    let room = first.as_ref().and_then(|_| make_room(state));
    Some(room.or(first).unwrap_or(back))
}

/// Makes sure that there is a dataset for others to be below of, where there was none at the time
/// of the snapshot: with the properties of the present one, but without files.
fn container(state: &State, places: &Places, place: &str) -> Option<Step> {
    let original = state.get(&renamed(place, &places.live, &places.aside)?)?;
    let wanted = unmounted(wanted(state, original), "off");
    match state.get(place) {
        None => container(state, places, parent(place))
            .or_else(|| Some(Step::Create { dataset: place.to_owned(), properties: wanted })),
        Some(made) => {
            let ours =
                matches!(made.local("canmount"), None | Some("off")) && made.origin.is_none();
            let was_there = original.origin.as_deref().is_some_and(|origin| {
                origin.strip_prefix(place).is_some_and(|rest| rest.starts_with('@'))
            });
            (ours && !was_there).then(|| complete(made, &wanted)).flatten()
        }
    }
}

/// A live dataset that is the clone of what was in its place.
fn hangs(state: &State, live: &Dataset) -> bool {
    let origin = live.origin.as_deref().and_then(|origin| origin.split_once('@'));
    let kept = origin.and_then(|(of, _)| of.strip_prefix(&format!("{}/", all_kept(state))));
    let Some((top, below)) = kept.map(|kept| kept.split_once('/').unwrap_or((kept, ""))) else {
        return false;
    };
    let part = top.rsplit_once('-').map(|(_, part)| part).filter(|part| PARTS.contains(part));
    let place = part.map(|part| format!("{}/{part}/{below}", state.root));
    place.is_some_and(|place| place.trim_end_matches('/') == live.name)
}

fn put_back(state: &State, places: &Places, kept: &str) -> Option<Step> {
    if state.has(kept) {
        if state.has(&places.live) {
            // With both places taken, somebody else was here.
            return (!state.has(&places.aside)).then(|| go_aside(state, places)).flatten();
        }
        return Some(Step::Rename { from: kept.to_owned(), to: places.live.clone() });
    }
    let live = state.datasets.iter().filter(|one| within(&one.name, &places.live));
    let own = live.filter(|one| !is_out(state, one)).find_map(unpark);
    let aside = state.datasets.iter().filter(|one| within(&one.name, &places.aside));
    own.or_else(|| {
        let mut out = aside.filter(|one| is_out(state, one));
        out.find_map(|child| bring_back(state, places, child))
    })
}

fn prune(state: &State, id: &str) -> Option<Step> {
    for top in PARTS.map(|part| kept(state, id, part)) {
        if !state.has(&top) {
            continue;
        }
        let depends = |one: &&Dataset| {
            !within(&one.name, &top) && one.origin.as_deref().is_some_and(|o| within(o, &top))
        };
        let promote =
            state.datasets.iter().find(depends).map(|one| Step::Promote(one.name.clone()));
        return Some(promote.unwrap_or(Step::Destroy(top)));
    }
    let name = format!("{SNAPSHOT}{id}");
    let snapshot = state.snapshots.iter().find(|one| one.name == name)?;
    Some(Step::Destroy(snapshot.full_name()))
}
