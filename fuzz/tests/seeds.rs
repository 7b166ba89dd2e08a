//! Every seed, and every input that once was a crash, passes through its target.

use std::fs;
use std::path::Path;

use abbild_fuzz::TARGETS;

#[test]
fn every_seed_runs() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for (name, target) in TARGETS {
        let entries = fs::read_dir(seeds.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let mut count = 0;
        for entry in entries {
            target(&fs::read(entry.unwrap().path()).unwrap());
            count += 1;
        }
        assert!(count > 0, "{name} has no seeds");
    }
}

#[test]
fn every_directory_of_seeds_has_a_target() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds");
    for entry in fs::read_dir(seeds).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(
            TARGETS.iter().any(|(target, _)| *target == name),
            "{name:?}"
        );
    }
}
