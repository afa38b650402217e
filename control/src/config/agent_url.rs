//! Agent URLs: `builtin:echo`, `builtin:tone?hz=440`, `ws://…`, `wss://…`, `audiosocket://…`.

use voxlane_dataplane::codec::resample::Rate;

use super::model::{AgentEndpoint, HostPort};
use super::value;

const EXPECTED: &str = "write \"ws://HOST[:PORT]/PATH\", \"wss://…\", \"audiosocket://HOST:PORT\", \"builtin:echo\" or \"builtin:tone?hz=440\"";

/// Frequencies that G.711 carries well, Hz.
const FREQUENCIES: std::ops::RangeInclusive<u16> = 20..=3800;

/// Reads an agent URL.
///
/// # Errors
/// A sentence saying what is wrong and what to write.
pub(super) fn parse(url: &str) -> Result<AgentEndpoint, String> {
    match url.split_once(':') {
        Some(("builtin", name)) => builtin(name),
        Some(("ws", rest)) => web_socket(url, rest, 80),
        Some(("wss", rest)) => web_socket(url, rest, 443),
        Some(("audiosocket", rest)) => audiosocket(url, rest),
        _ => Err(format!("{url:?} is not an agent URL; {EXPECTED}")),
    }
}

/// The host of a WebSocket URL.
///
/// # Errors
/// A sentence saying what is wrong and what to write.
pub fn web_socket_host(url: &str) -> Result<HostPort, String> {
    match parse(url)? {
        AgentEndpoint::Web { host, .. } => Ok(host),
        AgentEndpoint::AudioSocket { .. } | AgentEndpoint::Echo | AgentEndpoint::Tone { .. } => Err(format!(
            "{url:?} is not a WebSocket URL; write \"wss://HOST[:PORT]/PATH\""
        )),
    }
}

fn builtin(name: &str) -> Result<AgentEndpoint, String> {
    match name.split_once('?') {
        None if name == "echo" => Ok(AgentEndpoint::Echo),
        None if name == "tone" => Ok(AgentEndpoint::Tone { frequency: 440 }),
        Some(("tone", query)) => match query.strip_prefix("hz=").map(str::parse::<u16>) {
            Some(Ok(frequency)) if FREQUENCIES.contains(&frequency) => Ok(AgentEndpoint::Tone { frequency }),
            _ => Err(format!(
                "{query:?} is not a frequency; write \"builtin:tone?hz=N\" with N from {} to {}",
                FREQUENCIES.start(),
                FREQUENCIES.end()
            )),
        },
        _ => Err(format!("there is no built-in agent {name:?}; {EXPECTED}")),
    }
}

/// AudioSocket has no port of its own, nor anything behind it.
fn audiosocket(url: &str, rest: &str) -> Result<AgentEndpoint, String> {
    let authority = rest
        .strip_prefix("//")
        .map(|rest| rest.strip_suffix('/').unwrap_or(rest));
    match authority.and_then(value::split_host_port) {
        Some((host, Some(port))) => Ok(AgentEndpoint::AudioSocket {
            host: HostPort { host, port },
            rate: Rate::Khz8,
        }),
        Some(_) | None => Err(format!(
            "{url:?} is not an AudioSocket server; write \"audiosocket://HOST:PORT\""
        )),
    }
}

/// RFC 6455 section 3: a host, a path, a query, no fragment. User and password belong into `headers`.
fn web_socket(url: &str, rest: &str, default_port: u16) -> Result<AgentEndpoint, String> {
    let wrong = || format!("{url:?} is not a WebSocket URL; {EXPECTED}");
    let rest = rest.strip_prefix("//").ok_or_else(wrong)?;
    if url
        .chars()
        .any(|character| character.is_control() || character.is_whitespace() || character == '#')
    {
        return Err(wrong());
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err("a user or password in the URL is not sent; write headers = { Authorization = \"…\" }".to_owned());
    }
    let (host, port) = value::split_host_port(authority).ok_or_else(wrong)?;
    let host = HostPort {
        host,
        port: port.unwrap_or(default_port),
    };
    Ok(AgentEndpoint::Web {
        url: url.to_owned(),
        host,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web(url: &str, host: &str, port: u16) -> AgentEndpoint {
        AgentEndpoint::Web {
            url: url.into(),
            host: HostPort {
                host: host.into(),
                port,
            },
        }
    }

    #[test]
    fn urls() {
        assert_eq!(parse("builtin:echo"), Ok(AgentEndpoint::Echo));
        assert_eq!(
            parse("builtin:tone?hz=1000"),
            Ok(AgentEndpoint::Tone { frequency: 1000 })
        );
        for (url, host, port) in [
            ("ws://127.0.0.1:8080/media", "127.0.0.1", 8080),
            ("ws://bot.example", "bot.example", 80),
            ("wss://bot.example/a?b=c:d@e", "bot.example", 443),
            ("wss://bot.example?b", "bot.example", 443),
            ("wss://[2001:db8::1]:9000/", "2001:db8::1", 9000),
        ] {
            assert_eq!(parse(url), Ok(web(url, host, port)));
        }
        let audiosocket = AgentEndpoint::AudioSocket {
            host: HostPort {
                host: "2001:db8::1".into(),
                port: 9019,
            },
            rate: Rate::Khz8,
        };
        assert_eq!(parse("audiosocket://[2001:db8::1]:9019"), Ok(audiosocket));
    }

    #[test]
    fn not_urls() {
        for url in [
            "",
            "echo",
            "http://a/",
            "ws:/a",
            "ws://",
            "ws:///x",
            "ws://a:x/",
            "ws://a:0/",
            "ws://u:p@a/",
            "ws://a/#f",
            "ws://a b/",
            "audiosocket://bot.example",
            "audiosocket:bot.example:9019",
            "audiosocket://bot.example:9019/path",
            "builtin:",
            "builtin:fax",
            "builtin:tone?hz=0",
            "builtin:tone?hz=9000",
            "builtin:tone?f=1",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }
}
