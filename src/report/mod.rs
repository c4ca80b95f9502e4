//! What the suite tells people: findings with their codes, one line per helper, the mode.

mod code;
mod console;
mod finding;
pub mod json;
mod mode;

pub use code::{Code, Impact};
pub use console::{Console, Line, WIDTH};
pub use finding::Finding;
pub use mode::{Exit, Mode};
