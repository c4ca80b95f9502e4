use super::super::fixtures;
use super::*;

fn recorded(release: &str, name: &str) -> Mesh {
    Mesh::parse(&fixtures::bytes(release, &format!("{name}-confxml.out"))).unwrap()
}

fn id(mesh: &Mesh, name: &str) -> ProviderId {
    mesh.find(name).unwrap_or_else(|| panic!("{name} is not there"))
}

fn partition<'a>(mesh: &'a Mesh, name: &str) -> &'a Partition {
    let provider = mesh.provider(id(mesh, name));
    provider.partition.as_ref().unwrap()
}

/// A mesh with these classes in it.
fn mesh(classes: &str) -> Mesh {
    Mesh::parse(format!("<mesh>{classes}</mesh>\n\0").as_bytes()).unwrap()
}

fn class(name: &str, geoms: &str) -> String {
    format!("<class id='c'><name>{name}</name>{geoms}</class>")
}

fn geom(config: &str, consumes: &str, provider: &str) -> String {
    let consumer = format!("<consumer><provider ref='{consumes}'/></consumer>");
    format!("<geom><name>g</name><config>{config}</config>{consumer}{provider}</geom>")
}

fn provider(name: &str, size: u64, config: &str) -> String {
    format!(
        "<provider id='{name}'><mode>r0w0e0</mode><name>{name}</name><mediasize>{size}</mediasize>\
         <sectorsize>512</sectorsize><config>{config}</config></provider>"
    )
}

fn disk(name: &str, size: u64) -> String {
    class("DISK", &geom("", "", &provider(name, size, "")))
}

fn label(name: &str, on: &str, size: u64) -> String {
    class("LABEL", &geom("", on, &provider(name, size, "<offset>0</offset>")))
}

fn slots(release: &str) {
    let mesh = recorded(release, "nanobsd-and-slots/slots");
    let slot = partition(&mesh, "vtbd1p3");
    assert_eq!((slot.index, slot.kind.as_str(), slot.scheme.as_str()), (3, "freebsd-ufs", "GPT"));
    assert_eq!((slot.offset, slot.length), (16863232, 16777216));
    assert_eq!(slot.label.as_deref(), Some("nanoB"));
    assert_eq!(slot.attributes, ["bootme", "bootonce"]);
    assert!(slot.table_ok && slot.has("bootonce") && !slot.has("bootfailed"));
    assert_eq!(partition(&mesh, "vtbd1p1").label, None);
    assert!(partition(&mesh, "vtbd0s1").has("active"));

    let disk = id(&mesh, "vtbd1");
    let (a, b) = (id(&mesh, "vtbd1p2"), id(&mesh, "diskid/DISK-SLOTSp2"));
    assert!(mesh.same_sectors(a, b) && !mesh.same_sectors(a, disk));
    assert!(mesh.same_sectors(disk, id(&mesh, "diskid/DISK-SLOTS")));
    assert_eq!(mesh.extent(b), Extent { disk, offset: 86016, length: 16777216 });
    let names = mesh.names(b);
    assert_eq!(names.first(), Some(&"vtbd1p2"));
    assert_eq!(names.last(), Some(&"diskid/DISK-SLOTSp2"));
    assert!(names.contains(&"gpt/nanoA") && names.len() == 4, "{names:?}");

    assert_eq!(mesh.parent(a), Some(disk));
    assert_eq!(mesh.parent(disk), None);
    assert_eq!(mesh.iter().filter(|(_, p)| p.partition.is_some()).count(), 20);

    // A BSD partition in an MBR slice: both offsets count.
    let root = mesh.extent(id(&mesh, "/dev/vtbd0s2a"));
    let slice = partition(&mesh, "vtbd0s2").offset;
    assert_eq!(root.offset, slice + 8192);
    assert_eq!(mesh.provider(root.disk).name, "vtbd0");
    assert_eq!(partition(&mesh, "vtbd0s2a").scheme, "BSD");
    assert!(mesh.has_partitions(disk) && mesh.has_partitions(id(&mesh, "vtbd0s1")));
    assert!(!mesh.has_partitions(id(&mesh, "vtbd0s3")));
    assert!((0..mesh.providers.len()).all(|n| !mesh.is_component(ProviderId(n))));
}

