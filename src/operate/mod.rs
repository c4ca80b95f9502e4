//! What an operator does on a machine that runs.

pub mod init;
pub mod resume;
