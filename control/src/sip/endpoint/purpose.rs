//! What a request is for.
//!
//! The order is RFC 3261's: transaction (17.2.3), merged requests (8.2.2.2), dialog (12.2.2), CSeq, method (8.2.1),
//! required extensions (8.2.2.3), content (8.2.3).

use rsip::Method::{Ack, Bye, Cancel, Invite, Notify, Options, PRack, Refer, Update};

use super::super::api::DialogId;
use super::super::dialog::{Calling, State};
use super::super::policy::Policy;
use super::super::refer::{News, Referral};
use super::super::syntax::fields::Fields;
use super::super::syntax::{Method, Request};
use super::super::transaction::{Key, TransactionId};
use super::super::within::RequestId;
use super::{Endpoint, MAX_TRANSACTIONS};

/// What a request is for.
#[derive(Debug)]
pub(super) enum Purpose {
    /// A repetition within a transaction.
    Repeated(TransactionId),
    /// The ACK to a refusal, or with the branch of an INVITE we accepted.
    AcksRefusal(TransactionId),
    /// The ACK to a 2xx of ours, or to one of this dialog at least.
    AcksAnswer(DialogId),
    /// An ACK that belongs to nothing.
    StrayAck,
    /// Takes an INVITE back; `None` if we know of none.
    Cancels(Option<TransactionId>),
    /// A call.
    NewCall {
        /// Offer.
        sdp: Option<Vec<u8>>,
    },
    /// OPTIONS.
    Ping {
        /// The dialog it was sent in.
        dialog: Option<DialogId>,
    },
    /// INVITE within a dialog.
    Reinvite {
        /// The dialog.
        dialog: DialogId,
        /// Offer.
        sdp: Option<Vec<u8>>,
    },
    /// UPDATE.
    Update {
        /// The dialog.
        dialog: DialogId,
        /// Offer.
        sdp: Option<Vec<u8>>,
    },
    /// PRACK to what we have sent.
    Prack {
        /// The dialog.
        dialog: DialogId,
        /// Offer or answer.
        sdp: Option<Vec<u8>>,
    },
    /// REFER.
    Refer {
        /// The dialog.
        dialog: DialogId,
        /// What it asks.
        referral: Referral,
    },
    /// NOTIFY of a REFER of ours.
    Notify {
        /// The dialog.
        dialog: DialogId,
        /// The REFER.
        refer: RequestId,
        /// What it says.
        news: News,
    },
    /// BYE.
    Bye {
        /// The dialog.
        dialog: DialogId,
    },
    /// Nothing we do.
    Refused {
        /// Why.
        refusal: Refusal,
        /// The dialog it was sent in.
        dialog: Option<DialogId>,
    },
}

/// Why a sound request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// 403: what is done within a call only.
    Forbidden,
    /// 405: a method of the standards that is not offered.
    MethodNotAllowed,
    /// 501: an unknown method.
    NotImplemented,
    /// 400 with this reason phrase.
    BadRequest(&'static str),
    /// 406: an answer that is SDP would not be understood.
    NotAcceptable,
    /// 415: a body that is not plain SDP.
    UnsupportedMedia,
    /// 415: news that are no `message/sipfrag`.
    UnsupportedNews,
    /// 420: extensions we do not have.
    BadExtension(Vec<String>),
    /// 421: an extension that has to be used, and that the sender has not.
    ExtensionRequired(&'static str),
    /// 422: sessions are to last so many seconds at least (RFC 4028).
    IntervalTooSmall(u32),
    /// 481: no such dialog.
    NoDialog,
    /// 482: the same request has come by another way.
    Merged,
    /// 486: what is to be replaced only before it is answered, and is.
    Busy,
    /// 489: news of something that nobody has asked for.
    BadEvent,
    /// 491: an INVITE is under way in the dialog.
    Pending,
    /// 500: CSeq is not higher than the last (RFC 3261 section 12.2.2).
    OutOfOrder,
    /// 500 with Retry-After: an earlier INVITE is not answered (RFC 3261 section 14.2).
    StillAnswering,
    /// 603: what we do not do.
    Decline,
    /// 503: no room for another transaction.
    Overload,
}

impl Refusal {
    /// The status.
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::MethodNotAllowed => 405,
            Self::NotImplemented => 501,
            Self::BadRequest(_) => 400,
            Self::Forbidden => 403,
            Self::NotAcceptable => 406,
            Self::UnsupportedMedia | Self::UnsupportedNews => 415,
            Self::BadExtension(_) => 420,
            Self::ExtensionRequired(_) => 421,
            Self::IntervalTooSmall(_) => 422,
            Self::NoDialog => 481,
            Self::Merged => 482,
            Self::Busy => 486,
            Self::BadEvent => 489,
            Self::Pending => 491,
            Self::OutOfOrder | Self::StillAnswering => 500,
            Self::Overload => 503,
            Self::Decline => 603,
        }
    }
}

