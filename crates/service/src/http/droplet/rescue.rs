//! Whether a machine can be rescued, as far as that is known when it is asked for.

use abbild_api::IdOrName;

use super::create;
use crate::Service;
use crate::db::Tx;
use crate::db::droplet::DropletRow;
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
    create::reserve(tx, row, &image).await
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
