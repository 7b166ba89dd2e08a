//! One request: from a URL to the beginning of an answer, through redirections.
//!
//! Names are resolved by [`Resolver`] alone, which refuses a name if any of its addresses is
//! closed, and the connection goes to an address of that very answer: there is no second
//! resolution in which a name could change its mind. Nothing is kept between requests, no
//! connection and no cookie; no `Referer` and no credentials are sent; the proxy of the
//! environment is not used. Redirections are followed here, so that each target is looked at like
//! the first.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, IF_RANGE, LOCATION, RANGE};
use reqwest::{Client, Response, StatusCode, Url};

use super::config::FetchConfig;
use super::fault::{Fault, Unreachable};
use super::target::{self, Policy};
use crate::tls;

/// More redirections are a loop, or as good as one.
const MAX_REDIRECTS: usize = 5;

/// Where to go on: everything before `offset` is on disk, and `validator` names the version of
/// the file that it is of.
#[derive(Debug, Clone)]
pub struct Resume {
    /// In bytes.
    pub offset: u64,
    /// A strong `ETag`, or a `Last-Modified`, as the server sent it.
    pub validator: String,
}

/// What fetches share.
#[derive(Debug)]
pub struct Web {
    client: Client,
    policy: Arc<Policy>,
    /// How long to wait for the beginning of an answer.
    patience: Duration,
}

impl Web {
    /// As the operator has set it.
    ///
    /// # Errors
    /// With the setting that is wrong.
    pub fn new(config: &FetchConfig) -> anyhow::Result<Self> {
        let policy = Arc::new(Policy::new(config));
        let mut builder = Client::builder()
            .user_agent(concat!("Abbild/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_max_idle_per_host(0)
            .connect_timeout(Duration::from_secs(config.connect_seconds))
            .no_proxy();
        builder = match &config.proxy {
            // The proxy resolves names. Its own name is the operator's, and not for us to judge.
            Some(url) => builder.proxy(reqwest::Proxy::all(url).context("`fetch.proxy`")?),
            None => builder.dns_resolver(Resolver {
                policy: policy.clone(),
            }),
        };
        let builder = tls::trust_also(builder, "fetch.ca_file", config.ca_file.as_deref())?;
        Ok(Self {
            client: builder.build().context("preparing imports by URL")?,
            policy,
            patience: Duration::from_secs(config.stall_seconds),
        })
    }

    /// Which URLs are taken.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Asks for `url`, from `resume` on if that is given. The answer is any but a redirection,
    /// and comes with the name of the host that gave it.
    ///
    /// A redirection from https to http is followed only if `verified`: if the content is proven
    /// by other means.
    pub async fn get(
        &self,
        url: &Url,
        resume: Option<&Resume>,
        verified: bool,
    ) -> Result<(String, Response), Fault> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            self.policy
                .check(&url)
                .map_err(|why| Fault::Final(format!("the URL {why}")))?;
            let host = target::origin(&url);
            let response = self.ask(&url, &host, resume).await?;
            if !is_redirection(response.status()) {
                return Ok((host, response));
            }
            url = self.redirected(&url, &host, &response, verified)?;
        }
        Err(Fault::Final(format!(
            "the URL was redirected more than {MAX_REDIRECTS} times, at last to {}",
            target::origin(&url)
        )))
    }

    async fn ask(&self, url: &Url, host: &str, resume: Option<&Resume>) -> Result<Response, Fault> {
        let mut request = self
            .client
            .get(url.clone())
            .header(ACCEPT, "*/*")
            // The bytes as they lie there: they are counted, resumed and compared.
            .header(ACCEPT_ENCODING, "identity");
        if let Some(resume) = resume {
            request = request
                .header(RANGE, format!("bytes={}-", resume.offset))
                .header(IF_RANGE, &resume.validator);
        }
        match tokio::time::timeout(self.patience, request.send()).await {
            Ok(answer) => answer.map_err(|error| Fault::of_request(error, host)),
            Err(_) => Err(Fault::passing(format!(
                "{host} did not answer within {} seconds",
                self.patience.as_secs()
            ))),
        }
    }

    /// Where a redirection leads, if that may be followed.
    fn redirected(
        &self,
        from: &Url,
        host: &str,
        response: &Response,
        verified: bool,
    ) -> Result<Url, Fault> {
        let location = response.headers().get(LOCATION);
        let to = location
            .and_then(|value| std::str::from_utf8(value.as_bytes()).ok())
            .and_then(|location| from.join(location).ok())
            .ok_or_else(|| {
                Fault::Final(format!(
                    "{host} redirects, but does not say properly where to"
                ))
            })?;
        self.policy
            .check(&to)
            .map_err(|why| Fault::Final(format!("{host} redirects to a URL that {why}")))?;
        if from.scheme() == "https" && to.scheme() == "http" && !verified {
            return Err(Fault::Final(format!(
                "{host} redirects from https to http ({}), where anybody on the way could change \
                 the image; with a `checksum` it would be followed",
                target::origin(&to)
            )));
        }
        Ok(to)
    }
}

fn is_redirection(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Resolves names, and refuses those that lead where imports may not go.
struct Resolver {
    policy: Arc<Policy>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> =
                tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            for found in &found {
                let address = found.ip();
                if let Err(what) = policy.check_address(address) {
                    return Err(Unreachable { what, address }.into());
                }
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
