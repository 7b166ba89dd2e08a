//! `image-format`: the file is an image in a supported format.
//!
//! An image that the disk layer refuses never gets as far as facts; [`refused`] turns that error
//! into this finding.

use abbild_disk::{Error, ErrorKind};

use super::{Judgement, Rule, remedy};
use crate::facts::{Evidence, Facts};
use crate::report::{Context, Message, Place, Remedy, RuleId};
use crate::text::clean;

pub(super) struct ImageFormat;

impl Rule for ImageFormat {
    fn id(&self) -> RuleId {
        RuleId::ImageFormat
    }

    fn judge(&self, facts: &Facts, _: &Context) -> Judgement {
        let container = &facts.container;
        let Some(format) = &container.format else {
            return Judgement::unknown(Message::new("not-checked-no-image"));
        };
        let message = match container.layers.is_empty() {
            true => Message::new("image-format-plain"),
            false => {
                Message::new("image-format-compressed").with("layers", container.layers.join(", "))
            }
        };
        Judgement::met(message.with("format", format))
            .seen(container.warnings.iter().map(Evidence::text))
    }
}

/// The finding on an image that could not be opened.
pub(crate) fn refused(error: &Error) -> Judgement {
    let kind = match error.kind() {
        ErrorKind::Io => "io",
        ErrorKind::NotRecognised => "not-recognised",
        ErrorKind::Unsupported => "unsupported",
        ErrorKind::Corrupt => "corrupt",
        _ => "refused",
    };
    let message = Message::new("image-format-refused")
        .with("code", error.code())
        .with("kind", kind)
        .with("detail", clean(error.to_string()));
    Judgement::not_met(message)
        .seen([super::refusal(error)])
        .cure(remedies(error))
}

fn remedies(error: &Error) -> Vec<Remedy> {
    match error.code() {
        "backing-file" | "data-file" => {
            let command = "qemu-img convert -O qcow2 IMAGE NEW.qcow2";
            return vec![remedy::host("image-format-remedy-flatten", [command])];
        }
        "marked-corrupt" => {
            let command = "qemu-img check -r all IMAGE";
            return vec![remedy::host("image-format-remedy-repair", [command])];
        }
        _ => {}
    }
    let Some(hint) = error.hint() else {
        return Vec::new();
    };
    // The disk layer marks commands in its hints with backticks.
    let commands: Vec<String> = hint
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|command| command.contains(' '))
        .map(str::to_owned)
        .collect();
    let action = if commands
        .iter()
        .any(|command| command.starts_with("qemu-img convert"))
    {
        "convert"
    } else if hint.starts_with("unpack") {
        "unpack"
    } else {
        "other"
    };
    // The commands are shown by themselves.
    let words = match hint.split_once(": `") {
        Some((words, _)) if !commands.is_empty() => words,
        _ => hint,
    };
    vec![Remedy {
        place: Place::Host,
        text: Message::new("image-format-remedy-hint")
            .with("action", action)
            .with("hint", clean(words)),
        commands,
    }]
}
