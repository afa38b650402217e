//! From a configured agent and a call to what the data plane needs to connect the two.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use voxlane_dataplane::media_plane::{AgentNotice, AgentSpec, AudioSocketSpec, CallDirection, WebSpec};

use super::application;
use super::core::Core;
use super::live::Live;
use super::realtime;
use crate::campaign::Placing;
use crate::config::model::{Agent, AgentEndpoint};
use crate::rest::resource::call_sid;
use crate::signature::{self, signature};
use crate::sip::digest::Secret;

/// The agent of a call. `None` if the call has none, or its name is not configured.
pub(super) fn spec(core: &Core, live: &Live, addresses: Vec<SocketAddr>) -> Option<AgentSpec> {
    if live.call.is_controlled() {
        return application::spec(core, live, addresses);
    }
    let config = &core.config;
    let (name, _) = live.call.agent()?;
    let agent = config.agents.iter().find(|agent| agent.name == name)?;
    let placing = live.placing.as_ref();
    let account = config.account(live.route.tenant.as_deref());
    let token = agent.auth_token.as_ref().or(account.auth_token.as_ref());
    Some(match &agent.endpoint {
        AgentEndpoint::Echo => AgentSpec::Echo,
        AgentEndpoint::Tone { frequency } => AgentSpec::Tone { frequency: *frequency },
        AgentEndpoint::AudioSocket { rate, .. } => AgentSpec::AudioSocket(AudioSocketSpec {
            addresses,
            uuid: u128::from(live.id().0).to_be_bytes(),
            rate: *rate,
            connect_timeout: agent.connect_timeout,
            limits: agent.limits,
            tally: core.tallies.of(name),
        }),
        AgentEndpoint::Web { url, .. } => AgentSpec::Web(Box::new(WebSpec {
            protocol: agent.protocol,
            url: agent
                .realtime
                .as_ref()
                .map_or_else(|| url.clone(), |realtime| realtime::url(url, realtime)),
            addresses,
            headers: headers(agent, placing, url, token),
            opening: agent.realtime.as_ref().map_or_else(Vec::new, |realtime| {
                realtime::opening(realtime, !agent.transfer_trunks.is_empty())
            }),
            tls: core.agent_certificates.get(name).cloned(),
            account_sid: account.sid,
            call_sid: call_sid(live.id()),
            stream_sid: sid("MZ", rand::random()),
            from: live.route.caller.clone(),
            to: live.route.number.clone(),
            direction: match placing {
                None => CallDirection::Inbound,
                Some(_) => CallDirection::Outbound,
            },
            parameters: with(&agent.parameters, placing.map(|placing| &placing.parameters)),
            connect_timeout: agent.connect_timeout,
            silence_timeout: agent.silence_timeout,
            limits: agent.limits,
            tally: core.tallies.of(name),
        })),
    })
}

/// The agent, told of a transfer that has failed and brought it back: by parameters, since it hears of a new stream.
pub(super) fn told(spec: AgentSpec, notice: &AgentNotice) -> AgentSpec {
    match spec {
        AgentSpec::Web(mut spec) => {
            let status = notice.status.map(|status| status.to_string());
            let told = [
                ("transferStatus", Some(notice.state.word().to_owned())),
                ("transferTo", Some(notice.to.clone())),
                ("transferSipStatus", status),
                ("transferReason", notice.reason.clone()),
            ];
            let told = told
                .into_iter()
                .filter_map(|(name, value)| Some((name.to_owned(), value?)));
            spec.parameters.extend(told);
            AgentSpec::Web(spec)
        }
        other @ (AgentSpec::Awaited
        | AgentSpec::Echo
        | AgentSpec::Tone { .. }
        | AgentSpec::Ringback
        | AgentSpec::AudioSocket(_)
        | AgentSpec::Quiet
        | AgentSpec::Play(_)
        | AgentSpec::Phone(_)) => other,
    }
}

/// The headers of a handshake, signed if there is what signs it.
fn headers(agent: &Agent, placing: Option<&Placing>, url: &str, token: Option<&Secret>) -> Vec<(String, String)> {
    let mut headers = with(&agent.headers, placing.map(|placing| &placing.headers));
    let key = agent.realtime.as_ref().map(|realtime| &realtime.api_key);
    headers.extend(match key {
        // Whoever has a model has no account with us.
        Some(key) => key
            .as_ref()
            .map(|key| ("Authorization".to_owned(), format!("Bearer {}", key.expose()))),
        None => signed(url, token),
    });
    headers
}

/// The header that signs a handshake, if there is what signs it.
pub(super) fn signed(url: &str, token: Option<&Secret>) -> Option<(String, String)> {
    token.map(|token| (signature::HEADER.to_owned(), signature(token, url, &[])))
}

/// What an agent is configured with, and what the call that it places brings in place of that.
fn with(configured: &[(String, String)], brought: Option<&BTreeMap<String, String>>) -> Vec<(String, String)> {
    let brought = brought.into_iter().flatten();
    let own = configured.iter().filter(|(name, _)| {
        let same = |(other, _): (&String, &String)| other == name;
        !brought.clone().any(same)
    });
    let brought = brought.clone().map(|(name, value)| (name.clone(), value.clone()));
    own.cloned().chain(brought).collect()
}

/// An identifier in Twilio's form: two letters and 32 hexadecimal digits.
pub(super) fn sid(prefix: &str, value: u128) -> String {
    format!("{prefix}{value:032x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_twilios_form() {
        assert_eq!(sid("MZ", 0xabc), "MZ00000000000000000000000000000abc");
    }
}
