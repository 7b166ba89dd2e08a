//! What an operator does with all that is stored, beside a running service.

use std::fs;

use crate::Home;
use crate::process::Process;

#[test]
fn an_operator_finds_and_repairs_what_is_nobodys() {
    let home = Home::new();
    let data = home.0.path().join("data");
    let _process = Process::start(&home, &data, &[], &[]);
    let fsck = |more: &[&str]| {
        let data = data.to_str().unwrap();
        let mut args = vec!["admin", "fsck", "--data", data];
        args.extend(more);
        home.run(&args)
    };
    let clean = fsck(&[]).expect(0);
    assert_eq!(clean.out, "0 images stored (0 B): nothing is wrong\n");

    let machine = data.join("regions/hal1/vms/4711");
    fs::create_dir(&machine).unwrap();
    let found = fsck(&[]).expect(1);
    let expected = format!(
        "orphan machine in hal1\n  {}\n  there is no such machine\n  a repair moves it",
        machine.display()
    );
    assert!(found.out.starts_with(&expected), "{}", found.out);
    let report = fsck(&["--repair", "--deep", "--json"]).expect(1).json();
    assert_eq!(report["problems"][0]["kind"], "orphan-machine");
    assert_eq!(report["problems"][0]["state"], "repaired");
    assert!(data.join("regions/hal1/lost/4711").exists());
    fsck(&[]).expect(0);

    fs::remove_dir(data.join("regions/hal1/images")).unwrap();
    fsck(&[]).expect(0); // nothing should be there
    let none = home.run(&["admin", "fsck", "--data", "/nonexistent"]);
    assert!(none.expect(2).err.contains("start the service once"));
}
