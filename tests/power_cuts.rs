//! The power goes at every effect of every story, every effect fails once, and in upgrades every
//! one hangs once; see `lab::cuts`.

use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use nanozfs::lab::cuts;
use nanozfs::lab::story::Story;

fn main() -> io::Result<ExitCode> {
    let stories = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let mut stories = Story::read_all(&stories)?;
    if let Ok(only) = std::env::var("STORY") {
        stories.retain(|story| story.name.contains(&only));
    }
    let root =
        tempfile::Builder::new().prefix("nanozfs-cuts.").tempdir_in(cuts::fast_directory())?;
    let began = Instant::now();
    let report = cuts::all(&stories, root.path())?;
    let took = began.elapsed().as_secs_f64();
    for failure in &report.failures {
        println!("{failure}");
    }
    println!(
        "power cuts: {} tried, {} survived, {} stories",
        report.cuts,
        report.survived,
        stories.len()
    );
    println!(
        "hangs: {} tried, {} outlasted, {} of them restarted by the guard",
        report.hangs, report.outlasted, report.guarded
    );
    println!("errors: {} tried, {} endured, {took:.0} s", report.errors, report.endured);
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
