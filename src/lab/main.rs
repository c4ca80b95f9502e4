//! nanozfs-lab: the lab appliance for people. `nanozfs-lab help` says what it can do.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nanozfs::lab::story::Story;
use nanozfs::lab::{play, shell};

/// Where the stories are, in the source tree.
const STORIES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stories");

const HELP: &str = "\
usage: nanozfs-lab demo [STORY|all]   play stories: a name, a part of one, or all
       nanozfs-lab shell [DIR]        a prompt on a lab machine that lives in DIR
       nanozfs-lab list               the stories
       nanozfs-lab bless [STORY|all]  write down what stories print now, as expected
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["demo", "shell"] | ["shell"] => shell::start(None),
        ["shell", directory] => shell::start(Some(Path::new(directory))),
        ["demo"] => demo("all"),
        ["demo", which] => demo(which),
        ["list"] => list(),
        ["bless"] => bless("all"),
        ["bless", which] => bless(which),
        [] | ["help" | "-h" | "--help"] => {
            print!("{HELP}");
            Ok(true)
        }
        _ => {
            eprint!("{HELP}");
            return ExitCode::from(64);
        }
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nanozfs-lab: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The stories whose name contains the word; all of them for `all`.
fn stories(which: &str) -> io::Result<Vec<Story>> {
    let all = Story::read_all(Path::new(STORIES))?;
    let found: Vec<Story> =
        all.into_iter().filter(|story| which == "all" || story.name.contains(which)).collect();
    if found.is_empty() {
        return Err(io::Error::other(format!("no story is called {which}: nanozfs-lab list")));
    }
    Ok(found)
}

fn list() -> io::Result<bool> {
    let mut out = io::stdout().lock();
    for story in stories("all")? {
        writeln!(out, "{:<28} {}", story.name, story.title())?;
    }
    Ok(true)
}

/// A directory of our own that goes when the story is over.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> io::Result<Scratch> {
        let path = std::env::temp_dir().join(format!("nanozfs-lab.{}.{name}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("nanozfs-lab: remove {}: {error}", self.0.display());
        }
    }
}

fn demo(which: &str) -> io::Result<bool> {
    let mut out = io::stdout().lock();
    let (mut told, mut checks, mut wrong) = (0, 0, 0);
    for story in stories(which)? {
        let scratch = Scratch::new(&story.name)?;
        let played = play::play(&story, &scratch.0)?;
        writeln!(out, "{}", played.text)?;
        for failure in &played.failures {
            writeln!(out, "NOT SO: {failure}")?;
        }
        told += 1;
        checks += played.checks;
        wrong += played.failures.len();
    }
    let stories = if told == 1 { "story" } else { "stories" };
    writeln!(out, "{told} {stories} told, {checks} things checked, {wrong} not so.")?;
    Ok(wrong == 0)
}

fn bless(which: &str) -> io::Result<bool> {
    let mut good = true;
    for story in stories(which)? {
        let scratch = Scratch::new(&story.name)?;
        let played = play::play(&story, &scratch.0)?;
        for failure in &played.failures {
            println!("NOT SO: {failure}");
            good = false;
        }
        let path = Path::new(STORIES).join(&story.name).join("expected");
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        if old != played.text {
            std::fs::write(&path, &played.text)?;
            println!("blessed {}", story.name);
        }
    }
    Ok(good)
}
