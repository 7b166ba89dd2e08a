//! `support-end`: the makers of the system still maintain it, by os-release's `SUPPORT_END`
//! (os-release(5)), a date in the form `2026-11-25`.

use super::{Judgement, remedy};
use crate::facts::Facts;
use crate::report::{Context, Message};

pub(super) fn check(facts: &Facts, context: &Context) -> Option<Judgement> {
    let (today, os) = (context.today.as_deref()?, facts.os.as_ref()?);
    let end = os.support_end.as_ref()?;
    // Dates in this form have the order of their letters; anything else is no date.
    if !is_date(&end.value) || !is_date(today) || end.value.as_str() >= today {
        return None;
    }
    let name = os.name.as_deref().unwrap_or(&os.family);
    let message = Message::new("support-end-passed")
        .with("name", name)
        .with("date", &end.value);
    Some(
        Judgement::not_met(message)
            .seen(end.evidence.clone())
            .cure([remedy::host("support-end-remedy", Vec::<String>::new())]),
    )
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        })
}
