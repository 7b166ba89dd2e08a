//! Actions of machines, one at a time each. What is known to be impossible is refused before there is
//! an action; its parameters are kept with it, so that the job can be repeated after a crash.

use std::sync::Arc;

use abbild_api::{
    Action, ActionOne, ActionsOfMany, DropletAction, DropletStatus, Forward, IdOrName, Quota,
    RegionCopyStatus, Stage,
};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::{create, forward, live, tagged};
use crate::Service;
use crate::auth::Caller;
use crate::db::action::ActionRow;
use crate::db::droplet::{self, DropletRow};
use crate::db::image::NewImage;
use crate::db::{self, Tx, image};
use crate::http::{ApiError, ApiResult, Body, NO_STORE, Paging, PathId, action, checked_name};
use crate::machine::{self, password::NewPassword};
use crate::quota;
use crate::size::Size;

/// Does something to a machine
///
/// `type` says what, and some have parameters. A machine does one thing at a time: while an action of
/// it is open, and it is `locked`, another one is refused with 422. What takes no time is completed at
/// once: `rename`, `resize`, and what is the case already, as `power_on` of a machine that runs.
#[utoipa::path(
    post,
    path = "/v2/droplets/{id}/actions",
    tag = "Droplet actions",
    operation_id = "create",
    params(PathId),
    request_body = DropletAction,
    responses((status = 201, description = "The action", body = ActionOne)),
)]
pub async fn act(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    PathId(id): PathId,
    Body(wanted): Body<DropletAction>,
) -> ApiResult<(StatusCode, HeaderMap, Json<ActionOne>)> {
    let mut tx = service.db.write().await?;
    let row = live(&mut *tx, account.id, id).await?;
    let begun = begin(&service, &mut tx, &row, &wanted).await?;
    tx.commit().await?;
    service.announce("droplet");
    let headers = secrecy(begun.password.is_some());
    let action = begun.into_api(&service)?;
    Ok((StatusCode::CREATED, headers, Json(ActionOne { action })))
}

/// Does something to all machines with a tag
///
/// If it cannot be done to one of them, it is done to none.
#[utoipa::path(
    post,
    path = "/v2/droplets/actions",
    tag = "Droplet actions",
    operation_id = "create_tagged",
    params(("tag_name" = String, Query, description = "The tag")),
    request_body = DropletAction,
    responses((status = 201, description = "One action for each machine", body = ActionsOfMany)),
)]
pub async fn act_tagged(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    paging: Paging,
    Body(wanted): Body<DropletAction>,
) -> ApiResult<(StatusCode, HeaderMap, Json<ActionsOfMany>)> {
    let mut tx = service.db.write().await?;
    let mut actions = Vec::new();
    let mut has_secret = false;
    for row in tagged(&mut tx, account.id, &paging).await? {
        let begun = begin(&service, &mut tx, &row, &wanted)
            .await
            .map_err(|error| error.about(&format!("droplet {} `{}`", row.id, row.name)))?;
        has_secret |= begun.password.is_some();
        actions.push(begun.into_api(&service)?);
    }
    tx.commit().await?;
    service.announce("droplet");
    let headers = secrecy(has_secret);
    Ok((
        StatusCode::CREATED,
        headers,
        Json(ActionsOfMany { actions }),
    ))
}

/// Headers of an answer; nobody on its way keeps one with a secret, nor does an `Idempotency-Key`.
fn secrecy(has_secret: bool) -> HeaderMap {
    let headers = NO_STORE.map(|(name, value)| (name, HeaderValue::from_static(value)));
    headers.into_iter().filter(|_| has_secret).collect()
}

/// A new action, and what is only told to whoever asked for it.
struct Begun {
    row: ActionRow,
    password: Option<String>,
}

impl Begun {
    fn into_api(self, service: &Service) -> ApiResult<Action> {
        let mut action = action::to_api(service, self.row)?;
        if let Some(extra) = &mut action.extra {
            extra.password = self.password;
        }
        Ok(action)
    }
}

