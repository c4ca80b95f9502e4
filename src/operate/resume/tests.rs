#![cfg(feature = "lab")]

use std::path::Path;

use crate::host::Host;
use crate::lab::play::{End, run, tell};
use crate::lab::{Lab, Plan};
use crate::report::Exit;

/// A machine with an upgrade that is installed and armed.
const ARMED: &str = "
use standard os-drive ada0 serial=OS-1 layout=gpt label=nano
config require_signature no
config trial_limit 60
config wait 0
image new
release gate-2.1.nzr image=new version=2.1
boot
run nanozfs upgrade gate-2.1.nzr
shutdown
";
const GONE: &str = "detach ada1\ndetach ada2\ndetach ada3\n";
const BACK: &str = "attach ada1\nattach ada2\nattach ada3\n";

fn machine(text: &[&str]) -> (tempfile::TempDir, Lab) {
    let directory = tempfile::tempdir().unwrap();
    let lab = Lab::create(&directory.path().join("lab")).unwrap();
    for part in text {
        tell(&lab, part).unwrap();
    }
    (directory, lab)
}

fn resume(lab: &Lab) -> (End, String) {
    run(lab, &["nanozfs", "resume"].map(str::to_owned), false, Plan::Nothing)
}

#[test]
fn a_machine_that_came_back_from_a_trial_resumes_with_the_data_of_before() {
    let trial = "boot\nfile tank/nano/var /db/app/data \"converted by 2.1\\n\"\nshutdown\n";
    let (_directory, lab) = machine(&[ARMED, trial, GONE, "boot\nexpect running A\n", BACK]);
    let (end, output) = resume(&lab);
    assert!(output.contains("E74"), "{output}");
    assert_eq!(end, End::Exit(Exit::Done.code()), "{output}");
    let data = lab.files().read(Path::new("/var/db/app/data"), 4096).unwrap();
    assert_eq!(String::from_utf8_lossy(&data), "a year of measurements\n", "{output}");
}

#[test]
fn a_trial_is_not_decided_by_resuming() {
    let (_directory, lab) = machine(&[ARMED, GONE, "boot\nexpect running B\n", BACK]);
    let before = lab.state().unwrap();
    let (end, output) = resume(&lab);
    assert_eq!(end, End::Exit(Exit::Trial.code()), "{output}");
    assert_eq!(before.differences(&lab.state().unwrap()), Vec::<String>::new(), "{output}");
}

#[test]
fn a_service_is_asked_for_what_it_is_to_do() {
    let (_directory, lab) = machine(&["use standard\nconfig wait 0\n", GONE, "boot\n", BACK]);
    let words = ["nanozfs", "resume", "--services"].map(str::to_owned);
    run(&lab, &words, false, Plan::Nothing);
    let effects: Vec<String> = lab.effects().iter().map(ToString::to_string).collect();
    let asked: Vec<&str> =
        effects.iter().filter_map(|effect| effect.strip_prefix("run service ")).collect();
    assert_eq!(asked, ["devd restart", "syslogd restart", "cron restart", "sshd reload"]);
}

#[test]
fn what_there_is_no_room_for_stays_where_it_is_and_is_told() {
    let big = "file here /var/log/big size=2m\n";
    let (_directory, lab) = machine(&["use standard\nconfig wait 0\n", GONE, "boot\n", big, BACK]);
    if let Some(tree) = lab.lock().machine.trees.get_mut("pools/tank/@nano+var") {
        tree.capacity = Some(tree.used + (17 << 20));
    }
    let (end, output) = resume(&lab);
    assert_eq!(end, End::Exit(Exit::Done.code()), "{output}");
    assert!(output.contains("E81"), "{output}");
    let shown = lab.files().stat(Path::new("/var/db/nanozfs/memory/log/big")).unwrap();
    assert_eq!(shown.size, 2 << 20);
}
