//! How much an account may have.
//!
//! The configuration says it for all accounts (`[quotas]`), and an operator can say otherwise for
//! one (`abbild admin quota`). Whatever would take more asks [`check`] in the transaction in which
//! it takes it: there is one writer at a time, so two can never take the same rest.

use abbild_api::{Quota, QuotaUse};
use sqlx::AnyConnection;

use crate::config::Quotas;
use crate::db::{self, quota, sql_size};
use crate::http::{ApiError, ApiResult};
use crate::size::Size;

/// Seconds after which a client that sends many uploads may try again.
const RETRY_AFTER: u64 = 60;

/// All quotas of an account, with what it uses of them.
///
/// # Errors
/// Those of the database.
pub async fn all(
    quotas: &Quotas,
    db: &mut AnyConnection,
    account: i64,
) -> db::Result<Vec<QuotaUse>> {
    let limits = Limits::of(quotas, db, account).await?;
    let mut using = Using::new(account);
    let mut all = Vec::with_capacity(Quota::ALL.len());
    for quota in Quota::ALL {
        all.push(QuotaUse {
            quota,
            limit: limits.get(quota),
            used: using.count(db, quota).await?,
        });
    }
    Ok(all)
}

/// Makes sure that an account may have so much more, before it gets it in the same transaction.
///
/// # Errors
/// 422, or 429 for uploads, with the quota and the numbers.
pub async fn check(
    quotas: &Quotas,
    db: &mut AnyConnection,
    account: i64,
    wanted: &[(Quota, i64)],
) -> ApiResult<()> {
    let limits = Limits::of(quotas, db, account).await?;
    let mut using = Using::new(account);
    for &(quota, more) in wanted {
        let Some(limit) = limits.get(quota) else {
            continue;
        };
        let used = using.count(db, quota).await?;
        if used.saturating_add(more) > limit {
            return Err(exceeded(quota, limit, used, more));
        }
    }
    Ok(())
}

fn exceeded(quota: Quota, limit: i64, used: i64, more: i64) -> ApiError {
    let message = format!(
        "the account's quota `{quota}` is {limit}; {used} are used, and {more} more would be too \
         many: {}, or ask the operator for more",
        match quota {
            Quota::Images => "delete an image",
            Quota::StoredBytes => "delete an image, or take one out of a region",
            Quota::Uploads => "finish or delete an upload",
            Quota::Droplets | Quota::Vcpus | Quota::MemoryBytes => "delete a machine",
        }
    );
    match quota {
        // Others of its uploads are under way, and this one may follow.
        Quota::Uploads => ApiError::too_many_requests(message, RETRY_AFTER),
        _ => ApiError::unprocessable(message),
    }
}

/// The limits of one account.
struct Limits<'q> {
    configured: &'q Quotas,
    own: Vec<(String, Option<i64>)>,
}

impl<'q> Limits<'q> {
    async fn of(configured: &'q Quotas, db: &mut AnyConnection, account: i64) -> db::Result<Self> {
        let own = quota::overrides(db, account).await?;
        Ok(Self { configured, own })
    }

    fn get(&self, quota: Quota) -> Option<i64> {
        let own = self.own.iter().find(|(name, _)| name == quota.as_str());
        match own {
            Some((_, value)) => *value,
            None => self.configured.get(quota).map(sql_size),
        }
    }
}

/// What an account uses.
struct Using {
    account: i64,
    /// Machines by the slug of their size, once they were counted: three quotas are about them.
    droplets: Option<Vec<(String, i64)>>,
}

impl Using {
    fn new(account: i64) -> Self {
        Self {
            account,
            droplets: None,
        }
    }

    async fn count(&mut self, db: &mut AnyConnection, quota: Quota) -> db::Result<i64> {
        match quota {
            Quota::Images => quota::images(db, self.account).await,
            Quota::StoredBytes => quota::stored_bytes(db, self.account).await,
            Quota::Uploads => quota::uploads(db, self.account).await,
            Quota::Droplets | Quota::Vcpus | Quota::MemoryBytes => {
                let sizes = match self.droplets.take() {
                    Some(sizes) => sizes,
                    None => quota::droplets(db, self.account).await?,
                };
                let all = self.droplets.insert(sizes).iter().map(|(slug, count)| {
                    // A size that is no longer offered is counted, but what it took is not known.
                    let each = Size::find(slug).map_or(of_any_size(quota), |s| of_size(quota, s));
                    count.saturating_mul(each)
                });
                Ok(all.fold(0, i64::saturating_add))
            }
        }
    }
}

fn of_any_size(quota: Quota) -> i64 {
    i64::from(quota == Quota::Droplets)
}

/// What one machine takes of a quota of machines.
fn of_size(quota: Quota, size: &Size) -> i64 {
    match quota {
        Quota::Vcpus => size.vcpus.into(),
        Quota::MemoryBytes => i64::from(size.memory_mib) << 20,
        _ => of_any_size(quota),
    }
}

/// What a machine takes beyond what it has, when it is given another size.
pub fn of_resize(from: &Size, to: &Size) -> Vec<(Quota, i64)> {
    [Quota::Vcpus, Quota::MemoryBytes]
        .map(|quota| {
            (
                quota,
                of_size(quota, to).saturating_sub(of_size(quota, from)),
            )
        })
        .into_iter()
        .filter(|(_, more)| *more > 0)
        .collect()
}

/// What `count` machines of a size take.
pub fn of_machines(size: &Size, count: usize) -> [(Quota, i64); 3] {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    [Quota::Droplets, Quota::Vcpus, Quota::MemoryBytes]
        .map(|quota| (quota, count.saturating_mul(of_size(quota, size))))
}
