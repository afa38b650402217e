//! The gateway as a service: how it starts, what it tells, how it ends, and what is left when it could not end.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::Duration;

use anyhow::Result;
use voxlane_tests::bpf_fs::BpfFs;
use voxlane_tests::config::{ECHO, NO_BOT, RELAYED, Xdp, lab, pinned};
use voxlane_tests::gateway::{self, Gateway};
use voxlane_tests::netns::{CARRIER, FAR, GATEWAY_TO_CARRIER, Lab, Place};
use voxlane_tests::peers::sipp::{Scenario, Sipp};
use voxlane_tests::phone::Phone;
use voxlane_tests::reports::Status;
use voxlane_tests::requirements;

const PATIENCE: Duration = Duration::from_secs(30);
const GATEWAY: SocketAddr = SocketAddr::new(GATEWAY_TO_CARRIER, 5060);
const INTERFACES: [&str; 2] = ["carrier0", "far0"];

/// Interfaces of the gateway's namespace that carry an XDP program, as the kernel says.
fn with_xdp(place: &Place) -> Result<Vec<String>> {
    let output = place.command("ip").args(["-o", "link", "show"]).output()?;
    let links = String::from_utf8(output.stdout)?;
    let carries = |name: &str| {
        let name = format!(" {name}@");
        links.lines().any(|link| link.contains(&name) && link.contains(" xdp"))
    };
    let names = INTERFACES.into_iter().filter(|name| carries(name));
    Ok(names.map(str::to_owned).collect())
}

/// Starts a gateway that is expected to give up by itself.
fn refused(binary: &Path, place: &Place, runtime_dir: &Path, config: &str) -> Result<Output> {
    fs::write(runtime_dir.join("voxlane.toml"), config)?;
    Ok(gateway::serve(binary, place, runtime_dir).output()?)
}

#[test]
fn sigterm_hangs_up_every_call_and_takes_the_program_off() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    assert_eq!(with_xdp(&net.gateway).unwrap(), INTERFACES);
    let far = Sipp::answerer(&net.far, FAR).unwrap();
    let far = far.options(&["-rtp_echo", "-m", "1"]).listen().unwrap();
    let callers = [ECHO, RELAYED].map(|number| {
        let caller = Sipp::caller(&net.carrier, Scenario::HungUpOn, CARRIER, GATEWAY, number).unwrap();
        caller.options(&["-m", "1"]).start().unwrap()
    });
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| status.calls.answered == 2)
        .unwrap();

    let ended = gateway.terminate().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    for caller in callers {
        caller.succeed(PATIENCE).unwrap();
    }
    far.succeed(PATIENCE).unwrap();
    assert_eq!(with_xdp(&net.gateway).unwrap(), [""; 0]);
}

#[test]
fn after_a_crash_it_starts_again_as_if_nothing_had_been() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let gateway = Gateway::start_with(&binary, &net.gateway, &lab(Xdp::Auto, NO_BOT)).unwrap();
    let gateway = gateway.crash_and_start_again().unwrap();
    let status = gateway.status().unwrap();
    let modes: Vec<&str> = status.plane.interfaces.iter().map(|on| on.mode.as_str()).collect();
    assert_eq!(modes, ["native", "native"], "{status:?}");
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO).unwrap();
    let caller = caller.options(&["-m", "1", "-d", "500"]).start().unwrap();
    caller.succeed(PATIENCE).unwrap();
}

/// Frames the kernel lane has sent on.
fn relayed(status: &Status) -> u64 {
    let kernel = status.plane.kernel.as_ref();
    kernel.map_or(0, |kernel| kernel.count("redirected"))
}

#[test]
fn calls_outlive_a_crash_and_the_next_gateway_carries_them_on() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let (net, bpf) = (Lab::new().unwrap(), BpfFs::new().unwrap());
    let gateway = Gateway::start_with(&binary, &net.gateway, &pinned(NO_BOT, &bpf.pin())).unwrap();
    let far = SocketAddr::new(FAR, 5060);
    let far = Phone::answer(&binary, &net.far, far, &["--tone", "1000", "--duration", "15s"]).unwrap();
    let options = ["--tone", "440", "--duration", "15s"];
    let caller = Phone::call(&binary, &net.carrier, &format!("sip:{RELAYED}@{GATEWAY}"), &options).unwrap();
    let flowing = |status: &Status| relayed(status) > 50;
    let before = gateway.wait_until(PATIENCE, Gateway::status, flowing).unwrap();
    assert!(
        before.plane.kernel.as_ref().is_some_and(|kernel| !kernel.adopted),
        "{before:?}"
    );

    let crashed = gateway.crash().unwrap();
    assert_eq!(with_xdp(&net.gateway).unwrap(), INTERFACES);
    let gateway = crashed.start_again().unwrap();
    let found = gateway.status().unwrap();
    let kernel = found.plane.kernel.as_ref().unwrap();
    assert_eq!((kernel.adopted, kernel.orphans), (true, 2), "{found:?}");
    let goes_on = |status: &Status| relayed(status) > relayed(&found) + 50;
    gateway.wait_until(PATIENCE, Gateway::status, goes_on).unwrap();

    // A new call has its own ports.
    let elsewhere = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, ECHO).unwrap();
    let elsewhere = elsewhere.options(&["-m", "1", "-d", "500"]).start().unwrap();
    elsewhere.succeed(PATIENCE).unwrap();

    for phone in [caller, far] {
        let report = phone.report(PATIENCE).unwrap();
        let received = report.received.clone().unwrap();
        // Nothing was lost, and it went on to the end: the two do not hang up in the same moment.
        assert_eq!(received.lost, 0, "{report:?}");
        assert!(received.packets + 100 > report.sent_packets.unwrap(), "{report:?}");
    }

    let output = gateway::detach(&binary, &net.gateway, &bpf.pin()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("a gateway is running"),
        "{said}"
    );
    // Orphans are waited for.
    let ended = gateway.terminate().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    assert_eq!(with_xdp(&net.gateway).unwrap(), INTERFACES, "{ended:?}");
    let output = gateway::detach(&binary, &net.gateway, &bpf.pin()).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("/relay-native-"),
        "{output:?}"
    );
    assert_eq!(with_xdp(&net.gateway).unwrap(), [""; 0]);
    assert!(!bpf.pin().exists());
}

