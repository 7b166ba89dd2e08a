//! Tickets: one-time proofs for consoles.

use super::{Result, Tx, now};

/// Seconds for which a ticket opens its console.
pub const TICKET_SECONDS: i64 = 60;

/// What a ticket was good for.
#[derive(Debug, sqlx::FromRow)]
pub struct TicketRow {
    /// The account of the machine.
    pub account_id: i64,
    /// Who asked for it.
    pub holder: String,
}

/// Adds a ticket, of which `hash` is the SHA-256, and forgets those that nobody used; when it ends.
pub async fn insert(
    tx: &mut Tx,
    hash: &str,
    droplet: i64,
    kind: &str,
    holder: &str,
) -> Result<i64> {
    sqlx::query("DELETE FROM console_tickets WHERE expires_at < $1")
        .bind(now())
        .execute(&mut **tx)
        .await?;
    let expires_at = now() + TICKET_SECONDS;
    sqlx::query(
        "INSERT INTO console_tickets (hash, droplet_id, kind, holder, expires_at) \
         VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(hash)
    .bind(droplet)
    .bind(kind)
    .bind(holder)
    .bind(expires_at)
    .execute(&mut **tx)
    .await?;
    Ok(expires_at)
}

/// Takes a ticket for a console of a machine, if there is one that holds; nobody else can then.
pub async fn take(tx: &mut Tx, hash: &str, droplet: i64, kind: &str) -> Result<Option<TicketRow>> {
    let row = sqlx::query_as(
        "SELECT d.account_id, t.holder FROM console_tickets t JOIN droplets d ON d.id = t.droplet_id \
         JOIN accounts a ON a.id = d.account_id WHERE a.disabled_at IS NULL AND t.hash = $1 \
         AND t.droplet_id = $2 AND t.kind = $3 AND t.expires_at >= $4",
    )
    .bind(hash)
    .bind(droplet)
    .bind(kind)
    .bind(now())
    .fetch_optional(&mut **tx)
    .await?;
    if row.is_some() {
        sqlx::query("DELETE FROM console_tickets WHERE hash = $1")
            .bind(hash)
            .execute(&mut **tx)
            .await?;
    }
    Ok(row)
}
