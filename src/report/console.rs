//! Lines for a person at a console: ASCII, wrapped before the 80th column.

use std::io::Write;

use super::finding::Finding;
use crate::host::Services;

/// Columns used at most; a serial console has 80.
pub const WIDTH: usize = 79;
/// Every line of ours begins with this, so that it is found among rc's.
const PREFIX: &str = "nanozfs: ";

/// Where lines go: the console (or a terminal), and syslog through [`log`].
pub struct Console<'a> {
    out: &'a mut dyn Write,
    verbose: bool,
    /// Whose clock the lines get, once they are kept.
    clock: Option<&'a dyn Services>,
    kept: Vec<Line>,
}

/// What was shown, before it was wrapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// When, in seconds since 1970, by a clock that may be wrong.
    pub at: i64,
    /// The text, without the name of the program; lines below another one are indented.
    pub text: String,
}

impl<'a> Console<'a> {
    /// A console that writes to `out`; details only when `verbose`.
    pub fn new(out: &'a mut dyn Write, verbose: bool) -> Self {
        Console { out, verbose, clock: None, kept: Vec::new() }
    }

    /// From now on every line that is shown is kept, too, with its time by this clock.
    pub fn keep(&mut self, clock: &'a dyn Services) {
        self.clock = Some(clock);
    }

    /// The lines since [`Console::keep`].
    pub fn kept(&self) -> &[Line] {
        &self.kept
    }

    /// One line, wrapped when it is too long.
    pub fn say(&mut self, text: &str) {
        log::info!("{text}");
        self.wrap(PREFIX, text);
    }

    /// One line that only `-v` shows.
    pub fn detail(&mut self, text: &str) {
        log::debug!("{text}");
        if self.verbose {
            self.wrap(PREFIX, text);
        }
    }

    /// A finding: its code and sentence, its details, what was not changed, what to do next.
    pub fn finding(&mut self, finding: &Finding) {
        let first = format!("{} {}", finding.code.id(), finding.what);
        log::warn!("{first}; next: {}", finding.advice());
        self.wrap(PREFIX, &first);
        for (word, text) in finding.lines() {
            self.wrap(&format!("{:width$}{word}: ", "", width = PREFIX.len()), text);
        }
    }

    /// Text after `first`, wrapped, its further lines indented below it.
    pub fn hang(&mut self, first: &str, text: &str) {
        self.wrap(first, text);
    }

    /// A line as it is: for screens that are laid out already.
    pub fn plain(&mut self, text: &str) {
        self.note(text);
        self.show(text);
    }

    /// Keeps a line, if lines are kept.
    fn note(&mut self, text: &str) {
        if let Some(clock) = self.clock {
            self.kept.push(Line { at: clock.now(), text: printable(text) });
        }
    }

    fn show(&mut self, text: &str) {
        // A console that cannot be written to must not stop a boot.
        if let Err(error) = writeln!(self.out, "{text}") {
            log::debug!("console: {error}");
        }
    }

    /// A line without a number of a screen that is `width` columns wide.
    pub fn heading(&mut self, text: &str, width: usize) {
        self.wrap_at("", text, width);
    }

    /// A numbered line of a screen that is `width` columns wide.
    pub fn item(&mut self, number: usize, text: &str, width: usize) {
        self.wrap_at(&format!(" {number}. "), text, width);
    }

    /// The last line of such a screen: a word and what it says.
    pub fn item_named(&mut self, word: &str, text: &str, width: usize) {
        self.wrap_at(&format!(" {word}: "), text, width);
    }

    /// A line of a list: a sign, and what it stands for.
    pub fn entry(&mut self, sign: char, text: &str) {
        self.wrap(&format!(" {sign} "), text);
    }

    /// A line of a file as it is, but for what could upset a terminal.
    pub fn text(&mut self, line: &str) {
        let line = printable(&line.replace('\t', "        "));
        self.plain(&line);
    }

    /// True when every step is to be shown.
    pub fn is_verbose(&self) -> bool {
        self.verbose
    }

    /// `text` after `first`, its further lines indented below it.
    fn wrap(&mut self, first: &str, text: &str) {
        self.wrap_at(first, text, WIDTH);
    }

    fn wrap_at(&mut self, first: &str, text: &str, width: usize) {
        match first.strip_prefix(PREFIX) {
            Some(rest) => self.note(&format!("{rest}{text}")),
            None => self.note(&format!("  {}{text}", first.trim_start())),
        }
        let mut line = first.to_owned();
        let mut fresh = true;
        let text = printable(text);
        for word in
            text.split(' ').flat_map(|word| pieces(word, width - first.len().min(width / 2)))
        {
            if !fresh && line.chars().count() + 1 + word.chars().count() > width {
                self.show(&line);
                line = " ".repeat(first.len());
                fresh = true;
            }
            if !fresh {
                line.push(' ');
            }
            line.push_str(word);
            fresh = false;
        }
        self.show(&line);
    }
}

/// A word in pieces that fit into a line; mostly it is one.
fn pieces(word: &str, width: usize) -> impl Iterator<Item = &str> {
    let mut rest = Some(word);
    std::iter::from_fn(move || {
        let text = rest?;
        let fits = text.get(..width).unwrap_or(text);
        // After a comma, where there is one: lists of names are the longest words.
        let end = match fits.len() == text.len() {
            true => text.len(),
            false => fits.rfind(',').map_or(width, |at| at + 1),
        };
        rest = text.get(end..).filter(|rest| !rest.is_empty());
        text.get(..end)
    })
}

/// Names come from disks and files: whatever could upset a terminal is written as `\xNN`.
fn printable(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' => clean.push(byte.into()),
            _ => clean.push_str(&format!("\\x{byte:02x}")),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::super::Code;
    use super::*;

    fn shown(show: impl FnOnce(&mut Console<'_>)) -> String {
        let mut out = Vec::new();
        show(&mut Console::new(&mut out, false));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn no_line_reaches_the_last_column() {
        let text = shown(|console| console.say(&"word ".repeat(60)));
        assert!(text.lines().all(|line| line.len() <= WIDTH), "{text}");
        assert!(text.lines().skip(1).all(|line| line.starts_with("         word")), "{text}");
    }

    #[test]
    fn a_word_longer_than_a_line_is_broken_after_a_comma() {
        let text = shown(|console| console.say(&format!("{},{}", "x".repeat(60), "y".repeat(100))));
        let lengths: Vec<_> = text.lines().map(str::len).collect();
        assert_eq!(lengths, [9 + 61, WIDTH, 9 + 30]);
    }

    #[test]
    fn a_finding_says_what_happened_what_was_not_changed_and_what_to_type() {
        let finding = Finding::new(Code::E21, "pool tank: 2 of 3 disks found")
            .detail("missing", "disk 3, last seen at /dev/ada3");
        let text = shown(|console| console.finding(&finding));
        assert!(text.starts_with("nanozfs: E21 pool tank: 2 of 3 disks found\n"), "{text}");
        for word in ["missing: disk 3", "unchanged: ", "next: "] {
            assert!(text.contains(&format!("\n         {word}")), "{text}");
        }
    }

    #[test]
    fn bytes_that_could_upset_a_terminal_are_spelled_out() {
        assert_eq!(
            shown(|console| console.say("a\x1b[2J\nb\u{e9}")),
            "nanozfs: a\\x1b[2J\\x0ab\\xc3\\xa9\n"
        );
    }
}
