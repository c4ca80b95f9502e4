//! Any bytes as `kern.geom.confxml`, and every question that can be asked of the mesh.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nanozfs::format::geom::{Mesh, ProviderId, demangle};

fuzz_target!(|text: &[u8]| {
    let Ok(mesh) = Mesh::parse(text) else {
        return;
    };
    for (n, provider) in mesh.providers.iter().enumerate() {
        let id = ProviderId(n);
        let extent = mesh.extent(id);
        assert_eq!(mesh.extent(extent.disk).disk, extent.disk, "a disk is on itself");
        assert!(mesh.aliases(id).contains(&id));
        assert!(mesh.names(id).contains(&provider.name.as_str()));
        let found = mesh.find(&format!("/dev/{}", provider.name));
        assert!(found.is_some_and(|first| first <= id));
        assert!(!mesh.class(id).is_empty() || mesh.geoms[provider.geom].class.is_empty());
        for geom in mesh.consumers(id) {
            assert!(geom.consumes.contains(&id));
        }
        mesh.is_component(id);
        mesh.has_partitions(id);
        demangle(&provider.name);
    }
    assert!(mesh.disks().count() <= mesh.providers.len());
});
