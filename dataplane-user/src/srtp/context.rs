//! A direction of a leg: its keys, and the streams in it.

use std::fmt;

use super::keys::{Keying, SrtpKeys};
use super::packet::{Kind, Layout};
use super::refusal::Refusal;
use super::streams::{Place, Streams};
use super::transform::{Sealed, Transform};

/// Both directions of a leg.
#[derive(Debug)]
pub struct Srtp {
    /// What arrives.
    pub inbound: Inbound,
    /// What leaves.
    pub outbound: Outbound,
}

/// Takes the protection off what arrives.
pub struct Inbound(pub(super) Context);

/// Puts protection on what leaves.
pub struct Outbound(pub(super) Context);

/// A direction: what it does to each kind of packet, and the streams there are.
pub(super) struct Context {
    keying: Keying,
    rtp: Transform,
    rtcp: Transform,
    rtp_streams: Streams,
    rtcp_streams: Streams,
}

impl Srtp {
    /// With these keys. `None` if a key is not of its suite's length, as no [`Keying`] is that was made from its bytes; one
    /// that was read from a journal may be.
    pub fn new(keys: &SrtpKeys) -> Option<Self> {
        Some(Self {
            inbound: Inbound::new(&keys.receive)?,
            outbound: Outbound::new(&keys.send)?,
        })
    }

    /// With other keys from now on. A direction whose key is the same goes on where it is in its sequence; one with a new
    /// key begins anew (RFC 3711 section 3.3.1). `None`, and nothing changes, if a key is not of its suite's length.
    pub fn rekey(&mut self, keys: &SrtpKeys) -> Option<()> {
        let inbound = match self.inbound.0.keying == keys.receive {
            true => None,
            false => Some(Inbound::new(&keys.receive)?),
        };
        let outbound = match self.outbound.0.keying == keys.send {
            true => None,
            false => Some(Outbound::new(&keys.send)?),
        };
        if let Some(inbound) = inbound {
            self.inbound = inbound;
        }
        if let Some(outbound) = outbound {
            self.outbound = outbound;
        }
        Some(())
    }
}

impl Inbound {
    /// `None` if the key is not of its suite's length.
    pub fn new(keying: &Keying) -> Option<Self> {
        Context::new(keying).map(Self)
    }

    /// Takes the protection off a packet in place; how many bytes of it are left.
    ///
    /// # Errors
    /// Why it is not to be used. What its bytes are then is not said.
    #[inline]
    pub fn unprotect(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, Refusal> {
        let (transform, streams) = self.0.of(kind);
        let (sealed, place) = arrived(transform, streams, kind, packet)?;
        let length = transform.unprotect(packet, sealed, place.index)?;
        streams.take(place);
        Ok(length)
    }
}

impl Outbound {
    /// `None` if the key is not of its suite's length.
    pub fn new(keying: &Keying) -> Option<Self> {
        Context::new(keying).map(Self)
    }

    /// Protects the packet in the first `length` bytes of `buffer`, in place; how long it is then: by
    /// [`MAX_OVERHEAD`](super::MAX_OVERHEAD) at most.
    ///
    /// A sequence number that was protected before is refused: two texts under one keystream would betray each other.
    ///
    /// # Errors
    /// Why it was not protected. It is as it was then.
    #[inline]
    pub fn protect(&mut self, kind: Kind, buffer: &mut [u8], length: usize) -> Result<usize, Refusal> {
        let (transform, streams) = self.0.of(kind);
        let (layout, place) = leaving(streams, kind, buffer, length)?;
        let length = transform.protect(buffer, length, layout, place.index)?;
        streams.take(place);
        Ok(length)
    }
}

impl Context {
    fn new(keying: &Keying) -> Option<Self> {
        Some(Self {
            rtp: Transform::new(keying, Kind::Rtp)?,
            rtcp: Transform::new(keying, Kind::Rtcp)?,
            rtp_streams: Streams::new(),
            rtcp_streams: Streams::new(),
            keying: keying.clone(),
        })
    }

    #[inline]
    pub(super) fn of(&mut self, kind: Kind) -> (&Transform, &mut Streams) {
        match kind {
            Kind::Rtp => (&self.rtp, &mut self.rtp_streams),
            Kind::Rtcp => (&self.rtcp, &mut self.rtcp_streams),
        }
    }
}

/// The parts of a packet that has arrived, and its place in its stream.
#[inline]
pub(super) fn arrived(
    transform: &Transform,
    streams: &Streams,
    kind: Kind,
    packet: &[u8],
) -> Result<(Sealed, Place), Refusal> {
    let sealed = transform.sealed(packet)?;
    let place = match kind {
        Kind::Rtp => streams.of_rtp(sealed.layout.ssrc, sealed.layout.sequence)?,
        Kind::Rtcp => streams.of_rtcp(sealed.layout.ssrc, sealed.rtcp_index)?,
    };
    Ok((sealed, place))
}

/// The parts of a packet that is to leave, and its place in its stream.
#[inline]
pub(super) fn leaving(streams: &Streams, kind: Kind, buffer: &[u8], length: usize) -> Result<(Layout, Place), Refusal> {
    let packet = buffer.get(..length).ok_or(Refusal::NoRoom)?;
    let layout = Layout::of(kind, packet)?;
    let place = match kind {
        Kind::Rtp => streams.of_rtp(layout.ssrc, layout.sequence)?,
        Kind::Rtcp => streams.next_rtcp(layout.ssrc)?,
    };
    Ok((layout, place))
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inbound").field(&self.0.keying).finish()
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outbound").field(&self.0.keying).finish()
    }
}
