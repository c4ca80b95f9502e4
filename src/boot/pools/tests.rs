use super::decide::{Round, Wanted, decide};
use super::scan::Member;
use super::survey::{FoundPool, Verdict, survey};
use crate::config::KnownPool;
use crate::format::zfs_label::{Label, PoolState, Vdev};
use crate::format::zpool::{Health, Pool};
use crate::report::Code;

fn leaf(id: u64, guid: u64) -> Vdev {
    let path = Some(format!("/dev/ada{guid}"));
    Vdev { kind: "disk".to_owned(), id, guid, path, ..Vdev::default() }
}

fn group(kind: &str, nparity: u64, guids: &[u64]) -> Vdev {
    let children = guids.iter().zip(0..).map(|(guid, id)| leaf(id, *guid)).collect();
    Vdev { kind: kind.to_owned(), guid: 1000, nparity, children, ..Vdev::default() }
}

/// A pool of the top-level vdevs `tops`.
struct Spec {
    name: &'static str,
    guid: u64,
    tops: Vec<Vdev>,
    removal: bool,
    txg: u64,
}

impl Spec {
    fn new(name: &'static str, guid: u64, tops: Vec<Vdev>) -> Self {
        let number = |(mut top, id): (Vdev, u64)| {
            top.id = id;
            top
        };
        let tops = tops.into_iter().zip(0..).map(number).collect();
        Spec { name, guid, tops, removal: false, txg: 4 }
    }

    /// What the disk with this vdev GUID says.
    fn member(&self, guid: u64) -> Member {
        let tree = self.tops.iter().find(|top| top.leaves().any(|leaf| leaf.guid == guid)).unwrap();
        let feature = "com.delphix:device_removal".to_owned();
        let label = Label {
            version: 5000,
            state: PoolState::Active,
            txg: self.txg,
            pool_name: Some(self.name.to_owned()),
            pool_guid: Some(self.guid),
            hostid: None,
            hostname: Some("lab.example".to_owned()),
            guid,
            top_guid: Some(tree.guid),
            vdev_children: self.tops.len() as u64,
            holes: Vec::new(),
            features_for_read: if self.removal { vec![feature] } else { Vec::new() },
            tree: Some(tree.clone()),
        };
        let disk = format!("ada{guid}");
        Member { provider: disk.clone(), serial: Some(format!("S{guid}")), disk, label }
    }

    fn found(&self, present: &[u64]) -> FoundPool {
        let members: Vec<_> = present.iter().map(|guid| self.member(*guid)).collect();
        survey(&members).0.into_iter().next().unwrap()
    }
}

#[test]
fn what_is_there_of_a_pool_decides_what_can_be_done_with_it() {
    let raidz = |parity| group("raidz", parity, &[1, 2, 3]);
    let log = || Vdev { is_log: true, ..leaf(0, 9) };
    let replacing = || {
        let mut top = group("raidz", 1, &[1, 2, 3]);
        top.children[2] = Vdev { id: 2, ..group("replacing", 0, &[3, 4]) };
        top
    };
    type Row<'a> = (&'a str, Vec<Vdev>, &'a [u64], Verdict, &'a str);
    let table: Vec<Row<'_>> = vec![
        ("raidz1, all", vec![raidz(1)], &[1, 2, 3], Verdict::Complete, "3 of 3 disks found"),
        (
            "raidz1, one away",
            vec![raidz(1)],
            &[1, 2],
            Verdict::Degraded,
            "2 of 3 disks found, raidz1 needs 2",
        ),
        (
            "raidz1, two away",
            vec![raidz(1)],
            &[3],
            Verdict::Short,
            "1 of 3 disks found, raidz1 needs 2",
        ),
        (
            "raidz2, two away",
            vec![raidz(2)],
            &[3],
            Verdict::Degraded,
            "1 of 3 disks found, raidz2 needs 1",
        ),
        (
            "mirror, one away",
            vec![group("mirror", 0, &[1, 2])],
            &[2],
            Verdict::Degraded,
            "1 of 2 disks found, mirror needs 1",
        ),
        ("single disk", vec![leaf(0, 1)], &[1], Verdict::Complete, "1 of 1 disks found"),
        (
            "two stripes, one known from the other's label only",
            vec![leaf(0, 1), leaf(1, 2)],
            &[1],
            Verdict::Short,
            "1 of 1 disks found; no disk of 1 more of its 2 vdevs",
        ),
        (
            "two mirrors, each impaired",
            vec![group("mirror", 0, &[1, 2]), group("mirror", 0, &[3, 4])],
            &[1, 4],
            Verdict::Degraded,
            "2 of 4 disks found, mirror needs 1",
        ),
        (
            "a log alone is away",
            vec![leaf(0, 1), log()],
            &[1],
            Verdict::Short,
            "1 of 1 disks found; no disk of 1 more of its 2 vdevs",
        ),
        (
            "replacing, the new disk away",
            vec![replacing()],
            &[1, 2, 3],
            Verdict::Degraded,
            "3 of 4 disks found, raidz1 needs 2",
        ),
        (
            "replacing, both away",
            vec![replacing()],
            &[1, 2],
            Verdict::Degraded,
            "2 of 4 disks found, raidz1 needs 2",
        ),
    ];
    for (name, tops, present, verdict, text) in table {
        let assessment = Spec::new("tank", 7, tops).found(present).assess();
        assert_eq!(assessment.verdict, verdict, "{name}");
        assert_eq!(assessment.text, text, "{name}");
    }
}

