//! Asks web servers: HTTP/1.1, over TLS where the URL says so, one connection a request.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Request as Http, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use url::Url;

use super::cache::{Cache, Known};
use super::form::{self, Written};
use super::{Answer, Answered, Request, Wants, audio};
use crate::config::model::HostPort;
use crate::gateway::resolve;
use crate::twiml::application::Page;
use crate::twiml::document::MOST_BYTES;
use crate::twiml::{Link, Method, Problem, code};

/// How long a request may take in all, as at Twilio.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long one address of a host has to take a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Most redirects that are followed, as at Twilio.
const MOST_REDIRECTS: usize = 10;
/// Largest file that is played, bytes.
const MOST_AUDIO: usize = 32 << 20;

/// Asks web servers.
pub struct Client {
    user_agent: String,
    tls: TlsConnector,
    files: Mutex<Cache>,
}

/// Why nothing was answered.
enum Failure {
    /// This host is not to be asked.
    Forbidden(String),
    /// Something else, in words.
    Other(String),
}

impl From<String> for Failure {
    fn from(why: String) -> Self {
        Self::Other(why)
    }
}

/// What was answered, before it is looked at.
struct Raw {
    /// Where it came from in the end.
    url: Url,
    status: StatusCode,
    content_type: Option<String>,
    etag: Option<String>,
    body: Bytes,
}

