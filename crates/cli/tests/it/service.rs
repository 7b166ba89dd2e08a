//! A service in this process: uploads, images and one machine with a console, as far as the
//! command line needs them, and faults that a real one would show only by bad luck.

use std::collections::BTreeMap;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// The only token that is known.
pub const TOKEN: &str = "abbild_test_token";

/// What goes wrong next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    /// Close the connection, once, when an upload has so many bytes.
    DropAt(usize),
    /// Read no further when an upload has so many bytes.
    StallAt(usize),
    /// Give the image up when its upload has so many bytes.
    RefuseAt(usize),
    /// Let the import fail after the last byte.
    FailImport,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    /// Take connections and close them.
    away: bool,
    away_after_drop: bool,
    requests: usize,
    next: i64,
    uploads: BTreeMap<String, (Vec<u8>, usize)>,
    images: BTreeMap<i64, Value>,
    /// Offsets of all PATCH requests.
    patches: Vec<usize>,
    /// What was typed into the console.
    typed: Vec<u8>,
}

impl State {
    /// Whether the bytes that `image` was made from have this digest.
    fn is_of(&self, image: &Value, digest: &str) -> bool {
        let upload = self
            .uploads
            .get(image["abbild"]["upload"].as_str().unwrap());
        upload.is_some_and(|(bytes, _)| {
            digest == format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
        })
    }
}