#[test]
fn a_vdev_that_may_have_been_removed_is_not_waited_for() {
    let mut spec = Spec::new("tank", 7, vec![leaf(0, 1), leaf(1, 2)]);
    spec.removal = true;
    let assessment = spec.found(&[1]).assess();
    assert_eq!((assessment.verdict, assessment.may_improve()), (Verdict::Unsure, false));
}

#[test]
fn a_disk_that_was_taken_offline_is_not_waited_for() {
    let mut top = group("mirror", 0, &[1, 2]);
    top.children[1].offline = true;
    let assessment = Spec::new("tank", 7, vec![top]).found(&[1]).assess();
    assert_eq!((assessment.verdict, assessment.may_improve()), (Verdict::Degraded, false));
    assert_eq!(assessment.missing[0].place, "disk 2 of mirror-0");
}

#[test]
fn the_newest_label_tells_of_the_pool() {
    let old = Spec::new("old", 7, vec![group("mirror", 0, &[1, 2])]);
    let new = Spec { txg: 9, ..Spec::new("new", 7, vec![group("mirror", 0, &[1, 3])]) };
    for members in [[old.member(2), new.member(1)], [new.member(1), old.member(2)]] {
        let (pools, twins) = survey(&members);
        assert_eq!((pools.len(), twins.len()), (1, 0));
        assert_eq!(pools[0].name, "new");
        assert_eq!(pools[0].assess().missing[0].path.as_deref(), Some("/dev/ada3"));
    }
}

#[test]
fn a_copied_disk_is_told_and_used_once() {
    let spec = Spec::new("tank", 7, vec![leaf(0, 1)]);
    let copy = Member { provider: "da9".to_owned(), disk: "da9".to_owned(), ..spec.member(1) };
    let (pools, twins) = survey(&[spec.member(1), copy]);
    assert_eq!(pools[0].paths(), ["/dev/ada1"]);
    assert_eq!(twins, [("ada1".to_owned(), "da9".to_owned())]);
}

#[test]
fn a_disk_under_two_names_is_one_disk_under_the_name_the_pool_knows() {
    let mut spec = Spec::new("tank", 7, vec![leaf(0, 1)]);
    spec.tops[0].path = Some("/dev/label/one".to_owned());
    let named = Member { provider: "label/one".to_owned(), ..spec.member(1) };
    for members in [[spec.member(1), named.clone()], [named, spec.member(1)]] {
        let (pools, twins) = survey(&members);
        assert_eq!((pools[0].paths(), twins), (vec!["/dev/label/one".to_owned()], vec![]));
    }
}

#[test]
fn destroyed_pools_and_spares_are_no_pools() {
    let spec = Spec::new("tank", 7, vec![leaf(0, 1)]);
    for state in [PoolState::Destroyed, PoolState::Spare, PoolState::L2cache] {
        let mut member = spec.member(1);
        member.label.state = state;
        assert_eq!(survey(&[member]).0, []);
    }
}

