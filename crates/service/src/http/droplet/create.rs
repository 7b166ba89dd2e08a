//! `POST /v2/droplets`: everything that can be known is checked before a machine has a row.

use std::sync::Arc;

use abbild_api::{
    CreateDroplet, CreateDropletAnswer, CreateLinks, CreatedAction, Id, IdOrName, RegionCopyStatus,
    Stage,
};
use abbild_guest::Lang;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::view;
use crate::Service;
use crate::auth::Caller;
use crate::db::droplet::{self, DropletRow, NewDroplet};
use crate::db::image::{self, ImageRow};
use crate::db::tag::Kind;
use crate::db::{self, Tx, from_sql_size, key};
use crate::http::{ApiError, ApiResult, BaseUrl, Body, Language, tag};
use crate::machine::{self, Allotment};
use crate::quota;
use crate::size::Size;
use crate::vm::{Hypervisor, VmError};

/// More than this does not fit a config drive, says the API.
const MAX_USER_DATA_BYTES: usize = 64 << 10;
/// Machines that one request may create.
const MAX_NAMES: usize = 10;

/// Creates one machine or several
///
/// `name` makes one and is answered with `droplet`, `names` make several and are answered with
/// `droplets`. The image must be available in the region, and the size's disk hold it.
#[utoipa::path(
    post,
    path = "/v2/droplets",
    tag = "Droplets",
    params(Language),
    request_body = CreateDroplet,
    responses((status = 202, description = "What is being created", body = CreateDropletAnswer)),
)]
pub async fn create(
    State(service): State<Arc<Service>>,
    Caller(account): Caller,
    Language(lang): Language,
    BaseUrl(base): BaseUrl,
    Body(request): Body<CreateDroplet>,
) -> ApiResult<(StatusCode, Json<CreateDropletAnswer>)> {
    let names = names(&request)?;
    check_options(&request)?;
    let user_data = user_data(&request)?;
    let size = known_size(&request.size)?;
    let ssh_keys = ssh_keys(&service, account.id, &request.ssh_keys).await?;

    let mut tx = service.db.write().await?;
    let image = usable_image(&mut tx, account.id, &request.image, size.disk_bytes()).await?;
    let region = usable_region(&service, &image, request.region.as_deref()).await?;
    let hypervisor = &service.region(&region)?.hypervisor;
    check_room(hypervisor)?;
    let wanted = quota::of_machines(size, names.len());
    quota::check(&service.config.quotas, &mut tx, account.id, &wanted).await?;
    let mut rows = Vec::new();
    for name in names {
        let Allotment {
            address,
            ssh_port,
            mac,
        } = machine::allot(&service.config.vm, &mut tx)
            .await?
            .ok_or_else(no_address)?;
        let mac = mac.map(|mac| mac.to_string());
        let new = NewDroplet {
            account: account.id,
            name,
            region: &region,
            size: size.slug,
            image: image.id,
            digest: image.digest.as_deref().unwrap_or_default(),
            address: &address.to_string(),
            ssh_port,
            mac: mac.as_deref(),
            ssh_keys: &db::to_json(&ssh_keys),
            user_data: user_data.as_deref(),
            features: &db::to_json(&features(&request)),
        };
        let row = droplet::insert(&mut tx, &new).await?;
        tag::set(&mut tx, account.id, Kind::Droplet, row.id, &request.tags).await?;
        let action = machine::insert_action(&mut tx, &row, "create", None).await?;
        rows.push((row, action.id));
    }
    tx.commit().await?;
    service.announce("droplet");
    let answer = answer(
        &service,
        account.id,
        rows,
        request.name.is_some(),
        &base,
        lang,
    )
    .await?;
    Ok((StatusCode::ACCEPTED, Json(answer)))
}

/// Whether the region's host can take another machine.
fn check_room(hypervisor: &impl Hypervisor) -> ApiResult<()> {
    match hypervisor.has_room() {
        Err(full @ VmError::NoRoom { .. }) => Err(ApiError::unprocessable(full.to_string())),
        other => Ok(other.map_err(anyhow::Error::from)?),
    }
}

