//! `/v2/account/audit`: what happened in the account.

use std::sync::Arc;

use abbild_api::{AuditActor, AuditEntry, AuditList, Id};
use axum::Json;
use axum::extract::State;

use super::action::timestamp;
use super::{ApiResult, Paging};
use crate::Service;
use crate::auth::Caller;
use crate::db::audit::{self, AuditRow};

/// `row` on the wire.
pub fn to_api(row: AuditRow) -> AuditEntry {
    AuditEntry {
        id: Id(row.id),
        at: timestamp(row.at),
        actor: AuditActor {
            kind: row.actor,
            name: row.actor_name,
            user_id: row.user_id.map(Id),
            token_id: row.token_id.map(Id),
        },
        action: row.action,
        object_type: row.object_type,
        object_id: row.object_id,
        outcome: row.outcome,
        detail: row.detail,
        address: row.address,
        request_id: row.request_id,
    }
}

/// Lists what happened in the account, newest first
///
/// Demands the scope `admin`.
#[utoipa::path(
    get,
    path = "/v2/account/audit",
    tag = "Audit log",
    params(Paging),
    responses((status = 200, description = "A page of the log", body = AuditList)),
)]
pub async fn list(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    paging: Paging,
) -> ApiResult<Json<AuditList>> {
    let (rows, total) = audit::list(service.db.read(), account.id, paging.window()).await?;
    let (links, meta) = paging.links(total);
    Ok(Json(AuditList {
        audit: rows.into_iter().map(to_api).collect(),
        links,
        meta,
    }))
}
