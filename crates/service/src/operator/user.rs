//! Users: who can log in to an account.

use abbild_api::{Role, User};
use anyhow::Context as _;

use super::{Operator, plain};
use crate::audit::Event;
use crate::auth::{self, password};
use crate::db::user::{self, NewUser, UserRow};
use crate::db::{self, Tx, Window, now, session};
use crate::http::{checked_email, checked_name, user_to_api};

/// A user in the making.
#[derive(Debug, Clone)]
pub struct NewOperatorUser {
    /// Id, UUID or address of the account; the oldest without one.
    pub account: Option<String>,
    /// Address that they log in with.
    pub email: String,
    /// For people; the address without one.
    pub name: Option<String>,
    /// What they may do.
    pub role: Role,
    /// Without one, only OpenID Connect lets them in.
    pub password: Option<String>,
}

impl Operator {
    /// The users of an account, oldest first.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn users(&self, account: Option<&str>) -> anyhow::Result<Vec<User>> {
        let account = Self::find(self.db.read(), account).await?;
        let (rows, _) = user::list(self.db.read(), account.id, Window::ALL).await?;
        Ok(rows
            .into_iter()
            .map(user_to_api)
            .collect::<db::Result<_>>()?)
    }

    /// Adds a user to an account.
    ///
    /// # Errors
    /// When something of it is not allowed, or the address is somebody's already.
    pub async fn create_user(&self, new: NewOperatorUser) -> anyhow::Result<User> {
        let email = checked_email(&new.email).map_err(anyhow::Error::msg)?;
        let name = match &new.name {
            Some(name) => checked_name(name).map_err(plain)?,
            None => &email,
        };
        let phc = match new.password {
            Some(word) => Some(hashed(word, &email).await?),
            None => None,
        };
        let mut tx = self.db.write().await?;
        let account = Self::find(&mut *tx, new.account.as_deref()).await?;
        let row = NewUser {
            account: account.id,
            email: &email,
            name,
            role: new.role,
            password: phc.as_deref(),
        };
        let row = auth::enrol(&mut tx, &row, &self.origin, "")
            .await?
            .with_context(|| format!("there is a user `{email}` already"))?;
        tx.commit().await?;
        Ok(user_to_api(row)?)
    }

    /// Sets the password of the user with this address, and ends their sessions.
    ///
    /// # Errors
    /// When there is no such user, or the password is not allowed.
    pub async fn set_user_password(&self, email: &str, word: String) -> anyhow::Result<User> {
        let phc = hashed(word, email).await?;
        let mut tx = self.db.write().await?;
        let row = find(&mut tx, email).await?;
        user::set_password(&mut tx, row.id, &phc).await?;
        self.ended(tx, row, Event::new("user.password")).await
    }

    /// Keeps a user out, which ends their sessions, or lets them in again.
    ///
    /// # Errors
    /// When there is no such user.
    pub async fn disable_user(&self, email: &str, disabled: bool) -> anyhow::Result<User> {
        let mut tx = self.db.write().await?;
        let mut row = find(&mut tx, email).await?;
        row.disabled_at = disabled.then(|| row.disabled_at.unwrap_or_else(now));
        let role = row.role()?;
        user::update(&mut tx, &row, role).await?;
        let word = if disabled { "disabled" } else { "enabled" };
        self.ended(tx, row, Event::new("user.update").detail(word))
            .await
    }

    /// Ends the sessions, records and commits.
    async fn ended(&self, mut tx: Tx, row: UserRow, event: Event) -> anyhow::Result<User> {
        session::end_all(&mut tx, row.id, None).await?;
        self.record(&mut tx, &row, event).await?;
        let row = find(&mut tx, &row.email).await?;
        tx.commit().await?;
        Ok(user_to_api(row)?)
    }

    async fn record(&self, tx: &mut Tx, row: &UserRow, event: Event) -> db::Result<()> {
        let origin = self.origin.clone().in_account(row.account_id);
        origin.record(tx, event.on("user", row.id)).await
    }
}

async fn find(tx: &mut Tx, email: &str) -> anyhow::Result<UserRow> {
    let email = checked_email(email).map_err(anyhow::Error::msg)?;
    user::by_email(&mut **tx, &email)
        .await?
        .with_context(|| format!("there is no user `{email}`; `abbild admin user list` shows all"))
}

async fn hashed(word: String, email: &str) -> anyhow::Result<String> {
    password::check(&word, email).map_err(anyhow::Error::msg)?;
    password::hash(word).await
}
