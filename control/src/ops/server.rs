//! The admin server: HTTP on a Unix socket, and metrics over TCP where configured.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path as InPath, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use voxlane_dataplane::lane::Lane;

use super::capture::{self, Capture};
use super::report::TransferOrder;
use super::socket::{OpsError, SocketFile};
use super::{Operate, OperateError, dials, metrics, taps};

/// How long an answer that has begun may take to end when the server stops.
const GOODBYE: Duration = Duration::from_secs(1);

/// The admin server. It serves until it is stopped or dropped, which also removes the socket.
#[derive(Debug)]
pub struct AdminServer {
    tasks: Vec<JoinHandle<()>>,
    stop: watch::Sender<()>,
    metrics: Option<SocketAddr>,
    _socket: SocketFile,
}

impl AdminServer {
    /// Starts it on `control.sock` in the runtime directory, and for metrics on `metrics`. To be called within a tokio
    /// runtime.
    ///
    /// # Errors
    /// What kept it from listening.
    pub async fn start(
        gateway: Arc<dyn Operate>,
        runtime_dir: &Path,
        metrics: Option<SocketAddr>,
    ) -> Result<Self, OpsError> {
        let tcp = match metrics {
            Some(address) => {
                let failed = |error| OpsError::Metrics { address, error };
                Some(TcpListener::bind(address).await.map_err(failed)?)
            }
            None => None,
        };
        let (socket, listener) = SocketFile::listen(runtime_dir)?;
        let failed = |error| OpsError::File {
            path: super::socket::path(runtime_dir),
            error,
        };
        listener.set_nonblocking(true).map_err(failed)?;
        let unix = UnixListener::from_std(listener).map_err(failed)?;

        let metrics = tcp.as_ref().and_then(|tcp| tcp.local_addr().ok());
        let metrics_only = Router::new()
            .route("/metrics", get(text))
            .with_state(Arc::clone(&gateway));
        let (stop, stopped) = watch::channel(());
        let mut tasks = vec![serve(unix, router(gateway), stopped.clone())];
        tasks.extend(tcp.map(|tcp| serve(tcp, metrics_only, stopped)));
        Ok(Self {
            tasks,
            stop,
            metrics,
            _socket: socket,
        })
    }

    /// Takes no more questions and lets the answers that have begun come to their end, captures above all.
    pub async fn stop(mut self) {
        // Nobody listening means nobody to wait for.
        let _ = self.stop.send(());
        for task in &mut self.tasks {
            if tokio::time::timeout(GOODBYE, task).await.is_err() {
                tracing::debug!("an answer of the admin server was cut off");
            }
        }
    }

    /// Where metrics are served over TCP.
    pub fn metrics(&self) -> Option<SocketAddr> {
        self.metrics
    }
}

impl Drop for AdminServer {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn serve<L>(listener: L, router: Router, mut stopped: watch::Receiver<()>) -> JoinHandle<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    tokio::spawn(async move {
        let stopped = async move {
            // A sender that is gone has stopped, too.
            let _ = stopped.changed().await;
        };
        if let Err(error) = axum::serve(listener, router).with_graceful_shutdown(stopped).await {
            tracing::error!(%error, "the admin server stopped");
        }
    })
}

pub(super) type Gateway = State<Arc<dyn Operate>>;

fn router(gateway: Arc<dyn Operate>) -> Router {
    Router::new()
        .route(
            "/v1/status",
            get(async |State(gateway): Gateway| Json(gateway.status())),
        )
        .route("/v1/calls", get(async |State(gateway): Gateway| Json(gateway.calls())))
        .route("/v1/flows", get(async |State(gateway): Gateway| Json(gateway.flows())))
        .route("/v1/calls/{call}/lane", put(lane))
        .route("/v1/calls/{call}/capture", get(capture))
        .route(
            "/v1/calls/{call}/transfer",
            get(transfer_of).post(transfer).delete(cancel_transfer),
        )
        .route("/metrics", get(text))
        .merge(dials::routes())
        .merge(taps::routes())
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                "there is /v1/status, /v1/calls, /v1/flows, /metrics, /v1/campaigns, /v1/calls/CALL, /v1/calls/CALL/lane, /v1/calls/CALL/transfer, /v1/calls/CALL/tap and /v1/calls/CALL/capture\n",
            )
        })
        .with_state(gateway)
}

async fn lane(State(gateway): Gateway, InPath(call): InPath<String>, Json(lane): Json<Lane>) -> Response {
    answer(gateway.prefer(&call, lane))
}

async fn transfer(State(gateway): Gateway, InPath(call): InPath<String>, Json(order): Json<TransferOrder>) -> Response {
    answer(gateway.transfer(&call, &order))
}

async fn transfer_of(State(gateway): Gateway, InPath(call): InPath<String>) -> Response {
    answer(gateway.transfer_of(&call))
}

async fn cancel_transfer(State(gateway): Gateway, InPath(call): InPath<String>) -> Response {
    answer(gateway.cancel_transfer(&call))
}

pub(super) fn answer<T: Serialize>(result: Result<T, OperateError>) -> Response {
    match result {
        Ok(report) => Json(report).into_response(),
        Err(error) => refused(&error),
    }
}

async fn capture(State(gateway): Gateway, InPath(call): InPath<String>) -> Response {
    match gateway.mirror(&call).map(Capture::start) {
        Ok(Ok(capture)) => ([(header::CONTENT_TYPE, capture::CONTENT_TYPE)], Body::new(capture)).into_response(),
        Ok(Err(error)) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            format!("no thread for it: {error}\n"),
        )
            .into_response(),
        Err(error) => refused(&error),
    }
}

fn refused(error: &OperateError) -> Response {
    let status = match error {
        OperateError::NoCall(_) => StatusCode::NOT_FOUND,
        OperateError::Ambiguous(..)
        | OperateError::NoMedia(_)
        | OperateError::NotTransferred(..)
        | OperateError::NotRelayed(_)
        | OperateError::Media(_) => StatusCode::CONFLICT,
    };
    (status, format!("{error}\n")).into_response()
}

async fn text(State(gateway): Gateway) -> Response {
    match metrics::text(&gateway.status(), &gateway.flows()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
