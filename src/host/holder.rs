//! Who holds the lock of this machine, as the next one is told.

use std::fmt::Write as _;
use std::time::Duration;

/// Characters of a command that are told; with the numbers it fits kenv(2).
const COMMAND: usize = 64;

/// The nanozfs that is at work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "lab", derive(serde::Serialize, serde::Deserialize))]
pub struct Holder {
    /// Its process.
    pub process: u32,
    /// When it began, in uptime.
    pub since: Duration,
    /// What was typed: `nanozfs upgrade install gate.nzr`.
    pub command: String,
}

impl Holder {
    /// What is typed as these words (the first is the program) and began at this uptime.
    pub fn new<'a>(
        process: u32,
        since: Duration,
        words: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut command = String::new();
        for (number, word) in words.into_iter().enumerate() {
            let word = if number == 0 { word.rsplit('/').next().unwrap_or(word) } else { word };
            if number > 0 {
                command.push(' ');
            }
            command.extend(word.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }));
        }
        command.truncate(COMMAND);
        Holder { process, since, command }
    }

    /// One line of text.
    pub fn encode(&self) -> String {
        format!("{} {} {}", self.process, self.since.as_secs(), self.command)
    }

    /// Reads what [`Holder::encode`] wrote; nothing from any other text.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        let process = words.next()?.parse().ok()?;
        let since = Duration::from_secs(words.next()?.parse().ok()?);
        Some(Holder::new(process, since, words.next()?.split(' ')))
    }

    /// `nanozfs upgrade install, process 812, for 3 minutes now`, at this uptime.
    pub fn words(&self, now: Duration) -> String {
        let (command, process) = (&self.command, self.process);
        let mut words = format!("{command}, process {process}, ");
        let seconds = now.saturating_sub(self.since).as_secs();
        let (count, unit) = match seconds {
            0..120 => (seconds, "second"),
            120..7200 => (seconds / 60, "minute"),
            _ => (seconds / 3600, "hour"),
        };
        let plural = if count == 1 { "" } else { "s" };
        // Writing to a String cannot fail.
        let _ = write!(words, "for {count} {unit}{plural} now");
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_at_work_is_said_in_words() {
        let words = ["/sbin/nanozfs", "upgrade", "install", "a\u{e9} b.nzr"];
        let holder = Holder::new(812, Duration::from_secs(100), words);
        assert_eq!(Holder::parse(&holder.encode()), Some(holder.clone()));
        let table = [
            (90, "0 seconds"),
            (101, "1 second"),
            (219, "119 seconds"),
            (280, "3 minutes"),
            (7300, "2 hours"),
        ];
        for (now, time) in table {
            let text = holder.words(Duration::from_secs(now));
            let expected = format!("nanozfs upgrade install a??b.nzr, process 812, for {time} now");
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn a_text_of_somebody_else_says_nothing_and_a_long_command_is_cut() {
        for text in ["", "812", "812 x nanozfs", "-1 2 nanozfs", "812  nanozfs", "99999999999 1 a"]
        {
            assert_eq!(Holder::parse(text), None, "{text}");
        }
        let long = "x".repeat(500);
        let holder = Holder::new(u32::MAX, Duration::MAX, ["nanozfs", &long]);
        assert!(holder.encode().len() <= 128);
    }
}
