//! The API over HTTP. Every request has the credentials of an account, its SID and its auth token, and sees that account's
//! calls only.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, RawQuery, Request, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tracing::info;

use super::form::{self, Create, List, Parameters};
use super::problem::Problem;
use super::register::{Entry, Register};
use super::resource;
use crate::campaign::{CallRequest, Placing, Requester};
use crate::config::model::{Account, Config, Trunk};
use crate::ops::Operate;

/// Longest body: a document as long as those that are fetched, and what is beside it.
const MOST: usize = 128 << 10;

/// How often the API was asked, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiCounts {
    /// Requests in all.
    pub requests: u64,
    /// Of those, without the credentials of an account.
    pub unauthorized: u64,
    /// Of those, refused for another reason.
    pub refused: u64,
}

/// What counts.
#[derive(Debug, Default)]
pub struct Counts {
    requests: AtomicU64,
    unauthorized: AtomicU64,
    refused: AtomicU64,
}

impl Counts {
    /// How often so far.
    pub fn now(&self) -> ApiCounts {
        ApiCounts {
            requests: self.requests.load(Ordering::Relaxed),
            unauthorized: self.unauthorized.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
        }
    }
}

/// The API. It serves until it is dropped.
#[derive(Debug)]
pub struct Api {
    task: JoinHandle<()>,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What requests work with.
#[derive(Clone)]
struct Shared {
    config: Arc<Config>,
    gateway: Arc<dyn Operate>,
    register: Arc<Register>,
    counts: Arc<Counts>,
}

/// Whose credentials a request has.
#[derive(Clone, Debug)]
struct Caller {
    tenant: Option<String>,
    account: Account,
}

impl Api {
    /// Serves at `address`. To be called within a tokio runtime.
    ///
    /// # Errors
    /// It cannot be listened on there.
    pub async fn start(
        address: SocketAddr,
        config: Arc<Config>,
        gateway: Arc<dyn Operate>,
        register: Arc<Register>,
        counts: Arc<Counts>,
    ) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let shared = Shared {
            config,
            gateway,
            register,
            counts,
        };
        let router = router(shared);
        info!(address = %listener.local_addr()?, "the REST API listens");
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                tracing::error!(%error, "the REST API has stopped");
            }
        });
        Ok(Self { task })
    }
}

fn router(shared: Shared) -> Router {
    let not_found = async |uri: Uri| Problem::NotFound(uri.path().to_owned());
    let not_allowed = async |method: axum::http::Method| Problem::Method(method.to_string());
    Router::new()
        .route("/2010-04-01/Accounts/{account}/Calls.json", get(list).post(create))
        .route("/2010-04-01/Accounts/{account}/Calls/{call}", get(fetch).post(update))
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn_with_state(shared.clone(), admit))
        .layer(DefaultBodyLimit::max(MOST))
        .with_state(shared)
}

/// Lets a request in if it has the credentials of the account whose resource it asks for.
async fn admit(State(shared): State<Shared>, mut request: Request, next: Next) -> Response {
    let counts = &shared.counts;
    counts.requests.fetch_add(1, Ordering::Relaxed);
    let Some(caller) = caller(&shared.config, request.headers(), request.uri()) else {
        counts.unauthorized.fetch_add(1, Ordering::Relaxed);
        return Problem::Unauthorized.into_response();
    };
    request.extensions_mut().insert(caller);
    let response = next.run(request).await;
    if !response.status().is_success() {
        counts.refused.fetch_add(1, Ordering::Relaxed);
    }
    response
}

/// Whose credentials these are, if they are good for what is asked for.
fn caller(config: &Config, headers: &HeaderMap, uri: &Uri) -> Option<Caller> {
    let asked = uri.path().split('/').nth(3)?;
    let credentials = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, encoded) = credentials.split_once(' ')?;
    let decoded = STANDARD.decode(encoded.trim()).ok()?;
    let text = std::str::from_utf8(&decoded).ok()?;
    let (user, password) = text.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let tenants = config.tenants.iter();
    let tenants = tenants.map(|tenant| (Some(&tenant.name), &tenant.account));
    let mut accounts = tenants.chain([(None, &config.node.account)]);
    let (tenant, account) = accounts.find(|(_, account)| account.sid == user && user == asked)?;
    let token = account.auth_token.as_ref()?;
    let is_right: bool = token.expose().as_bytes().ct_eq(password.as_bytes()).into();
    is_right.then(|| Caller {
        tenant: tenant.cloned(),
        account: account.clone(),
    })
}

