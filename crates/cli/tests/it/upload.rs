//! `abbild image upload` over connections that break, kills, and refusals.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::images;
use crate::service::{Fault, Service, TOKEN};
use crate::{Home, Ran};

struct Scene {
    service: Service,
    home: Home,
    image: PathBuf,
    content: Vec<u8>,
}

impl Scene {
    fn new() -> Self {
        let service = Service::start();
        let home = Home::new();
        home.run(&["login", &service.url, "--token", TOKEN])
            .expect(0);
        let image = home.0.path().join("image");
        let content = images::noise(1_000_000);
        fs::write(&image, &content).unwrap();
        Self {
            service,
            home,
            image,
            content,
        }
    }

    fn args(&self) -> Vec<&str> {
        let image = self.image.to_str().unwrap();
        vec![
            "image",
            "upload",
            image,
            "--name",
            "debian",
            "--region",
            "hal1",
            "--no-check",
            "--json",
        ]
    }

    fn upload(&self) -> Ran {
        self.home.run(&self.args())
    }

    /// Uploads until the service has `bytes` and stalls, then sends `signal`.
    fn upload_until(&self, bytes: usize, signal: Signal) -> Ran {
        self.service.fault(Fault::StallAt(bytes));
        let mut command = self.home.abbild(&self.args());
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        self.service.wait_for_bytes(bytes, Duration::from_secs(20));
        kill_process(Pid::from_child(&child), signal).unwrap();
        self.service.fault(Fault::None);
        Ran::new(child.wait_with_output().unwrap())
    }

    fn states(&self) -> usize {
        let directory = self.home.0.path().join(".local/state/abbild/uploads");
        fs::read_dir(directory).map_or(0, Iterator::count)
    }
}

#[test]
fn an_image_arrives_whole() {
    let scene = Scene::new();
    let image = scene.upload().expect(0).json();
    assert_eq!(image["name"], "debian");
    assert_eq!(image["status"], "available");
    assert_eq!(
        scene.service.uploads(),
        std::slice::from_ref(&scene.content)
    );
    assert_eq!(scene.states(), 0, "nothing is left to continue");
}

#[test]
fn a_connection_that_breaks_half_way_is_taken_up_again() {
    let scene = Scene::new();
    scene.service.fault(Fault::DropAt(437_000));
    let ran = scene.upload().expect(0);
    assert!(ran.err.contains("trying again in"), "{}", ran.err);
    assert_eq!(
        scene.service.uploads(),
        std::slice::from_ref(&scene.content)
    );
    assert_eq!(scene.service.patches(), [0, 437_000]);
}

#[test]
fn after_a_kill_the_same_command_continues() {
    let scene = Scene::new();
    assert_eq!(scene.upload_until(437_000, Signal::KILL).code, -1);
    assert_eq!(scene.states(), 1);
    let ran = scene.upload().expect(0);
    assert!(ran.err.contains("continuing at 43%"), "{}", ran.err);
    assert_eq!(
        scene.service.uploads(),
        std::slice::from_ref(&scene.content)
    );
    assert_eq!(scene.service.patches(), [0, 437_000]);
    assert_eq!(scene.service.images(), 1);
    assert_eq!(scene.states(), 0);
}

#[test]
fn ctrl_c_says_how_to_continue() {
    let scene = Scene::new();
    // While the client waits for the answer to its last byte, a signal has to end that too.
    scene.service.fault(Fault::DropAt(437_000));
    scene.service.go_away_after_drop();
    let mut command = scene.home.abbild(&scene.args());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    scene
        .service
        .wait_for_bytes(437_000, Duration::from_secs(20));
    std::thread::sleep(Duration::from_millis(200));
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ran = Ran::new(child.wait_with_output().unwrap()).expect(130);
    assert!(ran.err.contains("stopped at"), "{}", ran.err);
    assert!(
        ran.err.contains("hint: run the same command again"),
        "{}",
        ran.err
    );
    assert_eq!(scene.states(), 1);
    scene.service.come_back();
    scene.upload().expect(0);
    assert_eq!(
        scene.service.uploads(),
        std::slice::from_ref(&scene.content)
    );
}

