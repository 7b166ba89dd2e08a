//! Actions of machines, one at a time each. What is known to be impossible is refused before there is
//! an action; its parameters are kept with it, so that the job can be repeated after a crash.

use std::sync::Arc;

use abbild_api::{ActionOne, ActionsOfMany, DropletAction, DropletStatus};
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::{create, tagged};
use crate::Service;
use crate::auth::Caller;
use crate::db::action::{ActionRow, NewAction};
use crate::db::droplet::{self, DropletRow};
use crate::db::{self, Tx};
use crate::http::{ApiError, ApiResult, Body, Paging, PathId, action};

/// A new action of a droplet, which a worker may begin at once.
pub async fn insert(
    tx: &mut Tx,
    row: &DropletRow,
    kind: &str,
    parameters: Option<&DropletAction>,
) -> db::Result<ActionRow> {
    let parameters = parameters.map(db::to_json);
    let new = NewAction {
        account: row.account_id,
        kind,
        resource_type: "droplet",
        resource: row.id,
        region: Some(&row.region),
        parameters: parameters.as_deref(),
        ready: true,
    };
    db::action::insert(tx, &new).await
}

/// Does something to a machine
///
/// `type` says what, and some have parameters. A machine does one thing at a time: while an action of
/// it is open, and it is `locked`, another one is refused with 422. What is the case already, as
/// `power_on` of a machine that runs, is completed at once.
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
) -> ApiResult<(StatusCode, Json<ActionOne>)> {
    let mut tx = service.db.write().await?;
    let row = droplet::find(&mut *tx, account.id, id)
        .await?
        .ok_or_else(ApiError::not_found)?;
    let begun = begin(&mut tx, &row, &wanted).await?;
    tx.commit().await?;
    service.announce("droplet");
    let action = action::to_api(&service, begun)?;
    Ok((StatusCode::CREATED, Json(ActionOne { action })))
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
) -> ApiResult<(StatusCode, Json<ActionsOfMany>)> {
    let mut tx = service.db.write().await?;
    let mut actions = Vec::new();
    for row in tagged(&mut tx, account.id, &paging).await? {
        let begun = begin(&mut tx, &row, &wanted)
            .await
            .map_err(|error| error.about(&format!("droplet {} `{}`", row.id, row.name)))?;
        actions.push(action::to_api(&service, begun)?);
    }
    tx.commit().await?;
    service.announce("droplet");
    Ok((StatusCode::CREATED, Json(ActionsOfMany { actions })))
}

/// A new action, unless it is known to be impossible; what is the case already is done at once.
async fn begin(tx: &mut Tx, row: &DropletRow, wanted: &DropletAction) -> ApiResult<ActionRow> {
    is_idle(tx, row).await?;
    let status = row.status()?;
    match wanted {
        DropletAction::Reboot if status != DropletStatus::Active => {
            return Err(ApiError::unprocessable(
                "the droplet is off, and only one that runs can be rebooted; `power_on` starts it",
            ));
        }
        DropletAction::Rename { name } => create::check_name(name)?,
        _ => {}
    }
    let action = insert(tx, row, wanted.kind(), Some(wanted)).await?;
    if is_the_case(status, wanted) {
        return Ok(db::action::complete(tx, action.id).await?);
    }
    Ok(action)
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

fn is_the_case(status: DropletStatus, wanted: &DropletAction) -> bool {
    match wanted {
        DropletAction::PowerOn => status == DropletStatus::Active,
        DropletAction::PowerOff | DropletAction::Shutdown => status == DropletStatus::Off,
        _ => false,
    }
}
