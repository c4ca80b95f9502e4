//! nanozfs-vm: plays the stories on a real FreeBSD in QEMU. See `make vmtest`.
//!
//!     nanozfs-vm ROOT EXECUTABLE [STORY [JOBS]]
//!     nanozfs-vm ROOT EXECUTABLE --figures[-KIND]
//!
//! ROOT is the root of a FreeBSD system with kernel and loader, EXECUTABLE the static executable
//! for it. Everything it makes is below `target/vm`, or where `VM_WORK` says; the machines of
//! stories are removed, unless `KEEP` is set.

mod compare;
mod disk;
mod drives;
mod expect;
mod figures;
mod liar;
mod maker;
mod owners;
mod player;
mod power;
mod prepare;
mod qemu;
mod record;
mod shell;
mod stories;
mod upgrades;
mod world;

use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use player::Site;
use stories::Play;
use world::World;

/// FNV-1a, spread over all bits: a number that stays the same for the same text.
pub(crate) fn hash(text: &str) -> u64 {
    hash_bytes(text.as_bytes())
}

/// The same for bytes.
pub(crate) fn hash_bytes(bytes: &[u8]) -> u64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash ^ (hash >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Characters of a failure that are shown.
const LONGEST: usize = 1500;

/// What became of a story.
#[derive(Debug)]
enum Verdict {
    Passed { checks: usize, disagreements: String },
    Failed { failures: Vec<String>, disagreements: String },
    Skipped(String),
}

/// Asks for figures instead of stories: for all, or for those of one kind, `--figures-upgrade`.
const FIGURES: &str = "--figures";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        [root, executable, which, ..] if which.starts_with(FIGURES) => {
            let kind = which.trim_start_matches(FIGURES).trim_start_matches('-');
            let measured = site(root, executable).and_then(|site| figures::measure(&site, kind));
            measured.map(|()| true)
        }
        [root, executable] => all(root, executable, "all", ""),
        [root, executable, which] => all(root, executable, which, ""),
        [root, executable, which, jobs] => all(root, executable, which, jobs),
        _ => {
            eprintln!("usage: nanozfs-vm ROOT EXECUTABLE [STORY|all|--figures[-KIND] [JOBS]]");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("nanozfs-vm: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The images, made unless they are there.
fn site(root: &str, executable: &str) -> Result<Site> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let work = std::env::var_os("VM_WORK").map_or_else(|| top.join("target/vm"), PathBuf::from);
    fs::create_dir_all(&work)?;
    let root = fs::canonicalize(root).with_context(|| root.to_owned())?;
    let executable = fs::canonicalize(executable).with_context(|| executable.to_owned())?;
    let began = Instant::now();
    let world = world::prepare(&root, &executable, &work)?;
    let kvm = kvm(&world, &work)?;
    world::install(&world, kvm, &work)?;
    let how = if kvm { "KVM" } else { "TCG: slow, there is no KVM here" };
    println!(
        "FreeBSD {} under {how}; images after {:.0} s",
        world.release,
        began.elapsed().as_secs_f64()
    );
    Ok(Site { world, kvm, work })
}

fn all(root: &str, executable: &str, which: &str, jobs: &str) -> Result<bool> {
    let top = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut plays = stories::read_all(&top.join("tests/stories"), true)?;
    plays.extend(stories::read_all(&top.join("tests/vm/stories"), false)?);
    let meant = |play: &Play| {
        matches!(which, "all" | "") || which.split(',').any(|word| play.name.contains(word))
    };
    plays.retain(meant);
    if plays.is_empty() {
        bail!("no story is called {which}");
    }
    let jobs = match jobs {
        "" => std::thread::available_parallelism().map_or(1, usize::from),
        word => word.parse().context("JOBS")?,
    };
    let began = Instant::now();
    let site = site(root, executable)?;
    let verdicts = play_all(&site, plays, jobs);
    report(&site, &verdicts, began)
}

/// Whether KVM works, found out once for these images.
fn kvm(world: &World, work: &Path) -> Result<bool> {
    let answer = world.maker.with_extension("kvm");
    if let Ok(word) = fs::read_to_string(&answer) {
        return Ok(word == "yes");
    }
    let (run, logs) = (work.join("run/kvm"), work.join("logs/kvm"));
    fs::create_dir_all(&run)?;
    fs::create_dir_all(&logs)?;
    let works = qemu::kvm_works(&maker::drive(&world.maker), &run, &logs.join("kvm"));
    fs::write(answer, if works { "yes" } else { "no" })?;
    Ok(works)
}

/// Plays them side by side; each is told about when it is over.
fn play_all(site: &Site, plays: Vec<Play>, jobs: usize) -> Vec<(String, Verdict)> {
    let queue = Mutex::new(VecDeque::from(plays));
    let verdicts = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(play) = next else { return };
                    let began = Instant::now();
                    let verdict = one(site, &play);
                    tell(site, &play.name, &verdict, began);
                    let mut all = verdicts.lock().unwrap_or_else(PoisonError::into_inner);
                    all.push((play.name, verdict));
                }
            });
        }
    });
    let mut verdicts = verdicts.into_inner().unwrap_or_else(PoisonError::into_inner);
    verdicts.sort_by(|one, other| one.0.cmp(&other.0));
    verdicts
}

