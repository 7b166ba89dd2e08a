//! Machines on a bridge, as their owners see them, and what is left of them. The service, QEMU and
//! everything else run in a network namespace.

use serde_json::json;

use crate::droplet_actions::{done, machine, post, refused, show, until};
use crate::forwards::completed;
use crate::namespace::{in_namespace, make_bridge, sh};
use crate::service::{Service, body, raw_disk, wait_for};

const SETTINGS: &str = r#"
[vm.network]
mode = "bridge"
bridge = "br0"
ipv4 = "10.20.0.0/24"
first = "10.20.0.5"
last = "10.20.0.6"
gateway = "10.20.0.1"
ipv6 = "fd00:20::/64"
ipv6_gateway = "fd00:20::1"
"#;

/// Ports of machines, with what the kernel says of them.
fn ports() -> Vec<String> {
    let links = sh("ip -oneline link show type tun");
    links.lines().map(str::to_owned).collect()
}

fn dnsmasq(service: &Service) -> Option<i32> {
    let pid = std::fs::read_to_string(service.data().join("dnsmasq/dnsmasq.pid")).ok()?;
    let pid = pid.trim().parse().ok()?;
    std::fs::read(format!("/proc/{pid}/cmdline"))
        .is_ok_and(|line| !line.is_empty())
        .then_some(pid)
}

#[test]
fn machines_on_a_bridge_have_addresses_of_their_own() {
    in_namespace(
        "networks::machines_on_a_bridge_have_addresses_of_their_own",
        life,
    );
}

fn life() {
    make_bridge();
    let link = sh("ip -oneline link show br0");
    let address = link.split("link/").nth(1).unwrap()[..23].to_owned();
    let mut service = Service::start_with(SETTINGS);
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let first = machine(&service, &image, "one");
    let second = machine(&service, &image, "two");
    let networks = show(&service, first)["networks"].clone();
    assert_eq!(
        networks["v4"],
        json!([{
            "ip_address": "10.20.0.5", "netmask": "255.255.255.0", "gateway": "10.20.0.1",
            "type": "public",
        }])
    );
    let v6 = &networks["v6"][0];
    assert!(v6["ip_address"].as_str().unwrap().starts_with("fd00:20::4"));
    assert_eq!(v6["netmask"], 64);
    assert_eq!(v6["gateway"], "fd00:20::1");
    assert_eq!(
        show(&service, second)["networks"]["v4"][0]["ip_address"],
        "10.20.0.6"
    );
    assert_eq!(show(&service, first)["abbild"]["ssh_port"], 22);
    let present = ports();
    assert_eq!(present.len(), 2);
    assert!(
        sh("ip link show br0").contains(&address),
        "the bridge's own address has changed"
    );
    // QEMU holds each, so there is a carrier.
    assert!(
        present
            .iter()
            .all(|port| port.contains("master br0") && port.contains("LOWER_UP"))
    );

    let answer = post(&service, first, &json!({"type": "forward", "port": 8080}));
    assert!(refused(&answer).contains("all ports of 10.20.0.5"));
    let request = json!({
        "name": "three", "size": "s-1vcpu-512mb-10gb", "image": image["id"], "region": "hal1",
    });
    let answer = service.call("POST", "/v2/droplets", &request);
    assert_eq!(answer.status(), 422);
    assert!(
        body(&answer)["message"]
            .as_str()
            .unwrap()
            .contains("all addresses")
    );

    // Machines stay connected while the service is away, and when it is back.
    let server = dnsmasq(&service).unwrap();
    service.stop();
    assert_eq!(dnsmasq(&service), Some(server));
    assert_eq!(ports(), present);
    // As after a crash in the middle of a deletion.
    sh("ip tuntap add dev ab0000000000 mode tap");
    let node = std::fs::read_to_string(service.data().join("node")).unwrap();
    sh(&format!(
        "ip link set ab0000000000 alias abbild/{node}/hal1/4711/0"
    ));
    sh("nft flush ruleset");
    service.resume();
    assert_eq!(ports(), present, "what is left over goes, and nothing else");
    assert_eq!(dnsmasq(&service), Some(server));
    wait_for(|| sh("nft list ruleset").contains("10.20.0.6").then_some(()));

    // As after a restart of the host.
    completed(&service, first, &json!({"type": "power_off"}));
    let name = present[0].split(": ").nth(1).unwrap();
    sh(&format!("ip link delete {name}"));
    completed(&service, first, &json!({"type": "power_on"}));
    assert_eq!(ports().len(), 2);
    assert_eq!(show(&service, first)["networks"], networks);

    for id in [first, second] {
        service.call("DELETE", &format!("/v2/droplets/{id}"), &json!(null));
    }
    wait_for(|| ports().is_empty().then_some(()));
    wait_for(|| dnsmasq(&service).is_none().then_some(()));
    assert!(!sh("nft list ruleset").contains("10.20.0."));

    // The address and all else is free for the next, once both machines are gone.
    wait_for(|| {
        let actions = body(&service.get("/v2/actions?per_page=200"));
        let actions = actions["actions"].as_array().unwrap().clone();
        let destroyed = actions
            .iter()
            .filter(|action| action["type"] == "destroy" && action["status"] == "completed");
        (destroyed.count() == 2).then_some(())
    });
    let third = wait_for(|| {
        let answer = service.call("POST", "/v2/droplets", &request);
        (answer.status() == 202).then(|| body(&answer)["droplet"]["id"].as_i64().unwrap())
    });
    until(&service, third, "active");
    let again = show(&service, third)["networks"].clone();
    assert_eq!(again["v4"], networks["v4"]);
    assert_ne!(again["v6"], networks["v6"]);
    service.call("DELETE", &format!("/v2/droplets/{third}"), &json!(null));
    wait_for(|| ports().is_empty().then_some(()));
}

#[test]
fn a_machine_whose_network_is_gone_says_so() {
    in_namespace("networks::a_machine_whose_network_is_gone_says_so", moved);
}

fn moved() {
    make_bridge();
    let mut service = Service::start_with(SETTINGS);
    let image = service.import("one", "hal1", &raw_disk(4, b"x"));
    let id = machine(&service, &image, "one");
    completed(&service, id, &json!({"type": "power_off"}));
    service.stop();
    service.set("");
    service.resume();
    assert_eq!(dnsmasq(&service), None, "nobody asks for it any more");
    let action = done(&service, id, &json!({"type": "power_on"}));
    assert_eq!(action["status"], "errored");
    let reason = action["abbild"]["reason"].as_str().unwrap();
    assert!(reason.contains("10.20.0.5"), "{reason}");
    assert_eq!(
        show(&service, id)["networks"]["v4"][0]["gateway"],
        json!(null)
    );
    // Others are in the network of the mode that there is now.
    let other = machine(&service, &image, "two");
    let address = show(&service, other)["networks"]["v4"][0]["ip_address"].clone();
    assert!(address.as_str().unwrap().starts_with("127."));
    for id in [id, other] {
        service.call("DELETE", &format!("/v2/droplets/{id}"), &json!(null));
    }
    wait_for(|| ports().is_empty().then_some(()));
}
