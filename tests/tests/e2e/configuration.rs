//! Configurations that are refused, each with file, line, key and what would be right.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use voxlane_tests::config::{NO_BOT, Xdp, lab};
use voxlane_tests::requirements;

/// A change of the lab's configuration, and what must be said of it.
struct Mistake {
    /// A text of the sound configuration, on one line.
    sound: &'static str,
    /// What stands there instead.
    mistaken: &'static str,
    /// The key that is named.
    key: &'static str,
    /// Words of the mend.
    mend: &'static str,
}

const MISTAKES: &[Mistake] = &[
    Mistake {
        sound: "listen =",
        mistaken: "lisen =",
        key: "sip.lisen",
        mend: "listen",
    },
    Mistake {
        sound: "udp:0.0.0.0:5060",
        mistaken: "udp:300.0.0.0:5060",
        key: "sip.listen",
        mend: "udp:",
    },
    Mistake {
        sound: "udp:0.0.0.0:5060",
        mistaken: "sctp:0.0.0.0:5060",
        key: "sip.listen",
        mend: "udp:",
    },
    Mistake {
        sound: "xdp = \"auto\"",
        mistaken: "xdp = \"fast\"",
        key: "media.xdp",
        mend: "native",
    },
    Mistake {
        sound: "xdp = \"auto\"",
        mistaken: "ports = \"20000-10000\"",
        key: "media.ports",
        mend: "10000",
    },
    Mistake {
        sound: "xdp = \"auto\"",
        mistaken: "ptime = 7",
        key: "media.ptime",
        mend: "20",
    },
    Mistake {
        sound: "10.200.1.0/24",
        mistaken: "10.200.1.0/33",
        key: "allow",
        mend: "/",
    },
    Mistake {
        sound: "10.200.2.2:5060",
        mistaken: "10.200.2.2:99999",
        key: "proxy",
        mend: "port",
    },
    Mistake {
        sound: "connect_timeout = \"4s\"",
        mistaken: "connect_timeout = \"soon\"",
        key: "connect_timeout",
        mend: "s",
    },
    Mistake {
        sound: "builtin:echo",
        mistaken: "builtin:parrot",
        key: "url",
        mend: "builtin:echo",
    },
    Mistake {
        sound: "ws://127.0.0.1:9/media",
        mistaken: "http://127.0.0.1:9/media",
        key: "url",
        mend: "ws",
    },
    Mistake {
        sound: "agent = \"echo\"",
        mistaken: "agent = \"ecko\"",
        key: "agent",
        mend: "echo",
    },
    Mistake {
        sound: "trunk = \"far\"",
        mistaken: "trunk = \"fare\"",
        key: "trunk",
        mend: "far",
    },
    Mistake {
        sound: "number = \"+15550003\"",
        mistaken: "number = \"+15550001\"",
        key: "number",
        mend: "+15550001",
    },
    Mistake {
        sound: "number = \"+15550003\"",
        mistaken: "number = \"5550003\"",
        key: "number",
        mend: "+",
    },
    Mistake {
        sound: "number = \"+15550003\"",
        mistaken: "number = \"${NO_SUCH_VARIABLE}\"",
        key: "number",
        mend: "NO_SUCH",
    },
    Mistake {
        sound: "[sip]",
        mistaken: "[sip",
        key: "",
        mend: "]",
    },
];

fn check(binary: &Path, file: &Path) -> std::io::Result<Output> {
    Command::new(binary).arg("check-config").arg(file).output()
}

#[test]
fn a_sound_configuration_is_accepted() {
    let Some(binary) = requirements::gateway() else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("voxlane.toml");
    fs::write(&file, lab(Xdp::Auto, NO_BOT)).unwrap();
    let output = check(&binary, &file).unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(said.starts_with(&format!("{}: ok", file.display())), "{said}");
}

#[test]
fn every_mistake_is_named_with_file_line_key_and_mend() {
    let Some(binary) = requirements::gateway() else { return };
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("voxlane.toml");
    let sound = lab(Xdp::Auto, NO_BOT);
    for Mistake {
        sound: right,
        mistaken,
        key,
        mend,
    } in MISTAKES
    {
        let at = sound
            .find(right)
            .unwrap_or_else(|| panic!("{right:?} is not in the configuration"));
        let line = sound[..at].lines().count() + usize::from(sound[..at].ends_with('\n'));
        fs::write(&file, sound.replacen(right, mistaken, 1)).unwrap();
        let output = check(&binary, &file).unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{mistaken}: {output:?}");
        let place = format!("{}:{line}:", file.display());
        let told = said.lines().find(|told| told.contains(&place));
        let told = told.unwrap_or_else(|| panic!("{mistaken}: no line begins with {place}\n{said}"));
        assert!(told.contains(key), "{mistaken}: {key:?} is not named\n{said}");
        assert!(
            told.to_lowercase().contains(&mend.to_lowercase()),
            "{mistaken}: {mend:?} is not offered\n{said}"
        );
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let Some(binary) = requirements::gateway() else { return };
    let file = Path::new("/nonexistent/voxlane.toml");
    for arguments in [["check-config"].as_slice(), ["serve", "--config"].as_slice()] {
        let output = Command::new(&binary).args(arguments).arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(said.contains("/nonexistent/voxlane.toml"), "{said}");
    }
}
