//! What becomes of a call whose agent fails: `on_failure` of an agent, and a key for each kind of failure that says otherwise.

use voxlane_dataplane::media_plane::FailureKind;

use super::model::{Agent, Callee, Fallback, Fallbacks, Place, Trunk};
use super::reader::{Reader, Section, quoted};
use super::suggest::nearest;
use super::value;

const EXPECTED: &str = "write agent = \"NAME\"; trunk = \"NAME\" and to = \"+15550100\"; or status = 480, cause = 41";

/// The key of a kind of failure.
const fn key(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Unreachable => "on_unreachable",
        FailureKind::ConnectTimeout => "on_connect_timeout",
        FailureKind::Refused => "on_refused",
        FailureKind::Silent => "on_silent",
        FailureKind::Lost => "on_lost",
        FailureKind::Stalled => "on_stalled",
        FailureKind::Malformed => "on_malformed",
        FailureKind::Oversized => "on_oversized",
    }
}

/// A fallback as written.
pub(super) struct WrittenFallback {
    fallback: Fallback,
    key: &'static str,
    line: usize,
}

/// Reads what an agent says, once as what holds and once as it is written.
pub(super) fn read(section: &mut Section<'_>) -> (Fallbacks, Vec<WrittenFallback>) {
    let otherwise = one(section, "on_failure");
    let by_kind: Vec<_> = FailureKind::ALL
        .into_iter()
        .filter_map(|kind| Some((kind, one(section, key(kind))?)))
        .collect();
    let fallbacks = Fallbacks {
        otherwise: otherwise
            .as_ref()
            .map(|written| written.fallback.clone())
            .unwrap_or_default(),
        by_kind: by_kind
            .iter()
            .map(|(kind, written)| (*kind, written.fallback.clone()))
            .collect(),
    };
    let written = otherwise
        .into_iter()
        .chain(by_kind.into_iter().map(|(_, written)| written));
    (fallbacks, written.collect())
}

/// Reads one table.
fn one(section: &mut Section<'_>, key: &'static str) -> Option<WrittenFallback> {
    let mut table = section.table(key, "a table; write { agent = \"NAME\" }")?;
    let line = table.line;
    let written: Vec<&str> = ["agent", "trunk", "status", "cause"]
        .into_iter()
        .filter(|key| table.has(key))
        .collect();
    let agent = table.text("agent", value::name);
    let trunk = table.text("trunk", value::name);
    let to = table.text("to", callee);
    let timeout = table.text("timeout", value::timeout).map(|timeout| timeout.value);
    let status = table
        .integer("status", 400..=699)
        .and_then(|status| status.value.try_into().ok());
    let cause = table
        .integer("cause", 1..=127)
        .and_then(|cause| cause.value.try_into().ok());
    let fallback = match (written.as_slice(), agent, trunk, to) {
        (["agent"], agent, None, None) => agent.map(|agent| Fallback::Agent(agent.value)),
        (["trunk"], None, trunk, Some(to)) => trunk.map(|trunk| Fallback::Call {
            trunk: trunk.value,
            to: to.value,
            timeout,
        }),
        (["trunk"], None, Some(_), None) => {
            table.report(
                line,
                "to",
                "is missing; write to = \"+15550100\" or to = \"sip:USER@HOST\"",
            );
            None
        }
        (["status"] | ["cause"] | ["status", "cause"], None, None, None) => Some(Fallback::HangUp { status, cause }),
        _ => {
            table.report(
                line,
                "agent",
                format!("or another way is to be named, and one only; {EXPECTED}"),
            );
            None
        }
    };
    table.finish();
    fallback.map(|fallback| WrittenFallback { fallback, key, line })
}

/// A number, or a SIP URI.
fn callee(text: &str) -> Result<Callee, String> {
    match text.strip_prefix("sip:") {
        Some(rest) => uri(rest).ok_or_else(|| {
            format!("{text:?} is not a SIP URI; write \"sip:USER@HOST\" or \"sip:USER@HOST:PORT;transport=tcp\"")
        }),
        None => value::number(text).map(Callee::Number),
    }
}

