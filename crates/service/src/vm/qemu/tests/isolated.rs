//! A machine beside the customers': isolated, with a picture of its screen.

use super::*;
use crate::vm::network::free_port;

/// Machines beside the others are told apart from them by negative ids, for they have users of their own.
const PROBE: VmId = -1;

#[tokio::test]
async fn a_machine_beside_the_others_is_seen_and_swept_away() {
    let Some(host) = Host::new(9) else { return };
    let qemu = host.driver().await;
    let beside = qemu.beside("probes").unwrap();
    let spec = VmSpec {
        id: PROBE,
        network: Network::Isolated {
            port: free_port().unwrap(),
        },
        ..host.spec(1)
    };
    qemu.create(&host.spec(1)).await.unwrap();
    beside.create(&spec).await.unwrap();
    greeted(&beside, PROBE, 1).await;
    let log = beside.console_log(PROBE, 1 << 20).await.unwrap();
    assert_eq!(
        beside.console_log_from(PROBE, 0, 5).await.unwrap(),
        log[..5]
    );
    let end = log.len() as u64;
    let rest = beside.console_log_from(PROBE, end - 4, 100).await.unwrap();
    assert_eq!(rest, b"up\r\n");
    assert_eq!(
        beside.console_log_from(PROBE, end + 9, 1).await.unwrap(),
        b""
    );

    let png = beside.screenshot(PROBE).await.unwrap();
    assert!(png.starts_with(b"\x89PNG"), "{} bytes", png.len());
    // Its ports are not to be changed.
    let forward = Forward::new(8080, None, Protocol::Tcp);
    assert!(beside.forward(PROBE, forward).await.is_err());

    // A driver that comes later knows of it by its directory; half a machine is one as well.
    std::fs::create_dir(host.data().join("probes/-7.new")).unwrap();
    let later = host.driver().await.beside("probes").unwrap();
    later.delete_all().await.unwrap();
    assert_eq!(beside.status(PROBE).await.unwrap(), VmStatus::Absent);
    let left = std::fs::read_dir(host.data().join("probes")).unwrap();
    assert_eq!(left.count(), 0);
    assert_eq!(qemu.status(1).await.unwrap(), VmStatus::Running);
    let screenshot = later.screenshot(PROBE).await;
    assert!(matches!(screenshot, Err(VmError::Absent(PROBE))));
}