fn one(site: &Site, play: &Play) -> Verdict {
    if let Some(why) = play.unplayable() {
        return Verdict::Skipped(why);
    }
    let failed = |error: anyhow::Error| Verdict::Failed {
        failures: vec![format!("{error:#}")],
        disagreements: String::new(),
    };
    let played = match player::play(site, play) {
        Ok(played) => played,
        Err(error) => return failed(error),
    };
    let mut disagreements = String::new();
    if play.lab {
        let story = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories").join(&play.name);
        match compare::lab_runs(&story, &site.work.join("lab").join(&play.name)) {
            Ok(lab) => {
                disagreements = compare::disagreements(&lab, &played.runs);
                let file = site.work.join("logs").join(&play.name).join("disagreements");
                let _ = fs::write(file, &disagreements);
            }
            Err(error) => return failed(error),
        }
    }
    match played.failures.is_empty() {
        true => Verdict::Passed { checks: played.checks, disagreements },
        false => Verdict::Failed { failures: played.failures, disagreements },
    }
}

fn tell(site: &Site, name: &str, verdict: &Verdict, began: Instant) {
    let took = began.elapsed().as_secs_f64();
    match verdict {
        Verdict::Passed { checks, .. } => println!("passed  {name}: {checks} checks, {took:.0} s"),
        Verdict::Skipped(why) => println!("SKIPPED {name}: {why}"),
        Verdict::Failed { failures, .. } => {
            println!("FAILED  {name}, {took:.0} s");
            for failure in failures {
                let short: String = failure.chars().take(LONGEST).collect();
                println!("        {}", short.replace('\n', "\n        "));
            }
            println!("        console: {}", site.work.join("logs").join(name).display());
        }
    }
}

/// Writes down where lab and guest disagree, and says how it all went.
fn report(site: &Site, verdicts: &[(String, Verdict)], began: Instant) -> Result<bool> {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    let mut text =
        format!("Lab and guest, FreeBSD {}: what only one of them says.\n", site.world.release);
    let mut count = 0;
    for (name, verdict) in verdicts {
        let disagreements = match verdict {
            Verdict::Passed { disagreements, .. } => {
                passed += 1;
                disagreements
            }
            Verdict::Failed { disagreements, .. } => {
                failed += 1;
                disagreements
            }
            Verdict::Skipped(_) => {
                skipped += 1;
                continue;
            }
        };
        if !disagreements.is_empty() {
            count += 1;
            text.push_str(&format!("\n{name}\n{disagreements}"));
        }
    }
    let path = site.work.join("disagreements.txt");
    fs::write(&path, text)?;
    if count > 0 {
        println!(
            "lab and guest say different things in {count} of the stories: {}",
            path.display()
        );
    }
    println!(
        "FreeBSD {}, {:.0} s: {passed} passed, {failed} failed, {skipped} skipped",
        site.world.release,
        began.elapsed().as_secs_f64()
    );
    Ok(failed == 0)
}
