//! Who may call us, and how we prove who we are (RFC 3261 section 22).
//!
//! Only INVITEs that begin a call are challenged. A request within a dialog has shown that it knows the dialog's tags,
//! 64 random bits; an ACK and a CANCEL cannot be challenged.

use serde::{Deserialize, Serialize};

use super::super::api::{DialogId, Failure, Transmit};
use super::super::dialog::{Cancel, Dialog, Reply, State};
use super::super::digest::{Admission, Attempt, Challenge, Client, Entrance, Logins, NonceKey, Refused, Verdict};
use super::super::outside::Known;
use super::super::path::Transport;
use super::super::syntax::{Request, Response};
use super::super::transaction::{Hop, Path, Transaction, TransactionId};
use super::Endpoint;
use crate::time::Time;

/// Failed authentication, counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthFailures {
    /// Who failed: `theirs`, a caller with us; `ours`, we with a carrier.
    pub whose: String,
    /// The trunk; empty if none was meant.
    pub trunk: String,
    /// Why, in a word.
    pub reason: String,
    /// How often.
    pub count: u64,
}

impl Endpoint {
    /// The same, which lets in whom these entrances let in, and has these logins. `key` makes nonces; it is to be new, and
    /// hard to guess.
    #[must_use]
    pub fn with_trunks(self, key: NonceKey, entrances: Vec<Entrance>, logins: Logins) -> Self {
        Self {
            admission: Admission::new(key, entrances),
            logins: Client::new(logins),
            ..self
        }
    }

    /// How often authentication failed since start.
    pub fn auth_failures(&self) -> Vec<AuthFailures> {
        let row = |whose: &str, trunk: &str, reason: &str, count| AuthFailures {
            whose: whose.to_owned(),
            trunk: trunk.to_owned(),
            reason: reason.to_owned(),
            count,
        };
        let theirs = self.admission.failures();
        let theirs = theirs.map(|(trunk, failure, count)| row("theirs", trunk, failure.word(), count));
        let ours = self.logins.failures();
        let ours = ours.map(|(trunk, reason, count)| row("ours", trunk, reason, count));
        theirs.chain(ours).collect()
    }

    /// An INVITE outside any dialog: it is let in, challenged or refused. Nothing is kept of one that is not let in (RFC
    /// 3261 section 8.2.7): not even a transaction, so that its ACK is a stray one.
    pub(super) fn on_call(&mut self, now: Time, path: Path, request: &Request, sdp: Option<Vec<u8>>) {
        if let Some(Known::Of(trunk)) = self.contacts.get(&request.uri.user) {
            let trunk = Some(trunk.clone());
            return self.on_new_call(now, path, request, trunk, sdp);
        }
        let salt = self.ids.salt();
        match self.admission.admit(now, request, path.remote.ip(), salt) {
            Verdict::Admitted(trunk) => self.on_new_call(now, path, request, trunk, sdp),
            Verdict::Challenged { challenges, tag } => self.challenge(path, request, &challenges, &tag),
            Verdict::Refused { tag } => self.refuse_stranger(now, path, request, &tag),
        }
    }

    fn challenge(&mut self, path: Path, request: &Request, challenges: &[String], tag: &str) {
        let reply = Reply::new(request, path);
        let write = |challenges: &[String]| {
            let mut writer = reply.write(401, tag);
            for challenge in challenges {
                writer.header("WWW-Authenticate", challenge);
            }
            writer.finish(None)
        };
        let mut response = write(challenges);
        // A forged source is not to be sent more than the forger spent. The last is what every device has.
        if reply.path.transport == Transport::Udp
            && response.len() > request.length
            && let [.., last] = challenges
        {
            response = write(std::slice::from_ref(last));
        }
        tracing::debug!(remote = %path.remote, challenges = challenges.len(), "call challenged");
        self.shared.counters.challenged += 1;
        self.shared.outbox.send(Transmit {
            path: reply.path,
            data: response,
        });
    }

    /// 401 or 407 to our INVITE: it is sent again with credentials (RFC 3261 section 22.2), or has failed.
    pub(super) fn on_invite_challenged(&mut self, now: Time, invite: TransactionId, id: DialogId, response: &Response) {
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        let State::Calling(calling) = &mut dialog.state else {
            return;
        };
        if calling.cancel != Cancel::No {
            return self.on_failure(id, response.status, &response.reason, Failure::refused());
        }
        let challenges = &response.fields.challenges;
        let trunk = dialog.trunk.clone();
        if let Err(refused) = self
            .logins
            .challenged(trunk.as_deref(), &mut calling.again.attempt, challenges)
        {
            return self.on_refused(id, trunk.as_deref(), response, &refused);
        }
        self.invite_again(now, invite, id);
    }

    /// Sends the INVITE that is to begin a dialog again, after a refusal that can be mended.
    pub(super) fn invite_again(&mut self, now: Time, invite: TransactionId, id: DialogId) {
        let Some(entry) = self.transactions.get_mut(invite) else {
            return;
        };
        let Transaction::ClientInvite(client) = &entry.transaction else {
            return;
        };
        let hop = Hop {
            branch: self.ids.branch(),
            cseq: client.hop.cseq.saturating_add(1),
            ..client.hop.clone()
        };
        // Whatever else comes of this transaction is not the call's any more.
        entry.dialog = None;
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        let terms = Self::terms_asked(dialog);
        let (trunk, policy) = (dialog.trunk.clone(), dialog.policy);
        let State::Calling(calling) = &mut dialog.state else {
            return;
        };
        dialog.identity.local_cseq = hop.cseq;
        calling.forks.clear();
        let mut again = std::mem::take(&mut calling.again);
        again.terms = Self::extensions_asked(&policy, terms);
        let sent = self.send_invite(now, id, hop, (trunk.as_deref(), &policy), &mut again);
        if let Some(Dialog {
            state: State::Calling(calling),
            ..
        }) = self.dialogs.get_mut(id)
        {
            calling.invite = sent;
            calling.again = again;
        }
    }

    /// Whether the challenges to a request within a dialog can be answered.
    pub(super) fn may_prove(&mut self, id: DialogId, attempt: &mut Attempt, response: &Response) -> bool {
        let trunk = self.dialogs.get(id).and_then(|dialog| dialog.trunk.as_deref());
        match self.logins.challenged(trunk, attempt, &response.fields.challenges) {
            Ok(()) => true,
            Err(refused) => {
                self.logins.note(trunk, &refused);
                tracing::warn!(
                    trunk,
                    status = response.status,
                    "request within a dialog not accepted: {refused}"
                );
                false
            }
        }
    }

    /// The call ends, and says why.
    fn on_refused(&mut self, id: DialogId, trunk: Option<&str>, response: &Response, refused: &Refused) {
        self.logins.note(trunk, refused);
        let challenges = response.fields.challenges.iter();
        let realms = challenges.filter_map(|(_, text)| Some(Challenge::parse(text).ok()?.realm));
        let realms: Vec<String> = realms.collect();
        tracing::warn!(trunk, status = response.status, ?realms, "{refused}");
        self.on_failure(id, response.status, &refused.to_string(), Failure::refused());
    }
}
