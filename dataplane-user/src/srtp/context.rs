//! A direction of a leg: its keys, and the streams in it.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::grace::Grace;
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
pub struct Inbound {
    pub(super) context: Context,
    /// The key before, for as long as packets under it may be on their way.
    pub(super) grace: Option<Box<Grace>>,
}

/// Puts protection on what leaves.
pub struct Outbound(pub(super) Context);

/// A packet that has its place in its stream and is still to be protected, by [`Outbound::finish`] and under the key that it
/// was given the place for.
#[derive(Debug)]
#[must_use = "a place that is not used is a gap in the stream"]
pub struct Begun {
    pub(super) context: u64,
    pub(super) kind: Kind,
    pub(super) layout: Layout,
    pub(super) index: u64,
    /// Of the packet, bytes.
    pub(super) length: usize,
}

/// A direction: what it does to each kind of packet, and the streams there are.
pub(super) struct Context {
    keying: Keying,
    /// No other context has it.
    number: u64,
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
    /// key begins anew (RFC 3711 section 3.3.1). What arrives under the key before is taken until the first packet under
    /// the new one has come, or [`Inbound::forget`] is called. `None`, and nothing changes, if a key is not of its suite's
    /// length.
    pub fn rekey(&mut self, keys: &SrtpKeys) -> Option<()> {
        let inbound = self.inbound.context.unless_same(&keys.receive)?;
        let outbound = self.outbound.0.unless_same(&keys.send)?;
        if let Some(context) = inbound {
            let before = std::mem::replace(&mut self.inbound.context, context);
            self.inbound.grace = Some(Box::new(Grace::new(before)));
        }
        if let Some(context) = outbound {
            self.outbound = Outbound(context);
        }
        self.inbound.context.keying.set_lifetime(keys.receive.lifetime());
        self.outbound.0.keying.set_lifetime(keys.send.lifetime());
        Some(())
    }
}

impl Inbound {
    /// `None` if the key is not of its suite's length.
    pub fn new(keying: &Keying) -> Option<Self> {
        let context = Context::new(keying)?;
        Some(Self { context, grace: None })
    }

    /// Takes the protection off a packet in place; how many bytes of it are left.
    ///
    /// # Errors
    /// Why it is not to be used. What its bytes are then is not said.
    #[inline]
    pub fn unprotect(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, Refusal> {
        match &mut self.grace {
            None => self.context.unprotect(kind, packet),
            Some(grace) => {
                let (taken, grace_ends) = grace.unprotect(&mut self.context, kind, packet);
                if grace_ends {
                    self.grace = None;
                }
                taken
            }
        }
    }

    /// Whether this is its key.
    pub fn has_key(&self, keying: &Keying) -> bool {
        self.context.keying.is_same_key(keying)
    }

    /// Whether packets under the key before the last change are taken, too.
    pub fn remembers(&self) -> bool {
        self.grace.is_some()
    }

    /// Takes packets under the key before no longer.
    pub fn forget(&mut self) {
        self.grace = None;
    }

    /// Whether [`unprotect_two`](super::unprotect_two) is faster than one packet after the other.
    #[inline]
    pub fn is_faster_in_pairs(&self) -> bool {
        self.context.rtp.is_faster_in_pairs()
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
        let (transform, streams) = self.0.of(kind)?;
        let packet = buffer.get(..length).ok_or(Refusal::NoRoom)?;
        let (layout, place) = leaving(streams, kind, packet)?;
        let length = transform.protect(buffer, length, layout, place.index)?;
        streams.take(place);
        Ok(length)
    }

    /// Gives a packet its place in its stream, as [`Self::protect`] does. It is to be protected later: what it is refused for
    /// is known now.
    ///
    /// # Errors
    /// Why it is not to be protected.
    #[inline]
    pub fn begin(&mut self, kind: Kind, packet: &[u8]) -> Result<Begun, Refusal> {
        let context = self.0.number;
        let (_, streams) = self.0.of(kind)?;
        let (layout, place) = leaving(streams, kind, packet)?;
        streams.take(place);
        Ok(Begun {
            context,
            kind,
            layout,
            index: place.index,
            length: packet.len(),
        })
    }

    /// Protects a packet that has its place, at the beginning of `buffer`; how long it is then.
    ///
    /// # Errors
    /// If there is no room for what protection adds, or the place was given under another key.
    #[inline]
    pub fn finish(&self, begun: Begun, buffer: &mut [u8]) -> Result<usize, Refusal> {
        self.0
            .transform_for(&begun)?
            .protect(buffer, begun.length, begun.layout, begun.index)
    }

    /// Whether [`finish_two`](super::finish_two) is faster than one packet after the other.
    #[inline]
    pub fn is_faster_in_pairs(&self) -> bool {
        self.0.rtp.is_faster_in_pairs()
    }
}

impl Context {
    fn new(keying: &Keying) -> Option<Self> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        Some(Self {
            rtp: Transform::new(keying, Kind::Rtp)?,
            rtcp: Transform::new(keying, Kind::Rtcp)?,
            rtp_streams: Streams::new(),
            rtcp_streams: Streams::new(),
            keying: keying.clone(),
            number: COUNT.fetch_add(1, Relaxed),
        })
    }

    /// What takes its place where the key is to be this one: nothing if it is. `None` if that is not of its suite's length.
    fn unless_same(&self, keying: &Keying) -> Option<Option<Self>> {
        match self.keying.is_same_key(keying) {
            true => Some(None),
            false => Self::new(keying).map(Some),
        }
    }

    /// What to do to a packet of this kind, if the key may still be used: who has announced a lifetime has promised no more
    /// packets than that of either kind (RFC 4568 section 6.1, RFC 3711 section 9.2).
    #[inline]
    pub(super) fn of(&mut self, kind: Kind) -> Result<(&Transform, &mut Streams), Refusal> {
        if let Some(lifetime) = self.keying.lifetime()
            && self.rtp_streams.taken().max(self.rtcp_streams.taken()) >= lifetime.get()
        {
            return Err(Refusal::KeyExhausted);
        }
        Ok(match kind {
            Kind::Rtp => (&self.rtp, &mut self.rtp_streams),
            Kind::Rtcp => (&self.rtcp, &mut self.rtcp_streams),
        })
    }

    /// As [`Inbound::unprotect`].
    #[inline]
    pub(super) fn unprotect(&mut self, kind: Kind, packet: &mut [u8]) -> Result<usize, Refusal> {
        let (transform, streams) = self.of(kind)?;
        let (sealed, place) = arrived(transform, streams, kind, packet)?;
        let length = transform.unprotect(packet, sealed, place.index)?;
        streams.take(place);
        Ok(length)
    }

    /// What protects a packet that was given its place here.
    #[inline]
    pub(super) fn transform_for(&self, begun: &Begun) -> Result<&Transform, Refusal> {
        if begun.context != self.number {
            return Err(Refusal::KeyExhausted);
        }
        Ok(match begun.kind {
            Kind::Rtp => &self.rtp,
            Kind::Rtcp => &self.rtcp,
        })
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
fn leaving(streams: &Streams, kind: Kind, packet: &[u8]) -> Result<(Layout, Place), Refusal> {
    let layout = Layout::of(kind, packet)?;
    let place = match kind {
        Kind::Rtp => streams.of_rtp(layout.ssrc, layout.sequence)?,
        Kind::Rtcp => streams.next_rtcp(layout.ssrc)?,
    };
    Ok((layout, place))
}

impl fmt::Debug for Inbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Inbound").field(&self.context.keying).finish()
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Outbound").field(&self.0.keying).finish()
    }
}