/// `USER@HOST[:PORT][;transport=udp|tcp|tls]`
fn uri(text: &str) -> Option<Callee> {
    let (user, rest) = text.split_once('@')?;
    let (host, transport) = match rest.split_once(";transport=") {
        Some((host, transport)) => (host, Some(value::transport(transport).ok()?)),
        None => (rest, None),
    };
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_.!~*'()+&=$,".contains(character);
    let (host, port) = value::split_host_port(host)?;
    (!user.is_empty() && user.chars().all(plain)).then(|| Callee::Uri {
        user: user.to_owned(),
        place: Place { host, port, transport },
    })
}

/// Reports fallbacks that lead nowhere.
pub(super) fn check(reader: &Reader<'_>, agent: &str, written: &[WrittenFallback], agents: &[&str], trunks: &[Trunk]) {
    for WrittenFallback { fallback, key, line } in written {
        match fallback {
            Fallback::HangUp { .. } => {}
            Fallback::Agent(name) if name == agent => {
                reader.report(
                    *line,
                    format!("agent.{key}.agent"),
                    "is the agent that has failed; name another",
                );
            }
            Fallback::Agent(name) => known(reader, (*line, key), "agent", name, agents),
            Fallback::Call { trunk, to, .. } => {
                let names: Vec<&str> = trunks.iter().map(|trunk| trunk.name.as_str()).collect();
                known(reader, (*line, key), "trunk", trunk, &names);
                let closed = |known: &&Trunk| known.name == *trunk && known.gateways.is_empty();
                if let (Callee::Number(_), Some(_)) = (to, trunks.iter().find(closed)) {
                    let message =
                        format!("trunk {trunk:?} has no proxy to send calls to; write proxy = \"HOST:PORT\" there");
                    reader.report(*line, format!("agent.{key}.trunk"), message);
                }
            }
        }
    }
}

fn known(reader: &Reader<'_>, (line, key): (usize, &str), what: &str, name: &str, known: &[&str]) {
    if known.contains(&name) {
        return;
    }
    let advice = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if known.is_empty() => format!("write a [[{what}]] of that name"),
        None => format!("there is {}", quoted(known)),
    };
    reader.report(
        line,
        format!("agent.{key}.{what}"),
        format!("there is no {what} {name:?}; {advice}"),
    );
}

impl Agent {
    /// What becomes of a call when it fails in this way.
    pub fn fallback(&self, kind: FailureKind) -> &Fallback {
        let Fallbacks { otherwise, by_kind } = &self.fallbacks;
        let own = by_kind.iter().find(|(of, _)| *of == kind);
        own.map_or(otherwise, |(_, fallback)| fallback)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Transport;

    #[test]
    fn whom_to_call() {
        assert_eq!(callee("+15550100"), Ok(Callee::Number("+15550100".into())));
        let uri = |host: &str, port, transport| {
            Ok(Callee::Uri {
                user: "desk".into(),
                place: Place {
                    host: host.into(),
                    port,
                    transport,
                },
            })
        };
        assert_eq!(callee("sip:desk@pbx.example"), uri("pbx.example", None, None));
        assert_eq!(
            callee("sip:desk@[2001:db8::1]:5070;transport=tcp"),
            uri("2001:db8::1", Some(5070), Some(Transport::Tcp))
        );
        for wrong in [
            "5550100",
            "sip:pbx.example",
            "sip:@pbx.example",
            "sip:a b@pbx.example",
            "sip:a>@pbx.example",
            "sip:desk@pbx.example;lr",
            "sip:desk@pbx.example;transport=ws",
            "tel:+15550100",
        ] {
            assert!(callee(wrong).is_err(), "{wrong}");
        }
    }
}
