#![cfg(feature = "lab")]

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use tinyjson::JsonValue;

use super::facts::{Facts, gather};
use super::{MEMBERS, SCHEMA, Status, Verdict, decide, json, text};
use crate::config::Config;
use crate::format::zpool::Health;
use crate::host::{Error, Kind, Mount};
use crate::lab::{Lab, play};
use crate::report::{Code, Console};

/// A machine that had `story` happen to it.
fn machine(story: &str) -> (tempfile::TempDir, Lab) {
    let root = tempfile::tempdir().unwrap();
    let lab = play::standard(&root.path().join("lab")).unwrap();
    play::tell(&lab, story).unwrap();
    (root, lab)
}

fn facts(story: &str, verbose: bool) -> Facts {
    let (_root, lab) = machine(story);
    let (config, complaints) = Config::load(&lab);
    gather(&lab, &config, complaints, verbose)
}

fn shown(status: &Status) -> String {
    let mut out = Vec::new();
    text::render(status, &mut Console::new(&mut out, false));
    String::from_utf8(out).unwrap()
}

/// The words, wherever the lines are wrapped.
fn says(status: &Status, words: &str) -> bool {
    shown(status).split_whitespace().collect::<Vec<_>>().join(" ").contains(words)
}

fn unmount(facts: &mut Facts, at: &str) {
    facts.mounts.as_mut().unwrap().retain(|mount| mount.at != Path::new(at));
}

fn broken(kind: Kind, doing: &str) -> Error {
    Error::new(kind, doing, "it failed")
}

#[test]
fn the_verdict_and_the_next_command_follow_from_what_is_now() {
    let well = facts("boot", false);
    type Change = fn(&mut Facts);
    let table: &[(&str, Change, Verdict, &str)] = &[
        ("well", |_| (), Verdict::Normal, "nothing"),
        (
            "started degraded, and all is there now",
            |f| f.boot_mode = Some("degraded".into()),
            Verdict::Normal,
            "nothing",
        ),
        (
            "started in recovery, and somebody mounted /cfg",
            |f| f.boot_mode = Some("recovery".into()),
            Verdict::Degraded,
            "nanozfs resume",
        ),
        ("/cfg was unmounted", |f| unmount(f, "/cfg"), Verdict::Recovery, "nanozfs resume"),
        ("/var/log was unmounted", |f| unmount(f, "/var/log"), Verdict::Degraded, "nanozfs resume"),
        (
            "the key of /cfg is not loaded",
            |f| {
                unmount(f, "/cfg");
                for dataset in f.layouts.iter_mut().flat_map(|pool| &mut pool.datasets) {
                    (dataset.encrypted, dataset.key_available) = (true, false);
                }
            },
            Verdict::Recovery,
            "zfs load-key tank/nano/cfg; nanozfs resume",
        ),
        (
            "no pool holds a /cfg",
            |f| {
                unmount(f, "/cfg");
                f.layouts[0].datasets.retain(|one| one.name != "tank/nano/cfg");
            },
            Verdict::Recovery,
            "zfs list; man nanozfs-layout",
        ),
        (
            "there is no /var in the pool",
            |f| {
                unmount(f, "/var");
                f.layouts[0].datasets.retain(|one| !one.name.starts_with("tank/nano/var"));
            },
            Verdict::Degraded,
            "nanozfs init tank; nanozfs resume",
        ),
        (
            "the pool stopped",
            |f| f.imported.as_mut().unwrap()[0].0.health = Health::Suspended,
            Verdict::Degraded,
            "zpool clear tank",
        ),
        (
            "the pool stopped, and /cfg is gone",
            |f| {
                unmount(f, "/cfg");
                f.imported.as_mut().unwrap()[0].0.health = Health::Suspended;
            },
            Verdict::Recovery,
            "zpool clear tank",
        ),
        (
            "read-only",
            |f| f.imported.as_mut().unwrap()[0].0.readonly = true,
            Verdict::Degraded,
            "zpool status tank",
        ),
        (
            "zpool hangs",
            |f| {
                f.imported = Err(broken(Kind::TimedOut(super::facts::PATIENCE), "/sbin/zpool list"))
            },
            Verdict::Degraded,
            "dmesg | tail",
        ),
        (
            "zfs hangs",
            |f| f.unlisted = vec![("tank".into(), broken(Kind::Nonsense, "/sbin/zfs list"))],
            Verdict::Degraded,
            "zfs list",
        ),
        (
            "no list of disks",
            |f| f.drive = Err(broken(Kind::Refused, "sysctl")),
            Verdict::Degraded,
            "sysctl kern.geom.confxml",
        ),
        (
            "the journal is damaged",
            |f| {
                for dataset in f.layouts.iter_mut().flat_map(|pool| &mut pool.datasets) {
                    dataset.upgrade = Some("nonsense".into());
                }
            },
            Verdict::Degraded,
            Code::E70.next(),
        ),
        (
            "recovery was asked for",
            |f| {
                unmount(f, "/cfg");
                f.config.recovery = true;
            },
            Verdict::Recovery,
            Code::E29.next(),
        ),
        (
            "boot did not run",
            |f| {
                f.boot_mode = None;
                f.mounts.as_mut().unwrap().retain(|mount| mount.fstype != "zfs");
            },
            Verdict::NotStarted,
            "nanozfs boot",
        ),
        (
            "nothing is known",
            |f| f.mounts = Err(broken(Kind::Refused, "getfsstat")),
            Verdict::Unknown,
            "mount; dmesg | tail",
        ),
    ];
    for (name, change, verdict, next) in table {
        let mut facts = well.clone();
        change(&mut facts);
        let status = decide::decide(&facts);
        assert_eq!((status.verdict, status.next.as_str()), (*verdict, *next), "{name}");
    }
}

