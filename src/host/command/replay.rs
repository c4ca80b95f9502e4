//! Answers to commands from transcripts of real systems.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{Command, Exit, Output, RunError, Runner};

/// A [`Runner`] that starts nothing and answers with what was recorded.
///
/// A transcript is four files: `NAME.cmd` (the command as it was typed, without the program's
/// directory), `NAME.out`, `NAME.err` and `NAME.rc`. It answers the command whose program, without
/// its directory, and whose arguments are exactly those. What has been asked for is kept in
/// [`Replay::calls`].
#[derive(Debug, Default)]
pub struct Replay {
    folder: HashMap<String, Vec<Recorded>>,
    chosen: HashMap<String, Vec<Answer>>,
    asked: Mutex<Vec<String>>,
}

#[derive(Debug)]
struct Recorded {
    name: String,
    output: Output,
}

#[derive(Debug, Clone)]
enum Answer {
    Output(Output),
    Missing,
    TimedOut { killed: bool },
}

impl Replay {
    /// Knows no command yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Knows every transcript in `folder`. A command that was recorded more than once has no answer
    /// until one of its transcripts is chosen with [`Replay::transcript`].
    ///
    /// # Errors
    ///
    /// When a file of a transcript cannot be read or a status is no number.
    pub fn folder(folder: &Path) -> io::Result<Self> {
        let mut replay = Self::new();
        let mut names: Vec<String> = fs::read_dir(folder)
            .map_err(|error| unreadable(folder, &error))?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter_map(|name| Some(name.strip_suffix(".cmd")?.to_owned()))
            .collect();
        names.sort();
        for name in names {
            let (line, output) = read(folder, &name)?;
            let recorded = Recorded { name, output };
            replay.folder.entry(line).or_default().push(recorded);
        }
        Ok(replay)
    }

    /// Answers the command of the transcript `name` in `folder` with that transcript.
    ///
    /// Several answers to one command, however they were added, are given in that order; the last
    /// one stays.
    ///
    /// # Errors
    ///
    /// When a file of the transcript cannot be read or its status is no number.
    pub fn transcript(mut self, folder: &Path, name: &str) -> io::Result<Self> {
        let (line, output) = read(folder, name)?;
        self.add(&line, Answer::Output(output));
        Ok(self)
    }

    /// Answers `line` (`zpool list -Hp`) with these outputs and this exit status.
    #[must_use]
    pub fn answer(mut self, line: &str, stdout: &str, stderr: &str, code: i32) -> Self {
        let output = Output {
            status: Exit::Code(code),
            stdout: stdout.as_bytes().to_vec(),
            stderr: stderr.as_bytes().to_vec(),
            truncated: false,
            elapsed: Duration::ZERO,
        };
        self.add(line, Answer::Output(output));
        self
    }

    /// Answers `line` as a system without that program does.
    #[must_use]
    pub fn missing(mut self, line: &str) -> Self {
        self.add(line, Answer::Missing);
        self
    }

    /// Answers `line` as a program that does not end; `killed` says whether it could be stopped.
    #[must_use]
    pub fn times_out(mut self, line: &str, killed: bool) -> Self {
        self.add(line, Answer::TimedOut { killed });
        self
    }

    /// The commands that were asked for so far, answered or not, as they stand in a transcript.
    #[must_use]
    pub fn calls(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&mut self, line: &str, answer: Answer) {
        self.chosen.entry(line.to_owned()).or_default().push(answer);
    }

    fn find(&self, line: &str, times: usize) -> Result<Answer, String> {
        if let Some(answers) = self.chosen.get(line) {
            let answer = answers.get(times).or(answers.last());
            return answer.cloned().ok_or_else(String::new);
        }
        match self.folder.get(line).map(Vec::as_slice) {
            None | Some([]) => Err(format!("no transcript of: {line}")),
            Some([only]) => Ok(Answer::Output(only.output.clone())),
            Some(several) => {
                let names: Vec<&str> = several.iter().map(|found| found.name.as_str()).collect();
                let names = names.join(", ");
                Err(format!("several transcripts, choose one of {names}: {line}"))
            }
        }
    }
}

impl Runner for Replay {
    fn run(&self, command: &Command) -> Result<Output, RunError> {
        let line = line(command);
        let times = {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            let times = asked.iter().filter(|earlier| **earlier == line).count();
            asked.push(line.clone());
            times
        };
        let argv = command.argv();
        match self.find(&line, times) {
            Ok(Answer::Output(output)) => Ok(output),
            Ok(Answer::Missing) => Err(RunError::Missing { argv }),
            Ok(Answer::TimedOut { killed }) => {
                Err(RunError::TimedOut { argv, after: command.limit, killed })
            }
            Err(why) => Err(RunError::Spawn { argv, error: io::Error::other(why) }),
        }
    }
}

/// The command as it stands in a transcript: no directory, no quotes.
fn line(command: &Command) -> String {
    let (_, program) = command.program.rsplit_once('/').unwrap_or(("", &command.program));
    let words: Vec<&str> =
        std::iter::once(program).chain(command.args.iter().map(String::as_str)).collect();
    words.join(" ")
}

fn read(folder: &Path, name: &str) -> io::Result<(String, Output)> {
    let part = |suffix: &str| {
        let path = folder.join(format!("{name}.{suffix}"));
        fs::read(&path).map_err(|error| unreadable(&path, &error))
    };
    let line = String::from_utf8_lossy(&part("cmd")?).trim().to_owned();
    let code = String::from_utf8_lossy(&part("rc")?).trim().to_owned();
    let code = code.parse().map_err(|_| {
        let path = folder.join(format!("{name}.rc"));
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("cannot read {}: not a status: {code:?}", path.display()),
        )
    })?;
    let output = Output {
        status: Exit::Code(code),
        stdout: part("out")?,
        stderr: part("err")?,
        truncated: false,
        elapsed: Duration::ZERO,
    };
    Ok((line, output))
}

fn unreadable(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("cannot read {}: {error}", path.display()))
}
