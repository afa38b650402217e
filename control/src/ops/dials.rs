//! Calls that are placed, and campaigns of them, on the admin socket.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Operate;
use crate::campaign::{
    CallRequest, CallResult, CallUpdate, CampaignReport, CampaignRequest, Change, PlaceError, Requester, Updated,
};
use crate::config::nearest;

/// Longest request: a campaign of some hundred thousand numbers.
const MOST: usize = 16 << 20;
/// Keys of how a call is placed.
const PLACING: [&str; 15] = [
    "trunk",
    "agent",
    "voice_url",
    "voice_method",
    "twiml",
    "voice_fallback_url",
    "voice_fallback_method",
    "status_callback",
    "status_callback_method",
    "status_callback_event",
    "caller_id",
    "tenant",
    "ring_timeout_s",
    "parameters",
    "headers",
];

/// What the gateway can be asked to call. Called from the admin server's tasks; must return at once.
pub trait Dials: Send + Sync {
    /// Places a call, when its turn comes.
    ///
    /// # Errors
    /// What is wrong with it, or that too many wait.
    fn place(&self, request: CallRequest) -> Result<CallResult, PlaceError>;

    /// What became of a call that was placed.
    ///
    /// # Errors
    /// There is none of this name.
    fn placed(&self, call: &str) -> Result<CallResult, PlaceError>;

    /// Changes what becomes of a call. Any call alive can be named, by the first characters of its name, and one that waits for
    /// its turn, by the whole; gives the whole of it.
    ///
    /// # Errors
    /// There is no such call, or it is not so far, or over.
    fn change(&self, call: &str, change: Change, by: Requester) -> Result<Updated, PlaceError>;

    /// Takes a call back, or hangs it up.
    ///
    /// # Errors
    /// As [`Self::placed`].
    fn cancel(&self, call: &str) -> Result<CallResult, PlaceError>;

    /// Calls all numbers of a campaign.
    ///
    /// # Errors
    /// As [`Self::place`].
    fn start_campaign(&self, request: CampaignRequest) -> Result<CampaignReport, PlaceError>;

    /// How all campaigns go, oldest first.
    fn campaigns(&self) -> Vec<CampaignReport>;

    /// How one goes.
    ///
    /// # Errors
    /// There is none of this name.
    fn campaign(&self, campaign: u64) -> Result<CampaignReport, PlaceError>;

    /// What became of its calls, in the order of its numbers.
    ///
    /// # Errors
    /// As [`Self::campaign`].
    fn campaign_results(&self, campaign: u64) -> Result<Vec<CallResult>, PlaceError>;

    /// Stops it.
    ///
    /// # Errors
    /// As [`Self::campaign`].
    fn stop_campaign(&self, campaign: u64) -> Result<CampaignReport, PlaceError>;
}

type Gateway = State<Arc<dyn Operate>>;

/// The routes.
pub(super) fn routes() -> Router<Arc<dyn Operate>> {
    Router::new()
        .route("/v1/calls", post(place))
        .route("/v1/calls/{call}", get(placed).post(update).delete(cancel))
        .route("/v1/campaigns", get(campaigns).post(start_campaign))
        .route("/v1/campaigns/{campaign}", get(campaign).delete(stop_campaign))
        .route("/v1/campaigns/{campaign}/results", get(results))
        .layer(DefaultBodyLimit::max(MOST))
}

async fn place(State(gateway): Gateway, body: Bytes) -> Response {
    let known = [&["to"], &PLACING[..]].concat();
    answer(read(&body, &known).and_then(|request| gateway.dials().place(request)))
}

async fn placed(State(gateway): Gateway, Path(call): Path<String>) -> Response {
    answer(gateway.dials().placed(&call))
}

async fn update(State(gateway): Gateway, Path(call): Path<String>, body: Bytes) -> Response {
    let known = ["voice_url", "voice_method", "twiml", "hang_up"];
    let change = read(&body, &known).and_then(|update: CallUpdate| update.read());
    answer(change.and_then(|change| gateway.dials().change(&call, change, Requester::Operator)))
}

async fn cancel(State(gateway): Gateway, Path(call): Path<String>) -> Response {
    answer(gateway.dials().cancel(&call))
}

async fn start_campaign(State(gateway): Gateway, body: Bytes) -> Response {
    let known = [&["numbers", "rate", "concurrency"], &PLACING[..]].concat();
    answer(read(&body, &known).and_then(|request| gateway.dials().start_campaign(request)))
}

async fn campaigns(State(gateway): Gateway) -> Response {
    Json(gateway.dials().campaigns()).into_response()
}

async fn campaign(State(gateway): Gateway, Path(campaign): Path<String>) -> Response {
    answer(number(&campaign).and_then(|campaign| gateway.dials().campaign(campaign)))
}

async fn stop_campaign(State(gateway): Gateway, Path(campaign): Path<String>) -> Response {
    answer(number(&campaign).and_then(|campaign| gateway.dials().stop_campaign(campaign)))
}

/// A line a call.
async fn results(State(gateway): Gateway, Path(campaign): Path<String>) -> Response {
    let results = match number(&campaign).and_then(|campaign| gateway.dials().campaign_results(campaign)) {
        Ok(results) => results,
        Err(error) => return refused(&error),
    };
    let lines: Result<Vec<String>, _> = results.iter().map(serde_json::to_string).collect();
    match lines {
        Ok(lines) => {
            let text = lines.into_iter().map(|line| line + "\n").collect::<String>();
            ([(header::CONTENT_TYPE, "application/jsonl")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

fn number(campaign: &str) -> Result<u64, PlaceError> {
    let unknown = |_| PlaceError::Unknown("campaign", campaign.to_owned());
    campaign.parse().map_err(unknown)
}

/// Reads a request, and finds fault with keys that there are not: what is misspelt is missed otherwise.
fn read<T: DeserializeOwned>(body: &[u8], known: &[&str]) -> Result<T, PlaceError> {
    let wrong = |error: serde_json::Error| PlaceError::Request(format!("the request cannot be read: {error}"));
    let map: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).map_err(wrong)?;
    if let Some(key) = map.keys().find(|key| !known.contains(&key.as_str())) {
        let advice = match nearest(key, known.iter().copied()) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("there is {}", known.join(", ")),
        };
        return Err(PlaceError::Request(format!("unknown key {key:?}; {advice}")));
    }
    serde_json::from_value(map.into()).map_err(wrong)
}

fn answer<T: Serialize>(result: Result<T, PlaceError>) -> Response {
    match result {
        Ok(report) => Json(report).into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &PlaceError) -> Response {
    let status = match error {
        PlaceError::Request(_) => StatusCode::BAD_REQUEST,
        PlaceError::Full { .. } | PlaceError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        PlaceError::Unknown(..) | PlaceError::NotAlive(_) => StatusCode::NOT_FOUND,
        PlaceError::NotNow(_) => StatusCode::CONFLICT,
    };
    (status, format!("{error}\n")).into_response()
}
