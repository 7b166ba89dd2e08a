//! The service as a process of its own: signals, TLS, the log, and the commands for operators.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::process::Process;
use crate::{Home, Ran};

fn login(home: &Home, url: &str, token: &str, ca: Option<&Path>) -> Ran {
    let mut arguments = vec!["login", url, "--token", token];
    if let Some(ca) = ca {
        arguments.extend(["--ca", ca.to_str().unwrap()]);
    }
    home.run(&arguments)
}

#[test]
fn a_stop_counts_what_an_upload_has_and_ends_well() {
    let home = Home::new();
    let data = home.0.path().join("data");
    let mut process = Process::start(&home, &data, &[], &[]);
    let upload = process.upload(4 << 20);
    let head = format!(
        "PATCH {upload} HTTP/1.1\r\nupload-offset: 0\r\ncontent-length: {}\r\ncontent-type: application/offset+octet-stream",
        4 << 20
    );
    // A disk with one partition that begins after 1 MiB. The rest of it never comes.
    let mut begin = vec![0; 300_000];
    begin[450..462].copy_from_slice(b"\x83\0\0\0\x00\x08\0\0\x00\x08\0\0");
    begin[510..512].copy_from_slice(b"\x55\xaa");
    let mut sending = process.open_request(&head, &begin);
    std::thread::sleep(Duration::from_millis(500));
    process.signal(Signal::TERM);
    let mut answer = String::new();
    sending.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(process.ends_within(Duration::from_secs(20)).success());

    let token = process.token.clone();
    let mut process = Process::start(&home, &data, &[], &[]);
    process.token = token;
    assert_eq!(process.offset(&upload), 300_000);
}

#[test]
fn a_second_signal_stops_at_once() {
    let home = Home::new();
    let notice = [("ABBILD__LIMITS__DRAIN_NOTICE_SECONDS", "600")];
    let mut process = Process::start(&home, &home.0.path().join("data"), &[], &notice);
    process.signal(Signal::TERM);
    std::thread::sleep(Duration::from_millis(500));
    assert!(process.child.try_wait().unwrap().is_none());
    process.signal(Signal::INT);
    assert!(process.ends_within(Duration::from_secs(10)).success());
}

#[test]
fn the_certificate_of_the_service_is_trusted_when_it_is_named() {
    let home = Home::new();
    let data = home.0.path().join("data");
    let process = Process::start(&home, &data, &["--tls-listen", "127.0.0.1:0"], &[]);
    let url = process.tls.as_deref().unwrap();
    let stranger = login(&home, url, &process.token, None).expect(1);
    assert!(stranger.err.contains("--ca FILE"), "{}", stranger.err);
    login(&home, url, &process.token, Some(&data.join("tls/ca.pem"))).expect(0);
    home.run(&["image", "list", "--json"]).expect(0);
    // The WebSocket gets as far as the answer that there is no such machine.
    let console = home.run(&["vm", "console", "7"]).expect(1);
    assert!(!console.err.contains("certificate"), "{}", console.err);
    let by_name = url.replace("127.0.0.1", "localhost");
    login(
        &home,
        &by_name,
        &process.token,
        Some(&data.join("tls/ca.pem")),
    )
    .expect(0);
}

#[test]
fn a_new_certificate_is_served_after_a_hangup() {
    let home = Home::new();
    let made = ["one", "other"].map(|name| {
        let data = home.0.path().join(name);
        let mut process = Process::start(&home, &data, &["--tls-listen", "127.0.0.1:0"], &[]);
        process.signal(Signal::TERM);
        process.ends_within(Duration::from_secs(20));
        data.join("tls")
    });
    let files = home.0.path().join("files");
    fs::create_dir(&files).unwrap();
    let put = |from: &Path| {
        for name in ["server.pem", "server.key"] {
            fs::copy(from.join(name), files.join(name)).unwrap();
        }
    };
    put(&made[0]);
    let (certificate, key) = (files.join("server.pem"), files.join("server.key"));
    let variables = [
        ("ABBILD__TLS__CERTIFICATE", certificate.to_str().unwrap()),
        ("ABBILD__TLS__KEY", key.to_str().unwrap()),
    ];
    let data = home.0.path().join("data");
    let process = Process::start(&home, &data, &["--tls-listen", "127.0.0.1:0"], &variables);
    let url = process.tls.as_deref().unwrap();
    let trusting = |ca: &Path| login(&home, url, &process.token, Some(&ca.join("ca.pem"))).code;
    assert_eq!((trusting(&made[0]), trusting(&made[1])), (0, 1));
    put(&made[1]);
    process.signal(Signal::HUP);
    let deadline = Instant::now() + Duration::from_secs(20);
    while trusting(&made[1]) != 0 {
        assert!(
            Instant::now() < deadline,
            "the old certificate is still served"
        );
    }
    assert_eq!(trusting(&made[0]), 1);
}

