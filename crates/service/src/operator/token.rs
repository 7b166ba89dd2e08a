//! Tokens of accounts, and the audit log.

use abbild_api::{AuditEntry, Scope, Token};
use anyhow::Context as _;

use super::{Operator, plain};
use crate::audit::Event;
use crate::auth;
use crate::db::token::{self, NewToken};
use crate::db::{self, Window, audit, now};
use crate::http::{audit_to_api, checked_name, token_to_api};

/// A token in the making.
#[derive(Debug, Clone)]
pub struct NewOperatorToken {
    /// Id, UUID or address of the account; the oldest without one.
    pub account: Option<String>,
    /// For people.
    pub name: String,
    /// What it may do; everything if empty.
    pub scopes: Vec<Scope>,
    /// Seconds until it expires; never without.
    pub expires_in: Option<i64>,
}

impl Operator {
    /// Makes a token of an account. The answer holds the token itself; nothing else ever will.
    ///
    /// # Errors
    /// When there is no such account, or the name is none.
    pub async fn create_token(&self, new: NewOperatorToken) -> anyhow::Result<Token> {
        let name = checked_name(&new.name).map_err(plain)?;
        let mut scopes = new.scopes;
        if scopes.is_empty() {
            scopes = Scope::ALL.to_vec();
        }
        scopes.sort_unstable();
        scopes.dedup();
        let secret = auth::generate()?;
        let mut tx = self.db.write().await?;
        let account = Self::find(&mut *tx, new.account.as_deref()).await?;
        let row = NewToken {
            account: account.id,
            user: None,
            name,
            sha256: &auth::hash(&secret),
            scopes: &scopes,
            expires_at: new.expires_in.map(|seconds| now() + seconds),
        };
        let row = auth::issue(&mut tx, &row, &self.origin).await?;
        tx.commit().await?;
        Ok(token_to_api(row, Some(secret))?)
    }

    /// The tokens of an account that are not revoked.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn tokens(&self, account: Option<&str>) -> anyhow::Result<Vec<Token>> {
        let account = Self::find(self.db.read(), account).await?;
        let (rows, _) = token::list(self.db.read(), account.id, None, Window::ALL).await?;
        let tokens = rows.into_iter().map(|row| token_to_api(row, None));
        Ok(tokens.collect::<db::Result<_>>()?)
    }

    /// Makes a token useless, of whichever account.
    ///
    /// # Errors
    /// When there is none with this id that is not revoked.
    pub async fn revoke_token(&self, id: i64) -> anyhow::Result<Token> {
        let mut tx = self.db.write().await?;
        let row = token::get(&mut tx, id)
            .await?
            .with_context(|| format!("there is no token {id}, or it is revoked already"))?;
        token::revoke(&mut tx, row.account_id, id).await?;
        let event = Event::new("token.revoke").on("token", id).detail(&row.name);
        let origin = self.origin.clone().in_account(row.account_id);
        origin.record(&mut tx, event).await?;
        tx.commit().await?;
        Ok(token_to_api(row, None)?)
    }

    /// The newest `limit` entries of the audit log, newest first: of one account, or of all.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn audit(
        &self,
        account: Option<&str>,
        limit: u32,
    ) -> anyhow::Result<Vec<AuditEntry>> {
        let account = match account {
            Some(which) => Some(Self::find(self.db.read(), Some(which)).await?.id),
            None => None,
        };
        let rows = audit::newest(self.db.read(), account, limit).await?;
        Ok(rows.into_iter().map(audit_to_api).collect())
    }
}
