//! Where rc(8) starts `rc.d/nanozfs`: the order of rcorder(8), over the headers that the scripts of
//! FreeBSD 13.2 and 15.1 have. And that rc goes on after it, whatever happens.
//!
//! rcorder gives every file a sequence number, one more than the highest of what it requires, and
//! sorts by it. Between files of one number nothing is promised: they are in the order in which
//! qsort(3), which is not stable, leaves them, and that depends on the order of the arguments (the
//! names in `/etc/rc.d`, sorted) and on how many there are. So a recorded order is compared by
//! numbers, and "before" means a lower number, which no other script in the directory can undo.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const RELEASES: [&str; 2] = ["13.2", "15.1"];
/// What rc leaves out: `rcorder -s nostart -s firstboot` (the recorded machines are no jails).
const SKIPPED: [&str; 2] = ["nostart", "firstboot"];

/// What rcorder knows of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Header {
    file: String,
    provides: Vec<String>,
    requires: Vec<String>,
    before: Vec<String>,
    keywords: Vec<String>,
}

impl Header {
    fn new(file: &str) -> Self {
        Header { file: file.to_owned(), ..Header::default() }
    }

    /// Takes a line like `REQUIRE: hostid root`. False when it is none.
    fn take(&mut self, line: &str) -> bool {
        let Some((word, rest)) = line.split_once(':') else { return false };
        let list = match word {
            "PROVIDE" | "PROVIDES" => &mut self.provides,
            "REQUIRE" | "REQUIRES" => &mut self.requires,
            "BEFORE" => &mut self.before,
            "KEYWORD" | "KEYWORDS" => &mut self.keywords,
            _ => return false,
        };
        list.extend(rest.split_whitespace().map(str::to_owned));
        true
    }

    /// From a script, as rcorder reads it: the first block of such lines counts, and it ends with
    /// the first other line.
    fn of_script(file: &str, text: &str) -> Self {
        let mut header = Header::new(file);
        let mut begun = false;
        for line in text.lines() {
            match line.strip_prefix("# ").is_some_and(|line| header.take(line)) {
                true => begun = true,
                false if begun => break,
                false => {}
            }
        }
        header
    }
}

/// The headers that a release's scripts have, without the `# `, each after a line `FILE: name`.
fn recorded(release: &str) -> Vec<Header> {
    let mut headers = Vec::<Header>::new();
    for line in read(&fixture(release, "rc-headers.txt")).lines() {
        match (line.strip_prefix("FILE: "), headers.last_mut()) {
            (Some(file), _) => headers.push(Header::new(file)),
            (None, Some(header)) => assert!(header.take(line), "{release}: {line}"),
            (None, None) => panic!("{release}: {line}: before any FILE"),
        }
    }
    headers
}

/// The script that judges a trial.
fn settle() -> Header {
    Header::of_script("nanozfs_settle", &read(&script().with_file_name("nanozfs_settle")))
}

/// Our own.
fn ours() -> Header {
    Header::of_script("nanozfs", &read(&script()))
}

fn with_ours(release: &str) -> Vec<Header> {
    let mut headers = recorded(release);
    headers.push(ours());
    headers.push(settle());
    headers
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("rc.d/nanozfs")
}

fn fixture(release: &str, name: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    fixtures.join(format!("freebsd-{release}")).join(name)
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// rcorder's sequence numbers, or the loop that keeps it from giving them.
fn sequence(headers: &[Header]) -> Result<BTreeMap<&str, usize>, String> {
    /// Makes sure that a file has its number; `path` is what led to it.
    fn number<'a>(
        headers: &'a [Header],
        header: &'a Header,
        path: &mut Vec<&'a str>,
        numbers: &mut BTreeMap<&'a str, usize>,
    ) -> Result<usize, String> {
        if let Some(number) = numbers.get(header.file.as_str()) {
            return Ok(*number);
        }
        let again = path.contains(&header.file.as_str());
        path.push(&header.file);
        if again {
            return Err(path.join(" -> "));
        }
        let mut highest = 0;
        for other in headers {
            let required = header.requires.iter().any(|word| other.provides.contains(word));
            let before = other.before.iter().any(|word| header.provides.contains(word));
            if required || before {
                highest = highest.max(number(headers, other, path, numbers)?);
            }
        }
        path.pop();
        numbers.insert(&header.file, highest + 1);
        Ok(highest + 1)
    }
    let mut numbers = BTreeMap::new();
    for header in headers {
        number(headers, header, &mut Vec::new(), &mut numbers)?;
    }
    Ok(numbers)
}

