//! Whether a machine can resume: a pure function of what is known before anything is changed.

use crate::report::Mode;

/// What is known of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The mode of the last boot; `None` when there was none.
    pub mode: Option<Mode>,
    /// Recovery was asked for.
    pub asked: bool,
    /// The system is on trial.
    pub on_trial: bool,
    /// `/cfg` comes from ZFS.
    pub configured: bool,
    /// Known pools that are imported, or could be now.
    pub pools: usize,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The steps of a boot.
    Go,
    /// Nothing: the machine is in normal mode.
    Normal,
    /// Nothing, and why.
    Refuse(Refusal),
}

/// Why a machine cannot resume.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// `nanozfs boot` has not run.
    NotBooted,
    /// Recovery was asked for, and lasts until the next boot.
    Asked,
    /// A trial is decided by settle, which would judge another machine than was started.
    Trial,
    /// No known pool is there.
    Pools,
}

/// Decides.
pub fn decide(facts: &Facts) -> Decision {
    match facts {
        Facts { mode: None, .. } => Decision::Refuse(Refusal::NotBooted),
        Facts { mode: Some(Mode::Normal), .. } => Decision::Normal,
        Facts { asked: true, .. } => Decision::Refuse(Refusal::Asked),
        Facts { on_trial: true, .. } => Decision::Refuse(Refusal::Trial),
        Facts { configured: false, pools: 0, .. } => Decision::Refuse(Refusal::Pools),
        _ => Decision::Go,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_resumes_when_a_pool_is_there_and_nothing_else_is_under_way() {
        let (recovery, degraded) = (Some(Mode::Recovery), Some(Mode::Degraded));
        let refuse = Decision::Refuse;
        // mode, asked, on trial, configured, pools
        let table = [
            ((recovery, false, false, false, 1), Decision::Go),
            ((recovery, false, false, false, 0), refuse(Refusal::Pools)),
            ((recovery, true, false, false, 1), refuse(Refusal::Asked)),
            ((recovery, false, true, false, 1), refuse(Refusal::Trial)),
            ((degraded, false, false, true, 1), Decision::Go),
            ((degraded, false, false, true, 0), Decision::Go),
            ((degraded, false, true, true, 1), refuse(Refusal::Trial)),
            ((Some(Mode::Normal), false, true, true, 1), Decision::Normal),
            ((None, false, false, false, 1), refuse(Refusal::NotBooted)),
        ];
        for ((mode, asked, on_trial, configured, pools), decision) in table {
            let facts = Facts { mode, asked, on_trial, configured, pools };
            assert_eq!(decide(&facts), decision, "{facts:?}");
        }
    }
}
