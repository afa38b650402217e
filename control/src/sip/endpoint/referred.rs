//! REFERs of the other side, and what it is told of them (RFC 3515, RFC 4488).
//!
//! NOTIFYs of one REFER follow each other: the next is sent when the one before is answered, so that over UDP none
//! overtakes another.

use std::collections::VecDeque;
use std::time::Duration;

use super::super::api::{DialogId, Event};
use super::super::dialog::{Asker, Dialog, Notifier, Referred, Report, State};
use super::super::refer::{EVENT, Progress, Referral, Reports, SIPFRAG, referral};
use super::super::syntax::Request;
use super::super::transaction::Path;
use super::super::within::{Content, RequestId, Within, WithinMethod};
use super::Endpoint;
use super::purpose::{Refusal, unknown};
use super::request::Ended;
use crate::time::Time;

/// How long a subscription may last: longer than any transfer takes.
const LIFE: Duration = Duration::from_secs(600);

/// Most REFERs of one dialog that go on at once.
const MAX_NOTIFIERS: usize = 4;

/// Most that waits to be told of one REFER; what is between is left out.
const MAX_QUEUE: usize = 16;

impl Endpoint {
    /// What a REFER within a dialog asks, or why it is refused.
    pub(super) fn referral_of(dialog: &Dialog, request: &Request) -> Result<Referral, Refusal> {
        match &dialog.state {
            State::Up(up) if up.hang_up.is_none() => {}
            State::Calling(_) | State::Ringing(_) => return Err(Refusal::Pending),
            State::Up(_) | State::Ending(_) => return Err(Refusal::NoDialog),
        }
        if dialog.referred.is_some() || dialog.notifiers.len() >= MAX_NOTIFIERS {
            return Err(Refusal::StillAnswering);
        }
        if let Some(refusal) = unknown(request, &dialog.policy) {
            return Err(refusal);
        }
        referral(&request.fields).map_err(Refusal::BadRequest)
    }

    pub(super) fn on_refer(&mut self, _: Time, path: Path, request: &Request, id: DialogId, referral: Referral) {
        let asked = self.ask_of_theirs(path, request, id, None);
        self.note(id, path, request);
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        dialog.referred = Some(Box::new(Referred {
            asked,
            cseq: request.cseq,
            reports: referral.reports,
        }));
        self.tell(Event::Referred {
            dialog: id,
            referral: Box::new(referral),
        });
    }

    /// Accepts what [`Event::Referred`] told of: 202, and a NOTIFY that says 100 Trying, unless they do not want to be told.
    /// What comes of it is told by [`Self::tell_of_refer`].
    pub fn accept_refer(&mut self, now: Time, dialog: DialogId) {
        let Some(Dialog {
            identity,
            policy,
            referred,
            notifiers,
            was_referred,
            ..
        }) = self.dialogs.get_mut(dialog)
        else {
            return;
        };
        let Some(referred) = referred.take() else { return };
        let policy = *policy;
        if let Some(target) = &referred.asked.target {
            identity.retarget(target.clone());
        }
        let headers: Vec<(&str, String)> = match referred.reports {
            Reports::Wanted => Vec::new(),
            Reports::Unwanted => vec![("Refer-Sub", "false".to_owned())],
        };
        let is_named = std::mem::replace(was_referred, true);
        if referred.reports == Reports::Wanted {
            notifiers.push(Notifier {
                cseq: referred.cseq,
                is_named,
                since: now,
                queue: VecDeque::from([Progress::of(100)]),
                sent: None,
                is_final: false,
            });
        }
        let response = self.accepting(&referred.asked.reply, 202, "", None, &policy, &headers);
        self.respond_within(now, &referred.asked, response);
        self.notify_next(now, dialog);
    }

    /// Refuses what [`Event::Referred`] told of, with a status of 300-699.
    pub fn refuse_refer(&mut self, now: Time, dialog: DialogId, status: u16, headers: &[(&str, &str)]) {
        let status = if (300..=699).contains(&status) { status } else { 500 };
        let referred = self.dialogs.get_mut(dialog).and_then(|dialog| dialog.referred.take());
        if let Some(referred) = referred {
            let response = self.plain(&referred.asked.reply, status, "", headers);
            self.respond_within(now, &referred.asked, response);
        }
    }

