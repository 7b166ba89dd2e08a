//! Quotas of single accounts.

use abbild_api::{Quota, QuotaUse};

use super::Operator;
use crate::audit::Event;
use crate::config::Limit;
use crate::db::{self, sql_size};
use crate::quota;

impl Operator {
    /// The quotas of an account, with what it uses of them.
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn quotas(&self, account: Option<&str>) -> anyhow::Result<Vec<QuotaUse>> {
        let account = Self::find(self.db.read(), account).await?.id;
        let mut db = self.db.read().acquire().await?;
        Ok(quota::all(&self.config.quotas, &mut db, account).await?)
    }

    /// Gives an account limits of its own, or those of the configuration again (`None`).
    ///
    /// # Errors
    /// When there is no such account.
    pub async fn set_quotas(
        &self,
        account: Option<&str>,
        limits: &[(Quota, Option<Limit>)],
    ) -> anyhow::Result<Vec<QuotaUse>> {
        let mut tx = self.db.write().await?;
        let account = Self::find(&mut *tx, account).await?.id;
        let mut words = Vec::with_capacity(limits.len());
        for &(quota, limit) in limits {
            let name = quota.as_str();
            match limit {
                Some(Limit(value)) => {
                    db::quota::set(&mut tx, account, name, value.map(sql_size)).await?;
                }
                None => db::quota::reset(&mut tx, account, name).await?,
            }
            let word = limit.map_or_else(|| "default".to_owned(), |limit| limit.to_string());
            words.push(format!("{name}={word}"));
        }
        let event = Event::new("quota.set").on("account", account);
        let origin = self.origin.clone().in_account(account);
        origin
            .record(&mut tx, event.detail(words.join(" ")))
            .await?;
        let all = quota::all(&self.config.quotas, &mut tx, account).await?;
        tx.commit().await?;
        Ok(all)
    }
}
