//! Figures for the boot helpers, each against something else in the same run: medians of
//! alternating pairs and their ratio. `make bench`. Nothing here fails on a time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nanozfs::boot::tree::{self, Existing};
use nanozfs::format::geom::Mesh;
use nanozfs::format::zfs_label::{self, Label, PoolState, Vdev};
use nanozfs::host::RealFiles;

/// Pairs measured, after one that is not.
const PAIRS: usize = 9;
/// Files of the tree that is laid.
const FILES: usize = 3_000;
/// What `zpool import` took to scan seven disks on FreeBSD 13.2 under emulation: the recorded
/// figure that reading labels is compared with.
const SCAN: Duration = Duration::from_millis(3_500);

fn main() {
    // `cargo test` builds and runs benches too, with arguments of its own: only a bench run measures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    println!("medians of {PAIRS} alternating pairs\n");
    unchanged();
    changed();
    labels();
}

/// Runs `a` and `b` in turn, each after `prepare`, and prints the medians and their ratio.
fn pair(name: &str, prepare: impl Fn(), a: (&str, &dyn Fn()), b: (&str, &dyn Fn())) {
    let (mut times_a, mut times_b) = (Vec::new(), Vec::new());
    for round in 0..=PAIRS {
        for (times, run) in [(&mut times_a, a.1), (&mut times_b, b.1)] {
            prepare();
            let began = Instant::now();
            run();
            if round > 0 {
                times.push(began.elapsed());
            }
        }
    }
    let (a_median, b_median) = (median(&mut times_a), median(&mut times_b));
    println!("{name}");
    println!("  {:<24} {:>9.2} ms", a.0, millis(a_median));
    println!("  {:<24} {:>9.2} ms", b.0, millis(b_median));
    println!("  {:<24} {:>9.2}\n", "second / first", millis(b_median) / millis(a_median));
}

/// The median time of `run`.
fn timed(run: &dyn Fn()) -> Duration {
    let time = |_| {
        let began = Instant::now();
        run();
        began.elapsed()
    };
    median(&mut (0..=PAIRS).map(time).collect::<Vec<_>>())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A tree like a large `/cfg`: small files in a few directories.
fn grow(root: &Path) {
    for number in 0..FILES {
        let directory = root.join(format!("d{}", number % 60));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join(format!("f{number}")), format!("{number}\n").repeat(150))
            .unwrap();
    }
}

