//! What is wrong with a request, as Twilio says it: a status of HTTP, a code of its error dictionary, and words.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::campaign::PlaceError;

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// No credentials, or wrong ones.
    #[error("Authenticate")]
    Unauthorized,
    /// There is no such thing, or it is another account's.
    #[error("The requested resource {0} was not found")]
    NotFound(String),
    /// The resource cannot be asked for that.
    #[error("{0} is not allowed here")]
    Method(String),
    /// A parameter is missing, wrong, or not supported.
    #[error("{1}")]
    Parameter(u16, String),
    /// The call is over, or not so far yet.
    #[error("Call is not in-progress. {0}")]
    NotInProgress(String),
    /// Too many calls wait already.
    #[error("{0}")]
    TooMany(String),
    /// The gateway is stopping.
    #[error("{0}")]
    Unavailable(String),
}

/// After how long what is too much now may be asked for again, seconds.
const RETRY_AFTER: &str = "1";

impl Problem {
    /// The status of HTTP, and the code.
    pub fn codes(&self) -> (StatusCode, u16) {
        match self {
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, 20003),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, 20404),
            Self::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, 20004),
            Self::Parameter(code, _) => (StatusCode::BAD_REQUEST, *code),
            Self::NotInProgress(_) => (StatusCode::BAD_REQUEST, 21220),
            Self::TooMany(_) => (StatusCode::TOO_MANY_REQUESTS, 20429),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, 20503),
        }
    }
}

impl From<PlaceError> for Problem {
    fn from(error: PlaceError) -> Self {
        let text = error.to_string();
        match error {
            PlaceError::Request(_) => Self::Parameter(20001, text),
            PlaceError::Full { .. } => Self::TooMany(text),
            PlaceError::Stopping => Self::Unavailable(text),
            PlaceError::NotNow(_) => Self::NotInProgress(text),
            // Requests name calls that were there a moment ago.
            PlaceError::NotAlive(_) | PlaceError::Unknown(..) => Self::NotInProgress("It is over".to_owned()),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let (status, code) = self.codes();
        let body = json!({
            "code": code,
            "message": self.to_string(),
            "more_info": format!("https://www.twilio.com/docs/errors/{code}"),
            "status": status.as_u16(),
        });
        let mut response = (status, Json(body)).into_response();
        let header = match self {
            Self::Unauthorized => Some((header::WWW_AUTHENTICATE, "Basic realm=\"Twilio API\"")),
            Self::TooMany(_) | Self::Unavailable(_) => Some((header::RETRY_AFTER, RETRY_AFTER)),
            Self::NotFound(_) | Self::Method(_) | Self::Parameter(..) | Self::NotInProgress(_) => None,
        };
        let headers = response.headers_mut();
        headers.extend(header.map(|(name, value)| (name, HeaderValue::from_static(value))));
        response
    }
}
