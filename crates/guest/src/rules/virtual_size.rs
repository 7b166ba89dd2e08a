//! `virtual-size`: the disk that the guest sees is within the operator's limit.

use abbild_disk::Error;

use super::{Judgement, Rule, remedy};
use crate::facts::{Evidence, Facts};
use crate::report::{Context, Limits, Message, Remedy, RuleId};
use crate::text::clean;

pub(super) struct VirtualSize;

impl Rule for VirtualSize {
    fn id(&self) -> RuleId {
        RuleId::VirtualSize
    }

    fn judge(&self, facts: &Facts, context: &Context) -> Judgement {
        let Some(size) = facts.container.virtual_size else {
            return Judgement::unknown(Message::new("not-checked-no-image"));
        };
        let limits = &context.limits;
        let within = size <= limits.max_virtual_size;
        let id = if within {
            "virtual-size-within"
        } else {
            "virtual-size-above"
        };
        let message = Message::new(id)
            .with("size_bytes", size.to_string())
            .with("limit_bytes", limits.max_virtual_size.to_string());
        let evidence = [Evidence::text(format!("{size}"))];
        if within {
            return Judgement::met(message).seen(evidence);
        }
        Judgement::not_met(message)
            .seen(evidence)
            .cure([shrink(facts, limits)])
    }
}

fn shrink(facts: &Facts, limits: &Limits) -> Remedy {
    let target = limits.max_virtual_size;
    let number = facts.root.as_ref().map_or(1, |root| root.partition.max(1));
    remedy::host(
        "virtual-size-remedy",
        [
            format!("qemu-img create -f qcow2 -o preallocation=metadata NEW.qcow2 {target}"),
            format!("virt-resize --shrink /dev/sda{number} IMAGE NEW.qcow2"),
        ],
    )
}

/// The finding on an image that was not opened because of its size.
pub(super) fn refused(error: &Error, facts: &Facts, context: &Context) -> Judgement {
    let limits = &context.limits;
    if facts.container.virtual_size.is_some() {
        return VirtualSize.judge(facts, context);
    }
    let message = Message::new("virtual-size-refused")
        .with("limit_bytes", limits.max_virtual_size.to_string())
        .with("detail", clean(error.message()));
    Judgement::not_met(message)
        .seen([super::refusal(error)])
        .cure([shrink(facts, limits)])
}