/// In memory where there is such a place, because `/etc` is.
fn scratch() -> tempfile::TempDir {
    let shm = Path::new("/dev/shm");
    if shm.is_dir() { tempfile::tempdir_in(shm).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn lay(source: &Path, target: &Path) -> usize {
    let comparison = tree::compare(&RealFiles, source, target, Existing::Replace, &[]);
    let laid = tree::lay(&RealFiles, source, target, comparison.changes, false);
    assert_eq!(laid.failed, []);
    laid.made.len()
}

fn cp(source: &Path, target: &Path) {
    let from = source.join(".");
    assert!(Command::new("cp").arg("-Rp").args([&from, target]).status().unwrap().success());
}

fn unchanged() {
    let dir = scratch();
    let (source, target) = (dir.path().join("cfg"), dir.path().join("etc"));
    grow(&source);
    std::fs::create_dir(&target).unwrap();
    lay(&source, &target);
    pair(
        &format!("{FILES} unchanged files laid over /etc"),
        || {},
        ("nanozfs", &|| assert_eq!(lay(&source, &target), 0)),
        ("cp -Rp", &|| cp(&source, &target)),
    );
}

fn changed() {
    let dir = scratch();
    let (source, target) = (dir.path().join("cfg"), dir.path().join("etc"));
    grow(&source);
    let old = || {
        let _ = std::fs::remove_dir_all(&target);
        grow(&target);
        for number in 0..FILES {
            let path = target.join(format!("d{}/f{number}", number % 60));
            std::fs::write(path, "old\n").unwrap();
        }
    };
    pair(
        &format!("{FILES} changed files laid over /etc"),
        old,
        ("nanozfs", &|| assert!(lay(&source, &target) >= FILES)),
        ("cp -Rp", &|| cp(&source, &target)),
    );
}

/// `kern.geom.confxml` with a disk and nine partitions, `disks` times.
fn confxml(disks: usize) -> String {
    let mut xml = String::from("<mesh><class id=\"0x1\"><name>DISK</name>");
    for disk in 0..disks {
        let _ = write!(
            xml,
            "<geom id=\"0xd{disk}\"><class ref=\"0x1\"/><name>ada{disk}</name><rank>1</rank>\
             <provider id=\"0xe{disk}\"><geom ref=\"0xd{disk}\"/><mode>r0w0e0</mode>\
             <name>ada{disk}</name><mediasize>1000204886016</mediasize><sectorsize>512</sectorsize>\
             <config><ident>WD-{disk}</ident></config></provider></geom>"
        );
    }
    xml.push_str("</class><class id=\"0x2\"><name>PART</name>");
    for disk in 0..disks {
        let _ = write!(
            xml,
            "<geom id=\"0xa{disk}\"><class ref=\"0x2\"/><name>ada{disk}</name><config>\
             <scheme>GPT</scheme><state>OK</state></config><consumer id=\"0xb{disk}\">\
             <geom ref=\"0xa{disk}\"/><provider ref=\"0xe{disk}\"/></consumer>"
        );
        for part in 1..10 {
            let _ = write!(
                xml,
                "<provider id=\"0xc{disk}_{part}\"><geom ref=\"0xa{disk}\"/><mode>r0w0e0</mode>\
                 <name>ada{disk}p{part}</name><mediasize>100000000000</mediasize>\
                 <sectorsize>512</sectorsize><config><index>{part}</index>\
                 <type>freebsd-zfs</type><offset>{}</offset><length>100000000000</length>\
                 </config></provider>",
                20480 + part * 100_000_000_000_usize
            );
        }
        xml.push_str("</geom>");
    }
    xml.push_str("</class></mesh>\0");
    xml
}

fn labels() {
    let leaf = |id: u64| Vdev {
        kind: "disk".to_owned(),
        id,
        guid: 100 + id,
        path: Some(format!("/dev/ada{id}")),
        ..Vdev::default()
    };
    let tree = Vdev {
        kind: "raidz".to_owned(),
        guid: 99,
        nparity: 2,
        children: (0..10).map(leaf).collect(),
        ..Vdev::default()
    };
    let label = Label {
        version: 5000,
        state: PoolState::Active,
        txg: 4,
        pool_name: Some("tank".to_owned()),
        pool_guid: Some(7),
        hostid: Some(1),
        hostname: Some("lab.example".to_owned()),
        guid: 100,
        top_guid: Some(99),
        vdev_children: 1,
        holes: Vec::new(),
        features_for_read: Vec::new(),
        tree: Some(tree),
    };
    let bytes = zfs_label::encode(&label, 0).unwrap();
    let xml = confxml(100);
    let mesh = timed(&|| {
        let mesh = Mesh::parse(xml.as_bytes()).unwrap();
        assert_eq!(mesh.providers.len(), 1_000);
    });
    let read = timed(&|| {
        for _ in 0..100 {
            assert!(zfs_label::parse(&bytes, 0).unwrap().is_some());
        }
    });
    let time = mesh + read;
    println!("confxml of 1,000 providers and the labels of 100 disks");
    println!("  {:<24} {:>9.2} ms", "confxml", millis(mesh));
    println!("  {:<24} {:>9.2} ms", "labels", millis(read));
    println!("  {:<24} {:>9.2} ms", "both", millis(time));
    println!("  {:<24} {:>9.2} ms", "recorded scan, 7 disks", millis(SCAN));
    println!("  {:<24} {:>8.2} %", "first / second", 100.0 * millis(time) / millis(SCAN));
}
