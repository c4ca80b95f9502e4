use super::super::fixtures;
use super::*;

const VDEVS: [&str; 4] = ["vtbd1", "gpt_mirror-ada0", "da0", "da1"];

/// The nvlist's area of the first label in a recording of a vdev's first 256 KiB.
fn area(release: &str, name: &str) -> Vec<u8> {
    let label = fixtures::gunzip(release, &format!("pools/label0-{name}.bin.gz"));
    assert_eq!(label.len() as u64, LABEL_SIZE);
    label[NVLIST_OFFSET as usize..][..NVLIST_SIZE].to_vec()
}

fn recorded(release: &str, name: &str) -> Label {
    parse(&area(release, name), 0).unwrap().unwrap()
}

/// What `zdb -l` printed: each line as `INDENT KEY: VALUE`, quotes removed.
fn zdb(release: &str, name: &str) -> Vec<(usize, String, String)> {
    let text = fixtures::text(release, &format!("pools/zdb-l-{name}.out"));
    let line = |line: &str| {
        let indent = line.len() - line.trim_start().len();
        let (key, value) = line.trim().rsplit_once(':')?;
        let value = value.trim().trim_matches('\'');
        Some((indent, key.to_owned(), value.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

/// The vdev as zdb prints it, in the order of its lines.
fn shown(vdev: &Vdev, indent: usize, out: &mut Vec<(usize, String, String)>) {
    let mut put = |key: &str, value: String| out.push((indent, key.to_owned(), value));
    put("type", vdev.kind.clone());
    put("id", vdev.id.to_string());
    put("guid", vdev.guid.to_string());
    if vdev.nparity > 0 {
        put("nparity", vdev.nparity.to_string());
    }
    if let Some(path) = &vdev.path {
        put("path", path.clone());
    }
    if vdev.ashift > 0 {
        put("ashift", vdev.ashift.to_string());
        put("asize", vdev.asize.to_string());
        put("is_log", u64::from(vdev.is_log).to_string());
    }
    put("create_txg", vdev.create_txg.to_string());
    for (n, child) in vdev.children.iter().enumerate() {
        out.push((indent, format!("children[{n}]"), String::new()));
        shown(child, indent + 4, out);
    }
}

fn agrees_with_zdb(release: &str) {
    for name in VDEVS {
        let label = recorded(release, &format!("zdb-l-{name}"));
        let zdb = zdb(release, name);
        let top = |key: &str| {
            let found = zdb.iter().find(|(i, k, _)| *i == 4 && k == key);
            found.map(|(_, _, value)| value.clone())
        };
        let number = |key: &str| top(key).map(|v| v.parse::<u64>().unwrap());
        assert_eq!(Some(label.version), number("version"));
        assert_eq!(label.pool_name, top("name"));
        assert_eq!((label.state, number("state")), (PoolState::Active, Some(0)));
        assert_eq!(Some(label.txg), number("txg"));
        assert_eq!(label.pool_guid, number("pool_guid"));
        assert_eq!(label.hostid, number("hostid"));
        assert_eq!(label.hostname, top("hostname"));
        assert_eq!(Some(label.guid), number("guid"));
        assert_eq!(label.top_guid, number("top_guid"));
        assert_eq!(Some(label.vdev_children), number("vdev_children"));
        assert!(label.holes.is_empty() && label.is_member());

        let mut ours = Vec::new();
        shown(label.tree.as_ref().unwrap(), 8, &mut ours);
        let known: Vec<&str> =
            "type id guid nparity path ashift asize is_log create_txg".split(' ').collect();
        let theirs: Vec<_> = zdb
            .into_iter()
            .filter(|(i, k, _)| {
                *i >= 8 && (known.contains(&k.as_str()) || k.starts_with("children"))
            })
            .collect();
        assert_eq!(ours, theirs, "{release} {name}");

        let zdb = fixtures::text(release, &format!("pools/zdb-l-{name}.out"));
        assert!(label.features_for_read.contains(&"com.delphix:hole_birth".to_owned()));
        assert!(label.features_for_read.iter().all(|f| zdb.contains(f)));
    }
}

#[test]
fn freebsd_13_2_labels_say_what_zdb_says() {
    agrees_with_zdb("13.2");
}

#[test]
fn freebsd_15_1_labels_say_what_zdb_says() {
    agrees_with_zdb("15.1");
}

#[test]
fn freebsd_13_2_and_15_1_exported_pools_are_exported() {
    for release in ["13.2", "15.1"] {
        let before = recorded(release, "zdb-l-da1");
        let after = recorded(release, "exported-da1");
        assert_eq!(after.state, PoolState::Exported);
        assert_eq!(after.pool_name.as_deref(), Some("gone"));
        assert_eq!(after.pool_guid, before.pool_guid);
        assert!(after.txg > before.txg);
    }
}

#[test]
fn freebsd_13_2_raidz_has_three_leaves() {
    let label = recorded("13.2", "zdb-l-vtbd1");
    let leaves: Vec<&str> =
        label.tree.as_ref().unwrap().leaves().filter_map(|v| v.path.as_deref()).collect();
    assert_eq!(leaves, ["/dev/vtbd1", "/dev/vtbd2", "/dev/vtbd3"]);
}

#[test]
fn a_disk_alone_is_its_own_leaf() {
    let tree = recorded("13.2", "zdb-l-da0").tree.unwrap();
    assert_eq!(tree.leaves().map(|v| v.guid).collect::<Vec<_>>(), [tree.guid]);
}

#[test]
fn leaves_come_in_the_order_of_the_label() {
    let disk = |guid| Vdev { guid, ..Vdev::default() };
    let replacing = Vdev { children: vec![disk(2), disk(3)], ..disk(9) };
    let raidz = Vdev { children: vec![disk(1), replacing, disk(4)], ..disk(8) };
    assert_eq!(raidz.leaves().map(|v| v.guid).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

#[test]
fn labels_are_where_zfs_puts_them() {
    let k = 1 << 10;
    assert_eq!(label_offsets(4096 * k), [0, 256 * k, 3584 * k, 3840 * k]);
    assert_eq!(label_offsets(4096 * k + 255 * k), label_offsets(4096 * k));
    assert_eq!(label_offsets(1024 * k), [0, 256 * k, 512 * k, 768 * k]);
    assert_eq!(label_offsets(1000 * k), [0, 256 * k, 512 * k]);
    assert_eq!(label_offsets(600 * k), [0, 256 * k]);
    assert_eq!(label_offsets(300 * k), [0]);
    assert!(label_offsets(100 * k).is_empty());
    assert_eq!(label_offsets(u64::MAX).len(), 4);
}

#[test]
fn no_label_is_not_an_error() {
    assert_eq!(parse(&vec![0; NVLIST_SIZE], 0), Ok(None));
    assert_eq!(parse(&vec![0x55; NVLIST_SIZE], 0), Ok(None));
}

#[test]
fn an_area_of_another_size_is_an_error() {
    assert!(parse(&[], 0).is_err());
    assert!(parse(&vec![0; NVLIST_SIZE - 1], 0).is_err());
    assert!(parse(&vec![0; NVLIST_SIZE + 1], 0).is_err());
}

#[test]
fn freebsd_13_2_label_with_one_bit_wrong_is_damaged() {
    let good = area("13.2", "zdb-l-da0");
    for at in [0, 100, 50_000, NVLIST_SIZE - TRAILER_SIZE - 1, NVLIST_SIZE - 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        let error = parse(&bad, 0).unwrap_err();
        assert!(error.why.contains("checksum"), "{error}");
    }
}

#[test]
fn freebsd_13_2_label_is_valid_only_where_it_was_written() {
    let good = area("13.2", "zdb-l-da0");
    assert!(parse(&good, LABEL_SIZE).is_err());
    assert!(parse(&good, u64::MAX).is_err());
}

#[test]
fn a_label_of_a_big_endian_machine_is_understood() {
    let label = recorded("13.2", "zdb-l-vtbd1");
    let mut phys = encode(&label, LABEL_SIZE).unwrap();
    let at = NVLIST_SIZE - TRAILER_SIZE;
    phys[at..at + 8].copy_from_slice(&MAGIC.to_be_bytes());
    let sum = checksum(&Area::of(&phys).unwrap(), LABEL_SIZE, true);
    phys[at + 8..].copy_from_slice(&sum);
    assert_eq!(parse(&phys, LABEL_SIZE), Ok(Some(label)));
}

#[test]
fn what_was_made_is_parsed() {
    for release in ["13.2", "15.1"] {
        for name in VDEVS {
            let mut label = recorded(release, &format!("zdb-l-{name}"));
            label.holes = vec![1, 3];
            if let Some(tree) = &mut label.tree {
                tree.offline = true;
                tree.is_log = true;
            }
            let phys = encode(&label, LABEL_SIZE).unwrap();
            assert_eq!(parse(&phys, LABEL_SIZE), Ok(Some(label)));
        }
    }
}

#[test]
fn freebsd_13_2_and_15_1_nvlists_are_packed_again_byte_by_byte() {
    for release in ["13.2", "15.1"] {
        for name in VDEVS {
            let area = area(release, &format!("zdb-l-{name}"));
            let packed = nvlist::encode(&nvlist::decode(&area).unwrap());
            assert!(area.starts_with(&packed), "{release} {name}");
            assert!(area[packed.len()..NVLIST_SIZE - TRAILER_SIZE].iter().all(|b| *b == 0));
        }
    }
}

#[test]
fn spares_have_a_guid_and_no_pool() {
    let spare = aside(PoolState::Spare, 7);
    let parsed = parse(&encode(&spare, 0).unwrap(), 0).unwrap().unwrap();
    assert_eq!(parsed, spare);
    assert!(!parsed.is_member());
}

#[test]
fn a_device_that_was_taken_out_of_its_pool_is_no_member() {
    let mut label = recorded("13.2", "zdb-l-da0");
    label.txg = 0;
    let parsed = parse(&encode(&label, 0).unwrap(), 0).unwrap().unwrap();
    assert!(!parsed.is_member());
}

#[test]
fn a_label_that_lacks_what_every_label_has_is_damaged() {
    let sealed = |list: Nvlist| {
        let mut phys = nvlist::encode(&list);
        phys.resize(NVLIST_SIZE, 0);
        seal(&mut phys, 0);
        parse(&phys, 0).unwrap_err().why
    };
    let number = |name: &str| (name.to_owned(), nvlist::Value::U64(0));
    assert!(sealed(Nvlist::default()).contains("version"));
    assert!(sealed(Nvlist(vec![number("version"), number("state")])).contains("guid"));
    let tree = ("vdev_tree".to_owned(), nvlist::Value::List(Nvlist::default()));
    let all = vec![number("version"), number("state"), number("guid"), tree];
    assert!(sealed(Nvlist(all)).contains("vdev has no type"));
}

#[test]
fn a_checksum_over_nonsense_does_not_make_it_a_label() {
    let mut phys = vec![0xff; NVLIST_SIZE];
    seal(&mut phys, 0);
    assert_eq!(parse(&phys, 0).unwrap_err().what, "ZFS label");
}

#[test]
fn a_label_that_does_not_fit_is_not_made() {
    let mut label = recorded("13.2", "zdb-l-da0");
    label.hostname = Some("x".repeat(NVLIST_SIZE));
    assert!(encode(&label, 0).is_err());
}
