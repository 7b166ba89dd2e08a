//! `operating-system`: a Linux or BSD system is inside.

use super::{Judgement, Rule, remedy, unreadable};
use crate::facts::{Content, Fact, Facts};
use crate::report::{Context, Message, RuleId};

pub(super) struct OperatingSystem;

impl Rule for OperatingSystem {
    fn id(&self) -> RuleId {
        RuleId::OperatingSystem
    }

    fn judge(&self, facts: &Facts, _: &Context) -> Judgement {
        if let Some(os) = &facts.os {
            let name = os.name.as_deref().unwrap_or(&os.family);
            let message = match &facts.architecture {
                Some(architecture) => {
                    Message::new("operating-system-found").with("architecture", &architecture.value)
                }
                None => Message::new("operating-system-found-plain"),
            };
            let message = message.with("name", name);
            return Judgement::met(message).seen(os.evidence.clone());
        }
        if let Some(content) = &facts.content {
            return instead(content);
        }
        let choose = || {
            remedy::host(
                "operating-system-remedy",
                ["virt-filesystems -a IMAGE --long --human-readable"],
            )
        };
        match &facts.root {
            None => Judgement::not_met(Message::new("operating-system-none")).cure([choose()]),
            Some(root) if matches!(root.filesystem.as_str(), "ntfs" | "bitlocker") => {
                Judgement::not_met(Message::new("operating-system-windows"))
                    .seen(root.evidence.clone())
                    .cure([choose()])
            }
            Some(root) if root.readable && unreadable(facts).is_none() => {
                Judgement::not_met(Message::new("operating-system-unnamed"))
                    .seen(root.evidence.clone())
                    .cure([choose()])
            }
            Some(_) => unreadable(facts)
                .unwrap_or_else(|| Judgement::unknown(Message::new("not-checked-no-root"))),
        }
    }
}

/// The judgement on a disk that holds `content` and no system.
fn instead(content: &Fact<Content>) -> Judgement {
    let (found, cure) = match content.value {
        Content::Windows => (
            "operating-system-windows",
            "operating-system-remedy-supported",
        ),
        Content::Dos => ("operating-system-dos", "operating-system-remedy-supported"),
        Content::Installer => (
            "operating-system-installer",
            "operating-system-remedy-install",
        ),
        Content::Empty => ("operating-system-empty", "operating-system-remedy-export"),
    };
    Judgement::not_met(Message::new(found))
        .seen(content.evidence.clone())
        .cure([remedy::host(cure, Vec::<String>::new())])
}
