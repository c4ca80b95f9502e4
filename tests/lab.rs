//! Every story, as a test of its own: what it expects is so, and the console shows the very text
//! in `tests/stories/NAME/expected`. `nanozfs-lab bless` writes these files anew.

use std::path::Path;
use std::process::ExitCode;

use libtest_mimic::{Arguments, Failed, Trial};
use nanozfs::lab::play;
use nanozfs::lab::story::Story;

fn main() -> std::io::Result<ExitCode> {
    let arguments = Arguments::from_args();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stories");
    let stories = Story::read_all(&root)?;
    let trials = stories
        .into_iter()
        .map(|story| {
            let expected = root.join(&story.name).join("expected");
            Trial::test(story.name.clone(), move || tell(&story, &expected))
        })
        .collect();
    Ok(libtest_mimic::run(&arguments, trials).exit_code())
}

fn tell(story: &Story, expected: &Path) -> Result<(), Failed> {
    let scratch = tempfile::tempdir()?;
    let played = play::play(story, &scratch.path().join("lab"))?;
    if !played.failures.is_empty() {
        return Err(format!("{}\n{}", played.text, played.failures.join("\n")).into());
    }
    let expected = std::fs::read_to_string(expected).unwrap_or_default();
    let wide = played.text.lines().find(|line| line.len() > 79 || !line.is_ascii());
    if let Some(line) = wide {
        return Err(format!("a console cannot show this line: {line}").into());
    }
    let mut lines = played.text.lines().zip(expected.lines()).enumerate();
    if let Some((at, (shown, expected))) = lines.find(|(_, (shown, expected))| shown != expected) {
        let at = at + 1;
        return Err(format!("line {at}\n   shown: {shown}\nexpected: {expected}").into());
    }
    if played.text != expected {
        return Err("the console shows more, or less, than expected".into());
    }
    Ok(())
}
