//! What a boot remembers, in stories that are too short to be told.

use super::Lab;
use super::play::tell;

fn is_so(story: &str) {
    let scratch = tempfile::tempdir().unwrap();
    let lab = Lab::create(&scratch.path().join("lab")).unwrap();
    tell(&lab, story).unwrap();
}

#[test]
fn a_trial_that_crashes_is_one_boot_without_an_end() {
    is_so(
        "use standard os-drive ada0 serial=OS-1 layout=gpt label=nano
         config require_signature no
         image bad
         release bad.nzr image=bad version=2.2
         boot
         run nanozfs upgrade bad.nzr
         shutdown
         boot
         expect running B
         expect unfinished 1
         cut lost
         boot
         expect running A
         expect says \"E74\"
         expect exit 0
         expect mode normal
         settle
         expect unfinished 0
         expect past normal:finished unknown:unfinished normal:finished",
    );
}

#[test]
fn where_settle_is_never_started_no_boot_is_stopped() {
    is_so(
        "use standard
         boot
         cut kept
         boot
         cut kept
         boot
         cut kept
         boot
         expect exit 0
         expect mode normal
         expect unfinished 4",
    );
}

#[test]
fn a_recovery_that_was_asked_for_neither_counts_nor_ends_the_row() {
    is_so(
        "use standard
         boot
         shutdown
         boot
         cut lost
         kenv nanozfs.mode recovery
         boot
         expect exit 5
         expect unfinished 1
         settle
         expect unfinished 1
         shutdown
         boot
         expect exit 0
         expect unfinished 2
         settle
         expect unfinished 0",
    );
}

#[test]
fn a_damaged_record_stops_nothing_and_is_begun_anew() {
    is_so(
        "use standard
         boot-area ada0 \"nanozfs=boots\\nversion=1\\nunfinished=7\\nboot=1 n 1\\n\"
         boot
         expect exit 0
         expect mode normal
         expect unfinished 1
         settle
         expect past normal:finished",
    );
}

#[test]
fn by_hand_the_pools_are_imported_whatever_is_remembered() {
    is_so(
        "use standard
         boot
         shutdown
         boot
         cut lost
         boot
         cut lost
         boot
         expect exit 5
         run nanozfs pools -n
         expect says \"would import tank\"
         run nanozfs pools
         expect exit 0
         expect imported tank
         expect unfinished 2
         run nanozfs boot --clear
         expect unfinished 0",
    );
}
