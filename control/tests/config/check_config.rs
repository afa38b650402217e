//! `voxlane check-config` and the commands that ask a gateway, as their users see them.

use std::process::{Command, Output};

fn check(file: &std::path::Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxlane"));
    command
        .arg("check-config")
        .arg(file)
        .env_remove("VOXLANE_LAB_PROXY")
        .env_remove("VOXLANE_BOT");
    command.output().expect("the program runs")
}

#[test]
fn a_good_file_is_summed_up() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("voxlane.toml");
    std::fs::write(&file, voxlane::config::DEFAULT).unwrap();
    let output = check(&file);
    assert_eq!(
        String::from_utf8(output.stdout).unwrap(),
        format!(
            "{}: ok (listens on udp:0.0.0.0:5060, tcp:0.0.0.0:5060; 1 trunk, 1 tenant, 3 agents, 4 DIDs; RTP ports 10000-20000, \
             5000 pairs an address)\n",
            file.display()
        )
    );
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
}

#[test]
fn every_mistake_of_a_bad_file_is_printed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("voxlane.toml");
    std::fs::write(&file, "[sip]\nlisten = [\"udp:300.1.1.1:5060\"]\n[nodes]\n").unwrap();
    let output = check(&file);
    let name = file.display();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        format!(
            "{name}:2: sip.listen: \"udp:300.1.1.1:5060\" is not an address; write \"udp:IP:PORT\"\n\
             {name}:3: nodes: unknown section; did you mean \"node\"?\n"
        )
    );
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
}

#[test]
fn certificates_are_read_and_what_is_wrong_with_a_file_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    std::fs::write(path("empty.pem"), "nothing\n").unwrap();
    let (file, empty, gone) = (path("voxlane.toml"), path("empty.pem"), path("gone.pem"));
    for (certificate, what) in [
        (&gone, "cannot be read: No such file or directory"),
        (
            &empty,
            "has no certificate in PEM; write a file that begins with -----BEGIN CERTIFICATE-----",
        ),
    ] {
        let text = format!("[sip.tls]\ncertificate = {certificate:?}\nkey = {empty:?}\n");
        std::fs::write(&file, text).unwrap();
        let output = check(&file);
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(error.contains(&format!("{}: {what}", certificate.display())), "{error}");
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn without_a_gateway_the_question_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxlane"));
    let output = command
        .arg("flows")
        .arg("--runtime-dir")
        .arg(directory.path())
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("is \"voxlane serve\" running, with the same --runtime-dir?"),
        "{error}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn names_that_no_call_can_have_are_refused_before_anybody_is_asked() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxlane"));
    let output = command.args(["lane", "../status", "worker"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("names of calls are hexadecimal digits"), "{error}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_capture_of_no_gateway_leaves_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("call.pcap");
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxlane"));
    command
        .args(["capture", "5b", "-w"])
        .arg(&file)
        .arg("--runtime-dir")
        .arg(directory.path());
    assert_eq!(command.output().unwrap().status.code(), Some(1));
    assert!(!file.exists());
}

#[test]
fn a_configuration_that_pins_nothing_has_nothing_to_detach() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("voxlane.toml");
    std::fs::write(&file, "[media]\npin = \"off\"\n").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_voxlane"));
    let output = command.args(["detach", "--config"]).arg(&file).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(complaint.contains("media.pin is \"off\""), "{complaint}");
}
