//! Asks a running gateway over its admin socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::socket;

/// A gateway that takes longer than this is taken for hung.
const PATIENCE: Duration = Duration::from_secs(5);

/// Most bytes of an answer: 10,000 calls with their legs take a tenth of it.
const LIMIT: usize = 128 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "{}: no gateway answers here ({error}); is \"voxlane serve\" running, with the same --runtime-dir?",
        path.display()
    )]
    NotRunning {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The socket belongs to another user.
    #[error("{}: permission denied; run this as the user that runs \"voxlane serve\"", .0.display())]
    Permission(PathBuf),
    /// No answer in time.
    #[error("{}: the gateway did not answer within {} s", path.display(), PATIENCE.as_secs())]
    Timeout {
        /// The socket.
        path: PathBuf,
    },
    /// The exchange broke.
    #[error("{}: the answer could not be read: {message}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// What happened.
        message: String,
    },
    /// The gateway answered with an error.
    #[error("{}: the gateway answered {status}: {text}", path.display())]
    Status {
        /// The socket.
        path: PathBuf,
        /// HTTP status.
        status: StatusCode,
        /// What it said.
        text: String,
    },
}

/// `GET`s a route and reads the JSON.
///
/// # Errors
/// Why there is no answer, or none that can be read.
pub async fn get<T: DeserializeOwned>(runtime_dir: &Path, route: &str) -> Result<T, ClientError> {
    let bytes = get_bytes(runtime_dir, route).await?;
    serde_json::from_slice(&bytes).map_err(|error| broken(&socket::path(runtime_dir), &error))
}

/// `GET`s a route.
///
/// # Errors
/// Why there is no answer.
pub async fn get_bytes(runtime_dir: &Path, route: &str) -> Result<Bytes, ClientError> {
    let path = socket::path(runtime_dir);
    in_time(&path, async {
        read(&path, exchange(&path, Method::GET, route, Bytes::new()).await?).await
    })
    .await
}

/// `PUT`s a value to a route.
///
/// # Errors
/// Why there is no answer.
pub async fn put_bytes<T: Serialize>(runtime_dir: &Path, route: &str, value: &T) -> Result<Bytes, ClientError> {
    send(runtime_dir, Method::PUT, route, value).await
}

/// `POST`s a value to a route.
///
/// # Errors
/// Why there is no answer.
pub async fn post_bytes<T: Serialize>(runtime_dir: &Path, route: &str, value: &T) -> Result<Bytes, ClientError> {
    send(runtime_dir, Method::POST, route, value).await
}

/// `DELETE`s what is at a route.
///
/// # Errors
/// Why there is no answer.
pub async fn delete_bytes(runtime_dir: &Path, route: &str) -> Result<Bytes, ClientError> {
    let path = socket::path(runtime_dir);
    in_time(&path, async {
        read(&path, exchange(&path, Method::DELETE, route, Bytes::new()).await?).await
    })
    .await
}

async fn send<T: Serialize>(runtime_dir: &Path, method: Method, route: &str, value: &T) -> Result<Bytes, ClientError> {
    let path = socket::path(runtime_dir);
    let body = serde_json::to_vec(value).map_err(|error| broken(&path, &error))?;
    in_time(&path, async {
        read(&path, exchange(&path, method, route, body.into()).await?).await
    })
    .await
}

/// `GET`s a route whose answer has no end that is known: its body, to be read as it comes.
///
/// # Errors
/// Why there is no answer.
pub async fn open(runtime_dir: &Path, route: &str) -> Result<Incoming, ClientError> {
    let path = socket::path(runtime_dir);
    in_time(&path, async {
        let response = exchange(&path, Method::GET, route, Bytes::new()).await?;
        match response.status() {
            StatusCode::OK => Ok(response.into_body()),
            _ => Err(refused(&path, response).await),
        }
    })
    .await
}

async fn in_time<T>(path: &Path, answer: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    match tokio::time::timeout(PATIENCE, answer).await {
        Ok(result) => result,
        Err(_) => Err(ClientError::Timeout { path: path.to_owned() }),
    }
}

async fn exchange(path: &Path, method: Method, route: &str, body: Bytes) -> Result<Response<Incoming>, ClientError> {
    let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => ClientError::Permission(path.to_owned()),
        _ => ClientError::NotRunning {
            path: path.to_owned(),
            error,
        },
    })?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| broken(path, &error))?;
    // Ends when the sender is dropped; its errors come out of the request as well.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(route)
        .header(header::HOST, "voxlane")
        .header(header::CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| broken(path, &error))?;
    sender.send_request(request).await.map_err(|error| broken(path, &error))
}

async fn read(path: &Path, response: Response<Incoming>) -> Result<Bytes, ClientError> {
    match response.status() {
        StatusCode::OK => body(path, response).await,
        _ => Err(refused(path, response).await),
    }
}

/// What an answer other than 200 says.
async fn refused(path: &Path, response: Response<Incoming>) -> ClientError {
    let status = response.status();
    match body(path, response).await {
        Ok(text) => ClientError::Status {
            path: path.to_owned(),
            status,
            text: String::from_utf8_lossy(&text).trim().to_owned(),
        },
        Err(error) => error,
    }
}

async fn body(path: &Path, response: Response<Incoming>) -> Result<Bytes, ClientError> {
    let body = Limited::new(response.into_body(), LIMIT).collect().await;
    Ok(body.map_err(|error| broken(path, &*error))?.to_bytes())
}

fn broken(path: &Path, error: &dyn std::error::Error) -> ClientError {
    ClientError::Broken {
        path: path.to_owned(),
        message: error.to_string(),
    }
}
