//! The routes of calls that are listened to.

use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::extract::{Path as InPath, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use tokio::net::lookup_host;

use super::Operate;
use super::report::TapOrder;
use super::server::{Gateway, answer};
use crate::config;
use crate::sip::transport::tls;

/// What is below `/v1/calls/{call}/tap`.
pub fn routes() -> Router<Arc<dyn Operate>> {
    Router::new().route("/v1/calls/{call}/tap", post(tap).delete(end))
}

/// The host is looked up here: nothing else waits for that.
async fn tap(State(gateway): Gateway, InPath(call): InPath<String>, Json(order): Json<TapOrder>) -> Response {
    let host = match config::web_socket_host(&order.url) {
        Ok(host) => host,
        Err(error) => return (StatusCode::BAD_REQUEST, format!("url: {error}\n")).into_response(),
    };
    let tls = match &order.ca {
        None => None,
        Some(ca) => match tls::trusting(ca) {
            Ok(tls) => Some(tls),
            Err(error) => return (StatusCode::BAD_REQUEST, format!("ca: {error}\n")).into_response(),
        },
    };
    match lookup_host((host.host.as_str(), host.port)).await {
        Ok(addresses) => answer(gateway.tap(&call, &order, addresses.collect(), tls)),
        Err(error) => (StatusCode::BAD_GATEWAY, format!("url: {}: {error}\n", host.host)).into_response(),
    }
}

async fn end(State(gateway): Gateway, InPath(call): InPath<String>) -> Response {
    answer(gateway.end_taps(&call))
}
