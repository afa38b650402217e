//! What one leg has agreed on: its ports, its SDP, its session.

use serde::{Deserialize, Serialize};
use voxlane_dataplane::codec::Codec;
use voxlane_dataplane::media_plane::{Direction, Endpoint, RtcpPort, Session};

use super::Setup;
use crate::config::model::{LegMedia, RtcpMux, SrtpPolicy, Transcode};
use crate::sdp::{self, Capabilities, Crypto, Description, Local, SdpError, Security, Signalling};

/// The payload type telephone-event is offered with (interoperability requirement I5).
const TELEPHONE_EVENT: u8 = 101;

/// The media half of a leg.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Negotiation {
    /// How the leg's trunk wants its media treated.
    media: LegMedia,
    /// Who can read what the legs tell each other.
    signalling: Signalling,
    /// Our ports, while they are open.
    pub endpoint: Option<Endpoint>,
    /// The last SDP we sent and have to repeat when the far end asks for an offer.
    pub ours: Option<Vec<u8>>,
    /// What was agreed.
    pub session: Option<Session>,
    /// What our last offer offered.
    offered: Option<Capabilities>,
    /// `o=` version of the next SDP that differs from the last.
    version: u64,
    /// Which way we last said that media flows, seen from us.
    pub told: Direction,
    /// Our keys, one a suite, once one was needed. They stay while the far end's stays.
    keys: Vec<Crypto>,
}

/// Why a leg could not agree on media.
#[derive(Debug, thiserror::Error)]
pub(super) enum NegotiationError {
    /// No ports are open.
    #[error("no media is open on this leg")]
    NoEndpoint,
    /// An answer came, but no offer of ours is outstanding.
    #[error("an SDP answer came to no offer")]
    NoOffer,
    /// The far end sent no SDP where it had to.
    #[error("no SDP answer came")]
    NoAnswer,
    /// Its SDP was no use.
    #[error(transparent)]
    Sdp(#[from] SdpError),
}

impl NegotiationError {
    /// The status to refuse an INVITE with (RFC 3261 section 13.3.1.3).
    pub fn status(&self) -> u16 {
        match self {
            Self::NoEndpoint | Self::NoOffer => 500,
            Self::NoAnswer | Self::Sdp(SdpError::NothingAcceptable(_) | SdpError::AddressFamily { .. }) => 488,
            Self::Sdp(_) => 400,
        }
    }
}

impl Negotiation {
    /// Nothing agreed yet.
    pub fn new(media: LegMedia, signalling: Signalling) -> Self {
        Self {
            media,
            signalling,
            ..Self::default()
        }
    }

    /// The leg goes on in another dialog, over this signalling; its ports and what was agreed stay.
    /// Gives what it was before.
    pub fn goes_on_over(&mut self, signalling: Signalling) -> Signalling {
        std::mem::replace(&mut self.signalling, signalling)
    }

    /// Nothing is agreed any more: another dialog begins, over this signalling. The ports stay.
    pub fn begin(&mut self, signalling: Signalling) {
        *self = Self {
            endpoint: self.endpoint,
            version: self.version,
            ..Self::new(self.media, signalling)
        };
    }

    /// Writes an offer of these codecs.
    pub fn offer(&mut self, setup: &Setup, codecs: &[Codec]) -> Result<Vec<u8>, NegotiationError> {
        let mut capabilities = self.capabilities(setup, codecs);
        // What is in force is offered again, or the answer would end it (RFC 3264 section 8).
        let shared = self.session.as_ref().map(|session| session.rtcp_port) == Some(RtcpPort::Shared);
        if shared && capabilities.rtcp_mux == RtcpMux::Accept {
            capabilities.rtcp_mux = RtcpMux::Offer;
        }
        self.write(setup, capabilities, Direction::SendRecv)
    }

    /// Offers what is in force again, with media that flows in another direction (seen from us).
    pub fn offer_again(&mut self, setup: &Setup, direction: Direction) -> Result<Vec<u8>, NegotiationError> {
        let capabilities = self.in_force().ok_or(NegotiationError::NoOffer)?;
        self.write(setup, capabilities, direction)
    }

    /// Writes an offer of these, in which each stream there was before keeps its place.
    fn write(
        &mut self,
        setup: &Setup,
        capabilities: Capabilities,
        direction: Direction,
    ) -> Result<Vec<u8>, NegotiationError> {
        let before = self.ours.as_deref().and_then(|ours| Description::parse(ours).ok());
        let text = match &before {
            Some(before) => sdp::offer_again(&self.local(setup)?, &capabilities, direction, before)?,
            None => sdp::offer(&self.local(setup)?, &capabilities)?,
        };
        Ok(self.sent(text, direction, Some(capabilities)))
    }

    /// What was agreed, as something to offer.
    fn in_force(&mut self) -> Option<Capabilities> {
        let security = self.security();
        let session = self.session.as_ref()?;
        Some(Capabilities {
            codecs: vec![session.codec],
            telephone_event: session.telephone_event.map(|event| event.receive),
            ptime: session.ptime,
            rtcp_mux: match session.rtcp_port {
                RtcpPort::Shared => RtcpMux::Offer,
                RtcpPort::Own => RtcpMux::Off,
            },
            security,
        })
    }

    /// Whether this leg's audio may be transcoded.
    pub fn transcode(&self) -> Transcode {
        self.media.transcode
    }

    /// Why nothing can be offered over this signalling, if so: it may not carry the keys of the SRTP that the leg's trunk
    /// requires. Another one may.
    pub fn bar(&mut self) -> Option<NegotiationError> {
        self.security().bar().map(NegotiationError::from)
    }

