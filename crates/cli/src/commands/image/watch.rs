//! `abbild image watch`: images as they change.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use abbild_api::{Id, Image, ImageOne};
use serde::Deserialize;

use super::wait::{is_final, show};
use super::{outcome, state};
use crate::args::WatchArgs;
use crate::client::{self, Client};
use crate::events::Events;
use crate::failure::{Failure, stopped};
use crate::interrupt::Interrupt;
use crate::names;
use crate::print::{self, clean};
use crate::progress::Steps;
use crate::session::Session;

/// An image that is no more.
#[derive(Debug, Deserialize)]
struct Gone {
    id: Id,
}

/// Follows one image to the end of its import, or all of them until Ctrl-C.
///
/// # Errors
/// If there is no such image, it failed, or the service is away for too long.
pub fn run(session: &Session, args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let client = Arc::new(session.client()?);
    let interrupt = Interrupt::watch()?;
    // Before the image is looked at, so that nothing is missed in between.
    let events = Events::follow(client.clone(), "image");
    if events.next(&interrupt)?.is_none() {
        return Err(stopped().into());
    }
    match &args.image {
        Some(image) => {
            let image = names::image(&client, image)?;
            one(session, &events, image, &interrupt)
        }
        None => all(session, &client, &events, &interrupt),
    }
}

fn one(
    session: &Session,
    events: &Events,
    mut image: Image,
    interrupt: &Interrupt,
) -> anyhow::Result<ExitCode> {
    let mut steps = Steps::new();
    while !is_final(&image) {
        show(&image, &mut steps);
        let Some(event) = events.next(interrupt)? else {
            return Err(stopped().into());
        };
        match event.name.as_str() {
            "image" => {
                let answer: ImageOne = decode(&event.data)?;
                if answer.image.id == image.id {
                    image = answer.image;
                }
            }
            "image.deleted" if decode::<Gone>(&event.data)?.id == image.id => {
                let message = format!("image {} was deleted", image.id);
                return Err(Failure::new(message).into());
            }
            _ => {}
        }
    }
    steps.finish();
    outcome::report(session, &image, &[])
}

fn all(
    session: &Session,
    client: &Client,
    events: &Events,
    interrupt: &Interrupt,
) -> anyhow::Result<ExitCode> {
    if !session.json {
        eprintln!(
            "following the images at {}; Ctrl-C ends it",
            clean(client.url())
        );
    }
    let mut out = std::io::stdout();
    while let Some(event) = events.next(interrupt)? {
        let time = jiff::Timestamp::now().strftime("%H:%M:%SZ").to_string();
        match event.name.as_str() {
            "image" => {
                let answer: ImageOne = decode(&event.data)?;
                if session.json {
                    print::json_line(&mut out, &answer)?;
                } else {
                    writeln!(out, "{time}  {}", line(&answer.image))?;
                }
            }
            "image.deleted" => {
                let gone: Gone = decode(&event.data)?;
                if session.json {
                    let value = serde_json::json!({"deleted": gone.id});
                    print::json_line(&mut out, &value)?;
                } else {
                    writeln!(out, "{time}  {:>6}  deleted", gone.id)?;
                }
            }
            _ => {}
        }
        out.flush()?;
    }
    Ok(ExitCode::SUCCESS)
}

/// An image on one line.
fn line(image: &Image) -> String {
    let progress = image.extra.as_ref().and_then(|extra| extra.progress);
    let percent = progress
        .filter(|progress| progress.total > 0)
        .map(|progress| format!(" {} %", progress.done * 100 / progress.total))
        .unwrap_or_default();
    let regions = image.regions.join(", ");
    let reason = match image.error_message.as_str() {
        "" => String::new(),
        reason => format!(": {reason}"),
    };
    clean(&format!(
        "{:>6}  {}  {}{percent}{reason}  {regions}",
        image.id,
        image.name,
        state(image)
    ))
    .trim_end()
    .to_owned()
}

fn decode<T: for<'de> Deserialize<'de>>(data: &str) -> client::Result<T> {
    serde_json::from_str(data)
        .map_err(|e| client::Error::malformed("GET /v2/events", e.to_string()))
}