/// The service; its threads end with the process.
pub struct Service {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl Service {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(Mutex::new(State {
            fault: Fault::None,
            away: false,
            away_after_drop: false,
            requests: 0,
            next: 1,
            uploads: BTreeMap::new(),
            images: BTreeMap::new(),
            patches: Vec::new(),
            typed: Vec::new(),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&shared);
                thread::spawn(move || Connection { stream, shared }.serve());
            }
        });
        Self { url, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    pub fn go_away_after_drop(&self) {
        self.state().away_after_drop = true;
    }

    pub fn come_back(&self) {
        let mut state = self.state();
        state.away = false;
        state.away_after_drop = false;
    }

    /// Loses all uploads, as if they had expired.
    pub fn forget(&self) {
        self.state().uploads.clear();
    }

    pub fn add_image(&self, id: i64, name: &str) {
        self.state().images.insert(id, image(id, name, "gone"));
    }

    pub fn requests(&self) -> usize {
        self.state().requests
    }

    pub fn images(&self) -> usize {
        self.state().images.len()
    }

    pub fn uploads(&self) -> Vec<Vec<u8>> {
        self.state()
            .uploads
            .values()
            .map(|(bytes, _)| bytes.clone())
            .collect()
    }

    pub fn patches(&self) -> Vec<usize> {
        self.state().patches.clone()
    }

    pub fn typed(&self) -> Vec<u8> {
        self.state().typed.clone()
    }

    #[track_caller]
    pub fn wait_for_bytes(&self, bytes: usize, limit: Duration) {
        let end = Instant::now() + limit;
        while !self.uploads().iter().any(|upload| upload.len() >= bytes) {
            assert!(Instant::now() < end, "the bytes did not arrive");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

/// A request without its body.
struct Request {
    method: String,
    path: String,
    headers: BTreeMap<String, String>,
}

impl Request {
    fn number(&self, header: &str) -> usize {
        self.headers
            .get(header)
            .map_or(0, |value| value.parse().unwrap())
    }
}

struct Answer {
    status: u16,
    headers: String,
    body: String,
}

impl Answer {
    fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            headers: String::new(),
            body: body.to_string(),
        }
    }

    fn empty(status: u16, headers: String) -> Self {
        Self {
            status,
            headers,
            body: String::new(),
        }
    }

    fn not_found() -> Self {
        let message = "no such\u{1b} page";
        Self::json(
            404,
            &json!({"id": "not_found", "message": message, "request_id": "req-1"}),
        )
    }
}

struct Connection {
    stream: TcpStream,
    shared: Arc<Mutex<State>>,
}

impl Connection {
    fn serve(self) {
        if self.is_console() {
            return self.console();
        }
        let mut reader = BufReader::new(self.stream.try_clone().unwrap());
        loop {
            if self.state().away {
                return;
            }
            let Some(request) = read_request(&mut reader) else {
                return;
            };
            let Some(answer) = self.answer(&request, &mut reader) else {
                return;
            };
            let head = format!(
                "HTTP/1.1 {} Whatever\r\ncontent-length: {}\r\n{}\r\n",
                answer.status,
                answer.body.len(),
                answer.headers
            );
            // A 204 has no length, and a HEAD no body.
            let head = match answer.status {
                204 => head.replace("content-length: 0\r\n", ""),
                _ => head,
            };
            let body = match request.method.as_str() {
                "HEAD" => "",
                _ => &answer.body,
            };
            let sent = (&self.stream)
                .write_all(head.as_bytes())
                .and_then(|()| (&self.stream).write_all(body.as_bytes()));
            if sent.is_err() {
                return;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap()
    }

    /// `None` closes the connection.
    fn answer(&self, request: &Request, body: &mut impl std::io::Read) -> Option<Answer> {
        self.state().requests += 1;
        if request.headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
            let message = "Unable to authenticate you.";
            return Some(Answer::json(
                401,
                &json!({"id": "unauthorized", "message": message}),
            ));
        }
        if let Some(id) = request.path.strip_prefix("/v2/uploads/") {
            return self.upload(request, id, body);
        }
        let mut text = vec![0; request.number("content-length")];
        body.read_exact(&mut text).ok()?;
        let path = request.path.split('?').next().unwrap();
        let answer = match (request.method.as_str(), path) {
            ("GET", "/v2/account") => Answer::json(200, &account()),
            ("POST", "/v2/uploads") => self.create_upload(request),
            ("POST", "/v2/images") => self.create_image(&serde_json::from_slice(&text).unwrap()),
            ("GET", "/v2/images") => {
                let state = self.state();
                let digest = request.path.split_once("digest=").map(|(_, digest)| digest);
                let images = state.images.values();
                let images = images.filter(|image| match digest {
                    Some(digest) => image["status"] == "available" && state.is_of(image, digest),
                    None => true,
                });
                let images: Vec<_> = images.cloned().collect();
                let total = images.len();
                let list = json!({"images": images, "links": {}, "meta": {"total": total}});
                Answer::json(200, &list)
            }
            ("GET", "/v2/droplets") => {
                let list = json!({"droplets": [droplet()], "links": {}, "meta": {"total": 1}});
                Answer::json(200, &list)
            }
            ("GET", "/v2/droplets/9/console/log") => Answer {
                status: 200,
                headers: String::new(),
                body: "earlier output\r\n".into(),
            },
            ("DELETE", path) if path.starts_with("/v2/images/") => {
                let id = path.trim_start_matches("/v2/images/").parse().unwrap();
                self.state().images.remove(&id);
                Answer::empty(204, String::new())
            }
            ("GET", path) => match path.strip_prefix("/v2/images/").map(str::parse) {
                Some(Ok(id)) => self.show_image(id),
                _ => Answer::not_found(),
            },
            _ => Answer::not_found(),
        };
        Some(answer)
    }

    fn create_upload(&self, request: &Request) -> Answer {
        let mut state = self.state();
        let id = format!("upload-{}", state.next);
        state.next += 1;
        let length = request.number("upload-length");
        state.uploads.insert(id.clone(), (Vec::new(), length));
        Answer::empty(201, format!("location: /v2/uploads/{id}\r\n"))
    }

    fn create_image(&self, body: &Value) -> Answer {
        let mut state = self.state();
        let id = state.next;
        state.next += 1;
        let name = body["name"].as_str().unwrap();
        let mut created = image(id, name, body["upload"].as_str().unwrap_or_default());
        if body["digest"].is_string() {
            created["status"] = "pending".into();
            created["abbild"]["stage"] = "storing".into();
        }
        state.images.insert(id, created.clone());
        Answer::json(202, &json!({"image": created}))
    }

    /// Bytes arrive, then it is checked once, then it is available.
    fn show_image(&self, id: i64) -> Answer {
        let mut state = self.state();
        let fails = state.fault == Fault::FailImport;
        let Some(image) = state.images.get(&id).cloned() else {
            return Answer::not_found();
        };
        let upload = image["abbild"]["upload"].as_str().unwrap();
        let complete = state
            .uploads
            .get(upload)
            .is_some_and(|(bytes, length)| bytes.len() == *length);
        let mut next = image.clone();
        match next["status"].as_str().unwrap() {
            "NEW" if complete => {
                next["status"] = "pending".into();
                next["abbild"]["stage"] = "checking".into();
            }
            "pending" if fails => fail(&mut next, "no operating system"),
            "pending" => {
                next["status"] = "available".into();
                next["regions"] = json!(["hal1"]);
                next["abbild"]["stage"] = "available".into();
                next["abbild"]["regions"][0]["status"] = "available".into();
            }
            _ => {}
        }
        state.images.insert(id, next);
        Answer::json(200, &json!({"image": image}))
    }

    fn upload(&self, request: &Request, id: &str, body: &mut impl std::io::Read) -> Option<Answer> {
        let have = self.state().uploads.get(id).map(|(bytes, _)| bytes.len());
        let Some(have) = have else {
            return Some(Answer::not_found());
        };
        match request.method.as_str() {
            "HEAD" => {}
            "DELETE" => {
                self.state().uploads.remove(id);
                return Some(Answer::empty(204, String::new()));
            }
            "PATCH" => {
                assert_eq!(
                    request.headers["content-type"],
                    "application/offset+octet-stream"
                );
                assert_eq!(request.headers["tus-resumable"], "1.0.0");
                assert_eq!(request.number("upload-offset"), have, "a wrong offset");
                self.state().patches.push(have);
                assert_eq!(request.headers["expect"], "100-continue");
                (&self.stream)
                    .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                    .ok()?;
                self.receive(id, request.number("content-length"), body)?;
            }
            other => panic!("{other} to an upload"),
        }
        let have = self.state().uploads[id].0.len();
        let status = if request.method == "HEAD" { 200 } else { 204 };
        Some(Answer::empty(status, format!("upload-offset: {have}\r\n")))
    }

    fn receive(&self, id: &str, mut left: usize, body: &mut impl std::io::Read) -> Option<()> {
        let mut buffer = vec![0; 8192];
        while left > 0 {
            let (fault, have) = {
                let state = self.state();
                (state.fault, state.uploads.get(id)?.0.len())
            };
            let stop = match fault {
                Fault::DropAt(at) | Fault::StallAt(at) | Fault::RefuseAt(at) => at,
                Fault::None | Fault::FailImport => usize::MAX,
            };
            if have >= stop {
                return self.stop(fault);
            }
            let wanted = left.min(buffer.len()).min(stop - have);
            let read = body
                .read(&mut buffer[..wanted])
                .ok()
                .filter(|read| *read > 0)?;
            left -= read;
            self.state()
                .uploads
                .get_mut(id)?
                .0
                .extend_from_slice(&buffer[..read]);
        }
        Some(())
    }

    fn stop(&self, fault: Fault) -> Option<()> {
        match fault {
            Fault::StallAt(_) => {
                while self.state().fault == fault {
                    thread::sleep(Duration::from_millis(10));
                }
            }
            Fault::RefuseAt(_) => {
                let mut state = self.state();
                state
                    .images
                    .values_mut()
                    .for_each(|image| fail(image, "it is a \"VHD\""));
            }
            _ => {
                let mut state = self.state();
                state.fault = Fault::None;
                state.away = state.away_after_drop;
            }
        }
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        None
    }

    fn is_console(&self) -> bool {
        let mut head = [0; 32];
        let wanted = b"GET /v2/droplets/9/console HTTP";
        let read = self.stream.peek(&mut head).unwrap_or(0);
        head[..read].starts_with(wanted)
    }

    /// A console that repeats everything in capitals.
    fn console(self) {
        let mut socket = tungstenite::accept(self.stream.try_clone().unwrap()).unwrap();
        socket
            .send(tungstenite::Message::binary(b"login: ".to_vec()))
            .unwrap();
        while let Ok(message) = socket.read() {
            if let tungstenite::Message::Binary(bytes) = message {
                self.state().typed.extend_from_slice(&bytes);
                let echo = bytes.to_ascii_uppercase();
                socket.send(tungstenite::Message::binary(echo)).unwrap();
            }
        }
    }
}

fn read_request(reader: &mut impl std::io::BufRead) -> Option<Request> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split_whitespace();
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(": ") else {
            return Some(Request {
                method,
                path,
                headers,
            });
        };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
}

fn fail(image: &mut Value, reason: &str) {
    image["status"] = "deleted".into();
    image["error_message"] = reason.into();
    image["abbild"]["stage"] = "failed".into();
}

fn image(id: i64, name: &str, upload: &str) -> Value {
    json!({
        "id": id, "name": name, "type": "custom", "distribution": "Debian", "slug": null,
        "public": false, "regions": [], "created_at": "2026-01-01T00:00:00Z",
        "min_disk_size": 4, "size_gigabytes": 0.2, "description": "", "tags": [],
        "status": "NEW", "error_message": "",
        "abbild": {
            "stage": "receiving", "progress": null, "verdict": null, "findings": [],
            "digest": null, "format": null, "virtual_size": null, "upload": upload,
            "regions": [{"slug": "hal1", "status": "pending", "progress": null, "reason": null}]
        }
    })
}

fn account() -> Value {
    json!({"account": {
        "droplet_limit": 10, "floating_ip_limit": 0, "email": "me@example.org", "name": "me",
        "uuid": "u", "email_verified": true, "status": "active", "status_message": "",
        "team": {"uuid": "u", "name": "me"}
    }})
}

fn droplet() -> Value {
    let size = json!({
        "slug": "s-1", "memory": 1024, "vcpus": 1, "disk": 25, "transfer": 1.0,
        "price_monthly": 0.0, "price_hourly": 0.0, "regions": ["hal1"], "available": true,
        "description": ""
    });
    let region = json!({
        "slug": "hal1", "name": "Hallstadt", "features": [], "available": true, "sizes": ["s-1"]
    });
    json!({
        "id": 9, "name": "web", "memory": 1024, "vcpus": 1, "disk": 25, "locked": false,
        "status": "active", "kernel": null, "created_at": "2026-01-01T00:00:00Z", "features": [],
        "backup_ids": [], "next_backup_window": null, "snapshot_ids": [],
        "image": image(5, "debian", "gone"), "volume_ids": [], "size": size, "size_slug": "s-1",
        "networks": {"v4": [{
            "ip_address": "127.1.0.9", "netmask": "255.0.0.0", "gateway": null, "type": "public"
        }], "v6": []},
        "region": region, "tags": [], "vpc_uuid": "",
        "abbild": {
            "ssh_port": 22, "default_user": "debian", "acceleration": "tcg",
            "acceleration_note": null, "reason": null, "warnings": [],
            "console": {"path": "/v2/droplets/9/console", "log": "/v2/droplets/9/console/log"}
        }
    })
}
