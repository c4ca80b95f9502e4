//! Whoever is at the lab machine's terminal: nobody, unless the story has somebody type.

use super::Lab;
use crate::host::People;

impl People for Lab {
    fn is_there(&self) -> bool {
        !self.lock().machine.answers.is_empty()
    }

    fn answer(&self) -> Option<String> {
        self.lock().machine.answers.pop_front()
    }

    fn who(&self) -> String {
        "anna (192.0.2.7)".to_owned()
    }
}
