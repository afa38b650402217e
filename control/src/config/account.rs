//! Accounts as Twilio has them: `account_sid`, and the `auth_token` that proves what is sent in its name.

use std::net::IpAddr;

use super::login::{secret, secret_file};
use super::model::{Account, Agent, AgentEndpoint, Config, Trunk};
use super::reader::{Located, Reader, Section};
use super::sections::distinct_located;
use super::value;
use crate::sip::digest::Secret;
use crate::web::AllowedHosts;

/// The keys that name an auth token; one of them is to be written.
const TOKENS: [&str; 2] = ["auth_token", "auth_token_file"];

/// An account as written, and what of it is checked later.
pub(super) struct WrittenAccount {
    pub(super) account: Account,
    /// The line of its SID.
    pub(super) line: usize,
    pub(super) call_trunks: Vec<Located<String>>,
    pub(super) stream_settings: Option<Located<String>>,
}

/// Reads the keys of an account, which is `name`'s.
pub(super) fn read(section: &mut Section<'_>, name: &str) -> WrittenAccount {
    let line = section.line;
    let written = section.text("account_sid", account_sid);
    let line = written.as_ref().map_or(line, |sid| sid.line);
    let sid = written.map_or_else(|| derived_sid(name), |sid| sid.value);
    let auth_token = auth_token(section);
    let call_trunks = distinct_located(section, "call_trunks", value::name).unwrap_or_default();
    let stream_settings = section.text("stream_settings", value::name);
    let hosts = distinct_located(section, "allowed_hosts", allowed_host);
    let hosts = hosts.map(|hosts| AllowedHosts::these(hosts.into_iter().map(|host| host.value).collect()));
    let account = Account {
        sid,
        auth_token,
        call_trunks: call_trunks.iter().map(|trunk| trunk.value.clone()).collect(),
        stream_settings: stream_settings.as_ref().map(|agent| agent.value.clone()),
        allowed_hosts: hosts.unwrap_or_default(),
    };
    WrittenAccount {
        account,
        line,
        call_trunks,
        stream_settings,
    }
}

impl WrittenAccount {
    /// Reports trunks by which no calls can be placed, and an agent that streams cannot be as. `owner` is `node` or `tenant`.
    pub(super) fn check(&self, reader: &Reader<'_>, owner: &str, trunks: &[Trunk], agents: &[Agent]) {
        self.check_trunks(reader, owner, trunks);
        let Some(name) = &self.stream_settings else { return };
        let message = match agents.iter().find(|agent| agent.name == name.value) {
            Some(agent) if matches!(agent.endpoint, AgentEndpoint::Web { .. }) => return,
            Some(_) => "is behind no WebSocket, as streams are; name one with url = \"wss://…\"",
            None => "is not there; write an [[agent]] of that name",
        };
        let message = format!("agent {:?} {message}", name.value);
        reader.report(name.line, format!("{owner}.stream_settings"), message);
    }

    fn check_trunks(&self, reader: &Reader<'_>, owner: &str, trunks: &[Trunk]) {
        for name in &self.call_trunks {
            let message = match trunks.iter().find(|trunk| trunk.name == name.value) {
                Some(trunk) if trunk.gateways.is_empty() => {
                    "has no proxy to send calls to; write proxy = \"HOST:PORT\" there"
                }
                Some(trunk) if trunk.caller_ids.is_empty() => {
                    "has no caller_ids; write the numbers that calls may show there"
                }
                Some(_) => continue,
                None => "is not there; write a [[trunk]] of that name",
            };
            reader.report(
                name.line,
                format!("{owner}.call_trunks"),
                format!("trunk {:?} {message}", name.value),
            );
        }
    }
}

/// A host, `*.HOST`, or an address, as URLs have them.
fn allowed_host(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let name = text.strip_prefix("*.").unwrap_or(text);
    let host = value::host(name).map_err(|_| {
        format!(
            "{text:?} is no host; write \"app.example\", \"*.example\" for all below it, or an address, without a port"
        )
    })?;
    let wildcard = if name.len() < text.len() { "*." } else { "" };
    Ok(format!("{wildcard}{}", host.to_ascii_lowercase()))
}

/// Reads `auth_token` or `auth_token_file`.
pub(super) fn auth_token(section: &mut Section<'_>) -> Option<Secret> {
    if TOKENS.iter().all(|key| section.has(key)) {
        let message = format!("is written beside {}; keep one of them", section.key(TOKENS[0]));
        section.report(section.line, TOKENS[1], message);
    }
    let literal = section.text(TOKENS[0], secret);
    let from_file = section.text(TOKENS[1], secret_file);
    literal.or(from_file).map(|token| token.value)
}

/// `AC` and 32 hexadecimal digits.
fn account_sid(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix("AC").unwrap_or_default();
    match digits.len() == 32 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "{text:?} is not an account SID; write \"AC\" and 32 hexadecimal digits"
        )),
    }
}

/// The SID of an account that is given none: the same for the same name, on every node (FNV-1a, 128 bits).
fn derived_sid(name: &str) -> String {
    const BASIS: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
    const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
    let hash = name
        .bytes()
        .fold(BASIS, |hash, byte| (hash ^ u128::from(byte)).wrapping_mul(PRIME));
    format!("AC{hash:032x}")
}

impl Config {
    /// The account of a tenant's calls; of those that are no tenant's, the gateway's own.
    pub fn account(&self, tenant: Option<&str>) -> Account {
        let Some(name) = tenant else {
            return self.node.account.clone();
        };
        match self.tenants.iter().find(|tenant| tenant.name == name) {
            Some(tenant) => tenant.account.clone(),
            // A tenant of whom only the domain is known (`route.unknown_tenant`).
            None => Account {
                sid: derived_sid(name),
                auth_token: None,
                call_trunks: Vec::new(),
                stream_settings: None,
                allowed_hosts: AllowedHosts::default(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_one_account() {
        assert_eq!(derived_sid("acme"), derived_sid("acme"));
        assert_ne!(derived_sid("acme"), derived_sid("acne"));
        assert!(account_sid(&derived_sid("acme")).is_ok());
    }
}
