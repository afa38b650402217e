//! The call of row C8: baresip calls over TLS, with SRTP, a gateway that takes nothing else, whose certificate was made for it.
//!
//! That is a second gateway beside the first: certificates have no place in the embedded defaults.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result};
use voxlane_tests::audio::{Sound, purity, tone};
use voxlane_tests::certificates::{Authority, Certificate};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::baresip::{Baresip, Encryption, Via};
use voxlane_tests::reports::Flows;

use super::stage::Stage;
use crate::prepare::debian;
use crate::steps;
use crate::workspace::Workspace;

/// Who answers.
const ECHO_NUMBER: &str = "+15550001";

/// What the caller plays and wants to hear, Hz.
pub const TONE: u32 = 700;

/// How long the call lasts.
const TALK: Duration = Duration::from_secs(5);
const PATIENCE: Duration = Duration::from_secs(20);

/// Where SIP over TLS is.
const AT: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5061);

/// What the call needs, and the package that has it.
const PROGRAMS: &[debian::Program] = &[("baresip", "baresip-core"), ("openssl", "openssl")];

/// What was measured.
pub struct Secured {
    /// Version and cipher suite that openssl agrees on with the gateway, for either version of TLS.
    pub tls: [String; 2],
    /// SRTP suite of what arrived at the gateway.
    pub suite: Option<String>,
    /// Packets that arrived there.
    pub packets: u64,
    /// What the caller heard.
    pub heard: Sound,
}

/// Places the call; `None` where it cannot be tried, with a note that says why.
pub fn place(workspace: &Workspace, binary: &Path, stage: &Stage) -> Option<Result<Secured, String>> {
    let Stage::Namespaces(lab) = stage else {
        steps::note("TLS and SRTP are not tried on loopback: their gateway needs a network of its own");
        return None;
    };
    if let Err(error) = debian::programs(workspace, PROGRAMS) {
        steps::note(&format!("TLS and SRTP are not tried: {error:#}"));
        return None;
    }
    steps::begin(&format!("baresip calls {ECHO_NUMBER} over TLS, with SRTP"));
    Some(call(binary, lab).map_err(|error| format!("{error:#}")))
}

fn call(binary: &Path, lab: &Lab) -> Result<Secured> {
    let authority = Authority::new()?;
    let ours = authority.vouch("gateway", &format!("IP:{GATEWAY_TO_CARRIER}"))?;
    let caller = Via::Tls {
        identity: authority.vouch("phone", &format!("IP:{CARRIER}"))?.both,
        ca: authority.root(),
    };
    let gateway = Gateway::start_with(binary, &lab.gateway, &config(&ours))?;
    let tls = [agreed(lab, &authority, "-tls1_3")?, agreed(lab, &authority, "-tls1_2")?];
    let uri = format!("sip:{ECHO_NUMBER}@{GATEWAY_TO_CARRIER}");
    let sound = tone(TONE, 20_000);
    let place = &lab.carrier;
    let mut phone = Baresip::call_over(&caller, place, CARRIER, &uri, &sound, TALK, Encryption::Required)?;
    phone.wait_established(PATIENCE)?;
    let speaks = |flows: &Flows| flows.flows.iter().any(|flow| flow.received.packets > 50);
    let flows = gateway.wait_until(PATIENCE, Gateway::flows, speaks)?;
    let flow = flows.flows.into_iter().next().context("the call has no flow")?;
    let outcome = phone.finish(PATIENCE)?;
    Ok(Secured {
        tls,
        suite: flow.srtp,
        packets: flow.received.packets,
        heard: purity(&outcome.heard, TONE),
    })
}

/// Takes calls over TLS with SRTP, and no others. The ports and the kernel lane are the first gateway's.
fn config(ours: &Certificate) -> String {
    let (certificate, key) = (ours.certificate.display(), ours.key.display());
    format!(
        r#"
[sip]
listen = ["tls:{AT}"]

[sip.tls]
certificate = "{certificate}"
key = "{key}"

[media]
ports = "21000-21099"
xdp = "off"
pin = "off"

[[trunk]]
name = "carrier"
allow = ["{CARRIER}/32"]
srtp = "required"

[[tenant]]
name = "demo"

[[agent]]
name = "echo"
url = "builtin:echo"

[[did]]
number = "{ECHO_NUMBER}"
tenant = "demo"
agent = "echo"
"#
    )
}

/// What openssl agrees on with the gateway, whose certificate it checks.
fn agreed(lab: &Lab, authority: &Authority, version: &str) -> Result<String> {
    let mut openssl = lab.carrier.command("openssl");
    openssl.args(["s_client", "-brief", "-verify_return_error", version]);
    openssl
        .args(["-connect", &AT.to_string(), "-CAfile"])
        .arg(authority.root());
    let output = openssl.stdin(Stdio::null()).output().context("cannot start openssl")?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let after = |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    match (after("Protocol version:"), after("Ciphersuite:")) {
        (Some(protocol), Some(suite)) => Ok(format!("{protocol} {suite}")),
        _ => anyhow::bail!("openssl s_client {version}: {}", said.trim()),
    }
}
