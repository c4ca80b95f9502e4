//! Figures for the configuration history, against something else in the same run: medians of
//! alternating pairs and their ratio. Nothing here fails on a time.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nanozfs::boot::tree;
use nanozfs::configuration;
use nanozfs::host::RealFiles;

/// Pairs measured, after one that is not.
const PAIRS: usize = 5;
/// Files of the configuration, one of which was changed.
const FILES: usize = 3_000;
/// As NanoBSD has saved for twenty years: every file that /cfg has is compared with that of /etc by
/// a process of its own, and copied when it differs.
const SAVE_CFG: &str = r#"
cd "$2" || exit 1
find . -type f | while read -r file; do
    cmp -s "$1/$file" "$file" || cp -p "$1/$file" "$file" || exit 1
done
"#;

fn main() {
    // `cargo test` builds and runs benches too, with arguments of its own: only a bench run measures.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let shm = Path::new("/dev/shm");
    let dir = if shm.is_dir() {
        tempfile::tempdir_in(shm).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    };
    let [etc, cfg, image] = ["etc", "cfg", "image"].map(|name| dir.path().join(name));
    for number in 0..FILES {
        let directory = cfg.join(format!("d{}", number % 60));
        std::fs::create_dir_all(&directory).unwrap();
        let text = format!("{number}\n").repeat(150);
        std::fs::write(directory.join(format!("f{number}")), text).unwrap();
    }
    for copy in [&etc, &image] {
        std::fs::create_dir(copy).unwrap();
        let from = cfg.join(".");
        assert!(Command::new("cp").arg("-Rp").args([&from, copy]).status().unwrap().success());
    }
    let changed = etc.join("d7/f7");
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for round in 0..=PAIRS {
        for (times, by_us) in [(&mut ours, true), (&mut theirs, false)] {
            let text = format!("changed {round} {by_us}\n");
            std::fs::write(&changed, &text).unwrap();
            let began = Instant::now();
            if by_us {
                save(&etc, &cfg, &image);
            } else {
                let script = ["-c", SAVE_CFG, "save_cfg"];
                let run = Command::new("sh").args(script).args([&etc, &cfg]).status();
                assert!(run.unwrap().success());
            }
            if round > 0 {
                times.push(began.elapsed());
            }
            assert_eq!(std::fs::read_to_string(cfg.join("d7/f7")).unwrap(), text);
        }
    }
    let (ours, theirs) = (median(&mut ours), median(&mut theirs));
    println!("1 changed file among {FILES} saved to /cfg, medians of {PAIRS} alternating pairs");
    println!("  {:<24} {:>9.2} ms", "nanozfs, no snapshot", millis(ours));
    println!("  {:<24} {:>9.2} ms", "a cmp for each file", millis(theirs));
    println!("  {:<24} {:>9.2}", "second / first", millis(theirs) / millis(ours));
}

/// What a save does to the files: `/etc`, `/cfg` and the image are compared, and what was changed is
/// written so that it survives a power cut.
fn save(etc: &Path, cfg: &Path, image: &Path) {
    let changes = configuration::changes(&RealFiles, etc, cfg, &[image.to_owned()]).unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(tree::lay(&RealFiles, etc, cfg, changes, true).failed, []);
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
