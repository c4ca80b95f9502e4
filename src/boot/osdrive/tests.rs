use super::*;

const RELEASES: [&str; 2] = ["13.2", "15.1"];

fn mesh(release: &str, name: &str) -> Mesh {
    let root = env!("CARGO_MANIFEST_DIR");
    let path = format!("{root}/tests/fixtures/freebsd-{release}/nanobsd-and-slots/{name}.out");
    Mesh::parse(&std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))).unwrap()
}

fn find(mesh: &Mesh, root: Option<&str>, label: &str) -> Search {
    search(mesh, root.and_then(|root| mesh.find(root)), label, &|_| None)
}

fn parts(search: &Search) -> Vec<(&'static str, &str)> {
    let drive = search.drive.as_ref().unwrap();
    drive.parts.iter().map(|(role, provider)| (role.name(), provider.as_str())).collect()
}

#[test]
fn a_nanobsd_drive_is_known_by_what_root_is_mounted_from() {
    for release in RELEASES {
        let mesh = mesh(release, "nanobsd-confxml");
        let found = find(&mesh, Some("/dev/vtbd0s1a"), "nano");
        let all = [("slot A", "vtbd0s1a"), ("slot B", "vtbd0s2a"), ("recovery copy", "vtbd0s3")];
        assert_eq!(parts(&found), all, "{release}");
        let drive = found.drive.unwrap();
        assert_eq!(drive.name(), "vtbd0 (serial LABROOT)");
        assert_eq!(drive.running, Some(Role::SlotA));
        assert_eq!(drive.other(), Some((Role::SlotB, "vtbd0s2a")));
    }
}

#[test]
fn the_same_disk_under_its_serial_number_is_the_same_disk() {
    for release in RELEASES {
        let mesh = mesh(release, "nanobsd-confxml");
        let found = find(&mesh, Some("/dev/diskid/DISK-LABROOTs2a"), "nano");
        let drive = found.drive.unwrap();
        assert_eq!((drive.disk.as_str(), drive.running), ("vtbd0", Some(Role::SlotB)));
        assert_eq!(found.alike, Vec::<String>::new());
    }
}

#[test]
fn gpt_slots_are_found_by_name_and_also_while_one_is_mounted() {
    let all = [("slot A", "vtbd1p2"), ("slot B", "vtbd1p3"), ("recovery copy", "vtbd1p4")];
    for release in RELEASES {
        for name in ["slots-confxml", "slots-mounted-confxml"] {
            let mesh = mesh(release, name);
            let found = find(&mesh, None, "nano");
            assert_eq!(parts(&found), all, "{release} {name}");
            let found = find(&mesh, Some("/dev/vtbd1p3"), "nano");
            let drive = found.drive.unwrap();
            assert_eq!(drive.running, Some(Role::SlotB));
            assert_eq!(drive.other(), Some((Role::SlotA, "vtbd1p2")));
        }
    }
}

#[test]
fn a_drive_with_other_labels_is_not_ours() {
    let mesh = mesh("13.2", "slots-confxml");
    assert_eq!(find(&mesh, None, "other"), Search::default());
}

#[test]
fn two_drives_with_the_labels_are_never_guessed_between() {
    let mesh = mesh("13.2", "slots-confxml");
    // The slices of vtbd0 carry the labels in their superblocks, where GEOM does not show them.
    let ufs_name = |id: ProviderId| match mesh.provider(id).name.as_str() {
        "vtbd0s1a" => Some("nanos1a".to_owned()),
        "vtbd0s2a" => Some("nanos1a".to_owned()),
        _ => None,
    };
    let both = ["vtbd0 (serial LABROOT)", "vtbd1 (serial SLOTS)"];
    let found = search(&mesh, None, "nano", &ufs_name);
    assert_eq!(found.drive, None);
    let mut alike = found.alike;
    alike.sort();
    assert_eq!(alike, both);
    // The one under / is the one, and a label in the wrong place is told.
    let found = search(&mesh, mesh.find("vtbd0s1a"), "nano", &ufs_name);
    assert_eq!(found.drive.unwrap().disk, "vtbd0");
    assert_eq!(found.alike, both);
    assert_eq!(found.misplaced, [("vtbd0s2a".to_owned(), "nanos1a".to_owned())]);
}