    /// Writes the offer of a second leg: what `theirs` and `codecs` have in common first, with their payload types, so that
    /// the two legs can be relayed without a change; `transcode` says whether there is more. `answerable` are the codecs that
    /// the first leg may be answered with.
    pub fn offer_like(
        &mut self,
        setup: &Setup,
        codecs: &[Codec],
        theirs: &Description,
        answerable: &[Codec],
        transcode: Transcode,
    ) -> Result<Vec<u8>, NegotiationError> {
        let capabilities = self.capabilities(setup, codecs);
        let (text, offered) = sdp::offer_like(&self.local(setup)?, &capabilities, theirs, answerable, transcode)?;
        Ok(self.sent(text, theirs.audio()?.direction, Some(offered)))
    }

    /// Writes the offer of a leg that is to be relayed to one whose session is known: these codecs, and where that one has
    /// telephone-event, its payload type and packet time.
    pub fn offer_beside(
        &mut self,
        setup: &Setup,
        codecs: &[Codec],
        beside: &Session,
    ) -> Result<Vec<u8>, NegotiationError> {
        if codecs.is_empty() {
            let text = format!("the other leg speaks {}, which this one may not", beside.codec);
            return Err(SdpError::NothingAcceptable(text).into());
        }
        let mut capabilities = self.capabilities(setup, codecs);
        capabilities.telephone_event = beside.telephone_event.map(|event| event.send);
        capabilities.ptime = beside.ptime;
        let text = sdp::offer(&self.local(setup)?, &capabilities)?;
        Ok(self.sent(text, Direction::SendRecv, Some(capabilities)))
    }

    /// Answers an offer, with one of these codecs.
    pub fn answer(
        &mut self,
        setup: &Setup,
        codecs: &[Codec],
        telephone_event: bool,
        offer: &Description,
    ) -> Result<Session, NegotiationError> {
        let mut capabilities = self.capabilities(setup, codecs);
        capabilities.telephone_event = capabilities.telephone_event.filter(|_| telephone_event);
        let (mut text, mut session) = sdp::answer(offer, &self.local(setup)?, &capabilities)?;
        if self.is_rekeyed_by(&session) {
            // Its sender may be another now, who does not know how far we are with the old one.
            self.keys.clear();
            capabilities.security = self.security();
            (text, session) = sdp::answer(offer, &self.local(setup)?, &capabilities)?;
        }
        self.sent(text, session.direction, None);
        Ok(self.agreed(session))
    }

    /// Takes the answer to our offer.
    pub fn accept(&mut self, answer: Option<&[u8]>) -> Result<Session, NegotiationError> {
        // A session is refreshed with what was an answer of ours, too.
        let offered = self
            .offered
            .clone()
            .or_else(|| self.in_force())
            .ok_or(NegotiationError::NoOffer)?;
        let answer = Description::parse(answer.ok_or(NegotiationError::NoAnswer)?)?;
        let session = sdp::accept(&offered, &answer)?;
        let local = self.endpoint.ok_or(NegotiationError::NoEndpoint)?.rtp.ip();
        let remote = session.remote_rtp.ip();
        if remote.is_ipv4() != local.is_ipv4() {
            return Err(SdpError::AddressFamily { remote, local }.into());
        }
        Ok(self.agreed(session))
    }

    /// Keeps what SDP agreed, with what only the configuration says.
    fn agreed(&mut self, agreed: Session) -> Session {
        let LegMedia { latch, pacing, .. } = self.media;
        let session = Session {
            latch,
            pacing,
            ..agreed
        };
        self.session = Some(session.clone());
        session
    }

    /// Whether the far end has announced another key than the one in force.
    fn is_rekeyed_by(&self, session: &Session) -> bool {
        let keys = |session: &Session| session.srtp.clone();
        match (self.session.as_ref().and_then(keys), keys(session)) {
            (None, _) => false,
            (Some(_), None) => true,
            (Some(before), Some(now)) => !before.receive.is_same_key(&now.receive),
        }
    }

    /// What the leg may do with SRTP.
    fn security(&mut self) -> Security {
        let LegMedia {
            srtp,
            srtp_keys_in_clear,
            ..
        } = self.media;
        let may_carry_keys = sdp::may_carry_keys(self.signalling, srtp_keys_in_clear);
        if srtp != SrtpPolicy::Off && may_carry_keys && self.keys.is_empty() {
            self.keys = Crypto::all_random();
        }
        Security {
            policy: srtp,
            may_carry_keys,
            ours: self.keys.clone(),
        }
    }

    fn capabilities(&mut self, setup: &Setup, codecs: &[Codec]) -> Capabilities {
        Capabilities {
            codecs: codecs.to_vec(),
            telephone_event: Some(TELEPHONE_EVENT),
            ptime: setup.ptime,
            rtcp_mux: self.media.rtcp_mux,
            security: self.security(),
        }
    }

    fn local<'a>(&self, setup: &'a Setup) -> Result<Local<'a>, NegotiationError> {
        let endpoint = self.endpoint.ok_or(NegotiationError::NoEndpoint)?;
        Ok(Local {
            identity: &setup.identity,
            session_id: setup.session_id,
            // The first is one more than the id, as in interoperability requirement I16.
            version: setup.session_id + 1 + self.version,
            rtp: endpoint.rtp,
        })
    }

    fn sent(&mut self, text: Vec<u8>, told: Direction, offered: Option<Capabilities>) -> Vec<u8> {
        self.told = told;
        self.version += 1;
        self.offered = offered;
        self.ours = Some(text.clone());
        text
    }
}
