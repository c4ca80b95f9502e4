//! Writing a release into the other slot: `upgrade install`, `upgrade info`.

use super::command::Order;
use crate::boot::Boot;
use crate::report::Exit;

/// `upgrade info`.
pub fn info(_boot: &mut Boot<'_, '_>, _file: &str) -> Exit {
    Exit::Failed
}

/// `upgrade install`.
pub fn run(_boot: &mut Boot<'_, '_>, _file: &str, _order: &Order) -> Exit {
    Exit::Failed
}
