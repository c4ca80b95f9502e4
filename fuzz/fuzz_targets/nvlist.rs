//! Any bytes as a packed nvlist; what was unpacked is packed and unpacked again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::nvlist::{self, Nvlist, Value};

/// The list without what has no value that could be packed.
fn known(list: Nvlist) -> Nvlist {
    let value = |value| match value {
        Value::Other(_) => None,
        Value::List(list) => Some(Value::List(known(list))),
        Value::Lists(lists) => Some(Value::Lists(lists.into_iter().map(known).collect())),
        other => Some(other),
    };
    Nvlist(list.0.into_iter().filter_map(|(name, v)| Some((name, value(v)?))).collect())
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(list) = nvlist::decode(bytes) {
        let list = known(list);
        assert_eq!(nvlist::decode(&nvlist::encode(&list)), Ok(list));
    }
});
