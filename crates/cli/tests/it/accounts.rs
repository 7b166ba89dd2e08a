//! Accounts, users, tokens and quotas: the operator's commands beside a running service, and what
//! customers do with what they were given.

use crate::Home;
use crate::process::Process;

const PASSWORD: &str = "correct horse battery";

/// A running service, and its operator.
struct Desk {
    home: Home,
    data: String,
    process: Process,
}

impl Desk {
    fn open() -> Self {
        let home = Home::new();
        let data = home.0.path().join("data");
        let process = Process::start(&home, &data, &[], &[]);
        let data = data.to_str().unwrap().to_owned();
        Self {
            home,
            data,
            process,
        }
    }

    /// `abbild admin …`, with a password on standard input.
    fn admin(&self, args: &[&str]) -> crate::Ran {
        let mut all = vec!["admin"];
        all.extend(args);
        all.extend(["--data", &self.data]);
        self.home.run_with(&all, &format!("{PASSWORD}\n"))
    }

    fn log_in(&self, email: &str, password: &str) -> (Home, crate::Ran) {
        let home = Home::new();
        let login = ["login", self.process.url.as_str(), "--email", email];
        let ran = home.run_with(&login, &format!("{password}\n"));
        (home, ran)
    }
}

#[test]
fn an_operator_makes_an_account_whose_user_logs_in() {
    let desk = Desk::open();
    let account = desk
        .admin(&[
            "account",
            "create",
            "--name",
            "Ours",
            "--email",
            "Us@example.org",
            "--json",
        ])
        .expect(0)
        .json();
    assert_eq!(account["email"], "us@example.org");
    let id = account["id"].to_string();
    let create = ["user", "create", "me@example.org", "--account", &id];
    desk.admin(&create).expect(0);
    let again = desk.admin(&create).expect(1);
    assert!(again.err.contains("there is a user"), "{}", again.err);

    let (_, wrong) = desk.log_in("me@example.org", "wrong horse battery");
    assert!(wrong.expect(1).err.contains("address or password is wrong"));
    let (home, ran) = desk.log_in("me@example.org", PASSWORD);
    assert!(ran.expect(0).out.ends_with(" as Ours\n"));
    let tokens = home.run(&["token", "list", "--json"]).expect(0).json();
    assert_eq!(tokens.as_array().unwrap().len(), 1);
    assert!(
        tokens[0]["name"]
            .as_str()
            .unwrap()
            .starts_with("abbild on ")
    );

    desk.admin(&["account", "disable", "us@example.org", "--reason", "unpaid"])
        .expect(0);
    let out = home.run(&["image", "list"]).expect(1);
    assert!(out.err.contains("disabled: unpaid"), "{}", out.err);
    desk.admin(&["account", "enable", &id]).expect(0);
    home.run(&["image", "list"]).expect(0);
    desk.admin(&["user", "disable", "me@example.org"]).expect(0);
    home.run(&["image", "list"]).expect(1);
    desk.admin(&["user", "enable", "me@example.org"]).expect(0);
    home.run(&["image", "list"]).expect(0);

    let list = desk.admin(&["account", "list"]).expect(0);
    assert!(list.out.contains("Ours"), "{}", list.out);
    let nobody = desk.admin(&["account", "show", "nobody"]).expect(1);
    assert!(nobody.err.contains("no account `nobody`"), "{}", nobody.err);
    let log = desk.admin(&["audit", "--account", &id]).expect(0);
    for action in [
        "account.create",
        "user.create",
        "token.create",
        "account.disable",
    ] {
        assert!(log.out.contains(action), "{}", log.out);
    }
}

#[test]
fn tokens_do_what_their_scopes_say_until_they_are_revoked() {
    let desk = Desk::open();
    let url = desk.process.url.as_str();
    let token = |args: &[&str]| desk.admin(args).expect(0).out.trim().to_owned();
    let all = token(&["token", "create"]);
    let home = Home::new();
    home.run(&["login", url, "--token", &all]).expect(0);
    let reading = home
        .run(&[
            "token",
            "create",
            "ci",
            "--scope",
            "read",
            "--expires",
            "90d",
        ])
        .expect(0);
    let reader = Home::new();
    let reading = reading.out.trim();
    reader.run(&["login", url, "--token", reading]).expect(0);
    reader.run(&["image", "list"]).expect(0);
    let refused = reader.run(&[
        "image",
        "import",
        "http://192.0.2.1/x",
        "--name",
        "x",
        "--region",
        "hal1",
    ]);
    let refused = refused.expect(1);
    assert!(
        refused.err.contains("lacks the scope `images`"),
        "{}",
        refused.err
    );
    let list = home.run(&["token", "list"]).expect(0);
    assert!(list.out.contains("ci"), "{}", list.out);
    home.run(&["token", "revoke", "ci"]).expect(0);
    reader.run(&["image", "list"]).expect(1);

    let tokens = desk.admin(&["token", "list", "--json"]).expect(0).json();
    let made = tokens.as_array().unwrap();
    let made = made
        .iter()
        .find(|token| token["name"] == "made by an operator");
    let id = made.unwrap()["id"].to_string();
    desk.admin(&["token", "revoke", &id]).expect(0);
    home.run(&["image", "list"]).expect(1);
    desk.admin(&["token", "revoke", &id]).expect(1);
    desk.admin(&["token", "create", "--expires", "soon"])
        .expect(2);
}

#[test]
fn quotas_are_shown_and_set() {
    let desk = Desk::open();
    let set = [
        "quota",
        "set",
        "droplets=50",
        "stored_bytes=500GiB",
        "uploads=unlimited",
    ];
    let set = desk.admin(&set).expect(0);
    assert!(set.out.contains("500.0 GiB"), "{}", set.out);
    let home = Home::new();
    let token = desk.process.token.as_str();
    home.run(&["login", &desk.process.url, "--token", token])
        .expect(0);
    let usage = home.run(&["usage"]).expect(0);
    let line = usage.out.lines().find(|line| line.starts_with("droplets "));
    assert!(line.unwrap().ends_with(" 50"), "{}", usage.out);
    desk.admin(&["quota", "set", "droplets=default"]).expect(0);
    let shown = desk.admin(&["quota", "show", "--json"]).expect(0).json();
    let droplets = shown
        .as_array()
        .unwrap()
        .iter()
        .find(|q| q["quota"] == "droplets");
    assert_eq!(droplets.unwrap()["limit"], 25);
    let wrong = desk.admin(&["quota", "set", "bananas=3"]).expect(2);
    assert!(
        wrong.err.contains("there are images, stored_bytes"),
        "{}",
        wrong.err
    );
}
