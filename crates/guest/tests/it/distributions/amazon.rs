//! Amazon Linux 2023, the image for KVM.

use abbild_guest::{Outcome, RuleId};

use super::{STAGES, assert_in_order, cloud_cfg, cloud_init, systemd};
use crate::tree::{ELF_X86_64, Guest, commands, place, says};

/// cloud-init 22.2.2 for Python 3.9 (docs.aws.amazon.com/linux/al2023/ug/cloud-init.html) with
/// `02_amazon-onprem.cfg` of cloud-init-cfg-onprem; systemd-networkd (…/ug/networking-service.html);
/// sshd.service as in Fedora.
fn amazon() -> Guest {
    let guest = systemd(
        "NAME=\"Amazon Linux\"\nVERSION=\"2023\"\nID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\"\nPRETTY_NAME=\"Amazon Linux 2023.8.20250721\"\nSUPPORT_END=\"2029-06-30\"\n",
    );
    cloud_init(&guest, "usr/lib/python3.9/site-packages", "22.2.2", STAGES);
    guest
        .file(
            "etc/cloud/cloud.cfg",
            cloud_cfg("ec2-user", "/bin/bash", true, ""),
        )
        .file(
            "etc/cloud/cloud.cfg.d/02_amazon-onprem.cfg",
            "datasource_list: [ NoCloud, AltCloud, ConfigDrive, OVF, VMware, None ]\ndisable_vmware_customization: false\n",
        )
        .file("usr/bin/growpart", "#!/bin/sh\n")
        .file("usr/sbin/resize2fs", ELF_X86_64)
        .file("usr/sbin/ip", ELF_X86_64)
        .file("usr/sbin/sshd", ELF_X86_64)
        .enable("sshd.service", "multi-user.target");
    guest
}

#[test]
fn amazon_for_kvm() {
    let guest = amazon();
    assert_in_order(&guest);
    let report = guest.report();
    assert_eq!(says(&report, RuleId::DatasourceOrder).0, Outcome::Warning);
    assert_eq!(
        place(&report, RuleId::DatasourceOrder),
        (
            "/etc/cloud/cloud.cfg.d/02_amazon-onprem.cfg".into(),
            Some(1)
        )
    );
    let available = &report.facts.cloud_init.renderers.available;
    assert_eq!(available[0].value, "networkd");
    assert_eq!(
        report.facts.cloud_init.default_user.as_ref().unwrap().value,
        "ec2-user"
    );
}

/// The image for EC2 asks nobody else (`cloud-init-cfg-ec2`).
#[test]
fn amazon_for_ec2_will_not_find_its_data() {
    let guest = amazon();
    guest
        .remove("etc/cloud/cloud.cfg.d/02_amazon-onprem.cfg")
        .file(
            "etc/cloud/cloud.cfg.d/02_amazon-ec2.cfg",
            "datasource_list: [ Ec2, None ]\n",
        );
    let report = guest.report();
    assert_eq!(
        says(&report, RuleId::DatasourceOrder).1,
        "ConfigDrive is not asked: Ec2, None"
    );
    assert_eq!(
        commands(&report, RuleId::DatasourceOrder)[0],
        "echo 'datasource_list: [ ConfigDrive, None ]' > /etc/cloud/cloud.cfg.d/99-datasource.cfg"
    );
}