#[test]
fn the_numbers_give_the_order_that_freebsd_gave() {
    for release in RELEASES {
        let headers = recorded(release);
        let numbers = sequence(&headers).unwrap();
        let order = read(&fixture(release, "rcorder.out"));
        let order: Vec<_> = order.lines().map(|file| (numbers[file], file)).collect();
        for pair in order.windows(2) {
            assert!(pair[0].0 <= pair[1].0, "{release}: {pair:?}");
        }
        let is_skipped = |header: &&Header| SKIPPED.iter().any(|word| has(&header.keywords, word));
        let mut started: Vec<_> =
            headers.iter().filter(|header| !is_skipped(header)).map(|h| h.file.as_str()).collect();
        let mut named: Vec<_> = order.iter().map(|(_, file)| *file).collect();
        started.sort_unstable();
        named.sort_unstable();
        assert_eq!(named, started, "{release}");
        // As many numbers as this leave little to chance.
        assert!(order.last().is_some_and(|(number, _)| *number > 20), "{release}: {order:?}");
    }
}

#[test]
fn our_script_closes_no_loop() {
    for release in RELEASES {
        assert_eq!(sequence(&with_ours(release)).err(), None, "{release}");
    }
}

#[test]
fn our_script_comes_after_what_it_needs() {
    for release in RELEASES {
        let headers = with_ours(release);
        let numbers = sequence(&headers).unwrap();
        for file in ["hostid", "root"] {
            assert!(numbers[file] < numbers["nanozfs"], "{release}: {file}: {numbers:?}");
        }
    }
}

#[test]
fn our_script_comes_before_everything_that_mounts_or_fills_var() {
    for release in RELEASES {
        let headers = with_ours(release);
        let numbers = sequence(&headers).unwrap();
        let later = ["zpool", "mountcritlocal", "tmp", "var", "zfs", "cleanvar", "FILESYSTEMS"];
        for file in later {
            assert!(numbers["nanozfs"] < numbers[file], "{release}: {file}: {numbers:?}");
        }
    }
}

#[test]
fn every_script_that_ours_names_exists() {
    let ours = ours();
    assert_eq!(ours.provides, ["nanozfs"]);
    for release in RELEASES {
        let headers = recorded(release);
        for word in ours.requires.iter().chain(&ours.before) {
            let provided = headers.iter().any(|header| header.provides.contains(word));
            assert!(provided, "{release}: nothing provides {word}");
        }
    }
}

#[test]
fn our_script_starts_at_every_boot_but_not_in_a_jail() {
    assert_eq!(ours().keywords, ["nojail"]);
}

#[test]
fn a_trial_is_judged_after_people_can_log_in() {
    assert_eq!(settle().provides, ["nanozfs_settle"]);
    assert_eq!(settle().keywords, ["nojail"]);
    for release in RELEASES {
        let headers = with_ours(release);
        let numbers = sequence(&headers).unwrap();
        assert!(numbers["nanozfs_settle"] > numbers["LOGIN"], "{release}");
        assert!(numbers["nanozfs_settle"] > numbers["nanozfs"], "{release}");
    }
}

#[test]
fn a_loop_would_be_found() {
    for release in RELEASES {
        let mut headers = recorded(release);
        let wrong = "# PROVIDE: wrong\n# REQUIRE: mountcritlocal\n# BEFORE: root\n";
        headers.push(Header::of_script("wrong", wrong));
        let path = sequence(&headers).unwrap_err();
        assert!(path.contains("wrong -> "), "{release}: {path}");
    }
}

