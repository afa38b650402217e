//! Requests of ours within a dialog, but INVITE, ACK and CANCEL (RFC 3261 section 12.2.1).

use super::super::api::{DialogId, Event, Termination};
use super::super::dialog::{Asker, Dialog, Outstanding, Report, State};
use super::super::digest::Attempt;
use super::super::syntax::{Response, status};
use super::super::transaction::{Client, Key, Transaction, TransactionId};
use super::super::within::{Outcome, RequestId, Within, WithinMethod};
use super::Endpoint;
use super::compose::compose_within;
use super::refer::subscribe;
use super::session_timer::RefreshBy;
use crate::time::Time;

/// Most requests of ours that wait for their answers in one dialog.
const MAX_REQUESTS: usize = 16;

/// How a request of ours ended.
#[derive(Clone, Copy, Debug)]
pub(super) enum Ended<'a> {
    /// With this final response.
    Response(&'a Response),
    /// Without one: as if with this status (RFC 3261 section 8.1.3.1).
    Failed(u16),
}

impl Ended<'_> {
    pub(super) fn status(&self) -> u16 {
        match self {
            Self::Response(response) => response.status,
            Self::Failed(status) => *status,
        }
    }

    /// Whether the other side does not know the dialog, or is not there (RFC 3261 section 12.2.1.2).
    pub(super) fn is_loss(&self) -> bool {
        match self {
            Self::Response(response) => matches!(response.status, 408 | 481),
            Self::Failed(_) => true,
        }
    }

    /// As the call layer is told of it.
    pub(super) fn outcome(&self) -> Outcome {
        let reason = match self {
            Self::Response(response) if !response.reason.is_empty() => &response.reason,
            Self::Response(_) | Self::Failed(_) => status::phrase(self.status()),
        };
        let fields = match self {
            Self::Response(response) => Some(&response.fields),
            Self::Failed(_) => None,
        };
        Outcome {
            status: self.status(),
            reason: reason.to_owned(),
            retry_after: self.retry_after(),
            warning: fields.and_then(|fields| fields.warning.clone()),
            refer_sub: fields.and_then(|fields| fields.refer_sub.clone()),
        }
    }

    /// Retry-After, seconds; a comment or parameters may follow the number (RFC 3261 section 20.33).
    pub(super) fn retry_after(&self) -> Option<u32> {
        let Self::Response(response) = self else { return None };
        let text = response.fields.retry_after.as_deref()?;
        let digits = text.trim().split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok()
    }
}

impl Endpoint {
    /// Sends a request within a dialog that is up, with credentials where they are asked for. [`Event::Responded`] follows
    /// with its name, unless the dialog ends before. Where the other side does not know the dialog any more, or does not
    /// answer, [`Event::Terminated`] follows that, but for a NOTIFY.
    ///
    /// `None`: nothing was sent, since the dialog is not up, too many requests wait for their answers, or the method is one
    /// that the core sends by itself.
    pub fn request(&mut self, now: Time, dialog: DialogId, request: Within) -> Option<RequestId> {
        match request.method {
            WithinMethod::Bye | WithinMethod::Prack => return None,
            WithinMethod::Notify | WithinMethod::Refer | WithinMethod::Update => {}
        }
        match &self.dialogs.get(dialog)?.state {
            State::Up(_) => {}
            State::Calling(_) | State::Ringing(_) | State::Ending(_) => return None,
        }
        self.ask(now, dialog, request, Asker::CallLayer)
    }

    /// Sends a request within a dialog in whatever state that is.
    pub(super) fn ask(&mut self, now: Time, id: DialogId, request: Within, asker: Asker) -> Option<RequestId> {
        self.ask_fork(now, id, None, request, asker)
    }

    /// Sends a request within an early dialog, if it names one.
    pub(super) fn ask_fork(
        &mut self,
        now: Time,
        id: DialogId,
        fork: Option<String>,
        request: Within,
        asker: Asker,
    ) -> Option<RequestId> {
        if self.dialogs.get(id)?.requests.len() >= MAX_REQUESTS {
            return None;
        }
        let transaction = self.transactions.next_id();
        let name = RequestId(transaction.0);
        let outstanding = Outstanding {
            id: name,
            transaction,
            fork,
            request,
            attempt: Attempt::default(),
            asker,
        };
        self.send_within(now, id, outstanding);
        Some(name)
    }