#[test]
fn sigterm_leaves_nothing_pinned() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let (net, bpf) = (Lab::new().unwrap(), BpfFs::new().unwrap());
    let gateway = Gateway::start_with(&binary, &net.gateway, &pinned(NO_BOT, &bpf.pin())).unwrap();
    let far = Sipp::answerer(&net.far, FAR).unwrap();
    let far = far.options(&["-rtp_echo", "-m", "1"]).listen().unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::HungUpOn, CARRIER, GATEWAY, RELAYED).unwrap();
    let caller = caller.options(&["-m", "1"]).start().unwrap();
    gateway
        .wait_until(PATIENCE, Gateway::status, |status| status.calls.answered == 1)
        .unwrap();
    assert!(bpf.pin().exists());

    let ended = gateway.terminate().unwrap();
    assert!(ended.status.success(), "{ended:?}");
    caller.succeed(PATIENCE).unwrap();
    far.succeed(PATIENCE).unwrap();
    assert_eq!(with_xdp(&net.gateway).unwrap(), [""; 0]);
    assert!(!bpf.pin().exists(), "{ended:?}");
}

#[test]
fn two_gateways_cannot_have_the_same_pins() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let (net, bpf) = (Lab::new().unwrap(), BpfFs::new().unwrap());
    let config = pinned(NO_BOT, &bpf.pin());
    let _gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let config = config.replace("udp:0.0.0.0:5060", "udp:0.0.0.0:5062");
    let output = refused(&binary, &net.gateway, elsewhere.path(), &config).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["another gateway", "media.pin"] {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }
    assert_eq!(with_xdp(&net.gateway).unwrap(), INTERFACES);
}

#[test]
fn a_second_gateway_is_refused_and_the_first_goes_on() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = lab(Xdp::Auto, NO_BOT);
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();

    let elsewhere = tempfile::tempdir().unwrap();
    let output = refused(&binary, &net.gateway, elsewhere.path(), &config).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["0.0.0.0:5060", "in use"] {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }

    let config = config.replace("udp:0.0.0.0:5060", "udp:0.0.0.0:5062");
    let output = refused(&binary, &net.gateway, gateway.runtime_dir(), &config).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in ["another voxlane is running", "--runtime-dir"] {
        assert!(said.contains(word), "{word:?} is not in\n{said}");
    }

    assert_eq!(with_xdp(&net.gateway).unwrap(), INTERFACES);
    let _far = Sipp::answerer(&net.far, FAR).unwrap().listen().unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, RELAYED).unwrap();
    let caller = caller.options(&["-m", "1", "-d", "500"]).start().unwrap();
    caller.succeed(PATIENCE).unwrap();
}

#[test]
fn prometheus_finds_calls_lanes_and_programs() {
    let Some(binary) = requirements::gateway_in_namespaces() else {
        return;
    };
    let net = Lab::new().unwrap();
    let config = format!("[node]\nmetrics = \"127.0.0.1:9060\"\n{}", lab(Xdp::Auto, NO_BOT));
    let gateway = Gateway::start_with(&binary, &net.gateway, &config).unwrap();
    let scrape = |_: &Gateway| -> Result<Vec<String>> {
        let get = "import sys, urllib.request as http; sys.stdout.write(http.urlopen(sys.argv[1]).read().decode())";
        let mut python = net.gateway.command(requirements::python());
        let output = python.args(["-c", get, "http://127.0.0.1:9060/metrics"]).output()?;
        Ok(String::from_utf8(output.stdout)?.lines().map(str::to_owned).collect())
    };
    let all_of = |wanted: &'static [&str]| {
        move |lines: &Vec<String>| wanted.iter().all(|wanted| lines.iter().any(|line| line == wanted))
    };

    let _far = Sipp::answerer(&net.far, FAR).unwrap().listen().unwrap();
    let caller = Sipp::caller(&net.carrier, Scenario::Uac, CARRIER, GATEWAY, RELAYED).unwrap();
    let caller = caller.options(&["-m", "1", "-d", "4000"]).start().unwrap();
    let during = all_of(&[
        "voxlane_calls_active 1",
        "voxlane_calls_answered_total 1",
        "voxlane_flows{lane=\"kernel\"} 2",
        "voxlane_flows{lane=\"worker\"} 0",
        "voxlane_xdp_attached{interface=\"carrier0\",mode=\"native\"} 1",
        "voxlane_media_ports_in_use 2",
    ]);
    gateway.wait_until(PATIENCE, scrape, during).unwrap();
    caller.succeed(PATIENCE).unwrap();
    let after = all_of(&[
        "voxlane_calls_active 0",
        "voxlane_calls_total 1",
        "voxlane_calls_failed_total 0",
        "voxlane_flows{lane=\"kernel\"} 0",
        "voxlane_media_ports_in_use 0",
        "# EOF",
    ]);
    gateway.wait_until(PATIENCE, scrape, after).unwrap();
}