impl Endpoint {
    pub(super) fn purpose(&self, request: &Request) -> Purpose {
        let refused = |refusal| Purpose::Refused { refusal, dialog: None };
        if request.method == Method::Known(Ack) {
            return self.purpose_of_ack(request);
        }
        if let Some(transaction) = self.transactions.find(&Key::server(request, &request.method_text)) {
            return Purpose::Repeated(transaction);
        }
        if request.method == Method::Known(Cancel) {
            return Purpose::Cancels(self.transactions.find(&Key::server(request, "INVITE")));
        }
        match request.to.tag() {
            Some(tag) => match self.dialogs.find(tag, &request.call_id) {
                Some(dialog) => self.purpose_in_dialog(request, dialog),
                None => refused(Refusal::NoDialog),
            },
            None if self.transactions.find(&Key::merged(request)).is_some() => refused(Refusal::Merged),
            None => match &request.method {
                _ if self.transactions.len() >= MAX_TRANSACTIONS => refused(Refusal::Overload),
                Method::Known(Invite) => match invited(request) {
                    // What it may require depends on the trunk that takes it.
                    Ok(sdp) => Purpose::NewCall { sdp },
                    Err(refusal) => refused(refusal),
                },
                Method::Known(Options) => unless_extended(request, Purpose::Ping { dialog: None }, None),
                Method::Known(Bye | PRack | Update) => refused(Refusal::NoDialog),
                // We are referred within a call only.
                Method::Known(Refer) => refused(Refusal::Forbidden),
                Method::Known(_) => refused(Refusal::MethodNotAllowed),
                Method::Unknown(_) => refused(Refusal::NotImplemented),
            },
        }
    }

    fn purpose_of_ack(&self, request: &Request) -> Purpose {
        let key = Key::server(request, "INVITE");
        if let Some(transaction) = self.transactions.find(&key) {
            return Purpose::AcksRefusal(transaction);
        }
        self.acked_dialog(request)
            .map_or(Purpose::StrayAck, Purpose::AcksAnswer)
    }

    /// The dialog whose 2xx an ACK may be for.
    pub(super) fn acked_dialog(&self, request: &Request) -> Option<DialogId> {
        let id = self.dialogs.find(request.to.tag()?, &request.call_id)?;
        self.dialogs
            .get(id)
            .filter(|dialog| dialog.identity.is_from(request.from.tag()))?;
        Some(id)
    }

    fn purpose_in_dialog(&self, request: &Request, id: DialogId) -> Purpose {
        let refused = |refusal| Purpose::Refused {
            refusal,
            dialog: Some(id),
        };
        let Some(dialog) = self.dialogs.get(id) else {
            return refused(Refusal::NoDialog);
        };
        let theirs = match &dialog.state {
            State::Calling(Calling { forks, .. }) => {
                let tag = request.from.tag();
                tag.is_some() && forks.iter().any(|fork| fork.identity.is_from(tag))
            }
            State::Ringing(_) | State::Up(_) | State::Ending(_) => dialog.identity.is_from(request.from.tag()),
        };
        if !theirs {
            return Purpose::Refused {
                refusal: Refusal::NoDialog,
                dialog: None,
            };
        }
        let identity = match &dialog.state {
            State::Calling(Calling { forks, .. }) => {
                let fork = forks.iter().find(|fork| fork.identity.is_from(request.from.tag()));
                fork.map_or(&dialog.identity, |fork| &fork.identity)
            }
            State::Ringing(_) | State::Up(_) | State::Ending(_) => &dialog.identity,
        };
        if identity.remote_cseq.is_some_and(|last| request.cseq <= last) {
            return refused(Refusal::OutOfOrder);
        }
        match &request.method {
            Method::Known(Bye) => Purpose::Bye { dialog: id },
            Method::Known(Options) => unless_extended(request, Purpose::Ping { dialog: Some(id) }, Some(id)),
            Method::Known(Invite) => match &dialog.state {
                State::Calling(_) => refused(Refusal::Pending),
                State::Ringing(_) => refused(Refusal::StillAnswering),
                State::Ending(_) => refused(Refusal::NoDialog),
                State::Up(up) if up.pending.is_some() => refused(Refusal::StillAnswering),
                // The ACK must have been overtaken (RFC 5407 section 3.1.4).
                State::Up(up) if up.unacked.is_some() => refused(Refusal::Pending),
                State::Up(up) if up.is_offering() => refused(Refusal::Pending),
                State::Up(_) => match invited(request) {
                    Ok(sdp) => match unknown(request, &dialog.policy) {
                        None => Purpose::Reinvite { dialog: id, sdp },
                        Some(refusal) => refused(refusal),
                    },
                    Err(refusal) => refused(refusal),
                },
            },
            // Each waits for the one before (RFC 3311 section 5.2).
            Method::Known(Update) if dialog.asked.is_some() => refused(Refusal::StillAnswering),
            Method::Known(Update) => match (offer(&request.fields, &request.body), unknown(request, &dialog.policy)) {
                (Err(refusal), _) | (Ok(_), Some(refusal)) => refused(refusal),
                (Ok(sdp), None) => match Self::refusal_of_update(&dialog.state, request.from.tag(), sdp.is_some()) {
                    Some(refusal) => refused(refusal),
                    None => Purpose::Update { dialog: id, sdp },
                },
            },
            Method::Known(PRack) if dialog.asked.is_some() => refused(Refusal::StillAnswering),
            Method::Known(PRack) if !Self::is_pracked(&dialog.state, &request.fields) => refused(Refusal::NoDialog),
            Method::Known(PRack) => match offer(&request.fields, &request.body) {
                Ok(sdp) => Purpose::Prack { dialog: id, sdp },
                Err(refusal) => refused(refusal),
            },
            Method::Known(Refer) => match Self::referral_of(dialog, request) {
                Ok(referral) => Purpose::Refer { dialog: id, referral },
                Err(refusal) => refused(refusal),
            },
            Method::Known(Notify) => match Self::news_of(dialog, request) {
                Ok((refer, news)) => Purpose::Notify {
                    dialog: id,
                    refer,
                    news,
                },
                Err(refusal) => refused(refusal),
            },
            Method::Known(_) => refused(Refusal::MethodNotAllowed),
            Method::Unknown(_) => refused(Refusal::NotImplemented),
        }
    }
}