#[test]
fn a_file_that_was_modified_is_sent_from_the_start() {
    let mut scene = Scene::new();
    scene.upload_until(437_000, Signal::KILL);
    scene.content.push(1);
    fs::write(&scene.image, &scene.content).unwrap();
    let ran = scene.upload().expect(0);
    assert!(!ran.err.contains("continuing"), "{}", ran.err);
    assert_eq!(scene.service.uploads().last(), Some(&scene.content));
}

#[test]
fn an_upload_that_the_service_forgot_begins_anew() {
    let scene = Scene::new();
    scene.upload_until(437_000, Signal::KILL);
    scene.service.forget();
    scene.upload().expect(0);
    assert_eq!(
        scene.service.images(),
        1,
        "the image that cannot be completed is gone"
    );
    assert_eq!(
        scene.service.uploads(),
        std::slice::from_ref(&scene.content)
    );
}

#[test]
fn a_refusal_while_sending_is_told_and_not_retried() {
    let scene = Scene::new();
    scene.service.fault(Fault::RefuseAt(300_000));
    let ran = scene.upload().expect(1);
    assert!(
        ran.err
            .contains("the image was refused: it is a \x22VHD\x22"),
        "{}",
        ran.err
    );
    assert_eq!(scene.states(), 0);
    assert!(scene.service.uploads().is_empty(), "the upload is given up");
}

#[test]
fn a_failed_import_ends_with_its_reason() {
    let scene = Scene::new();
    scene.service.fault(Fault::FailImport);
    let ran = scene.upload().expect(1);
    assert_eq!(ran.json()["status"], "deleted");
    assert!(
        ran.err.contains("the import failed: no operating system"),
        "{}",
        ran.err
    );
}

#[test]
fn an_image_that_would_be_refused_is_not_sent() {
    let scene = Scene::new();
    fs::write(&scene.image, images::raw()).unwrap();
    let before = scene.service.requests();
    let mut args = scene.args();
    args.retain(|arg| *arg != "--no-check");
    let ran = scene.home.run(&args).expect(1);
    assert_eq!(ran.json()["verdict"], "refused");
    assert!(ran.err.contains("nothing was sent"), "{}", ran.err);
    assert_eq!(scene.service.requests(), before);
}

#[test]
fn what_the_account_has_already_is_not_sent_again() {
    let scene = Scene::new();
    scene.upload().expect(0);
    let ran = scene.upload().expect(0);
    assert!(ran.err.contains("nothing is sent"), "{}", ran.err);
    assert_eq!(ran.json()["status"], "available");
    assert_eq!(scene.service.images(), 2);
    assert_eq!(scene.service.uploads().len(), 1);
    assert_eq!(scene.states(), 0);
}

#[test]
fn a_sparse_disk_is_sent_compact_and_continued_so() {
    let mut scene = Scene::new();
    let mut disk = images::raw();
    let noise = images::noise(700_000);
    disk[1_100_000..1_800_000].copy_from_slice(&noise);
    fs::write(&scene.image, &disk).unwrap();
    let compact = |scene: &Scene| {
        let mut args = scene.args();
        args.push("--compact");
        scene.home.abbild(&args)
    };
    scene.service.fault(Fault::StallAt(300_000));
    let mut command = compact(&scene);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    scene
        .service
        .wait_for_bytes(300_000, Duration::from_secs(20));
    kill_process(Pid::from_child(&child), Signal::KILL).unwrap();
    scene.service.fault(Fault::None);
    Ran::new(child.wait_with_output().unwrap());
    // What was begun is continued, also without the option.
    let ran = scene.upload().expect(0);
    assert!(ran.err.contains("compacted: 2.0 MiB"), "{}", ran.err);
    assert!(ran.err.contains("continuing at"), "{}", ran.err);
    assert_eq!(scene.service.patches(), [0, 300_000]);
    let sent = scene.service.uploads().remove(0);
    assert!(sent.len() < 1_100_000, "{}", sent.len());
    assert_eq!(&sent[..4], b"QFI\xfb");
    // The same content is known in any other form.
    scene.image = scene.home.0.path().join("image.qcow2");
    fs::write(&scene.image, &sent).unwrap();
    let ran = scene.upload().expect(0);
    assert!(ran.err.contains("nothing is sent"), "{}", ran.err);
}
