//! Following an import to its end.

use abbild_api::{Id, Image, ImageExtra, ImageOne, ImageStatus, RegionCopyStatus, Stage};

use crate::client::{self, Client};
use crate::commands::wait::until;
use crate::interrupt::Interrupt;
use crate::print::clean;
use crate::progress::Steps;

use super::stage_name;

/// Waits until the image is available or failed, and every region that was asked for as well;
/// `None` on Ctrl-C.
///
/// # Errors
/// Of the request, if they do not pass.
pub fn import(
    client: &Client,
    id: Id,
    steps: &mut Steps,
    interrupt: &Interrupt,
) -> client::Result<Option<Image>> {
    let path = format!("/v2/images/{id}");
    let ended = until::<ImageOne>(client, &path, interrupt, |answer| {
        show(&answer.image, steps);
        is_final(&answer.image)
    })?;
    Ok(ended.map(|answer| answer.image))
}

pub(super) fn is_final(image: &Image) -> bool {
    match image.status {
        ImageStatus::Deleted => true,
        ImageStatus::Available => unfinished(image).next().is_none(),
        ImageStatus::New | ImageStatus::Pending => false,
    }
}

fn unfinished(image: &Image) -> impl Iterator<Item = &abbild_api::RegionCopy> {
    let copies = image.extra.iter().flat_map(|extra| &extra.regions);
    copies.filter(|copy| {
        matches!(
            copy.status,
            RegionCopyStatus::Pending | RegionCopyStatus::Copying
        )
    })
}

pub(super) fn show(image: &Image, steps: &mut Steps) {
    let Some(extra) = &image.extra else { return };
    let (label, progress) = match (image.status, unfinished(image).next()) {
        (ImageStatus::Available, Some(copy)) => {
            (format!("copying to {}", clean(&copy.slug)), copy.progress)
        }
        (ImageStatus::New | ImageStatus::Pending, _) => (label(extra), extra.progress),
        _ => return,
    };
    steps.step(&label);
    match progress {
        Some(progress) => steps.set_of(progress.done, progress.total),
        None => steps.tick(),
    }
}

/// What is being done, or why it waits.
fn label(extra: &ImageExtra) -> String {
    let stage = stage_name(extra.stage);
    match &extra.setback {
        Some(reason) if extra.stage == Stage::Queued => {
            format!("{stage}, to be tried again: {}", clean(reason))
        }
        _ => stage.to_owned(),
    }
}
