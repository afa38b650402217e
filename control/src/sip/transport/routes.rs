//! Which of our addresses the route to a remote address starts from.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};

/// Most remote addresses whose route is remembered.
const MAX_ROUTES: usize = 4096;

/// The routes asked for so far.
#[derive(Debug, Default)]
pub(super) struct Routes {
    known: Mutex<HashMap<IpAddr, IpAddr>>,
}

impl Routes {
    /// Asks the kernel, by connecting a socket, which address the route to `remote` starts from.
    ///
    /// # Errors
    /// There is no route.
    pub fn source(&self, remote: SocketAddr) -> io::Result<IpAddr> {
        let known = self
            .known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&remote.ip())
            .copied();
        if let Some(source) = known {
            return Ok(source);
        }
        let any: SocketAddr = if remote.is_ipv4() {
            ([0, 0, 0, 0], 0).into()
        } else {
            ([0; 8], 0).into()
        };
        let probe = UdpSocket::bind(any)?;
        probe.connect(remote)?;
        let source = probe.local_addr()?.ip();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Addresses may be forged: forgetting all costs a lookup each, remembering all would cost memory without end.
        if known.len() >= MAX_ROUTES {
            known.clear();
        }
        known.insert(remote.ip(), source);
        Ok(source)
    }
}