#[test]
fn freebsd_13_2_slots_are_found_under_all_their_names() {
    slots("13.2");
}

#[test]
fn freebsd_15_1_slots_are_found_under_all_their_names() {
    slots("15.1");
}

fn mounted_slot(release: &str) {
    let mesh = recorded(release, "nanobsd-and-slots/slots-mounted");
    let slot = id(&mesh, "gpt/nanoA");
    assert_eq!(mesh.names(slot), ["vtbd1p2", "gpt/nanoA"]);
    assert_eq!(partition(&mesh, "vtbd1p2").label.as_deref(), Some("nanoA"));
    assert!(mesh.find("diskid/DISK-SLOTS").is_none());
    assert_eq!(mesh.provider(slot).access, Access { r: 1, w: 1, e: 1 });
    assert!(mesh.consumers(slot).any(|geom| geom.class == "VFS"));
}

#[test]
fn freebsd_13_2_mounted_slot_has_lost_its_other_labels() {
    mounted_slot("13.2");
}

#[test]
fn freebsd_15_1_mounted_slot_has_lost_its_other_labels() {
    mounted_slot("15.1");
}

fn pools(release: &str, nvme: &str) {
    let mesh = recorded(release, "pools/boot");
    let disks: Vec<&str> = mesh.disks().map(|id| mesh.provider(id).name.as_str()).collect();
    let nvme0 = format!("{nvme}0");
    for name in ["vtbd0", "vtbd1", "ada0", "da1", &nvme0] {
        assert!(disks.contains(&name), "{name} not in {disks:?}");
    }
    let vtbd1 = mesh.provider(id(&mesh, "vtbd1"));
    assert_eq!((vtbd1.mediasize, vtbd1.sectorsize), (268435456, 512));
    assert_eq!((vtbd1.ident.as_deref(), vtbd1.descr.as_deref()), (Some("RZ1"), None));
    let da1 = mesh.provider(id(&mesh, "da1"));
    assert_eq!(da1.descr.as_deref(), Some("QEMU QEMU HARDDISK"));
    let root = id(&mesh, "ufs/LABROOT");
    assert_eq!(mesh.class(root), "LABEL");
    assert_eq!(mesh.names(root), ["vtbd0p3", "ufs/LABROOT"]);

    let mesh = recorded(release, "pools/geom-with-zfs");
    let member = id(&mesh, "gpt/mirror-ada0");
    assert!(mesh.consumers(member).any(|geom| geom.class == "ZFS::VDEV"));
    assert!(!mesh.is_component(member));
    assert_eq!(mesh.names(member), ["ada0p1", "gpt/mirror-ada0"]);
}

#[test]
fn freebsd_13_2_disks_carry_pools() {
    pools("13.2", "nvd");
}

#[test]
fn freebsd_15_1_disks_carry_pools() {
    pools("15.1", "nda");
}

#[test]
fn freebsd_15_1_nvme_disks_are_found_by_their_old_names() {
    let mesh = recorded("15.1", "pools/boot");
    let disk = id(&mesh, "/dev/nvd1");
    assert_eq!(mesh.provider(disk).name, "nda1");
    assert_eq!(mesh.names(disk), ["nda1", "diskid/DISK-LABOUT", "nvd1"]);
}

#[test]
fn a_mirror_starts_an_identity_of_its_own_and_its_disks_are_components() {
    let mirror = geom("", "ada0", &provider("mirror/gm0", 99, ""));
    let mesh =
        mesh(&(disk("ada0", 100) + &class("MIRROR", &mirror) + &label("ufs/x", "mirror/gm0", 99)));
    let (ada0, gm0, ufs) = (id(&mesh, "ada0"), id(&mesh, "mirror/gm0"), id(&mesh, "ufs/x"));
    assert!(mesh.is_component(ada0) && !mesh.is_component(gm0));
    assert_eq!(mesh.extent(ufs).disk, gm0);
    assert!(mesh.same_sectors(gm0, ufs));
    assert_eq!(mesh.disks().collect::<Vec<_>>(), [ada0]);
}

