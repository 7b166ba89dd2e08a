//! Ports of a machine's address that lead into its guest. The guest has no operating system, so nobody
//! answers there; but only the hypervisor lets one connect.

use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use serde_json::{Value, json};

use crate::droplet_actions::{done, machine, post, refused, show};
use crate::service::{Service, raw_disk};

fn address(service: &Service, id: i64) -> Ipv4Addr {
    let droplet = show(service, id);
    let address = droplet["networks"]["v4"][0]["ip_address"].as_str();
    address.unwrap().parse().unwrap()
}

pub fn completed(service: &Service, id: i64, action: &Value) {
    let action = done(service, id, action);
    assert_eq!(action["status"], "completed", "{action}");
}

fn is_open(address: Ipv4Addr, port: u16) -> bool {
    TcpStream::connect((address, port)).is_ok()
}

#[test]
fn ports_are_opened_and_closed_while_a_machine_runs_and_stay_when_it_is_started_again() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "web");
    let address = address(&service, id);
    assert_eq!(show(&service, id)["abbild"]["forwards"], json!([]));
    assert!(!is_open(address, 8080));

    completed(
        &service,
        id,
        &json!({"type": "forward", "port": 8080, "guest_port": 80}),
    );
    completed(
        &service,
        id,
        &json!({"type": "forward", "port": 5353, "protocol": "udp"}),
    );
    assert!(is_open(address, 8080));
    assert!(UdpSocket::bind((address, 5353)).is_err(), "QEMU has it");
    let forwards = json!([
        {"port": 8080, "guest_port": 80, "protocol": "tcp"},
        {"port": 5353, "guest_port": 5353, "protocol": "udp"},
    ]);
    assert_eq!(show(&service, id)["abbild"]["forwards"], forwards);

    completed(&service, id, &json!({"type": "power_cycle"}));
    assert!(is_open(address, 8080));
    completed(&service, id, &json!({"type": "power_off"}));
    assert!(!is_open(address, 8080));
    completed(&service, id, &json!({"type": "forward", "port": 8443}));
    completed(&service, id, &json!({"type": "unforward", "port": 8080}));
    completed(&service, id, &json!({"type": "power_on"}));
    assert!(is_open(address, 8443) && !is_open(address, 8080));

    completed(&service, id, &json!({"type": "unforward", "port": 8443}));
    completed(
        &service,
        id,
        &json!({"type": "unforward", "port": 5353, "protocol": "udp"}),
    );
    assert!(!is_open(address, 8443));
    assert_eq!(show(&service, id)["abbild"]["forwards"], json!([]));
}

#[test]
fn what_cannot_be_opened_is_refused_or_fails_with_the_reason() {
    let service = Service::start();
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "web");
    let forward =
        |port: u16, guest: u16| json!({"type": "forward", "port": port, "guest_port": guest});

    let ssh_port = show(&service, id)["abbild"]["ssh_port"].as_u64().unwrap();
    let answer = post(&service, id, &forward(ssh_port.try_into().unwrap(), 80));
    assert!(refused(&answer).contains("leads to port 22 of its guest"));
    assert!(refused(&post(&service, id, &forward(0, 80))).contains("1 to 65535"));
    let answer = post(&service, id, &json!({"type": "unforward", "port": 8080}));
    assert!(refused(&answer).contains("tcp port 8080"));

    completed(&service, id, &forward(8080, 80));
    // What is the case already is done at once; another aim is refused.
    completed(&service, id, &forward(8080, 80));
    assert!(refused(&post(&service, id, &forward(8080, 81))).contains("port 80 of the guest"));

    let other = TcpListener::bind((address(&service, id), 9000)).unwrap();
    let action = done(&service, id, &forward(9000, 90));
    assert_eq!(action["status"], "errored");
    let reason = action["abbild"]["reason"].as_str().unwrap();
    assert!(reason.contains("port 9000 of 127."), "{reason}");
    drop(other);
    completed(&service, id, &forward(9000, 90));
    assert!(is_open(address(&service, id), 9000));
}
