//! Upgrades that can fail: a new image in the other slot, tried once, kept when it is healthy.
//!
//! ```text
//! steady --install--> installed --arm--> armed --reboot--> trial --healthy--> steady (new)
//!                                             +--panic, power cut, unhealthy--> steady (old)
//! ```
//!
//! Data flows as in a boot: facts ([`select`] reads the drive, [`journal`] the pool), one pure
//! decision ([`machine`]), actions through `Host`, a report. Going back is the same machine: a
//! rollback is a trial of the old slot with the old data.

pub mod command;
pub mod data;
pub mod guard;
pub mod health;
pub mod install;
pub mod journal;
pub mod kept;
pub mod machine;
#[cfg(feature = "maker")]
pub mod make;
pub mod progress;
pub mod release;
pub mod select;
pub mod settle;
pub mod slot;
pub mod summary;
pub mod switch;
pub mod trial;
pub mod work;
