//! What is kept: listed, compared, given up.

use super::*;

#[test]
fn what_is_kept_cannot_be_taken_out_and_what_is_needed_is_not_pruned() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    let (dataset, name) = ("tank/nano/kept".to_owned(), ROLLBACK.to_owned());
    state.apply(&Step::Set { dataset, name, value: "off".to_owned() });
    reach(&mut state, &restore("A", "B"));
    assert!(state.has("tank/nano/var") && state.has("tank/nano/kept/B-var"));
    let needed = Goal::Prune { id: "B".to_owned(), needed: vec!["B".to_owned()] };
    assert_eq!(refusal(&state, &needed).unwrap(), "B is needed to go back to");
    let nothing = State { root: "tank/none".to_owned(), ..State::default() };
    let why = refusal(&nothing, &snapshot("A")).unwrap();
    assert_eq!(why, "no data to be kept at tank/none");
}

#[test]
fn pruning_promotes_what_depends_on_it_and_refuses_what_is_needed() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    reach_and_promote(&mut state, &restore("A", "B"));
    let kept: Vec<(String, usize)> =
        list(&state).into_iter().map(|one| (one.id, one.names.len())).collect();
    assert_eq!(kept, [("B".to_owned(), 5), ("A".to_owned(), 5)]);
    let why = refusal(&state, &prune("A")).unwrap();
    assert_eq!(why, "tank/nano/kept/B-cfg depends on nanozfs-A");
    // A later switch keeps what depends on it.
    reach(&mut state, &snapshot("C"));
    reach(&mut state, &restore("A", "D"));
    let mut other = state.clone();
    other.datasets.iter_mut().for_each(|one| one.mounted = one.name.ends_with("D-var"));
    assert_eq!(refusal(&other, &prune("D")).unwrap(), "tank/nano/kept/D-var is mounted");
    for id in ["D", "B", "A"] {
        reach(&mut state, &prune(id));
        assert!(list(&state).iter().all(|one| one.id != id), "{id}");
    }
    assert_eq!(refusal(&state, &prune("A")).unwrap(), "tank/nano: nothing is kept as A");
    let live: Vec<&str> = names(&state).into_iter().filter(|n| !n.contains("kept")).collect();
    assert_eq!(live, names(&layout()));
    assert_eq!(parent("tank/nano"), "tank");
}

#[test]
fn clones_that_were_never_promoted_are_put_back_and_pruned_as_well() {
    let mut before = layout();
    reach(&mut before, &snapshot("A"));
    let mut restored = before.clone();
    reach(&mut restored, &restore("A", "B"));
    let live = restored.get("tank/nano/var/log").unwrap();
    assert_eq!(live.origin.as_deref(), Some("tank/nano/kept/B-var/log@nanozfs-A"));

    let mut back = restored.clone();
    reach(&mut back, &put_back("B", "C"));
    assert_eq!(reach(&mut back, &Goal::Promote), [""; 0]);
    assert!(back.has_snapshot("tank/nano/var/log", "nanozfs-A"));
    let clone = back.get("tank/nano/kept/C-var/log").unwrap();
    assert_eq!(clone.origin.as_deref(), Some("tank/nano/var/log@nanozfs-A"));

    // A later switch goes back from there, and what hangs on what hangs is promoted, too.
    let mut later = restored.clone();
    reach(&mut later, &snapshot("D"));
    reach(&mut later, &restore("D", "E"));
    reach(&mut later, &Goal::Promote);
    assert!(later.below("tank/nano/var").all(|one| one.origin.is_none()));
    assert!(later.has_snapshot("tank/nano/var", "nanozfs-A"));

    reach(&mut restored, &prune("B"));
    let live: Vec<&str> = names(&restored).into_iter().filter(|n| !n.contains("kept")).collect();
    assert_eq!(live, names(&layout()));
    assert!(restored.has_snapshot("tank/nano/var", "nanozfs-A"));
}

#[test]
fn a_clone_that_somebody_made_elsewhere_is_not_promoted() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    reach_and_promote(&mut state, &restore("A", "B"));
    reach(&mut state, &snapshot("C"));
    reach_and_promote(&mut state, &restore("C", "D"));
    let snapshot = state.snapshots.iter().find(|one| one.dataset.starts_with("tank/nano/kept/"));
    assert_eq!(snapshot, None, "all of them are with what is live");
    let snapshot = "tank/nano/kept/B-var/log@mine".to_owned();
    state.apply(&Step::Snapshot(vec![snapshot.clone()]));
    for dataset in ["tank/nano/var/a-look", "tank/nano/var/log/old"] {
        let (snapshot, dataset) = (snapshot.clone(), dataset.to_owned());
        state.apply(&Step::Clone { snapshot, dataset, properties: Vec::new() });
    }
    assert_eq!(reach(&mut state, &Goal::Promote), [""; 0]);
}

