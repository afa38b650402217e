//! The life of the admin socket's file.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The admin socket of a runtime directory.
pub fn path(runtime_dir: &Path) -> PathBuf {
    runtime_dir.join("control.sock")
}

/// Why the admin server could not start.
#[derive(Debug, thiserror::Error)]
pub enum OpsError {
    /// Another gateway answers on the socket.
    #[error(
        "{}: another voxlane is running with this runtime directory; stop it, or choose another directory with --runtime-dir",
        .0.display()
    )]
    InUse(PathBuf),
    /// Something that is not a socket stands in its place.
    #[error("{}: is in the way and is not a socket; remove it, or choose another directory with --runtime-dir", .0.display())]
    NotASocket(PathBuf),
    /// The file system refuses.
    #[error("{}: {error}; the runtime directory (node.runtime_dir or --runtime-dir) must be writable", path.display())]
    File {
        /// What was touched.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// The metrics address cannot be listened on.
    #[error("node.metrics: cannot listen on {address}: {error}")]
    Metrics {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        error: io::Error,
    },
}

/// The file of a socket that this process listens on; removed when dropped, unless another has taken its place.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl SocketFile {
    /// Listens on `control.sock` in a directory, which is made if it is not there. A socket left behind by a process that
    /// died is replaced. Only the user that the process runs as may connect.
    ///
    /// # Errors
    /// [`OpsError::InUse`], [`OpsError::NotASocket`] or [`OpsError::File`].
    pub fn listen(runtime_dir: &Path) -> Result<(Self, UnixListener), OpsError> {
        let path = path(runtime_dir);
        let file = |path: &Path| {
            let path = path.to_owned();
            move |error| OpsError::File { path, error }
        };
        fs::create_dir_all(runtime_dir).map_err(file(runtime_dir))?;
        check_free(&path)?;
        // Bound and closed to others under a name of its own, then moved into place in one step: there is no moment at
        // which another user could connect.
        let own = runtime_dir.join(format!(".control.sock.{}", std::process::id()));
        match fs::remove_file(&own) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(file(&own)(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&own).map_err(file(&own))?;
        let placed = fs::set_permissions(&own, fs::Permissions::from_mode(0o600))
            .and_then(|()| fs::rename(&own, &path))
            .and_then(|()| identity(&path));
        match placed {
            Ok(identity) => Ok((Self { path, identity }, listener)),
            Err(error) => {
                // The error that counts is the one above.
                let _ = fs::remove_file(&own);
                Err(file(&path)(error))
            }
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "the admin socket could not be removed");
        }
    }
}

/// Whether the path is free, or taken by the socket of a dead process.
fn check_free(path: &Path) -> Result<(), OpsError> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(OpsError::NotASocket(path.to_owned())),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(OpsError::File {
                path: path.to_owned(),
                error,
            });
        }
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(OpsError::InUse(path.to_owned())),
        Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => Ok(()),
        // A queue that is full belongs to a process that is alive.
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(OpsError::InUse(path.to_owned())),
        Err(error) => Err(OpsError::File {
            path: path.to_owned(),
            error,
        }),
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}