fn known(words: &str) -> Vec<KnownPool> {
    let guid = |word: &str| word.parse().map(KnownPool::Guid);
    let name = |word: &str| KnownPool::Name(glob::Pattern::new(word).unwrap());
    words.split(' ').map(|word| guid(word).unwrap_or_else(|_| name(word))).collect()
}

fn imported(name: &str, guid: u64) -> Pool {
    Pool { name: name.to_owned(), guid, health: Health::Online, readonly: false }
}

/// Imports, what is waited for, and the codes of what is told when there is no more waiting.
fn summary(round: Round) -> (Vec<u64>, usize, Vec<Code>) {
    let imports = round.imports().iter().map(|pool| pool.guid).collect();
    let waiting = round.waiting().len();
    let codes = round.with_notes(&[], &[]).findings.iter().map(|finding| finding.code).collect();
    (imports, waiting, codes)
}

#[test]
fn every_known_pool_has_its_decision() {
    let tank =
        |present: &[u64]| Spec::new("tank", 7, vec![group("raidz", 1, &[1, 2, 3])]).found(present);
    let twin = || Spec::new("tank", 8, vec![leaf(0, 4)]).found(&[4]);
    let data = || Spec::new("data1", 9, vec![leaf(0, 5)]).found(&[5]);
    type Row<'a> = (&'a str, &'a str, Vec<FoundPool>, Vec<Pool>, (Vec<u64>, usize, Vec<Code>));
    let table: Vec<Row<'_>> = vec![
        ("complete", "tank", vec![tank(&[1, 2, 3]), data()], vec![], (vec![7], 0, vec![])),
        (
            "degraded: waits, then imports",
            "tank",
            vec![tank(&[1, 2])],
            vec![],
            (vec![7], 1, vec![]),
        ),
        ("too little", "tank", vec![tank(&[1])], vec![], (vec![], 1, vec![Code::E22])),
        ("not there", "tank", vec![data()], vec![], (vec![], 1, vec![Code::E23])),
        (
            "two of a name",
            "tank",
            vec![tank(&[1, 2, 3]), twin()],
            vec![],
            (vec![], 0, vec![Code::E27]),
        ),
        (
            "two of a name, by GUID",
            "8",
            vec![tank(&[1, 2, 3]), twin()],
            vec![],
            (vec![8], 0, vec![]),
        ),
        (
            "by name and by GUID",
            "tank 8",
            vec![tank(&[1, 2, 3]), twin()],
            vec![],
            (vec![8], 0, vec![]),
        ),
        (
            "imported",
            "tank",
            vec![tank(&[1, 2, 3])],
            vec![imported("tank", 7)],
            (vec![], 0, vec![]),
        ),
        (
            "its name is taken by an imported one",
            "tank",
            vec![tank(&[1, 2, 3]), twin()],
            vec![imported("tank", 8)],
            (vec![], 0, vec![]),
        ),
        ("pattern", "data* tank", vec![tank(&[1, 2, 3]), data()], vec![], (vec![9, 7], 0, vec![])),
        ("named twice", "tank t* 7", vec![tank(&[1, 2, 3])], vec![], (vec![7], 0, vec![])),
        ("pattern without a pool", "x*", vec![data()], vec![], (vec![], 1, vec![Code::E23])),
    ];
    for (name, words, found, here, expected) in table {
        assert_eq!(summary(decide(&known(words), found, &here)), expected, "{name}");
    }
}

#[test]
fn without_a_known_pool_the_found_ones_are_told_and_left() {
    let data = Spec::new("data1", 9, vec![leaf(0, 5)]).found(&[5]);
    let round = decide(&[], vec![data], &[]);
    assert_eq!(round.findings[0].details, [("found", "data1 (9)".to_owned())]);
    assert_eq!(summary(round), (vec![], 0, vec![Code::E20]));
}

#[test]
fn a_missing_pool_is_called_by_its_word() {
    let round = decide(&known("tank"), vec![], &[]);
    assert_eq!(round.wanted.first().and_then(Wanted::absent_name).as_deref(), Some("tank"));
}