#[test]
fn what_is_kept_is_compared_with_what_is_live() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    let dataset = "tank/nano/var/young".to_owned();
    state.apply(&Step::Create { dataset, properties: Vec::new() });
    reach(&mut state, &restore("A", "B"));
    state.datasets.iter_mut().find(|one| one.name == "tank/nano/kept/B-var").unwrap().referenced =
        9;
    let all = compare(&state, "B");
    let of = |name: &str| {
        let one = all.iter().find(|one| one.dataset == name).unwrap();
        (one.kept, one.live)
    };
    assert_eq!(of("tank/nano/var"), (Some(9), Some(0)));
    assert_eq!(of("tank/nano/var/young"), (Some(0), None));
    assert_eq!(of("tank/nano/var/mail"), (None, Some(0)));
    assert_eq!(compare(&state, "X"), []);
}

#[test]
fn what_is_pruned_together_goes_in_an_order_that_can_be_done() {
    let mut start = layout();
    reach(&mut start, &snapshot("A"));
    reach_and_promote(&mut start, &restore("A", "B"));
    let ids = |words: &str| words.split(' ').map(str::to_owned).collect::<Vec<_>>();
    let needed = ids("C");
    let doomed = super::super::prune(&start, &ids("A B A"), &needed).unwrap();
    let order: Vec<&str> = doomed.iter().map(|one| one.group.id.as_str()).collect();
    assert_eq!(order, ["B", "A"]);
    let mut state = start.clone();
    let steps: Vec<Step> = doomed.into_iter().flat_map(|one| one.steps).collect();
    steps.iter().for_each(|step| state.apply(step));
    assert_eq!(steps.last().unwrap().to_string(), "zfs destroy -r tank/nano/var@nanozfs-A");
    assert_eq!(groups(&state), []);
    let table = [
        ("A", "C", "tank/nano/kept/B-cfg depends on nanozfs-A"),
        ("A B", "B", "tank/nano/kept/B-cfg depends on nanozfs-A"),
        ("B", "B", "B is needed to go back to"),
        ("B X", "C", "nothing is kept under that name"),
        ("../var", "C", "nothing is kept under that name"),
    ];
    for (what, needed, expected) in table {
        let (_, why) = super::super::prune(&start, &ids(what), &ids(needed)).unwrap_err();
        assert_eq!(why, expected, "{what}");
    }
}

#[test]
fn a_clone_of_somebody_else_keeps_what_it_is_made_of() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    reach(&mut state, &restore("A", "B"));
    let (dataset, name) = ("tank/nano/kept/B-var".to_owned(), "mine".to_owned());
    state.snapshots.push(Snapshot { dataset, name, taken: 0, used: 0 });
    let (snapshot, dataset) = ("tank/nano/kept/B-var@mine".to_owned(), "tank/nano/mine".to_owned());
    state.apply(&Step::Clone { snapshot, dataset, properties: Vec::new() });
    let (id, why) = super::super::prune(&state, &["B".to_owned()], &[]).unwrap_err();
    assert_eq!((id.as_str(), why.as_str()), ("B", "tank/nano/mine is a clone of it"));
}

#[test]
fn what_would_be_free_counts_nothing_twice() {
    let mut state = layout();
    reach(&mut state, &snapshot("A"));
    reach(&mut state, &restore("A", "B"));
    state.datasets.iter_mut().find(|one| one.name == "tank/nano/kept/B-var").unwrap().used = 9;
    for (dataset, name) in [("tank/nano/kept/B-var", "nanozfs-B"), ("tank/nano/cfg", "nanozfs-B")] {
        let (dataset, name) = (dataset.to_owned(), name.to_owned());
        state.snapshots.push(Snapshot { dataset, name, taken: 3, used: 5 });
    }
    let group = groups(&state).into_iter().find(|group| group.id == "B").unwrap();
    assert_eq!((group.frees, group.taken), (9 + 5, Some(3)));
    assert_eq!(changed(&state, "B"), [("tank/nano/kept/B-var", 5), ("tank/nano/cfg", 5)]);
}