#[test]
fn a_disk_is_a_component_under_all_its_names() {
    let eli = class("ELI", &geom("", "diskid/DISK-1", &provider("diskid/DISK-1.eli", 9, "")));
    let mesh = mesh(&(disk("ada0", 9) + &label("diskid/DISK-1", "ada0", 9) + &eli));
    assert!(mesh.is_component(id(&mesh, "ada0")));
}

#[test]
fn a_class_that_only_looks_for_its_metadata_makes_no_component() {
    let taste = "<geom><name>mirror:taste</name><consumer><provider ref='ada0'/></consumer></geom>";
    let mesh = mesh(&(disk("ada0", 9) + &class("MIRROR", taste)));
    assert!(!mesh.is_component(id(&mesh, "ada0")));
}

#[test]
fn a_label_with_room_for_its_own_metadata_shows_other_sectors() {
    let mesh = mesh(&(disk("ada0", 1024) + &label("label/x", "ada0", 512)));
    assert!(!mesh.same_sectors(id(&mesh, "ada0"), id(&mesh, "label/x")));
}

#[test]
fn what_is_being_torn_down_is_not_there() {
    let gone = "<geom><name>ada0</name><wither/>".to_owned() + &provider("ada0", 1, "") + "</geom>";
    let going = provider("ada1", 1, "").replace("<config></config>", "<wither/>");
    let mesh = mesh(&class("DISK", &(gone + &geom("", "", &going))));
    assert!(mesh.providers.is_empty());
    assert_eq!(mesh.geoms.len(), 2);
}

#[test]
fn a_damaged_table_is_not_ok() {
    let entry = "<index>1</index><type>freebsd-ufs</type><offset>8</offset><length>1</length>";
    let part = |state: &str| {
        let table = format!("<scheme>GPT</scheme><state>{state}</state>");
        class("PART", &geom(&table, "ada0", &provider("ada0p1", 1, entry)))
    };
    let mesh = |state| mesh(&(disk("ada0", 9) + &part(state)));
    assert!(partition(&mesh("OK"), "ada0p1").table_ok);
    let corrupt = mesh("CORRUPT");
    assert!(!partition(&corrupt, "ada0p1").table_ok);
    assert_eq!(corrupt.geoms[1].state.as_deref(), Some("CORRUPT"));
}

#[test]
fn a_partition_without_an_offset_is_no_part_of_its_disk() {
    let part = geom("<scheme>GPT</scheme>", "ada0", &provider("ada0p1", 9, "<index>1</index>"));
    let mesh = mesh(&(disk("ada0", 9) + &class("PART", &part)));
    let p1 = id(&mesh, "ada0p1");
    assert_eq!(mesh.provider(p1).partition, None);
    assert_eq!(mesh.extent(p1).disk, p1);
}

#[test]
fn references_that_lead_nowhere_are_left_out() {
    let mesh = mesh(&(label("gpt/x", "nobody", 9) + "<class/><geom/>" + &class("DISK", "<geom/>")));
    let x = id(&mesh, "gpt/x");
    assert_eq!(mesh.extent(x), Extent { disk: x, offset: 0, length: 9 });
    assert!(mesh.geoms[0].consumes.is_empty());
}

#[test]
fn circles_end() {
    let two = label("a", "b", 9) + &label("b", "a", 9) + &label("c", "c", 9) + &label("d", "a", 9);
    let mesh = mesh(&two);
    for name in ["a", "b", "c", "d"] {
        let disk = mesh.extent(id(&mesh, name)).disk;
        assert_eq!(mesh.extent(disk).disk, disk);
    }
}

#[test]
fn of_two_providers_with_one_id_or_name_the_first_counts() {
    let mesh = mesh(&(disk("ada0", 1) + &disk("ada0", 2) + &label("ufs/x", "ada0", 1)));
    assert_eq!(id(&mesh, "ada0"), ProviderId(0));
    assert_eq!(mesh.extent(id(&mesh, "ufs/x")).disk, ProviderId(0));
}

#[test]
fn numbers_that_are_missing_or_absurd_are_zero() {
    let bare =
        "<provider id='x'><mode>r0w0e0</mode><name>x</name><mediasize>-1</mediasize></provider>";
    let mesh = mesh(&class("DISK", &format!("<geom>{bare}</geom>")));
    assert_eq!((mesh.providers[0].mediasize, mesh.providers[0].sectorsize), (0, 0));
}

