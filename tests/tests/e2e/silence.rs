//! Connections over which nothing comes, or half of something: each ends for its own reason, when its time is over.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use voxlane_tests::config::{NO_BOT, RELAYED, Xdp, lab};
use voxlane_tests::gateway::Gateway;
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(40);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);

#[test]
fn silent_connections_are_closed_each_for_its_reason() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let lines = "listen = [\"udp:0.0.0.0:5060\", \"tcp:0.0.0.0:5060\"]\nidle_timeout = \"15s\"\nkeepalive = \"1s\"";
    let config = lab(Xdp::Off, NO_BOT)
        .replace("listen = [\"udp:0.0.0.0:5060\"]", lines)
        .replace("\nproxy = ", "\ntransport = \"tcp\"\nproxy = ");
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let connect = || net.carrier.enter(|| TcpStream::connect(GATEWAY)).unwrap().unwrap();

    // One says nothing, one begins to.
    let _idle = connect();
    let mut slow = connect();
    slow.write_all(b"OPTIONS sip:gateway SIP/2.0\r\n").unwrap();
    // The far side takes a call, answers one keep-alive, and then no more.
    let listener = net.far.enter(|| TcpListener::bind((FAR, 5060))).unwrap().unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, RELAYED).unwrap();
    let _calling = caller.options(&["-m", "1"]).start().unwrap();
    let (mut far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut heard = Vec::new();
    // The last line of the INVITE's SDP ends, and a keep-alive follows.
    while !heard.ends_with(b"\r\n\r\n\r\n") {
        let mut byte = [0];
        far.read_exact(&mut byte).unwrap();
        heard.push(byte[0]);
    }
    assert!(heard.starts_with(b"INVITE "), "{}", String::from_utf8_lossy(&heard));
    far.write_all(b"\r\n").unwrap();

    let closed = ["idle", "slow", "no_pong"];
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| {
            closed.iter().all(|why| status.connections.closed(why) == 1)
        })
        .unwrap();
    // Nothing else became of them.
    let connections = gateway.status().unwrap().connections;
    let others = ["theirs", "failed", "not_read", "malformed", "ours"];
    assert!(others.iter().all(|why| connections.closed(why) == 0), "{connections:?}");
}