    /// Tells the other side how the REFER of theirs that was accepted last stands, if it wants to know; a final status ends
    /// the subscription.
    pub fn tell_of_refer(&mut self, now: Time, dialog: DialogId, progress: Progress) {
        let Some(Dialog { notifiers, .. }) = self.dialogs.get_mut(dialog) else {
            return;
        };
        let Some(notifier) = notifiers.last_mut().filter(|one| !one.is_final) else {
            return;
        };
        let is_final = progress.status >= 200;
        if is_final || notifier.queue.len() < MAX_QUEUE {
            notifier.is_final = is_final;
            notifier.queue.push_back(progress);
        }
        self.notify_next(now, dialog);
    }

    /// Sends what is to be told next of each REFER that no NOTIFY is under way of.
    fn notify_next(&mut self, now: Time, id: DialogId) {
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        let ready = |one: &&mut Notifier| one.sent.is_none() && !one.queue.is_empty();
        let Some(notifier) = dialog.notifiers.iter_mut().find(ready) else {
            return;
        };
        let Some(progress) = notifier.queue.pop_front() else {
            return;
        };
        let cseq = notifier.cseq;
        let name = match notifier.is_named {
            true => format!("{EVENT};id={cseq}"),
            false => EVENT.to_owned(),
        };
        let left = LIFE.saturating_sub(now.since(notifier.since)).as_secs().max(1);
        let state = match progress.status {
            200.. => "terminated;reason=noresource".to_owned(),
            _ => format!("active;expires={left}"),
        };
        let request = Within {
            method: WithinMethod::Notify,
            headers: vec![("Event".to_owned(), name), ("Subscription-State".to_owned(), state)],
            content: Some(Content {
                content_type: format!("{SIPFRAG};version=2.0"),
                body: progress.fragment(),
            }),
        };
        let sent = self.ask(now, id, request, Asker::Core);
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        match (sent, dialog.notifiers.iter_mut().find(|one| one.cseq == cseq)) {
            (Some(_), Some(notifier)) => notifier.sent = sent,
            (None, Some(_)) => dialog.notifiers.retain(|one| one.cseq != cseq),
            (_, None) => {}
        }
        self.notify_next(now, id);
    }

    /// A NOTIFY was answered, or never will be. Who does not know the subscription (481), or is not there, hears no more
    /// (RFC 6665 section 4.2.2).
    pub(super) fn on_notify_answered(&mut self, now: Time, id: DialogId, request: RequestId, ended: Ended<'_>) {
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        let is_over = |one: &Notifier| ended.is_loss() || one.is_final && one.queue.is_empty();
        dialog
            .notifiers
            .retain(|one| one.sent != Some(request) || !is_over(one));
        for notifier in &mut dialog.notifiers {
            notifier.sent.take_if(|sent| *sent == request);
        }
        self.notify_next(now, id);
        self.hang_up_at_last(now, id);
    }

    /// Whether a BYE has to wait until the other side has heard what came of a REFER of its own. One that is not over ends
    /// with the call.
    pub(super) fn tells_first(&mut self, now: Time, id: DialogId, reason: Option<&str>) -> bool {
        let Some(Dialog {
            notifiers,
            state: State::Up(up),
            ..
        }) = self.dialogs.get_mut(id)
        else {
            return false;
        };
        // Before the ACK there is no BYE at all; this is asked again after it.
        if notifiers.is_empty() || up.unacked.is_some() {
            return false;
        }
        up.hang_up = Some(reason.map(str::to_owned));
        for notifier in notifiers.iter_mut().filter(|one| !one.is_final) {
            notifier.is_final = true;
            notifier.queue.push_back(Progress::of(487));
        }
        self.notify_next(now, id);
        // It may have been impossible to send.
        self.hang_up_at_last(now, id);
        true
    }

    fn hang_up_at_last(&mut self, now: Time, id: DialogId) {
        if let Some(Dialog {
            notifiers,
            state: State::Up(up),
            ..
        }) = self.dialogs.get_mut(id)
            && notifiers.is_empty()
            && let Some(reason) = up.hang_up.take()
        {
            self.bye(now, id, reason.as_deref(), Report::Tell);
        }
    }
}