impl Client {
    /// One that calls itself so, and trusts in TLS whom `tls` trusts.
    pub fn new(user_agent: String, tls: Arc<ClientConfig>) -> Self {
        Self {
            user_agent,
            tls: tls.into(),
            files: Mutex::default(),
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// Why there is none that is of use.
    pub async fn ask(&self, request: Request) -> Answered {
        let url = public(&request.link.url);
        let failed = |why: String| Problem::new(code::HTTP_RETRIEVAL, format!("{url}: {why}"));
        let known = match request.wants {
            Wants::Audio => self.files().get(request.link.url.as_str()),
            Wants::Document | Wants::Nothing => None,
        };
        let raw = match timeout(PATIENCE, self.fetch(&request, known.as_ref())).await {
            Ok(Ok(raw)) => raw,
            Ok(Err(Failure::Other(why))) => return Err(failed(why)),
            Ok(Err(Failure::Forbidden(host))) => {
                let text =
                    format!("{url}: {host} is not among the allowed_hosts of the account; nothing was asked of it");
                return Err(Problem::new(code::FORBIDDEN_HOST, text));
            }
            Err(_) => return Err(failed(format!("no answer in {} s", PATIENCE.as_secs()))),
        };
        match (raw.status, known) {
            (StatusCode::NOT_MODIFIED, Some(known)) => return Ok(Answer::Audio(known.audio)),
            (status, _) if status.is_success() => {}
            (status, _) => return Err(failed(format!("answered with {status}"))),
        }
        match request.wants {
            Wants::Nothing => Ok(Answer::Nothing),
            Wants::Document => match String::from_utf8(raw.body.into()) {
                Ok(text) => Ok(Answer::Document(Page {
                    url: raw.url,
                    content_type: raw.content_type,
                    text,
                })),
                Err(_) => Err(Problem::new(code::NOT_XML, format!("{url}: the document is not UTF-8"))),
            },
            Wants::Audio => self.samples(request.link.url.into(), raw).await,
        }
    }

    async fn samples(&self, url: String, raw: Raw) -> Answered {
        let Raw { body, etag, .. } = raw;
        let shown = public(&raw.url);
        let read = tokio::task::spawn_blocking(move || audio::ulaw(&body)).await;
        let audio = match read {
            Ok(Ok(audio)) => audio,
            Ok(Err(why)) => return Err(Problem::new(code::CONTENT_TYPE, format!("{shown}: {why}"))),
            Err(error) => return Err(Problem::new(code::CONTENT_TYPE, format!("{shown}: {error}"))),
        };
        if let Some(etag) = etag {
            let audio = Arc::clone(&audio);
            self.files().keep(url, Known { etag, audio });
        }
        Ok(Answer::Audio(audio))
    }

    /// Asks, and follows redirects.
    async fn fetch(&self, request: &Request, known: Option<&Known>) -> Result<Raw, Failure> {
        let mut link = request.link.clone();
        let mut parameters = request.parameters.as_slice();
        for _ in 0..=MOST_REDIRECTS {
            let host = link.url.host_str().unwrap_or_default();
            if !request.hosts.has(host) {
                return Err(Failure::Forbidden(host.to_owned()));
            }
            let written = form::write(&link, parameters, request.auth_token.as_ref());
            let limit = match request.wants {
                Wants::Document => MOST_BYTES,
                Wants::Audio => MOST_AUDIO,
                // What it says is not read.
                Wants::Nothing => 0,
            };
            let response = self.exchange(&written, known).await?;
            match redirected(&link.url, &response)? {
                Some(next) => {
                    // RFC 9110 section 15.4: the form goes along with 307 and 308 only.
                    let again = matches!(response.status().as_u16(), 307 | 308);
                    if !again {
                        link.method = Method::Get;
                        parameters = &[];
                    }
                    link = Link { url: next, ..link };
                }
                None => return Ok(read(written.url, response, limit).await?),
            }
        }
        Err(Failure::Other(format!("more than {MOST_REDIRECTS} redirects")))
    }

    async fn exchange(&self, written: &Written, known: Option<&Known>) -> Result<Response<Incoming>, String> {
        let request = self.request(written, known)?;
        let host = written.url.host_str().unwrap_or_default();
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = written.url.port_or_known_default().unwrap_or(80);
        let stream = connect(&HostPort {
            host: host.clone(),
            port,
        })
        .await?;
        match written.url.scheme() {
            "https" => {
                let name = ServerName::try_from(host).map_err(|error| error.to_string())?;
                let stream = self.tls.connect(name, stream).await;
                send(stream.map_err(|error| format!("TLS: {error}"))?, request).await
            }
            _ => send(stream, request).await,
        }
    }

    fn request(&self, written: &Written, known: Option<&Known>) -> Result<Http<Full<Bytes>>, String> {
        let url = &written.url;
        let target = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let host = url.host_str().unwrap_or_default();
        let host = url
            .port()
            .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        let method = if written.body.is_some() { "POST" } else { "GET" };
        let mut request = Http::builder()
            .method(method)
            .uri(target)
            .header(header::HOST, host)
            .header(header::USER_AGENT, &self.user_agent)
            .header(header::ACCEPT, "*/*")
            .header(header::CONNECTION, "close");
        for (name, value) in &written.headers {
            request = request.header(*name, value);
        }
        if let Some(known) = known {
            request = request.header(header::IF_NONE_MATCH, &known.etag);
        }
        let body = written.body.clone().unwrap_or_default();
        request.body(body.into()).map_err(|error| error.to_string())
    }

    /// A holder of the lock that panicked leaves the book whole: a file is kept or not.
    fn files(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(host: &HostPort) -> Result<TcpStream, String> {
    let mut last = format!("{} has no address", host.host);
    for address in resolve(host).await? {
        match timeout(CONNECT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = format!("cannot connect to {address}: {error}"),
            Err(_) => last = format!("cannot connect to {address}: no answer in {} s", CONNECT.as_secs()),
        }
    }
    Err(last)
}

async fn send<S>(stream: S, request: Http<Full<Bytes>>) -> Result<Response<Incoming>, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let broken = |error: hyper::Error| format!("the connection broke: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with the answer; its errors come out of the request as well.
    tokio::spawn(connection);
    sender.send_request(request).await.map_err(broken)
}

/// Where an answer sends us, if it does.
fn redirected(from: &Url, response: &Response<Incoming>) -> Result<Option<Url>, String> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = response
        .headers()
        .get(header::LOCATION)
        .and_then(|value| value.to_str().ok());
    let location = location.ok_or_else(|| format!("answered with {} and no Location", response.status()))?;
    let next = from
        .join(location)
        .map_err(|error| format!("redirects to {location:?}: {error}"))?;
    match (from.scheme(), next.scheme()) {
        ("http", "http" | "https") | ("https", "https") => Ok(Some(next)),
        _ => Err(format!("redirects to {}, which is not asked for", public(&next))),
    }
}

async fn read(url: Url, response: Response<Incoming>, limit: usize) -> Result<Raw, String> {
    let status = response.status();
    let text = |name| {
        let value = response.headers().get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let (content_type, etag) = (text(header::CONTENT_TYPE), text(header::ETAG));
    let body = match limit {
        0 => Bytes::new(),
        _ => {
            let body = Limited::new(response.into_body(), limit).collect().await;
            let failed = |error| format!("the answer is longer than {limit} bytes, or broke off: {error}");
            body.map_err(failed)?.to_bytes()
        }
    };
    Ok(Raw {
        url,
        status,
        content_type,
        etag,
        body,
    })
}

/// A URL as it may stand in a log: without user and query, which are secrets, often.
fn public(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.set_fragment(None);
    // Of a URL with a host neither can fail.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    url.into()
}
