//! OpenID Connect: the code flow with PKCE (OpenID Connect Core 1.0, section 3.1; RFC 7636).
//!
//! The browser is sent to the provider with a random *state* and *nonce*, and comes back with a
//! code, for which the provider tells us in an ID token who it was. The library verifies the
//! token's signature, issuer, audience, time and nonce. The state is good for one login of one
//! browser (`db/oidc.rs`); who may come in is decided in `http/oidc.rs`.
//!
//! Logins are rare, so nothing of the provider is kept: its metadata and keys are asked for anew,
//! and may change at any time.

use std::time::Duration;

use anyhow::{Context as _, bail};
use openidconnect::core::{CoreAuthenticationFlow, CoreClient, CoreProviderMetadata};
use openidconnect::{
    AccessTokenHash, AuthorizationCode, ClientId, ClientSecret, CsrfToken, EndpointMaybeSet,
    EndpointNotSet, EndpointSet, HttpRequest, HttpResponse, IssuerUrl, Nonce,
    OAuth2TokenResponse as _, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    Scope, TokenResponse as _,
};
use reqwest::Client;

use crate::config::OidcConfig;
use crate::http::{ApiError, ApiResult};
use crate::tls;

/// The longest answer of a provider, in bytes.
const MAX_ANSWER: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(15);

/// A client for which the provider's metadata name what it needs.
type ProviderClient = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// The configured provider.
#[derive(Debug)]
pub struct Oidc {
    issuer: IssuerUrl,
    id: ClientId,
    secret: Option<ClientSecret>,
    http: Client,
}

/// A login that begins.
#[derive(Debug)]
pub struct Begun {
    /// Where the browser goes.
    pub url: String,
    /// What it brings back.
    pub state: String,
    /// What the ID token must hold.
    pub nonce: String,
    /// What proves that the code is ours.
    pub verifier: String,
}

/// Whom the provider says it was.
#[derive(Debug)]
pub struct Claimed {
    /// The provider.
    pub issuer: String,
    /// Its name for them, which never becomes another's.
    pub subject: String,
    /// Their address, if the provider has verified it.
    pub email: Option<String>,
    /// Their name.
    pub name: Option<String>,
}

impl Oidc {
    /// As the operator has set it; `None` without an issuer.
    ///
    /// # Errors
    /// With the setting that is wrong.
    pub fn new(config: &OidcConfig) -> anyhow::Result<Option<Self>> {
        let Some(issuer) = &config.issuer else {
            return Ok(None);
        };
        let builder = Client::builder()
            .user_agent(concat!("Abbild/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE);
        let builder = tls::trust_also(builder, "oidc.ca_file", config.ca_file.as_deref())?;
        let secret = config.client_secret.as_ref();
        Ok(Some(Self {
            issuer: IssuerUrl::new(issuer.clone()).context("`oidc.issuer`")?,
            id: ClientId::new(config.client_id.clone()),
            secret: secret.map(|secret| ClientSecret::new(secret.expose().to_owned())),
            http: builder
                .build()
                .context("preparing logins with OpenID Connect")?,
        }))
    }

    /// Begins a login that ends at `redirect`.
    ///
    /// # Errors
    /// 503 when the provider cannot be asked.
    pub async fn begin(&self, redirect: &str) -> ApiResult<Begun> {
        let client = self.client(redirect).await?;
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let (url, state, nonce) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .add_scope(Scope::new("email".to_owned()))
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(challenge)
            .url();
        Ok(Begun {
            url: url.to_string(),
            state: state.into_secret(),
            nonce: nonce.secret().clone(),
            verifier: verifier.into_secret(),
        })
    }

    /// Learns who it was, for the code that the browser brought.
    ///
    /// # Errors
    /// 503 when the provider cannot be asked, 401 when it does not know the code, or its token is
    /// not what it should be.
    pub async fn finish(
        &self,
        redirect: &str,
        code: String,
        nonce: String,
        verifier: String,
    ) -> ApiResult<Claimed> {
        let client = self.client(redirect).await?;
        let http = |request: HttpRequest| send(self.http.clone(), request);
        let answer = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| unreachable(anyhow::Error::new(error)))?
            .set_pkce_verifier(PkceCodeVerifier::new(verifier))
            .request_async(&http)
            .await
            .map_err(|error| match error {
                RequestTokenError::ServerResponse(_) => not_proven(anyhow::Error::new(error)),
                error => unreachable(anyhow::Error::new(error)),
            })?;
        let verified = || -> anyhow::Result<Claimed> {
            let token = answer.id_token().context("there is no ID token")?;
            let verifier = client.id_token_verifier();
            let claims = token.claims(&verifier, &Nonce::new(nonce))?;
            if let Some(expected) = claims.access_token_hash() {
                let algorithm = token.signing_alg()?;
                let key = token.signing_key(&verifier)?;
                let access = answer.access_token();
                if AccessTokenHash::from_token(access, algorithm, key)? != *expected {
                    bail!("the access token is another's");
                }
            }
            let email = claims
                .email()
                .filter(|_| claims.email_verified() == Some(true));
            let name = claims.name().and_then(|name| name.get(None));
            Ok(Claimed {
                issuer: claims.issuer().to_string(),
                subject: claims.subject().to_string(),
                email: email.map(|email| email.to_string()),
                name: name.map(|name| name.to_string()),
            })
        };
        verified().map_err(not_proven)
    }

    /// What speaks to the provider, for logins that end at `redirect`.
    async fn client(&self, redirect: &str) -> ApiResult<ProviderClient> {
        let http = |request: HttpRequest| send(self.http.clone(), request);
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &http)
            .await
            .map_err(|error| unreachable(error.into()))?;
        let redirect = RedirectUrl::new(redirect.to_owned()).map_err(ApiError::internal)?;
        let (id, secret) = (self.id.clone(), self.secret.clone());
        let client = CoreClient::from_provider_metadata(metadata, id, secret);
        Ok(client.set_redirect_uri(redirect))
    }
}

/// 503, with the cause in the log.
fn unreachable(error: anyhow::Error) -> ApiError {
    tracing::error!(
        error = format!("{error:#}"),
        "the OpenID Connect provider cannot be asked"
    );
    ApiError::unavailable(
        "The login provider does not answer as it should; try again later, or log in with a password.",
    )
}

/// 401, with the cause in the log.
fn not_proven(error: anyhow::Error) -> ApiError {
    tracing::warn!(
        error = format!("{error:#}"),
        "a login with OpenID Connect was refused"
    );
    ApiError::unauthorized_because(
        "The login provider did not prove who you are; begin the login again.",
    )
}

async fn send(client: Client, request: HttpRequest) -> std::io::Result<HttpResponse> {
    let request = reqwest::Request::try_from(request).map_err(std::io::Error::other)?;
    let mut response = client
        .execute(request)
        .await
        .map_err(std::io::Error::other)?;
    let mut answer = axum::http::Response::builder().status(response.status());
    if let Some(headers) = answer.headers_mut() {
        headers.clone_from(response.headers());
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(std::io::Error::other)? {
        if body.len() + chunk.len() > MAX_ANSWER {
            return Err(std::io::Error::other("the answer is too long"));
        }
        body.extend_from_slice(&chunk);
    }
    answer.body(body).map_err(std::io::Error::other)
}