fn no_address() -> ApiError {
    ApiError::unprocessable(
        "all addresses for droplets are taken; delete one that is not needed, or ask the operator for \
         more (`vm.addresses`, or `first` and `last` in `[vm.network]`)",
    )
}

async fn answer(
    service: &Service,
    account: i64,
    rows: Vec<(DropletRow, i64)>,
    single: bool,
    base: &str,
    lang: Lang,
) -> ApiResult<CreateDropletAnswer> {
    let mut actions = Vec::new();
    let mut created = Vec::new();
    for (row, action) in rows {
        actions.push(CreatedAction {
            id: Id(action),
            rel: "create".to_owned(),
            href: format!("{base}/v2/actions/{action}"),
        });
        created.push(row.id);
    }
    let mut droplets = view::created(service, account, &created, lang).await?;
    let links = CreateLinks { actions };
    Ok(if single {
        CreateDropletAnswer {
            droplet: droplets.pop(),
            droplets: None,
            links,
        }
    } else {
        CreateDropletAnswer {
            droplet: None,
            droplets: Some(droplets),
            links,
        }
    })
}

fn names(request: &CreateDroplet) -> ApiResult<Vec<&str>> {
    let names: Vec<&str> = match (&request.name, request.names.as_slice()) {
        (Some(name), []) => vec![name],
        (None, names @ [_, ..]) => names.iter().map(String::as_str).collect(),
        _ => return Err(ApiError::unprocessable("send either `name` or `names`")),
    };
    if names.len() > MAX_NAMES {
        return Err(ApiError::unprocessable(format!(
            "at most {MAX_NAMES} `names` at once"
        )));
    }
    for name in &names {
        check_name(name)?;
    }
    Ok(names)
}

/// Whether a machine may have this name, which becomes its host name.
pub fn check_name(name: &str) -> ApiResult<()> {
    let ok = !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(['-', '.'])
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'.' || b == b'-');
    if ok {
        return Ok(());
    }
    Err(ApiError::unprocessable(
        "a droplet's name may only hold a-z, A-Z, 0-9, . and -, must begin with a letter or digit, and has 1 to 255 characters",
    ))
}

fn features(request: &CreateDroplet) -> Vec<&'static str> {
    let all = [
        ("backups", request.backups),
        ("ipv6", request.ipv6),
        ("monitoring", request.monitoring),
        ("private_networking", request.private_networking),
    ];
    let wanted = all.into_iter().filter(|(_, wanted)| *wanted);
    wanted.map(|(name, _)| name).collect()
}

fn user_data(request: &CreateDroplet) -> ApiResult<Option<Vec<u8>>> {
    let data = match (&request.user_data, &request.user_data_base64) {
        (Some(_), Some(_)) => {
            return Err(ApiError::unprocessable(
                "send either `user_data` or `user_data_base64`",
            ));
        }
        (Some(text), None) => Some(text.clone().into_bytes()),
        (None, Some(coded)) => Some(BASE64.decode(coded).map_err(|error| {
            ApiError::unprocessable(format!("`user_data_base64` is not Base64: {error}"))
        })?),
        (None, None) => None,
    };
    if data
        .as_ref()
        .is_some_and(|data| data.len() > MAX_USER_DATA_BYTES)
    {
        return Err(ApiError::unprocessable(
            "`user_data` may have at most 64 KiB",
        ));
    }
    Ok(data)
}

/// What the request may carry but cannot have here.
fn check_options(request: &CreateDroplet) -> ApiResult<()> {
    if !request.volumes.is_empty() {
        return Err(ApiError::unprocessable("`volumes` are not offered here"));
    }
    if request
        .vpc_uuid
        .as_ref()
        .is_some_and(|uuid| !uuid.is_empty())
    {
        return Err(ApiError::unprocessable(
            "there is no VPC with this `vpc_uuid`",
        ));
    }
    Ok(())
}

