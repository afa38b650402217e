//! A relayed call whose RTP the test sends and receives itself, packet by packet; sipp signals for both ends.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result};

use super::sipp::{Running, Scenario, Sipp};
use crate::config::RELAYED;
use crate::gateway::Gateway;
use crate::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab, Place};

/// RTP port of both ends: RTCP has the next one.
pub const RTP: u16 = 40_000;

const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than any test.
const NEVER_MS: &str = "600000";

/// The call, up and relayed.
#[derive(Debug)]
pub struct Scripted {
    /// What the caller sends from and receives at.
    pub caller: UdpSocket,
    /// What the far side sends from and receives at.
    pub far: UdpSocket,
    /// Where the gateway awaits the caller's RTP.
    pub to_gateway: SocketAddr,
    /// Where the gateway awaits the far side's RTP.
    pub back_to_gateway: SocketAddr,
    /// The gateway's name for it.
    pub id: String,
    _signalling: [Running; 2],
}

impl Scripted {
    /// Sets up a call from the carrier to the far side; it goes on until it is dropped. There may be only this one.
    ///
    /// # Errors
    /// If it does not come about.
    pub fn call(net: &Lab, gateway: &Gateway) -> Result<Self> {
        Self::call_as(net, gateway, (Scenario::SignalsOnly, NEVER_MS), Scenario::AnswersOnly)
    }

    /// The same with these callers and answerers; the caller's first pause is so many milliseconds long.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn call_as(net: &Lab, gateway: &Gateway, caller: (Scenario, &str), answerer: Scenario) -> Result<Self> {
        let (scenario, pause_ms) = caller;
        let (caller, far) = (socket(&net.carrier, CARRIER, RTP)?, socket(&net.far, FAR, RTP)?);
        let port = ["-key", "rtp_port", &RTP.to_string()];
        let answerer = Sipp::answerer_as(&net.far, answerer, FAR)?;
        let answerer = answerer.options(&port).listen()?;
        let sip = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
        let signaller = Sipp::caller(&net.carrier, scenario, CARRIER, sip, RELAYED)?;
        let signaller = signaller.options(&port).options(&["-m", "1", "-d", pause_ms]).start()?;
        let flows = gateway.wait_until(PATIENCE, Gateway::flows, |flows| {
            ["a", "b"].iter().all(|leg| {
                let flow = flows.leg(leg);
                flow.is_ok_and(|flow| flow.forwarded_to.is_some())
            })
        })?;
        let leg = flows.leg("a")?;
        Ok(Self {
            caller,
            far,
            to_gateway: leg.local,
            back_to_gateway: flows.leg("b")?.local,
            id: leg.call.clone().context("a flow without a call")?,
            _signalling: [signaller, answerer],
        })
    }
}

/// A socket in a place. What it waits for comes within the time of a call's set-up, or not at all.
///
/// # Errors
/// If the address is not there or the port is taken.
pub fn socket(place: &Place, address: IpAddr, port: u16) -> Result<UdpSocket> {
    let socket = place.enter(|| UdpSocket::bind((address, port)))??;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

/// What has arrived at a socket and not been read yet.
///
/// # Errors
/// If the socket is broken.
pub fn arrived(socket: &UdpSocket) -> Result<Vec<Vec<u8>>> {
    socket.set_nonblocking(true)?;
    let mut buffer = [0; 2048];
    let mut packets = Vec::new();
    while let Ok(length) = socket.recv(&mut buffer) {
        packets.push(buffer[..length].to_vec());
    }
    socket.set_nonblocking(false)?;
    Ok(packets)
}
