//! A machine's consoles: who sees them, who types, and what opens them. The image has no operating
//! system, but a boot sector that waits; the BIOS says on the serial line what it does, and starts again
//! at Ctrl-Alt-Del.

use std::net::TcpStream;
use std::time::Duration;

use abbild_api::ConsoleNotice;
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest as _;
use tungstenite::{Error, Message, WebSocket};

use crate::service::{Service, body, raw_disk, wait_for};

/// A boot sector that lets interrupts come: `sti`, `hlt`, and again.
const WAIT: [u8; 4] = [0xfb, 0xf4, 0xeb, 0xfd];

/// A machine whose boot sector waits.
fn machine(service: &Service) -> i64 {
    let mut disk = raw_disk(4, b"x");
    disk[..WAIT.len()].copy_from_slice(&WAIT);
    let image = service.import("one", "hal1", &disk);
    let request = json!({
        "name": "web", "size": "s-1vcpu-512mb-10gb", "image": image["id"], "region": "hal1",
    });
    let answer = service.call("POST", "/v2/droplets", &request);
    let id = body(&answer)["droplet"]["id"].as_i64().unwrap();
    wait_for(|| {
        let vm = service.json(&format!("/v2/droplets/{id}"))["droplet"].clone();
        (vm["status"] == "active" && vm["locked"] == false).then_some(())
    });
    id
}