/// Whether an INVITE or UPDATE requires what may not be used.
pub(super) fn unknown(request: &Request, policy: &Policy) -> Option<Refusal> {
    let tags = policy.option_tags();
    let is_known = |required: &str| tags.iter().any(|tag| tag.eq_ignore_ascii_case(required));
    let required = request.fields.require.iter();
    let unknown: Vec<String> = required.filter(|tag| !is_known(tag)).cloned().collect();
    (!unknown.is_empty()).then_some(Refusal::BadExtension(unknown))
}

/// There is no extension of an OPTIONS. A BYE is never asked: refusing it would keep a dead call up.
fn unless_extended(request: &Request, purpose: Purpose, dialog: Option<DialogId>) -> Purpose {
    if request.fields.require.is_empty() {
        return purpose;
    }
    Purpose::Refused {
        refusal: Refusal::BadExtension(request.fields.require.clone()),
        dialog,
    }
}

/// The SDP a message carries.
pub(super) fn sdp(fields: &Fields, body: &[u8]) -> Option<Vec<u8>> {
    offer(fields, body).ok().flatten()
}

/// What an INVITE offers. What it is answered with is SDP, which it has to accept (RFC 3261 section 20.1).
fn invited(request: &Request) -> Result<Option<Vec<u8>>, Refusal> {
    let fits = |range: &String| {
        let range = range.split(';').next().unwrap_or_default().trim();
        ["application/sdp", "application/*", "*/*"]
            .iter()
            .any(|fits| range.eq_ignore_ascii_case(fits))
    };
    match &request.fields.accept {
        Some(ranges) if !ranges.iter().any(fits) => Err(Refusal::NotAcceptable),
        Some(_) | None => offer(&request.fields, &request.body),
    }
}

fn offer(fields: &Fields, body: &[u8]) -> Result<Option<Vec<u8>>, Refusal> {
    if body.is_empty() {
        return Ok(None);
    }
    let media_type = |text: &str| {
        text.split(';')
            .next()
            .unwrap_or("")
            .trim()
            .eq_ignore_ascii_case("application/sdp")
    };
    let plain = fields
        .content_encoding
        .as_deref()
        .is_none_or(|e| e.trim().eq_ignore_ascii_case("identity"));
    if plain && fields.content_type.as_deref().is_some_and(media_type) {
        return Ok(Some(body.to_vec()));
    }
    // RFC 3261 section 20.11: what the sender says may be ignored is.
    match fields.content_disposition.as_deref().map(str::to_ascii_lowercase) {
        Some(disposition) if disposition.replace([' ', '\t'], "").contains("handling=optional") => Ok(None),
        Some(_) | None => Err(Refusal::UnsupportedMedia),
    }
}