/// A new action, unless it is known to be impossible; what takes no time is done at once.
async fn begin(
    service: &Service,
    tx: &mut Tx,
    row: &DropletRow,
    wanted: &DropletAction,
) -> ApiResult<Begun> {
    is_idle(tx, row).await?;
    let status = row.status()?;
    let is_done = match wanted {
        DropletAction::PowerOn => status == DropletStatus::Active,
        // One that is paused is off for its owner, and still to be ended.
        DropletAction::PowerOff | DropletAction::Shutdown | DropletAction::PowerCycle => false,
        DropletAction::Reboot if status == DropletStatus::Active => false,
        DropletAction::Reboot => {
            return Err(ApiError::unprocessable(
                "the droplet is off, and only one that runs can be rebooted; `power_on` starts it",
            ));
        }
        DropletAction::PasswordReset => return begin_password_reset(tx, row).await,
        DropletAction::Resize { size, disk } => {
            resize(service, tx, row, size, *disk).await?;
            true
        }
        DropletAction::Rebuild { image } | DropletAction::Restore { image } => {
            begin_rebuild(tx, row, image).await?;
            false
        }
        DropletAction::Snapshot { name } => {
            begin_snapshot(service, tx, row, name.as_deref()).await?;
            false
        }
        DropletAction::Rescue { image } => {
            super::rescue::begin(service, tx, row, image.as_ref()).await?;
            false
        }
        DropletAction::Unrescue => {
            super::rescue::check_end(row)?;
            false
        }
        DropletAction::Forward {
            port,
            guest_port,
            protocol,
        } => forward::begin(row, Forward::new(*port, *guest_port, *protocol))?,
        DropletAction::Unforward { port, protocol } => forward::check_end(row, *port, *protocol)?,
        DropletAction::Rename { name } => {
            create::check_name(name)?;
            droplet::set_name(tx, row.id, name).await?;
            true
        }
    };
    let mut begun =
        machine::insert_action(tx, row, wanted.kind(), Some(db::to_json(wanted))).await?;
    if is_done {
        begun = db::action::complete(tx, begun.id).await?;
    }
    Ok(Begun {
        row: begun,
        password: None,
    })
}

async fn begin_password_reset(tx: &mut Tx, row: &DropletRow) -> ApiResult<Begun> {
    if row.status()? != DropletStatus::Active || row.rescue()?.is_some() {
        return Err(ApiError::unprocessable(
            "the droplet does not run its own system, whose guest agent sets the password; `power_on` or \
             `unrescue` starts it",
        ));
    }
    let NewPassword { plain, parameters } = NewPassword::choose()?;
    let parameters = db::to_json(&parameters);
    Ok(Begun {
        row: machine::insert_action(tx, row, "password_reset", Some(parameters)).await?,
        password: Some(plain),
    })
}

/// The row says what the machine is started with the next time, so this is all there is to do.
async fn resize(
    service: &Service,
    tx: &mut Tx,
    row: &DropletRow,
    slug: &str,
    disk: bool,
) -> ApiResult<()> {
    let to = create::known_size(slug)?;
    if row.status()? != DropletStatus::Off {
        return Err(ApiError::unprocessable(
            "the droplet must be powered off before it is resized; `shutdown` asks its guest to",
        ));
    }
    let from = size_of(row)?;
    let present = from.disk_gb_of(row.disk_gb);
    if i64::from(to.disk_gb) < present {
        return Err(ApiError::unprocessable(format!(
            "a disk only grows: the droplet's has {present} GB, and size `{slug}` has {}",
            to.disk_gb
        )));
    }
    let wanted = quota::of_resize(from, to);
    quota::check(&service.config.quotas, tx, row.account_id, &wanted).await?;
    let disk_gb = if disk { to.disk_gb.into() } else { present };
    droplet::set_size(tx, row.id, to.slug, disk_gb).await?;
    Ok(())
}

/// From now on the image is not removed before the machine lies on it.
async fn begin_rebuild(tx: &mut Tx, row: &DropletRow, which: &IdOrName) -> ApiResult<()> {
    let disk_gb = size_of(row)?.disk_gb_of(row.disk_gb);
    let disk_bytes = db::from_sql_size(disk_gb) << 30;
    let image = create::usable_image(tx, row.account_id, which, disk_bytes).await?;
    create::reserve(tx, row, &image).await
}

/// The image has a row at once, so that it counts, and can be seen.
async fn begin_snapshot(
    service: &Service,
    tx: &mut Tx,
    row: &DropletRow,
    name: Option<&str>,
) -> ApiResult<()> {
    let default = format!(
        "{}-{}",
        row.name,
        jiff::Timestamp::now().strftime("%F-%H%M%S")
    );
    let name = name.filter(|name| !name.is_empty()).unwrap_or(&default);
    let name = checked_name(name)?;
    let quotas = &service.config.quotas;
    quota::check(quotas, tx, row.account_id, &[(Quota::Images, 1)]).await?;
    let base = image::get(tx, row.image_id).await?;
    let new = NewImage {
        account: row.account_id,
        name,
        description: "",
        distribution: &base.distribution,
        upload: None,
        checksum: None,
        stage: Stage::Queued,
        droplet: Some(row.id),
    };
    let id = image::insert(tx, &new).await?;
    image::set_region(tx, id, &row.region, RegionCopyStatus::Pending, None).await?;
    Ok(())
}

fn size_of(row: &DropletRow) -> ApiResult<&'static Size> {
    Size::find(&row.size).ok_or_else(|| ApiError::internal(format!("size {} is gone", row.size)))
}

/// Refuses a second action while one is open.
async fn is_idle(tx: &mut Tx, row: &DropletRow) -> ApiResult<()> {
    let open = db::action::open(&mut **tx, "droplet", row.id).await?;
    match open.first() {
        None => Ok(()),
        // Clients of the original look for the first sentence.
        Some(action) => Err(ApiError::unprocessable(format!(
            "Droplet already has a pending event. It is `{}`, action {}; wait until it has ended",
            action.kind, action.id
        ))),
    }
}