/// The size `slug`.
pub fn known_size(slug: &str) -> ApiResult<&'static Size> {
    Size::find(slug).ok_or_else(|| {
        ApiError::unprocessable(format!(
            "there is no size `{slug}`; GET /v2/sizes lists them"
        ))
    })
}

async fn ssh_keys(
    service: &Service,
    account: i64,
    wanted: &[IdOrName],
) -> ApiResult<Vec<(String, String)>> {
    let mut keys = Vec::new();
    for which in wanted {
        let row = key::find(service.db.read(), account, which)
            .await?
            .ok_or_else(|| {
                ApiError::unprocessable(format!("there is no SSH key `{which}` in the account"))
            })?;
        keys.push((row.name, row.public_key));
    }
    Ok(keys)
}

/// An image that a disk of `disk_bytes` can be made from.
pub async fn usable_image(
    tx: &mut Tx,
    account: i64,
    which: &IdOrName,
    disk_bytes: u64,
) -> ApiResult<ImageRow> {
    let missing = || ApiError::unprocessable(format!("there is no image `{which}` in the account"));
    let IdOrName::Id(id) = which else {
        return Err(missing());
    };
    let row = image::find(&mut **tx, account, *id)
        .await?
        .filter(|row| row.deleted_at.is_none())
        .ok_or_else(missing)?;
    match row.stage()? {
        Stage::Available => {}
        Stage::Failed => {
            return Err(ApiError::unprocessable(format!(
                "the import of image {id} failed: {}",
                row.error_message
            )));
        }
        stage => {
            return Err(ApiError::unprocessable(format!(
                "image {id} is not available yet: {}",
                db::word(stage)
            )));
        }
    }
    let virtual_size = row.virtual_bytes.map_or(0, from_sql_size);
    if virtual_size > disk_bytes {
        return Err(ApiError::unprocessable(format!(
            "image {id} needs a disk of {virtual_size} bytes, and the disk would have {disk_bytes}; \
             take a larger size"
        )));
    }
    Ok(row)
}

/// Has `image`, on which a machine is about to lie, stay in the machine's region.
///
/// # Errors
/// 422 when it is not available there.
pub async fn reserve(tx: &mut Tx, row: &DropletRow, image: &ImageRow) -> ApiResult<()> {
    let copy = image::region(tx, image.id, &row.region).await?;
    let is_there = match &copy {
        Some(copy) => copy.status()? == RegionCopyStatus::Available,
        None => false,
    };
    match &image.digest {
        Some(digest) if is_there => Ok(droplet::set_next(tx, row.id, digest).await?),
        _ => Err(ApiError::unprocessable(format!(
            "image {} is not available in region `{}`, where the droplet is; transfer it there first",
            image.id, row.region
        ))),
    }
}

/// The region that was asked for, by slug or the beginning of one, or the image's first.
async fn usable_region(
    service: &Service,
    image: &ImageRow,
    wanted: Option<&str>,
) -> ApiResult<String> {
    let mut available = Vec::new();
    for copy in image::regions(service.db.read(), image.id).await? {
        if copy.status()? == RegionCopyStatus::Available {
            available.push(copy.region);
        }
    }
    let wanted = wanted.unwrap_or("");
    if !service
        .regions
        .iter()
        .any(|region| region.slug.starts_with(wanted))
    {
        return Err(ApiError::unprocessable(format!(
            "there is no region `{wanted}`"
        )));
    }
    let exact = available.iter().find(|slug| *slug == wanted);
    exact
        .or_else(|| available.iter().find(|slug| slug.starts_with(wanted)))
        .cloned()
        .ok_or_else(|| {
            ApiError::unprocessable(format!(
                "image {} is not available in region `{wanted}`; it is in: {}",
                image.id,
                available.join(", ")
            ))
        })
}