#[test]
fn what_a_boot_found_and_nobody_can_see_afterwards_is_still_told() {
    let mut facts = facts("fault write /etc/rc.conf EIO\nboot\nmend", false);
    let status = decide::decide(&facts);
    assert_eq!((status.verdict, status.next.as_str()), (Verdict::Degraded, Code::E37.next()));
    assert!(says(&status, "At boot: "), "{}", shown(&status));
    // Another boot has written it.
    facts.boot_mode = Some("normal".into());
    assert_eq!(decide::decide(&facts).verdict, Verdict::Normal);
}

#[test]
fn a_disk_that_stops_is_told_although_it_is_the_pools_own() {
    let facts = facts("boot\ndetach ada2", false);
    let status = decide::decide(&facts);
    assert_eq!(status.verdict, Verdict::Degraded);
    let missing = &status.pools[0].missing[0];
    assert_eq!(missing.serial.as_deref(), Some("WD-1002"));
    assert_eq!(missing.place, "disk 2 of raidz1-0");
    assert!(status.headline.ends_with("see lines 3 and 4."), "{}", status.headline);
}

#[test]
fn a_healthy_pools_disks_are_not_read() {
    let quiet = facts("boot", false);
    assert!(quiet.round.found.is_empty(), "{:?}", quiet.round.found);
    assert_eq!(facts("boot", true).round.found.len(), 1);
}

#[test]
fn names_from_outside_break_neither_the_screen_nor_the_json() {
    let mut facts = facts("boot", true);
    let hostile =
        "a\u{1b}[2J\n\"\\\u{e9} and much, much more than fits into one line of it ".repeat(3);
    facts.mounts.as_mut().unwrap().push(Mount {
        fstype: "zfs".into(),
        source: hostile.clone(),
        at: "/cfg".into(),
        read_only: false,
    });
    facts.boot_mode = Some(hostile.clone());
    if let Some(more) = &mut facts.more {
        more.disks[0].serial = Some(hostile.clone());
    }
    let status = decide::decide(&facts);
    for line in shown(&status).lines() {
        assert!(line.len() <= text::WIDTH && line.is_ascii(), "{line}");
    }
    let value: JsonValue = json::render(&status).parse().unwrap();
    let fields: &HashMap<String, JsonValue> = value.get().unwrap();
    assert_eq!(fields["cfg"].get::<String>().unwrap(), &hostile);
}

/// Every screen of `status` in the stories: none has a line that is too long for the phone.
#[test]
fn no_screen_of_a_story_is_wider_than_72_columns() {
    let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let mut screens = 0;
    for entry in std::fs::read_dir(stories).unwrap() {
        let expected = entry.unwrap().path().join("expected");
        let told = std::fs::read_to_string(&expected).unwrap_or_default();
        for screen in told.split("# nanozfs status").skip(1) {
            screens += 1;
            let lines: Vec<_> =
                screen.lines().skip(1).take_while(|line| !line.starts_with("[exit")).collect();
            let wide = lines.iter().find(|line| line.len() > text::WIDTH || !line.is_ascii());
            assert_eq!(wide, None, "{}", expected.display());
            assert!(lines.iter().any(|line| line.starts_with(" Next: ")), "{screen}");
            let (first, _) = lines[0].split_once(':').unwrap();
            assert!(first.chars().all(|c| c.is_ascii_uppercase() || c == ' '), "{first}");
        }
    }
    assert!(screens >= 20, "{screens}");
}

/// The names of all members, with those of the objects in them.
fn members(value: &JsonValue) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Some(fields) = value.get::<HashMap<String, JsonValue>>() {
        for (name, value) in fields {
            names.insert(name.clone());
            names.extend(members(value));
        }
    }
    for value in value.get::<Vec<JsonValue>>().into_iter().flatten() {
        names.extend(members(value));
    }
    names
}

#[test]
fn the_json_has_every_member_of_the_table_and_no_other() {
    let json =
        |facts: &Facts| -> JsonValue { json::render(&decide::decide(facts)).parse().unwrap() };
    let past = "id=1 end=failed from=A to=B restore= name=gate version=2 digest= why=";
    let story = format!("property tank/nano org.nanozfs:upgrade \"v=1;past {past}\"\nboot\n");
    let full = json(&facts(&format!("{story}detach ada2"), true));
    let fields: &HashMap<String, JsonValue> = full.get().unwrap();
    assert_eq!(fields["schema"].get::<f64>(), Some(&f64::from(SCHEMA)));
    let top: BTreeSet<&str> = fields.keys().map(String::as_str).collect();
    let table: BTreeSet<&str> = MEMBERS.iter().map(|(name, _)| *name).collect();
    assert_eq!(top, table);
    for (name, below) in MEMBERS {
        let below: BTreeSet<String> = below.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(members(&fields[*name]), below, "{name}");
    }
    let short = json(&facts("boot", false));
    let fields: &HashMap<String, JsonValue> = short.get().unwrap();
    let more: BTreeSet<&str> =
        table.into_iter().filter(|name| !fields.contains_key(*name)).collect();
    assert_eq!(more, BTreeSet::from(["boots", "datasets", "disks", "slots", "upgrades"]));
    assert_eq!(fields["verdict"].get::<String>().unwrap(), "normal");
    assert_eq!(fields["exit"].get::<f64>(), Some(&0.0));
}

#[test]
fn unknown_is_never_exit_code_0() {
    for (verdict, name) in Verdict::ALL {
        assert_eq!(verdict.exit().code() == 0, verdict == Verdict::Normal, "{name}");
    }
}
