//! The operator's commands: what a person types at a machine that runs.

pub mod init;
pub mod resume;
pub mod status;