    /// Sends it, for the first time or with credentials, in the transaction it names.
    fn send_within(&mut self, now: Time, id: DialogId, mut outstanding: Outstanding) {
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        let terms = match outstanding.request.method {
            WithinMethod::Update => Self::terms_asked(dialog),
            WithinMethod::Bye | WithinMethod::Notify | WithinMethod::Prack | WithinMethod::Refer => Vec::new(),
        };
        let (trunk, policy) = (dialog.trunk.clone(), dialog.policy);
        let identity = dialog.identity_mut(outstanding.fork.as_deref());
        identity.local_cseq = identity.local_cseq.saturating_add(1);
        let method = outstanding.request.method;
        let cseq = identity.local_cseq;
        let (uri, ids) = (identity.request_uri(), &mut self.ids);
        let mut written =
            self.logins
                .credentials(trunk.as_deref(), &mut outstanding.attempt, method.name(), &uri, || {
                    ids.cnonce()
                });
        let branch = self.ids.branch();
        let path = identity.next_hop(&self.config.listen);
        let first = identity.request(method.name(), identity.local_cseq, &branch, path);
        let transaction = outstanding.transaction;
        let (headers, content) = (&outstanding.request.headers, outstanding.request.content.as_ref());
        written.extend(terms);
        let contact = (method.has_contact().then_some(path), &policy);
        let request = compose_within(first, contact, &self.config.user_agent, &written, headers, content);
        if method == WithinMethod::Refer {
            subscribe(&mut dialog.subscriptions, outstanding.id, cseq);
        }
        dialog.requests.push(outstanding);
        let client = Client::start(&mut self.shared.transaction(now, transaction), path, request);
        let key = Key::Client {
            branch,
            method: method.name().to_owned(),
        };
        self.transactions.insert(
            transaction,
            Transaction::Client(client),
            Some(id),
            vec![key],
            Some(path),
        );
    }

    /// A request of ours within a dialog has ended, or is to be sent again with credentials.
    pub(super) fn on_request_ended(&mut self, now: Time, id: DialogId, transaction: TransactionId, ended: Ended<'_>) {
        let Some(Dialog { requests, .. }) = self.dialogs.get_mut(id) else {
            return;
        };
        let Some(at) = requests.iter().position(|sent| sent.transaction == transaction) else {
            return;
        };
        let mut sent = requests.swap_remove(at);
        let method = sent.request.method;
        if let Ended::Response(response) = ended
            && matches!(response.status, 401 | 407)
            && self.may_prove(id, &mut sent.attempt, response)
        {
            sent.transaction = self.transactions.next_id();
            return self.send_within(now, id, sent);
        }
        if method == WithinMethod::Bye {
            let cause = match ended {
                Ended::Response(_) => Termination::ByeAnswered,
                Ended::Failed(_) => Termination::ByeTimeout,
            };
            return self.on_bye_done(id, cause);
        }
        // Whatever else was asked, the call is over.
        if let Some(Dialog {
            state: State::Ending(_),
            ..
        }) = self.dialogs.get(id)
        {
            return;
        }
        if method == WithinMethod::Refer {
            self.on_refer_answered(id, sent.id, ended);
        }
        match sent.asker {
            Asker::CallLayer => self.tell(Event::Responded {
                dialog: id,
                request: sent.id,
                method,
                outcome: Box::new(ended.outcome()),
            }),
            Asker::Core => {}
        }
        if method == WithinMethod::Notify {
            return self.on_notify_answered(now, id, sent.id, ended);
        }
        if method.is_the_calls() && ended.is_loss() {
            return self.lose(now, id, ended.status());
        }
        match (method, ended) {
            (WithinMethod::Update, Ended::Response(response)) if response.status < 300 => {
                if let Some(dialog) = self.dialogs.get_mut(id) {
                    dialog.hear(&response.fields);
                    if let Some(contact) = &response.contact {
                        dialog.identity.retarget(contact.uri.as_str().to_owned());
                    }
                }
                self.on_terms_taken(now, id, &response.fields);
            }
            (WithinMethod::Update, _) => match sent.asker {
                Asker::CallLayer => {}
                Asker::Core => self.on_refresh_refused(now, id, RefreshBy::Update, ended),
            },
            (WithinMethod::Bye | WithinMethod::Notify | WithinMethod::Prack | WithinMethod::Refer, _) => {}
        }
    }

    /// The other side does not know the dialog, or is not there: it gets a BYE all the same (RFC 3261 section 14.1).
    pub(super) fn lose(&mut self, now: Time, id: DialogId, status: u16) {
        let reason = format!("SIP;cause={status};text=\"{}\"", status::phrase(status));
        self.end_by_itself(now, id, &reason, Termination::Lost { status });
    }

    /// Ends a dialog that is up without having been told to.
    pub(super) fn end_by_itself(&mut self, now: Time, id: DialogId, reason: &str, cause: Termination) {
        self.bye(now, id, Some(reason), Report::Silent);
        self.tell(Event::Terminated { dialog: id, cause });
    }
}
