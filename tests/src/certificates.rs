//! Certificates made for one test, by openssl.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};
use tempfile::TempDir;

/// Somebody who vouches for others, and what was made so far.
#[derive(Debug)]
pub struct Authority {
    directory: TempDir,
}

/// A certificate and its key, each in a file.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
    /// Both.
    pub both: PathBuf,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// If openssl is not there.
    pub fn new() -> Result<Self> {
        let directory = tempfile::tempdir()?;
        let authority = Self { directory };
        let mut command = request(&authority.file("ca.key"), "voxlane test authority");
        command
            .args(["-x509", "-days", "2", "-out"])
            .arg(authority.file("ca.pem"));
        run(&mut command)?;
        Ok(authority)
    }

    /// Its own certificate.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The certificate that all others lead to.
    pub fn root(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// Vouches for somebody: `name` in files, `alternatives` as openssl has them, `DNS:a.example,IP:192.0.2.1`.
    ///
    /// # Errors
    /// If openssl refuses.
    pub fn vouch(&self, name: &str, alternatives: &str) -> Result<Certificate> {
        let file = |suffix: &str| self.file(&format!("{name}.{suffix}"));
        let made = Certificate {
            certificate: file("pem"),
            key: file("key"),
            both: file("both.pem"),
        };
        run(request(&made.key, name).arg("-out").arg(file("csr")))?;
        fs::write(file("ext"), format!("subjectAltName={alternatives}\n"))?;
        let mut sign = Command::new("openssl");
        sign.args(["x509", "-req", "-days", "2", "-in"]).arg(file("csr"));
        sign.arg("-CA").arg(self.root()).arg("-CAkey").arg(self.file("ca.key"));
        sign.arg("-CAcreateserial").arg("-extfile").arg(file("ext"));
        run(sign.arg("-out").arg(&made.certificate))?;
        let both = fs::read_to_string(&made.certificate)? + &fs::read_to_string(&made.key)?;
        fs::write(&made.both, both)?;
        Ok(made)
    }
}

fn request(key: &Path, name: &str) -> Command {
    let mut command = Command::new("openssl");
    command.args([
        "req",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
    ]);
    command.args(["-subj", &format!("/CN={name}"), "-keyout"]).arg(key);
    command
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}