type Whose = axum::Extension<Caller>;

async fn list(State(shared): State<Shared>, whose: Whose, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let asked = List::read(&parameters(query.unwrap_or_default().as_bytes()))?;
    let fits = |entry: &Entry| asked.fits(entry);
    let tenant = whose.tenant.as_deref();
    let page = shared.register.list(tenant, fits, asked.after, asked.size);
    Ok(Json(resource::calls(&whose.account.sid, &asked, &page)).into_response())
}

async fn fetch(State(shared): State<Shared>, whose: Whose, path: Path<(String, String)>) -> Result<Response, Problem> {
    let entry = shared.named(&whose, &path.1)?;
    Ok(Json(resource::call(&whose.account.sid, &entry)).into_response())
}

async fn create(State(shared): State<Shared>, whose: Whose, body: Bytes) -> Result<Response, Problem> {
    let asked = Create::read(&parameters(&body))?;
    let trunk = shared.trunk(&whose, &asked.from)?;
    let placing = Placing {
        trunk: trunk.name.clone(),
        agent: String::new(),
        application: asked.application,
        caller_id: Some(asked.from),
        tenant: whose.tenant.clone(),
        ring_timeout_s: Some(asked.ring_timeout_s),
        parameters: Default::default(),
        headers: Default::default(),
    };
    let placed = shared.gateway.dials().place(CallRequest { to: asked.to, placing })?;
    let entry = shared.of_name(&whose, &placed.call)?;
    let call = resource::call(&whose.account.sid, &entry);
    Ok((StatusCode::CREATED, Json(call)).into_response())
}

async fn update(
    State(shared): State<Shared>,
    whose: Whose,
    path: Path<(String, String)>,
    body: Bytes,
) -> Result<Response, Problem> {
    let entry = shared.named(&whose, &path.1)?;
    let change = form::change(&parameters(&body))?;
    // One that is over is not to be confused with one that there never was.
    if entry.status.is_final() {
        return Err(Problem::NotInProgress(format!("It is {}", entry.status.name())));
    }
    let name = entry.id.to_string();
    shared.gateway.dials().change(&name, change, Requester::RestApi)?;
    let entry = shared.of_name(&whose, &name)?;
    Ok(Json(resource::call(&whose.account.sid, &entry)).into_response())
}

impl Shared {
    /// The call that a path names: `CA….json`.
    fn named(&self, whose: &Caller, name: &str) -> Result<Entry, Problem> {
        let id = name.strip_suffix(".json").and_then(resource::call_id);
        let found = id.and_then(|id| self.register.find(whose.tenant.as_deref(), id));
        let path = || format!("/{}/Accounts/{}/Calls/{name}", super::VERSION, whose.account.sid);
        found.ok_or_else(|| Problem::NotFound(path()))
    }

    /// The call of the gateway's own name for it.
    fn of_name(&self, whose: &Caller, name: &str) -> Result<Entry, Problem> {
        let id = u64::from_str_radix(name, 16).ok().map(crate::call::CallId);
        let found = id.and_then(|id| self.register.find(whose.tenant.as_deref(), id));
        found.ok_or_else(|| Problem::NotFound(format!("call {name}")))
    }

    /// The trunk by which an account may place a call that shows this number.
    fn trunk(&self, whose: &Caller, from: &str) -> Result<&Trunk, Problem> {
        let refused = |text: String| Problem::Parameter(21210, text);
        // A number that is another's is not to be shown, whatever the trunk may.
        let owner = self.config.did(from).map(|did| did.tenant.as_deref());
        if owner.is_some_and(|owner| owner != whose.tenant.as_deref()) {
            return Err(refused(format!("'From' number {from} is not a number of this account")));
        }
        let mut trunks = self.config.trunks.iter();
        let fits = |trunk: &&Trunk| {
            whose.account.call_trunks.contains(&trunk.name) && trunk.caller_ids.iter().any(|id| id == from)
        };
        trunks.find(fits).ok_or_else(|| {
            refused(format!(
                "'From' number {from} is not among the caller_ids of a trunk in call_trunks of this account"
            ))
        })
    }
}

fn parameters(text: &[u8]) -> Parameters {
    url::form_urlencoded::parse(text).into_owned().collect()
}
