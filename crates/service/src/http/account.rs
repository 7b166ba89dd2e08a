//! `/v2/account`: who the token belongs to.

use std::sync::Arc;

use abbild_api::{Account, AccountOne, Team};
use axum::Json;
use axum::extract::State;

use crate::Service;
use crate::auth::Caller;
use crate::db::account::AccountRow;

/// Shows the account of the token
#[utoipa::path(
    get,
    path = "/v2/account",
    tag = "Account",
    responses((status = 200, description = "The account", body = AccountOne)),
)]
pub async fn show(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
) -> Json<AccountOne> {
    let account = to_api(&service, account);
    Json(AccountOne { account })
}

/// `account` on the wire.
pub fn to_api(service: &Service, account: AccountRow) -> Account {
    Account {
        droplet_limit: service.config.limits.droplets_per_account.into(),
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
    }
}
