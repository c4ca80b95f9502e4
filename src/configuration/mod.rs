//! The history of the configuration: `nanozfs cfg WORD`.
//!
//! At boot `/cfg` is laid over `/etc`. Here is the way back: what somebody changed in `/etc` goes to
//! `/cfg`, each time with a snapshot of it that says who, when and why.
//!
//! [`command`] knows the words; each of them has a file of its own.

pub mod command;
mod history;
mod log;