#[test]
fn a_provider_without_a_name_or_a_mode_is_skipped() {
    let bad = "<provider id='x'><mode>r0w0e0</mode></provider><provider><name>x</name></provider>\
               <provider><mode>rwe</mode><name>y</name></provider>\
               <provider><mode>r0w0e0</mode><name></name></provider>";
    assert!(mesh(&class("DISK", &format!("<geom>{bad}</geom>"))).providers.is_empty());
}

#[test]
fn text_that_is_not_ascii_comes_back_as_it_was() {
    let label = "<label>caf&#xC3;&#xA9; &#x26; &#xFF;</label>";
    let entry =
        format!("<index>1</index><type>efi</type><offset>8</offset><length>1</length>{label}");
    let part = geom("<scheme>GPT</scheme>", "ada0", &provider("ada0p1", 1, &entry));
    let mesh = mesh(&(disk("ada0", 9) + &class("PART", &part)));
    assert_eq!(partition(&mesh, "ada0p1").label.as_deref(), Some("café & \u{fffd}"));
}

#[test]
fn one_odd_byte_does_not_hide_the_other_disks() {
    let odd = disk("ada0", 9).replace("<config>", "<config><ident> A\x01B\u{ffff} </ident>");
    let mut text = format!("<mesh>{odd}{}</mesh>", disk("ada1", 9)).into_bytes();
    for byte in text.iter_mut().filter(|byte| **byte == b'B') {
        *byte = 0xff;
    }
    let mesh = Mesh::parse(&text).unwrap();
    assert_eq!(mesh.providers[0].ident.as_deref(), Some("A?\u{fffd}?"));
    assert!(mesh.find("ada1").is_some());
}

#[test]
fn what_is_not_a_mesh_is_refused() {
    for text in
        ["", "\0<mesh/>", "<mesh>", "<mash/>", "kern.geom.confxml: none", "<!DOCTYPE a><mesh/>"]
    {
        assert!(Mesh::parse(text.as_bytes()).is_err(), "{text}");
    }
    assert!(Mesh::parse(b"<mesh/>\0\xff").unwrap().providers.is_empty());
}

#[test]
fn elements_in_each_other_do_not_exhaust_the_stack() {
    let many = 100_000;
    let deep = "<a>".repeat(many) + &"</a>".repeat(many);
    assert!(Mesh::parse(deep.as_bytes()).is_err());
    assert!(mesh(&deep).providers.is_empty());
}

#[test]
fn an_id_of_another_mesh_is_nothing() {
    let (mesh, id) = (mesh(""), ProviderId(7));
    assert_eq!((mesh.provider(id).name.as_str(), mesh.class(id)), ("", ""));
    assert!(mesh.names(id).is_empty() && !mesh.is_component(id) && !mesh.has_partitions(id));
    assert_eq!(mesh.consumers(id).count(), 0);
}

#[test]
fn thousands_of_providers_are_no_trouble() {
    let mut all = String::new();
    for n in 0..2000 {
        all += &disk(&format!("da{n}"), 9);
        all += &label(&format!("diskid/{n}"), &format!("da{n}"), 9);
    }
    // And one that lies on one that lies on one.
    for n in 0..2000 {
        all += &label(&format!("l{n}"), &format!("l{}", n + 1), 9);
    }
    let started = std::time::Instant::now();
    let mesh = mesh(&all);
    assert_eq!(mesh.providers.len(), 6000);
    assert_eq!(mesh.extent(id(&mesh, "l0")), mesh.extent(id(&mesh, "l1999")));
    assert!(started.elapsed().as_secs() < 10);
}

#[test]
fn mangled_labels_are_read_as_they_were_written() {
    assert_eq!(demangle("gpt/my%20disk"), "gpt/my disk");
    assert_eq!(demangle("ufs/caf%C3%A9"), "ufs/café");
    assert_eq!(demangle("100%25"), "100%");
    assert_eq!(demangle("a%2"), "a%2");
    assert_eq!(demangle("%zz%"), "%zz%");
    assert_eq!(demangle("%ff"), "\u{fffd}");
}
