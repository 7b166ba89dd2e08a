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

#[test]
fn an_operator_makes_a_backup_and_puts_it_back() {
    let home = Home::new();
    let data = home.0.path().join("data");
    let path = |name: &str| home.0.path().join(name).to_str().unwrap().to_owned();
    let process = Process::start(&home, &data, &[], &[]);
    let create = [
        "admin",
        "account",
        "create",
        "--name",
        "Ours",
        "--email",
        "us@example.org",
    ];
    let in_data = ["--data", &path("data")];
    home.run(&[&create[..], &in_data].concat()).expect(0);
    let gc = home.run(&[&["admin", "gc", "--dry-run"][..], &in_data].concat());
    assert!(gc.expect(0).out.starts_with("would be removed\n"));
    let backup = ["admin", "backup", &path("backup"), "--objects"];
    let made = home.run(&[&backup[..], &in_data].concat()).expect(0);
    assert!(
        made.out.contains("images:   0 images (0 B)"),
        "{}",
        made.out
    );
    let restore = ["admin", "restore", &path("backup"), "--data"];
    let refused = home
        .run(&[&restore[..], &[&path("data")]].concat())
        .expect(1);
    assert!(
        refused.err.contains("another service is using"),
        "{}",
        refused.err
    );
    drop(process);

    home.run(&[&restore[..], &[&path("other")]].concat())
        .expect(0);
    let list = ["admin", "account", "list", "--data", &path("other")];
    assert!(home.run(&list).expect(0).out.contains("us@example.org"));
    home.run(&["admin", "fsck", "--data", &path("other")])
        .expect(0);
}
