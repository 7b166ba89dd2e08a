//! Accounts: making them, keeping them out, letting them in again.

use serde::Serialize;

use super::{Operator, plain};
use crate::audit::Event;
use crate::db::account::{self, AccountSummaryRow};
use crate::http::{checked_email, checked_name, timestamp};

/// An account with what belongs to it.
#[derive(Debug, Clone, Serialize)]
pub struct AccountSummary {
    /// Identifier in the database, and for `--account`.
    pub id: i64,
    /// Identifier on the wire.
    pub uuid: String,
    /// For people.
    pub name: String,
    /// Address of its owner; several accounts may have the same.
    pub email: String,
    /// RFC 3339, UTC.
    pub created_at: String,
    /// RFC 3339, UTC; null while it may be used.
    pub disabled_at: Option<String>,
    /// What its users are told.
    pub disabled_reason: String,
    /// Users.
    pub users: i64,
    /// Tokens that are not revoked.
    pub tokens: i64,
    /// Images that are not deleted.
    pub images: i64,
    /// Machines that are not deleted.
    pub droplets: i64,
}

impl From<AccountSummaryRow> for AccountSummary {
    fn from(row: AccountSummaryRow) -> Self {
        Self {
            id: row.id,
            uuid: row.uuid,
            name: row.name,
            email: row.email,
            created_at: timestamp(row.created_at),
            disabled_at: row.disabled_at.map(timestamp),
            disabled_reason: row.disabled_reason,
            users: row.users,
            tokens: row.tokens,
            images: row.images,
            droplets: row.droplets,
        }
    }
}

impl Operator {
    /// All accounts, oldest first.
    ///
    /// # Errors
    /// Those of the database.
    pub async fn accounts(&self) -> anyhow::Result<Vec<AccountSummary>> {
        let rows = account::summaries(self.db.read()).await?;
        Ok(rows.into_iter().map(AccountSummary::from).collect())
    }

    /// One account.
    ///
    /// # Errors
    /// When there is none, or several, with this id, UUID or address.
    pub async fn account(&self, which: &str) -> anyhow::Result<AccountSummary> {
        let id = Self::find(self.db.read(), Some(which)).await?.id;
        let row = account::summary(self.db.read(), id).await?;
        Ok(row.into())
    }

    /// Makes an account, with no user and no token yet.
    ///
    /// # Errors
    /// When the name or the address is none.
    pub async fn create_account(&self, name: &str, email: &str) -> anyhow::Result<AccountSummary> {
        let name = checked_name(name).map_err(plain)?;
        let email = checked_email(email).map_err(anyhow::Error::msg)?;
        let mut tx = self.db.write().await?;
        let id = account::insert(&mut tx, name, &email).await?;
        let event = Event::new("account.create").on("account", id).detail(name);
        let origin = self.origin.clone().in_account(id);
        origin.record(&mut tx, event).await?;
        tx.commit().await?;
        let row = account::summary(self.db.read(), id).await?;
        Ok(row.into())
    }

    /// Keeps everybody of an account out, with a reason that they are told, or lets them in again
    /// (`None`). Its machines go on.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn disable_account(
        &self,
        which: &str,
        reason: Option<&str>,
    ) -> anyhow::Result<AccountSummary> {
        let mut tx = self.db.write().await?;
        let id = Self::find(&mut *tx, Some(which)).await?.id;
        account::set_disabled(&mut tx, id, reason).await?;
        let event = match reason {
            Some(reason) => Event::new("account.disable").detail(reason),
            None => Event::new("account.enable"),
        };
        let origin = self.origin.clone().in_account(id);
        origin.record(&mut tx, event.on("account", id)).await?;
        tx.commit().await?;
        let row = account::summary(self.db.read(), id).await?;
        Ok(row.into())
    }
}
