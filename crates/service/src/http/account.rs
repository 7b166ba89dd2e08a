//! `/v2/account`: who the token belongs to.

use std::sync::Arc;

use abbild_api::{Account, AccountExtra, AccountOne, Quota, Scope, Team};
use axum::Json;
use axum::extract::State;

use super::ApiResult;
use crate::Service;
use crate::auth::Identity;
use crate::db::account::AccountRow;
use crate::quota;

/// Shows the account of the token
#[utoipa::path(
    get,
    path = "/v2/account",
    tag = "Account",
    responses((status = 200, description = "The account", body = AccountOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    identity: Identity,
) -> ApiResult<Json<AccountOne>> {
    let account = to_api(&service, identity.account, identity.scopes).await?;
    Ok(Json(AccountOne { account }))
}

/// `account` on the wire, for somebody with `scopes`.
///
/// # Errors
/// Those of the database.
pub async fn to_api(
    service: &Service,
    account: AccountRow,
    scopes: Vec<Scope>,
) -> ApiResult<Account> {
    let mut db = service.db.read().acquire().await?;
    let quotas = quota::all(&service.config.quotas, &mut db, account.id).await?;
    let droplets = quotas.iter().find(|quota| quota.quota == Quota::Droplets);
    Ok(Account {
        droplet_limit: droplets
            .and_then(|quota| quota.limit)
            .unwrap_or_else(|| i32::MAX.into()),
        floating_ip_limit: 0,
        email: account.email,
        email_verified: true,
        status: "active".to_owned(),
        status_message: String::new(),
        team: Team {
            uuid: account.uuid.clone(),
            name: account.name.clone(),
        },
        uuid: account.uuid,
        name: account.name,
        extra: Some(AccountExtra { scopes, quotas }),
    })
}