#[test]
fn the_log_is_json_where_nobody_reads_it() {
    let home = Home::new();
    let process = Process::start(&home, &home.0.path().join("data"), &[], &[]);
    let head = "POST /v2/images HTTP/1.1\r\nconnection: close\r\nx-request-id: seen-1\r\ncontent-length: 2";
    let mut answer = String::new();
    process
        .open_request(head, b"{}")
        .read_to_string(&mut answer)
        .unwrap();
    assert!(answer.contains("seen-1"), "{answer}");
    let log = fs::read_to_string(home.0.path().join("log")).unwrap();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let line = lines
        .iter()
        .find(|line| line["message"] == "answered")
        .unwrap();
    assert_eq!(line["spans"][0]["request.id"], "seen-1", "{line}");
    assert_eq!(line["spans"][0]["http.path"], "/v2/images");
    assert_eq!(line["http.status"], 422);
}

#[test]
fn mistakes_of_a_configuration_have_lines() {
    let home = Home::new();
    let file = home.0.path().join("a.toml");
    fs::write(&file, "listen = \"0.0.0.0:80\"\n\n[vm]\nkwm = true\n").unwrap();
    let file = file.to_str().unwrap();
    let ran = home.run(&["config", "check", file]).expect(1);
    let lines: Vec<_> = ran.out.lines().collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert!(
        lines[0].starts_with(&format!("{file}:1:10: ")),
        "{}",
        ran.out
    );
    assert!(
        lines[1].starts_with(&format!("{file}:4:1: unknown field `kwm`")),
        "{}",
        ran.out
    );
    let serve = home.run(&["serve", "--config", file]).expect(1);
    assert!(serve.err.contains(":4:1: "), "{}", serve.err);

    fs::write(file, "[vm]\nkvm = false\n[metrics]\ntoken = \"sesame\"\n").unwrap();
    home.run(&["config", "check", file]).expect(0);
    let shown = home.run(&["config", "show", "--config", file]).expect(0);
    assert!(
        shown.out.contains(&format!("# {file}:2:7")),
        "{}",
        shown.out
    );
    assert!(!shown.out.contains("sesame"), "{}", shown.out);
    let mut variable = home.abbild(&["config", "check"]);
    let ran = Ran::new(variable.env("ABBILD__VM__KWM", "true").output().unwrap());
    assert!(
        ran.expect(1)
            .out
            .starts_with("ABBILD__VM__KWM: unknown field")
    );
}

#[test]
fn the_example_and_the_unit_are_valid() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let example = root.join("abbild.example.toml");
    let home = Home::new();
    home.run(&["config", "check", example.to_str().unwrap()])
        .expect(0);
}

#[test]
fn the_doctor_says_what_a_host_lacks_and_what_to_do() {
    let home = Home::new();
    let data = home.0.path().join("data");
    let doctor = |qemu: &str, options: &[&str]| {
        let data = data.to_str().unwrap();
        let variables = [
            ("ABBILD__VM__QEMU", qemu),
            ("ABBILD__VM__KVM", "false"),
            ("ABBILD__VM__RESCUE", "/nowhere"),
            // However little room the tests have.
            ("ABBILD__LIMITS__STAGING_RESERVE", "0"),
        ];
        let mut command = home.abbild(&["doctor", "--data", data]);
        Ran::new(command.args(options).envs(variables).output().unwrap())
    };
    let lacking = doctor("qemu-system-pdp11", &["--json"]).expect(1);
    let report = lacking.json();
    let findings = report["findings"].as_array().unwrap();
    let of = |id: &str| findings.iter().find(|finding| finding["id"] == id).unwrap();
    assert_eq!(of("qemu")["outcome"], "failure");
    let remedy = of("qemu")["remedy"].as_str().unwrap();
    assert!(remedy.contains("apt install"), "{remedy}");
    assert_eq!(of("rescue")["outcome"], "warning");
    assert!(!data.exists(), "it only looks");

    let service = Process::start(&home, &data, &[], &[]);
    let beside = doctor("qemu-system-x86_64", &[]).expect(0);
    assert!(
        beside.out.contains("database: it answers, with schema"),
        "{}",
        beside.out
    );
    assert!(beside.out.contains("make rescue"), "{}", beside.out);
    drop(service);
}
