//! Something an operator should know, with what was not changed and what to type next.

use super::code::Code;
use crate::host::Error;

/// One finding: what happened, in one sentence, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The class of it, which `nanozfs explain` tells more about.
    pub code: Code,
    /// What happened, to what.
    pub what: String,
    /// Further lines: a word and what it says, as in `missing: disk 3`.
    pub details: Vec<(&'static str, String)>,
    /// What to type next, where the code's own advice is too general.
    next: Option<String>,
}

impl Finding {
    /// A finding of this code.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Finding { code, what: what.into(), details: Vec::new(), next: None }
    }

    /// A finding that a call to the host failed: why, and below it what was called.
    pub fn failed(code: Code, what: &str, error: &Error) -> Self {
        Finding::new(code, format!("{what}: {}", error.why)).detail("command", &error.doing)
    }

    /// Another nanozfs acts on this machine; the error says which.
    pub fn busy(error: &Error) -> Self {
        let what = format!("another nanozfs is at work on this machine: {}", error.why);
        Finding::new(Code::E05, what)
    }

    /// With one more line.
    #[must_use]
    pub fn detail(mut self, word: &'static str, text: impl Into<String>) -> Self {
        self.details.push((word, text.into()));
        self
    }

    /// With another advice than the code's.
    #[must_use]
    pub fn next(mut self, advice: impl Into<String>) -> Self {
        self.next = Some(advice.into());
        self
    }

    /// What to type next.
    pub fn advice(&self) -> &str {
        self.next.as_deref().unwrap_or(self.code.next())
    }

    /// All lines under the first: details, what was not changed, what to do.
    pub fn lines(&self) -> Vec<(&str, &str)> {
        let mut lines: Vec<_> =
            self.details.iter().map(|(word, text)| (*word, text.as_str())).collect();
        lines.push(("unchanged", self.code.unchanged()));
        lines.push(("next", self.advice()));
        lines
    }
}
