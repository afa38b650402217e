//! The admin server: HTTP on a Unix socket, and metrics over TCP where configured.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;

use super::socket::{OpsError, SocketFile};
use super::{Inspect, metrics};

/// The admin server. It serves until it is dropped, which also removes the socket.
#[derive(Debug)]
pub struct AdminServer {
    tasks: Vec<JoinHandle<()>>,
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
        inspect: Arc<dyn Inspect>,
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
            .with_state(Arc::clone(&inspect));
        let mut tasks = vec![serve(unix, router(inspect))];
        tasks.extend(tcp.map(|tcp| serve(tcp, metrics_only)));
        Ok(Self {
            tasks,
            metrics,
            _socket: socket,
        })
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

fn serve<L>(listener: L, router: Router) -> JoinHandle<()>
where
    L: axum::serve::Listener,
    L::Addr: std::fmt::Debug,
{
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!(%error, "the admin server stopped");
        }
    })
}

type Gateway = State<Arc<dyn Inspect>>;

fn router(inspect: Arc<dyn Inspect>) -> Router {
    Router::new()
        .route(
            "/v1/status",
            get(async |State(gateway): Gateway| Json(gateway.status())),
        )
        .route("/v1/calls", get(async |State(gateway): Gateway| Json(gateway.calls())))
        .route("/v1/flows", get(async |State(gateway): Gateway| Json(gateway.flows())))
        .route("/metrics", get(text))
        .fallback(async || {
            (
                StatusCode::NOT_FOUND,
                "there is /v1/status, /v1/calls, /v1/flows and /metrics\n",
            )
        })
        .with_state(inspect)
}

async fn text(State(gateway): Gateway) -> Response {
    match metrics::text(&gateway.status(), &gateway.flows()) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
