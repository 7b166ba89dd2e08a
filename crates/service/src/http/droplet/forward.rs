//! Whether a port of a machine's address can lead into its guest, as far as that is known when it is
//! asked for. Whether the port is free on the host, the job finds out.

use abbild_api::{Forward, Protocol};

use crate::db::droplet::DropletRow;
use crate::http::{ApiError, ApiResult};

/// More of them would say that the machine should have a network of its own.
const MAX_FORWARDS: usize = 64;

/// Refuses what cannot be done; true if it is the case already.
pub fn begin(row: &DropletRow, wanted: Forward) -> ApiResult<bool> {
    let Forward { port, protocol, .. } = wanted;
    if port == 0 || wanted.guest_port == 0 {
        return Err(ApiError::unprocessable(
            "a port is a number from 1 to 65535",
        ));
    }
    if row.mac.is_some() {
        return Err(ApiError::unprocessable(format!(
            "all ports of {} are the guest's own, and nothing needs to be forwarded; say in the guest who \
             may reach them",
            row.address
        )));
    }
    if protocol == Protocol::Tcp && i64::from(port) == row.ssh_port {
        return Err(ApiError::unprocessable(format!(
            "port {port} of the droplet leads to port 22 of its guest; take another `port`"
        )));
    }
    let present = row.forwards()?;
    if let Some(there) = present.iter().find(|there| there.is_at(port, protocol)) {
        if *there == wanted {
            return Ok(true);
        }
        return Err(ApiError::unprocessable(format!(
            "port {port} leads to port {} of the guest already; `unforward` it first, or take \
             another `port`",
            there.guest_port
        )));
    }
    if present.len() >= MAX_FORWARDS {
        return Err(ApiError::unprocessable(format!(
            "a droplet may have {MAX_FORWARDS} ports that lead into its guest, and has as many"
        )));
    }
    Ok(false)
}

/// Refuses to end what has not begun. It is never the case already.
pub fn check_end(row: &DropletRow, port: u16, protocol: Protocol) -> ApiResult<bool> {
    match row
        .forwards()?
        .iter()
        .any(|there| there.is_at(port, protocol))
    {
        true => Ok(false),
        false => Err(ApiError::unprocessable(format!(
            "{} port {port} of the droplet does not lead into its guest",
            protocol.name()
        ))),
    }
}