#[test]
fn a_header_ends_with_its_first_other_line() {
    let text = "#!/bin/sh\n#\n# About it.\n\n# PROVIDE: a\n# REQUIRE:  b c\n\n# BEFORE: d\n";
    let header = Header::of_script("a", text);
    assert_eq!((header.provides, header.requires), (words("a"), words("b c")));
    assert_eq!(header.before, words(""));
}

#[test]
fn the_shell_can_read_our_scripts() {
    for name in ["nanozfs", "nanozfs_settle"] {
        let path = script().with_file_name(name);
        let checked = Command::new("sh").arg("-n").arg(path).output().unwrap();
        assert!(checked.status.success(), "{checked:?}");
    }
}

#[test]
fn the_boot_goes_on_whatever_becomes_of_the_executable() {
    let outcomes = [
        ("exit 0", ""),
        ("exit 4", ""),
        ("exit 5", ""),
        ("exit 75", "WARNING: nanozfs boot: exit status 75: the boot goes on without it"),
        ("kill -ABRT $$", "WARNING: nanozfs boot: exit status 134: the boot goes on without it"),
    ];
    for (does, warning) in outcomes {
        let run = start(Some(does), "autoboot=yes");
        assert_eq!(said(&run), format!("asked to: boot\n{warning}").trim_end(), "{does}");
        assert!(run.status.success(), "{does}: {run:?}");
    }
    let run = start(None, "autoboot=yes");
    assert_eq!(said(&run), "WARNING: /sbin/nanozfs is missing: no pools, no /cfg, no /var");
    assert!(run.status.success(), "{run:?}");
}

#[test]
fn rc_conf_of_the_image_can_say_no() {
    assert_eq!(said(&start(Some("exit 0"), "nanozfs_enable=NO")), "");
    assert_eq!(said(&start(Some("exit 0"), "nanozfs_enable=YES")), "asked to: boot");
}

#[test]
fn only_at_boot_is_there_an_rc_to_be_signalled() {
    let shows = "echo \"rc is [${NANOZFS_RC_PID:+known}]\"";
    assert!(said(&start(Some(shows), "autoboot=yes")).ends_with("rc is [known]"));
    assert!(said(&start(Some(shows), "autoboot=no")).ends_with("rc is [known]"));
    assert!(said(&start(Some(shows), "")).ends_with("rc is []"));
}

/// Starts the script with a stand-in for rc.subr(8), an executable that does `does` and an rc.conf
/// that says `conf`.
fn start(does: Option<&str>, conf: &str) -> Output {
    const RC_SUBR: &str = r#"
        : ${RC_PID:=$$}; export RC_PID
        warn() { echo "WARNING: $*"; }
        load_rc_config() { eval "$CONF"; }
        run_rc_command() {
            eval "enabled=\$$rcvar"
            case $enabled in YES) eval "\$${1}_cmd" ;; esac
        }
    "#;
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(at("rc.subr"), RC_SUBR).unwrap();
    if let Some(does) = does {
        std::fs::write(at("nanozfs"), format!("echo \"asked to: $*\"\n{does}\n")).unwrap();
    }
    // Run by sh: a file that was just written may be busy for exec, open in a program that another
    // test is starting.
    let text = read(&script())
        .replace("/etc/rc.subr", &at("rc.subr"))
        .replace("-x /sbin/nanozfs", &format!("-e {}", at("nanozfs")))
        .replace("\t/sbin/nanozfs boot", &format!("\tsh {} boot", at("nanozfs")));
    std::fs::write(at("script"), text).unwrap();
    let mut sh = Command::new("sh");
    sh.arg(at("script")).arg("start").env("CONF", conf);
    sh.env_remove("RC_PID").env_remove("autoboot").output().unwrap()
}

fn said(run: &Output) -> String {
    String::from_utf8_lossy(&run.stdout).trim_end().to_owned()
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|one| one == word)
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