/// Opens the WebSocket at `path`; the status of the refusal if there is one.
fn open(service: &Service, path: &str, token: Option<&str>) -> Result<WebSocket<TcpStream>, u16> {
    let address = service.url.strip_prefix("http://").unwrap();
    let stream = TcpStream::connect(address).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut request = format!("ws://{address}{path}")
        .into_client_request()
        .unwrap();
    if let Some(token) = token {
        let proof = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", proof);
    }
    match tungstenite::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(Error::Http(answer))) => {
            Err(answer.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

fn notice(socket: &mut WebSocket<TcpStream>) -> ConsoleNotice {
    loop {
        if let Message::Text(text) = socket.read().unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

fn output(socket: &mut WebSocket<TcpStream>, wanted: &str) {
    let mut seen = String::new();
    while !seen.contains(wanted) {
        if let Message::Binary(bytes) = socket.read().unwrap() {
            seen.push_str(&String::from_utf8_lossy(&bytes));
        }
    }
}

fn closed(socket: &mut WebSocket<TcpStream>) {
    while !matches!(socket.read(), Ok(Message::Close(_)) | Err(_)) {}
}

/// A viewer of a screen, which speaks RFB (RFC 6143).
struct Screen {
    socket: WebSocket<TcpStream>,
    received: Vec<u8>,
}

impl Screen {
    /// Opens it by a ticket and begins (sections 7.1 to 7.3), wanting to be the only viewer.
    fn open(service: &Service, path: &str) -> Self {
        const VERSION: &[u8] = b"RFB 003.008\n";
        let mut screen = Self {
            socket: open(service, path, None).unwrap(),
            received: Vec::new(),
        };
        assert_eq!(screen.read(12), VERSION);
        screen.write(VERSION);
        assert_eq!(screen.read(2), [1, 1], "no password");
        screen.write(&[1]);
        assert_eq!(screen.read(4), [0; 4], "accepted");
        screen.write(&[0]);
        let start = screen.read(24);
        assert_ne!(start[..2], [0, 0], "it has a width");
        screen.read(usize::from(start[23]));
        screen
    }

    fn write(&mut self, bytes: &[u8]) {
        self.socket.send(Message::binary(bytes.to_vec())).unwrap();
    }

    fn read(&mut self, len: usize) -> Vec<u8> {
        while self.received.len() < len {
            match self.socket.read().unwrap() {
                Message::Binary(more) => self.received.extend_from_slice(&more),
                other => panic!("RFB has no {other:?}"),
            }
        }
        self.received.drain(..len).collect()
    }
}

fn post(service: &Service, id: i64, what: &str, body: &Value) -> crate::service::Answer {
    service.call("POST", &format!("/v2/droplets/{id}/console/{what}"), body)
}

#[test]
fn several_see_the_console_and_one_types() {
    let service = Service::start();
    let id = machine(&service);
    let path = format!("/v2/droplets/{id}/console");
    // A BIOS that still looks for disks hears no keys.
    wait_for(|| {
        let log = service.get(&format!("{path}/log"));
        log.body().contains("Booting from").then_some(())
    });
    let token = Some(service.token.as_str());
    let mut first = open(&service, &path, token).unwrap();
    let ConsoleNotice::Keyboard {
        yours: true,
        holder,
    } = notice(&mut first)
    else {
        panic!("whoever comes first has the keyboard");
    };
    let mut watcher = open(&service, &format!("{path}?mode=watch"), token).unwrap();
    let mut second = open(&service, &path, token).unwrap();
    let taken = |yours| ConsoleNotice::Keyboard {
        yours,
        holder: holder.clone(),
    };
    assert_eq!(notice(&mut second), taken(true));
    assert_eq!(notice(&mut first), taken(false));
    assert_eq!(notice(&mut watcher), taken(false));
    assert_eq!(
        open(&service, &format!("{path}?mode=x"), token).unwrap_err(),
        400
    );

    // The machine starts again, which all of them see.
    let unknown = post(&service, id, "keys", &json!({"keys": ["ctrl", "del"]}));
    assert_eq!(unknown.status(), 422);
    assert!(
        unknown.body().contains("there is no key `del`"),
        "{}",
        unknown.body()
    );
    assert_eq!(
        post(&service, id, "keys", &json!({"keys": []})).status(),
        422
    );
    let pressed = post(
        &service,
        id,
        "keys",
        &json!({"keys": ["ctrl", "alt", "delete"]}),
    );
    assert_eq!(pressed.status(), 204, "{}", pressed.body());
    for viewer in [&mut first, &mut second, &mut watcher] {
        output(viewer, "SeaBIOS");
    }

    // Nobody has the service keep more of what is typed than somebody pastes.
    let _ = second.send(Message::binary(vec![b'x'; 1 << 20]));
    closed(&mut second);
    let action = json!({"type": "power_off"});
    service.call("POST", &format!("/v2/droplets/{id}/actions"), &action);
    closed(&mut first);
    closed(&mut watcher);
    wait_for(|| (open(&service, &path, token).err() == Some(409)).then_some(()));
    let off = post(&service, id, "keys", &json!({"keys": ["a"]}));
    assert_eq!(off.status(), 409, "{}", off.body());
}

#[test]
fn a_ticket_opens_its_console_once() {
    let service = Service::start();
    let id = machine(&service);
    let ticket = |kind: &str| {
        let answer = post(&service, id, "tickets", &json!({"kind": kind}));
        assert_eq!(answer.status(), 201, "{}", answer.body());
        assert_eq!(answer.headers()["cache-control"], "no-store");
        body(&answer)["ticket"]["path"].as_str().unwrap().to_owned()
    };
    let screen = ticket("vnc");
    let mut first = Screen::open(&service, &screen);
    assert_eq!(open(&service, &screen, None).unwrap_err(), 401, "twice");

    // Whoever comes later sends nobody away.
    let second = Screen::open(&service, &ticket("vnc"));
    first.write(&[3, 0, 0, 0, 0, 0, 0, 16, 0, 16]);
    assert_eq!(first.read(1), [0], "a part of the screen");
    drop(second);

    // A ticket is for one console of one machine.
    let serial = ticket("serial");
    let (_, secret) = serial.split_once('=').unwrap();
    let other = format!("/v2/droplets/{id}/console/vnc?ticket={secret}");
    assert_eq!(open(&service, &other, None).unwrap_err(), 401);
    let other = serial.replace(&format!("/{id}/"), "/4711/");
    assert_eq!(open(&service, &other, None).unwrap_err(), 401);
    open(&service, &serial, None).unwrap();
    let nobody = format!("/v2/droplets/{id}/console");
    assert_eq!(open(&service, &nobody, None).unwrap_err(), 401);
    let kind = post(&service, id, "tickets", &json!({"kind": "braille"}));
    assert_eq!(kind.status(), 422, "{}", kind.body());
}
