//! From a configured agent and a call to what the data plane needs to connect the two.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use voxlane_dataplane::media_plane::{AgentNotice, AgentSpec, TwilioSpec};

use super::live::Live;
use crate::config::model::{AgentEndpoint, Config};

/// The agent of a call's plan. `None` if the plan has none, or its name is not configured.
pub(super) fn spec(config: &Config, live: &Live, addresses: Vec<SocketAddr>) -> Option<AgentSpec> {
    let (name, _) = live.call.agent()?;
    let agent = config.agents.iter().find(|agent| agent.name == name)?;
    let placing = live.placing.as_ref();
    Some(match &agent.endpoint {
        AgentEndpoint::Echo => AgentSpec::Echo,
        AgentEndpoint::Tone { frequency } => AgentSpec::Tone { frequency: *frequency },
        AgentEndpoint::Twilio { url, .. } => AgentSpec::Twilio(Box::new(TwilioSpec {
            url: url.clone(),
            addresses,
            headers: with(&agent.headers, placing.map(|placing| &placing.headers)),
            account_sid: account_sid(live.route.tenant.as_deref().unwrap_or(&config.node.name)),
            call_sid: sid("CA", u128::from(live.id().0)),
            stream_sid: sid("MZ", rand::random()),
            parameters: with(&agent.parameters, placing.map(|placing| &placing.parameters)),
            connect_timeout: agent.connect_timeout,
            silence_timeout: agent.silence_timeout,
        })),
    })
}

/// The agent, told of a transfer that has failed and brought it back: by parameters, since it hears of a new stream.
pub(super) fn told(spec: AgentSpec, notice: &AgentNotice) -> AgentSpec {
    match spec {
        AgentSpec::Twilio(mut twilio) => {
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
            twilio.parameters.extend(told);
            AgentSpec::Twilio(twilio)
        }
        other @ (AgentSpec::Echo | AgentSpec::Tone { .. } | AgentSpec::Ringback | AgentSpec::Phone(_)) => other,
    }
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
fn sid(prefix: &str, value: u128) -> String {
    format!("{prefix}{value:032x}")
}

/// A tenant's account: the same for the same name, on every node (FNV-1a, 128 bits).
fn account_sid(tenant: &str) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = tenant
        .bytes()
        .fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    sid("AC", hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_have_twilios_form() {
        assert_eq!(sid("CA", 0xabc), "CA00000000000000000000000000000abc");
        assert_eq!(account_sid("acme"), account_sid("acme"));
        assert_ne!(account_sid("acme"), account_sid("acne"));
        assert_eq!(account_sid("acme").len(), 34);
    }
}
