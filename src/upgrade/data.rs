//! placeholder
use crate::boot::Boot;
/// Not yet.
pub fn take(_b: &mut Boot<'_, '_>, _r: &str, _i: &str) -> bool {
    false
}
/// Not yet.
pub fn restore(_b: &mut Boot<'_, '_>, _r: &str, _i: &str, _k: &str) -> bool {
    false
}
/// Not yet.
pub fn put_back(_b: &mut Boot<'_, '_>, _r: &str, _i: &str) -> bool {
    false
}
