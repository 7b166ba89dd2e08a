//! Whether a machine can be rescued, as far as that is known when it is asked for.

use std::collections::HashSet;

use abbild_api::IdOrName;
use abbild_guest::Report;

use super::create;
use crate::Service;
use crate::db::droplet::DropletRow;
use crate::db::{Tx, from_json, image};
use crate::http::{ApiError, ApiResult};
use crate::vm::Hypervisor;

/// Refuses what cannot be done. From now on the image, if there is one, is not removed.
pub async fn begin(
    service: &Service,
    tx: &mut Tx,
    row: &DropletRow,
    which: Option<&IdOrName>,
) -> ApiResult<()> {
    if row.rescue()?.is_some() {
        return Err(ApiError::unprocessable(
            "the droplet is being rescued already; `unrescue` ends that",
        ));
    }
    if row.hardware()?.is_none() {
        return Err(ApiError::unprocessable(
            "the droplet has no disk that could be rescued: its creation failed; `power_on` makes it \
             again",
        ));
    }
    let Some(which) = which else {
        let hypervisor = &service.region(&row.region)?.hypervisor;
        return hypervisor.has_rescue_system().map_err(|error| {
            ApiError::unprocessable(format!(
                "{error}\nuntil then an image of the account can be taken: `image`"
            ))
        });
    };
    let image = create::usable_image(tx, row.account_id, which, u64::MAX).await?;
    if image.digest.as_ref() == Some(&row.digest) {
        return Err(ApiError::unprocessable(format!(
            "image {} is what the droplet's own disk was made from, so both disks would have the same \
             filesystems by the same names, and the guest would confuse them; take another image, or \
             the built-in rescue system, without `image`",
            image.id
        )));
    }
    if let Some(uuid) = common_uuid(tx, image.id, row.image_id).await? {
        return Err(ApiError::unprocessable(format!(
            "image {} and the image of the droplet both have a filesystem with the UUID {uuid}, so the guest \
             could start from the wrong disk; take another image, or the built-in rescue system, without \
             `image`",
            image.id
        )));
    }
    create::reserve(tx, row, &image).await
}

/// A filesystem that two images have in common, as copies of one another do.
async fn common_uuid(tx: &mut Tx, one: i64, other: i64) -> ApiResult<Option<String>> {
    let mut facts = Vec::new();
    for image in [one, other] {
        let report = image::report(&mut **tx, image).await?;
        let report: Option<Report> = report.as_deref().map(from_json).transpose()?;
        facts.extend(report.map(|report| report.facts));
    }
    let [one, other] = facts.as_slice() else {
        return Ok(None);
    };
    let of_other: HashSet<&str> = other.filesystem_uuids().collect();
    let mut both = one
        .filesystem_uuids()
        .filter(|uuid| of_other.contains(uuid));
    Ok(both.next().map(str::to_owned))
}

/// Refuses to end what has not begun.
pub fn check_end(row: &DropletRow) -> ApiResult<()> {
    match row.rescue()? {
        Some(_) => Ok(()),
        None => Err(ApiError::unprocessable(
            "the droplet is not being rescued; `rescue` begins that",
        )),
    }
}
