//! What the other side tells of a REFER of ours (RFC 3515 section 2.4, RFC 4488).

use super::super::api::{DialogId, Event};
use super::super::dialog::{Dialog, Reply, State, Subscription};
use super::super::refer::{News, NoNews, news};
use super::super::syntax::Request;
use super::super::transaction::Path;
use super::super::within::RequestId;
use super::Endpoint;
use super::purpose::Refusal;
use super::request::Ended;
use crate::time::Time;

/// Most REFERs of one dialog of which news are taken; an older one's are not any more.
const MAX_SUBSCRIPTIONS: usize = 8;

/// A REFER is being sent, for the first time or with credentials: news of it may come before its answer does.
pub(super) fn subscribe(subscriptions: &mut Vec<Subscription>, request: RequestId, cseq: u32) {
    match subscriptions.iter_mut().find(|known| known.request == request) {
        Some(known) => known.cseq = cseq,
        None => {
            if subscriptions.len() == MAX_SUBSCRIPTIONS {
                subscriptions.remove(0);
            }
            subscriptions.push(Subscription { request, cseq });
        }
    }
}

impl Endpoint {
    /// Which REFER of ours a NOTIFY is of, and what it says.
    pub(super) fn news_of(dialog: &Dialog, request: &Request) -> Result<(RequestId, News), Refusal> {
        let (id, news) = news(&request.fields, &request.body).map_err(|why| match why {
            NoNews::OtherEvent => Refusal::BadEvent,
            NoNews::NoState => Refusal::BadRequest("Missing Subscription-State"),
            NoNews::OtherBody => Refusal::UnsupportedNews,
        })?;
        let of = match id {
            Some(id) => dialog.subscriptions.iter().find(|known| known.cseq == id),
            None => dialog.subscriptions.first(),
        };
        match (&dialog.state, of) {
            (State::Up(_) | State::Ending(_), Some(known)) => Ok((known.request, news)),
            (State::Calling(_) | State::Ringing(_), _) | (_, None) => Err(Refusal::NoDialog),
        }
    }

    pub(super) fn on_notify(
        &mut self,
        now: Time,
        path: Path,
        request: &Request,
        id: DialogId,
        refer: RequestId,
        news: News,
    ) {
        self.note(id, path, request);
        let reply = Reply::new(request, path);
        let response = self.plain(&reply, 200, "", &[]);
        self.finish(now, request, reply.path, 200, response);
        let Some(dialog) = self.dialogs.get_mut(id) else { return };
        if news.ended.is_some() {
            dialog.subscriptions.retain(|known| known.request != refer);
        }
        match dialog.state {
            // Whatever comes of it, the call is over.
            State::Ending(_) => {}
            State::Calling(_) | State::Ringing(_) | State::Up(_) => self.tell(Event::Notified {
                dialog: id,
                request: refer,
                news: Box::new(news),
            }),
        }
    }

    /// A REFER was answered: with a refusal, or without a subscription (RFC 4488 section 4), there will be no news.
    pub(super) fn on_refer_answered(&mut self, id: DialogId, refer: RequestId, ended: Ended<'_>) {
        let subscribed = match ended {
            Ended::Response(response) if (200..300).contains(&response.status) => {
                !ended.outcome().has_no_subscription()
            }
            Ended::Response(_) | Ended::Failed(_) => false,
        };
        if let (false, Some(dialog)) = (subscribed, self.dialogs.get_mut(id)) {
            dialog.subscriptions.retain(|known| known.request != refer);
        }
    }
}
